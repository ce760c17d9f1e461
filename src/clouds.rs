//! The clouds of one run: a provider for each `cloud` block, and the clusters reached through them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetform_contract::{Address, Cloud, Error, Objects, Provider, Record, Resource, Schema};
use tokio::sync::Mutex;

use crate::plan::Schemas;

/// Providers by cloud name. Making it does no I/O.
pub struct Clouds {
    providers: BTreeMap<String, Arc<dyn Provider>>,
    /// Cluster APIs by site, made at the first use.
    clusters: Mutex<BTreeMap<String, Arc<dyn Objects>>>,
}

impl Clouds {
    pub fn new<'a>(clouds: impl IntoIterator<Item = &'a Cloud>) -> Result<Clouds, Error> {
        let mut providers = BTreeMap::new();
        for cloud in clouds {
            let provider = fleetform_providers::provider(cloud)?;
            providers.insert(cloud.name.clone(), Arc::from(provider));
        }
        Ok(Clouds { providers, clusters: Mutex::default() })
    }

    pub fn provider(&self, cloud: &str) -> Option<&dyn Provider> {
        self.providers.get(cloud).map(Arc::as_ref)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &dyn Provider)> {
        self.providers.iter().map(|(name, provider)| (name.as_str(), provider.as_ref()))
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
        let provider = self
            .providers
            .get(cloud)
            .ok_or_else(|| Error::rejected(format!("the stack has no cloud `{cloud}` any more")))?;
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
