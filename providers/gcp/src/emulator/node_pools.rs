//! Node pools of the Kubernetes Engine API.

use fleetform_sandbox::{NodePool, Object, Table};
use serde_json::{Value, json};

use super::clusters::{self, CLUSTERS};
use super::operations::Effect;
use super::refusal::{
    Refusal, already_exists, bad_field, failed_precondition, invalid, not_found, unimplemented,
};
use super::{Answer, Answered, Call, check_labels, default, empty, hash, is_name, text, wire};
use crate::catalog;

pub const NODE_POOLS: &str = "gcp/container/nodePools";

/// What is left in a zone: a number at `ZONE/MACHINE_TYPE`. A zone without one never runs out.
const STOCK: &str = "gcp/stock";

/// Types that are sold in every zone and are not in the catalog.
const SHARED_CORE: [&str; 3] = ["e2-micro", "e2-small", "e2-medium"];

const DEFAULT_SCOPES: [&str; 6] = [
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/logging.write",
    "https://www.googleapis.com/auth/monitoring",
    "https://www.googleapis.com/auth/service.management.readonly",
    "https://www.googleapis.com/auth/servicecontrol",
    "https://www.googleapis.com/auth/trace.append",
];

const OUTPUT_ONLY: [&str; 5] =
    ["instanceGroupUrls", "podIpv4CidrSize", "selfLink", "status", "updateInfo"];

pub fn create(call: &mut Call<'_>, cluster: &str) -> Answered {
    let request = call.request("CreateNodePoolRequest")?;
    let mut owner = clusters::idle(call, cluster)?;
    let cluster_link = format!("{}/clusters/{cluster}", call.parent());
    if !request["nodePool"].is_object() {
        return Err(bad_field("node_pool", "Node_pool is required."));
    }
    let cluster_key = call.key(cluster);
    let prefix = format!("{cluster_key}/");
    let others: Vec<Value> =
        call.table.list(NODE_POOLS, &prefix).map(|(_, object)| object.body.clone()).collect();
    let pool = prepare(&owner, &cluster_link, request["nodePool"].clone(), &others)?;
    let name = text(&pool, "name").to_owned();
    let (key, link) = (format!("{cluster_key}/{name}"), format!("{cluster_link}/nodePools/{name}"));
    if call.table.get(NODE_POOLS, &key).is_some() {
        return Err(already_exists(format!("Already exists: {link}.")));
    }
    let effect = Effect { action: "pool_change", key: key.clone(), set: empty() };
    let kind = "CREATE_NODE_POOL";
    let operation = clusters::start(call, &cluster_key, &link, kind, &effect, &mut owner);
    call.table.put(CLUSTERS, cluster_key, Object { body: owner, settles_at: 0 });
    call.table.put(NODE_POOLS, key, Object { body: pool, settles_at: 0 });
    Ok(operation)
}

pub fn list(call: &mut Call<'_>, cluster: &str) -> Answered {
    call.request("ListNodePoolsRequest")?;
    let key = call.key(cluster);
    if call.table.get(CLUSTERS, &key).is_none() {
        return Err(clusters::missing(call, cluster));
    }
    let prefix = format!("{key}/");
    let pools: Vec<Value> =
        call.table.list(NODE_POOLS, &prefix).map(|(_, object)| whole(&object.body)).collect();
    Ok(Answer::Message("ListNodePoolsResponse", json!({ "nodePools": pools })))
}

pub fn get(call: &mut Call<'_>, cluster: &str, name: &str) -> Answered {
    call.request("GetNodePoolRequest")?;
    let pool = find(call, cluster, name)?;
    Ok(Answer::Message("NodePool", whole(&pool)))
}

