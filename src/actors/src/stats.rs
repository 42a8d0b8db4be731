//! The counters of the actors; the operator's metrics read them.

use doorbuster_domain::payment::ProviderAnswer;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of a time histogram, in microseconds.
pub const TIME_BOUNDS_US: [u64; 16] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600, 819_200, 1_638_400,
];
/// Upper bounds of the buckets of a size histogram.
pub const SIZE_BOUNDS: [u64; 14] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192];

/// A histogram with fixed bounds: counts per bucket (not cumulative), the last one open, and the sum.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: [u64; N]) -> Self {
        Self { bounds, counts: [const { AtomicU64::new(0) }; N], above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub fn record(&self, value: u64) {
        self.sum.fetch_add(value, Ordering::Relaxed);
        let bucket = self.bounds.iter().position(|bound| value <= *bound).and_then(|index| self.counts.get(index));
        bucket.unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
    }

    /// Cumulative counts by upper bound, then the count of all, and the sum.
    #[must_use]
    pub fn read(&self) -> (Vec<(u64, u64)>, u64, u64) {
        let mut total: u64 = 0;
        let mut buckets = Vec::with_capacity(N);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total = total.saturating_add(count.load(Ordering::Relaxed));
            buckets.push((*bound, total));
        }
        total = total.saturating_add(self.above.load(Ordering::Relaxed));
        (buckets, total, self.sum.load(Ordering::Relaxed))
    }
}

/// All counters of a node.
#[derive(Debug)]
pub struct Stats {
    log_queue: AtomicUsize,
    effects: AtomicUsize,
    residents: AtomicI64,
    /// Records per batch.
    pub batch_records: Histogram<14>,
    /// Microseconds an append took: write and sync.
    pub append_us: Histogram<16>,
    /// Microseconds the sync alone took.
    pub sync_us: Histogram<16>,
    /// Microseconds from a request to its durable answer.
    pub ask_us: Histogram<16>,
    log_bytes: AtomicU64,
    busy: AtomicU64,
    late: AtomicU64,
    gone: AtomicU64,
    absent: AtomicU64,
    without_owner: AtomicU64,
    panics: AtomicU64,
    restarts: AtomicU64,
    quarantines: AtomicU64,
    checkpoints: AtomicU64,
    provider_definite: AtomicU64,
    provider_unknown: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            log_queue: AtomicUsize::new(0),
            effects: AtomicUsize::new(0),
            residents: AtomicI64::new(0),
            batch_records: Histogram::new(SIZE_BOUNDS),
            append_us: Histogram::new(TIME_BOUNDS_US),
            sync_us: Histogram::new(TIME_BOUNDS_US),
            ask_us: Histogram::new(TIME_BOUNDS_US),
            log_bytes: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            late: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            absent: AtomicU64::new(0),
            without_owner: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            quarantines: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            provider_definite: AtomicU64::new(0),
            provider_unknown: AtomicU64::new(0),
        }
    }
}

impl Stats {
    pub(crate) fn log_queue_entered(&self) {
        self.log_queue.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn log_queue_left(&self, count: usize) {
        self.log_queue.fetch_sub(count, Ordering::Relaxed);
    }
    /// Submissions that wait for the log.
    #[must_use]
    pub fn log_queue(&self) -> usize {
        self.log_queue.load(Ordering::Relaxed)
    }
    pub(crate) fn effect_waits(&self) {
        self.effects.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn effect_left(&self) {
        self.effects.fetch_sub(1, Ordering::Relaxed);
    }
    /// Commands from one entity to another that wait for it on this node.
    #[must_use]
    pub fn effects_waiting(&self) -> usize {
        self.effects.load(Ordering::Relaxed)
    }
    pub(crate) fn resident(&self, change: i64) {
        self.residents.fetch_add(change, Ordering::Relaxed);
    }
    pub(crate) fn appended(&self, records: usize, took: Duration) {
        self.batch_records.record(u64::try_from(records).unwrap_or(u64::MAX));
        self.append_us.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    /// The log wrote a frame of `bytes` and synced it within `nanos` nanoseconds.
    pub fn synced(&self, bytes: u64, nanos: u64) {
        self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.sync_us.record(nanos.checked_div(1_000).unwrap_or(0));
    }
    pub(crate) fn answered(&self, took: Duration) {
        self.ask_us.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    pub(crate) fn refused_busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }
    /// A request met no owner and is sent again.
    pub(crate) fn met_no_owner(&self) {
        self.without_owner.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn rejected_absent(&self) {
        self.absent.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn dropped_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn dropped_gone(&self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn quarantined(&self) {
        self.quarantines.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn checkpointed(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn provider_answered(&self, answer: &ProviderAnswer) {
        let settled = !matches!(answer, ProviderAnswer::Unknown | ProviderAnswer::NotFound);
        let counter = if settled { &self.provider_definite } else { &self.provider_unknown };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The plain counters and gauges: name, meaning, whether it is a gauge, value.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, &'static str, bool, i64)> {
        let count = |counter: &AtomicU64| i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let depth = i64::try_from(self.log_queue()).unwrap_or(i64::MAX);
        vec![
            ("log_queue_depth", "submissions that wait for the log", true, depth),
            (
                "effects_waiting",
                "commands of one entity to another that wait for it",
                true,
                i64::try_from(self.effects_waiting()).unwrap_or(i64::MAX),
            ),
            ("entities_resident", "entities with an actor", true, self.residents.load(Ordering::Relaxed)),
            ("log_bytes", "bytes written to the log", false, count(&self.log_bytes)),
            ("refused_busy", "requests refused because a queue was full", false, count(&self.busy)),
            ("dropped_late", "commands dropped at dequeue, past their deadline", false, count(&self.late)),
            ("dropped_gone", "commands dropped at dequeue, whose caller had gone", false, count(&self.gone)),
            (
                "asked_again",
                "requests that met no owner of their shard and were sent again",
                false,
                count(&self.without_owner),
            ),
            ("refused_at_the_door", "sold out, answered without the journal", false, count(&self.absent)),
            ("decide_panics", "commands whose decision panicked", false, count(&self.panics)),
            ("entity_restarts", "entities that failed", false, count(&self.restarts)),
            ("entities_set_aside", "entities that kept failing and were quarantined", false, count(&self.quarantines)),
            ("checkpoints", "checkpoints stored", false, count(&self.checkpoints)),
            ("provider_answers", "definite answers of the provider", false, count(&self.provider_definite)),
            ("provider_unknown", "provider calls whose outcome is not known", false, count(&self.provider_unknown)),
        ]
    }
}
