//! What runs, as far as its objects tell → a placement: for a state that was lost.

use std::collections::BTreeMap;

use fleetform_contract::Offering;

use super::{Placement, Rental, Seats, Served, solve};
use crate::diagnostic::Diagnostic;
use crate::problem::{Amount, Problem};

/// Replicas by workload and offering ([`Offering::id`]).
pub type Running = BTreeMap<String, BTreeMap<String, u32>>;

/// Leaving what runs is charged so many times what it costs: nothing leaves.
const NEVER: f64 = 1e3;

/// The placement that has these replicas where they are. Left out is what the problem does not know: a
/// workload that nobody asks for any more, an offering that is gone.
///
/// # Errors
/// As [`solve`]'s; what runs breaks no limit here.
pub fn running(problem: &Problem, running: &Running) -> Result<Placement, Vec<Diagnostic>> {
    let mut held = Problem { move_penalty: NEVER, ceiling: None, ..problem.clone() };
    held.limits.clear();
    let mut last = Placement::default();
    for demand in &mut held.demands {
        let Some(here) = running.get(&demand.workload) else { continue };
        let there = |index: &usize| here.get(&problem.candidates[*index].id).copied();
        let replicas: u32 = demand.candidates.iter().filter_map(there).sum();
        if replicas == 0 {
            continue;
        }
        demand.candidates.retain(|index| there(index).is_some());
        demand.amount = Amount::Replicas(replicas);
        demand.together = false;
        for index in &demand.candidates {
            let offering = &problem.candidates[*index].offering;
            last.seats.push(Seats {
                workload: demand.workload.clone(),
                offering: offering.id(),
                replicas: here[&offering.id()],
                cost_month: 0.0,
            });
            last.rentals.insert(offering.id(), rented(offering));
        }
    }
    let seated: Vec<(String, String)> =
        last.seats.iter().map(|seats| (seats.workload.clone(), seats.offering.clone())).collect();
    held.last = Some(last);
    let mut placement = solve(&held)?;
    // What is asked for and does not run yet was placed with the rest.
    let is_there = |workload: &str, offering: &str| {
        seated.iter().any(|(name, at)| (name.as_str(), at.as_str()) == (workload, offering))
    };
    placement.seats.retain(|seats| is_there(&seats.workload, &seats.offering));
    for (id, rental) in &mut placement.rentals {
        rental.nodes.iter_mut().for_each(|node| node.retain(|name, _| is_there(name, id)));
        rental.nodes.retain(|node| !node.is_empty());
    }
    placement.rentals.retain(|_, rental| !rental.nodes.is_empty());
    placement.loads = served(problem, &placement);
    Ok(placement)
}

/// How many nodes there are only the packing tells.
fn rented(offering: &Offering) -> Rental {
    Rental { offering: offering.clone(), nodes: Vec::new(), price_hour: 0.0, reserved_nodes: 0 }
}

/// What was asked for nobody remembers: it is taken to be what is asked for now, as far as that is served.
fn served(problem: &Problem, placement: &Placement) -> BTreeMap<String, Served> {
    let mut loads = BTreeMap::new();
    for demand in &problem.demands {
        let Amount::Load(load) = &demand.amount else { continue };
        let mine = placement.seats.iter().filter(|seats| seats.workload == demand.workload);
        let rates = mine.filter_map(|seats| {
            let mut candidates = demand.candidates.iter().map(|index| &problem.candidates[*index]);
            let candidate = candidates.find(|candidate| candidate.id == seats.offering)?;
            Some(demand.rate(candidate) * f64::from(seats.replicas))
        });
        let served_per_second: f64 = rates.sum();
        if served_per_second > 0.0 {
            let asked_per_second = load.requests_per_second.min(served_per_second);
            loads.insert(demand.workload.clone(), Served { asked_per_second, served_per_second });
        }
    }
    loads
}
