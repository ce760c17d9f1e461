//! AKS clusters: `Microsoft.ContainerService/managedClusters`.
//!
//! A cluster's node pools are kept beside it, one object each, and put into its answers. While any of them
//! is in the middle of something, so is the cluster, and everything else is refused.

use fleetform_sandbox::{Object, Table};
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal, refuse};
use super::{
    CLUSTERS, Call, POOLS, begin, credentials, groups, no_such_type, nodes, operations,
    settle_state, state, validate, versions, wrong_method,
};

const KIND: &str = "Microsoft.ContainerService/managedClusters";

const FIELDS: [&str; 13] = [
    "id",
    "name",
    "type",
    "location",
    "tags",
    "properties",
    "sku",
    "identity",
    "extendedLocation",
    "kind",
    "systemData",
    "eTag",
    "etag",
];

/// Of `ManagedClusterProperties`, from Azure's own client.
const PROPERTIES: [&str; 50] = [
    "aadProfile",
    "addonProfiles",
    "agentPoolProfiles",
    "aiToolchainOperatorProfile",
    "apiServerAccessProfile",
    "autoScalerProfile",
    "autoUpgradeProfile",
    "azureMonitorProfile",
    "azurePortalFQDN",
    "bootstrapProfile",
    "currentKubernetesVersion",
    "disableLocalAccounts",
    "diskEncryptionSetID",
    "dnsPrefix",
    "enableFIPS",
    "enableRBAC",
    "fqdn",
    "fqdnSubdomain",
    "hostedSystemProfile",
    "httpProxyConfig",
    "identityProfile",
    "ingressProfile",
    "kubernetesVersion",
    "linuxProfile",
    "maxAgentPools",
    "metricsProfile",
    "networkProfile",
    "nodeProvisioningProfile",
    "nodeResourceGroup",
    "nodeResourceGroupProfile",
    "oidcIssuerProfile",
    "podIdentityProfile",
    "powerState",
    "privateFQDN",
    "privateLinkResources",
    "provisioningState",
    "publicNetworkAccess",
    "resourceUID",
    "schedulerProfile",
    "securityProfile",
    "serviceMeshProfile",
    "servicePrincipalProfile",
    "status",
    "storageProfile",
    "supportPlan",
    "upgradeSettings",
    "windowsProfile",
    "workloadAutoScalerProfile",
    "enableNamespaceResources",
    "creationData",
];

pub fn route_subscription(
    table: &mut Table,
    call: &Call,
    rest: &[&str],
) -> Result<Answer, Refusal> {
    match (call.method.as_str(), rest) {
        ("GET", ["managedclusters"]) => Ok(list(table, call, &format!("{}/", call.subscription()))),
        ("GET", ["locations", _, "operations", id]) => operations::status(table, call, id),
        ("GET", ["locations", _, "kubernetesversions"]) => Ok(versions::list()),
        (_, ["managedclusters"] | ["locations", _, "operations", _]) => Err(wrong_method(call)),
        _ => Err(no_such_type(call)),
    }
}

pub fn route_group(table: &mut Table, call: &Call, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.method.as_str(), rest) {
        ("GET", ["managedclusters"]) => {
            groups::existing(table, call)?;
            Ok(list(table, call, &format!("{}/", groups::key(call))))
        }
        ("PUT", ["managedclusters", _]) => put(table, call),
        ("GET", ["managedclusters", _]) => {
            Ok(Answer::ok(render(table, &key(call), &existing(table, call)?)))
        }
        ("PATCH", ["managedclusters", _]) => patch(table, call),
        ("DELETE", ["managedclusters", _]) => delete(table, call),
        (
            "POST",
            [
                "managedclusters",
                _,
                role @ ("listclusterusercredential" | "listclusteradmincredential"),
            ],
        ) => credentials::give(table, call, role),
        (_, ["managedclusters", _, "agentpools", rest @ ..]) => nodes::route(table, call, rest),
        (_, ["managedclusters"] | ["managedclusters", _]) => Err(wrong_method(call)),
        _ => Err(no_such_type(call)),
    }
}

/// `SUBSCRIPTION/GROUP/CLUSTER`, in lower case.
pub fn key(call: &Call) -> String {
    format!("{}/{}", groups::key(call), call.lower[7])
}

/// The cluster of the call's path.
pub fn existing(table: &Table, call: &Call) -> Result<Json, Refusal> {
    groups::existing(table, call)?;
    table.get(CLUSTERS, &key(call)).map(|object| object.body.clone()).ok_or_else(|| {
        Refusal::missing(
            "ResourceNotFound",
            format!(
                "The Resource '{KIND}/{}' under resource group '{}' was not found. For more details please \
                 go to https://aka.ms/ARMResourceNotFoundFix",
                call.name(7),
                call.name(3)
            ),
        )
    })
}

