//! Groups with rules of their own as parts without: each rule is kept by saying in advance how much may be where.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Aim;
use super::loads::There;
use super::prices::Prices;
use super::scene::{Part, Rules, Scene, Serves, level};
use super::whole::Whole;
use crate::config::SpreadOver;
use crate::placement::reduce;
use crate::problem::{Amount, Rule};

/// At how many sites a program may have what asks for one, by what it is solved for.
const SITES_OF_BOUND: usize = 5;
const SITES_OF_NODES: usize = 2;
/// In how many sections a load that is spread could be.
const SECTIONS: usize = 8;
/// Of all money, what such a demand stands for at least whose sites count for the bound.
const WORTH: f64 = 5e-4;

/// The parts that the linear program sees: spot limits are kept, the other rules are left to the bound.
pub(super) fn loose(scene: &Scene) -> Vec<Part> {
    let groups = 0..scene.groups.len();
    groups.flat_map(|group| off_spot(scene, scene.part(group), scene.rules(group).spot)).collect()
}

/// Each group once for each cloud, site or zone that a rule of it, or of it and another, tells apart.
pub(super) fn by_section(scene: &Scene) -> Vec<Part> {
    let mut parts = Vec::new();
    let pairs = reduce::apart(scene.problem).chain(reduce::same_sites(scene.problem));
    let paired: BTreeSet<usize> = pairs.flatten().collect();
    for group in 0..scene.groups.len() {
        let whole = scene.part(group);
        let rules = scene.rules(group);
        let is_mine = |demand: usize| scene.groups[group].demands.contains(&demand);
        let is_paired = scene.groups[group].demands.iter().any(|demand| paired.contains(demand));
        let is_sited = rules.together || is_paired;
        // Also what other rules of it say already: those may have to give way.
        let told = scene.problem.limits.iter().filter_map(|limit| match limit.rule {
            Rule::ZoneMin { demand, .. } => is_mine(demand).then_some(SpreadOver::Zone),
            Rule::SpreadMin { demand, over, .. }
            | Rule::SpreadShare { demand, over, .. }
            | Rule::LoadElsewhere { demand, over, .. } => is_mine(demand).then_some(over),
            _ => None,
        });
        let told = told.chain(is_sited.then_some(SpreadOver::Region));
        // A limit on spot may have to give way.
        let off_spot =
            |part: Part| off_spot(scene, part.clone(), rules.spot).into_iter().chain([part]);
        // Sites are parts of clouds, and zones of sites.
        let Some(over) = told.max_by_key(|over| level(*over)) else {
            parts.extend(off_spot(whole));
            continue;
        };
        let sections = whole.candidates.iter().map(|place| scene.section(*place, over));
        let sections: BTreeSet<usize> = sections.collect();
        for section in sections {
            let candidates = scene.inside(&whole, over, section);
            parts.extend(off_spot(Part { candidates, ..whole.clone() }));
        }
    }
    parts
}

/// What the rules of a demand ask for beside a limit on spot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// So many clouds or sites at least.
    Sections(SpreadOver, usize),
    OneSite,
    More,
}

pub(super) fn asked(rules: &Rules, whole: &Part) -> Asked {
    match (rules.together, rules.min.as_slice(), rules.share.as_slice()) {
        (false, [], []) => Asked::Nothing,
        _ if !whole.rates.is_empty() => Asked::More,
        // One zone costs what another does: only the nodes that it takes make a difference.
        (false, [(SpreadOver::Zone, _)], []) => Asked::More,
        (false, [(over, min)], []) if rules.spot.is_none() => Asked::Sections(*over, *min),
        (true, [], []) => Asked::OneSite,
        _ => Asked::More,
    }
}

