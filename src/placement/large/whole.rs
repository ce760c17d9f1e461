//! A higher bound, and how many nodes of which places a good placement has: nodes are whole.
//!
//! Replicas may still be divided, opening sites costs nothing more and of a demand's own rules only those count that
//! parts can say. Without the others, whatever is on a node of any place can be on one of the kept place that stands
//! for it, which costs no more; so the integer program over the kept places bounds every placement.
//!
//! Demands that share no place are programs apart. Where most of the money is, the program is solved, by cuts or by a
//! search; for the rest the resource prices' bound is good enough. A limit that counts nodes of both is priced in both.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::unionfind::UnionFind;

use super::Aim;
use super::cover::Cover;
use super::cuts::Divided;
use super::parts::{Asked, asked};
use super::prices::{Class, Prices, classes};
use super::scene::{Part, Scene};
use crate::config::SpreadOver;
use crate::placement::model::{Effort, Model, Outcome, Pains, Sense};
use crate::placement::packing::{Amounts, fitting};

/// Up to so many pairs of a class and a place a program takes seconds.
const MANY: usize = 80_000;
/// Up to so many it takes some hundredths of a second.
const FEW: usize = 400;
/// Of a program with more pairs cuts prove nearly what a search does, in a small part of its time; of fewer groups those of
/// a handful, and of more of them.
const SEARCHED: [usize; 2] = [200, 1_000];
/// Of all money, what such a program is made for at least, and a larger one.
const WORTH_FEW: f64 = 0.005;
const WORTH: f64 = 0.05;
/// A node that a class alone fills less than so far is said not to be divisible, where there are many pairs.
const FULL: f64 = 0.8;
/// So many sums of sizes are looked at.
const STEPS: u64 = 2_000;

pub(super) struct Whole {
    /// No placement's objective is less, where that was asked for.
    pub bound: f64,
    /// By part: places, and how many replicas are there.
    pub there: Vec<Vec<(usize, u32)>>,
    /// By place.
    pub nodes: BTreeMap<usize, u32>,
}

/// `None` where that is not known, or not worth its time.
pub(super) fn solved(scene: &Scene, parts: &[Part], prices: &Prices, aim: Aim) -> Option<Whole> {
    let cover = Cover::new(scene, parts);
    // What is spread is spread by rows of its own.
    let is_apart = |part: &Part| {
        aim == Aim::Nodes && matches!(asked(scene.rules(part.group), part), Asked::Sections(..))
    };
    let classes = classes(scene, parts, &cover, is_apart);
    let families = families(scene, parts, &cover, &classes);
    let worth = |class: &&Class| {
        let seats = class.seats.iter();
        let units = seats.map(|(at, _)| prices.unit(scene, &class.part, cover.kept[*at] as u32));
        units.fold(f64::INFINITY, f64::min) * class.part.amount
    };
    let all: f64 = classes.iter().map(|class| worth(&class)).sum();
    let is_program = |family: &Vec<&Class>| {
        let pairs: usize = family.iter().map(|class| class.seats.len()).sum();
        let least = if pairs <= FEW { WORTH_FEW } else { WORTH };
        let is_worth = family.iter().map(worth).sum::<f64>() >= least * all;
        // What replicas are charged or serve would have to be no worse at the place that stands for another.
        let is_plain =
            |class: &&Class| class.part.charges.is_empty() && class.part.rates.is_empty();
        pairs <= MANY && is_worth && family.iter().all(is_plain)
    };
    let (programs, rest): (Vec<_>, Vec<_>) = families.into_iter().partition(is_program);
    if programs.is_empty() {
        return None;
    }
    let mut is_rest = vec![false; scene.groups.len()];
    for (part, _) in rest.iter().flatten().flat_map(|class| &class.members) {
        is_rest[parts[*part].group] = true;
    }
    // What the rest may use is counted by its price alone.
    let mut is_priced = vec![false; scene.caps.len()];
    for part in parts.iter().filter(|part| is_rest[part.group]) {
        for place in part.candidates.iter() {
            scene.places[*place as usize].caps.iter().for_each(|cap| is_priced[*cap] = true);
        }
    }
    let priced = scene.caps.iter().enumerate().filter(|(cap, _)| is_priced[*cap]);
    let paid_back: f64 = priced.map(|(cap, one)| one.max * prices.cap(cap)).sum();
    let rest = (0..scene.groups.len()).filter(|group| is_rest[*group]);
    let rest: f64 = rest.map(|group| prices.least(scene, &scene.part(group))).sum();
    let mut whole = Whole {
        bound: rest - paid_back + scene.least_sites,
        there: vec![Vec::new(); parts.len()],
        nodes: BTreeMap::new(),
    };
    for family in programs {
        let mut program = Program::new(scene, parts, &cover, prices, &is_priced);
        program.rent(&family);
        family.iter().for_each(|class| program.place(class, aim));
        program.limit();
        program.solve(&family, aim, &mut whole)?;
    }
    Some(whole)
}

