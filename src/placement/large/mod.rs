//! Large problems: resource prices say what a replica is worth, whole nodes are filled by it, and the prices prove
//! how far from the best that is at most.
//!
//! 1. Few places stand for all (`cover`). A linear program over them gives each resource of each place a price, and
//!    the prices give a lower bound on every placement (`prices`).
//! 2. Each demand's own rules become parts that may be anywhere on their candidates (`parts`).
//! 3. Whole nodes are filled, always those whose content is worth most for what they cost (`fill`); then a few
//!    nodes at a time are taken apart and put together better (`improve`).
//! 4. Where much is left to the bound, a program in which nodes are whole and replicas divisible proves a higher one
//!    (`whole`, by `cuts`), and another one counts nodes, onto which whole replicas are put (`rounding`).
//!
//! Of few workloads a program that knows every rule then takes the offerings that are in use and those next to them
//! (`kernel`).
//!
//! Where something runs, that and what comes in beside it is compared with a placement that is made afresh and charged for
//! its moves, and with mixtures of the two (`continued`).
//!
//! Demands that must be apart and are not give way (`apart`); those that must be at the same sites are asked for at few
//! (`together`); those that call each other are drawn together (`near`). Weights of models count where they are needed
//! (`stored`).

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::check::check_by;
use super::formulation::Formulation;
use super::packing::Counts;
use super::reduce::{self, Group};
use super::search::Packed;
use super::{Placement, charged, proof};
use crate::problem::{Limit, Problem, Rule};

mod apart;
mod continued;
mod cover;
mod cuts;
mod fill;
mod improve;
mod kernel;
mod loads;
mod near;
mod parts;
mod prices;
mod rounding;
mod scene;
mod stored;
mod together;
mod whole;

use apart::Leaves;
use continued::{Rises, Stays};
use cover::Cover;
use fill::{Market, Node, Taken};
use improve::Near;
use prices::Prices;
use scene::{Part, Scene};

/// Up to so many groups the quick way comes first, and is good enough where it is so near the bound: what is left would
/// not pay for the time. Beyond, programs are solved as long as more is left than that.
const FEW: usize = 300;
const NEAR_FEW: f64 = 2e-3;
const NEAR: f64 = 1e-3;
/// Beyond so many, what a search of programs finds better than rounding is worth its time.
const SOME: usize = 150;
/// Up to so many, the quick way's trials find what counting nodes would.
const HANDFUL: usize = 30;

/// What list prices count beside those of rate cards, as a part.
const LISTED: f64 = 1e-5;

/// What must be apart is asked for again so often.
const ROUNDS: usize = 20;

/// What is tried.
pub(super) struct Tries {
    /// The quick way before any program.
    pub quick: bool,
    /// A higher bound than that of the prices.
    pub bounded: bool,
    /// Nodes as a program counts them.
    pub counted: bool,
    /// Runs of improving what the quick way finds, and what counted nodes lead to; without any, whatever is placed will do. More of them follow only where more than
    /// this part of the objective is left to the bound.
    pub runs: [(usize, f64); 2],
    /// How near the bound is good enough, as a part of the objective.
    pub near: f64,
}

impl Tries {
    fn is_any_enough(&self) -> bool {
        self.runs[0].0 == 0
    }

    fn of(groups: usize) -> Tries {
        let quick = groups <= FEW;
        Tries {
            quick,
            bounded: true,
            counted: groups > HANDFUL,
            runs: match groups {
                // What one run leaves, the program takes up.
                few if few > HANDFUL && few <= SOME => [(1, 1.5e-2), (2, 5e-3)],
                _ => [(improve::RUNS, 0.0); 2],
            },
            near: if quick { NEAR_FEW } else { NEAR },
        }
    }
}

/// What a program of whole nodes is solved for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// A number that no placement's objective is below.
    Bound,
    /// How many nodes of which places a good placement has.
    Nodes,
}

