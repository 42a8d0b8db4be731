//! What the read models count; the operator's metrics read it.

use std::sync::atomic::{AtomicU64, Ordering};

/// All counters of a node's read models.
#[derive(Debug, Default)]
pub struct Counts {
    /// Figures put, newer or not.
    pub put: AtomicU64,
    /// Figures that found no room to wait in; the SKU's next change, or the next filling, brings them.
    pub put_dropped: AtomicU64,
    /// Calls to put that failed; they are made again.
    pub put_failed: AtomicU64,
    /// Look-ups of figures carried out.
    pub looked_up: AtomicU64,
    /// Look-ups that found no room to wait in: the SKU itself was asked.
    pub look_up_dropped: AtomicU64,
    /// Calls to look up that failed.
    pub look_up_failed: AtomicU64,
    /// Events published.
    pub published: AtomicU64,
    /// Rounds of publishing that failed; they are made again.
    pub publish_failed: AtomicU64,
    /// Streams found behind where they had been: emptied, and filled again from the journal.
    pub streams_refilled: AtomicU64,
    /// Times the cache was found empty and filled again from the journal.
    pub refilled: AtomicU64,
    /// Fillings that failed; they are made again.
    pub refill_failed: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, so_many: u64) {
    counter.fetch_add(so_many, Ordering::Relaxed);
}

impl Counts {
    /// A filling of the whole cache has ended.
    pub fn refilled(&self, whole: bool) {
        count(if whole { &self.refilled } else { &self.refill_failed }, 1);
    }

    /// Name, what it counts, value.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            ("projection_puts", "figures of SKUs sent to the cache", read(&self.put)),
            ("projection_puts_dropped", "figures dropped for want of room", read(&self.put_dropped)),
            ("projection_puts_failed", "calls to the cache that failed and are made again", read(&self.put_failed)),
            ("projection_look_ups", "figures looked up in the cache", read(&self.looked_up)),
            ("projection_look_ups_dropped", "look-ups dropped for want of room", read(&self.look_up_dropped)),
            ("projection_look_ups_failed", "look-ups that failed", read(&self.look_up_failed)),
            ("projection_events_published", "events sent to the streams", read(&self.published)),
            ("projection_publish_failed", "rounds of publishing that failed", read(&self.publish_failed)),
            ("projection_streams_refilled", "streams found emptied", read(&self.streams_refilled)),
            ("projection_cache_refilled", "times the cache was found emptied and filled", read(&self.refilled)),
            ("projection_cache_refill_failed", "fillings of the cache that failed", read(&self.refill_failed)),
        ]
    }
}
