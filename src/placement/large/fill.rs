//! Whole nodes with what is on them, one after the other: always the one whose content is worth most for its price.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::prices::Prices;
use super::scene::{Part, Scene};
use crate::config::SpreadOver;
use crate::placement::packing::{Amounts, fitting};

/// (part, replicas)
pub(super) type Content = Vec<(usize, u32)>;

/// One node and what is on it.
#[derive(Clone)]
pub(super) struct Node {
    pub place: usize,
    pub free: Amounts,
    pub content: Content,
}

/// Parts at places, with what replicas are worth.
#[derive(Clone)]
pub(super) struct Market<'a> {
    pub scene: &'a Scene<'a>,
    pub prices: &'a Prices,
    pub parts: Vec<Part>,
    /// By place: what a node costs with what its limits are worth.
    pub node: Arc<[f64]>,
    /// By part: the places it may be at that can be of use, the best first.
    pub options: Vec<Arc<[usize]>>,
    /// By part: what one unit is worth.
    pub value: Vec<f64>,
    /// By place: who may use it, in the order in which a node is filled.
    pub residents: Arc<[Vec<usize>]>,
}

/// Where a part may be: all its places, and those that can be of use.
#[derive(Clone)]
pub(super) struct Home {
    pub candidates: Arc<[u32]>,
    pub options: Arc<[usize]>,
}

/// Places by what a replica stands for, and by what it costs alone.
pub(super) const BEST: usize = 8;
pub(super) const ALONE: usize = 4;

/// How much is placed, and how much of limits is taken.
#[derive(Clone)]
pub(super) struct Taken {
    /// By part, in its units.
    pub left: Vec<f64>,
    /// By limit.
    pub caps: Vec<f64>,
}

