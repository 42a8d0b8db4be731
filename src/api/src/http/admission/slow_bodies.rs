//! The memory of request bodies that did not arrive with their heads.
//!
//! A body is charged for the bytes that have arrived, as they arrive: an announced length costs nothing. One address may have a part of all of it, so
//! that one machine cannot keep the bodies of others out. Only slow bodies get here, so the lock is off the way of ordinary requests, and the table
//! has no more entries than there are slow bodies.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why there is no room for more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// All bodies together have as many bytes as they may.
    ForAll,
    /// Those of this address have.
    ForAddress,
}

/// Bytes that have arrived of bodies that are not whole.
#[derive(Debug)]
pub(super) struct SlowBodies {
    bytes_max: u64,
    address_bytes_max: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    by_address: HashMap<u128, u64>,
}

/// A body that is not whole; dropping it gives its bytes back.
#[derive(Debug)]
pub(crate) struct SlowBody<'a> {
    bodies: &'a SlowBodies,
    /// `None`: it counts for no address.
    address: Option<u128>,
    bytes: u64,
}

impl SlowBodies {
    /// At most `bytes_max` bytes, and of one address at most this part of them in percent; 0: no bound for an address.
    pub(super) fn new(bytes_max: u64, address_percent: u8) -> Self {
        let share = bytes_max.saturating_mul(u64::from(address_percent)) / 100;
        let address_bytes_max = if address_percent == 0 { u64::MAX } else { share };
        Self { bytes_max, address_bytes_max, held: Mutex::default() }
    }

    /// A body of which nothing has arrived.
    pub(super) const fn begin(&self, address: Option<u128>) -> SlowBody<'_> {
        SlowBody { bodies: self, address, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlowBody<'_> {
    /// Charges it for `bytes` that have arrived so far.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut held = self.bodies.lock();
        let all = held.bytes.saturating_add(more);
        if all > self.bodies.bytes_max {
            return Err(NoRoom::ForAll);
        }
        if let Some(address) = self.address {
            let of_address = held.by_address.get(&address).copied().unwrap_or(0).saturating_add(more);
            if of_address > self.bodies.address_bytes_max {
                return Err(NoRoom::ForAddress);
            }
            held.by_address.insert(address, of_address);
        }
        held.bytes = all;
        drop(held);
        self.bytes = self.bytes.saturating_add(more);
        Ok(())
    }
}

impl Drop for SlowBody<'_> {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.bodies.lock();
        held.bytes = held.bytes.saturating_sub(self.bytes);
        if let Some(address) = self.address
            && let Some(of_address) = held.by_address.get_mut(&address)
        {
            *of_address = of_address.saturating_sub(self.bytes);
            if *of_address == 0 {
                held.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_is_charged_and_given_back() {
        let bodies = SlowBodies::new(100, 0);
        let mut first = bodies.begin(Some(1));
        let announced: Vec<_> = (0..1_000).map(|_| bodies.begin(Some(1))).collect();
        assert_eq!(first.grow_to(60), Ok(()), "a thousand announcements take nothing");
        let mut second = bodies.begin(Some(2));
        assert_eq!(second.grow_to(41), Err(NoRoom::ForAll));
        assert_eq!(second.grow_to(40), Ok(()));
        drop((first, announced));
        assert_eq!(second.grow_to(100), Ok(()));
        drop(second);
        let held = bodies.lock();
        assert_eq!((held.bytes, held.by_address.len()), (0, 0));
    }

    #[test]
    fn one_address_has_its_share_and_no_more() {
        let bodies = SlowBodies::new(100, 10);
        let (mut one, mut other) = (bodies.begin(Some(1)), bodies.begin(Some(1)));
        assert_eq!(one.grow_to(6), Ok(()));
        assert_eq!(other.grow_to(5), Err(NoRoom::ForAddress));
        assert_eq!(bodies.begin(Some(2)).grow_to(10), Ok(()), "another address has its own");
        assert_eq!(bodies.begin(None).grow_to(90), Ok(()), "what counts for no address has what is left");
    }
}