/// `UpdateNodePool`. Google's own tools change one thing a call; more than one is refused here.
pub fn update(call: &mut Call<'_>, cluster: &str, name: &str) -> Answered {
    let request = call.request("UpdateNodePoolRequest")?;
    clusters::idle(call, cluster)?;
    let pool = find(call, cluster, name)?;
    let etag = text(&request, "etag");
    if !etag.is_empty() && etag != text(&whole(&pool), "etag") {
        return Err(failed_precondition("The etag does not match that of the node pool."));
    }
    let empty_map = serde_json::Map::new();
    let names = ["etag", "name", "projectId", "zone", "clusterId", "nodePoolId"];
    let mut given = request
        .as_object()
        .unwrap_or(&empty_map)
        .iter()
        .filter(|(field, value)| !names.contains(&field.as_str()) && **value != json!(""));
    let (Some((field, value)), None) = (given.next(), given.next()) else {
        return Err(invalid("Exactly one field of the node pool may be updated at a time."));
    };
    let mut config = pool["config"].clone();
    let set = match field.as_str() {
        "locations" => json!({ "locations": value }),
        "nodeVersion" => {
            let owner = call.table.get(CLUSTERS, &call.key(cluster)).map(|object| &object.body);
            let version = owner.map_or("", |owner| text(owner, "currentMasterVersion"));
            json!({ "version": version })
        }
        "upgradeSettings" => json!({ "upgradeSettings": value }),
        "labels" | "taints" | "resourceLabels" | "tags" => {
            // Each is wrapped in a message of its own, so that empty can be told from absent.
            let inner = match field.as_str() {
                "taints" => "taints",
                "tags" => "tags",
                _ => "labels",
            };
            config[field] = value.get(inner).cloned().unwrap_or(Value::Null);
            json!({ "config": config })
        }
        "diskSizeGb" | "diskType" | "imageType" | "machineType" | "workloadMetadataConfig" => {
            config[field] = value.clone();
            json!({ "config": config })
        }
        other => return Err(unimplemented(&format!("updates of a pool's {}", wire::snake(other)))),
    };
    let mut changed = pool.clone();
    for (field, value) in set.as_object().into_iter().flatten() {
        changed[field] = value.clone();
    }
    check(&changed, call.location)?;
    let mut set = set;
    if set.get("config").is_some() {
        set["config"] = with_googles(&changed["config"]);
    }
    change(call, cluster, name, "UPGRADE_NODES", set)
}

pub fn set_autoscaling(call: &mut Call<'_>, cluster: &str, name: &str) -> Answered {
    let request = call.request("SetNodePoolAutoscalingRequest")?;
    clusters::idle(call, cluster)?;
    let mut pool = find(call, cluster, name)?;
    if !request["autoscaling"].is_object() {
        return Err(bad_field("autoscaling", "Autoscaling is required."));
    }
    pool["autoscaling"] = request["autoscaling"].clone();
    complete_autoscaling(&mut pool);
    check(&pool, call.location)?;
    let set = json!({ "autoscaling": pool["autoscaling"] });
    change(call, cluster, name, "UPDATE_CLUSTER", set)
}

pub fn set_management(call: &mut Call<'_>, cluster: &str, name: &str) -> Answered {
    let request = call.request("SetNodePoolManagementRequest")?;
    clusters::idle(call, cluster)?;
    find(call, cluster, name)?;
    let set = json!({ "management": request["management"] });
    change(call, cluster, name, "SET_NODE_POOL_MANAGEMENT", set)
}

/// The number of nodes in each zone.
pub fn set_size(call: &mut Call<'_>, cluster: &str, name: &str) -> Answered {
    let request = call.request("SetNodePoolSizeRequest")?;
    clusters::idle(call, cluster)?;
    find(call, cluster, name)?;
    let count = request["nodeCount"].as_i64().unwrap_or(0);
    if count < 0 {
        return Err(bad_field("node_count", "Node_count must not be negative."));
    }
    change(call, cluster, name, "SET_NODE_POOL_SIZE", json!({ "initialNodeCount": count }))
}

