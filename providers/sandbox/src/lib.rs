//! The emulated world: one table of objects behind the HTTP APIs of every cloud, on loopback.
//!
//! A cloud's emulator (in that cloud's crate) is an axum [`axum::Router`] over a [`World`]. The world
//! gives it an atomic object table, a seeded clock that moves with requests instead of with time, and
//! persistence. The host serves the routers and puts the fault plan in front of them.
//!
//! Invariant: the same seed and the same requests in the same order give the same world, byte for
//! byte.

mod clusters;
mod faults;
mod host;
mod world;

pub use clusters::{NodePool, OBJECTS as KUBERNETES_OBJECTS};
pub use faults::{Fault, FaultPlan};
pub use host::{Api, Served, serve};
pub use world::{Object, Table, World};
