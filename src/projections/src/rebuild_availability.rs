//! Rebuilds each SKU's availability from the journal: its stored state and the durable events after it, without its actor.

use super::cache::AvailabilitySnapshot;
use doorbuster_domain::any::State;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_storage::rebuild::rebuild;
use doorbuster_storage::wire::{self, Decided, HEAD, Meta, WireError};
use doorbuster_storage::{Journal, ReadError, Shard, StateRow};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// The number of entities read in one call.
const PAGE: usize = 500;

/// The snapshot of every SKU of a shard that has events, by SKU.
///
/// Memory: the shard's SKUs, some 500 bytes each, and the SKU events after the last checkpoint.
///
/// # Errors
/// [`ReadError`] when the journal cannot be read.
pub async fn of_shard<J: Journal>(journal: &J, shard: Shard) -> Result<BTreeMap<Sku, AvailabilitySnapshot>, ReadError> {
    // States are read after the tail: a checkpoint in between moves events from the tail into states, and the overlap is skipped.
    let mut tail = tail_of(journal, shard).await?;
    let mut found = BTreeMap::new();
    let mut after: Option<EntityId> = None;
    'pages: loop {
        let page = journal.entities(shard, after.as_ref(), PAGE).await?;
        let whole = page.len() >= PAGE;
        for entity in page {
            // Entities come in order, and SKUs are the first kind.
            let EntityId::Inventory(sku) = &entity else { break 'pages };
            let decisions = tail.remove(sku).unwrap_or_default();
            if let Some(snapshot) = from_rows_and_tail(journal, shard, &entity, decisions).await? {
                found.insert(sku.clone(), snapshot);
            }
            after = Some(entity);
        }
        if !whole {
            break;
        }
    }
    for (sku, decisions) in tail {
        if let Some(snapshot) = from_rows_and_tail(journal, shard, &EntityId::Inventory(sku.clone()), decisions).await?
        {
            found.insert(sku, snapshot);
        }
    }
    Ok(found)
}

/// The snapshot of one SKU, rebuilt from all its events; `None`: it has none.
///
/// # Errors
/// [`ReadError`] when the journal cannot be read.
pub async fn of_sku<J: Journal>(journal: &J, sku: &Sku) -> Result<Option<AvailabilitySnapshot>, ReadError> {
    let rebuilt = rebuild(journal, &EntityId::Inventory(sku.clone())).await?;
    Ok(snapshot_of(&rebuilt.state, rebuilt.meta))
}

/// The decisions of SKUs since the last checkpoint.
async fn tail_of<J: Journal>(journal: &J, shard: Shard) -> Result<BTreeMap<Sku, Vec<Decided>>, ReadError> {
    let unreadable = |error: WireError| ReadError::Corrupt(error.to_string());
    let mut tail: BTreeMap<Sku, Vec<Decided>> = BTreeMap::new();
    let mut records = pin!(journal.replay(shard, 1));
    while let Some(record) = records.next().await {
        let record = record?;
        if let EntityId::Inventory(sku) = wire::head(&record.body).map_err(unreadable)?.entity {
            tail.entry(sku).or_default().push(wire::decode(&record.body).map_err(unreadable)?);
        }
    }
    Ok(tail)
}

async fn from_rows_and_tail<J: Journal>(
    journal: &J,
    shard: Shard,
    entity: &EntityId,
    tail: Vec<Decided>,
) -> Result<Option<AvailabilitySnapshot>, ReadError> {
    let rows = journal.load(shard, entity).await?;
    if let Some((state, meta)) = fold(entity, &rows, &tail) {
        return Ok(snapshot_of(&state, meta));
    }
    // The snapshot may be of another version, cut off in the middle of a flush, or newer than the tail. The events alone always give the state.
    let rebuilt = rebuild(journal, entity).await?;
    Ok(snapshot_of(&rebuilt.state, rebuilt.meta))
}

/// The state of these rows with the later decisions applied; `None`: rows and decisions do not join.
fn fold(entity: &EntityId, rows: &[StateRow], tail: &[Decided]) -> Option<(State, Meta)> {
    let (mut state, mut meta) = (State::empty(entity), Meta::default());
    if !rows.is_empty() {
        let head = rows.iter().find(|row| row.chunk == HEAD)?.seq;
        if rows.iter().any(|row| row.seq > head) {
            return None;
        }
        let bodies: Vec<_> = rows.iter().map(|row| (row.chunk, row.body.clone())).collect();
        (state, meta) = wire::state_of(entity, &bodies).ok()?;
    }
    for decided in tail {
        if decided.last_number() <= meta.version {
            continue;
        }
        if decided.number != meta.version.saturating_add(1) {
            return None;
        }
        // A panic in `evolve` quarantines its entity (rule E3); it must not keep the other SKUs from being shown.
        catch_unwind(AssertUnwindSafe(|| decided.events.iter().for_each(|event| state.evolve(event)))).ok()?;
        meta.after(decided.events.len(), decided.at);
    }
    Some((state, meta))
}

fn snapshot_of(state: &State, meta: Meta) -> Option<AvailabilitySnapshot> {
    let State::Inventory(inventory) = state else { return None };
    (meta.version > 0).then(|| AvailabilitySnapshot::of(inventory.read(), meta.version))
}
