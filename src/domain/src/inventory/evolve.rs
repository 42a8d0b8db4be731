//! Applies events to the state of a SKU's stock. This is arithmetic on the events' values; it decides nothing.

use super::Inventory;
use super::command::{Allocation, MoveKey, Offer, Units};
use super::event::{Event, SellerRequest};
use super::external::{ExternalReservation, ExternalStatus};
use super::levels::{Incoming, Level, Standing};
use super::memory::{Agreed, Move, Remembered, Reservation, orders_beside, requests_beside};
use crate::claims::ClaimStatus;
use crate::ids::{OrderId, WarehouseId};
use crate::money::Currency;
use crate::time::Timestamp;
use compact_str::CompactString;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Inventory {
    pub(super) fn take(&mut self, event: &Event) {
        self.version = self.version.saturating_add(1);
        match event {
            Event::Offered(offer) => {
                self.agreed = agreed_by(offer);
                self.offer = Some(Offer::clone(offer));
            }
            Event::Received { asked, warehouse, units, reference } => {
                self.take_receipt(*asked, warehouse, *units, reference.as_ref());
            }
            Event::Announced { asked, warehouse, units, expected_at, reference } => {
                let incoming = Incoming { units: *units, expected_at: *expected_at, reference: reference.clone() };
                self.levels.at(warehouse).incoming.push(incoming);
                self.remember(*asked, warehouse);
            }
            Event::Adjusted { asked, warehouse, delta, reason: _, note: _ }
            | Event::Counted { asked, warehouse, counted: _, delta } => {
                self.levels.at(warehouse).adjust(*delta);
                self.remember(*asked, warehouse);
            }
            Event::Reserved { order, reservation, currency, allocations, expires_at, ask_at } => {
                let agreed = self.agreed.get(currency).cloned().unwrap_or_else(|| free_of_charge(*currency));
                let reservation = Reservation {
                    number: *reservation,
                    allocations: allocations.clone(),
                    agreed,
                    expires_at: *expires_at,
                    ask_at: *ask_at,
                    status: ClaimStatus::Held,
                };
                self.take_reservation(*order, reservation);
            }
            Event::Kept { order, reservation: _, ask_at } => self.reservations.keep(*order, *ask_at),
            Event::Committed { order, reservation: _ } => self.end(*order, ClaimStatus::Committed),
            Event::Released { order, reservation: _ } => self.end(*order, ClaimStatus::Released),
            Event::Forgotten { order, reservation: _ } => {
                self.reservations.remove(*order);
            }
            Event::Shipped { order, shipment, allocations } => {
                for part in allocations {
                    let level = self.levels.at(&part.warehouse);
                    level.to_ship = level.to_ship.saturating_sub(u64::from(part.units));
                }
                self.moved(*order, MoveKey::Ship { shipment: *shipment }, allocations, false);
            }
            Event::Unshipped { order, shipment, allocations, lost } => {
                for part in allocations {
                    self.levels.at(&part.warehouse).unship(u64::from(part.units), *lost);
                }
                self.moved(*order, MoveKey::Unship { shipment: *shipment }, allocations, *lost);
            }
            Event::Returned { order, key, allocations, restock } => {
                let shipped = match key {
                    super::ReturnKey::Return { .. } => true,
                    super::ReturnKey::Cancel { .. } => false,
                };
                for part in allocations {
                    self.levels.at(&part.warehouse).unsell(u64::from(part.units), shipped, *restock);
                }
                self.moved(*order, MoveKey::Return(*key), allocations, *restock);
            }
            Event::MovesForgotten { order, moves, at, until } => {
                self.forget_moves(*order, moves, *at, *until);
            }
            Event::ExternalReserved { id, reference, buyer_key, decider, allocations, hold_s, at, expires_at } => {
                let reservation = ExternalReservation {
                    number: self.version,
                    reference: reference.clone(),
                    buyer_key: buyer_key.clone(),
                    decider: *decider,
                    allocations: allocations.clone(),
                    hold_s: *hold_s,
                    expires_at: *expires_at,
                    status: ExternalStatus::Held,
                    made_at: *at,
                    changed_at: *at,
                    changes: 1,
                    extensions: Vec::new(),
                    shipped_at: None,
                };
                self.reserve(allocations);
                self.external.insert(*id, reservation);
            }
            Event::ExternalExtended { id, request, at, expires_at } => {
                self.external.extend(*id, *request, *expires_at, *at);
            }
            Event::ExternalKept { id, ask_at } => self.external.ask_again(*id, *ask_at),
            Event::ExternalCommitted { id, at } => {
                let allocations = self.external.end(*id, ExternalStatus::Committed, *at);
                self.unreserve(&allocations, true);
            }
            Event::ExternalShipped { id, at } => {
                for part in self.external.ship(*id, *at) {
                    let level = self.levels.at(&part.warehouse);
                    level.to_ship = level.to_ship.saturating_sub(u64::from(part.units));
                }
            }
            Event::ExternalReleased { id, at } => {
                let allocations = self.external.end(*id, ExternalStatus::Released, *at);
                self.unreserve(&allocations, false);
            }
            Event::ExternalExpired { ids, at } => {
                for id in ids {
                    let allocations = self.external.end(*id, ExternalStatus::Expired, *at);
                    self.unreserve(&allocations, false);
                }
            }
            Event::ExternalForgotten { ids } => ids.iter().for_each(|id| self.external.forget(*id)),
            Event::WarehouseSet { warehouse, active, version } => {
                self.levels.at(warehouse).standing = Some(Standing { active: *active, version: *version });
            }
        }
    }

    /// Adds reserved units.
    fn reserve(&mut self, allocations: &[Allocation]) {
        for part in allocations {
            let units = u64::from(part.units);
            let level = self.levels.at(&part.warehouse);
            level.reserved = level.reserved.saturating_add(units);
        }
    }

    /// Removes reserved units, which are now sold or free.
    fn unreserve(&mut self, allocations: &[Allocation], sold: bool) {
        for part in allocations {
            let units = u64::from(part.units);
            let level = self.levels.at(&part.warehouse);
            level.reserved = level.reserved.saturating_sub(units);
            if sold {
                level.on_hand = level.on_hand.saturating_sub(units);
                level.sold = level.sold.saturating_add(units);
                level.to_ship = level.to_ship.saturating_add(units);
            }
        }
    }

    fn take_receipt(
        &mut self,
        asked: SellerRequest,
        warehouse: &WarehouseId,
        units: Units,
        reference: Option<&CompactString>,
    ) {
        let level = self.levels.at(warehouse);
        level.on_hand = level.on_hand.saturating_add(u64::from(units));
        level.received = level.received.saturating_add(u64::from(units));
        level.last_receipt_at = Some(asked.at);
        if let Some(reference) = reference {
            let mut left = units;
            for incoming in &mut level.incoming {
                if incoming.reference.as_ref() == Some(reference) {
                    let served = left.min(incoming.units);
                    incoming.units = incoming.units.saturating_sub(served);
                    left = left.saturating_sub(served);
                }
            }
            level.incoming.retain(|incoming| incoming.units > 0);
        }
        self.remember(asked, warehouse);
    }

    fn take_reservation(&mut self, order: OrderId, reservation: Reservation) {
        self.reserve(&reservation.allocations);
        self.reservations.insert(order, reservation);
    }

    /// Ends a live reservation: its units are sold or free.
    fn end(&mut self, order: OrderId, status: ClaimStatus) {
        let Some(reservation) = self.reservations.end(order, status) else { return };
        let allocations = reservation.allocations.clone();
        self.unreserve(&allocations, status == ClaimStatus::Committed);
    }

    fn moved(&mut self, order: OrderId, key: MoveKey, allocations: &[Allocation], restock: bool) {
        let memory = Move { allocations: allocations.to_vec(), restock, until: None };
        self.moves.insert((order, key), memory);
    }

    /// Forgets keys of the same chunk only, so that no other chunk's row has to be stored again (rule S4).
    fn forget_moves(&mut self, order: OrderId, moves: &[MoveKey], at: Timestamp, until: Timestamp) {
        for key in moves {
            if let Some(memory) = self.moves.get_mut(&(order, *key)) {
                memory.until = memory.until.or(Some(until));
            }
        }
        let (first, last) = orders_beside(order);
        let due: Vec<(OrderId, MoveKey)> = self
            .moves
            .range((first, FIRST_MOVE)..)
            .take_while(|((order, _), _)| *order <= last)
            .filter(|(_, memory)| memory.until.is_some_and(|until| until <= at))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            self.moves.remove(&key);
        }
    }

    /// Remembers a request with its first answer, and forgets requests of its chunk whose memory time is over.
    fn remember(&mut self, asked: SellerRequest, warehouse: &WarehouseId) {
        let (first, last) = requests_beside(asked.request.id);
        let due: Vec<_> = self
            .requests
            .range(first..=last)
            .filter(|(_, memory)| memory.until <= asked.at)
            .map(|(request, _)| *request)
            .collect();
        for request in due {
            self.requests.remove(&request);
        }
        let level = self.levels.at(warehouse).clone();
        let memory = Remembered { terms: asked.request.terms, until: asked.until, level, version: self.version };
        self.requests.insert(asked.request.id, Box::new(memory));
    }
}

