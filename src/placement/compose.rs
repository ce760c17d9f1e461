//! Large problems: whole nodes with what is on them, put together to a placement.
//!
//! A *content* is a candidate and how many replicas of each group one node of it holds. Instead of seats and
//! nodes, the columns are contents, `m[o,a]` nodes each (Dantzig and Wolfe; Gilmore and Gomory): `n[o] = Σ_a m[o,a]`
//! and `x[g,o] = Σ_a a_g·m[o,a]` are put into every row of the [`Formulation`] but those that say what a node
//! holds, because a content holds it. That is a much stronger relaxation: fractions of nodes are still
//! allowed, but no mixture of replicas that no node could hold. And what comes out is packed.
//!
//! 1. The linear program begins with each group alone on nodes that are cheap for it, and gets the contents
//!    that its multipliers say would save most (`price`, `knapsack`), until none does or little changes. Rows
//!    that open a place for a group are many and come in where they are broken.
//! 2. `price` computes a bound from the multipliers that holds whatever the solver's tolerance is.
//! 3. `dive` makes whole nodes of it, and `master` solves the integer program over the contents that were
//!    found for what the first steps of the dive left open. The cheaper of the two is the answer.
//!
//! Demands sized by load, traffic, stored weights and rules between demands opt out: those problems take
//! the general way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleetform_contract::Market;

use super::dive::{gates, special};
use super::formulation::Formulation;
use super::knapsack::{EVEN, Weights};
use super::model::{Growing, Model, Row, Sense, Sparse};
use super::packing::{Counts, fitting};
use super::reduce::Group;
use super::search::Packed;
use super::{Placement, check, proof, settle};
use crate::problem::{Amount, Problem, Rule};

/// One node of a candidate and what is on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pattern {
    pub place: usize,
    /// (group, replicas), ascending.
    pub counts: Vec<(usize, u32)>,
}

/// Problems with fewer columns take the general way, whose search is exact.
const LARGE: usize = 3_000;
/// The linear program ends this near to its bound.
const NEAR: f64 = 3e-4;
/// … or when this share of the objective is not gained in five rounds.
const SLOW: f64 = 1e-3;
const ROUNDS: u32 = 60;
/// Steps of the search for one node's content: usually, and where the bound is computed.
pub(super) const KNAPSACK: u32 = 400;
const THOROUGH: u32 = 20_000;
/// Contents that come in at once.
pub(super) const ENTER: usize = 1_000;
/// Times that prices come down before the first linear program.
const WARM: u32 = 8;
/// Dollars that a dollar of preference weighs.
const TIE: f64 = 1e-6;
/// Replicas that are left to the integer program.
pub(super) const REST: u32 = 400;
/// Contents whose reduced cost is above this share of their cost are not offered to the integer program.
pub(super) const NEARLY: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Entry {
    /// Of a row.
    Artificial(usize),
    /// A column of the model that is neither seat nor node.
    Other(usize),
    Pattern(usize),
}

#[derive(Clone)]
pub(super) struct Composed {
    pub bound: f64,
    pub nodes: Vec<Vec<Counts>>,
    pub seats: Vec<Counts>,
}

pub(super) struct Composing<'a> {
    pub(super) form: &'a Formulation<'a>,
    pub(super) model: &'a Model,
    pub(super) sparse: Sparse,
    /// By place: (group, column).
    pub(super) residents: Vec<Vec<(usize, usize)>>,
    /// By group: its row and what is asked there.
    pub(super) filled: Vec<usize>,
    pub(super) is_filled: Vec<bool>,
    pub(super) program: Growing,
    pub(super) rows: Vec<usize>,
    pub(super) row_at: Vec<Option<u32>>,
    pub(super) entries: Vec<Entry>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) entry_of: HashMap<Pattern, usize>,
    /// By pattern: how many are fixed.
    pub(super) fixed: Vec<u32>,
    pub(super) others: Vec<usize>,
    pub(super) weights: Vec<Weights>,
    /// Where the last optimum is.
    pub(super) values: Vec<f64>,
    pub(super) multipliers: Vec<f64>,
    pub(super) objective: f64,
    pub(super) lowest: f64,
    /// By column: dollars a month, and what decides between equals.
    pub(super) cost: Vec<f64>,
    pub(super) is_open: BTreeSet<usize>,
    /// By column of a seat: what must be chosen before it may be taken.
    pub(super) gates: HashMap<usize, usize>,
    /// By group: whether it has rules of its own.
    pub(super) is_special: Vec<bool>,
    pub(super) settled: BTreeSet<usize>,
}

