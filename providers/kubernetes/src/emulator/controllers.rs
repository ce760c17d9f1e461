//! What runs behind the API: deployments get pods, pods get nodes, what is deleted goes.
//!
//! Controllers run at the start of a request, for what is due by then; so time passes with requests and the
//! same requests give the same cluster. Every step is small and can be repeated.

use serde_json::{Value as Json, json};

use super::kinds::{Kind, named};
use super::kubelet::{condition, make_pod, progress, suffix};
use super::rollout::{self, Share};
use super::scheduler;
use super::store::Cluster;
use super::validation::selects;

/// Finalizer of the foreground deletion.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Pods that are waiting for a node are looked at again after so many ticks.
const RETRY: u64 = 3;
/// Nothing scales up in the sandbox: what finds no node now finds none later either, so a rollout gives
/// up sooner than in a cluster.
const PATIENCE: u64 = 120;

/// Everything that is due.
pub(super) fn run(cluster: &mut Cluster) {
    super::nodes::follow_pools(cluster);
    for look in cluster.due() {
        let kind = named(look["kind"].as_str().unwrap_or_default());
        let name = look["name"].as_str().unwrap_or_default();
        let Some(object) = cluster.get(kind, look["namespace"].as_str(), name).cloned() else {
            continue;
        };
        if !object["metadata"]["deletionTimestamp"].is_null() {
            finish_deletion(cluster, kind, object);
            continue;
        }
        match kind.kind {
            "Deployment" => rollout::deployment(cluster, &object),
            "StatefulSet" => stateful_set(cluster, &object),
            "DaemonSet" => daemon_set(cluster, &object),
            "Job" => job(cluster, &object),
            "HorizontalPodAutoscaler" => autoscaler(cluster, &object),
            "PodDisruptionBudget" => budget(cluster, &object),
            _ => {}
        }
    }
}

/// After a write: what has to be looked at because of it.
pub(super) fn written(cluster: &mut Cluster, kind: &'static Kind, object: &Json) {
    let ticks = match kind.kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => {
            cluster.note(kind, object, cluster.tick());
            1
        }
        "HorizontalPodAutoscaler" | "PodDisruptionBudget" => 1,
        _ if !object["metadata"]["deletionTimestamp"].is_null() => 1,
        _ => return,
    };
    cluster.look_after(kind, object, ticks);
}

/// After a pod or a replica set is gone: its owner makes another.
pub(super) fn removed(cluster: &mut Cluster, object: &Json) {
    let namespace = object["metadata"]["namespace"].as_str();
    let Some(owner) = object["metadata"]["ownerReferences"][0].as_object() else { return };
    let kind = owner.get("kind").and_then(Json::as_str).unwrap_or_default();
    let name = owner.get("name").and_then(Json::as_str).unwrap_or_default();
    if !["ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job"].contains(&kind) {
        return;
    }
    let kind = named(kind);
    let Some(owner) = cluster.get(kind, namespace, name).cloned() else { return };
    if kind.is("ReplicaSet") {
        removed(cluster, &owner);
    } else {
        cluster.look_after(kind, &owner, 1);
    }
}

/// The objects of a kind that an object owns. Controllers name what they make after themselves.
pub(super) fn owned(cluster: &Cluster, kind: &Kind, owner: &Json) -> Vec<Json> {
    let metadata = &owner["metadata"];
    let prefix = format!("{}-", metadata["name"].as_str().unwrap_or_default());
    let named_alike = cluster.list(kind, metadata["namespace"].as_str(), &prefix);
    named_alike
        .into_iter()
        .filter(|object| object["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"])
        .cloned()
        .collect()
}

/// Removes what an object owns, and what that owns.
pub(super) fn remove_owned(cluster: &mut Cluster, kind: &Kind, owner: &Json) {
    let below: &[&str] = match kind.kind {
        "Deployment" => &["ReplicaSet"],
        "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => &["Pod"],
        "CronJob" => &["Job"],
        _ => &[],
    };
    for kind in below.iter().map(|kind| named(kind)) {
        for object in owned(cluster, kind, owner) {
            remove_owned(cluster, kind, &object);
            cluster.remove(kind, &object);
        }
    }
}

/// Brings a deletion to its end, as far as finalizers allow.
fn finish_deletion(cluster: &mut Cluster, kind: &'static Kind, mut object: Json) {
    if kind.is("Namespace") {
        empty_namespace(cluster, object);
        return;
    }
    remove_owned(cluster, kind, &object);
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != FOREGROUND);
        if !finalizers.is_empty() {
            cluster.put(kind, object);
            return;
        }
    }
    cluster.remove(kind, &object);
}

