//! What goes wrong, when: seeded, so that a failure can be seen again.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One thing that goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Refused with the cloud's own throttling answer, before any effect.
    Throttled,
    /// Refused with the cloud's own internal error, before any effect.
    Unavailable,
    /// The effect happens, the connection ends without an answer.
    AnswerLost,
    /// A read shows the world as it was before its last change, where that was a moment ago. Kubernetes'
    /// reads are never stale.
    Stale,
}

/// Shares of requests (0 to 1) that meet each fault, and of what else can go wrong. The default is a world without faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultPlan {
    /// The first so many requests of every API are throttled.
    pub storm: u64,
    pub throttled: f64,
    pub unavailable: f64,
    pub answer_lost: f64,
    /// Of reads.
    pub stale: f64,
    /// Of operations that take ten times as long.
    pub slow: f64,
    /// Of node pools for which there is no capacity.
    pub no_capacity: f64,
}

impl FaultPlan {
    /// What happens to request `number` (from 1) of an API. It depends on nothing else, so it does
    /// not change with what other APIs are asked meanwhile.
    pub fn decide(&self, seed: u64, api: &str, number: u64) -> Option<Fault> {
        if number <= self.storm {
            return Some(Fault::Throttled);
        }
        let dice = dice(seed, number, api);
        if dice < self.throttled {
            Some(Fault::Throttled)
        } else if dice < self.throttled + self.unavailable {
            Some(Fault::Unavailable)
        } else if dice < self.throttled + self.unavailable + self.answer_lost {
            Some(Fault::AnswerLost)
        } else if dice < self.throttled + self.unavailable + self.answer_lost + self.stale {
            Some(Fault::Stale)
        } else {
            None
        }
    }
}

/// From 0 to 1, the same for the same arguments.
pub(crate) fn dice(seed: u64, number: u64, what: &str) -> f64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(number.to_le_bytes());
    hash.update(what);
    let bytes = hash.finalize();
    let bits = bytes.iter().take(7).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    // 53 bits: every double in [0, 1) of this grid is equally likely.
    (bits >> 3) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_a_seed_repeats() {
        let plan = FaultPlan {
            throttled: 0.2,
            unavailable: 0.1,
            answer_lost: 0.05,
            ..FaultPlan::default()
        };
        let decide = |seed| (1..=20_000).map(|n| plan.decide(seed, "aws", n)).collect::<Vec<_>>();
        let faults = decide(7);
        for (fault, share) in [
            (Some(Fault::Throttled), 0.2),
            (Some(Fault::Unavailable), 0.1),
            (Some(Fault::AnswerLost), 0.05),
            (None, 0.65),
        ] {
            let count = faults.iter().filter(|found| **found == fault).count();
            let found = count as f64 / faults.len() as f64;
            assert!((found - share).abs() < 0.015, "{fault:?}: {found} instead of {share}");
        }
        assert_eq!(faults, decide(7));
        assert_ne!(faults, decide(8));
        let other = (1..=20_000).map(|n| plan.decide(7, "gcp", n)).collect::<Vec<_>>();
        assert_ne!(faults, other);
    }

    #[test]
    fn a_world_without_faults_has_none() {
        assert!((1..10_000).all(|n| FaultPlan::default().decide(1, "aws", n).is_none()));
        let always = FaultPlan { answer_lost: 1.0, ..FaultPlan::default() };
        assert!((1..100).all(|n| always.decide(1, "aws", n) == Some(Fault::AnswerLost)));
    }
}
