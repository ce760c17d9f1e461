//! What runs stays, and what is asked for beside it comes in: onto nodes that have room, then onto new ones.

use std::collections::BTreeMap;

use super::fill::{Market, Node, take};
use super::loads::{self, There};
use super::parts;
use super::prices::Prices;
use super::scene::{Part, Scene};
use crate::placement::packing::fitting;
use crate::problem::Amount;

/// Parts and whole nodes that move nothing which may stay. `None` where that leaves no place for something.
pub(super) fn nodes(
    scene: &Scene,
    prices: &Prices,
    kept: &[usize],
) -> Option<(Vec<Part>, Vec<Node>)> {
    let mut parts: Vec<Part> = (0..scene.groups.len()).map(|group| scene.part(group)).collect();
    let mut stayed = stayed(scene);
    // Of each group: what stays, and what comes in.
    let mut coming = Vec::new();
    for (group, stays) in parts.iter_mut().enumerate() {
        let whole = stays.clone();
        let seated = match whole.rates.is_empty() {
            true => {
                stayed.iter().map(|(_, content)| content.get(&group).copied().unwrap_or(0)).sum()
            }
            false => give_up(scene, prices, &whole, &mut stayed),
        };
        stays.amount = f64::from(seated);
        if whole.rates.is_empty() {
            coming.push(Part { amount: whole.amount - stays.amount, ..whole });
            continue;
        }
        stays.rates = Vec::new();
        let served =
            there(scene, &whole, &stayed).iter().map(|one| one.replicas * one.rate).sum::<f64>();
        if served < whole.amount - 1e-9 {
            coming.extend(parts::whole(
                scene,
                prices,
                Part { amount: whole.amount - served, ..whole },
            )?);
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

/// Gives up replicas of a load that it is served without, those that stand for most first; how many stay.
fn give_up(scene: &Scene, prices: &Prices, part: &Part, stayed: &mut [Stayed]) -> u32 {
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
    let counts = stayed.iter().filter_map(|(_, content)| content.get(&part.group));
    counts.sum()
}

/// Where a load's replicas stay.
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

/// The nodes that run, by place, with the replicas by group that may stay on each: no more than are asked for.
fn stayed(scene: &Scene) -> Vec<Stayed> {
    let problem = scene.problem;
    let mut group_of: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    for (number, group) in scene.groups.iter().enumerate() {
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
    for (id, rental) in problem.last.iter().flat_map(|last| &last.rentals) {
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
    stayed
}