fn empty_namespace(cluster: &mut Cluster, namespace: Json) {
    let name = namespace["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut left = 0;
    for kind in super::kinds::KINDS.iter().filter(|kind| kind.namespaced) {
        let objects: Vec<Json> = cluster.list(kind, Some(&name), "").into_iter().cloned().collect();
        for mut object in objects {
            let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| {
                finalizers.iter().any(|finalizer| finalizer != FOREGROUND)
            });
            if !held {
                cluster.remove(kind, &object);
                continue;
            }
            left += 1;
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = cluster.now().into();
                cluster.put(kind, object);
            }
        }
    }
    let kind = named("Namespace");
    if left == 0 {
        cluster.remove(kind, &namespace);
    } else {
        cluster.look_after(kind, &namespace, RETRY);
    }
}

/// How many ticks a rollout may stand still.
pub(super) fn patience(spec: &Json) -> u64 {
    spec["progressDeadlineSeconds"].as_u64().unwrap_or(PATIENCE).min(PATIENCE)
}

fn stateful_set(cluster: &mut Cluster, set: &Json) {
    let kind = named("StatefulSet");
    let base = set["metadata"]["name"].as_str().unwrap_or_default();
    let replicas = set["spec"]["replicas"].as_u64().unwrap_or(1);
    let wanted: Vec<String> = (0..replicas).map(|index| format!("{base}-{index}")).collect();
    let pods = owned(cluster, named("Pod"), set);
    let is_wanted = |pod: &&Json| wanted.iter().any(|name| pod["metadata"]["name"] == *name);
    for pod in pods.iter().filter(|pod| !is_wanted(pod)) {
        cluster.remove(named("Pod"), pod);
    }
    let mut ready = 0;
    for name in &wanted {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == *name).cloned();
        let pod = pod.unwrap_or_else(|| make_pod(cluster, kind, set, name, |_| {}));
        if progress(cluster, &pod, false) == "Running" {
            ready += 1;
        }
    }
    let status = json!({
        "observedGeneration": set["metadata"]["generation"],
        "replicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
        "currentReplicas": replicas, "updatedReplicas": replicas, "collisionCount": 0,
    });
    cluster.put_status(kind, set, status);
    if ready < replicas {
        cluster.look_after(kind, set, RETRY);
    }
}

fn daemon_set(cluster: &mut Cluster, set: &Json) {
    let kind = named("DaemonSet");
    let base = set["metadata"]["name"].as_str().unwrap_or_default();
    let spec = &set["spec"]["template"]["spec"];
    let nodes: Vec<String> = cluster
        .list(named("Node"), None, "")
        .into_iter()
        .filter(|node| scheduler::unfit(spec, node).is_none())
        .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
        .collect();
    let names: Vec<String> =
        nodes.iter().map(|node| format!("{base}-{}", suffix(&format!("{base}/{node}")))).collect();
    let pods = owned(cluster, named("Pod"), set);
    let is_wanted = |pod: &&Json| names.iter().any(|name| pod["metadata"]["name"] == *name);
    for pod in pods.iter().filter(|pod| !is_wanted(pod)) {
        cluster.remove(named("Pod"), pod);
    }
    let mut ready = 0;
    for (node, name) in nodes.iter().zip(&names) {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == *name).cloned();
        let pod = pod.unwrap_or_else(|| {
            make_pod(cluster, kind, set, name, |pod| pod["spec"]["nodeName"] = node.as_str().into())
        });
        if progress(cluster, &pod, false) == "Running" {
            ready += 1;
        }
    }
    let wanted = nodes.len();
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"],
        "currentNumberScheduled": wanted, "desiredNumberScheduled": wanted,
        "numberMisscheduled": 0, "numberReady": ready, "updatedNumberScheduled": wanted,
    });
    if ready > 0 {
        status["numberAvailable"] = ready.into();
    }
    if ready < wanted {
        status["numberUnavailable"] = (wanted - ready).into();
        cluster.look_after(kind, set, 1);
    }
    cluster.put_status(kind, set, status);
}

fn job(cluster: &mut Cluster, job: &Json) {
    let kind = named("Job");
    if !job["status"]["completionTime"].is_null() || job["spec"]["suspend"] == true {
        return;
    }
    let base = job["metadata"]["name"].as_str().unwrap_or_default();
    let parallelism = job["spec"]["parallelism"].as_u64().unwrap_or(1);
    let completions = job["spec"]["completions"].as_u64().unwrap_or(parallelism);
    let pods = owned(cluster, named("Pod"), job);
    let (mut active, mut ready, mut succeeded) = (0_u64, 0_u64, 0_u64);
    for index in 0..completions {
        let key = "batch.kubernetes.io/job-completion-index";
        let text = index.to_string();
        let of_index = |pod: &&Json| pod["metadata"]["annotations"][key] == text;
        let pod = match pods.iter().find(of_index) {
            Some(pod) => pod.clone(),
            None if active < parallelism => {
                let name = format!("{base}-{index}-{}", suffix(&format!("{base}/{index}")));
                make_pod(cluster, kind, job, &name, |pod| {
                    pod["metadata"]["annotations"][key] = text.as_str().into();
                    pod["metadata"]["labels"][key] = text.as_str().into();
                })
            }
            None => continue,
        };
        match progress(cluster, &pod, true).as_str() {
            "Succeeded" => succeeded += 1,
            "Running" => (active, ready) = (active + 1, ready + 1),
            _ => active += 1,
        }
    }
    let now = cluster.now();
    let mut status = json!({ "uncountedTerminatedPods": {}, "terminating": 0, "ready": ready });
    let started = job["status"]["startTime"].as_str().map_or(now.clone(), str::to_owned);
    status["startTime"] = started.into();
    if active > 0 {
        status["active"] = active.into();
    }
    if succeeded > 0 {
        status["succeeded"] = succeeded.into();
    }
    if succeeded == completions {
        status["completionTime"] = now.as_str().into();
        let reason = "CompletionsReached";
        let message = "Reached expected number of succeeded pods";
        status["conditions"] = ["SuccessCriteriaMet", "Complete"]
            .map(|name| condition(name, "True", reason, message, &now))
            .into_iter()
            .collect();
    } else {
        cluster.look_after(kind, job, 2);
    }
    cluster.put_status(kind, job, status);
}

