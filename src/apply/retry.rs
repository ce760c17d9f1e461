//! The retry policy: once, by what an error says to do next.

use std::future::Future;
use std::time::Duration;

use fleetform_contract::{Error, Progress};

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Before the second attempt; doubles from there.
    pub first: Duration,
    /// The longest wait, unless a cloud asks for more.
    pub longest: Duration,
    /// Attempts at a throttled call; a lost one gets a third of them, a busy object three times.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), attempts: 12 }
    }
}

/// Calls until it succeeds, fails for good, or was tried often enough. Every call made through here is
/// idempotent under its token, and looks before it acts: trying again after a lost answer reads first.
pub async fn with_policy<T, F>(
    backoff: &Backoff,
    progress: &dyn Progress,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tried = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tried += 1;
        let (most, asked) = match &error {
            Error::Throttled { after, .. } => (backoff.attempts, *after),
            Error::Conflict { .. } => (backoff.attempts * 3, None),
            Error::Lost { .. } => ((backoff.attempts / 3).max(2), None),
            Error::NoCapacity { .. } | Error::Rejected { .. } | Error::Denied { .. } => (0, None),
        };
        if tried >= most {
            return Err(error);
        }
        progress.report(&format!("{}, attempt {}", error.class(), tried + 1));
        let grown = backoff.first.saturating_mul(1 << (tried - 1).min(16)).min(backoff.longest);
        tokio::time::sleep(asked.map_or(grown, |asked| asked.max(grown))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetform_contract::Silent;

    #[tokio::test]
    async fn the_error_decides_how_often() {
        let backoff = Backoff { first: Duration::ZERO, longest: Duration::ZERO, attempts: 6 };
        let text = || "x".to_owned();
        for (error, expected) in [
            (Error::Throttled { message: text(), after: None }, 6),
            (Error::Conflict { message: text() }, 18),
            (Error::Lost { message: text() }, 2),
            (Error::Rejected { message: text() }, 1),
            (Error::NoCapacity { message: text() }, 1),
            (Error::Denied { message: text(), permission: None }, 1),
        ] {
            let mut calls = 0;
            let result: Result<(), Error> = with_policy(&backoff, &Silent, || {
                calls += 1;
                let error = error.clone();
                async move { Err(error) }
            })
            .await;
            assert_eq!((result, calls), (Err(error), expected));
        }
        let mut calls = 0;
        let result = with_policy(&backoff, &Silent, || {
            calls += 1;
            let answer = if calls < 4 {
                Err(Error::Throttled { message: text(), after: None })
            } else {
                Ok(calls)
            };
            async move { answer }
        })
        .await;
        assert_eq!(result, Ok(4));
    }
}
