//! The only place that reads the time. All other code takes a [`Clock`].
//!
//! In production it is the system's clock. In a simulation it follows tokio's, so a paused runtime pauses it.

#![allow(clippy::disallowed_methods, reason = "this is the home that the rule speaks of")]

use doorbuster_domain::time::Timestamp;
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A source of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time in milliseconds since 1970. It may jump in both directions, so safety must not depend on it.
    fn now(&self) -> Timestamp;

    /// The later of two times: the clock's, and the one that it would show if it had not been set since it was first asked. The second goes on while the
    /// machine sleeps. So what must not be older than a bound is not made younger by a clock that is set back (rule M7).
    fn latest(&self) -> Timestamp;
}

/// An instant for measuring durations. It never goes back, it pauses with a paused runtime, and it means nothing after a restart.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The time that has passed since an instant of [`monotonic`].
#[must_use]
pub fn since(begun: Instant) -> Duration {
    begun.elapsed()
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn latest(&self) -> Timestamp {
        static FIRST: OnceLock<(Timestamp, Duration)> = OnceLock::new();
        let (shown, since_boot) = *FIRST.get_or_init(|| (self.now(), since_boot()));
        let passed = crate::since_boot().saturating_sub(since_boot);
        self.now().max(shown.plus_ms(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// How long the machine has run, its sleep included. Nobody can set this clock.
fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    // Elsewhere the steady clock is the one that goes on, or the best there is.
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A clock that starts at a given time and follows tokio's; tests can make it jump.
#[derive(Debug)]
pub struct TestClock {
    origin: Timestamp,
    started: Instant,
    jumped_ms: AtomicI64,
}

impl TestClock {
    /// A clock that shows `origin` now. It needs no runtime; on a paused one it stands still until time is advanced.
    #[must_use]
    pub fn starting_at(origin: Timestamp) -> Arc<Self> {
        Arc::new(Self { origin, started: monotonic(), jumped_ms: AtomicI64::new(0) })
    }

    /// Moves the clock by `millis` while no other time passes, as an operator or a wrong time server would.
    pub fn jump_ms(&self, millis: i64) {
        self.jumped_ms.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shown = self.origin.plus_ms(passed).0;
        Timestamp(shown.saturating_add_signed(self.jumped_ms.load(Ordering::Relaxed)))
    }

    fn latest(&self) -> Timestamp {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now().max(self.origin.plus_ms(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_test_clock_follows_paused_time_and_jumps() {
        let clock = TestClock::starting_at(Timestamp(1_000));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Timestamp(6_000));
        clock.jump_ms(-2_000);
        assert_eq!(clock.now(), Timestamp(4_000));
        assert_eq!(clock.latest(), Timestamp(6_000), "what was set back did not go back");
        clock.jump_ms(9_000);
        assert_eq!((clock.now(), clock.latest()), (Timestamp(13_000), Timestamp(13_000)));
    }

    #[test]
    fn the_latest_time_is_never_before_the_systems_and_never_goes_back() {
        let (first, now) = (SystemClock.latest(), SystemClock.now());
        assert!(now.0.saturating_sub(first.0) < 60_000, "{first:?} and {now:?}");
        assert!(SystemClock.latest() >= now && SystemClock.latest() >= first);
        assert!(since_boot() > Duration::ZERO && since_boot() >= monotonic_now(), "it counts sleep, too");
    }

    /// The clock that stops while the machine sleeps.
    fn monotonic_now() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
            .saturating_sub(Duration::from_secs(1))
    }
}
