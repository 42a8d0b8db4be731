//! Admission: which requests are served and which are told to retry later, decided before any entity is asked.
//!
//! ```text
//!            permits (503)                   rate limits (429)
//! request ──► a permit of its class? ──► caller ──► a token of its bucket? ──► body ──► handler
//!              │ no         ▲                        │ no
//!              │            │ woken                  └─► Retry-After: when there is one
//!              └─► wait queue
//!                   │ not woken in time
//!                   └─► Retry-After, spread
//! ```
//!
//! `permits` bounds the requests in flight by what is answered in time, `wait_queue` holds requests that found no permit, `rate_limit`
//! bounds what one caller may send. A request that finds a permit waits for nothing here, allocates nothing and takes no lock. There is no
//! timer: each request brings the time with it.

mod adaptive_limit;
mod overloaded;
mod permits;
mod rate_limit;
mod wait_queue;

pub use crate::core::priority_class::PriorityClass;
pub use crate::core::settings::{AdmissionSettings, Rate};
pub use permits::Permit;
pub(super) use permits::Waiter;

use crate::core::caller::Caller;
use doorbuster_domain::time::Timestamp;
use overloaded::OverloadedResponses;
use permits::Permits;
use rate_limit::RateLimiter;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use warp::reply::Response;

/// Permits, wait queue and rate limits of one API.
#[derive(Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    permits: Permits,
    limiter: RateLimiter,
    responses: OverloadedResponses,
    rate_limited: AtomicU64,
    slow_bodies_bytes: AtomicU64,
}

/// A body that has not arrived yet: its announced bytes count until this is dropped.
#[derive(Debug)]
pub struct SlowBody<'a> {
    admission: &'a Admission,
    bytes: u64,
}

impl Drop for SlowBody<'_> {
    fn drop(&mut self) {
        self.admission.slow_bodies_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(AdmissionSettings::default())
    }
}

impl Admission {
    /// By these settings.
    #[must_use]
    pub fn new(settings: AdmissionSettings) -> Self {
        let retry_after_max_s = settings.retry_after_s.saturating_add(1).max(settings.retry_after_max_s);
        Self {
            settings,
            permits: Permits::new(settings),
            limiter: RateLimiter::new(settings.callers_max),
            responses: OverloadedResponses::new(retry_after_max_s),
            rate_limited: AtomicU64::new(0),
            slow_bodies_bytes: AtomicU64::new(0),
        }
    }

    /// A permit of this class, if there is one. `long_wait`: the request has `Prefer: wait`, so how long it takes says nothing about the node.
    #[must_use]
    pub fn acquire(&self, class: PriorityClass, long_wait: bool, now: Timestamp) -> Option<Permit<'_>> {
        self.permits.acquire(class, long_wait, now)
    }

    /// Is there room for every class? The only check of a request while the node is not overloaded.
    #[must_use]
    pub fn has_room_for_all(&self) -> bool {
        self.permits.has_room_for_all()
    }

    /// `Ok(None)`: there is room in `class`. `Ok(Some)`: a request to be polled until there is. `Err`: the wait queue is full.
    pub(super) fn join_queue(&self, class: PriorityClass, now: Timestamp) -> Result<Option<Waiter<'_>>, ()> {
        self.permits.join_queue(class, now)
    }

    /// The longest time in the wait queue.
    #[must_use]
    pub const fn queue_wait_max(&self) -> Duration {
        Duration::from_millis(self.settings.line_wait_ms)
    }

    /// Requests in the wait queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.permits.queued()
    }

    /// The answer to a request that found no permit: 503 `overloaded`.
    #[must_use]
    pub fn overloaded_response(&self) -> Response {
        self.responses.overloaded(self.next_retry_after_s())
    }

    /// The `Retry-After` of the next 503: spread, so that clients that were refused together do not return together.
    #[must_use]
    pub fn next_retry_after_s(&self) -> u32 {
        self.permits.next_retry_after_s()
    }

    /// Takes one token from the caller's bucket. `address`: of the peer; absent where there is no socket.
    ///
    /// # Errors
    /// The seconds until there is a token.
    pub fn charge(&self, caller: &Caller, address: Option<IpAddr>, now: Timestamp) -> Result<(), u32> {
        let taken = match caller {
            Caller::Seller(key) => self.limiter.take((0_u8, &key.id), self.settings.key, now),
            Caller::Guest(guest) => self.limiter.take((1_u8, guest.0), self.settings.guest, now),
            Caller::Holder(order) => self.limiter.take((2_u8, order.0), self.settings.guest, now),
            Caller::Anyone => match address {
                Some(address) => self.limiter.take((3_u8, network(address)), self.settings.address, now),
                None => Ok(()),
            },
        };
        if taken.is_err() {
            self.rate_limited.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Room for `bytes` of a body that did not arrive with its head; `None`: too many bytes are announced already.
    #[must_use]
    pub fn slow_body(&self, bytes: u64) -> Option<SlowBody<'_>> {
        let max = self.settings.slow_bodies_bytes_max;
        let more = |all: u64| all.checked_add(bytes).filter(|all| *all <= max);
        self.slow_bodies_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(SlowBody { admission: self, bytes })
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.permits.in_flight()
    }

    /// Permits that exist now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.permits.limit()
    }

    /// Requests of a class that found no permit, since the start.
    #[must_use]
    pub fn refused(&self, class: PriorityClass) -> u64 {
        self.permits.refused(class)
    }

    /// Requests beyond their caller's rate limit, since the start.
    #[must_use]
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited.load(Ordering::Relaxed)
    }
}

/// The caller behind an address without a credential: of IPv6 its /64, because one customer's line has all 2^64 addresses of it.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::GuestId;

    const NOW: Timestamp = Timestamp(5_000);

    fn strict() -> Admission {
        let one = Rate { per_s: 1, burst: 1 };
        Admission::new(AdmissionSettings { guest: one, address: one, ..AdmissionSettings::default() })
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_caller() {
        let admission = strict();
        let from = |text: &str| admission.charge(&Caller::Anyone, Some(text.parse().unwrap()), NOW);
        assert_eq!(from("2001:db8::1"), Ok(()));
        assert_eq!(from("2001:db8::2"), Err(1));
        assert_eq!(from("2001:db8:0:1::1"), Ok(()));
        assert_eq!(from("192.0.2.1"), Ok(()));
        assert_eq!(from("::ffff:192.0.2.1"), Err(1), "the same address in another form");
        assert_eq!(from("192.0.2.2"), Ok(()));
        assert_eq!(admission.rate_limited(), 2);
    }

    #[test]
    fn guests_are_limited_each_and_not_by_the_address_they_share() {
        let admission = strict();
        let office = "192.0.2.1".parse().ok();
        assert_eq!(admission.charge(&Caller::Guest(GuestId(1)), office, NOW), Ok(()));
        assert_eq!(admission.charge(&Caller::Guest(GuestId(2)), office, NOW), Ok(()));
        assert_eq!(admission.charge(&Caller::Guest(GuestId(1)), office, NOW), Err(1));
    }

    #[test]
    fn slow_bodies_are_bounded_by_their_announced_bytes() {
        let admission = Admission::new(AdmissionSettings { slow_bodies_bytes_max: 100, ..Default::default() });
        let first = admission.slow_body(60).expect("room");
        assert!(admission.slow_body(60).is_none());
        drop(first);
        assert!(admission.slow_body(100).is_some());
    }
}
