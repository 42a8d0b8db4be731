//! Admission: which requests are served and which are told to retry later, decided before any entity is asked.
//!
//! ```text
//!            permits (503)                   rate limits (429)
//! request ──► a permit of its class? ──► caller ──► a token of its bucket? ──► body ──► as many more as it is work ──► handler
//!              │ no         ▲                        │ no                                │ no
//!              │            │ woken                  └───────────────────────────────────┴─► Retry-After
//!              └─► wait queue
//!                   │ not woken in time
//!                   └─► Retry-After, spread
//! ```
//!
//! `permits` bounds the requests in flight by what is answered in time, `wait_queue` holds requests that found no permit, `rate_limit`
//! bounds what one caller, and all guests of one address, may send. Both count units of [work](crate::core::work), not requests. A request that finds a permit waits for nothing here, allocates nothing and takes no lock. There is no
//! timer: each request brings the time with it.

mod adaptive_limit;
mod overloaded;
mod permits;
mod rate_limit;
mod slow_bodies;
mod wait_queue;

pub use crate::core::priority_class::PriorityClass;
pub use crate::core::settings::{AdmissionSettings, Rate};
pub use permits::Permit;
pub(super) use permits::Waiter;
pub(super) use slow_bodies::{NoRoom, SlowBody};

use crate::core::address::network_of;
use crate::core::caller::Caller;
use doorbuster_domain::time::Timestamp;
use overloaded::OverloadedResponses;
use permits::Permits;
use rate_limit::RateLimiter;
use slow_bodies::SlowBodies;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use warp::reply::Response;

/// Permits, wait queue and rate limits of one API.
#[derive(Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    permits: Permits,
    callers: RateLimiter,
    /// Apart from the callers: however many guests one address makes, it does not push an address out.
    addresses: RateLimiter,
    responses: OverloadedResponses,
    rate_limited: AtomicU64,
    slow_bodies: SlowBodies,
    slow_webhooks: SlowBodies,
}

/// What kind of request an address is charged for: each has a bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AddressUse {
    /// Requests without a valid credential.
    Anonymous,
    /// Requests of guests.
    Guests,
    /// Making guests.
    NewGuests,
    /// Webhooks of payment providers.
    Webhooks,
}

/// A bucket, and the limit it is filled by.
#[derive(Debug, Clone, Copy)]
struct Charged {
    tag: u64,
    rate: Rate,
}

