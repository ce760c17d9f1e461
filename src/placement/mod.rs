//! Problem → [`Placement`]: which nodes to rent and which replica sits where.
//!
//! [`solve`] makes the problem smaller (`reduce`), writes it as a mixed-integer program (`formulation`),
//! has it solved (`model`), packs the answer onto whole nodes and cuts off what cannot be packed
//! (`search`, `packing`), and puts it in the user's words (`settle`). [`check`](check()) then verifies the
//! result from the problem and the placement alone. `docs/placement.md` has the whole story.
//!
//! Invariant: the same problem gives the same placement, on every machine.

use std::collections::BTreeMap;

use fleetform_contract::Offering;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::problem::{Limit, Problem, Rule};

mod check;
mod clash;
mod explain;
mod export;
mod formulation;
mod large;
mod model;
mod moves;
mod packing;
mod pareto;
mod reduce;
mod relax;
mod running;
mod search;
mod settle;
mod traffic;
mod waits;

pub use check::check;
pub use explain::{
    Alternative, Call, Cause, Explanation, Relief, Threshold, causes, explain, moved,
};
pub use export::{Plain, mps, plain};
pub use pareto::{End, Point, pareto};
pub use running::{Running, running};

use formulation::Formulation;
use model::{Effort, Sense};
use reduce::Group;
use search::{Cheapest, Failed, Found, Packed};

/// The decision, with its proof. Everything in it is ordered; equal problems give equal placements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Ordered by workload, then offering.
    pub seats: Vec<Seats>,
    /// Every offering with nodes, by [`Offering::id`].
    pub rentals: BTreeMap<String, Rental>,
    /// What the workloads that are sized by load serve, by workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loads: BTreeMap<String, Served>,
    /// Which sites' replicas talk to which; ordered by caller, callee and their sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Flow>,
    pub cost: Cost,
    /// What was minimised, where it is not the cost alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighed: Option<Weighed>,
    pub proof: Proof,
}

/// Replicas of one workload on one offering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seats {
    pub workload: String,
    /// [`Offering::id`].
    pub offering: String,
    pub replicas: u32,
    /// What these replicas cost a month: their share of the nodes and their rate-card charges. The
    /// shares of all seats and the sites' costs add up to [`Cost::total_month`].
    pub cost_month: f64,
}

/// A load, and what the replicas that are there for it can serve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// Requests a second that were asked for.
    pub asked_per_second: f64,
    /// At least as many.
    pub served_per_second: f64,
}

/// Nodes of one offering and what sits on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rental {
    pub offering: Offering,
    /// The packing: for each node, replicas by workload.
    pub nodes: Vec<BTreeMap<String, u32>>,
    /// Dollars for one node after discounts and rate cards; 0 where a rate card replaces list prices.
    pub price_hour: f64,
    /// Nodes that a reservation has paid for.
    pub reserved_nodes: u32,
}

/// What the replicas of one service at one site send to those of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    pub from: String,
    pub to: String,
    /// `aws/us-east-1`.
    pub from_site: String,
    pub to_site: String,
    pub mbps: f64,
}

/// Dollars a month (730 hours).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub total_month: f64,
    pub nodes_month: f64,
    /// Control planes, by site (`aws/us-east-1`).
    pub sites_month: BTreeMap<String, f64>,
    /// Rate-card charges by cloud.
    pub rate_card_month: BTreeMap<String, f64>,
    /// Traffic between sites, by the site that sends and the one that receives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub egress_month: BTreeMap<String, BTreeMap<String, f64>>,
    /// Weights kept, and the month's part of bringing them, by model and site.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights_month: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A sum by weights: `objective_month` is each weight times its part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    pub objective_month: f64,
    pub cost_weight: f64,
    pub carbon_weight: f64,
    /// CO2 equivalent of all nodes.
    pub carbon_kg_month: f64,
    pub latency_weight: f64,
    /// Of all replicas of workloads that say from where they are used: their round trips, added up.
    pub latency_ms: f64,
}

/// What makes the answer trustworthy, in dollars a month, or in what was minimised instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// What was minimised: the cost, and what moves are charged.
    pub objective_month: f64,
    /// The part of it that is for leaving what ran before. Nobody pays it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moves_month: f64,
    /// No placement has a smaller objective than this.
    pub bound_month: f64,
    /// (objective − bound) / objective, 0 to 1.
    pub gap: f64,
    /// `HiGHS 1.11`, as it reports itself.
    pub solver: String,
    /// Cuts added because nodes could not hold an aggregate solution.
    pub packing_cuts: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(amount: &f64) -> bool {
    *amount == 0.0
}

