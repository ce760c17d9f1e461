//! Sites and registries → Azure's resources: one resource group for the cloud, a cluster for each
//! site, a node pool for each offering there, a container registry for each `registry` that the
//! nodes of every site may pull from. Pure.
//!
//! Invariant: a resource's address, name and place do not depend on what else is placed, so a service
//! that comes or goes replaces nothing it does not use.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Cloud, Market, Owner, Pool, Registry, Resource, Site, Value};
use sha2::{Digest, Sha256};

use crate::catalog::SYSTEM_VM_SIZE;
use crate::schema;

/// What the names of our tags start with. Azure forbids `<>%&\?/` in a tag's name and nothing in its
/// value, which holds 256 characters, so addresses stand there as they are.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources>
pub const TAG_PREFIX: &str = "fleetform:";

/// The system pool's name.
pub const SYSTEM_POOL: &str = "system";

/// Where groups and registries stand when the stack names no region.
const DEFAULT_REGION: &str = "eastus";

/// AKS sets these on spot nodes itself; spelled out, they are no difference to what it reports.
/// <https://learn.microsoft.com/azure/aks/spot-node-pool>
pub const SPOT_KEY: &str = "kubernetes.azure.com/scalesetpriority";

/// The disk that holds the system, images and pods' scratch space. GPU images alone take tens of
/// gigabytes.
const DISK_GB: u32 = 128;
const GPU_DISK_GB: u32 = 256;

/// Every resource that Azure must have for what the cloud runs.
pub fn resources(
    cloud: &Cloud,
    sites: &[Site],
    registries: &[Registry],
    owner: &Owner,
) -> Vec<Resource> {
    let sites: Vec<&Site> = sites.iter().filter(|site| site.cloud == cloud.name).collect();
    let registries: Vec<&Registry> =
        registries.iter().filter(|registry| registry.cloud == cloud.name).collect();
    if sites.is_empty() && registries.is_empty() {
        return Vec::new();
    }
    let maker = Maker { cloud, owner, group: group_name(cloud, owner) };
    let mut resources = Vec::new();
    if !group_exists(cloud) {
        resources.push(maker.group());
    }
    for site in &sites {
        resources.push(maker.cluster(site));
        resources.extend(site.pools.iter().map(|pool| maker.node_pool(site, pool)));
    }
    for registry in registries {
        resources.push(maker.registry(registry));
        resources.extend(sites.iter().map(|site| maker.pull_role(registry, site)));
    }
    resources
}

/// The address of the cluster of a region.
pub fn cluster_address(cloud: &Cloud, region: &str) -> Address {
    Address::keyed(schema::CLUSTER, cloud.resource_name(), region)
}

/// A cluster's name at Azure. Names are unique in a resource group, which holds the clusters of all
/// regions, so each ends with its region. At most 63 letters, digits, dashes and underscores.
pub fn cluster_name(site: &Site) -> String {
    let suffix = format!("-{}", site.region);
    let stem = site.cluster.strip_suffix(&suffix).unwrap_or(&site.cluster);
    format!("{}{suffix}", fit(stem, 63 - suffix.len()))
}

/// Whether the stack names a resource group that exists already, and is not ours.
fn group_exists(cloud: &Cloud) -> bool {
    cloud.account.contains_key("resource_group")
}

/// The name of the group that holds everything: the one the stack names, else one of our own for the
/// stack and its lineage, so that two environments of a stack share a subscription in peace.
fn group_name(cloud: &Cloud, owner: &Owner) -> String {
    match cloud.account.get("resource_group") {
        Some(name) => name.clone(),
        None => {
            let stem = format!("fleetform-{}-{}", owner.stack, cloud.resource_name());
            format!("{}-{}", fit(&stem, 80), &fingerprint(&owner.lineage)[..6])
        }
    }
}

struct Maker<'a> {
    cloud: &'a Cloud,
    owner: &'a Owner,
    group: String,
}

