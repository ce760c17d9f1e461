//! Takes a few nodes apart and puts what was on them elsewhere, as long as that saves something (ruin and recreate:
//! Schrimpf et al., 2000). The order of trials is fixed.

use std::collections::HashMap;
use std::sync::Arc;

use super::fill::{ALONE, BEST, Content, Home, Market, Node, Taken, ratio, take};
use super::loads::{self, There};
use super::parts::is_even;
use super::scene::{Given, Part, Serves};
use super::stored::Copies;
use super::{is_near, side_by_side};
use crate::config::SpreadOver;
use crate::placement::packing::fitting;

struct Improving<'a, 'b> {
    market: Market<'a>,
    known: &'b mut Known,
    /// Nodes, of which some are taken apart.
    nodes: Vec<Option<Node>>,
    taken: Taken,
    /// By type of GPU: nodes, and those of them with room for more.
    by_kind: Vec<Vec<usize>>,
    roomy: Vec<Vec<usize>>,
    /// Nodes whose content is not worth their price, the worst first.
    wasteful: Vec<usize>,
    /// By site: how many nodes are there.
    at_site: Vec<u32>,
    copies: Copies,
    /// By part, by place.
    allowed: Vec<Bits>,
    dice: Dice,
}

/// What does not change between runs.
#[derive(Default)]
struct Known {
    /// By group: its parts.
    siblings: Vec<Vec<usize>>,
    /// By group: where it may be.
    sections: HashMap<(usize, SpreadOver), Sections>,
    /// By part: where it may be in a cloud, at a site or in a zone, with the places as bits.
    homes: HashMap<(usize, SpreadOver, usize), (Home, Bits)>,
    has_loads: bool,
}

type Bits = Arc<[u64]>;

/// Clouds, sites or zones.
struct Sections {
    /// Those first where a replica stands for least.
    best: Vec<usize>,
    /// Those first where a node for one replica costs least.
    cheapest: Vec<usize>,
}

/// Where a part was.
struct Moved {
    part: usize,
    given: Given,
    home: Home,
    allowed: Bits,
}

/// Trials for each wasteful node, and at least and at most. One with replicas of a load counts as so many more.
const TRIALS: usize = 80;
const LOADS: usize = 2;
const LEAST: usize = 1_000;
const MOST: usize = 60_000;
/// Of all runs, and how many runs at most where nothing else finds nodes.
const ALL: usize = 119_000;
pub(super) const RUNS: usize = 12;
/// So many that find the same leave little hope for another.
const AGREED: usize = 3;
/// So many replicas more than its load needs may keep its rules.
const SPARE: usize = 3;

/// A cost is near enough when so little of it is above the bound; after some runs, when another part is.
#[derive(Clone, Copy)]
pub(super) struct Near {
    pub bound: f64,
    pub part: f64,
    pub runs: (usize, f64),
}

/// The cheapest nodes that a few runs find, and where parts are in them. No other run is made for what one leaves of the
/// cost so near the bound.
pub(super) fn improved(
    market: &Market,
    nodes: &[Node],
    taken: &Taken,
    near: Near,
) -> (Vec<Part>, Vec<Node>) {
    let mut known = [Known::of(market), Known::of(market)];
    let run = |seed: usize, known: &mut Known| {
        Improving::new(market.clone(), nodes.to_vec(), taken.clone(), known, seed as u64).run()
    };
    // The fewer nodes there are, the more one bad turn costs.
    let runs = (ALL / trials(nodes.len())).clamp(2, RUNS);
    let first = near.runs.0.clamp(1, runs);
    let mut best: Option<(f64, Vec<Part>, Vec<Node>)> = None;
    let mut agreed = 0;
    let mut seed = 0;
    'runs: while seed < runs {
        // Two at a time, where the second one's turn would come; of many nodes that may be much for nothing.
        let is_pair = seed + 1 != first && seed + 1 < runs && trials(nodes.len()) < MOST;
        let [one, other] = &mut known;
        let pair = match is_pair {
            true => {
                let (one, other) = side_by_side(|| run(seed, one), || run(seed + 1, other));
                vec![one, other]
            }
            false => vec![run(seed, one)],
        };
        for found in pair {
            if let Some((least, ..)) = &best {
                let part = if seed < near.runs.0 { near.part } else { near.runs.1.max(near.part) };
                if is_near(*least, near.bound, part) || agreed == AGREED {
                    break 'runs;
                }
            }
            seed += 1;
            match &best {
                Some((least, ..)) if found.0 >= least + 1e-6 => {}
                Some((least, ..)) if found.0 >= least - 1e-6 => agreed += 1,
                _ => (best, agreed) = (Some(found), 1),
            }
        }
    }
    let (_, parts, best) = best.expect("there is a run at least");
    (parts, best)
}