impl Placement {
    /// What was minimised, moves aside: dollars a month, or the weighed sum.
    pub fn objective_month(&self) -> f64 {
        self.weighed.as_ref().map_or(self.cost.total_month, |weighed| weighed.objective_month)
    }

    /// Replicas by workload and offering.
    fn by_workload(&self) -> BTreeMap<&str, BTreeMap<&str, u32>> {
        let mut all: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
        for seats in &self.seats {
            all.entry(&seats.workload).or_default().insert(&seats.offering, seats.replicas);
        }
        all
    }
}

/// Decides where every replica runs, at the lowest cost that the search can prove.
///
/// # Errors
/// Limits that clash, as "No placement satisfies every limit" with what would have to give way; a search
/// that ended at its work limit without any placement; and, should it ever happen, a placement that does
/// not pass [`check`](check()).
pub fn solve(problem: &Problem) -> Result<Placement, Vec<Diagnostic>> {
    let groups = reduce::groups(problem);
    let quick = match is_large(problem) {
        true => large::placement(problem, &groups),
        false => None,
    };
    if let Some(quick) = quick {
        let Some(over) = over_budget(problem, &quick) else { return Ok(quick) };
        // What must be saved must be moved, whatever a move is charged.
        if problem.last.is_some() {
            let free = Problem { last: None, ..problem.clone() };
            return solve(&free);
        }
        // What is cheaper by so little, an exact search may find.
        if pairs(problem) > MODEST || quick.proof.bound_month > over.max_month {
            return Err(vec![over.told(problem, &quick)]);
        }
    }
    if is_large(problem)
        && let Some(error) = clash::told(problem)
    {
        return Err(vec![error]);
    }
    let kept = reduce::undominated(problem, &groups);
    solve_among(problem, &groups, &kept)
}

/// Problems with fewer pairs of a workload and an offering go to the exact search alone.
const LARGE: usize = 1_000;
/// With up to so many, an exact search is worth its time where all depends on it.
const MODEST: usize = 3_000;

fn is_large(problem: &Problem) -> bool {
    pairs(problem) > LARGE
}

fn pairs(problem: &Problem) -> usize {
    problem.demands.iter().map(|demand| demand.candidates.len()).sum()
}

fn solve_among(
    problem: &Problem,
    groups: &[Group],
    kept: &[usize],
) -> Result<Placement, Vec<Diagnostic>> {
    if groups.is_empty() {
        let proof = Proof { solver: model::solver(), ..Proof::default() };
        return Ok(Placement { proof, ..Placement::default() });
    }
    let cheapest = match search::cheapest(problem, groups, kept) {
        Ok(cheapest) => cheapest,
        Err(Failed::Infeasible) => {
            let all = relax::all(problem);
            return Err(vec![relax::explain(problem, groups, kept, problem, &all)]);
        }
        Err(Failed::Unsolved(words)) => return Err(vec![unsolved(&words)]),
    };
    let Cheapest { mut formulation, packed, cost } = cheapest;
    let bound_month = packed.bound;
    let mut packing_cuts = packed.cuts;
    let effort = Effort { nodes: TIE_NODES, ..search::effort(&formulation) };
    let chosen = preferred(&mut formulation, packed, cost, effort, &mut packing_cuts);
    let chosen = Packed { bound: bound_month, cuts: packing_cuts, ..chosen };
    let placement = charged(&formulation, &chosen);

    if let Some(over) = over_budget(problem, &placement) {
        // What must be saved must be moved, whatever a move is charged.
        if problem.last.is_some() && problem.move_penalty > 0.0 {
            let free = Problem { move_penalty: 0.0, ..problem.clone() };
            return solve_among(&free, groups, kept);
        }
        return Err(vec![over.told(problem, &placement)]);
    }
    match check(problem, &placement) {
        Ok(()) => Ok(placement),
        Err(broken) => {
            let detail = format!(
                "The solver's placement does not pass the independent check: {}.",
                broken.join("; ")
            );
            let error = Diagnostic::error("Internal error: a placement is wrong", detail)
                .hint("this is a bug in Fleetform, not in the stack; please report it");
            Err(vec![error])
        }
    }
}

/// With what its moves are charged, and the packed solution's bound.
fn charged(formulation: &Formulation, packed: &Packed) -> Placement {
    let mut placement = settle::placement(formulation, packed);
    let moves = moves::charged_month(formulation.problem, &placement);
    placement.proof = proof(placement.objective_month(), moves, packed.bound, packed.cuts);
    placement
}

