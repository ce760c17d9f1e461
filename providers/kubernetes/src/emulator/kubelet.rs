//! The life of a pod: made from a template, bound to a node, running, and at its end.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::kinds::{Kind, named};
use super::scheduler;
use super::store::Cluster;
use crate::labels;

/// Makes a pod of a template, owned by `owner`, and tries to bind it.
pub(super) fn make_pod(
    cluster: &mut Cluster,
    owner_kind: &Kind,
    owner: &Json,
    name: &str,
    adjust: impl FnOnce(&mut Json),
) -> Json {
    let kind = named("Pod");
    let namespace = owner["metadata"]["namespace"].as_str();
    let template = &owner["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    metadata["name"] = name.into();
    metadata["namespace"] = namespace.into();
    metadata["uid"] = cluster.uid(kind, namespace, name).into();
    metadata["creationTimestamp"] = cluster.now().into();
    metadata["ownerReferences"] = json!([owner_reference(owner_kind, owner)]);
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
        "status": { "phase": "Pending", "qosClass": "Burstable" },
    });
    adjust(&mut pod);
    let pod = cluster.put(kind, pod);
    bind(cluster, pod)
}

pub(super) fn owner_reference(kind: &Kind, owner: &Json) -> Json {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Finds a node for a pod that has none, and says so in its conditions.
fn bind(cluster: &mut Cluster, mut pod: Json) -> Json {
    let kind = named("Pod");
    if !pod["spec"]["nodeName"].is_null() {
        return pod;
    }
    let asked = scheduler::asked(&pod["spec"]);
    let wanted_gpus = asked.get(scheduler::GPU).copied().unwrap_or(0);
    let used = cluster.used();
    let nodes = cluster.list(named("Node"), None, "");
    let (count, nothing) = (nodes.len(), scheduler::Amounts::new());
    let mut reasons: BTreeMap<String, usize> = Default::default();
    let mut chosen: Option<(i128, String)> = None;
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let taken = used.get(name).unwrap_or(&nothing);
        let against = match scheduler::unfit(&pod["spec"], node) {
            Some(reason) => vec![reason],
            None => scheduler::lacking(&asked, taken, node),
        };
        if against.is_empty() {
            // The fullest node first, so that whole ones are left for big pods.
            let free = scheduler::free_gpus(taken, node);
            if chosen.as_ref().is_none_or(|(least, _)| free < *least) {
                chosen = Some((free, name.to_owned()));
            }
            if free == wanted_gpus {
                break;
            }
        }
        for reason in against {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    cluster.give_back(used);
    let mut status = pod["status"].clone();
    let now = cluster.now();
    if let Some((_, node)) = chosen {
        pod["spec"]["nodeName"] = node.into();
        status["conditions"] = json!([condition("PodScheduled", "True", "", "", &now)]);
        pod["status"] = status;
        let pod = cluster.put(kind, pod);
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let settles = cluster.tick() + cluster.table.duration(name, 1, 3);
        cluster.note(kind, &pod, settles);
        return pod;
    }
    let reasons: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let message = if reasons.is_empty() {
        "no nodes available to schedule pods".to_owned()
    } else {
        format!("0/{count} nodes are available: {}.", reasons.join(", "))
    };
    let before = &pod["status"]["conditions"][0];
    if before["message"] != message {
        status["conditions"] =
            json!([condition("PodScheduled", "False", "Unschedulable", &message, &now)]);
    }
    if status != pod["status"] {
        pod["status"] = status;
        pod = cluster.put(kind, pod);
    }
    pod
}

/// Moves a pod on: to a node, to running, and (where it ends by itself) to its end. Gives its phase.
pub(super) fn progress(cluster: &mut Cluster, pod: &Json, ends: bool) -> String {
    let kind = named("Pod");
    let mut pod = bind(cluster, pod.clone());
    let phase = pod["status"]["phase"].as_str().unwrap_or("Pending").to_owned();
    let settled = cluster.noted(kind, &pod) <= cluster.tick();
    let now = cluster.now();
    let next = match phase.as_str() {
        "Pending" if !pod["spec"]["nodeName"].is_null() && settled => "Running",
        "Running" if ends && settled => "Succeeded",
        _ => return phase,
    };
    let running = next == "Running";
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let address = cluster.table.duration(&name, 2, 254);
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let containers = containers.iter().map(|container| {
        let state = if running {
            json!({ "running": { "startedAt": now } })
        } else {
            json!({ "terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now } })
        };
        json!({
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": running, "started": running, "restartCount": 0, "state": state,
        })
    });
    let containers: Json = containers.collect();
    let ready = if running { "True" } else { "False" };
    let reason = if running { "" } else { "PodCompleted" };
    let conditions: Json = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|name| {
            let always = matches!(name, "PodScheduled" | "Initialized");
            let (status, reason) = if always { ("True", "") } else { (ready, reason) };
            condition(name, status, reason, "", &now)
        })
        .into_iter()
        .collect();
    pod["status"] = json!({
        "phase": next,
        "conditions": conditions,
        "containerStatuses": containers,
        "hostIP": "10.0.0.1",
        "podIP": format!("10.244.0.{address}"),
        "podIPs": [{ "ip": format!("10.244.0.{address}") }],
        "qosClass": "Burstable",
        "startTime": pod["metadata"]["creationTimestamp"],
    });
    let pod = cluster.put(kind, pod);
    if running && ends {
        let runs = cluster.table.duration(&name, 20, 40);
        cluster.note(kind, &pod, cluster.tick() + runs);
    }
    next.to_owned()
}

pub(super) fn condition(kind: &str, status: &str, reason: &str, message: &str, now: &str) -> Json {
    let mut condition = json!({ "type": kind, "status": status, "lastTransitionTime": now });
    if !reason.is_empty() {
        condition["reason"] = reason.into();
    }
    if !message.is_empty() {
        condition["message"] = message.into();
    }
    condition
}

/// Five letters of a name, as the API server appends them.
pub(super) fn suffix(seed: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = u64::from_str_radix(&labels::hash(seed), 16).unwrap_or(0);
    let letters = (0..5).map(|_| {
        let letter = ALPHABET[(hash % ALPHABET.len() as u64) as usize];
        hash /= ALPHABET.len() as u64;
        char::from(letter)
    });
    letters.collect()
}
