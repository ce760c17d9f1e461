//! What goes wrong, when: seeded, so that a failure can be seen again.

use serde::{Deserialize, Serialize};

/// One thing that goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Refused with the cloud's own throttling answer, before any effect.
    Throttled,
    /// Refused with the cloud's own internal error, before any effect.
    Unavailable,
    /// The effect happens, the connection ends without an answer.
    AnswerLost,
}

/// Shares of requests (0 to 1) that meet each fault. The default is a world without faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    pub throttled: f64,
    pub unavailable: f64,
    pub answer_lost: f64,
}
