//! What services send to each other and what models weigh, and what carrying and keeping that costs.
//!
//! A megabit a second, all month, is 328.5 GB.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Cloud, Tariff};

use super::limits::Origins;
use super::{Candidate, Demand, HOURS_MONTH, Origin};
use crate::config::{Stack, Weights};

/// Gigabytes that a megabit a second is in a month.
pub const GB_MONTH_PER_MBPS: f64 = 1e6 / 8.0 * 3600.0 * HOURS_MONTH / 1e9;
/// Copying weights to a site is paid once; what it costs is counted over this many months.
pub const TRANSFER_MONTHS: f64 = 12.0;

/// What a service sends to another one, whichever sites both are at.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Indices into [`super::Problem::demands`].
    pub from: usize,
    pub to: usize,
    pub mbps: f64,
    pub origin: Origin,
}

/// What it costs to carry traffic between sites, after discounts: dollars a month for one Mbps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// Sites that pay and are paid for alike.
    pub areas: Vec<Area>,
    /// Into [`Network::areas`], by site.
    pub area_of: BTreeMap<String, usize>,
    pub ladders: Vec<Ladder>,
}

/// Regions of one cloud between which, and out of which, all pay the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    pub cloud: String,
    /// To another region of the same cloud, by its area.
    pub between: BTreeMap<usize, f64>,
    /// Out of the cloud: into [`Network::ladders`].
    pub ladder: usize,
}

/// The price of one more Mbps by how much there is already; all areas of a ladder are counted together.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// (above this many Mbps, dollars a month for each): ascending, the first from 0.
    pub steps: Vec<(f64, f64)>,
}

/// How traffic between two sites is paid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Carriage {
    /// Within a site: not at all.
    Local,
    /// Dollars a month for one Mbps.
    Flat(f64),
    /// By volume: into [`Network::ladders`].
    Ladder(usize),
}

/// A model's weights, kept once at every site that serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub model: String,
    /// Indices into [`super::Problem::demands`], ascending.
    pub demands: Vec<usize>,
    /// Dollars a month by site: keeping them, and the month's part of bringing them there.
    pub cost_month: BTreeMap<String, f64>,
}

impl Network {
    /// What the first Mbps from one area to another costs, for both in one cloud or not.
    pub fn carriage_of(&self, from: usize, to: usize) -> Carriage {
        match self.areas[from].between.get(&to) {
            Some(price) => Carriage::Flat(*price),
            None => Carriage::Ladder(self.areas[from].ladder),
        }
    }

    pub fn carriage(&self, from: &str, to: &str) -> Carriage {
        match from == to {
            true => Carriage::Local,
            false => self.carriage_of(self.area_of[from], self.area_of[to]),
        }
    }
}

impl Ladder {
    /// What so many Mbps cost a month.
    pub fn cost_month(&self, mbps: f64) -> f64 {
        let ends = self.steps.iter().skip(1).map(|(above, _)| *above).chain([f64::INFINITY]);
        let steps = self.steps.iter().zip(ends);
        steps.map(|((above, price), end)| (mbps.min(end) - above).max(0.0) * price).sum()
    }
}

/// The calls between services that have replicas.
pub(super) fn traffic(origins: &Origins, demands: &[Demand]) -> Vec<Traffic> {
    let mut traffic = Vec::new();
    for (from, demand) in demands.iter().enumerate().filter(|(_, demand)| demand.runs()) {
        for (callee, mbps) in &origins.stack.workloads[&demand.workload].calls {
            let to = demands.binary_search_by(|other| other.workload.cmp(callee));
            let Some(to) = to.ok().filter(|to| demands[*to].runs()) else { continue };
            if *mbps > 0.0 {
                let path = format!("{}.calls.{callee}", demand.origin.path);
                traffic.push(Traffic { from, to, mbps: *mbps, origin: origins.of(&path) });
            }
        }
    }
    traffic
}

