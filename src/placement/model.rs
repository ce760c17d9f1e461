//! A sparse mixed-integer linear program, and the only place that knows who solves it (HiGHS, through
//! good_lp).
//!
//! Invariant: the same model gives the same answer on every machine: one thread, a fixed seed, and
//! limits on work, never on time. The bound is the solver's own lower bound on every solution of the
//! model; nothing here assumes optimality.

use good_lp::{Expression, ProblemVariables, SolverModel, Variable, variable};
use highs::{HighsModelStatus, HighsSolutionStatus};

/// Minimise a linear objective over `columns` subject to `rows`.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub upper: f64,
    pub integer: bool,
}

/// `Σ coefficient·column` compared with `right`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub terms: Vec<(usize, f64)>,
    pub sense: Sense,
    pub right: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    AtMost,
    AtLeast,
    Equal,
}

/// How much work a solution is worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Relative distance between solution and bound at which the search ends.
    pub gap: f64,
    /// Nodes of the search tree.
    pub nodes: i32,
    pub pains: Pains,
    /// So often it is solved again because what it found cannot be packed.
    pub rounds: u32,
}

/// What is done beside branching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pains {
    /// Whatever may find a better solution.
    All,
    /// No smaller programs on the way and no jumps: enough where solutions near the bound are many.
    Few,
    /// Nor is the program made smaller first: of a small one that costs more than it saves.
    Fewest,
}

/// Each round excludes what the solver said last, so real problems need a handful.
const ROUNDS: u32 = 500;
/// Up to so many columns it pays to begin again with what a search has learnt, where little else is done.
const RESTARTED: usize = 5_000;

impl Effort {
    pub const fn new(gap: f64, nodes: i32) -> Effort {
        Effort { gap, nodes, pains: Pains::All, rounds: ROUNDS }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Values of the columns, and a number that no solution's objective is below.
    Solved {
        values: Vec<f64>,
        bound: f64,
    },
    Infeasible,
    /// The work limit came before the first solution, or the solver failed; with its own words.
    Unsolved(String),
}

/// Who solves, as it reports itself: `HiGHS 1.11.0`.
pub(super) fn solver() -> String {
    // SAFETY: the three functions take nothing, touch no state and return plain integers.
    let [major, minor, patch] = unsafe {
        [
            highs_sys::Highs_versionMajor(),
            highs_sys::Highs_versionMinor(),
            highs_sys::Highs_versionPatch(),
        ]
    };
    format!("HiGHS {major}.{minor}.{patch}")
}

/// What a linear relaxation knows.
#[derive(Clone, Debug)]
pub(super) struct Relaxed {
    pub bound: f64,
    /// By column, never negative.
    pub extra: Vec<f64>,
}

impl Model {
    /// Adds a column from 0 to `upper`.
    pub fn column(&mut self, upper: f64, integer: bool) -> usize {
        self.columns.push(Column { upper, integer });
        self.columns.len() - 1
    }

    /// Adds a row unless it is empty and says nothing.
    pub fn row(&mut self, terms: Vec<(usize, f64)>, sense: Sense, right: f64) {
        let holds = match sense {
            Sense::AtMost => 0.0 <= right,
            Sense::AtLeast => 0.0 >= right,
            Sense::Equal => 0.0 == right,
        };
        if !(terms.is_empty() && holds) {
            self.rows.push(Row { terms, sense, right });
        }
    }

    /// Whether these values keep every row and bound, up to the tolerance that the solver has too.
    pub fn holds(&self, values: &[f64]) -> bool {
        let within = |column: &Column, value: f64| (-1e-6..=column.upper + 1e-6).contains(&value);
        let mut columns = self.columns.iter().zip(values);
        columns.all(|(column, value)| within(column, *value))
            && self.rows.iter().all(|row| {
                let terms = row.terms.iter();
                let left: f64 = terms.map(|(column, factor)| values[*column] * factor).sum();
                match row.sense {
                    Sense::AtMost => left <= row.right + 1e-6,
                    Sense::AtLeast => left >= row.right - 1e-6,
                    Sense::Equal => (left - row.right).abs() <= 1e-6,
                }
            })
    }

    /// Minimises; `start`, where given, is a solution to begin with.
    pub fn minimise(&self, objective: &[f64], start: Option<&[f64]>, effort: Effort) -> Outcome {
        // HiGHS gives no status for a model without columns.
        if self.columns.is_empty() {
            return match self.holds(&[]) {
                true => Outcome::Solved { values: Vec::new(), bound: 0.0 },
                false => Outcome::Infeasible,
            };
        }
        let plain = || self.run(objective, start, effort, "off");
        // Now and then the presolver loses its way and HiGHS says just "Error"; without it, it does not.
        let solved = match effort.pains {
            Pains::Fewest => plain(),
            _ => self.run(objective, start, effort, "choose").or_else(|_| plain()),
        };
        match solved {
            Ok(solved) => self.outcome(&solved),
            Err(words) => Outcome::Unsolved(words),
        }
    }

