//! What a replica's part of a node is worth: prices of resources, and the bound that follows from them.
//!
//! **Resource prices.** Let a node of place *o* cost `p_o`, and let `u_o^k ≥ 0` be prices of what it has, such that
//! nothing its users can put on it is worth more than it costs: `Σ_k u_o^k·K_o^k ≤ p_o`. Then whatever is on
//! a node, `p_o ≥ Σ_g (Σ_k u_o^k·r_g^k)·a_g`: a replica of *g* on *o* stands for at least
//! `seat[g,o] = charge + Σ_k u_o^k·r_g^k` of the cost. So every placement costs at least the sum of what each
//! demand's replicas stand for where they are, and that is at least what they stand for where they stand for
//! least, by the demand's own rules (spread, spot, …). A limit that several demands share has a price π as well,
//! which is added to nodes or seats that it counts and paid back for all that it allows: `− π·max`.
//!
//! **The bound** needs nothing else to hold: not that prices are the best ones, nor how they were found. They come
//! from a linear program over the places that matter (`Σ_g r_g^k·x[g,o] ≤ K_o^k·n[o]`), whose columns come in where
//! they would save something.

use std::collections::HashMap;

use super::cover::Cover;
use super::loads;
use super::scene::{Part, Scene};
use crate::config::SpreadOver;
use crate::placement::model::{Growing, Sense};

pub(super) struct Prices {
    /// By place and resource.
    resources: Vec<[f64; 4]>,
    /// By limit.
    caps: Vec<f64>,
}

/// Columns of a class that the program begins with, and how many come in at once. Of few classes more do: that saves
/// rounds.
const FIRST: [usize; 2] = [16, 6];
const ENTER: [usize; 2] = [8, 3];
const FEW: usize = 150;
const ROUNDS: usize = 40;

impl Prices {
    pub fn find(scene: &Scene, parts: &[Part], cover: &Cover) -> Option<Prices> {
        let mut program = Program::new(scene, parts, cover)?;
        program.solve()?;
        let mut resources = vec![[0.0; 4]; scene.places.len()];
        for (at, place) in cover.kept.iter().enumerate() {
            resources[*place] = program.resources[at];
        }
        let mut prices = Prices { resources, caps: program.caps };
        for place in 0..scene.places.len() {
            let Some(by) = cover.by[place] else { continue };
            let allowed = prices.node(scene, place);
            let mut mine = prices.resources[by];
            if worth(&mine, &cover.most[place]) <= 0.0 {
                let has_gpus = scene.places[place].capacity[0] > 0;
                mine = if has_gpus { [1.0, 0.0, 0.0, 0.0] } else { [0.0, 1.0, 0.25, 0.0] };
            }
            let worth = worth(&mine, &cover.most[place]);
            let factor = if worth > 0.0 { allowed / worth } else { 0.0 };
            prices.resources[place] = mine.map(|price| price * factor);
        }
        Some(prices)
    }

    /// What a node costs, with what its limits are worth.
    pub fn node(&self, scene: &Scene, place: usize) -> f64 {
        let place = &scene.places[place];
        let caps = place.caps.iter().map(|cap| self.caps[*cap] * scene.node_use(*cap, place));
        place.price + caps.sum::<f64>()
    }

    /// What one replica stands for, for each unit that it counts for.
    pub fn unit(&self, scene: &Scene, part: &Part, place: u32) -> f64 {
        let there = &scene.places[place as usize];
        self.seat(scene, part, place as usize) / part.rate(there)
    }

    /// What one replica stands for.
    pub fn seat(&self, scene: &Scene, part: &Part, place: usize) -> f64 {
        let there = &scene.places[place];
        let caps = there.caps.iter().map(|cap| self.caps[*cap] * scene.seat_use(*cap, part));
        let size = part.size.map(|amount| amount as f64);
        part.charge(there) + worth(&self.resources[place], &size) + caps.sum::<f64>()
    }

    /// No placement's objective is less.
    pub fn bound(&self, scene: &Scene) -> f64 {
        let groups = (0..scene.groups.len()).map(|group| self.least(scene, &scene.part(group)));
        let caps = scene.caps.iter().zip(&self.caps).map(|(cap, price)| cap.max * price);
        groups.sum::<f64>() - caps.sum::<f64>() + scene.least_sites
    }

