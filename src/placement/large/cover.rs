//! Few places stand for all: those that no other place beats on its own.
//!
//! Which places are kept decides where the linear program looks, and nothing else: the bound is computed over
//! all places, whatever is kept.

use std::collections::HashMap;

use super::scene::{Part, Scene};

pub(super) struct Cover {
    /// Ascending.
    pub kept: Vec<usize>,
    /// By place: the kept place that stands for it, if anybody may use it.
    pub by: Vec<Option<usize>>,
    /// By place: no content that its users could make takes more of it.
    pub most: Vec<[f64; 4]>,
    /// By place: which resources can run out on it first.
    pub binding: Vec<[bool; 4]>,
}

/// Users of places as sets of parts; equal sets are kept once.
struct Users {
    sets: Vec<Vec<u64>>,
    /// By place.
    of: Vec<usize>,
}

impl Users {
    fn new(scene: &Scene, parts: &[Part]) -> Users {
        let words = parts.len().div_ceil(64).max(1);
        let mut bits = vec![0u64; words * scene.places.len()];
        for (number, part) in parts.iter().enumerate() {
            for &place in part.candidates.iter() {
                bits[place as usize * words + number / 64] |= 1 << (number % 64);
            }
        }
        let mut known: HashMap<&[u64], usize> = HashMap::new();
        let mut sets = Vec::new();
        let of = bits.chunks(words).map(|set| {
            *known.entry(set).or_insert_with(|| {
                sets.push(set.to_vec());
                sets.len() - 1
            })
        });
        let of = of.collect();
        Users { sets, of }
    }

    fn parts(set: &[u64]) -> impl Iterator<Item = usize> + '_ {
        set.iter().enumerate().flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        })
    }

    fn holds(&self, of: usize, other: usize) -> bool {
        of == other
            || self.sets[of].iter().zip(&self.sets[other]).all(|(of, other)| other & !of == 0)
    }
}

impl Cover {
    pub fn new(scene: &Scene, parts: &[Part]) -> Cover {
        let users = Users::new(scene, parts);
        let ratios: Vec<_> = users.sets.iter().map(|set| ratios(parts, set)).collect();
        let mut most = Vec::new();
        let mut binding = Vec::new();
        for (place, set) in scene.places.iter().zip(&users.of) {
            let capacity = place.capacity.map(|amount| amount as f64);
            let ratios = &ratios[*set];
            let at_most = |k: usize| {
                let by_other = (0..4).map(|other| capacity[other] * ratios[k][other]);
                by_other.fold(capacity[k], f64::min)
            };
            most.push([0, 1, 2, 3].map(at_most));
            // A resource that never takes a larger part of a node than another one does not run out first.
            let is_less = |k: usize, other: usize| {
                let part = capacity[other] * ratios[k][other];
                part < capacity[k] || part == capacity[k] && other < k
            };
            let is_used = |k: usize| ratios[k][k] > 0.0;
            binding.push([0, 1, 2, 3].map(|k| {
                is_used(k) && !(0..4).any(|other| other != k && is_used(other) && is_less(k, other))
            }));
        }
        let mut order: Vec<usize> = (0..users.of.len())
            .filter(|place| users.sets[users.of[*place]].iter().any(|word| *word != 0))
            .collect();
        let price =
            |place: usize| (scene.places[place].price, scene.sites[scene.places[place].site].1);
        order.sort_by(|a, b| price(*a).partial_cmp(&price(*b)).unwrap_or(a.cmp(b)).then(a.cmp(b)));
        let mut by = vec![None; users.of.len()];
        let mut kept: Vec<usize> = Vec::new();
        for place in order {
            let stands = kept.iter().copied().find(|&one| {
                let there = &scene.places[one];
                there.capacity.iter().zip(most[place]).all(|(has, most)| *has as f64 >= most - 1e-6)
                    && there.caps.iter().all(|cap| {
                        let here = &scene.places[place];
                        here.caps.contains(cap)
                            && scene.node_use(*cap, there) <= scene.node_use(*cap, here)
                    })
                    && users.holds(users.of[one], users.of[place])
            });
            by[place] = stands.or(Some(place));
            if stands.is_none() {
                kept.push(place);
            }
        }
        kept.sort_unstable();
        Cover { kept, by, most, binding }
    }
}

/// The most that anybody in the set takes of each resource for one of each other.
fn ratios(parts: &[Part], set: &[u64]) -> [[f64; 4]; 4] {
    let mut most = [[0.0f64; 4]; 4];
    for part in Users::parts(set) {
        let size = parts[part].size.map(|amount| amount as f64);
        for (k, most) in most.iter_mut().enumerate() {
            for (other, most) in most.iter_mut().enumerate() {
                let ratio = match (size[k], size[other]) {
                    (0.0, _) => 0.0,
                    (_, 0.0) => f64::INFINITY,
                    (size, other) => size / other,
                };
                *most = most.max(ratio);
            }
        }
    }
    most
}