/// The parts of a program: spot limits as before; of what is spread, some outside the best sections; and what is at one
/// site, at one of the best, or at others as well where no placement may be left out.
pub(super) fn certain(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    aim: Aim,
    bound: f64,
) -> Vec<Part> {
    let groups = 0..scene.groups.len();
    let parts = groups.flat_map(|group| {
        let whole = scene.part(group);
        let rules = scene.rules(group);
        let counts = |whole: &Part| aim == Aim::Nodes || prices.least(scene, whole) > WORTH * bound;
        let parts = match asked(rules, &whole) {
            Asked::Sections(over, min) => outside(scene, prices, &whole, over, min),
            Asked::OneSite if counts(&whole) => Some(at_sites(scene, prices, open, &whole, aim)),
            Asked::Nothing | Asked::OneSite | Asked::More => None,
        };
        parts.unwrap_or_else(|| off_spot(scene, whole, rules.spot))
    });
    let mut parts: Vec<Part> = parts.collect();
    parts.retain(|part| part.amount > 0.0 && !part.candidates.is_empty());
    parts
}

/// All that is at one site, as often as there are sites where it may be.
fn at_sites(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    whole: &Part,
    aim: Aim,
) -> Vec<Part> {
    let over = SpreadOver::Region;
    let sites = match aim {
        Aim::Bound => SITES_OF_BOUND,
        Aim::Nodes => SITES_OF_NODES,
    };
    let best = ranked(scene, prices, open, whole, over).into_iter().take(sites);
    let best: Vec<usize> = best.map(|(_, site)| site).collect();
    let at = best.iter().map(|site| {
        let candidates = scene.inside(whole, over, *site);
        Part { candidates, given: Some((over, *site)), ..whole.clone() }
    });
    let others = whole.candidates.iter().copied();
    let others = others.filter(|place| !best.contains(&scene.section(*place, over))).collect();
    let others = (aim == Aim::Bound).then(|| Part { candidates: others, ..whole.clone() });
    let spot = scene.rules(whole.group).spot;
    at.chain(others).flat_map(|part| off_spot(scene, part, spot)).collect()
}

/// Where there are *min* sections there are, beside the best, *min* - 1 others, and so on.
fn outside(
    scene: &Scene,
    prices: &Prices,
    whole: &Part,
    over: SpreadOver,
    min: usize,
) -> Option<Vec<Part>> {
    let units = whole.candidates.iter().map(|place| prices.unit(scene, whole, *place));
    let units: Vec<f64> = units.collect();
    let sections = prices.sections(scene, whole, &units, over, None);
    if sections.len() < min || whole.amount < min as f64 {
        return None;
    }
    let outside = (1..min).map(|best| {
        let is_best = |place: &u32| {
            let section = scene.section(*place, over);
            sections.iter().take(best).any(|(_, one)| *one == section)
        };
        let candidates = whole.candidates.iter().copied().filter(|place| !is_best(place));
        Part { amount: 1.0, candidates: candidates.collect(), ..whole.clone() }
    });
    let rest = Part { amount: whole.amount + 1.0 - min as f64, ..whole.clone() };
    Some(outside.chain([rest]).collect())
}

/// A part with the places where a program has it, and how many replicas are there.
type Found<'a> = (Part, &'a [(usize, u32)]);

/// Parts so that each keeps its rules wherever it is: as a program has them, or else where prices say that rules cost
/// the least.
pub(super) fn settled(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    certain: Vec<Part>,
    found: &Whole,
) -> Option<Vec<Part>> {
    let mut by_group: Vec<Vec<Found>> = vec![Vec::new(); scene.groups.len()];
    for (part, there) in certain.into_iter().zip(&found.there) {
        by_group[part.group].push((part, there));
    }
    let mut settled = Vec::new();
    for (group, mine) in by_group.into_iter().enumerate() {
        let whole = scene.part(group);
        let parts = match asked(scene.rules(group), &whole) {
            Asked::Sections(over, min) => {
                let sections = sections(scene, &whole, over, &mine, found);
                let ranked = ranked(scene, prices, open, &whole, over).into_iter();
                one_each(scene, &whole, over, min, sections.chain(ranked.map(|(_, one)| one)))
            }
            Asked::OneSite => site(mine),
            Asked::Nothing if whole.rates.is_empty() => {
                Some(mine.into_iter().map(|(part, _)| part).collect())
            }
            Asked::Nothing | Asked::More => None,
        };
        settled.extend(parts.map_or_else(|| by_price(scene, prices, open, whole), Some)?);
    }
    sound(settled)
}

