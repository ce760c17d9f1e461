//! Azure: what it rents, the resources that a placement becomes there (resource group, AKS clusters and
//! node pools, container registries and who may pull from them), and the calls to Azure Resource Manager that make them.
//!
//! `catalog` and `resources` are pure. `groups`, `clusters`, `node_pools`, `registries` and `roles` hold the calls, one
//! family of the API each, on `transport`, the only place that knows HTTP. `emulator` is the same API on
//! the sandbox.

mod access;
mod attributes;
mod catalog;
mod clusters;
pub mod emulator;
mod groups;
mod node_pools;
mod registries;
mod resources;
mod roles;
mod schema;
mod transport;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fleetform_contract::{
    Address, Attributes, Cloud, Error, KubeAccess, Mark, Objects, Offering, Owner, Pace, Progress,
    Provider, Quota, Record, Reference, Registry, Remote, Resource, Result, Schema, Site, Tariff,
    Token, Value,
};

pub use schema::schema;
use transport::Arm;

/// What AKS charges for a cluster of the Standard tier, which carries the uptime agreement, in dollars an
/// hour; the Free tier is not meant for production. <https://azure.microsoft.com/pricing/details/kubernetes-service/>
const STANDARD_TIER_PRICE_HOUR: f64 = 0.10;

/// The subscription of a sandboxed cloud that names none.
const SANDBOX_SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// The provider for a cloud of kind `azure`.
///
/// # Errors
/// [`Error::Rejected`] where the cloud says something that Azure has not: a region, a subscription id that
/// is none, AWS's roles.
pub fn provider(cloud: &Cloud) -> Result<Box<dyn Provider>> {
    check(cloud)?;
    let arm = Arm::new(cloud)?;
    Ok(Box::new(Azure { cloud: cloud.clone(), arm, busy: Mutex::default() }))
}

/// The same cloud, pointed at the emulators: `urls` holds their base URLs, under `azure` and `kubernetes`.
pub fn sandboxed(mut cloud: Cloud, urls: &BTreeMap<&'static str, String>) -> Cloud {
    for (endpoint, api) in
        [("management", "azure"), ("identity", "azure"), ("kubernetes", "kubernetes")]
    {
        if let Some(url) = urls.get(api) {
            cloud.endpoints.insert(endpoint.to_owned(), url.clone());
        }
    }
    cloud.account.insert("credentials".to_owned(), transport::SANDBOX.to_owned());
    let subscription = cloud.account.entry("subscription_id".to_owned());
    subscription.or_insert_with(|| SANDBOX_SUBSCRIPTION.to_owned());
    cloud.pace = Pace { poll: Duration::from_millis(2), patience: Duration::from_secs(60) };
    cloud
}

/// One cloud of kind `azure`.
struct Azure {
    cloud: Cloud,
    arm: Arm,
    /// By cluster id: AKS works on one pool of a cluster at a time and refuses the others, so here they
    /// stand in line.
    busy: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Azure {
    /// The line in which changes to one cluster stand.
    fn line(&self, cluster_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().expect("no holder panics");
        Arc::clone(busy.entry(cluster_id.to_lowercase()).or_default())
    }
}

#[async_trait]
impl Objects for Azure {
    fn schema(&self, kind: &str) -> Option<&'static Schema> {
        schema(kind)
    }

