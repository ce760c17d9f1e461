//! What runs stays, and what is asked for beside it comes in: onto nodes that have room, then onto new ones. Workloads that
//! a placement made afresh has for clearly less leave where they are, if that pays.

use std::collections::{BTreeMap, BTreeSet};

use super::fill::{Market, Node, take};
use super::improve::{self, Near};
use super::loads::{self, Missing, There};
use super::parts;
use super::prices::Prices;
use super::scene::{Part, Scene, Serves, level};
use super::{FEW, least, objective};
use crate::placement::Placement;
use crate::placement::packing::fitting;
use crate::placement::reduce;
use crate::problem::{Amount, HOURS_MONTH, Problem};

/// Parts, and the nodes that they are on.
type Placed = (Vec<Part>, Vec<Node>);

/// Runs of improving what comes in.
const RUNS: usize = 3;
/// So often something leaves at most.
const ROUNDS: usize = 50;
/// A saving that may be there by chance, as a part of the objective. Prices that moved by up to 2 % brought 0.016 % at most
/// in 20 stacks of 30 to 300 services.
const CHANCE: f64 = 5e-4;

/// What stays: all of a placement that may, some groups aside.
#[derive(Clone, Copy)]
pub(super) struct Stays<'a> {
    pub of: &'a Placement,
    pub but: &'a BTreeSet<usize>,
}

/// What moves nothing of that: as it comes in beside it, and with nodes for what comes in taken apart and put together better.
/// `None` where that leaves no place for something.
pub(super) fn ways(
    scene: &Scene,
    prices: &Prices,
    kept: &[usize],
    stays: Stays,
) -> Option<Vec<Placed>> {
    let first = nodes(scene, prices, kept, stays)?;
    let is_coming = first.0.iter().skip(scene.groups.len()).any(|part| part.amount > 0.0);
    // Of many, that takes long for what is only tried.
    let is_worth_it = stays.but.is_empty() || scene.groups.len() <= FEW;
    let better = (is_coming && is_worth_it).then(|| improved(scene, prices, kept, &first));
    Some([first].into_iter().chain(better).collect())
}

/// A better placement than what is `given`, from which groups leave that one made `afresh` has for less. `None` where none is
/// found. What is left as it is here is so at the next plan: it looks at the same.
pub(super) fn mixed(
    scene: &Scene,
    given: &Placement,
    afresh: &Placement,
    placed: impl Fn(Stays) -> Option<Placement>,
) -> Option<Placement> {
    let rises = Rises::since_last(scene.problem);
    let mut best: Option<Placement> = None;
    for _ in 0..ROUNDS {
        let now = best.as_ref().unwrap_or(given);
        let [risen, dear] = dear(scene, &rises, now, afresh);
        let sets = [&risen, &dear].into_iter().flat_map(|dear| {
            let sizes = std::iter::successors(Some(dear.len()), |size| Some(size / 2));
            let sizes = sizes.take_while(|size| *size > 0);
            sizes.map(|size| dear[..size].iter().copied().collect::<BTreeSet<usize>>())
        });
        let sets: BTreeSet<BTreeSet<usize>> = sets.collect();
        let found = sets.iter().filter_map(|leaving| {
            let found = placed(Stays { of: now, but: leaving });
            found.filter(|found| is_due(scene.problem, &rises, now, found))
        });
        match least(found).filter(|found| objective(found) < objective(now) - 1e-6) {
            Some(found) => best = Some(found),
            None => break,
        }
    }
    best
}

/// How prices have changed since the last placement.
pub(super) struct Rises<'a> {
    /// Of what was rented: the part of a node's price now that came on top.
    known: BTreeMap<&'a str, f64>,
    /// Of all else it is taken to be the least of those: where all prices rise alike, none is a reason to leave.
    least: f64,
}

