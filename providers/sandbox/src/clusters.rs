//! Where the clouds' emulators and the Kubernetes emulator meet: a cloud opens and closes clusters and
//! says which nodes they have; the API server inside exists exactly as long.
//!
//! A cluster's key is `KIND/REGION/NAME` (`aws/us-east-1/chat`); it is also the path under the Kubernetes
//! emulator's base URL at which that cluster's API server answers.

use serde::{Deserialize, Serialize};

use crate::{Object, Table};

pub(crate) const CLUSTERS: &str = "kubernetes/clusters";
pub(crate) const NODES: &str = "kubernetes/nodes";
/// Kubernetes objects, under keys that start with their cluster's.
pub const OBJECTS: &str = "kubernetes/objects";

/// Equal nodes of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodePool {
    pub count: u32,
    pub instance_type: String,
    /// Node labels, as (key, value).
    pub labels: Vec<(String, String)>,
    /// Taints, as (key, value, effect) with Kubernetes' spelling of the effect (`NoSchedule`).
    pub taints: Vec<(String, String, String)>,
}

impl Table {
    /// Starts the API server of a cluster.
    pub fn open_cluster(&mut self, key: &str, version: &str) {
        let body = serde_json::json!({ "version": version });
        self.put(CLUSTERS, key, Object { body, settles_at: 0 });
    }

    /// The Kubernetes version of a cluster, where it exists.
    pub fn cluster_version(&self, key: &str) -> Option<&str> {
        self.get(CLUSTERS, key)?.body["version"].as_str()
    }

    /// The keys of all clusters, in order.
    pub fn clusters(&self) -> Vec<&str> {
        self.list(CLUSTERS, "").map(|(key, _)| key).collect()
    }

    /// Ends the API server of a cluster, with everything in it.
    pub fn close_cluster(&mut self, key: &str) {
        self.remove(CLUSTERS, key);
        for collection in [NODES, OBJECTS] {
            let prefix = format!("{key}/");
            let keys: Vec<String> =
                self.list(collection, &prefix).map(|(key, _)| key.to_owned()).collect();
            for key in keys {
                self.remove(collection, &key);
            }
        }
    }

    /// Says which nodes a pool gives a cluster; a count of 0 takes them away.
    pub fn set_nodes(&mut self, cluster: &str, pool: &str, nodes: &NodePool) {
        let key = format!("{cluster}/{pool}");
        if nodes.count == 0 {
            self.remove(NODES, &key);
            return;
        }
        let body = serde_json::to_value(nodes).expect("node pools serialize");
        self.put(NODES, key, Object { body, settles_at: 0 });
    }

    /// The pools of a cluster, by name.
    pub fn nodes(&self, cluster: &str) -> Vec<(String, NodePool)> {
        let prefix = format!("{cluster}/");
        let pools = self.list(NODES, &prefix).filter_map(|(key, object)| {
            let pool = serde_json::from_value(object.body.clone()).ok()?;
            Some((key[prefix.len()..].to_owned(), pool))
        });
        pools.collect()
    }
}
