//! Where not everything can be placed: what can, if the rest waits.
//!
//! Whatever limits do not clash for is admitted. The other workloads are admitted in the order of their
//! names, each if it fits beside those before it: halves of the order first, so that few solves settle
//! many. Of a workload that must wait, as many replicas are admitted as fit. A fixed number of solves is all that this is worth; what it does not reach waits.

use std::collections::BTreeSet;

use super::{large, reduce, relax, search};
use crate::problem::{Amount, Problem, Rule};

const SOLVES: u32 = 24;
/// Where there are more workloads than `MANY`, each solve is dear.
const MANY: usize = 100;
const SOLVES_OF_MANY: u32 = 6;
/// More than these are counted only.
const NAMED: usize = 6;

/// "If `service.b` and 2 of the 5 replicas of `service.c` wait, the rest can be placed." `None` where
/// nothing can be placed.
pub(super) fn words(problem: &Problem, clashing: &BTreeSet<usize>) -> Option<String> {
    let solves = if problem.demands.len() > MANY { SOLVES_OF_MANY } else { SOLVES };
    // What runs now does not matter here.
    let problem = Problem { last: None, ..problem.clone() };
    let mut waits = Waits { admitted: vec![0; problem.demands.len()], problem: &problem, solves };
    let others = &relax::all(&problem) - clashing;
    waits.admit(&others.into_iter().collect::<Vec<_>>());
    let clashing: Vec<usize> = clashing.iter().copied().collect();
    let (first, second) = clashing.split_at(clashing.len() / 2);
    waits.admit(first);
    waits.admit(second);
    for index in clashing {
        waits.admit_part(index);
    }
    if waits.admitted.iter().all(|replicas| *replicas == 0) {
        return None;
    }
    let mut waiting = Vec::new();
    for (demand, admitted) in problem.demands.iter().zip(&waits.admitted) {
        let reference = &demand.reference;
        match (&demand.amount, admitted) {
            (Amount::Replicas(all), admitted) if admitted >= all => {}
            (Amount::Replicas(all), 1..) => {
                waiting.push(format!("{} of the {all} replicas of `{reference}`", all - admitted));
            }
            (Amount::Load(_), 1..) => {}
            (_, 0) => waiting.push(format!("`{reference}`")),
        }
    }
    let is_one = |text: &String| text.starts_with('`') || text.starts_with("1 ");
    let verb = if waiting.len() == 1 && is_one(&waiting[0]) { "waits" } else { "wait" };
    if waiting.len() > NAMED {
        let more = waiting.len() - NAMED + 1;
        waiting.truncate(NAMED - 1);
        waiting.push(format!("{more} more"));
    }
    let (last, rest) = waiting.split_last()?;
    let list =
        if rest.is_empty() { last.clone() } else { format!("{} and {last}", rest.join(", ")) };
    Some(format!("If {list} {verb}, the rest can be placed."))
}

struct Waits<'a> {
    problem: &'a Problem,
    /// By demand: how many replicas may be placed; 1 for a load, which is placed whole.
    admitted: Vec<u32>,
    solves: u32,
}

impl Waits<'_> {
    /// Admits what fits of these.
    fn admit(&mut self, demands: &[usize]) {
        if demands.is_empty() {
            return;
        }
        let before = self.admitted.clone();
        for &demand in demands {
            self.admitted[demand] = match self.problem.demands[demand].amount {
                Amount::Replicas(replicas) => replicas,
                Amount::Load(_) => 1,
            };
        }
        if self.fits() {
            return;
        }
        self.admitted = before;
        if demands.len() > 1 {
            let (first, second) = demands.split_at(demands.len() / 2);
            self.admit(first);
            self.admit(second);
        }
    }

    /// Admits as many replicas of one that waits as fit.
    fn admit_part(&mut self, demand: usize) {
        let Amount::Replicas(all) = self.problem.demands[demand].amount else { return };
        let (mut fits, mut fails) = (self.admitted[demand], all);
        if fits > 0 {
            return;
        }
        while fails - fits > 1 {
            let middle = fits.midpoint(fails);
            self.admitted[demand] = middle;
            if self.fits() {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        self.admitted[demand] = fits;
    }

    fn fits(&mut self) -> bool {
        if self.solves == 0 {
            return false;
        }
        self.solves -= 1;
        let mut some = self.problem.clone();
        for (demand, admitted) in self.admitted.iter().enumerate() {
            match self.problem.demands[demand].amount {
                Amount::Load(_) if *admitted > 0 => {}
                _ => some.ask_for(demand, *admitted),
            }
        }
        let groups = reduce::groups(&some);
        if groups.is_empty() {
            return true;
        }
        let budget = some.limits.iter().find_map(|limit| match limit.rule {
            // Where weights are minimised, the budget is a row of the model.
            Rule::Budget { max_month } if some.weights.is_none() => Some(max_month + 1e-6),
            _ => None,
        });
        if super::is_large(&some) && large::is_known(&some, &groups) {
            return match budget {
                Some(budget) => large::is_within(&some, &groups, budget),
                None => large::some(&some, &groups).is_some(),
            };
        }
        let budget = budget.unwrap_or(f64::INFINITY);
        let kept = reduce::undominated(&some, &groups);
        search::cheapest(&some, &groups, &kept).is_ok_and(|cheapest| cheapest.cost <= budget)
    }
}
