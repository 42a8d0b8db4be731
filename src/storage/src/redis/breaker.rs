//! A circuit breaker: after some failures in a row, calls are not tried for a pause that doubles, with one attempt after each pause.
//!
//! ```text
//! closed ──failures_max in a row──► open ──pause over──► one attempt ──► closed, or open for twice as long
//! ```
//!
//! So a server that hangs costs its callers a few time limits, and then nothing.

use std::time::Duration;
use tokio::time::Instant;

/// Counts failures in a row.
#[derive(Debug, Clone)]
pub struct Breaker {
    failures_max: u32,
    rest_min: Duration,
    rest_max: Duration,
    failures: u32,
    rest: Duration,
    /// While open: when the next attempt is allowed.
    open_until: Option<Instant>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(failures_max: u32, rest_min: Duration, rest_max: Duration) -> Self {
        let rest_max = rest_max.max(rest_min);
        Self { failures_max: failures_max.max(1), rest_min, rest_max, failures: 0, rest: rest_min, open_until: None }
    }

    /// Whether a call may be made now. While open, one may after each pause; the next waits for another pause, so an attempt whose outcome is never
    /// reported does not keep the breaker open for ever.
    #[must_use]
    pub fn may_try(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = now.checked_add(self.rest);
                true
            }
        }
    }

    /// Records a successful call.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
        self.rest = self.rest_min;
        self.open_until = None;
    }

    /// Records a failed call; returns whether it opened the breaker.
    #[must_use]
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_open = self.open_until.is_some();
        if was_open {
            self.rest = self.rest.saturating_mul(2).min(self.rest_max);
        } else if self.failures < self.failures_max {
            return false;
        }
        self.open_until = now.checked_add(self.rest);
        !was_open
    }

    /// Whether the breaker is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn after_some_failures_in_a_row_nothing_is_tried_for_a_while_that_doubles() {
        let mut breaker = Breaker::new(3, 100 * MS, 300 * MS);
        let start = doorbuster_clock::monotonic();
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(breaker.may_try(start), "two failures are not three");
        assert!(breaker.failed(start), "the third opens it");
        assert!(!breaker.may_try(start + 99 * MS));
        let mut now = start;
        for rest in [100, 200, 300, 300] {
            now += rest * MS;
            assert!(!breaker.may_try(now - MS), "rests {rest} ms");
            assert!(breaker.may_try(now), "then one is tried");
            assert!(!breaker.may_try(now), "and only one");
            assert!(!breaker.failed(now), "it was open");
        }
        breaker.succeeded();
        assert!(breaker.may_try(now) && !breaker.is_open());
        assert!(!breaker.failed(now), "and it counts from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::new(2, MS, MS);
        let now = doorbuster_clock::monotonic();
        for _ in 0..5 {
            assert!(!breaker.failed(now));
            breaker.succeeded();
        }
        assert!(breaker.may_try(now));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_never_ends_does_not_shut_it_for_ever() {
        let mut breaker = Breaker::new(1, 100 * MS, 100 * MS);
        let start = doorbuster_clock::monotonic();
        assert!(breaker.failed(start));
        assert!(breaker.may_try(start + 100 * MS));
        assert!(breaker.may_try(start + 200 * MS));
    }
}
