//! What a store could not do, in words for the user.

use std::error::Error;
use std::fmt;
use std::io;

/// The cause inside an [`io::Error`] of a store that knows what the user can do about it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: String,
}

impl Failure {
    pub(crate) fn error(
        kind: io::ErrorKind,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> io::Error {
        io::Error::new(kind, Failure { what: what.into(), hint: hint.into() })
    }

    /// The hint inside an error, where it came from a store that has one.
    pub fn hint_of(error: &io::Error) -> Option<&str> {
        error.get_ref()?.downcast_ref::<Failure>().map(|failure| failure.hint.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {}

/// An error with its causes, in one line; a cause that its error repeats is said once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
