//! A small world of real stock, real carts, real orders and a model of a provider, driven by a seed: everything they owe one
//! another is sent twice, late, out of order, or lost; deadlines come at any moment; and any of them is rebuilt from its events in
//! the middle. Every step checks the laws; at the end the world heals, and every saga must have ended.

mod books;
mod claims;
mod desk;
mod edits;
mod given_up;
mod money_back;
mod other_money;
mod parcels;
mod past_provider;
mod people;
mod provider;
mod work;

use self::provider::Provider;
use super::{
    Address, AttentionReason, Buyer, CancelReason, CapturePolicy, Command, Condition, Destination, Instruction,
    LineUnits, Order, OrderTerms, PaymentPolicy, Personal, PlaceOrder, ReceivedLine, RefundWhat, ReturnLine,
    ReturnPolicy, ReturnStatus, Shipping, Source, Stage, TaxTable, Wanted, laws,
};
use crate::any::State;
use crate::cart;
use crate::effect::{Effect, EffectKey, Outcome};
use crate::entity::Entity;
use crate::ids::{
    CartId, EntityId, InstallationId, OrderId, ProductId, Request, RequestFingerprint, RequestId, Sku, WarehouseId,
};
use crate::inventory::{self, Offer, Price};
use crate::laws as shared;
use crate::message;
use crate::money::{Currency, Money};
use crate::payment::{ProviderAnswer, ProviderCall, ProviderReport, Retry};
use crate::time::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

pub(crate) const INSTALLATION: InstallationId = InstallationId(0xd00b << 20);
const START: u64 = 1_000_000_000;
const SKUS: usize = 3;
const ORDERS_MAX: usize = 6;

/// Something under way.
#[derive(Debug, Clone)]
enum Message {
    Ask { from: EntityId, key: EffectKey, to: EntityId, command: message::Command },
    Answer { to: EntityId, key: EffectKey, outcome: Outcome },
    Call { from: EntityId, key: EffectKey, call: ProviderCall },
    Webhook { report: ProviderReport },
}

struct Entry {
    state: State,
    events: Vec<message::Event>,
}

struct World {
    seed: u64,
    rng: ChaCha8Rng,
    now: Timestamp,
    entities: BTreeMap<EntityId, Entry>,
    network: Vec<Message>,
    provider: Provider,
    requests: u64,
    healing: bool,
}

fn sku(number: usize) -> Sku {
    Sku::parse(&format!("S{number}")).unwrap()
}

fn warehouse(number: usize) -> WarehouseId {
    WarehouseId::parse(&format!("w{number}")).unwrap()
}

fn gbp(amount: i64) -> Money {
    Money { amount, currency: Currency::GBP }
}

fn request(path: &str, key: u64) -> Request {
    Request { id: RequestId::new("p", path, &key.to_string()), terms: RequestFingerprint(u128::from(key)) }
}

fn offer(number: usize, unit: i64) -> Offer {
    Offer {
        sku: sku(number),
        product: ProductId::parse("p").unwrap(),
        version: 1,
        seller: "sel_main".into(),
        title: "A thing".into(),
        on_sale: true,
        prices: vec![Price { unit: gbp(unit), was: None, tax_included: true }],
        max_per_order: None,
        hold_s: None,
        tax_class: "standard".into(),
        weight_g: 100,
    }
}

pub(crate) fn terms(capture: CapturePolicy) -> OrderTerms {
    OrderTerms {
        currency: Currency::GBP,
        seller: "sel_main".into(),
        owner: "gst_1".into(),
        destination: Destination { country: "GB".into(), postal_area: Some("LS1".into()) },
        shipping: Some(Shipping { option: "std".into(), price: gbp(499), tax_included: true }),
        tax: TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes: Vec::new() },
        hold_s: 600,
        payment: PaymentPolicy {
            provider: "simulated".into(),
            capture,
            attempts_max: 3,
            keys_life_s: 86_400,
            query_after_s: 10,
            lapse_margin_s: 3_600,
            method_hold_s: vec![("bank_transfer".into(), 1_200)],
        },
        returns: ReturnPolicy { window_days: 30, auto_approve: true },
        ranking: vec![warehouse(0), warehouse(1)],
        expected_total: None,
        metadata: Vec::new(),
        claims: None,
    }
}

pub(crate) fn personal(name: &str) -> Personal {
    Personal {
        salt: [7; 16],
        buyer: Buyer { email: Some("a@b.example".into()), name: Some(name.into()), phone: None, locale: None },
        ship_to: Some(Address { country: "GB".into(), line1: Some("1 High St".into()), ..Address::default() }),
        bill_to: None,
        note: None,
    }
}

