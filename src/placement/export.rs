//! Problem → MPS: the exact model as text, so that anybody can verify a placement with another solver.
//!
//! It holds every candidate, before any is dropped as covered, and no cuts: its optimum is a lower bound of
//! every placement, and equal to the placement's cost where its nodes can be packed. The layout is free
//! MPS (fields apart by spaces, names of any length), which HiGHS, CBC, GLPK, SCIP, Gurobi and CPLEX read.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::formulation::Formulation;
use super::model::{Effort, Model, Outcome, Sense};
use super::reduce;
use crate::problem::Problem;

/// The model in MPS. Columns are `n:OFFERING` (nodes) and `x:WORKLOAD@OFFERING` (replicas; a workload with
/// `+N` stands for N more that are equal to it); the others are sites and rules. Dollars a month.
pub fn mps(problem: &Problem) -> String {
    let groups = reduce::groups(problem);
    let all: Vec<usize> = (0..problem.candidates.len()).collect();
    let formulation = Formulation::new(problem, &groups, all);
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    for (place, column) in formulation.nodes.iter().enumerate() {
        names.insert(*column, format!("n:{}", problem.candidates[formulation.kept[place]].id));
    }
    for (group, seats) in formulation.seats.iter().enumerate() {
        let demands = &groups[group].demands;
        let more = match demands.len() {
            1 => String::new(),
            many => format!("+{}", many - 1),
        };
        let workload = &problem.demands[demands[0]].workload;
        for (place, column) in seats {
            let offering = &problem.candidates[formulation.kept[*place]].id;
            names.insert(*column, format!("x:{workload}{more}@{offering}"));
        }
    }
    let name = |column: usize| match names.get(&column) {
        // A name with a space would be two fields.
        Some(name) => name.replace(char::is_whitespace, "_"),
        None => format!("y:{column}"),
    };
    text(&formulation.model, &formulation.cost, name)
}

/// What the solver says of the exported model.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    pub columns: usize,
    pub rows: usize,
    /// Dollars a month; of no placement, because its nodes are not packed. `None` where none was found.
    pub objective_month: Option<f64>,
    pub bound_month: f64,
}

/// Hands the exported model to the solver as it is, without anything that [`solve`](super::solve()) knows about such
/// problems: what that is compared with. Ends at a relative gap.
pub fn plain(problem: &Problem, gap: f64) -> Plain {
    let groups = reduce::groups(problem);
    let all: Vec<usize> = (0..problem.candidates.len()).collect();
    let Formulation { model, cost, .. } = Formulation::new(problem, &groups, all);
    let (columns, rows) = (model.columns.len(), model.rows.len());
    match model.minimise(&cost, None, Effort::new(gap, i32::MAX)) {
        Outcome::Solved { values, bound } => {
            let objective = cost.iter().zip(&values).map(|(cost, value)| cost * value).sum();
            Plain { columns, rows, objective_month: Some(objective), bound_month: bound }
        }
        Outcome::Infeasible | Outcome::Unsolved(_) => {
            Plain { columns, rows, objective_month: None, bound_month: f64::NEG_INFINITY }
        }
    }
}

fn text(model: &Model, cost: &[f64], name: impl Fn(usize) -> String) -> String {
    let mut by_column: Vec<Vec<(usize, f64)>> = vec![Vec::new(); model.columns.len()];
    let mut mps =
        String::from("* Fleetform: dollars a month, to be minimised\nNAME fleetform\nROWS\n");
    mps += " N cost\n";
    for (index, row) in model.rows.iter().enumerate() {
        let sense = match row.sense {
            Sense::AtMost => 'L',
            Sense::AtLeast => 'G',
            Sense::Equal => 'E',
        };
        let _ = writeln!(mps, " {sense} r{index}");
        for (column, factor) in &row.terms {
            by_column[*column].push((index, *factor));
        }
    }
    mps += "COLUMNS\n";
    let mut is_integer = false;
    let mut markers = 0;
    let mut marker = |mps: &mut String, kind: &str| {
        let _ = writeln!(mps, " M{markers} 'MARKER' '{kind}'");
        markers += 1;
    };
    for (index, column) in model.columns.iter().enumerate() {
        if column.integer != is_integer {
            marker(&mut mps, if column.integer { "INTORG" } else { "INTEND" });
            is_integer = column.integer;
        }
        let name = name(index);
        // A column is known by its first line, so each has one.
        let _ = writeln!(mps, " {name} cost {}", cost[index]);
        for (row, factor) in &by_column[index] {
            let _ = writeln!(mps, " {name} r{row} {factor}");
        }
    }
    if is_integer {
        marker(&mut mps, "INTEND");
    }
    mps += "RHS\n";
    for (index, row) in model.rows.iter().enumerate().filter(|(_, row)| row.right != 0.0) {
        let _ = writeln!(mps, " RHS r{index} {}", row.right);
    }
    // Always said: without a bound some solvers take an integer column for one of 0 and 1.
    mps += "BOUNDS\n";
    for (index, column) in model.columns.iter().enumerate() {
        let name = name(index);
        let _ = match column.upper.is_finite() {
            true => writeln!(mps, " UP BND {name} {}", column.upper),
            false => writeln!(mps, " PL BND {name}"),
        };
    }
    mps + "ENDATA\n"
}
