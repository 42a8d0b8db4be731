//! One line of an order: one SKU, what is held of it, and where its units are.

use super::{PricedLine, Receipt, Shortage, Wanted};
use crate::ids::{Sku, WarehouseId};
use crate::inventory::{Allocation, Price, Units};
use crate::money::Money;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// What is held for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Hold {
    /// Not asked yet, or asked and not known.
    #[default]
    Asked,
    /// The SKU refused.
    Refused(Shortage),
    /// Promised to us.
    Held,
    /// Asked to let go.
    Releasing,
    /// Let go.
    Released,
    /// Sold to us.
    Committed,
    /// The SKU did not know the reservation any more when it was to be sold.
    Vanished,
}

/// One line: one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The SKU.
    pub sku: Sku,
    /// Bought.
    pub units: Units,
    /// As the caller expected it.
    pub expected_unit_price: Option<Money>,
    /// What is held for it.
    pub hold: Hold,
    /// What the SKU said when it promised the units.
    pub agreed: Option<Agreed>,
    /// As priced.
    pub priced: PricedLine,
    /// Units cancelled.
    pub cancelled: Units,
    /// Units handed to a carrier.
    pub shipped: Units,
    /// Units that arrived.
    pub delivered: Units,
    /// Units in returns asked for or approved and not yet received.
    pub returning: Units,
    /// Units that came back.
    pub returned: Units,
    /// Units whose money is not due any more: cancelled, returned, refunded. The next one's worth is counted from here.
    pub settled: Units,
    /// What was given back for units of it, minor units (cancelled units aside).
    pub refunded: i64,
    /// Units neither shipped nor cancelled, by warehouse.
    pub unshipped: Vec<Allocation>,
    /// Units shipped and not returned, by warehouse.
    pub out: Vec<Allocation>,
}

/// What a SKU agreed to when it promised units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The SKU's own event number (rule R1).
    pub reservation: u64,
    /// The price.
    pub price: Price,
    /// As shown.
    pub title: CompactString,
    /// Whose it is.
    pub seller: CompactString,
    /// Chooses the tax rate.
    pub tax_class: CompactString,
    /// From where.
    pub allocations: Vec<Allocation>,
}

impl Line {
    /// Units neither shipped nor cancelled.
    #[must_use]
    pub const fn left(&self) -> Units {
        self.units.saturating_sub(self.cancelled).saturating_sub(self.shipped)
    }

    /// Units neither shipped nor cancelled that lie in one warehouse.
    #[must_use]
    pub fn left_in(&self, warehouse: &WarehouseId) -> Units {
        self.unshipped.iter().find(|here| here.warehouse == *warehouse).map_or(0, |here| here.units)
    }

    /// Units that the shopper has and nobody has asked back.
    #[must_use]
    pub const fn returnable(&self) -> Units {
        self.shipped.saturating_sub(self.returning).saturating_sub(self.returned)
    }

    /// What `units` more of it are worth, minor units, counted from what is settled: so the last unit takes the remainder, and
    /// all of them add up to the line. `shipping`: with their share of the shipping.
    #[must_use]
    pub fn worth(&self, units: Units, shipping: bool) -> i64 {
        let part = |whole: i64, of: Units| -> i64 {
            let product = i128::from(whole).saturating_mul(i128::from(of.min(self.units)));
            i64::try_from(product.checked_div(i128::from(self.units.max(1))).unwrap_or(0)).unwrap_or(0)
        };
        let span =
            |whole: i64| part(whole, self.settled.saturating_add(units)).saturating_sub(part(whole, self.settled));
        let goods = span(self.priced.total);
        if shipping { goods.saturating_add(span(self.priced.shipping_share)) } else { goods }
    }
}

impl Line {
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
        }
    }
}

/// Units over all warehouses.
pub(super) fn units_of(allocations: &[Allocation]) -> Units {
    allocations.iter().fold(0, |sum, allocation| sum.saturating_add(allocation.units))
}

/// Takes units of `from` away, warehouse by warehouse; a warehouse without units left is dropped.
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

impl Line {
    /// Takes in units that came back.
    pub(super) fn receive(&mut self, receipt: &Receipt) {
        let units = units_of(&receipt.to);
        self.returning = self.returning.saturating_sub(units);
        self.returned = self.returned.saturating_add(units);
        self.refunded = self.refunded.saturating_add(self.worth(receipt.settled, false));
        self.settled = self.settled.saturating_add(receipt.settled);
        take_from(&mut self.out, &receipt.to);
    }
}

/// The first `units` of `from`, from the last warehouse on: the preferred one keeps its units longest.
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
