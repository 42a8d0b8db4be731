//! The journal on one machine: a segment log for events, `fjall` for what is derived from them.
//!
//! ```text
//! data/LOCK      one process at a time          data/LAYOUT   shards, version of the hash: fixed for ever (rule O1)
//! data/log/      events: one frame and one sync per append (rules L1 to L8)
//! data/states/   derived data: three keyspaces of one fjall database
//!     states     flushed_upto, epochs, states, agenda: one keyspace, because each is recovered on its own (rule L7)
//!     history    the facts of every event before flushed_upto; blocks in files apart, so that no merge copies them
//!     personal   personal data of states and history, apart, so that it can be erased
//! data/index/    the indexes of lists, see `crate::index`: the journal reads and writes nothing there
//! ```
//!
//! `folder`: lock and layout. `tables`: keys and rows. `history`: blocks of old records. `personal`: their personal data. `tail`: the newest records, in memory. `stored`: reads
//! over all of them. `checkpoint`: moves records from log to tables. `journal`: the owner's operations. `stopped`: reads a stopped node's folder.

mod checkpoint;
mod folder;
mod history;
mod journal;
pub mod log;
mod owned;
mod personal;
mod stopped;
mod stored;
mod tables;
mod tail;
mod upkeep;
mod writes;

pub use folder::{OpenError, index_path};
pub use journal::EmbeddedJournal;
pub use stopped::Stopped;

use crate::OnAppend;
use crate::journal::Layout;
use doorbuster_domain::time::Timestamp;
use log::{Appended, LogOptions};

/// The longest time that erased personal data may remain in the log, in milliseconds.
pub const KEEP_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;

/// The options of an [`EmbeddedJournal`].
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The layout: fixed when the folder is created, and refused when it differs (rule O1).
    pub layout: Layout,
    /// The sizes of the log.
    pub log: LogOptions,
    /// How long segments stay for audit and replay once recovery does not need them, in milliseconds. They hold personal data, so with the age of a
    /// segment at most [`KEEP_MS_MAX`] takes effect.
    pub keep_ms: u64,
    /// Memory for blocks of the tables, in bytes. Too small: states of idle entities are read from disk again and again.
    pub cache_bytes: u64,
    /// Memory of each of the three keyspaces before it is written out, in bytes. Too small: many small files to merge.
    pub memtable_bytes: u64,
    /// Memory for records after the last checkpoint, in bytes, so that the next checkpoint need not read the log. Too small: each checkpoint reads its
    /// shard's part of the log again.
    pub tail_bytes: u64,
    /// The number of threads that write out and merge tables.
    pub worker_threads: usize,
    /// The clock: it decides only when old segments are removed.
    pub now: fn() -> Timestamp,
    /// Called after each append with its length and the duration of its sync.
    pub on_append: OnAppend<Appended>,
}

impl EmbeddedOptions {
    /// Sizes for a laptop.
    #[must_use]
    pub fn new(layout: Layout, now: fn() -> Timestamp) -> Self {
        Self {
            layout,
            log: LogOptions::default(),
            keep_ms: 7 * 24 * 3_600 * 1_000,
            cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
            tail_bytes: 64 << 20,
            worker_threads: 1,
            now,
            on_append: OnAppend::default(),
        }
    }
}