pub fn delete(call: &mut Call<'_>, cluster: &str, name: &str) -> Answered {
    call.request("DeleteNodePoolRequest")?;
    let mut owner = clusters::idle(call, cluster)?;
    let mut pool = find(call, cluster, name)?;
    let cluster_key = call.key(cluster);
    let key = format!("{cluster_key}/{name}");
    let link = format!("{}/clusters/{cluster}/nodePools/{name}", call.parent());
    let effect = Effect { action: "pool_removal", key: key.clone(), set: empty() };
    let kind = "DELETE_NODE_POOL";
    let operation = clusters::start(call, &cluster_key, &link, kind, &effect, &mut owner);
    pool["status"] = "STOPPING".into();
    call.table.put(CLUSTERS, cluster_key, Object { body: owner, settles_at: 0 });
    call.table.put(NODE_POOLS, key, Object { body: pool, settles_at: 0 });
    Ok(operation)
}

/// A pool as it is kept: checked, with what Google puts beside what was asked for. `others` are the
/// cluster's pools until now.
pub fn prepare(
    cluster: &Value,
    cluster_link: &str,
    mut pool: Value,
    others: &[Value],
) -> Result<Value, Refusal> {
    let name = text(&pool, "name").to_owned();
    if !is_name(&name, 40) {
        return Err(bad_field(
            "node_pool.name",
            format!(
                "Invalid value for field \"node_pool.name\": \"{name}\". A name must start with a \
                 lower-case letter, end with a letter or digit, and have at most 40 lower-case \
                 letters, digits and dashes."
            ),
        ));
    }
    if let Some(field) = OUTPUT_ONLY.iter().find(|field| pool.get(**field).is_some()) {
        let field = format!("node_pool.{}", wire::snake(field));
        return Err(bad_field(&field, format!("Field \"{field}\" is output only.")));
    }
    if pool.get("config").is_none() {
        pool["config"] = empty();
    }
    let config = &mut pool["config"];
    default(config, "machineType", "e2-medium".into());
    default(config, "diskSizeGb", 100.into());
    default(config, "diskType", "pd-balanced".into());
    default(config, "imageType", "COS_CONTAINERD".into());
    default(config, "serviceAccount", "default".into());
    default(config, "oauthScopes", json!(DEFAULT_SCOPES));
    default(config, "metadata", json!({ "disable-legacy-endpoints": "true" }));
    default(&mut pool, "locations", cluster["locations"].clone());
    default(&mut pool, "management", json!({ "autoUpgrade": true, "autoRepair": true }));
    default(&mut pool, "maxPodsConstraint", json!({ "maxPodsPerNode": 110 }));
    default(&mut pool, "upgradeSettings", json!({ "maxSurge": 1, "strategy": "SURGE" }));
    default(&mut pool, "version", cluster["currentMasterVersion"].clone());
    complete_autoscaling(&mut pool);
    check(&pool, text(cluster, "location"))?;
    pool["config"] = with_googles(&pool["config"]);
    let has_key = |taint: &Value| text(taint, "key") == "nvidia.com/gpu";
    let mut taints = pool["config"]["taints"].as_array().cloned().unwrap_or_default();
    let has_other_nodes = others.iter().any(|other| !has_gpus(other));
    if has_gpus(&pool) && has_other_nodes && !taints.iter().any(has_key) {
        let taint = json!({ "key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE" });
        taints.push(taint);
        pool["config"]["taints"] = taints.into();
    }
    pool["podIpv4CidrSize"] = 24.into();
    let link = format!("{cluster_link}/nodePools/{name}");
    pool["selfLink"] = format!("https://container.googleapis.com/v1/{link}").into();
    pool["$link"] = link.into();
    pool["status"] = "PROVISIONING".into();
    Ok(pool)
}

/// A pool with what is computed from it.
pub fn whole(pool: &Value) -> Value {
    let mut pool = pool.clone();
    let link = text(&pool, "$link").to_owned();
    let project = link.split('/').nth(1).unwrap_or_default();
    let cluster = link.split('/').nth(5).unwrap_or_default();
    let name = text(&pool, "name");
    let group = format!("gke-{cluster}-{name}-{}-grp", &hash(&link)[..8]);
    let urls: Vec<String> = locations(&pool)
        .map(|zone| {
            format!(
                "https://www.googleapis.com/compute/v1/projects/{project}/zones/{zone}/\
                 instanceGroupManagers/{group}"
            )
        })
        .collect();
    pool["instanceGroupUrls"] = json!(urls);
    pool["etag"] = hash(&pool.to_string()).into();
    pool
}

