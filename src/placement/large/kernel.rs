//! Few workloads, of which much is left to the bound: programs over few offerings that know every rule (kernel search:
//! Angelelli, Mansini and Speranza, 2010). Trials take a few nodes at a time; these take all of them.
//!
//! The first program has the offerings that are in use and those that resource prices say are next to them. Where the linear
//! relaxation over all offerings takes little time, it tells which ones could be part of a cheaper placement; those that
//! add least to its bound are in a second program, which also proves a higher one.

use std::collections::{BTreeMap, BTreeSet};

use super::continued::Rises;
use super::scene::Scene;
use super::{HANDFUL, NEAR, Priced, check_by, given_up, is_near, limits, objective, with_bound};
use crate::config::SpreadOver;
use crate::placement::formulation::Formulation;
use crate::placement::model::Effort;
use crate::placement::reduce::{self, Group};
use crate::placement::search::{self, Found};
use crate::placement::{self, MODEST, Placement, charged, moves, pairs};
use crate::problem::Problem;

/// So much left to the bound is worth a program, as a part of the objective; of problems that are small less is.
const MUCH: f64 = 8e-3;
/// So few workloads are small …
const FEW: usize = 4;
/// … as long as zones do not make them so many that the relaxation takes long.
const MANY_ZONES: usize = 30_000;

/// Prices that all moved by up to 2 % bring so much of what moves are charged at a `move_penalty` of 5 %: 1.02 / 0.98 is 1.041.
const CALM: f64 = 0.15;
/// A saving that is a reason by itself, as a part of the objective: prices that moved by up to 2 % brought 0.2 % at most in 40
/// stacks of 3 to 30 services.
const WORTH: f64 = 1e-2;

/// Sites beside those in use that each workload could be at.
const SITES: usize = 3;
/// How large a program is.
#[derive(Clone, Copy)]
struct Extent {
    /// About so many.
    columns: usize,
    /// Of the search tree, which is left where a solution is so near its bound.
    nodes: i32,
    gap: f64,
}
const BY_PRICES: Extent = Extent { columns: 500, nodes: 50, gap: 2e-3 };
const BY_EXTRA: Extent = Extent { columns: 600, nodes: 50, gap: 5e-4 };
/// A program with so many times as many columns is not solved.
const MANY: usize = 4;
/// So often a program is made anew around what the one before found, as long as that is better by such a part.
const STEPS: usize = 4;
const STEP: f64 = 2e-3;
/// So often a solution that no nodes hold is excluded.
const ROUNDS: u32 = 8;
/// Nodes of the search among what costs the same.
const TIES: i32 = 50;

/// The same or a better placement, with the same or a higher bound.
pub(super) fn improved(problem: &Problem, groups: &[Group], known: Placement) -> Placement {
    let pairs = pairs(problem);
    let is_small = pairs <= MODEST || problem.demands.len() <= FEW && pairs <= MANY_ZONES;
    let near = if is_small { NEAR } else { MUCH };
    let is_enough = |one: &Placement| is_near(objective(one), one.proof.bound_month, near);
    let mut known = known;
    if groups.len() <= HANDFUL && !is_enough(&known) {
        known = by_prices(problem, groups, known, is_enough);
    }
    if !is_small {
        return known;
    }
    let kept = reduce::undominated(problem, groups);
    if groups.len() <= HANDFUL && !is_enough(&known) {
        known = by_extra(problem, groups, &kept, known);
    }
    preferred(problem, groups, &kept, known)
}

/// Among the offerings that resource prices say are next to those in use.
fn by_prices(
    problem: &Problem,
    groups: &[Group],
    mut known: Placement,
    is_enough: impl Fn(&Placement) -> bool,
) -> Placement {
    let Some(priced) = Priced::new(problem, groups) else { return known };
    // What is next to a better placement may be better still.
    for _ in 0..STEPS {
        let before = objective(&known);
        let few = nearest(&priced, &known);
        let (cheapest, _) = among(problem, groups, few, &known, BY_PRICES);
        known = better(problem, known, cheapest, f64::NEG_INFINITY);
        if is_enough(&known) || objective(&known) > before * (1.0 - STEP) {
            break;
        }
    }
    known
}

