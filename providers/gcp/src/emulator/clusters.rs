//! Clusters of the Kubernetes Engine API.

use base64::Engine;
use fleetform_sandbox::{Object, Table};
use serde_json::{Value, json};

use super::operations::{self, Effect, Target};
use super::refusal::{
    Refusal, already_exists, bad_field, failed_precondition, invalid, not_found, unimplemented,
};
use super::{
    Answer, Answered, Call, check_labels, default, empty, hash, is_name, node_pools, text,
    timestamp, wire,
};
use crate::catalog;

pub const CLUSTERS: &str = "gcp/container/clusters";

/// Versions on offer, newest first; the default is one behind, as in the regular channel.
const VERSIONS: [&str; 4] =
    ["1.35.1-gke.1396000", "1.34.4-gke.1047000", "1.33.5-gke.2019000", "1.32.9-gke.1548000"];
const DEFAULT_VERSION: &str = VERSIONS[1];

/// Set by Google, never by a client.
const OUTPUT_ONLY: &[&str] = &[
    "conditions",
    "createTime",
    "currentMasterVersion",
    "currentNodeCount",
    "currentNodeVersion",
    "endpoint",
    "expireTime",
    "id",
    "instanceGroupUrls",
    "labelFingerprint",
    "location",
    "nodeIpv4CidrSize",
    "selfLink",
    "servicesIpv4Cidr",
    "status",
    "statusMessage",
    "zone",
];

pub fn server_config(call: &mut Call<'_>) -> Answered {
    call.request("GetServerConfigRequest")?;
    zones(call.location)?;
    let channels: Vec<Value> = ["RAPID", "REGULAR", "STABLE"]
        .iter()
        .zip(VERSIONS)
        .map(|(channel, version)| {
            json!({ "channel": channel, "defaultVersion": version, "validVersions": VERSIONS })
        })
        .collect();
    let config = json!({
        "defaultClusterVersion": DEFAULT_VERSION,
        "validMasterVersions": VERSIONS,
        "validNodeVersions": VERSIONS,
        "defaultImageType": "COS_CONTAINERD",
        "validImageTypes": ["COS_CONTAINERD", "UBUNTU_CONTAINERD"],
        "channels": channels,
    });
    Ok(Answer::Message("ServerConfig", config))
}

pub fn create(call: &mut Call<'_>) -> Answered {
    let request = call.request("CreateClusterRequest")?;
    let zones = zones(call.location)?;
    let mut cluster = request["cluster"].clone();
    if !cluster.is_object() {
        return Err(bad_field("cluster", "Cluster is required."));
    }
    let name = text(&cluster, "name").to_owned();
    if !is_name(&name, 40) {
        return Err(bad_field(
            "cluster.name",
            format!(
                "Invalid value for field \"cluster.name\": \"{name}\". A name must start with a \
                 lower-case letter, end with a letter or digit, and have at most 40 lower-case \
                 letters, digits and dashes."
            ),
        ));
    }
    let link = format!("{}/clusters/{name}", call.parent());
    let key = call.key(&name);
    if call.table.get(CLUSTERS, &key).is_some() {
        return Err(already_exists(format!("Already exists: {link}.")));
    }
    if let Some(field) = OUTPUT_ONLY.iter().find(|field| cluster.get(**field).is_some()) {
        return Err(bad_field(
            &format!("cluster.{}", wire::snake(field)),
            format!("Field \"cluster.{}\" is output only.", wire::snake(field)),
        ));
    }
    check_labels(&cluster["resourceLabels"], "cluster.resource_labels")?;
    check_identity(call.project, &cluster["workloadIdentityConfig"])?;
    if cluster["autopilot"]["enabled"] == true {
        return Err(unimplemented("Autopilot clusters"));
    }
    for location in cluster["locations"].as_array().into_iter().flatten() {
        let location = location.as_str().unwrap_or_default();
        if catalog::region_of(location) != catalog::region_of(&zones[0]) {
            return Err(bad_field(
                "cluster.locations",
                format!("Location \"{location}\" is not a zone of \"{}\".", call.location),
            ));
        }
    }
    let version = resolve(text(&cluster, "initialClusterVersion"))?;

    let pools = std::mem::take(&mut cluster["nodePools"]);
    let pools = pools.as_array().cloned().unwrap_or_default();
    let count = cluster["initialNodeCount"].as_i64().unwrap_or(0);
    let pools = match (pools.is_empty(), count) {
        (true, 1..) => {
            let config = cluster.get("nodeConfig").cloned().unwrap_or_else(empty);
            vec![json!({ "name": "default-pool", "initialNodeCount": count, "config": config })]
        }
        (true, _) => {
            return Err(bad_field(
                "cluster.initial_node_count",
                "Cluster.initial_node_count must be greater than zero.",
            ));
        }
        (false, 0) if cluster.get("nodeConfig").is_none() => pools,
        (false, _) => {
            return Err(invalid(
                "Cluster.node_pools cannot be set with Cluster.initial_node_count or \
                 Cluster.node_config.",
            ));
        }
    };

    complete(call, &mut cluster, &link, &version, &zones);
    let mut prepared: Vec<Value> = Vec::new();
    for pool in pools {
        let pool = node_pools::prepare(&cluster, &link, pool, &prepared)?;
        if prepared.iter().any(|other| other["name"] == pool["name"]) {
            return Err(already_exists(format!(
                "Already exists: {link}/nodePools/{}.",
                text(&pool, "name")
            )));
        }
        prepared.push(pool);
    }
    let effect = Effect { action: "cluster_change", key: key.clone(), set: empty() };
    let operation = start(call, &key, &link, "CREATE_CLUSTER", &effect, &mut cluster);
    call.table.put(CLUSTERS, key.as_str(), Object { body: cluster, settles_at: 0 });
    for pool in prepared {
        let key = format!("{key}/{}", text(&pool, "name"));
        call.table.put(node_pools::NODE_POOLS, key, Object { body: pool, settles_at: 0 });
    }
    Ok(operation)
}

