//! Solve, pack, cut, and again until the nodes hold what the model put on them.

use std::collections::BTreeMap;

use super::Placement;
use super::formulation::{Formulation, Overfull};
use super::model::{Effort, Outcome, Sense};
use super::moves;
use super::packing::{Amounts, Counts, Packing, pack};
use super::reduce::{self, Group};
use crate::problem::Problem;

/// Up to this many columns the search goes on until nothing is left to gain.
const SMALL: usize = 600;

/// At first the solver gets the candidates that could be part of a placement this much above the bound.
const MARGIN: f64 = 1e-2;

/// A solution whose nodes hold its replicas.
pub(super) struct Packed {
    /// Values of the columns, whole where they must be.
    pub values: Vec<f64>,
    /// By group: replicas, in the order of [`Formulation::seats`].
    pub seats: Vec<Counts>,
    /// By position of the candidate: for each node, replicas by group.
    pub nodes: Vec<Vec<Counts>>,
    /// No packed solution's objective is below this.
    pub bound: f64,
    pub cuts: u32,
}

pub(super) enum Found {
    Packed(Packed),
    /// No solution exists.
    Infeasible,
    /// None was found within the limits on work, in the solver's words.
    Unsolved(String),
}

pub(super) fn is_small(formulation: &Formulation) -> bool {
    formulation.model.columns.len() <= SMALL
}

/// What the main solve of a model of this size may cost.
pub(super) fn effort(formulation: &Formulation) -> Effort {
    if is_small(formulation) { Effort::new(1e-9, 20_000) } else { Effort::new(1e-3, 2_000) }
}

/// The cheapest packed solution that was found and the formulation it solves, which may have fewer
/// candidates than were given.
pub(super) struct Cheapest<'a> {
    pub formulation: Formulation<'a>,
    pub packed: Packed,
    pub cost: f64,
}

/// The cheapest packed solution over all given candidates, found among a few of them.
///
/// The linear relaxation over all candidates bounds every solution from below by `bound`, and every
/// solution that uses candidate *o* by `bound + extra[o]` (at least one node of *o* and one replica on it). So
/// the solver gets the candidates with little extra only; what it finds is the answer for all as soon as
/// it costs no more than the least that any other candidate could lead to. Otherwise it gets those that
/// still could.
pub(super) fn cheapest<'a>(
    problem: &'a Problem,
    groups: &'a [Group],
    kept: &[usize],
) -> Result<Cheapest<'a>, Failed> {
    let whole = Formulation::new(problem, groups, kept.to_vec());
    let Some(relaxed) = whole.model.relaxed(&whole.cost) else { return Err(Failed::Infeasible) };
    let extra = whole.extra(&relaxed.extra);
    drop(whole);
    // What runs already is in every model, because leaving it is charged.
    let held = moves::held(problem).seats;
    let mut margin = relaxed.bound.max(0.0) * MARGIN;
    let mut cuts = 0;
    loop {
        let near = |extra: f64| extra <= margin;
        let few = kept.iter().zip(&extra);
        let few = few.filter(|(index, extra)| near(**extra) || held.contains_key(index));
        let few: Vec<usize> = few.map(|(index, _)| *index).collect();
        let least_far =
            extra.iter().copied().filter(|extra| !near(*extra)).fold(f64::MAX, f64::min);
        let outside = relaxed.bound + least_far;
        let everything = few.len() == kept.len();
        let mut formulation = Formulation::new(problem, groups, few);
        let effort = effort(&formulation);
        match best(&mut formulation, |f| f.cost.clone(), None, effort) {
            Found::Packed(mut packed) => {
                cuts += packed.cuts;
                let cost = sum(&formulation.cost, &packed.values);
                packed.bound = packed.bound.max(relaxed.bound).min(outside);
                if everything || outside >= cost || cost - packed.bound <= effort.gap * cost {
                    packed.cuts = cuts;
                    formulation
                        .exclude(&extra_of(&formulation, kept, &extra), cost - relaxed.bound);
                    return Ok(Cheapest { formulation, packed, cost });
                }
                margin = cost - relaxed.bound + 1e-6;
            }
            Found::Infeasible if everything => return Err(Failed::Infeasible),
            Found::Unsolved(words) if everything => return Err(Failed::Unsolved(words)),
            Found::Infeasible | Found::Unsolved(_) => margin = (margin * 10.0).max(1.0),
        }
    }
}