/// Among the offerings that the linear relaxation says could be part of a cheaper placement.
fn by_extra(problem: &Problem, groups: &[Group], kept: &[usize], known: Placement) -> Placement {
    let whole = Formulation::new(problem, groups, kept.to_vec());
    let Some(relaxed) = whole.model.relaxed(&whole.cost) else { return known };
    let extra = whole.extra(&relaxed.extra);
    drop(whole);
    let least = |at: usize| relaxed.bound + extra[at];
    let mut order: Vec<usize> =
        (0..kept.len()).filter(|at| least(*at) < objective(&known)).collect();
    order.sort_by(|a, b| extra[*a].total_cmp(&extra[*b]).then(a.cmp(b)));
    let few = within(BY_EXTRA.columns, groups, order.iter().map(|at| kept[*at]));
    let outside = order.get(few.len()).map_or(f64::INFINITY, |at| least(*at));
    let few = in_use(problem, &known).chain(few).collect();
    let (cheapest, inside) = among(problem, groups, few, &known, BY_EXTRA);
    better(problem, known, cheapest, relaxed.bound.max(inside.min(outside)))
}

/// The cheapest placement that is found among some candidates, and what none of them is below.
fn among(
    problem: &Problem,
    groups: &[Group],
    few: BTreeSet<usize>,
    known: &Placement,
    extent: Extent,
) -> (Option<Placement>, f64) {
    let mut formulation = Formulation::new(problem, groups, few.into_iter().collect());
    let effort = Effort { rounds: ROUNDS, ..Effort::new(extent.gap, extent.nodes) };
    // Traffic may take any number of them.
    if formulation.model.columns.len() > MANY * extent.columns {
        return (None, f64::NEG_INFINITY);
    }
    let start = formulation.start(known);
    let found = search::best(&mut formulation, |f| f.cost.clone(), start.as_deref(), effort);
    let Found::Packed(packed) = found else { return (None, f64::NEG_INFINITY) };
    let placement = charged(&formulation, &packed);
    let is_sound = check_by(problem, &placement, limits(problem)).is_ok();
    (is_sound.then_some(placement), packed.bound)
}

/// Of what costs the same at the sites in use, what is preferred.
fn preferred(problem: &Problem, groups: &[Group], kept: &[usize], known: Placement) -> Placement {
    let used: BTreeSet<usize> = in_use(problem, &known).collect();
    let site = |candidate: usize| problem.candidates[candidate].site.as_str();
    let open: BTreeSet<&str> = used.iter().map(|candidate| site(*candidate)).collect();
    let kept = kept.iter().copied().filter(|candidate| open.contains(site(*candidate)));
    let few = within(BY_PRICES.columns, groups, used.iter().copied().chain(kept));
    let mut formulation = Formulation::new(problem, groups, few.into_iter().collect());
    let values = formulation.start(&known);
    let packed = values.and_then(|values| formulation.packed(&known, values));
    let Some(packed) = packed else { return known };
    let cost = search::sum(&formulation.cost, &packed.values);
    let most = Effort { rounds: ROUNDS, nodes: TIES, ..search::effort(&formulation) };
    let chosen = placement::preferred(&mut formulation, packed, cost, most, &mut 0);
    let placement = charged(&formulation, &chosen);
    let is_equal = objective(&placement) <= objective(&known) * (1.0 + 1e-9) + 1e-4;
    match is_equal && check_by(problem, &placement, limits(problem)).is_ok() {
        true => with_bound(placement, known.proof.bound_month),
        false => known,
    }
}

/// The cheaper one, if there is a reason to leave the other, with the highest bound that is known.
fn better(
    problem: &Problem,
    known: Placement,
    cheapest: Option<Placement>,
    bound: f64,
) -> Placement {
    let bound = bound.max(known.proof.bound_month);
    let is_better = |one: &Placement| {
        objective(one) < objective(&known) - 1e-6
            && (problem.last.is_none() || is_due(problem, &known, one))
    };
    let cheapest = cheapest.filter(is_better);
    with_bound(cheapest.unwrap_or(known), bound)
}

/// Whether a saving is there for a reason, or moves no more. What runs is not the best placement: where something better was
/// to be had at the prices of then, moves aside, prices that moved a little may make its moves pay, and are no reason. It was
/// not to be had, by as much as little changes count for; or it saves much.
fn is_due(problem: &Problem, known: &Placement, found: &Placement) -> bool {
    let charge = found.proof.moves_month - known.proof.moves_month;
    let moves_no_more = || charge <= 1e-6 && given_up(problem, found) <= given_up(problem, known);
    if problem.move_penalty == 0.0 || moves_no_more() {
        return true;
    }
    let rises = Rises::since_last(problem);
    let rise = rises.of_all(problem, known) - rises.of_all(problem, found);
    let saves = objective(known) - objective(found);
    saves + charge - rise <= CALM * charge || saves > WORTH * objective(known)
}

/// Candidates in use, and those that may stay so.
fn in_use<'a>(problem: &'a Problem, known: &'a Placement) -> impl Iterator<Item = usize> + 'a {
    let candidates = problem.candidates.iter().enumerate();
    let used = candidates.filter(|(_, one)| known.rentals.contains_key(&one.id));
    used.map(|(index, _)| index).chain(moves::held(problem).seats.into_keys())
}

