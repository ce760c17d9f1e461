//! Demands that must not share a site: of two that do, one leaves.

use std::collections::{BTreeMap, BTreeSet};

use crate::placement::Placement;
use crate::placement::reduce::{self, Group};
use crate::problem::Problem;

/// Who leaves a site that two share: whose replicas there cost less, or more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    Cheaper,
    Dearer,
}

/// Takes shared sites from groups that must be apart. Whether it took any.
pub(super) fn part(
    problem: &Problem,
    placement: &Placement,
    groups: &mut [Group],
    leaves: Leaves,
) -> bool {
    // By demand, by site: what its replicas cost there.
    let mut costs: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for seats in &placement.seats {
        let Some(rental) = placement.rentals.get(&seats.offering) else { continue };
        let there = costs.entry(&seats.workload).or_default();
        *there.entry(rental.offering.site()).or_insert(0.0) += seats.cost_month;
    }
    let nowhere = BTreeMap::new();
    // Their sites were chosen, with those of others.
    let stay: BTreeSet<usize> = reduce::same_sites(problem).flatten().collect();
    // Who left is elsewhere now.
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for [one, other] in reduce::apart(problem) {
        if gone.contains(&one) || gone.contains(&other) {
            continue;
        }
        let [mine, others] = [one, other]
            .map(|demand| costs.get(problem.demands[demand].workload.as_str()).unwrap_or(&nowhere));
        let shared: BTreeSet<&str> =
            mine.keys().filter(|site| others.contains_key(*site)).map(String::as_str).collect();
        if shared.is_empty() {
            continue;
        }
        let cost =
            |there: &BTreeMap<String, f64>| shared.iter().map(|site| there[*site]).sum::<f64>();
        let is_one = (cost(mine) < cost(others)) == (leaves == Leaves::Cheaper);
        let order = if is_one { [one, other] } else { [other, one] };
        let is_shared = |index: &usize| shared.contains(&*problem.candidates[*index].site);
        // Who can be nowhere else stays.
        let leaving =
            order.into_iter().filter(|demand| !stay.contains(demand)).find_map(|demand| {
                let at = groups.iter().position(|group| group.demands.contains(&demand))?;
                (!groups[at].candidates.iter().all(is_shared)).then_some((demand, at))
            });
        if let Some((demand, at)) = leaving {
            groups[at].candidates.retain(|index| !is_shared(index));
            gone.insert(demand);
        }
    }
    !gone.is_empty()
}

pub(super) fn is_asked(problem: &Problem) -> bool {
    reduce::apart(problem).next().is_some()
}
