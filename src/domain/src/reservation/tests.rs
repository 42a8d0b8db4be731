//! All or none over several SKUs, with a network that sends everything again, late and out of order.

use super::*;
use crate::ids::{RequestFingerprint, RequestId, ReservationId, Sku, WarehouseId};
use crate::inventory::random::offer;
use crate::inventory::{AuditFold, Inventory};
use crate::laws;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const OWNER: &str = "seller:sel_main";
const NOW: Timestamp = Timestamp(1_000_000);

/// A reservation, its SKUs, and what is under way between them.
struct World {
    reservation: Reservation,
    events: Vec<Event>,
    stocks: Vec<(Sku, Inventory, Vec<inventory::Event>)>,
    now: Timestamp,
    /// Everything ever sent: any of it may arrive again.
    sent: Vec<EffectKey>,
}

impl World {
    fn with(units: &[u32]) -> Self {
        let stocks = (1_u128..)
            .zip(units)
            .map(|(number, units)| {
                let mut stock = Inventory::default();
                let request = Request { id: RequestId(number), terms: RequestFingerprint(number) };
                let warehouse = WarehouseId::parse("w1").unwrap();
                let receive = inventory::Command::Receive {
                    request,
                    warehouse,
                    units: *units,
                    reference: None,
                    expected_at: None,
                };
                let offer = inventory::Offer { sku: sku(number), max_per_order: None, ..offer(1, 100) };
                let mut events = Vec::new();
                for command in [inventory::Command::Offer(Box::new(offer)), receive] {
                    let decision = stock.decide(&command, NOW).unwrap();
                    decision.events.iter().for_each(|event| stock.evolve(event));
                    events.extend(decision.events);
                }
                (sku(number), stock, events)
            })
            .collect();
        Self { reservation: Reservation::default(), events: Vec::new(), stocks, now: NOW, sent: Vec::new() }
    }

    fn tell(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decision = self.reservation.decide(command, self.now)?;
        for event in decision.events {
            self.reservation.evolve(&event);
            self.events.push(event);
        }
        laws::replay_equals_state(&self.events, &self.reservation).unwrap();
        Ok(decision.reply)
    }

    fn make(&mut self, units: &[u32]) -> Result<Reply, Refusal> {
        self.tell(&Command::Make(Box::new(made(units, self.now))))
    }

    /// The effect of a key arrives at its SKU; its answer comes back if it is not lost.
    fn deliver(&mut self, key: EffectKey, lost: bool) {
        let Some(Effect::Ask { to: EntityId::Inventory(sku), command: message::Command::Inventory(command) }) =
            self.reservation.effect(key)
        else {
            return;
        };
        let outcome = self.ask_stock(&sku, &command);
        if !lost && let Some(command) = self.reservation.answered(key, outcome) {
            self.tell(&command).unwrap();
        }
    }

    fn ask_stock(&mut self, sku: &Sku, command: &inventory::Command) -> Outcome {
        let now = self.now;
        let (_, stock, events) = self.stocks.iter_mut().find(|(name, ..)| name == sku).unwrap();
        let outcome = match stock.decide(command, now) {
            Ok(decision) => {
                for event in decision.events {
                    stock.evolve(&event);
                    events.push(event);
                }
                Outcome::Replied(message::Reply::Inventory(decision.reply))
            }
            Err(refusal) => Outcome::Refused(message::Refusal::Inventory(refusal)),
        };
        laws::stock_is_lawful(stock).unwrap();
        laws::a_unit_is_sold_at_most_once(events.iter()).unwrap();
        outcome
    }

    /// Everything owed is done.
    fn run(&mut self) {
        for _ in 0..100 {
            let owed = self.reservation.owed(self.now);
            if owed.is_empty() {
                return;
            }
            owed.into_iter().for_each(|key| self.deliver(key, false));
        }
        panic!("it never comes to rest: {:?}", self.reservation);
    }

