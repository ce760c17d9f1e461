//! EKS managed node groups. When one becomes `ACTIVE`, its nodes are in the cluster.

use std::collections::BTreeMap;

use fleetform_sandbox::{NodePool, Object, Table};
use serde::Deserialize;
use serde_json::{Value, json};

use super::clusters::{
    self, bad_state, check_name, check_token, in_use, invalid, missing, one_of, pairs,
};
use super::updates::{self, Subject};
use super::wire::{self, Answer, Refusal};
use super::{ACCOUNT, Call, ec2, iam};
use crate::catalog;

pub const NODE_GROUPS: &str = "aws/eks/nodegroups";

const AMI_TYPES: [&str; 9] = [
    "AL2023_x86_64_STANDARD",
    "AL2023_ARM_64_STANDARD",
    "AL2023_x86_64_NVIDIA",
    "AL2023_ARM_64_NVIDIA",
    "AL2023_x86_64_NEURON",
    "BOTTLEROCKET_x86_64",
    "BOTTLEROCKET_ARM_64",
    "BOTTLEROCKET_x86_64_NVIDIA",
    "BOTTLEROCKET_ARM_64_NVIDIA",
];
const EFFECTS: [(&str, &str); 3] = [
    ("NO_SCHEDULE", "NoSchedule"),
    ("NO_EXECUTE", "NoExecute"),
    ("PREFER_NO_SCHEDULE", "PreferNoSchedule"),
];
const NODE_POLICIES: [&[&str]; 2] = [
    &["AmazonEKSWorkerNodePolicy", "AmazonEKSWorkerNodeMinimalPolicy"],
    &["AmazonEC2ContainerRegistryReadOnly", "AmazonEC2ContainerRegistryPullOnly"],
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Create {
    nodegroup_name: Option<String>,
    scaling_config: Option<Scaling>,
    disk_size: Option<u32>,
    subnets: Option<Vec<String>>,
    instance_types: Option<Vec<String>>,
    ami_type: Option<String>,
    node_role: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<Taint>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    client_request_token: Option<String>,
    update_config: Option<UpdatePace>,
    capacity_type: Option<String>,
    version: Option<String>,
    release_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateConfig {
    labels: Option<Labels>,
    taints: Option<Taints>,
    scaling_config: Option<Scaling>,
    update_config: Option<UpdatePace>,
    client_request_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateVersion {
    version: Option<String>,
    release_version: Option<String>,
    client_request_token: Option<String>,
    #[expect(dead_code, reason = "it evicts pods, which the emulator has none of")]
    force: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scaling {
    min_size: Option<u32>,
    max_size: Option<u32>,
    desired_size: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdatePace {
    max_unavailable: Option<u32>,
    max_unavailable_percentage: Option<u32>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Taint {
    key: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Labels {
    #[serde(default)]
    add_or_update_labels: BTreeMap<String, String>,
    #[serde(default)]
    remove_labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Taints {
    #[serde(default)]
    add_or_update_taints: Vec<Taint>,
    #[serde(default)]
    remove_taints: Vec<Taint>,
}

pub fn create(table: &mut Table, call: &Call<'_>, cluster: &str) -> Result<Answer, Refusal> {
    let request: Create = call.json("InvalidParameterException")?;
    let region = call.scope.region.as_str();
    let name = request.nodegroup_name.as_deref().unwrap_or_default();
    check_name("nodegroupName", name, 63)?;
    let token = request.client_request_token.as_deref();
    check_token(token)?;
    let parent = clusters::find(table, region, cluster)?.body["cluster"].clone();
    if let Ok(found) = find(table, region, cluster, name) {
        // The same call again, after its answer was lost.
        if token.is_some() && found.body["request"] == clusters::fingerprint(call) {
            return Ok(Answer::Json(json!({ "nodegroup": found.body["nodegroup"] })));
        }
        let message =
            format!("NodeGroup already exists with name {name} and cluster name {cluster}");
        return Err(in_use(message).with("clusterName", cluster).with("nodegroupName", name));
    }
    if parent["status"] != "ACTIVE" {
        let status = parent["status"].as_str().unwrap_or_default();
        let message = format!("Cluster '{cluster}' is not in ACTIVE status: it is {status}");
        return Err(bad_state(message).with("clusterName", cluster));
    }

    let role = request.node_role.ok_or_else(|| invalid("nodeRole is required".into()))?;
    iam::check_service_role(table, &role, "ec2.amazonaws.com", &NODE_POLICIES).map_err(invalid)?;
    let subnets = request.subnets.filter(|subnets| !subnets.is_empty());
    let subnets = subnets.ok_or_else(|| invalid("subnets is required".into()))?;
    ec2::zones_of(region, &subnets).map_err(invalid)?;
    let ami = one_of("amiType", request.ami_type, AMI_TYPES[0], &AMI_TYPES)?;
    let types = request.instance_types.unwrap_or_else(|| vec!["t3.medium".to_owned()]);
    check_instance_types(region, &types, &ami)?;
    let capacity =
        one_of("capacityType", request.capacity_type, "ON_DEMAND", &["ON_DEMAND", "SPOT"])?;
    let default = json!({ "minSize": 1, "maxSize": 2, "desiredSize": 2 });
    let scaling = scaled(&default, request.scaling_config)?;
    let disk = request.disk_size.unwrap_or(20);
    if !(1..=16_384).contains(&disk) {
        return Err(invalid(format!("diskSize {disk} is not from 1 to 16384")));
    }
    check_labels(&request.labels)?;
    let taints = request.taints.iter().map(taint).collect::<Result<Vec<Value>, Refusal>>()?;
    if let Some(fault) = wire::tags_fault(pairs(&request.tags)) {
        return Err(invalid(fault));
    }
    let version = version_for(&parent, request.version.as_deref())?;
    let release = request.release_version.unwrap_or_else(|| release_of(&version));
    let pace = update_pace(request.update_config)?;

    let id = wire::uuid(&format!("{region}/{cluster}/{name}/{}", table.tick()));
    let arn = format!("arn:aws:eks:{region}:{ACCOUNT}:nodegroup/{cluster}/{name}/{id}");
    let group = json!({
        "nodegroupName": name,
        "nodegroupArn": arn,
        "clusterName": cluster,
        "version": version,
        "releaseVersion": release,
        "createdAt": table.now_unix(),
        "modifiedAt": table.now_unix(),
        "status": "CREATING",
        "capacityType": capacity,
        "scalingConfig": scaling,
        "instanceTypes": types,
        "subnets": subnets,
        "amiType": ami,
        "nodeRole": role,
        "labels": request.labels,
        "taints": taints,
        "diskSize": disk,
        "updateConfig": pace,
        "health": { "issues": [] },
        "tags": request.tags,
    });
    let body = json!({ "nodegroup": group, "request": clusters::fingerprint(call) });
    let settles_at = table.tick() + table.duration(&arn, 2, 6);
    table.put(NODE_GROUPS, key(region, cluster, name), Object { body, settles_at });
    Ok(Answer::Json(json!({ "nodegroup": group })))
}

pub fn list(table: &Table, call: &Call<'_>, cluster: &str) -> Result<Answer, Refusal> {
    call.only(&["maxResults", "nextToken"], "InvalidParameterException")?;
    clusters::find(table, &call.scope.region, cluster)?;
    let names: Vec<String> = names(table, &call.scope.region, cluster).collect();
    let (size, token) = (call.parameter("maxResults"), call.parameter("nextToken"));
    let (names, next) = wire::page(&names, size, 100, token, invalid)?;
    Ok(Answer::Json(json!({ "nodegroups": names, "nextToken": next })))
}

pub fn describe(
    table: &Table,
    call: &Call<'_>,
    cluster: &str,
    name: &str,
) -> Result<Answer, Refusal> {
    let group = find(table, &call.scope.region, cluster, name)?;
    Ok(Answer::Json(json!({ "nodegroup": group.body["nodegroup"] })))
}

pub fn delete(
    table: &mut Table,
    call: &Call<'_>,
    cluster: &str,
    name: &str,
) -> Result<Answer, Refusal> {
    let region = call.scope.region.as_str();
    // What failed to start may go.
    if find(table, region, cluster, name)?.body["nodegroup"]["status"] != "CREATE_FAILED" {
        idle(table, region, cluster, name)?;
    }
    let settles_at = table.tick() + table.duration(name, 2, 4);
    let group = find_mut(table, region, cluster, name)?;
    group.settles_at = settles_at;
    group.body["nodegroup"]["status"] = "DELETING".into();
    Ok(Answer::Json(json!({ "nodegroup": group.body["nodegroup"] })))
}

pub fn update_config(
    table: &mut Table,
    call: &Call<'_>,
    cluster: &str,
    name: &str,
) -> Result<Answer, Refusal> {
    let request: UpdateConfig = call.json("InvalidParameterException")?;
    let subject = Subject { region: &call.scope.region, cluster, group: Some(name) };
    let token = request.client_request_token.clone();
    check_token(token.as_deref())?;
    if let Some(update) = updates::started(table, &subject, token.as_deref()) {
        return Ok(Answer::Json(json!({ "update": update })));
    }
    let now = idle(table, subject.region, cluster, name)?;
    let mut patch = serde_json::Map::new();
    if let Some(scaling) = request.scaling_config {
        patch.insert("scalingConfig".into(), scaled(&now["scalingConfig"], Some(scaling))?);
    }
    if let Some(pace) = request.update_config {
        patch.insert("updateConfig".into(), update_pace(Some(pace))?);
    }
    if let Some(change) = request.labels {
        check_labels(&change.add_or_update_labels)?;
        let mut labels = now["labels"].as_object().cloned().unwrap_or_default();
        for gone in &change.remove_labels {
            if labels.remove(gone).is_none() {
                return Err(invalid(format!("The label '{gone}' does not exist")));
            }
        }
        for (key, value) in change.add_or_update_labels {
            labels.insert(key, value.into());
        }
        patch.insert("labels".into(), labels.into());
    }
    if let Some(change) = request.taints {
        let mut taints = now["taints"].as_array().cloned().unwrap_or_default();
        let same = |a: &Value, b: &Value| a["key"] == b["key"] && a["effect"] == b["effect"];
        for gone in &change.remove_taints {
            let gone = taint(gone)?;
            let before = taints.len();
            taints.retain(|kept| !same(kept, &gone));
            if taints.len() == before {
                return Err(invalid(format!("The taint {} does not exist", gone["key"])));
            }
        }
        for new in &change.add_or_update_taints {
            let new = taint(new)?;
            taints.retain(|kept| !same(kept, &new));
            taints.push(new);
        }
        patch.insert("taints".into(), taints.into());
    }
    if patch.is_empty() {
        return Err(invalid("Must specify at least one change to the node group".into()));
    }
    let update = updates::start(table, &subject, "ConfigUpdate", token.as_deref(), &[]);
    begin(table, &subject, name, &update, patch.into())?;
    Ok(Answer::Json(json!({ "update": update })))
}

pub fn update_version(
    table: &mut Table,
    call: &Call<'_>,
    cluster: &str,
    name: &str,
) -> Result<Answer, Refusal> {
    let request: UpdateVersion = call.json("InvalidParameterException")?;
    let subject = Subject { region: &call.scope.region, cluster, group: Some(name) };
    let token = request.client_request_token.as_deref();
    check_token(token)?;
    if let Some(update) = updates::started(table, &subject, token) {
        return Ok(Answer::Json(json!({ "update": update })));
    }
    let now = idle(table, subject.region, cluster, name)?;
    let parent = clusters::find(table, subject.region, cluster)?.body["cluster"].clone();
    let version = version_for(&parent, request.version.as_deref())?;
    if now["version"].as_str() > Some(version.as_str()) {
        return Err(invalid(format!("A node group cannot go back to {version}")));
    }
    let release = request.release_version.unwrap_or_else(|| release_of(&version));
    let parameters = [("Version", version.clone()), ("ReleaseVersion", release.clone())];
    let update = updates::start(table, &subject, "VersionUpdate", token, &parameters);
    let patch = json!({ "version": version, "releaseVersion": release });
    begin(table, &subject, name, &update, patch)?;
    Ok(Answer::Json(json!({ "update": update })))
}

/// Ends what is due: creation, updates, deletion.
pub fn settle(table: &mut Table) {
    let (tick, now) = (table.tick(), table.now_unix());
    let due = table
        .list(NODE_GROUPS, "")
        .filter(|(_, group)| group.settles_at != 0 && group.settles_at <= tick);
    let due: Vec<String> = due.map(|(key, _)| key.to_owned()).collect();
    for key in due {
        let is_out = table.is_out_of_capacity(&key);
        let parts: Vec<&str> = key.split('/').collect();
        let [region, cluster, name] = parts[..] else { continue };
        let subject = Subject { region, cluster, group: Some(name) };
        let inside = format!("aws/{region}/{cluster}");
        let Some(object) = table.get_mut(NODE_GROUPS, &key) else { continue };
        object.settles_at = 0;
        let update = object.body["update"].take();
        let group = &mut object.body["nodegroup"];
        if group["status"] == "DELETING" {
            table.remove(NODE_GROUPS, &key);
            table.set_nodes(&inside, name, &NodePool::default());
            updates::forget(table, &subject);
            continue;
        }
        if group["status"] == "CREATING" && is_out {
            let message = "Could not launch instances: InsufficientInstanceCapacity - We currently do \
                           not have sufficient capacity in the Availability Zone you requested.";
            let issue = json!({
                "code": "AsgInstanceLaunchFailures", "message": message, "resourceIds": [],
            });
            group["health"] = json!({ "issues": [issue] });
            group["status"] = "CREATE_FAILED".into();
            continue;
        }
        if group["status"] == "CREATING" {
            let arn = group["nodegroupArn"].as_str().unwrap_or_default();
            let id = arn.rsplit('/').next().unwrap_or_default();
            let scaling = json!([{ "name": format!("eks-{name}-{id}") }]);
            group["resources"] = json!({ "autoScalingGroups": scaling });
        }
        for (name, value) in update["patch"].as_object().into_iter().flatten() {
            group[name] = value.clone();
        }
        group["status"] = "ACTIVE".into();
        group["modifiedAt"] = now.into();
        let pool = node_pool(name, region, group);
        table.set_nodes(&inside, name, &pool);
        if let Some(id) = update["id"].as_str() {
            updates::finish(table, &subject, id);
        }
    }
}

/// The names of a cluster's node groups.
pub fn names(table: &Table, region: &str, cluster: &str) -> impl Iterator<Item = String> {
    let prefix = format!("{region}/{cluster}/");
    let found = table.list(NODE_GROUPS, &prefix);
    let names = found.map(|(key, _)| key[prefix.len()..].to_owned());
    names.collect::<Vec<_>>().into_iter()
}

fn key(region: &str, cluster: &str, name: &str) -> String {
    format!("{region}/{cluster}/{name}")
}

fn find<'a>(
    table: &'a Table,
    region: &str,
    cluster: &str,
    name: &str,
) -> Result<&'a Object, Refusal> {
    clusters::find(table, region, cluster)?;
    table.get(NODE_GROUPS, &key(region, cluster, name)).ok_or_else(|| no_group(cluster, name))
}

fn find_mut<'a>(
    table: &'a mut Table,
    region: &str,
    cluster: &str,
    name: &str,
) -> Result<&'a mut Object, Refusal> {
    table.get_mut(NODE_GROUPS, &key(region, cluster, name)).ok_or_else(|| no_group(cluster, name))
}

/// The node group, where nothing changes it right now.
fn idle(table: &Table, region: &str, cluster: &str, name: &str) -> Result<Value, Refusal> {
    let group = &find(table, region, cluster, name)?.body["nodegroup"];
    if group["status"] != "ACTIVE" {
        let status = group["status"].as_str().unwrap_or_default();
        let message = format!("Nodegroup {name} currently is {status}");
        return Err(in_use(message).with("clusterName", cluster).with("nodegroupName", name));
    }
    Ok(group.clone())
}

fn begin(
    table: &mut Table,
    subject: &Subject<'_>,
    name: &str,
    update: &Value,
    patch: Value,
) -> Result<(), Refusal> {
    let id = update["id"].as_str().unwrap_or_default();
    let settles_at = table.tick() + table.duration(id, 1, 4);
    let group = find_mut(table, subject.region, subject.cluster, name)?;
    group.body["nodegroup"]["status"] = "UPDATING".into();
    group.body["update"] = json!({ "id": id, "patch": patch });
    group.settles_at = settles_at;
    Ok(())
}

/// What Kubernetes sees of the group's nodes.
fn node_pool(name: &str, region: &str, group: &Value) -> NodePool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let instance_type = text(&group["instanceTypes"][0]);
    let own = group["labels"].as_object().into_iter().flatten();
    let own = own.map(|(key, value)| (key.clone(), text(value)));
    let system = [
        ("eks.amazonaws.com/capacityType", text(&group["capacityType"])),
        ("eks.amazonaws.com/nodegroup", name.to_owned()),
        ("node.kubernetes.io/instance-type", instance_type.clone()),
        ("topology.kubernetes.io/region", region.to_owned()),
    ];
    let subnets = group["subnets"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let zone = ec2::only_zone(region, &subnets.collect::<Vec<_>>());
    let zone = zone.map(|zone| ("topology.kubernetes.io/zone", zone));
    let system = system.into_iter().chain(zone).map(|(key, value)| (key.to_owned(), value));
    let taints = group["taints"].as_array().into_iter().flatten().map(|taint| {
        let effect = EFFECTS.iter().find(|(name, _)| taint["effect"] == *name);
        let effect = effect.map_or("", |(_, effect)| effect).to_owned();
        (text(&taint["key"]), text(&taint["value"]), effect)
    });
    NodePool {
        count: group["scalingConfig"]["desiredSize"].as_u64().unwrap_or_default() as u32,
        instance_type,
        labels: system.chain(own).collect(),
        taints: taints.collect(),
    }
}

/// Every type must be sold in the region and start the image.
fn check_instance_types(region: &str, types: &[String], ami: &str) -> Result<(), Refusal> {
    if types.is_empty() || types.len() > 20 {
        return Err(invalid("instanceTypes must have 1 to 20 entries".into()));
    }
    let wanted = if ami.contains("ARM_64") { "arm64" } else { "x86_64" };
    for kind in types {
        let sold =
            catalog::rows().iter().find(|row| row.region == region && row.instance_type == kind);
        // What EKS takes where none is named; it is no offering.
        let (architecture, accelerators) = match sold {
            Some(row) => (row.architecture, row.accelerators),
            None if kind == "t3.medium" => ("x86_64", 0.0),
            None => {
                let message = format!(
                    "The following supplied instance types do not exist in {region}: [{kind}]"
                );
                return Err(invalid(message));
            }
        };
        if architecture != wanted || (ami.contains("NVIDIA") && accelerators == 0.0) {
            return Err(invalid(format!("[{kind}] is not a valid instance type for {ami}")));
        }
    }
    Ok(())
}

/// The bounds after a request, where they hold together.
fn scaled(now: &Value, change: Option<Scaling>) -> Result<Value, Refusal> {
    let read = |name: &str| now[name].as_u64().unwrap_or_default() as u32;
    let (mut min, mut max, mut size) = (read("minSize"), read("maxSize"), read("desiredSize"));
    if let Some(change) = change {
        min = change.min_size.unwrap_or(min);
        max = change.max_size.unwrap_or(max);
        size = change.desired_size.unwrap_or(size);
    }
    if max == 0 {
        return Err(invalid("Maximum capacity can't be less than 1".into()));
    }
    if min > size {
        let message = format!("Minimum capacity {min} can't be greater than desired size {size}");
        return Err(invalid(message));
    }
    if size > max {
        return Err(invalid(format!(
            "desired capacity {size} can't be greater than max size {max}"
        )));
    }
    Ok(json!({ "minSize": min, "maxSize": max, "desiredSize": size }))
}

fn update_pace(request: Option<UpdatePace>) -> Result<Value, Refusal> {
    match request.map(|pace| (pace.max_unavailable, pace.max_unavailable_percentage)) {
        None => Ok(json!({ "maxUnavailable": 1 })),
        Some((Some(nodes), None)) if (1..=100).contains(&nodes) => {
            Ok(json!({ "maxUnavailable": nodes }))
        }
        Some((None, Some(share))) if (1..=100).contains(&share) => {
            Ok(json!({ "maxUnavailablePercentage": share }))
        }
        Some(_) => {
            let message = "updateConfig needs one of maxUnavailable and maxUnavailablePercentage";
            Err(invalid(message.into()))
        }
    }
}

fn taint(taint: &Taint) -> Result<Value, Refusal> {
    let key = taint.key.as_deref().unwrap_or_default();
    let effect = taint.effect.as_deref().unwrap_or_default();
    if !is_label_key(key) {
        return Err(invalid(format!("The taint key '{key}' is no Kubernetes label key")));
    }
    if !EFFECTS.iter().any(|(known, _)| *known == effect) {
        return Err(invalid(format!("The taint effect '{effect}' is unknown")));
    }
    let value = taint.value.as_deref().unwrap_or_default();
    if !is_label_value(value) {
        return Err(invalid(format!("The taint value '{value}' is no Kubernetes label value")));
    }
    Ok(json!({ "key": key, "value": taint.value, "effect": effect }))
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (key, value) in labels {
        let reserved = ["kubernetes.io/", "k8s.io/", "eks.amazonaws.com/"];
        let domain = reserved.iter().any(|domain| key.contains(domain));
        if !is_label_key(key) || !is_label_value(value) || domain {
            return Err(invalid(format!("The label {key}={value} is invalid or reserved")));
        }
    }
    Ok(())
}

/// An optional DNS name and `/`, then a name.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(p, name)| (Some(p), name));
    let prefix_holds = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix.split('.').all(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            })
    });
    prefix_holds && !name.is_empty() && is_label_value(name)
}

fn is_label_value(value: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && ends(value.chars().next())
        && ends(value.chars().last())
}

/// The version of new nodes: the cluster's, or an older one that is named.
fn version_for(cluster: &Value, named: Option<&str>) -> Result<String, Refusal> {
    let newest = cluster["version"].as_str().unwrap_or_default();
    let minor = |version: &str| version.strip_prefix("1.").and_then(|n| n.parse::<u32>().ok());
    let version = named.unwrap_or(newest);
    match (minor(version), minor(newest)) {
        // Nodes may be three minor versions behind.
        (Some(version_minor), Some(newest))
            if (newest.saturating_sub(3)..=newest).contains(&version_minor) =>
        {
            Ok(version.to_owned())
        }
        _ => Err(invalid(format!(
            "Requested Nodegroup Kubernetes version {version} does not go with the cluster's \
             {newest}"
        ))),
    }
}

fn release_of(version: &str) -> String {
    format!("{version}.0-20260101")
}

fn no_group(cluster: &str, name: &str) -> Refusal {
    missing(format!("No node group found for name: {name}."))
        .with("clusterName", cluster)
        .with("nodegroupName", name)
}
