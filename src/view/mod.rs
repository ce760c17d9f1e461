//! Values → text and JSON. Nothing here decides; nothing here reads the world.

pub mod change;
pub mod diagnostic;
pub mod events;
pub mod explain;
pub mod graph;
pub mod history;
pub mod json;
pub mod lock;
pub mod money;
pub mod paint;
pub mod pareto;
pub mod plan;
pub mod state;
pub mod table;

pub use paint::Paint;

#[cfg(test)]
mod tests;
