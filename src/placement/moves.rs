//! What it costs to leave what runs now: the rows that make a placement stable.
//!
//! Whatever a placement gives up of the last one, it is charged a share σ (`move_penalty`) of what that
//! costs a month at the prices of now. Written for each candidate *o* with nodes in the last placement
//! (`n⁰`, `x⁰`: nodes and replicas then; `p`, `q`: prices now; `d_s`: the largest part of a node that a
//! replica takes):
//!
//! ```text
//! moved[s,o] ≥ x⁰[s,o] − x[s,o] − gone[s,o]         replicas that leave and are asked for still
//! Σ_o rate[s,o]·gone[s,o] ≤ asked⁰_s − asked_s      … so many are not
//! left[o] ≥ Σ_s (d_s·p_o + charge)·moved[s,o]       what the replicas cost
//! left[o] ≥ p_o·(n⁰[o] − n[o])                      … and the nodes that are given up for it
//! shut[ρ] ≥ 1 − y[ρ]                                and the sites
//! objective: + σ·Σ left[o] + σ·Σ q_ρ·shut[ρ]
//! ```
//!
//! The rows for nodes and sites hold where everything that was there is asked for as before; what ends
//! for other reasons is no move. So is what is not possible any more: an offering that is gone, a
//! workload that may not use it now.
//!
//! **Why prices that move by ±2 % move nothing.** Let P be the cheapest placement and all prices change by
//! at most 2 %. Another placement differs from P by what it gives up, D, and what it takes instead, E; at
//! the old prices D costs no more than E. So at the new prices D − E is at most (1 − 0.98/1.02)·D, which
//! is 3.93 % of D, and 5 % of D is charged.

use std::collections::{BTreeMap, BTreeSet};

use super::Placement;
use super::formulation::Formulation;
use super::model::Sense;
use crate::problem::{Amount, Demand, Problem};

/// What of the last placement could stay.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Replicas by candidate and demand, as indices.
    pub seats: BTreeMap<usize, BTreeMap<usize, u32>>,
    /// Nodes by candidate, where all that was on them is asked for as before.
    pub nodes: BTreeMap<usize, u32>,
    /// Sites, where all that was there is asked for as before.
    pub sites: BTreeSet<String>,
    /// By demand: how much less is asked for than then, in replicas or requests a second.
    pub gone: BTreeMap<usize, f64>,
}

/// Replicas of a group that could stay on a candidate, as columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub moved: usize,
    pub seat: usize,
    /// Those that are not asked for any more.
    pub gone: Option<usize>,
    /// How many there are now.
    pub replicas: f64,
}

/// What of the last placement the problem knows.
pub(super) fn held(problem: &Problem) -> Held {
    let mut held = Held::default();
    let Some(last) = &problem.last else { return held };
    let demands: BTreeMap<&str, usize> =
        problem.demands.iter().enumerate().map(|(i, d)| (d.workload.as_str(), i)).collect();
    let candidates: BTreeMap<&str, usize> =
        problem.candidates.iter().enumerate().map(|(i, c)| (c.id.as_str(), i)).collect();
    let mut restless: BTreeSet<&str> = BTreeSet::new();
    // What of each demand may stay, in its own unit.
    let mut there = vec![0.0; problem.demands.len()];
    for seats in &last.seats {
        let (demand, candidate) = (
            demands.get(seats.workload.as_str()).copied(),
            candidates.get(seats.offering.as_str()).copied(),
        );
        match (demand, candidate) {
            (Some(demand), Some(candidate))
                if problem.demands[demand].candidates.binary_search(&candidate).is_ok() =>
            {
                held.seats.entry(candidate).or_default().insert(demand, seats.replicas);
                let rate = problem.demands[demand].rate(&problem.candidates[candidate]);
                there[demand] += rate * f64::from(seats.replicas);
            }
            _ => drop(restless.insert(seats.offering.as_str())),
        }
    }
    for (index, demand) in problem.demands.iter().enumerate() {
        let gone = asked_then(demand, last, there[index]) - demand.asked();
        if gone > 0.0 {
            held.gone.insert(index, gone);
            let seats = last.seats.iter().filter(|seats| seats.workload == demand.workload);
            restless.extend(seats.map(|seats| seats.offering.as_str()));
        }
    }
    let mut restless_sites = BTreeSet::new();
    for (id, rental) in &last.rentals {
        let site = rental.offering.site();
        if restless.contains(id.as_str()) {
            restless_sites.insert(site);
        } else if let Some(candidate) = candidates.get(id.as_str()) {
            held.nodes.insert(*candidate, rental.nodes.len() as u32);
            held.sites.insert(site);
        }
    }
    held.sites.retain(|site| !restless_sites.contains(site));
    held
}

/// What a demand asked for when the last placement was made, in its own unit, as far as it may stay `there`.
fn asked_then(demand: &Demand, last: &Placement, there: f64) -> f64 {
    match (&demand.amount, last.loads.get(&demand.workload)) {
        (Amount::Load(_), Some(load)) => f64::min(there, load.asked_per_second),
        _ => there,
    }
}

/// σ; where weights are minimised, in their unit.
fn share(problem: &Problem) -> f64 {
    problem.move_penalty * problem.cost_weight()
}

/// What one replica costs a month on a candidate, for what it is worth to move it.
fn each_month(problem: &Problem, demand: &Demand, candidate: usize) -> f64 {
    let candidate = &problem.candidates[candidate];
    let parts = demand.size.array().into_iter().zip(candidate.usable.array());
    let parts = parts.filter(|(_, usable)| *usable > 0);
    let largest = parts.map(|(size, usable)| size as f64 / usable as f64).fold(0.0, f64::max);
    largest * candidate.price_month()
        + problem.charge_month(&demand.needs, &candidate.offering.cloud)
}

