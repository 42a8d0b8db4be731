//! A small world around one SKU, driven by a seed.
//!
//! Orders that behave, sellers that do anything, and a network that sends everything twice, late and out of order. Every step checks the laws, and
//! that replaying the events gives the state.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "compiled for tests only, also for those of other crates"
)]

use super::*;
use crate::ids::{ProductId, Request, RequestFingerprint, RequestId, Sku, WarehouseId};
use crate::laws;
use crate::money::Money;
use compact_str::CompactString;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Steps of the whole test run unless the environment asks for more.
const STEPS: u64 = 200_000;
const STEPS_PER_WORLD: u64 = 2_000;
const START: u64 = 1_000_000_000;

/// How often the test run is to step, by `DOORBUSTER_RANDOM_STEPS`.
#[allow(clippy::disallowed_methods, reason = "the length of a test run is asked of who runs it")]
#[must_use]
pub fn steps() -> u64 {
    std::env::var("DOORBUSTER_RANDOM_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(STEPS)
}

/// The worlds that make up a test run: `check` gets each after every step, with the events of that step (a new world's first events
/// with its first step).
pub fn run(steps: u64, mut check: impl FnMut(&World, &[Event])) {
    for seed in 0..steps.div_ceil(STEPS_PER_WORLD) {
        let mut world = World::new(seed);
        for step in 0..STEPS_PER_WORLD.min(steps) {
            let from = if step == 0 { 0 } else { world.events.len() };
            world.step();
            let events: Vec<Event> = world.events[from..].to_vec();
            check(&world, &events);
        }
        let seen = laws::replay_equals_state(&world.events, &world.stock);
        seen.and_then(|()| laws::a_unit_is_sold_at_most_once(&world.events))
            .and_then(|()| laws::nothing_is_reserved_where_nothing_is_for_sale(&world.events))
            .unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}

/// What an order of the model has journaled of this SKU.
#[derive(Debug, Clone, Default)]
struct Buyer {
    id: OrderId,
    units: Units,
    held: Option<Reserved>,
    ended: Option<bool>,
    forgot: bool,
    shipments: u16,
    /// The last shipment's units, of which none has come back.
    sent: Option<Vec<Allocation>>,
    returns: u16,
    /// Sold and still in the building; shipped and not come back.
    unshipped: Vec<Allocation>,
    shipped: Vec<Allocation>,
    /// Journaled movements whose key the SKU may forget.
    done: Vec<MoveKey>,
    books: OrderUnits,
}

/// What a shop with a checkout of its own knows of a reservation.
#[derive(Debug, Clone)]
struct Kept {
    wanted: ExternalRequest,
    committed: bool,
    ended: bool,
    extensions: u32,
}

/// One SKU, its buyers, and a shop with a checkout of its own.
#[derive(Debug)]
pub struct World {
    /// The SKU's state.
    pub stock: Inventory,
    /// Everything that has happened to it.
    pub events: Vec<Event>,
    /// The present instant.
    pub now: Timestamp,
    rng: ChaCha8Rng,
    seed: u64,
    buyers: Vec<Buyer>,
    shop: Vec<Kept>,
    references: u32,
    /// Everything ever sent and not too old: any of it may arrive again.
    network: Vec<(Timestamp, Command)>,
    requests: u64,
    offers: u64,
    warehouse_versions: u64,
}

fn warehouse(number: u32) -> WarehouseId {
    WarehouseId::parse(&format!("w{number}")).unwrap()
}

/// An offer of the SKU, in GBP.
#[must_use]
pub fn offer(version: u64, price: i64) -> Offer {
    Offer {
        sku: Sku::parse("S").unwrap(),
        product: ProductId::parse("p").unwrap(),
        version,
        seller: "sel_main".into(),
        title: "A thing".into(),
        on_sale: true,
        prices: vec![Price { unit: Money { amount: price, currency: Currency::GBP }, was: None, tax_included: true }],
        max_per_order: Some(40),
        hold_s: None,
        tax_class: "standard".into(),
        weight_g: 100,
    }
}

impl World {
    /// A world whose random choices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            stock: Inventory::default(),
            events: Vec::new(),
            now: Timestamp(START),
            rng: ChaCha8Rng::seed_from_u64(seed),
            seed,
            buyers: Vec::new(),
            shop: Vec::new(),
            references: 0,
            network: Vec::new(),
            requests: 0,
            offers: 0,
            warehouse_versions: 0,
        };
        assert_eq!(world.send(Command::Offer(Box::new(offer(1, 100)))), Ok(Reply::Done));
        world
    }

    fn pick(&mut self, below: u32) -> u32 {
        self.rng.random_range(0..below)
    }

    fn send(&mut self, command: Command) -> Result<Reply, Refusal> {
        let copies = self.pick(3);
        let mut answers = Vec::new();
        for _ in 0..=copies {
            answers.push(self.arrive(&command));
        }
        self.network.push((self.now, command));
        answers.swap_remove(0)
    }

    fn arrive(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decision = self.stock.decide(command, self.now)?;
        assert!(!decision.repeated || decision.events.is_empty(), "a repeated command has no events");
        for event in decision.events {
            self.stock.evolve(&event);
            self.events.push(event);
        }
        Ok(decision.reply)
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.pick(26) {
            20..=22 => self.reservation(),
            23 | 24 => self.tend_external(),
            25 => {
                // Now and then long enough that what ended is forgotten.
                if self.pick(8) == 0 {
                    self.now = self.now.plus_s(8 * 24 * 3_600);
                    self.shop.clear();
                }
                let _either = self.send(Command::Wake);
            }
            0 => self.now = self.now.plus_s(u64::from(self.rng.random_range(0..4_000_u32))),
            1..=3 => self.seller(),
            4..=7 => self.late_copy(),
            8 => self.answer_questions(),
            9..=11 => self.new_buyer(),
            _ => self.go_on(),
        }
        self.check();
    }

    fn check(&self) {
        let seed = self.seed;
        laws::stock_is_lawful(&self.stock).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        // What a buyer journaled is what its SKU did, once, however many copies arrived.
        if self.events.len().is_multiple_of(16) {
            let mut books = AuditFold::default();
            self.events.iter().for_each(|event| books.take(event));
            laws::books_agree(&books, &self.stock).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            for buyer in &self.buyers {
                let units = books.order(buyer.id);
                let both = (units.committed, units.shipped, units.returned, units.cancelled);
                let mine = (buyer.books.committed, buyer.books.shipped, buyer.books.returned, buyer.books.cancelled);
                assert_eq!(both, mine, "seed {seed}: {:?}", buyer.id);
                assert!(units.committed == 0 || units.committed == u64::from(buyer.units), "seed {seed}");
            }
        }
    }

    fn request(&mut self) -> Request {
        self.requests += 1;
        let id = RequestId::new("seller", &self.seed.to_string(), &self.requests.to_string());
        Request { id, terms: RequestFingerprint(u128::from(self.requests)) }
    }

    fn seller(&mut self) {
        let request = self.request();
        let warehouse = warehouse(self.pick(3));
        let reference = Some(CompactString::new(format!("PO-{}", self.pick(3))));
        let units = self.pick(60);
        let command = match self.pick(8) {
            0 | 1 => Command::Receive { request, warehouse, units, reference, expected_at: None },
            2 => {
                let expected_at = Some(self.now.plus_s(86_400));
                Command::Receive { request, warehouse, units, reference, expected_at }
            }
            3 | 4 => {
                let delta = i64::from(units) - 40;
                Command::Adjust { request, warehouse, delta, reason: AdjustmentReason::Lost, note: None }
            }
            5 => Command::Count { request, warehouse, counted: units, expected_in_building: None },
            6 => {
                self.warehouse_versions += 1;
                // Mostly open, or nothing would be sold.
                let active = self.pick(3) > 0;
                Command::SetWarehouse { warehouse, active, version: self.warehouse_versions }
            }
            _ => {
                self.offers += 1;
                Command::Offer(Box::new(offer(self.offers + 1, i64::from(units) + 50)))
            }
        };
        let _either = self.send(command);
    }

    /// A copy of anything that is not older than a message lives.
    fn late_copy(&mut self) {
        let oldest = Timestamp(self.now.0.saturating_sub(MOVE_MEMORY_S * 1_000 - 1));
        self.network.retain(|(sent, _)| *sent >= oldest);
        if let Ok(length @ 1..) = u32::try_from(self.network.len()) {
            let index = usize::try_from(self.pick(length)).unwrap();
            let command = self.network[index].1.clone();
            let _either = self.arrive(&command);
        }
    }

    fn reservation(&mut self) {
        let mut requests = Vec::new();
        for _ in 0..=self.pick(3) {
            // Now and then a reference that is in use, for the same or for something else.
            if self.pick(5) > 0 {
                self.references += 1;
            }
            let reference = CompactString::new(format!("shop-{}", self.references));
            let hold_s = u64::from(self.pick(2_000));
            requests.push(ExternalRequest {
                id: ReservationId::of_reference("seller", &reference),
                reference,
                units: self.pick(12),
                hold_s,
                expires_at: self.now.plus_s(hold_s),
                buyer_key: (self.pick(2) == 0).then(|| "u".into()),
            });
        }
        let ranking = vec![warehouse(self.pick(3))];
        let command =
            Command::ReserveExternal { decider: Decider::Stock, ranking, requests: requests.clone(), seller: None };
        let Ok(Reply::ReservedExternal(answers)) = self.send(command) else { panic!("seed {}: external", self.seed) };
        assert_eq!(answers.len(), requests.len());
        for (wanted, answer) in requests.into_iter().zip(answers) {
            match answer {
                Ok(reserved) => {
                    assert_eq!(reserved.reservation.units(), u64::from(wanted.units), "seed {}", self.seed);
                    if !reserved.repeated {
                        self.shop.push(Kept { wanted, committed: false, ended: false, extensions: 0 });
                    }
                }
                Err(
                    Refusal::SoldOut { .. }
                    | Refusal::OtherTerms
                    | Refusal::NotThatMany
                    | Refusal::Ended
                    | Refusal::LimitExceeded { .. },
                ) => {}
                Err(other) => panic!("seed {}: {other:?}", self.seed),
            }
        }
    }

    /// The shop takes a reservation further. What it was told must stay true: what is committed is sold, what is not is not.
    fn tend_external(&mut self) {
        let Ok(count @ 1..) = u32::try_from(self.shop.len()) else { return };
        let index = usize::try_from(self.pick(count)).unwrap();
        let mut kept = self.shop[index].clone();
        let (id, requester) = (kept.wanted.id, Requester::Caller("seller".into()));
        match self.pick(5) {
            0 | 1 => match self.send(Command::EndExternal { id, requester, end: ExternalEnd::Commit }) {
                Ok(Reply::External(now)) => {
                    assert_eq!(now.reservation.status, ExternalStatus::Committed);
                    assert!(kept.committed || !kept.ended, "seed {}: {kept:?} was sold after its end", self.seed);
                    (kept.committed, kept.ended) = (true, true);
                }
                Err(Refusal::ExternalEnded { .. }) => {
                    assert!(!kept.committed, "seed {}: {kept:?} was sold, and then not", self.seed);
                    kept.ended = true;
                }
                other => panic!("seed {}: {other:?}", self.seed),
            },
            2 => match self.send(Command::EndExternal { id, requester, end: ExternalEnd::Release }) {
                Ok(Reply::External(_)) => {
                    assert!(!kept.committed, "seed {}: {kept:?} was sold and is free", self.seed);
                    kept.ended = true;
                }
                Err(Refusal::ExternalEnded { status: ExternalStatus::Committed }) => assert!(kept.committed),
                other => panic!("seed {}: {other:?}", self.seed),
            },
            3 => {
                kept.extensions += 1;
                let request = self.request();
                let expires_at = self.now.plus_s(u64::from(self.pick(3_000)));
                if let Ok(Reply::External(now)) =
                    self.send(Command::ExtendExternal { id, requester, request, expires_at })
                {
                    assert!(now.reservation.expires_at >= expires_at && !kept.ended, "seed {}: {kept:?}", self.seed);
                }
            }
            _ => match self.send(Command::ReadExternal { id, requester }) {
                Ok(Reply::External(now)) => {
                    assert_eq!(
                        now.reservation.status == ExternalStatus::Committed,
                        kept.committed,
                        "seed {}",
                        self.seed
                    );
                }
                other => panic!("seed {}: {other:?}", self.seed),
            },
        }
        self.shop[index] = kept;
    }

    fn answer_questions(&mut self) {
        for key in self.stock.owed(self.now) {
            let Some(Effect::Ask { to: EntityId::Order(order), command }) = self.stock.effect(key) else {
                panic!("seed {}: a question is to an order", self.seed);
            };
            let message::Command::Order(order::Command::StillWanted { reservation, .. }) = command else {
                panic!("seed {}: {command:?}", self.seed);
            };
            let buyer = self.buyers.iter().find(|buyer| buyer.id == order);
            let mine = buyer.filter(|buyer| buyer.held.as_ref().map(|held| held.reservation) == reservation);
            let outcome = match mine {
                Some(buyer) if buyer.ended.is_none() => {
                    Outcome::Replied(message::Reply::Order(order::Reply::Keep { until: self.now.plus_s(60) }))
                }
                Some(_) | None => Outcome::Refused(message::Refusal::Order(order::Refusal::Unknown)),
            };
            if let Some(command) = self.stock.answered(key, outcome) {
                let _either = self.arrive(&command);
            }
        }
    }

    fn new_buyer(&mut self) {
        let key = self.buyers.len().to_string();
        let id = OrderId::of_request(RequestId::new("buyer", &self.seed.to_string(), &key));
        let units = 1 + self.pick(45);
        let ranking = vec![warehouse(self.pick(3)), warehouse(self.pick(3))];
        let command = Command::Reserve {
            order: id,
            units,
            currency: Currency::GBP,
            expected_unit_price: None,
            ranking,
            expires_at: self.now.plus_s(600),
            instead_of: None,
        };
        if let Ok(Reply::Reserved(held)) = self.send(command) {
            assert_eq!(memory::units_of(&held.allocations), u64::from(units));
            self.buyers.push(Buyer { id, units, held: Some(*held), ..Buyer::default() });
        }
    }

    /// A buyer takes its next step.
    fn go_on(&mut self) {
        let Ok(count @ 1..) = u32::try_from(self.buyers.len()) else { return };
        // Mostly the newest: the old ones have little left to do.
        let back = usize::try_from(self.pick(count.min(12))).unwrap();
        let index = self.buyers.len() - 1 - back;
        let mut buyer = self.buyers[index].clone();
        self.buyer_step(&mut buyer);
        self.buyers[index] = buyer;
    }

    fn buyer_step(&mut self, buyer: &mut Buyer) {
        let order = buyer.id;
        let Some(held) = buyer.held.clone() else { return };
        let reservation = held.reservation;
        match (buyer.ended, buyer.forgot, self.pick(6)) {
            (None, _, 0..=3) => {
                assert_eq!(self.send(Command::Commit { order, reservation }), Ok(Reply::Done));
                buyer.ended = Some(true);
                buyer.books.committed += u64::from(buyer.units);
                buyer.unshipped = held.allocations;
            }
            (None, _, _) => {
                assert_eq!(self.send(Command::Release { order, reservation }), Ok(Reply::Done));
                buyer.ended = Some(false);
            }
            (Some(_), false, _) => {
                assert_eq!(self.send(Command::Forget { order, reservation }), Ok(Reply::Done));
                buyer.forgot = true;
            }
            (Some(true), true, 0 | 1) if self.rng.random_bool(0.3) => self.unship(buyer),
            (Some(true), true, 0 | 1) => self.ship(buyer),
            (Some(true), true, 2 | 3) => self.send_back(buyer),
            (Some(true), true, _) => {
                let moves = std::mem::take(&mut buyer.done);
                assert_eq!(self.send(Command::ForgetMoves { order, moves }), Ok(Reply::Done));
            }
            (Some(false), true, _) => {}
        }
    }

    /// Some of these units, taken from the list.
    fn some_of(&mut self, from: &mut Vec<Allocation>) -> Vec<Allocation> {
        let mut taken = Vec::new();
        for part in from.iter_mut() {
            let units = self.rng.random_range(0..=part.units);
            part.units -= units;
            if units > 0 {
                taken.push(Allocation { warehouse: part.warehouse.clone(), units });
            }
        }
        from.retain(|part| part.units > 0);
        taken
    }

    fn ship(&mut self, buyer: &mut Buyer) {
        let allocations = self.some_of(&mut buyer.unshipped);
        if allocations.is_empty() {
            return;
        }
        buyer.shipments += 1;
        let shipment = buyer.shipments;
        buyer.books.shipped += memory::units_of(&allocations);
        buyer.shipped.extend(allocations.clone());
        buyer.done.push(MoveKey::Ship { shipment });
        buyer.sent = Some(allocations.clone());
        let command = Command::Ship { order: buyer.id, shipment, allocations };
        assert_eq!(self.send(command), Ok(Reply::Done), "seed {}", self.seed);
    }

    /// The last shipment is taken back: it never left, or it is lost and sent again.
    fn unship(&mut self, buyer: &mut Buyer) {
        let Some(allocations) = buyer.sent.take() else { return };
        // An order asks for others in place of lost units until there are some.
        let has = |part: &Allocation| {
            let mut levels = self.stock.levels();
            levels.any(|level| level.warehouse == part.warehouse && level.available() >= u64::from(part.units))
        };
        let (order, shipment) = (buyer.id, buyer.shipments);
        let lost = allocations.iter().all(has) && self.rng.random_bool(0.5);
        let unship = Command::Unship { order, shipment, allocations: allocations.clone(), lost };
        assert_eq!(self.send(unship), Ok(Reply::Done), "seed {}", self.seed);
        buyer.done.push(MoveKey::Unship { shipment });
        buyer.books.shipped -= memory::units_of(&allocations);
        for part in &allocations {
            let gone =
                buyer.shipped.iter_mut().find(|gone| gone.warehouse == part.warehouse && gone.units == part.units);
            gone.expect("it was shipped").units = 0;
        }
        buyer.shipped.retain(|part| part.units > 0);
        buyer.unshipped.extend(allocations);
    }

    fn send_back(&mut self, buyer: &mut Buyer) {
        let cancel = self.rng.random_bool(0.5);
        let allocations = if cancel { self.some_of(&mut buyer.unshipped) } else { self.some_of(&mut buyer.shipped) };
        if allocations.is_empty() {
            return;
        }
        buyer.returns += 1;
        let number = buyer.returns;
        let units = memory::units_of(&allocations);
        let key = if cancel {
            buyer.books.cancelled += units;
            ReturnKey::Cancel { number }
        } else {
            buyer.books.returned += units;
            buyer.sent = None;
            ReturnKey::Return { number, receipt: 1 }
        };
        buyer.done.push(MoveKey::Return(key));
        let restock = self.rng.random_bool(0.7);
        let command = Command::Return { order: buyer.id, key, allocations, restock };
        assert_eq!(self.send(command), Ok(Reply::Done), "seed {}", self.seed);
    }
}

