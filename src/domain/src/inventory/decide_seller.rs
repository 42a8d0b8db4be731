//! Decisions on the commands of sellers: receipts, adjustments, counts; on the product's offers, and on what warehouses say of themselves.

use super::command::{AdjustmentReason, Offer, Refusal, Reply, Units};
use super::event::{Event, SellerRequest};
use super::levels::{Level, Levels};
use super::{ANNOUNCED_MAX, COUNT_MAX, Inventory, REQUEST_MEMORY_S, RESERVED_SHOWN_MAX};
use crate::entity::{Decision, Entity};
use crate::ids::{OrderId, Request, ReservationId, WarehouseId};
use crate::time::Timestamp;
use compact_str::CompactString;

type Decided = Result<Decision<Event, Reply>, Refusal>;

impl Inventory {
    /// The newest version of an offer wins; a SKU does not change its product.
    pub(super) fn decide_offer(&self, offer: &Offer) -> Decided {
        match &self.offer {
            Some(known) if known.product != offer.product => {
                Err(Refusal::OtherProduct { product: known.product.clone() })
            }
            Some(known) if known.version >= offer.version => Ok(Decision::again(Reply::Done)),
            Some(_) | None => Ok(Decision::one(Event::Offered(Box::new(offer.clone())), Reply::Done)),
        }
    }

    /// The newest version of a warehouse wins. It is also kept of one where no unit has been booked yet: the units come after it.
    pub(super) fn decide_set_warehouse(
        &self,
        warehouse: &WarehouseId,
        active: bool,
        version: u64,
    ) -> Decision<Event, Reply> {
        let known = self.levels.get(warehouse).and_then(|level| level.standing);
        if known.is_some_and(|known| known.version >= version) {
            return Decision::again(Reply::Done);
        }
        Decision::one(Event::WarehouseSet { warehouse: warehouse.clone(), active, version }, Reply::Done)
    }

