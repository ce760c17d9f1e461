//! The placement from the outside: stacks in, placements or diagnostics out.

mod brute_force;
mod known;
mod support;
