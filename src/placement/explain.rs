//! Problem and placement → why a workload runs where it runs, in numbers that are each a solved problem:
//! the next best places and what they would cost, the limits that bind and what one more unit of them
//! would save, the prices at which it would move.
//!
//! Nothing here is estimated from the model's multipliers: those are true for fractions of nodes, and
//! nobody rents fractions. So an explanation costs some tens of solves.
//!
//! And for one object of a plan: the workloads whose seats made it what it is ([`causes`]).

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Offering};
use serde::Serialize;

use super::{Flow, Placement, Seats, check, relax, solve, traffic};
use crate::problem::{Candidate, Demand, Limit, Problem, Rule, requests};

/// Next best places that are looked for.
const ALTERNATIVES: usize = 4;
/// A threshold is searched until it is known to this share of the price.
const PRICE_STEP: f64 = 0.005;
/// Less than this is no saving, in dollars a month: half a cent.
const NOTHING: f64 = 0.005;

/// Why one workload runs where it runs. Dollars are by the month unless they say otherwise; where weights are
/// minimised, what alternatives cost more and what limits save is in the unit of the objective.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// `service.chat`.
    pub reference: String,
    pub seats: Vec<Seats>,
    pub total_month: f64,
    /// The weighed sum, where that is minimised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective_month: Option<f64>,
    /// No placement costs less than this, with what its moves are charged.
    pub bound_month: f64,
    /// Whether something runs already, so that moves are charged.
    pub has_moves: bool,
    /// Offerings that may hold one replica, and the sites they are at.
    pub offerings: usize,
    pub sites: usize,
    /// The next best places, the best first; each of them avoids every offering of those before it.
    pub alternatives: Vec<Alternative>,
    /// Whether the alternatives end because nothing else can hold it.
    pub is_complete: bool,
    /// The limits that cost money here, the dearest first.
    pub limits: Vec<Relief>,
    /// The prices at which it would move.
    pub prices: Vec<Threshold>,
    /// What it sends to others and gets from them.
    pub traffic: Vec<Call>,
}

/// Traffic between a site of the workload and one of another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    #[serde(flatten)]
    pub flow: Flow,
    /// 0 within a site.
    pub cost_month: f64,
}

/// The cheapest placement that avoids what was said before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternative {
    pub seats: Vec<Seats>,
    /// What everything together would cost more.
    pub extra_month: f64,
    /// Other workloads that would have other seats then.
    pub moves: Vec<String>,
}

/// A limit that binds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relief {
    /// "`cloud.azure` has capacity for 10 GPUs".
    pub limit: String,
    /// `main.hcl:14`.
    pub place: Option<String>,
    /// The smallest step that saves something: `1 GPU`, `8 GPUs`.
    pub more: String,
    pub saving_month: f64,
}

/// A price at which a workload moves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Threshold {
    pub offering: String,
    /// Dollars an hour, now and where it would move.
    pub price_hour: f64,
    pub moves_at_hour: f64,
}

/// A workload that an object is made for, and how its seats there have changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// `service.chat`, or the bare name of a workload that the stack has no longer.
    pub reference: String,
    /// `main.hcl:14`.
    pub place: Option<String>,
    /// All its replicas, before and now.
    pub replicas: (u32, u32),
    /// By offering, where the object is: replicas before and now.
    pub seats: BTreeMap<String, (u32, u32)>,
}