/// The prices of the candidates' sites.
pub(super) fn network(
    stack: &Stack,
    candidates: &[Candidate],
    tariffs: &BTreeMap<String, Tariff>,
) -> Network {
    let mut network = Network::default();
    let mut areas: Vec<(String, String, String)> = Vec::new();
    let mut ladders: Vec<(String, String)> = Vec::new();
    let places: BTreeSet<(&str, &str)> = candidates
        .iter()
        .map(|candidate| (candidate.offering.cloud.as_str(), candidate.offering.region.as_str()))
        .collect();
    for (cloud, region) in places {
        let known = tariffs.get(cloud).and_then(|tariff| tariff.regions.get(region)).cloned();
        let known = known.unwrap_or_default();
        let area = (cloud.to_owned(), known.area, known.internet);
        let ladder = (cloud.to_owned(), area.2.clone());
        let number = areas.iter().position(|other| *other == area).unwrap_or_else(|| {
            let number = ladders.iter().position(|other| *other == ladder).unwrap_or_else(|| {
                ladders.push(ladder.clone());
                let tariff = tariffs.get(cloud);
                let tiers = tariff.and_then(|tariff| tariff.internet.get(&ladder.1));
                let factor = share_paid(&stack.clouds[cloud]) * GB_MONTH_PER_MBPS;
                let steps = tiers.into_iter().flatten();
                let steps = steps
                    .map(|tier| (tier.above_gb_month / GB_MONTH_PER_MBPS, tier.price_gb * factor));
                let mut steps: Vec<(f64, f64)> = steps.collect();
                if steps.is_empty() {
                    steps.push((0.0, 0.0));
                }
                network.ladders.push(Ladder { steps });
                ladders.len() - 1
            });
            let between = BTreeMap::new();
            network.areas.push(Area { cloud: cloud.to_owned(), between, ladder: number });
            areas.push(area.clone());
            areas.len() - 1
        });
        network.area_of.insert(format!("{cloud}/{region}"), number);
    }
    for (from, (cloud, own, _)) in areas.iter().enumerate() {
        let factor = share_paid(&stack.clouds[cloud]) * GB_MONTH_PER_MBPS;
        for (to, (other, area, _)) in areas.iter().enumerate().filter(|(_, to)| to.0 == *cloud) {
            debug_assert_eq!(cloud, other);
            let price_gb = tariffs.get(cloud).map_or(0.0, |tariff| tariff.between_gb(own, area));
            network.areas[from].between.insert(to, price_gb * factor);
        }
    }
    network
}

/// The weights of the models that services with replicas use.
pub(super) fn stored(
    stack: &Stack,
    demands: &[Demand],
    candidates: &[Candidate],
    tariffs: &BTreeMap<String, Tariff>,
) -> Vec<Stored> {
    let mut stored = Vec::new();
    for (name, model) in &stack.models {
        let uses = |demand: &Demand| {
            demand.runs() && stack.workloads[&demand.workload].model.as_ref() == Some(name)
        };
        let users = demands.iter().enumerate().filter(|(_, demand)| uses(demand));
        let users: Vec<usize> = users.map(|(index, _)| index).collect();
        let Some(weights) = model.weights.as_ref().filter(|_| !users.is_empty()) else { continue };
        let is_together = |a: &usize, b: &usize| candidates[*a].site == candidates[*b].site;
        let reachable = users.iter().map(|user| &demands[*user].candidates);
        let cost_month = reachable.flat_map(|all| all.chunk_by(is_together)).map(|there| {
            let candidate = &candidates[there[0]];
            let offering = &candidate.offering;
            let there = (stack, offering.cloud.as_str(), offering.region.as_str());
            (candidate.site.clone(), weights_month(weights, there, tariffs))
        });
        stored.push(Stored {
            model: name.clone(),
            cost_month: cost_month.collect(),
            demands: users,
        });
    }
    stored
}

fn weights_month(
    weights: &Weights,
    (stack, cloud, region): (&Stack, &str, &str),
    tariffs: &BTreeMap<String, Tariff>,
) -> f64 {
    let gb = weights.size_gib * (1u64 << 30) as f64 / 1e9;
    let keeping = match &stack.clouds[cloud].rate_card {
        Some(card) => card.storage_tb_month / 1e3,
        None => {
            let price = tariffs.get(cloud).map_or(0.0, |tariff| tariff.storage_gb_month(region));
            price * share_paid(&stack.clouds[cloud])
        }
    };
    let bringing = weights.kept_in.as_ref().map_or(0.0, |(from_cloud, from_region)| {
        let (Some(tariff), Some(from)) = (tariffs.get(from_cloud), stack.clouds.get(from_cloud))
        else {
            return 0.0;
        };
        let area = |region: &str| {
            tariff.regions.get(region).map_or("", |region| region.area.as_str()).to_owned()
        };
        let price_gb = match (from_cloud == cloud, from_region == region) {
            (true, true) => 0.0,
            (true, false) => tariff.between_gb(&area(from_region), &area(region)),
            (false, _) => {
                let known = tariff.regions.get(from_region);
                let tiers = known.and_then(|known| tariff.internet.get(&known.internet));
                tiers.and_then(|tiers| tiers.first()).map_or(0.0, |tier| tier.price_gb)
            }
        };
        price_gb * share_paid(from) / TRANSFER_MONTHS
    });
    gb * (keeping + bringing)
}

/// Of list prices: nothing where a rate card replaces them.
fn share_paid(cloud: &Cloud) -> f64 {
    match cloud.rate_card {
        Some(_) => 0.0,
        None => 1.0 - cloud.discount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_a_megabit_and_the_staircase() {
        assert!((GB_MONTH_PER_MBPS - 328.5).abs() < 1e-9);
        let ladder = Ladder { steps: vec![(0.0, 4.0), (10.0, 3.0), (20.0, 1.0)] };
        for (mbps, cost) in [(0.0, 0.0), (5.0, 20.0), (10.0, 40.0), (15.0, 55.0), (25.0, 75.0)] {
            assert_eq!(ladder.cost_month(mbps), cost, "{mbps}");
        }
    }
}
