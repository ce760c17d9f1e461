//! The placement from the outside: stacks in, placements or diagnostics out.

mod brute_force;
mod catalog;
mod checker;
mod explain;
mod export;
mod known;
mod limits;
mod load;
mod moves;
mod pareto;
pub(crate) mod support;
mod traffic;
mod zones;
