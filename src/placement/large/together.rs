//! Demands that must be at the same sites are asked for at no others: those where they run, where all of them stand for
//! least, or where whole nodes for them cost least; what costs less counts.

use std::collections::{BTreeMap, BTreeSet};

use super::continued::{Rises, is_due};
use super::prices::Prices;
use super::scene::{Part, Scene};
use super::{HANDFUL, objective, parts};
use crate::config::SpreadOver;
use crate::placement::Placement;
use crate::placement::packing::fitting;
use crate::placement::reduce::{self, Group};
use crate::problem::Problem;

/// Sets of demands that must be at the same sites, each ascending.
pub(super) fn components(problem: &Problem) -> Vec<Vec<usize>> {
    let mut sets = reduce::connected(problem, reduce::same_sites(problem));
    sets.retain(|set| set.len() > 1);
    sets
}

/// Sites of a set at which it is tried, by each order.
const BEST: usize = 2;
/// So many other options are tried, one set at a time, where workloads are few.
const ASKED: usize = 12;
/// … with so many pairs of a workload and an offering in all.
const WORK: usize = 1_000_000;

/// Demands that must be at the same sites, as groups, and some sites where they can be, the best first: as few as their
/// rules allow, or those where they run.
pub(super) struct Set {
    demands: Vec<usize>,
    groups: Vec<usize>,
    options: Vec<BTreeSet<usize>>,
    /// Sets before it that must be apart from it. Its first option has no site of theirs.
    apart: Vec<usize>,
}

/// `None` where there are no such sites for some set.
pub(super) fn sets(scene: &Scene, prices: &Prices, open: &BTreeSet<usize>) -> Option<Vec<Set>> {
    let mut choices: Vec<Choice> = components(scene.problem)
        .into_iter()
        .map(|demands| Choice::of(scene, prices, open, demands))
        .collect();
    // Who runs stays, and who can be at few sites chooses before others.
    choices.sort_by_key(|choice| (choice.running.is_empty(), choice.by_unit.len()));
    let mut sets: Vec<Set> = Vec::new();
    for Choice { demands, groups, by_unit, alone, running } in choices {
        let apart: Vec<usize> = (0..sets.len())
            .filter(|other| are_apart(scene.problem, &demands, &sets[*other].demands))
            .collect();
        let mut taken = held(scene, &demands);
        taken.extend(apart.iter().flat_map(|other| &sets[*other].options[0]));
        let is_free = |site: &usize| !taken.contains(site);
        let mut options: Vec<BTreeSet<usize>> = Vec::new();
        if !running.is_empty() && running.iter().all(is_free) {
            options.push(running);
        }
        for skipped in 0..BEST {
            for order in [&by_unit, &alone] {
                let free = order.iter().copied().filter(is_free);
                let sites = enough(scene, &groups, free.skip(skipped));
                options.extend(sites.filter(|sites| !options.contains(sites)));
            }
        }
        if options.is_empty() {
            return None;
        }
        sets.push(Set { demands, groups, options, apart });
    }
    Some(sets)
}

/// A set, and the sites where all of it may be, those first where it costs least: by prices, and where nobody shares nodes.
struct Choice {
    demands: Vec<usize>,
    groups: Vec<usize>,
    by_unit: Vec<usize>,
    alone: Vec<usize>,
    running: BTreeSet<usize>,
}

impl Choice {
    fn of(scene: &Scene, prices: &Prices, open: &BTreeSet<usize>, demands: Vec<usize>) -> Choice {
        let is_member = |group: &usize| {
            scene.groups[*group].demands.iter().any(|demand| demands.contains(demand))
        };
        let groups: Vec<usize> = (0..scene.groups.len()).filter(is_member).collect();
        let by_unit = common(scene, &groups, |part| {
            let units = parts::ranked(scene, prices, open, part, SpreadOver::Region);
            units.into_iter().map(|(unit, site)| (unit * part.amount, site)).collect()
        });
        let alone = common(scene, &groups, |part| alone(scene, part));
        let mut running = running(scene, &demands);
        running.retain(|site| by_unit.contains(site));
        Choice { demands, groups, by_unit, alone, running }
    }
}

fn are_apart(problem: &Problem, one: &[usize], other: &[usize]) -> bool {
    let is_between = |[a, b]: [usize; 2]| {
        (one.contains(&a) && other.contains(&b)) || (one.contains(&b) && other.contains(&a))
    };
    reduce::apart(problem).any(is_between)
}

/// Sites that are those of a demand which can be at no other, where a set must be apart from it.
fn held(scene: &Scene, demands: &[usize]) -> BTreeSet<usize> {
    let apart = reduce::apart(scene.problem).filter_map(|[one, other]| {
        match [one, other].map(|demand| demands.contains(&demand)) {
            [true, false] => Some(other),
            [false, true] => Some(one),
            _ => None,
        }
    });
    let only = apart.filter_map(|demand| {
        let candidates = scene.problem.demands[demand].candidates.iter();
        let sites: BTreeSet<usize> = candidates.map(|place| scene.places[*place].site).collect();
        sites.first().copied().filter(|_| sites.len() == 1)
    });
    only.collect()
}

