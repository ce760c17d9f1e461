//! Whole replicas on the nodes that a program counted, in which they were divided.
//!
//! The largest come first: a linear program says where everything could be with so many nodes, the largest replicas
//! that are left go where most of theirs is, and the others are asked again with the room that is left. What finds no
//! room in the end takes the place of something that finds room elsewhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::fill::{Market, Node, Taken, take};
use super::scene::Part;
use crate::placement::model::{Effort, Growing, Model, Outcome, Pains, Sense};
use crate::placement::packing::{Amounts, fitting};

/// What waits in the end costs a little, so that little effort is enough.
const EFFORT: Effort = Effort { pains: Pains::Few, ..Effort::new(0.0, 20) };

struct Rounding<'a, 'b> {
    market: &'b Market<'a>,
    nodes: Vec<Node>,
    /// By place: which of the nodes are there.
    at: BTreeMap<usize, Range<usize>>,
    /// Sets of those places, and by part which of them is its own.
    sets: Vec<Vec<usize>>,
    set: Vec<usize>,
    taken: Taken,
    /// Whether the programs that divide count whole replicas of the level that is placed.
    is_whole: bool,
}

/// Parts that may be at the same places and take in proportion.
struct Alike {
    /// Whether they are of the level that is placed.
    is_asked: bool,
    /// In units of the first of them.
    amount: f64,
    /// (part, units of one replica)
    members: Vec<(usize, f64)>,
    places: Vec<usize>,
}

/// Nodes with what fits onto them, and what is left. Nodes that stay empty are given back.
pub(super) fn nodes(
    market: &Market,
    counts: &BTreeMap<usize, u32>,
    is_whole: bool,
) -> (Vec<Node>, Taken) {
    let (mut nodes, mut at, mut taken) = (Vec::new(), BTreeMap::new(), market.untaken());
    for (&place, &count) in counts {
        let count = market.room(place, &[], &taken, count);
        market.count(place, &[], &mut taken, f64::from(count));
        at.insert(place, nodes.len()..nodes.len() + count as usize);
        nodes.extend((0..count).map(|_| market.node_of(place, Vec::new())));
    }
    let (sets, set) = sets(&market.parts, &at);
    let mut this = Rounding { market, nodes, at, sets, set, taken, is_whole };
    let mut levels: Vec<Level> = market.parts.iter().map(level).collect();
    levels.sort_unstable();
    levels.dedup();
    for level in levels {
        this.round(level);
    }
    let mut waiting: Vec<usize> =
        (0..market.parts.len()).filter(|part| this.taken.left[*part] > 1e-9).collect();
    waiting.sort_by_key(|part| Reverse(market.parts[*part].size));
    for part in waiting {
        let left = this.taken.left[part];
        market.seat(&mut this.nodes, &mut this.taken, part, left);
        while this.taken.left[part] > 1e-9 && this.eject(part) {}
    }
    let Rounding { mut nodes, mut taken, .. } = this;
    for node in nodes.iter().filter(|node| node.content.is_empty()) {
        market.count(node.place, &[], &mut taken, -1.0);
    }
    nodes.retain(|node| !node.content.is_empty());
    (nodes, taken)
}

/// Sets of places with nodes, and by part the one where it may be.
fn sets(parts: &[Part], at: &BTreeMap<usize, Range<usize>>) -> (Vec<Vec<usize>>, Vec<usize>) {
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut sets = Vec::new();
    let set_of = parts.iter().map(|part| {
        let places = part.candidates.iter().map(|place| *place as usize);
        let places: Vec<usize> = places.filter(|place| at.contains_key(place)).collect();
        *known.entry(places).or_insert_with_key(|places| {
            sets.push(places.clone());
            sets.len() - 1
        })
    });
    let set_of = set_of.collect();
    (sets, set_of)
}

/// What has no choice comes first, then what has the most GPUs.
type Level = (bool, Reverse<u64>);

fn level(part: &Part) -> Level {
    (part.given.is_none(), Reverse(part.size[0]))
}

impl Rounding<'_, '_> {
    /// Places all replicas of a level, as far as there is room.
    fn round(&mut self, level: Level) {
        let alike = self.alike(level);
        if !alike.iter().any(|alike| alike.is_asked) {
            return;
        }
        let Some(amounts) = self.divided(&alike) else { return };
        for (alike, amounts) in alike.iter().zip(amounts).filter(|(alike, _)| alike.is_asked) {
            let mut pools: Vec<(usize, f64)> = alike.places.iter().copied().zip(amounts).collect();
            let mut asked = alike.members.clone();
            asked.sort_by_key(|(part, _)| Reverse(self.market.parts[*part].size));
            for (part, unit) in asked {
                while self.taken.left[part] > 1e-9 {
                    pools.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                    let place = pools
                        .iter()
                        .position(|(place, pool)| *pool > 1e-6 && self.seat(part, *place));
                    let Some(place) = place else { break };
                    pools[place].1 -= unit;
                }
            }
        }
    }

    fn seat(&mut self, part: usize, place: usize) -> bool {
        let before = self.taken.left[part];
        let here = self.at[&place].clone();
        self.market.seat(&mut self.nodes[here], &mut self.taken, part, 1.0);
        self.taken.left[part] < before
    }

