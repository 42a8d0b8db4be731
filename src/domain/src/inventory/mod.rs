//! Stock of one SKU: the units on hand, and how many of them are reserved, by which order or caller, until when.
//!
//! ```text
//! available ──reserve──► reserved ──commit──► sold, to ship ──ship──► gone      reserved ──release──► available
//!                                                  └───────return, cancel──────► available, or written off
//! ```
//!
//! The invariants, per warehouse: `received + adjusted + returned = on_hand + sold`, and `available >= 0` (see [`super::laws`]).
//!
//! A SKU's memories and their ends, so that a hot SKU does not grow for ever:
//!
//! ```text
//! a reservation          from Reserved until the order's Forget, or until the order answers Release (rules R1, R3)
//! a shipment or return   from Shipped/Returned until the order's ForgetMoves and MOVE_MEMORY_S more (rule R2)
//! a seller's request     REQUEST_MEMORY_S, then until the next request in its chunk
//! an external reservation   from its end EXTERNAL_MEMORY_S, then until further decisions
//! ```
//!
//! A reservation can be forgotten at once: a late copy of its `Reserve` makes another one with another number, which the
//! order's late `Commit` does not name, and which the order releases when it is asked. A shipment or a return has no such second
//! safeguard: a late copy would count the units twice. So its key outlives every copy of the command, which the shell drops at `command_life_s`.
//! The SKU remembers nothing else of a sold order: its `Ship` and `Return`, weeks later, contain their allocations.

mod allocate;
mod audit;
mod command;
mod decide_external;
mod decide_order;
mod decide_seller;
mod event;
mod evolve;
mod external;
mod levels;
mod memory;
mod offer;
mod owner;
mod restore;
mod stock_state;

#[cfg(test)]
mod external_tests;
#[cfg(any(test, feature = "random"))]
pub mod random;
#[cfg(test)]
mod tests;

pub use audit::{AuditFold, ExternalUnits, OrderUnits};
pub use command::{
    AdjustmentReason, Allocation, Command, MoveKey, Offer, Predecessor, Price, Refusal, Reply, Reserved, ReturnKey,
    Units,
};
pub use decide_external::ExternalEnd;
pub use event::{Event, SellerRequest};
pub use external::{
    Decider, EXTENSIONS_MAX, EXTERNAL_MEMORY_S, EXTERNAL_PER_DECISION_MAX, ExternalAnswer, ExternalRequest,
    ExternalReservation, ExternalStatus, Requester,
};
pub use levels::{Incoming, Level, Levels, Standing};
pub use memory::{Agreed, CHUNKS, Move, Remembered, Reservation, chunk_of};
pub use restore::Chunk;
pub use stock_state::StockState;

use super::claims::{Ledger, order_says, reservation_says};
use super::effect::{Effect, EffectKey, OWED_MAX, Outcome};
use super::entity::{Books, Decision, Entity, PublicView, Residency};
use super::ids::{EntityId, OrderId, RequestId, ReservationId, Sku};
use super::message;
use super::money::Currency;
use super::order;
use super::principal::{Denied, Principal};
use super::reservation;
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode};
use levels::ByWarehouse;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The seconds for which the key of a shipment or return outlives its order's `ForgetMoves` (rule R2). Must be longer than
/// `command_life_s`.
pub const MOVE_MEMORY_S: u64 = 3_600;
/// The seconds for which a seller's request is remembered (rule R2): seven days.
pub const REQUEST_MEMORY_S: u64 = 7 * 24 * 3_600;
/// The most announced receipts of one warehouse.
pub const ANNOUNCED_MAX: usize = 200;
/// The most orders that [`Refusal::UnitsReserved`] names.
pub const RESERVED_SHOWN_MAX: usize = 20;
/// The largest count of units: every JSON reader holds it exactly (2^53 − 1).
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// The steps that owe an effect: the question of rule R3, to an order and to a reservation of several lines.
const STEP_QUESTION: u8 = 1;
const STEP_EXTERNAL_QUESTION: u8 = 2;

/// Stock of one SKU.
///
/// Its stored form is a head row, the fields with a tag here, and the rows of its chunks ([`Chunk`]), from which
/// [`Inventory::restored`] makes the others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Inventory {
    /// The number of events so far, which is the number of the newest.
    #[n(0)]
    version: u64,
    /// What its product says of it; `None` until the first push.
    #[n(1)]
    offer: Option<Offer>,
    /// The newest offer's terms per currency, shared by all reservations made under it.
    #[cbor(skip)]
    agreed: BTreeMap<Currency, Arc<Agreed>>,
    #[n(2)]
    levels: ByWarehouse,
    /// Live and ended reservations of orders.
    #[cbor(skip)]
    reservations: Ledger<OrderId, Reservation>,
    #[cbor(skip)]
    moves: BTreeMap<(OrderId, MoveKey), Move>,
    /// Boxed, because a map allocates room for eleven entries at a time, and most SKUs have one.
    #[cbor(skip)]
    requests: BTreeMap<RequestId, Box<Remembered>>,
    /// External reservations, of shops with a checkout of their own.
    #[cbor(skip)]
    external: external::ExternalReservations,
}

