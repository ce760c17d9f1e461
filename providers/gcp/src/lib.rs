//! Google Cloud: GKE clusters with their node pools, and Artifact Registry repositories.
//!
//! Deciding is pure ([`Provider::offerings`], [`Provider::resources`]); calling goes through Google's own
//! SDKs and the one seam in `transport`. The emulator is this cloud's API on sandbox objects.

mod attributes;
mod catalog;
mod clusters;
pub mod emulator;
mod labels;
mod node_pools;
mod registries;
mod resources;
mod schema;
mod transport;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fleetform_contract::{
    Address, Attributes, Cloud, Error, KubeAccess, Mark, Objects, Offering, Owner, Pace, Progress,
    Provider, Quota, Record, Reference, Registry, Remote, Resource, Result, Schema, Site, Tariff,
    Token,
};

pub use schema::schema;
use transport::{SANDBOX_CREDENTIALS, Transport};

/// The cluster management fee, in dollars an hour (see `catalog/SOURCES.md`).
const CONTROL_PLANE_PRICE_HOUR: f64 = 0.10;

/// The project of a cloud that is emulated and names none.
const SANDBOX_PROJECT: &str = "fleetform-sandbox";

/// The provider of a cloud of kind `gcp`. No I/O: the first call connects.
///
/// # Errors
/// None today; the project is asked for when it is needed, so that a plan can be made without one.
pub fn provider(cloud: &Cloud) -> Result<Box<dyn Provider>> {
    Ok(Box::new(Gcp { transport: Transport::new(cloud), cloud: cloud.clone() }))
}

/// The same cloud, pointed at the emulators at these URLs (`gcp`, `kubernetes`).
pub fn sandboxed(mut cloud: Cloud, urls: &BTreeMap<&'static str, String>) -> Cloud {
    for (endpoint, api) in
        [("container", "gcp"), ("artifactregistry", "gcp"), ("kubernetes", "kubernetes")]
    {
        if let Some(url) = urls.get(api) {
            cloud.endpoints.insert(endpoint.to_owned(), url.clone());
        }
    }
    cloud.account.insert("credentials".to_owned(), SANDBOX_CREDENTIALS.to_owned());
    cloud.account.entry("project".to_owned()).or_insert_with(|| SANDBOX_PROJECT.to_owned());
    cloud.pace = Pace { poll: Duration::from_millis(5), patience: Duration::from_secs(60) };
    cloud
}

struct Gcp {
    cloud: Cloud,
    transport: Transport,
}

impl Gcp {
    fn unknown(address: &Address) -> Error {
        Error::rejected(format!("{address}: Google Cloud has no type `{}`", address.kind))
    }
}

#[async_trait]
impl Objects for Gcp {
    fn schema(&self, kind: &str) -> Option<&'static Schema> {
        schema(kind)
    }

    fn containers(&self, kind: &str) -> &'static [&'static str] {
        match kind {
            "google_container_node_pool" => &["google_container_cluster"],
            _ => &[],
        }
    }

    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>> {
        match reference.address.kind.as_str() {
            schema::CLUSTER => clusters::read(&self.transport, reference).await,
            schema::NODE_POOL => node_pools::read(&self.transport, reference).await,
            schema::REPOSITORY => registries::read(&self.transport, reference).await,
            _ => Err(Gcp::unknown(reference.address)),
        }
    }

    async fn is_leaving(&self, reference: Reference<'_>) -> Result<bool> {
        match reference.address.kind.as_str() {
            schema::CLUSTER => clusters::is_leaving(&self.transport, reference).await,
            schema::NODE_POOL => node_pools::is_leaving(&self.transport, reference).await,
            _ => Ok(false),
        }
    }

    async fn create(
        &self,
        desired: &Resource,
        _token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        match desired.address.kind.as_str() {
            schema::CLUSTER => clusters::create(&self.transport, desired, progress).await,
            schema::NODE_POOL => node_pools::create(&self.transport, desired, progress).await,
            schema::REPOSITORY => registries::create(&self.transport, desired, progress).await,
            _ => Err(Gcp::unknown(&desired.address)),
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
            schema::CLUSTER => clusters::update(&self.transport, record, desired, progress).await,
            schema::NODE_POOL => {
                node_pools::update(&self.transport, record, desired, progress).await
            }
            schema::REPOSITORY => {
                registries::update(&self.transport, record, desired, progress).await
            }
            _ => Err(Gcp::unknown(&desired.address)),
        }
    }

    async fn delete(&self, record: &Record, _token: &Token, progress: &dyn Progress) -> Result<()> {
        match record.address.kind.as_str() {
            schema::CLUSTER => clusters::delete(&self.transport, record, progress).await,
            schema::NODE_POOL => node_pools::delete(&self.transport, record, progress).await,
            schema::REPOSITORY => registries::delete(&self.transport, record, progress).await,
            _ => Err(Gcp::unknown(&record.address)),
        }
    }

    fn owner(&self, attributes: &Attributes) -> Option<Owner> {
        let pool = attributes.get("node_config").and_then(|config| config.at("0.resource_labels"));
        let labels = attributes.get("resource_labels").or_else(|| attributes.get("labels"));
        labels::owner(pool.or(labels))
    }

    /// Ids say where they are; what the API does not keep is taken to be as it is wanted.
    async fn find(&self, wanted: &Resource, id: &str) -> Result<Option<Remote>> {
        let Resource { address, attributes, .. } = wanted;
        self.read(Reference { address, id: Some(id), attributes }).await
    }

    async fn list(&self, stack: &str) -> Result<Vec<(Mark, Remote)>> {
        let nothing = BTreeMap::new();
        let mut found = Vec::new();
        for (name, cluster) in clusters::all(&self.transport).await? {
            if let Some(mark) = labels::mark(stack, &cluster.resource_labels) {
                found.push((mark, clusters::remote(&name, &cluster, &nothing)));
            }
            for pool in &cluster.node_pools {
                let labels = pool.config.iter().flat_map(|config| &config.resource_labels);
                if let Some(mark) = labels::mark(stack, labels) {
                    let name = format!("{name}/nodePools/{}", pool.name);
                    found.push((mark, node_pools::remote(&name, pool)));
                }
            }
        }
        for repository in registries::all(&self.transport).await? {
            if let Some(mark) = labels::mark(stack, &repository.labels) {
                found.push((mark, registries::remote(&repository.name, &repository)));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Provider for Gcp {
    fn offerings(&self) -> Vec<Offering> {
        catalog::offerings(&self.cloud.name, &self.cloud.regions)
    }

    fn tariff(&self) -> Tariff {
        catalog::tariff(CONTROL_PLANE_PRICE_HOUR)
    }

    fn resources(&self, sites: &[Site], registries: &[Registry], owner: &Owner) -> Vec<Resource> {
        resources::expand(&self.cloud, sites, registries, owner)
    }

    fn cluster_address(&self, region: &str) -> Option<Address> {
        Some(resources::cluster_address(&self.cloud, region))
    }

    async fn quotas(&self) -> Result<Vec<Quota>> {
        // Google reports quotas through the Compute API only, which is not used here.
        Ok(self.cloud.quotas.clone())
    }

    async fn cluster_access(&self, region: &str, cluster: Option<&Record>) -> Result<KubeAccess> {
        let record = cluster.ok_or_else(|| {
            Error::rejected(format!("no cluster is recorded for {}/{region}", self.cloud.name))
        })?;
        clusters::access(&self.transport, region, record).await
    }
}
