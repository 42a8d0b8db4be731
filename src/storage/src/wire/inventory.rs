//! A SKU's stock as it is stored: a head row, and 256 chunk rows of what is reserved and remembered.
//!
//! ```text
//! chunk 0        the head: levels, offer, count of events
//! chunk 1…256    version │ reservations, movements, requests, promises, by the first byte of the order's, request's or promise's id;
//!                overwritten whole (rule S4)
//! ```

use super::versions::Versioned;
use super::whole::{read_head_row, read_versioned, write_head, write_versioned};
use super::{Dirty, HEAD, Meta, WireError, form};
use bytes::Bytes;
use doorbuster_domain::codec::Interned;
use doorbuster_domain::inventory::{Agreed, CHUNKS, Chunk, Event, Inventory, chunk_of};

/// Marks the rows that an event changes: the head, for every event counts there, and the chunk of its order or request.
pub(super) fn touch(event: &Event, dirty: &mut Dirty) {
    dirty.mark(HEAD);
    match event {
        Event::Offered(_) | Event::WarehouseSet { .. } => {}
        Event::Received { asked, .. }
        | Event::Announced { asked, .. }
        | Event::Adjusted { asked, .. }
        | Event::Counted { asked, .. } => dirty.mark(chunk_of(asked.request.id.0)),
        Event::Reserved { order, .. }
        | Event::Kept { order, .. }
        | Event::Committed { order, .. }
        | Event::Released { order, .. }
        | Event::Forgotten { order, .. }
        | Event::Shipped { order, .. }
        | Event::Unshipped { order, .. }
        | Event::Returned { order, .. }
        | Event::MovesForgotten { order, .. } => dirty.mark(chunk_of(order.0)),
        Event::ExternalReserved { id, .. }
        | Event::ExternalExtended { id, .. }
        | Event::ExternalKept { id, .. }
        | Event::ExternalCommitted { id, .. }
        | Event::ExternalShipped { id, .. }
        | Event::ExternalReleased { id, .. } => dirty.mark(chunk_of(id.0)),
        Event::ExternalExpired { ids, .. } | Event::ExternalForgotten { ids } => {
            ids.iter().for_each(|id| dirty.mark(chunk_of(id.0)));
        }
    }
}

/// The marked rows of a state, and its head.
pub(super) fn rows_of(state: &Inventory, meta: &Meta, dirty: &Dirty) -> Vec<(u16, Bytes)> {
    let (head, ()) = form::exact(|out| {
        write_head(Inventory::newest(), meta, out);
        form::write(state, out, &mut ());
    });
    let mut rows = vec![(HEAD, head)];
    for chunk in dirty.chunks().filter(|chunk| *chunk != HEAD && *chunk <= CHUNKS) {
        let row = write_versioned(&state.chunk(chunk), Chunk::newest(), &mut Interned::<Agreed>::default());
        rows.push((chunk, row));
    }
    rows
}

/// A state from all its rows.
pub(super) fn state_of(rows: &[(u16, Bytes)]) -> Result<(Inventory, Meta), WireError> {
    let (version, meta, body) = read_head_row(rows)?;
    let head = Inventory::read_as(version, body, &mut ())?;
    let mut agreed = Interned::<Agreed>::default();
    let mut chunks: Vec<Chunk<'static>> = Vec::with_capacity(rows.len());
    for (_, row) in rows.iter().filter(|(chunk, _)| *chunk != HEAD) {
        agreed.begin_chunk();
        chunks.push(read_versioned(row, &mut agreed)?);
    }
    Ok((head.restored(chunks), meta))
}