    /// A lower bound on every solution's objective, and by column what each unit of it adds to that bound:
    /// for any solution `v`, `objective·v ≥ bound + Σ extra·v`. From the linear relaxation.
    ///
    /// The solver proposes multipliers for the rows; the bound is computed from them here and holds
    /// whatever they are (Lagrange), so no tolerance of the solver is in it. `None` where the relaxation
    /// has no solution.
    pub fn relaxed(&self, objective: &[f64]) -> Option<Relaxed> {
        if self.columns.is_empty() && !self.holds(&[]) {
            return None;
        }
        let columns = self.columns.iter().map(|column| Column { integer: false, ..*column });
        let relaxed = Model { columns: columns.collect(), rows: self.rows.clone() };
        let solved = relaxed.run(objective, None, Effort::new(0.0, 1), "choose");
        let multipliers = match solved {
            Ok(solved) if solved.status() == HighsModelStatus::Infeasible => return None,
            Ok(solved) if solved.status() == HighsModelStatus::Optimal => {
                solved.get_solution().dual_rows().to_vec()
            }
            _ => vec![0.0; self.rows.len()],
        };
        Some(lagrangian(&self.columns, self.rows.iter(), objective, &multipliers))
    }

    fn run(
        &self,
        objective: &[f64],
        start: Option<&[f64]>,
        effort: Effort,
        presolve: &str,
    ) -> Result<highs::SolvedModel, String> {
        let mut variables = ProblemVariables::new();
        let columns: Vec<Variable> = self
            .columns
            .iter()
            .map(|column| {
                let definition = variable().min(0.0).max(column.upper);
                variables.add(if column.integer { definition.integer() } else { definition })
            })
            .collect();
        let expression = |terms: &mut dyn Iterator<Item = (usize, f64)>| {
            let mut sum = Expression::with_capacity(terms.size_hint().0);
            for (column, factor) in terms {
                sum.add_mul(factor, columns[column]);
            }
            sum
        };
        let cost = expression(&mut objective.iter().copied().enumerate());
        let mut problem = variables.minimise(cost).using(good_lp::highs);
        for row in &self.rows {
            let sum = expression(&mut row.terms.iter().copied());
            problem.add_constraint(match row.sense {
                Sense::AtMost => sum.leq(row.right),
                Sense::AtLeast => sum.geq(row.right),
                Sense::Equal => sum.eq(row.right),
            });
        }
        let mut solver = problem.try_into_inner().map_err(|error| error.to_string())?;
        settle(&mut solver);
        solver.set_option("presolve", presolve);
        solver.set_option("mip_rel_gap", effort.gap);
        solver.set_option("mip_abs_gap", 1e-7);
        solver.set_option("mip_max_nodes", effort.nodes);
        if effort.pains != Pains::All {
            solver.set_option("mip_allow_restart", self.columns.len() <= RESTARTED);
            for kind in ["rins", "rens", "root_reduced_cost", "feasibility_jump"] {
                solver.set_option(format!("mip_heuristic_run_{kind}").as_str(), false);
            }
        }
        if let Some(start) = start {
            solver.set_solution(Some(start), None, None, None);
        }
        solver.try_solve().map_err(|status| format!("HiGHS: {status:?}"))
    }

    fn outcome(&self, solved: &highs::SolvedModel) -> Outcome {
        match (solved.status(), solved.primal_solution_status()) {
            (HighsModelStatus::Infeasible, _) => Outcome::Infeasible,
            (status, HighsSolutionStatus::Feasible) => {
                let values = solved.get_solution().columns().to_vec();
                let integer = self.columns.iter().any(|column| column.integer);
                // Of a pure linear program the optimum is its own bound.
                let bound = match (integer, status) {
                    (true, _) => solved.double_info_value(c"mip_dual_bound").ok(),
                    (false, HighsModelStatus::Optimal) => Some(solved.objective_value()),
                    (false, _) => None,
                };
                Outcome::Solved { values, bound: bound.unwrap_or(f64::NEG_INFINITY) }
            }
            (status, _) => Outcome::Unsolved(format!("HiGHS: {status:?}")),
        }
    }
}

/// What multipliers of rows prove.
pub(super) fn lagrangian<'a>(
    columns: &[Column],
    rows: impl Iterator<Item = &'a Row>,
    objective: &[f64],
    multipliers: &[f64],
) -> Relaxed {
    let mut bound = 0.0;
    let mut extra = objective.to_vec();
    for (row, multiplier) in rows.zip(multipliers) {
        let multiplier = match row.sense {
            Sense::AtMost => multiplier.min(0.0),
            Sense::AtLeast => multiplier.max(0.0),
            Sense::Equal => *multiplier,
        };
        bound += multiplier * row.right;
        for (column, factor) in &row.terms {
            extra[*column] -= multiplier * factor;
        }
    }
    for (extra, column) in extra.iter_mut().zip(columns) {
        // A column that would pay for itself is taken in full.
        bound += extra.min(0.0) * column.upper;
        *extra = extra.max(0.0);
    }
    Relaxed { bound, extra }
}