/// The placement of a large problem; `None` where this way does not apply or finds none.
pub(super) fn placement(problem: &Problem, groups: &[Group]) -> Option<Placement> {
    let placed = |problem: &Problem, tries: &Tries| {
        Some(kernel::improved(problem, groups, tried(problem, groups, tries)?))
    };
    let tries = Tries::of(groups.len());
    let found = placed(problem, &tries)?;
    // Where rate cards take the place of list prices, nodes and sites cost nothing.
    if problem.rate_cards.is_empty() || problem.cost_weight() == 0.0 {
        return Some(found);
    }
    let other = placed(&listed(problem), &Tries { bounded: false, ..tries });
    Some(other.and_then(|other| lower(problem, groups, &found, &other)).unwrap_or(found))
}

/// Whether there is a placement that costs no more.
pub(super) fn is_within(problem: &Problem, groups: &[Group], most_month: f64) -> bool {
    let Some(found) = tried(problem, groups, &Tries::of(groups.len())) else { return false };
    let is_within = |one: &Placement| one.cost.total_month <= most_month;
    is_within(&found)
        || found.proof.bound_month <= most_month
            && is_within(&kernel::improved(problem, groups, found))
}

/// The problem in which list prices count a little where rate cards take their place.
fn listed(problem: &Problem) -> Problem {
    let mut listed = problem.clone();
    for one in &mut listed.candidates {
        if problem.rate_cards.contains_key(&one.offering.cloud) {
            one.price_hour += LISTED * one.offering.price_hour;
        }
    }
    for price in listed.sites.values_mut().filter(|price| price.price_month == 0.0) {
        price.price_month = LISTED * price.list_month;
    }
    listed
}

/// The other placement as one of this problem, if it costs and moves no more, and its list prices are lower.
fn lower(
    problem: &Problem,
    groups: &[Group],
    found: &Placement,
    other: &Placement,
) -> Option<Placement> {
    let used = (0..problem.candidates.len())
        .filter(|index| other.rentals.contains_key(&problem.candidates[*index].id));
    let formulation = Formulation::loose(problem, groups, used.collect());
    let packed = formulation.packed(other, Vec::new())?;
    let other = charged(&formulation, &packed);
    let list = |placement: &Placement| -> f64 {
        let rentals = placement.rentals.values();
        rentals.map(|rental| rental.nodes.len() as f64 * rental.offering.price_hour).sum()
    };
    let is_lower = objective(&other) < objective(found) - 1e-6
        || objective(&other) <= objective(found) + 1e-6
            && given_up(problem, &other) <= given_up(problem, found)
            && list(&other) < list(found);
    let is_sound = || check_by(problem, &other, limits(problem)).is_ok();
    (is_lower && is_sound()).then(|| with_bound(other, found.proof.bound_month))
}

/// How many replicas of the last placement are not where they were.
fn given_up(problem: &Problem, placement: &Placement) -> u32 {
    let Some(last) = &problem.last else { return 0 };
    let now = placement.by_workload();
    let there = |workload: &str, offering: &str| {
        now.get(workload).and_then(|seats| seats.get(offering)).copied().unwrap_or(0)
    };
    let seats = last.seats.iter();
    seats.map(|one| one.replicas.saturating_sub(there(&one.workload, &one.offering))).sum()
}

/// The same. What must be at the same sites is asked for at some alone; the bound is that of all.
pub(super) fn tried(problem: &Problem, groups: &[Group], tries: &Tries) -> Option<Placement> {
    if !is_together(problem) {
        return parted(problem, groups, tries);
    }
    let Priced { scene, prices, open, .. } = Priced::new(problem, groups)?;
    let sets = together::sets(&scene, &prices, &open)?;
    // Where nodes are not counted, a bound on these would serve nothing.
    let again = Tries { bounded: tries.bounded && tries.counted, ..*tries };
    let ask = |groups: &[Group]| parted(problem, groups, &again);
    let placement = together::placed(&scene, &sets, tries.is_any_enough(), ask)?;
    let mut bound = prices.bound(&scene);
    if tries.bounded && !is_near(objective(&placement), bound, tries.near) {
        bound = proven(&scene, &prices, &open, bound);
    }
    Some(with_bound(placement, bound))
}

