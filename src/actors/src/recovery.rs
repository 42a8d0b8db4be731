//! How a state comes back: from its stored rows, and the durable events behind them.

use doorbuster_domain::any::State;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::keyed::KeyedMap;
use doorbuster_storage::wire::{self, Decided, Dirty, Meta, WireError};
use doorbuster_storage::{Claim, Journal, ReadError, Seq, Shard, Store};
use futures_util::StreamExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use thiserror::Error;

/// Records read from an entity's history at a time.
const HISTORY_PAGE: usize = 1_024;

/// Why a state could not be brought back.
#[derive(Debug, Error)]
pub(crate) enum RecoveryError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read has no meaning.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An entity's own events are not dense: one in the middle was lost.
    #[error("{entity}: its event {found} follows its event {version}")]
    Hole {
        /// The entity.
        entity: EntityId,
        /// The number of the last event applied.
        version: u64,
        /// The number of the next event found.
        found: u64,
    },
    /// The log does not end where it ended when the shard was claimed: records were lost, or another node has claimed it since and writes.
    #[error("the log ended at {claimed} when the shard was claimed, and ends at {found} now")]
    End {
        /// Its last event when it was claimed.
        claimed: Seq,
        /// Its last event when it was read.
        found: Seq,
    },
    /// `evolve` panicked on what was journaled: a bug, and the entity must be quarantined.
    #[error("{entity}: applying its event {number} panicked")]
    Panicked {
        /// The entity.
        entity: EntityId,
        /// The event's number.
        number: u64,
    },
}

/// An entity as it was recovered.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) meta: Meta,
    /// Rows that differ from the stored ones.
    pub(crate) dirty: Dirty,
}

impl Loaded {
    /// An entity without events.
    pub(crate) fn empty(entity: &EntityId) -> Self {
        Self { state: State::empty(entity), meta: Meta::default(), dirty: Dirty::default() }
    }

    /// Applies a decision of its own; one that the stored state covers already is skipped (rule S1).
    pub(crate) fn apply(&mut self, decided: &Decided) -> Result<(), RecoveryError> {
        let last = decided.last_number();
        if last <= self.meta.version {
            return Ok(());
        }
        if decided.number != self.meta.version.saturating_add(1) {
            let entity = decided.entity.clone();
            return Err(RecoveryError::Hole { entity, version: self.meta.version, found: decided.number });
        }
        let evolved = catch_unwind(AssertUnwindSafe(|| {
            for event in &decided.events {
                self.state.evolve(event);
                wire::touch(event, &mut self.dirty);
            }
        }));
        if evolved.is_err() {
            return Err(RecoveryError::Panicked { entity: decided.entity.clone(), number: decided.number });
        }
        self.meta.after(decided.events.len(), decided.at);
        Ok(())
    }
}

/// The stored state of an entity; with `replay` also every durable event behind it. `None`: it has no events.
pub(crate) async fn load(
    store: &Store,
    shard: Shard,
    entity: &EntityId,
    replay: bool,
) -> Result<Option<Loaded>, RecoveryError> {
    let rows = store.load(shard, entity).await?;
    let mut replay = replay;
    let mut loaded = Loaded::empty(entity);
    if !rows.is_empty() {
        let rows: Vec<(u16, bytes::Bytes)> = rows.into_iter().map(|row| (row.chunk, row.body)).collect();
        match wire::state_of(entity, &rows) {
            Ok((state, meta)) => loaded = Loaded { state, meta, dirty: Dirty::default() },
            Err(WireError::Version { .. }) => {
                // Stored by another version of the product; the history has all events.
                tracing::info!(%entity, "stored state is of another version, rebuilt from history");
                replay = true;
            }
            Err(error @ WireError::Damaged { .. }) => return Err(error.into()),
        }
    }
    if replay {
        catch_up(store, shard, entity, &mut loaded).await?;
    }
    Ok((loaded.meta.version > 0).then_some(loaded))
}

/// Applies every durable event behind a state.
async fn catch_up(store: &Store, shard: Shard, entity: &EntityId, loaded: &mut Loaded) -> Result<(), RecoveryError> {
    loop {
        let from = loaded.meta.version.saturating_add(1);
        let records = store.history(shard, entity, from, HISTORY_PAGE).await?;
        let page = records.len();
        for record in records {
            loaded.apply(&wire::decode(&record.body)?)?;
        }
        if page < HISTORY_PAGE {
            return Ok(());
        }
    }
}

/// The entities with an event in the log's tail when a shard is claimed, as they are now.
pub(crate) type Tail = KeyedMap<EntityId, Result<Loaded, RecoveryError>>;

/// Folds the log's tail behind `flushed_upto` (rule S5). An entity whose events cannot be applied is kept as an error and
/// quarantined by the shard; a log that cannot be read, has a hole, or ends elsewhere than the claim found, is an error of the whole.
pub(crate) async fn fold_tail(store: &Store, claim: &Claim) -> Result<(Tail, u64), RecoveryError> {
    let (shard, mut end) = (claim.shard, claim.flushed_upto);
    let mut tail = Tail::default();
    let mut events: u64 = 0;
    let mut records = pin!(store.replay(shard, claim.flushed_upto.saturating_add(1)));
    while let Some(record) = records.next().await {
        let record = record?;
        end = end.max(record.last_seq());
        events = events.saturating_add(u64::from(record.events));
        let decided = wire::decode(&record.body)?;
        if !tail.contains_key(&decided.entity) {
            // The first event of an entity has nothing stored behind it: most of a sale's tail needs no look-up.
            let mut stored =
                if decided.number == 1 { None } else { load(store, shard, &decided.entity, false).await? };
            let known = stored.as_ref().map_or(0, |loaded| loaded.meta.version);
            if decided.number > known.saturating_add(1) {
                // It was restarting when a checkpoint moved its events into history, and gave no rows. An event that is missing in
                // history too is a hole.
                stored = load(store, shard, &decided.entity, true).await?;
            }
            let loaded = stored.unwrap_or_else(|| Loaded::empty(&decided.entity));
            tail.insert(decided.entity.clone(), Ok(loaded));
        }
        if let Some(entry) = tail.get_mut(&decided.entity)
            && let Ok(loaded) = entry
            && let Err(error) = loaded.apply(&decided)
        {
            match error {
                RecoveryError::Panicked { .. } => *entry = Err(error),
                RecoveryError::Read(_)
                | RecoveryError::Wire(_)
                | RecoveryError::Hole { .. }
                | RecoveryError::End { .. } => return Err(error),
            }
        }
    }
    if end != claim.end {
        return Err(RecoveryError::End { claimed: claim.end, found: end });
    }
    Ok((tail, events))
}