/// Where prices say that all rules cost the least. `None` where a rule cannot be kept.
pub(super) fn priced(scene: &Scene, prices: &Prices, open: &BTreeSet<usize>) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for group in 0..scene.groups.len() {
        parts.extend(by_price(scene, prices, open, scene.part(group))?);
    }
    sound(parts)
}

fn sound(mut parts: Vec<Part>) -> Option<Vec<Part>> {
    parts.retain(|part| part.amount > 0.0 || part.serves.is_some());
    parts.iter().all(|part| !part.candidates.is_empty()).then_some(parts)
}

/// Where a program has something: first what has to be outside the best sections, of the rest where the most is; then
/// where it has nodes in any case.
fn sections<'a>(
    scene: &'a Scene,
    whole: &'a Part,
    over: SpreadOver,
    mine: &[Found],
    found: &'a Whole,
) -> impl Iterator<Item = usize> + use<'a> {
    let mut there: Vec<Vec<(usize, u32)>> = mine.iter().map(|(_, there)| there.to_vec()).collect();
    if let Some(rest) = there.last_mut() {
        rest.sort_by_key(|(place, count)| (Reverse(*count), *place));
    }
    let there = there.into_iter().flatten().map(|(place, _)| place as u32);
    let is_found = |place: &u32| found.nodes.contains_key(&(*place as usize));
    let anyhow = whole.candidates.iter().copied().filter(is_found);
    there.chain(anyhow).map(move |place| scene.section(place, over))
}

/// One replica in each of the first sections, the others free.
fn one_each(
    scene: &Scene,
    whole: &Part,
    over: SpreadOver,
    min: usize,
    sections: impl Iterator<Item = usize>,
) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for section in sections {
        let given = Some((over, section));
        if parts.len() < min && parts.iter().all(|part| part.given != given) {
            let candidates = scene.inside(whole, over, section);
            parts.push(Part { amount: 1.0, candidates, given, ..whole.clone() });
        }
    }
    if parts.len() < min || whole.amount < min as f64 {
        return None;
    }
    parts.push(Part { amount: whole.amount - min as f64, ..whole.clone() });
    Some(parts)
}

/// All at the site where a program has it.
fn site(mine: Vec<Found>) -> Option<Vec<Part>> {
    let count = |there: &[(usize, u32)]| there.iter().map(|(_, count)| count).sum::<u32>();
    let (most, there) = mine.iter().max_by_key(|(_, there)| count(there))?;
    let site = most.given.filter(|_| count(there) > 0)?;
    let parts = mine.into_iter().map(|(part, _)| part);
    Some(parts.filter(|part| part.given == Some(site)).collect())
}

/// A group where the prices say that its rules cost the least.
pub(super) fn by_price(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    group: Part,
) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let rules = scene.rules(group.group);
    let mut spot = rules.spot;
    for part in spread(scene, prices, open, group.clone(), rules)? {
        let divided = off_spot(scene, part.clone(), spot);
        if let Some(left) = &mut spot {
            let anywhere =
                divided.iter().filter(|one| one.candidates.len() == part.candidates.len());
            *left -= anywhere.map(|one| one.amount).sum::<f64>();
        }
        for part in divided {
            parts.extend(whole(scene, prices, part)?);
        }
    }
    if let Amount::Load(load) = &scene.demand(group.group).amount {
        let number: f64 = parts.iter().map(|part| part.amount).sum();
        let each = |part: &Part| {
            let seats = part.candidates.iter();
            let seats = seats.map(|place| prices.seat(scene, part, *place as usize));
            seats.fold(f64::INFINITY, f64::min)
        };
        // Its autoscaler runs so many however little is asked for.
        let cheapest = parts.iter_mut().min_by(|a, b| each(a).total_cmp(&each(b)));
        if let Some(part) = cheapest {
            part.amount += (f64::from(load.least) - number).max(0.0);
        }
        parts.extend(nowhere(scene, prices, open, &group, &parts));
    }
    Some(parts)
}

