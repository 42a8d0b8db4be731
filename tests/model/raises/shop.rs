//! What is sold, and the orders that buy it.

use std::collections::{BTreeMap, BTreeSet};

/// One SKU of the drop, as its own entity sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    pub(crate) allotment: u32,
    pub(crate) written_off: u32,
    pub(crate) committed: u32,
    pub(crate) held: BTreeMap<usize, u32>,
    /// Orders whose units are sold here.
    pub(crate) sold: BTreeSet<usize>,
    pub(crate) ended: BTreeSet<usize>,
}

impl Shelf {
    /// What is not sold yet: held units are counted by the places that hold them.
    pub(crate) fn supply(&self) -> u32 {
        self.allotment - self.committed - self.written_off
    }

    fn free(&self) -> u32 {
        self.supply() - self.held.values().sum::<u32>()
    }

    /// `None`: the order has ended here. `Some(false)`: there is not enough.
    pub(crate) fn reserve(&mut self, order: usize, units: u32) -> Option<bool> {
        if self.ended.contains(&order) {
            return None;
        }
        if self.held.contains_key(&order) {
            return Some(true);
        }
        let is_enough = self.free() >= units;
        if is_enough {
            self.held.insert(order, units);
        }
        Some(is_enough)
    }

    pub(crate) fn end(&mut self, order: usize, is_sold: bool) {
        self.ended.insert(order);
        if let Some(units) = self.held.remove(&order)
            && is_sold
        {
            self.committed += units;
            self.sold.insert(order);
        }
    }

    pub(crate) fn write_off(&mut self) -> bool {
        let is_free = self.free() > 0;
        self.written_off += u32::from(is_free);
        is_free
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The place first.
    Claim,
    /// Then stock at each SKU.
    Reserve,
    /// Paid or given up: stock of each SKU.
    EndStock {
        is_sold: bool,
    },
    /// Then the place.
    EndPlace {
        is_sold: bool,
    },
    Done,
}

/// An order: a saga that sends the message of its step until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Room and place; `None`: it came by a route past the room.
    pub(crate) place: Option<(usize, usize)>,
    pub(crate) units: u32,
    pub(crate) step: Step,
    /// SKUs that have answered this step.
    pub(crate) answered: BTreeSet<usize>,
    pub(crate) is_refused: bool,
}
