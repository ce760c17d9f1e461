//! Node pools of AKS clusters: `Microsoft.ContainerService/managedClusters/agentPools`.

use fleetform_contract::{
    Attributes, Progress, Record, Reference, Remote, Resource, Result, Value,
};
use serde_json::{Value as Json, json};

use crate::attributes::{
    collect, current, ensure, if_new, if_unchanged, json, put, remote, required, strip,
};
use crate::clusters::VERSION;
use crate::transport::Arm;

/// Attributes as Azure names them, where they are the same value under another name.
const NAMES: [(&str, &str); 15] = [
    ("mode", "mode"),
    ("vm_size", "vmSize"),
    ("node_count", "count"),
    ("auto_scaling_enabled", "enableAutoScaling"),
    ("min_count", "minCount"),
    ("max_count", "maxCount"),
    ("priority", "scaleSetPriority"),
    ("eviction_policy", "scaleSetEvictionPolicy"),
    ("spot_max_price", "spotMaxPrice"),
    ("os_disk_size_gb", "osDiskSizeGB"),
    ("orchestrator_version", "orchestratorVersion"),
    ("vnet_subnet_id", "vnetSubnetID"),
    ("zones", "availabilityZones"),
    ("node_labels", "nodeLabels"),
    ("node_taints", "nodeTaints"),
];

/// What an update in place may change.
const MUTABLE: [&str; 7] = [
    "mode",
    "enableAutoScaling",
    "minCount",
    "maxCount",
    "nodeLabels",
    "nodeTaints",
    "orchestratorVersion",
];

/// What only Azure says of a pool.
pub const TOLD_PROPERTIES: [&str; 5] =
    ["currentOrchestratorVersion", "eTag", "nodeImageVersion", "powerState", "provisioningState"];

/// The cluster that a pool belongs to.
pub fn cluster_id(attributes: &Attributes) -> Result<&str> {
    required(attributes, "kubernetes_cluster_id")
}

pub async fn read(arm: &Arm, reference: Reference<'_>) -> Result<Option<Remote>> {
    // Of a cluster that is not made yet there is no id, and there are no pools.
    let names = match reference.id.and_then(|id| id.rsplit_once("/agentPools/")) {
        Some(names) => names,
        None => match cluster_id(reference.attributes) {
            Ok(cluster) => (cluster, required(reference.attributes, "name")?),
            Err(_) => return Ok(None),
        },
    };
    let (cluster, name) = names;
    let body = arm.get(&id(cluster, name), VERSION).await?;
    Ok(body.map(|body| as_remote(cluster, name, &body["properties"])))
}

pub async fn create(arm: &Arm, desired: &Resource, progress: &dyn Progress) -> Result<Remote> {
    let cluster = cluster_id(&desired.attributes)?;
    let name = required(&desired.attributes, "name")?;
    let id = id(cluster, name);
    let mut put = put(&id, VERSION, body(desired));
    put.condition = if_new();
    let made = ensure(arm, desired, put, progress).await?;
    Ok(as_remote(cluster, name, &made["properties"]))
}

/// Puts the pool back as it is, with what differs changed. The number of nodes is the autoscaler's; only
/// what is outside the new bounds is brought inside.
pub async fn update(
    arm: &Arm,
    record: &Record,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let mut body = current(arm, record, VERSION).await?;
    let mut wanted = self::body(desired)["properties"].take();
    let properties = &mut body["properties"];
    for name in MUTABLE {
        if !wanted[name].is_null() || ["nodeLabels", "nodeTaints"].contains(&name) {
            properties[name] = wanted[name].take();
        }
    }
    properties["tags"] = wanted["tags"].take();
    let bound = |name: &str| properties[name].as_i64();
    let count = properties["count"].as_i64().unwrap_or_default();
    let count =
        count.max(bound("minCount").unwrap_or(0)).min(bound("maxCount").unwrap_or(i64::MAX));
    properties["count"] = count.into();

    let condition = if_unchanged(&properties["eTag"]);
    strip(properties, &TOLD_PROPERTIES);
    let body = json!({ "properties": properties.take() });
    let mut put = put(&record.id, VERSION, body);
    put.condition = condition;
    let now = arm.change(put, progress).await?;
    let cluster = cluster_id(&record.attributes)?;
    Ok(as_remote(cluster, required(&record.attributes, "name")?, &now["properties"]))
}

/// A pool from its properties, which stand in its own answer and in that of its cluster.
pub fn as_remote(cluster: &str, name: &str, properties: &Json) -> Remote {
    let mut attributes: Attributes = NAMES
        .into_iter()
        .map(|(ours, azure)| (ours.to_owned(), Value::from_plain_json(&properties[azure])))
        .filter(|(_, value)| !is_empty(value))
        .collect();
    let spot = attributes.get("priority").and_then(Value::as_str) == Some("Spot");
    if !spot {
        // Azure leaves out what is the usual case, and says prices of pools that have none.
        attributes.insert("priority".into(), "Regular".into());
        attributes.remove("eviction_policy");
        attributes.remove("spot_max_price");
    }
    attributes.extend(collect([
        ("name", name.into()),
        ("kubernetes_cluster_id", cluster.into()),
        ("tags", Value::from_plain_json(&properties["tags"])),
    ]));
    remote(id(cluster, name), attributes)
}

fn id(cluster: &str, name: &str) -> String {
    format!("{cluster}/agentPools/{name}")
}

fn body(desired: &Resource) -> Json {
    let attributes = &desired.attributes;
    let mut properties = json!({
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "tags": json(attributes, "tags"),
    });
    for (ours, azure) in NAMES {
        if attributes.get(ours).is_some_and(|value| !value.is_null()) {
            properties[azure] = json(attributes, ours);
        }
    }
    json!({ "properties": properties })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}
