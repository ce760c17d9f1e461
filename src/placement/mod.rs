//! Problem → [`Placement`]: which nodes to rent and which replica sits where.

use std::collections::BTreeMap;

use fleetform_contract::Offering;
use serde::{Deserialize, Serialize};

/// The decision, with its proof. Everything in it is ordered; equal problems give equal placements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Ordered by workload, then offering.
    pub seats: Vec<Seats>,
    /// Every offering with nodes, by [`Offering::id`].
    pub rentals: BTreeMap<String, Rental>,
    pub cost: Cost,
    pub proof: Proof,
}

/// Replicas of one workload on one offering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seats {
    pub workload: String,
    /// [`Offering::id`].
    pub offering: String,
    pub replicas: u32,
    /// What these replicas cost a month: their share of the nodes and their rate-card charges. The
    /// shares of all seats and the sites' costs add up to [`Cost::total_month`].
    pub cost_month: f64,
}

/// Nodes of one offering and what sits on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rental {
    pub offering: Offering,
    /// The packing: for each node, replicas by workload.
    pub nodes: Vec<BTreeMap<String, u32>>,
    /// Dollars for one node after discounts and rate cards; 0 where a rate card replaces list prices.
    pub price_hour: f64,
    /// Nodes that a reservation has paid for.
    pub reserved_nodes: u32,
}

/// Dollars a month (730 hours).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub total_month: f64,
    pub nodes_month: f64,
    /// Control planes, by site (`aws/us-east-1`).
    pub sites_month: BTreeMap<String, f64>,
    /// Rate-card charges by cloud.
    pub rate_card_month: BTreeMap<String, f64>,
}

/// What makes the answer trustworthy, in dollars a month.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    pub objective_month: f64,
    /// No placement costs less than this.
    pub bound_month: f64,
    /// (objective − bound) / objective, 0 to 1.
    pub gap: f64,
    /// `HiGHS 1.11`, as it reports itself.
    pub solver: String,
    /// Cuts added because nodes could not hold an aggregate solution.
    pub packing_cuts: u32,
}