fn instruction(method: &str) -> Instruction {
    Instruction { method: method.into(), token: Some("tok".into()), return_url: None, capture: None, goods_first: None }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Timestamp(START),
            entities: BTreeMap::new(),
            network: Vec::new(),
            provider: Provider::default(),
            requests: 0,
            healing: false,
        };
        for number in 0..SKUS {
            let stock = EntityId::Inventory(sku(number));
            let price = if number == 0 { 12_999 } else { 333 * i64::try_from(number).unwrap() };
            let _told = world
                .tell(&stock, &message::Command::Inventory(inventory::Command::Offer(Box::new(offer(number, price)))));
            for place in 0..2 {
                let receive = inventory::Command::Receive {
                    request: request("receipts", u64::try_from(number * 2 + place).unwrap()),
                    warehouse: warehouse(place),
                    units: if seed.is_multiple_of(3) { 6 } else { 60 },
                    reference: None,
                    expected_at: None,
                };
                let _told = world.tell(&stock, &message::Command::Inventory(receive));
            }
        }
        world
    }

    fn pick(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn tell(&mut self, to: &EntityId, command: &message::Command) -> Result<message::Reply, message::Refusal> {
        let now = self.now;
        let entry =
            self.entities.entry(to.clone()).or_insert_with(|| Entry { state: State::empty(to), events: Vec::new() });
        let decision = entry.state.decide(command, now)?;
        assert!(!decision.repeated || decision.events.is_empty(), "a repeated request has no second effect");
        for event in decision.events {
            entry.state.evolve(&event);
            entry.events.push(event);
        }
        if let State::Order(order) = &entry.state {
            let seed = self.seed;
            laws::all(order)
                .unwrap_or_else(|violation| panic!("seed {seed}: {violation}\n{command:?}\n{:#?}", entry.events));
        }
        if let State::Inventory(stock) = &entry.state {
            shared::stock_is_lawful(stock).unwrap_or_else(|violation| panic!("seed {}: {violation}", self.seed));
        }
        Ok(decision.reply)
    }

    fn order(&self, id: OrderId) -> &Order {
        match &self.entities[&EntityId::Order(id)].state {
            State::Order(order) => order,
            other => panic!("{other:?} is no order"),
        }
    }

    fn orders(&self) -> Vec<OrderId> {
        let ids = self.entities.keys().filter_map(|id| match id {
            EntityId::Order(order) => Some(*order),
            _ => None,
        });
        ids.filter(|id| self.order(*id).exists()).collect()
    }

    fn new_request(&mut self, path: &str) -> Request {
        self.requests += 1;
        request(path, self.requests)
    }

    /// One thing happens.
    fn step(&mut self) {
        match self.pick(16) {
            0 if self.orders().len() < ORDERS_MAX => self.place(),
            0..=3 => self.send_something(),
            4..=8 => self.deliver_something(),
            9 => {
                // A quiet minute: whoever owes something is heard.
                for _ in 0..20 {
                    self.send_something();
                    self.deliver_something();
                }
            }
            10 if self.chance(30) => {
                let ms = [1, 50, 1_000, 15_000, 120_000, 400_000][self.pick(6)];
                self.now = self.now.plus_ms(ms);
                self.wake_due();
            }
            11 => self.crash_something(),
            12..=14 => self.somebody_acts(),
            _ => self.shopper_acts(),
        }
    }

    fn send_something(&mut self) {
        let ids: Vec<EntityId> = self.entities.keys().cloned().collect();
        let id = &ids[self.pick(ids.len())];
        let owed = self.entities[id].state.owed(self.now);
        if !owed.is_empty() {
            let key = owed[self.pick(owed.len())];
            self.send(id, key);
        }
    }

    fn send(&mut self, from: &EntityId, key: EffectKey) {
        let effect = self.entities[from].state.effect(key);
        let effect =
            effect.unwrap_or_else(|| panic!("seed {}: {from} owes {key:?} and has no effect for it", self.seed));
        self.network.push(match effect {
            Effect::Ask { to, command } => Message::Ask { from: from.clone(), key, to, command },
            Effect::Provider(call) => Message::Call { from: from.clone(), key, call },
        });
    }

    fn deliver_something(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let index = self.pick(self.network.len());
        if !self.healing && self.chance(10) {
            self.network.swap_remove(index);
            return;
        }
        let again = !self.healing && self.chance(15);
        let message = if again { self.network[index].clone() } else { self.network.swap_remove(index) };
        self.arrive(message);
    }

    fn arrive(&mut self, message: Message) {
        match message {
            Message::Ask { from, key, to, command } => {
                let outcome = match self.tell(&to, &command) {
                    Ok(reply) => Outcome::Replied(reply),
                    Err(refusal) => Outcome::Refused(refusal),
                };
                self.network.push(Message::Answer { to: from, key, outcome });
            }
            Message::Answer { to, key, outcome } => {
                if let Some(command) = self.entities[&to].state.answered(key, outcome) {
                    let _taken = self.tell(&to, &command);
                }
            }
            Message::Call { from, key, call } => {
                let moody = !self.healing;
                let (report, webhook) = self.provider.call(&call, self.now, moody, &mut self.rng);
                if let Some(report) = webhook {
                    self.network.push(Message::Webhook { report });
                }
                self.network.push(Message::Answer { to: from, key, outcome: Outcome::Provider(Box::new(report)) });
            }
            Message::Webhook { report } => {
                let order = EntityId::Order(report.reference.order);
                let _taken =
                    self.tell(&order, &message::Command::Order(Command::ProviderSays { report: Box::new(report) }));
            }
        }
    }

    fn wake_due(&mut self) {
        let ids: Vec<EntityId> = self.entities.keys().cloned().collect();
        for id in ids {
            // Wakes may be missed for a while; the deadline stays due.
            if self.healing || self.chance(70) {
                let _woken = self.tell(&id, &message::Command::Wake);
            }
        }
    }

    fn crash_something(&mut self) {
        let ids: Vec<EntityId> = self.entities.keys().cloned().collect();
        let id = ids[self.pick(ids.len())].clone();
        let entry = self.entities.get_mut(&id).unwrap();
        let mut again = State::empty(&id);
        for event in &entry.events {
            again.evolve(event);
        }
        assert_eq!(again, entry.state, "seed {}: replaying the events of {id} gives another state", self.seed);
        entry.state = again;
        // What the instance had under way is forgotten; the state owes it still.
        self.network.retain(|message| match message {
            Message::Answer { to, .. } => *to != id,
            Message::Ask { .. } | Message::Call { .. } | Message::Webhook { .. } => true,
        });
    }

    /// The network carries, the provider answers, the operator does what is shown to him: until nothing is owed.
    fn heal(&mut self) {
        self.healing = true;
        // What is to be sent in place of lost units arrives one day.
        for number in 0..SKUS {
            for place in 0..2 {
                let receive = inventory::Command::Receive {
                    request: self.new_request("receipts"),
                    warehouse: warehouse(place),
                    units: 60,
                    reference: None,
                    expected_at: None,
                };
                let stock = EntityId::Inventory(sku(number));
                let _told = self.tell(&stock, &message::Command::Inventory(receive));
            }
        }
        let taken_back = self.provider.all_taken_back();
        self.network.extend(taken_back.into_iter().map(|report| Message::Webhook { report }));
        for _ in 0..2_000 {
            while !self.network.is_empty() {
                self.deliver_something();
            }
            let ids: Vec<EntityId> = self.entities.keys().cloned().collect();
            let mut sent = false;
            for id in &ids {
                for key in self.entities[id].state.owed(self.now) {
                    self.send(id, key);
                    sent = true;
                }
            }
            if sent {
                while !self.network.is_empty() {
                    self.deliver_something();
                }
            }
            self.operator_acts();
            while let Some(report) = self.provider.act(self.now, &mut self.rng) {
                self.network.push(Message::Webhook { report });
            }
            let troubled = self.orders().iter().any(|id| !self.order(*id).troubles.is_empty());
            let owes = troubled || ids.iter().any(|id| !self.entities[id].state.owed(self.now).is_empty());
            let next = ids.iter().filter_map(|id| self.entities[id].state.wake_at(self.now)).min();
            match next {
                None if !owes && self.network.is_empty() => return,
                // A hundred days on, only what lapses one day is left: the sagas have long ended.
                Some(at) if !owes && self.network.is_empty() && at.0 > START + 100 * 86_400_000 => return,
                Some(at) => self.now = if owes { self.now.plus_ms(1_000) } else { at },
                None => self.now = self.now.plus_ms(1_000),
            }
            self.wake_due();
        }
        let owing: Vec<_> = self
            .entities
            .iter()
            .map(|(id, entry)| (id, entry.state.owed(self.now)))
            .filter(|(_, owed)| !owed.is_empty())
            .collect();
        panic!("seed {}: the world does not come to rest: {owing:?}", self.seed);
    }
}

impl OrderTerms {
    fn keys_life_s_for_test(&mut self, seconds: u64) {
        self.payment.keys_life_s = seconds;
    }
}

/// A number that who runs the test may set.
#[expect(clippy::disallowed_methods, reason = "the length of a test run is asked of who runs it")]
fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn whatever_is_lost_doubled_or_late_every_saga_ends_confirmed_or_compensated() {
    let first: u64 = asked("DOORBUSTER_FIRST_WORLD", 0);
    for seed in first..first + asked("DOORBUSTER_WORLDS", 200) {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        world.heal();
        world.check_the_end();
        for (id, entry) in &world.entities {
            let EntityId::Order(_) = id else { continue };
            let mut order = Order::default();
            for event in &entry.events {
                let message::Event::Order(event) = event else { continue };
                let before = order.clone();
                order.evolve(event);
                laws::stages_move_along_the_drawing(&before, &order)
                    .unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            }
        }
    }
}
