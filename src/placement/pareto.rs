//! Problem → the front of cost and latency: for each round trip that may be allowed, what the cheapest
//! placement costs.
//!
//! The latency of a placement is the estimated round trip ([`Location::round_trip_ms`]) between where a
//! workload is asked from (`placement.latency.from`) and where its replicas are, as the mean over all
//! replicas of such workloads. The front is found by solving for the lowest cost under a ceiling on it,
//! at a fixed number of ceilings between the lowest that can be kept and that of the cheapest placement.
//!
//! [`Location::round_trip_ms`]: fleetform_contract::Location::round_trip_ms

use super::{Placement, reduce, search, solve};
use crate::diagnostic::Diagnostic;
use crate::problem::{Candidate, Demand, Problem};

/// Steps in which the lowest ceiling is looked for.
const HALVINGS: u32 = 8;

/// A placement that none is both cheaper and nearer than, as far as the ceilings tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Mean over the replicas of workloads that say where they are asked from.
    pub latency_ms: f64,
    pub placement: Placement,
}

/// The estimated round trip between a candidate and where the demand is asked from, if both are known.
pub(super) fn round_trip_ms(demand: &Demand, candidate: &Candidate) -> Option<f64> {
    let from = &demand.rules.latency.as_ref()?.from;
    Some(candidate.offering.location.as_ref()?.round_trip_ms(from))
}

/// The mean round trip of a placement; `None` where nobody says where a workload is asked from.
pub fn latency_ms(problem: &Problem, placement: &Placement) -> Option<f64> {
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

/// At most so many points of the front, the nearest first. Fewer where several ceilings lead to one.
///
/// # Errors
/// Those of [`solve`](solve()); and that no workload says where it is asked from.
pub fn pareto(problem: &Problem, points: u32) -> Result<Vec<Point>, Vec<Diagnostic>> {
    let cheapest = solve(problem)?;
    let Some(slowest) = latency_ms(problem, &cheapest) else {
        let detail = "No workload says where it is asked from, so none is nearer than another.";
        return Err(vec![
            Diagnostic::error("No latency to weigh", detail)
                .hint("add `latency` with `from` and `max` to the `placement` of a service"),
        ]);
    };
    let fastest = lowest_ceiling(problem, slowest);
    let mut front = vec![Point { latency_ms: slowest, placement: cheapest }];
    for step in 1..points {
        let share = f64::from(step) / f64::from(points - 1);
        let ceiling_ms = slowest + (fastest - slowest) * share;
        let under = Problem { ceiling_ms: Some(ceiling_ms), ..problem.clone() };
        // A ceiling between two that can be kept can be kept.
        let placement = solve(&under)?;
        let latency_ms = latency_ms(problem, &placement).unwrap_or(slowest);
        front.push(Point { latency_ms, placement });
    }
    front.sort_by(|a, b| {
        let cost = |point: &Point| point.placement.cost.total_month;
        a.latency_ms.total_cmp(&b.latency_ms).then(cost(a).total_cmp(&cost(b)))
    });
    // What is no cheaper than something nearer is no part of the front.
    let mut least = f64::INFINITY;
    front.retain(|point| {
        let cost = point.placement.cost.total_month;
        let is_cheaper = cost < least - 0.005;
        least = least.min(cost);
        is_cheaper
    });
    Ok(front)
}

/// The lowest ceiling that can be kept, and not much above it.
fn lowest_ceiling(problem: &Problem, slowest: f64) -> f64 {
    let nearest = problem.demands.iter().filter_map(|demand| {
        let trips = demand.candidates.iter();
        let trips = trips.filter_map(|index| round_trip_ms(demand, &problem.candidates[*index]));
        trips.min_by(f64::total_cmp)
    });
    let can_be_kept = |ceiling_ms: f64| {
        let under = Problem { ceiling_ms: Some(ceiling_ms), ..problem.clone() };
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
