//! The audit: proves from the journal alone that nothing was oversold, lost or charged twice.
//!
//! It replays every decision up to a cut, so it trusts neither stored states nor those in memory. Then it checks the invariants of
//! [`doorbuster_domain::laws`] for each SKU and each order, the orders against the stock (rule A1) and, where a ledger is available,
//! against the payment provider's ledger (rule M5).
//!
//! ```text
//! one log:            one position is the cut                                         audit_store
//! a log per shard:    all shards: orders and stock ─► again: stock, and the orders in flight at the cut ─► …   audit_shared
//! ```
//!
//! Memory: the states of all orders and SKUs, about 2 KB an order; [`Progress`] bounds it. Work: all of it without a pause but for a yield every
//! few hundred records, so a node runs it on a thread of its own.

mod progress;
mod replay;
mod rounds;

pub use progress::{Progress, ProgressShown};
pub use replay::Audit;
pub use rounds::{Ledger, RoundLimits, ShardLogs, audit_shared};

use doorbuster_domain::any::State;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire;
use doorbuster_storage::{Journal, ReadError, Record, RecordError, Seq, Shard, Store};
use futures_util::StreamExt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use thiserror::Error;

/// Records after which an audit yields: it can be cancelled there.
const RECORDS_A_TURN: u32 = 256;
/// The most violations and orders in flight that a report names; more are only counted.
const NAMED_MAX: usize = 100;

/// Why an audit could not be carried out.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record cannot be decoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The shop is too large for the memory that an audit may use.
    #[error(
        "after {events} events the audit needs more than audit.memory_bytes_max ({memory_bytes_max} bytes): raise it, or run `doorbuster audit` on a copy"
    )]
    TooLarge {
        /// The bound, in bytes.
        memory_bytes_max: u64,
        /// Events read until then.
        events: u64,
    },
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// Whether no invariant is broken.
    pub clean: bool,
    /// The broken invariants in words, at most a hundred.
    pub violations: Vec<String>,
    /// The number of violations.
    pub violations_total: usize,
    /// The number of replayed events.
    pub events: u64,
    /// The number of orders ever placed.
    pub orders: usize,
    /// The number of confirmed orders among them.
    pub confirmed: usize,
    /// The number of orders that ended without a sale.
    pub ended: usize,
    /// The number of orders still in flight when the audit ended.
    pub in_flight: usize,
    /// Ids of some orders in flight, to be audited again later.
    pub in_flight_orders: Vec<String>,
    /// The number of orders in flight at the cut; those that ended since were checked again.
    pub in_flight_at_the_cut: usize,
    /// The number of orders placed since the cut: neither checked nor counted in `orders`.
    pub placed_since: usize,
    /// The number of times the logs were read; the first is the cut.
    pub rounds: u32,
    /// The number of reservations ever made by shops with a checkout of their own.
    pub reservations: usize,
    /// The number of SKUs with stock.
    pub skus: usize,
    /// Units ever received, over all SKUs.
    pub units_received: u64,
    /// Units sold and not returned.
    pub units_sold: u64,
    /// Units reserved at the cut.
    pub units_reserved: u64,
    /// Units available at the cut.
    pub units_available: u64,
    /// Whether the payment provider's ledger was compared.
    pub ledger_compared: bool,
}

