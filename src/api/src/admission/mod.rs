//! Admission: who comes in, and who is told to come back, before anything is asked on their behalf.
//!
//! ```text
//!            places (503, ours)              quota (429, theirs)
//! request ──► a place in its lane? ──► who? ──► a token in their bucket? ──► body ──► handler
//!              │ no         ▲                   │ no
//!              │            │ called            └─► Retry-After, until there is one
//!              └─► line ────┘
//!                   │ not called in time
//!                   └─► Retry-After, spread
//! ```
//!
//! `places` bounds what is inside by what is answered in time, `line` is where those wait who found no place, `quota` bounds what one caller
//! may send. Whoever finds a place waits for nothing here, allocates nothing and takes no lock; there is no timer: those who come look at the
//! clock they bring.

mod lane;
mod line;
mod pace;
mod places;
mod quota;
mod refusal;
mod settings;

pub use lane::Lane;
pub use places::Place;
pub(super) use places::Waiter;
pub use settings::{AdmissionSettings, Rate};

use super::callers::Caller;
use doorbuster_domain::time::Timestamp;
use places::Places;
use quota::Quotas;
use refusal::Refusals;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use warp::reply::Response;

impl Lane {
    const fn index(self) -> usize {
        match self {
            Self::Completion => 0,
            Self::Checkout => 1,
            Self::Cart => 2,
            Self::Browsing => 3,
        }
    }
}

/// Admission of one door.
#[derive(Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    places: Places,
    quotas: Quotas,
    refusals: Refusals,
    over_quota: AtomicU64,
    slow_bodies_bytes: AtomicU64,
}

/// A body that is on its way: its announced bytes count until it is dropped.
#[derive(Debug)]
pub struct SlowBody<'door> {
    admission: &'door Admission,
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
        Self {
            settings,
            places: Places::new(settings),
            quotas: Quotas::new(settings.callers_max),
            refusals: Refusals::new(settings.retry_after_s.saturating_add(1).max(settings.retry_after_max_s)),
            over_quota: AtomicU64::new(0),
            slow_bodies_bytes: AtomicU64::new(0),
        }
    }

    /// A place in this lane, if there is one. `patient`: the request says that it will wait for more than us (`Prefer: wait`).
    #[must_use]
    pub fn enter(&self, lane: Lane, patient: bool, now: Timestamp) -> Option<Place<'_>> {
        self.places.enter(lane, patient, now)
    }

    /// Is there room for every lane? All that is asked for a request while there is no crowd.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.places.is_open()
    }

    /// Nothing if there is room in `lane`; else a standing in line, or `Err` when the line is as long as it may be.
    pub(super) fn line_up(&self, lane: Lane, now: Timestamp) -> Result<Option<Waiter<'_>>, ()> {
        self.places.line_up(lane, now)
    }

    /// So long somebody waits in line.
    #[must_use]
    pub const fn line_wait(&self) -> Duration {
        Duration::from_millis(self.settings.line_wait_ms)
    }

    /// How many wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.waiting()
    }

    /// The answer to whoever found no place.
    #[must_use]
    pub fn no_place(&self) -> Response {
        self.refusals.overloaded(self.come_back_s())
    }

    /// What a 503 of ours says in `Retry-After`: spread, so that those who were refused together do not come back together.
    #[must_use]
    pub fn come_back_s(&self) -> u32 {
        self.places.come_back_s()
    }

    /// Takes one request off what this caller may send. Where there is no socket there is no address.
    ///
    /// # Errors
    /// The seconds until there is room for another one.
    pub fn charge(&self, caller: &Caller, address: Option<IpAddr>, now: Timestamp) -> Result<(), u32> {
        let taken = match caller {
            Caller::Seller(key) => self.quotas.take((0_u8, &key.id), self.settings.key, now),
            Caller::Guest(guest) => self.quotas.take((1_u8, guest.0), self.settings.guest, now),
            Caller::Holder(order) => self.quotas.take((2_u8, order.0), self.settings.guest, now),
            Caller::Anyone => match address {
                Some(address) => self.quotas.take((3_u8, network(address)), self.settings.address, now),
                None => Ok(()),
            },
        };
        if taken.is_err() {
            self.over_quota.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Room for a body that did not come with its head.
    #[must_use]
    pub fn slow_body(&self, bytes: u64) -> Option<SlowBody<'_>> {
        let max = self.settings.slow_bodies_bytes_max;
        let more = |all: u64| all.checked_add(bytes).filter(|all| *all <= max);
        self.slow_bodies_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(SlowBody { admission: self, bytes })
    }

    /// Requests inside.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.places.inside()
    }

    /// Places there are now.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.limit()
    }

    /// Requests of a lane that found no place.
    #[must_use]
    pub fn refused(&self, lane: Lane) -> u64 {
        self.places.refused(lane)
    }

    /// Requests that were more than their caller may send.
    #[must_use]
    pub fn over_quota(&self) -> u64 {
        self.over_quota.load(Ordering::Relaxed)
    }
}

/// Who an address is: one line has 2^64 addresses of IPv6, and is one caller.
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
    fn a_whole_network_of_one_line_is_one_caller() {
        let admission = strict();
        let from = |text: &str| admission.charge(&Caller::Anyone, Some(text.parse().unwrap()), NOW);
        assert_eq!(from("2001:db8::1"), Ok(()));
        assert_eq!(from("2001:db8::2"), Err(1));
        assert_eq!(from("2001:db8:0:1::1"), Ok(()));
        assert_eq!(from("192.0.2.1"), Ok(()));
        assert_eq!(from("::ffff:192.0.2.1"), Err(1), "the same address in another form");
        assert_eq!(from("192.0.2.2"), Ok(()));
        assert_eq!(admission.over_quota(), 2);
    }

    #[test]
    fn guests_are_counted_by_themselves_and_not_by_the_address_they_share() {
        let admission = strict();
        let office = "192.0.2.1".parse().ok();
        assert_eq!(admission.charge(&Caller::Guest(GuestId(1)), office, NOW), Ok(()));
        assert_eq!(admission.charge(&Caller::Guest(GuestId(2)), office, NOW), Ok(()));
        assert_eq!(admission.charge(&Caller::Guest(GuestId(1)), office, NOW), Err(1));
    }

    #[test]
    fn bodies_on_their_way_are_bounded_by_what_they_announced() {
        let admission = Admission::new(AdmissionSettings { slow_bodies_bytes_max: 100, ..Default::default() });
        let first = admission.slow_body(60).expect("room");
        assert!(admission.slow_body(60).is_none());
        drop(first);
        assert!(admission.slow_body(100).is_some());
    }
}