impl Inventory {
    /// The number of events so far.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The product's newest offer of the SKU.
    #[must_use]
    pub const fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    /// The levels, by warehouse.
    pub fn levels(&self) -> impl Iterator<Item = &Level> + '_ {
        self.levels.values()
    }

    /// Live reservations, oldest first.
    pub fn live(&self) -> impl Iterator<Item = (OrderId, &Reservation)> + '_ {
        self.reservations.live()
    }

    /// All remembered reservations of orders, live and ended, by order.
    pub fn reservations(&self) -> impl Iterator<Item = (OrderId, &Reservation)> + '_ {
        self.reservations.iter()
    }

    /// An order's reservation, live or ended.
    #[must_use]
    pub fn reservation(&self, order: OrderId) -> Option<&Reservation> {
        self.reservations.get(order)
    }

    /// Live external reservations, by the time at which they expire or are asked about.
    pub fn external_reservations(&self) -> impl Iterator<Item = (ReservationId, &ExternalReservation)> + '_ {
        self.external.held()
    }

    /// An external reservation, live or ended.
    #[must_use]
    pub fn external_reservation(&self, id: ReservationId) -> Option<&ExternalReservation> {
        self.external.get(id)
    }

    /// The number of remembered movements and requests, which must not grow for ever.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.moves.len().saturating_add(self.requests.len())
    }

    /// The levels with offer and version.
    #[must_use]
    pub fn read(&self) -> Levels {
        Levels {
            offer: self.offer.clone(),
            levels: self.levels.values().cloned().collect(),
            version: self.version,
            next_release_at: self.next_release_at(),
        }
    }

    /// The earliest deadline of a live reservation.
    fn next_release_at(&self) -> Option<Timestamp> {
        let of_orders = self.reservations.first().map(|(_, reservation)| reservation.expires_at);
        [of_orders, self.external.next_end()].into_iter().flatten().min()
    }

    fn is_known(&self) -> bool {
        self.offer.is_some() || !self.levels.is_empty()
    }
}

impl Entity for Inventory {
    type Id = Sku;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    const RESIDENCY: Residency = Residency::LongLived;
    const ANSWERS_WITH_STATE: bool = false;
    const BOOKS: Books = Books::Stock;