/// Audits a store of one log, which may be in use. [`audit_shared`] audits one that several nodes share. The ledger was read from `now` on, before this call.
///
/// The order shards are cut before the SKU shards (rule A1), so a confirmed order inside the first cut has its commits inside the second.
/// On the embedded store each cut is one position of one log.
///
/// # Errors
/// The store fails, a record cannot be decoded, or the bound of `progress` is reached.
pub async fn audit_store(
    store: &Store,
    ledger: Option<&[LedgerLine]>,
    now: Timestamp,
    progress: Arc<Progress>,
) -> Result<Report, AuditError> {
    let orders_upto = store.ends();
    let stock_upto = store.ends();
    progress.events_total(stock_upto.values().fold(0, |sum, end| sum.saturating_add(*end)));
    let mut audit = Audit::new(progress);
    let mut turn: u32 = 0;
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
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(RECORDS_A_TURN) {
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(audit.finish(ledger, now))
}

/// A record as one line of JSON, for `doorbuster journal dump`. Personal data is left out.
pub fn dump_line(record: &Record) -> Result<String, AuditError> {
    let wire_error = |error| record.unreadable(error);
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

/// The state of one entity replayed from its records: for tests that compare it with what a node shows.
pub fn replayed(entity: &EntityId, records: &[Record]) -> Result<State, AuditError> {
    let mut state = State::empty(entity);
    for record in records {
        let decided = record.decode()?;
        decided.events.iter().for_each(|event| state.evolve(event));
    }
    Ok(state)
}

/// Whether a record belongs to this entity.
#[must_use]
pub fn is_of(record: &Record, entity: &EntityId) -> bool {
    record.head().is_ok_and(|head| head.entity == *entity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::any::Event;
    use doorbuster_domain::cart::{self, CartLine, Owner};
    use doorbuster_domain::entity::By;
    use doorbuster_domain::ids::{CartId, OrderId, RequestFingerprint, Sku};
    use doorbuster_domain::money::{Currency, Money};
    use doorbuster_storage::wire::Decided;
    use serde_json::{Value, json};

    #[test]
    fn an_audit_that_would_need_too_much_memory_ends_and_names_the_setting() {
        let decided = |number: u64| {
            let events = vec![Event::Cart(cart::Event::Expired)];
            let entity = EntityId::Cart(CartId(u128::from(number)));
            let body = wire::encode(&Decided { entity, number: 1, at: Timestamp(1_000), by: By::System, events });
            Record { shard: Shard(3), epoch: 2, seq: number, events: 1, body }
        };
        let progress = Arc::new(Progress::new(1_000));
        let mut audit = Audit::new(Arc::clone(&progress));
        let refused = (1..100).find_map(|number| audit.take(&decided(number), true, true).err());
        assert!(matches!(refused, Some(AuditError::TooLarge { memory_bytes_max: 1_000, events: 4 })), "{refused:?}");
        assert!(refused.unwrap().to_string().contains("audit.memory_bytes_max"));
        assert_eq!((progress.shown().entities, progress.shown().events), (4, 4));
    }

    #[test]
    fn a_dumped_record_names_a_currency_by_its_code() {
        let line = CartLine {
            sku: Sku::parse("NOVA-LOW-42").unwrap(),
            quantity: 2,
            title: "Nova Low, 42".into(),
            seller: "sel_main".into(),
            unit_price: Money { amount: 12_999, currency: Currency::parse("JPY").unwrap() },
            added_at: Timestamp(1_000),
        };
        let created = cart::Event::Created {
            terms: RequestFingerprint(7),
            owner: Owner::Guest("gst_1".into()),
            currency: Currency::GBP,
            life_s: 600,
            expires_at: Timestamp(601_000),
        };
        let frozen = cart::Event::Frozen { order: OrderId(0xab << 16), ask_at: Timestamp(630_000) };
        let events = [created, cart::Event::LineSet { line }, frozen, cart::Event::Expired];
        let events = events.into_iter().map(Event::Cart).collect();
        let entity = EntityId::Cart(CartId(3));
        let decided = Decided { entity, number: 1, at: Timestamp(1_000), by: By::System, events };
        let record = Record { shard: Shard(3), epoch: 2, seq: 40, events: 4, body: wire::encode(&decided) };
        let dumped: Value = serde_json::from_str(&dump_line(&record).unwrap()).unwrap();
        let expected = json!({
            "shard": 3, "seq": 40, "epoch": 2, "entity": "cart/crt_00000000000000000000000003", "number": 1, "at_ms": 1_000, "by": "System",
            "events": [
                { "Created": {
                    "terms": "00000000000000000000000000000007", "owner": { "Guest": "gst_1" }, "currency": "GBP", "life_s": 600,
                    "expires_at": 601_000,
                } },
                { "LineSet": { "line": {
                    "sku": "NOVA-LOW-42", "quantity": 2, "title": "Nova Low, 42", "seller": "sel_main",
                    "unit_price": { "amount": 12_999, "currency": "JPY" }, "added_at": 1_000,
                } } },
                { "Frozen": { "order": "00000000000000000000000000ab0000", "ask_at": 630_000 } },
                { "Expired": {} },
            ],
        });
        assert_eq!(dumped, expected);
    }
}
