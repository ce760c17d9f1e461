//! Objects as kubectl prints them: the `Table` form of an answer.

use serde_json::{Value as Json, json};

use super::kinds::Kind;
use super::store;

/// The table of an object or of a list; `now` is the world's time. `whole` objects go with their rows, else
/// their metadata does.
pub(super) fn table(kind: &Kind, answer: &Json, now: u64, whole: bool) -> Json {
    let objects: Vec<&Json> = match answer["items"].as_array() {
        Some(items) if answer["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
            items.iter().collect()
        }
        _ => vec![answer],
    };
    let columns: Json = columns(kind)
        .into_iter()
        .map(|(name, detail)| {
            json!({
                "name": name,
                "type": "string",
                "format": if name == "Name" { "name" } else { "" },
                "description": "",
                "priority": i32::from(detail),
            })
        })
        .collect();
    let rows: Json = objects
        .into_iter()
        .map(|object| {
            let shown = if whole {
                object.clone()
            } else {
                json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": object["metadata"],
                })
            };
            json!({ "cells": cells(kind, object, now), "object": shown })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": { "resourceVersion": answer["metadata"]["resourceVersion"] },
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// Column names, and whether only `-o wide` shows them.
fn columns(kind: &Kind) -> Vec<(&'static str, bool)> {
    let (shown, wide): (&[&str], &[&str]) = match kind.kind {
        "Node" => (&["Name", "Status", "Roles", "Age", "Version"], &["Instance-Type", "GPUs"]),
        "Namespace" => (&["Name", "Status", "Age"], &[]),
        "Pod" => (&["Name", "Ready", "Status", "Restarts", "Age"], &["IP", "Node"]),
        "Deployment" => {
            (&["Name", "Ready", "Up-to-date", "Available", "Age"], &["Containers", "Images"])
        }
        "ReplicaSet" => (&["Name", "Desired", "Current", "Ready", "Age"], &[]),
        "StatefulSet" => (&["Name", "Ready", "Age"], &[]),
        "DaemonSet" => {
            (&["Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Age"], &[])
        }
        "Job" => (&["Name", "Status", "Completions", "Age"], &[]),
        "CronJob" => (&["Name", "Schedule", "Suspend", "Age"], &[]),
        "Service" => (&["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"], &[]),
        "ConfigMap" => (&["Name", "Data", "Age"], &[]),
        "Secret" => (&["Name", "Type", "Data", "Age"], &[]),
        "HorizontalPodAutoscaler" => {
            (&["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"], &[])
        }
        "PodDisruptionBudget" => {
            (&["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"], &[])
        }
        _ => (&["Name", "Age"], &[]),
    };
    let shown = shown.iter().map(|name| (*name, false));
    shown.chain(wide.iter().map(|name| (*name, true))).collect()
}

fn cells(kind: &Kind, object: &Json, now: u64) -> Vec<Json> {
    columns(kind).into_iter().map(|(name, _)| cell(kind, object, name, now).into()).collect()
}

fn cell(kind: &Kind, object: &Json, column: &str, now: u64) -> String {
    let (spec, status) = (&object["spec"], &object["status"]);
    let count = |json: &Json| json.as_i64().unwrap_or(0);
    let show = |json: &Json, missing: &str| match json {
        Json::Null => missing.to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let size = |json: &Json| json.as_object().map_or(0, serde_json::Map::len).to_string();
    match (kind.kind, column) {
        (_, "Name") => show(&object["metadata"]["name"], ""),
        (_, "Age") => age(&object["metadata"]["creationTimestamp"], now),
        ("Node", "Status") => {
            let ready = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            let state = if ready { "Ready" } else { "NotReady" };
            let cordoned = spec["unschedulable"] == true;
            if cordoned { format!("{state},SchedulingDisabled") } else { state.to_owned() }
        }
        ("Node", "Roles") => "<none>".to_owned(),
        ("Node", "Version") => show(&status["nodeInfo"]["kubeletVersion"], ""),
        ("Node", "Instance-Type") => {
            show(&object["metadata"]["labels"]["node.kubernetes.io/instance-type"], "<none>")
        }
        ("Node", "GPUs") => show(&status["allocatable"]["nvidia.com/gpu"], "0"),
        ("Namespace", "Status") => show(&status["phase"], ""),
        ("Pod", "Ready") => {
            let containers = status["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
            let ready = containers.iter().filter(|container| container["ready"] == true).count();
            format!("{ready}/{}", spec["containers"].as_array().map_or(0, Vec::len))
        }
        ("Pod", "Status") => match status["phase"].as_str() {
            Some("Succeeded") => "Completed".to_owned(),
            phase => phase.unwrap_or("Unknown").to_owned(),
        },
        ("Pod", "Restarts") => "0".to_owned(),
        ("Pod", "IP") => show(&status["podIP"], "<none>"),
        ("Pod", "Node") => show(&spec["nodeName"], "<none>"),
        ("Deployment" | "StatefulSet", "Ready") => {
            format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]))
        }
        ("Deployment", "Up-to-date") => count(&status["updatedReplicas"]).to_string(),
        ("Deployment", "Available") => count(&status["availableReplicas"]).to_string(),
        ("Deployment", "Containers" | "Images") => {
            let field = if column == "Images" { "image" } else { "name" };
            let containers = spec["template"]["spec"]["containers"].as_array();
            let texts = containers.into_iter().flatten().filter_map(|c| c[field].as_str());
            texts.collect::<Vec<_>>().join(",")
        }
        ("ReplicaSet", "Desired") => count(&spec["replicas"]).to_string(),
        ("ReplicaSet", "Current") => count(&status["replicas"]).to_string(),
        ("ReplicaSet", "Ready") => count(&status["readyReplicas"]).to_string(),
        ("DaemonSet", "Desired") => count(&status["desiredNumberScheduled"]).to_string(),
        ("DaemonSet", "Current") => count(&status["currentNumberScheduled"]).to_string(),
        ("DaemonSet", "Ready") => count(&status["numberReady"]).to_string(),
        ("DaemonSet", "Up-to-date") => count(&status["updatedNumberScheduled"]).to_string(),
        ("DaemonSet", "Available") => count(&status["numberAvailable"]).to_string(),
        ("Job", "Status") => {
            let complete = status["conditions"].as_array().into_iter().flatten();
            let last = complete.last().and_then(|condition| condition["type"].as_str());
            let idle = if spec["suspend"] == true { "Suspended" } else { "Running" };
            last.unwrap_or(idle).to_owned()
        }
        ("Job", "Completions") => {
            let wanted = spec["completions"].as_i64().unwrap_or(1);
            format!("{}/{wanted}", count(&status["succeeded"]))
        }
        ("CronJob", "Schedule") => show(&spec["schedule"], ""),
        ("CronJob", "Suspend") => show(&spec["suspend"], "false"),
        ("Service", "Type") => show(&spec["type"], ""),
        ("Service", "Cluster-IP") => show(&spec["clusterIP"], "<none>"),
        ("Service", "External-IP") => "<none>".to_owned(),
        ("Service", "Port(s)") => {
            let ports = spec["ports"].as_array().into_iter().flatten();
            let ports =
                ports.map(|port| format!("{}/{}", port["port"], show(&port["protocol"], "")));
            ports.collect::<Vec<_>>().join(",")
        }
        ("ConfigMap" | "Secret", "Data") => size(&object["data"]),
        ("Secret", "Type") => show(&object["type"], ""),
        ("HorizontalPodAutoscaler", "Reference") => {
            let target = &spec["scaleTargetRef"];
            format!("{}/{}", show(&target["kind"], ""), show(&target["name"], ""))
        }
        ("HorizontalPodAutoscaler", "Targets") => {
            let target = &spec["metrics"][0]["resource"]["target"]["averageUtilization"];
            format!("cpu: <unknown>/{}%", show(target, "?"))
        }
        ("HorizontalPodAutoscaler", "MinPods") => show(&spec["minReplicas"], "1"),
        ("HorizontalPodAutoscaler", "MaxPods") => show(&spec["maxReplicas"], ""),
        ("HorizontalPodAutoscaler", "Replicas") => count(&status["currentReplicas"]).to_string(),
        ("PodDisruptionBudget", "Min Available") => show(&spec["minAvailable"], "N/A"),
        ("PodDisruptionBudget", "Max Unavailable") => show(&spec["maxUnavailable"], "N/A"),
        ("PodDisruptionBudget", "Allowed Disruptions") => {
            count(&status["disruptionsAllowed"]).to_string()
        }
        _ => String::new(),
    }
}

/// As kubectl writes ages: `12s`, `5m3s`, `2h`, `3d`.
fn age(created: &Json, now: u64) -> String {
    let Some(created) = created.as_str().and_then(store::unix) else {
        return "<unknown>".to_owned();
    };
    let seconds = now.saturating_sub(created);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{}m{}s", seconds / 60, seconds % 60),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
