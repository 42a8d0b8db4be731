//! Decisions on the commands of orders: reserve, commit, release, forget, ship, return; and on their answers to the question of rule R3.
//! What a command means for a reservation is ruled by [`crate::claims::Ledger`], as for every claim.

use super::command::{Allocation, MoveKey, Offer, Predecessor, Refusal, Reply, ReturnKey, Units};
use super::event::Event;
use super::external::{Decider, ExternalReservation, ExternalStatus};
use super::memory::{Move, Reservation, units_of};
use super::{Inventory, MOVE_MEMORY_S};
use crate::claims::{ClaimStatus, QUESTION_GRACE_S, Ruling};
use crate::entity::Decision;
use crate::ids::{OrderId, ReservationId, WarehouseId};
use crate::money::{Currency, Money};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// The units that an order wants to reserve.
pub(super) struct ReserveRequest {
    pub(super) order: OrderId,
    pub(super) units: Units,
    pub(super) currency: Currency,
    pub(super) expected: Option<Money>,
    pub(super) expires_at: Timestamp,
    pub(super) instead_of: Option<Predecessor>,
}

type Decided = Result<Decision<Event, Reply>, Refusal>;

impl Inventory {
    pub(super) fn decide_reserve(&self, wanted: &ReserveRequest, ranking: &[WarehouseId], now: Timestamp) -> Decided {
        if let Some(known) = self.reservations.get(wanted.order) {
            return reserve_again(known, wanted, self.offer.as_ref().and_then(|offer| offer.hold_s));
        }
        // The deadline is checked only now: an existing reservation is returned however late the command comes.
        if wanted.expires_at <= now {
            return Err(Refusal::Ended);
        }
        let offer = self.offer.as_ref().filter(|offer| offer.on_sale);
        let Some(offer) = offer else {
            return Err(if self.is_known() { Refusal::NotOnSale } else { Refusal::Unknown });
        };
        self.check_price(offer, wanted)?;
        if wanted.units == 0 {
            return Err(Refusal::NotThatMany);
        }
        let predecessor = wanted.instead_of.and_then(|held| self.held_before(held));
        let held = predecessor.map_or(&[][..], |(_, held)| held.allocations.as_slice());
        let Some(allocations) = self.allocate_after(held, wanted.units, ranking) else {
            let levels = self.levels.values();
            let available = levels.clone().map(super::Level::available).fold(units_of(held), u64::saturating_add);
            let all_reserved = levels.map(super::Level::may_come_back).any(|reserved| reserved > 0);
            return Err(Refusal::SoldOut { wanted: wanted.units, available, all_reserved });
        };
        // The order counts the SKU's own time from its placement, a moment before this decision, and alone decides on it (rule R3).
        let expires_at = offer.hold_s.map_or(wanted.expires_at, |hold_s| wanted.expires_at.min(now.plus_s(hold_s)));
        let reservation = Reservation {
            number: self.version.saturating_add(if predecessor.is_some() { 2 } else { 1 }),
            allocations,
            agreed: self.agreed.get(&wanted.currency).cloned().ok_or(Refusal::NoPrice { currency: wanted.currency })?,
            expires_at,
            ask_at: expires_at.plus_s(QUESTION_GRACE_S),
            status: ClaimStatus::Held,
        };
        let event = Event::Reserved {
            order: wanted.order,
            reservation: reservation.number,
            currency: wanted.currency,
            allocations: reservation.allocations.clone(),
            expires_at: reservation.expires_at,
            ask_at: reservation.ask_at,
        };
        // One decision: no other order can take the units between the two.
        let passed = predecessor.map(|(id, _)| Event::ExternalReleased { id, at: now });
        let reply = Reply::Reserved(Box::new(reservation.reply(offer.hold_s)));
        Ok(Decision::events(passed.into_iter().chain([event]).collect(), reply))
    }

    /// The live reservation with this number, if this SKU decides about it. A late copy finds its number gone.
    fn held_before(&self, held: Predecessor) -> Option<(ReservationId, &ExternalReservation)> {
        let (id, known) = self.external.by_number(held.number)?;
        let passes = id == held.id && known.status == ExternalStatus::Held && known.decider == Decider::Stock;
        passes.then_some((id, known))
    }

    /// Units for an order: those that its predecessor holds, then others.
    fn allocate_after(&self, held: &[Allocation], units: Units, ranking: &[WarehouseId]) -> Option<Vec<Allocation>> {
        let mut left = units;
        let mut taken: Vec<Allocation> = Vec::new();
        for here in held {
            let part = here.units.min(left);
            if part > 0 {
                taken.push(Allocation { warehouse: here.warehouse.clone(), units: part });
                left = left.saturating_sub(part);
            }
        }
        if taken.is_empty() {
            return self.allocate(units, ranking);
        }
        let others = if left > 0 { self.allocate(left, ranking)? } else { Vec::new() };
        for other in others {
            match taken.iter_mut().find(|here| here.warehouse == other.warehouse) {
                Some(here) => here.units = here.units.saturating_add(other.units),
                None => taken.push(other),
            }
        }
        Some(taken)
    }

    fn check_price(&self, offer: &Offer, wanted: &ReserveRequest) -> Result<(), Refusal> {
        let price = self.agreed.get(&wanted.currency).map(|agreed| agreed.price.unit);
        let Some(now) = price else { return Err(Refusal::NoPrice { currency: wanted.currency }) };
        if let Some(expected) = wanted.expected.filter(|expected| *expected != now) {
            return Err(Refusal::PriceChanged { expected, now });
        }
        offer.check_limit(wanted.units)
    }