/// A linear program that grows and is solved again from where it ended.
pub(super) struct Growing {
    /// `None` once the solver has failed.
    solver: Option<highs::Model>,
    columns: Vec<highs::Col>,
    rows: Vec<highs::Row>,
}

/// What a linear program's optimum is.
pub(super) struct Optimum {
    /// By column.
    pub values: Vec<f64>,
    /// By row.
    pub multipliers: Vec<f64>,
}

impl Growing {
    /// A program without columns. `None` where the solver fails.
    pub fn new(rows: impl Iterator<Item = (Sense, f64)>) -> Option<Growing> {
        let mut problem = highs::ColProblem::default();
        let rows = rows.map(|(sense, right)| match sense {
            Sense::AtMost => problem.add_row(..=right),
            Sense::AtLeast => problem.add_row(right..),
            Sense::Equal => problem.add_row(right..=right),
        });
        let rows = rows.collect();
        let mut solver = problem.try_optimise(highs::Sense::Minimise).ok()?;
        settle(&mut solver);
        Some(Growing { solver: Some(solver), columns: Vec::new(), rows })
    }

    /// The linear relaxation of a model.
    pub fn relaxation(model: &Model, objective: &[f64]) -> Option<Growing> {
        let mut this = Growing::new(model.rows.iter().map(|row| (row.sense, row.right)))?;
        let mut terms: Vec<Vec<(usize, f64)>> = vec![Vec::new(); model.columns.len()];
        for (number, row) in model.rows.iter().enumerate() {
            row.terms.iter().for_each(|(column, factor)| terms[*column].push((number, *factor)));
        }
        for ((column, cost), terms) in model.columns.iter().zip(objective).zip(terms) {
            this.column(*cost, column.upper, terms.into_iter());
        }
        Some(this)
    }

    /// Adds a column from 0 to `upper`; terms are by row.
    pub fn column(&mut self, cost: f64, upper: f64, terms: impl Iterator<Item = (usize, f64)>) {
        let Some(solver) = &mut self.solver else { return };
        let terms = terms.map(|(row, factor)| (self.rows[row], factor));
        match solver.try_add_column(cost, 0.0..=upper, terms) {
            Ok(column) => self.columns.push(column),
            Err(_) => self.solver = None,
        }
    }

    pub fn row(&mut self, row: &Row) {
        let Some(solver) = &mut self.solver else { return };
        let terms = row.terms.iter().map(|(column, factor)| (self.columns[*column], *factor));
        let added = match row.sense {
            Sense::AtMost => solver.try_add_row(..=row.right, terms),
            Sense::AtLeast => solver.try_add_row(row.right.., terms),
            Sense::Equal => solver.try_add_row(row.right..=row.right, terms),
        };
        match added {
            Ok(row) => self.rows.push(row),
            Err(_) => self.solver = None,
        }
    }

    pub fn within(&mut self, column: usize, lower: f64, upper: f64) {
        if let Some(solver) = &mut self.solver {
            solver.change_column_bounds(self.columns[column], lower..=upper);
        }
    }

    /// `None` where there is no optimum or the solver fails.
    pub fn solve(&mut self) -> Option<Optimum> {
        let solved = self.solver.take()?.try_solve().ok()?;
        let optimum = (solved.status() == HighsModelStatus::Optimal).then(|| {
            let solution = solved.get_solution();
            let values = solution.columns().to_vec();
            Optimum { values, multipliers: solution.dual_rows().to_vec() }
        });
        self.solver = Some(solved.into());
        optimum
    }
}

/// What makes every run the same: one thread, a fixed seed.
fn settle(solver: &mut highs::Model) {
    solver.make_quiet();
    solver.set_option("threads", 1);
    solver.set_option("parallel", "off");
    solver.set_option("random_seed", 0);
}
