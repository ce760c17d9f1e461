//! What can be rented.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Location;

/// An instance type in a region on a market: what one node gives and costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offering {
    /// The cloud's name in the stack.
    pub cloud: String,
    pub region: String,
    pub instance_type: String,
    pub market: Market,
    /// Zones of the region that sell it; empty where the catalog does not say.
    pub zones: Vec<String>,
    /// The one zone that its nodes are to be in; `None` where any of the region will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Fleetform's name of the GPU (`L4`, `A100`, `A100-80GB`, `H100`, …); `None` for CPU-only types.
    pub gpu_type: Option<String>,
    pub gpus: u32,
    /// Per GPU.
    pub gpu_memory_gib: f64,
    pub cpus: f64,
    pub memory_gib: f64,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// List price of one node in US dollars, before discounts and rate cards.
    pub price_hour: f64,
    /// Pods that the cloud's network lets a node have; `None` where it is not what limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pods: Option<u32>,
    /// Nodes that exist at most; `None` where only quotas limit.
    pub max_nodes: Option<u32>,
    /// Where the region is; `None` where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Date of the price, from the catalog.
    pub as_of: String,
}

/// How a node is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    OnDemand,
    Spot,
    Reserved,
}

impl Offering {
    /// `aws/us-east-1/g6.xlarge/spot`, or in one zone `aws/us-east-1/g6.xlarge@use1-az1/spot`: unique
    /// among a stack's offerings.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.cloud, self.region, self.pool())
    }

    /// `g6.xlarge/spot`, or in one zone `g6.xlarge@use1-az1/spot`: the pool of a site that its nodes are in.
    pub fn pool(&self) -> String {
        format!("{}/{}", self.machine(), self.market)
    }

    /// `g6.xlarge`, or in one zone `g6.xlarge@use1-az1`.
    pub fn machine(&self) -> String {
        match &self.zone {
            None => self.instance_type.clone(),
            Some(zone) => format!("{}@{zone}", self.instance_type),
        }
    }

    /// `aws/us-east-1`: the site that a node of this offering belongs to.
    pub fn site(&self) -> String {
        format!("{}/{}", self.cloud, self.region)
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Market::OnDemand => "on_demand",
            Market::Spot => "spot",
            Market::Reserved => "reserved",
        })
    }
}

impl FromStr for Market {
    type Err = String;

    fn from_str(text: &str) -> Result<Market, String> {
        match text {
            "on_demand" => Ok(Market::OnDemand),
            "spot" => Ok(Market::Spot),
            "reserved" => Ok(Market::Reserved),
            _ => Err(format!("`{text}` is no market: on_demand, spot or reserved")),
        }
    }
}
