//! The emulated world: one table of objects behind the HTTP APIs of every cloud, on loopback.
//!
//! A cloud's emulator (in that cloud's crate) is an axum [`axum::Router`] over a [`World`]. The world
//! gives it an atomic object table, a seeded clock that moves with requests instead of with time, and
//! persistence. The host serves the routers and puts the fault plan in front of them.
//!
//! Invariants:
//! - The same seed and the same requests in the same order give the same world, byte for byte.
//! - What a step changed is kept before its answer leaves the process; a process that is killed
//!   loses no step that somebody has seen.

mod ask;
mod clusters;
mod disk;
mod faults;
mod host;
mod presence;
mod requests;
mod world;

pub use ask::ask;
pub use clusters::{NodePool, OBJECTS as KUBERNETES_OBJECTS};
pub use faults::{Fault, FaultPlan};
pub use host::{Api, BODY_LIMIT_BYTES, Gate, Moment, Served, serve};
pub use presence::discover;
pub use requests::Request;
pub use world::{Object, Table, World};
