//! How much of a workload is asked for: a number of replicas, or a load and what replicas serve of it.

use std::collections::BTreeMap;

use super::{Candidate, Demand};

#[derive(Clone, Debug, PartialEq)]
pub enum Amount {
    Replicas(u32),
    /// As many replicas as it takes.
    Load(Load),
}

/// What all replicas together must serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub requests_per_second: f64,
    /// Requests a second that one replica serves, by GPU type; more than 0.
    pub rates: BTreeMap<String, f64>,
    /// Replicas that run in any case.
    pub least: u32,
}

impl Demand {
    /// What one replica on a candidate counts for: 1, or the requests a second that it serves there.
    pub fn rate(&self, candidate: &Candidate) -> f64 {
        match &self.amount {
            Amount::Replicas(_) => 1.0,
            Amount::Load(load) => {
                let gpu_type = candidate.offering.gpu_type.as_ref();
                gpu_type.and_then(|of| load.rates.get(of)).copied().unwrap_or(0.0)
            }
        }
    }

    /// Whether any replica is asked for.
    pub fn runs(&self) -> bool {
        self.amount != Amount::Replicas(0)
    }

    /// What its replicas must count for together: their number, or requests a second.
    pub fn asked(&self) -> f64 {
        match &self.amount {
            Amount::Replicas(replicas) => f64::from(*replicas),
            Amount::Load(load) => load.requests_per_second,
        }
    }

    /// The share of its traffic that one replica on a candidate may have.
    pub fn share_of_traffic(&self, candidate: &Candidate) -> f64 {
        match self.asked() {
            asked if asked > 0.0 => self.rate(candidate) / asked,
            // Of no load every replica has all.
            _ => 1.0,
        }
    }

    /// Replicas that can be of use where each counts for at least `rate`.
    ///
    /// A replica is of use only if some rule would break without it. Of those that the load needs there are
    /// at most as many as serve it alone, and so for each rule. Of the rules on shares of every place those
    /// on the two fullest places matter: without them the others have more. Where other workloads want replicas
    /// near them, each place may have as many as serve the load alone.
    pub fn most(&self, rate: f64) -> u32 {
        let load = match &self.amount {
            Amount::Replicas(replicas) => return *replicas,
            Amount::Load(load) => load,
        };
        let serving = |share: f64| (share * load.requests_per_second / rate - 1e-9).ceil().max(0.0);
        let mut most = serving(1.0);
        if let Some(spot) = &self.rules.spot {
            most += spot.max_share.map_or(0.0, |share| serving(1.0 - share));
            most += f64::from(spot.base_on_demand);
        }
        for spread in &self.rules.spread {
            most += spread.max_share.map_or(0.0, |share| 2.0 * serving(1.0 - share));
            most += spread.min.filter(|min| *min > 1).map_or(0.0, f64::from);
        }
        if self.elsewhere {
            most += (self.candidates.len() as f64 - 1.0) * serving(1.0).max(1.0);
        }
        let least = if load.least > 1 { load.least } else { 0 };
        ((most + f64::from(least)).max(1.0)).min(f64::from(super::MAX_REPLICAS)) as u32
    }

    /// `4 replicas`, `500 requests per second`.
    pub fn words(&self) -> String {
        match &self.amount {
            Amount::Replicas(1) => "1 replica".to_owned(),
            Amount::Replicas(replicas) => format!("{replicas} replicas"),
            Amount::Load(load) => requests(load.requests_per_second),
        }
    }
}

/// `500 requests per second`.
pub fn requests(per_second: f64) -> String {
    let rounded = (per_second * 1000.0).round() / 1000.0;
    format!("{rounded} request{} per second", if rounded == 1.0 { "" } else { "s" })
}
