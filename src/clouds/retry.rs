//! The retry policy: once, by what an error says to do next.

use std::future::Future;
use std::time::Duration;

use fleetform_contract::{Error, Progress};
use sha2::{Digest, Sha256};

use super::pace::Pace;

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second attempt; doubles from there.
    pub first: Duration,
    /// The longest wait, unless a cloud asks for more.
    pub longest: Duration,
    /// Attempts at a lost call are a third of them, at a busy object three times. Being throttled is no
    /// failure: it takes ten times as many, ever slower.
    pub attempts: u32,
    /// Of the jitter: who waits does not come back with everybody else. The same seed waits as long.
    pub seed: u64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            attempts: 12,
            seed: 0,
        }
    }
}

impl Backoff {
    /// Nobody to be patient with: an emulator on this machine.
    pub const QUICK: Backoff = Backoff {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(200),
        attempts: 12,
        seed: 0,
    };

    /// How long to wait before the next attempt; `None` where there is none any more.
    fn pause(&self, what: &str, tried: u32, error: &Error) -> Option<Duration> {
        let (most, asked) = match error {
            Error::Throttled { after, .. } => (self.attempts * 10, *after),
            Error::Conflict { .. } => (self.attempts * 3, None),
            Error::Lost { .. } => ((self.attempts / 3).max(2), None),
            Error::NoCapacity { .. } | Error::Rejected { .. } | Error::Denied { .. } => (0, None),
        };
        if tried >= most {
            return None;
        }
        let grown = self.first.saturating_mul(1 << (tried - 1).min(16)).min(self.longest);
        let jittered = grown.mul_f64(0.5 + 0.5 * self.dice(what, tried));
        Some(asked.map_or(jittered, |asked| asked + jittered))
    }

    /// From 0 to 1: the same for the same attempt at the same thing.
    fn dice(&self, what: &str, tried: u32) -> f64 {
        let digest = Sha256::digest(format!("{}\n{what}\n{tried}", self.seed));
        f64::from(u16::from_be_bytes([digest[0], digest[1]])) / f64::from(u16::MAX)
    }
}

/// Calls until it succeeds, fails for good, or was tried often enough, never faster than the cloud's pace.
/// Every call made through here is idempotent under its token, and looks before it acts: trying again
/// after a lost answer reads first. `what` tells one caller from another.
pub async fn with_policy<T, F>(
    backoff: &Backoff,
    pace: &Pace,
    what: &str,
    progress: &dyn Progress,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tried = 0;
    loop {
        rest(pace.take(pace.now())).await;
        let error = match attempt().await {
            Ok(value) => {
                pace.succeeded();
                return Ok(value);
            }
            Err(error) => error,
        };
        tried += 1;
        if let Error::Throttled { after, .. } = &error {
            pace.throttled(pace.now(), *after);
        }
        let Some(pause) = backoff.pause(what, tried, &error) else { return Err(error) };
        progress.report(&format!("{}, attempt {}", error.class(), tried + 1));
        rest(pause).await;
    }
}

async fn rest(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetform_contract::Silent;

    fn text() -> String {
        "x".to_owned()
    }

    #[tokio::test]
    async fn the_error_decides_how_often() {
        let backoff = Backoff { first: Duration::ZERO, attempts: 6, ..Backoff::default() };
        let pace = Pace::new(Duration::ZERO, Duration::ZERO);
        for (error, expected) in [
            (Error::Throttled { message: text(), after: None }, 60),
            (Error::Conflict { message: text() }, 18),
            (Error::Lost { message: text() }, 2),
            (Error::Rejected { message: text() }, 1),
            (Error::NoCapacity { message: text() }, 1),
            (Error::Denied { message: text(), permission: None }, 1),
        ] {
            let mut calls = 0;
            let result: Result<(), Error> = with_policy(&backoff, &pace, "x", &Silent, || {
                calls += 1;
                let error = error.clone();
                async move { Err(error) }
            })
            .await;
            assert_eq!((result, calls), (Err(error), expected));
        }
        let mut calls = 0;
        let result = with_policy(&backoff, &pace, "x", &Silent, || {
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

    #[test]
    fn waits_grow_within_bounds_and_come_from_the_seed() {
        let backoff = Backoff::default();
        let lost = Error::Conflict { message: text() };
        let waits = |backoff: &Backoff, what: &str| -> Vec<Duration> {
            (1..10).filter_map(|tried| backoff.pause(what, tried, &lost)).collect()
        };
        for (wait, seconds) in waits(&backoff, "a").iter().zip([1, 2, 4, 8, 16, 30, 30, 30, 30]) {
            let most = Duration::from_secs(seconds);
            assert!((most / 2..=most).contains(wait), "{wait:?} of {most:?}");
        }
        assert_eq!(waits(&backoff, "a"), waits(&backoff, "a"));
        assert_ne!(waits(&backoff, "a"), waits(&backoff, "b"), "two callers come back apart");
        assert_ne!(waits(&backoff, "a"), waits(&Backoff { seed: 1, ..backoff }, "a"));
        let asked = Error::Throttled { message: text(), after: Some(Duration::from_secs(90)) };
        assert!(backoff.pause("a", 1, &asked) >= Some(Duration::from_secs(90)));
    }
}
