//! Holds every durable record against the laws, in the order in which the records became durable, and every answer against the records.
//!
//! ```text
//! memory store ──batch──► Judge: places · model states · laws        answers ──► is it in the journal? is it what the journal says?
//! ```
//!
//! The judge knows nothing of the node: it folds the journal into states of its own.

use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{Event, Reply, State};
use doorbuster_domain::claims;
use doorbuster_domain::ids::{EntityId, OrderId, RequestId, ReservationId, Sku};
use doorbuster_domain::inventory::{self, AuditFold, ExternalStatus};
use doorbuster_domain::order::{Hold, Order, Stage};
use doorbuster_domain::reservation::{self, Reservation};
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::{laws, order::laws as order_laws};
use doorbuster_storage::wire::{self, Meta};
use doorbuster_storage::{Batch, Epoch, Record, Seq, Shard};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong, in words.
pub(crate) type Broken = String;

/// One entity as its journal has it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) state: State,
    pub(crate) meta: Meta,
}

/// One SKU's books.
#[derive(Debug, Default)]
struct Books {
    orders: AuditFold,
    events: Vec<inventory::Event>,
}

/// The judge of one world.
#[derive(Debug)]
pub(crate) struct Judge {
    batches: usize,
    records: u64,
    places: BTreeMap<Shard, (Epoch, Seq)>,
    models: BTreeMap<EntityId, Model>,
    books: BTreeMap<Sku, Books>,
    /// Requests of sellers that moved stock: once each.
    moved: BTreeSet<RequestId>,
    /// What was acknowledged: by request, whom it was sent to and what was answered.
    acked: BTreeMap<RequestId, (EntityId, Reply)>,
    /// Orders that were acknowledged as sold.
    told_confirmed: BTreeSet<OrderId>,
    /// Reservations that were acknowledged as sold, by SKU.
    acknowledged_as_sold: BTreeSet<(Sku, ReservationId)>,
    hash: Sha256,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            batches: 0,
            records: 0,
            places: BTreeMap::new(),
            models: BTreeMap::new(),
            books: BTreeMap::new(),
            moved: BTreeSet::new(),
            acked: BTreeMap::new(),
            told_confirmed: BTreeSet::new(),
            acknowledged_as_sold: BTreeSet::new(),
            hash: Sha256::new(),
        }
    }
}

fn law(name: &str, truth: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if truth { Ok(()) } else { Err(format!("{name}: {}", what())) }
}

impl Judge {
    /// Batches taken so far.
    pub(crate) const fn batches(&self) -> usize {
        self.batches
    }

    /// Records taken so far.
    pub(crate) const fn records(&self) -> u64 {
        self.records
    }

    /// The world so far as one number: every record's bytes and every answer, in the order in which they came.
    pub(crate) fn hash(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Something that was observed: part of the world's hash.
    pub(crate) fn observed(&mut self, what: &str) {
        self.hash.update(what.as_bytes());
        self.hash.update([0]);
    }

    /// All entities.
    pub(crate) fn models(&self) -> impl Iterator<Item = (&EntityId, &Model)> {
        self.models.iter()
    }

    /// Effects that all entities owe at `now`.
    pub(crate) fn owed(&self, now: Timestamp) -> usize {
        self.models.values().map(|model| model.state.owed(now).len()).sum()
    }

    /// An order as its journal has it.
    pub(crate) fn order(&self, id: OrderId) -> Option<&Order> {
        order_of(&self.models.get(&EntityId::Order(id))?.state)
    }

    /// All orders.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.models.values().filter_map(|model| order_of(&model.state))
    }

    /// All stock.
    pub(crate) fn stock(&self) -> impl Iterator<Item = (&Sku, &inventory::Inventory)> {
        self.models.iter().filter_map(|(entity, model)| match (entity, &model.state) {
            (EntityId::Inventory(sku), State::Inventory(stock)) => Some((sku, &**stock)),
            _ => None,
        })
    }

    /// Takes in what became durable together.
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<(), Broken> {
        self.batches += 1;
        batch.records.iter().try_for_each(|record| self.take_record(record))
    }