    #[allow(clippy::wildcard_enum_match_arm, reason = "only what other entities ask of this one is a step")]
    fn step_name(command: &Command) -> &'static str {
        match command {
            Command::Reserve { .. } => "reserve",
            Command::Commit { .. } => "commit",
            Command::Release { .. } => "release",
            Command::Forget { .. } => "forget",
            Command::ForgetMoves { .. } => "forget_moves",
            Command::Ship { .. } => "ship",
            Command::Unship { .. } => "unship",
            Command::Return { .. } => "return",
            Command::Offer(_) => "offer",
            Command::ReserveExternal { .. } => "promise",
            Command::EndExternal { .. } => "end_promise",
            _ => "other",
        }
    }

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        match command {
            Command::Wake => self.decide_wake(now),
            Command::Read if self.is_known() => Ok(Decision::nothing(Reply::Levels(Box::new(self.read())))),
            Command::Read => Err(Refusal::Unknown),
            Command::Offer(offer) => self.decide_offer(offer),
            Command::Receive { request, warehouse, units, reference, expected_at } => {
                self.decide_receive(*request, warehouse, *units, reference.as_ref(), *expected_at, now)
            }
            Command::Adjust { request, warehouse, delta, reason, note } => {
                self.decide_adjust(*request, warehouse, *delta, (*reason, note.as_ref()), now)
            }
            Command::Count { request, warehouse, counted, expected_in_building } => {
                self.decide_count(*request, warehouse, *counted, *expected_in_building, now)
            }
            Command::Reserve { order, units, currency, expected_unit_price, ranking, expires_at, instead_of } => {
                let wanted = decide_order::ReserveRequest {
                    order: *order,
                    units: *units,
                    currency: *currency,
                    expected: *expected_unit_price,
                    expires_at: *expires_at,
                    instead_of: *instead_of,
                };
                self.decide_reserve(&wanted, ranking, now)
            }
            Command::Commit { order, reservation } => {
                Self::carry_out(self.reservations.commit(*order, *reservation), *order, *reservation)
            }
            Command::Release { order, reservation } => {
                Self::carry_out(self.reservations.release(*order, *reservation), *order, *reservation)
            }
            Command::Forget { order, reservation } => {
                Self::carry_out(self.reservations.forget(*order, *reservation), *order, *reservation)
            }
            Command::Ship { order, shipment, allocations } => self.decide_ship(*order, *shipment, allocations),
            Command::Unship { order, shipment, allocations, lost } => {
                self.decide_unship(*order, *shipment, allocations, *lost)
            }
            Command::Return { order, key, allocations, restock } => {
                self.decide_return(*order, *key, allocations, *restock)
            }
            Command::ForgetMoves { order, moves } => self.decide_forget_moves(*order, moves, now),
            Command::Answer { order, reservation, says } => {
                let ruling = self.reservations.answer(*order, *reservation, *says, now);
                Self::carry_out(ruling, *order, *reservation)
            }
            Command::ReserveExternal { seller: Some(seller), .. } if !self.is_of(seller) => Err(Refusal::Unknown),
            Command::ReserveExternal { decider, ranking, requests, seller: _ } => {
                self.decide_external(*decider, requests, ranking, now)
            }
            Command::ReadExternal { id, requester } => self.read_external(*id, requester),
            Command::EndExternal { id, requester, end } => self.decide_end_external(*id, requester, *end, now),
            Command::ExtendExternal { id, requester, request, expires_at } => {
                self.decide_extend(*id, requester, *request, *expires_at, now)
            }
            Command::ListExternal { owner, status, before, limit } => {
                self.list_external(owner, *status, *before, *limit)
            }
            Command::AnswerExternal { id, says } => self.decide_external_answer(*id, *says, now),
            Command::SetWarehouse { warehouse, active, version } => {
                Ok(self.decide_set_warehouse(warehouse, *active, *version))
            }
        }
    }

    fn permitted<'c>(&self, by: &Principal, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        self.permitted_to(by, command)
    }

    fn evolve(&mut self, event: &Event) {
        self.take(event);
    }

    fn owed(&self, now: Timestamp) -> Vec<EffectKey> {
        let of_orders = self.reservations.questions(now).map(|number| EffectKey::of_number(STEP_QUESTION, number));
        let of_external =
            self.external.questions(now).map(|number| EffectKey::of_number(STEP_EXTERNAL_QUESTION, number));
        of_orders.chain(of_external).take(OWED_MAX).collect()
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        let number = asked_about(key)?;
        if key.step == STEP_EXTERNAL_QUESTION {
            let (id, reservation) = self.external.by_number(number)?;
            let Decider::Reservation { line } = reservation.decider else { return None };
            let command = message::Command::Reservation(reservation::Command::StillWanted { line });
            return Some(Effect::Ask { to: EntityId::Reservation(id), command });
        }
        let (order, _) = self.reservations.by_number(number)?;
        let sku = self.offer.as_ref().map(|offer| offer.sku.clone());
        let command = order::Command::StillWanted { reservation: Some(number), sku };
        Some(Effect::Ask { to: EntityId::Order(order), command: message::Command::Order(command) })
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        let reservation = asked_about(key)?;
        if key.step == STEP_EXTERNAL_QUESTION {
            let (id, _) = self.external.by_number(reservation)?;
            return Some(Command::AnswerExternal { id, says: reservation_says(&outcome)? });
        }
        let (order, _) = self.reservations.by_number(reservation)?;
        let says = order_says(&outcome)?;
        Some(Command::Answer { order, reservation, says })
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        [self.reservations.next_question(now), self.external.wake_at(now)].into_iter().flatten().min()
    }

    fn published_as(id: &Sku) -> Option<&Sku> {
        Some(id)
    }

    /// With one warehouse the counters say it all, until something else than a reservation happens.
    fn public_view(&self, whole: bool) -> Option<PublicView> {
        Some(PublicView {
            available: self.levels().map(Level::available).fold(0, u64::saturating_add),
            reserved: self.levels().map(Level::may_come_back).fold(0, u64::saturating_add),
            next_release_at: self.next_release_at(),
            details: (whole || self.levels().count() > 1).then(|| Arc::new(self.read())),
        })
    }

    fn changes_view_details(event: &Event) -> bool {
        match event {
            Event::Reserved { .. }
            | Event::Committed { .. }
            | Event::Released { .. }
            | Event::Kept { .. }
            | Event::Forgotten { .. }
            | Event::MovesForgotten { .. }
            | Event::ExternalReserved { .. }
            | Event::ExternalExtended { .. }
            | Event::ExternalKept { .. }
            | Event::ExternalCommitted { .. }
            | Event::ExternalReleased { .. }
            | Event::ExternalExpired { .. }
            | Event::ExternalForgotten { .. } => false,
            Event::Offered(_)
            | Event::Received { .. }
            | Event::Announced { .. }
            | Event::Adjusted { .. }
            | Event::Counted { .. }
            | Event::Shipped { .. }
            | Event::Unshipped { .. }
            | Event::ExternalShipped { .. }
            | Event::Returned { .. }
            | Event::WarehouseSet { .. } => true,
        }
    }
}

fn asked_about(key: EffectKey) -> Option<u64> {
    key.number_of(STEP_QUESTION).or_else(|| key.number_of(STEP_EXTERNAL_QUESTION))
}
