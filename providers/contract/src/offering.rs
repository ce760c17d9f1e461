//! What can be rented.

use std::cmp::Ordering;
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
        self.parts().concat()
    }

    /// `g6.xlarge/spot`, or in one zone `g6.xlarge@use1-az1/spot`: the pool of a site that its nodes are in.
    pub fn pool(&self) -> String {
        self.parts()[4..].concat()
    }

    /// `g6.xlarge`, or in one zone `g6.xlarge@use1-az1`.
    pub fn machine(&self) -> String {
        self.parts()[4..7].concat()
    }

    /// `aws/us-east-1`: the site that a node of this offering belongs to.
    pub fn site(&self) -> String {
        self.parts()[..3].concat()
    }

    /// Compares as the ids do, without making them.
    pub fn cmp_by_id(&self, other: &Offering) -> Ordering {
        let (mine, theirs) = (self.parts(), other.parts());
        let differs = mine.iter().zip(&theirs).position(|(mine, theirs)| mine != theirs);
        let Some(first) = differs else { return Ordering::Equal };
        // What follows a part counts as well: `/` comes after `-` and `.`.
        let mine = mine[first..].iter().flat_map(|part| part.bytes());
        mine.cmp(theirs[first..].iter().flat_map(|part| part.bytes()))
    }

    /// Of the id.
    fn parts(&self) -> [&str; 9] {
        let (at, zone) = self.zone.as_ref().map_or(("", ""), |zone| ("@", zone));
        let market = self.market.name();
        [&self.cloud, "/", &self.region, "/", &self.instance_type, at, zone, "/", market]
    }
}

impl Market {
    fn name(self) -> &'static str {
        match self {
            Market::OnDemand => "on_demand",
            Market::Spot => "spot",
            Market::Reserved => "reserved",
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