/// Whether the linear relaxation keeps every limit.
pub(super) fn may_be_kept(problem: &Problem, groups: &[Group], kept: &[usize]) -> bool {
    let formulation = Formulation::new(problem, groups, kept.to_vec());
    formulation.model.relaxed(&formulation.cost).is_some()
}

/// By position in the formulation.
fn extra_of(formulation: &Formulation, kept: &[usize], extra: &[f64]) -> Vec<f64> {
    let all: BTreeMap<usize, f64> = kept.iter().copied().zip(extra.iter().copied()).collect();
    formulation.kept.iter().map(|index| all[index]).collect()
}

pub(super) fn sum(weights: &[f64], values: &[f64]) -> f64 {
    weights.iter().zip(values).map(|(weight, value)| weight * value).sum()
}

/// Why there is no solution.
pub(super) enum Failed {
    /// None exists.
    Infeasible,
    /// None was found within the limits on work, in the solver's words.
    Unsolved(String),
}

/// The best packed solution for an objective over the formulation's columns. Cuts stay in the
/// formulation.
pub(super) fn best(
    formulation: &mut Formulation,
    objective: impl Fn(&Formulation) -> Vec<f64>,
    start: Option<&[f64]>,
    effort: Effort,
) -> Found {
    let mut bound = f64::NEG_INFINITY;
    let mut cuts = 0;
    // Whether every cut so far is proven to exclude no packing. One that is not (the exact packing gave
    // up) leaves the solutions right, but no longer says anything about what else exists.
    let mut proven = true;
    // With more nodes than the solver rented.
    let mut least: Option<(f64, Packed)> = None;
    for _ in 0..effort.rounds {
        let weights = objective(formulation);
        let start = start.filter(|start| start.len() == weights.len());
        let (values, solved_bound) = match formulation.model.minimise(&weights, start, effort) {
            Outcome::Solved { values, bound } => (values, bound),
            // What was found with more nodes is the best then.
            Outcome::Infeasible | Outcome::Unsolved(_) if least.is_some() => break,
            Outcome::Infeasible if proven => return Found::Infeasible,
            Outcome::Infeasible => {
                return Found::Unsolved("no packing was found within the limit on work".to_owned());
            }
            Outcome::Unsolved(words) => return Found::Unsolved(words),
        };
        if proven {
            bound = bound.max(solved_bound);
        }
        let (seats, nodes) = whole(formulation, &values);
        let mut packings = Vec::new();
        let mut overfull = Vec::new();
        for (place, &rented) in nodes.iter().enumerate() {
            let counts = at(formulation, &seats, place);
            let (packing, decided) = pack_place(formulation, place, &counts, rented);
            proven &= decided;
            packings.push(packing.unwrap_or_else(|| {
                // As many nodes as it takes.
                let (enough, _) = pack_place(formulation, place, &counts, u32::MAX);
                overfull.push(Overfull { place, counts, nodes: rented });
                enough.unwrap_or_default()
            }));
        }
        let values = formulation.values(&values, &packings);
        let reached = sum(&weights, &values);
        let is_fit = overfull.is_empty();
        let holds = is_fit || formulation.model.holds(&values);
        let packed = Packed { values, seats, nodes: packings, bound, cuts };
        // A few nodes more may keep every limit and still be as near to the bound as was asked for.
        if is_fit || holds && reached - bound <= effort.gap * reached {
            return Found::Packed(packed);
        }
        if holds && least.as_ref().is_none_or(|(least, _)| reached < *least) {
            least = Some((reached, packed));
        }
        for overfull in &overfull {
            formulation.cut(overfull);
            cuts += 1;
        }
    }
    match least {
        Some((_, packed)) => Found::Packed(Packed { bound, cuts, ..packed }),
        None => Found::Unsolved(format!("no packing was found in {} rounds", effort.rounds)),
    }
}

/// The packing of one candidate's replicas, `None` where there is none; and whether that is certain.
fn pack_place(
    formulation: &Formulation,
    place: usize,
    counts: &[u32],
    rented: u32,
) -> (Option<Vec<Counts>>, bool) {
    let here: Vec<usize> = (0..counts.len()).filter(|group| counts[*group] > 0).collect();
    let sizes: Vec<Amounts> = here.iter().map(|group| formulation.size(*group)).collect();
    let few: Counts = here.iter().map(|group| counts[*group]).collect();
    let capacity = formulation.problem.candidates[formulation.kept[place]].usable.array();
    match pack(&sizes, &few, capacity, rented) {
        Packing::Fits(nodes) => {
            let spread = |few: Counts| {
                let mut all = vec![0; counts.len()];
                for (group, count) in here.iter().zip(few) {
                    all[*group] = count;
                }
                all
            };
            (Some(nodes.into_iter().map(spread).collect()), true)
        }
        Packing::Impossible => (None, true),
        Packing::Unknown => (None, false),
    }
}

