//! Node pools of clusters: `…/managedClusters/CLUSTER/agentPools`.

use fleetform_sandbox::{NodePool, Table};
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal, refuse};
use super::{
    CLUSTERS, Call, POOLS, begin, clusters, groups, no_such_type, operations, settle_state, state,
    validate, wrong_method,
};
use crate::catalog::{self, Row};
use crate::resources::SPOT_KEY;

const KIND: &str = "Microsoft.ContainerService/managedClusters/agentPools";

/// Of `ManagedClusterAgentPoolProfileProperties`, from Azure's own client.
const PROPERTIES: [&str; 54] = [
    "artifactStreamingProfile",
    "availabilityZones",
    "capacityReservationGroupID",
    "count",
    "creationData",
    "currentOrchestratorVersion",
    "eTag",
    "enableAutoScaling",
    "enableEncryptionAtHost",
    "enableFIPS",
    "enableNodePublicIP",
    "enableUltraSSD",
    "gatewayProfile",
    "gpuInstanceProfile",
    "gpuProfile",
    "hostGroupID",
    "kubeletConfig",
    "kubeletDiskType",
    "linuxOSConfig",
    "localDNSProfile",
    "maxCount",
    "maxPods",
    "messageOfTheDay",
    "minCount",
    "mode",
    "networkProfile",
    "nodeImageVersion",
    "nodeLabels",
    "nodePublicIPPrefixID",
    "nodeTaints",
    "orchestratorVersion",
    "osDiskSizeGB",
    "osDiskType",
    "osSKU",
    "osType",
    "podIPAllocationMode",
    "podSubnetID",
    "powerState",
    "provisioningState",
    "proximityPlacementGroupID",
    "scaleDownMode",
    "scaleSetEvictionPolicy",
    "scaleSetPriority",
    "securityProfile",
    "spotMaxPrice",
    "status",
    "tags",
    "type",
    "upgradeSettings",
    "virtualMachineNodesStatus",
    "virtualMachinesProfile",
    "vmSize",
    "vnetSubnetID",
    "workloadRuntime",
];

/// What a pool keeps for its life.
const IMMUTABLE: [&str; 7] = [
    "vmSize",
    "osDiskSizeGB",
    "scaleSetPriority",
    "scaleSetEvictionPolicy",
    "spotMaxPrice",
    "osType",
    "vnetSubnetID",
];

pub fn route(table: &mut Table, call: &Call, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            clusters::existing(table, call)?;
            let prefix = format!("{}/", clusters::key(call));
            let pools = table.list(POOLS, &prefix);
            Ok(Answer::page(call, pools.map(|(key, pool)| (key.to_owned(), pool.body.clone()))))
        }
        ("GET", [_]) => existing(table, call).map(Answer::ok),
        ("PUT", [_]) => put(table, call),
        ("DELETE", [_]) => delete(table, call),
        (_, [] | [_]) => Err(wrong_method(call)),
        _ => Err(no_such_type(call)),
    }
}

/// Ends what a pool was in the middle of, and tells the cluster which nodes it has.
pub fn settle(table: &mut Table, key: &str) {
    let Some(body) = table.get(POOLS, key).map(|object| object.body.clone()) else { return };
    let cluster_key = key.rsplit_once('/').map_or(key, |(cluster, _)| cluster);
    let Some(cluster) = table.get(CLUSTERS, cluster_key).map(|object| object.body.clone()) else {
        return;
    };
    let kubernetes = clusters::kubernetes_key(&cluster);
    let name = body["name"].as_str().unwrap_or_default();
    if state(&body) == "Deleting" {
        table.remove(POOLS, key);
        table.set_nodes(&kubernetes, name, &NodePool::default());
        return;
    }
    settle_state(table, POOLS, key);
    table.set_nodes(
        &kubernetes,
        name,
        &nodes(&body, cluster["location"].as_str().unwrap_or_default()),
    );
}

