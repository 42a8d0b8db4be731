//! A line of an order: one SKU, its reservation, and the counts of its units.

use super::{PricedLine, Receipt, Shortage, Wanted};
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{Sku, WarehouseId};
use crate::inventory::{Allocation, Price, Units};
use crate::money::Money;
use compact_str::CompactString;

/// How far a claim of an order got.
pub type Hold = crate::claims::Hold<Shortage>;

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OrderLine {
    /// The SKU; no other line has it.
    #[n(0)]
    pub sku: Sku,
    /// Units bought, at least 1.
    #[n(1)]
    pub units: Units,
    /// Price of one unit that the caller expected.
    #[n(2)]
    pub expected_unit_price: Option<Money>,
    /// How far the reservation of its units got.
    #[n(3)]
    pub hold: Hold,
    /// What the SKU agreed to when it reserved the units.
    #[n(4)]
    pub agreed: Option<Agreed>,
    /// Its price; all 0 until all lines are reserved.
    #[n(5)]
    pub priced: PricedLine,
    /// The number of cancelled units.
    #[n(6)]
    pub cancelled: Units,
    /// The number of shipped units.
    #[n(7)]
    pub shipped: Units,
    /// The number of units delivered.
    #[n(8)]
    pub delivered: Units,
    /// The number of units in requested or approved returns that have not arrived.
    #[n(9)]
    pub returning: Units,
    /// The number of returned units.
    #[n(10)]
    pub returned: Units,
    /// Units that are not due any more: cancelled, returned, refunded. The worth of further ones is counted from here.
    #[n(11)]
    pub settled: Units,
    /// Refunded for units of it, in minor units; cancelled units aside.
    #[n(12)]
    pub refunded: i64,
    /// Units neither shipped nor cancelled, by warehouse.
    #[n(13)]
    pub unshipped: Vec<Allocation>,
    /// Units shipped and not returned, by warehouse.
    #[n(14)]
    pub out: Vec<Allocation>,
    /// Units that were refunded without a return and have not come back since: when they do, their money is not given back again.
    #[n(15)]
    #[cbor(default)]
    pub refunded_ahead: Units,
}

/// The terms of a reservation of units.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Agreed {
    /// Number of the SKU's event that reserved the units (rule R1).
    #[n(0)]
    pub reservation: u64,
    /// Price of one unit.
    #[n(1)]
    pub price: Price,
    /// Title, as the shopper sees it.
    #[cbor(n(2), with = "text")]
    pub title: CompactString,
    /// The seller's account.
    #[cbor(n(3), with = "text")]
    pub seller: CompactString,
    /// Chooses the tax rate, as the seller names it.
    #[cbor(n(4), with = "text")]
    pub tax_class: CompactString,
    /// Units by the warehouse they are taken from.
    #[n(5)]
    pub allocations: Vec<Allocation>,
}

impl OrderLine {
    /// Units neither shipped nor cancelled.
    #[must_use]
    pub const fn left(&self) -> Units {
        self.units.saturating_sub(self.cancelled).saturating_sub(self.shipped)
    }

    /// Units in one warehouse that are neither shipped nor cancelled.
    #[must_use]
    pub fn left_in(&self, warehouse: &WarehouseId) -> Units {
        self.unshipped.iter().find(|here| here.warehouse == *warehouse).map_or(0, |here| here.units)
    }

    /// Units that the shopper has and that are in no return.
    #[must_use]
    pub const fn returnable(&self) -> Units {
        self.shipped.saturating_sub(self.returning).saturating_sub(self.returned)
    }

    /// The value of `units` more, in minor units, counted from the settled units, so that the last unit takes the remainder and
    /// all of them add up to the line. `shipping`: with their share of the shipping.
    #[must_use]
    pub fn worth(&self, units: Units, shipping: bool) -> i64 {
        let upto = |units| self.first_worth(units, shipping);
        upto(self.settled.saturating_add(units)).saturating_sub(upto(self.settled))
    }

    /// The value of the first `units` of the line, in minor units, rounded down. `shipping`: with their share of the shipping.
    pub(super) fn first_worth(&self, units: Units, shipping: bool) -> i64 {
        let part = |whole: i64| -> i64 {
            let product = i128::from(whole).saturating_mul(i128::from(units.min(self.units)));
            i64::try_from(product.checked_div(i128::from(self.units.max(1))).unwrap_or(0)).unwrap_or(0)
        };
        let goods = part(self.priced.total);
        if shipping { goods.saturating_add(part(self.priced.shipping_share)) } else { goods }
    }
}

impl OrderLine {
    pub(super) fn new(wanted: &Wanted) -> Self {
        Self {
            sku: wanted.sku.clone(),
            units: wanted.units,
            expected_unit_price: wanted.expected_unit_price,
            hold: Hold::Asked,
            agreed: None,
            priced: PricedLine::default(),
            cancelled: 0,
            shipped: 0,
            delivered: 0,
            returning: 0,
            returned: 0,
            settled: 0,
            refunded: 0,
            unshipped: Vec::new(),
            out: Vec::new(),
            refunded_ahead: 0,
        }
    }
}

/// Units over all warehouses.
pub(super) fn units_of(allocations: &[Allocation]) -> Units {
    allocations.iter().fold(0, |sum, allocation| sum.saturating_add(allocation.units))
}

/// Removes the units of `from`, warehouse by warehouse; a warehouse without units is dropped.
pub(super) fn take_from(from: &mut Vec<Allocation>, taken: &[Allocation]) {
    for one in taken {
        if let Some(here) = from.iter_mut().find(|here| here.warehouse == one.warehouse) {
            here.units = here.units.saturating_sub(one.units);
        }
    }
    from.retain(|here| here.units > 0);
}

pub(super) fn add_to(to: &mut Vec<Allocation>, added: &[Allocation]) {
    for one in added {
        match to.iter_mut().find(|here| here.warehouse == one.warehouse) {
            Some(here) => here.units = here.units.saturating_add(one.units),
            None => to.push(one.clone()),
        }
    }
}

impl OrderLine {
    /// Adds returned units.
    pub(super) fn receive(&mut self, receipt: &Receipt) {
        let units = units_of(&receipt.to);
        self.returning = self.returning.saturating_sub(units);
        self.returned = self.returned.saturating_add(units);
        let money = receipt.money.unwrap_or_else(|| self.worth(receipt.settled, false));
        self.refunded = self.refunded.saturating_add(money);
        self.settled = self.settled.saturating_add(receipt.settled);
        self.refunded_ahead = self.refunded_ahead.saturating_sub(units.saturating_sub(receipt.settled));
        take_from(&mut self.out, &receipt.to);
    }
}

impl Receipt {
    /// What the units are worth, and neither goes back with them nor went ahead; in minor units. `line` is the line before they arrive.
    pub(super) fn kept(&self, line: &OrderLine) -> i64 {
        let Some(money) = self.money else { return 0 };
        let worth = line.worth(self.settled, false);
        worth.saturating_sub(money).saturating_sub(self.credited.unwrap_or(0)).max(0)
    }
}

/// The first `units` of `from`, beginning with the last warehouse, so that the preferred one keeps its units longest.
pub(super) fn pick(from: &[Allocation], units: Units) -> Vec<Allocation> {
    let mut left = units;
    let mut picked = Vec::new();
    for here in from.iter().rev() {
        let take = here.units.min(left);
        if take > 0 {
            left = left.saturating_sub(take);
            picked.push(Allocation { warehouse: here.warehouse.clone(), units: take });
        }
    }
    picked
}