impl<'a> Market<'a> {
    pub fn new(
        scene: &'a Scene<'a>,
        parts: Vec<Part>,
        prices: &'a Prices,
        kept: &[usize],
    ) -> Market<'a> {
        let node = (0..scene.places.len()).map(|place| prices.node(scene, place)).collect();
        let mut is_kept = vec![false; scene.places.len()];
        kept.iter().for_each(|place| is_kept[*place] = true);
        let mut residents: Vec<Vec<(f64, f64, usize)>> = Vec::new();
        residents.resize_with(scene.places.len(), Vec::new);
        let mut options_of = Vec::new();
        let mut values = Vec::new();
        for part in &parts {
            let priced = priced(scene, prices, part);
            let least = priced.iter().map(|one| one.0).min_by(f64::total_cmp);
            values.push(least.unwrap_or(0.0));
            let mine = options(scene, priced);
            mine.iter().for_each(|place| is_kept[*place] = true);
            options_of.push(mine);
        }
        for (number, (part, value)) in parts.iter().zip(&values).enumerate() {
            let places = part.candidates.iter().map(|place| *place as usize);
            for place in places.filter(|place| is_kept[*place]) {
                let there = &scene.places[place];
                let seat = prices.unit(scene, part, place as u32);
                let density = if seat > 0.0 { value / seat } else { 1.0 };
                // Nearly equal worth: the larger first.
                residents[place].push(((density * 50.0).floor(), part.share(there), number));
            }
        }
        let ordered = |mut all: Vec<(f64, f64, usize)>| -> Vec<usize> {
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
            all.into_iter().map(|(_, _, part)| part).collect()
        };
        let residents = residents.into_iter().map(ordered).collect();
        let options = options_of;
        Market { scene, prices, parts, node, options, value: values, residents }
    }

    /// Where a part may be in a cloud, at a site or in a zone.
    pub fn home(&self, part: usize, over: SpreadOver, section: usize) -> Home {
        let one = &self.parts[part];
        let candidates = self.scene.inside(one, over, section);
        let one = Part { candidates: Arc::clone(&candidates), ..one.clone() };
        let options = options(self.scene, priced(self.scene, self.prices, &one));
        Home { candidates, options }
    }

    /// Everything is to be placed still.
    pub fn untaken(&self) -> Taken {
        Taken {
            left: self.parts.iter().map(|part| part.amount).collect(),
            caps: vec![0.0; self.scene.caps.len()],
        }
    }

    /// Fills a node of a place with what is left of these parts, the first first, and says what that is worth.
    pub fn content(
        &self,
        place: usize,
        order: impl Iterator<Item = usize>,
        taken: &Taken,
    ) -> (f64, Content) {
        let there = &self.scene.places[place];
        let mut free = there.capacity;
        let mut worth = 0.0;
        let mut content = Vec::new();
        for part in order {
            let one = &self.parts[part];
            let left = taken.left[part];
            if left <= 1e-9 || one.size.iter().zip(&free).any(|(size, free)| size > free) {
                continue;
            }
            let rate = one.rate(there);
            let wanted = (left / rate - 1e-9).ceil();
            let count = f64::from(fitting(&one.size, &free)).min(wanted) as u32;
            if count > 0 {
                take(&mut free, &one.size, count);
                let units = left.min(f64::from(count) * rate);
                worth += self.value[part] * units - one.charge(there) * f64::from(count);
                content.push((part, count));
            }
        }
        (worth, content)
    }

    /// How many such nodes the limits have room for, at most so many.
    pub fn room(&self, place: usize, content: &[(usize, u32)], taken: &Taken, most: u32) -> u32 {
        let there = &self.scene.places[place];
        let room = there.caps.iter().map(|cap| {
            let each = self.cap_use(*cap, place, content);
            let left = self.scene.caps[*cap].max - taken.caps[*cap];
            if each > 0.0 { ((left / each + 1e-9).floor()).max(0.0) } else { f64::from(most) }
        });
        room.fold(f64::from(most), f64::min) as u32
    }

    fn cap_use(&self, cap: usize, place: usize, content: &[(usize, u32)]) -> f64 {
        let seats = content
            .iter()
            .map(|(part, count)| self.scene.seat_use(cap, &self.parts[*part]) * f64::from(*count));
        self.scene.node_use(cap, &self.scene.places[place]) + seats.sum::<f64>()
    }

    /// Counts nodes as taken, or as given back where `nodes` is negative.
    pub fn count(&self, place: usize, content: &[(usize, u32)], taken: &mut Taken, nodes: f64) {
        for cap in &self.scene.places[place].caps {
            taken.caps[*cap] += nodes * self.cap_use(*cap, place, content);
        }
        for (part, count) in content {
            let rate = self.parts[*part].rate(&self.scene.places[place]);
            taken.left[*part] -= nodes * f64::from(*count) * rate;
        }
    }

    pub fn node_of(&self, place: usize, content: Content) -> Node {
        let mut free = self.scene.places[place].capacity;
        for (part, count) in &content {
            take(&mut free, &self.parts[*part].size, *count);
        }
        Node { place, free, content }
    }

    /// Puts so much of a part, as far as there is room, onto nodes where it may be.
    pub fn seat(&self, nodes: &mut [Node], taken: &mut Taken, part: usize, mut amount: f64) {
        let one = &self.parts[part];
        for node in nodes {
            let place = &self.scene.places[node.place];
            let wanted = (amount.min(taken.left[part]) / one.rate(place) - 1e-9).ceil().max(0.0);
            let fit = f64::from(fitting(&one.size, &node.free)).min(wanted) as u32;
            let is_counted = place.caps.iter().any(|cap| self.scene.seat_use(*cap, one) > 0.0);
            if fit == 0 || is_counted || one.candidates.binary_search(&(node.place as u32)).is_err()
            {
                continue;
            }
            take(&mut node.free, &one.size, fit);
            node.content.push((part, fit));
            taken.left[part] -= f64::from(fit) * one.rate(place);
            amount -= f64::from(fit) * one.rate(place);
        }
    }

    /// Nodes for everything that is left, each time those that are worth most for their price. `None` where limits leave no
    /// place for something.
    pub fn fill(&self, mut nodes: Vec<Node>, mut taken: Taken) -> Option<(Vec<Node>, Taken)> {
        let mut heap = BinaryHeap::new();
        for place in 0..self.residents.len() {
            if !self.residents[place].is_empty() {
                heap.push((Ordered(f64::MAX), Reverse(place)));
            }
        }
        while let Some((_, Reverse(place))) = heap.pop() {
            let (worth, content) =
                self.content(place, self.residents[place].iter().copied(), &taken);
            if content.is_empty() {
                continue;
            }
            let now = Ordered(ratio(worth, self.node[place]));
            if heap.peek().is_some_and(|(next, _)| now < *next) {
                heap.push((now, Reverse(place)));
                continue;
            }
            let times = content.iter().map(|(part, count)| {
                let rate = self.parts[*part].rate(&self.scene.places[place]);
                (taken.left[*part] / (rate * f64::from(*count)) + 1e-9).floor().max(1.0) as u32
            });
            let times = self.room(place, &content, &taken, times.min().unwrap_or(1));
            if times == 0 {
                continue;
            }
            self.count(place, &content, &mut taken, f64::from(times));
            nodes.extend((0..times).map(|_| self.node_of(place, content.clone())));
            heap.push((now, Reverse(place)));
        }
        taken.left.iter().all(|left| *left <= 1e-9).then_some((nodes, taken))
    }
}

