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
    // Who left is elsewhere now.
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for [one, other] in pairs(problem) {
        if gone.contains(&one) || gone.contains(&other) {
            continue;
        }
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
        let order = if is_one { [one, other] } else { [other, one] };
        let is_shared = |index: &usize| shared.contains(&*problem.candidates[*index].site);
        // Who can be nowhere else stays.
        let leaving = order.into_iter().find_map(|demand| {
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
    pairs(problem).next().is_some()
}

pub(super) fn pairs(problem: &Problem) -> impl Iterator<Item = [usize; 2]> {
    problem.limits.iter().filter_map(|limit| match limit.rule {
        Rule::Apart { demands } => Some(demands),
        _ => None,
    })
}
