//! Stock levels: the counts of one warehouse.

use super::command::{Offer, Units};
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::WarehouseId;
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// A SKU's offer and stock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Levels {
    /// The product's offer, if any.
    pub offer: Option<Offer>,
    /// One level for each warehouse that ever had units.
    pub levels: Vec<Level>,
    /// The number of the SKU's events; it grows with every change.
    pub version: u64,
    /// The earliest deadline of a live reservation, if there is one.
    pub next_release_at: Option<Timestamp>,
}

/// Stock of the SKU in one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Level {
    /// The id of the warehouse.
    #[n(0)]
    pub warehouse: WarehouseId,
    /// Units in the building that are not sold.
    #[n(1)]
    pub on_hand: u64,
    /// Units on hand that are reserved, by orders or external reservations.
    #[n(2)]
    pub reserved: u64,
    /// Units held back from sale.
    #[n(3)]
    pub held: u64,
    /// Units that are sold and have not left the building.
    #[n(4)]
    pub to_ship: u64,
    /// Units received since the beginning.
    #[n(5)]
    pub received: u64,
    /// Sum of all corrections and stocktakes, in units.
    #[n(6)]
    pub adjusted: i64,
    /// Units sold since the beginning; what is returned is not taken off.
    #[n(7)]
    pub sold: u64,
    /// Units whose sale was cancelled or that came back, since the beginning.
    #[n(8)]
    pub returned: u64,
    /// Announced receipts, oldest announcement first; at most [`super::ANNOUNCED_MAX`].
    #[n(9)]
    pub incoming: Vec<Incoming>,
    /// When units were last received.
    #[n(10)]
    pub last_receipt_at: Option<Timestamp>,
    /// What the warehouse last said of itself; `None`: it has been active ever since the SKU has stock there.
    #[n(11)]
    pub standing: Option<Standing>,
}

/// Whether a warehouse's units are for sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Standing {
    /// `false`: none of them are.
    #[n(0)]
    pub active: bool,
    /// The warehouse's version; an older one changes nothing.
    #[n(1)]
    pub version: u64,
}

/// Units that a seller has announced and that have not arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Incoming {
    /// How many are still to come.
    #[n(0)]
    pub units: Units,
    /// When they are expected to arrive.
    #[n(1)]
    pub expected_at: Timestamp,
    /// The seller's own name for the delivery: a receipt that carries it is counted against this announcement.
    #[cbor(n(2), with = "text")]
    pub reference: Option<CompactString>,
}

/// The levels of a SKU, in the order of their warehouses. A list of just their number: most SKUs lie in one warehouse, and a map would make
/// room for eleven.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct ByWarehouse(#[n(0)] Vec<Level>);

impl ByWarehouse {
    fn place(&self, warehouse: &WarehouseId) -> Result<usize, usize> {
        self.0.binary_search_by(|level| level.warehouse.cmp(warehouse))
    }

    /// The level of a warehouse, if it ever had units.
    pub(super) fn get(&self, warehouse: &WarehouseId) -> Option<&Level> {
        self.0.get(self.place(warehouse).ok()?)
    }

    /// The level of a warehouse for changes; a new one is empty.
    #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
    pub(super) fn at(&mut self, warehouse: &WarehouseId) -> &mut Level {
        let place = self.place(warehouse).unwrap_or_else(|place| {
            self.0.reserve_exact(1);
            self.0.insert(place, Level::at(warehouse.clone()));
            place
        });
        &mut self.0[place]
    }

    /// Replaces the level of its warehouse.
    pub(super) fn put(&mut self, level: Level) {
        let warehouse = level.warehouse.clone();
        *self.at(&warehouse) = level;
    }

    /// The levels of all warehouses.
    pub(super) fn values(&self) -> std::slice::Iter<'_, Level> {
        self.0.iter()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In their order, whatever order they were stored in.
    pub(super) fn sorted(self) -> Self {
        self.0.into_iter().collect()
    }
}

impl FromIterator<Level> for ByWarehouse {
    fn from_iter<I: IntoIterator<Item = Level>>(levels: I) -> Self {
        let mut all = Self::default();
        levels.into_iter().for_each(|level| all.put(level));
        all
    }
}

impl Level {
    /// An empty level of a warehouse.
    #[must_use]
    pub fn at(warehouse: WarehouseId) -> Self {
        Self { warehouse, ..Self::default() }
    }

    /// Are its units for sale?
    #[must_use]
    pub const fn is_active(&self) -> bool {
        match &self.standing {
            Some(standing) => standing.active,
            None => true,
        }
    }

    /// Units that can be reserved: `on_hand - reserved - held`; none while the warehouse is not active.
    #[must_use]
    pub const fn available(&self) -> u64 {
        if self.is_active() { self.on_hand.saturating_sub(self.reserved).saturating_sub(self.held) } else { 0 }
    }

    /// Reserved units that can be reserved again once they are released; none while the warehouse is not active.
    #[must_use]
    pub const fn may_come_back(&self) -> u64 {
        if self.is_active() { self.reserved } else { 0 }
    }

    /// Units that a stocktake finds: `on_hand + to_ship`.
    #[must_use]
    pub const fn in_building(&self) -> u64 {
        self.on_hand.saturating_add(self.to_ship)
    }
}

impl Levels {
    /// Units that can be reserved, over all warehouses.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.levels.iter().map(Level::available).fold(0, u64::saturating_add)
    }

    /// Reserved units, over all active warehouses.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.levels.iter().map(Level::may_come_back).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stand_in_the_order_of_their_warehouses_and_take_no_more_room_than_that() {
        let at = |name: &str| WarehouseId::parse(name).unwrap();
        let mut levels = ByWarehouse::default();
        for (name, units) in [("m", 1), ("z", 2), ("a", 3), ("m", 4)] {
            levels.put(Level { on_hand: units, ..Level::at(at(name)) });
        }
        levels.at(&at("b")).on_hand = 5;
        levels.at(&at("z")).on_hand += 10;
        let all: Vec<_> = levels.values().map(|level| (level.warehouse.as_str().to_owned(), level.on_hand)).collect();
        assert_eq!(all, [("a".into(), 3), ("b".into(), 5), ("m".into(), 4), ("z".into(), 12)]);
        assert_eq!(levels.get(&at("z")).map(|level| level.on_hand), Some(12));
        assert_eq!((levels.get(&at("c")), levels.0.capacity()), (None, 4));
    }
}
