//! One client: thinks, asks, is cut off, asks again with the same key, gives up, comes back later.

use crate::judge::is_open;
use crate::plan::rng_of;
use crate::tending;
use crate::words;
use crate::world::{World, pass};
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_domain::any::{Command, Refusal};
use doorbuster_domain::counter;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, Request};
use doorbuster_domain::order::{self, Source};
use doorbuster_domain::{cart, inventory, product, reservation};
use futures_util::future::join_all;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Tries of one request before its client gives up.
const TRIES_MAX: u32 = 12;
/// What a client does with an order of its own before it turns to something else, at most.
const FOLLOW_UPS_MAX: u32 = 5;

/// One client.
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) rng: ChaCha8Rng,
    name: String,
    keys: u32,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, number: u64) -> Self {
        let rng = rng_of(world.plan.seed, 100 + number);
        Self { world: Arc::clone(world), rng, name: format!("client {number}"), keys: 0 }
    }

    /// Opens the shop: the product and the first stock. Goes on until all of it is there.
    pub(crate) async fn open_shop(&mut self) {
        let (skus, warehouses) = (self.world.skus(), self.world.warehouses());
        self.put_product().await;
        for sku in &skus {
            for warehouse in &warehouses {
                let units = self.rng.random_range(1..=self.world.plan.stock_max);
                let key = self.key();
                let (entity, request, command) = words::receive(sku, warehouse, units, &key);
                self.post(entity, request, command, Wait::Decided).await;
            }
        }
    }

    /// Shops, sells, looks, until it has done enough.
    pub(crate) async fn live(mut self) {
        for _ in 0..self.rng.random_range(1..=self.world.plan.actions_max) {
            self.think().await;
            if self.world.broken().is_some() {
                return;
            }
            match self.rng.random_range(0..100) {
                0..55 => self.buy().await,
                55..80 => self.tend_any().await,
                80..87 => self.move_stock().await,
                87..90 => self.put_product().await,
                _ => self.look().await,
            }
        }
    }

    pub(crate) async fn think(&mut self) {
        let millis = self.rng.random_range(0..=self.world.plan.think_max_ms);
        pass(millis).await;
    }

    pub(crate) fn key(&mut self) -> String {
        self.keys += 1;
        format!("{} {}", self.name, self.keys)
    }

    async fn buy(&mut self) {
        let key = self.key();
        let (skus, warehouses) = (self.world.skus(), self.world.warehouses());
        let source = if self.rng.random_bool(0.3) {
            match self.fill_cart().await {
                Some(cart) => Source::Cart(cart),
                None => return,
            }
        } else {
            Source::Lines(words::lines(&mut self.rng, &skus))
        };
        let world = Arc::clone(&self.world);
        let (id, request, command) = words::place(&mut self.rng, &world.plan, &warehouses, &key, source);
        world.placing(id);
        let wait = [Wait::Decided, Wait::Held, Wait::Settled][self.rng.random_range(0..3)];
        let placed = self.post(EntityId::Order(id), request, command, wait).await;
        if placed.is_none() || self.rng.random_bool(0.25) {
            // Gave up, or walks away: the deadline must see to the rest.
            return;
        }
        for _ in 0..self.rng.random_range(0..=FOLLOW_UPS_MAX) {
            self.think().await;
            if !world.judge().order(id).is_some_and(is_open) {
                return;
            }
            tending::tend(self, id).await;
        }
    }

    async fn fill_cart(&mut self) -> Option<doorbuster_domain::ids::CartId> {
        let key = self.key();
        let (entity, id, create) = words::create_cart(&key);
        self.insist(entity.clone(), &create).await?;
        let skus = self.world.skus();
        let lines = if self.rng.random_ratio(1, 15) { 0 } else { self.rng.random_range(1..=3) };
        for _ in 0..lines {
            let sku = &skus[self.rng.random_range(0..skus.len())];
            let quantity = if self.rng.random_ratio(1, 15) { 0 } else { self.rng.random_range(1..=2) };
            self.insist(entity.clone(), &words::set_line(sku, quantity)).await;
        }
        Some(id)
    }

    /// Turns to any order: the seller's people do that, and impatient shoppers with two windows.
    async fn tend_any(&mut self) {
        let orders = self.world.orders();
        if orders.is_empty() {
            return;
        }
        let id = orders[self.rng.random_range(0..orders.len())];
        for _ in 0..self.rng.random_range(1..=3) {
            tending::tend(self, id).await;
            self.think().await;
        }
    }

    async fn move_stock(&mut self) {
        let (skus, warehouses) = (self.world.skus(), self.world.warehouses());
        let sku = &skus[self.rng.random_range(0..skus.len())];
        let warehouse = &warehouses[self.rng.random_range(0..warehouses.len())];
        let key = self.key();
        let (entity, request, command) = if self.rng.random_bool(0.5) {
            words::receive(sku, warehouse, self.rng.random_range(1..=2), &key)
        } else {
            words::correct(&mut self.rng, sku, warehouse, &key)
        };
        self.post(entity, request, command, Wait::Decided).await;
    }

    async fn put_product(&mut self) {
        let skus = self.world.skus();
        let (entity, command) = words::put_product(&mut self.rng, &skus);
        self.insist(entity, &command).await;
    }

    async fn look(&mut self) {
        let known: Vec<EntityId> = self.world.judge().models().map(|(entity, _)| entity.clone()).collect();
        if known.is_empty() {
            return;
        }
        let entity = known[self.rng.random_range(0..known.len())].clone();
        let read = read_of(&entity);
        self.once(entity, read, Wait::Decided).await;
    }

    /// One question, with some patience.
    pub(crate) async fn once(&mut self, entity: EntityId, command: Command, wait: Wait) -> Answer {
        let patience_ms = self.rng.random_range(100..8_000);
        let by = words::platform();
        let ask = self.world.question(entity, command, by, wait, patience_ms);
        self.world.ask(&self.name, ask).await
    }

    /// A command without a key that may be said twice: until it is answered.
    async fn insist(&mut self, entity: EntityId, command: &Command) -> Option<Accepted> {
        for _ in 0..TRIES_MAX {
            match self.once(entity.clone(), command.clone(), Wait::Decided).await {
                Answer::Accepted(accepted) => return Some(*accepted),
                Answer::Refused(_) | Answer::Stale { .. } => return None,
                Answer::Unknown
                | Answer::Late
                | Answer::Busy { .. }
                | Answer::Quarantined
                | Answer::NotServing
                | Answer::Panicked => self.pause().await,
            }
        }
        None
    }

    async fn pause(&mut self) {
        let millis = self.rng.random_range(10..900);
        pass(millis).await;
    }

    /// A POST: one to five copies, some at once, again after every answer that settles nothing. Every copy that is accepted must hear
    /// the same, and at most one of them may be the first.
    pub(crate) async fn post(
        &mut self,
        entity: EntityId,
        request: Request,
        command: Command,
        wait: Wait,
    ) -> Option<Accepted> {
        let mut copies: u32 = if self.rng.random_bool(0.4) { self.rng.random_range(2..=5) } else { 1 };
        let mut accepted: Option<Accepted> = None;
        let mut firsts = 0;
        for _ in 0..TRIES_MAX {
            if copies == 0 {
                break;
            }
            let at_once = if self.rng.random_bool(0.5) { copies } else { 1 };
            let asks: Vec<Ask> = (0..at_once).map(|_| self.ask_of(&entity, &command, wait)).collect();
            let (world, name) = (Arc::clone(&self.world), self.name.clone());
            let answers = join_all(asks.into_iter().map(|ask| world.ask(&name, ask))).await;
            for answer in answers {
                match answer {
                    Answer::Accepted(one) => {
                        copies = copies.saturating_sub(1);
                        firsts += u32::from(!one.repeated);
                        if is_no_more_than_true(&command) {
                            firsts = 0;
                        } else {
                            let heard = self.world.judge().acked(request.id, &entity, &one.reply);
                            self.world.check(heard);
                        }
                        accepted = Some(*one);
                    }
                    Answer::Refused(refusal) => {
                        copies = copies.saturating_sub(1);
                        if self.world.judge().is_acked(request.id) {
                            self.world
                                .broke(&format!("{entity}: {request:?} was accepted, and then refused: {refusal:?}"));
                        }
                    }
                    Answer::Stale { .. }
                    | Answer::Unknown
                    | Answer::Late
                    | Answer::Busy { .. }
                    | Answer::Quarantined
                    | Answer::NotServing
                    | Answer::Panicked => {}
                }
            }
            if firsts > 1 {
                self.world.broke(&format!("{entity}: {request:?} had its effect {firsts} times"));
            }
            if copies > 0 {
                self.pause().await;
            }
        }
        accepted
    }

    fn ask_of(&mut self, entity: &EntityId, command: &Command, wait: Wait) -> Ask {
        let patience_ms = self.rng.random_range(100..8_000);
        let by = words::platform();
        let mut ask = self.world.question(entity.clone(), command.clone(), by, wait, patience_ms);
        if let Command::Order(order::Command::Place(place)) = command
            && self.sold_out_at_the_door(&place.source)
        {
            ask.reject_if_absent = Some(Box::new(Refusal::Order(order::Refusal::Unknown)));
        }
        ask
    }

    /// Rule R5: what shoppers may see says that there is nothing left.
    fn sold_out_at_the_door(&self, source: &Source) -> bool {
        let Source::Lines(lines) = source else { return false };
        let Some(node) = self.world.node() else { return false };
        lines
            .iter()
            .any(|line| node.views().get(&line.sku).is_some_and(|view| view.stock().available < u64::from(line.units)))
    }
}

/// A shipment that has arrived already, or is lost already, is what the request says: it needs no effect, and its key binds nothing.
const fn is_no_more_than_true(command: &Command) -> bool {
    matches!(command, Command::Order(order::Command::Deliver { .. } | order::Command::Lose { .. }))
}

/// The command that only looks.
pub(crate) fn read_of(entity: &EntityId) -> Command {
    match entity {
        EntityId::Order(_) => Command::Order(order::Command::Read),
        EntityId::Inventory(_) => Command::Inventory(inventory::Command::Read),
        EntityId::Cart(_) => Command::Cart(cart::Command::Access),
        EntityId::Product(_) => Command::Product(product::Command::Read),
        EntityId::Warehouse(_) => Command::Wake,
        EntityId::Counter(_) => Command::Counter(counter::Command::Read),
        EntityId::Reservation(_) => Command::Reservation(reservation::Command::Read { owner: words::OWNER.into() }),
    }
}