    /// What one of a limit is worth.
    pub fn cap(&self, cap: usize) -> f64 {
        self.caps[cap]
    }

    /// What a whole group stands for at least, by the rules it has.
    pub fn least(&self, scene: &Scene, part: &Part) -> f64 {
        let rules = scene.rules(part.group);
        let seats: Vec<f64> =
            part.candidates.iter().map(|place| self.unit(scene, part, *place)).collect();
        let all = seats.iter().copied().fold(f64::INFINITY, f64::min);
        let mut least = all * part.amount;
        if let Some((whole, _)) = self.cheapest(scene, part) {
            least = least.max(whole);
        }
        if let Some(spot) = rules.spot {
            let places = part.candidates.iter().zip(&seats);
            let steady = places.filter(|(place, _)| !scene.places[**place as usize].is_spot);
            let steady = steady.map(|(_, seat)| *seat).fold(f64::INFINITY, f64::min);
            let off = (part.amount - spot).max(0.0);
            if off > 0.0 {
                least = least.max(off * steady + (part.amount - off) * all);
            }
        }
        if rules.together {
            let sites = self.sections(scene, part, &seats, SpreadOver::Region, rules.spot);
            least = least.max(sites.first().map_or(0.0, |(unit, _)| unit * part.amount));
        }
        let is_load = !part.rates.is_empty();
        // One replica of a load can serve all of it.
        for (over, min) in rules.min.iter().filter(|_| !is_load) {
            let sections = self.sections(scene, part, &seats, *over, None);
            let others: f64 = sections.iter().take(*min).skip(1).map(|(seat, _)| seat).sum();
            let spread = others + all * (part.amount - (*min as f64 - 1.0));
            least = least.max(spread);
        }
        for (over, share) in &rules.share {
            let mut left = part.amount;
            let mut spread = 0.0;
            for (number, (seat, _)) in
                self.sections(scene, part, &seats, *over, None).into_iter().enumerate()
            {
                // Of a load, all that is outside the best may be in one.
                let some = if is_load && number > 0 { left } else { left.min(*share) };
                spread += some * seat;
                left -= some;
            }
            least = least.max(spread);
        }
        least
    }

    /// Whole replicas for a load, at what they stand for: their cost, and how many of each kind of GPU.
    pub fn cheapest(&self, scene: &Scene, part: &Part) -> Option<(f64, Vec<u32>)> {
        if part.rates.is_empty() {
            return None;
        }
        let mut kinds: Vec<(f64, f64)> =
            part.rates.iter().map(|rate| (*rate, f64::INFINITY)).collect();
        for place in part.candidates.iter() {
            let price = &mut kinds[scene.places[*place as usize].kind].1;
            *price = price.min(self.seat(scene, part, *place as usize));
        }
        for (rate, price) in &mut kinds {
            if price.is_infinite() {
                *rate = 0.0;
            }
        }
        loads::cheapest(part.amount, &kinds)
    }

    /// Clouds, sites or zones by what one unit stands for there, the least first: on average of all, of which so much may
    /// be on spot nodes.
    pub fn sections(
        &self,
        scene: &Scene,
        part: &Part,
        seats: &[f64],
        over: SpreadOver,
        spot: Option<f64>,
    ) -> Vec<(f64, usize)> {
        // Of those where it may not be nothing is known.
        let mut best: Vec<Option<(f64, f64)>> =
            vec![None; scene.sites.len().max(scene.site_of_zone.len())];
        for (place, seat) in part.candidates.iter().zip(seats) {
            let best = &mut best[scene.section(*place, over)];
            let (any, steady) = best.get_or_insert((f64::INFINITY, f64::INFINITY));
            *any = any.min(*seat);
            if !scene.places[*place as usize].is_spot {
                *steady = steady.min(*seat);
            }
        }
        let on_spot = spot.map_or(1.0, |spot| (spot / part.amount).clamp(0.0, 1.0));
        let average = |(any, steady): (f64, f64)| match on_spot {
            1.0 => any,
            0.0 => steady,
            on_spot => on_spot * any + (1.0 - on_spot) * steady,
        };
        let sections = best.into_iter().enumerate();
        let sections = sections.filter_map(|(section, best)| Some((average(best?), section)));
        let mut sections: Vec<(f64, usize)> = sections.collect();
        sections.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        sections
    }
}