    fn containers(&self, kind: &str) -> &'static [&'static str] {
        match kind {
            "azurerm_resource_group" => &[],
            "azurerm_kubernetes_cluster_node_pool" => {
                &["azurerm_kubernetes_cluster", "azurerm_resource_group"]
            }
            "azurerm_role_assignment" => &["azurerm_container_registry", "azurerm_resource_group"],
            _ => &["azurerm_resource_group"],
        }
    }

    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>> {
        match reference.address.kind.as_str() {
            schema::RESOURCE_GROUP => groups::read(&self.arm, reference).await,
            schema::CLUSTER => clusters::read(&self.arm, reference).await,
            schema::NODE_POOL => node_pools::read(&self.arm, reference).await,
            schema::REGISTRY => registries::read(&self.arm, reference).await,
            schema::ROLE_ASSIGNMENT => roles::read(&self.arm, reference).await,
            _ => Err(foreign(reference.address)),
        }
    }

    async fn is_leaving(&self, reference: Reference<'_>) -> Result<bool> {
        let version = match reference.address.kind.as_str() {
            schema::RESOURCE_GROUP => groups::VERSION,
            schema::CLUSTER | schema::NODE_POOL => clusters::VERSION,
            schema::REGISTRY => registries::VERSION,
            _ => return Ok(false),
        };
        let Some(id) = reference.id else { return Ok(false) };
        let found = self.arm.get(id, version).await?;
        let found = found.as_ref();
        Ok(found.is_some_and(|body| body["properties"]["provisioningState"] == "Deleting"))
    }

    async fn create(
        &self,
        desired: &Resource,
        _token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        match desired.address.kind.as_str() {
            schema::RESOURCE_GROUP => groups::create(&self.arm, desired, progress).await,
            schema::CLUSTER => clusters::create(&self.arm, desired, progress).await,
            schema::NODE_POOL => {
                let line = self.line(node_pools::cluster_id(&desired.attributes)?);
                let _turn = line.lock().await;
                node_pools::create(&self.arm, desired, progress).await
            }
            schema::REGISTRY => registries::create(&self.arm, desired, progress).await,
            schema::ROLE_ASSIGNMENT => roles::create(&self.arm, desired, progress).await,
            _ => Err(foreign(&desired.address)),
        }
    }

    async fn update(
        &self,
        record: &Record,
        desired: &Resource,
        _token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        match desired.address.kind.as_str() {
            schema::RESOURCE_GROUP => groups::update(&self.arm, record, desired, progress).await,
            schema::CLUSTER => {
                let line = self.line(&record.id);
                let _turn = line.lock().await;
                clusters::update(&self.arm, record, desired, progress).await
            }
            schema::NODE_POOL => {
                let line = self.line(node_pools::cluster_id(&record.attributes)?);
                let _turn = line.lock().await;
                node_pools::update(&self.arm, record, desired, progress).await
            }
            schema::REGISTRY => registries::update(&self.arm, record, desired, progress).await,
            schema::ROLE_ASSIGNMENT => roles::update(record),
            _ => Err(foreign(&desired.address)),
        }
    }

    async fn delete(&self, record: &Record, _token: &Token, progress: &dyn Progress) -> Result<()> {
        match record.address.kind.as_str() {
            schema::RESOURCE_GROUP => groups::delete(&self.arm, record, progress).await,
            schema::CLUSTER => {
                let line = self.line(&record.id);
                let _turn = line.lock().await;
                self.arm.delete(&record.id, clusters::VERSION, progress).await
            }
            schema::NODE_POOL => {
                let line = self.line(node_pools::cluster_id(&record.attributes)?);
                let _turn = line.lock().await;
                self.arm.delete(&record.id, clusters::VERSION, progress).await
            }
            schema::REGISTRY => self.arm.delete(&record.id, registries::VERSION, progress).await,
            schema::ROLE_ASSIGNMENT => self.arm.delete(&record.id, roles::VERSION, progress).await,
            _ => Err(foreign(&record.address)),
        }
    }

    fn owner(&self, attributes: &Attributes) -> Option<Owner> {
        let described = || {
            let text = attributes.get("description")?.as_str()?;
            Some(Value::from_plain_json(&serde_json::from_str(text).ok()?))
        };
        let tags = attributes.get("tags").cloned().or_else(described);
        Owner::in_tags(resources::TAG_PREFIX, tags.as_ref())
    }

    async fn list(&self, stack: &str) -> Result<Vec<(Mark, Remote)>> {
        // Where the stack names a group, nothing beyond it is asked for: credentials may end there.
        let (scope, mut found) = match self.cloud.account.get("resource_group") {
            Some(group) => (groups::id(&self.arm, group)?, Vec::new()),
            None => (self.arm.subscription()?, groups::list(&self.arm, stack).await?),
        };
        found.extend(clusters::list(&self.arm, &scope, stack).await?);
        found.extend(registries::list(&self.arm, &scope, stack).await?);
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

#[async_trait]
impl Provider for Azure {
    fn offerings(&self) -> Vec<Offering> {
        catalog::offerings(&self.cloud)
    }

    /// The tier's price and the node of the system pool, which every cluster has.
    fn tariff(&self) -> Tariff {
        let region = self.cloud.regions.first().map_or("eastus", String::as_str);
        let node = catalog::find(region, catalog::SYSTEM_VM_SIZE);
        catalog::tariff(STANDARD_TIER_PRICE_HOUR + node.map_or(0.0, |row| row.price_hour))
    }

    fn resources(&self, sites: &[Site], registries: &[Registry], owner: &Owner) -> Vec<Resource> {
        resources::resources(&self.cloud, sites, registries, owner)
    }

    fn cluster_address(&self, region: &str) -> Option<Address> {
        Some(resources::cluster_address(&self.cloud, region))
    }

    async fn quotas(&self) -> Result<Vec<Quota>> {
        Ok(self.cloud.quotas.clone())
    }

    async fn cluster_access(&self, region: &str, cluster: Option<&Record>) -> Result<KubeAccess> {
        let cluster = cluster.ok_or_else(|| {
            Error::rejected(format!("the cluster of {}/{region} does not exist", self.cloud.name))
        })?;
        access::cluster_access(&self.arm, &self.cloud, region, cluster).await
    }
}

/// What can be known to be wrong without asking Azure.
fn check(cloud: &Cloud) -> Result<()> {
    let wrong = |what: String| Err(Error::rejected(format!("cloud `{}`: {what}", cloud.name)));
    if let Some(region) = cloud.regions.iter().find(|region| !catalog::has_region(region)) {
        return wrong(format!("`{region}` is no Azure region of the catalog (as in `westeurope`)"));
    }
    if let Some(id) = cloud.account.get("subscription_id").filter(|id| !is_guid(id)) {
        return wrong(format!("subscription_id `{id}` is no GUID"));
    }
    if let Some(name) = cloud.account.get("resource_group").filter(|name| !groups::is_name(name)) {
        return wrong(format!("`{name}` cannot be the name of a resource group"));
    }
    if cloud.cluster.cluster_role_arn.is_some() || cloud.cluster.node_role_arn.is_some() {
        return wrong("roles with an ARN are AWS's; AKS clusters have their own identity".into());
    }
    if cloud.cluster.subnet_ids.len() > cloud.regions.len() {
        return wrong("`subnet_ids` must name one subnet for each of `regions`, in order".into());
    }
    Ok(())
}

/// `8-4-4-4-12` hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn foreign(address: &Address) -> Error {
    Error::rejected(format!("{address} is no resource of Azure's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud() -> Cloud {
        Cloud {
            name: "azure".into(),
            kind: "azure".into(),
            regions: vec!["eastus".into()],
            ..Cloud::default()
        }
    }

    #[test]
    fn what_azure_has_not_is_refused_at_once() {
        type Wrong = fn(&mut Cloud);
        let cases: [(Wrong, &str); 6] = [
            (|c| c.regions.push("us-east-1".into()), "no Azure region"),
            (|c| drop(c.account.insert("subscription_id".into(), "prod".into())), "no GUID"),
            (
                |c| drop(c.account.insert("resource_group".into(), "a/b".into())),
                "cannot be the name",
            ),
            (|c| c.cluster.node_role_arn = Some("arn".into()), "AWS's"),
            (|c| c.cluster.subnet_ids = vec!["a".into(), "b".into()], "one subnet for each"),
            (|c| drop(c.endpoints.insert("management".into(), "nowhere".into())), "no URL"),
        ];
        for (wrong, expected) in cases {
            let mut cloud = cloud();
            wrong(&mut cloud);
            match provider(&cloud) {
                Err(Error::Rejected { message }) => {
                    assert!(message.contains(expected), "{message}")
                }
                Err(other) => panic!("{expected}: {other:?}"),
                Ok(_) => panic!("{expected}: accepted"),
            }
        }
    }

    #[test]
    fn a_cluster_costs_its_tier_and_its_system_node() {
        let provider = provider(&cloud()).expect("a good cloud");
        assert!((provider.tariff().control_plane_price_hour - 0.196).abs() < 1e-9);
    }
}
