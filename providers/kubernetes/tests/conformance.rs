//! The contract's suite through kube, over HTTP, against the emulated API server.

mod sandbox;

use async_trait::async_trait;
use fleetform_contract::conformance::{self, Case};
use fleetform_contract::{
    Address, Attributes, Autoscale, Error, JobSettings, Mark, Objects, Owner, Progress, Record,
    Reference, Remote, Resource, Result, Schema, Token, Value, Workload, WorkloadKind,
};
use fleetform_sandbox::FaultPlan;

use sandbox::{cluster, find, owner, resources, served, set, workload};

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

/// Every kind with something to change in place.
fn cases() -> Vec<Case> {
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
    cases.collect()
}

#[tokio::test]
async fn every_kind_lives_its_life() {
    let (objects, _served) = cluster().await;
    conformance::check(&*objects, &owner(), cases()).await;
}

/// The same with every sixth answer missing or refused, and a caller that does what errors tell it.
#[tokio::test]
async fn every_kind_lives_its_life_among_faults() {
    let faults =
        FaultPlan { throttled: 0.05, unavailable: 0.05, answer_lost: 0.05, ..FaultPlan::default() };
    let (access, _served, _) = served(faults).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    conformance::check(&Retrying(objects), &owner(), cases()).await;
}

struct Retrying(Box<dyn Objects>);

/// Until it is not a fault's error, at most a thousand times.
macro_rules! retry {
    ($call:expr) => {{
        let mut result = $call.await;
        for _ in 0..1000 {
            match result {
                Err(Error::Throttled { .. } | Error::Lost { .. } | Error::Conflict { .. }) => {
                    result = $call.await;
                }
                _ => break,
            }
        }
        result
    }};
}

#[async_trait]
impl Objects for Retrying {
    fn schema(&self, kind: &str) -> Option<&'static Schema> {
        self.0.schema(kind)
    }

    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>> {
        retry!(self.0.read(reference))
    }

    async fn create(
        &self,
        desired: &Resource,
        token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        retry!(self.0.create(desired, token, progress))
    }

    async fn update(
        &self,
        record: &Record,
        desired: &Resource,
        token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        retry!(self.0.update(record, desired, token, progress))
    }

    async fn delete(&self, record: &Record, token: &Token, progress: &dyn Progress) -> Result<()> {
        retry!(self.0.delete(record, token, progress))
    }

    fn owner(&self, attributes: &Attributes) -> Option<Owner> {
        self.0.owner(attributes)
    }

    async fn list(&self, stack: &str) -> Result<Vec<(Mark, Remote)>> {
        retry!(self.0.list(stack))
    }
}
