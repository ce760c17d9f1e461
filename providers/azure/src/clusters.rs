//! AKS clusters: `Microsoft.ContainerService/managedClusters`.

use fleetform_contract::{Mark, Progress, Record, Reference, Remote, Resource, Result, Value};
use serde_json::{Value as Json, json};

use crate::attributes::{
    collect, current, differs, ensure, if_new, if_unchanged, json, location, mark, put, remote,
    required, segment, strip, tags,
};
use crate::resources::SYSTEM_POOL;
use crate::transport::Arm;
use crate::{groups, node_pools};

/// Of `Microsoft.ContainerService`.
pub const VERSION: &str = "2025-08-01";

/// What only Azure says of a cluster, and of its properties.
const TOLD: [&str; 5] = ["id", "name", "type", "systemData", "eTag"];
const TOLD_PROPERTIES: [&str; 8] = [
    "azurePortalFQDN",
    "currentKubernetesVersion",
    "fqdn",
    "maxAgentPools",
    "powerState",
    "privateFQDN",
    "provisioningState",
    "resourceUID",
];

/// `/subscriptions/S/resourceGroups/G/providers/Microsoft.ContainerService/managedClusters/NAME`.
pub fn id(arm: &Arm, group: &str, name: &str) -> Result<String> {
    let group = groups::id(arm, group)?;
    Ok(format!("{group}/providers/Microsoft.ContainerService/managedClusters/{name}"))
}

pub async fn read(arm: &Arm, reference: Reference<'_>) -> Result<Option<Remote>> {
    let id = match reference.id {
        Some(id) => id.to_owned(),
        None => {
            let group = required(reference.attributes, "resource_group_name")?;
            id(arm, group, required(reference.attributes, "name")?)?
        }
    };
    Ok(arm.get(&id, VERSION).await?.map(|body| as_remote(id, &body)))
}

pub async fn create(arm: &Arm, desired: &Resource, progress: &dyn Progress) -> Result<Remote> {
    let attributes = &desired.attributes;
    let group = required(attributes, "resource_group_name")?;
    let id = id(arm, group, required(attributes, "name")?)?;
    let mut put = put(&id, VERSION, body(desired));
    put.condition = if_new();
    let made = ensure(arm, desired, put, progress).await?;
    Ok(as_remote(id, &made))
}

/// Puts the cluster back as it is, with what differs changed: AKS takes a PUT for the whole.
pub async fn update(
    arm: &Arm,
    record: &Record,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let mut body = current(arm, record, VERSION).await?;
    let wanted = self::body(desired);
    for name in ["tags", "sku", "identity"] {
        body[name] = wanted[name].clone();
    }
    let properties = &mut body["properties"];
    properties["oidcIssuerProfile"] = wanted["properties"]["oidcIssuerProfile"].clone();
    let upgrade = differs(record, desired, "kubernetes_version");
    let version = json(&desired.attributes, "kubernetes_version");
    if upgrade && !version.is_null() {
        properties["kubernetesVersion"] = version.clone();
    }
    let pools = properties["agentPoolProfiles"].as_array_mut();
    if let Some(pool) = pools.and_then(|pools| pools.iter_mut().find(|pool| is_system(pool))) {
        pool["count"] = wanted["properties"]["agentPoolProfiles"][0]["count"].clone();
        // Nodes of the system pool go with the control plane; other pools have a version of their own.
        if upgrade && !version.is_null() {
            pool["orchestratorVersion"] = version;
        }
    }
    for pool in properties["agentPoolProfiles"].as_array_mut().into_iter().flatten() {
        strip(pool, &node_pools::TOLD_PROPERTIES);
    }
    strip(properties, &TOLD_PROPERTIES);
    let condition = if_unchanged(&body["eTag"]);
    strip(&mut body, &TOLD);
    let mut put = put(&record.id, VERSION, body);
    put.condition = condition;
    let now = arm.change(put, progress).await?;
    Ok(as_remote(record.id.clone(), &now))
}

