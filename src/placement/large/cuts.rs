//! What whole nodes ask for that a linear program does not see.
//!
//! `Σ s·x ≤ n` lets a place have 1.3 nodes. Of some of its users at most D nodes' worth can be there, and what is not
//! there saves a node only once all that is above ⌊D⌋ is gone: `n + Σ s·(u − x)/f ≥ ⌈D⌉`, where `f = D − ⌊D⌋` and `u`
//! is the most of `x`. Such mixed-integer roundings (Marchand and Wolsey, Operations Research 49, 2001) are stronger
//! still where replicas are counted whole. They are added where the optimum breaks them, which proves most of what a
//! search would prove in a small part of its time.

use crate::placement::model::{Growing, Model, Optimum, Row, Sense, lagrangian};

/// So often rows are added.
const ROUNDS: usize = 20;
/// Rows are rounded in up to so many multiples.
const MULTIPLES: u32 = 4;
/// By how much a row is broken at least, as a distance.
const BROKEN: f64 = 1e-4;
/// What is nearer to a whole number is one.
const WHOLE: f64 = 1e-6;
/// Whatever is above such a part of a node is rounded up without another look.
const NEARLY: f64 = 0.7;

/// A row `Σ s·x ≤ n`.
struct Shared {
    nodes: usize,
    terms: Vec<(usize, f64)>,
}

/// The linear relaxation of a model with such roundings.
pub(super) struct Divided<'a> {
    model: &'a Model,
    objective: &'a [f64],
    shared: Vec<Shared>,
    cuts: Vec<Row>,
    program: Growing,
    optimum: Optimum,
}

