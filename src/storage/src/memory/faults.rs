//! The faults of a store in memory.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It returns an error and has no effect.
    Fail {
        /// It returns an error and takes effect: the outcome of a failed write is unknown (rules L8, O5).
        written: bool,
    },
    /// It never returns; the crash decides whether it takes effect.
    Hang,
}

/// A plan of faults. Writes are numbered from 1 over the life of the store; [`super::MemoryStore::appends`] gives the current number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// Faults by the number of the append.
    pub appends: BTreeMap<u64, Fault>,
    /// Faults by the number of the checkpoint.
    pub checkpoints: BTreeMap<u64, Fault>,
    /// The shortest and the longest duration of an append, drawn from the store's seed. Zero: an append completes at once, and no crash meets it in
    /// flight.
    pub append_takes: (Duration, Duration),
    /// An additional duration by the number of the append: a disk that stalls.
    pub append_stalls: BTreeMap<u64, Duration>,
    /// The duration of every checkpoint.
    pub checkpoint_takes: Duration,
    /// A load takes so long, by its number; its answer is what was stored when it began. Others take no time.
    pub load_stalls: BTreeMap<u64, Duration>,
}
