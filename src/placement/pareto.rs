//! Problem → the front of cost and another end, latency or carbon: for each amount of it that may be allowed,
//! what the cheapest placement costs.
//!
//! The latency of a placement is the estimated round trip ([`Location::round_trip_ms`]) between where a
//! workload is asked from (`placement.latency.from`) and where its replicas are, as the mean over all
//! replicas of such workloads; its carbon is what its nodes emit in a month. The front is found by solving for
//! the lowest cost under a ceiling on it, at a fixed number of ceilings between the lowest that can be kept and
//! that of the cheapest placement. The weights of a stack play no part.
//!
//! [`Location::round_trip_ms`]: fleetform_contract::Location::round_trip_ms

use super::{Placement, reduce, search, solve};
use crate::config::ObjectiveWeights;
use crate::diagnostic::Diagnostic;
use crate::problem::{Candidate, Ceiling, Demand, Problem};

/// Steps in which the lowest ceiling is looked for.
const HALVINGS: u32 = 8;

/// What is weighed against the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Mean over the replicas of workloads that say where they are asked from, in milliseconds.
    Latency,
    /// CO2 equivalent of all nodes, in kilograms a month.
    Carbon,
}

/// A placement that none is both cheaper than and nearer (or cleaner), as far as the ceilings tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Of the other end.
    pub amount: f64,
    pub placement: Placement,
}

/// The estimated round trip between a candidate and where the demand is asked from, if both are known.
pub(super) fn round_trip_ms(demand: &Demand, candidate: &Candidate) -> Option<f64> {
    let from = &demand.rules.latency.as_ref()?.from;
    Some(candidate.offering.location.as_ref()?.round_trip_ms(from))
}

impl End {
    /// How much of it a placement has; `None` where nobody says where a workload is asked from.
    pub fn of(self, problem: &Problem, placement: &Placement) -> Option<f64> {
        match self {
            End::Latency => latency_ms(problem, placement),
            End::Carbon => Some(carbon_kg(problem, placement)),
        }
    }

    fn ceiling(self, amount: f64) -> Ceiling {
        match self {
            End::Latency => Ceiling::LatencyMs(amount),
            // Room for the rounding of sums.
            End::Carbon => Ceiling::CarbonKg(amount * (1.0 + 1e-9)),
        }
    }
}

fn latency_ms(problem: &Problem, placement: &Placement) -> Option<f64> {
    let (mut sum, mut all) = (0.0, 0.0);
    for seats in &placement.seats {
        let demand = problem.demands.iter().find(|demand| demand.workload == seats.workload)?;
        let candidate = problem.candidates.iter().find(|one| one.id == seats.offering)?;
        if let Some(trip) = round_trip_ms(demand, candidate) {
            sum += trip * f64::from(seats.replicas);
            all += f64::from(seats.replicas);
        }
    }
    (all > 0.0).then(|| sum / all)
}

fn carbon_kg(problem: &Problem, placement: &Placement) -> f64 {
    let emitted = problem.candidates.iter().filter_map(|candidate| {
        let rental = placement.rentals.get(&candidate.id)?;
        Some(rental.nodes.len() as f64 * candidate.carbon_kg_month)
    });
    emitted.sum()
}

/// At most so many points of the front, those with least of the other end first. Fewer where several ceilings
/// lead to one.
///
/// # Errors
/// Those of [`solve`](solve()); and that no workload says where it is asked from.
pub fn pareto(problem: &Problem, end: End, points: u32) -> Result<Vec<Point>, Vec<Diagnostic>> {
    let problem = &Problem { weights: None, ..problem.clone() };
    let cheapest = solve(problem)?;
    let Some(most) = end.of(problem, &cheapest) else {
        let detail = "No workload says where it is asked from, so none is nearer than another.";
        return Err(vec![
            Diagnostic::error("No latency to weigh", detail)
                .hint("add `latency` with `from` and `max` to the `placement` of a service"),
        ]);
    };
    let least = match end {
        End::Latency => lowest_latency(problem, most),
        End::Carbon => lowest_carbon(problem)?,
    };
    let mut front = vec![Point { amount: most, placement: cheapest }];
    for step in 1..points {
        let share = f64::from(step) / f64::from(points - 1);
        let ceiling = end.ceiling(most + (least - most) * share);
        // A ceiling between two that can be kept can be kept.
        let placement = solve(&Problem { ceiling: Some(ceiling), ..problem.clone() })?;
        let amount = end.of(problem, &placement).unwrap_or(most);
        front.push(Point { amount, placement });
    }
    front.sort_by(|a, b| {
        let cost = |point: &Point| point.placement.cost.total_month;
        a.amount.total_cmp(&b.amount).then(cost(a).total_cmp(&cost(b)))
    });
    // What is no cheaper than something nearer or cleaner is no part of the front.
    let mut lowest = f64::INFINITY;
    front.retain(|point| {
        let cost = point.placement.cost.total_month;
        let is_cheaper = cost < lowest - 0.005;
        lowest = lowest.min(cost);
        is_cheaper
    });
    Ok(front)
}

/// The lowest ceiling that can be kept, and not much above it.
fn lowest_latency(problem: &Problem, slowest: f64) -> f64 {
    let nearest = problem.demands.iter().filter_map(|demand| {
        let trips = demand.candidates.iter();
        let trips = trips.filter_map(|index| round_trip_ms(demand, &problem.candidates[*index]));
        trips.min_by(f64::total_cmp)
    });
    let can_be_kept = |ceiling_ms: f64| {
        let ceiling = Some(End::Latency.ceiling(ceiling_ms));
        let under = Problem { ceiling, ..problem.clone() };
        let groups = reduce::groups(&under);
        let kept = reduce::undominated(&under, &groups);
        search::cheapest(&under, &groups, &kept).is_ok()
    };
    // No mean is below the least of all.
    let mut fails = nearest.fold(slowest, f64::min);
    let mut keeps = slowest;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(fails, keeps);
        if can_be_kept(middle) {
            keeps = middle;
        } else {
            fails = middle;
        }
    }
    if can_be_kept(fails) { fails } else { keeps }
}

/// What the cleanest placement emits: it is the one to be had where nothing else is minimised.
fn lowest_carbon(problem: &Problem) -> Result<f64, Vec<Diagnostic>> {
    let weights = ObjectiveWeights { cost: 0.0, carbon: 1.0, latency: 0.0 };
    let clean = Problem { weights: Some(weights), last: None, ..problem.clone() };
    Ok(carbon_kg(problem, &solve(&clean)?))
}
