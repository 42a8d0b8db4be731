//! The connections that have not proved the cookie yet. Their number is bounded, no address has more than its share, and the oldest gives way to the newest.
//!
//! An honest node proves the cookie within a few messages. Strangers that hold their connections would keep it out if the newest were refused: so the
//! oldest of the same address is closed when that address has its share, and the oldest of all when there are as many as there may be.

use super::guard::Guard;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Unauthenticated connections at once. Too few: nodes that all come back at once close each other's connections. Too many: memory, some 100 KB each.
const STRANGERS_MAX: usize = 256;
/// The same of one address. Too few: nodes behind one address close each other's connections. Too many: one machine has most of them.
const STRANGERS_PER_ADDRESS_MAX: usize = 32;

/// The unauthenticated connections, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    waiting: Mutex<VecDeque<(IpAddr, Weak<Guard>)>>,
}

impl Strangers {
    /// Lets a connection in. Returns whether another one was closed for it.
    pub(super) fn admit(&self, from: IpAddr, guard: &Arc<Guard>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, guard)| guard.upgrade().is_some_and(|guard| guard.is_waiting()));
        let of_address = waiting.iter().filter(|(address, _)| *address == from).count();
        let gives_way = if of_address >= STRANGERS_PER_ADDRESS_MAX {
            waiting.iter().position(|(address, _)| *address == from)
        } else {
            (waiting.len() >= STRANGERS_MAX).then_some(0)
        };
        let closed = gives_way.and_then(|oldest| waiting.remove(oldest));
        waiting.push_back((from, Arc::downgrade(guard)));
        drop(waiting);
        if let Some(guard) = closed.as_ref().and_then(|(_, guard)| guard.upgrade()) {
            guard.close();
        }
        closed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusals::Refusals;
    use std::net::Ipv4Addr;

    fn guard() -> Arc<Guard> {
        Guard::new("test#1".to_owned(), None, Arc::<Refusals>::default())
    }

    fn address(number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(number).unwrap()))
    }

    #[test]
    fn an_address_has_its_share_and_its_own_oldest_gives_way() {
        let strangers = Strangers::default();
        let other = guard();
        assert!(!strangers.admit(address(2), &other));
        let guards: Vec<_> = (0..=STRANGERS_PER_ADDRESS_MAX).map(|_| guard()).collect();
        let closed: Vec<_> = guards.iter().map(|guard| strangers.admit(address(1), guard)).collect();
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
        assert!(!guards[0].is_waiting() && guards[1].is_waiting() && other.is_waiting());
    }

    #[test]
    fn the_oldest_of_all_gives_way_and_one_that_has_proved_the_cookie_is_left_alone() {
        let strangers = Strangers::default();
        let guards: Vec<_> = (0..STRANGERS_MAX).map(|_| guard()).collect();
        for (number, guard) in guards.iter().enumerate() {
            assert!(!strangers.admit(address(number % 200), guard));
        }
        guards[0].prove();
        let first = guard();
        assert!(!strangers.admit(address(201), &first), "the one that proved the cookie is no stranger any more");
        let second = guard();
        assert!(strangers.admit(address(202), &second));
        assert!(guards[0].is_proved() && !guards[1].is_waiting() && first.is_waiting());
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let strangers = Strangers::default();
        for _ in 0..10 * STRANGERS_MAX {
            assert!(!strangers.admit(address(1), &guard()));
        }
        assert!(strangers.waiting.lock().unwrap().len() <= 1);
    }
}
