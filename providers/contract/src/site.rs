//! A site: one cluster in one region of one cloud, with what the placement put there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Market, Offering, Value};

/// One cluster, its pools of nodes and what runs on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The cloud's name.
    pub cloud: String,
    pub region: String,
    /// The cluster's name at the cloud.
    pub cluster: String,
    /// Ordered by [`Pool::key`].
    pub pools: Vec<Pool>,
    /// Ordered by name.
    pub workloads: Vec<Workload>,
}

/// Equal nodes of a site, shared by every workload placed on their offering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub offering: Offering,
    /// Nodes that the placement counted.
    pub nodes: u32,
    /// Bounds of the cluster autoscaler.
    pub min_nodes: u32,
    pub max_nodes: u32,
    /// Names of the workloads that need it.
    pub workloads: Vec<String>,
}

/// A service or a job, at one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// A DNS label, unique in the stack.
    pub name: String,
    pub kind: WorkloadKind,
    /// The image reference that pods pull.
    pub image: Value,
    pub command: Vec<String>,
    /// Values may be unknown or secret.
    pub env: BTreeMap<String, Value>,
    pub secret_env: Vec<SecretEnv>,
    /// Replicas at this site (for a job: its nodes here).
    pub replicas: u32,
    /// Keys of the pools it may run on, with the replicas that the placement counted there.
    pub pools: BTreeMap<String, u32>,
    /// How its replicas must be spread over the zones of the site; `None` where nothing is demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_spread: Option<ZoneSpread>,
    pub needs: Needs,
    pub port: Option<u16>,
    pub health: Option<Health>,
    pub autoscale: Option<Autoscale>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadKind {
    Service,
    Job(JobSettings),
}

/// What makes a job a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobSettings {
    /// How long it may run, in seconds.
    pub duration_seconds: u64,
    /// Cron's five fields; `None` runs once.
    pub schedule: Option<String>,
    pub retries: u32,
}

/// What no scheduler may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneSpread {
    /// So many replicas in one zone, at most.
    AtMost(u32),
    /// So many replicas more than in the zone with the fewest, at most, once there are nodes in so many zones.
    Even { more: u32, zones: u32 },
}

/// What one replica needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    pub gpus: u32,
    /// Any of these; empty for any type.
    pub gpu_types: Vec<String>,
    /// Per GPU.
    pub gpu_memory_gib: f64,
    pub cpus: f64,
    pub memory_gib: f64,
    /// Decimal terabytes.
    pub storage_tb: f64,
    pub network_mbps: f64,
}

/// An environment variable from a key of a Kubernetes secret that exists in the namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretEnv {
    pub name: String,
    pub secret: String,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub path: String,
    pub port: u16,
    pub initial_delay_seconds: u32,
}

/// Bounds at this site: the current number of replicas is the autoscaler's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    pub min: u32,
    pub max: u32,
    /// Share of the requested CPU, 0 to 1.
    pub target_cpu: f64,
}

/// A `registry` block in one cloud: the repositories of the images that use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    /// The block's label.
    pub name: String,
    /// The cloud's name.
    pub cloud: String,
    /// Regions where the cloud runs something that uses it.
    pub regions: Vec<String>,
    pub immutable_tags: bool,
    pub scan_on_push: bool,
    pub keep_images: Option<u32>,
    pub repositories: Vec<Repository>,
}

/// One image's place in a registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// The image block's label.
    pub image: String,
}

impl Site {
    /// `aws/us-east-1`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.cloud, self.region)
    }
}

impl Pool {
    /// [`Offering::pool`]: unique in a site.
    pub fn key(&self) -> String {
        self.offering.pool()
    }

    /// A name for the pool that every cloud allows once it is cut to length: lower-case letters,
    /// digits and dashes. `g6-xlarge-spot`. It is the value of the node label `fleetform.dev/pool`.
    pub fn slug(&self) -> String {
        let Offering { instance_type, zone, market, .. } = &self.offering;
        let zone = zone.as_deref().unwrap_or_default();
        slug(&format!("{instance_type}-{zone}-{}", market_slug(*market)))
    }
}

fn market_slug(market: Market) -> &'static str {
    match market {
        Market::OnDemand => "on-demand",
        Market::Spot => "spot",
        Market::Reserved => "reserved",
    }
}

/// Lower-case letters, digits and single dashes, neither first nor last.
fn slug(text: &str) -> String {
    text.to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}
