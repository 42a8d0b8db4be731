//! The audit: proves from the journal alone that nothing was oversold, lost or charged twice.
//!
//! It replays every decision up to a cut, so it trusts neither the states that are stored nor those in memory; then it holds the laws of
//! [`crate::domain::laws`] against each SKU and each order, the orders against the stock (rule A1) and, where a ledger is to be had,
//! against the payment provider's own books (rule M5).
//!
//! Memory: the states of all orders and SKUs, about 2 KB an order.

use crate::domain::any::{Event, State};
use crate::domain::ids::{EntityId, OrderId, Sku};
use crate::domain::inventory::{AuditFold, Inventory};
use crate::domain::laws::{self, Violation};
use crate::domain::order::{Order, Stage, laws as order_laws};
use crate::domain::payment::LedgerLine;
use crate::domain::time::Timestamp;
use crate::payments::referee;
use crate::storage::wire::{self, Decided, WireError};
use crate::storage::{Journal, ReadError, Record, Seq, Shard, Store};
use futures_util::StreamExt;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Of these, still on their way at the cut.
    pub in_flight: usize,
    /// Some of those on their way: look at them again once they ended.
    pub in_flight_orders: Vec<String>,
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

/// One SKU's books.
#[derive(Debug, Default)]
struct Books {
    stock: Inventory,
    orders: AuditFold,
}

/// An audit under way: takes in decisions, shard by shard, each shard's in order.
#[derive(Debug, Default)]
pub struct Audit {
    orders: FxHashMap<OrderId, Box<Order>>,
    /// When each order last changed.
    changed_at: FxHashMap<OrderId, Timestamp>,
    skus: BTreeMap<Sku, Books>,
    versions: FxHashMap<EntityId, u64>,
    seqs: BTreeMap<Shard, (u64, Seq)>,
    violations: Vec<Violation>,
    events: u64,
}

impl Audit {
    /// Takes in one record; `orders` and `stock` say which kinds the cut still covers there.
    pub fn take(&mut self, record: &Record, orders: bool, stock: bool) -> Result<(), AuditError> {
        self.check_place(record);
        let decided = wire::decode(&record.body).map_err(|error| AuditError::Wire {
            shard: record.shard,
            seq: record.seq,
            error,
        })?;
        self.events = self.events.saturating_add(u64::from(record.events));
        let version = self.versions.entry(decided.entity.clone()).or_default();
        if decided.number != version.saturating_add(1) {
            let what = format!("{}: its event {} follows its event {version}", decided.entity, decided.number);
            self.violations.push(Violation { law: "an_entity_s_events_are_dense", what });
        }
        *version = decided.last_number();
        let covered = match &decided.entity {
            EntityId::Order(_) => orders,
            EntityId::Inventory(_) => stock,
            EntityId::Cart(_) | EntityId::Product(_) | EntityId::Warehouse(_) => false,
        };
        if covered {
            if let EntityId::Order(order) = &decided.entity {
                self.changed_at.insert(*order, decided.at);
            }
            self.evolve(&decided);
        }
        Ok(())
    }

    /// Seqs are dense, epochs never fall.
    fn check_place(&mut self, record: &Record) {
        let (epoch, last) = self.seqs.entry(record.shard).or_default();
        if record.seq != last.saturating_add(1) {
            let what = format!("shard {}: event {} follows event {last}", record.shard, record.seq);
            self.violations.push(Violation { law: "seqs_are_dense", what });
        }
        if record.epoch < *epoch {
            let what = format!("shard {}, event {}: epoch {} after {epoch}", record.shard, record.seq, record.epoch);
            self.violations.push(Violation { law: "epochs_never_fall", what });
        }
        *epoch = record.epoch;
        *last = record.last_seq();
    }

    fn evolve(&mut self, decided: &Decided) {
        let (orders, skus) = (&mut self.orders, &mut self.skus);
        let evolved = catch_unwind(AssertUnwindSafe(|| {
            for event in &decided.events {
                match (&decided.entity, event) {
                    (EntityId::Order(id), Event::Order(event)) => {
                        crate::domain::entity::Entity::evolve(&mut **orders.entry(*id).or_default(), event);
                    }
                    (EntityId::Inventory(sku), Event::Inventory(event)) => {
                        let books = skus.entry(sku.clone()).or_default();
                        crate::domain::entity::Entity::evolve(&mut books.stock, event);
                        books.orders.take(event);
                    }
                    _ => {}
                }
            }
        }));
        if evolved.is_err() {
            let what = format!("{}: taking in its event {} panicked", decided.entity, decided.number);
            self.violations.push(Violation { law: "replay_equals_state", what });
        }
    }

