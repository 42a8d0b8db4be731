//! Rebuilds a state from the journal: when its snapshot is of another version, or damaged.
//!
//! This relies on the invariant that replaying the events always gives the state.

use super::journal::{Journal, ReadError, Seq};
use super::wire::{self, Meta, WireError};
use doorbuster_domain::any::State;
use doorbuster_domain::ids::EntityId;

/// The number of records read in one call.
const PAGE: usize = 1_000;

/// A state with its metadata, and the shard's seq of its last event (0: no event).
#[derive(Debug, Clone, PartialEq)]
pub struct Rebuilt {
    /// The state of the entity.
    pub state: State,
    /// Version and times.
    pub meta: Meta,
    /// The shard's seq of its last event.
    pub seq: Seq,
}

/// Replays all events of an entity.
///
/// # Errors
/// [`ReadError`]; also when a record was written by a later version of Doorbuster, or is not the entity's next.
pub async fn rebuild<J: Journal>(journal: &J, entity: &EntityId) -> Result<Rebuilt, ReadError> {
    let shard = journal.layout().shard_of(entity);
    let unreadable = |error: WireError| ReadError::Corrupt(format!("{entity}: {error}"));
    let mut rebuilt = Rebuilt { state: State::empty(entity), meta: Meta::default(), seq: 0 };
    loop {
        let from = rebuilt.meta.version.saturating_add(1);
        let records = journal.history(shard, entity, from, PAGE).await?;
        if records.is_empty() {
            return Ok(rebuilt);
        }
        for record in records {
            let decided = wire::decode(&record.body).map_err(unreadable)?;
            let expected = rebuilt.meta.version.saturating_add(1);
            if decided.number != expected {
                let found = decided.number;
                return Err(ReadError::Corrupt(format!("{entity}: event {expected} is missing, {found} follows")));
            }
            if rebuilt.meta.version == 0 {
                rebuilt.meta.created_at = decided.at;
            }
            for event in &decided.events {
                rebuilt.state.evolve(event);
            }
            rebuilt.meta.updated_at = decided.at;
            rebuilt.meta.version = rebuilt.meta.version.saturating_add(u64::from(record.events));
            rebuilt.seq = record.last_seq();
        }
    }
}
