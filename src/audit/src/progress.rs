//! How far an audit is, and how much memory it may use. Shared by the audit and those who watch it.

use super::AuditError;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Estimated memory of a state for each byte of its stored events: a decoded state is larger than its compact form.
const STATE_BYTES_PER_STORED_BYTE: u64 = 3;
/// Estimated memory of an entity apart from its state, in bytes: its places in the maps of the audit.
const ENTITY_BYTES: u64 = 256;

/// The progress of one audit and its bound on memory.
#[derive(Debug)]
pub struct Progress {
    memory_bytes_max: u64,
    memory_bytes: AtomicU64,
    events: AtomicU64,
    /// 0: not known.
    events_total: AtomicU64,
    entities: AtomicU64,
    entities_checked: AtomicU64,
    /// 0: not known before all events are read.
    entities_to_check: AtomicU64,
}

/// [`Progress`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProgressShown {
    /// Events read so far.
    pub events: u64,
    /// Events to read; `None`: not known, as where nodes share the journal.
    pub events_total: Option<u64>,
    /// Entities found so far.
    pub entities: u64,
    /// Orders, reservations and SKUs whose laws are checked already.
    pub entities_checked: u64,
    /// Orders, reservations and SKUs to check; `None` until all events are read.
    pub entities_to_check: Option<u64>,
    /// Estimated memory of the audit, in bytes.
    pub memory_bytes: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Progress {
    /// An audit that ends with [`AuditError::TooLarge`] before it uses more memory than this, in bytes, by its own estimate.
    #[must_use]
    pub const fn new(memory_bytes_max: u64) -> Self {
        Self {
            memory_bytes_max,
            memory_bytes: AtomicU64::new(0),
            events: AtomicU64::new(0),
            events_total: AtomicU64::new(0),
            entities: AtomicU64::new(0),
            entities_checked: AtomicU64::new(0),
            entities_to_check: AtomicU64::new(0),
        }
    }

    /// The figures now.
    #[must_use]
    pub fn shown(&self) -> ProgressShown {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let known = |figure: u64| (figure > 0).then_some(figure);
        ProgressShown {
            events: of(&self.events),
            events_total: known(of(&self.events_total)),
            entities: of(&self.entities),
            entities_checked: of(&self.entities_checked),
            entities_to_check: known(of(&self.entities_to_check)),
            memory_bytes: of(&self.memory_bytes),
        }
    }

    /// Counts memory of this many bytes.
    ///
    /// # Errors
    /// [`AuditError::TooLarge`]: the bound is reached.
    pub fn take_memory(&self, bytes: u64) -> Result<(), AuditError> {
        let used = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.memory_bytes_max {
            return Err(AuditError::TooLarge { memory_bytes_max: self.memory_bytes_max, events: self.shown().events });
        }
        Ok(())
    }

    pub(super) fn read_events(&self, events: u32) {
        self.events.fetch_add(u64::from(events), Ordering::Relaxed);
    }

    pub(super) fn events_total(&self, events: u64) {
        self.events_total.store(events, Ordering::Relaxed);
    }

    /// An entity that was not seen before.
    pub(super) fn found_entity(&self) -> Result<(), AuditError> {
        self.entities.fetch_add(1, Ordering::Relaxed);
        self.take_memory(ENTITY_BYTES)
    }

    /// Stored events that became part of a state.
    pub(super) fn grew_state(&self, stored_bytes: usize) -> Result<(), AuditError> {
        let stored_bytes = u64::try_from(stored_bytes).unwrap_or(u64::MAX);
        self.take_memory(stored_bytes.saturating_mul(STATE_BYTES_PER_STORED_BYTE))
    }

    pub(super) fn begin_checks(&self, entities: usize) {
        self.entities_to_check.store(u64::try_from(entities).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn checked_entity(&self) {
        self.entities_checked.fetch_add(1, Ordering::Relaxed);
    }
}
