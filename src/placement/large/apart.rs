//! Demands that must not share a site: of two that do, one leaves.

use std::collections::{BTreeMap, BTreeSet};

use crate::placement::Placement;
use crate::placement::reduce::Group;
use crate::problem::{Problem, Rule};

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
    let sites: BTreeMap<&str, &str> =
        problem.candidates.iter().map(|one| (one.id.as_str(), one.site.as_str())).collect();
    // By demand, by site: what its replicas cost there.
    let mut costs: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for seats in &placement.seats {
        let Some(site) = sites.get(seats.offering.as_str()) else { continue };
        let there = costs.entry(&seats.workload).or_default();
        *there.entry(site).or_insert(0.0) += seats.cost_month;
    }
    let mut is_taken = false;
    for [one, other] in pairs(problem) {
        let [mine, others] = [one, other].map(|demand| {
            costs.get(problem.demands[demand].workload.as_str()).cloned().unwrap_or_default()
        });
        let shared: BTreeSet<&str> =
            mine.keys().filter(|site| others.contains_key(*site)).copied().collect();
        if shared.is_empty() {
            continue;
        }
        let cost = |there: &BTreeMap<&str, f64>| shared.iter().map(|site| there[site]).sum::<f64>();
        let is_one = (cost(&mine) < cost(&others)) == (leaves == Leaves::Cheaper);
        let leaving = if is_one { one } else { other };
        for group in groups.iter_mut().filter(|group| group.demands.contains(&leaving)) {
            let is_shared = |index: &usize| shared.contains(&*problem.candidates[*index].site);
            let before = group.candidates.len();
            group.candidates.retain(|index| !is_shared(index));
            is_taken |= group.candidates.len() < before;
        }
    }
    is_taken
}

pub(super) fn is_asked(problem: &Problem) -> bool {
    pairs(problem).next().is_some()
}

fn pairs(problem: &Problem) -> impl Iterator<Item = [usize; 2]> {
    problem.limits.iter().filter_map(|limit| match limit.rule {
        Rule::Apart { demands } => Some(demands),
        _ => None,
    })
}
