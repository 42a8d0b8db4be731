//! The wait queue of requests that found no permit: last in, first out within a priority class.
//!
//! ```text
//! no permit ──► queued ──► a permit is released: the newest of the highest class is woken ──► takes the permit
//!                     └──► not woken in time ──► 503
//! ```
//!
//! A client that is refused at once asks again at once, so refusing a crowd costs the node more than serving it. A queued request costs memory
//! and nothing else, and a connection has one request at a time, so the number of connections bounds the rate of requests. The newest request is
//! served first because its client is the most likely to be still waiting: under lasting overload a first-in-first-out queue serves every request
//! just before its client gives up, or just after.

use crate::core::priority_class::PriorityClass;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The wakers of queued requests, per priority class, by ticket.
type Waiting = [BTreeMap<u64, Waker>; 4];

/// The wait queue. A request that finds a permit never takes its lock.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    waiting: Mutex<Waiting>,
    /// Queued requests; read by every request that releases a permit.
    length: AtomicUsize,
    tickets: AtomicU64,
}

impl WaitQueue {
    /// Requests that are queued now.
    pub(super) fn length(&self) -> usize {
        // Sequentially consistent with the count of permits: either the request that queues sees the released permit, or the one that
        // releases it sees the queued request.
        self.length.load(Ordering::SeqCst)
    }

    /// A ticket for a request that arrives now; among queued requests the highest ticket is woken first.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a request, or replaces the waker of one that is queued already.
    pub(super) fn enqueue(&self, class: PriorityClass, ticket: u64, waker: &Waker) {
        let mut waiting = self.lock();
        let Some(waiting) = waiting.get_mut(class.index()) else { return };
        match waiting.get_mut(&ticket) {
            Some(known) => known.clone_from(waker),
            None => {
                waiting.insert(ticket, waker.clone());
                self.length.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Removes a request; `false`: it was woken before.
    pub(super) fn remove(&self, class: PriorityClass, ticket: u64) -> bool {
        let mut waiting = self.lock();
        let was_queued = waiting.get_mut(class.index()).is_some_and(|waiting| waiting.remove(&ticket).is_some());
        if was_queued {
            self.length.fetch_sub(1, Ordering::SeqCst);
        }
        was_queued
    }

    /// Wakes the newest request of the highest class that has room; `false`: no request was woken.
    pub(super) fn wake_one(&self, has_room: impl Fn(PriorityClass) -> bool) -> bool {
        let mut waiting = self.lock();
        let woken = PriorityClass::ALL.into_iter().find_map(|class| {
            let waiting = waiting.get_mut(class.index()).filter(|waiting| !waiting.is_empty() && has_room(class))?;
            waiting.pop_last()
        });
        drop(waiting);
        let Some((_, waker)) = woken else { return false };
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
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn queued(queue: &WaitQueue, class: PriorityClass) -> (u64, Arc<Counter>) {
        let counter = Arc::new(Counter::default());
        let ticket = queue.ticket();
        queue.enqueue(class, ticket, &Waker::from(Arc::clone(&counter)));
        (ticket, counter)
    }

    fn wakes(counter: &Counter) -> usize {
        counter.0.load(Ordering::Relaxed)
    }

    #[test]
    fn the_newest_is_woken_first_and_completion_before_all_others() {
        let queue = WaitQueue::default();
        let (_, old) = queued(&queue, PriorityClass::Checkout);
        let (_, payment) = queued(&queue, PriorityClass::Completion);
        let (_, new) = queued(&queue, PriorityClass::Checkout);
        let mut order = Vec::new();
        while queue.wake_one(|_| true) {
            order.push([wakes(&payment), wakes(&new), wakes(&old)]);
        }
        assert_eq!(order, [[1, 0, 0], [1, 1, 0], [1, 1, 1]]);
        assert_eq!(queue.length(), 0);
    }

    #[test]
    fn a_class_without_room_is_skipped() {
        let queue = WaitQueue::default();
        let (_, order) = queued(&queue, PriorityClass::Checkout);
        let (_, looks) = queued(&queue, PriorityClass::Browsing);
        assert!(!queue.wake_one(|class| class == PriorityClass::Completion));
        assert!(queue.wake_one(|class| class == PriorityClass::Browsing));
        assert_eq!((wakes(&order), wakes(&looks)), (0, 1));
    }

    #[test]
    fn a_removed_request_is_not_woken_and_a_woken_one_is_no_longer_queued() {
        let queue = WaitQueue::default();
        let (first, gone) = queued(&queue, PriorityClass::Cart);
        let (second, called) = queued(&queue, PriorityClass::Cart);
        assert!(queue.remove(PriorityClass::Cart, first));
        assert!(queue.wake_one(|_| true) && !queue.wake_one(|_| true));
        assert!(!queue.remove(PriorityClass::Cart, second));
        assert_eq!((wakes(&gone), wakes(&called), queue.length()), (0, 1, 0));
    }
}
