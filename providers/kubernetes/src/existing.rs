//! The cloud kind `kubernetes`: clusters that exist already, on-prem and at the edge.
//!
//! Its nodes are what the stack declares; it makes nothing of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fleetform_contract::{
    Address, Attributes, Cloud, Error, KubeAccess, Mark, Market, NodeGroup, Objects, Offering,
    Owner, Pace, Progress, Provider, Quota, Record, Reference, Registry, Remote, Resource, Result,
    Schema, Site, Tariff, Token,
};

/// The region of a cluster that names none.
const REGION: &str = "local";
/// NVIDIA's embedded modules, which are ARM; every other node is taken for x86.
const ARM_GPUS: [&str; 3] = ["Orin", "Thor", "Xavier"];

/// The provider of an existing cluster. Nothing is read before [`Provider::cluster_access`].
///
/// # Errors
/// `Rejected` where the cloud names more than one region: a kubeconfig context is one cluster.
pub fn provider(cloud: &Cloud) -> Result<Box<dyn Provider>> {
    if cloud.regions.len() > 1 {
        return Err(Error::rejected(format!(
            "cloud `{}` is one cluster that exists already, but names the regions {}; give each \
             cluster its own cloud block",
            cloud.name,
            cloud.regions.join(", ")
        )));
    }
    Ok(Box::new(Existing { cloud: cloud.clone() }))
}

/// The same cloud in the sandbox, where `urls` are the emulators' base URLs by API.
pub fn sandboxed(mut cloud: Cloud, urls: &BTreeMap<&'static str, String>) -> Cloud {
    if let Some(url) = urls.get("kubernetes") {
        cloud.endpoints.insert("kubernetes".to_owned(), url.clone());
    }
    cloud.pace = Pace { poll: Duration::from_millis(2), patience: Duration::from_secs(60) };
    cloud
}

/// The region of an existing cluster.
pub(crate) fn region(cloud: &Cloud) -> &str {
    cloud.regions.first().map_or(REGION, String::as_str)
}

/// The key of an existing cluster in the sandbox.
pub(crate) fn cluster_key(cloud: &Cloud) -> String {
    format!("kubernetes/{}/{}", region(cloud), cloud.name)
}

struct Existing {
    cloud: Cloud,
}

impl Existing {
    fn offering(&self, nodes: &NodeGroup) -> Offering {
        let arm = nodes.gpu_type.as_deref().is_some_and(|gpu| ARM_GPUS.contains(&gpu));
        Offering {
            cloud: self.cloud.name.clone(),
            region: region(&self.cloud).to_owned(),
            instance_type: nodes.name.clone(),
            market: Market::OnDemand,
            zones: Vec::new(),
            zone: None,
            max_pods: None,
            gpu_type: nodes.gpu_type.clone(),
            gpus: nodes.gpus,
            gpu_memory_gib: nodes.gpu_memory_gib,
            cpus: nodes.cpus,
            memory_gib: nodes.memory_gib,
            architecture: if arm { "arm64" } else { "x86_64" }.to_owned(),
            price_hour: nodes.price_hour,
            max_nodes: Some(nodes.count),
            location: self.cloud.location.clone(),
            as_of: String::new(),
        }
    }

    fn nothing_of_its_own(&self, address: &Address) -> Error {
        Error::rejected(format!(
            "{address}: cloud `{}` is a cluster that exists already and has no such objects",
            self.cloud.name
        ))
    }
}

#[async_trait]
impl Objects for Existing {
    fn schema(&self, _kind: &str) -> Option<&'static Schema> {
        None
    }

    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>> {
        Err(self.nothing_of_its_own(reference.address))
    }

    async fn create(
        &self,
        desired: &Resource,
        _token: &Token,
        _progress: &dyn Progress,
    ) -> Result<Remote> {
        Err(self.nothing_of_its_own(&desired.address))
    }

    async fn update(
        &self,
        record: &Record,
        _desired: &Resource,
        _token: &Token,
        _progress: &dyn Progress,
    ) -> Result<Remote> {
        Err(self.nothing_of_its_own(&record.address))
    }

    async fn delete(
        &self,
        record: &Record,
        _token: &Token,
        _progress: &dyn Progress,
    ) -> Result<()> {
        Err(self.nothing_of_its_own(&record.address))
    }

    fn owner(&self, _attributes: &Attributes) -> Option<Owner> {
        None
    }

    async fn list(&self, _stack: &str) -> Result<Vec<(Mark, Remote)>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Provider for Existing {
    fn offerings(&self) -> Vec<Offering> {
        let nodes = self.cloud.nodes.iter().filter(|nodes| nodes.count > 0);
        let mut offerings: Vec<Offering> = nodes.map(|nodes| self.offering(nodes)).collect();
        offerings.sort_by_key(Offering::id);
        offerings
    }

    /// Who pays for its network and its disks is not known here.
    fn tariff(&self) -> Tariff {
        Tariff::default()
    }

    fn resources(
        &self,
        _sites: &[Site],
        _registries: &[Registry],
        _owner: &Owner,
    ) -> Vec<Resource> {
        Vec::new()
    }

    fn cluster_address(&self, _region: &str) -> Option<Address> {
        None
    }

    async fn quotas(&self) -> Result<Vec<Quota>> {
        Ok(self.cloud.quotas.clone())
    }

    async fn cluster_access(&self, _region: &str, _cluster: Option<&Record>) -> Result<KubeAccess> {
        if let Some(base) = self.cloud.endpoints.get("kubernetes") {
            return Ok(KubeAccess {
                server: format!("{}/{}", base.trim_end_matches('/'), cluster_key(&self.cloud)),
                certificate_authority: None,
                token: None,
                client_certificate: None,
            });
        }
        let text = |name: &str| self.cloud.account.get(name).map(String::as_str);
        crate::kubeconfig::access(text("kubeconfig"), text("context")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Cloud {
        Cloud {
            name: "edge-shanghai".into(),
            kind: "kubernetes".into(),
            nodes: vec![
                NodeGroup {
                    name: "jetson".into(),
                    count: 8,
                    gpu_type: Some("Orin".into()),
                    gpus: 1,
                    gpu_memory_gib: 32.0,
                    cpus: 8.0,
                    memory_gib: 32.0,
                    price_hour: 0.0,
                },
                NodeGroup { name: "cpu".into(), count: 2, cpus: 16.0, ..NodeGroup::default() },
            ],
            ..Cloud::default()
        }
    }

    #[test]
    fn declared_nodes_are_the_offerings() {
        let provider = provider(&edge()).expect("one region");
        let offerings = provider.offerings();
        let ids: Vec<String> = offerings.iter().map(Offering::id).collect();
        assert_eq!(
            ids,
            ["edge-shanghai/local/cpu/on_demand", "edge-shanghai/local/jetson/on_demand"]
        );
        assert_eq!(offerings[1].max_nodes, Some(8));
        assert_eq!(offerings[1].architecture, "arm64");
        assert_eq!(provider.cluster_address("local"), None);
        let two = Cloud { regions: vec!["a".into(), "b".into()], ..edge() };
        assert!(super::provider(&two).is_err());
    }

    #[tokio::test]
    async fn in_the_sandbox_the_cluster_is_at_its_key() {
        let urls = BTreeMap::from([("kubernetes", "http://127.0.0.1:1".to_owned())]);
        let provider = provider(&sandboxed(edge(), &urls)).expect("one region");
        let access = provider.cluster_access("local", None).await.expect("no I/O");
        assert_eq!(access.server, "http://127.0.0.1:1/kubernetes/local/edge-shanghai");
    }
}