    /// What each SKU holds for the reservation, has sold to it, and has free.
    fn books(&self) -> Vec<(u64, u64, u64)> {
        let of = |(_, stock, events): &(Sku, Inventory, Vec<inventory::Event>)| {
            let mut fold = AuditFold::default();
            events.iter().for_each(|event| fold.take(event));
            let units = fold.external_units(id());
            (units.live(), units.committed, stock.read().available())
        };
        self.stocks.iter().map(of).collect()
    }

    fn end(&mut self, end: ReservationEnd) -> Result<Reply, Refusal> {
        let told = self.tell(&Command::End { owner: OWNER.into(), end });
        self.run();
        told
    }

    /// The SKUs ask (rule R3).
    fn ask_back(&mut self) {
        for index in 0..self.stocks.len() {
            let (sku, keys) = {
                let (sku, stock, _) = &self.stocks[index];
                (sku.clone(), stock.owed(self.now))
            };
            for key in keys {
                let stock = &self.stocks[index].1;
                let Some(Effect::Ask { command: message::Command::Reservation(question), .. }) = stock.effect(key)
                else {
                    panic!("a question is to the reservation");
                };
                let outcome = match self.reservation.decide(&question, self.now) {
                    Ok(decision) => Outcome::Replied(message::Reply::Reservation(decision.reply)),
                    Err(refusal) => Outcome::Refused(message::Refusal::Reservation(refusal)),
                };
                if let Some(command) = self.stocks[index].1.answered(key, outcome) {
                    self.ask_stock(&sku, &command);
                }
            }
        }
    }
}

fn id() -> ReservationId {
    ReservationId::of_reference(OWNER, "r")
}

fn sku(number: u128) -> Sku {
    Sku::parse(&format!("S{number}")).unwrap()
}

fn made(units: &[u32], now: Timestamp) -> Made {
    let lines = (1_u128..).zip(units).map(|(number, units)| Wanted { sku: sku(number), units: *units });
    Made {
        id: id(),
        terms: RequestFingerprint(units.iter().map(|units| u128::from(*units)).sum()),
        owner: OWNER.into(),
        reference: "r".into(),
        buyer_key: None,
        lines: lines.collect(),
        ranking: Vec::new(),
        hold_s: 600,
        expires_at: now.plus_s(600),
        seller: None,
    }
}

#[test]
fn all_lines_are_held_and_sold_together() {
    let mut world = World::with(&[5, 5]);
    world.make(&[2, 3]).unwrap();
    assert!(!world.reservation.reached(Wait::Held), "nobody is told before every SKU has answered");
    world.run();
    assert_eq!(world.reservation.status(), Some(ExternalStatus::Held));
    assert_eq!(world.books(), [(2, 0, 3), (3, 0, 2)]);
    world.end(ReservationEnd::Commit).unwrap();
    assert_eq!(world.reservation.stage(), Stage::Ended(ExternalStatus::Committed));
    assert_eq!(world.books(), [(0, 2, 3), (0, 3, 2)]);
    assert_eq!(world.end(ReservationEnd::Commit), Ok(Reply::Done), "said again it is still so");
    assert_eq!(world.end(ReservationEnd::Release), Err(Refusal::Ended { status: ExternalStatus::Committed }));
}

#[test]
fn every_sku_learns_once_that_the_units_left() {
    let to_ship = |world: &World| -> Vec<u64> {
        world.stocks.iter().map(|(_, stock, _)| stock.levels().map(|level| level.to_ship).sum()).collect()
    };
    for ends in [&[ReservationEnd::Commit, ReservationEnd::Ship][..], &[ReservationEnd::CommitAndShip]] {
        let mut world = World::with(&[5, 5]);
        world.make(&[2, 3]).unwrap();
        world.run();
        assert!(world.end(ReservationEnd::Ship).is_err(), "nothing is sold yet");
        for end in ends {
            world.end(*end).unwrap();
        }
        assert_eq!((to_ship(&world), world.reservation.shipped_at()), (vec![0, 0], Some(world.now)));
        assert!(world.reservation.reached(Wait::Settled));
        world.end(ReservationEnd::Ship).unwrap();
        assert_eq!((to_ship(&world), world.books()), (vec![0, 0], vec![(0, 2, 3), (0, 3, 2)]));
    }
}