/// The first candidates that make about so many columns.
fn within(columns: usize, groups: &[Group], order: impl Iterator<Item = usize>) -> BTreeSet<usize> {
    let may_use = |candidate: usize| {
        let users =
            groups.iter().filter(|group| group.candidates.binary_search(&candidate).is_ok());
        users.count()
    };
    let mut left = columns;
    let mut few = BTreeSet::new();
    for candidate in order {
        if few.contains(&candidate) {
            continue;
        }
        let Some(rest) = left.checked_sub(1 + may_use(candidate)) else { break };
        left = rest;
        few.insert(candidate);
    }
    few
}

/// What is in use; and for each workload, at the sites in use and a few others, by zone, type of GPU and market: where a
/// replica stands for least, and where a node costs least. Those first for which a workload gives up least.
fn nearest(priced: &Priced, known: &Placement) -> BTreeSet<usize> {
    let Priced { scene, prices, .. } = priced;
    let used: BTreeSet<usize> = in_use(scene.problem, known).collect();
    let open: BTreeSet<usize> = used.iter().map(|place| scene.places[*place].site).collect();
    let zones = first_zones(scene);
    // By place: what somebody gives up for being there, as a part.
    let mut near: BTreeMap<usize, f64> = BTreeMap::new();
    for group in 0..scene.groups.len() {
        let part = scene.part(group);
        let places: Vec<usize> = part.candidates.iter().map(|place| *place as usize).collect();
        let unit = |place: usize| prices.unit(scene, &part, place as u32);
        let mut sites: BTreeMap<usize, f64> = BTreeMap::new();
        for place in &places {
            let least = sites.entry(scene.places[*place].site).or_insert(f64::INFINITY);
            *least = least.min(unit(*place));
        }
        let mut others: Vec<usize> =
            sites.keys().copied().filter(|site| !open.contains(site)).collect();
        others.sort_by(|a, b| sites[a].total_cmp(&sites[b]).then(a.cmp(b)));
        others.truncate(SITES);
        let least = sites.values().copied().fold(f64::INFINITY, f64::min);
        let mut best: BTreeMap<(usize, usize, bool), [(f64, usize); 2]> = BTreeMap::new();
        for place in places {
            let there = &scene.places[place];
            let is_site = open.contains(&there.site) || others.contains(&there.site);
            if !is_site || !zones.contains(&there.zone) {
                continue;
            }
            let best = best.entry((there.zone, there.kind, there.is_spot));
            let best = best.or_insert([(f64::INFINITY, place); 2]);
            for (best, cost) in best.iter_mut().zip([unit(place), there.price]) {
                if cost < best.0 {
                    *best = (cost, place);
                }
            }
        }
        for (_, place) in best.into_values().flatten() {
            let given_up = unit(place) / least.max(1e-9);
            let known = near.entry(place).or_insert(f64::INFINITY);
            *known = known.min(given_up);
        }
    }
    let mut order: Vec<(f64, usize)> =
        near.into_iter().map(|(place, given_up)| (given_up, place)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let order = used.into_iter().chain(order.into_iter().map(|(_, place)| place));
    within(BY_PRICES.columns, scene.groups, order)
}

/// Of each site as many zones as anybody must be in: what they cost differs little.
fn first_zones(scene: &Scene) -> BTreeSet<usize> {
    let needed = (0..scene.groups.len()).flat_map(|group| {
        let rules = scene.rules(group);
        let is_zone = |over: &SpreadOver| *over == SpreadOver::Zone;
        let by_min = rules.min.iter().filter(move |(over, _)| is_zone(over));
        let by_share = rules.share.iter().filter(move |(over, _)| is_zone(over));
        let amount = scene.part(group).amount;
        let by_share = by_share.map(move |(_, most)| (amount / most.max(1e-9)).ceil() as usize);
        by_min.map(|(_, min)| *min).chain(by_share)
    });
    let needed = needed.max().unwrap_or(1);
    // What is in no zone that is told is kept beside them.
    let candidates = scene.problem.candidates.iter().zip(&scene.places);
    let untold = candidates.filter(|(one, _)| one.zone == one.site).map(|(_, place)| place.zone);
    let mut zones: BTreeSet<usize> = untold.collect();
    let mut at_site = vec![0; scene.sites.len()];
    for (zone, site) in scene.site_of_zone.iter().enumerate() {
        if at_site[*site] < needed && zones.insert(zone) {
            at_site[*site] += 1;
        }
    }
    zones
}