/// A placement in which each set is at one of its options.
pub(super) fn placed(
    scene: &Scene,
    sets: &[Set],
    is_any_enough: bool,
    ask: impl Fn(&[Group]) -> Option<Placement>,
) -> Option<Placement> {
    let is_apart = |chosen: &[usize]| {
        let sites = |set: usize| &sets[set].options[chosen[set]];
        (0..sets.len())
            .all(|set| sets[set].apart.iter().all(|other| sites(set).is_disjoint(sites(*other))))
    };
    let most = sets.iter().map(|set| set.options.len()).max().unwrap_or(0);
    // Where one option has no room, the next ones are asked for.
    let tried = (0..most).map(|option| -> Vec<usize> {
        sets.iter().map(|set| option.min(set.options.len() - 1)).collect()
    });
    let first = tried.into_iter().filter(|chosen| is_apart(chosen)).find_map(|chosen| {
        let found = ask(&gathered(scene, sets, &chosen))?;
        Some((chosen, found))
    });
    let (mut chosen, mut best) = first?;
    if is_any_enough || scene.groups.len() > HANDFUL {
        return Some(best);
    }
    let rises = Rises::since_last(scene.problem);
    let tries = (1..most).flat_map(|option| (0..sets.len()).map(move |set| (option, set)));
    let tries = tries.filter(|(option, set)| *option < sets[*set].options.len());
    // Where each takes long, fewer are worth it.
    let pairs: usize = scene.groups.iter().map(|group| group.candidates.len()).sum();
    let asked = (WORK / pairs.max(1)).clamp(1, ASKED);
    for (option, set) in tries.take(asked) {
        let before = std::mem::replace(&mut chosen[set], option);
        let found = is_apart(&chosen).then(|| ask(&gathered(scene, sets, &chosen))).flatten();
        let is_better = |found: &Placement| {
            objective(found) < objective(&best) - 1e-6
                && (scene.problem.last.is_none() || is_due(scene.problem, &rises, &best, found))
        };
        match found.filter(is_better) {
            Some(found) => best = found,
            None => chosen[set] = before,
        }
    }
    Some(best)
}

/// Groups that have candidates at the chosen option's sites alone.
fn gathered(scene: &Scene, sets: &[Set], chosen: &[usize]) -> Vec<Group> {
    let mut groups = scene.groups.to_vec();
    for (set, option) in sets.iter().zip(chosen) {
        for group in &set.groups {
            let sites = &set.options[*option];
            groups[*group].candidates.retain(|place| sites.contains(&scene.places[*place].site));
        }
    }
    groups
}

/// Sites where all of them may be, those first where they cost least together, by what each costs at each.
fn common(
    scene: &Scene,
    groups: &[usize],
    cost: impl Fn(&Part) -> Vec<(f64, usize)>,
) -> Vec<usize> {
    let mut costs: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
    for group in groups {
        for (cost, site) in cost(&scene.part(*group)) {
            let (sum, there) = costs.entry(site).or_default();
            *sum += cost;
            *there += 1;
        }
    }
    let all = costs.into_iter().filter(|(_, (_, there))| *there == groups.len());
    let mut all: Vec<(f64, usize)> = all.map(|(site, (cost, _))| (cost, site)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.into_iter().map(|(_, site)| site).collect()
}

/// By site: what whole nodes for it cost where nobody shares them.
fn alone(scene: &Scene, part: &Part) -> Vec<(f64, usize)> {
    let mut least: BTreeMap<usize, f64> = BTreeMap::new();
    for place in part.candidates.iter() {
        let there = &scene.places[*place as usize];
        let replicas = (part.amount / part.rate(there) - 1e-9).ceil();
        let nodes = (replicas / f64::from(fitting(&part.size, &there.capacity).max(1))).ceil();
        let cost = nodes * there.price + replicas * part.charge(there);
        let least = least.entry(there.site).or_insert(f64::INFINITY);
        *least = cost.min(*least);
    }
    least.into_iter().map(|(site, cost)| (cost, site)).collect()
}

/// The first sites that are enough for the rules of all.
fn enough(
    scene: &Scene,
    groups: &[usize],
    sites: impl Iterator<Item = usize>,
) -> Option<BTreeSet<usize>> {
    let cloud_of: BTreeMap<usize, usize> =
        scene.places.iter().map(|place| (place.site, place.cloud)).collect();
    let rules = groups.iter().flat_map(|group| &scene.rules(*group).min);
    let least = |over: SpreadOver| {
        let mins = rules.clone().filter(|(one, _)| *one == over).map(|(_, min)| *min);
        mins.max().unwrap_or(1)
    };
    let of_clouds = least(SpreadOver::Cloud);
    let min = least(SpreadOver::Region).max(of_clouds);
    let mut chosen = BTreeSet::new();
    let mut clouds = BTreeSet::new();
    for site in sites {
        // Each cloud that is missing still needs one of them.
        let is_new = !clouds.contains(&cloud_of[&site]);
        let missing = of_clouds.saturating_sub(clouds.len() + usize::from(is_new));
        if min.saturating_sub(chosen.len()) > missing {
            chosen.insert(site);
            clouds.insert(cloud_of[&site]);
        }
    }
    (chosen.len() == min).then_some(chosen)
}

/// The sites where all of them run; none where one runs at a site without another.
fn running(scene: &Scene, demands: &[usize]) -> BTreeSet<usize> {
    let Some(last) = &scene.problem.last else { return BTreeSet::new() };
    let number = |name: String| scene.sites.iter().position(|(site, _)| *site == name);
    let mut all = demands.iter().map(|demand| -> BTreeSet<usize> {
        let name = &scene.problem.demands[*demand].workload;
        let seats = last.seats.iter().filter(|seats| seats.workload == *name);
        let rentals = seats.filter_map(|seats| last.rentals.get(&seats.offering));
        rentals.filter_map(|rental| number(rental.offering.site())).collect()
    });
    let first = all.next().unwrap_or_default();
    if all.all(|other| other == first) { first } else { BTreeSet::new() }
}
