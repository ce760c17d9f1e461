//! Zones, for the demands that must be spread over them.
//!
//! An offering is a region's, and which of the region's zones a node comes up in is the cloud's choice. Where a
//! demand has a rule over zones, each offering that it may use is told apart by zone: one candidate for
//! each zone that sells it and can hold nodes, with the same price and the same node, open to everybody who may
//! use the offering. The demand itself may use only these. A region without zones, and a cluster that exists
//! already, is one zone, because it fails as a whole for all that is known.
//!
//! Nodes that are limited in number (a reservation that does not say its zone) are in some zone that nobody told, so
//! a demand that is spread over zones does without them.

use std::collections::BTreeMap;

use fleetform_contract::{Cloud, Offering, Tariff};

use super::{Candidate, Demand, keep_useful};
use crate::config::{SpreadOver, Stack, nearest};
use crate::diagnostic::Diagnostic;

/// What fails together with an offering's nodes: `aws/us-east-1/use1-az1`, or the site.
pub(super) fn of(site: &str, zone: Option<&str>) -> String {
    match zone {
        None => site.to_owned(),
        Some(zone) => format!("{site}/{zone}"),
    }
}

/// The diagnostic for a reservation (by its number) in a zone that does not sell what it reserves.
pub(super) fn unknown(
    stack: &Stack,
    cloud: &Cloud,
    index: usize,
    offering: &Offering,
    tariff: Option<&Tariff>,
) -> Option<Diagnostic> {
    let zone = cloud.reservations[index].zone.as_ref()?;
    let zones = sold_in(offering, tariff).unwrap_or_default();
    if zones.contains(&zone) {
        return None;
    }
    let detail = format!(
        "A reservation is in the zone `{zone}`, in which {} of {} is not sold.",
        offering.instance_type, offering.region
    );
    let hint = match nearest(zone, zones.iter().map(|zone| zone.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "its zones: {}",
            zones.iter().map(|z| z.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    let path = format!("cloud.{}.reservation.{index}.zone", cloud.name);
    Some(Diagnostic::error("Unknown zone", detail).at(stack.span(&path)).hint(hint))
}

/// Tells apart what the demands with a rule over zones may use. Candidates stay ordered by id, and those that are
/// of no more use are gone.
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
    (*candidates, _) = keep_useful(std::mem::take(candidates), demands);
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
    let offering = &candidate.offering;
    let zones = sold_in(offering, tariffs.get(&offering.cloud))?;
    match (&offering.zone, offering.max_nodes) {
        (Some(_), _) => None,
        (None, Some(_)) => Some(Vec::new()),
        (None, None) => Some(zones),
    }
}

/// The zones that sell an offering and can hold nodes; `None` in a region without zones.
fn sold_in<'a>(offering: &'a Offering, tariff: Option<&'a Tariff>) -> Option<Vec<&'a String>> {
    let region = tariff.and_then(|tariff| tariff.regions.get(&offering.region));
    let known = region.map_or(&[][..], |region| &region.zones);
    let sold = &offering.zones;
    match (sold.is_empty(), known.is_empty()) {
        (true, true) => None,
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
        let zone = of(&self.site, Some(zone));
        Candidate { id: offering.id(), zone, offering, ..self.clone() }
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