    /// Takes in one record.
    pub(crate) fn take_record(&mut self, record: &Record) -> Result<(), Broken> {
        self.records += 1;
        self.hash.update(record.shard.0.to_le_bytes());
        self.hash.update(record.seq.to_le_bytes());
        self.hash.update(record.epoch.to_le_bytes());
        self.hash.update(&record.body);
        self.check_place(record)?;
        let decided = wire::decode(&record.body).map_err(|error| format!("a record cannot be read: {error}"))?;
        let entity = decided.entity.clone();
        let model = self
            .models
            .entry(entity.clone())
            .or_insert_with(|| Model { state: State::empty(&entity), meta: Meta::default() });
        law("an_entity_s_events_are_dense", decided.number == model.meta.version + 1, || {
            format!("{entity}: its event {} follows its event {}", decided.number, model.meta.version)
        })?;
        let before = order_of(&model.state).map_or(Stage::Nothing, |order| order.stage);
        for event in &decided.events {
            let stood = order_of(&model.state).map(|order| Order { stage: order.stage, ..Order::default() });
            model.state.evolve(event);
            if let (Some(stood), Some(order)) = (stood, order_of(&model.state)) {
                order_laws::stages_move_along_the_drawing(&stood, order).map_err(|violation| violation.to_string())?;
            }
        }
        model.meta.after(decided.events.len(), decided.at);
        match (&entity, &self.models.get(&entity).expect("just taken in").state) {
            (EntityId::Inventory(sku), State::Inventory(stock)) => {
                laws::stock_is_lawful(stock).map_err(|violation| format!("{sku}: {violation}"))?;
                let books = self.books.entry(sku.clone()).or_default();
                for event in &decided.events {
                    let Event::Inventory(event) = event else { continue };
                    books.orders.take(event);
                    books.events.push(event.clone());
                    if let Some(request) = moved_by(event) {
                        law("a_receipt_counts_once", self.moved.insert(request), || {
                            format!("{sku}: {request:?} moved stock twice")
                        })?;
                    }
                }
                laws::books_agree(&books.orders, stock).map_err(|violation| format!("{sku}: {violation}"))?;
                no_oversell(sku, stock, &books.orders)?;
            }
            (EntityId::Order(_), State::Order(order)) => {
                order_laws::all(order).map_err(|violation| violation.to_string())?;
                if order.stage == Stage::Confirmed && before != Stage::Confirmed {
                    self.check_commits(order)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Seqs are dense, epochs never fall.
    fn check_place(&mut self, record: &Record) -> Result<(), Broken> {
        let (epoch, last) = self.places.entry(record.shard).or_default();
        law("seqs_are_dense", record.seq == *last + 1 && record.events > 0, || {
            format!("shard {}: event {} follows event {last}", record.shard, record.seq)
        })?;
        law("epochs_never_fall", record.epoch >= *epoch, || {
            format!("shard {}: epoch {} after {epoch}", record.shard, record.epoch)
        })?;
        *epoch = record.epoch;
        *last = record.last_seq();
        Ok(())
    }

    /// Rules L1 and A1: a confirmed order's commits were durable before it.
    fn check_commits(&self, order: &Order) -> Result<(), Broken> {
        for line in order.lines.iter().filter(|line| line.hold == Hold::Committed) {
            let units = self.books.get(&line.sku).map(|books| books.orders.order(order.id)).unwrap_or_default();
            law("a_confirmed_order_has_its_commits", units.committed == u64::from(line.units), || {
                format!("{}: {} of {} bought, the SKU has {units:?}", order.id, line.units, line.sku)
            })?;
        }
        Ok(())
    }

    /// An acceptance: what it saw must be durable by now, and be what the journal says.
    pub(crate) fn accepted(&mut self, entity: &EntityId, accepted: &Accepted) -> Result<(), Broken> {
        let version = accepted.meta.version;
        let durable = self.models.get(entity).map_or(0, |model| model.meta.version);
        law("what_was_acknowledged_is_in_the_journal", version <= durable, || {
            format!("{entity}: version {version} was acknowledged, durable is {durable}")
        })?;
        if version != durable {
            return Ok(());
        }
        let Some(model) = self.models.get(entity) else { return Ok(()) };
        law("replay_equals_state", accepted.meta == model.meta, || {
            format!("{entity}: {:?} is not {:?}", accepted.meta, model.meta)
        })?;
        if let Some(state) = &accepted.state {
            law("replay_equals_state", **state == model.state, || {
                format!("{entity}: {state:?} is not {:?}", model.state)
            })?;
        }
        if let (Reply::Inventory(inventory::Reply::Levels(levels)), State::Inventory(stock)) =
            (&accepted.reply, &model.state)
            && levels.offer.is_some()
        {
            let read = stock.read();
            law("replay_equals_state", **levels == read, || format!("{entity}: {levels:?} is not {read:?}"))?;
        }
        if let State::Order(order) = &model.state
            && order.stage == Stage::Confirmed
        {
            self.told_confirmed.insert(order.id);
        }
        Ok(())
    }

    /// A reservation's units were acknowledged as sold.
    pub(crate) fn acknowledged_as_sold(&mut self, sku: Sku, id: ReservationId) {
        self.acknowledged_as_sold.insert((sku, id));
    }

    fn reservations(&self) -> impl Iterator<Item = (&EntityId, &Reservation)> {
        self.models.iter().filter_map(|(entity, model)| match &model.state {
            State::Reservation(reservation) => Some((entity, &**reservation)),
            _ => None,
        })
    }

    /// A request with a key was accepted: every copy of it must hear the same.
    pub(crate) fn acked(&mut self, request: RequestId, entity: &EntityId, reply: &Reply) -> Result<(), Broken> {
        match self.acked.get(&request) {
            None => {
                self.acked.insert(request, (entity.clone(), reply.clone()));
                Ok(())
            }
            Some((_, first)) => law("the_same_request_again_is_one_request", first == reply, || {
                format!("{entity}: {request:?} was answered {first:?}, and then {reply:?}")
            }),
        }
    }

    /// Has this request been acknowledged?
    pub(crate) fn is_acked(&self, request: RequestId) -> bool {
        self.acked.contains_key(&request)
    }

    /// What must hold once everything has ended.
    pub(crate) fn at_the_end(&self) -> Result<(), Broken> {
        for (sku, books) in &self.books {
            laws::a_unit_is_sold_at_most_once(&books.events).map_err(|violation| format!("{sku}: {violation}"))?;
            laws::nothing_is_reserved_where_nothing_is_for_sale(&books.events)
                .map_err(|violation| format!("{sku}: {violation}"))?;
        }
        for (request, (entity, _)) in &self.acked {
            let there = match self.models.get(entity).map(|model| &model.state) {
                Some(State::Order(order)) => {
                    order.requests.contains_key(request)
                        || order.head.as_ref().is_some_and(|head| head.request.id == *request)
                }
                Some(State::Inventory(_)) => self.moved.contains(request),
                Some(_) => true,
                None => false,
            };
            law("what_was_acknowledged_is_in_the_journal", there, || format!("{entity}: {request:?} is lost"))?;
        }
        for (sku, id) in &self.acknowledged_as_sold {
            let sold = self.books.get(sku).is_some_and(|books| books.orders.external_units(*id).committed > 0);
            law("what_was_acknowledged_is_in_the_journal", sold, || format!("{id} was acknowledged with {sku}"))?;
        }
        for (entity, reservation) in self.reservations() {
            let EntityId::Reservation(id) = entity else { continue };
            let sold = reservation.stage() == reservation::Stage::Ended(ExternalStatus::Committed);
            for line in reservation.lines() {
                let units =
                    self.books.get(&line.wanted.sku).map(|books| books.orders.external_units(*id)).unwrap_or_default();
                let wanted = if sold { u64::from(line.wanted.units) } else { 0 };
                law("a_committed_reservation_has_its_commits", units.committed == wanted, || {
                    format!("{id} is {:?}, {} has {units:?}", reservation.stage(), line.wanted.sku)
                })?;
            }
        }
        for id in &self.told_confirmed {
            let sold = self.order(*id).is_some_and(|order| order.stage == Stage::Confirmed);
            law("what_was_acknowledged_is_in_the_journal", sold, || format!("{id} was acknowledged as confirmed"))?;
        }
        Ok(())
    }

    /// What has not ended yet, in words; the world is at rest when nothing is left.
    pub(crate) fn under_way(&self) -> Vec<String> {
        let mut left = Vec::new();
        for order in self.orders() {
            let looked_after = !order.troubles.is_empty();
            if !(looked_after || order.is_at_rest() && order.todo.is_empty()) {
                let owes: Vec<_> = order.todo.iter().take(3).collect();
                left.push(format!("{} is {:?} and owes {owes:?}", order.id, order.stage));
            }
        }
        for (sku, stock) in self.stock() {
            for (order, reservation) in stock.live() {
                if self.order(order).is_none_or(|order| order.troubles.is_empty()) {
                    left.push(format!("{sku} holds {} for {order}", reservation.units()));
                }
            }
        }
        for (sku, stock) in self.stock() {
            left.extend(
                stock
                    .external_reservations()
                    .map(|(id, reservation)| format!("{sku} holds {} for {id}", reservation.units())),
            );
        }
        for (entity, reservation) in self.reservations() {
            if !matches!(reservation.stage(), reservation::Stage::Ended(_)) {
                left.push(format!("{entity} is {:?}", reservation.stage()));
            }
        }
        for (entity, model) in &self.models {
            // What an order holds that an operator must look at is held on.
            let is_looked_after = |order: OrderId| self.order(order).is_some_and(|order| !order.troubles.is_empty());
            if let State::Cart(cart) = &model.state
                && let doorbuster_domain::cart::Status::Frozen { order, .. } = cart.status()
                && !is_looked_after(order)
            {
                left.push(format!("{entity} is {:?}", cart.status()));
            }
        }
        left
    }

    /// The last deadline of anything that is under way.
    pub(crate) fn last_deadline(&self) -> Timestamp {
        let orders = self.orders().filter(|order| !order.is_at_rest()).map(|order| order.expires_at);
        let held = self.stock().flat_map(|(_, stock)| stock.live().map(|(_, one)| one.expires_at).collect::<Vec<_>>());
        let promised = self
            .stock()
            .flat_map(|(_, stock)| stock.external_reservations().map(|(_, one)| one.expires_at).collect::<Vec<_>>());
        let several = self.reservations().map(|(_, reservation)| reservation.expires_at());
        let held = held.chain(promised).chain(several).map(|at| at.plus_s(claims::QUESTION_GRACE_S));
        orders.chain(held).max().unwrap_or_default()
    }

    /// What happened, in one line.
    pub(crate) fn summary(&self) -> String {
        let mut by_stage: BTreeMap<String, u32> = BTreeMap::new();
        for order in self.orders() {
            *by_stage.entry(format!("{:?}", order.status())).or_default() += 1;
        }
        format!("{} records, orders {by_stage:?}", self.records)
    }
}

fn order_of(state: &State) -> Option<&Order> {
    match state {
        State::Order(order) => Some(order),
        _ => None,
    }
}

/// No oversell, counted from the orders' side: what orders hold or were sold and did not give back is at most what came.
fn no_oversell(sku: &Sku, stock: &inventory::Inventory, books: &AuditFold) -> Result<(), Broken> {
    let came: i128 = stock.levels().map(|level| i128::from(level.received) + i128::from(level.adjusted)).sum();
    let out: i128 = books.orders().map(|(_, units)| i128::from(units.sold()) + i128::from(units.live())).sum();
    let promised: i128 =
        books.all_external().map(|(_, units)| i128::from(units.live()) + i128::from(units.committed)).sum();
    let out = out + promised;
    law("no_oversell", out <= came, || format!("{sku}: {out} units are promised or sold, {came} ever came"))
}

/// The seller's request behind a movement of stock.
fn moved_by(event: &inventory::Event) -> Option<RequestId> {
    match event {
        inventory::Event::Received { asked, .. }
        | inventory::Event::Announced { asked, .. }
        | inventory::Event::Adjusted { asked, .. }
        | inventory::Event::Counted { asked, .. } => Some(asked.request.id),
        _ => None,
    }
}

/// Can anything still be done to this order?
pub(crate) fn is_open(order: &Order) -> bool {
    !matches!(order.stage, Stage::Nothing | Stage::Ended(_))
}