fn worth(prices: &[f64; 4], amounts: &[f64; 4]) -> f64 {
    prices.iter().zip(amounts).map(|(price, amount)| price * amount).sum()
}

/// Parts that take of every kept place in proportion.
pub(super) struct Class {
    /// The first of them, with the amount of all.
    pub part: Part,
    /// Which parts, and for how many replicas of the first one of theirs counts.
    pub members: Vec<(usize, f64)>,
    /// (position among the kept, whether it has a column).
    pub seats: Vec<(usize, bool)>,
}

/// The linear program. Rows: classes, limits, then resources of places.
struct Program<'a> {
    scene: &'a Scene<'a>,
    cover: &'a Cover,
    classes: Vec<Class>,
    /// By kept place and resource: its row.
    rows: Vec<[Option<usize>; 4]>,
    growing: Growing,
    /// The optimum's prices.
    resources: Vec<[f64; 4]>,
    caps: Vec<f64>,
}

impl<'a> Program<'a> {
    fn new(scene: &'a Scene<'a>, parts: &[Part], cover: &'a Cover) -> Option<Program<'a>> {
        let classes = classes(scene, parts, cover, |_| false);
        let mut senses: Vec<(Sense, f64)> =
            classes.iter().map(|class| (Sense::AtLeast, class.part.amount)).collect();
        senses.extend(scene.caps.iter().map(|cap| (Sense::AtMost, cap.max)));
        let mut rows = Vec::new();
        for &place in &cover.kept {
            rows.push([0, 1, 2, 3].map(|k| {
                let row = cover.binding[place][k].then_some(senses.len());
                senses.extend(row.map(|_| (Sense::AtMost, 0.0)));
                row
            }));
        }
        let growing = Growing::new(senses.into_iter())?;
        let resources = vec![[0.0; 4]; cover.kept.len()];
        let caps = vec![0.0; scene.caps.len()];
        let mut this = Program { scene, cover, classes, rows, growing, resources, caps };
        this.begin();
        Some(this)
    }

    fn begin(&mut self) {
        for (at, &index) in self.cover.kept.iter().enumerate() {
            let place = &self.scene.places[index];
            let caps = place
                .caps
                .iter()
                .map(|cap| (self.classes.len() + cap, self.scene.node_use(*cap, place)));
            let amounts = self.rows[at].iter().zip(self.cover.most[index]);
            let amounts = amounts.filter_map(|(row, amount)| Some(((*row)?, -amount)));
            let terms: Vec<(usize, f64)> =
                caps.filter(|(_, each)| *each > 0.0).chain(amounts).collect();
            self.growing.column(place.price, f64::INFINITY, terms.into_iter());
        }
        for class in 0..self.classes.len() {
            let part = &self.classes[class].part;
            let mut priced: Vec<(f64, usize)> = Vec::new();
            for (seat, (at, _)) in self.classes[class].seats.iter().enumerate() {
                let place = &self.scene.places[self.cover.kept[*at]];
                let each = place.price * part.share(place) + part.charge(place);
                priced.push((each / part.rate(place), seat));
            }
            priced.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let dear = 20.0 * priced.first().map_or(0.0, |(each, _)| *each) + 10.0;
            self.growing.column(dear, f64::INFINITY, [(class, 1.0)].into_iter());
            for (_, seat) in priced.into_iter().take(FIRST[self.size()]) {
                self.enter(class, seat);
            }
        }
    }

    fn size(&self) -> usize {
        usize::from(self.classes.len() > FEW)
    }

    fn enter(&mut self, class: usize, seat: usize) {
        self.classes[class].seats[seat].1 = true;
        let Class { part, seats, .. } = &self.classes[class];
        let at = seats[seat].0;
        let place = &self.scene.places[self.cover.kept[at]];
        let mut terms = vec![(class, part.rate(place))];
        for cap in &place.caps {
            let each = self.scene.seat_use(*cap, part);
            if each > 0.0 {
                terms.push((self.classes.len() + cap, each));
            }
        }
        let sizes = self.rows[at].iter().zip(part.size).filter(|(_, size)| *size > 0);
        terms.extend(sizes.filter_map(|(row, size)| Some(((*row)?, size as f64))));
        self.growing.column(part.charge(place), f64::INFINITY, terms.into_iter());
    }

    fn solve(&mut self) -> Option<()> {
        for _ in 0..ROUNDS {
            let multipliers = self.growing.solve()?.multipliers;
            for (resources, rows) in self.resources.iter_mut().zip(&self.rows) {
                *resources = rows.map(|row| row.map_or(0.0, |row| (-multipliers[row]).max(0.0)));
            }
            for (cap, price) in self.caps.iter_mut().enumerate() {
                *price = (-multipliers[self.classes.len() + cap]).max(0.0);
            }
            if self.grow(&multipliers) == 0 {
                break;
            }
        }
        Some(())
    }

    /// Lets in the columns that would save most.
    fn grow(&mut self, multipliers: &[f64]) -> usize {
        let mut entered = 0;
        for (class, &value) in multipliers.iter().enumerate().take(self.classes.len()) {
            let Class { part, seats, .. } = &self.classes[class];
            let mut saving: Vec<(f64, usize)> = Vec::new();
            let size = part.size.map(|amount| amount as f64);
            for (seat, (at, _)) in seats.iter().enumerate().filter(|(_, (_, inside))| !inside) {
                let place = &self.scene.places[self.cover.kept[*at]];
                let caps = place.caps.iter();
                let caps: f64 =
                    caps.map(|cap| self.caps[*cap] * self.scene.seat_use(*cap, part)).sum();
                let each = part.charge(place) + worth(&self.resources[*at], &size) + caps;
                let saved = value * part.rate(place) - each;
                if saved > 1e-7 * (1.0 + value.abs()) {
                    saving.push((saved, seat));
                }
            }
            saving.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (_, seat) in saving.into_iter().take(ENTER[self.size()]) {
                self.enter(class, seat);
                entered += 1;
            }
        }
        entered
    }
}

/// Parts with the same candidates that take what can run out there in the same proportions are one class.
pub(super) fn classes(
    scene: &Scene,
    parts: &[Part],
    cover: &Cover,
    is_apart: impl Fn(&Part) -> bool,
) -> Vec<Class> {
    let mut position = vec![None; scene.places.len()];
    for (at, place) in cover.kept.iter().enumerate() {
        position[*place] = Some(at);
    }
    let mut known: HashMap<Vec<u64>, usize> = HashMap::new();
    let mut classes: Vec<Class> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let mut key = Vec::new();
        let mut seats = Vec::new();
        let unit = part.unit();
        for &index in part.candidates.iter() {
            let index = index as usize;
            let Some(at) = position[index] else { continue };
            seats.push((at, false));
            key.push(at as u64);
            let sizes = part.size.iter().zip(cover.binding[index]).filter(|(_, is)| *is);
            key.extend(sizes.map(|(size, _)| (*size as f64 / unit).to_bits()));
        }
        let length = key.len();
        let numbers = part.rates.iter().chain(&part.charges).chain(&part.shares);
        key.extend(numbers.map(|number| number.to_bits()));
        if key.len() > length {
            key.push(unit.to_bits());
        }
        if is_apart(part) {
            key.extend([part.group as u64, number as u64]);
        }
        if scene.rules(part.group).together {
            let site = part.given.map_or(usize::MAX, |(_, site)| site);
            key.extend([part.group as u64, site as u64]);
        }
        let by_seat = scene.caps.iter().enumerate().map(|(cap, _)| scene.seat_use(cap, part));
        key.extend(by_seat.filter(|each| *each > 0.0).map(|each| (each / unit).to_bits()));
        match known.get(&key) {
            Some(&class) => {
                let class = &mut classes[class];
                let scale = unit / class.part.unit();
                class.part.amount += part.amount * scale;
                class.members.push((number, scale));
            }
            None => {
                known.insert(key, classes.len());
                classes.push(Class { part: part.clone(), seats, members: vec![(number, 1.0)] });
            }
        }
    }
    classes
}
