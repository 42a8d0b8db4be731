//! The words spoken with a cart: what is asked, what is answered, what is refused, and what happened.

use crate::ids::{OrderId, Sku, Terms};
use crate::money::{Currency, Money};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Whose a cart is: the principal that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// A guest, by the id in the guest's token.
    Guest(CompactString),
    /// A shopper known by account.
    Customer(CompactString),
    /// A seller's account, acting for nobody in particular.
    Seller(CompactString),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Of this SKU: a cart has one line of each.
    pub sku: Sku,
    /// So many.
    pub quantity: u32,
    /// As it was read when the line was last set.
    pub title: CompactString,
    /// Whose it is.
    pub seller: CompactString,
    /// Per unit, when the line was added; what it costs now the stock says.
    pub unit_price: Money,
    /// When the line was added.
    pub added_at: Timestamp,
}

/// What the caller read of a SKU when it set a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Title and options.
    pub title: CompactString,
    /// Whose it is.
    pub seller: CompactString,
    /// Per unit.
    pub unit_price: Money,
}

/// What is asked of a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// Somebody looks at it: its end moves away, at most once a day.
    Access,
    /// The request that the cart's id is made of.
    Create {
        /// Fingerprint of the body: the same request with another is refused.
        terms: Terms,
        /// Whose.
        owner: Owner,
        /// Of all its lines.
        currency: Currency,
        /// Ends so many seconds after the last access (a guest's: seven days).
        life_s: u64,
    },
    /// Sets a line, never adds to it; 0 removes it.
    SetLine {
        /// Of this SKU.
        sku: Sku,
        /// So many.
        quantity: u32,
        /// What the caller read of it.
        snapshot: Snapshot,
        /// `If-Match`.
        expected_version: Option<u64>,
    },
    /// Removes a line.
    RemoveLine {
        /// Of this SKU.
        sku: Sku,
        /// `If-Match`.
        expected_version: Option<u64>,
    },
    /// An order takes the lines; the same order again gives the same lines.
    Freeze {
        /// Which.
        order: OrderId,
        /// When the order means to have decided (rule R3).
        expires_at: Timestamp,
    },
    /// The order ended without being confirmed: the cart is open again, unchanged.
    Thaw {
        /// Which.
        order: OrderId,
    },
    /// The order is confirmed: the cart is done.
    Close {
        /// Which.
        order: OrderId,
    },
    /// The order's answer to the question of rule R3; made by `answered`, never sent by others.
    Answer {
        /// The order that was asked.
        order: OrderId,
        /// Which freeze the question was about: the cart's version after it.
        freeze: u64,
        /// It said.
        says: OrderSays,
    },
}

/// What an order answers to the question of rule R3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderSays {
    /// Stay frozen.
    Keep {
        /// Ask again then.
        until: Timestamp,
    },
    /// The order ended, or never was: thaw.
    Release,
    /// Confirmed: close.
    Taken,
}

/// What happened to a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was made.
    Created {
        /// Fingerprint of the request's body.
        terms: Terms,
        /// Whose.
        owner: Owner,
        /// Of all its lines.
        currency: Currency,
        /// Seconds from an access to the end.
        life_s: u64,
        /// Its end.
        expires_at: Timestamp,
    },
    /// Its end moved away.
    Refreshed {
        /// To there.
        expires_at: Timestamp,
    },
    /// A line was added, or changed.
    LineSet {
        /// As it is now.
        line: Line,
    },
    /// A line is gone.
    LineRemoved {
        /// Of this SKU.
        sku: Sku,
    },
    /// An order took the lines.
    Frozen {
        /// Which.
        order: OrderId,
        /// It is asked then, if it has not decided (rule R3).
        ask_at: Timestamp,
    },
    /// The order, asked, said: keep.
    Kept {
        /// Asked again then.
        ask_at: Timestamp,
    },
    /// Open again.
    Thawed {
        /// By this order.
        order: OrderId,
    },
    /// It is an order now.
    Closed {
        /// Which.
        order: OrderId,
    },
    /// Nobody came for too long.
    Expired,
}

/// What an order takes from a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// In the order in which they were added.
    pub lines: Vec<Line>,
    /// Of all lines.
    pub currency: Currency,
    /// The cart's version.
    pub version: u64,
    /// Whose cart it is.
    pub owner: Owner,
}

/// The answer to what was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or had been done already.
    Done,
    /// To `Freeze`.
    Frozen(Box<Frozen>),
    /// `Thaw`, `Close` or an answer of an order that does not hold the cart: nothing changed.
    Unknown,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such cart.
    Unknown,
    /// Made by the same request with another body.
    RequestReused,
    /// Another version than expected.
    Stale {
        /// The cart's.
        current: u64,
    },
    /// An order is being placed with it.
    Frozen {
        /// Which.
        order: OrderId,
    },
    /// It became an order.
    AlreadyOrdered {
        /// Which.
        order: OrderId,
    },
    /// Nobody came for too long.
    Expired,
    /// It has no lines to order.
    Empty,
    /// The order had the cart and gave it back, or its deadline has passed: it does not get it (a second time).
    Ended,
    /// Too many lines.
    TooManyLines {
        /// At most.
        limit: usize,
    },
    /// Too many units in a line.
    TooMany {
        /// At most.
        limit: u32,
    },
    /// A price in another currency than the cart's.
    CurrencyMismatch {
        /// The cart's.
        currency: Currency,
    },
}
