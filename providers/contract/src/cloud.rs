//! A cloud: an account somewhere, or clusters that exist already.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Location;

/// A `cloud` block: where things may run, under which account and at which prices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cloud {
    /// The block's label; unique in a stack.
    pub name: String,
    /// `aws`, `gcp`, `azure` or `kubernetes`: which provider answers for it.
    pub kind: String,
    pub regions: Vec<String>,
    /// What identifies the account: `profile`, `account_id`, `project`, `subscription_id`,
    /// `resource_group`, `kubeconfig`, `context`.
    pub account: BTreeMap<String, String>,
    /// Base URLs that replace the public endpoints, by API: `eks`, `ecr`, `sts`, `container`,
    /// `artifactregistry`, `management`, `identity`, `kubernetes`.
    pub endpoints: BTreeMap<String, String>,
    /// Off list prices, 0 to 1.
    pub discount: f64,
    pub cluster: ClusterSettings,
    pub quotas: Vec<Quota>,
    pub capacity: Capacity,
    pub rate_card: Option<RateCard>,
    pub reservations: Vec<Reservation>,
    /// Where an existing cluster stands.
    pub location: Option<Location>,
    /// The nodes of an existing cluster.
    pub nodes: Vec<NodeGroup>,
    #[serde(skip)]
    pub pace: Pace,
}

/// What the user says of a cloud's clusters; everything left out has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterSettings {
    pub name: Option<String>,
    pub version: Option<String>,
    pub subnet_ids: Vec<String>,
    pub cluster_role_arn: Option<String>,
    pub node_role_arn: Option<String>,
}

/// At most `max_gpus` GPUs of a type (of any type where it is `None`) in a region (in all of them
/// where it is `None`), counted over nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    pub region: Option<String>,
    pub gpu_type: Option<String>,
    pub max_gpus: u32,
}

/// What the whole cloud has: sums over the replicas' needs, `None` for no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    pub gpus: Option<f64>,
    pub cpus: Option<f64>,
    /// Nodes, not replicas.
    pub nodes: Option<u32>,
}

/// Negotiated unit rates, in dollars a month, which replace list prices: nodes and control planes
/// cost nothing beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateCard {
    pub gpu_month: f64,
    pub cpu_month: f64,
    pub memory_gib_month: f64,
    pub storage_tb_month: f64,
    pub network_mbps_month: f64,
}

/// Nodes that are paid for already: the first `nodes` of the type in the region cost nothing more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    pub region: String,
    pub instance_type: String,
    pub nodes: u32,
    pub id: Option<String>,
    /// The zone that its nodes are in; `None` where nobody said.
    #[serde(default)]
    pub zone: Option<String>,
    /// First and last day (UTC) on which it holds, as `2026-01-31`; `None` where it is open.
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub until: Option<String>,
}

/// Equal nodes of an existing cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeGroup {
    pub name: String,
    pub count: u32,
    pub gpu_type: Option<String>,
    pub gpus: u32,
    /// Per GPU.
    pub gpu_memory_gib: f64,
    pub cpus: f64,
    pub memory_gib: f64,
    /// Dollars for one node.
    pub price_hour: f64,
}

/// How patiently a provider waits for long operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at an operation.
    pub poll: Duration,
    /// Before an operation that does not end is given up (its error is [`crate::Error::Lost`]).
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { poll: Duration::from_secs(10), patience: Duration::from_secs(45 * 60) }
    }
}

impl Cloud {
    /// The name that this cloud's resources carry: `main` for the usual case of one cloud of a
    /// kind named after it, else the cloud's own name. It does not depend on what runs there, so a
    /// service that joins or leaves renames nothing.
    pub fn resource_name(&self) -> &str {
        if self.name == self.kind { "main" } else { &self.name }
    }
}