/// Classes that share no place and no demand with others.
fn families<'a>(
    scene: &Scene,
    parts: &[Part],
    cover: &Cover,
    classes: &'a [Class],
) -> Vec<Vec<&'a Class>> {
    let groups = scene.groups.len();
    let mut union = UnionFind::new(groups + cover.kept.len());
    for class in classes {
        for (part, _) in &class.members {
            for (at, _) in &class.seats {
                union.union(parts[*part].group, groups + at);
            }
        }
    }
    let mut families: BTreeMap<usize, Vec<&Class>> = BTreeMap::new();
    for class in classes {
        families.entry(union.find(class.part.group)).or_default().push(class);
    }
    families.into_values().collect()
}

type Terms = Vec<(usize, f64)>;

/// The program of one family.
struct Program<'a> {
    scene: &'a Scene<'a>,
    parts: &'a [Part],
    cover: &'a Cover,
    prices: &'a Prices,
    is_priced: &'a [bool],
    is_small: bool,
    /// Whether cuts take the place of a search.
    is_cut: bool,
    model: Model,
    cost: Vec<f64>,
    /// By kept place that is in it: its nodes.
    nodes: BTreeMap<usize, usize>,
    /// By class, by seat: its replicas.
    seats: Vec<Vec<usize>>,
    /// By kept place and resource: what is taken.
    amounts: BTreeMap<usize, [Terms; 4]>,
    /// By limit.
    caps: Vec<Terms>,
    /// By group and section: what of it is there, and how much may be.
    sections: BTreeMap<(usize, usize), (Terms, f64)>,
    /// By group that stays at one site: whether it is there, or at none that is told apart.
    sites: BTreeMap<usize, BTreeMap<Option<usize>, usize>>,
}

