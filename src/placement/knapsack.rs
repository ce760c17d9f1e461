//! What one node can hold that is worth most: an integer knapsack with four resources.
//!
//! **Bound.** For weights `w ≥ 0`, `Σ w_k = 1`, an item takes the share `s_g(w) = Σ w_k·r_g^k / K^k` of a
//! node, and all items together at most 1. So nothing that fits is worth more than
//! `max_g value_g / s_g(w)`, whatever `w`. Weights are moved towards the resources that the item of the
//! greatest density takes, a fixed number of times; the best are kept.

use super::packing::Amounts;

/// Something to put onto a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// What it is called by the caller.
    pub name: usize,
    pub value: f64,
    pub size: Amounts,
    pub most: u32,
}

/// The best content found, and a value that no content exceeds.
pub(super) struct Filled {
    pub value: f64,
    pub bound: f64,
    /// (name, how many).
    pub counts: Vec<(usize, u32)>,
}

pub(super) type Weights = [f64; 4];

pub(super) const EVEN: Weights = [0.25; 4];

/// A value that nothing on one node exceeds. Moves `weights` to where that is least.
pub(super) fn bound(items: &[Item], capacity: &Amounts, weights: &mut Weights, steps: u32) -> f64 {
    let shares: Vec<[f64; 4]> = items.iter().map(|item| shares(&item.size, capacity)).collect();
    let mut best = f64::INFINITY;
    let mut trial = *weights;
    for step in 0..=steps {
        let mut densest = (0.0, None);
        for (item, share) in items.iter().zip(&shares) {
            let taken: f64 = share.iter().zip(&trial).map(|(share, weight)| share * weight).sum();
            let density = if taken > 0.0 { item.value / taken } else { f64::INFINITY };
            if density > densest.0 {
                densest = (density, Some(share));
            }
        }
        if densest.0 < best {
            best = densest.0;
            *weights = trial;
        }
        let Some(share) = densest.1 else { return 0.0 };
        let pace = 1.5 / (1.0 + f64::from(step) * 0.5);
        let most = share.iter().copied().fold(1e-9, f64::max);
        for (weight, share) in trial.iter_mut().zip(share) {
            *weight = (*weight).max(1e-4) * (pace * share / most).exp();
        }
        let sum: f64 = trial.iter().sum();
        for weight in &mut trial {
            *weight /= sum;
        }
    }
    best
}

fn shares(size: &Amounts, capacity: &Amounts) -> [f64; 4] {
    let share = |k: usize| match (size[k], capacity[k]) {
        (0, _) => 0.0,
        (size, capacity) => size as f64 / capacity.max(1) as f64,
    };
    [share(0), share(1), share(2), share(3)]
}

/// Fills a node; `work` limits the search.
pub(super) fn fill(items: &[Item], capacity: &Amounts, weights: &Weights, work: u32) -> Filled {
    let mut ordered: Vec<(f64, Item)> = items
        .iter()
        .map(|item| {
            let shares = shares(&item.size, capacity);
            let taken: f64 = shares.iter().zip(weights).map(|(share, w)| share * w).sum();
            (item.value / taken.max(1e-12), *item)
        })
        .collect();
    ordered.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.name.cmp(&b.1.name)));
    let mut search = Search {
        items: &ordered,
        capacity,
        weights,
        work,
        current: vec![0; ordered.len()],
        best: vec![0; ordered.len()],
        value: 0.0,
        complete: true,
    };
    search.go(0, *capacity, 0.0);
    let found = search.best.iter().zip(&ordered).filter(|(count, _)| **count > 0);
    let counts = found.map(|(count, (_, item))| (item.name, *count)).collect();
    let surrogate = ordered.first().map_or(0.0, |(density, _)| *density);
    let bound = if search.complete { search.value } else { surrogate };
    Filled { value: search.value, bound, counts }
}

struct Search<'a> {
    items: &'a [(f64, Item)],
    capacity: &'a Amounts,
    weights: &'a Weights,
    work: u32,
    current: Vec<u32>,
    best: Vec<u32>,
    value: f64,
    complete: bool,
}

impl Search<'_> {
    /// Depth first, as many as fit of the densest first.
    fn go(&mut self, from: usize, free: Amounts, value: f64) {
        if value > self.value + 1e-9 {
            self.value = value;
            self.best.copy_from_slice(&self.current);
        }
        let mut at = from;
        let room = shares(&free, self.capacity);
        let room: f64 = room.iter().zip(self.weights).map(|(share, weight)| share * weight).sum();
        // The next item that fits.
        while let Some((density, item)) = self.items.get(at) {
            if value + density * room <= self.value * (1.0 + 1e-9) + 1e-9 {
                return;
            }
            if item.size.iter().zip(&free).all(|(size, free)| size <= free) {
                break;
            }
            at += 1;
        }
        let Some((_, item)) = self.items.get(at) else { return };
        let fit = super::packing::fitting(&item.size, &free).min(item.most);
        for count in (0..=fit).rev() {
            if self.work == 0 {
                self.complete = false;
                return;
            }
            self.work -= 1;
            let mut rest = free;
            for (rest, size) in rest.iter_mut().zip(&item.size) {
                *rest -= size * u64::from(count);
            }
            self.current[at] = count;
            self.go(at + 1, rest, value + item.value * f64::from(count));
            self.current[at] = 0;
        }
    }
}