impl Maker<'_> {
    fn group(&self) -> Resource {
        let attributes = [("name", Value::from(&self.group)), ("location", self.home().into())];
        self.resource(self.group_address(), attributes, Vec::new())
    }

    fn cluster(&self, site: &Site) -> Resource {
        let name = cluster_name(site);
        let version = self.cloud.cluster.version.as_ref();
        let system_pool = [
            ("name", Some(SYSTEM_POOL.into())),
            ("vm_size", Some(SYSTEM_VM_SIZE.into())),
            ("node_count", Some(1.into())),
            ("vnet_subnet_id", self.subnet(&site.region)),
        ];
        let attributes = [
            // At most 54 letters, digits and dashes.
            ("dns_prefix", fit(&name.replace('_', "-"), 54).into()),
            ("name", name.into()),
            ("location", Value::from(&site.region)),
            ("resource_group_name", Value::from(&self.group)),
            ("kubernetes_version", version.map(Value::from).into()),
            ("sku_tier", "Standard".into()),
            ("oidc_issuer_enabled", true.into()),
            ("identity", block([("type", Some("SystemAssigned".into()))])),
            ("default_node_pool", block(system_pool)),
        ];
        self.resource(cluster_address(self.cloud, &site.region), attributes, self.parents())
    }

    fn node_pool(&self, site: &Site, pool: &Pool) -> Resource {
        let cluster = cluster_address(self.cloud, &site.region);
        let key = format!("{}/{}", site.region, pool.key());
        let spot = pool.offering.market == Market::Spot;
        let has_gpus = pool.offering.gpus > 0;

        let mut labels = BTreeMap::from([("fleetform.dev/pool".to_owned(), pool.slug().into())]);
        let mut taints = Vec::new();
        if spot {
            labels.insert(SPOT_KEY.to_owned(), "spot".into());
            taints.push(format!("{SPOT_KEY}=spot:NoSchedule"));
        }
        if has_gpus {
            taints.push("nvidia.com/gpu=present:NoSchedule".to_owned());
        }
        let max_nodes = pool.max_nodes.max(pool.nodes).max(1);
        let attributes = [
            ("name", pool_name(&pool.slug()).into()),
            ("kubernetes_cluster_id", Value::unknown(&cluster, "id")),
            ("mode", "User".into()),
            ("vm_size", Value::from(&pool.offering.instance_type)),
            ("node_count", pool.nodes.max(pool.min_nodes).into()),
            ("auto_scaling_enabled", true.into()),
            ("min_count", pool.min_nodes.min(max_nodes).into()),
            ("max_count", max_nodes.into()),
            ("priority", if spot { "Spot" } else { "Regular" }.into()),
            ("eviction_policy", spot.then_some("Delete").into()),
            // Up to the on-demand price: evicted for capacity only, never for price.
            ("spot_max_price", spot.then_some(-1).into()),
            ("os_disk_size_gb", if has_gpus { GPU_DISK_GB } else { DISK_GB }.into()),
            ("orchestrator_version", self.cloud.cluster.version.as_ref().map(Value::from).into()),
            ("vnet_subnet_id", self.subnet(&site.region).into()),
            ("zones", pool.offering.zone.as_ref().map(|zone| Value::list([zone])).into()),
            ("node_labels", labels.into()),
            ("node_taints", if taints.is_empty() { Value::Null } else { Value::list(taints) }),
        ];
        let address = Address::keyed(schema::NODE_POOL, self.cloud.resource_name(), key);
        self.resource(address, attributes, vec![cluster])
    }

    fn registry(&self, registry: &Registry) -> Resource {
        let address = self.registry_address(registry);
        let location = registry.regions.first().map_or(self.home(), String::as_str);
        let attributes = [
            ("name", registry_name(self.owner, self.cloud, registry).into()),
            ("location", location.into()),
            ("resource_group_name", Value::from(&self.group)),
            ("sku", "Standard".into()),
            ("admin_enabled", false.into()),
        ];
        self.resource(address, attributes, self.parents())
    }

    /// Lets the nodes of a site pull from a registry.
    fn pull_role(&self, registry: &Registry, site: &Site) -> Resource {
        let cluster = cluster_address(self.cloud, &site.region);
        let registry_address = self.registry_address(registry);
        let key = format!("{}/{}", registry.name, site.region);
        let address = Address::keyed(schema::ROLE_ASSIGNMENT, self.cloud.resource_name(), key);
        let marks = self.owner.tags(TAG_PREFIX, &address);
        let marks = Value::map(marks.map(|(name, value)| (name, value.into())));
        let name = guid(&format!("{}/{address}", self.owner.lineage));
        let attributes = Value::map([
            ("name", name.into()),
            ("scope", Value::unknown(&registry_address, "id")),
            ("role_definition_name", "AcrPull".into()),
            ("principal_id", Value::unknown(&cluster, "kubelet_identity.0.object_id")),
            ("principal_type", "ServicePrincipal".into()),
            // Assignments have no tags.
            ("description", marks.to_plain_json().to_string().into()),
        ]);
        Resource {
            address,
            cloud: self.cloud.name.clone(),
            site: None,
            attributes: attributes.as_map().cloned().unwrap_or_default(),
            depends_on: vec![cluster, registry_address],
        }
    }

    fn resource<const N: usize>(
        &self,
        address: Address,
        attributes: [(&str, Value); N],
        depends_on: Vec<Address>,
    ) -> Resource {
        let tags = self.owner.tags(TAG_PREFIX, &address);
        let tags = Value::map(tags.map(|(name, value)| (name, value.into())));
        let mut attributes: BTreeMap<String, Value> = attributes
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        attributes.insert("tags".to_owned(), tags);
        Resource { address, cloud: self.cloud.name.clone(), site: None, attributes, depends_on }
    }

    fn registry_address(&self, registry: &Registry) -> Address {
        Address::keyed(schema::REGISTRY, self.cloud.resource_name(), &registry.name)
    }

    fn group_address(&self) -> Address {
        Address::new(schema::RESOURCE_GROUP, self.cloud.resource_name())
    }

    fn parents(&self) -> Vec<Address> {
        if group_exists(self.cloud) { Vec::new() } else { vec![self.group_address()] }
    }

    /// Where things stand that belong to no site.
    fn home(&self) -> &str {
        self.cloud.regions.first().map_or(DEFAULT_REGION, String::as_str)
    }

    /// A subnet belongs to one region: `subnet_ids` are in the order of `regions`.
    fn subnet(&self, region: &str) -> Option<Value> {
        let index = self.cloud.regions.iter().position(|candidate| candidate == region)?;
        self.cloud.cluster.subnet_ids.get(index).map(Value::from)
    }
}