/// Refuses while the cluster or one of its pools is in the middle of something.
pub fn expect_idle(table: &Table, key: &str) -> Result<(), Refusal> {
    let busy = |what: String| {
        refuse(Refusal::conflict(
            "OperationNotAllowed",
            format!(
                "Operation is not allowed: Another {what} is in progress, please wait for it to finish before \
                 starting a new operation. See https://aka.ms/aks-pending-operation for more details"
            ),
        ))
    };
    let cluster = table.get(CLUSTERS, key).map(|object| state(&object.body)).unwrap_or("Succeeded");
    if cluster != "Succeeded" {
        return busy(format!("operation ({cluster})"));
    }
    for (_, pool) in table.list(POOLS, &format!("{key}/")) {
        if state(&pool.body) != "Succeeded" {
            let name = pool.body["name"].as_str().unwrap_or_default();
            return busy(format!("agentpool operation ({name} - {})", state(&pool.body)));
        }
    }
    Ok(())
}

/// Ends what a cluster was in the middle of.
pub fn settle(table: &mut Table, key: &str) {
    let Some(body) = table.get(CLUSTERS, key).map(|object| object.body.clone()) else { return };
    if state(&body) == "Deleting" {
        remove(table, key);
        return;
    }
    settle_state(table, CLUSTERS, key);
    let version = body["properties"]["currentKubernetesVersion"].as_str().unwrap_or_default();
    table.open_cluster(&kubernetes_key(&body), version);
    let pools: Vec<String> =
        table.list(POOLS, &format!("{key}/")).map(|(key, _)| key.to_owned()).collect();
    for pool in pools {
        nodes::settle(table, &pool);
    }
}

/// Takes a cluster away, with its pools and its API server.
pub fn remove(table: &mut Table, key: &str) {
    let Some(cluster) = table.remove(CLUSTERS, key) else { return };
    table.close_cluster(&kubernetes_key(&cluster.body));
    let pools: Vec<String> =
        table.list(POOLS, &format!("{key}/")).map(|(key, _)| key.to_owned()).collect();
    for pool in pools {
        table.remove(POOLS, &pool);
    }
}

/// Where the cluster's API server is: `azure/REGION/NAME`.
pub fn kubernetes_key(body: &Json) -> String {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    format!("azure/{}/{}", text("location"), text("name"))
}

fn list(table: &Table, call: &Call, prefix: &str) -> Answer {
    let clusters = table.list(CLUSTERS, prefix);
    Answer::page(
        call,
        clusters.map(|(key, object)| (key.to_owned(), render(table, key, &object.body))),
    )
}

fn render(table: &Table, key: &str, body: &Json) -> Json {
    let mut body = body.clone();
    let prefix = format!("{key}/");
    let pools = table.list(POOLS, &prefix);
    let pools: Vec<Json> = pools
        .map(|(_, pool)| {
            let mut profile = pool.body["properties"].clone();
            profile["name"] = pool.body["name"].clone();
            profile
        })
        .collect();
    body["properties"]["agentPoolProfiles"] = pools.into();
    body
}