#[test]
fn the_laws_hold_whatever_arrives_how_often_and_how_late_r1_r2_r3() {
    let mut reserved = 0_u64;
    run(steps(), |_, new| {
        reserved += u64::try_from(new.iter().filter(|event| matches!(event, Event::Reserved { .. })).count()).unwrap();
    });
    assert!(reserved > 1_000, "the worlds do trade: {reserved}");
}

#[test]
fn memory_of_moves_does_not_grow_with_the_orders_r2() {
    let mut stock = Inventory::default();
    let mut run = |command: Command, now: Timestamp| {
        let decision = stock.decide(&command, now).unwrap();
        decision.events.iter().for_each(|event| stock.evolve(event));
        (decision.reply, stock.remembered())
    };
    let mut now = Timestamp(START);
    run(Command::Offer(Box::new(offer(1, 100))), now);
    let request = Request { id: RequestId(1), terms: RequestFingerprint(1) };
    let warehouse = warehouse(1);
    run(Command::Receive { request, warehouse, units: 5_000, reference: None, expected_at: None }, now);
    let mut most = 0;
    for number in 0..5_000_u32 {
        now = now.plus_s(60);
        let order = OrderId::of_request(RequestId::new("b", "/v1/orders", &number.to_string()));
        let expires_at = now.plus_s(600);
        let (currency, expected_unit_price) = (Currency::GBP, None);
        let reserve = Command::Reserve {
            order,
            units: 1,
            currency,
            expected_unit_price,
            ranking: vec![],
            expires_at,
            instead_of: None,
        };
        let (Reply::Reserved(held), _) = run(reserve, now) else { panic!("there are 5,000") };
        let (reservation, allocations) = (held.reservation, held.allocations);
        run(Command::Commit { order, reservation }, now);
        run(Command::Forget { order, reservation }, now);
        run(Command::Ship { order, shipment: 1, allocations }, now);
        let (_, remembered) = run(Command::ForgetMoves { order, moves: vec![MoveKey::Ship { shipment: 1 }] }, now);
        most = most.max(remembered);
    }
    assert_eq!(stock.reservations().count(), 0);
    // One hour's worth at one a minute, and at most a few in each chunk that saw no later word.
    assert!(most <= 60 + 2 * usize::from(CHUNKS), "{most} of 5,000 remembered");
}