/// A pool from the properties of a request, checked and completed.
pub fn make(
    table: &Table,
    (subscription, group, cluster): (&str, &str, &str),
    name: &str,
    wanted: &Json,
    before: Option<&Json>,
    location: &str,
    version: &(String, String),
) -> Result<Json, Refusal> {
    validate::fields(wanted, &PROPERTIES, "ManagedClusterAgentPoolProfileProperties")?;
    validate::tags(&wanted["tags"])?;
    let row = expect_pool(name, wanted, location)?;
    if let Some(before) = before {
        for name in IMMUTABLE {
            clusters::expect_same(&before["properties"][name], &wanted[name], name)?;
        }
    }
    let mut properties = wanted.clone();
    let spot = wanted["scaleSetPriority"] == "Spot";
    let asked = wanted["orchestratorVersion"].as_str().unwrap_or(&version.0);
    if ![version.0.as_str(), version.1.as_str()].contains(&asked)
        && before.is_none_or(|before| before["properties"]["orchestratorVersion"] != asked)
    {
        return refuse(Refusal::bad(
            "NodePoolMcVersionIncompatible",
            format!(
                "Node pool version {asked} and control plane version {} are incompatible.",
                version.1
            ),
        ));
    }
    let asked = asked.to_owned();
    let defaults = json!({
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "osDiskSizeGB": 128,
        "osDiskType": "Managed",
        "kubeletDiskType": "OS",
        "maxPods": 110,
        "type": "VirtualMachineScaleSets",
        "mode": "User",
        "enableAutoScaling": false,
        "enableNodePublicIP": false,
        "scaleDownMode": "Delete",
        "powerState": { "code": "Running" },
        "nodeImageVersion": "AKSUbuntu-2204gen2containerd-202601.01.0",
    });
    for (name, value) in defaults.as_object().into_iter().flatten() {
        if properties[name].is_null() {
            properties[name] = value.clone();
        }
    }
    properties["vmSize"] = row.instance_type.into();
    properties["orchestratorVersion"] = asked.into();
    properties["currentOrchestratorVersion"] = version.1.clone().into();
    properties["eTag"] = operations::request_id(table.tick()).into();
    if spot {
        // AKS marks spot nodes itself.
        properties["nodeLabels"][SPOT_KEY] = "spot".into();
        let taint = Json::from(format!("{SPOT_KEY}=spot:NoSchedule"));
        match properties["nodeTaints"].as_array_mut() {
            Some(taints) if !taints.contains(&taint) => taints.insert(0, taint),
            Some(_) => {}
            None => properties["nodeTaints"] = json!([taint]),
        }
    }
    Ok(json!({
        "id": format!(
            "/subscriptions/{subscription}/resourcegroups/{group}/providers/\
             Microsoft.ContainerService/managedClusters/{cluster}/agentPools/{name}"
        ),
        "name": name,
        "type": KIND,
        "properties": properties,
    }))
}

fn put(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    groups::expect_open(table, call)?;
    let cluster = clusters::existing(table, call).map_err(|_| {
        Refusal::missing(
            "ParentResourceNotFound",
            format!(
                "Failed to perform 'write' on resource(s) of type 'managedClusters/agentPools', because the \
                 parent resource '{}' could not be found.",
                call.path.rsplit_once("/agentPools").map_or(call.path.as_str(), |(parent, _)| parent)
            ),
        )
    })?;
    let key = key(call);
    let before = table.get(POOLS, &key).map(|object| object.body.clone());
    let etag = before.as_ref().and_then(|body| body["properties"]["eTag"].as_str());
    validate::preconditions(call, etag)?;
    let known = ["id", "name", "type", "properties", "systemData", "eTag"];
    validate::fields(&call.body, &known, "AgentPool")?;
    clusters::expect_idle(table, &clusters::key(call))?;

    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let location = text(&cluster["location"]);
    let version = (
        text(&cluster["properties"]["kubernetesVersion"]),
        text(&cluster["properties"]["currentKubernetesVersion"]),
    );
    let group = text(&groups::existing(table, call)?["name"]);
    let id = (call.name(1), group.as_str(), cluster["name"].as_str().unwrap_or_default());
    let wanted = &call.body["properties"];
    let body = make(table, id, call.name(9), wanted, before.as_ref(), &location, &version)?;
    let last_system = before.is_some_and(|before| before["properties"]["mode"] == "System")
        && body["properties"]["mode"] != "System"
        && system_pools(table, call) == 1;
    if last_system {
        return refuse(validate::invalid(
            "agentPoolProfiles",
            "Must define at least one system pool.",
        ));
    }
    let exists = table.get(POOLS, &key).is_some();
    let (status, state) =
        if exists { (StatusCode::OK, "Updating") } else { (StatusCode::CREATED, "Creating") };
    let settles_at = begin(table, POOLS, &key, body, state);
    let body = table.get(POOLS, &key).map(|object| object.body.clone()).unwrap_or_default();
    let mut answer = Answer::new(status, body);
    operations::announce(&mut answer, call, &location, settles_at);
    Ok(answer)
}