/// A budget that a placement exceeds.
struct OverBudget<'a> {
    limit: &'a Limit,
    max_month: f64,
}

impl OverBudget<'_> {
    /// Finds out what can be placed all the same, which takes time.
    fn told(&self, problem: &Problem, placement: &Placement) -> Diagnostic {
        let Proof { objective_month, bound_month, .. } = placement.proof;
        relax::over_budget(problem, self.limit, self.max_month, objective_month, bound_month)
    }
}

fn over_budget<'a>(problem: &'a Problem, placement: &Placement) -> Option<OverBudget<'a>> {
    problem.limits.iter().find_map(|limit| match limit.rule {
        Rule::Budget { max_month }
            if placement.weighed.is_none() && placement.cost.total_month > max_month + 1e-6 =>
        {
            Some(OverBudget { limit, max_month })
        }
        _ => None,
    })
}

/// How near to the best of its equals a large placement has to be.
const TIE_GAP: f64 = 5e-3;
/// Nodes of the search for that.
const TIE_NODES: i32 = 500;

/// Among the placements that cost no more than the cheapest: the one that moves least, then of the lowest
/// list prices, then of the fewest nodes and sites, then of the first offerings. A second solve with the cost as a row, so that
/// the preference can never cost anything; where its work ends early, the first answer stands. In a large
/// model only the candidates at the sites in use are compared.
fn preferred(
    formulation: &mut Formulation,
    cheapest: Packed,
    cost: f64,
    mut effort: Effort,
    packing_cuts: &mut u32,
) -> Packed {
    let terms = formulation.cost.iter().copied().enumerate().filter(|(_, cost)| *cost != 0.0);
    let terms: Vec<(usize, f64)> = terms.collect();
    // Room for the rounding of sums, far below a cent.
    formulation.model.row(terms, Sense::AtMost, cost + 1e-6 + cost * 1e-10);
    if !search::is_small(formulation) {
        effort.gap = TIE_GAP;
        formulation.close_unused_sites(&cheapest.nodes);
    }
    let stayed = fewest_moves(formulation, cheapest, effort, packing_cuts);
    let start = Some(stayed.values.as_slice());
    match search::best(formulation, |f| f.preference.clone(), start, effort) {
        Found::Packed(packed) => {
            *packing_cuts += packed.cuts;
            packed
        }
        Found::Infeasible | Found::Unsolved(_) => stayed,
    }
}

/// The same with as few replicas moved as the cost allows; from then on no more are.
fn fewest_moves(
    formulation: &mut Formulation,
    cheapest: Packed,
    effort: Effort,
    packing_cuts: &mut u32,
) -> Packed {
    if formulation.moves.is_empty() {
        return cheapest;
    }
    let mut stayed = cheapest;
    if formulation.moved(&stayed.values) > 1e-6 {
        let weights = |formulation: &Formulation| {
            let mut weights = vec![0.0; formulation.model.columns.len()];
            formulation.moves.iter().for_each(|one| weights[one.moved] = 1.0);
            weights
        };
        let start = Some(stayed.values.as_slice());
        if let Found::Packed(packed) = search::best(formulation, weights, start, effort) {
            *packing_cuts += packed.cuts;
            stayed = packed;
        }
    }
    let most = formulation.moved(&stayed.values);
    let terms = formulation.moves.iter().map(|one| (one.moved, 1.0)).collect();
    formulation.model.row(terms, Sense::AtMost, most + 1e-6);
    stayed
}

fn proof(weighed: f64, moves_month: f64, bound_month: f64, packing_cuts: u32) -> Proof {
    let objective_month = weighed + moves_month;
    // No price is negative, so 0 is a bound whatever the solver says; and what was found bounds too.
    let bound_month = bound_month.max(0.0).min(objective_month);
    let gap = match objective_month {
        0.0 => 0.0,
        objective => (objective - bound_month) / objective,
    };
    Proof { objective_month, moves_month, bound_month, gap, solver: model::solver(), packing_cuts }
}

fn unsolved(words: &str) -> Diagnostic {
    let detail = format!(
        "The search for a placement ended at its work limit before it found one ({words})."
    );
    Diagnostic::error("No placement was found", detail)
        .hint("narrow the choice with `regions`, `clouds` or `gpu_types`")
}

#[cfg(test)]
pub(crate) mod tests;