impl<'a> Rises<'a> {
    pub fn since_last(problem: &'a Problem) -> Rises<'a> {
        let then = problem.last.as_ref().map(|last| &last.rentals);
        let known = problem.candidates.iter().filter_map(|now| {
            let then = then?.get(&now.id)?.price_hour;
            let are_known = then > 0.0 && now.price_hour > 0.0;
            are_known.then(|| (now.id.as_str(), 1.0 - then / now.price_hour))
        });
        let known: BTreeMap<&str, f64> = known.collect();
        let least = known.values().copied().min_by(f64::total_cmp).unwrap_or(0.0).max(0.0);
        Rises { known, least }
    }

    fn of(&self, offering: &str) -> f64 {
        self.known.get(offering).copied().unwrap_or(self.least)
    }

    /// What of a placement's objective came on top.
    pub fn of_all(&self, problem: &Problem, placement: &Placement) -> f64 {
        let rises = placement.rentals.iter().map(|(id, rental)| {
            let paid = rental.nodes.len() as f64 - f64::from(rental.reserved_nodes);
            paid * rental.price_hour * self.of(id)
        });
        rises.sum::<f64>() * HOURS_MONTH * problem.cost_weight()
    }
}

/// Whether a saving is there for a reason: at the prices of the last placement it would not be, or it is more than chance.
/// What runs is not the best placement, and one that was as good before is no reason to move.
pub(super) fn is_due(problem: &Problem, rises: &Rises, now: &Placement, found: &Placement) -> bool {
    let saves = objective(now) - objective(found);
    let rise = rises.of_all(problem, now) - rises.of_all(problem, found);
    problem.move_penalty == 0.0 || saves > CHANCE * now.objective_month() || saves < rise
}

/// Groups that one placement has for less than another, by more than a move is charged, those that save most first: those
/// whose prices have risen so far, and all.
fn dear(scene: &Scene, rises: &Rises, now: &Placement, afresh: &Placement) -> [Vec<usize>; 2] {
    let problem = scene.problem;
    let group_of = reduce::group_of(problem, scene.groups);
    let costs = |placement: &Placement, part: &dyn Fn(&str) -> f64| {
        let mut costs = vec![0.0; scene.groups.len()];
        for seats in &placement.seats {
            if let Some(group) = group_of.get(seats.workload.as_str()) {
                costs[*group] += seats.cost_month * part(&seats.offering);
            }
        }
        costs
    };
    let before = costs(now, &|offering| 1.0 - rises.of(offering));
    let now = costs(now, &|_| 1.0);
    let then = costs(afresh, &|_| 1.0);
    let least = 1.0 - problem.move_penalty;
    let mut dear: Vec<usize> =
        (0..now.len()).filter(|group| then[*group] < now[*group] * least - 1e-6).collect();
    let saves = |group: usize| now[group] - then[group];
    dear.sort_by(|a, b| saves(*b).total_cmp(&saves(*a)).then(a.cmp(b)));
    let risen = dear.iter().copied().filter(|group| then[*group] >= before[*group] * least - 1e-6);
    [risen.collect(), dear]
}

/// The same nodes, with those that hold what comes in put together better. What stays is fixed where it is.
fn improved(scene: &Scene, prices: &Prices, kept: &[usize], (parts, nodes): &Placed) -> Placed {
    let groups = scene.groups.len();
    let mut fixed: Vec<Part> = parts[groups..].to_vec();
    let mut known: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut nodes = nodes.clone();
    for node in &mut nodes {
        for (part, count) in &mut node.content {
            if *part >= groups {
                *part -= groups;
                continue;
            }
            let place = &scene.places[node.place];
            let number = *known.entry((*part, node.place)).or_insert_with(|| {
                let whole = scene.part(*part);
                let serves = Serves { kind: place.kind, rate: whole.rate(place) };
                fixed.push(Part {
                    amount: 0.0,
                    candidates: [node.place as u32].into(),
                    serves: (!whole.rates.is_empty()).then_some(serves),
                    is_fixed: true,
                    ..parts[*part].clone()
                });
                fixed.len() - 1
            });
            fixed[number].amount += f64::from(*count);
            *part = number;
        }
    }
    let market = Market::new(scene, fixed, prices, kept);
    let mut taken = market.untaken();
    nodes.iter().for_each(|node| market.count(node.place, &node.content, &mut taken, 1.0));
    let near = Near { bound: 0.0, part: 0.0, runs: (RUNS, 1.0) };
    improve::improved(&market, &nodes, &taken, near)
}

fn nodes(scene: &Scene, prices: &Prices, kept: &[usize], stays: Stays) -> Option<Placed> {
    let before = stays.of;
    let mut parts: Vec<Part> = (0..scene.groups.len()).map(|group| scene.part(group)).collect();
    let mut stayed = stayed(scene, stays);
    // Of each group: what stays, and what comes in.
    let mut coming = Vec::new();
    for (group, stays) in parts.iter_mut().enumerate() {
        let whole = stays.clone();
        if !whole.rates.is_empty() {
            coming.extend(added(scene, prices, &whole, before, &mut stayed)?);
            stays.rates = Vec::new();
        }
        let seated: u32 = stayed.iter().flat_map(|(_, content)| content.get(&group)).sum();
        stays.amount = f64::from(seated);
        if whole.rates.is_empty() {
            let amount = whole.amount - stays.amount;
            let there = there(scene, &whole, &stayed);
            coming.extend(parts::beside(scene, prices, Part { amount, ..whole }, &there)?);
        }
    }
    parts.extend(coming);
    let market = Market::new(scene, parts, prices, kept);
    let mut taken = market.untaken();
    let mut nodes = Vec::new();
    for (place, mut content) in stayed {
        content.retain(|_, count| *count > 0);
        if content.is_empty() {
            continue;
        }
        let node = market.node_of(place, content.into_iter().collect());
        market.count(place, &node.content, &mut taken, 1.0);
        nodes.push(node);
    }
    let mut order: Vec<usize> = (scene.groups.len()..market.parts.len()).collect();
    order.sort_by_key(|part| std::cmp::Reverse(market.parts[*part].size));
    for part in order {
        let left = taken.left[part];
        market.seat(&mut nodes, &mut taken, part, left);
    }
    let (nodes, _) = market.fill(nodes, taken)?;
    Some((market.parts, nodes))
}

/// What comes in for a load beside what stays. Where its rules would not be kept so, nothing stays.
fn added(
    scene: &Scene,
    prices: &Prices,
    part: &Part,
    before: &Placement,
    stayed: &mut [Stayed],
) -> Option<Vec<Part>> {
    let group = part.group;
    if is_less(scene, part, before) {
        give_up(scene, prices, part, stayed);
    }
    let stays = there(scene, part, stayed);
    if stays.is_empty() {
        let some = parts::by_price(scene, prices, &BTreeSet::new(), part.clone());
        return some.or_else(|| topped_up(scene, prices, part, stays));
    }
    if let Some(more) = topped_up(scene, prices, part, stays) {
        return Some(more);
    }
    for (_, content) in stayed.iter_mut() {
        content.remove(&group);
    }
    parts::by_price(scene, prices, &BTreeSet::new(), part.clone())
}

/// Replicas for what is missing, one after the other where it costs least. `None` where more would not help.
fn topped_up(
    scene: &Scene,
    prices: &Prices,
    part: &Part,
    mut all: Vec<There>,
) -> Option<Vec<Part>> {
    let rules = scene.rules(part.group);
    let over = rules.spread_over().max_by_key(|over| level(*over));
    let site = |place: u32| scene.places[place as usize].site;
    let at = all.first().filter(|_| rules.together).map(|first| site(first.place));
    let mut more: BTreeMap<(Option<usize>, usize, bool), Part> = BTreeMap::new();
    while let Some(missing) = loads::missing(scene, part.group, &all) {
        let (amount, may): (f64, Box<dyn Fn(u32) -> bool>) = match missing {
            Missing::Served { amount, is_steady } => {
                (amount, Box::new(move |one| !(is_steady && scene.places[one as usize].is_spot)))
            }
            Missing::Outside { amount, over, section } => {
                (amount, Box::new(move |one| scene.section(one, over) != section))
            }
            Missing::Sections { over, taken } => {
                (1e-6, Box::new(move |one| !taken.contains(&scene.section(one, over))))
            }
            Missing::Replicas => (1e-6, Box::new(|_| true)),
            Missing::Even => return None,
        };
        let rate = |one: u32| part.rate(&scene.places[one as usize]);
        let cost = |one: u32| prices.seat(scene, part, one as usize) / rate(one).min(amount);
        let places = part.candidates.iter().copied();
        let places = places.filter(|one| at.is_none_or(|at| site(*one) == at) && may(*one));
        let place = places.min_by(|a, b| cost(*a).total_cmp(&cost(*b)).then(a.cmp(b)))?;
        let there = &scene.places[place as usize];
        let is_steady = !there.is_spot;
        all.push(There { place, replicas: 1.0, rate: rate(place), is_steady });
        let section = over.map(|over| scene.section(place, over));
        let added = more.entry((section, there.kind, is_steady)).or_insert_with(|| {
            let here = part.candidates.iter().copied().filter(|other| {
                let other_place = &scene.places[*other as usize];
                over.is_none_or(|over| Some(scene.section(*other, over)) == section)
                    && at.is_none_or(|at| other_place.site == at)
                    && other_place.kind == there.kind
                    && !(is_steady && rules.spot.is_some() && other_place.is_spot)
            });
            Part {
                amount: 0.0,
                candidates: here.collect(),
                rates: Vec::new(),
                serves: Some(Serves { kind: there.kind, rate: rate(place) }),
                is_steady: is_steady && rules.spot.is_some(),
                ..part.clone()
            }
        });
        added.amount += 1.0;
    }
    Some(more.into_values().collect())
}

/// Whether less is asked for than when the load was placed.
fn is_less(scene: &Scene, part: &Part, before: &Placement) -> bool {
    let load = before.loads.get(&scene.demand(part.group).workload);
    load.is_some_and(|load| part.amount < load.asked_per_second - 1e-9)
}

/// Gives up replicas of a load that it is served without, those that stand for most first.
fn give_up(scene: &Scene, prices: &Prices, part: &Part, stayed: &mut [Stayed]) {
    let unit = |place: usize| prices.unit(scene, part, place as u32);
    let mut order: Vec<usize> = (0..stayed.len()).collect();
    order.sort_by(|a, b| unit(stayed[*b].0).total_cmp(&unit(stayed[*a].0)).then(a.cmp(b)));
    for node in order {
        while let Some(count) = stayed[node].1.get_mut(&part.group).filter(|count| **count > 0) {
            *count -= 1;
            if !loads::is_served(scene, part.group, &there(scene, part, stayed)) {
                stayed[node].1.entry(part.group).and_modify(|count| *count += 1);
                break;
            }
        }
    }
}

/// Where a group's replicas stay.
fn there(scene: &Scene, part: &Part, stayed: &[Stayed]) -> Vec<There> {
    let there = stayed.iter().filter_map(|(place, content)| {
        let replicas = f64::from(*content.get(&part.group)?);
        let one = &scene.places[*place];
        let rate = part.rate(one);
        Some(There { place: *place as u32, replicas, rate, is_steady: !one.is_spot })
    });
    there.collect()
}

/// A node of a place that runs, with the replicas by group that may stay on it.
type Stayed = (usize, BTreeMap<usize, u32>);

/// The nodes that stay, by place, with the replicas by group that may stay on each: no more than are asked for, and of
/// loads all.
fn stayed(scene: &Scene, stays: Stays) -> Vec<Stayed> {
    let problem = scene.problem;
    let mut group_of: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    for (number, group) in scene.groups.iter().enumerate() {
        if stays.but.contains(&number) {
            continue;
        }
        for index in &group.demands {
            let demand = &problem.demands[*index];
            let most = match demand.amount {
                Amount::Replicas(replicas) => replicas,
                // What is too much is given up later on.
                Amount::Load(_) => u32::MAX,
            };
            group_of.insert(&demand.workload, (number, most));
        }
    }
    let places: BTreeMap<&str, usize> =
        problem.candidates.iter().enumerate().map(|(i, one)| (one.id.as_str(), i)).collect();
    let mut stayed = Vec::new();
    for (id, rental) in &stays.of.rentals {
        let Some(&place) = places.get(id.as_str()) else { continue };
        for node in &rental.nodes {
            let mut content: BTreeMap<usize, u32> = BTreeMap::new();
            let mut free = scene.places[place].capacity;
            for (workload, count) in node {
                let Some((group, left)) = group_of.get_mut(workload.as_str()) else { continue };
                if scene.groups[*group].candidates.binary_search(&place).is_err() {
                    continue;
                }
                let size = scene.demand(*group).size.array();
                let stays = (*count).min(*left).min(fitting(&size, &free));
                take(&mut free, &size, stays);
                *left -= stays;
                if stays > 0 {
                    *content.entry(*group).or_insert(0) += stays;
                }
            }
            if !content.is_empty() {
                stayed.push((place, content));
            }
        }
    }
    // Which of equal workloads is on which node must not matter.
    stayed.sort();
    stayed
}