/// The clusters and node pools with the owner's tags. A cluster's own list of pools has their tags, so this is
/// one call for the scope, which is a subscription or a resource group.
pub async fn list(arm: &Arm, scope: &str, stack: &str) -> Result<Vec<(Mark, Remote)>> {
    let path = format!("{scope}/providers/Microsoft.ContainerService/managedClusters");
    let mut found = Vec::new();
    for body in arm.list(&path, VERSION, None).await? {
        let names = body["id"].as_str().and_then(|id| segment(id, "resourceGroups"));
        let (Some(group), Some(name)) = (names, body["name"].as_str()) else { continue };
        let id = id(arm, group, name)?;
        if let Some(mark) = mark(tags(&body), stack) {
            found.push((mark, as_remote(id.clone(), &body)));
        }
        for pool in body["properties"]["agentPoolProfiles"].as_array().into_iter().flatten() {
            let Some(mark) = mark(&pool["tags"], stack) else { continue };
            let Some(name) = pool["name"].as_str() else { continue };
            found.push((mark, node_pools::as_remote(&id, name, pool)));
        }
    }
    Ok(found)
}

fn body(desired: &Resource) -> Json {
    let attributes = &desired.attributes;
    let pool = attributes.get("default_node_pool").and_then(|pools| pools.at("0"));
    let pool = pool.and_then(Value::as_map).cloned().unwrap_or_default();
    let identity = attributes.get("identity").and_then(|identity| identity.at("0.type"));
    let mut system_pool = json!({
        "name": json(&pool, "name"),
        "mode": "System",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "vmSize": json(&pool, "vm_size"),
        "count": json(&pool, "node_count"),
    });
    if pool.contains_key("vnet_subnet_id") {
        system_pool["vnetSubnetID"] = json(&pool, "vnet_subnet_id");
    }
    let mut properties = json!({
        "dnsPrefix": json(attributes, "dns_prefix"),
        "oidcIssuerProfile": { "enabled": json(attributes, "oidc_issuer_enabled") },
        "agentPoolProfiles": [system_pool],
    });
    if attributes.contains_key("kubernetes_version") {
        properties["kubernetesVersion"] = json(attributes, "kubernetes_version");
    }
    json!({
        "location": json(attributes, "location"),
        "tags": json(attributes, "tags"),
        "identity": { "type": identity.map(Value::to_plain_json) },
        "sku": { "name": "Base", "tier": json(attributes, "sku_tier") },
        "properties": properties,
    })
}

fn as_remote(id: String, body: &Json) -> Remote {
    let properties = &body["properties"];
    let text = Value::from_plain_json;
    let pools = properties["agentPoolProfiles"].as_array();
    let system_pool = pools.and_then(|pools| pools.iter().find(|pool| is_system(pool)));
    let system_pool = system_pool.map(|pool| {
        Value::List(vec![Value::Map(collect([
            ("name", text(&pool["name"])),
            ("vm_size", text(&pool["vmSize"])),
            ("node_count", text(&pool["count"])),
            ("vnet_subnet_id", text(&pool["vnetSubnetID"])),
        ]))])
    });
    let identity = &body["identity"];
    let identity = identity.is_object().then(|| {
        Value::List(vec![Value::Map(collect([
            ("type", text(&identity["type"])),
            ("principal_id", text(&identity["principalId"])),
            ("tenant_id", text(&identity["tenantId"])),
        ]))])
    });
    let kubelet = &properties["identityProfile"]["kubeletidentity"];
    let kubelet = kubelet.is_object().then(|| {
        Value::List(vec![Value::Map(collect([
            ("client_id", text(&kubelet["clientId"])),
            ("object_id", text(&kubelet["objectId"])),
            ("user_assigned_identity_id", text(&kubelet["resourceId"])),
        ]))])
    });
    let attributes = collect([
        ("name", text(&body["name"])),
        ("location", location(body)),
        ("resource_group_name", segment(&id, "resourceGroups").into()),
        ("dns_prefix", text(&properties["dnsPrefix"])),
        ("kubernetes_version", text(&properties["kubernetesVersion"])),
        ("current_kubernetes_version", text(&properties["currentKubernetesVersion"])),
        ("sku_tier", text(&body["sku"]["tier"])),
        ("oidc_issuer_enabled", (properties["oidcIssuerProfile"]["enabled"] == true).into()),
        ("oidc_issuer_url", text(&properties["oidcIssuerProfile"]["issuerURL"])),
        ("fqdn", text(&properties["fqdn"])),
        ("node_resource_group", text(&properties["nodeResourceGroup"])),
        ("identity", identity.into()),
        ("kubelet_identity", kubelet.into()),
        ("default_node_pool", system_pool.into()),
        ("tags", text(tags(body))),
    ]);
    remote(id, attributes)
}

fn is_system(pool: &Json) -> bool {
    pool["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(SYSTEM_POOL))
}
