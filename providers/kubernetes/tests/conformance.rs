//! The contract's suite through kube, over HTTP, against the emulated API server.

mod sandbox;

use fleetform_contract::conformance::{self, Case};
use fleetform_contract::{
    Address, Autoscale, JobSettings, Resource, Value, Workload, WorkloadKind,
};

use sandbox::{cluster, find, owner, resources, set, workload};

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
