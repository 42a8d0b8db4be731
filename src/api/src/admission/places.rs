//! The places at the door: a request takes one before anything is asked for it, and gives it back with its answer.
//!
//! ```text
//! 0 ──────────────── browsing ──── cart ─────────── checkout ── completion = all places
//!   anybody            └ reserved for cart and above ┘   └ …      └ only what ends sagas
//! ```
//!
//! One count, four marks: a lane may take a place while fewer than its mark are taken. So a lower lane never takes the last places of a
//! higher one, and what a higher lane does not use is not lost. For whoever finds a place it is atomics only; the others stand in the
//! [line](super::line).

use super::lane::Lane;
use super::line::Line;
use super::pace::{Looks, Seen, places_for};
use super::settings::AdmissionSettings;
use doorbuster_domain::time::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Keeps what every request writes apart from what it only reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Busy {
    inside: AtomicUsize,
    answered: AtomicU64,
}

/// Places, and how many of them each lane may fill.
#[derive(Debug)]
pub(super) struct Places {
    settings: AdmissionSettings,
    busy: Busy,
    patient: AtomicUsize,
    refused: [AtomicU64; 4],
    /// Places there are now.
    limit: AtomicUsize,
    /// Up to so many taken places each lane may take one more.
    marks: [AtomicUsize; 4],
    /// Over so many seconds those who were refused are spread.
    spread_s: AtomicU32,
    tickets: AtomicU32,
    looked_at_ms: AtomicU64,
    looks: Mutex<Looks>,
    /// Those who wait for a place.
    line: Line,
}

/// A place that is taken; dropping it gives it back.
#[derive(Debug)]
pub struct Place<'door> {
    places: &'door Places,
    lane: Lane,
    patient: bool,
    answered: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.busy.inside.fetch_sub(1, Ordering::SeqCst);
        if self.patient {
            self.places.patient.fetch_sub(1, Ordering::Relaxed);
        } else if self.answered {
            self.places.busy.answered.fetch_add(1, Ordering::Relaxed);
        }
        if self.places.line.length() > 0 {
            self.places.line.call(|lane| self.places.has_room(lane));
        }
    }
}

/// One that stands in line; dropping it goes away.
#[derive(Debug)]
pub(crate) struct Waiter<'door> {
    places: &'door Places,
    lane: Lane,
    ticket: u64,
    standing: bool,
}

impl Waiter<'_> {
    /// Ready once there is room. Nobody else is held back for it: whoever is ready takes the place at once, or stands in line again.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.places.has_room(self.lane) {
            self.places.line.stand(self.lane, self.ticket, context.waker());
            self.standing = true;
            // Looked at once more: a place that was given back before we stood there called nobody.
            if !self.places.has_room(self.lane) {
                return Poll::Pending;
            }
        }
        if std::mem::take(&mut self.standing) {
            self.places.line.leave(self.lane, self.ticket);
        }
        Poll::Ready(())
    }

    /// Nobody called in time.
    pub(crate) fn gives_up(self) {
        self.places.refuse(self.lane);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.standing && !self.places.line.leave(self.lane, self.ticket) {
            // Called, and gone all the same: the place is the next one's.
            self.places.line.call(|lane| self.places.has_room(lane));
        }
    }
}

impl Place<'_> {
    /// Further inside there was no room after all: that was no answer, and says nothing of the node's pace.
    pub fn turned_away(mut self) {
        self.answered = false;
        self.places.refuse(self.lane);
    }

    /// Given back before there is an answer: the request waits for its own body, and then asks for another place.
    pub fn leave(mut self) {
        self.answered = false;
    }
}

impl Places {
    pub(super) fn new(settings: AdmissionSettings) -> Self {
        let places = Self {
            settings,
            busy: Busy::default(),
            patient: AtomicUsize::new(0),
            refused: Default::default(),
            limit: AtomicUsize::new(0),
            marks: Default::default(),
            spread_s: AtomicU32::new(2),
            tickets: AtomicU32::new(0),
            looked_at_ms: AtomicU64::new(0),
            looks: Mutex::default(),
            line: Line::default(),
        };
        places.set(settings.places_start.max(settings.places_min).min(settings.places_max));
        places
    }