/// Nothing of a load, in each of the best sections where nothing of it is: there could be something later on.
fn nowhere(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    load: &Part,
    parts: &[Part],
) -> Vec<Part> {
    let rules = scene.rules(load.group);
    let Some(over) =
        rules.spread_over().max_by_key(|over| level(*over)).filter(|_| !rules.together)
    else {
        return Vec::new();
    };
    let is_taken = |section: &usize| {
        let mut there = parts.iter().filter_map(|part| part.candidates.first());
        there.any(|place| scene.section(*place, over) == *section)
    };
    let sections = ranked(scene, prices, open, load, over).into_iter().map(|(_, section)| section);
    let sections = sections.take(SECTIONS).filter(|section| !is_taken(section));
    let nowhere = sections.filter_map(|section| {
        let candidates = scene.inside(load, over, section);
        // As `spread` gives them.
        let is_one = rules.spread_over().all(|one| one == over);
        let given = is_one.then_some((over, section));
        whole(scene, prices, Part { amount: 0.0, candidates, given, ..load.clone() })
    });
    nowhere.flatten().collect()
}

/// A load as numbers of replicas, each on its kind of GPU; 0 of the kinds that are not used, so that replicas can be exchanged
/// for them later on.
pub(super) fn whole(scene: &Scene, prices: &Prices, part: Part) -> Option<Vec<Part>> {
    if part.rates.is_empty() {
        return Some(vec![part]);
    }
    let (_, counts) = prices.cheapest(scene, &part)?;
    let parts = counts.into_iter().enumerate().map(|(kind, count)| {
        let candidates = part.candidates.iter().copied();
        let candidates = candidates.filter(|place| scene.places[*place as usize].kind == kind);
        Part {
            amount: f64::from(count),
            candidates: candidates.collect(),
            rates: Vec::new(),
            serves: Some(Serves { kind, rate: part.rates[kind] }),
            ..part.clone()
        }
    });
    Some(parts.filter(|part| part.amount > 0.0 || !part.candidates.is_empty()).collect())
}

/// So much may be on spot nodes, the rest is not.
fn off_spot(scene: &Scene, part: Part, spot: Option<f64>) -> Vec<Part> {
    let Some(spot) = spot.filter(|spot| *spot < part.amount) else { return vec![part] };
    let steady = part.candidates.iter().copied();
    let steady = steady.filter(|place| !scene.places[*place as usize].is_spot).collect();
    let amount = part.amount - spot.max(0.0);
    let rest = Part { amount, candidates: steady, is_steady: true, ..part.clone() };
    let mut parts = vec![rest];
    if spot > 0.0 {
        parts.push(Part { amount: spot, ..part });
    }
    parts
}

fn spread(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    part: Part,
    rules: &Rules,
) -> Option<Vec<Part>> {
    if rules.together && rules.is_zoned() {
        // At the first site that has zones enough.
        let among = Rules { together: false, ..rules.clone() };
        let sites = ranked(scene, prices, open, &part, SpreadOver::Region).into_iter();
        let at_sites = sites.map(|(_, site)| {
            let candidates = scene.inside(&part, SpreadOver::Region, site);
            spread(scene, prices, open, Part { candidates, ..part.clone() }, &among)
        });
        return at_sites.flatten().next();
    }
    let told = told(rules, rules.together);
    let Some(&over) = told.last() else { return Some(vec![part]) };
    let sections = ranked(scene, prices, open, &part, over);
    let is_load = !part.rates.is_empty();
    if let ([_], [], false) = (told.as_slice(), rules.share.as_slice(), rules.together)
        && !(is_load && is_even(rules))
    {
        let min = rules.min.first().map_or(1, |(_, min)| *min);
        return match is_load {
            true => some_each(scene, prices, &part, over, min, &sections),
            false => one_each(scene, &part, over, min, sections.into_iter().map(|(_, one)| one)),
        };
    }
    let mut levels: Vec<Level> = told.iter().map(|over| Level::of(*over, rules, &part)).collect();
    if let [level] = levels.as_mut_slice()
        && is_load
        && sections.len() > 1
    {
        // Few sections serve more than is asked for, so that each can be lost.
        let even = (part.amount - level.share) / (sections.len() - 1) as f64;
        level.share = level.share.max(even);
    }
    filled(scene, part, &sections, levels)
}