pub(super) struct Priced {
    pub(super) place: usize,
    pub(super) price: f64,
    pub(super) bound: f64,
    pub(super) value: f64,
    pub(super) counts: Vec<(usize, u32)>,
}

/// The placement of a large problem; `None` where this way does not apply or finds none.
pub(super) fn placement(problem: &Problem, groups: &[Group], kept: &[usize]) -> Option<Placement> {
    let pairs = groups.iter().flat_map(|group| &group.candidates);
    let pairs = pairs.filter(|candidate| kept.binary_search(candidate).is_ok()).count();
    if pairs + kept.len() < LARGE || !suits(problem) {
        return None;
    }
    let formulation = Formulation::loose(problem, groups, kept.to_vec());
    let mut composing = Composing::new(&formulation)?;
    composing.relax()?;
    let settled = |composed: &Composed| {
        let Composed { bound, nodes, seats } = composed.clone();
        let packed = Packed { values: Vec::new(), seats, nodes, bound, cuts: 0 };
        let mut placement = settle::placement(&formulation, &packed);
        placement.proof = proof(placement.cost.total_month, 0.0, bound, 0);
        placement
    };
    // Whether it is too dear is told by who asked, with what it costs.
    let limits = problem.limits.iter().filter(|limit| !matches!(limit.rule, Rule::Budget { .. }));
    let unlimited = Problem { limits: limits.cloned().collect(), ..problem.clone() };
    let found = composing.whole(|composed| check(&unlimited, &settled(composed)).is_ok());
    let placements = found.iter().map(settled);
    placements.min_by(|a, b| a.cost.total_month.total_cmp(&b.cost.total_month))
}

/// Whether everything in the problem is known here.
fn suits(problem: &Problem) -> bool {
    let is_known = |rule: &Rule| {
        matches!(
            rule,
            Rule::Quota { .. }
                | Rule::CapacityGpus { .. }
                | Rule::CapacityCpus { .. }
                | Rule::CapacityNodes { .. }
                | Rule::Nodes { .. }
                | Rule::Spot { .. }
                | Rule::SpreadMin { .. }
                | Rule::ZoneMin { .. }
                | Rule::SpreadShare { .. }
                | Rule::Together { .. }
                | Rule::Budget { .. }
        )
    };
    let mut demands = problem.demands.iter();
    problem.weights.is_none()
        && problem.traffic.is_empty()
        && problem.stored.is_empty()
        && demands.all(|demand| matches!(demand.amount, Amount::Replicas(_)))
        && problem.limits.iter().all(|limit| is_known(&limit.rule))
}

fn weighed(form: &Formulation) -> Vec<f64> {
    form.cost.iter().zip(&form.preference).map(|(cost, tie)| cost + TIE * tie).collect()
}