fn is_together(problem: &Problem) -> bool {
    reduce::same_sites(problem).next().is_some()
}

/// The same. What must be apart and is not is asked for again without the sites that are shared; what the first answer
/// proves holds for all of them.
fn parted(problem: &Problem, groups: &[Group], tries: &Tries) -> Option<Placement> {
    let first = once(problem, groups, tries)?;
    if problem.traffic.is_empty() && !apart::is_asked(problem) {
        return Some(first);
    }
    let bound = first.proof.bound_month;
    // One proof is enough.
    let again = Tries { bounded: false, ..*tries };
    let (first, groups) = match problem.traffic.is_empty() || problem.last.is_some() {
        true => (first, groups.to_vec()),
        false => near::drawn(problem, groups, first, |groups| once(problem, groups, &again)),
    };
    let leaving = |leaves: Leaves| {
        let mut placement = first.clone();
        let mut groups = groups.clone();
        for _ in 0..ROUNDS {
            if !apart::part(problem, &placement, &mut groups, leaves) {
                break;
            }
            placement = once(problem, &groups, &again)?;
        }
        let placement = with_bound(placement, bound);
        check_by(problem, &placement, limits(problem)).is_ok().then_some(placement)
    };
    let cheaper = leaving(Leaves::Cheaper);
    let other = if apart::is_asked(problem) && groups.len() <= FEW {
        leaving(Leaves::Dearer)
    } else {
        None
    };
    least(cheaper.into_iter().chain(other))
}

/// The first of those with the lowest objective.
fn least<T: Borrow<Placement>>(found: impl IntoIterator<Item = T>) -> Option<T> {
    found.into_iter().min_by(|a, b| objective(a.borrow()).total_cmp(&objective(b.borrow())))
}

fn objective(placement: &Placement) -> f64 {
    placement.proof.objective_month
}

fn is_near(cost: f64, bound: f64, part: f64) -> bool {
    cost - bound <= part * cost
}

/// The bound, or a higher one by a program of whole nodes.
fn proven(scene: &Scene, prices: &Prices, open: &BTreeSet<usize>, bound: f64) -> f64 {
    let parts = parts::certain(scene, prices, open, Aim::Bound, bound);
    let whole = whole::solved(scene, &parts, prices, Aim::Bound);
    whole.map_or(bound, |whole| whole.bound.max(bound))
}

/// Whether it is too dear is told by who asked, with what it costs.
fn limits(problem: &Problem) -> impl Iterator<Item = &Limit> + Clone {
    problem.limits.iter().filter(|limit| !matches!(limit.rule, Rule::Budget { .. }))
}

/// A problem with its resource prices.
struct Priced<'a> {
    scene: Scene<'a>,
    cover: Cover,
    prices: Prices,
    /// Sites where some part's replicas stand for least.
    open: BTreeSet<usize>,
}

impl<'a> Priced<'a> {
    fn new(problem: &'a Problem, groups: &'a [Group]) -> Option<Priced<'a>> {
        let scene = Scene::new(problem, groups)?;
        let loose = parts::loose(&scene);
        let cover = Cover::new(&scene, &loose);
        let prices = Prices::find(&scene, &loose, &cover)?;
        let open = open(&scene, &prices, &loose);
        Some(Priced { scene, cover, prices, open })
    }
}