fn put(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    groups::expect_open(table, call)?;
    let key = key(call);
    let before = table.get(CLUSTERS, &key).map(|object| object.body.clone());
    let name = call.name(7);
    if !validate::name(name, 63) {
        return refuse(validate::invalid(
            "resourceName",
            format!("'{name}' is no name of a cluster."),
        ));
    }
    validate::preconditions(call, before.as_ref().and_then(|body| body["eTag"].as_str()))?;
    validate::fields(&call.body, &FIELDS, "ManagedCluster")?;
    validate::tags(&call.body["tags"])?;
    let location = validate::location(call, before.as_ref(), KIND)?;
    let wanted = &call.body["properties"];
    validate::fields(wanted, &PROPERTIES, "ManagedClusterProperties")?;
    expect_settings(&call.body)?;
    if before.is_some() {
        expect_idle(table, &key)?;
    }
    let version = versions::choose(wanted, before.as_ref(), name)?;
    let profiles = wanted["agentPoolProfiles"].as_array().cloned().unwrap_or_default();
    let pools = pools(table, call, &key, before.as_ref(), &profiles, &location, &version)?;
    if before.is_none() {
        expect_free(table, &location, name)?;
    }

    let name = before.as_ref().and_then(|body| body["name"].as_str()).unwrap_or(name).to_owned();
    let group = groups::existing(table, call)?["name"].as_str().unwrap_or_default().to_owned();
    let subscription = call.name(1);
    let prefix = wanted["dnsPrefix"].as_str().unwrap_or_default();
    if let Some(before) = &before {
        expect_same(&before["properties"]["dnsPrefix"], &wanted["dnsPrefix"], "dnsPrefix")?;
    }
    let unique = operations::guid(&key, 0);
    let managed = format!("MC_{group}_{name}_{location}");
    let mut properties = wanted.clone();
    let computed = json!({
        "kubernetesVersion": version.0,
        "currentKubernetesVersion": version.1,
        "powerState": { "code": "Running" },
        "fqdn": format!("{}-{}.hcp.{location}.azmk8s.io", prefix.to_lowercase(), &unique[..8]),
        "azurePortalFQDN": format!("{}-{}.portal.hcp.{location}.azmk8s.io", prefix.to_lowercase(), &unique[..8]),
        "enableRBAC": true,
        "supportPlan": "KubernetesOfficial",
        "maxAgentPools": 100,
        "nodeResourceGroup": managed,
        "resourceUID": unique,
        "identityProfile": { "kubeletidentity": {
            "resourceId": format!(
                "/subscriptions/{subscription}/resourceGroups/{managed}/providers/\
                 Microsoft.ManagedIdentity/userAssignedIdentities/{name}-agentpool"
            ),
            "clientId": unique,
            "objectId": unique,
        } },
    });
    for (name, value) in computed.as_object().into_iter().flatten() {
        properties[name] = value.clone();
    }
    let issuer = &wanted["oidcIssuerProfile"]["enabled"];
    if *issuer == true {
        let url = format!("https://{location}.oic.prod-aks.azure.com/{}/{unique}/", call.name(1));
        properties["oidcIssuerProfile"] = json!({ "enabled": true, "issuerURL": url });
    } else if before
        .as_ref()
        .is_some_and(|b| b["properties"]["oidcIssuerProfile"]["enabled"] == true)
    {
        return refuse(Refusal::bad("BadRequest", "OIDC issuer feature cannot be disabled."));
    }
    properties["agentPoolProfiles"] = Json::Null;
    let mut identity = json!({ "type": call.body["identity"]["type"] });
    if identity["type"] == "SystemAssigned" {
        identity["principalId"] = unique.clone().into();
        identity["tenantId"] = "00000000-0000-0000-0000-000000000000".into();
    }
    let sku = &call.body["sku"];
    let body = json!({
        "id": format!("/subscriptions/{subscription}/resourcegroups/{group}/providers/{KIND}/{name}"),
        "name": name,
        "type": KIND,
        "location": location,
        "tags": if call.body["tags"].is_null() { json!({}) } else { call.body["tags"].clone() },
        "sku": {
            "name": sku["name"].as_str().unwrap_or("Base"),
            "tier": sku["tier"].as_str().unwrap_or("Free"),
        },
        "identity": identity,
        "eTag": operations::request_id(table.tick()),
        "properties": properties,
    });
    let (status, state) = match before {
        Some(_) => (StatusCode::OK, "Updating"),
        None => (StatusCode::CREATED, "Creating"),
    };
    let settles_at = begin(table, CLUSTERS, &key, body, state);
    for (pool_key, mut pool) in pools {
        pool["properties"]["provisioningState"] = state.into();
        // A pool of the cluster's own PUT settles with it.
        table.put(POOLS, pool_key, Object { body: pool, settles_at: 0 });
    }
    let body = table.get(CLUSTERS, &key).map(|object| object.body.clone()).unwrap_or_default();
    let mut answer = Answer::new(status, render(table, &key, &body));
    operations::announce(&mut answer, call, &location, settles_at);
    Ok(answer)
}

/// Values that AKS checks without knowing the cluster.
fn expect_settings(body: &Json) -> Result<(), Refusal> {
    let properties = &body["properties"];
    if body["identity"]["type"].is_null() && properties["servicePrincipalProfile"].is_null() {
        return refuse(Refusal::bad(
            "InvalidParameter",
            "Required parameter servicePrincipalProfile is missing (null).",
        ));
    }
    validate::one_of(
        &body["identity"]["type"],
        &["SystemAssigned", "UserAssigned", "None"],
        "identity.type",
    )?;
    if !body["sku"].is_null() {
        validate::fields(&body["sku"], &["name", "tier"], "ManagedClusterSKU")?;
        validate::one_of(&body["sku"]["name"], &["Base", "Automatic"], "sku.name")?;
        validate::one_of(&body["sku"]["tier"], &["Free", "Standard", "Premium"], "sku.tier")?;
    }
    let prefix = properties["dnsPrefix"].as_str().unwrap_or_default();
    if !validate::name(prefix, 54) || prefix.contains('_') {
        return refuse(validate::invalid(
            "dnsPrefix",
            "DNS prefix must contain only letters, digits and dashes, begin and end with a letter or digit, \
             and be between 1 and 54 characters long.",
        ));
    }
    Ok(())
}

