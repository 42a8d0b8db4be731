//! Rate limits: one token bucket per caller, in a table of a fixed size, without a lock.
//!
//! A bucket is one number: the time at which it will be full again (the virtual scheduling of ITU-T I.371, "GCRA"). Each request moves it on
//! by the time that its tokens take; a request that would move it further ahead of now than the burst is refused. A full bucket holds no
//! information, so its slot is free for the next caller: the table never grows, and forgets a caller in debt only when more than four of them
//! share a set.

use crate::core::settings::Rate;
use doorbuster_domain::time::Timestamp;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

const MICROS_PER_S: u64 = 1_000_000;

/// What a request takes from a bucket, in µs of its refilling.
#[derive(Debug, Clone, Copy)]
struct Cost {
    tokens: u64,
    burst: u64,
}

impl Cost {
    /// `None`: there is no limit, or nothing is taken.
    fn of(rate: Rate, units: u32) -> Option<Self> {
        if rate.per_s == 0 || units == 0 {
            return None;
        }
        let token = (MICROS_PER_S / u64::from(rate.per_s)).max(1);
        let burst = token.saturating_mul(u64::from(rate.burst.max(1)));
        Some(Self { tokens: token.saturating_mul(u64::from(units)).min(burst), burst })
    }

    /// From when on a bucket is filled. No request moves it further ahead than its burst: one that is further ahead was moved before the clock was
    /// set back.
    const fn begin(self, full_at: u64, now: u64) -> u64 {
        if full_at > now.saturating_add(self.burst) || full_at < now { now } else { full_at }
    }
}

/// One caller's bucket.
#[derive(Debug, Default)]
struct Bucket {
    /// A keyed hash of the caller; 0: the bucket is free.
    tag: AtomicU64,
    /// When it is full again, in µs since the epoch.
    full_at: AtomicU64,
}

/// Four buckets share a cache line; a caller is in one of them.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Bucket; 4]);

/// The buckets of all callers.
#[derive(Debug)]
pub(super) struct RateLimiter {
    sets: Box<[Set]>,
    /// Keyed anew by each process, so that no client can choose an address that shares another caller's bucket.
    hasher: RandomState,
}

impl RateLimiter {
    pub(super) fn new(callers_max: usize) -> Self {
        let sets = (callers_max / 4).max(1).next_power_of_two();
        Self { sets: (0..sets).map(|_| Set::default()).collect(), hasher: RandomState::new() }
    }

    /// The tag of a caller's bucket: computed once for all that a request takes from it.
    pub(super) fn tag(&self, caller: impl Hash) -> u64 {
        self.hasher.hash_one(caller).max(1)
    }