fn trials(wasteful: usize) -> usize {
    (wasteful * TRIALS).clamp(LEAST, MOST)
}

impl Known {
    fn of(market: &Market) -> Known {
        let mut known = Known::default();
        known.siblings.resize_with(market.scene.groups.len(), Vec::new);
        for (number, part) in market.parts.iter().enumerate() {
            known.siblings[part.group].push(number);
            let rules = market.scene.rules(part.group);
            known.has_loads |= part.serves.is_some() && !rules.is_counted && !is_even(rules);
        }
        known
    }
}

impl<'a, 'b> Improving<'a, 'b> {
    fn new(
        market: Market<'a>,
        nodes: Vec<Node>,
        taken: Taken,
        known: &'b mut Known,
        seed: u64,
    ) -> Improving<'a, 'b> {
        let scene = market.scene;
        let places = scene.places.len();
        let allowed = market.parts.iter().map(|part| set(&part.candidates, places)).collect();
        let nodes = nodes.into_iter().map(Some).collect();
        let mut this = Improving {
            copies: Copies::new(&market),
            market,
            known,
            nodes,
            taken,
            by_kind: vec![Vec::new(); scene.kinds],
            roomy: vec![Vec::new(); scene.kinds],
            wasteful: Vec::new(),
            at_site: vec![0; scene.sites.len()],
            allowed,
            dice: Dice(seed),
        };
        for node in this.nodes.iter().flatten() {
            this.at_site[scene.places[node.place].site] += 1;
            this.copies.come(&this.market, node.place, &node.content);
        }
        this
    }

    /// The nodes that are left in the end, what they cost, and where parts are.
    fn run(mut self) -> (f64, Vec<Part>, Vec<Node>) {
        self.close_sites();
        self.index();
        let has_load =
            |node: &&Node| node.content.iter().any(|(part, _)| self.serves(*part).is_some());
        let of_loads = self.nodes.iter().flatten().filter(has_load).count();
        let trials = trials(self.wasteful.len() + LOADS * of_loads);
        for trial in 0..trials {
            if trial % 256 == 0 {
                self.index();
            }
            match trial % 8 {
                3 | 7 => self.regive(),
                5 | 1 if self.known.has_loads => self.exchange(),
                _ => {
                    let chosen = self.chosen();
                    self.trial(chosen, None);
                }
            }
        }
        self.close_sites();
        let nodes: Vec<Node> = self.nodes.iter().flatten().cloned().collect();
        let sites = self.at_site.iter().zip(&self.market.scene.sites);
        let sites = sites.filter(|(nodes, _)| **nodes > 0).map(|(_, (_, price))| price);
        let each = nodes
            .iter()
            .map(|node| self.price(node.place) + self.charges(node.place, &node.content));
        let stored = (0..self.at_site.len()).map(|site| self.copies.at(&self.market, site));
        let cost = sites.sum::<f64>() + each.sum::<f64>() + stored.sum::<f64>();
        (cost, self.market.parts, nodes)
    }

