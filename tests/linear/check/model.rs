//! The shelf: what one SKU's stock would answer if everything were done one after the other. Written from the rules, not from the product.

use super::words::{Answer, Op};
use std::collections::HashMap;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Held,
    Sold,
    Released,
}

#[derive(Debug, Clone, Copy)]
struct Reservation {
    number: u64,
    units: u32,
    status: Status,
}

/// The stock of one SKU at a version.
#[derive(Debug, Default)]
pub struct Shelf {
    version: u64,
    is_offered: bool,
    on_hand: u64,
    reserved: u64,
    orders: HashMap<u64, Reservation>,
    receipts: HashMap<u64, Answer>,
}

/// How to take one event back.
#[derive(Debug)]
pub struct Undo {
    op: Op,
    on_hand: u64,
    reserved: u64,
    is_offered: bool,
    order: Option<(u64, Option<Reservation>)>,
}

impl Shelf {
    /// Its version.
    pub const fn version(&self) -> u64 {
        self.version
    }

    fn available(&self) -> u64 {
        self.on_hand - self.reserved
    }

    fn named(&self, order: u64, number: u64) -> Option<Reservation> {
        self.orders.get(&order).copied().filter(|known| known.number == number)
    }

    /// What it answers now, and whether that makes a version.
    pub fn answer(&self, op: Op) -> (Answer, bool) {
        match op {
            Op::Offer => (Answer::Done, !self.is_offered),
            Op::Receive { request, units } => match self.receipts.get(&request) {
                Some(before) => (*before, false),
                None => {
                    let on_hand = self.on_hand + u64::from(units);
                    (Answer::Received { on_hand, version: self.version + 1 }, true)
                }
            },
            Op::Reserve { order, units } => match self.orders.get(&order) {
                Some(known) if known.status == Status::Released => (Answer::Ended, false),
                Some(known) => (Answer::Reserved { number: known.number }, false),
                None if u64::from(units) > self.available() => {
                    (Answer::SoldOut { available: self.available(), all_reserved: self.reserved > 0 }, false)
                }
                None => (Answer::Reserved { number: self.version + 1 }, true),
            },
            Op::Commit { order, number } => self.end(order, number, Status::Sold),
            Op::Release { order, number } => self.end(order, number, Status::Released),
            Op::Forget { order, number } => match self.named(order, number).map(|known| known.status) {
                None => (Answer::Unknown, false),
                Some(Status::Held) => (Answer::NotEnded, false),
                Some(Status::Sold | Status::Released) => (Answer::Done, true),
            },
            Op::Read => (Answer::Levels { on_hand: self.on_hand, reserved: self.reserved }, false),
        }
    }

    fn end(&self, order: u64, number: u64, as_what: Status) -> (Answer, bool) {
        match self.named(order, number).map(|known| known.status) {
            None => (Answer::Unknown, false),
            Some(Status::Held) => (Answer::Done, true),
            Some(status) if status == as_what => (Answer::Done, false),
            Some(_) => (Answer::Ended, false),
        }
    }

    /// Takes in an operation of which [`Shelf::answer`] says that it makes a version.
    pub fn make(&mut self, op: Op) -> Undo {
        let order = match op {
            Op::Reserve { order, .. }
            | Op::Commit { order, .. }
            | Op::Release { order, .. }
            | Op::Forget { order, .. } => Some((order, self.orders.get(&order).copied())),
            Op::Offer | Op::Receive { .. } | Op::Read => None,
        };
        let (on_hand, reserved, is_offered) = (self.on_hand, self.reserved, self.is_offered);
        let undo = Undo { op, on_hand, reserved, is_offered, order };
        self.version += 1;
        match op {
            Op::Offer => self.is_offered = true,
            Op::Receive { request, units } => {
                self.on_hand += u64::from(units);
                self.receipts.insert(request, Answer::Received { on_hand: self.on_hand, version: self.version });
            }
            Op::Reserve { order, units } => {
                self.reserved += u64::from(units);
                self.orders.insert(order, Reservation { number: self.version, units, status: Status::Held });
            }
            Op::Commit { order, .. } => {
                let units = self.ended(order, Status::Sold);
                self.reserved -= units;
                self.on_hand -= units;
            }
            Op::Release { order, .. } => {
                let units = self.ended(order, Status::Released);
                self.reserved -= units;
            }
            Op::Forget { order, .. } => {
                self.orders.remove(&order);
            }
            Op::Read => {}
        }
        undo
    }

    fn ended(&mut self, order: u64, status: Status) -> u64 {
        let known = self.orders.get_mut(&order).expect("it was held");
        known.status = status;
        u64::from(known.units)
    }

    /// Takes the newest event back.
    pub fn unmake(&mut self, undo: Undo) {
        self.version -= 1;
        (self.on_hand, self.reserved, self.is_offered) = (undo.on_hand, undo.reserved, undo.is_offered);
        if let Op::Receive { request, .. } = undo.op {
            self.receipts.remove(&request);
        }
        match undo.order {
            Some((order, Some(known))) => {
                self.orders.insert(order, known);
            }
            Some((order, None)) => {
                self.orders.remove(&order);
            }
            None => {}
        }
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "version {}, {} on hand, {} promised", self.version, self.on_hand, self.reserved)
    }
}
