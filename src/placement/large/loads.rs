//! The cheapest whole replicas that serve a load, where each kind of GPU has its price and its rate, and whether a load is
//! served by its rules.

use std::collections::BTreeSet;

use super::scene::Scene;
use crate::config::SpreadOver;
use crate::problem::Amount;

/// Steps of the search.
const WORK: u32 = 20_000;

/// What so many replicas of each kind cost together, and how many there are of each; of `(rate, price)` by kind. `None`
/// where the work ends before that is certain, or nothing serves.
pub(super) fn cheapest(load: f64, kinds: &[(f64, f64)]) -> Option<(f64, Vec<u32>)> {
    let mut order: Vec<usize> = (0..kinds.len()).filter(|kind| kinds[*kind].0 > 0.0).collect();
    let unit = |kind: usize| kinds[kind].1 / kinds[kind].0;
    order.sort_by(|a, b| unit(*a).total_cmp(&unit(*b)).then(a.cmp(b)));
    let mut search = Search {
        kinds: order.iter().map(|kind| kinds[*kind]).collect(),
        counts: vec![0; order.len()],
        best: None,
        work: WORK,
    };
    search.go(0, load, 0.0)?;
    let (cost, found) = search.best?;
    let mut counts = vec![0; kinds.len()];
    for (kind, count) in order.into_iter().zip(found) {
        counts[kind] = count;
    }
    Some((cost, counts))
}

/// Replicas at a place, or in the section that it is of.
#[derive(Clone, Copy)]
pub(super) struct There {
    pub place: u32,
    pub replicas: f64,
    /// Of a load, requests a second of one replica.
    pub rate: f64,
    pub is_steady: bool,
}

/// What is missing for a load to be served by its rules.
pub(super) enum Missing {
    /// Requests a second, on any place, or on one that is not spot.
    Served { amount: f64, is_steady: bool },
    /// The same, outside one cloud, site or zone.
    Outside { amount: f64, over: SpreadOver, section: usize },
    /// Another cloud, site or zone than these.
    Sections { over: SpreadOver, taken: BTreeSet<usize> },
    /// Some replicas.
    Replicas,
    /// A zone has so many that fewer zones could hold all.
    Even,
}

/// The first that is missing.
pub(super) fn missing(scene: &Scene, group: usize, there: &[There]) -> Option<Missing> {
    let rules = scene.rules(group);
    let asked = scene.demand(group).asked();
    let served = |is_counted: &dyn Fn(&There) -> bool| -> f64 {
        let counted = there.iter().filter(|one| is_counted(one));
        counted.map(|one| one.replicas * one.rate).sum()
    };
    let amount = asked - served(&|_| true);
    if amount > 1e-9 {
        return Some(Missing::Served { amount, is_steady: false });
    }
    let amount = rules.spot.map_or(0.0, |spot| asked - spot - served(&|one| one.is_steady));
    if amount > 1e-9 {
        return Some(Missing::Served { amount, is_steady: true });
    }
    let number: f64 = there.iter().map(|one| one.replicas).sum();
    let least = match &scene.demand(group).amount {
        Amount::Load(load) => f64::from(load.least),
        Amount::Replicas(_) => 0.0,
    };
    if number < least {
        return Some(Missing::Replicas);
    }
    let sections = |over| -> BTreeSet<usize> {
        let taken = there.iter().filter(|one| one.replicas > 0.0);
        taken.map(|one| scene.section(one.place, over)).collect()
    };
    let in_one = |over, section| -> f64 {
        let there = there.iter().filter(|one| scene.section(one.place, over) == section);
        there.map(|one| one.replicas).sum()
    };
    for (over, min) in &rules.min {
        let taken = sections(*over);
        if taken.len() < *min {
            return Some(Missing::Sections { over: *over, taken });
        }
        let most = taken.iter().map(|section| in_one(*over, *section)).fold(0.0, f64::max);
        if *over == SpreadOver::Zone && most * (*min as f64 - 1.0) >= number {
            return Some(Missing::Even);
        }
    }
    for (over, share) in &rules.share {
        for section in sections(*over) {
            let left = served(&|one| scene.section(one.place, *over) != section);
            let amount = asked - share - left;
            if amount > 1e-9 {
                return Some(Missing::Outside { amount, over: *over, section });
            }
        }
    }
    None
}

/// Whether replicas serve a group's load, also without what one place or spot may lose.
pub(super) fn is_served(scene: &Scene, group: usize, there: &[There]) -> bool {
    missing(scene, group, there).is_none()
}

struct Search {
    /// The cheapest for what it serves first.
    kinds: Vec<(f64, f64)>,
    counts: Vec<u32>,
    best: Option<(f64, Vec<u32>)>,
    work: u32,
}

impl Search {
    fn go(&mut self, at: usize, left: f64, cost: f64) -> Option<()> {
        self.work = self.work.checked_sub(1)?;
        if left <= 1e-9 {
            if self.best.as_ref().is_none_or(|(best, _)| cost < *best) {
                self.best = Some((cost, self.counts.clone()));
            }
            return Some(());
        }
        let Some(&(rate, price)) = self.kinds.get(at) else { return Some(()) };
        // The others are no cheaper for what they serve.
        let least = cost + left * price / rate;
        if self.best.as_ref().is_some_and(|(best, _)| least >= *best) {
            return Some(());
        }
        for count in (0..=(left / rate - 1e-9).ceil() as u32).rev() {
            self.counts[at] = count;
            let done =
                self.go(at + 1, left - rate * f64::from(count), cost + price * f64::from(count));
            self.counts[at] = 0;
            done?;
        }
        Some(())
    }
}