/// The pools that the cluster's PUT makes or changes. It can neither add nor drop one later.
fn pools(
    table: &Table,
    call: &Call,
    key: &str,
    before: Option<&Json>,
    profiles: &[Json],
    location: &str,
    version: &(String, String),
) -> Result<Vec<(String, Json)>, Refusal> {
    if !profiles.iter().any(|profile| profile["mode"] == "System") {
        return refuse(validate::invalid(
            "agentPoolProfiles",
            "Must define at least one system pool.",
        ));
    }
    let mut pools = Vec::new();
    for profile in profiles {
        let name = profile["name"].as_str().unwrap_or_default();
        let pool_key = format!("{key}/{}", name.to_lowercase());
        if pools.iter().any(|(key, _)| *key == pool_key) {
            return refuse(validate::invalid(
                "agentPoolProfiles",
                format!("'{name}' stands there twice."),
            ));
        }
        let known = table.get(POOLS, &pool_key).map(|object| &object.body);
        if before.is_some() && known.is_none() {
            return refuse(Refusal::bad(
                "BadRequest",
                "A new agent pool was introduced. Adding agent pools to an existing cluster is not allowed \
                 through managed cluster operations. For agent pool specific change, please use per agent \
                 pool operations: https://aka.ms/agent-pool-rest-api",
            ));
        }
        let mut properties = profile.clone();
        if let Some(properties) = properties.as_object_mut() {
            properties.remove("name");
        }
        let id = (call.name(1), call.name(3), call.name(7));
        pools
            .push((pool_key, nodes::make(table, id, name, &properties, known, location, version)?));
    }
    let there = table.list(POOLS, &format!("{key}/")).count();
    if before.is_some() && there > pools.len() {
        return refuse(Refusal::bad(
            "BadRequest",
            "Removing agent pools from an existing cluster is not allowed through managed cluster operations.",
        ));
    }
    Ok(pools)
}

/// Two clusters of one name in a region would share an API server here.
fn expect_free(table: &Table, location: &str, name: &str) -> Result<(), Refusal> {
    let key = format!("azure/{location}/{name}");
    if table.list(CLUSTERS, "").any(|(_, object)| kubernetes_key(&object.body) == key) {
        return refuse(Refusal::conflict(
            "AlreadyInUse",
            format!(
                "The sandbox has a cluster '{name}' in {location} already, in another resource group."
            ),
        ));
    }
    Ok(())
}

/// What cannot change once it is set.
pub fn expect_same(before: &Json, wanted: &Json, name: &str) -> Result<(), Refusal> {
    if wanted.is_null() || before.is_null() || before == wanted {
        return Ok(());
    }
    refuse(Refusal::bad(
        "PropertyChangeNotAllowed",
        format!("Changing property 'properties.{name}' is not allowed."),
    ))
}

fn patch(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    let mut body = existing(table, call)?;
    validate::fields(&call.body, &["tags"], "TagsObject")?;
    validate::tags(&call.body["tags"])?;
    validate::preconditions(call, body["eTag"].as_str())?;
    let key = key(call);
    expect_idle(table, &key)?;
    body["tags"] = if call.body["tags"].is_null() { json!({}) } else { call.body["tags"].clone() };
    body["eTag"] = operations::request_id(table.tick()).into();
    table.put(CLUSTERS, &key, Object { body: body.clone(), settles_at: 0 });
    Ok(Answer::ok(render(table, &key, &body)))
}

fn delete(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    let Ok(body) = existing(table, call) else { return Ok(Answer::empty(StatusCode::NO_CONTENT)) };
    let key = key(call);
    let location = body["location"].as_str().unwrap_or_default().to_owned();
    validate::preconditions(call, body["eTag"].as_str())?;
    let settles_at = if state(&body) == "Deleting" {
        table.get(CLUSTERS, &key).map_or(0, |object| object.settles_at)
    } else {
        expect_idle(table, &key)?;
        begin(table, CLUSTERS, &key, body, "Deleting")
    };
    let mut answer = Answer::empty(StatusCode::ACCEPTED);
    operations::announce(&mut answer, call, &location, settles_at);
    Ok(answer)
}