pub fn list(call: &mut Call<'_>) -> Answered {
    call.request("ListClustersRequest")?;
    let prefix = match call.location {
        "-" => format!("{}/", call.project),
        location => {
            zones(location)?;
            format!("{}/{location}/", call.project)
        }
    };
    let keys: Vec<String> =
        call.table.list(CLUSTERS, &prefix).map(|(key, _)| key.to_owned()).collect();
    let clusters: Vec<Value> = keys.iter().filter_map(|key| whole(call.table, key)).collect();
    Ok(Answer::Message("ListClustersResponse", json!({ "clusters": clusters })))
}

pub fn get(call: &mut Call<'_>, name: &str) -> Answered {
    call.request("GetClusterRequest")?;
    let key = call.key(name);
    match whole(call.table, &key) {
        Some(cluster) => Ok(Answer::Message("Cluster", cluster)),
        None => {
            operations::forget(call.table, call.project, call.location, &key);
            Err(missing(call, name))
        }
    }
}

pub fn update(call: &mut Call<'_>, name: &str) -> Answered {
    let request = call.request("UpdateClusterRequest")?;
    idle(call, name)?;
    let empty_map = serde_json::Map::new();
    let update = request["update"].as_object().unwrap_or(&empty_map);
    let mut given = update.iter().filter(|(field, _)| *field != "etag");
    let (Some((field, value)), None) = (given.next(), given.next()) else {
        return Err(invalid("Exactly one field of the cluster may be updated at a time."));
    };
    let set = match field.as_str() {
        "desiredMasterVersion" => master(call, name, value)?,
        "desiredReleaseChannel" => json!({ "releaseChannel": value }),
        "desiredWorkloadIdentityConfig" => {
            check_identity(call.project, value)?;
            json!({ "workloadIdentityConfig": value })
        }
        "desiredLoggingService" => json!({ "loggingService": value }),
        "desiredMonitoringService" => json!({ "monitoringService": value }),
        other => return Err(unimplemented(&format!("updates of {}", wire::snake(other)))),
    };
    let kind = if field == "desiredMasterVersion" { "UPGRADE_MASTER" } else { "UPDATE_CLUSTER" };
    change(call, name, kind, set)
}

pub fn update_master(call: &mut Call<'_>, name: &str) -> Answered {
    let request = call.request("UpdateMasterRequest")?;
    idle(call, name)?;
    let set = master(call, name, &request["masterVersion"])?;
    change(call, name, "UPGRADE_MASTER", set)
}

pub fn set_labels(call: &mut Call<'_>, name: &str) -> Answered {
    let request = call.request("SetLabelsRequest")?;
    let cluster = idle(call, name)?;
    let labels = request.get("resourceLabels").cloned().unwrap_or_else(empty);
    check_labels(&labels, "resource_labels")?;
    let expected = fingerprint(&cluster["resourceLabels"]);
    if text(&request, "labelFingerprint") != expected {
        return Err(failed_precondition("Labels could not be set due to fingerprint mismatch."));
    }
    let set = json!({ "labelFingerprint": fingerprint(&labels), "resourceLabels": labels });
    change(call, name, "UPDATE_CLUSTER", set)
}