impl<'a> Divided<'a> {
    /// `None` where there is no solution.
    pub fn new(model: &'a Model, objective: &'a [f64]) -> Option<Divided<'a>> {
        let mut program = Growing::relaxation(model, objective)?;
        let optimum = program.solve()?;
        let shared = model.rows.iter().filter_map(|row| shared(model, row)).collect();
        let mut this = Divided { model, objective, shared, cuts: Vec::new(), program, optimum };
        for _ in 0..ROUNDS {
            let broken: Vec<Row> = this.shared.iter().filter_map(|row| this.broken(row)).collect();
            if broken.is_empty() {
                break;
            }
            broken.iter().for_each(|row| this.program.row(row));
            this.cuts.extend(broken);
            this.optimum = this.program.solve()?;
        }
        Some(this)
    }

    /// What no solution's objective is below.
    pub fn bound(&self) -> f64 {
        let rows = self.model.rows.iter().chain(&self.cuts);
        lagrangian(&self.model.columns, rows, self.objective, &self.optimum.multipliers).bound
    }

    /// A solution in which such columns are whole. They are rounded up one after the other, so there is some room left.
    pub fn rounded(mut self, columns: impl Iterator<Item = usize> + Clone) -> Option<Vec<f64>> {
        let uppers = self.model.columns.iter().map(|column| column.upper);
        let mut bounds: Vec<(f64, f64)> = uppers.map(|upper| (0.0, upper)).collect();
        loop {
            let values = &self.optimum.values;
            let part = |column: usize| values[column] - (values[column] + WHOLE).floor();
            let divided = columns.clone().filter(|column| part(*column) > WHOLE);
            let most = divided.clone().max_by(|a, b| part(*a).total_cmp(&part(*b)));
            let Some(most) = most else { return Some(self.optimum.values) };
            let floor = values[most].floor();
            for column in divided.filter(|column| *column == most || part(*column) > NEARLY) {
                bounds[column].0 = values[column].ceil();
                self.program.within(column, bounds[column].0, bounds[column].1);
            }
            let solved = self.program.solve().or_else(|| {
                // A limit has no room for so many.
                bounds[most] = (bounds[most].0.min(floor), floor);
                self.program.within(most, bounds[most].0, floor);
                self.program.solve()
            });
            self.optimum = solved?;
        }
    }

    /// The rounding of a row that the optimum breaks most.
    fn broken(&self, row: &Shared) -> Option<Row> {
        let nodes = self.optimum.values[row.nodes];
        let mut most: Option<(f64, Row)> = None;
        // Inside are users of which more than such a part is here; the first is best where nothing is whole.
        for least in [nodes - nodes.floor(), 0.0, 0.25, 0.5, 0.75, 0.99] {
            let values = &self.optimum.values;
            let is_inside = |column: usize| values[column] > self.upper(column) * least + 1e-9;
            let inside: Vec<bool> =
                row.terms.iter().map(|(column, _)| is_inside(*column)).collect();
            for times in 1..=MULTIPLES {
                let Some(cut) = self.rounding(row, &inside, f64::from(times)) else { continue };
                let terms = cut.terms.iter();
                let left: f64 = terms.map(|(column, factor)| factor * values[*column]).sum();
                let length =
                    cut.terms.iter().map(|(_, factor)| factor * factor).sum::<f64>().sqrt();
                let by = (cut.right - left) / length;
                if by > most.as_ref().map_or(BROKEN, |(most, _)| *most) {
                    most = Some((by, cut));
                }
            }
        }
        most.map(|(_, cut)| cut)
    }

    /// The rounding of so many times a row, with how much of the users inside is elsewhere for how much is here.
    fn rounding(&self, row: &Shared, inside: &[bool], times: f64) -> Option<Row> {
        let users = || row.terms.iter().zip(inside);
        let there = users().filter(|(_, is_inside)| **is_inside);
        let worth: f64 = there.map(|((column, share), _)| share * self.upper(*column)).sum();
        let all = times * worth;
        let part = all - all.floor();
        if !(1e-3..1.0 - WHOLE).contains(&part) {
            return None;
        }
        let factor = |column: usize, share: f64| match self.model.columns[column].integer {
            true => {
                // A hair more is weaker, never wrong.
                let share = share + 1e-9;
                share.floor() + ((share - share.floor()) / part).min(1.0)
            }
            false => share.max(0.0) / part,
        };
        let mut right = all.ceil();
        let mut terms = vec![(row.nodes, times)];
        for ((column, share), is_inside) in users() {
            if *is_inside {
                let factor = factor(*column, times * share);
                right -= factor * self.upper(*column);
                terms.push((*column, -factor));
            } else {
                terms.push((*column, factor(*column, -times * share)));
            }
        }
        terms.retain(|(_, factor)| *factor != 0.0);
        Some(Row { terms, sense: Sense::AtLeast, right })
    }

    fn upper(&self, column: usize) -> f64 {
        let column = &self.model.columns[column];
        if column.integer { (column.upper + WHOLE).floor() } else { column.upper }
    }
}