impl Formulation<'_> {
    /// Replicas that are moved in a solution.
    pub(super) fn moved(&self, values: &[f64]) -> f64 {
        let moved = self.moves.iter().map(|one| {
            let gone = one.gone.map_or(0.0, |column| values[column]);
            (one.replicas - values[one.seat] - gone).max(0.0)
        });
        moved.sum()
    }

    /// The rows of this module, where something could stay.
    pub(super) fn add_moves(&mut self, sites: &BTreeMap<&str, usize>) {
        let problem = self.problem;
        let held = held(problem);
        let share = share(problem);
        let mut left: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
        for group in 0..self.groups.len() {
            let members = &self.groups[group].demands;
            let first = &problem.demands[members[0]];
            let gone: f64 = members.iter().filter_map(|demand| held.gone.get(demand)).sum();
            let mut leaving = Vec::new();
            for (place, seat) in self.seats[group].clone() {
                let candidate = self.kept[place];
                let here = held.seats.get(&candidate);
                let mine = members.iter().filter_map(|demand| here?.get(demand));
                let replicas = f64::from(mine.sum::<u32>());
                if replicas == 0.0 {
                    continue;
                }
                let moved = self.column(replicas, false, 0.0, 0.0);
                let mut terms = vec![(moved, 1.0), (seat, 1.0)];
                let gone = (gone > 0.0).then(|| self.column(replicas, false, 0.0, 0.0));
                if let Some(gone) = gone {
                    terms.push((gone, 1.0));
                    leaving.push((gone, first.rate(&problem.candidates[candidate])));
                }
                self.moves.push(Move { moved, seat, gone, replicas });
                self.model.row(terms, Sense::AtLeast, replicas);
                let worth = share * each_month(problem, first, candidate);
                left.entry(place).or_default().push((moved, worth));
            }
            self.model.row(leaving, Sense::AtMost, gone);
        }
        for (place, moved) in left {
            let candidate = self.kept[place];
            let price = share * problem.candidates[candidate].price_month();
            let nodes = held.nodes.get(&candidate).copied().map_or(0.0, f64::from);
            let seats = moved.iter().map(|(c, worth)| worth * self.model.columns[*c].upper);
            let most = seats.sum::<f64>().max(price * nodes);
            if most <= 0.0 {
                continue;
            }
            let left = self.column(most, false, 1.0, 0.0);
            let mut terms = vec![(left, 1.0)];
            terms.extend(moved.into_iter().map(|(column, worth)| (column, -worth)));
            self.model.row(terms, Sense::AtLeast, 0.0);
            if nodes > 0.0 && price > 0.0 {
                let terms = vec![(left, 1.0), (self.nodes[place], price)];
                self.model.row(terms, Sense::AtLeast, price * nodes);
            }
        }
        for (site, open) in sites.iter().filter(|(site, _)| held.sites.contains(**site)) {
            let price = problem.sites.get(*site).map_or(0.0, |site| share * site.price_month);
            if price > 0.0 {
                let shut = self.column(1.0, false, price, 0.0);
                self.model.row(vec![(shut, 1.0), (*open, 1.0)], Sense::AtLeast, 1.0);
            }
        }
    }
}

/// What a placement is charged for what it gives up of the last one, in dollars a month. Nobody pays it.
pub(super) fn charged_month(problem: &Problem, placement: &Placement) -> f64 {
    let held = held(problem);
    let seats = placement.by_workload();
    let now = |demand: usize, candidate: usize| -> u32 {
        let seats = seats.get(problem.demands[demand].workload.as_str());
        let here = seats.and_then(|seats| seats.get(problem.candidates[candidate].id.as_str()));
        here.copied().unwrap_or(0)
    };
    // By candidate and demand: replicas that left, and by demand what may be gone.
    let mut left: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (candidate, by_demand) in &held.seats {
        for (demand, then) in by_demand {
            let leaves = then.saturating_sub(now(*demand, *candidate));
            left.insert((*candidate, *demand), f64::from(leaves));
        }
    }
    for (demand, gone) in &held.gone {
        let asked = &problem.demands[*demand];
        let rate = |candidate: usize| asked.rate(&problem.candidates[candidate]);
        let worth = |candidate: usize| each_month(problem, asked, candidate) / rate(candidate);
        let mut places: Vec<usize> =
            left.keys().filter(|(_, d)| d == demand).map(|(candidate, _)| *candidate).collect();
        places.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)).then(a.cmp(b)));
        let mut gone = *gone;
        for place in places {
            let leaves = left.get_mut(&(place, *demand)).expect("it is one of them");
            let some = leaves.min(gone / rate(place));
            *leaves -= some;
            gone -= some * rate(place);
        }
    }
    let mut charged = 0.0;
    for (candidate, by_demand) in &held.seats {
        let seats = by_demand.keys().map(|demand| {
            each_month(problem, &problem.demands[*demand], *candidate)
                * left[&(*candidate, *demand)]
        });
        let then = held.nodes.get(candidate).copied().unwrap_or(0);
        let one = &problem.candidates[*candidate];
        let rented = placement.rentals.get(&one.id).map_or(0, |rental| rental.nodes.len() as u32);
        let nodes = f64::from(then.saturating_sub(rented)) * one.price_month();
        charged += seats.sum::<f64>().max(nodes);
    }
    let shut = held.sites.iter().filter(|site| !placement.cost.sites_month.contains_key(*site));
    charged += shut.filter_map(|site| problem.sites.get(site)).map(|s| s.price_month).sum::<f64>();
    share(problem) * charged
}
