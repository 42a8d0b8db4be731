//! The line before the door: who found no place waits a moment for one, the newest first.
//!
//! ```text
//! no place ──► lines up ──► a place is given back: the newest of the first lane is called ──► goes in
//!                      └──► nobody called in time ──► 503
//! ```
//!
//! A refusal at once is a question asked again at once: a crowd that is refused costs the node more than the one it serves. Whoever waits here
//! costs memory and nothing else, and a connection asks one question at a time, so the crowd's own connections bound how often it can ask.
//! The newest goes first: it is the one whose caller is surely still there. In a first-come line under a lasting overload everybody is served
//! just before they give up, or just after.

use super::lane::Lane;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Those who wait, of each lane by their tickets.
type Waiting = [BTreeMap<u64, Waker>; 4];

/// The line. Whoever finds a place never touches its lock.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: Mutex<Waiting>,
    /// How many wait: what everybody who gives a place back looks at.
    length: AtomicUsize,
    tickets: AtomicU64,
}

impl Line {
    /// How many wait now.
    pub(super) fn length(&self) -> usize {
        // In one order with the count of those inside: either whoever lines up sees the place, or who gives it back sees them.
        self.length.load(Ordering::SeqCst)
    }

    /// Where somebody stands who comes now; a later one goes first.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Stands in line, or goes on standing there.
    pub(super) fn stand(&self, lane: Lane, ticket: u64, waker: &Waker) {
        let mut waiting = self.lock();
        let Some(waiting) = waiting.get_mut(lane.index()) else { return };
        match waiting.get_mut(&ticket) {
            Some(known) => known.clone_from(waker),
            None => {
                waiting.insert(ticket, waker.clone());
                self.length.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Goes away; `false`: was called before.
    pub(super) fn leave(&self, lane: Lane, ticket: u64) -> bool {
        let mut waiting = self.lock();
        let stood = waiting.get_mut(lane.index()).is_some_and(|waiting| waiting.remove(&ticket).is_some());
        if stood {
            self.length.fetch_sub(1, Ordering::SeqCst);
        }
        stood
    }

    /// Calls the newest of the first lane that has room; `false`: nobody was called.
    pub(super) fn call(&self, has_room: impl Fn(Lane) -> bool) -> bool {
        let mut waiting = self.lock();
        let called = Lane::ALL.into_iter().find_map(|lane| {
            let waiting = waiting.get_mut(lane.index()).filter(|waiting| !waiting.is_empty() && has_room(lane))?;
            waiting.pop_last()
        });
        drop(waiting);
        let Some((_, waker)) = called else { return false };
        self.length.fetch_sub(1, Ordering::SeqCst);
        waker.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lined_up(line: &Line, lane: Lane) -> (u64, Arc<Bell>) {
        let bell = Arc::new(Bell::default());
        let ticket = line.ticket();
        line.stand(lane, ticket, &Waker::from(Arc::clone(&bell)));
        (ticket, bell)
    }

    fn rung(bell: &Bell) -> usize {
        bell.0.load(Ordering::Relaxed)
    }

    #[test]
    fn the_newest_is_called_first_and_whoever_ends_an_order_before_all() {
        let line = Line::default();
        let (_, old) = lined_up(&line, Lane::Checkout);
        let (_, payment) = lined_up(&line, Lane::Completion);
        let (_, new) = lined_up(&line, Lane::Checkout);
        let mut order = Vec::new();
        while line.call(|_| true) {
            order.push([rung(&payment), rung(&new), rung(&old)]);
        }
        assert_eq!(order, [[1, 0, 0], [1, 1, 0], [1, 1, 1]]);
        assert_eq!(line.length(), 0);
    }

    #[test]
    fn a_lane_without_room_is_passed_over() {
        let line = Line::default();
        let (_, order) = lined_up(&line, Lane::Checkout);
        let (_, looks) = lined_up(&line, Lane::Browsing);
        assert!(!line.call(|lane| lane == Lane::Completion));
        assert!(line.call(|lane| lane == Lane::Browsing));
        assert_eq!((rung(&order), rung(&looks)), (0, 1));
    }

    #[test]
    fn who_went_away_is_not_called_and_who_was_called_has_gone() {
        let line = Line::default();
        let (first, gone) = lined_up(&line, Lane::Cart);
        let (second, called) = lined_up(&line, Lane::Cart);
        assert!(line.leave(Lane::Cart, first));
        assert!(line.call(|_| true) && !line.call(|_| true));
        assert!(!line.leave(Lane::Cart, second));
        assert_eq!((rung(&gone), rung(&called), line.length()), (0, 1, 0));
    }
}