    /// A place in `lane`, if there is one. `patient`: the request says that it waits for more than us.
    pub(super) fn enter(&self, lane: Lane, patient: bool, now: Timestamp) -> Option<Place<'_>> {
        self.look(now);
        let mark = self.mark(lane);
        let more = |inside: usize| (inside < mark).then_some(inside.saturating_add(1));
        if self.busy.inside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            self.refuse(lane);
            return None;
        }
        if patient {
            self.patient.fetch_add(1, Ordering::Relaxed);
        }
        Some(Place { places: self, lane, patient, answered: true })
    }

    /// Is there room for every lane? All that a node which is not crowded asks.
    pub(super) fn is_open(&self) -> bool {
        self.has_room(Lane::Browsing)
    }

    /// Nothing if there is room in `lane`; else a standing in line, or `Err` when the line is as long as it may be.
    pub(super) fn line_up(&self, lane: Lane, now: Timestamp) -> Result<Option<Waiter<'_>>, ()> {
        self.look(now);
        if self.has_room(lane) {
            return Ok(None);
        }
        if self.settings.line_wait_ms == 0 || self.line.length() >= self.settings.line_max {
            self.refuse(lane);
            return Err(());
        }
        Ok(Some(Waiter { places: self, lane, ticket: self.line.ticket(), standing: false }))
    }

    /// How many wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.line.length()
    }

    fn has_room(&self, lane: Lane) -> bool {
        self.busy.inside.load(Ordering::SeqCst) < self.mark(lane)
    }

    /// After so many seconds those who are refused now should come back: not all at once, and the later the more there are of them.
    pub(super) fn come_back_s(&self) -> u32 {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let spread = self.spread_s.load(Ordering::Relaxed).max(1);
        self.settings.retry_after_s.saturating_add(ticket % spread)
    }

    fn refuse(&self, lane: Lane) {
        if let Some(refused) = self.refused.get(lane.index()) {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mark(&self, lane: Lane) -> usize {
        self.marks.get(lane.index()).map_or(0, |mark| mark.load(Ordering::Relaxed))
    }

    /// Once per window one of those who come looks how it goes.
    fn look(&self, now: Timestamp) {
        let last = self.looked_at_ms.load(Ordering::Relaxed);
        // A clock that was set back counts as a window that is over, or nobody would look for as long as it was set back.
        let elapsed_ms = now.0.checked_sub(last).unwrap_or(self.settings.delay_window_ms);
        if elapsed_ms < self.settings.delay_window_ms
            || self.looked_at_ms.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        // Only the winner of a window gets here; should the one before still be at it, this window is left out. Nobody waits.
        let Ok(mut looks) = self.looks.try_lock() else { return };
        let change = looks.look(self.busy.answered.load(Ordering::Relaxed), self.refused_all(), elapsed_ms);
        let patient = self.patient.load(Ordering::Relaxed);
        let places = self.limit.load(Ordering::Relaxed);
        let seen = Seen {
            places,
            quick: self.inside().saturating_sub(patient),
            patient,
            answers_per_s: change.answers_per_s,
            refused: change.refused > 0 || self.line.length() > 0,
        };
        let wanted = places_for(&self.settings, &seen);
        self.set(wanted);
        // Places that nobody gave back are there, too.
        for _ in places..wanted {
            if !self.line.call(|lane| self.has_room(lane)) {
                break;
            }
        }
        let longest = self.settings.retry_after_max_s.saturating_sub(self.settings.retry_after_s);
        let times = u32::try_from(change.refused / change.answered.max(1)).unwrap_or(u32::MAX);
        self.spread_s.store(times.saturating_add(2).min(longest.saturating_add(1)), Ordering::Relaxed);
    }

    fn set(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        for (mark, value) in self.marks.iter().zip(marks_of(&self.settings, limit)) {
            mark.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn inside(&self) -> usize {
        self.busy.inside.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self, lane: Lane) -> u64 {
        self.refused.get(lane.index()).map_or(0, |refused| refused.load(Ordering::Relaxed))
    }

    fn refused_all(&self) -> u64 {
        Lane::ALL.into_iter().map(|lane| self.refused(lane)).fold(0, u64::saturating_add)
    }
}

/// How full it may be for each lane, in the order of the lanes.
fn marks_of(settings: &AdmissionSettings, limit: usize) -> [usize; 4] {
    let kept = |percent: u8| limit.saturating_mul(usize::from(percent)) / 100;
    let checkout = limit.saturating_sub(kept(settings.completion_reserved_percent));
    let cart = checkout.saturating_sub(kept(settings.checkout_reserved_percent));
    let browsing = cart.saturating_sub(kept(settings.cart_reserved_percent));
    [limit, checkout, cart, browsing]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixed(limit: usize) -> Places {
        let settings =
            AdmissionSettings { places_start: limit, places_min: limit, places_max: limit, ..Default::default() };
        Places::new(settings)
    }

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn browsing_never_takes_the_last_places_of_a_checkout() {
        let places = fixed(100);
        let mut taken = Vec::new();
        for (lane, room) in [(Lane::Browsing, 50), (Lane::Cart, 20), (Lane::Checkout, 25), (Lane::Completion, 5)] {
            for _ in 0..room {
                taken.push(places.enter(lane, false, NOW).expect("room of its own"));
            }
            assert!(places.enter(lane, false, NOW).is_none(), "{lane:?} has filled its part");
        }
        assert_eq!((places.inside(), places.refused(Lane::Browsing)), (100, 1));
        drop(taken);
        assert_eq!(places.inside(), 0);
    }

    #[test]
    fn what_a_higher_lane_leaves_is_not_lost_to_itself() {
        let places = fixed(100);
        let taken: Vec<_> = (0..95).map_while(|_| places.enter(Lane::Checkout, false, NOW)).collect();
        assert_eq!(taken.len(), 95);
        assert!(places.enter(Lane::Checkout, false, NOW).is_none());
        assert!(places.enter(Lane::Completion, false, NOW).is_some(), "a webhook still comes in");
    }

    #[test]
    fn those_who_are_refused_do_not_come_back_at_once_and_not_together() {
        let places =
            Places::new(AdmissionSettings { places_start: 4, places_min: 4, places_max: 4, ..Default::default() });
        let inside: Vec<_> = (0..4).map(|_| places.enter(Lane::Completion, false, NOW)).collect();
        for _ in 0..40 {
            assert!(places.enter(Lane::Checkout, false, NOW).is_none());
        }
        drop(inside);
        // Ten were refused for each that was answered: they are spread over as many seconds as are allowed.
        drop(places.enter(Lane::Checkout, false, Timestamp(NOW.0 + 200)));
        let told: std::collections::BTreeSet<u32> = (0..100).map(|_| places.come_back_s()).collect();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    fn poll(waiter: &mut Waiter<'_>) -> bool {
        waiter.poll_room(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    fn lined_up(places: &Places) -> Waiter<'_> {
        let mut waiter = places.line_up(Lane::Checkout, NOW).expect("the line is short").expect("no place is left");
        assert!(!poll(&mut waiter));
        waiter
    }

    #[test]
    fn who_is_called_and_goes_away_leaves_the_place_to_the_next() {
        let places = fixed(1);
        let place = places.enter(Lane::Completion, false, NOW);
        // Marks are whole numbers: of one place all four lanes may take it.
        let (mut old, new) = (lined_up(&places), lined_up(&places));
        drop(place);
        assert_eq!(places.waiting(), 1, "the newest was called");
        drop(new);
        assert_eq!(places.waiting(), 0, "and the next one in its stead");
        assert!(poll(&mut old));
    }

    #[test]
    fn who_is_called_too_late_stands_in_line_again() {
        let places = fixed(1);
        let place = places.enter(Lane::Checkout, false, NOW);
        let mut waiter = lined_up(&places);
        drop(place);
        let quicker = places.enter(Lane::Checkout, false, NOW).expect("nothing is kept free for whoever was called");
        assert!(!poll(&mut waiter));
        assert_eq!(places.waiting(), 1);
        drop(quicker);
        assert!(poll(&mut waiter));
        drop(waiter);
        assert_eq!(places.waiting(), 0);
    }

    #[test]
    fn places_that_are_added_are_called_out() {
        let settings =
            AdmissionSettings { places_start: 100, places_min: 100, places_max: 1_000, ..Default::default() };
        let places = Places::new(settings);
        let mut inside: Vec<_> = (0..95).map_while(|_| places.enter(Lane::Checkout, false, NOW)).collect();
        let waiting: Vec<_> = std::iter::from_fn(|| (places.waiting() < 4).then(|| lined_up(&places))).collect();
        // A good pace, and nobody was refused: that some wait says that more are wanted.
        for _ in 0..100 {
            drop(places.enter(Lane::Completion, false, NOW));
        }
        inside.extend(places.enter(Lane::Completion, false, Timestamp(NOW.0 + 100)));
        assert!(places.limit() > 100, "{}", places.limit());
        assert_eq!(places.waiting(), 0, "nobody gave a place back, and all four were called");
        drop(waiting);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_looking() {
        let settings =
            AdmissionSettings { places_start: 1_000, places_min: 10, places_max: 1_000, ..Default::default() };
        let places = Places::new(settings);
        let crowd: Vec<_> = (0..900).map(|_| places.enter(Lane::Checkout, false, NOW)).collect();
        for step in 1..20 {
            // One answer a look, and an hour earlier.
            drop(places.enter(Lane::Checkout, false, Timestamp(500_000 + step * 100)));
        }
        assert!(places.limit() < 1_000, "{}", places.limit());
        drop(crowd);
    }

    proptest! {
        #[test]
        fn the_marks_fall_from_lane_to_lane_and_each_keeps_its_part(
            limit in 0_usize..100_000, completion in 0_u8..=30, checkout in 0_u8..=30, cart in 0_u8..=30,
        ) {
            let settings = AdmissionSettings {
                completion_reserved_percent: completion, checkout_reserved_percent: checkout, cart_reserved_percent: cart,
                ..Default::default()
            };
            let [all, second, third, fourth] = marks_of(&settings, limit);
            prop_assert!(all == limit && all >= second && second >= third && third >= fourth);
            prop_assert_eq!(second - third, limit * usize::from(checkout) / 100);
            prop_assert!(limit == 0 || fourth > 0, "nobody is shut out for good");
        }

        /// Any order of coming and going: the count is exact, no lane passes its mark, and a refusal was one because the mark was reached.
        #[test]
        fn whatever_comes_and_goes_no_lane_passes_its_mark(steps in proptest::collection::vec((0_usize..5, 0_usize..64), 1..400)) {
            let places = fixed(40);
            let marks = marks_of(&places.settings, 40);
            let mut inside = Vec::new();
            for (what, which) in steps {
                if let Some(lane) = Lane::ALL.get(what) {
                    let before = inside.len();
                    match places.enter(*lane, which % 2 == 0, NOW) {
                        Some(place) => { prop_assert!(before < marks[what]); inside.push(place); }
                        None => prop_assert!(before >= marks[what]),
                    }
                } else if !inside.is_empty() {
                    drop(inside.swap_remove(which % inside.len()));
                }
                prop_assert_eq!(places.inside(), inside.len());
            }
        }
    }
}