impl<'a> Program<'a> {
    fn new(
        scene: &'a Scene<'a>,
        parts: &'a [Part],
        cover: &'a Cover,
        prices: &'a Prices,
        is_priced: &'a [bool],
    ) -> Program<'a> {
        Program {
            scene,
            parts,
            cover,
            prices,
            is_priced,
            is_small: false,
            is_cut: false,
            model: Model::default(),
            cost: Vec::new(),
            nodes: BTreeMap::new(),
            seats: Vec::new(),
            amounts: BTreeMap::new(),
            caps: vec![Vec::new(); scene.caps.len()],
            sections: BTreeMap::new(),
            sites: BTreeMap::new(),
        }
    }

    /// Nodes of the places that a family may use.
    fn rent(&mut self, family: &[&Class]) {
        let pairs: usize = family.iter().map(|class| class.seats.len()).sum();
        self.is_small = pairs <= FEW;
        let groups = self.scene.groups.len();
        let [of_handful, of_some] = SEARCHED;
        let searched = if groups <= super::HANDFUL { of_handful } else { of_some };
        self.is_cut = groups <= super::SOME && pairs > searched;
        let members = family.iter().flat_map(|class| &class.members);
        let replicas: f64 = members.map(|(part, _)| self.parts[*part].amount.ceil()).sum();
        for (at, _) in family.iter().flat_map(|class| &class.seats) {
            if self.nodes.contains_key(at) {
                continue;
            }
            let place = &self.scene.places[self.cover.kept[*at]];
            let uses = place.caps.iter().map(|cap| (*cap, self.scene.node_use(*cap, place)));
            let uses: Terms = uses.collect();
            let column = self.column(replicas, true, place.price, &uses);
            self.nodes.insert(*at, column);
        }
    }

    /// Adds a column that takes so much of limits.
    fn column(&mut self, upper: f64, is_whole: bool, cost: f64, uses: &Terms) -> usize {
        let column = self.model.column(upper, is_whole);
        let (priced, counted): (Terms, Terms) =
            uses.iter().partition(|(cap, _)| self.is_priced[*cap]);
        let priced = priced.iter().map(|(cap, each)| self.prices.cap(*cap) * each);
        self.cost.push(cost + priced.sum::<f64>());
        for (cap, each) in counted.into_iter().filter(|(_, each)| *each > 0.0) {
            self.caps[cap].push((column, each));
        }
        column
    }

    /// Replicas of a class.
    fn place(&mut self, class: &Class, aim: Aim) {
        let part = &class.part;
        let rules = self.scene.rules(part.group);
        let spread = match asked(rules, part) {
            Asked::Sections(over, min) if aim == Aim::Nodes => {
                Some((over, self.scene.part(part.group).amount + 1.0 - min as f64))
            }
            _ => None,
        };
        let kept = self.kept(class);
        let most_together = self.most_together(class);
        let is_whole = self.is_cut && self.is_whole(class);
        let mut seats = Vec::new();
        for (at, _) in &class.seats {
            let index = self.cover.kept[*at];
            let place = &self.scene.places[index];
            let uses = place.caps.iter().map(|cap| (*cap, self.scene.seat_use(*cap, part)));
            let uses: Terms = uses.collect();
            let share = kept.get(&index).copied().unwrap_or(0.0);
            let column = self.column(part.amount, is_whole, share, &uses);
            seats.push(column);
            if let Some((over, most)) = spread {
                let section = (part.group, self.scene.section(index as u32, over));
                let there = self.sections.entry(section).or_insert_with(|| (Vec::new(), most));
                there.0.push((column, 1.0));
            }
            let amounts = self.amounts.entry(*at).or_default();
            for (amounts, size) in amounts.iter_mut().zip(part.size) {
                amounts.push((column, size as f64));
            }
            let fit = self.fit(class, &place.capacity, aim).min(most_together);
            let (fit, full) = match self.is_small {
                true => (fit.min(part.amount), 1.0 - 1e-9),
                false => (fit, FULL),
            };
            if fit * part.share(place) < full {
                self.model.row(vec![(column, 1.0), (self.nodes[at], -fit)], Sense::AtMost, 0.0);
            }
        }
        let mut all: Terms = seats.iter().map(|column| (*column, 1.0)).collect();
        self.seats.push(seats);
        if !rules.together {
            self.model.row(all, Sense::AtLeast, part.amount);
            return;
        }
        let site = part.given.map(|(_, site)| site);
        let known = self.sites.get(&part.group).and_then(|sites| sites.get(&site)).copied();
        let is_there = known.unwrap_or_else(|| self.column(1.0, true, 0.0, &Vec::new()));
        self.sites.entry(part.group).or_default().insert(site, is_there);
        all.push((is_there, -part.amount));
        self.model.row(all, Sense::AtLeast, 0.0);
    }

    /// By kept place: the least that one replica stands for of its model's weights, there or where that place stands for.
    fn kept(&self, class: &Class) -> BTreeMap<usize, f64> {
        let part = &class.part;
        let mut least = BTreeMap::new();
        if part.shares.is_empty() {
            return least;
        }
        // They share the places that are kept, not those which these stand for.
        let members = class.members.iter();
        let places = members.flat_map(|(member, _)| self.parts[*member].candidates.iter());
        for place in places.map(|place| *place as usize) {
            let Some(by) = self.cover.by[place] else { continue };
            let share = part.shares[self.scene.places[place].site];
            let least = least.entry(by).or_insert(share);
            *least = share.min(*least);
        }
        least
    }

    /// Whether whole replicas of all members are whole in units of the first.
    fn is_whole(&self, class: &Class) -> bool {
        let is_whole = |number: f64| (number - number.round()).abs() < 1e-9;
        let mut members = class.members.iter();
        members.all(|(part, scale)| is_whole(*scale) && is_whole(self.parts[*part].amount))
    }

    /// How much of a class is on one node at most.
    fn fit(&self, class: &Class, capacity: &Amounts, aim: Aim) -> f64 {
        let sizes = class.members.iter().map(|(member, _)| self.parts[*member].size);
        match aim {
            Aim::Bound => most_on(sizes, capacity),
            // Of one size alone: what mixtures save is found when replicas are put onto nodes.
            Aim::Nodes => {
                let scales = class.members.iter().map(|(_, scale)| scale);
                let fits = sizes
                    .zip(scales)
                    .map(|(size, scale)| f64::from(fitting(&size, capacity)) * scale);
                fits.fold(0.0, f64::max)
            }
        }
    }

    /// How many replicas of a class the rules of its demand let be in one zone, and so on one node.
    fn most_together(&self, class: &Class) -> f64 {
        let part = &class.part;
        let rules = self.scene.rules(part.group);
        let is_one =
            class.members.iter().all(|(member, _)| self.parts[*member].group == part.group);
        if !is_one {
            return f64::INFINITY;
        }
        let amount = self.scene.part(part.group).amount;
        let is_zone = |over: &SpreadOver| *over == SpreadOver::Zone;
        let by_min = rules.min.iter().filter(|(over, _)| is_zone(over));
        let by_min = by_min.map(|(_, min)| amount + 1.0 - *min as f64);
        let by_share = rules.share.iter().filter(|(over, _)| is_zone(over));
        by_min.chain(by_share.map(|(_, most)| *most)).fold(f64::INFINITY, f64::min)
    }

    /// The rows that several classes share.
    fn limit(&mut self) {
        for (there, most) in std::mem::take(&mut self.sections).into_values() {
            self.model.row(there, Sense::AtMost, most);
        }
        for sites in std::mem::take(&mut self.sites).into_values() {
            let sites = sites.into_values().map(|column| (column, 1.0)).collect();
            self.model.row(sites, Sense::AtLeast, 1.0);
        }
        for (at, amounts) in std::mem::take(&mut self.amounts) {
            let place = self.cover.kept[at];
            for (k, mut terms) in amounts.into_iter().enumerate() {
                if self.cover.binding[place][k] {
                    terms.push((self.nodes[&at], -self.cover.most[place][k]));
                    self.model.row(terms, Sense::AtMost, 0.0);
                }
            }
        }
        for (cap, terms) in std::mem::take(&mut self.caps).into_iter().enumerate() {
            self.model.row(terms, Sense::AtMost, self.scene.caps[cap].max);
        }
    }

    /// Adds what the program proves, or what nodes it finds.
    fn solve(self, family: &[&Class], aim: Aim, whole: &mut Whole) -> Option<()> {
        if self.is_cut {
            let divided = Divided::new(&self.model, &self.cost)?;
            if aim == Aim::Bound {
                whole.bound += divided.bound();
            } else {
                let values = divided.rounded(self.nodes.values().copied())?;
                self.read(&values, family, whole);
            }
            return Some(());
        }
        // A bound is nearly there before the search begins.
        let is_few = self.scene.groups.len() <= super::FEW;
        let (nodes, gap) = match aim {
            Aim::Bound if self.is_small => (200, 3e-4),
            Aim::Bound if is_few => (20, 3e-4),
            Aim::Bound => (1, 3e-4),
            Aim::Nodes if is_few => (200, 1e-3),
            Aim::Nodes => (200, 3e-4),
        };
        let pains = if self.is_small { Pains::Fewest } else { Pains::Few };
        let effort = Effort { pains, ..Effort::new(gap, nodes) };
        let solved = self.model.minimise(&self.cost, None, effort);
        let Outcome::Solved { values, bound } = solved else { return None };
        whole.bound += bound;
        self.read(&values, family, whole);
        Some(())
    }

    /// Which places have how many nodes, and which parts' replicas.
    fn read(&self, values: &[f64], family: &[&Class], whole: &mut Whole) {
        for (at, column) in &self.nodes {
            if values[*column] > 0.5 {
                whole.nodes.insert(self.cover.kept[*at], values[*column].round() as u32);
            }
        }
        for (class, seats) in family.iter().zip(&self.seats) {
            let mut left: Vec<(usize, f64)> = Vec::new();
            for ((at, _), column) in class.seats.iter().zip(seats) {
                if values[*column] > 1e-6 {
                    left.push((self.cover.kept[*at], values[*column]));
                }
            }
            // The largest first, each replica where most is left.
            let mut members = class.members.clone();
            members.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            for (part, scale) in members {
                let mut there: BTreeMap<usize, u32> = BTreeMap::new();
                for _ in 0..self.parts[part].amount.ceil() as u32 {
                    let most =
                        left.iter_mut().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
                    let Some((place, amount)) = most else { break };
                    *amount -= scale;
                    *there.entry(*place).or_insert(0) += 1;
                }
                whole.there[part] = there.into_iter().collect();
            }
        }
    }
}

