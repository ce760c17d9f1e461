//! Errors of a provider say what to do next, so that the retry policy exists once, in `apply`.

use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

/// One variant per thing the caller does differently. `message` is the cloud's own text, with its code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Again, later.
    #[error("throttled: {message}")]
    Throttled { message: String, after: Option<Duration> },
    /// This offering is out: place again without it.
    #[error("no capacity: {message}")]
    NoCapacity { message: String },
    /// Busy: wait, then again.
    #[error("busy: {message}")]
    Conflict { message: String },
    /// The request is wrong: stop and tell the user.
    #[error("rejected: {message}")]
    Rejected { message: String },
    /// Credentials are missing or lack a permission, named where the cloud names it.
    #[error("denied: {message}")]
    Denied { message: String, permission: Option<String> },
    /// No answer: read before anything else.
    #[error("no answer: {message}")]
    Lost { message: String },
}

impl Error {
    /// The variant's name in JSON (`error_class`).
    pub fn class(&self) -> &'static str {
        match self {
            Error::Throttled { .. } => "throttled",
            Error::NoCapacity { .. } => "no_capacity",
            Error::Conflict { .. } => "conflict",
            Error::Rejected { .. } => "rejected",
            Error::Denied { .. } => "denied",
            Error::Lost { .. } => "lost",
        }
    }

    /// Whether asking again for the same can give nothing else.
    pub fn is_final(&self) -> bool {
        matches!(self, Error::Rejected { .. } | Error::NoCapacity { .. })
    }
}
