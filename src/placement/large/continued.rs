//! What runs stays, and what is asked for beside it comes in: onto nodes that have room, then onto new ones.

use std::collections::BTreeMap;

use super::fill::{Market, Node, take};
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
    if parts.iter().any(|part| !part.rates.is_empty()) {
        return None;
    }
    let stayed = stayed(scene);
    // Of each group: what stays, and what comes in.
    let mut coming = parts.clone();
    for (group, (stays, comes)) in parts.iter_mut().zip(&mut coming).enumerate() {
        let seated: u32 = stayed.iter().flat_map(|(_, content)| content.get(&group)).sum();
        comes.amount -= f64::from(seated);
        stays.amount = f64::from(seated);
    }
    parts.extend(coming);
    let market = Market::new(scene, parts, prices, kept);
    let mut taken = market.untaken();
    let mut nodes = Vec::new();
    for (place, content) in stayed {
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

/// The nodes that run, by place, with the replicas by group that may stay on each: no more than are asked for.
fn stayed(scene: &Scene) -> Vec<(usize, BTreeMap<usize, u32>)> {
    let problem = scene.problem;
    let mut group_of: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    for (number, group) in scene.groups.iter().enumerate() {
        for index in &group.demands {
            let demand = &problem.demands[*index];
            if let Amount::Replicas(replicas) = demand.amount {
                group_of.insert(&demand.workload, (number, replicas));
            }
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