/// Reads a row as one on nodes that several share.
fn shared(model: &Model, row: &Row) -> Option<Shared> {
    let mut nodes = row.terms.iter().filter(|(_, factor)| *factor < 0.0);
    let (column, holds) = nodes.next()?;
    let is_one = nodes.next().is_none() && model.columns[*column].integer;
    let is_shared = row.sense == Sense::AtMost && row.right == 0.0;
    let users = row.terms.iter().filter(|(_, factor)| *factor > 0.0);
    let terms = users.map(|(column, factor)| (*column, factor / -holds)).collect();
    (is_one && is_shared).then_some(Shared { nodes: *column, terms })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::placement::model::{Effort, Outcome};

    /// Users of sizes at places of prices and sizes: rows on what each place has, and users' amounts.
    fn model(places: &[(u32, u32)], users: &[(u32, u32, bool)]) -> (Model, Vec<f64>) {
        let mut model = Model::default();
        let nodes: Vec<usize> = places.iter().map(|_| model.column(200.0, true)).collect();
        let mut cost: Vec<f64> = places.iter().map(|(price, _)| f64::from(*price)).collect();
        let mut classes = Vec::new();
        for (_, amount, is_whole) in users {
            let amount = f64::from(*amount);
            let class: Vec<usize> =
                places.iter().map(|_| model.column(amount, *is_whole)).collect();
            model.row(class.iter().map(|column| (*column, 1.0)).collect(), Sense::AtLeast, amount);
            classes.push(class);
        }
        for (at, (_, has)) in places.iter().enumerate() {
            let takes =
                classes.iter().zip(users).map(|(class, (size, ..))| (class[at], f64::from(*size)));
            let has = [(nodes[at], -f64::from(*has))];
            model.row(takes.chain(has).collect(), Sense::AtMost, 0.0);
        }
        cost.resize(model.columns.len(), 0.0);
        (model, cost)
    }

    fn total(cost: &[f64], values: &[f64]) -> f64 {
        cost.iter().zip(values).map(|(cost, value)| cost * value).sum()
    }

    proptest! {
        #[test]
        fn no_solution_is_below_what_cuts_prove(
            places in prop::collection::vec((1u32..50, 2u32..9), 1..4),
            users in prop::collection::vec((1u32..9, 1u32..7, any::<bool>()), 1..5),
        ) {
            let (model, cost) = model(&places, &users);
            let exact = model.minimise(&cost, None, Effort::new(0.0, 100_000));
            let Outcome::Solved { values: best, .. } = exact else { panic!("{exact:?}") };
            let least = total(&cost, &best);
            let relaxed = model.relaxed(&cost).unwrap().bound;
            let divided = Divided::new(&model, &cost).unwrap();
            let proven = divided.bound();
            prop_assert!(relaxed - 1e-6 <= proven && proven <= least + 1e-6, "{relaxed} {proven} {least}");
            let nodes = 0..places.len();
            let values = divided.rounded(nodes.clone()).unwrap();
            prop_assert!(model.holds(&values));
            prop_assert!(nodes.clone().all(|node| (values[node] - values[node].round()).abs() < 1e-5));
        }
    }

    #[test]
    fn one_user_of_a_place_pays_for_whole_nodes() {
        // Three of five on nodes for eight, where two fit: two nodes, and not 15/8 of one.
        let (model, cost) = model(&[(10, 8)], &[(5, 3, true)]);
        assert!((model.relaxed(&cost).unwrap().bound - 18.75).abs() < 1e-6);
        let proven = Divided::new(&model, &cost).unwrap().bound();
        assert!((proven - 20.0).abs() < 1e-6, "{proven}");
    }

    #[test]
    fn a_limit_without_room_for_one_more_is_rounded_down_to() {
        // On the dear place 13 of ten a node that may be nowhere else; of the others seven.
        let mut model = Model::default();
        let [dear, cheap] = [model.column(9.0, true), model.column(9.0, true)];
        let bound = model.column(13.0, false);
        let free = [model.column(7.0, false), model.column(7.0, false)];
        model.row(vec![(bound, 1.0)], Sense::AtLeast, 13.0);
        model.row(free.map(|column| (column, 1.0)).to_vec(), Sense::AtLeast, 7.0);
        let there = vec![(bound, 1.0), (free[0], 1.0), (dear, -10.0)];
        model.row(there, Sense::AtMost, 0.0);
        model.row(vec![(free[1], 1.0), (cheap, -10.0)], Sense::AtMost, 0.0);
        model.row(vec![(dear, 1.0), (cheap, 1.0)], Sense::AtMost, 2.0);
        let cost = [11.0, 10.0, 0.0, 0.0, 0.0];
        let mut program = Growing::relaxation(&model, &cost).unwrap();
        let optimum = program.solve().unwrap();
        assert!((optimum.values[dear] - 1.3).abs() < 1e-6, "nodes of both are divided");
        let shared = Vec::new();
        let divided =
            Divided { model: &model, objective: &cost, shared, cuts: Vec::new(), program, optimum };
        let values = divided.rounded([dear, cheap].into_iter()).unwrap();
        assert!(model.holds(&values));
        assert_eq!([values[dear].round(), values[cheap].round()], [2.0, 0.0]);
    }
}
