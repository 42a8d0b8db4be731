//! Commands, events, replies and refusals of a cart.

use crate::claims::Says;
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::ids::{GuestId, OrderId, RequestFingerprint, Sku};
use crate::money::{Currency, Money};
use crate::principal::Principal;
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The owner of a cart: the principal that created it.
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

impl Owner {
    /// Is it this principal?
    #[must_use]
    pub fn is(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Guest(id), Principal::Guest(guest)) => GuestId::parse(id) == Ok(*guest),
            (Self::Seller(id), Principal::Platform(account) | Principal::Seller(account)) => account.id == *id,
            (Self::Guest(_) | Self::Customer(_) | Self::Seller(_), _) => false,
        }
    }
}

/// A cart line; a cart has one line for each SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct CartLine {
    /// The SKU; a cart has one line for each.
    #[n(0)]
    pub sku: Sku,
    /// Units, 1 to [`super::QUANTITY_MAX`].
    #[n(1)]
    pub quantity: u32,
    /// The title when the line was last set.
    #[cbor(n(2), with = "text")]
    pub title: CompactString,
    /// The seller's account.
    #[cbor(n(3), with = "text")]
    pub seller: CompactString,
    /// The price of one unit when the line was added; the SKU knows the current price.
    #[n(4)]
    pub unit_price: Money,
    /// When a line of this SKU was first added.
    #[n(5)]
    pub added_at: Timestamp,
}

/// The SKU's title, seller and price that the caller read when it set a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The product's title and the SKU's options.
    pub title: CompactString,
    /// The seller's account.
    pub seller: CompactString,
    /// The price of one unit when the line was last set.
    pub unit_price: Money,
}

/// A command to a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have passed.
    Wake,
    /// A caller reads it: its expiry is postponed, at most once a day.
    Access,
    /// Creates the cart; its id is derived from the request.
    Create {
        /// The fingerprint of the body: the same request with another body is refused.
        terms: RequestFingerprint,
        /// The principal that creates the cart.
        owner: Owner,
        /// The currency of all its lines.
        currency: Currency,
        /// Seconds from the last access to the expiry; seven days for a guest.
        life_s: u64,
    },
    /// Sets a line's quantity; it does not add to it. 0 removes the line.
    SetLine {
        /// The id of the SKU.
        sku: Sku,
        /// The number of units.
        quantity: u32,
        /// The data that the caller read of it.
        snapshot: Snapshot,
        /// The version from `If-Match`; another version is refused.
        expected_version: Option<u64>,
    },
    /// Removes a line.
    RemoveLine {
        /// The id of the SKU.
        sku: Sku,
        /// The version from `If-Match`; another version is refused.
        expected_version: Option<u64>,
    },
    /// An order takes the lines; a repetition by the same order returns the same lines.
    Freeze {
        /// The id of the order.
        order: OrderId,
        /// The order's deadline (rule R3).
        expires_at: Timestamp,
    },
    /// The order ended without being confirmed: the cart is open again, with the same lines.
    Thaw {
        /// The id of the order.
        order: OrderId,
    },
    /// The order is confirmed: the cart is closed.
    Close {
        /// The id of the order.
        order: OrderId,
    },
    /// The order's answer to the question of rule R3. Only `answered` makes it.
    Answer {
        /// The order that was asked.
        order: OrderId,
        /// The cart's version after the freeze that the question was about.
        freeze: u64,
        /// The order's answer.
        says: Says,
    },
}

/// An event of a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// The cart was created.
    #[n(0)]
    Created {
        /// Fingerprint of the request's body: the same request with another is refused.
        #[n(0)]
        terms: RequestFingerprint,
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
        line: CartLine,
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

/// The lines that an order takes from a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The lines, in the order of their addition.
    pub lines: Vec<CartLine>,
    /// The currency of all lines.
    pub currency: Currency,
    /// The cart's version.
    pub version: u64,
    /// The owner of the cart.
    pub owner: Owner,
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command took effect, now or before.
    Done,
    /// The answer to `Freeze`.
    Frozen(Box<Frozen>),
    /// `Thaw`, `Close` or an answer came from an order that does not hold the cart: nothing changed.
    Unknown,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such cart.
    Unknown,
    /// It was created by the same request with another body.
    RequestReused,
    /// Its version is another than the expected one.
    Stale {
        /// The cart's version.
        current: u64,
    },
    /// An order is being placed with it.
    Frozen {
        /// The id of the order.
        order: OrderId,
    },
    /// It became an order.
    AlreadyOrdered {
        /// The id of the order.
        order: OrderId,
    },
    /// It expired without an access.
    Expired,
    /// It has no lines to order.
    Empty,
    /// The order has given the cart back, or its deadline has passed, so it does not get the cart.
    Ended,
    /// Too many lines.
    TooManyLines {
        /// The largest number allowed.
        limit: usize,
    },
    /// Too many units in a line.
    TooMany {
        /// The largest number allowed.
        limit: u32,
    },
    /// A price in another currency than the cart's.
    CurrencyMismatch {
        /// The cart's currency.
        currency: Currency,
    },
}
