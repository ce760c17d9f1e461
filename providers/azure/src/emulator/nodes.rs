//! Node pools of clusters: `…/managedClusters/CLUSTER/agentPools`.

use fleetform_sandbox::{NodePool, Table};
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal, refuse};
use super::{
    CLUSTERS, Call, POOLS, begin, clusters, groups, no_such_type, node_checks, operations,
    settle_state, state, validate, versions, wrong_method,
};
use crate::catalog;
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
const IMMUTABLE: [&str; 8] = [
    "availabilityZones",
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
    let row = node_checks::expect_pool(name, wanted, location)?;
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
    properties["currentOrchestratorVersion"] = versions::patch(&asked).into();
    properties["orchestratorVersion"] = asked.into();
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
    if before.is_none() && table.is_out_of_capacity(&key) {
        let message = "Allocation failed. We do not have sufficient capacity for the requested VM size in \
                       this region.";
        return refuse(Refusal::bad("AllocationFailed", message));
    }
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
    let zones = properties["availabilityZones"].as_array().map_or(&[][..], Vec::as_slice);
    if let [zone] = zones {
        let zone = format!("{location}-{}", text(zone));
        labels.push(("topology.kubernetes.io/zone".to_owned(), zone));
    }
    let own = properties["nodeLabels"].as_object().into_iter().flatten();
    labels.extend(own.map(|(key, value)| (key.clone(), text(value))));
    let taints = properties["nodeTaints"].as_array().into_iter().flatten();
    let taints = taints.filter_map(|taint| node_checks::split_taint(taint.as_str()?));
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
