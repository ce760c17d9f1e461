//! What we own and what we were in the middle of making: the state log.
//!
//! The state is a totally ordered log of [`Entry`]s; [`State`] is its fold. A [`Store`] keeps the log
//! as batches of lines, put if absent under the number of their first entry, and now and then a
//! snapshot of the fold, so that opening need not read from the beginning. `docs/state.md` describes
//! what is on disk.
//!
//! Invariants:
//! - An entry that [`Log::append`] has returned is durable; one that it has not returned was never
//!   acted upon.
//! - Every line carries its own hash and the one before it: what was changed, lost or reordered
//!   is found when it is read, and named.
//! - What a run has claimed no other run writes ([`Claims`]); what a dead run has claimed heals by
//!   itself ([`Holding`]).
//! - Secrets are in here as digests only ([`fleetform_contract::Secret`]).

mod claims;
mod clock;
mod compact;
mod entry;
mod error;
pub mod hold;
mod journal;
mod line;
mod log;
mod past;
pub mod process;
pub mod seal;
mod state;
mod store;
pub mod stores;

pub use claims::{Claim, Claims, Holder};
pub use clock::{Clock, SystemClock};
pub use compact::{Compaction, compact};
pub use entry::{Action, Entry, FORMAT, Genesis, KeyBytes, OutputValue};
pub use error::Error;
pub use hold::{Holding, Terms};
pub use journal::Journal;
pub use line::Line;
pub use log::{Log, Report, Writer, history, verify};
pub use past::{Run, as_of, damages, runs};
pub use seal::{KeySource, KeySources, Keys, Locked};
pub use state::{Inconsistent, OpenOperation, State};
pub use store::{Batch, Kept, Put, Snapshot, Store};
pub use stores::{
    HttpStore, LocalStore, MemoryStore, ObjectStore, PostgresStore, SealedStore, Sealing,
};