/// Keeps its target between the bounds; nothing is measured here.
fn autoscaler(cluster: &mut Cluster, autoscaler: &Json) {
    let kind = named("HorizontalPodAutoscaler");
    let spec = &autoscaler["spec"];
    let namespace = autoscaler["metadata"]["namespace"].as_str();
    let name = spec["scaleTargetRef"]["name"].as_str().unwrap_or_default();
    let target_kind = match spec["scaleTargetRef"]["kind"].as_str() {
        Some("Deployment") => named("Deployment"),
        Some("StatefulSet") => named("StatefulSet"),
        _ => return,
    };
    let now = cluster.now();
    let Some(target) = cluster.get(target_kind, namespace, name).cloned() else {
        let message = "the HPA controller was unable to get the target's current scale";
        let conditions =
            json!([condition("AbleToScale", "False", "FailedGetScale", message, &now)]);
        cluster.put_status(
            kind,
            autoscaler,
            json!({ "currentReplicas": 0, "desiredReplicas": 0, "conditions": conditions }),
        );
        cluster.look_after(kind, autoscaler, RETRY);
        return;
    };
    let current = target["spec"]["replicas"].as_u64().unwrap_or(1);
    let bound = |name: &str| spec[name].as_u64().unwrap_or(1);
    // Zero replicas switch the autoscaler off.
    let desired = match current {
        0 => 0,
        current => {
            current.clamp(bound("minReplicas"), bound("maxReplicas").max(bound("minReplicas")))
        }
    };
    if desired != current {
        let mut scaled = target.clone();
        scaled["spec"]["replicas"] = desired.into();
        let api_version = target_kind.api_version();
        let writer = super::apply::Writer {
            manager: "kube-controller-manager",
            subresource: Some("scale"),
            api_version: &api_version,
            now: &now,
        };
        super::apply::track(&target, &mut scaled, &writer);
        let generation = target["metadata"]["generation"].as_u64().unwrap_or(1);
        scaled["metadata"]["generation"] = (generation + 1).into();
        let scaled = cluster.put(target_kind, scaled);
        written(cluster, target_kind, &scaled);
    }
    let before = &autoscaler["status"]["conditions"][0]["lastTransitionTime"];
    let since = before.as_str().unwrap_or(&now).to_owned();
    let conditions = json!([
        condition(
            "AbleToScale",
            "True",
            "ReadyForNewScale",
            "recommended size matches current size",
            &since
        ),
        condition(
            "ScalingActive",
            "True",
            "ValidMetricFound",
            "the HPA was able to compute the replica count",
            &since
        ),
        condition(
            "ScalingLimited",
            "False",
            "DesiredWithinRange",
            "the desired count is within the acceptable range",
            &since
        ),
    ]);
    let status =
        json!({ "currentReplicas": desired, "desiredReplicas": desired, "conditions": conditions });
    cluster.put_status(kind, autoscaler, status);
}

fn budget(cluster: &mut Cluster, budget: &Json) {
    let namespace = budget["metadata"]["namespace"].as_str();
    let pods: Vec<&Json> = cluster
        .list(named("Pod"), namespace, "")
        .into_iter()
        .filter(|pod| selects(&budget["spec"]["selector"], &pod["metadata"]["labels"]))
        .collect();
    let expected = pods.len() as i64;
    let healthy = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count() as i64;
    let spec = &budget["spec"];
    let desired = if spec["minAvailable"].is_null() {
        expected - Share::of(&spec["maxUnavailable"], 1).up(expected)
    } else {
        Share::of(&spec["minAvailable"], 0).up(expected)
    };
    let status = json!({
        "observedGeneration": budget["metadata"]["generation"],
        "expectedPods": expected, "currentHealthy": healthy, "desiredHealthy": desired.max(0),
        "disruptionsAllowed": (healthy - desired.max(0)).max(0),
    });
    cluster.put_status(named("PodDisruptionBudget"), budget, status);
}
