//! What goes wrong on a disk in memory, and when.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with an error.
    Fail {
        /// And yet it is there: the outcome of a failed write is unknown (rules L8, O5).
        written: bool,
    },
    /// It is never answered; what becomes of it is decided at the crash.
    Hang,
}

/// A plan of faults. Writes are numbered from 1 over the life of the store; [`super::MemoryStore::appends`] says how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// By the number of the append.
    pub appends: BTreeMap<u64, Fault>,
    /// By the number of the checkpoint.
    pub checkpoints: BTreeMap<u64, Fault>,
    /// Every append takes a time between these two, drawn from the store's seed. Zero: it is done at once, and a crash never
    /// meets it in flight.
    pub append_takes: (Duration, Duration),
    /// As long on top, by the number of the append: a disk that stalls.
    pub append_stalls: BTreeMap<u64, Duration>,
    /// Every checkpoint takes so long.
    pub checkpoint_takes: Duration,
}
