//! What can be wrong with a state.

use std::io;
use std::sync::Arc;

use fleetform_contract::Address;

use crate::Claim;
use crate::state::Inconsistent;
use crate::stores::Failure;

/// One variant per thing the caller does differently. None of them has changed anything.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, or refuses. After a failed write the entry may be there or not.
    #[error("{doing}")]
    Store { doing: String, source: Arc<io::Error> },
    /// What is kept is not what was written.
    #[error("{place} is damaged: {what}")]
    Damaged {
        /// The file or object.
        place: String,
        /// The entry, where it is about one.
        entry: Option<u64>,
        what: String,
    },
    /// An entry is not there although later ones are.
    #[error("entry {entry} of the state log is missing: {place} does not hold it")]
    Missing { place: String, entry: u64 },
    /// Whole, but not to be understood by this version.
    #[error("{place} was written by another version of Fleetform: {what}")]
    Version { place: String, what: String },
    /// The log says something that cannot have happened.
    #[error("entry {entry} of the state log makes no sense: {what}")]
    Inconsistent { entry: u64, what: Inconsistent },
    /// The caller wants to append something that cannot have happened.
    #[error("refused to write to the state log: {0}")]
    Refused(Inconsistent),
    /// The caller asks for what was before the log's beginning.
    #[error(
        "the log was compacted: what was before entry {through} is gone, and with it entry {entry}"
    )]
    Compacted { entry: u64, through: u64 },
    /// Another run began this state between our reading and our writing.
    #[error("another run has begun this state meanwhile, with lineage {lineage}")]
    Begun { lineage: String },
    /// Another run, which is not known to be dead, has claimed an address that this one wants to write.
    #[error("{address} is claimed by another run ({})", claim.holder.who)]
    Claimed {
        /// The run that holds the claim.
        run: String,
        claim: Box<Claim>,
        address: Address,
    },
    /// Somebody took this run for dead, or broke its lock: it may write nothing any more.
    #[error("this run's lock was taken away by {by}")]
    Fenced { by: String },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Error::Store { source, .. } if Failure::hint_of(source).is_some() => {
                Failure::hint_of(source).unwrap_or_default().to_owned()
            }
            Error::Store { .. } => "Check that the state's store can be reached and written, \
                that it is not full, and run the command again."
                .into(),
            Error::Damaged { entry: None, .. } => {
                "A snapshot only saves time: move this file away \
                and run the command again; the state is then read from the log itself."
                    .into()
            }
            Error::Damaged { .. } | Error::Missing { .. } => "Restore this file from a backup or \
                a copy of the state. Fleetform changes nothing until the log is whole again."
                .into(),
            Error::Version { .. } => {
                "Use the version of Fleetform that wrote it last, or a newer one.".into()
            }
            Error::Inconsistent { .. } | Error::Refused(_) => "This is an error in Fleetform; \
                please report it with the output of `fleetform version`."
                .into(),
            Error::Claimed { run, .. } => format!(
                "Wait for that run with -lock-timeout=DURATION. If it is dead and cannot be seen to \
                be, end its lock with `fleetform lock break {run}`."
            ),
            Error::Fenced { .. } => "Run the command again: what this run had begun is settled by \
                whoever goes on from here, by looking at the clouds."
                .into(),
            Error::Compacted { through, .. } => {
                format!("The state is known from entry {through} on.")
            }
            Error::Begun { .. } => "Run the command again; it will plan against that state.".into(),
        }
    }
}
