//! The journal on one machine: a segment log for what happened, `fjall` for what follows from it.
//!
//! ```text
//! data/LOCK      one process at a time          data/LAYOUT   shards, version of the hash: fixed for ever (rule O1)
//! data/log/      what happened: one frame and one sync per append (rules L1 to L8)
//! data/states/   what follows: three keyspaces of one fjall database
//!     states     flushed_upto, epochs, states, agenda: one keyspace, because each is recovered on its own (rule L7)
//!     history    the facts of every event before flushed_upto; blocks in files apart, so that no merge copies them
//!     personal   personal data of states and history, apart, so that it can be erased
//! ```
//!
//! `folder`: lock and layout. `tables`: keys and rows. `history`: blocks of old records. `tail`: the newest, in memory. `stored`: reading all of it.
//! `checkpoint`: moving from log to tables. `journal`: the owner's side. `stopped`: looking at a stopped node's folder.

mod checkpoint;
mod folder;
mod history;
mod journal;
pub mod log;
mod owned;
mod stopped;
mod stored;
mod tables;
mod tail;
mod writes;

pub use folder::OpenError;
pub use journal::EmbeddedJournal;
pub use stopped::Stopped;

use crate::OnAppend;
use crate::journal::Layout;
use doorbuster_domain::time::Timestamp;
use log::{Appended, LogOptions};

/// Personal data may stand in retired log segments at most so long.
pub const KEEP_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;

/// How an [`EmbeddedJournal`] is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Fixed when the folder is made, refused when it differs (rule O1).
    pub layout: Layout,
    /// Sizes of the log.
    pub log: LogOptions,
    /// How long segments stay for audit and replay once no recovery needs them; at most [`KEEP_MS_MAX`] is done, because they
    /// hold personal data.
    pub keep_ms: u64,
    /// Memory for blocks of the tables. Too small: states of idle entities are read from disk again and again.
    pub cache_bytes: u64,
    /// Memory of each of the three keyspaces before it is written out. Too small: many small files to merge.
    pub memtable_bytes: u64,
    /// Records behind the last checkpoint that are kept in memory, so that the next one need not read the log. Too small: each
    /// checkpoint reads its shard's part of the log again.
    pub tail_bytes: u64,
    /// Threads that write out and merge tables.
    pub worker_threads: usize,
    /// The clock: it decides only when old segments go.
    pub now: fn() -> Timestamp,
    /// Told of each append: its length and how long its sync took.
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