/// Rules between demands are not kept.
fn once(problem: &Problem, groups: &[Group], tries: &Tries) -> Option<Placement> {
    let Priced { scene, cover, prices, open } = Priced::new(problem, groups)?;
    let mut bound = prices.bound(&scene);
    let limits = limits(problem).filter(|limit| !matches!(limit.rule, Rule::Apart { .. }));
    let sound = |(parts, nodes): (Vec<Part>, Vec<Node>)| {
        let placement = settled(problem, groups, &parts, nodes);
        check_by(problem, &placement, limits.clone()).is_ok().then_some(placement)
    };
    let is_enough = |cost: f64, bound: f64| is_near(cost, bound, tries.near);
    let is_near =
        |found: &[Placement], bound: f64| found.iter().any(|one| is_enough(objective(one), bound));
    let quick = |bound: f64| {
        let parts = parts::priced(&scene, &prices, &open)?;
        let market = Market::new(&scene, parts, &prices, &cover.kept);
        let (nodes, taken) = market.fill(Vec::new(), market.untaken())?;
        if tries.is_any_enough() {
            return sound((market.parts, nodes));
        }
        let near = Near { bound, part: tries.near, runs: tries.runs[0] };
        sound(improve::improved(&market, &nodes, &taken, near))
    };
    let stay = |stays: Stays| {
        let ways = continued::ways(&scene, &prices, &cover.kept, stays)?;
        least(ways.into_iter().filter_map(sound))
    };
    let mut found = Vec::new();
    if let Some(last) = &problem.last {
        found.push(stay(Stays { of: last, but: &BTreeSet::new() })?);
    }
    let prove = || match tries.bounded {
        true => proven(&scene, &prices, &open, bound),
        false => bound,
    };
    let count = |bound: f64| match tries.counted {
        true => counted(&scene, &prices, &open, &cover, bound),
        false => None,
    };
    let (mut proven, mut nodes) = (None, None);
    if tries.quick && !is_near(&found, bound) {
        // Nodes are counted meanwhile, unless the quick way has ended near enough by then.
        let ended = OnceLock::new();
        let quickly = || {
            let placement = quick(bound);
            ended.get_or_init(|| placement.as_ref().map(objective));
            placement
        };
        let slowly = || {
            let bound = prove();
            let cost = ended.get().copied().flatten();
            let has_ended_well = cost.is_some_and(|cost| is_enough(cost, bound));
            (bound, (!has_ended_well).then(|| count(bound)))
        };
        let (placement, (bound, counted)) = side_by_side(quickly, slowly);
        found.extend(placement);
        (proven, nodes) = (Some(bound), counted);
    }
    if !is_near(&found, bound) {
        bound = proven.unwrap_or_else(prove);
    }
    if !is_near(&found, bound) {
        let near = Near { bound, part: NEAR, runs: tries.runs[1] };
        let counted = nodes.unwrap_or_else(|| count(bound));
        let better =
            counted.map(|(market, nodes, taken)| improve::improved(&market, &nodes, &taken, near));
        found.extend(better.and_then(sound));
    }
    if found.is_empty() && !tries.quick {
        found.extend(quick(bound));
    }
    if problem.last.is_some() && !is_near(&found, bound) {
        found.extend(mixtures(&scene, &found, stay));
    }
    // All that is made afresh has to have a reason as well.
    if problem.last.is_some() && found.len() > 1 {
        let rises = Rises::since_last(problem);
        let stays = found.remove(0);
        found.retain(|one| continued::is_due(problem, &rises, &stays, one));
        found.insert(0, stays);
    }
    // What costs the same stays.
    least(found).map(|best| {
        debug_assert!(bound <= objective(&best) * (1.0 + 1e-9) + 1e-6, "{bound} {:?}", best.proof);
        with_bound(best, bound)
    })
}

/// Mixtures of what stays, which is the first, and what is made afresh.
fn mixtures(
    scene: &Scene,
    found: &[Placement],
    stay: impl Fn(Stays) -> Option<Placement>,
) -> Vec<Placement> {
    let [stays, others @ ..] = found else { return Vec::new() };
    // What runs has no say in what is made afresh: its moves do not count.
    let aside = |one: &&Placement| one.objective_month();
    let afresh = others.iter().min_by(|a, b| aside(a).total_cmp(&aside(b)));
    let Some(afresh) = afresh else { return Vec::new() };
    // What keeps demands apart is not mixed with what does not.
    let is_sound = |one: &Placement| check_by(scene.problem, one, limits(scene.problem)).is_ok();
    let keeps_all = is_sound(stays);
    let placed = |stays: Stays| stay(stays).filter(|one| !keeps_all || is_sound(one));
    let mut mixtures: Vec<Placement> =
        continued::mixed(scene, stays, afresh, placed).into_iter().collect();
    // Where all is better made afresh, the next plan would mix that.
    let best = least(found.iter().chain(&mixtures));
    let fresh = best.filter(|best| others.iter().any(|other| std::ptr::eq(other, *best)));
    let more = fresh.and_then(|fresh| continued::mixed(scene, fresh, afresh, placed));
    mixtures.extend(more);
    mixtures
}