/// The workloads that an object at this address of a cloud carries, by name.
pub fn causes(
    problem: &Problem,
    before: Option<&Placement>,
    after: &Placement,
    cloud: &str,
    address: &Address,
) -> Vec<Cause> {
    let seats_before = before.map_or(&[][..], |placement| placement.seats.as_slice());
    let all: BTreeSet<&str> =
        seats_before.iter().chain(&after.seats).map(|seats| seats.workload.as_str()).collect();
    // Inside a cluster an object is named after its workload, or is there for all of them.
    let is_one = all.contains(address.name.as_str());
    let is_here = |offering: &str| {
        let Some(rest) = offering.strip_prefix(cloud).and_then(|rest| rest.strip_prefix('/'))
        else {
            return false;
        };
        // Keys are a region, a region and more, or a whole site.
        let Some(key) = &address.key else { return true };
        let key = key.strip_prefix(&format!("{cloud}/")).unwrap_or(key);
        rest.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut causes = Vec::new();
    for name in all.into_iter().filter(|name| !is_one || *name == address.name) {
        let mut seats: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        let mut replicas = (0, 0);
        for one in seats_before.iter().filter(|one| one.workload == name) {
            replicas.0 += one.replicas;
            seats.entry(one.offering.clone()).or_default().0 = one.replicas;
        }
        for one in after.seats.iter().filter(|one| one.workload == name) {
            replicas.1 += one.replicas;
            seats.entry(one.offering.clone()).or_default().1 = one.replicas;
        }
        seats.retain(|offering, _| is_here(offering));
        if seats.is_empty() {
            continue;
        }
        let demand = problem.demands.iter().find(|demand| demand.workload == name);
        causes.push(Cause {
            reference: demand.map_or(name.to_owned(), |demand| demand.reference.clone()),
            place: demand.and_then(|demand| demand.origin.place.clone()),
            replicas,
            seats,
        });
    }
    causes
}

/// Explains the seats of one demand (by its index) in the placement that solves the problem.
pub fn explain(problem: &Problem, placement: &Placement, demand: usize) -> Explanation {
    let asked = &problem.demands[demand];
    let seats = seats_of(placement, &asked.workload);
    let (alternatives, is_complete) = alternatives(problem, placement, asked);
    let prices = thresholds(problem, placement, asked, alternatives.first());
    let sites: BTreeSet<&str> =
        asked.candidates.iter().map(|index| problem.candidates[*index].site.as_str()).collect();
    Explanation {
        reference: asked.reference.clone(),
        seats,
        total_month: placement.cost.total_month,
        objective_month: placement.weighed.as_ref().map(|weighed| weighed.objective_month),
        bound_month: placement.proof.bound_month,
        has_moves: problem.last.is_some() && problem.move_penalty > 0.0,
        offerings: asked.candidates.len(),
        sites: sites.len(),
        alternatives,
        is_complete,
        limits: reliefs(problem, placement),
        prices,
        traffic: calls(problem, placement, &asked.workload),
    }
}

fn calls(problem: &Problem, placement: &Placement, workload: &str) -> Vec<Call> {
    let costs = traffic::each_month(&problem.network, &placement.traffic);
    let flows = placement.traffic.iter().zip(costs);
    let mine = flows.filter(|(flow, _)| flow.from == workload || flow.to == workload);
    mine.map(|(flow, cost_month)| Call { flow: flow.clone(), cost_month }).collect()
}

fn seats_of(placement: &Placement, workload: &str) -> Vec<Seats> {
    placement.seats.iter().filter(|seats| seats.workload == workload).cloned().collect()
}

/// What the seats are on, whatever the zone.
fn offerings_of(problem: &Problem, seats: &[Seats]) -> impl Iterator<Item = String> {
    let on = |candidate: &&Candidate| seats.iter().any(|seats| seats.offering == candidate.id);
    problem.candidates.iter().filter(on).map(regional)
}

/// A candidate's id without its zone: the zones of a region sell at one price.
fn regional(candidate: &Candidate) -> String {
    Offering { zone: None, ..candidate.offering.clone() }.id()
}

fn alternatives(
    problem: &Problem,
    placement: &Placement,
    asked: &Demand,
) -> (Vec<Alternative>, bool) {
    let mut avoided: BTreeSet<String> =
        offerings_of(problem, &seats_of(placement, &asked.workload)).collect();
    let mut found = Vec::new();
    while found.len() < ALTERNATIVES {
        let forbids = |demand: &Demand, candidate: &Candidate| {
            demand.workload == asked.workload && avoided.contains(&regional(candidate))
        };
        let Ok(other) = problem.without(forbids) else { return (found, true) };
        let Ok(other) = solve(&other) else { return (found, true) };
        let seats = seats_of(&other, &asked.workload);
        avoided.extend(offerings_of(problem, &seats));
        found.push(Alternative {
            // What was found without the offering may be a little better by chance.
            extra_month: (other.objective_month() - placement.objective_month()).max(0.0),
            moves: moved(placement, &other).into_iter().filter(|n| *n != asked.workload).collect(),
            seats,
        });
    }
    (found, false)
}

/// The workloads whose seats differ, by name.
pub fn moved(before: &Placement, after: &Placement) -> Vec<String> {
    let (before, after) = (before.by_workload(), after.by_workload());
    let all: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let differs = |name: &&str| before.get(*name) != after.get(*name);
    all.into_iter().filter(differs).map(str::to_owned).collect()
}

fn reliefs(problem: &Problem, placement: &Placement) -> Vec<Relief> {
    let mut reliefs = Vec::new();
    for (index, limit) in problem.limits.iter().enumerate() {
        for more in steps(problem, placement, limit) {
            let Ok(relaxed) = solve(&problem.relaxed(index, more)) else { continue };
            let saving_month = placement.objective_month() - relaxed.objective_month();
            // What keeps the limit is no worth of it: a better placement was to be had anyway.
            if saving_month > NOTHING && check(problem, &relaxed).is_err() {
                reliefs.push(Relief {
                    limit: relax::words(problem, limit),
                    place: limit.origin.place.clone(),
                    more: unit(&limit.rule, more),
                    saving_month,
                });
                break;
            }
        }
    }
    reliefs.sort_by(|a, b| b.saving_month.total_cmp(&a.saving_month));
    reliefs
}

/// By how many units a limit is to be relaxed, one try after the other; none where it has room.
fn steps(problem: &Problem, placement: &Placement, limit: &Limit) -> Vec<u32> {
    let nodes = |counts: &dyn Fn(&str) -> u32| -> u32 {
        placement.rentals.iter().map(|(id, rental)| rental.nodes.len() as u32 * counts(id)).sum()
    };
    let of_cloud = |id: &str, cloud: &str| id.split('/').next() == Some(cloud);
    let binds = |binds: bool| if binds { vec![1] } else { Vec::new() };
    let workload = |demand: usize| problem.demands[demand].workload.as_str();
    let rule = &limit.rule;
    match rule {
        Rule::Quota { max_gpus, .. } => {
            let counted = problem.candidates.iter().filter(|one| rule.counts_gpus_of(one));
            let sizes: BTreeSet<u32> = counted.map(|one| one.offering.gpus).collect();
            let used = nodes(&|id| {
                let candidate = problem.candidates.iter().find(|candidate| candidate.id == id);
                candidate.filter(|one| rule.counts_gpus_of(one)).map_or(0, |one| one.offering.gpus)
            });
            // A quota has no room where the next node of some size does not fit into it.
            let room = max_gpus.saturating_sub(used);
            sizes.into_iter().filter(|size| *size > room).map(|size| size - room).collect()
        }
        Rule::CapacityGpus { cloud, max } | Rule::CapacityCpus { cloud, max } => {
            let gpus = matches!(rule, Rule::CapacityGpus { .. });
            let need = |demand: &Demand| match gpus {
                true => f64::from(demand.needs.gpus),
                false => demand.needs.cpus,
            };
            let used: f64 = problem
                .demands
                .iter()
                .flat_map(|demand| {
                    let seats = placement.seats.iter().filter(move |seats| {
                        seats.workload == demand.workload && of_cloud(&seats.offering, cloud)
                    });
                    seats.map(move |seats| need(demand) * f64::from(seats.replicas))
                })
                .sum();
            let needs = problem.demands.iter().map(need).filter(|need| *need > 0.0);
            let largest = needs.fold(0.0, f64::max);
            let step = (used + largest - max).ceil();
            if step >= 1.0 { vec![1, step as u32] } else { Vec::new() }
        }
        Rule::CapacityNodes { cloud, max } => {
            binds(nodes(&|id| u32::from(of_cloud(id, cloud))) >= *max)
        }
        Rule::Nodes { candidate, max } => {
            binds(nodes(&|id| u32::from(id == problem.candidates[*candidate].id)) >= *max)
        }
        Rule::Spot { demand, max_replicas, .. } => {
            let spot = placement.seats.iter().filter(|seats| seats.workload == workload(*demand));
            let spot = spot.filter(|seats| seats.offering.ends_with("/spot"));
            binds(spot.map(|seats| seats.replicas).sum::<u32>() >= *max_replicas)
        }
        Rule::MaxReplicas { demand, max } => {
            let all = placement.seats.iter().filter(|seats| seats.workload == workload(*demand));
            binds(all.map(|seats| seats.replicas).sum::<u32>() >= *max)
        }
        // A tenth of the load that must be kept.
        Rule::LoadOffSpot { min, .. } | Rule::LoadElsewhere { min, .. } => {
            binds(*min > 0.0).iter().map(|_| (min / 10.0).ceil() as u32).collect()
        }
        // These cost nothing to try, and whether they bind is not to be seen from the seats.
        Rule::SpreadMin { .. }
        | Rule::ZoneMin { .. }
        | Rule::SpreadShare { .. }
        | Rule::BaseOnDemand { .. }
        | Rule::Together { .. }
        | Rule::Apart { .. }
        | Rule::SameSites { .. } => vec![1],
        // The budget is compared with the cost and never makes it lower.
        Rule::Budget { .. } => Vec::new(),
    }
}

fn unit(rule: &Rule, more: u32) -> String {
    let noun = match rule {
        Rule::Quota { .. } | Rule::CapacityGpus { .. } => "GPU",
        Rule::CapacityCpus { .. } => "CPU",
        Rule::CapacityNodes { .. } | Rule::Nodes { .. } => "node",
        Rule::Spot { .. } | Rule::SpreadShare { .. } | Rule::MaxReplicas { .. } => "replica",
        Rule::BaseOnDemand { .. } => return "one replica less on demand".to_owned(),
        Rule::LoadOffSpot { .. } | Rule::LoadElsewhere { .. } => {
            return format!("{} less", requests(f64::from(more)));
        }
        Rule::SpreadMin { .. } | Rule::ZoneMin { .. } => return "one place less".to_owned(),
        Rule::Together { .. } => return "`split = true`".to_owned(),
        Rule::Apart { .. } => return "no `apart_from`".to_owned(),
        Rule::SameSites { .. } => return "no `together_with`".to_owned(),
        Rule::Budget { .. } => "dollar",
    };
    format!("{more} more {noun}{}", if more == 1 { "" } else { "s" })
}

/// How far the price of what is used has to rise, and that of the next best to fall, before it moves.
fn thresholds(
    problem: &Problem,
    placement: &Placement,
    asked: &Demand,
    next: Option<&Alternative>,
) -> Vec<Threshold> {
    let Some(next) = next else { return Vec::new() };
    // Where weights are minimised, a dollar of price is as much of the objective as its weight says.
    let weight = problem.cost_weight();
    if weight <= 0.0 {
        return Vec::new();
    }
    let extra_month = next.extra_month / weight;
    let is_on = |id: &String, offering: &str| {
        let candidate = problem.candidates.iter().find(|candidate| candidate.id == *id);
        candidate.is_some_and(|candidate| regional(candidate) == offering)
    };
    let on = |placement: &Placement, offering: &str| -> u32 {
        let seats = seats_of(placement, &asked.workload);
        seats.iter().filter(|seats| is_on(&seats.offering, offering)).map(|s| s.replicas).sum()
    };
    let used: BTreeSet<String> =
        offerings_of(problem, &seats_of(placement, &asked.workload)).collect();
    let mut found = Vec::new();
    for offering in &used {
        let rentals = placement.rentals.iter().filter(|(id, _)| is_on(id, offering));
        let nodes = rentals.map(|(_, rental)| rental.nodes.len() as f64).sum::<f64>();
        let leaves = |other: &Placement| on(other, offering) < on(placement, offering);
        let far = |month: f64| 1.0 + extra_month / (nodes * month);
        found.extend(threshold(problem, offering, far, leaves));
    }
    let wanted: BTreeSet<String> = offerings_of(problem, &next.seats).collect();
    for offering in wanted.difference(&used) {
        let comes = |other: &Placement| on(other, offering) > 0;
        let far = |month: f64| 1.0 - extra_month / month;
        found.extend(threshold(problem, offering, far, comes));
    }
    found
}

/// The price of an offering, in all its zones, between that of now and `far` times it (given the price by
/// the month) at which
/// `happens` begins to hold; `None` where it does not up to there.
fn threshold(
    problem: &Problem,
    offering: &str,
    far: impl Fn(f64) -> f64,
    happens: impl Fn(&Placement) -> bool,
) -> Option<Threshold> {
    let sold = || problem.candidates.iter().filter(|candidate| regional(candidate) == offering);
    let candidate = sold().next()?;
    // Where a rate card or a reservation pays for the node, its price decides nothing.
    if candidate.price_month() <= 0.0 {
        return None;
    }
    let solved = |factor: f64| {
        let repriced = problem.repriced(&sold().map(|one| (one.id.clone(), factor)).collect());
        solve(&repriced).is_ok_and(|placement| happens(&placement))
    };
    // A hair further, so that a tie is broken.
    let far = far(candidate.price_month());
    let (mut near, mut far) =
        (1.0, (far + (far - 1.0) * 1e-3 + (far - 1.0).signum() * 1e-6).max(0.0));
    if !solved(far) {
        return None;
    }
    while (far - near).abs() > PRICE_STEP {
        let middle = f64::midpoint(near, far);
        if solved(middle) {
            far = middle;
        } else {
            near = middle;
        }
    }
    let price_hour = candidate.price_hour;
    Some(Threshold { offering: offering.to_owned(), price_hour, moves_at_hour: price_hour * far })
}
