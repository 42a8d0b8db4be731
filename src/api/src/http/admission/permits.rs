//! Permits: a request acquires one before anything is done for it, and releases it with its answer.
//!
//! ```text
//! 0 ──────────────── browsing ──── cart ─────────── checkout ── completion = all permits
//!   any class          └ reserved for cart and above ┘   └ …      └ only what ends sagas
//! ```
//!
//! There is one count and one threshold per priority class: a class may take a permit while fewer than its threshold are taken. So a lower class
//! never takes the permits reserved for a higher one, and what a higher class does not use is reserved only up to its share. A request that finds
//! a permit needs atomics only; others wait in the [queue](super::wait_queue).

use super::adaptive_limit::{LoadSample, ThroughputWindow, permits_for};
use super::wait_queue::WaitQueue;
use crate::core::priority_class::PriorityClass;
use crate::core::settings::AdmissionSettings;
use doorbuster_domain::time::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// On cache lines of their own: every request writes these, and reads the rest.
#[derive(Debug, Default)]
#[repr(align(128))]
struct HotCounters {
    in_flight: AtomicUsize,
    answered: AtomicU64,
}

/// The permits, and how many of them each priority class may take.
#[derive(Debug)]
pub(super) struct Permits {
    settings: AdmissionSettings,
    hot: HotCounters,
    /// Of those in flight, the ones with `Prefer: wait`.
    long_waits: AtomicUsize,
    refused: [AtomicU64; 4],
    limit: AtomicUsize,
    /// Per class: it may take a permit while fewer than this many are taken.
    thresholds: [AtomicUsize; 4],
    /// `Retry-After` of refused requests is spread over this many seconds.
    spread_s: AtomicU32,
    retry_tickets: AtomicU32,
    sampled_at_ms: AtomicU64,
    window: Mutex<ThroughputWindow>,
    queue: WaitQueue,
}

/// One request never takes more than this part of all permits, however much work it is: others are served beside it.
const PART_OF_ONE_REQUEST: usize = 16;

/// A permit that is taken; dropping it releases it.
#[derive(Debug)]
pub struct Permit<'a> {
    permits: &'a Permits,
    class: PriorityClass,
    /// How many permits it is: one for each unit of work.
    units: AtomicUsize,
    long_wait: bool,
    answered: bool,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let units = *self.units.get_mut();
        self.permits.hot.in_flight.fetch_sub(units, Ordering::SeqCst);
        if self.long_wait {
            self.permits.long_waits.fetch_sub(units, Ordering::Relaxed);
        } else if self.answered {
            self.permits.hot.answered.fetch_add(u64::try_from(units).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        for _ in 0..units {
            if self.permits.queue.length() == 0 || !self.permits.queue.wake_one(|class| self.permits.has_room(class)) {
                break;
            }
        }
    }
}

/// A request in the wait queue; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    permits: &'a Permits,
    class: PriorityClass,
    ticket: u64,
    queued: bool,
}

impl Waiter<'_> {
    /// Ready once there is room. No permit is set aside for a woken request: it takes one at once, or is queued again.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.permits.has_room(self.class) {
            self.permits.queue.enqueue(self.class, self.ticket, context.waker());
            self.queued = true;
            // Checked once more: a permit that was released before the request was queued woke no request.
            if !self.permits.has_room(self.class) {
                return Poll::Pending;
            }
        }
        if std::mem::take(&mut self.queued) {
            self.permits.queue.remove(self.class, self.ticket);
        }
        Poll::Ready(())
    }

    /// Counts the request as refused: it was not woken in time.
    pub(crate) fn give_up(self) {
        self.permits.count_refusal(self.class);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.queued && !self.permits.queue.remove(self.class, self.ticket) {
            // It was woken and is cancelled all the same: the wake-up goes to the next request.
            self.permits.queue.wake_one(|class| self.permits.has_room(class));
        }
    }
}

impl Permit<'_> {
    /// Takes `more` permits: the request is that much more work than one unit. `false`: they are not there, and nothing changes.
    #[must_use]
    pub fn grow(&self, more: u32) -> bool {
        let permits = self.permits;
        let most = (permits.limit() / PART_OF_ONE_REQUEST).max(1);
        let units = self.units.load(Ordering::Relaxed);
        let more = usize::try_from(more).unwrap_or(usize::MAX).min(most.saturating_sub(units));
        let threshold = permits.threshold(self.class);
        let grown = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= threshold);
        if more > 0 && permits.hot.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_err() {
            return false;
        }
        self.units.fetch_add(more, Ordering::Relaxed);
        if self.long_wait {
            permits.long_waits.fetch_add(more, Ordering::Relaxed);
        }
        true
    }

    /// Releases the permit of a request that was refused further inside for want of room. It counts as refused, not as answered: a refusal says
    /// nothing about the node's throughput.
    pub fn release_refused(mut self) {
        self.answered = false;
        self.permits.count_refusal(self.class);
    }

    /// Releases the permit before there is an answer: the request waits for its own body and acquires another permit afterwards.
    pub fn release_unanswered(mut self) {
        self.answered = false;
    }
}

