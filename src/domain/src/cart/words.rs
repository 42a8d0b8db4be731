//! The words spoken with a cart: what is asked, what is answered, what is refused, and what happened.

use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{OrderId, Sku, Terms};
use crate::money::{Currency, Money};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Whose a cart is: the principal that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Owner {
    /// A guest, by the id in the guest's token.
    #[n(0)]
    Guest(#[cbor(n(0), with = "text")] CompactString),
    /// A shopper with an account.
    #[n(1)]
    Customer(#[cbor(n(0), with = "text")] CompactString),
    /// A seller's account, acting for no shopper in particular.
    #[n(2)]
    Seller(#[cbor(n(0), with = "text")] CompactString),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Line {
    /// Of this SKU: a cart has one line of each.
    #[n(0)]
    pub sku: Sku,
    /// Units, 1 to [`super::QUANTITY_MAX`].
    #[n(1)]
    pub quantity: u32,
    /// As it was read when the line was last set.
    #[cbor(n(2), with = "text")]
    pub title: CompactString,
    /// The seller's account.
    #[cbor(n(3), with = "text")]
    pub seller: CompactString,
    /// Per unit, when the line was added; what it costs now the stock says.
    #[n(4)]
    pub unit_price: Money,
    /// When a line of this SKU was first added.
    #[n(5)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// The cart was created.
    #[n(0)]
    Created {
        /// Fingerprint of the request's body: the same request with another is refused.
        #[n(0)]
        terms: Terms,
        /// The principal that created it.
        #[n(1)]
        owner: Owner,
        /// Currency of every line's price.
        #[n(2)]
        currency: Currency,
        /// Seconds from the last use until it expires.
        #[n(3)]
        life_s: u64,
        /// When it expires unless it is used before.
        #[n(4)]
        expires_at: Timestamp,
    },
    /// The cart was used, so it expires later.
    #[n(1)]
    Refreshed {
        /// When it expires unless it is used before.
        #[n(0)]
        expires_at: Timestamp,
    },
    /// A line was added, or changed.
    #[n(2)]
    LineSet {
        /// The line as it is from now on.
        #[n(0)]
        line: Line,
    },
    /// A line was removed.
    #[n(3)]
    LineRemoved {
        /// The SKU of the line.
        #[n(0)]
        sku: Sku,
    },
    /// An order took the lines; they do not change until it ends.
    #[n(4)]
    Frozen {
        /// The order that took them.
        #[n(0)]
        order: OrderId,
        /// When the order is asked whether it still needs the cart, if it has not said so by then (rule R3).
        #[n(1)]
        ask_at: Timestamp,
    },
    /// The order, asked (rule R3), still needs the cart.
    #[n(5)]
    Kept {
        /// When it is asked again.
        #[n(0)]
        ask_at: Timestamp,
    },
    /// The order ended without being confirmed: the cart is open again.
    #[n(6)]
    Thawed {
        /// The order that gave it back.
        #[n(0)]
        order: OrderId,
    },
    /// An order was confirmed from it.
    #[n(7)]
    Closed {
        /// The confirmed order.
        #[n(0)]
        order: OrderId,
    },
    /// It was not used within its life.
    #[n(8)]
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