/// What a content is worth for what its node costs.
pub(super) fn ratio(worth: f64, price: f64) -> f64 {
    match price {
        price if price > 0.0 => worth / price,
        // Who pays by the replica pays nothing for the node.
        _ if worth < -1e-9 => worth,
        _ => f64::MAX,
    }
}

/// Places of a part: what a unit stands for, what it costs where the part is alone, and the place.
fn priced(scene: &Scene, prices: &Prices, part: &Part) -> Vec<(f64, f64, usize)> {
    let priced = part.candidates.iter().map(|&place| {
        let there = &scene.places[place as usize];
        let seat = prices.unit(scene, part, place);
        let fit = f64::from(fitting(&part.size, &there.capacity));
        let fit = fit.min((part.amount / part.rate(there)).ceil()).max(1.0);
        let alone = (there.price / fit + part.charge(there)) / part.rate(there);
        (seat, alone, place as usize)
    });
    priced.collect()
}

/// The places that can be of use.
fn options(scene: &Scene, mut priced: Vec<(f64, f64, usize)>) -> Arc<[usize]> {
    type Priced = (f64, f64, usize);
    let by_seat =
        |a: &Priced, b: &Priced| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2));
    let by_cost = |a: &Priced, b: &Priced| a.1.total_cmp(&b.1).then(a.2.cmp(&b.2));
    // What has a limit may be full.
    let unlimited = priced.iter().filter(|one| scene.places[one.2].caps.is_empty());
    let mut unlimited: Vec<Priced> = unlimited.copied().collect();
    let mut options = first(&mut unlimited, 2, by_seat).to_vec();
    options.extend_from_slice(first(&mut priced, BEST, by_seat));
    options.extend_from_slice(first(&mut priced, ALONE, by_cost));
    let mut options: Vec<usize> = options.into_iter().map(|one| one.2).collect();
    options.sort_unstable();
    options.dedup();
    options.into()
}

/// The first so many by an order, in any.
fn first<T>(all: &mut [T], count: usize, order: impl Fn(&T, &T) -> Ordering) -> &[T] {
    if count >= all.len() {
        return all;
    }
    all.select_nth_unstable_by(count, order);
    &all[..count]
}

pub(super) fn take(free: &mut Amounts, size: &Amounts, count: u32) {
    for (free, size) in free.iter_mut().zip(size) {
        *free -= size * u64::from(count);
    }
}

/// A number that is none of those that cannot be compared.
#[derive(Clone, Copy, PartialEq)]
struct Ordered(f64);

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Ordered) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Ordered {}

impl Ord for Ordered {
    fn cmp(&self, other: &Ordered) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