/// A nested block as Terraform's JSON has it: a list of one object, without what is not set.
fn block<const N: usize>(attributes: [(&str, Option<Value>); N]) -> Value {
    let set = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Value::List(vec![Value::map(set)])
}

/// A Linux node pool's name: a lower-case letter, then up to eleven lower-case letters and digits. What
/// can be read of the size, and a hash that keeps pools apart.
fn pool_name(slug: &str) -> String {
    let readable = slug.strip_prefix("standard-").unwrap_or(slug);
    let readable: String = readable.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    let name = format!("{readable}{}", &fingerprint(slug)[..6]);
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name
    } else {
        format!("p{}", &name[1..])
    }
}

/// A registry's name: 5 to 50 letters and digits, unique among all of Azure's customers.
fn registry_name(owner: &Owner, cloud: &Cloud, registry: &Registry) -> String {
    let readable: String = format!("{}{}", owner.stack, registry.name)
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(38)
        .collect();
    let whole = format!("{}/{}/{}/{}", owner.lineage, owner.stack, cloud.name, registry.name);
    format!("{readable}{}", &fingerprint(&whole)[..12])
}

/// The text as letters, digits, dashes and underscores, at most `limit` of them, beginning and ending
/// with a letter or digit. What does not fit is replaced by a hash, so different texts stay different.
fn fit(text: &str, limit: usize) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_fine = text.chars().all(allowed)
        && text.len() <= limit
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if is_fine {
        return text.to_owned();
    }
    let mapped: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let mapped = mapped.trim_matches(['-', '_']);
    let stem = mapped[..mapped.len().min(limit - 7)].trim_end_matches(['-', '_']);
    let separator = if stem.is_empty() { "" } else { "-" };
    format!("{stem}{separator}{}", &fingerprint(text)[..6])
}

/// A GUID that stands for a text.
fn guid(text: &str) -> String {
    let hex = fingerprint(text);
    format!("{}-{}-5{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

/// Lower-case hexadecimal digits that stand for a text.
fn fingerprint(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
