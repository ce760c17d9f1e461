//! EKS clusters. `CREATING` becomes `ACTIVE`, and the API server inside opens, after some requests.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fleetform_sandbox::{Object, Table};
use serde::Deserialize;
use serde_json::{Value, json};

use super::updates::{self, Subject};
use super::wire::{self, Answer, Refusal};
use super::{ACCOUNT, Call, ec2, iam};
use crate::text;

pub const CLUSTERS: &str = "aws/eks/clusters";

/// Kubernetes versions on offer, oldest first.
const VERSIONS: [&str; 6] = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35"];
const DEFAULT_VERSION: &str = "1.34";
/// The oldest version in standard support.
const STANDARD_SINCE: usize = 3;
const LOG_TYPES: [&str; 5] = ["api", "audit", "authenticator", "controllerManager", "scheduler"];
const AUTHENTICATION_MODES: [&str; 3] = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"];
const SUPPORT_TYPES: [&str; 2] = ["STANDARD", "EXTENDED"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Create {
    name: Option<String>,
    version: Option<String>,
    role_arn: Option<String>,
    resources_vpc_config: Option<Vpc>,
    kubernetes_network_config: Option<Network>,
    logging: Option<Logging>,
    client_request_token: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    access_config: Option<Access>,
    bootstrap_self_managed_addons: Option<bool>,
    upgrade_policy: Option<UpgradePolicy>,
    deletion_protection: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateConfig {
    resources_vpc_config: Option<Vpc>,
    logging: Option<Logging>,
    client_request_token: Option<String>,
    access_config: Option<Access>,
    upgrade_policy: Option<UpgradePolicy>,
    deletion_protection: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateVersion {
    version: Option<String>,
    client_request_token: Option<String>,
    #[expect(dead_code, reason = "it skips checks that are not emulated")]
    force: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vpc {
    subnet_ids: Option<Vec<String>>,
    security_group_ids: Option<Vec<String>>,
    endpoint_public_access: Option<bool>,
    endpoint_private_access: Option<bool>,
    public_access_cidrs: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Network {
    service_ipv4_cidr: Option<String>,
    ip_family: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Logging {
    #[serde(default)]
    cluster_logging: Vec<LogSetup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogSetup {
    #[serde(default)]
    types: Vec<String>,
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Access {
    bootstrap_cluster_creator_admin_permissions: Option<bool>,
    authentication_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpgradePolicy {
    support_type: Option<String>,
}

pub fn create(table: &mut Table, call: &Call<'_>) -> Result<Answer, Refusal> {
    let request: Create = call.json("InvalidParameterException")?;
    let region = call.scope.region.as_str();
    let name = request.name.as_deref().unwrap_or_default();
    check_name("clusterName", name, 100)?;
    let token = request.client_request_token.as_deref();
    check_token(token)?;
    if let Ok(found) = find(table, region, name) {
        // The same call again, after its answer was lost.
        if token.is_some() && found.body["request"] == fingerprint(call) {
            return Ok(Answer::Json(json!({ "cluster": found.body["cluster"] })));
        }
        let message = format!("Cluster already exists with name: {name}");
        return Err(in_use(message).with("clusterName", name));
    }
    let role_arn = request.role_arn.ok_or_else(|| invalid("roleArn is required".into()))?;
    iam::check_service_role(table, &role_arn, "eks.amazonaws.com", &[]).map_err(invalid)?;
    let version = request.version.as_deref().unwrap_or(DEFAULT_VERSION);
    if !VERSIONS.contains(&version) {
        return Err(invalid(format!("unsupported Kubernetes version {version}")));
    }
    let vpc = request
        .resources_vpc_config
        .ok_or_else(|| invalid("resourcesVpcConfig is required".into()))?;
    let subnets = vpc.subnet_ids.clone().unwrap_or_default();
    check_subnets(region, &subnets)?;
    if let Some(fault) = wire::tags_fault(pairs(&request.tags)) {
        return Err(invalid(fault));
    }
    let bootstrap = request
        .access_config
        .as_ref()
        .and_then(|access| access.bootstrap_cluster_creator_admin_permissions);
    if bootstrap == Some(false) || request.bootstrap_self_managed_addons == Some(false) {
        return Err(invalid("a cluster without its defaults is not emulated".into()));
    }
    let mode = request.access_config.and_then(|access| access.authentication_mode);
    let mode = one_of("authenticationMode", mode, "CONFIG_MAP", &AUTHENTICATION_MODES)?;
    let support = request.upgrade_policy.and_then(|policy| policy.support_type);
    let support = one_of("supportType", support, "EXTENDED", &SUPPORT_TYPES)?;
    let network = request.kubernetes_network_config;
    let family = network.as_ref().and_then(|network| network.ip_family.clone());
    let family = one_of("ipFamily", family, "ipv4", &["ipv4"])?;
    let cidr = network.and_then(|network| network.service_ipv4_cidr);

    let arn = format!("arn:aws:eks:{region}:{ACCOUNT}:cluster/{name}");
    let vpc_config = json!({
        "subnetIds": subnets,
        "securityGroupIds": vpc.security_group_ids.unwrap_or_default(),
        "vpcId": ec2::vpc_id(region),
        "endpointPublicAccess": vpc.endpoint_public_access.unwrap_or(true),
        "endpointPrivateAccess": vpc.endpoint_private_access.unwrap_or(false),
        "publicAccessCidrs":
            vpc.public_access_cidrs.unwrap_or_else(|| vec!["0.0.0.0/0".to_owned()]),
    });
    check_reachable(&vpc_config)?;
    let cluster = json!({
        "name": name,
        "arn": arn,
        "createdAt": table.now_unix(),
        "version": version,
        "roleArn": role_arn,
        "resourcesVpcConfig": vpc_config,
        "kubernetesNetworkConfig": {
            "serviceIpv4Cidr": cidr.unwrap_or_else(|| "10.100.0.0/16".to_owned()),
            "ipFamily": family,
        },
        "logging": { "clusterLogging": log_setups(request.logging, &BTreeMap::new())? },
        "status": "CREATING",
        "certificateAuthority": {},
        "clientRequestToken": token,
        "platformVersion": "eks.1",
        "tags": request.tags,
        "health": { "issues": [] },
        // AWS does not say later whether the creator was made an administrator.
        "accessConfig": { "authenticationMode": mode },
        "upgradePolicy": { "supportType": support },
        "deletionProtection": request.deletion_protection.unwrap_or(false),
    });
    let body = json!({ "cluster": cluster, "request": fingerprint(call) });
    let settles_at = table.tick() + table.duration(&arn, 2, 6);
    table.put(CLUSTERS, key(region, name), Object { body, settles_at });
    Ok(Answer::Json(json!({ "cluster": cluster })))
}

pub fn list(table: &Table, call: &Call<'_>) -> Result<Answer, Refusal> {
    call.only(&["maxResults", "nextToken", "include"], "InvalidParameterException")?;
    let prefix = format!("{}/", call.scope.region);
    let names: Vec<String> =
        table.list(CLUSTERS, &prefix).map(|(key, _)| key[prefix.len()..].to_owned()).collect();
    let (size, token) = (call.parameter("maxResults"), call.parameter("nextToken"));
    let (names, next) = wire::page(&names, size, 100, token, invalid)?;
    Ok(Answer::Json(json!({ "clusters": names, "nextToken": next })))
}

pub fn describe(table: &Table, call: &Call<'_>, name: &str) -> Result<Answer, Refusal> {
    let cluster = find(table, &call.scope.region, name)?;
    Ok(Answer::Json(json!({ "cluster": cluster.body["cluster"] })))
}

pub fn delete(table: &mut Table, call: &Call<'_>, name: &str) -> Result<Answer, Refusal> {
    let region = call.scope.region.as_str();
    let cluster = find(table, region, name)?;
    let status = cluster.body["cluster"]["status"].as_str().unwrap_or_default().to_owned();
    if status != "ACTIVE" && status != "FAILED" {
        let message = format!("Cannot delete because cluster {name} currently is {status}");
        return Err(in_use(message).with("clusterName", name));
    }
    if cluster.body["cluster"]["deletionProtection"] == true {
        let message = format!("Cluster {name} has deletion protection enabled");
        return Err(bad_state(message).with("clusterName", name));
    }
    if super::node_groups::names(table, region, name).next().is_some() {
        let message = "Cluster has nodegroups attached";
        return Err(in_use(message.into()).with("clusterName", name));
    }
    let settles_at = table.tick() + table.duration(name, 2, 4);
    let cluster = find_mut(table, region, name)?;
    cluster.settles_at = settles_at;
    cluster.body["cluster"]["status"] = "DELETING".into();
    Ok(Answer::Json(json!({ "cluster": cluster.body["cluster"] })))
}

pub fn update_version(table: &mut Table, call: &Call<'_>, name: &str) -> Result<Answer, Refusal> {
    let request: UpdateVersion = call.json("InvalidParameterException")?;
    let region = call.scope.region.as_str();
    let subject = Subject { region, cluster: name, group: None };
    let token = request.client_request_token.as_deref();
    check_token(token)?;
    if let Some(update) = updates::started(table, &subject, token) {
        return Ok(Answer::Json(json!({ "update": update })));
    }
    let now = idle(table, region, name)?;
    let now = now["version"].as_str().unwrap_or_default().to_owned();
    let version = request.version.ok_or_else(|| invalid("version is required".into()))?;
    let place = |version: &str| VERSIONS.iter().position(|known| *known == version);
    let next = place(&version).ok_or_else(|| {
        invalid(format!("unsupported Kubernetes version update from {now} to {version}"))
    })?;
    if place(&now).map(|place| place + 1) != Some(next) {
        let message = format!(
            "Unsupported Kubernetes minor version update from {now} to {version}: one at a time, \
             upwards"
        );
        return Err(invalid(message).with("clusterName", name));
    }
    let parameters = [("Version", version.clone()), ("PlatformVersion", "eks.1".to_owned())];
    let update = updates::start(table, &subject, "VersionUpdate", token, &parameters);
    begin(table, &subject, &update, json!({ "version": version }))?;
    Ok(Answer::Json(json!({ "update": update })))
}

pub fn update_config(table: &mut Table, call: &Call<'_>, name: &str) -> Result<Answer, Refusal> {
    let request: UpdateConfig = call.json("InvalidParameterException")?;
    let region = call.scope.region.as_str();
    let subject = Subject { region, cluster: name, group: None };
    let token = request.client_request_token.clone();
    check_token(token.as_deref())?;
    if let Some(update) = updates::started(table, &subject, token.as_deref()) {
        return Ok(Answer::Json(json!({ "update": update })));
    }
    let now = idle(table, region, name)?;
    let (kind, patch) = config_patch(region, &now, request)?;
    let same = patch
        .as_object()
        .is_some_and(|patch| patch.iter().all(|(name, value)| now.get(name) == Some(value)));
    if same {
        let message = format!("Cluster is already at the desired configuration ({kind})");
        return Err(invalid(message).with("clusterName", name));
    }
    let update = updates::start(table, &subject, kind, token.as_deref(), &[]);
    begin(table, &subject, &update, patch)?;
    Ok(Answer::Json(json!({ "update": update })))
}

/// The kind of the one change that the request asks for, and the members it replaces.
fn config_patch(
    region: &str,
    now: &Value,
    request: UpdateConfig,
) -> Result<(&'static str, Value), Refusal> {
    let mut changes = Vec::new();
    if let Some(vpc) = request.resources_vpc_config {
        let moves = vpc.subnet_ids.is_some() || vpc.security_group_ids.is_some();
        let opens = vpc.endpoint_public_access.is_some()
            || vpc.endpoint_private_access.is_some()
            || vpc.public_access_cidrs.is_some();
        let mut config = now["resourcesVpcConfig"].clone();
        let members = [
            ("subnetIds", vpc.subnet_ids.clone().map(Value::from)),
            ("securityGroupIds", vpc.security_group_ids.map(Value::from)),
            ("endpointPublicAccess", vpc.endpoint_public_access.map(Value::from)),
            ("endpointPrivateAccess", vpc.endpoint_private_access.map(Value::from)),
            ("publicAccessCidrs", vpc.public_access_cidrs.map(Value::from)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                config[name] = value;
            }
        }
        if let Some(subnets) = &vpc.subnet_ids {
            check_subnets(region, subnets)?;
        }
        check_reachable(&config)?;
        let patch = json!({ "resourcesVpcConfig": config });
        if moves {
            changes.push(("VpcConfigUpdate", patch.clone()));
        }
        if opens {
            changes.push(("EndpointAccessUpdate", patch));
        }
    }
    if request.logging.is_some() {
        let mut before = BTreeMap::new();
        for setup in now["logging"]["clusterLogging"].as_array().into_iter().flatten() {
            for kind in setup["types"].as_array().into_iter().flatten() {
                let kind = kind.as_str().unwrap_or_default().to_owned();
                before.insert(kind, setup["enabled"] == true);
            }
        }
        let setups = log_setups(request.logging, &before)?;
        changes.push(("LoggingUpdate", json!({ "logging": { "clusterLogging": setups } })));
    }
    if let Some(access) = request.access_config {
        let mode = access.authentication_mode.unwrap_or_default();
        let place = |mode: &str| AUTHENTICATION_MODES.iter().position(|known| *known == mode);
        let before = now["accessConfig"]["authenticationMode"].as_str().unwrap_or_default();
        if place(&mode).is_none() || place(&mode) < place(before) {
            return Err(invalid(format!("Unsupported authentication mode update to {mode}")));
        }
        let patch = json!({ "accessConfig": { "authenticationMode": mode } });
        changes.push(("AccessConfigUpdate", patch));
    }
    if let Some(policy) = request.upgrade_policy {
        let support = one_of("supportType", policy.support_type, "", &SUPPORT_TYPES)?;
        let patch = json!({ "upgradePolicy": { "supportType": support } });
        changes.push(("UpgradePolicyUpdate", patch));
    }
    if let Some(protection) = request.deletion_protection {
        changes.push(("DeletionProtectionUpdate", json!({ "deletionProtection": protection })));
    }
    match <[_; 1]>::try_from(changes) {
        Ok([change]) => Ok(change),
        Err(changes) if changes.is_empty() => {
            Err(invalid("Atleast one update type must be provided".into()))
        }
        Err(_) => Err(invalid("Only one type of update can be allowed.".into())),
    }
}

pub fn versions(call: &Call<'_>) -> Result<Answer, Refusal> {
    let known = [
        "clusterType",
        "clusterVersions",
        "defaultOnly",
        "includeAll",
        "maxResults",
        "nextToken",
        "status",
        "versionStatus",
    ];
    call.only(&known, "InvalidParameterException")?;
    let default_only = call.parameter("defaultOnly") == Some("true");
    let wanted: Vec<&str> = call
        .query
        .iter()
        .filter(|(name, _)| name == "clusterVersions")
        .map(|(_, version)| version.as_str())
        .collect();
    let versions = VERSIONS.iter().enumerate().rev().filter(|(_, version)| {
        (!default_only || **version == DEFAULT_VERSION)
            && (wanted.is_empty() || wanted.contains(version))
    });
    let versions = versions.map(|(place, version)| {
        let standard = place >= STANDARD_SINCE;
        json!({
            "clusterVersion": version,
            "clusterType": "eks",
            "defaultPlatformVersion": "eks.1",
            "defaultVersion": *version == DEFAULT_VERSION,
            "status": if standard { "standard-support" } else { "extended-support" },
            "versionStatus": if standard { "STANDARD_SUPPORT" } else { "EXTENDED_SUPPORT" },
        })
    });
    Ok(Answer::Json(json!({ "clusterVersions": versions.collect::<Vec<_>>() })))
}

/// Ends what is due: creation, updates, deletion.
pub fn settle(table: &mut Table) {
    let tick = table.tick();
    let due = table
        .list(CLUSTERS, "")
        .filter(|(_, cluster)| cluster.settles_at != 0 && cluster.settles_at <= tick);
    let due: Vec<String> = due.map(|(key, _)| key.to_owned()).collect();
    for key in due {
        let (region, name) = key.split_once('/').expect("a key is REGION/NAME");
        let subject = Subject { region, cluster: name, group: None };
        let inside = format!("aws/{key}");
        let Some(object) = table.get_mut(CLUSTERS, &key) else { continue };
        object.settles_at = 0;
        let update = object.body["update"].take();
        let cluster = &mut object.body["cluster"];
        if cluster["status"] == "DELETING" {
            table.remove(CLUSTERS, &key);
            table.close_cluster(&inside);
            updates::forget(table, &subject);
            continue;
        }
        if cluster["status"] == "CREATING" {
            let id = text::hash(&inside)[..32].to_uppercase();
            let issuer = format!("https://oidc.eks.{region}.amazonaws.com/id/{id}");
            let authority = format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                BASE64_STANDARD.encode(&inside)
            );
            cluster["endpoint"] = format!("https://{id}.gr7.{region}.eks.amazonaws.com").into();
            cluster["certificateAuthority"]["data"] = BASE64_STANDARD.encode(authority).into();
            cluster["identity"]["oidc"]["issuer"] = issuer.into();
            let group = format!("sg-{}", &text::hash(&inside)[..17]);
            cluster["resourcesVpcConfig"]["clusterSecurityGroupId"] = group.into();
        }
        for (name, value) in update["patch"].as_object().into_iter().flatten() {
            cluster[name] = value.clone();
        }
        cluster["status"] = "ACTIVE".into();
        let version = cluster["version"].as_str().unwrap_or_default().to_owned();
        if table.cluster_version(&inside) != Some(&version) {
            table.open_cluster(&inside, &version);
        }
        if let Some(id) = update["id"].as_str() {
            updates::finish(table, &subject, id);
        }
    }
}

/// The cluster, as it is kept.
pub fn find<'a>(table: &'a Table, region: &str, name: &str) -> Result<&'a Object, Refusal> {
    table.get(CLUSTERS, &key(region, name)).ok_or_else(|| no_cluster(name))
}

fn find_mut<'a>(table: &'a mut Table, region: &str, name: &str) -> Result<&'a mut Object, Refusal> {
    table.get_mut(CLUSTERS, &key(region, name)).ok_or_else(|| no_cluster(name))
}

/// The cluster, where nothing changes it right now.
fn idle(table: &Table, region: &str, name: &str) -> Result<Value, Refusal> {
    let cluster = &find(table, region, name)?.body["cluster"];
    if cluster["status"] != "ACTIVE" {
        let status = cluster["status"].as_str().unwrap_or_default();
        let message = format!("Cannot update because cluster {name} currently is {status}");
        return Err(in_use(message).with("clusterName", name));
    }
    Ok(cluster.clone())
}

/// Starts an update: its patch holds when it settles.
fn begin(
    table: &mut Table,
    subject: &Subject<'_>,
    update: &Value,
    patch: Value,
) -> Result<(), Refusal> {
    let id = update["id"].as_str().unwrap_or_default();
    let settles_at = table.tick() + table.duration(id, 1, 4);
    let cluster = find_mut(table, subject.region, subject.cluster)?;
    cluster.body["cluster"]["status"] = "UPDATING".into();
    cluster.body["update"] = json!({ "id": id, "patch": patch });
    cluster.settles_at = settles_at;
    Ok(())
}

pub fn key(region: &str, name: &str) -> String {
    format!("{region}/{name}")
}

pub fn pairs(tags: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// Letters, digits, `-` and `_`, the first one no sign.
pub fn check_name(what: &str, name: &str, limit: usize) -> Result<(), Refusal> {
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if letters && first && name.len() <= limit {
        return Ok(());
    }
    Err(invalid(format!(
        "The {what} '{name}' must match ^[0-9A-Za-z][A-Za-z0-9\\-_]* and have at most {limit} \
         characters"
    )))
}

/// What makes two requests the same, their token among it.
pub fn fingerprint(call: &Call<'_>) -> String {
    text::hash(&crate::attributes::canonical_json(call.body))
}

pub fn check_token(token: Option<&str>) -> Result<(), Refusal> {
    match token {
        Some(token) if token.is_empty() || token.len() > 64 || !token.is_ascii() => {
            Err(invalid("clientRequestToken must have 1 to 64 ASCII characters".into()))
        }
        _ => Ok(()),
    }
}

/// The value where it is one of the choices; the default where there is none.
pub fn one_of(
    what: &str,
    value: Option<String>,
    default: &str,
    choices: &[&str],
) -> Result<String, Refusal> {
    let value = value.unwrap_or_else(|| default.to_owned());
    if choices.contains(&value.as_str()) {
        return Ok(value);
    }
    Err(invalid(format!("{what} '{value}' is not one of {}", choices.join(", "))))
}

fn check_subnets(region: &str, ids: &[String]) -> Result<(), Refusal> {
    let zones = ec2::zones_of(region, ids).map_err(invalid)?;
    if zones.iter().collect::<std::collections::BTreeSet<_>>().len() < 2 {
        let message = "Subnets specified must be in at least two different AZs";
        return Err(invalid(message.into()));
    }
    match zones.iter().find(|zone| ec2::NO_EKS.contains(&zone.as_str())) {
        None => Ok(()),
        Some(zone) => Err(Refusal::new(
            400,
            "UnsupportedAvailabilityZoneException",
            format!("Cannot create cluster because {zone} cannot hold an EKS control plane"),
        )),
    }
}

fn check_reachable(vpc: &Value) -> Result<(), Refusal> {
    if vpc["endpointPublicAccess"] == false && vpc["endpointPrivateAccess"] == false {
        let message = "Private and public endpoint access cannot be false";
        return Err(invalid(message.into()));
    }
    Ok(())
}

/// What is on and what is off after a request, in EKS's form.
fn log_setups(
    request: Option<Logging>,
    before: &BTreeMap<String, bool>,
) -> Result<Vec<Value>, Refusal> {
    let mut on = before.clone();
    for setup in request.map(|logging| logging.cluster_logging).unwrap_or_default() {
        for kind in setup.types {
            if !LOG_TYPES.contains(&kind.as_str()) {
                return Err(invalid(format!("Invalid log type '{kind}'")));
            }
            on.insert(kind, setup.enabled.unwrap_or(false));
        }
    }
    let of = |wanted: bool| {
        let is = |kind: &&&str| on.get(**kind).copied().unwrap_or(false) == wanted;
        LOG_TYPES.iter().filter(is).collect::<Vec<_>>()
    };
    let setups = [true, false].map(|enabled| (enabled, of(enabled)));
    let setups = setups.into_iter().filter(|(_, types)| !types.is_empty());
    Ok(setups.map(|(enabled, types)| json!({ "types": types, "enabled": enabled })).collect())
}

fn no_cluster(name: &str) -> Refusal {
    missing(format!("No cluster found for name: {name}.")).with("clusterName", name)
}

pub fn invalid(message: String) -> Refusal {
    Refusal::new(400, "InvalidParameterException", message)
}

pub fn missing(message: String) -> Refusal {
    Refusal::new(404, "ResourceNotFoundException", message)
}

pub fn in_use(message: String) -> Refusal {
    Refusal::new(409, "ResourceInUseException", message)
}

pub fn bad_state(message: String) -> Refusal {
    Refusal::new(400, "InvalidRequestException", message)
}