    pub(super) fn decide_receive(
        &self,
        request: Request,
        warehouse: &WarehouseId,
        units: Units,
        reference: Option<&CompactString>,
        expected_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Decided {
        if let Some(answer) = self.answered_before(request) {
            return answer;
        }
        self.check_offered()?;
        let level = self.levels.get(warehouse);
        let asked = asked(request, now);
        let (warehouse, reference) = (warehouse.clone(), reference.cloned());
        if let Some(expected_at) = expected_at {
            if level.is_some_and(|level| level.incoming.len() >= ANNOUNCED_MAX) {
                return Err(Refusal::TooManyAnnounced { limit: ANNOUNCED_MAX });
            }
            return Ok(self.with_level(Event::Announced { asked, warehouse, units, expected_at, reference }));
        }
        // Both sums are bounded, and with them all others: units are sold once per receipt, correction or return.
        let room = |count: u64| count.saturating_add(u64::from(units)) <= COUNT_MAX;
        if level.is_some_and(|level| !room(level.received) || !room(level.on_hand)) {
            return Err(Refusal::Overflow);
        }
        Ok(self.with_level(Event::Received { asked, warehouse, units, reference }))
    }

    pub(super) fn decide_adjust(
        &self,
        request: Request,
        warehouse: &WarehouseId,
        delta: i64,
        (reason, note): (AdjustmentReason, Option<&CompactString>),
        now: Timestamp,
    ) -> Decided {
        if let Some(answer) = self.answered_before(request) {
            return answer;
        }
        self.check_delta(warehouse, delta)?;
        let asked = asked(request, now);
        let (warehouse, note) = (warehouse.clone(), note.cloned());
        Ok(self.with_level(Event::Adjusted { asked, warehouse, delta, reason, note }))
    }

    pub(super) fn decide_count(
        &self,
        request: Request,
        warehouse: &WarehouseId,
        counted: Units,
        expected_in_building: Option<u64>,
        now: Timestamp,
    ) -> Decided {
        if let Some(answer) = self.answered_before(request) {
            return answer;
        }
        let in_building = self.levels.get(warehouse).map_or(0, Level::in_building);
        if expected_in_building.is_some_and(|expected| expected != in_building) {
            return Err(Refusal::Stale { in_building });
        }
        let Ok(books) = i64::try_from(in_building) else { return Err(Refusal::Overflow) };
        let delta = i64::from(counted).saturating_sub(books);
        self.check_delta(warehouse, delta)?;
        let asked = asked(request, now);
        Ok(self.with_level(Event::Counted { asked, warehouse: warehouse.clone(), counted, delta }))
    }

    /// Units are counted only of a SKU that a product lists or has listed: under a mistyped name they would be lost to the seller.
    fn check_offered(&self) -> Result<(), Refusal> {
        if self.offer.is_none() { Err(Refusal::Unknown) } else { Ok(()) }
    }

    /// Checks that the stock still covers the reserved units and stays within its bounds.
    fn check_delta(&self, warehouse: &WarehouseId, delta: i64) -> Result<(), Refusal> {
        self.check_offered()?;
        let empty = Level::at(warehouse.clone());
        let level = self.levels.get(warehouse).unwrap_or(&empty);
        let on_hand = i128::from(level.on_hand).saturating_add(i128::from(delta));
        let reserved = level.reserved.saturating_add(level.held);
        if on_hand < i128::from(reserved) {
            let reservations = self.external_there(warehouse);
            return Err(Refusal::UnitsReserved { orders: self.in_the_way(warehouse), reservations });
        }
        let adjusted = i128::from(level.adjusted).saturating_add(i128::from(delta));
        let limit = i128::from(COUNT_MAX);
        if on_hand > limit || adjusted > limit || adjusted < limit.saturating_neg() {
            return Err(Refusal::Overflow);
        }
        Ok(())
    }

    /// The oldest orders with units in the warehouse.
    fn in_the_way(&self, warehouse: &WarehouseId) -> Vec<OrderId> {
        self.live()
            .filter(|(_, reservation)| reservation.allocations.iter().any(|part| part.warehouse == *warehouse))
            .map(|(order, _)| order)
            .take(RESERVED_SHOWN_MAX)
            .collect()
    }

    /// The external reservations with units in the warehouse, by their deadlines.
    fn external_there(&self, warehouse: &WarehouseId) -> Vec<ReservationId> {
        self.external
            .held()
            .filter(|(_, reservation)| reservation.allocations.iter().any(|part| part.warehouse == *warehouse))
            .map(|(id, _)| id)
            .take(RESERVED_SHOWN_MAX)
            .collect()
    }

    /// The answer to a repeated request: the first answer, or a refusal (rule R2).
    fn answered_before(&self, request: Request) -> Option<Decided> {
        let known = self.requests.get(&request.id)?;
        if known.terms != request.terms {
            return Some(Err(Refusal::RequestReused));
        }
        Some(Ok(Decision::again(level_reply(known.level.clone(), known.version))))
    }

    /// The event, with the level after it as the answer.
    fn with_level(&self, event: Event) -> Decision<Event, Reply> {
        let (Event::Received { warehouse, .. }
        | Event::Announced { warehouse, .. }
        | Event::Adjusted { warehouse, .. }
        | Event::Counted { warehouse, .. }) = &event
        else {
            return Decision::one(event, Reply::Done);
        };
        // Only this level is replayed, because a copy of a hot SKU with all its reservations would be expensive.
        let mut after = Self { version: self.version, ..Self::default() };
        if let Some(level) = self.levels.get(warehouse) {
            after.levels.put(level.clone());
        }
        after.evolve(&event);
        let level = after.levels.get(warehouse).cloned().unwrap_or_default();
        let reply = level_reply(level, after.version);
        Decision::one(event, reply)
    }
}

fn level_reply(level: Level, version: u64) -> Reply {
    Reply::Levels(Box::new(Levels { offer: None, levels: vec![level], version, next_release_at: None }))
}

const fn asked(request: Request, now: Timestamp) -> SellerRequest {
    SellerRequest { request, at: now, until: now.plus_s(REQUEST_MEMORY_S) }
}