    /// Holds everything against the laws; with the provider's ledger, read from `now` on, also the money. An order that changed after
    /// that instant may have been charged or given something back that the ledger does not show yet: it is compared the next time.
    #[must_use]
    pub fn finish(mut self, ledger: Option<&[LedgerLine]>, now: Timestamp) -> Report {
        let mut report = Report { orders: self.orders.len(), skus: self.skus.len(), ..Report::default() };
        let mut in_flight: BTreeSet<OrderId> = BTreeSet::new();
        let mut due: BTreeMap<OrderId, i64> = BTreeMap::new();
        let mut found: Vec<Violation> = std::mem::take(&mut self.violations);
        for (id, order) in &self.orders {
            found.extend(order_laws::all(order).err());
            if order.is_at_rest() {
                due.insert(*id, order.due());
            } else {
                in_flight.insert(*id);
            }
            match order.stage {
                Stage::Confirmed => report.confirmed = report.confirmed.saturating_add(1),
                Stage::Ended(_) => report.ended = report.ended.saturating_add(1),
                Stage::Nothing
                | Stage::Freezing
                | Stage::Reserving
                | Stage::Held
                | Stage::Committing
                | Stage::Ending(_) => {}
            }
            self.check_stock_of(*id, order, &mut found);
        }
        for (sku, books) in &self.skus {
            if let Err(mut violation) = laws::stock_is_lawful(&books.stock) {
                violation.what = format!("{sku}: {}", violation.what);
                found.push(violation);
            }
            for level in books.stock.levels() {
                let add = |sum: &mut u64, units: u64| *sum = sum.saturating_add(units);
                add(&mut report.units_received, level.received);
                add(&mut report.units_sold, level.sold.saturating_sub(level.returned));
                add(&mut report.units_reserved, level.reserved);
                add(&mut report.units_available, level.available());
            }
        }
        if let Some(ledger) = ledger {
            report.ledger_compared = true;
            let changed = |order: &OrderId| self.changed_at.get(order).is_some_and(|at| *at > now);
            let moving = |order: OrderId| in_flight.contains(&order) || changed(&order);
            for (order, finding) in referee::judge(ledger, &due, moving, now) {
                let what = format!("{order}: {finding:?}");
                found.push(Violation { law: "the_provider_s_ledger_agrees", what });
            }
        }
        report.events = self.events;
        report.in_flight = in_flight.len();
        report.in_flight_orders = in_flight.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        found.sort_by(|one, other| (one.law, &one.what).cmp(&(other.law, &other.what)));
        report.violations_total = found.len();
        report.clean = found.is_empty();
        report.violations = found.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        report
    }

    /// Rule A1: a confirmed order has its commits, an order that ended otherwise has nothing.
    fn check_stock_of(&self, id: OrderId, order: &Order, found: &mut Vec<Violation>) {
        for (number, line) in order.numbered() {
            let units = self.skus.get(&line.sku).map(|books| books.orders.order(id)).unwrap_or_default();
            let bought = u64::from(line.units);
            let broken = match order.stage {
                // A line that was cancelled whole before the sale was let go, and has none.
                Stage::Confirmed if line.cancelled == line.units && units.committed == 0 => {
                    (units.live() != 0).then_some("a_confirmed_order_has_its_commits")
                }
                Stage::Confirmed => (units.committed != bought).then_some("a_confirmed_order_has_its_commits"),
                Stage::Ended(_) => {
                    (units.sold() != 0 || units.live() != 0).then_some("an_order_that_ended_otherwise_has_nothing")
                }
                Stage::Nothing
                | Stage::Freezing
                | Stage::Reserving
                | Stage::Held
                | Stage::Committing
                | Stage::Ending(_) => (units.committed > bought).then_some("a_unit_is_sold_at_most_once"),
            };
            if let Some(law) = broken {
                let what = format!("{id}, line {number}: {bought} of {} bought, the SKU has {units:?}", line.sku);
                found.push(Violation { law, what });
            }
        }
    }
}

/// Audits a store as it is, while it serves or not. The ledger was read from `now` on, and before this is called.
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