/// Of replicas of these sizes in any mixture, how many fit onto a node at most; in units of the first.
fn most_on(sizes: impl Iterator<Item = Amounts>, capacity: &Amounts) -> f64 {
    let sizes: Vec<Amounts> = sizes.collect();
    let first = sizes[0];
    if sizes.iter().all(|size| *size == first) {
        return f64::from(fitting(&first, capacity));
    }
    // Of what the first takes, which sums there are.
    let Some(k) = (0..first.len()).find(|k| first[*k] > 0) else { return f64::INFINITY };
    let sizes: BTreeSet<u64> = sizes.iter().map(|size| size[k]).collect();
    let step = sizes.iter().copied().fold(0, gcd);
    let steps = capacity[k] / step.max(1);
    if sizes.contains(&0) || steps > STEPS {
        return f64::INFINITY;
    }
    let mut is_sum = vec![true];
    for sum in 1..=steps {
        is_sum.push(
            sizes.iter().any(|size| size / step <= sum && is_sum[(sum - size / step) as usize]),
        );
    }
    let most = is_sum.iter().rposition(|is_sum| *is_sum).unwrap_or(0);
    (most as u64 * step) as f64 / first[k] as f64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixtures_fill_a_node_better_than_one_size() {
        let most = |sizes: &[u64], has: u64| {
            most_on(sizes.iter().map(|gpus| [*gpus, 1, 1, 1]), &[has, 100, 100, 100])
        };
        assert_eq!(most(&[3], 8), 2.0);
        assert_eq!(most(&[3, 5], 8), 8.0 / 3.0);
        assert_eq!(most(&[6, 4], 9), 8.0 / 6.0);
        assert_eq!(most(&[4, 6], 3), 0.0);
    }
}