/// As much in each of the first sections as it, and what it is in, may have.
fn filled(
    scene: &Scene,
    part: Part,
    sections: &[(f64, usize)],
    mut levels: Vec<Level>,
) -> Option<Vec<Part>> {
    let over = levels.last()?.over;
    // Elsewhere it could be too much of what that is a part of.
    let is_given = levels.len() == 1;
    let mut left = part.amount;
    // What each that is still missing has at least.
    let one = if part.rates.is_empty() { 1.0 } else { 1e-6 * part.amount };
    let mut parts = Vec::new();
    for (_, section) in sections {
        let candidates = scene.inside(&part, over, *section);
        let Some(place) = candidates.first() else { continue };
        let missing = levels.iter().map(|level| level.missing_beside(scene, *place)).max();
        let kept = one * missing.unwrap_or(0) as f64;
        let room = levels.iter().map(|level| level.room(scene, *place));
        let amount = room.fold(left - kept, f64::min);
        if amount <= 1e-9 * part.amount {
            continue;
        }
        levels.iter_mut().for_each(|level| level.take(scene, *place, amount));
        let given = is_given.then_some((over, *section));
        parts.push(Part { amount, candidates, given, ..part.clone() });
        left -= amount;
    }
    let is_kept = levels.iter().all(|level| level.taken.len() >= level.min);
    (left <= 1e-9 * part.amount && is_kept).then_some(parts)
}

/// An amount that comes in beside what stays, by the rules of both.
pub(super) fn beside(
    scene: &Scene,
    prices: &Prices,
    mut part: Part,
    stays: &[There],
) -> Option<Vec<Part>> {
    if stays.is_empty() {
        return by_price(scene, prices, &BTreeSet::new(), part);
    }
    let rules = scene.rules(part.group);
    let first = stays.first().filter(|_| rules.together);
    if let Some(one) = first {
        let site = scene.section(one.place, SpreadOver::Region);
        part.candidates = scene.inside(&part, SpreadOver::Region, site);
    }
    let on_spot = stays.iter().filter(|one| !one.is_steady);
    let on_spot: f64 = on_spot.map(|one| one.replicas).sum();
    let spot = rules.spot.map(|spot| (spot - on_spot).max(0.0));
    let told = told(rules, false);
    let Some(&over) = told.last().filter(|_| part.amount > 0.0) else {
        return Some(off_spot(scene, part, spot));
    };
    let mut levels: Vec<Level> = told.iter().map(|over| Level::of(*over, rules, &part)).collect();
    for one in stays {
        levels.iter_mut().for_each(|level| level.take(scene, one.place, one.replicas));
    }
    let sections = ranked(scene, prices, &BTreeSet::new(), &part, over);
    let mut spot_left = spot;
    let mut parts = Vec::new();
    for part in filled(scene, part, &sections, levels)? {
        let divided = off_spot(scene, part, spot_left);
        if let Some(left) = &mut spot_left {
            let loose = divided.iter().filter(|one| !one.is_steady);
            *left -= loose.map(|one| one.amount).sum::<f64>();
        }
        parts.extend(divided);
    }
    Some(parts)
}

/// What a demand's rules tell apart, the widest first.
fn told(rules: &Rules, is_sited: bool) -> Vec<SpreadOver> {
    let mut told: Vec<SpreadOver> =
        rules.spread_over().chain(is_sited.then_some(SpreadOver::Region)).collect();
    told.sort_by_key(|over| level(*over));
    told.dedup();
    told
}

