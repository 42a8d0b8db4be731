//! The units of each order and external reservation, summed over a SKU's events. An audit checks by them that every confirmed order has its
//! commits (rule A1), long after the SKU itself has forgotten the order.

use super::event::Event;
use super::memory::units_of;
use crate::ids::{OrderId, ReservationId};
use std::collections::BTreeMap;

/// One order's units of one SKU, summed over all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderUnits {
    /// Units ever reserved.
    pub reserved: u64,
    /// Reserved units that were released.
    pub released: u64,
    /// Reserved units that were sold.
    pub committed: u64,
    /// Sold units that were shipped.
    pub shipped: u64,
    /// Shipped units that came back.
    pub returned: u64,
    /// Sold units that were cancelled before they were shipped.
    pub cancelled: u64,
}

impl OrderUnits {
    /// Units that are still reserved.
    #[must_use]
    pub const fn live(&self) -> u64 {
        self.reserved.saturating_sub(self.released).saturating_sub(self.committed)
    }

    /// Units sold and neither returned nor cancelled.
    #[must_use]
    pub const fn sold(&self) -> u64 {
        self.committed.saturating_sub(self.returned).saturating_sub(self.cancelled)
    }
}

/// One reference's units of one SKU, summed over all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExternalUnits {
    /// Whether the SKU decides about it.
    pub decided_by_the_stock: bool,
    /// Units ever reserved.
    pub reserved: u64,
    /// Reserved units that were released or expired.
    pub freed: u64,
    /// Reserved units that were sold.
    pub committed: u64,
    /// Sold units that were shipped.
    pub shipped: u64,
}

impl ExternalUnits {
    /// Units that are still reserved.
    #[must_use]
    pub const fn live(&self) -> u64 {
        self.reserved.saturating_sub(self.freed).saturating_sub(self.committed)
    }
}

/// Sums the events of **one** SKU, in order, by order and reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFold {
    orders: BTreeMap<OrderId, OrderUnits>,
    /// Units of reservations that have not ended, by number.
    live: BTreeMap<u64, u64>,
    external: BTreeMap<ReservationId, ExternalUnits>,
}

impl AuditFold {
    /// Adds an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Reserved { order, reservation, allocations, .. } => {
                let units = units_of(allocations);
                self.live.insert(*reservation, units);
                add(&mut self.of(*order).reserved, units);
            }
            Event::Committed { order, reservation } => {
                let units = self.live.remove(reservation).unwrap_or(0);
                add(&mut self.of(*order).committed, units);
            }
            Event::Released { order, reservation } => {
                let units = self.live.remove(reservation).unwrap_or(0);
                add(&mut self.of(*order).released, units);
            }
            Event::Shipped { order, allocations, .. } => add(&mut self.of(*order).shipped, units_of(allocations)),
            Event::Unshipped { order, allocations, .. } => {
                let books = self.of(*order);
                books.shipped = books.shipped.saturating_sub(units_of(allocations));
            }
            Event::Returned { order, key, allocations, .. } => {
                let books = self.of(*order);
                match key {
                    super::ReturnKey::Return { .. } => add(&mut books.returned, units_of(allocations)),
                    super::ReturnKey::Cancel { .. } => add(&mut books.cancelled, units_of(allocations)),
                }
            }
            Event::Offered(_)
            | Event::Received { .. }
            | Event::Announced { .. }
            | Event::Adjusted { .. }
            | Event::Counted { .. }
            | Event::Kept { .. }
            | Event::Forgotten { .. }
            | Event::MovesForgotten { .. }
            | Event::ExternalExtended { .. }
            | Event::ExternalKept { .. }
            | Event::ExternalForgotten { .. }
            | Event::WarehouseSet { .. } => {}
            Event::ExternalReserved { id, allocations, decider, .. } => {
                let books = self.external.entry(*id).or_default();
                books.decided_by_the_stock = *decider == super::Decider::Stock;
                add(&mut books.reserved, units_of(allocations));
            }
            Event::ExternalCommitted { id, at: _ } => {
                let books = self.external.entry(*id).or_default();
                let units = books.live();
                add(&mut books.committed, units);
            }
            Event::ExternalShipped { id, at: _ } => {
                let books = self.external.entry(*id).or_default();
                books.shipped = books.committed;
            }
            Event::ExternalReleased { id, at: _ } => self.free(*id),
            Event::ExternalExpired { ids, at: _ } => ids.iter().for_each(|id| self.free(*id)),
        }
    }

    /// An order's units of the SKU.
    #[must_use]
    pub fn order(&self, order: OrderId) -> OrderUnits {
        self.orders.get(&order).copied().unwrap_or_default()
    }

    /// Every order that ever reserved units.
    pub fn orders(&self) -> impl Iterator<Item = (OrderId, OrderUnits)> + '_ {
        self.orders.iter().map(|(order, units)| (*order, *units))
    }

    /// An external reservation's units of the SKU.
    #[must_use]
    pub fn external_units(&self, id: ReservationId) -> ExternalUnits {
        self.external.get(&id).copied().unwrap_or_default()
    }

    /// The number of external reservations that the SKU itself decides.
    #[must_use]
    pub fn decided_by_the_stock(&self) -> usize {
        self.external.values().filter(|units| units.decided_by_the_stock).count()
    }

    /// Every external reservation that ever had units.
    pub fn all_external(&self) -> impl Iterator<Item = (ReservationId, ExternalUnits)> + '_ {
        self.external.iter().map(|(id, units)| (*id, *units))
    }

    fn free(&mut self, id: ReservationId) {
        let books = self.external.entry(id).or_default();
        let units = books.live();
        add(&mut books.freed, units);
    }

    fn of(&mut self, order: OrderId) -> &mut OrderUnits {
        self.orders.entry(order).or_default()
    }
}

const fn add(sum: &mut u64, units: u64) {
    *sum = sum.saturating_add(units);
}