/// The smallest key.
const FIRST_MOVE: MoveKey = MoveKey::Ship { shipment: 0 };

impl Level {
    fn adjust(&mut self, delta: i64) {
        self.on_hand = self.on_hand.saturating_add_signed(delta);
        self.adjusted = self.adjusted.saturating_add(delta);
    }

    /// Shipped units are to ship again. In place of lost ones, which are written off, others are taken from those on hand.
    fn unship(&mut self, units: u64, lost: bool) {
        self.to_ship = self.to_ship.saturating_add(units);
        if lost {
            self.on_hand = self.on_hand.saturating_sub(units);
            self.adjusted = self.adjusted.saturating_sub_unsigned(units);
        }
    }

    /// Sold units come back. Units that had not shipped are no longer to ship; units that do not go back on sale are written off. So the
    /// law of conservation holds in both cases.
    fn unsell(&mut self, units: u64, shipped: bool, restock: bool) {
        self.returned = self.returned.saturating_add(units);
        if !shipped {
            self.to_ship = self.to_ship.saturating_sub(units);
        }
        if restock {
            self.on_hand = self.on_hand.saturating_add(units);
        } else {
            self.adjusted = self.adjusted.saturating_sub_unsigned(units);
        }
    }
}

/// The agreed terms per currency of an offer.
pub(super) fn agreed_by(offer: &Offer) -> BTreeMap<Currency, Arc<Agreed>> {
    offer
        .prices
        .iter()
        .map(|price| {
            let agreed = Agreed {
                price: *price,
                title: offer.title.clone(),
                seller: offer.seller.clone(),
                tax_class: offer.tax_class.clone(),
            };
            (price.unit.currency, Arc::new(agreed))
        })
        .collect()
}

/// A reservation in a currency without a price is never decided; a journal that holds one gets no price.
fn free_of_charge(currency: Currency) -> Arc<Agreed> {
    let unit = crate::money::Money::zero(currency);
    let price = super::Price { unit, was: None, tax_included: true };
    Arc::new(Agreed {
        price,
        title: CompactString::default(),
        seller: CompactString::default(),
        tax_class: CompactString::default(),
    })
}
