//! A higher bound where there are few kinds of demands: nodes are whole.
//!
//! Replicas may still be divided, sites cost nothing and of a demand's own rules only the one on spot nodes counts.
//! Without the others, whatever is on a node of any place can be on one of the kept place that stands for it, which
//! costs no more; so the integer program over the kept places bounds every placement.

use super::cover::Cover;
use super::prices::classes;
use super::scene::{Part, Scene};
use crate::placement::model::{Effort, Model, Outcome, Sense};
use crate::placement::packing::fitting;

/// Up to so many pairs of a class and a place the program takes some hundredths of a second.
const FEW: usize = 400;
const EFFORT: Effort = Effort { gap: 5e-4, nodes: 200 };

/// `None` where that is not known, or not worth its time.
pub(super) fn bound(scene: &Scene, parts: &[Part], cover: &Cover) -> Option<f64> {
    // What replicas are charged or serve would have to be no worse at the place that stands for another.
    if parts.iter().any(|part| !part.charges.is_empty() || !part.rates.is_empty()) {
        return None;
    }
    let classes = classes(scene, parts, cover);
    if classes.iter().map(|class| class.seats.len()).sum::<usize>() > FEW {
        return None;
    }
    let mut model = Model::default();
    let mut cost = Vec::new();
    let replicas: f64 = parts.iter().map(|part| part.amount).sum();
    for &place in &cover.kept {
        model.column(replicas, true);
        cost.push(scene.places[place].price);
    }
    let mut amounts = vec![[const { Vec::new() }; 4]; cover.kept.len()];
    let mut caps = vec![Vec::new(); scene.caps.len()];
    for class in &classes {
        let part = &class.part;
        let mut seats = Vec::new();
        for (at, _) in &class.seats {
            let place = &scene.places[cover.kept[*at]];
            let column = model.column(part.amount, false);
            cost.push(0.0);
            seats.push((column, 1.0));
            for (amounts, size) in amounts[*at].iter_mut().zip(part.size) {
                amounts.push((column, size as f64));
            }
            for cap in &place.caps {
                caps[*cap].push((column, scene.seat_use(*cap, part)));
            }
            let fit = f64::from(fitting(&part.size, &place.capacity)).min(part.amount);
            model.row(vec![(column, 1.0), (*at, -fit)], Sense::AtMost, 0.0);
        }
        model.row(seats, Sense::AtLeast, part.amount);
    }
    for (at, &place) in cover.kept.iter().enumerate() {
        for (k, mut terms) in std::mem::take(&mut amounts[at]).into_iter().enumerate() {
            if cover.binding[place][k] {
                terms.push((at, -cover.most[place][k]));
                model.row(terms, Sense::AtMost, 0.0);
            }
        }
        for cap in &scene.places[place].caps {
            caps[*cap].push((at, scene.node_use(*cap, &scene.places[place])));
        }
    }
    for (cap, mut terms) in scene.caps.iter().zip(caps) {
        terms.retain(|(_, each)| *each > 0.0);
        model.row(terms, Sense::AtMost, cap.max);
    }
    match model.minimise(&cost, None, EFFORT) {
        Outcome::Solved { bound, .. } => Some(bound + scene.any_site()),
        Outcome::Infeasible | Outcome::Unsolved(_) => None,
    }
}