/// What two do, at the same time.
fn side_by_side<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    })
}

/// Whether all that a problem asks for is known here.
pub(super) fn is_known(problem: &Problem, groups: &[Group]) -> bool {
    Scene::new(problem, groups).is_some()
}

/// Some placement, whatever it costs, where one is found at once.
pub(super) fn some(problem: &Problem, groups: &[Group]) -> Option<Placement> {
    let tries =
        Tries { quick: true, bounded: false, counted: false, runs: [(0, 1.0); 2], near: 1.0 };
    tried(problem, groups, &tries)
}

/// Candidates that are enough to tell which limits can be kept: whatever is elsewhere can be at one of them, each demand in
/// the same clouds and at the same sites as far as it has a rule on those. `None` where that is not known.
pub(super) fn enough(problem: &Problem, groups: &[Group]) -> Option<Vec<usize>> {
    let scene = Scene::new(problem, groups)?;
    let parts = parts::by_section(&scene);
    // Another type of GPU may serve less.
    let is_load = parts.iter().any(|part| !part.rates.is_empty());
    (!is_load).then(|| Cover::new(&scene, &parts).kept)
}

/// Nodes for everything as a program counts them, whatever runs.
fn counted<'a>(
    scene: &'a Scene<'a>,
    prices: &'a Prices,
    open: &BTreeSet<usize>,
    cover: &Cover,
    bound: f64,
) -> Option<(Market<'a>, Vec<Node>, Taken)> {
    let parts = parts::certain(scene, prices, open, Aim::Nodes, bound);
    let whole = whole::solved(scene, &parts, prices, Aim::Nodes)?;
    let parts = parts::settled(scene, prices, open, parts, &whole)?;
    let market = Market::new(scene, parts, prices, &cover.kept);
    let is_many = scene.groups.len() > SOME;
    let (nodes, taken) = rounding::nodes(&market, &whole.nodes, is_many);
    let (nodes, taken) = market.fill(nodes, taken)?;
    Some((market, nodes, taken))
}

/// Sites where some part's replicas stand for least.
fn open(scene: &Scene, prices: &Prices, parts: &[Part]) -> BTreeSet<usize> {
    let best = parts.iter().filter_map(|part| {
        let by_unit = |place: &&u32| prices.unit(scene, part, **place);
        part.candidates.iter().min_by(|a, b| by_unit(a).total_cmp(&by_unit(b)).then(a.cmp(b)))
    });
    best.map(|place| scene.places[*place as usize].site).collect()
}

fn settled(problem: &Problem, groups: &[Group], parts: &[Part], contents: Vec<Node>) -> Placement {
    let used: BTreeSet<usize> = contents.iter().map(|node| node.place).collect();
    let formulation = Formulation::loose(problem, groups, used.into_iter().collect());
    let mut nodes = vec![Vec::new(); formulation.kept.len()];
    let mut seats: Vec<Counts> =
        formulation.seats.iter().map(|seats| vec![0; seats.len()]).collect();
    for node in contents {
        let Ok(place) = formulation.kept.binary_search(&node.place) else { continue };
        let mut counts = vec![0; groups.len()];
        for (part, count) in node.content {
            let group = parts[part].group;
            counts[group] += count;
            let found = formulation.seats[group].binary_search_by_key(&place, |(place, _)| *place);
            let Ok(seat) = found else { continue };
            seats[group][seat] += count;
        }
        nodes[place].push(counts);
    }
    let packed = Packed { values: Vec::new(), seats, nodes, bound: 0.0, cuts: 0 };
    charged(&formulation, &packed)
}

fn with_bound(mut placement: Placement, bound: f64) -> Placement {
    let moves = placement.proof.moves_month;
    placement.proof = proof(placement.objective_month(), moves, bound, 0);
    placement
}