/// The buckets that a request is charged to.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    caller: Option<Charged>,
    address: Option<Charged>,
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
            callers: RateLimiter::new(settings.callers_max),
            addresses: RateLimiter::new(settings.callers_max),
            responses: OverloadedResponses::new(retry_after_max_s),
            rate_limited: AtomicU64::new(0),
            slow_bodies: SlowBodies::new(settings.slow_bodies_bytes_max, settings.slow_bodies_address_percent),
            slow_webhooks: SlowBodies::new(settings.slow_webhooks_bytes_max, settings.slow_bodies_address_percent),
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

    /// The buckets of a caller. `address`: of the peer; absent where there is no socket.
    ///
    /// A guest costs nothing to make, so all guests of one address are charged to the address too; so are holders of order tokens. A seller is known.
    #[must_use]
    pub fn account(&self, caller: &Caller, address: Option<IpAddr>) -> Account {
        let of_caller = |tag, rate| Some(Charged { tag, rate });
        let guests = || self.address_bucket(AddressUse::Guests, self.settings.address_guest, address);
        match caller {
            Caller::Seller(key) => {
                Account { caller: of_caller(self.callers.tag((0_u8, &key.id)), self.settings.key), address: None }
            }
            Caller::Guest(guest) => {
                Account { caller: of_caller(self.callers.tag((1_u8, guest.0)), self.settings.guest), address: guests() }
            }
            Caller::Holder(order) => {
                Account { caller: of_caller(self.callers.tag((2_u8, order.0)), self.settings.guest), address: guests() }
            }
            Caller::Anyone => {
                let address = self.address_bucket(AddressUse::Anonymous, self.settings.address, address);
                Account { caller: None, address }
            }
        }
    }

    /// The bucket of a payment provider's address: its webhooks are known to be its own only once they were read.
    #[must_use]
    pub fn account_of_webhook(&self, address: Option<IpAddr>) -> Account {
        Account { caller: None, address: self.address_bucket(AddressUse::Webhooks, self.settings.webhook, address) }
    }

    fn address_bucket(&self, of: AddressUse, rate: Rate, address: Option<IpAddr>) -> Option<Charged> {
        address.map(|address| Charged { tag: self.addresses.tag((of, network_of(address))), rate })
    }

    /// Takes as many tokens as there are units of work from each bucket of an account.
    ///
    /// # Errors
    /// The seconds until there are as many.
    pub fn charge(&self, account: Account, units: u32, now: Timestamp) -> Result<(), u32> {
        let Account { caller, address } = account;
        let of_caller = caller.map_or(Ok(()), |bucket| self.callers.take(bucket.tag, bucket.rate, units, now));
        // What a caller is refused for is not charged to others at its address.
        let taken = of_caller
            .and_then(|()| address.map_or(Ok(()), |bucket| self.addresses.take(bucket.tag, bucket.rate, units, now)));
        if taken.is_err() {
            self.rate_limited.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes tokens for work that was done already: the next request waits for it.
    pub fn charge_done(&self, account: Account, units: u32, now: Timestamp) {
        if let Some(bucket) = account.caller {
            self.callers.take_what_is_there(bucket.tag, bucket.rate, units, now);
        }
        if let Some(bucket) = account.address {
            self.addresses.take_what_is_there(bucket.tag, bucket.rate, units, now);
        }
    }

    /// Takes a token for making a guest from the address that asks for it.
    ///
    /// # Errors
    /// The seconds until there is one.
    pub fn charge_new_guest(&self, address: Option<IpAddr>, now: Timestamp) -> Result<(), u32> {
        let address = self.address_bucket(AddressUse::NewGuests, self.settings.address_new_guests, address);
        self.charge(Account { caller: None, address }, 1, now)
    }

    /// A body that did not arrive with its head, of which nothing is charged yet. `address`: who has a share; `None`: it is not shared.
    pub(super) fn slow_body(&self, webhook: bool, address: Option<IpAddr>) -> SlowBody<'_> {
        let bodies = if webhook { &self.slow_webhooks } else { &self.slow_bodies };
        bodies.begin(address.map(network_of))
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

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::GuestId;

    const NOW: Timestamp = Timestamp(5_000);

    const ONE: Rate = Rate { per_s: 1, burst: 1 };

    fn strict() -> Admission {
        Admission::new(AdmissionSettings { guest: ONE, address: ONE, ..AdmissionSettings::default() })
    }

    fn charge(admission: &Admission, caller: &Caller, address: &str) -> Result<(), u32> {
        admission.charge(admission.account(caller, address.parse().ok()), 1, NOW)
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_caller() {
        let admission = strict();
        let from = |text: &str| charge(&admission, &Caller::Anyone, text);
        assert_eq!(from("2001:db8::1"), Ok(()));
        assert_eq!(from("2001:db8::2"), Err(1));
        assert_eq!(from("2001:db8:0:1::1"), Ok(()));
        assert_eq!(from("192.0.2.1"), Ok(()));
        assert_eq!(from("::ffff:192.0.2.1"), Err(1), "the same address in another form");
        assert_eq!(from("192.0.2.2"), Ok(()));
        assert_eq!(admission.rate_limited(), 2);
    }

    #[test]
    fn guests_are_limited_each_and_all_of_one_address_together() {
        let two = Rate { per_s: 1, burst: 2 };
        let admission = Admission::new(AdmissionSettings { guest: ONE, address_guest: two, ..Default::default() });
        let guest = |number| Caller::Guest(GuestId(number));
        assert_eq!(charge(&admission, &guest(1), "2001:db8::1"), Ok(()));
        assert_eq!(charge(&admission, &guest(1), "2001:db8::1"), Err(1), "and that costs its neighbours nothing");
        assert_eq!(charge(&admission, &guest(2), "2001:db8::2"), Ok(()));
        assert_eq!(charge(&admission, &guest(3), "2001:db8::3"), Err(1), "a new guest is no new address");
        assert_eq!(charge(&admission, &guest(4), "2001:db8:0:1::1"), Ok(()));
        assert_eq!(
            charge(&admission, &Caller::Anyone, "2001:db8::1"),
            Ok(()),
            "who has no token has a bucket of its own"
        );
    }

    #[test]
    fn an_address_makes_so_many_guests() {
        let admission = Admission::new(AdmissionSettings { address_new_guests: ONE, ..Default::default() });
        let make = |address: &str| admission.charge_new_guest(address.parse().ok(), NOW);
        assert_eq!((make("192.0.2.1"), make("192.0.2.1"), make("192.0.2.2")), (Ok(()), Err(1), Ok(())));
    }

    #[test]
    fn an_address_in_debt_stays_so_however_many_guests_it_makes() {
        let settings = AdmissionSettings { callers_max: 64, address_guest: ONE, ..Default::default() };
        let admission = Admission::new(settings);
        let passed =
            (0..100_000).filter(|number| charge(&admission, &Caller::Guest(GuestId(*number)), "192.0.2.1").is_ok());
        assert_eq!(passed.count(), 1);
    }
}