fn delete(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    let Ok(body) = existing(table, call) else { return Ok(Answer::empty(StatusCode::NO_CONTENT)) };
    let key = key(call);
    validate::preconditions(call, body["properties"]["eTag"].as_str())?;
    let settles_at = if state(&body) == "Deleting" {
        table.get(POOLS, &key).map_or(0, |object| object.settles_at)
    } else {
        clusters::expect_idle(table, &clusters::key(call))?;
        if body["properties"]["mode"] == "System" && system_pools(table, call) == 1 {
            return refuse(Refusal::bad(
                "OperationNotAllowed",
                "There has to be at least one system agent pool; the last one cannot be deleted.",
            ));
        }
        begin(table, POOLS, &key, body, "Deleting")
    };
    let cluster = clusters::existing(table, call)?;
    let mut answer = Answer::empty(StatusCode::ACCEPTED);
    operations::announce(
        &mut answer,
        call,
        cluster["location"].as_str().unwrap_or_default(),
        settles_at,
    );
    Ok(answer)
}

fn existing(table: &Table, call: &Call) -> Result<Json, Refusal> {
    clusters::existing(table, call)?;
    table.get(POOLS, &key(call)).map(|object| object.body.clone()).ok_or_else(|| {
        Refusal::missing(
            "NotFound",
            format!(
                "Could not find the agentpool: {} in managed cluster: {}",
                call.name(9),
                call.name(7)
            ),
        )
    })
}

fn key(call: &Call) -> String {
    format!("{}/{}", clusters::key(call), call.lower[9])
}

fn system_pools(table: &Table, call: &Call) -> usize {
    let prefix = format!("{}/", clusters::key(call));
    table
        .list(POOLS, &prefix)
        .filter(|(_, pool)| pool.body["properties"]["mode"] == "System")
        .count()
}

/// Checks a pool by itself, and finds its size.
fn expect_pool(name: &str, wanted: &Json, location: &str) -> Result<&'static Row, Refusal> {
    let is_name = (1..=12).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !is_name {
        return refuse(validate::invalid(
            "agentPoolProfile.name",
            format!(
                "'{name}' must begin with a lower-case letter and hold at most 12 lower-case letters and digits."
            ),
        ));
    }
    let Some(size) = wanted["vmSize"].as_str() else {
        return refuse(Refusal::bad(
            "InvalidParameter",
            "Required parameter agentPoolProfile.vmSize is missing (null).",
        ));
    };
    let Some(row) = catalog::find(location, size) else {
        return refuse(Refusal::bad(
            "BadRequest",
            format!(
                "The VM size of {size} is not allowed in your subscription in location '{location}'. The \
                 available VM sizes are those of the catalog."
            ),
        ));
    };
    validate::one_of(&wanted["mode"], &["System", "User"], "agentPoolProfile.mode")?;
    validate::one_of(&wanted["osType"], &["Linux"], "agentPoolProfile.osType")?;
    validate::one_of(&wanted["type"], &["VirtualMachineScaleSets"], "agentPoolProfile.type")?;
    expect_counts(wanted)?;
    expect_priority(wanted)?;
    if !wanted["osDiskSizeGB"].is_null() {
        let size = wanted["osDiskSizeGB"].as_i64().unwrap_or(-1);
        if size != 0 && !(30..=2048).contains(&size) {
            return refuse(validate::invalid(
                "agentPoolProfile.osDiskSizeGB",
                "It must be 0 or 30 to 2048.",
            ));
        }
    }
    expect_labels(wanted)?;
    expect_taints(wanted)?;
    Ok(row)
}

fn expect_counts(wanted: &Json) -> Result<(), Refusal> {
    let least = if wanted["mode"] == "System" { 1 } else { 0 };
    let number = |name: &str| match &wanted[name] {
        Json::Null => Ok(None),
        value => match value.as_i64().filter(|count| (0..=1000).contains(count)) {
            Some(count) => Ok(Some(count)),
            None => refuse(validate::invalid(
                &format!("agentPoolProfile.{name}"),
                "It must be a whole number from 0 to 1000.",
            )),
        },
    };
    let (count, min, max) = (number("count")?, number("minCount")?, number("maxCount")?);
    if count.is_none_or(|count| count < least) {
        return refuse(validate::invalid(
            "agentPoolProfile.count",
            format!("It must be at least {least}."),
        ));
    }
    if wanted["enableAutoScaling"] != true {
        if min.is_some() || max.is_some() {
            return refuse(validate::invalid(
                "agentPoolProfile.minCount",
                "minCount and maxCount can only be set when enableAutoScaling is true.",
            ));
        }
        return Ok(());
    }
    match (min, count, max) {
        (Some(min), Some(count), Some(max))
            if least <= min && min <= count && count <= max && max >= 1 =>
        {
            Ok(())
        }
        _ => refuse(validate::invalid(
            "agentPoolProfile.minCount",
            "With enableAutoScaling, minCount <= count <= maxCount must hold, and maxCount be at least 1.",
        )),
    }
}

