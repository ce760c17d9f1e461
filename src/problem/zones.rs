//! Zones, for the demands that must be spread over them.
//!
//! An offering is a region's, and which of the region's zones a node comes up in is the cloud's choice. Where a
//! demand has a rule over zones, each offering that it may use is told apart by zone: one candidate for
//! each zone that sells it and can hold nodes, with the same price and the same node, open to everybody who may
//! use the offering. The demand itself may use only these. A region without zones, and a cluster that exists
//! already, is one zone, because it fails as a whole for all that is known.
//!
//! Nodes that are limited in number (a reservation) are in some zone that nobody told, so a demand that is
//! spread over zones does without them.

use std::collections::BTreeMap;

use fleetform_contract::{Offering, Tariff};

use super::{Candidate, Demand};
use crate::config::SpreadOver;
use crate::diagnostic::Diagnostic;

/// Tells apart what the demands with a rule over zones may use. Candidates stay ordered by id.
///
/// # Returns
/// A diagnostic for each demand that is left without any candidate.
pub(super) fn tell_apart(
    demands: &mut [Demand],
    candidates: &mut Vec<Candidate>,
    tariffs: &BTreeMap<String, Tariff>,
) -> Vec<Diagnostic> {
    if !demands.iter().any(is_spread) {
        return Vec::new();
    }
    // By candidate: those that stand for its zones; none where it is one zone.
    let mut in_zones: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for demand in demands.iter().filter(|demand| is_spread(demand)) {
        for &index in &demand.candidates {
            if in_zones.contains_key(&index) {
                continue;
            }
            let Some(zones) = zones(&candidates[index], tariffs) else { continue };
            let first = candidates.len();
            candidates.extend(
                zones.iter().map(|zone| candidates[index].in_zone(zone)).collect::<Vec<_>>(),
            );
            in_zones.insert(index, (first..candidates.len()).collect());
        }
    }
    for demand in demands.iter_mut() {
        let is_spread = is_spread(demand);
        let told_apart: Vec<usize> = demand
            .candidates
            .iter()
            .filter_map(|index| in_zones.get(index))
            .flatten()
            .copied()
            .collect();
        if is_spread {
            demand.candidates.retain(|index| !in_zones.contains_key(index));
        }
        demand.candidates.extend(told_apart);
    }
    sort(demands, candidates);
    let stranded = demands.iter().filter(|demand| demand.candidates.is_empty());
    stranded.map(no_zone).collect()
}

fn is_spread(demand: &Demand) -> bool {
    demand.rules.spread.iter().any(|spread| spread.over == SpreadOver::Zone)
}

/// The zones in which nodes of a candidate can be asked for; `None` where it is one zone.
fn zones<'a>(
    candidate: &'a Candidate,
    tariffs: &'a BTreeMap<String, Tariff>,
) -> Option<Vec<&'a String>> {
    let Offering { cloud, region, zones: sold, max_nodes, .. } = &candidate.offering;
    let region = tariffs.get(cloud).and_then(|tariff| tariff.regions.get(region));
    let known = region.map_or(&[][..], |region| &region.zones);
    match (sold.is_empty(), known.is_empty()) {
        (true, true) => None,
        _ if max_nodes.is_some() => Some(Vec::new()),
        (true, false) => Some(known.iter().collect()),
        (false, true) => Some(sold.iter().collect()),
        (false, false) => Some(sold.iter().filter(|zone| known.contains(zone)).collect()),
    }
}

impl Candidate {
    /// The same, with nodes in one zone only.
    fn in_zone(&self, zone: &str) -> Candidate {
        let offering =
            Offering { zone: Some(zone.to_owned()), zones: Vec::new(), ..self.offering.clone() };
        Candidate {
            id: offering.id(),
            zone: format!("{}/{zone}", self.site),
            offering,
            ..self.clone()
        }
    }
}

/// Puts the candidates in order again, and the demands' lists with them.
fn sort(demands: &mut [Demand], candidates: &mut Vec<Candidate>) {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|a, b| candidates[*a].id.cmp(&candidates[*b].id));
    let mut place = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new;
    }
    let mut numbered: Vec<(usize, Candidate)> =
        place.iter().copied().zip(std::mem::take(candidates)).collect();
    numbered.sort_by_key(|(new, _)| *new);
    candidates.extend(numbered.into_iter().map(|(_, candidate)| candidate));
    for demand in demands {
        for index in &mut demand.candidates {
            *index = place[*index];
        }
        demand.candidates.sort_unstable();
    }
}

fn no_zone(demand: &Demand) -> Diagnostic {
    let detail = format!(
        "`{}` is spread over zones. Because the zone of every node that fits it is not known (reserved nodes \
         are in some zone of their region), none can hold a replica.",
        demand.reference
    );
    Diagnostic::error("No offering fits", detail)
        .at(demand.origin.span.clone())
        .hint("spread over `region`, or allow nodes that are not reserved")
        .about(&demand.reference)
}