#[test]
fn one_line_that_cannot_be_had_leaves_nothing_held() {
    let mut world = World::with(&[5, 1]);
    world.make(&[2, 3]).unwrap();
    world.run();
    assert_eq!((world.reservation.status(), world.reservation.stage()), (None, Stage::Ended(ExternalStatus::Held)));
    assert_eq!(world.books(), [(0, 0, 5), (0, 0, 1)]);
    assert_eq!(world.end(ReservationEnd::Commit), Err(Refusal::Ended { status: ExternalStatus::Held }));
}

#[test]
fn nothing_is_released_before_every_sku_has_answered_r6() {
    let mut world = World::with(&[5, 1]);
    world.make(&[2, 3]).unwrap();
    let keys = world.reservation.owed(world.now);
    world.deliver(keys[1], false);
    assert_eq!(world.reservation.stage(), Stage::Asking, "the other is still on its way");
    world.deliver(keys[0], true);
    world.run();
    assert_eq!(world.books(), [(0, 0, 5), (0, 0, 1)]);
}

#[test]
fn it_ends_by_itself_at_its_time_and_its_skus_never_do_r3() {
    let mut world = World::with(&[5, 5]);
    world.make(&[2, 3]).unwrap();
    world.run();
    world.now = NOW.plus_s(600);
    for (_, stock, _) in &world.stocks {
        assert!(stock.decide(&inventory::Command::Wake, world.now.plus_s(9_999)).unwrap().events.is_empty());
    }
    assert_eq!(world.reservation.wake_at(NOW), Some(NOW.plus_s(600)));
    world.tell(&Command::Wake).unwrap();
    world.run();
    assert_eq!(world.reservation.status(), Some(ExternalStatus::Expired));
    assert_eq!(world.books(), [(0, 0, 5), (0, 0, 5)]);
    assert_eq!(world.end(ReservationEnd::Commit), Err(Refusal::Ended { status: ExternalStatus::Expired }));
    assert_eq!(world.end(ReservationEnd::Release), Ok(Reply::Done));
}

#[test]
fn an_extension_moves_the_end_once_and_never_back() {
    let mut world = World::with(&[5, 5]);
    world.make(&[2, 3]).unwrap();
    world.run();
    let extend = |seconds, terms| Command::Extend {
        owner: OWNER.into(),
        request: Request { id: RequestId(9), terms: RequestFingerprint(terms) },
        expires_at: NOW.plus_s(seconds),
    };
    world.tell(&extend(900, 1)).unwrap();
    world.tell(&extend(2_000, 1)).unwrap();
    assert_eq!(world.reservation.expires_at(), NOW.plus_s(900));
    assert_eq!(world.tell(&extend(900, 2)), Err(Refusal::RequestReused));
    world.now = NOW.plus_s(899);
    world.tell(&Command::Wake).unwrap();
    assert_eq!(world.reservation.status(), Some(ExternalStatus::Held));
}

#[test]
fn the_same_reference_for_something_else_is_refused_and_others_learn_nothing() {
    let mut world = World::with(&[5, 5]);
    world.make(&[2, 3]).unwrap();
    world.run();
    assert_eq!(world.make(&[2, 3]), Ok(Reply::Done));
    assert_eq!(world.make(&[2, 4]), Err(Refusal::OtherTerms));
    let stranger = Command::Read { owner: "seller:other".into() };
    assert_eq!(world.tell(&stranger), Err(Refusal::Unknown));
    let stranger = Command::End { owner: "seller:other".into(), end: ReservationEnd::Release };
    assert_eq!(world.tell(&stranger), Err(Refusal::Unknown));
    assert_eq!(world.books(), [(2, 0, 3), (3, 0, 2)]);
}

