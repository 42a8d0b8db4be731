//! Permits for requests from outside: a bound on how many a node has under way.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The permits of a node. A count and not a semaphore: no caller waits for a permit, so giving one back takes no lock.
#[derive(Debug)]
pub(crate) struct Permits {
    taken: AtomicUsize,
    max: usize,
}

/// A permit that is taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit<'router>(&'router AtomicUsize);

impl Permits {
    /// At most `max` at once.
    pub(crate) const fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    /// `None`: all are taken.
    pub(crate) fn take(&self) -> Option<Permit<'_>> {
        let more = |taken: usize| (taken < self.max).then_some(taken.saturating_add(1));
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Permit(&self.taken))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