    fn index(&mut self) {
        self.nodes.retain(Option::is_some);
        self.by_kind.iter_mut().for_each(Vec::clear);
        self.roomy.iter_mut().for_each(Vec::clear);
        let mut wasteful = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let place = &self.market.scene.places[node.place];
            self.by_kind[place.kind].push(index);
            let is_roomy = match place.capacity[0] {
                0 => node.free[1] > 0 && node.free[2] > 0,
                _ => node.free[0] > 0,
            };
            if is_roomy {
                self.roomy[place.kind].push(index);
            }
            let waste = self.waste(node);
            if waste > 1e-4 * place.price + 1e-6 {
                wasteful.push((waste, index));
            }
        }
        wasteful.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.wasteful = wasteful.into_iter().map(|(_, index)| index).collect();
    }

    fn price(&self, place: usize) -> f64 {
        self.market.scene.places[place].price
    }

    fn is_allowed(&self, part: usize, place: usize) -> bool {
        self.allowed[part][place / 64] >> (place % 64) & 1 == 1
    }

    /// What a node costs beyond what its content is worth.
    fn waste(&self, node: &Node) -> f64 {
        let worth = node.content.iter().map(|(part, count)| {
            let one = &self.market.parts[*part];
            let place = &self.market.scene.places[node.place];
            let unit = self.market.value[*part] * one.rate(place);
            (unit - one.charge(place)) * f64::from(*count)
        });
        self.market.node[node.place] - worth.sum::<f64>()
    }

    /// A few nodes that could hold each other's replicas, wasteful ones rather than full ones.
    fn chosen(&mut self) -> Vec<usize> {
        let live = self.nodes.len();
        let worst = self.wasteful.len();
        let first = match self.dice.roll(8) {
            0 => self.dice.roll(live),
            // Of the worst more often than of the others.
            _ => {
                let at = (0..4).map(|_| self.dice.roll(worst)).min().unwrap_or(0);
                let Some(first) = self.wasteful.get(at) else { return Vec::new() };
                *first
            }
        };
        if self.nodes.get(first).is_none_or(Option::is_none) {
            return Vec::new();
        }
        let mut chosen = vec![first];
        let count = 1 + self.dice.roll(5);
        let Some(node) = &self.nodes[first] else { return chosen };
        let place = node.place;
        let kind = self.market.scene.places[place].kind;
        let parts: Vec<usize> = node.content.iter().map(|(part, _)| *part).collect();
        for _ in 0..count * 3 {
            let other = match self.dice.roll(5) {
                0 => self.dice.roll(live),
                1 | 2 => {
                    let at = self.dice.roll(worst);
                    let Some(other) = self.wasteful.get(at) else { continue };
                    *other
                }
                _ => {
                    let at = self.dice.roll(self.by_kind[kind].len());
                    let Some(peer) = self.by_kind[kind].get(at) else { continue };
                    *peer
                }
            };
            let Some(node) = self.nodes.get(other).and_then(Option::as_ref) else { continue };
            let exchanges = parts.iter().any(|part| self.is_allowed(*part, node.place))
                || node.content.iter().any(|(part, _)| self.is_allowed(*part, place));
            if exchanges && !chosen.contains(&other) {
                chosen.push(other);
            }
            if chosen.len() > count {
                break;
            }
        }
        chosen
    }

    /// Gives what is on a wasteful node other clouds, sites or zones, with what must be there too, if that is cheaper.
    fn regive(&mut self) {
        let worst = self.wasteful.len();
        let at = (0..3).map(|_| self.dice.roll(worst)).min().unwrap_or(0);
        let node = self.wasteful.get(at).and_then(|index| self.nodes.get(*index)?.as_ref());
        let Some(node) = node else { return };
        let given = node.content.iter().map(|(part, _)| *part);
        let given: Vec<usize> =
            given.filter(|part| self.market.parts[*part].given.is_some()).collect();
        let mut moved: Vec<Moved> = Vec::new();
        for part in given {
            let is_moved = moved.iter().any(|one| one.part == part);
            let Some((members, over, to)) = self.elsewhere_for(part).filter(|_| !is_moved) else {
                continue;
            };
            for one in members {
                let (home, allowed) = self.home(one, over, to);
                moved.push(self.give(one, home, allowed, Some((over, to))));
            }
        }
        if moved.is_empty() {
            return;
        }
        let holds = |node: &Node| {
            node.content.iter().any(|(part, _)| moved.iter().any(|one| one.part == *part))
        };
        let chosen: Vec<usize> = (0..self.nodes.len())
            .filter(|index| self.nodes[*index].as_ref().is_some_and(holds))
            .collect();
        if !self.trial(chosen, None) {
            for Moved { part, given, home, allowed } in moved.into_iter().rev() {
                self.give(part, home, allowed, given);
            }
        }
    }

    /// A section where a part with a rule is not yet, one of the best, and the parts that must go there with it.
    fn elsewhere_for(&mut self, part: usize) -> Option<(Vec<usize>, SpreadOver, usize)> {
        let parts = &self.market.parts;
        let (over, section) = parts[part].given?;
        let group = parts[part].group;
        // The zones of one site: all parts would have to leave it.
        if self.market.scene.rules(group).together && over == SpreadOver::Zone {
            return None;
        }
        let siblings = &self.known.siblings[group];
        let is_taken = |other: usize| {
            let there = siblings.iter().filter(|one| parts[**one].amount > 0.0);
            there.into_iter().any(|one| parts[*one].given == Some((over, other)))
        };
        let sections = self
            .known
            .sections
            .entry((group, over))
            .or_insert_with(|| sections(&self.market, group, over));
        let free = |all: &[usize], most: usize| -> Vec<usize> {
            let mut at_site = vec![0; self.market.scene.sites.len()];
            // One zone of a site costs what another does.
            let is_new = |section: &usize| {
                over != SpreadOver::Zone || {
                    let site = &mut at_site[self.market.scene.site_of_zone[*section]];
                    *site += 1;
                    *site <= 2
                }
            };
            let free = all.iter().copied().filter(|other| !is_taken(*other));
            free.filter(is_new).take(most).collect()
        };
        let mut free_ones = free(&sections.best, BEST);
        if parts[part].amount <= 1.0 {
            free_ones.extend(free(&sections.cheapest, ALONE));
        }
        let members = siblings.iter().copied();
        let members = members.filter(|one| parts[*one].given == Some((over, section))).collect();
        let to = *free_ones.get(self.dice.roll(free_ones.len()))?;
        Some((members, over, to))
    }

    fn home(&mut self, part: usize, over: SpreadOver, section: usize) -> (Home, Bits) {
        let known = self.known.homes.entry((part, over, section)).or_insert_with(|| {
            let home = self.market.home(part, over, section);
            let allowed = set(&home.candidates, self.market.scene.places.len());
            (home, allowed)
        });
        known.clone()
    }

    /// The same part elsewhere; where it was.
    fn give(&mut self, part: usize, home: Home, allowed: Bits, given: Given) -> Moved {
        let one = &mut self.market.parts[part];
        let options = &mut self.market.options[part];
        Moved {
            part,
            given: std::mem::replace(&mut one.given, given),
            home: Home {
                candidates: std::mem::replace(&mut one.candidates, home.candidates),
                options: std::mem::replace(options, home.options),
            },
            allowed: std::mem::replace(&mut self.allowed[part], allowed),
        }
    }

    /// Takes replicas of a load from a node, and asks for so many on another type of GPU or elsewhere that all is served.
    fn exchange(&mut self) {
        // Whether something else would do is not always seen from what a node wastes.
        let worst = self.wasteful.len();
        let index = match self.dice.roll(2) {
            0 => self.wasteful.get(self.dice.roll(worst)).copied(),
            _ => Some(self.dice.roll(self.nodes.len())),
        };
        let node = index.and_then(|index| Some((index, self.nodes.get(index)?.as_ref()?)));
        let Some((index, node)) = node else { return };
        let of_loads = node.content.iter().filter(|(part, _)| self.serves(*part).is_some());
        let of_loads: Vec<(usize, u32)> = of_loads.copied().collect();
        let Some(&(part, there)) = of_loads.get(self.dice.roll(of_loads.len())) else { return };
        let parts = &self.market.parts;
        let group = parts[part].group;
        let others = self.known.siblings[group].iter().copied().filter(|one| *one != part);
        let is_here = self.dice.roll(2) == 0;
        let others = others.filter(|one| !is_here || parts[*one].given == parts[part].given);
        let others: Vec<usize> = others.collect();
        let Some(&other) = others.get(self.dice.roll(others.len())) else { return };
        let Some(serves) = self.serves(other) else { return };
        let gone = match self.dice.roll(2) {
            0 => f64::from(there),
            _ => 1.0 + self.dice.roll(there as usize) as f64,
        };
        self.ask(part, -gone);
        let mut come = (self.missing(group) / serves.rate - 1e-9).ceil().max(0.0);
        self.ask(other, come);
        for _ in 0..SPARE {
            if !self.is_served(group) {
                self.ask(other, 1.0);
                come += 1.0;
            }
        }
        let mut chosen = vec![index];
        if self.dice.roll(2) == 0 {
            chosen.extend(self.chosen().into_iter().filter(|one| *one != index));
        }
        if !(self.is_served(group) && self.trial(chosen, Some(other))) {
            self.ask(part, gone);
            self.ask(other, -come);
        }
    }

    /// What a part serves of a load whose replicas may be of any number.
    fn serves(&self, part: usize) -> Option<Serves> {
        let one = &self.market.parts[part];
        let rules = self.market.scene.rules(one.group);
        let is_free = !one.is_fixed && !rules.is_counted && !is_even(rules);
        one.serves.filter(|it| is_free && it.rate > 0.0)
    }

    /// Of a load, what no replica serves.
    fn missing(&self, group: usize) -> f64 {
        let there = self.there(group).into_iter().map(|one| one.replicas * one.rate);
        self.market.scene.demand(group).asked() - there.sum::<f64>()
    }

    fn there(&self, group: usize) -> Vec<There> {
        let parts = self.known.siblings[group].iter().map(|part| &self.market.parts[*part]);
        let there = parts.filter_map(|part| {
            let place = *part.candidates.first()?;
            let rate = part.serves?.rate;
            Some(There { place, replicas: part.amount, rate, is_steady: part.is_steady })
        });
        there.collect()
    }

    fn is_served(&self, group: usize) -> bool {
        loads::is_served(self.market.scene, group, &self.there(group))
    }

    /// Asks for so many replicas more.
    fn ask(&mut self, part: usize, more: f64) {
        self.market.parts[part].amount += more;
        self.taken.left[part] += more;
    }

    /// Takes nodes apart and puts them together again, with another part that waits; whether that costs no more.
    fn trial(&mut self, chosen: Vec<usize>, other: Option<usize>) -> bool {
        if chosen.is_empty() {
            return false;
        }
        self.copies.begin();
        let before = self.taken.caps.clone();
        let mut gone = Vec::new();
        let mut saved = 0.0;
        let mut waiting: Vec<usize> = other.into_iter().collect();
        for index in chosen {
            let Some(node) = self.nodes[index].take() else { continue };
            saved += self.remove(&node);
            waiting.extend(node.content.iter().map(|(part, _)| *part));
            gone.push((index, node));
        }
        waiting.sort_unstable();
        waiting.dedup();
        let left: Vec<f64> = waiting.iter().map(|part| self.taken.left[*part]).collect();
        let mut changed: Vec<(usize, Node)> = Vec::new();
        let length = self.nodes.len();
        let tilt = if self.dice.roll(2) == 0 { 0.0 } else { 0.1 };
        let charges = self.squeeze(&waiting, &mut changed);
        let rented = self.rent(&waiting, saved - charges, tilt);
        let spent = rented.map(|rented| charges + rented);
        if spent.is_some_and(|spent| spent <= saved + 1e-9) {
            return true;
        }
        // As it was.
        for node in self.nodes.split_off(length).into_iter().flatten() {
            self.at_site[self.market.scene.places[node.place].site] -= 1;
        }
        for (index, node) in changed.into_iter().rev() {
            self.nodes[index] = Some(node);
        }
        for (part, left) in waiting.iter().zip(left) {
            self.taken.left[*part] = left;
        }
        for (index, node) in gone {
            self.market.count(node.place, &node.content, &mut self.taken, 1.0);
            self.at_site[self.market.scene.places[node.place].site] += 1;
            self.nodes[index] = Some(node);
        }
        self.copies.undo();
        self.taken.caps = before;
        false
    }

    /// Gives a node back; what that saves.
    fn remove(&mut self, node: &Node) -> f64 {
        let scene = self.market.scene;
        let place = &scene.places[node.place];
        self.market.count(node.place, &node.content, &mut self.taken, -1.0);
        self.at_site[place.site] -= 1;
        let closing = if self.at_site[place.site] == 0 { scene.sites[place.site].1 } else { 0.0 };
        let weights = self.copies.go(&self.market, node.place, &node.content);
        place.price + closing + self.charges(node.place, &node.content) + weights
    }

    fn charges(&self, place: usize, content: &[(usize, u32)]) -> f64 {
        let place = &self.market.scene.places[place];
        let each = content
            .iter()
            .map(|(part, count)| self.market.parts[*part].paid(place) * f64::from(*count));
        each.sum()
    }

    /// Puts what waits onto nodes that are there. What that is charged.
    fn squeeze(&mut self, waiting: &[usize], changed: &mut Vec<(usize, Node)>) -> f64 {
        let mut charges = 0.0;
        let mut order: Vec<usize> = waiting.to_vec();
        order.sort_by_key(|part| std::cmp::Reverse(self.market.parts[*part].size));
        for part in order {
            let mut kinds = self.market.options[part].to_vec();
            kinds.iter_mut().for_each(|place| *place = self.market.scene.places[*place].kind);
            kinds.sort_unstable();
            kinds.dedup();
            for kind in kinds {
                for at in 0..self.roomy[kind].len() {
                    if self.taken.left[part] <= 1e-9 {
                        break;
                    }
                    charges += self.seat(part, self.roomy[kind][at], changed);
                }
            }
        }
        charges
    }

    /// Puts as much of a part onto a node as has room there. What that is charged.
    fn seat(&mut self, part: usize, index: usize, changed: &mut Vec<(usize, Node)>) -> f64 {
        let market = &self.market;
        let one = &market.parts[part];
        let Some(node) = self.nodes.get(index).and_then(Option::as_ref) else { return 0.0 };
        let fit = fitting(&one.size, &node.free);
        if fit == 0 || !self.is_allowed(part, node.place) {
            return 0.0;
        }
        let place = &market.scene.places[node.place];
        let rate = one.rate(place);
        let wanted = (self.taken.left[part] / rate - 1e-9).ceil();
        let count = f64::from(fit).min(wanted) as u32;
        // The node itself is counted already.
        let more = |cap: usize| market.scene.seat_use(cap, one) * f64::from(count);
        let is_full = place.caps.iter().any(|cap| {
            let more = more(*cap);
            more > 0.0 && self.taken.caps[*cap] + more > market.scene.caps[*cap].max + 1e-9
        });
        if is_full {
            return 0.0;
        }
        let content = [(part, count)];
        let charged =
            self.charges(node.place, &content) + self.copies.come(market, node.place, &content);
        changed.push((index, node.clone()));
        for cap in &place.caps {
            self.taken.caps[*cap] += more(*cap);
        }
        self.taken.left[part] -= rate * f64::from(count);
        let size = one.size;
        if let Some(node) = &mut self.nodes[index] {
            take(&mut node.free, &size, count);
            match node.content.iter_mut().find(|(one, _)| *one == part) {
                Some((_, there)) => *there += count,
                None => node.content.push((part, count)),
            }
        }
        charged
    }

    /// New nodes for what still waits, for at most so much. What they cost.
    fn rent(&mut self, waiting: &[usize], most: f64, tilt: f64) -> Option<f64> {
        let market = &self.market;
        let mut spent = 0.0;
        loop {
            let mut open: Vec<usize> =
                waiting.iter().copied().filter(|part| self.taken.left[*part] > 1e-9).collect();
            open.sort_by_key(|part| std::cmp::Reverse(market.parts[*part].size));
            if open.is_empty() {
                return Some(spent);
            }
            let mut places: Vec<usize> =
                open.iter().flat_map(|part| market.options[*part].iter().copied()).collect();
            places.sort_unstable();
            places.dedup();
            let mut best: Option<(f64, f64, usize, Content)> = None;
            for place in places {
                let there = &market.scene.places[place];
                let opening = match self.at_site[there.site] {
                    0 => market.scene.sites[there.site].1,
                    _ => 0.0,
                };
                let price = there.price + opening;
                if spent + price > most + 1e-9 {
                    continue;
                }
                let allowed = open.iter().copied().filter(|part| self.is_allowed(*part, place));
                let (worth, content) = market.content(place, allowed, &self.taken);
                if content.is_empty() || market.room(place, &content, &self.taken, 1) == 0 {
                    continue;
                }
                let mut ratio = ratio(worth, price + self.copies.brought(market, place, &content));
                if tilt > 0.0 {
                    ratio *= 1.0 + tilt * (self.dice.roll(100) as f64 / 100.0);
                }
                if best.as_ref().is_none_or(|best| ratio > best.0) {
                    best = Some((ratio, price, place, content));
                }
            }
            let (_, price, place, content) = best?;
            spent += price + self.charges(place, &content);
            spent += self.copies.come(market, place, &content);
            self.market.count(place, &content, &mut self.taken, 1.0);
            self.at_site[market.scene.places[place].site] += 1;
            self.nodes.push(Some(market.node_of(place, content)));
        }
    }

    /// Sites whose nodes cost less elsewhere than their control plane does.
    fn close_sites(&mut self) {
        for site in 0..self.at_site.len() {
            if self.at_site[site] == 0 {
                continue;
            }
            let here: Vec<usize> = (0..self.nodes.len())
                .filter(|index| {
                    let node = self.nodes[*index].as_ref();
                    node.is_some_and(|node| self.market.scene.places[node.place].site == site)
                })
                .collect();
            let mut left = self.market.scene.sites[site].1 + self.copies.at(&self.market, site);
            let mut moves = Vec::new();
            for &index in &here {
                let Some((place, more)) = self.elsewhere(index, site) else { break };
                left -= more;
                if left <= 0.0 {
                    break;
                }
                moves.push(place);
            }
            if moves.len() == here.len() {
                for (index, place) in here.into_iter().zip(moves) {
                    let Some(node) = self.nodes[index].take() else { continue };
                    self.remove(&node);
                    self.copies.come(&self.market, place, &node.content);
                    self.market.count(place, &node.content, &mut self.taken, 1.0);
                    self.at_site[self.market.scene.places[place].site] += 1;
                    self.nodes[index] = Some(self.market.node_of(place, node.content));
                }
            }
        }
    }

    /// The cheapest place at another open site that holds what is on a node, without a limit on it, and what
    /// it costs more.
    fn elsewhere(&self, index: usize, site: usize) -> Option<(usize, f64)> {
        let scene = self.market.scene;
        let node = self.nodes[index].as_ref()?;
        let now = self.price(node.place) + self.charges(node.place, &node.content);
        let (first, _) = *node.content.first()?;
        let here = &scene.places[node.place];
        let mut best: Option<(usize, f64)> = None;
        for &place in self.market.parts[first].candidates.iter() {
            let place = place as usize;
            let there = &scene.places[place];
            if there.site == site || self.at_site[there.site] == 0 || !there.caps.is_empty() {
                continue;
            }
            let used = here.capacity.iter().zip(node.free).map(|(has, free)| has - free);
            let holds = used.zip(there.capacity).all(|(used, has)| used <= has)
                && node.content.iter().all(|(part, _)| self.is_allowed(*part, place));
            // The same rate, so that loads are served as before.
            if !holds || there.kind != here.kind {
                continue;
            }
            let weights = self.copies.brought(&self.market, place, &node.content);
            let more = there.price + self.charges(place, &node.content) + weights - now;
            if best.is_none_or(|best| more < best.1) {
                best = Some((place, more));
            }
        }
        best
    }
}

/// Where a group may be.
fn sections(market: &Market, group: usize, over: SpreadOver) -> Sections {
    let scene = market.scene;
    let whole = scene.part(group);
    let rules = scene.rules(group);
    let spot = rules.spot.filter(|_| rules.together);
    let ordered = |each: &dyn Fn(u32) -> f64| {
        let each: Vec<f64> = whole.candidates.iter().map(|place| each(*place)).collect();
        let ordered = market.prices.sections(scene, &whole, &each, over, spot);
        ordered.into_iter().map(|(_, section)| section).collect()
    };
    Sections {
        best: ordered(&|place| market.prices.unit(scene, &whole, place)),
        cheapest: ordered(&|place| market.node[place as usize]),
    }
}

/// Places as bits.
fn set(candidates: &[u32], places: usize) -> Bits {
    let mut set = vec![0; places.div_ceil(64)];
    for place in candidates {
        set[*place as usize / 64] |= 1 << (place % 64);
    }
    set.into()
}

/// The same on every machine (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }
}
