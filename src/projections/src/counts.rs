//! Counters of the read models, for the operator's metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a node's read models, since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Snapshots sent to the cache, newer or not.
    pub put: AtomicU64,
    /// Snapshots dropped because too many SKUs were pending; the SKU's next change, or the next fill, brings them.
    pub put_dropped: AtomicU64,
    /// Failed calls to put; they are repeated.
    pub put_failed: AtomicU64,
    /// SKUs looked up.
    pub looked_up: AtomicU64,
    /// Lookups dropped because the queue was full; the SKU itself was asked.
    pub look_up_dropped: AtomicU64,
    /// Failed calls to look up.
    pub look_up_failed: AtomicU64,
    /// Events published to streams.
    pub published: AtomicU64,
    /// Failed publishing rounds; they are repeated.
    pub publish_failed: AtomicU64,
    /// Streams that were found emptied and are published again from the journal.
    pub streams_refilled: AtomicU64,
    /// Times the cache was found emptied and filled from the journal.
    pub refilled: AtomicU64,
    /// Failed fills; they are repeated.
    pub refill_failed: AtomicU64,
    /// Records that the indexes of lists have followed.
    pub projected: AtomicU64,
    /// Shards that an index could not follow in a round; the next round tries again.
    pub project_failed: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counts {
    /// Counts the end of a fill.
    pub fn refilled(&self, whole: bool) {
        count(if whole { &self.refilled } else { &self.refill_failed }, 1);
    }

    /// Name, description and value of each counter.
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
            ("projection_records_followed", "records that the indexes of lists have followed", read(&self.projected)),
            (
                "projection_follow_failed",
                "rounds in which an index could not follow a shard",
                read(&self.project_failed),
            ),
        ]
    }
}