impl<'a> Composing<'a> {
    pub fn new(form: &'a Formulation<'a>) -> Option<Composing<'a>> {
        let model = &form.model;
        let sparse = Sparse::new(model);
        let mut residents = vec![Vec::new(); form.kept.len()];
        let mut is_part = vec![false; model.columns.len()];
        for (group, seats) in form.seats.iter().enumerate() {
            for &(place, column) in seats {
                residents[place].push((group, column));
                is_part[column] = true;
            }
        }
        for column in &form.nodes {
            is_part[*column] = true;
        }
        let others: Vec<usize> = (0..is_part.len()).filter(|column| !is_part[*column]).collect();
        let mut is_filled = vec![false; model.rows.len()];
        let mut filled = Vec::new();
        for seats in &form.seats {
            let (_, column) = *seats.first()?;
            let row = sparse.of(column).find(|(row, factor)| {
                let row = &model.rows[*row];
                row.sense != Sense::AtMost && row.right > 0.0 && *factor > 0.0
            });
            let (row, _) = row?;
            filled.push(row);
            is_filled[row] = true;
        }
        let rows: Vec<usize> = (0..model.rows.len()).filter(|row| !model.rows[*row].lazy).collect();
        let mut row_at = vec![None; model.rows.len()];
        for (at, row) in rows.iter().enumerate() {
            row_at[*row] = Some(at as u32);
        }
        let sense =
            |row: usize| if is_filled[row] { Sense::AtLeast } else { model.rows[row].sense };
        let program = Growing::new(rows.iter().map(|row| (sense(*row), model.rows[*row].right)))?;
        let weights = vec![EVEN; form.kept.len()];
        let multipliers = vec![0.0; model.rows.len()];
        let mut this = Composing {
            form,
            model,
            sparse,
            residents,
            filled,
            is_filled,
            program,
            rows,
            row_at,
            entries: Vec::new(),
            patterns: Vec::new(),
            entry_of: Default::default(),
            fixed: Vec::new(),
            others,
            weights,
            values: Vec::new(),
            multipliers,
            objective: 0.0,
            lowest: f64::NEG_INFINITY,
            cost: weighed(form),
            is_open: Default::default(),
            gates: gates(form),
            is_special: special(form),
            settled: Default::default(),
        };
        let dear = this.dear();
        for at in 0..this.rows.len() {
            let row = this.rows[at];
            let Row { right, .. } = model.rows[row];
            let way = match this.sense(row) {
                Sense::AtMost => -1.0,
                _ if right == 0.0 => continue,
                _ => right.signum(),
            };
            this.program.column(dear[row], f64::MAX, [(at, way)].into_iter());
            this.entries.push(Entry::Artificial(row));
        }
        for index in 0..this.others.len() {
            let column = this.others[index];
            let terms = this.sparse.of(column);
            let terms =
                terms.filter_map(|(row, factor)| Some((this.row_at[row]? as usize, factor)));
            this.program.column(this.cost[column], model.columns[column].upper, terms);
            this.entries.push(Entry::Other(column));
        }
        this.begin();
        Some(this)
    }

    /// What breaking a row costs: several times what the dearest way to keep it should.
    fn dear(&self) -> Vec<f64> {
        let mut most = 0.0f64;
        let mut dear = vec![0.0; self.model.rows.len()];
        for (group, seats) in self.form.seats.iter().enumerate() {
            let size = self.form.size(group);
            let costs = seats.iter().map(|&(place, column)| {
                let fit = fitting(&size, &self.form.capacity(place));
                let node = self.cost[self.form.nodes[place]] / f64::from(fit.max(1));
                node + self.cost[column]
            });
            let least = costs.fold(f64::INFINITY, f64::min);
            dear[self.filled[group]] = 20.0 * least + 10.0;
            most = most.max(dear[self.filled[group]]);
        }
        for (row, dear) in dear.iter_mut().enumerate() {
            if !self.is_filled[row] {
                *dear = most;
            }
        }
        dear
    }

    pub(super) fn sense(&self, row: usize) -> Sense {
        if self.is_filled[row] { Sense::AtLeast } else { self.model.rows[row].sense }
    }

    /// Each group alone on the nodes that are cheapest for it, of every market and at several sites; and
    /// together on nodes that are worth it while prices that are too high come down.
    fn begin(&mut self) {
        let mut prices = self.multipliers.clone();
        let mut first = Vec::new();
        for (group, seats) in self.form.seats.iter().enumerate() {
            let size = self.form.size(group);
            let replicas = self.form.groups[group].replicas;
            let mut priced: Vec<(f64, usize, u32)> = Vec::new();
            let mut least = f64::INFINITY;
            for &(place, column) in seats {
                let capacity = self.form.capacity(place);
                let fit = fitting(&size, &capacity).min(replicas);
                let cost = self.cost[self.form.nodes[place]];
                let alone = cost / f64::from(fit.max(1)) + self.cost[column];
                let parts = size.iter().zip(capacity).filter(|(_, capacity)| *capacity > 0);
                let share = parts.map(|(size, capacity)| *size as f64 / capacity as f64);
                least = least.min(cost * share.fold(0.0, f64::max) + self.cost[column]);
                priced.push((alone, place, fit));
            }
            prices[self.filled[group]] = least;
            priced.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut sites: BTreeSet<(&str, bool)> = Default::default();
            for (rank, (_, place, fit)) in priced.iter().enumerate() {
                let candidate = self.form.candidate(*place);
                let is_spot = candidate.offering.market == Market::Spot;
                if sites.len() < 8 && sites.insert((&candidate.site, is_spot)) || rank < 2 {
                    first.push(Pattern { place: *place, counts: vec![(group, *fit)] });
                }
            }
        }
        for pattern in first {
            self.enter(pattern);
        }
        let most: Vec<u32> = self.form.groups.iter().map(|group| group.replicas).collect();
        for step in 0..WARM {
            let priced = self.price(&prices, &most, if step == 0 { 30 } else { 6 }, KNAPSACK);
            let lowered = self.lowered(&prices, &priced);
            for (price, lowered) in prices.iter_mut().zip(lowered) {
                *price -= lowered;
            }
            self.let_in(priced, usize::MAX);
        }
    }

    pub(super) fn columns_of(&self, pattern: &Pattern) -> Vec<(usize, f64)> {
        let mut columns = vec![(self.form.nodes[pattern.place], 1.0)];
        for &(group, count) in &pattern.counts {
            let seats = &self.form.seats[group];
            let at = seats.binary_search_by_key(&pattern.place, |(place, _)| *place);
            columns.push((seats[at.expect("a resident")].1, f64::from(count)));
        }
        columns
    }

    pub(super) fn cost_of(&self, pattern: &Pattern) -> f64 {
        self.columns_of(pattern).iter().map(|(column, count)| self.cost[*column] * count).sum()
    }

    pub(super) fn enter(&mut self, pattern: Pattern) -> bool {
        if self.entry_of.contains_key(&pattern) {
            return false;
        }
        self.entry_of.insert(pattern.clone(), self.entries.len());
        let mut terms: BTreeMap<usize, f64> = Default::default();
        for (column, count) in self.columns_of(&pattern) {
            for (row, factor) in self.sparse.of(column) {
                if let Some(at) = self.row_at[row] {
                    *terms.entry(at as usize).or_insert(0.0) += factor * count;
                }
            }
        }
        let cost = self.cost_of(&pattern);
        self.program.column(cost, f64::INFINITY, terms.into_iter());
        self.entries.push(Entry::Pattern(self.patterns.len()));
        self.patterns.push(pattern);
        self.fixed.push(0);
        true
    }

    fn bind(&mut self, rows: &[usize]) {
        let mut factors = vec![0.0; self.model.columns.len()];
        for &row in rows {
            let Row { terms, right, .. } = &self.model.rows[row];
            for (column, factor) in terms {
                factors[*column] += factor;
            }
            let mut new = Vec::new();
            for (at, entry) in self.entries.iter().enumerate() {
                let factor = match entry {
                    Entry::Artificial(_) => 0.0,
                    Entry::Other(column) => factors[*column],
                    Entry::Pattern(index) => {
                        let columns = self.columns_of(&self.patterns[*index]);
                        columns.iter().map(|(column, count)| factors[*column] * count).sum()
                    }
                };
                if factor != 0.0 {
                    new.push((at, factor));
                }
            }
            self.program.row(self.sense(row), *right, new.into_iter());
            self.row_at[row] = Some(self.rows.len() as u32);
            self.rows.push(row);
            for (column, _) in terms {
                factors[*column] = 0.0;
            }
        }
    }

    /// Solves the program, again with the rows that are broken, so many times at most.
    pub(super) fn solve(&mut self, binds: u32) -> Option<()> {
        for _ in 0..binds {
            let optimum = self.program.solve()?;
            self.objective = optimum.objective;
            self.values = optimum.values;
            self.multipliers.fill(0.0);
            for (row, multiplier) in self.rows.iter().zip(&optimum.multipliers) {
                self.multipliers[*row] = match self.sense(*row) {
                    Sense::AtMost => multiplier.min(0.0),
                    Sense::AtLeast => multiplier.max(0.0),
                    Sense::Equal => *multiplier,
                };
            }
            let values = self.by_column();
            // Of the rows that open one place only the most broken: it opens the place for all.
            let mut worst: BTreeMap<usize, (f64, usize)> = Default::default();
            for row in (0..self.model.rows.len()).filter(|row| self.row_at[*row].is_none()) {
                let Row { terms, right, .. } = &self.model.rows[row];
                let left: f64 = terms.iter().map(|(column, factor)| values[*column] * factor).sum();
                let Some((opener, factor)) = terms.last() else { continue };
                let excess = (left - right) / factor.abs();
                if excess > 1e-3 && worst.get(opener).is_none_or(|worst| excess > worst.0) {
                    worst.insert(*opener, (excess, row));
                }
            }
            let broken: Vec<usize> = worst.into_values().map(|(_, row)| row).collect();
            if broken.is_empty() {
                break;
            }
            self.bind(&broken);
        }
        Some(())
    }

    /// The program's values by the model's columns.
    fn by_column(&self) -> Vec<f64> {
        let mut values = vec![0.0; self.model.columns.len()];
        for (entry, value) in self.entries.iter().zip(&self.values) {
            match entry {
                _ if *value == 0.0 => {}
                Entry::Artificial(_) => {}
                Entry::Other(column) => values[*column] += value,
                Entry::Pattern(index) => {
                    for (column, count) in self.columns_of(&self.patterns[*index]) {
                        values[column] += count * value;
                    }
                }
            }
        }
        values
    }

    /// The linear program over all contents, until little changes; and the bound.
    pub fn relax(&mut self) -> Option<()> {
        let most: Vec<u32> = self.form.groups.iter().map(|group| group.replicas).collect();
        let mut best = self.multipliers.clone();
        let mut before: Vec<f64> = Vec::new();
        for round in 0..ROUNDS {
            self.solve(2)?;
            let trial = self.multipliers.clone();
            let priced = self.price(&trial, &most, if round == 0 { 30 } else { 6 }, KNAPSACK);
            let bound = self.lagrange(&trial, &priced);
            if bound > self.lowest {
                self.lowest = bound;
                best = trial;
            }
            let entered = self.let_in(priced, ENTER);
            before.push(self.objective);
            let is_missing = self.missing() > 1e-6;
            if entered == 0 && is_missing {
                return None;
            }
            let progress = before.len().checked_sub(6).map(|at| before[at] - self.objective);
            let slow = progress.is_some_and(|progress| progress <= SLOW * self.objective);
            let near = self.objective - self.lowest <= NEAR * self.objective;
            if !is_missing && (entered == 0 || slow || near) {
                break;
            }
        }
        self.widen(&most);
        self.solve(20)?;
        // The bound is on dollars alone.
        self.cost = self.form.cost.clone();
        self.lowest = f64::NEG_INFINITY;
        for multipliers in [self.multipliers.clone(), best] {
            let priced = self.price(&multipliers, &most, 20, THOROUGH);
            self.lowest = self.lowest.max(self.lagrange(&multipliers, &priced));
        }
        self.cost = weighed(self.form);
        Some(())
    }

    /// Contents that are nearly as good give the integer program a choice.
    fn widen(&mut self, most: &[u32]) {
        for factor in [1.0, 1.01, 1.03, 1.06] {
            let mut trial = self.multipliers.clone();
            for row in &self.filled {
                trial[*row] *= factor;
            }
            let priced = self.price(&trial, most, 2, KNAPSACK);
            self.let_in(priced, most.len() * 2);
        }
    }

    fn missing(&self) -> f64 {
        let entries = self.entries.iter().zip(&self.values);
        entries
            .filter(|(entry, _)| matches!(entry, Entry::Artificial(_)))
            .map(|(_, value)| *value)
            .sum()
    }

    pub(super) fn let_in(&mut self, mut priced: Vec<Priced>, most: usize) -> usize {
        // By the true multipliers: what only seems to save would come in for ever.
        let ratio = |one: &Priced| one.value / one.price.max(1e-9);
        priced.retain(|one| {
            !one.counts.is_empty() && one.value > one.price + 1e-7 * (1.0 + one.price)
        });
        priced.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then(a.place.cmp(&b.place)));
        let mut entered = 0;
        for one in priced {
            if entered >= most {
                break;
            }
            if self.enter(Pattern { place: one.place, counts: one.counts }) {
                entered += 1;
            }
        }
        entered
    }
}
