//! Where a log can be kept: a directory, memory, an object store of three clouds, a PostgreSQL database,
//! and any server that speaks Terraform's HTTP state protocol.
//!
//! Invariant: all of them pass one suite, `tests/stores`. What one of them cannot do is said in
//! `docs/state.md`.

mod buckets;
mod failure;
mod http;
mod local;
mod memory;
mod object;
mod postgres;
mod sealed;
mod settings;

pub use failure::Failure;
pub use http::HttpStore;
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use object::ObjectStore;
pub use postgres::PostgresStore;
pub use sealed::{SealedStore, Sealing};
pub use settings::{
    Argument, Kind, Known, Refusal, Settings, Shape, Surroundings, kind, kinds, open,
};
