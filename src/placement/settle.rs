//! A packed solution in the user's words: seats of workloads, nodes of offerings, and who pays what.
//!
//! **Shares.** The seats on an offering share the price of its nodes by their dominant shares: a replica
//! weighs as much as the largest part it takes of one node in GPUs, CPU, memory or pods. So replicas that
//! fill a node alone pay all of it, and half-empty nodes are paid by those who are there. A replica's
//! rate-card charges are its own. Control planes, weights and
//! traffic belong to no seat.

use std::collections::BTreeMap;

use super::formulation::Formulation;
use super::moves;
use super::search::Packed;
use super::{Cost, Placement, Proof, Rental, Seats, Served, Weighed, traffic};
use crate::problem::{Amount, Candidate, Demand, Problem};

/// Turns a packed solution into a placement, without its proof.
pub(super) fn placement(formulation: &Formulation, packed: &Packed) -> Placement {
    let problem = formulation.problem;
    // Replicas by candidate and demand.
    let mut seated: BTreeMap<usize, BTreeMap<usize, u32>> = BTreeMap::new();
    let mut rentals = BTreeMap::new();
    let mut hands = deal(formulation, packed);
    for (place, nodes) in packed.nodes.iter().enumerate().filter(|(_, nodes)| !nodes.is_empty()) {
        let index = formulation.kept[place];
        let candidate = &problem.candidates[index];
        let mut contents: Vec<BTreeMap<String, u32>> = Vec::new();
        for node in nodes {
            let mut content = BTreeMap::new();
            for (group, &count) in node.iter().enumerate().filter(|(_, count)| **count > 0) {
                let hand = hands.entry((group, place)).or_default();
                for (demand, taken) in take(hand, count) {
                    let name = problem.demands[demand].workload.clone();
                    *content.entry(name).or_insert(0) += taken;
                    *seated.entry(index).or_default().entry(demand).or_insert(0) += taken;
                }
            }
            contents.push(content);
        }
        // The order of equal nodes means nothing; this one is easy to read and always the same.
        contents.sort_by(|a, b| b.iter().cmp(a.iter()));
        let rental = Rental {
            offering: candidate.offering.clone(),
            reserved_nodes: if candidate.reserved { contents.len() as u32 } else { 0 },
            nodes: contents,
            price_hour: candidate.price_hour,
        };
        rentals.insert(candidate.id.clone(), rental);
    }
    let mut seats = Vec::new();
    let mut rate_card_month: BTreeMap<String, f64> = BTreeMap::new();
    let mut nodes_month = 0.0;
    for (index, by_demand) in &seated {
        let candidate = &problem.candidates[*index];
        let nodes = rentals[&candidate.id].nodes.len() as f64;
        let price_month = candidate.price_month() * nodes;
        nodes_month += price_month;
        let cloud = &candidate.offering.cloud;
        for (demand, replicas, node_share) in shares(problem, candidate, by_demand, price_month) {
            let charges = problem.charge_month(&demand.needs, cloud) * f64::from(replicas);
            if problem.rate_cards.contains_key(cloud) {
                *rate_card_month.entry(cloud.clone()).or_insert(0.0) += charges;
            }
            seats.push(Seats {
                workload: demand.workload.clone(),
                offering: candidate.id.clone(),
                replicas,
                cost_month: node_share + charges,
            });
        }
    }
    seats.sort_by(|a, b| (&a.workload, &a.offering).cmp(&(&b.workload, &b.offering)));
    let mut loads: BTreeMap<String, Served> = BTreeMap::new();
    for (index, by_demand) in &seated {
        for (demand, replicas) in by_demand {
            let demand = &problem.demands[*demand];
            if let Amount::Load(load) = &demand.amount {
                let served = loads.entry(demand.workload.clone()).or_insert(Served {
                    asked_per_second: load.requests_per_second,
                    served_per_second: 0.0,
                });
                served.served_per_second +=
                    demand.rate(&problem.candidates[*index]) * f64::from(*replicas);
            }
        }
    }
    let sites_month: BTreeMap<String, f64> = seated
        .keys()
        .map(|index| &problem.candidates[*index].site)
        .map(|site| (site.clone(), problem.sites.get(site).map_or(0.0, |site| site.price_month)))
        .collect();
    let sites_of = |demand: usize| {
        let mut by_site: BTreeMap<&str, f64> = BTreeMap::new();
        for (index, by_demand) in &seated {
            if let Some(replicas) = by_demand.get(&demand) {
                let candidate = &problem.candidates[*index];
                let share = problem.demands[demand].share_of_traffic(candidate);
                *by_site.entry(candidate.site.as_str()).or_default() +=
                    share * f64::from(*replicas);
            }
        }
        by_site
    };
    let traffic = traffic::route(problem, sites_of);
    let egress_month = traffic::cost_month(&problem.network, &traffic);
    let mut weights_month: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for stored in &problem.stored {
        let sites = stored.demands.iter().flat_map(|demand| sites_of(*demand).into_keys());
        let sites = sites.map(|site| (site.to_owned(), stored.cost_month[site]));
        let paid: BTreeMap<String, f64> = sites.filter(|(_, cost)| *cost > 0.0).collect();
        if !paid.is_empty() {
            weights_month.insert(stored.model.clone(), paid);
        }
    }
    let pairs = |by: &BTreeMap<String, BTreeMap<String, f64>>| -> f64 {
        by.values().flat_map(BTreeMap::values).sum()
    };
    let total_month = seats.iter().map(|seats| seats.cost_month).sum::<f64>()
        + sites_month.values().sum::<f64>()
        + pairs(&egress_month)
        + pairs(&weights_month);
    let cost = Cost {
        total_month,
        nodes_month,
        sites_month,
        rate_card_month,
        egress_month,
        weights_month,
    };
    let mut weighed = problem.weights.as_ref().map(|weights| Weighed {
        cost_weight: weights.cost,
        carbon_weight: weights.carbon,
        latency_weight: weights.latency,
        ..Weighed::default()
    });
    if let Some(weighed) = &mut weighed {
        for (index, by_demand) in &seated {
            let candidate = &problem.candidates[*index];
            let nodes = rentals[&candidate.id].nodes.len() as f64;
            weighed.carbon_kg_month += nodes * candidate.carbon_kg_month;
            for (demand, replicas) in by_demand {
                let ms = problem.demands[*demand].latency_ms(candidate);
                weighed.latency_ms += ms * f64::from(*replicas);
            }
        }
        weighed.objective_month = weighed.cost_weight * total_month
            + weighed.carbon_weight * weighed.carbon_kg_month
            + weighed.latency_weight * weighed.latency_ms;
    }
    Placement { seats, rentals, loads, traffic, cost, weighed, proof: Proof::default() }
}