/// Replicas by group and nodes by position, as whole numbers.
fn whole(formulation: &Formulation, values: &[f64]) -> (Vec<Counts>, Vec<u32>) {
    let round = |column: usize| values[column].round().max(0.0) as u32;
    let seats = formulation.seats.iter();
    let seats = seats.map(|seats| seats.iter().map(|(_, column)| round(*column)).collect());
    let nodes = formulation.nodes.iter().map(|column| round(*column));
    (seats.collect(), nodes.collect())
}

/// Replicas at one candidate, by group.
fn at(formulation: &Formulation, seats: &[Counts], place: usize) -> Counts {
    let groups = formulation.seats.iter().zip(seats);
    groups
        .map(|(columns, counts)| {
            let found = columns.binary_search_by_key(&place, |(place, _)| *place);
            found.map_or(0, |index| counts[index])
        })
        .collect()
}

impl Formulation<'_> {
    /// A placement as a solution; `None` where it is none of this formulation's. It has no bound, and only the values that
    /// are given.
    pub fn packed(&self, known: &Placement, values: Vec<f64>) -> Option<Packed> {
        let group_of = reduce::group_of(self.problem, self.groups);
        let counts = |node: &BTreeMap<String, u32>| {
            let mut counts = vec![0; self.groups.len()];
            for (workload, count) in node {
                counts[*group_of.get(workload.as_str())?] += count;
            }
            Some(counts)
        };
        let is_kept = |id: &String| (0..self.kept.len()).any(|one| self.candidate(one).id == *id);
        if !known.rentals.keys().all(is_kept) {
            return None;
        }
        let nodes = (0..self.kept.len()).map(|place| {
            let rental = known.rentals.get(&self.candidate(place).id);
            rental.map_or(Some(Vec::new()), |rental| rental.nodes.iter().map(counts).collect())
        });
        let nodes: Option<Vec<Vec<Counts>>> = nodes.collect();
        Some(Packed {
            values,
            seats: self.seated(known),
            nodes: nodes?,
            bound: f64::NEG_INFINITY,
            cuts: 0,
        })
    }

    /// A placement's replicas by group, in the order of the seats.
    fn seated(&self, known: &Placement) -> Vec<Counts> {
        let by_workload = known.by_workload();
        let groups = self.groups.iter().zip(&self.seats);
        let groups = groups.map(|(group, seats)| {
            let seats = seats.iter().map(|(place, _)| {
                let id = self.candidate(*place).id.as_str();
                let replicas = group.demands.iter().filter_map(|demand| {
                    by_workload.get(self.problem.demands[*demand].workload.as_str())?.get(id)
                });
                replicas.sum()
            });
            seats.collect()
        });
        groups.collect()
    }

    /// A placement as values of the columns; `None` where it is none of this formulation's.
    pub fn start(&self, known: &Placement) -> Option<Vec<f64>> {
        let mut model = self.model.clone();
        for (seats, counts) in self.seats.iter().zip(self.seated(known)) {
            for ((_, column), count) in seats.iter().zip(counts) {
                model.row(vec![(*column, 1.0)], Sense::Equal, f64::from(count));
            }
        }
        for (place, column) in self.nodes.iter().enumerate() {
            let rental = known.rentals.get(&self.candidate(place).id);
            let nodes = rental.map_or(0.0, |rental| rental.nodes.len() as f64);
            model.row(vec![(*column, 1.0)], Sense::Equal, nodes);
        }
        // What is left says which sites are open, and who is where.
        match model.minimise(&self.cost, None, Effort::new(1e-6, 100)) {
            Outcome::Solved { values, .. } => Some(values),
            Outcome::Infeasible | Outcome::Unsolved(_) => None,
        }
    }

    /// The solver's values, rounded where they must be whole, with the nodes that the packing uses.
    fn values(&self, values: &[f64], packings: &[Vec<Counts>]) -> Vec<f64> {
        let columns = self.model.columns.iter().zip(values);
        let mut values: Vec<f64> = columns
            .map(|(column, value)| if column.integer { value.round() } else { *value })
            .collect();
        for (column, nodes) in self.nodes.iter().zip(packings) {
            values[*column] = nodes.len() as f64;
        }
        values
    }
}
