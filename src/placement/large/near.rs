//! Traffic between sites costs: who is called is asked for again at the sites of who calls, and who calls at those of who is
//! called, and what costs less stays.

use std::collections::{BTreeMap, BTreeSet};

use super::HANDFUL;
use crate::placement::reduce::{self, Group};
use crate::placement::{Placement, traffic};
use crate::problem::Problem;

/// So many tries for one pair each, where workloads are few; otherwise all pairs at once.
const ASKED: usize = 12;

/// A demand, and the sites where it would be near.
type Drawn = (usize, BTreeSet<String>);

/// The placement, or a cheaper one whose traffic stays at sites, with what groups may use in it.
pub(super) fn drawn(
    problem: &Problem,
    groups: &[Group],
    mut placement: Placement,
    ask: impl Fn(&[Group]) -> Option<Placement>,
) -> (Placement, Vec<Group>) {
    let mut groups = groups.to_vec();
    let pairs = pairs(problem, &placement);
    let called = pairs.iter().map(|[from, to]| drawn_to(&placement, problem, *to, *from));
    let callers = pairs.iter().map(|[from, to]| drawn_to(&placement, problem, *from, *to));
    let tries: Vec<Vec<Drawn>> = match groups.len() <= HANDFUL {
        true => called
            .zip(callers)
            .flat_map(Into::<[_; 2]>::into)
            .map(|one| vec![one])
            .take(ASKED)
            .collect(),
        false => vec![called.collect(), callers.collect()],
    };
    for drawn in tries {
        let Some(fewer) = inside(problem, &groups, &drawn) else { continue };
        let Some(found) = ask(&fewer) else { continue };
        if found.proof.objective_month < placement.proof.objective_month - 1e-6 {
            (placement, groups) = (found, fewer);
        }
    }
    (placement, groups)
}

/// Who calls and who is called, where that costs something; the dearest first.
fn pairs(problem: &Problem, placement: &Placement) -> Vec<[usize; 2]> {
    let mut costs: BTreeMap<[&str; 2], f64> = BTreeMap::new();
    let each = traffic::each_month(&problem.network, &placement.traffic);
    for (flow, cost) in placement.traffic.iter().zip(each) {
        *costs.entry([&flow.from, &flow.to]).or_insert(0.0) += cost;
    }
    let is_apart = |pair: &[usize; 2]| {
        reduce::apart(problem).any(|apart| pair.iter().all(|one| apart.contains(one)))
    };
    let number = |name: &str| problem.demands.iter().position(|one| one.workload == name);
    let costs = costs.into_iter().filter(|(_, cost)| *cost > 0.0);
    let mut pairs: Vec<([usize; 2], f64)> =
        costs.filter_map(|([from, to], cost)| Some(([number(from)?, number(to)?], cost))).collect();
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    pairs.into_iter().map(|(pair, _)| pair).filter(|pair| !is_apart(pair)).collect()
}

/// A demand, and the sites where another one is.
fn drawn_to(placement: &Placement, problem: &Problem, demand: usize, other: usize) -> Drawn {
    let name = &problem.demands[other].workload;
    let seats = placement.seats.iter().filter(|seats| seats.workload == *name);
    let sites =
        seats.filter_map(|seats| Some(placement.rentals.get(&seats.offering)?.offering.site()));
    (demand, sites.collect())
}

/// Groups whose demands are drawn have candidates at these sites alone. `None` where that leaves all as it is.
fn inside(problem: &Problem, groups: &[Group], drawn: &[Drawn]) -> Option<Vec<Group>> {
    let mut groups = groups.to_vec();
    let mut is_less = false;
    for group in &mut groups {
        let Some((_, sites)) = drawn.iter().find(|(demand, _)| group.demands.contains(demand))
        else {
            continue;
        };
        let there = group.candidates.iter().copied();
        let there: Vec<usize> =
            there.filter(|index| sites.contains(&problem.candidates[*index].site)).collect();
        if !there.is_empty() && there.len() < group.candidates.len() {
            group.candidates = there;
            is_less = true;
        }
    }
    is_less.then_some(groups)
}
