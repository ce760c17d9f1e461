//! The clouds of one run: a provider for each `cloud` block, and the clusters reached through them.
//!
//! Every call to a cloud goes through [`Clouds::call`], which is where patience lives: what to try again,
//! how often, and how fast a cloud lets itself be called.

mod pace;
mod retry;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use fleetform_contract::{
    Address, Cloud, Error, Objects, Progress, Provider, Record, Resource, Schema,
};
use tokio::sync::Mutex;

use crate::plan::Schemas;
use pace::Pace;
pub use retry::Backoff;

/// Looks before something is missing.
const LOOKS: u32 = 5;

/// Providers by cloud name. Making it does no I/O.
pub struct Clouds {
    providers: BTreeMap<String, Arc<dyn Provider>>,
    /// Cluster APIs by site, made at the first use.
    clusters: Mutex<BTreeMap<String, Arc<dyn Objects>>>,
    backoff: Backoff,
    /// By cloud: what runs in its clusters shares the pace of its API.
    paces: BTreeMap<String, Pace>,
}

impl Clouds {
    pub fn new<'a>(
        clouds: impl IntoIterator<Item = &'a Cloud>,
        backoff: Backoff,
    ) -> Result<Clouds, Error> {
        let mut providers = BTreeMap::new();
        for cloud in clouds {
            let provider = fleetform_providers::provider(cloud)?;
            providers.insert(cloud.name.clone(), Arc::from(provider));
        }
        let pace = |name: &String| (name.clone(), Pace::new(backoff.first, backoff.longest));
        let paces = providers.keys().map(pace).collect();
        Ok(Clouds { providers, clusters: Mutex::default(), backoff, paces })
    }

    /// Calls a cloud, or what runs in its clusters, under the retry policy. `what` names the caller among
    /// others; every attempt must be idempotent.
    pub async fn call<T, F>(
        &self,
        cloud: &str,
        what: &str,
        progress: &dyn Progress,
        attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let pace = self.paces.get(cloud).ok_or_else(|| no_cloud(cloud))?;
        retry::with_policy(&self.backoff, pace, what, progress, attempt).await
    }

    pub fn provider(&self, cloud: &str) -> Option<&dyn Provider> {
        self.providers.get(cloud).map(Arc::as_ref)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &dyn Provider)> {
        self.providers.iter().map(|(name, provider)| (name.as_str(), provider.as_ref()))
    }

    /// Asks until an answer is there, a few times: what was made a moment ago may not be seen everywhere yet,
    /// and nothing is given up for one look that misses it.
    pub async fn look<T, F>(&self, mut once: impl FnMut() -> F) -> Result<Option<T>, Error>
    where
        F: Future<Output = Result<Option<T>, Error>>,
    {
        for _ in 1..LOOKS {
            if let Some(found) = once().await? {
                return Ok(Some(found));
            }
            tokio::time::sleep(self.backoff.first).await;
        }
        once().await
    }

    /// The record of the cluster of a site: `Ok(None)` where clusters exist already, an error where
    /// the cluster is not there (yet, or any more).
    pub fn cluster<'a>(
        &self,
        site: &str,
        records: &'a BTreeMap<Address, Record>,
    ) -> Result<Option<&'a Record>, NoCluster> {
        let (cloud, region) = site.split_once('/').unwrap_or((site, ""));
        let Some(address) = self.provider(cloud).and_then(|p| p.cluster_address(region)) else {
            return Ok(None);
        };
        records.get(&address).map(Some).ok_or(NoCluster { address })
    }

    /// Who makes and reads the objects of a cloud, or of a site's cluster. `cluster` is the site's
    /// cluster record, where clusters are made by us.
    pub async fn objects(
        &self,
        cloud: &str,
        site: Option<&str>,
        cluster: Option<&Record>,
    ) -> Result<Arc<dyn Objects>, Error> {
        let provider = self.providers.get(cloud).ok_or_else(|| no_cloud(cloud))?;
        let Some(site) = site else {
            let provider = Arc::clone(provider);
            return Ok(provider);
        };
        // Held while connecting, so that many objects of one cluster connect once.
        let mut clusters = self.clusters.lock().await;
        if let Some(objects) = clusters.get(site) {
            return Ok(Arc::clone(objects));
        }
        let region = site.split_once('/').map_or("", |(_, region)| region);
        let access = provider.cluster_access(region, cluster).await?;
        let objects: Arc<dyn Objects> = Arc::from(fleetform_providers::objects(&access)?);
        clusters.insert(site.to_owned(), Arc::clone(&objects));
        Ok(objects)
    }

    /// Forgets how to reach a site's cluster: it was replaced, or its credentials ran out.
    pub async fn forget_cluster(&self, site: &str) {
        self.clusters.lock().await.remove(site);
    }
}

fn no_cloud(name: &str) -> Error {
    Error::rejected(format!("the stack has no cloud `{name}` any more"))
}

/// A site's cluster does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCluster {
    pub address: Address,
}

impl Schemas for Clouds {
    fn schema(&self, kind: &str) -> Option<&'static Schema> {
        fleetform_providers::schema(kind)
    }

    fn lives_in(&self, resource: &Resource, container: &Address) -> bool {
        let Some(provider) = self.provider(&resource.cloud) else { return false };
        match &resource.site {
            Some(site) => {
                let region = site.split_once('/').map_or("", |(_, region)| region);
                container.kind == "kubernetes_namespace"
                    || provider.cluster_address(region).as_ref() == Some(container)
            }
            None => provider.containers(&resource.address.kind).contains(&container.kind.as_str()),
        }
    }
}