/// Of a load each zone has the same, so that none has more replicas than another.
pub(super) fn is_even(rules: &Rules) -> bool {
    rules.min.iter().any(|(over, min)| *over == SpreadOver::Zone && *min > 2)
}

/// What one demand has in clouds, at sites or in zones, and may have.
struct Level {
    over: SpreadOver,
    min: usize,
    share: f64,
    taken: BTreeMap<usize, f64>,
}

impl Level {
    fn of(over: SpreadOver, rules: &Rules, part: &Part) -> Level {
        let min = rules.min.iter().find(|(one, _)| *one == over).map_or(1, |(_, min)| *min);
        let share = rules.share.iter().find(|(one, _)| *one == over);
        let mut share = share.map_or(f64::INFINITY, |(_, share)| *share);
        if !part.rates.is_empty() && over == SpreadOver::Zone && is_even(rules) {
            share = share.min(part.amount / min as f64);
        }
        Level { over, min, share, taken: BTreeMap::new() }
    }

    /// How many are missing still when there is something at a place.
    fn missing_beside(&self, scene: &Scene, place: u32) -> usize {
        let is_new = !self.taken.contains_key(&scene.section(place, self.over));
        self.min.saturating_sub(self.taken.len() + usize::from(is_new))
    }

    fn room(&self, scene: &Scene, place: u32) -> f64 {
        let taken = self.taken.get(&scene.section(place, self.over)).copied().unwrap_or(0.0);
        self.share - taken
    }

    fn take(&mut self, scene: &Scene, place: u32, amount: f64) {
        *self.taken.entry(scene.section(place, self.over)).or_insert(0.0) += amount;
    }
}

/// Some of a load in each of the first sections: one replica in each but the best, where the rest is.
fn some_each(
    scene: &Scene,
    prices: &Prices,
    part: &Part,
    over: SpreadOver,
    min: usize,
    sections: &[(f64, usize)],
) -> Option<Vec<Part>> {
    let (unit, _) = sections.first()?;
    let mut left = part.amount;
    let mut parts = Vec::new();
    for (_, section) in sections.iter().take(min).skip(1) {
        let candidates = scene.inside(part, over, *section);
        // What one replica costs beyond what it saves in the best section.
        let rate = |place: u32| part.rate(&scene.places[place as usize]);
        let more = |place: &u32| {
            prices.seat(scene, part, *place as usize) - unit * rate(*place).min(part.amount)
        };
        let least = candidates.iter().min_by(|a, b| more(a).total_cmp(&more(b)).then(a.cmp(b)))?;
        let amount = rate(*least).min(part.amount);
        left -= amount;
        parts.push(Part { amount, candidates, given: Some((over, *section)), ..part.clone() });
    }
    let (_, best) = sections[0];
    let candidates = scene.inside(part, over, best);
    let amount = left.max(1e-6 * part.amount);
    parts.push(Part { amount, candidates, given: Some((over, best)), ..part.clone() });
    (parts.len() == min).then_some(parts)
}

/// Sections by what they cost, the best first.
pub(super) fn ranked(
    scene: &Scene,
    prices: &Prices,
    open: &BTreeSet<usize>,
    part: &Part,
    over: SpreadOver,
) -> Vec<(f64, usize)> {
    // A site that is not open yet costs its control plane. Where a limit may leave no room is the last resort.
    let is_limited = |place: u32| !scene.places[place as usize].caps.is_empty();
    let all_limited = part.candidates.iter().all(|place| is_limited(*place));
    let each = |place: u32| {
        if is_limited(place) && !all_limited {
            return f64::INFINITY;
        }
        let site = scene.places[place as usize].site;
        let opening = if open.contains(&site) { 0.0 } else { scene.sites[site].1 };
        prices.unit(scene, part, place) + opening / part.amount.max(1.0)
    };
    let seats: Vec<f64> = part.candidates.iter().map(|place| each(*place)).collect();
    let rules = scene.rules(part.group);
    let spot = rules.spot.filter(|_| rules.together);
    prices.sections(scene, part, &seats, over, spot)
}