impl Permits {
    pub(super) fn new(settings: AdmissionSettings) -> Self {
        let permits = Self {
            settings,
            hot: HotCounters::default(),
            long_waits: AtomicUsize::new(0),
            refused: Default::default(),
            limit: AtomicUsize::new(0),
            thresholds: Default::default(),
            spread_s: AtomicU32::new(2),
            retry_tickets: AtomicU32::new(0),
            sampled_at_ms: AtomicU64::new(0),
            window: Mutex::default(),
            queue: WaitQueue::default(),
        };
        permits.set_limit(settings.places_start.max(settings.places_min).min(settings.places_max));
        permits
    }

    /// A permit of `class`, if there is one. `long_wait`: the request has `Prefer: wait`, so how long it takes says nothing about the node.
    pub(super) fn acquire(&self, class: PriorityClass, long_wait: bool, now: Timestamp) -> Option<Permit<'_>> {
        self.adapt(now);
        let threshold = self.threshold(class);
        let more = |taken: usize| (taken < threshold).then_some(taken.saturating_add(1));
        if self.hot.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            self.count_refusal(class);
            return None;
        }
        if long_wait {
            self.long_waits.fetch_add(1, Ordering::Relaxed);
        }
        Some(Permit { permits: self, class, units: AtomicUsize::new(1), long_wait, answered: true })
    }

    /// Is there room for every class? The only check while the node is not overloaded.
    pub(super) fn has_room_for_all(&self) -> bool {
        self.has_room(PriorityClass::Browsing)
    }

    /// `Ok(None)`: there is room. `Ok(Some)`: a request to be polled until there is. `Err`: the queue is full.
    pub(super) fn join_queue(&self, class: PriorityClass, now: Timestamp) -> Result<Option<Waiter<'_>>, ()> {
        self.adapt(now);
        if self.has_room(class) {
            return Ok(None);
        }
        if self.settings.line_wait_ms == 0 || self.queue.length() >= self.settings.line_max {
            self.count_refusal(class);
            return Err(());
        }
        Ok(Some(Waiter { permits: self, class, ticket: self.queue.ticket(), queued: false }))
    }

    /// Requests in the wait queue.
    pub(super) fn queued(&self) -> usize {
        self.queue.length()
    }

    fn has_room(&self, class: PriorityClass) -> bool {
        self.hot.in_flight.load(Ordering::SeqCst) < self.threshold(class)
    }

    /// The next `Retry-After`: spread over seconds, over more of them the more requests are refused.
    pub(super) fn next_retry_after_s(&self) -> u32 {
        let ticket = self.retry_tickets.fetch_add(1, Ordering::Relaxed);
        let spread = self.spread_s.load(Ordering::Relaxed).max(1);
        self.settings.retry_after_s.saturating_add(ticket % spread)
    }

    fn count_refusal(&self, class: PriorityClass) {
        if let Some(refused) = self.refused.get(class.index()) {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn threshold(&self, class: PriorityClass) -> usize {
        self.thresholds.get(class.index()).map_or(0, |threshold| threshold.load(Ordering::Relaxed))
    }

    /// Adapts the limit to the measured throughput, once per window; one of the requests that arrive does it.
    fn adapt(&self, now: Timestamp) {
        let last = self.sampled_at_ms.load(Ordering::Relaxed);
        // A clock that was set back ends the window, or no request would sample until it has caught up.
        let elapsed_ms = now.0.checked_sub(last).unwrap_or(self.settings.delay_window_ms);
        if elapsed_ms < self.settings.delay_window_ms
            || self.sampled_at_ms.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        // One request per window gets here. If the one of the window before still holds the lock, this window is skipped: no request waits.
        let Ok(mut window) = self.window.try_lock() else { return };
        let delta = window.sample(self.hot.answered.load(Ordering::Relaxed), self.refused_all(), elapsed_ms);
        let long_waits = self.long_waits.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let sample = LoadSample {
            limit,
            short: self.in_flight().saturating_sub(long_waits),
            long_waits,
            answers_per_s: delta.answers_per_s,
            refused: delta.refused > 0 || self.queue.length() > 0,
        };
        let new_limit = permits_for(&self.settings, &sample);
        self.set_limit(new_limit);
        // Permits that exist because the limit grew were released by no request: requests are woken for them here.
        for _ in limit..new_limit {
            if !self.queue.wake_one(|class| self.has_room(class)) {
                break;
            }
        }
        let longest = self.settings.retry_after_max_s.saturating_sub(self.settings.retry_after_s);
        let times = u32::try_from(delta.refused / delta.answered.max(1)).unwrap_or(u32::MAX);
        self.spread_s.store(times.saturating_add(2).min(longest.saturating_add(1)), Ordering::Relaxed);
    }

    fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        for (threshold, value) in self.thresholds.iter().zip(thresholds_of(&self.settings, limit)) {
            threshold.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.hot.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self, class: PriorityClass) -> u64 {
        self.refused.get(class.index()).map_or(0, |refused| refused.load(Ordering::Relaxed))
    }

    fn refused_all(&self) -> u64 {
        PriorityClass::ALL.into_iter().map(|class| self.refused(class)).fold(0, u64::saturating_add)
    }
}

/// The thresholds of the classes, in their order, of `limit` permits.
fn thresholds_of(settings: &AdmissionSettings, limit: usize) -> [usize; 4] {
    let reserved = |percent: u8| limit.saturating_mul(usize::from(percent)) / 100;
    let checkout = limit.saturating_sub(reserved(settings.completion_reserved_percent));
    let cart = checkout.saturating_sub(reserved(settings.checkout_reserved_percent));
    let browsing = cart.saturating_sub(reserved(settings.cart_reserved_percent));
    [limit, checkout, cart, browsing]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn fixed(limit: usize) -> Permits {
        let settings =
            AdmissionSettings { places_start: limit, places_min: limit, places_max: limit, ..Default::default() };
        Permits::new(settings)
    }

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn browsing_never_takes_the_permits_reserved_for_a_checkout() {
        let permits = fixed(100);
        let mut taken = Vec::new();
        for (class, room) in [
            (PriorityClass::Browsing, 50),
            (PriorityClass::Cart, 20),
            (PriorityClass::Checkout, 25),
            (PriorityClass::Completion, 5),
        ] {
            for _ in 0..room {
                taken.push(permits.acquire(class, false, NOW).expect("room of its own"));
            }
            assert!(permits.acquire(class, false, NOW).is_none(), "{class:?} has used its share");
        }
        assert_eq!((permits.in_flight(), permits.refused(PriorityClass::Browsing)), (100, 1));
        drop(taken);
        assert_eq!(permits.in_flight(), 0);
    }

    #[test]
    fn a_request_of_more_work_takes_more_permits_and_never_all_of_them() {
        let permits = fixed(160);
        let large = permits.acquire(PriorityClass::Checkout, false, NOW).expect("room");
        assert!(large.grow(4));
        assert_eq!(permits.in_flight(), 5);
        assert!(large.grow(1_000));
        assert_eq!(permits.in_flight(), 10, "a sixteenth of all");
        let others: Vec<_> = (0..140).map_while(|_| permits.acquire(PriorityClass::Checkout, false, NOW)).collect();
        let last = permits.acquire(PriorityClass::Checkout, false, NOW).expect("room for one unit");
        assert!(!last.grow(5) && permits.in_flight() == 151, "what does not fit takes nothing");
        drop((large, last));
        assert_eq!(permits.in_flight(), others.len());
        drop(others);
        assert_eq!(permits.in_flight(), 0);
    }

    #[test]
    fn a_class_may_use_what_a_lower_one_leaves_and_not_what_is_reserved_for_a_higher() {
        let permits = fixed(100);
        let taken: Vec<_> = (0..95).map_while(|_| permits.acquire(PriorityClass::Checkout, false, NOW)).collect();
        assert_eq!(taken.len(), 95);
        assert!(permits.acquire(PriorityClass::Checkout, false, NOW).is_none());
        assert!(permits.acquire(PriorityClass::Completion, false, NOW).is_some(), "a webhook is still admitted");
    }

    #[test]
    fn refused_requests_are_spread_over_seconds() {
        let permits =
            Permits::new(AdmissionSettings { places_start: 4, places_min: 4, places_max: 4, ..Default::default() });
        let taken: Vec<_> = (0..4).map(|_| permits.acquire(PriorityClass::Completion, false, NOW)).collect();
        for _ in 0..40 {
            assert!(permits.acquire(PriorityClass::Checkout, false, NOW).is_none());
        }
        drop(taken);
        // Ten were refused for each that was answered: they are spread over as many seconds as are allowed.
        drop(permits.acquire(PriorityClass::Checkout, false, Timestamp(NOW.0 + 200)));
        let seconds: BTreeSet<u32> = (0..100).map(|_| permits.next_retry_after_s()).collect();
        assert_eq!(seconds.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    fn poll(waiter: &mut Waiter<'_>) -> bool {
        waiter.poll_room(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    fn queued(permits: &Permits) -> Waiter<'_> {
        let mut waiter =
            permits.join_queue(PriorityClass::Checkout, NOW).expect("the queue is short").expect("no permit is left");
        assert!(!poll(&mut waiter));
        waiter
    }

    #[test]
    fn a_woken_request_that_is_cancelled_wakes_the_next() {
        let permits = fixed(1);
        let permit = permits.acquire(PriorityClass::Completion, false, NOW);
        // Thresholds are whole numbers: a single permit may be taken by each of the four classes.
        let (mut old, new) = (queued(&permits), queued(&permits));
        drop(permit);
        assert_eq!(permits.queued(), 1, "the newest was woken");
        drop(new);
        assert_eq!(permits.queued(), 0, "and then the next one");
        assert!(poll(&mut old));
    }

    #[test]
    fn a_woken_request_that_finds_no_permit_is_queued_again() {
        let permits = fixed(1);
        let permit = permits.acquire(PriorityClass::Checkout, false, NOW);
        let mut waiter = queued(&permits);
        drop(permit);
        let faster =
            permits.acquire(PriorityClass::Checkout, false, NOW).expect("no permit is set aside for a woken request");
        assert!(!poll(&mut waiter));
        assert_eq!(permits.queued(), 1);
        drop(faster);
        assert!(poll(&mut waiter));
        drop(waiter);
        assert_eq!(permits.queued(), 0);
    }

    #[test]
    fn queued_requests_are_woken_for_permits_that_are_added() {
        let settings =
            AdmissionSettings { places_start: 100, places_min: 100, places_max: 1_000, ..Default::default() };
        let permits = Permits::new(settings);
        let mut taken: Vec<_> = (0..95).map_while(|_| permits.acquire(PriorityClass::Checkout, false, NOW)).collect();
        let waiting: Vec<_> = std::iter::from_fn(|| (permits.queued() < 4).then(|| queued(&permits))).collect();
        // A good throughput and no refusal: that requests are queued says that more permits are needed.
        for _ in 0..100 {
            drop(permits.acquire(PriorityClass::Completion, false, NOW));
        }
        taken.extend(permits.acquire(PriorityClass::Completion, false, Timestamp(NOW.0 + 100)));
        assert!(permits.limit() > 100, "{}", permits.limit());
        assert_eq!(permits.queued(), 0, "no permit was released, and all four were woken");
        drop(waiting);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_sampling() {
        let settings =
            AdmissionSettings { places_start: 1_000, places_min: 10, places_max: 1_000, ..Default::default() };
        let permits = Permits::new(settings);
        let crowd: Vec<_> = (0..900).map(|_| permits.acquire(PriorityClass::Checkout, false, NOW)).collect();
        for step in 1..20 {
            // One answer per window, at times before the last one.
            drop(permits.acquire(PriorityClass::Checkout, false, Timestamp(500_000 + step * 100)));
        }
        assert!(permits.limit() < 1_000, "{}", permits.limit());
        drop(crowd);
    }

    proptest! {
        #[test]
        fn thresholds_fall_from_class_to_class_by_the_reserved_shares(
            limit in 0_usize..100_000, completion in 0_u8..=30, checkout in 0_u8..=30, cart in 0_u8..=30,
        ) {
            let settings = AdmissionSettings {
                completion_reserved_percent: completion, checkout_reserved_percent: checkout, cart_reserved_percent: cart,
                ..Default::default()
            };
            let [all, second, third, fourth] = thresholds_of(&settings, limit);
            prop_assert!(all == limit && all >= second && second >= third && third >= fourth);
            prop_assert_eq!(second - third, limit * usize::from(checkout) / 100);
            prop_assert!(limit == 0 || fourth > 0, "no class is shut out");
        }

        /// In any order of acquiring and releasing the count is exact, no class passes its threshold, and it is refused only at its threshold.
        #[test]
        fn no_class_passes_its_threshold_in_any_order_of_requests(steps in proptest::collection::vec((0_usize..5, 0_usize..64), 1..400)) {
            let permits = fixed(40);
            let thresholds = thresholds_of(&permits.settings, 40);
            let mut taken = Vec::new();
            for (what, which) in steps {
                if let Some(class) = PriorityClass::ALL.get(what) {
                    let before = taken.len();
                    match permits.acquire(*class, which % 2 == 0, NOW) {
                        Some(permit) => { prop_assert!(before < thresholds[what]); taken.push(permit); }
                        None => prop_assert!(before >= thresholds[what]),
                    }
                } else if !taken.is_empty() {
                    drop(taken.swap_remove(which % taken.len()));
                }
                prop_assert_eq!(permits.in_flight(), taken.len());
            }
        }
    }
}