    /// What the ruling about a reservation comes to (rules R1, R3).
    pub(super) fn carry_out(ruling: Ruling, order: OrderId, reservation: u64) -> Decided {
        let one = |event| Ok(Decision::one(event, Reply::Done));
        match ruling {
            Ruling::Unknown => Ok(Decision::nothing(Reply::Unknown)),
            Ruling::Again => Ok(Decision::again(Reply::Done)),
            Ruling::Ended => Err(Refusal::Ended),
            Ruling::NotEnded => Err(Refusal::NotEnded),
            Ruling::Keep { ask_at } => one(Event::Kept { order, reservation, ask_at }),
            Ruling::Commit => one(Event::Committed { order, reservation }),
            Ruling::Release => one(Event::Released { order, reservation }),
            Ruling::Forget => one(Event::Forgotten { order, reservation }),
            Ruling::Drop => Ok(Decision::events(
                vec![Event::Released { order, reservation }, Event::Forgotten { order, reservation }],
                Reply::Done,
            )),
        }
    }

    pub(super) fn decide_ship(&self, order: OrderId, shipment: u16, allocations: &[Allocation]) -> Decided {
        if let Some(known) = self.moves.get(&(order, MoveKey::Ship { shipment })) {
            return move_again(known, allocations, false);
        }
        self.check_move(allocations, |level| level.to_ship)?;
        let event = Event::Shipped { order, shipment, allocations: allocations.to_vec() };
        Ok(Decision::one(event, Reply::Done))
    }

    /// The units are in the building again: those of a shipment that never left, or others in place of those that are lost.
    pub(super) fn decide_unship(
        &self,
        order: OrderId,
        shipment: u16,
        allocations: &[Allocation],
        lost: bool,
    ) -> Decided {
        if let Some(known) = self.moves.get(&(order, MoveKey::Unship { shipment })) {
            return move_again(known, allocations, lost);
        }
        self.check_move(allocations, |level| {
            let shipped = level.sold.saturating_sub(level.returned).saturating_sub(level.to_ship);
            if lost { shipped.min(level.available()) } else { shipped }
        })?;
        let event = Event::Unshipped { order, shipment, allocations: allocations.to_vec(), lost };
        Ok(Decision::one(event, Reply::Done))
    }

    pub(super) fn decide_return(
        &self,
        order: OrderId,
        key: ReturnKey,
        allocations: &[Allocation],
        restock: bool,
    ) -> Decided {
        if let Some(known) = self.moves.get(&(order, MoveKey::Return(key))) {
            return move_again(known, allocations, restock);
        }
        self.check_move(allocations, |level| {
            let unreturned = level.sold.saturating_sub(level.returned);
            match key {
                ReturnKey::Cancel { .. } => unreturned.min(level.to_ship),
                ReturnKey::Return { .. } => unreturned.saturating_sub(level.to_ship),
            }
        })?;
        let event = Event::Returned { order, key, allocations: allocations.to_vec(), restock };
        Ok(Decision::one(event, Reply::Done))
    }

    /// Checks that each warehouse has enough units; parts of one warehouse are summed first.
    fn check_move(&self, allocations: &[Allocation], there_are: impl Fn(&super::Level) -> u64) -> Result<(), Refusal> {
        let mut wanted: BTreeMap<&WarehouseId, u64> = BTreeMap::new();
        for part in allocations {
            let sum = wanted.entry(&part.warehouse).or_default();
            *sum = sum.saturating_add(u64::from(part.units));
        }
        for (warehouse, units) in wanted {
            if self.levels.get(warehouse).map_or(0, &there_are) < units {
                return Err(Refusal::NotThatMany);
            }
        }
        Ok(())
    }

    pub(super) fn decide_forget_moves(&self, order: OrderId, moves: &[MoveKey], now: Timestamp) -> Decided {
        let moves: Vec<MoveKey> = moves
            .iter()
            .filter(|key| self.moves.get(&(order, **key)).is_some_and(|memory| memory.until.is_none()))
            .copied()
            .collect();
        if moves.is_empty() {
            return Ok(Decision::again(Reply::Done));
        }
        let event = Event::MovesForgotten { order, moves, at: now, until: now.plus_s(MOVE_MEMORY_S) };
        Ok(Decision::one(event, Reply::Done))
    }
}

/// Rule R1: the same terms return the same reservation; a released one is not reserved again.
fn reserve_again(known: &Reservation, wanted: &ReserveRequest, hold_s: Option<u64>) -> Decided {
    let price = known.agreed.price.unit;
    let same = known.units() == u64::from(wanted.units)
        && price.currency == wanted.currency
        && wanted.expected.is_none_or(|expected| expected == price);
    if !same {
        return Err(Refusal::OtherTerms);
    }
    match known.status {
        ClaimStatus::Held | ClaimStatus::Committed => {
            Ok(Decision::again(Reply::Reserved(Box::new(known.reply(hold_s)))))
        }
        ClaimStatus::Released => Err(Refusal::Ended),
    }
}

/// Rule R2: a repeated movement takes effect once.
fn move_again(known: &Move, allocations: &[Allocation], restock: bool) -> Decided {
    if known.allocations == allocations && known.restock == restock {
        Ok(Decision::again(Reply::Done))
    } else {
        Err(Refusal::OtherTerms)
    }
}