pub fn delete(call: &mut Call<'_>, name: &str) -> Answered {
    call.request("DeleteClusterRequest")?;
    let mut cluster = idle(call, name)?;
    let (key, link) = (call.key(name), format!("{}/clusters/{name}", call.parent()));
    let effect = Effect { action: "cluster_removal", key: key.clone(), set: empty() };
    let operation = start(call, &key, &link, "DELETE_CLUSTER", &effect, &mut cluster);
    cluster["status"] = "STOPPING".into();
    call.table.put(CLUSTERS, key, Object { body: cluster, settles_at: 0 });
    Ok(operation)
}

/// A cluster that can be worked on: it exists, runs, and nothing else works on it.
pub fn idle(call: &Call<'_>, name: &str) -> Result<Value, Refusal> {
    let found = call.table.get(CLUSTERS, &call.key(name));
    let cluster = found.map(|object| &object.body).ok_or_else(|| missing(call, name))?;
    if let Some(operation) = cluster["$operation"].as_str() {
        return Err(failed_precondition(format!(
            "Cluster is running incompatible operation {operation}."
        )));
    }
    Ok(cluster.clone())
}

pub fn missing(call: &Call<'_>, name: &str) -> Refusal {
    not_found(format!("Not found: {}/clusters/{name}.", call.parent()))
}

/// Begins an operation on a cluster or one of its pools and notes it on the cluster.
pub fn start(
    call: &mut Call<'_>,
    key: &str,
    link: &str,
    kind: &str,
    effect: &Effect,
    cluster: &mut Value,
) -> Answer {
    let target = Target {
        project: call.project,
        location: call.location,
        owner: key,
        link: link.to_owned(),
    };
    let (name, operation) = operations::begin(call.table, &target, kind, effect);
    cluster["$operation"] = name.into();
    Answer::Message("Operation", operation)
}

/// The operation on a cluster has ended: it has these fields now, and its pools run. What failed is
/// given back.
pub fn after_change(table: &mut Table, key: &str, set: &Value) -> Option<Value> {
    let object = table.get_mut(CLUSTERS, key)?;
    let is_new = object.body["status"] == "PROVISIONING";
    free(&mut object.body, set);
    let version = text(&object.body, "currentMasterVersion").to_owned();
    let cluster = kubernetes_key(key);
    if is_new || set.get("currentMasterVersion").is_some() {
        table.open_cluster(&cluster, &version);
    }
    let pools = if is_new { pool_keys(table, key) } else { Vec::new() };
    let failures: Vec<Value> =
        pools.iter().filter_map(|pool| node_pools::after_change(table, pool, &empty())).collect();
    if !failures.is_empty()
        && let Some(object) = table.get_mut(CLUSTERS, key)
    {
        object.body["status"] = "ERROR".into();
    }
    failures.into_iter().next()
}

pub fn after_removal(table: &mut Table, key: &str) {
    for pool in pool_keys(table, key) {
        table.remove(node_pools::NODE_POOLS, &pool);
    }
    table.remove(CLUSTERS, key);
    table.close_cluster(&kubernetes_key(key));
}

/// The cluster may be worked on again, with these fields.
pub fn free(cluster: &mut Value, set: &Value) {
    for (field, value) in set.as_object().into_iter().flatten() {
        cluster[field] = value.clone();
    }
    cluster["status"] = "RUNNING".into();
    if let Some(fields) = cluster.as_object_mut() {
        fields.remove("$operation");
    }
}

/// The key under which the Kubernetes emulator knows a cluster: `gcp/REGION/NAME`.
pub fn kubernetes_key(key: &str) -> String {
    format!("gcp/{}", key.split_once('/').map_or(key, |(_, rest)| rest))
}

fn change(call: &mut Call<'_>, name: &str, kind: &str, set: Value) -> Answered {
    let mut cluster = idle(call, name)?;
    let (key, link) = (call.key(name), format!("{}/clusters/{name}", call.parent()));
    let effect = Effect { action: "cluster_change", key: key.clone(), set };
    let operation = start(call, &key, &link, kind, &effect, &mut cluster);
    cluster["status"] = "RECONCILING".into();
    call.table.put(CLUSTERS, key, Object { body: cluster, settles_at: 0 });
    Ok(operation)
}

fn master(call: &Call<'_>, name: &str, wanted: &Value) -> Result<Value, Refusal> {
    let version = resolve(wanted.as_str().unwrap_or_default())?;
    let found = call.table.get(CLUSTERS, &call.key(name));
    let now = found.map_or("", |object| text(&object.body, "currentMasterVersion"));
    // Listed newest first.
    let rank = |version: &str| VERSIONS.iter().position(|known| *known == version);
    if rank(&version) > rank(now) {
        return Err(invalid(format!("Cannot downgrade the master from {now} to {version}.")));
    }
    Ok(json!({ "currentMasterVersion": version }))
}

