//! Problem → the front of cost and another end, latency or carbon: for each amount of it that may be allowed,
//! what the cheapest placement costs.
//!
//! The latency of a placement is the estimated round trip ([`Location::round_trip_ms`]) between where a
//! workload is asked from (`placement.latency.from`) and where its replicas are, as the mean over all
//! replicas of such workloads; its carbon is what its nodes emit in a month. The front is found by solving for
//! the lowest cost under a ceiling on it, at a fixed number of ceilings between the lowest that can be kept and
//! that of the cheapest placement. The weights of a stack play no part.
//!
//! A ceiling makes the search of a large problem long. There the ends are weighed against each other: between two points
//! of the front lies what is least by the weights at which the two are equals. Such points are what is on the lower hull of
//! all placements.
//!
//! [`Location::round_trip_ms`]: fleetform_contract::Location::round_trip_ms

use super::{MODEST, Placement, moves, over_budget, pairs, proof, reduce, search, solve};
use crate::config::ObjectiveWeights;
use crate::diagnostic::Diagnostic;
use crate::problem::{Amount, Candidate, Ceiling, Demand, Problem, Rule};

/// So few workloads have few points on their hull, and under ceilings more.
const FEW: usize = 4;
/// What one of the other end may cost at the nearest (or cleanest) point, as a multiple of its mean over the whole front.
const STEEP: f64 = 10.0;
/// So often for each point two ends are weighed at most.
const TRIES: u32 = 4;
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

fn no_latency() -> Diagnostic {
    let detail = "No workload says where it is asked from, so none is nearer than another.";
    Diagnostic::error("No latency to weigh", detail)
        .hint("add `latency` with `from` and `max` to the `placement` of a service")
}

