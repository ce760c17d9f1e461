//! The contract's suite through kube, over HTTP, against the emulated API server.

use std::collections::BTreeMap;

use fleetform_contract::conformance::{self, Case};
use fleetform_contract::{
    Address, Autoscale, Health, JobSettings, KubeAccess, Market, Needs, Objects, Offering, Owner,
    Pool, Resource, Site, Value, Workload, WorkloadKind,
};
use fleetform_sandbox::{FaultPlan, NodePool, Served, World};

const CLUSTER: &str = "aws/us-east-1/chat";

fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5f0c0de7-0000-4000-8000-000000000001".into() }
}

/// A cluster with two nodes of four GPUs.
async fn cluster() -> (Box<dyn Objects>, Served) {
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
    let served = fleetform_sandbox::serve(&world, vec![(api, 0)], FaultPlan::default()).await;
    let served = served.expect("loopback is there");
    let access = KubeAccess {
        server: format!("{}/{CLUSTER}", served.urls["kubernetes"]),
        certificate_authority: None,
        token: None,
        client_certificate: None,
    };
    (fleetform_kubernetes::objects(&access).expect("a plain server"), served)
}

fn pool() -> Pool {
    Pool {
        offering: Offering {
            cloud: "aws".into(),
            region: "us-east-1".into(),
            instance_type: "g6.12xlarge".into(),
            market: Market::OnDemand,
            zones: Vec::new(),
            gpu_type: Some("L4".into()),
            gpus: 4,
            gpu_memory_gib: 24.0,
            cpus: 48.0,
            memory_gib: 192.0,
            architecture: "x86_64".into(),
            price_hour: 4.6,
            max_nodes: None,
            as_of: "2026-01-01".into(),
        },
        nodes: 2,
        min_nodes: 0,
        max_nodes: 2,
        workloads: Vec::new(),
    }
}

fn workload(name: &str, kind: WorkloadKind) -> Workload {
    Workload {
        name: name.into(),
        kind,
        image: "ghcr.io/acme/chat:1.4.2".into(),
        command: vec!["serve".into()],
        env: BTreeMap::from([("MODE".to_owned(), "fast".into())]),
        secret_env: Vec::new(),
        replicas: 2,
        pools: BTreeMap::from([(pool().key(), 2)]),
        needs: Needs { gpus: 1, cpus: 3.5, memory_gib: 12.0, ..Needs::default() },
        port: Some(8080),
        health: Some(Health { path: "/healthz".into(), port: 8080, initial_delay_seconds: 30 }),
        autoscale: None,
    }
}

/// What the planner makes of a site, with everything in it.
fn resources(workloads: Vec<Workload>) -> Vec<Resource> {
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

fn find(resources: &[Resource], kind: &str, name: &str) -> Resource {
    let address = Address::keyed(kind, name, "aws/us-east-1");
    let found = resources.iter().find(|resource| resource.address == address);
    found.unwrap_or_else(|| panic!("no {address}")).clone()
}

fn set(resource: &mut Resource, path: &[&str], value: Value) {
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

fn everything() -> Vec<Resource> {
    let job = |schedule: Option<&str>| {
        WorkloadKind::Job(JobSettings {
            duration_seconds: 3600,
            schedule: schedule.map(str::to_owned),
            retries: 2,
        })
    };
    let scaled = Workload {
        autoscale: Some(Autoscale { min: 2, max: 3, target_cpu: 0.6 }),
        ..workload("ranker", WorkloadKind::Service)
    };
    let mut made = resources(vec![
        workload("chat", WorkloadKind::Service),
        scaled,
        workload("finetune", job(None)),
        workload("nightly", job(Some("0 3 * * *"))),
    ]);
    // Secret values are opened before a provider sees them.
    let mut secret = find(&made, "kubernetes_service", "chat");
    secret.address = Address::keyed("kubernetes_secret", "chat", "aws/us-east-1");
    set(&mut secret, &["kind"], "Secret".into());
    set(&mut secret, &["metadata", "name"], "chat-env".into());
    let address = secret.address.to_string();
    set(&mut secret, &["metadata", "annotations", "fleetform.dev/address"], address.into());
    secret.attributes.remove("spec");
    secret.attributes.insert("type".into(), "Opaque".into());
    secret.attributes.insert("stringData".into(), Value::map([("TOKEN", "hunter2".into())]));
    made.insert(1, secret);
    made
}

#[tokio::test]
async fn every_kind_lives_its_life() {
    let (objects, _served) = cluster().await;
    let cases = everything().into_iter().map(|resource| {
        let mut updated = resource.clone();
        match resource.address.kind.as_str() {
            "kubernetes_deployment" => {
                let image = ["spec", "template", "spec", "containers", "0", "image"];
                set(&mut updated, &image, "ghcr.io/acme/chat:2".into());
            }
            "kubernetes_secret" => {
                updated.attributes.insert("stringData".into(), Value::map([("OTHER", "x".into())]));
            }
            "kubernetes_horizontal_pod_autoscaler" => {
                set(&mut updated, &["spec", "maxReplicas"], 4.into());
            }
            _ => set(&mut updated, &["metadata", "labels", "team"], "ml".into()),
        }
        Case { resource, updated: Some(updated) }
    });
    conformance::check(&*objects, &owner(), cases.collect()).await;
}
