//! An emulated cluster and the objects of a site, for the tests.
#![allow(dead_code, reason = "not every test uses everything")]

use std::collections::BTreeMap;

use fleetform_contract::{
    Address, Health, KubeAccess, Market, Needs, Objects, Offering, Owner, Pool, Resource, Site,
    Value, Workload, WorkloadKind,
};
use fleetform_sandbox::{FaultPlan, NodePool, Served, World};

pub const CLUSTER: &str = "aws/us-east-1/chat";

pub fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5f0c0de7-0000-4000-8000-000000000001".into() }
}

/// A cluster with two nodes of four GPUs.
pub async fn cluster() -> (Box<dyn Objects>, Served) {
    let (access, served, _) = served(FaultPlan::default()).await;
    (fleetform_kubernetes::objects(&access).expect("a plain server"), served)
}

/// Its address, what keeps it up, and its world.
pub async fn served(faults: FaultPlan) -> (KubeAccess, Served, World) {
    let world = World::in_memory(7);
    world.step(|table| {
        table.open_cluster(CLUSTER, "1.34");
        let nodes = NodePool {
            count: 2,
            instance_type: "g6.12xlarge".into(),
            labels: vec![("fleetform.dev/pool".into(), pool().slug())],
            taints: vec![("nvidia.com/gpu".into(), "present".into(), "NoSchedule".into())],
        };
        table.set_nodes(CLUSTER, &pool().slug(), &nodes);
    });
    let api = fleetform_kubernetes::emulator::api_with(&world, &[pool().offering]);
    let served = fleetform_sandbox::serve(&world, vec![(api, 0)], faults).await;
    let served = served.expect("loopback is there");
    let access = KubeAccess {
        server: format!("{}/{CLUSTER}", served.urls["kubernetes"]),
        certificate_authority: None,
        token: None,
        client_certificate: None,
    };
    (access, served, world)
}

pub fn pool() -> Pool {
    Pool {
        offering: Offering {
            cloud: "aws".into(),
            region: "us-east-1".into(),
            instance_type: "g6.12xlarge".into(),
            market: Market::OnDemand,
            zones: Vec::new(),
            zone: None,
            max_pods: None,
            gpu_type: Some("L4".into()),
            gpus: 4,
            gpu_memory_gib: 24.0,
            cpus: 48.0,
            memory_gib: 192.0,
            architecture: "x86_64".into(),
            price_hour: 4.6,
            max_nodes: None,
            location: None,
            as_of: "2026-01-01".into(),
        },
        nodes: 2,
        min_nodes: 0,
        max_nodes: 2,
        workloads: Vec::new(),
    }
}

pub fn workload(name: &str, kind: WorkloadKind) -> Workload {
    Workload {
        name: name.into(),
        kind,
        image: "ghcr.io/acme/chat:1.4.2".into(),
        command: vec!["serve".into()],
        env: BTreeMap::from([("MODE".to_owned(), "fast".into())]),
        secret_env: Vec::new(),
        replicas: 2,
        pools: BTreeMap::from([(pool().key(), 2)]),
        zone_spread: None,
        needs: Needs { gpus: 1, cpus: 3.5, memory_gib: 12.0, ..Needs::default() },
        port: Some(8080),
        health: Some(Health { path: "/healthz".into(), port: 8080, initial_delay_seconds: 30 }),
        autoscale: None,
    }
}

/// What the planner makes of a site, with everything in it.
pub fn resources(workloads: Vec<Workload>) -> Vec<Resource> {
    let site = Site {
        cloud: "aws".into(),
        region: "us-east-1".into(),
        cluster: "chat".into(),
        pools: vec![pool()],
        workloads,
    };
    let cluster = Address::keyed("aws_eks_cluster", "main", "us-east-1");
    fleetform_kubernetes::workloads(&site, &owner(), Some(&cluster), &[])
}

pub fn find(resources: &[Resource], kind: &str, name: &str) -> Resource {
    let address = Address::keyed(kind, name, "aws/us-east-1");
    let found = resources.iter().find(|resource| resource.address == address);
    found.unwrap_or_else(|| panic!("no {address}")).clone()
}

pub fn set(resource: &mut Resource, path: &[&str], value: Value) {
    let (first, rest) = path.split_first().expect("a path");
    let mut place = resource.attributes.get_mut(*first).expect("the first part is there");
    for part in rest {
        place = match place {
            Value::Map(map) => map.entry((*part).to_owned()).or_default(),
            Value::List(items) => &mut items[part.parse::<usize>().expect("an index")],
            other => panic!("{part} is inside {other:?}"),
        };
    }
    *place = value;
}