/// A cluster with its pools and with what is computed from both.
fn whole(table: &Table, key: &str) -> Option<Value> {
    let mut cluster = table.get(CLUSTERS, key)?.body.clone();
    let prefix = format!("{key}/");
    let pools: Vec<Value> = table
        .list(node_pools::NODE_POOLS, &prefix)
        .map(|(_, object)| node_pools::whole(&object.body))
        .collect();
    let nodes: i64 = pools.iter().map(node_pools::nodes).sum();
    cluster["currentNodeCount"] = nodes.into();
    cluster["nodePools"] = pools.into();
    cluster["etag"] = hash(&cluster.to_string()).into();
    Some(cluster)
}

fn pool_keys(table: &Table, cluster: &str) -> Vec<String> {
    let prefix = format!("{cluster}/");
    table.list(node_pools::NODE_POOLS, &prefix).map(|(key, _)| key.to_owned()).collect()
}

/// What Google puts beside what was asked for.
fn complete(call: &Call<'_>, cluster: &mut Value, link: &str, version: &str, zones: &[String]) {
    let id = hash(link);
    let bytes: Vec<u64> =
        (0..3).map(|index| crate::labels::fnv(link.as_bytes()) >> (8 * index) & 0xff).collect();
    let certificate = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64::engine::general_purpose::STANDARD.encode(format!("certificate of {link}"))
    );
    let certificate = base64::engine::general_purpose::STANDARD.encode(certificate);
    default(cluster, "locations", json!(zones));
    default(cluster, "network", "default".into());
    default(cluster, "subnetwork", "default".into());
    default(cluster, "clusterIpv4Cidr", "10.4.0.0/14".into());
    default(cluster, "loggingService", "logging.googleapis.com/kubernetes".into());
    default(cluster, "monitoringService", "monitoring.googleapis.com/kubernetes".into());
    default(cluster, "releaseChannel", json!({ "channel": "REGULAR" }));
    default(cluster, "resourceLabels", empty());
    // Google keeps the last segment of a subnet's full name.
    let subnetwork = text(cluster, "subnetwork").rsplit('/').next().unwrap_or_default().to_owned();
    let labels = fingerprint(&cluster["resourceLabels"]);
    for (field, value) in [
        ("id", json!(format!("{id}{id}"))),
        ("subnetwork", subnetwork.into()),
        ("initialClusterVersion", version.into()),
        ("currentMasterVersion", version.into()),
        ("currentNodeVersion", version.into()),
        ("servicesIpv4Cidr", "34.118.224.0/20".into()),
        ("location", call.location.into()),
        ("zone", call.location.into()),
        ("selfLink", format!("https://container.googleapis.com/v1/{link}").into()),
        ("endpoint", format!("34.{}.{}.{}", bytes[0], bytes[1], bytes[2]).into()),
        ("masterAuth", json!({ "clusterCaCertificate": certificate })),
        ("labelFingerprint", labels.into()),
        ("createTime", timestamp(call.table.now_unix()).into()),
        ("status", "PROVISIONING".into()),
    ] {
        cluster[field] = value;
    }
}

fn fingerprint(labels: &Value) -> String {
    hash(&labels.to_string())[..8].to_owned()
}

/// The zones of a cluster's location: a region's, or the zone itself.
fn zones(location: &str) -> Result<Vec<String>, Refusal> {
    let mut zones = catalog::region_zones(location);
    if zones.is_empty() && catalog::region_of(location).is_some() {
        zones.push(location.to_owned());
    }
    zones.truncate(3);
    if zones.is_empty() {
        return Err(bad_field("location", format!("Location \"{location}\" does not exist.")));
    }
    Ok(zones)
}

/// The newest version with this prefix.
fn resolve(wanted: &str) -> Result<String, Refusal> {
    let found = match wanted {
        "" | "-" => Some(&DEFAULT_VERSION),
        "latest" => VERSIONS.first(),
        wanted => VERSIONS.iter().find(|version| {
            version
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        }),
    };
    found.map(|version| (*version).to_owned()).ok_or_else(|| {
        bad_field(
            "cluster.initial_cluster_version",
            format!("No valid versions with the prefix \"{wanted}\" found."),
        )
    })
}

fn check_identity(project: &str, config: &Value) -> Result<(), Refusal> {
    let pool = text(config, "workloadPool");
    if pool.is_empty() || pool == format!("{project}.svc.id.goog") {
        return Ok(());
    }
    Err(bad_field(
        "workload_identity_config.workload_pool",
        format!("Workload pool \"{pool}\" must be \"{project}.svc.id.goog\"."),
    ))
}