    /// What is left, by where it may be among the nodes.
    fn alike(&self, level: Level) -> Vec<Alike> {
        let mut known: HashMap<(usize, [u64; 4], bool), usize> = HashMap::new();
        let mut all: Vec<Alike> = Vec::new();
        for (number, part) in self.market.parts.iter().enumerate() {
            let left = self.taken.left[number];
            if left <= 1e-9 || !part.rates.is_empty() {
                continue;
            }
            let places = &self.sets[self.set[number]];
            if places.is_empty() {
                continue;
            }
            let unit = part.unit();
            let sizes = part.size.map(|size| (size as f64 / unit).to_bits());
            let is_asked = self::level(part) == level;
            let key = (self.set[number], sizes, is_asked);
            let index = *known.entry(key).or_insert_with(|| {
                let places = places.clone();
                all.push(Alike { is_asked, amount: 0.0, members: Vec::new(), places });
                all.len() - 1
            });
            let alike = &mut all[index];
            let first = alike.members.first().map_or(number, |(first, _)| *first);
            let unit = unit / self.market.parts[first].unit();
            alike.amount += left * unit;
            alike.members.push((number, unit));
        }
        all
    }

    /// How much of each may be where, in the room that is left.
    fn divided(&self, alike: &[Alike]) -> Option<Vec<Vec<f64>>> {
        let mut model = Model::default();
        let mut cost = Vec::new();
        let mut taken: BTreeMap<usize, [Vec<(usize, f64)>; 4]> = BTreeMap::new();
        let mut columns = Vec::new();
        for one in alike {
            let (first, _) = one.members[0];
            let size = self.market.parts[first].size;
            let waits = model.column(one.amount, false);
            cost.push(self.market.value[first]);
            let mut row = vec![(waits, 1.0)];
            let mut mine = Vec::new();
            for place in &one.places {
                let column = model.column(one.amount.ceil(), one.is_asked);
                cost.push(0.0);
                row.push((column, 1.0));
                mine.push(column);
                let rows = taken.entry(*place).or_default();
                for (row, size) in rows.iter_mut().zip(size).filter(|(_, size)| *size > 0) {
                    row.push((column, size as f64));
                }
            }
            model.row(row, Sense::AtLeast, one.amount);
            columns.push(mine);
        }
        for (place, rows) in taken {
            let nodes = &self.nodes[self.at[&place].clone()];
            for (k, row) in rows.into_iter().enumerate() {
                let free: u64 = nodes.iter().map(|node| node.free[k]).sum();
                model.row(row, Sense::AtMost, free as f64);
            }
        }
        let values = match self.is_whole {
            true => match model.minimise(&cost, None, EFFORT) {
                Outcome::Solved { values, .. } => values,
                Outcome::Infeasible | Outcome::Unsolved(_) => return None,
            },
            false => Growing::relaxation(&model, &cost)?.solve()?.values,
        };
        let amounts = columns.into_iter();
        Some(amounts.map(|mine| mine.into_iter().map(|column| values[column]).collect()).collect())
    }

    /// Finds room for one replica on a full node by moving another part's from there to where there is room.
    fn eject(&mut self, part: usize) -> bool {
        let size = self.market.parts[part].size;
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if !self.may_be(part, node) {
                continue;
            }
            for at in 0..self.nodes[index].content.len() {
                let node = &self.nodes[index];
                let (other, there) = node.content[at];
                let each = self.market.parts[other].size;
                let count = given_up(&size, &node.free, &each);
                let count = count.filter(|count| other != part && *count <= there);
                let homes = count.and_then(|count| Some((count, self.homes(other, count, index)?)));
                let Some((count, homes)) = homes else { continue };
                for (home, fit) in homes {
                    take(&mut self.nodes[home].free, &each, fit);
                    self.nodes[home].content.push((other, fit));
                }
                let node = &mut self.nodes[index];
                node.content[at].1 -= count;
                node.content.retain(|(_, count)| *count > 0);
                for (free, each) in node.free.iter_mut().zip(each) {
                    *free += each * u64::from(count);
                }
                take(&mut node.free, &size, 1);
                node.content.push((part, 1));
                self.taken.left[part] -= 1.0;
                return true;
            }
        }
        false
    }

    fn may_be(&self, part: usize, node: &Node) -> bool {
        let one = &self.market.parts[part];
        let caps = &self.market.scene.places[node.place].caps;
        one.candidates.binary_search(&(node.place as u32)).is_ok()
            && one.rates.is_empty()
            && !caps.iter().any(|cap| self.market.scene.seat_use(*cap, one) > 0.0)
    }

    /// Nodes beside one with room for so many replicas.
    fn homes(&self, part: usize, mut count: u32, beside: usize) -> Option<Vec<(usize, u32)>> {
        let size = &self.market.parts[part].size;
        let mut homes = Vec::new();
        for (home, node) in self.nodes.iter().enumerate() {
            if count == 0 {
                break;
            }
            let fit = fitting(size, &node.free).min(count);
            if fit > 0 && home != beside && self.may_be(part, node) {
                homes.push((home, fit));
                count -= fit;
            }
        }
        (count == 0).then_some(homes)
    }
}

/// How many replicas of a size have to go for one of another to come in; `None` where none helps.
fn given_up(size: &Amounts, free: &Amounts, each: &Amounts) -> Option<u32> {
    let missing = size.iter().zip(free).map(|(size, free)| size.saturating_sub(*free));
    let counts = missing.zip(each).map(|(missing, each)| match (missing, *each) {
        (0, _) => Some(0),
        (_, 0) => None,
        (missing, each) => u32::try_from(missing.div_ceil(each)).ok(),
    });
    counts.collect::<Option<Vec<u32>>>()?.into_iter().max()
}