/// Nodes in all zones.
pub fn nodes(pool: &Value) -> i64 {
    let zones = locations(pool).count().max(1);
    pool["initialNodeCount"].as_i64().unwrap_or(0) * i64::try_from(zones).unwrap_or(1)
}

/// The operation on a pool has ended: it has these fields now, and its nodes are there. Where the zones
/// are out of them there are none, and the failure is given back.
pub fn after_change(table: &mut Table, key: &str, set: &Value) -> Option<Value> {
    let object = table.get_mut(NODE_POOLS, key)?;
    for (field, value) in set.as_object().into_iter().flatten() {
        object.body[field] = value.clone();
    }
    let mut pool = object.body.clone();
    free_cluster(table, key);
    let failure = out_of_stock(table, &pool);
    pool["status"] = if failure.is_some() { "ERROR" } else { "RUNNING" }.into();
    table.put(NODE_POOLS, key, Object { body: pool.clone(), settles_at: 0 });
    if failure.is_some() {
        return failure;
    }
    let (cluster, name) = key.rsplit_once('/').unwrap_or((key, ""));
    let config = &pool["config"];
    let mut labels: Vec<(String, String)> = config["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    labels.push(("cloud.google.com/gke-nodepool".into(), name.into()));
    if let Some(accelerator) = config["accelerators"].as_array().and_then(|list| list.first()) {
        let kind = text(accelerator, "acceleratorType");
        labels.push(("cloud.google.com/gke-accelerator".into(), kind.into()));
    }
    if config["spot"] == true {
        labels.push(("cloud.google.com/gke-spot".into(), "true".into()));
    }
    let mut zones = locations(&pool);
    if let (Some(zone), None) = (zones.next(), zones.next()) {
        labels.push(("topology.kubernetes.io/zone".into(), zone.into()));
    }
    labels.sort();
    let taints = config["taints"].as_array().into_iter().flatten().map(|taint| {
        let effect = match text(taint, "effect") {
            "PREFER_NO_SCHEDULE" => "PreferNoSchedule",
            "NO_EXECUTE" => "NoExecute",
            _ => "NoSchedule",
        };
        (text(taint, "key").to_owned(), text(taint, "value").to_owned(), effect.to_owned())
    });
    let nodes = NodePool {
        count: u32::try_from(nodes(&pool)).unwrap_or(0),
        instance_type: text(config, "machineType").to_owned(),
        labels,
        taints: taints.collect(),
    };
    table.set_nodes(&clusters::kubernetes_key(cluster), name, &nodes);
    None
}

/// Google's failure of an operation where a zone has fewer nodes left than the pool wants there.
fn out_of_stock(table: &Table, pool: &Value) -> Option<Value> {
    let machine_type = text(&pool["config"], "machineType");
    let wanted = pool["initialNodeCount"].as_i64().unwrap_or(0);
    let zone = locations(pool).find(|zone| {
        let left = table.get(STOCK, &format!("{zone}/{machine_type}"));
        left.and_then(|left| left.body.as_i64()).is_some_and(|left| left < wanted)
            || (wanted > 0 && table.is_out_of_capacity(&format!("{zone}/{}", text(pool, "name"))))
    })?;
    let message = format!(
        "Google Compute Engine: [GCE_STOCKOUT]: The zone '{zone}' does not have enough resources \
         available to fulfill the request for {machine_type}."
    );
    Some(json!({ "code": 8, "message": message }))
}

pub fn after_removal(table: &mut Table, key: &str) {
    table.remove(NODE_POOLS, key);
    free_cluster(table, key);
    let (cluster, name) = key.rsplit_once('/').unwrap_or((key, ""));
    table.set_nodes(&clusters::kubernetes_key(cluster), name, &NodePool::default());
}

fn free_cluster(table: &mut Table, pool: &str) {
    let cluster = pool.rsplit_once('/').map_or(pool, |(cluster, _)| cluster);
    if let Some(object) = table.get_mut(CLUSTERS, cluster) {
        clusters::free(&mut object.body, &empty());
    }
}

fn change(call: &mut Call<'_>, cluster: &str, name: &str, kind: &str, set: Value) -> Answered {
    let mut owner = clusters::idle(call, cluster)?;
    let mut pool = find(call, cluster, name)?;
    let cluster_key = call.key(cluster);
    let key = format!("{cluster_key}/{name}");
    let link = format!("{}/clusters/{cluster}/nodePools/{name}", call.parent());
    let effect = Effect { action: "pool_change", key: key.clone(), set };
    let operation = clusters::start(call, &cluster_key, &link, kind, &effect, &mut owner);
    pool["status"] = "RECONCILING".into();
    call.table.put(CLUSTERS, cluster_key, Object { body: owner, settles_at: 0 });
    call.table.put(NODE_POOLS, key, Object { body: pool, settles_at: 0 });
    Ok(operation)
}

fn find(call: &Call<'_>, cluster: &str, name: &str) -> Result<Value, Refusal> {
    let cluster_key = call.key(cluster);
    if call.table.get(CLUSTERS, &cluster_key).is_none() {
        return Err(clusters::missing(call, cluster));
    }
    let found = call.table.get(NODE_POOLS, &format!("{cluster_key}/{name}"));
    found.map(|object| object.body.clone()).ok_or_else(|| {
        not_found(format!("Not found: {}/clusters/{cluster}/nodePools/{name}.", call.parent()))
    })
}

fn locations(pool: &Value) -> impl Iterator<Item = &str> {
    pool["locations"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The rules that hold whenever a pool is made or changed. `location` is the cluster's.
fn check(pool: &Value, location: &str) -> Result<(), Refusal> {
    let config = &pool["config"];
    check_labels(&config["resourceLabels"], "node_pool.config.resource_labels")?;
    if pool["initialNodeCount"].as_i64().unwrap_or(0) < 0 {
        return Err(bad_field(
            "node_pool.initial_node_count",
            "Node_pool.initial_node_count must not be negative.",
        ));
    }
    if config["spot"] == true && config["preemptible"] == true {
        return Err(invalid("A node pool cannot be both spot and preemptible."));
    }
    if config["diskSizeGb"].as_i64().is_some_and(|size| size < 10) {
        return Err(bad_field(
            "node_pool.config.disk_size_gb",
            "Disk_size_gb must be at least 10.",
        ));
    }
    let region = catalog::region_of(location).unwrap_or(location);
    for zone in locations(pool) {
        if catalog::region_of(zone) != Some(region) {
            return Err(bad_field(
                "node_pool.locations",
                format!("Location \"{zone}\" is not a zone of \"{region}\"."),
            ));
        }
        check_machine(config, zone)?;
    }
    check_autoscaling(&pool["autoscaling"])?;
    for (key, value) in config["labels"].as_object().into_iter().flatten() {
        let reserved = ["kubernetes.io/", "k8s.io/", "cloud.google.com/"];
        if reserved.iter().any(|prefix| key.contains(prefix)) {
            return Err(invalid(format!("Node label key \"{key}\" uses a reserved prefix.")));
        }
        if !is_kubernetes_key(key) || !is_kubernetes_value(value.as_str().unwrap_or_default()) {
            return Err(invalid(format!("Node label \"{key}\": {value} is not a valid label.")));
        }
    }
    for taint in config["taints"].as_array().into_iter().flatten() {
        let effect = text(taint, "effect");
        if effect.is_empty() || effect == "EFFECT_UNSPECIFIED" {
            return Err(invalid(format!("Taint \"{}\" has no effect.", text(taint, "key"))));
        }
        if !is_kubernetes_key(text(taint, "key")) || !is_kubernetes_value(text(taint, "value")) {
            return Err(invalid(format!("Taint \"{}\" is not valid.", text(taint, "key"))));
        }
    }
    Ok(())
}

fn check_machine(config: &Value, zone: &str) -> Result<(), Refusal> {
    let machine_type = text(config, "machineType");
    let accelerators = config["accelerators"].as_array().map(Vec::as_slice).unwrap_or_default();
    if accelerators.is_empty() && SHARED_CORE.contains(&machine_type) {
        return Ok(());
    }
    if !catalog::machine_exists(zone, machine_type) {
        return Err(bad_field(
            "node_pool.config.machine_type",
            format!("Machine type with name \"{machine_type}\" does not exist in zone \"{zone}\"."),
        ));
    }
    let accelerator = match accelerators {
        [] => None,
        [one] => {
            let count = one["acceleratorCount"].as_i64().unwrap_or(0);
            if count < 1 {
                return Err(bad_field(
                    "node_pool.config.accelerators",
                    "Accelerator_count must be greater than zero.",
                ));
            }
            Some((text(one, "acceleratorType"), count))
        }
        _ => return Err(invalid("A node pool may have one type of accelerator.")),
    };
    if catalog::sold_in(zone, machine_type, accelerator).is_none() {
        let (kind, count) = accelerator.unwrap_or(("none", 0));
        return Err(bad_field(
            "node_pool.config.accelerators",
            format!(
                "Accelerator type \"{kind}\" with count {count} cannot be used with machine type \
                 \"{machine_type}\" in zone \"{zone}\"."
            ),
        ));
    }
    Ok(())
}

fn check_autoscaling(autoscaling: &Value) -> Result<(), Refusal> {
    let bound = |field: &str| autoscaling[field].as_i64().unwrap_or(0);
    let (total_min, total_max) = (bound("totalMinNodeCount"), bound("totalMaxNodeCount"));
    let (min, max) = (bound("minNodeCount"), bound("maxNodeCount"));
    if autoscaling["enabled"] != true {
        return Ok(());
    }
    let field = "node_pool.autoscaling";
    if (total_min != 0 || total_max != 0) && (min != 0 || max != 0) {
        return Err(bad_field(field, "Total and per-zone node counts exclude each other."));
    }
    if total_max == 0 && max == 0 {
        return Err(bad_field(field, "Autoscaling needs a maximum node count greater than zero."));
    }
    if total_min < 0 || min < 0 || total_min > total_max || min > max {
        return Err(bad_field(field, "The minimum node count must be between 0 and the maximum."));
    }
    Ok(())
}

/// Google's own choice of zones: spot nodes where there are any, others in equal numbers.
fn complete_autoscaling(pool: &mut Value) {
    if pool["autoscaling"]["enabled"] == true {
        let policy = if pool["config"]["spot"] == true { "ANY" } else { "BALANCED" };
        default(&mut pool["autoscaling"], "locationPolicy", policy.into());
    }
}

/// What Google's controllers add to a pool's configuration on their own.
fn with_googles(config: &Value) -> Value {
    let mut config = config.clone();
    let model = if config["spot"] == true { "spot" } else { "on-demand" };
    if config["resourceLabels"].is_null() {
        config["resourceLabels"] = empty();
    }
    config["resourceLabels"]["goog-gke-node-pool-provisioning-model"] = model.into();
    config
}

fn has_gpus(pool: &Value) -> bool {
    pool["config"]["accelerators"].as_array().is_some_and(|list| !list.is_empty())
}

/// `prefix/name` or `name`, as Kubernetes has it.
fn is_kubernetes_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    prefix.len() <= 253
        && !prefix.contains('/')
        && !name.is_empty()
        && prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        && is_kubernetes_value(name)
}

fn is_kubernetes_value(value: &str) -> bool {
    let ends_well = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && ends_well(value.chars().next())
        && ends_well(value.chars().next_back())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
