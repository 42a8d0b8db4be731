//! What the journal says of each SKU: its stored state and the durable events behind it, read without waking its actor.

use super::cache::Figures;
use doorbuster_domain::any::State;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_storage::rebuild::rebuild;
use doorbuster_storage::wire::{self, Decided, HEAD, Meta, WireError};
use doorbuster_storage::{Journal, ReadError, Shard, StateRow};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// Entities asked for at a time.
const PAGE: usize = 500;

/// The figures of every SKU of a shard that has any, by SKU.
///
/// Memory: the shard's SKUs, some 500 bytes each, and the events of SKUs behind the last checkpoint.
///
/// # Errors
/// [`ReadError`] when the journal cannot be read.
pub async fn of_shard<J: Journal>(journal: &J, shard: Shard) -> Result<BTreeMap<Sku, Figures>, ReadError> {
    // States are read after the tail: a checkpoint in between moves events from the one into the other, and what both have is skipped.
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
            if let Some(figures) = of_sku(journal, shard, &entity, decisions).await? {
                found.insert(sku.clone(), figures);
            }
            after = Some(entity);
        }
        if !whole {
            break;
        }
    }
    for (sku, decisions) in tail {
        if let Some(figures) = of_sku(journal, shard, &EntityId::Inventory(sku.clone()), decisions).await? {
            found.insert(sku, figures);
        }
    }
    Ok(found)
}

/// The figures of one SKU, from all that ever happened to it; `None`: nothing did.
///
/// # Errors
/// [`ReadError`] when the journal cannot be read.
pub async fn of_one<J: Journal>(journal: &J, sku: &Sku) -> Result<Option<Figures>, ReadError> {
    let rebuilt = rebuild(journal, &EntityId::Inventory(sku.clone())).await?;
    Ok(shown(&rebuilt.state, rebuilt.meta))
}

/// The decisions of SKUs that no checkpoint has taken in yet.
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

async fn of_sku<J: Journal>(
    journal: &J,
    shard: Shard,
    entity: &EntityId,
    tail: Vec<Decided>,
) -> Result<Option<Figures>, ReadError> {
    let rows = journal.load(shard, entity).await?;
    if let Some((state, meta)) = folded(entity, &rows, &tail) {
        return Ok(shown(&state, meta));
    }
    // Another version's snapshot, a flush that was cut off in the middle, a checkpoint between our reads: the events alone always give the state.
    let rebuilt = rebuild(journal, entity).await?;
    Ok(shown(&rebuilt.state, rebuilt.meta))
}

/// The state of these rows with the decisions behind it taken in; `None` when the two do not meet.
fn folded(entity: &EntityId, rows: &[StateRow], tail: &[Decided]) -> Option<(State, Meta)> {
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
        // A bug in `evolve` sets its entity aside (rule E3); it must not stop the others from being shown.
        catch_unwind(AssertUnwindSafe(|| decided.events.iter().for_each(|event| state.evolve(event)))).ok()?;
        meta.after(decided.events.len(), decided.at);
    }
    Some((state, meta))
}

fn shown(state: &State, meta: Meta) -> Option<Figures> {
    match state {
        State::Inventory(inventory) if meta.version > 0 => Some(Figures::of(inventory.read(), meta.version)),
        State::Inventory(_)
        | State::Cart(_)
        | State::Order(_)
        | State::Product(_)
        | State::Warehouse(_)
        | State::Reservation(_) => None,
    }
}
