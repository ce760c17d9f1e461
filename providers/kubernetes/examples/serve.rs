use fleetform_sandbox::{FaultPlan, NodePool, World};
#[tokio::main]
async fn main() {
    let world = World::in_memory(7);
    world.step(|table| {
        table.open_cluster("aws/us-east-1/chat", "1.34");
        let nodes = NodePool {
            count: 2,
            instance_type: "g6.12xlarge".into(),
            labels: vec![("fleetform.dev/pool".into(), "g6".into())],
            taints: vec![("nvidia.com/gpu".into(), "present".into(), "NoSchedule".into())],
        };
        table.set_nodes("aws/us-east-1/chat", "g6", &nodes);
        let nodes = NodePool { count: 1, instance_type: "m7i.large".into(), ..NodePool::default() };
        table.set_nodes("aws/us-east-1/chat", "cpu", &nodes);
    });
    let api = fleetform_kubernetes::emulator::api(&world);
    let served = fleetform_sandbox::serve(&world, vec![(api, 18080)], FaultPlan::default()).await.unwrap();
    println!("{:?}", served.urls);
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
}