/// What is left to hand out: (demand, replicas).
type Hand = Vec<(usize, u32)>;

/// Deals the seats of each group to its demands: first to those that sit there already, then first come
/// first served in the order of names and offerings, so that few demands move or are split. By (group,
/// position of the candidate).
fn deal(formulation: &Formulation, packed: &Packed) -> BTreeMap<(usize, usize), Hand> {
    let problem = formulation.problem;
    let held = moves::held(problem).seats;
    let mut hands = BTreeMap::new();
    for (number, group) in formulation.groups.iter().enumerate() {
        let all: u32 = packed.seats[number].iter().sum();
        let mut waiting: BTreeMap<usize, u32> = BTreeMap::new();
        for demand in &group.demands {
            let replicas = match problem.demands[*demand].amount {
                Amount::Replicas(replicas) => replicas,
                // Alone in its group.
                Amount::Load(_) => all,
            };
            waiting.insert(*demand, replicas);
        }
        let places = || formulation.seats[number].iter().zip(&packed.seats[number]);
        for ((place, _), &count) in places() {
            let mut left = count;
            let mut hand = Hand::new();
            for (demand, then) in held.get(&formulation.kept[*place]).into_iter().flatten() {
                let Some(waits) = waiting.get_mut(demand) else { continue };
                let stays = left.min(*then).min(*waits);
                (left, *waits) = (left - stays, *waits - stays);
                hand.push((*demand, stays));
            }
            hands.insert((number, *place), hand);
        }
        // Taken from the end.
        let mut waiting: Hand = waiting.into_iter().rev().collect();
        for ((place, _), &count) in places() {
            let hand: &mut Hand = hands.entry((number, *place)).or_default();
            let seated: u32 = hand.iter().map(|(_, replicas)| replicas).sum();
            hand.extend(take(&mut waiting, count - seated));
            hand.reverse();
        }
    }
    hands
}

/// Takes so many replicas from the end of a hand.
fn take(hand: &mut Hand, count: u32) -> Hand {
    let mut taken = Vec::new();
    let mut count = count;
    while count > 0 {
        let Some((demand, replicas)) = hand.pop() else { break };
        if replicas == 0 {
            continue;
        }
        let some = replicas.min(count);
        taken.push((demand, some));
        count -= some;
        if replicas > some {
            hand.push((demand, replicas - some));
        }
    }
    taken
}

/// Each demand's replicas on a candidate and its share of what the nodes cost. The last one's share is
/// what the others leave, so that nothing is lost.
fn shares<'a>(
    problem: &'a Problem,
    candidate: &Candidate,
    by_demand: &BTreeMap<usize, u32>,
    price_month: f64,
) -> Vec<(&'a Demand, u32, f64)> {
    let capacity = candidate.usable.array();
    let weight = |demand: &Demand, replicas: u32| {
        let parts = demand.size.array().into_iter().zip(capacity);
        let parts = parts.filter(|(_, capacity)| *capacity > 0);
        let dominant = parts.map(|(size, capacity)| size as f64 / capacity as f64);
        dominant.fold(0.0, f64::max) * f64::from(replicas)
    };
    let demands = by_demand.iter().map(|(demand, replicas)| (&problem.demands[*demand], *replicas));
    let demands: Vec<(&Demand, u32)> = demands.collect();
    let total: f64 = demands.iter().map(|(demand, replicas)| weight(demand, *replicas)).sum();
    let mut left = price_month;
    let last = demands.len().saturating_sub(1);
    let mut out = Vec::new();
    for (number, (demand, replicas)) in demands.into_iter().enumerate() {
        let share = match number {
            number if number == last => left,
            _ => price_month * weight(demand, replicas) / total,
        };
        left -= share;
        out.push((demand, replicas, share));
    }
    out
}
