//! When an object can be used.

use fleetform_contract::Error;
use serde_json::Value as Json;

use crate::kinds::Kind;

pub(super) enum Readiness {
    Ready,
    /// How far it is.
    Waiting(String),
    /// Why it will not become ready by itself.
    Failed(String),
}

/// Reads an object's status.
pub(super) fn readiness(kind: &Kind, live: &Json) -> Readiness {
    match kind.kind {
        "Namespace" => match live["status"]["phase"].as_str() {
            Some("Active") => Readiness::Ready,
            phase => Readiness::Waiting(phase.unwrap_or("Pending").to_owned()),
        },
        "Deployment" => deployment(live),
        "DaemonSet" => daemon_set(live),
        "Job" => job(live),
        _ => Readiness::Ready,
    }
}

fn deployment(live: &Json) -> Readiness {
    let status = &live["status"];
    if !observed(live) {
        return Readiness::Waiting("waiting for the controller".to_owned());
    }
    let replicas = live["spec"]["replicas"].as_i64().unwrap_or(1);
    let count = |name: &str| status[name].as_i64().unwrap_or(0);
    let (updated, available) = (count("updatedReplicas"), count("availableReplicas"));
    // Old pods count until they are gone: a rollout is over when only new ones are left.
    if updated >= replicas && available >= replicas && count("replicas") <= updated {
        return Readiness::Ready;
    }
    if let Some(stuck) = condition(live, "Progressing").filter(|condition| {
        condition["status"] == "False" && condition["reason"] == "ProgressDeadlineExceeded"
    }) {
        let message = stuck["message"].as_str().unwrap_or("no progress");
        return Readiness::Failed(format!(
            "{available} of {replicas} replicas are available: {message}"
        ));
    }
    Readiness::Waiting(format!("{available} of {replicas} replicas available, {updated} updated"))
}

/// Ready when it has a pod on every node that it wants; nodes that are still coming up are not
/// waited for, because a pool may be empty for good reasons.
fn daemon_set(live: &Json) -> Readiness {
    if observed(live) {
        return Readiness::Ready;
    }
    Readiness::Waiting("waiting for the controller".to_owned())
}

/// Ready when it has started: an apply does not wait for hours of training.
fn job(live: &Json) -> Readiness {
    let status = &live["status"];
    let started =
        ["active", "succeeded", "failed"].iter().any(|name| status[*name].as_i64() > Some(0));
    let suspended = live["spec"]["suspend"].as_bool() == Some(true);
    if started || suspended || condition(live, "Complete").is_some() {
        return Readiness::Ready;
    }
    Readiness::Waiting("waiting for the first pods".to_owned())
}

/// The error of a workload that does not start, with what its pods say.
pub(super) fn failure(what: &str, reason: &str, pods: &[Json]) -> Error {
    let mut reasons: Vec<String> = pods.iter().filter_map(reason_of).collect();
    reasons.sort();
    reasons.dedup();
    reasons.truncate(3);
    let mut message = format!("{what}: {reason}");
    if !reasons.is_empty() {
        message += &format!(" Its pods say: {}", reasons.join("; "));
    }
    Error::rejected(message)
}

fn reason_of(pod: &Json) -> Option<String> {
    let waiting = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    for container in waiting {
        let state = &container["state"]["waiting"];
        if let Some(reason) =
            state["reason"].as_str().filter(|reason| *reason != "ContainerCreating")
        {
            let message = state["message"].as_str().unwrap_or_default();
            return Some(format!("{reason} {message}").trim().to_owned());
        }
    }
    let scheduled = condition(pod, "PodScheduled")?;
    (scheduled["status"] == "False")
        .then(|| scheduled["message"].as_str().unwrap_or("unschedulable").to_owned())
}

/// Whether the controller has seen the object as it is now.
fn observed(live: &Json) -> bool {
    live["status"]["observedGeneration"].as_i64() >= live["metadata"]["generation"].as_i64()
}

fn condition<'a>(live: &'a Json, kind: &str) -> Option<&'a Json> {
    let conditions = live["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: &str, live: &Json, expected: &str) {
        let kind = crate::kinds::kind(kind).expect(kind);
        let got = match readiness(kind, live) {
            Readiness::Ready => "ready".to_owned(),
            Readiness::Waiting(phase) => phase,
            Readiness::Failed(reason) => format!("failed: {reason}"),
        };
        assert_eq!(got, expected, "{live}");
    }

    #[test]
    fn a_rollout_is_over_when_every_replica_is_new_and_available() {
        let deployment = |status: Json| json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 2 }, "status": status });
        let kind = "kubernetes_deployment";
        check(kind, &deployment(json!({})), "waiting for the controller");
        check(
            kind,
            &deployment(json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2,
                "availableReplicas": 2 })),
            "waiting for the controller",
        );
        check(
            kind,
            &deployment(json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2,
                "availableReplicas": 2 })),
            "2 of 2 replicas available, 2 updated",
        );
        check(
            kind,
            &deployment(json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2,
                "availableReplicas": 2 })),
            "ready",
        );
        check(
            kind,
            &deployment(json!({ "observedGeneration": 2, "conditions": [{ "type": "Progressing",
                "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out" }] })),
            "failed: 0 of 2 replicas are available: timed out",
        );
    }

    #[test]
    fn a_job_is_ready_when_it_has_started() {
        check("kubernetes_job", &json!({ "status": {} }), "waiting for the first pods");
        check("kubernetes_job", &json!({ "status": { "active": 4 } }), "ready");
        check("kubernetes_job", &json!({ "spec": { "suspend": true } }), "ready");
    }

    #[test]
    fn a_failure_repeats_what_the_pods_say() {
        let pods = [
            json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": "False",
                "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." }] } }),
            json!({ "status": { "containerStatuses": [{ "state": { "waiting": {
                "reason": "ImagePullBackOff", "message": "no such image" } } }] } }),
        ];
        let error = failure("deployments.apps \"a/b\"", "timed out.", &pods).to_string();
        for part in ["Insufficient nvidia.com/gpu", "ImagePullBackOff no such image", "timed out"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
