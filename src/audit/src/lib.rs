//! The audit: proves from the journal alone that nothing was oversold, lost or charged twice.
//!
//! It replays every decision up to a cut, so it trusts neither the states that are stored nor those in memory; then it holds the laws of
//! [`doorbuster_domain::laws`] against each SKU and each order, the orders against the stock (rule A1) and, where a ledger is to be had,
//! against the payment provider's own books (rule M5).
//!
//! ```text
//! one log:            one position is the cut                                         audit_store
//! a log per shard:    all shards: orders and stock ─► again: stock alone, and what was under way at the first cut ─► …   audit_shared
//! ```
//!
//! Memory: the states of all orders and SKUs, about 2 KB an order.

mod books;
mod rounds;

pub use books::Audit;
pub use rounds::{Ledger, Logs, Patience, audit_shared};

use doorbuster_domain::any::State;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::{self, WireError};
use doorbuster_storage::{Journal, ReadError, Record, Seq, Shard, Store};
use futures_util::StreamExt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::pin;
use thiserror::Error;

/// Violations and orders in flight that are named one by one; beyond it they are only counted.
const NAMED_MAX: usize = 100;

/// Why an audit could not be carried out.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record has no meaning.
    #[error("shard {shard}, event {seq}: {error}")]
    Wire {
        /// Where.
        shard: Shard,
        /// Its first event.
        seq: Seq,
        /// Why.
        error: WireError,
    },
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// No law is broken.
    pub clean: bool,
    /// The laws that are broken, at most a hundred of them in words.
    pub violations: Vec<String>,
    /// How many.
    pub violations_total: usize,
    /// Events that were replayed.
    pub events: u64,
    /// Orders ever placed.
    pub orders: usize,
    /// Of these, sold.
    pub confirmed: usize,
    /// Of these, ended otherwise.
    pub ended: usize,
    /// Of these, still on their way when the audit ended.
    pub in_flight: usize,
    /// Some of those on their way: look at them again once they ended.
    pub in_flight_orders: Vec<String>,
    /// How many were on their way at the cut; those that ended since were looked at again.
    pub in_flight_at_the_cut: usize,
    /// Orders placed since the cut: not judged, not among `orders`.
    pub placed_since: usize,
    /// How often the logs were read on; the first of these is the cut.
    pub rounds: u32,
    /// Reservations ever made by shops with a checkout of their own.
    pub reservations: usize,
    /// SKUs with stock.
    pub skus: usize,
    /// Units ever received, over all SKUs.
    pub units_received: u64,
    /// Units sold and not unsold.
    pub units_sold: u64,
    /// Units promised at the cut.
    pub units_reserved: u64,
    /// Units free at the cut.
    pub units_available: u64,
    /// Was the payment provider's ledger compared?
    pub ledger_compared: bool,
}

/// Audits a store of one log as it is, while it serves or not; one that several nodes share is for [`audit_shared`]. The ledger was read from `now` on, and before this is called.
///
/// The order shards are cut first and the SKU shards after (rule A1), so a confirmed order inside the first cut has its commits inside
/// the second. On the embedded store each cut is one position of one log.
pub async fn audit_store(store: &Store, ledger: Option<&[LedgerLine]>, now: Timestamp) -> Result<Report, AuditError> {
    let orders_upto = store.ends();
    let stock_upto = store.ends();
    let mut audit = Audit::default();
    for number in 0..store.layout().shards {
        let shard = Shard(number);
        let upto = |cut: &BTreeMap<Shard, Seq>| cut.get(&shard).copied().unwrap_or(0);
        let (orders_upto, stock_upto) = (upto(&orders_upto), upto(&stock_upto));
        let mut records = pin!(store.records(shard));
        while let Some(record) = records.next().await {
            let record = record?;
            let last = record.last_seq();
            if last > stock_upto {
                break;
            }
            audit.take(&record, last <= orders_upto, true)?;
        }
    }
    Ok(audit.finish(ledger, now))
}

/// A record as one line of JSON, for `doorbuster journal dump`. Personal data is left out: a log that is shown around must not
/// carry it.
pub fn dump_line(record: &Record) -> Result<String, AuditError> {
    let wire_error = |error| AuditError::Wire { shard: record.shard, seq: record.seq, error };
    let (facts, _personal) = wire::split_personal(&record.body).map_err(wire_error)?;
    let decided = wire::decode(&facts).map_err(wire_error)?;
    let events = decided.events.iter().map(wire::shown).collect::<Result<Vec<_>, _>>().map_err(wire_error)?;
    let line = serde_json::json!({
        "shard": record.shard.0,
        "seq": record.seq,
        "epoch": record.epoch,
        "entity": decided.entity.to_string(),
        "number": decided.number,
        "at_ms": decided.at.0,
        "by": decided.by,
        "events": events,
    });
    Ok(line.to_string())
}

/// The states the audit would replay for one entity: for tests that compare what a node shows with what its journal says.
pub fn replayed(entity: &EntityId, records: &[Record]) -> Result<State, AuditError> {
    let mut state = State::empty(entity);
    for record in records {
        let decided = wire::decode(&record.body).map_err(|error| AuditError::Wire {
            shard: record.shard,
            seq: record.seq,
            error,
        })?;
        decided.events.iter().for_each(|event| state.evolve(event));
    }
    Ok(state)
}

/// Does a record belong to this entity?
#[must_use]
pub fn is_of(record: &Record, entity: &EntityId) -> bool {
    wire::head(&record.body).is_ok_and(|head| head.entity == *entity)
}
