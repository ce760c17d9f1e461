//! How fast one cloud may be called: as fast as we like, until it says that this is too fast.
//!
//! Additive increase, multiplicative decrease, as TCP does it: the first throttled answer sets a rate, each
//! further one halves it, each good one adds a little, until there is no limit again. A moment that the
//! cloud names (`Retry-After`) holds back every call to it, not only the one that was told.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Calls a second that a good answer adds, in calls within [`Pace`]'s first interval.
const INCREASE: f64 = 0.1;
/// A limit that is no more than this many calls within the first interval is one.
const UNLIMITED: f64 = 100.0;
/// The rate after the first throttled answer, in calls within the first interval.
const FIRST_RATE: f64 = 10.0;

/// Shared by all calls to one cloud. Times are since it was made.
pub struct Pace {
    began: Instant,
    /// What rates are counted in; zero for a cloud that is never waited for.
    interval: Duration,
    /// Between two calls at the lowest rate.
    longest: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Calls within the interval; `None` for no limit.
    rate: Option<f64>,
    /// When the next call may start.
    next: Duration,
    /// Throttled answers before this are of calls that the last decrease has not slowed yet.
    decided: Duration,
}

impl Pace {
    pub fn new(interval: Duration, longest: Duration) -> Pace {
        Pace { began: Instant::now(), interval, longest, inner: Mutex::default() }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes the next place in the line and tells how long it is until then.
    pub fn take(&self, now: Duration) -> Duration {
        let mut inner = self.inner.lock().expect("no holder panics");
        let start = inner.next.max(now);
        if let Some(rate) = inner.rate {
            inner.next = start + self.between(rate);
        }
        start - now
    }

    /// The cloud called this too fast, and may have said how long to stay away.
    pub fn throttled(&self, now: Duration, after: Option<Duration>) {
        let mut inner = self.inner.lock().expect("no holder panics");
        if let Some(after) = after {
            inner.next = inner.next.max(now + after);
        }
        if now < inner.decided {
            return;
        }
        let lowest = self.interval.as_secs_f64() / self.longest.as_secs_f64().max(f64::EPSILON);
        let rate = inner.rate.map_or(FIRST_RATE, |rate| (rate / 2.0).max(lowest));
        inner.rate = Some(rate);
        inner.decided = now + self.between(rate);
    }

    /// A call came through.
    pub fn succeeded(&self) {
        let mut inner = self.inner.lock().expect("no holder panics");
        inner.rate = inner.rate.map(|rate| rate + INCREASE).filter(|rate| *rate < UNLIMITED);
    }

    fn between(&self, rate: f64) -> Duration {
        self.interval.div_f64(rate).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long the last of `count` calls that all come at `now` has to wait.
    fn line(pace: &Pace, now: Duration, count: u32) -> Duration {
        (0..count).map(|_| pace.take(now)).last().expect("at least one")
    }

    #[test]
    fn a_storm_slows_all_calls_down_and_good_answers_speed_them_up() {
        let pace = Pace::new(SECOND, 30 * SECOND);
        assert_eq!(line(&pace, SECOND, 1000), Duration::ZERO, "nobody has complained");
        pace.throttled(SECOND, None);
        assert_eq!(line(&pace, SECOND, 11), SECOND, "ten a second");
        // Answers of the same burst say nothing new.
        pace.throttled(SECOND, None);
        assert_eq!(line(&pace, 10 * SECOND, 11), SECOND);
        pace.throttled(20 * SECOND, None);
        assert_eq!(line(&pace, 30 * SECOND, 11), 2 * SECOND, "half as fast");
        (0..50).for_each(|_| pace.succeeded());
        assert_eq!(line(&pace, 60 * SECOND, 11), SECOND, "five a second more");
        (0..1000).for_each(|_| pace.succeeded());
        assert_eq!(line(&pace, 90 * SECOND, 1000), Duration::ZERO);
    }

    #[test]
    fn the_cloud_names_the_moment_for_everybody() {
        let pace = Pace::new(SECOND, 30 * SECOND);
        pace.throttled(SECOND, Some(20 * SECOND));
        assert_eq!(pace.take(SECOND), 20 * SECOND);
        assert_eq!(pace.take(11 * SECOND), 10 * SECOND + SECOND / 10);
    }

    #[test]
    fn there_is_a_slowest_rate_and_a_cloud_that_needs_no_patience() {
        let pace = Pace::new(SECOND, 30 * SECOND);
        (1..60).for_each(|minute| pace.throttled(60 * SECOND * minute, None));
        assert_eq!(line(&pace, 3600 * SECOND, 2), 30 * SECOND);
        let quick = Pace::new(Duration::ZERO, Duration::ZERO);
        (1..60).for_each(|second| quick.throttled(SECOND * second, None));
        assert_eq!(line(&quick, 60 * SECOND, 1000), Duration::ZERO);
    }
}