#[test]
fn what_a_late_copy_was_granted_is_let_go_when_the_sku_asks_r3() {
    let mut world = World::with(&[5, 1]);
    world.make(&[2, 3]).unwrap();
    let copy = world.reservation.effect(world.reservation.owed(NOW)[1]).unwrap();
    world.run();
    let Effect::Ask { to: EntityId::Inventory(short), command: message::Command::Inventory(command) } = copy else {
        panic!("it is to a SKU")
    };
    let request = Request { id: RequestId(77), terms: RequestFingerprint(1) };
    let warehouse = WarehouseId::parse("w1").unwrap();
    let more = inventory::Command::Receive { request, warehouse, units: 9, reference: None, expected_at: None };
    world.ask_stock(&short, &more);
    world.ask_stock(&short, &command);
    assert_eq!(world.books()[1], (3, 0, 7), "granted to nobody");
    world.now = NOW.plus_s(600 + claims::QUESTION_GRACE_S);
    world.ask_back();
    assert_eq!(world.books()[1], (0, 0, 10));
}

#[test]
fn a_sku_that_never_heard_the_end_asks_and_is_told_r3() {
    for (end, sold) in [(ReservationEnd::Commit, (0, 3, 2)), (ReservationEnd::Release, (0, 0, 5))] {
        let mut world = World::with(&[5, 5]);
        world.make(&[2, 3]).unwrap();
        world.run();
        world.tell(&Command::End { owner: OWNER.into(), end }).unwrap();
        // The second SKU is told and forgets what it heard: as if the message had been lost for good.
        let before = world.stocks[1].clone();
        world.run();
        world.stocks[1] = before;
        world.now = NOW.plus_s(600 + claims::QUESTION_GRACE_S);
        world.ask_back();
        assert_eq!(world.books()[1], sold);
    }
}

#[test]
fn whatever_is_lost_or_comes_twice_all_lines_end_alike() {
    for seed in 0..2_000_u64 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::with(&[dice.random_range(0..4), dice.random_range(0..4), 3]);
        let units = [dice.random_range(1..4), dice.random_range(1..4), 2];
        world.make(&units).unwrap();
        for _ in 0..dice.random_range(5..40) {
            match dice.random_range(0..10) {
                0..=4 => {
                    let owed = world.reservation.owed(world.now);
                    if !owed.is_empty() {
                        let key = owed[dice.random_range(0..owed.len())];
                        world.sent.push(key);
                        world.deliver(key, dice.random_bool(0.3));
                    }
                }
                5 | 6 if !world.sent.is_empty() => {
                    let key = world.sent[dice.random_range(0..world.sent.len())];
                    world.deliver(key, dice.random_bool(0.5));
                }
                7 => {
                    let end = if dice.random_bool(0.6) { ReservationEnd::Commit } else { ReservationEnd::Release };
                    let _either = world.tell(&Command::End { owner: OWNER.into(), end });
                }
                8 => {
                    world.now = world.now.plus_s(dice.random_range(0..300));
                    world.tell(&Command::Wake).unwrap();
                }
                _ => world.ask_back(),
            }
        }
        world.run();
        world.now = world.now.plus_s(5_000);
        world.tell(&Command::Wake).unwrap();
        world.run();
        world.ask_back();
        let Stage::Ended(how) = world.reservation.stage() else { panic!("seed {seed}: {:?}", world.reservation) };
        let sold = how == ExternalStatus::Committed;
        for (units, (live, committed, _)) in units.iter().zip(world.books()) {
            assert_eq!((live, committed), (0, if sold { u64::from(*units) } else { 0 }), "seed {seed}: {how:?}");
        }
    }
}