/// At most so many points of the front, those with least of the other end first. Fewer where several ceilings
/// lead to one.
///
/// # Errors
/// Those of [`solve`](solve()); and that no workload says where it is asked from.
pub fn pareto(problem: &Problem, end: End, points: u32) -> Result<Vec<Point>, Vec<Diagnostic>> {
    let problem = &Problem { weights: None, ..problem.clone() };
    let is_said = problem.demands.iter().any(|demand| demand.rules.latency.is_some());
    if end == End::Latency && !is_said {
        return Err(vec![no_latency()]);
    }
    let cheapest = solve(problem)?;
    let Some(most) = end.of(problem, &cheapest) else { return Err(vec![no_latency()]) };
    let cheapest = Point { amount: most, placement: cheapest };
    // The mean of a load's replicas is no sum: how many there are is not known.
    let is_load = |demand: &Demand| {
        demand.rules.latency.is_some() && matches!(demand.amount, Amount::Load(_))
    };
    let is_sum = end == End::Carbon || !problem.demands.iter().any(is_load);
    let is_many = problem.demands.len() > FEW && pairs(problem) > MODEST;
    let mut front = match is_many && is_sum {
        true => weighed(problem, end, points, cheapest)?,
        false => under_ceilings(problem, end, points, cheapest)?,
    };
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

fn under_ceilings(
    problem: &Problem,
    end: End,
    points: u32,
    cheapest: Point,
) -> Result<Vec<Point>, Vec<Diagnostic>> {
    let most = cheapest.amount;
    let least = match end {
        End::Latency => lowest_latency(problem, most),
        End::Carbon => lowest_carbon(problem)?,
    };
    let mut front = vec![cheapest];
    for step in 1..points {
        let share = f64::from(step) / f64::from(points - 1);
        let ceiling = end.ceiling(most + (least - most) * share);
        // A ceiling between two that can be kept can be kept.
        let placement = solve(&Problem { ceiling: Some(ceiling), ..problem.clone() })?;
        let amount = end.of(problem, &placement).unwrap_or(most);
        front.push(Point { amount, placement });
    }
    Ok(front)
}

/// Points of the lower hull within the budget, always the next between those two that are farthest apart in the other end.
fn weighed(
    problem: &Problem,
    end: End,
    points: u32,
    cheapest: Point,
) -> Result<Vec<Point>, Vec<Diagnostic>> {
    let bound = cheapest.placement.proof.bound_month;
    let weigh = |rate: Option<f64>| least_by(problem, end, rate, bound);
    let fits = |point: &Point| over_budget(problem, &point.placement).is_none();
    let objective = |point: &Point| point.placement.proof.objective_month;
    // What each of the other end costs between two points, if it costs anything.
    let rate = |less: &Point, more: &Point| {
        let rate = (objective(less) - objective(more)) / (more.amount - less.amount);
        Some(rate).filter(|rate| rate.is_finite() && *rate > 0.0)
    };
    // What has the least of the other end is found without a look at its cost, which may be anything: twice.
    let mut least = weigh(None)?;
    for _ in 0..2 {
        let Some(rate) = rate(&least, &cheapest) else { break };
        least = weigh(Some(STEEP * rate))?;
    }
    // From the least of the other end to the most; beside each point but the last whether something may be between it and
    // the next one.
    let mut front = vec![(least, true), (cheapest, false)];
    for _ in 0..TRIES * points {
        if front.len() >= points as usize {
            break;
        }
        let width = |at: &usize| front[at + 1].0.amount - front[*at].0.amount;
        let open = (0..front.len() - 1).filter(|at| front[*at].1);
        let Some(at) = open.max_by(|a, b| width(a).total_cmp(&width(b)).then(b.cmp(a))) else {
            break;
        };
        let (less, more) = (&front[at].0, &front[at + 1].0);
        let found = rate(less, more).map(|rate| weigh(Some(rate))).transpose()?;
        let found = found.filter(|one| less.amount < one.amount && one.amount < more.amount);
        match found {
            Some(found) if fits(&found) => front.insert(at + 1, (found, true)),
            // What has less of the other end is dearer still.
            Some(found) => drop(front.splice(..=at, [(found, true)])),
            None => front[at].1 = false,
        }
    }
    Ok(front.into_iter().map(|(point, _)| point).filter(fits).collect())
}

/// The placement for which the cost and the other end, at so many dollars for one of it, are least; or the other end alone,
/// whatever the budget. No placement has a lower objective without weights than `least_month`.
fn least_by(
    problem: &Problem,
    end: End,
    rate: Option<f64>,
    least_month: f64,
) -> Result<Point, Vec<Diagnostic>> {
    let asked = problem.demands.iter().filter(|demand| demand.rules.latency.is_some());
    // The mean's part for one replica.
    let each = match end {
        End::Carbon => 1.0,
        End::Latency => 1.0 / asked.map(Demand::asked).sum::<f64>(),
    };
    let weight = rate.unwrap_or(1.0) * each;
    let cost = if rate.is_some() { 1.0 } else { 0.0 };
    let weights = match end {
        End::Carbon => ObjectiveWeights { cost, carbon: weight, latency: 0.0 },
        End::Latency => ObjectiveWeights { cost, carbon: 0.0, latency: weight },
    };
    let last = problem.last.clone().filter(|_| rate.is_some());
    let mut under = Problem { weights: Some(weights), last, ..problem.clone() };
    under.limits.retain(|limit| !matches!(limit.rule, Rule::Budget { .. }));
    let mut placement = solve(&under)?;
    let amount = end.of(problem, &placement).unwrap_or(0.0);
    // Whatever has no more of the other end costs at least what the weighed sum is at least, less that.
    let bound_month = match rate {
        Some(rate) => f64::max(placement.proof.bound_month - rate * amount, least_month),
        None => least_month,
    };
    placement.weighed = None;
    let moves_month = moves::charged_month(problem, &placement);
    let cuts = placement.proof.packing_cuts;
    placement.proof = proof(placement.cost.total_month, moves_month, bound_month, cuts);
    Ok(Point { amount, placement })
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