    /// Takes `units` tokens from a bucket; `Err`: seconds until they are there. More units than a burst cost the burst.
    pub(super) fn take(&self, tag: u64, rate: Rate, units: u32, now: Timestamp) -> Result<(), u32> {
        let Some(cost) = Cost::of(rate, units) else { return Ok(()) };
        let now = now.0.saturating_mul(1_000);
        let mut waits = 0;
        let taken = self.bucket(tag).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = cost.begin(full_at, now).saturating_add(cost.tokens);
            waits = next.saturating_sub(now.saturating_add(cost.burst));
            (waits == 0).then_some(next)
        });
        taken.map(|_| ()).map_err(|_full| u32::try_from(waits.div_ceil(MICROS_PER_S)).unwrap_or(u32::MAX).max(1))
    }

    /// Takes tokens for work that was done already, as far as they are there: the bucket is empty at most, never deeper in debt.
    pub(super) fn take_what_is_there(&self, tag: u64, rate: Rate, units: u32, now: Timestamp) {
        let Some(cost) = Cost::of(rate, units) else { return };
        let now = now.0.saturating_mul(1_000);
        let empty = now.saturating_add(cost.burst);
        // The closure always gives a value, so there is nothing to look at.
        let _always = self.bucket(tag).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(cost.begin(full_at, now).saturating_add(cost.tokens).min(empty))
        });
    }

    /// The caller's bucket, or else the bucket of its set that has been full for longest or owes least. Two requests at the same instant may
    /// get two buckets for one caller, or one bucket for two: that costs or grants a few tokens once.
    fn bucket(&self, tag: u64) -> &AtomicU64 {
        static NONE: AtomicU64 = AtomicU64::new(0);
        let mask = u64::try_from(self.sets.len()).unwrap_or(1).saturating_sub(1);
        let index = usize::try_from(tag & mask).unwrap_or(0);
        let Some(Set(buckets)) = self.sets.get(index) else { return &NONE };
        if let Some(own) = buckets.iter().find(|bucket| bucket.tag.load(Ordering::Relaxed) == tag) {
            return &own.full_at;
        }
        let Some(other) = buckets.iter().min_by_key(|bucket| bucket.full_at.load(Ordering::Relaxed)) else {
            return &NONE;
        };
        other.full_at.store(0, Ordering::Relaxed);
        other.tag.store(tag, Ordering::Relaxed);
        &other.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEN: Rate = Rate { per_s: 10, burst: 5 };

    fn take(limiter: &RateLimiter, caller: impl Hash, rate: Rate, now: Timestamp) -> Result<(), u32> {
        limiter.take(limiter.tag(caller), rate, 1, now)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(1_000_000 + ms)
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_a_pause_refills_the_bucket() {
        let limiter = RateLimiter::new(64);
        let passed = |ms: u64| (0..100).filter(|_| take(&limiter, "caller", TEN, at(ms)).is_ok()).count();
        assert_eq!(passed(0), 5);
        assert_eq!(passed(100), 1);
        assert_eq!(passed(350), 2);
        assert_eq!(passed(60_000), 5, "a pause is worth a burst, not more");
        assert_eq!(take(&limiter, "caller", TEN, at(60_000)), Err(1));
        assert_eq!(take(&limiter, "another", TEN, at(60_000)), Ok(()));
    }

    #[test]
    fn a_refused_caller_gets_the_seconds_until_the_next_token() {
        let limiter = RateLimiter::new(64);
        let slow = Rate { per_s: 1, burst: 1 };
        assert_eq!(take(&limiter, 1, slow, at(0)), Ok(()));
        assert_eq!(take(&limiter, 1, slow, at(0)), Err(1));
        assert_eq!(take(&limiter, 1, slow, at(1_000)), Ok(()));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let limiter = RateLimiter::new(4);
        assert!((0..10_000).all(|_| take(&limiter, 1, Rate { per_s: 0, burst: 1 }, at(0)).is_ok()));
    }

    #[test]
    fn work_of_many_units_takes_as_many_tokens() {
        let limiter = RateLimiter::new(64);
        let tag = limiter.tag("caller");
        assert_eq!(limiter.take(tag, TEN, 4, at(0)), Ok(()));
        assert_eq!(limiter.take(tag, TEN, 4, at(0)), Err(1));
        assert_eq!(limiter.take(tag, TEN, 1, at(0)), Ok(()), "what is left is still there");
        assert_eq!(limiter.take(tag, TEN, 4, at(400)), Ok(()));
        assert_eq!(
            limiter.take(tag, TEN, 1_000, at(60_000)),
            Ok(()),
            "more than a burst is never there, so it costs the burst"
        );
        assert_eq!(limiter.take(tag, TEN, 1, at(60_000)), Err(1));
    }

    #[test]
    fn work_that_was_done_already_empties_the_bucket_and_no_more() {
        let limiter = RateLimiter::new(64);
        let tag = limiter.tag("caller");
        for _ in 0..10 {
            limiter.take_what_is_there(tag, TEN, 1_000, at(0));
        }
        assert_eq!(limiter.take(tag, TEN, 1, at(0)), Err(1));
        assert_eq!(limiter.take(tag, TEN, 5, at(500)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_no_caller_out() {
        let limiter = RateLimiter::new(64);
        for _ in 0..5 {
            assert!(take(&limiter, 1, TEN, at(3_600_000)).is_ok());
        }
        assert_eq!(take(&limiter, 1, TEN, at(0)), Ok(()));
    }

    #[test]
    fn the_table_does_not_grow_and_a_crowd_does_not_evict_a_caller_in_debt() {
        let limiter = RateLimiter::new(1_024);
        for _ in 0..5 {
            assert!(take(&limiter, "greedy", TEN, at(0)).is_ok());
        }
        for one in 0..100_000_u64 {
            // Each caller sends one request, and its bucket is full again before the next one arrives.
            assert!(take(&limiter, one, Rate { per_s: 1_000_000, burst: 1_000 }, at(one / 1_000)).is_ok());
        }
        assert!(take(&limiter, "greedy", TEN, at(99)).is_err());
        assert_eq!(limiter.sets.len(), 256);
    }

    proptest! {
        /// Over any span of time a caller gets at most the burst and the rate times the span.
        #[test]
        fn no_caller_gets_more_than_burst_and_rate(
            per_s in 1_u32..=1_000, burst in 1_u32..50, pauses in proptest::collection::vec(0_u64..500, 1..300),
        ) {
            let limiter = RateLimiter::new(64);
            let (mut now, mut passed) = (0, 0_u64);
            for pause in pauses {
                now += pause;
                passed += u64::from(take(&limiter, "one", Rate { per_s, burst }, at(now)).is_ok());
            }
            let token = 1_000_000 / u64::from(per_s);
            prop_assert!(passed <= u64::from(burst) + now * 1_000 / token + 1, "{passed} in {now} ms");
        }
    }
}
