//! The state of an audit: every order, reservation and SKU replayed from the records, and the invariants that they must satisfy.

use super::{AuditError, NAMED_MAX, Progress, Report};
use doorbuster_domain::any::Event;
use doorbuster_domain::entity::Books;
use doorbuster_domain::ids::{EntityId, OrderId, ReservationId, Sku};
use doorbuster_domain::inventory::{AuditFold, Decider, ExternalStatus, Inventory};
use doorbuster_domain::laws::{self, Violation};
use doorbuster_domain::money::Money;
use doorbuster_domain::order::{Order, Stage, laws as order_laws};
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::payment::reconciliation;
use doorbuster_domain::reservation::{self, Reservation};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::keyed::KeyedMap;
use doorbuster_storage::wire::Decided;
use doorbuster_storage::{Record, Seq, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One SKU, replayed twice: as its own state, and as units per order.
#[derive(Debug, Default)]
struct SkuReplay {
    stock: Inventory,
    orders: AuditFold,
}

/// A possible violation between an order or reservation and its stock: the law, the entity, the line (0: no line).
pub(super) type Contradiction = (&'static str, EntityId, u16);
/// Contradictions between an order and its stock, with a description. They are violations only if both were read as of one moment.
pub(super) type Contradictions = BTreeMap<Contradiction, String>;

/// An audit in progress. It takes in the records of each shard in order.
#[derive(Debug, Default)]
pub struct Audit {
    orders: KeyedMap<OrderId, Box<Order>>,
    reservations: KeyedMap<ReservationId, Box<Reservation>>,
    /// The time of each order's last event.
    changed_at: KeyedMap<OrderId, Timestamp>,
    skus: BTreeMap<Sku, SkuReplay>,
    versions: KeyedMap<EntityId, u64>,
    seqs: BTreeMap<Shard, (u64, Seq)>,
    violations: Vec<Violation>,
    events: u64,
    progress: Arc<Progress>,
}

impl Audit {
    /// An audit that reports to `progress` and keeps its bound on memory.
    #[must_use]
    pub fn new(progress: Arc<Progress>) -> Self {
        Self { progress, ..Self::default() }
    }

    /// Takes in a record. `orders` and `stock` say which kinds of entities the cut still covers.
    pub fn take(&mut self, record: &Record, orders: bool, stock: bool) -> Result<(), AuditError> {
        self.take_if(record, |entity| match entity.books() {
            Books::Orders => orders,
            Books::Stock => stock,
            Books::None => false,
        })
        .map(|_entity| ())
    }

    /// Takes in a record: always its position, and its events if the cut covers its entity. Returns the entity.
    pub(super) fn take_if(
        &mut self,
        record: &Record,
        is_covered: impl FnOnce(&EntityId) -> bool,
    ) -> Result<EntityId, AuditError> {
        self.check_position(record);
        let decided = record.decode()?;
        self.events = self.events.saturating_add(u64::from(record.events));
        self.progress.read_events(record.events);
        let version = self.versions.entry(decided.entity.clone()).or_default();
        if *version == 0 {
            self.progress.found_entity()?;
        }
        if decided.number != version.saturating_add(1) {
            let what = format!("{}: its event {} follows its event {version}", decided.entity, decided.number);
            self.violations.push(Violation { law: "an_entity_s_events_are_dense", what });
        }
        *version = decided.last_number();
        if is_covered(&decided.entity) {
            if let EntityId::Order(order) = &decided.entity {
                self.changed_at.insert(*order, decided.at);
            }
            self.evolve(&decided);
            self.progress.grew_state(record.body.len())?;
        }
        Ok(decided.entity)
    }

    /// The seq of the last event taken in of a shard; 0: none.
    pub(super) fn last_seq_of(&self, shard: Shard) -> Seq {
        self.seqs.get(&shard).map_or(0, |(_epoch, last)| *last)
    }

    /// Orders that have neither ended nor come to rest.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = OrderId> + '_ {
        self.orders.iter().filter(|(_, order)| !order.is_at_rest()).map(|(id, _)| *id)
    }

    /// Records that a log contradicts itself.
    pub(super) fn note_unreadable(&mut self, shard: Shard, why: &str) {
        let violation = Violation { law: "every_log_can_be_read", what: format!("shard {shard}: {why}") };
        // Each round reports it again.
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// Checks that seqs are dense and epochs never fall.
    fn check_position(&mut self, record: &Record) {
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
        let (orders, skus, reservations) = (&mut self.orders, &mut self.skus, &mut self.reservations);
        let evolved = catch_unwind(AssertUnwindSafe(|| {
            for event in &decided.events {
                match (&decided.entity, event) {
                    (EntityId::Order(id), Event::Order(event)) => {
                        doorbuster_domain::entity::Entity::evolve(&mut **orders.entry(*id).or_default(), event);
                    }
                    (EntityId::Inventory(sku), Event::Inventory(event)) => {
                        let replay = skus.entry(sku.clone()).or_default();
                        doorbuster_domain::entity::Entity::evolve(&mut replay.stock, event);
                        replay.orders.take(event);
                    }
                    (EntityId::Reservation(id), Event::Reservation(event)) => {
                        doorbuster_domain::entity::Entity::evolve(&mut **reservations.entry(*id).or_default(), event);
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

    /// Rule A1 for what was taken in so far: a confirmed order has its commits, an order that ended otherwise has no units, and no stock is
    /// reserved for an order that is not in the journal.
    pub(super) fn contradictions(&self) -> Contradictions {
        let mut contradictions = Contradictions::new();
        for (id, order) in &self.orders {
            self.compare_with_stock(*id, order, &mut contradictions);
        }
        for (sku, replay) in &self.skus {
            for (order, units) in replay.orders.orders() {
                if !self.versions.contains_key(&EntityId::Order(order)) {
                    let what = format!("{order}: {sku} has {units:?} for it, and nothing else is known of it");
                    contradictions.insert(("stock_is_promised_to_orders_that_exist", EntityId::Order(order), 0), what);
                }
            }
            for (id, reservation) in replay.stock.external_reservations() {
                let kept_elsewhere = matches!(reservation.decider, Decider::Reservation { .. });
                let decider = EntityId::Reservation(id);
                if kept_elsewhere && !self.versions.contains_key(&decider) {
                    let what = format!(
                        "{id}: {sku} has {} units for it, and nothing else is known of it",
                        reservation.units()
                    );
                    contradictions.insert(("stock_is_promised_to_reservations_that_exist", decider, 0), what);
                }
            }
        }
        for (id, reservation) in &self.reservations {
            self.compare_reservation(*id, reservation, &mut contradictions);
        }
        contradictions
    }

    /// Checks that a committed reservation has a commit for every line, and one that ended otherwise has none.
    fn compare_reservation(&self, id: ReservationId, reservation: &Reservation, contradictions: &mut Contradictions) {
        for (number, line) in (1_u16..).zip(reservation.lines()) {
            let sku = &line.wanted.sku;
            let units = self.skus.get(sku).map(|replay| replay.orders.external_units(id)).unwrap_or_default();
            let wanted = u64::from(line.wanted.units);
            let broken = match reservation.stage() {
                reservation::Stage::Ended(ExternalStatus::Committed) => {
                    (units.committed != wanted).then_some("a_committed_reservation_has_its_commits")
                }
                reservation::Stage::Ended(_) => {
                    // A late copy may have reserved units, which are released when the SKU asks. Live units are not sold.
                    (units.committed != 0).then_some("a_reservation_that_ended_otherwise_has_nothing")
                }
                reservation::Stage::Nothing
                | reservation::Stage::Asking
                | reservation::Stage::Held
                | reservation::Stage::Ending(_) => (units.committed > wanted).then_some("a_unit_is_sold_at_most_once"),
            };
            if let Some(law) = broken {
                let what = format!("{id}, line {number}: {wanted} of {sku} wanted, the SKU has {units:?}");
                contradictions.insert((law, EntityId::Reservation(id), number), what);
            }
        }
    }

    fn compare_with_stock(&self, id: OrderId, order: &Order, contradictions: &mut Contradictions) {
        for (number, line) in order.numbered() {
            let units = self.skus.get(&line.sku).map(|replay| replay.orders.order(id)).unwrap_or_default();
            let bought = u64::from(line.units);
            let broken = match order.stage {
                // A line that was cancelled entirely before the sale was released and has no commit.
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
                contradictions.insert((law, EntityId::Order(id), number), what);
            }
        }
    }

    /// Checks all invariants as of one moment; with the provider's ledger, read from `now` on, also the payments. An order that changed after that
    /// instant is left out of the payments, because the ledger may lack its last charge or refund.
    #[must_use]
    pub fn finish(mut self, ledger: Option<&[LedgerLine]>, now: Timestamp) -> Report {
        let contradictions = self.contradictions();
        let changed_at = std::mem::take(&mut self.changed_at);
        let changed = |order: OrderId| changed_at.get(&order).is_some_and(|at| *at > now);
        let report = self.judge(contradictions, &BTreeSet::new(), ledger.map(|lines| (lines, now)), changed);
        Report { in_flight_at_the_cut: report.in_flight, rounds: 1, ..report }
    }

    /// Checks all invariants. `broken`: confirmed contradictions between orders and stock. `open`: orders that must be checked again later.
    /// `changed`: orders whose state here may differ in time from the ledger.
    pub(super) fn judge(
        mut self,
        broken: Contradictions,
        open: &BTreeSet<OrderId>,
        ledger: Option<(&[LedgerLine], Timestamp)>,
        changed: impl Fn(OrderId) -> bool,
    ) -> Report {
        let reservations = self.reservations.len();
        let mut report = Report { orders: self.orders.len(), reservations, skus: self.skus.len(), ..Report::default() };
        let mut in_flight: BTreeSet<OrderId> = BTreeSet::new();
        let mut due: BTreeMap<OrderId, Money> = BTreeMap::new();
        self.progress.begin_checks(report.orders.saturating_add(reservations).saturating_add(report.skus));
        let mut found: Vec<Violation> = std::mem::take(&mut self.violations);
        found.extend(broken.into_iter().map(|((law, _, _), what)| Violation { law, what }));
        for (id, order) in &self.orders {
            self.progress.checked_entity();
            found.extend(order_laws::all(order).err());
            if order.is_at_rest() && !open.contains(id) {
                due.insert(*id, order.money(order.due_at_provider()));
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
        }
        // Their laws were checked with the contradictions.
        self.reservations.values().for_each(|_reservation| self.progress.checked_entity());
        for (sku, replay) in &self.skus {
            self.progress.checked_entity();
            if let Err(mut violation) = laws::stock_is_lawful(&replay.stock) {
                violation.what = format!("{sku}: {}", violation.what);
                found.push(violation);
            }
            if let Err(mut violation) = laws::books_agree(&replay.orders, &replay.stock) {
                violation.what = format!("{sku}: {}", violation.what);
                found.push(violation);
            }
            report.reservations = report.reservations.saturating_add(replay.orders.decided_by_the_stock());
            for level in replay.stock.levels() {
                let add = |sum: &mut u64, units: u64| *sum = sum.saturating_add(units);
                add(&mut report.units_received, level.received);
                add(&mut report.units_sold, level.sold.saturating_sub(level.returned));
                add(&mut report.units_reserved, level.reserved);
                add(&mut report.units_available, level.available());
            }
        }
        if let Some((lines, now)) = ledger {
            report.ledger_compared = true;
            let moving = |order: OrderId| in_flight.contains(&order) || changed(order);
            for (order, discrepancy) in reconciliation::reconcile(lines, &due, moving, now) {
                let what = format!("{order}: {discrepancy:?}");
                found.push(Violation { law: "the_provider_s_ledger_agrees", what });
            }
        }
        let placed = self.versions.keys().filter(|entity| matches!(entity, EntityId::Order(_))).count();
        report.placed_since = placed.saturating_sub(self.orders.len());
        report.events = self.events;
        report.in_flight = in_flight.len();
        report.in_flight_orders = in_flight.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        found.sort_by(|one, other| (one.law, &one.what).cmp(&(other.law, &other.what)));
        report.violations_total = found.len();
        report.clean = found.is_empty();
        report.violations = found.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        report
    }
}
