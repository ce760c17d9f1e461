//! Fleetform plans AI infrastructure on several clouds.

pub mod config;
pub mod diagnostic;
pub mod placement;
