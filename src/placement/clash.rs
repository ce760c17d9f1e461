//! Which demands limits clash for. The others can be placed whatever becomes of these, where no limit counts them together
//! with others; so what is told of a few is told of all.
//!
//! Demands that must be apart or at the same sites are one set. A set is set aside where it can be placed on candidates that
//! no shared limit counts: there it is in nobody's way.

use std::collections::BTreeSet;

use super::search::{self, Failed};
use super::{large, reduce, relax};
use crate::diagnostic::Diagnostic;
use crate::problem::{Amount, Problem, Rule};

/// Why a large problem has no solution, if that can be told from few demands and few candidates.
pub(super) fn told(problem: &Problem) -> Option<Diagnostic> {
    let core = core(problem);
    let some = only(problem, &core);
    let groups = reduce::groups(&some);
    if groups.is_empty() {
        return None;
    }
    let enough = large::enough(&some, &groups);
    // All of them are searched in any case.
    let is_few = core.len() <= FEW && core.len() < problem.demands.len();
    let kept = match enough {
        Some(enough) => enough,
        None if is_few => reduce::undominated(&some, &groups),
        None => return None,
    };
    let is_clash = !search::may_be_kept(&some, &groups, &kept)
        || is_few && matches!(search::cheapest(&some, &groups, &kept), Err(Failed::Infeasible));
    is_clash.then(|| relax::explain(&some, &groups, &kept, problem, &core))
}

/// So often it is tried to place some; what that does not reach is left.
const TRIALS: u32 = 60;
/// Of so few an exact search takes little time.
const FEW: usize = 12;

/// The demands that are left; all of them where that is not known.
pub(super) fn core(problem: &Problem) -> BTreeSet<usize> {
    let all = relax::all(problem);
    let is_budgeted = problem.limits.iter().any(|limit| matches!(limit.rule, Rule::Budget { .. }));
    if problem.ceiling.is_some() || (problem.weights.is_some() && is_budgeted) {
        return all;
    }
    let candidates = problem.candidates.iter().enumerate();
    let is_counted = candidates.map(|(index, candidate)| {
        problem.limits.iter().any(|limit| reduce::counts(&limit.rule, index, candidate))
    });
    let is_counted: Vec<bool> = is_counted.collect();
    let mut free = Problem { last: None, weights: None, ..problem.clone() };
    free.demands.iter_mut().for_each(|demand| demand.candidates.retain(|one| !is_counted[*one]));
    let can_be =
        |set: &Vec<usize>| set.iter().all(|demand| !free.demands[*demand].candidates.is_empty());
    let pairs = reduce::apart(problem).chain(reduce::same_sites(problem));
    let is_asked = |set: &Vec<usize>| {
        set.iter().any(|demand| problem.demands[*demand].amount != Amount::Replicas(0))
    };
    let sets = reduce::connected(problem, pairs).into_iter().filter(is_asked).filter(can_be);
    let sets: Vec<Vec<usize>> = sets.collect();
    let mut aside = BTreeSet::new();
    set_aside(&free, &sets, &mut aside, &mut { TRIALS });
    &all - &aside
}

/// Sets aside those that can be placed: all at once, or else by halves.
fn set_aside(free: &Problem, sets: &[Vec<usize>], aside: &mut BTreeSet<usize>, trials: &mut u32) {
    let Some(left) = trials.checked_sub(1) else { return };
    *trials = left;
    let asked: BTreeSet<usize> = sets.iter().flatten().copied().collect();
    let some = only(free, &asked);
    if asked.is_empty() || large::some(&some, &reduce::groups(&some)).is_some() {
        aside.extend(asked);
    } else if sets.len() > 1 {
        let (first, second) = sets.split_at(sets.len() / 2);
        set_aside(free, first, aside, trials);
        set_aside(free, second, aside, trials);
    }
}

/// The problem without all other demands.
pub(super) fn only(problem: &Problem, demands: &BTreeSet<usize>) -> Problem {
    let mut some = problem.clone();
    for demand in 0..problem.demands.len() {
        if !demands.contains(&demand) {
            some.ask_for(demand, 0);
        }
    }
    some
}
