//! The passing of time, so that those who wait can be tested without waiting.

use std::time::Duration;

use async_trait::async_trait;

/// A clock that only goes forward. What it counts from is its own affair: two clocks are never
/// compared.
#[async_trait]
pub trait Clock: Send + Sync {
    /// How long it has been going.
    fn now(&self) -> Duration;

    async fn sleep(&self, duration: Duration);
}

/// The clock of this process.
pub struct SystemClock(tokio::time::Instant);

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock(tokio::time::Instant::now())
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