fn expect_priority(wanted: &Json) -> Result<(), Refusal> {
    validate::one_of(
        &wanted["scaleSetPriority"],
        &["Regular", "Spot"],
        "agentPoolProfile.scaleSetPriority",
    )?;
    validate::one_of(
        &wanted["scaleSetEvictionPolicy"],
        &["Delete", "Deallocate"],
        "agentPoolProfile.scaleSetEvictionPolicy",
    )?;
    let spot = wanted["scaleSetPriority"] == "Spot";
    for name in ["scaleSetEvictionPolicy", "spotMaxPrice"] {
        if !spot && !wanted[name].is_null() {
            return refuse(validate::invalid(
                &format!("agentPoolProfile.{name}"),
                "It can only be set when scaleSetPriority is Spot.",
            ));
        }
    }
    if spot && wanted["mode"] == "System" {
        return refuse(validate::invalid(
            "agentPoolProfile.scaleSetPriority",
            "A system pool cannot be Spot.",
        ));
    }
    if !wanted["spotMaxPrice"].is_null()
        && !wanted["spotMaxPrice"].as_f64().is_some_and(|price| price == -1.0 || price > 0.0)
    {
        return refuse(validate::invalid(
            "agentPoolProfile.spotMaxPrice",
            "It must be -1 or positive.",
        ));
    }
    Ok(())
}

fn expect_labels(wanted: &Json) -> Result<(), Refusal> {
    let wrong = |why: String| refuse(validate::invalid("agentPoolProfile.nodeLabels", why));
    let labels = match &wanted["nodeLabels"] {
        Json::Null => return Ok(()),
        Json::Object(labels) => labels,
        _ => return wrong("It must be an object.".into()),
    };
    for (key, value) in labels {
        let (prefix, name) = key.split_once('/').unwrap_or(("", key));
        let is_value = value.as_str().is_some_and(|value| value.is_empty() || is_label_name(value));
        if !is_label_name(name) || prefix.len() > 253 || !is_value {
            return wrong(format!("'{key}: {value}' is no label."));
        }
        let reserved = prefix == "kubernetes.azure.com" || prefix == "kubernetes.io";
        let own = key == SPOT_KEY && value == "spot" && wanted["scaleSetPriority"] == "Spot";
        if reserved && !own {
            return wrong(format!("The label prefix '{prefix}' is reserved."));
        }
    }
    Ok(())
}

fn expect_taints(wanted: &Json) -> Result<(), Refusal> {
    let wrong = |why: String| refuse(validate::invalid("agentPoolProfile.nodeTaints", why));
    let taints = match &wanted["nodeTaints"] {
        Json::Null => return Ok(()),
        Json::Array(taints) => taints,
        _ => return wrong("It must be a list.".into()),
    };
    for taint in taints {
        match taint.as_str().and_then(split_taint) {
            Some((_, _, effect))
                if ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) => {}
            _ => return wrong(format!("{taint} is not of the form key=value:Effect.")),
        }
    }
    Ok(())
}

fn is_label_name(text: &str) -> bool {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && alphanumeric(text.chars().next())
        && alphanumeric(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn split_taint(taint: &str) -> Option<(&str, &str, &str)> {
    let (pair, effect) = taint.rsplit_once(':')?;
    let (key, value) = pair.split_once('=')?;
    Some((key, value, effect))
}

/// The nodes of a pool, with the labels that AKS gives them beside the pool's own.
fn nodes(body: &Json, location: &str) -> NodePool {
    let properties = &body["properties"];
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let name = text(&body["name"]);
    let mut labels = vec![
        ("agentpool".to_owned(), name.clone()),
        ("kubernetes.azure.com/agentpool".to_owned(), name),
        ("kubernetes.azure.com/mode".to_owned(), text(&properties["mode"]).to_lowercase()),
        ("topology.kubernetes.io/region".to_owned(), location.to_owned()),
        ("node.kubernetes.io/instance-type".to_owned(), text(&properties["vmSize"])),
    ];
    let row = catalog::find(location, properties["vmSize"].as_str().unwrap_or_default());
    if row.is_some_and(|row| row.gpu_type.is_some()) {
        labels.push(("kubernetes.azure.com/accelerator".to_owned(), "nvidia".to_owned()));
    }
    let own = properties["nodeLabels"].as_object().into_iter().flatten();
    labels.extend(own.map(|(key, value)| (key.clone(), text(value))));
    let taints = properties["nodeTaints"].as_array().into_iter().flatten();
    let taints = taints.filter_map(|taint| split_taint(taint.as_str()?));
    NodePool {
        count: properties["count"]
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        instance_type: text(&properties["vmSize"]),
        labels,
        taints: taints
            .map(|(key, value, effect)| (key.to_owned(), value.to_owned(), effect.to_owned()))
            .collect(),
    }
}
