//! What an order is: its terms, its lines with their counters, its payments, shipments and returns, and what it owes.
//!
//! Fields are read by everybody and written by `evolve` alone.

use super::{
    CallKey, CancelReason, Cancelled, CartRefusal, Instruction, Line, Made, Payment, Personal, Refund, Return,
    Shipment, Source, Step, Terms, Todo,
};
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart, bytes, shared, text};
use crate::ids::{OrderId, Request, RequestId, Terms as Fingerprint};
use crate::money::Money;
use crate::payment::Reference;
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lines are numbered from 1.
pub type LineNumber = u16;

/// Where the saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(flat)]
pub enum Stage {
    /// There is no such order.
    #[default]
    #[n(0)]
    Nothing,
    /// Its cart is asked to freeze.
    #[n(1)]
    Freezing,
    /// Its SKUs are asked to reserve.
    #[n(2)]
    Reserving,
    /// All units are reserved; it waits to be paid.
    #[n(3)]
    Held,
    /// It is paid, or free; its SKUs are asked to commit.
    #[n(4)]
    Committing,
    /// All units are sold to it.
    #[n(5)]
    Confirmed,
    /// It will end this way; what was done is being undone.
    #[n(6)]
    Ending(#[n(0)] Outcome),
    /// It ended this way; nothing is held and nothing is owed.
    #[n(7)]
    Ended(#[n(0)] Outcome),
}

/// How an order ends that is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Outcome {
    /// Not all units were available.
    #[n(0)]
    SoldOut,
    /// What was asked for is not what there is.
    #[n(1)]
    Rejected(#[n(0)] Rejection),
    /// Its deadline came before it was paid.
    #[n(2)]
    Expired,
    /// All attempts to pay failed.
    #[n(3)]
    PaymentFailed,
    /// It was cancelled before it was confirmed.
    #[n(4)]
    Cancelled(#[n(0)] CancelReason),
}

/// Why an order was rejected; lines say what was wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Rejection {
    /// A SKU has another price than expected.
    #[n(0)]
    PriceChanged,
    /// The total is another than expected.
    #[n(1)]
    TotalChanged {
        /// Total that the caller expected.
        #[n(0)]
        expected: Money,
        /// Total at the prices of the SKUs.
        #[n(1)]
        now: Money,
    },
    /// A SKU is unknown, not on sale, or has no price in this currency.
    #[n(2)]
    NotForSale,
    /// More of a SKU than one order may take.
    #[n(3)]
    LimitExceeded,
    /// The cart refused to be frozen.
    #[n(4)]
    Cart(#[n(0)] CartRefusal),
    /// A total beyond what can be counted.
    #[n(5)]
    Overflow,
}

/// The order's status as the API shows it; after `Confirmed` derived from the lines' counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Being looked at: cart and stock are asked for.
    Placed,
    /// Held; waits for an attempt to pay.
    AwaitingPayment,
    /// An attempt is under way.
    Authorizing,
    /// The shopper must act.
    RequiresAction,
    /// Sold; nothing has shipped.
    Confirmed,
    /// Part of it has shipped.
    Picking,
    /// All of it has shipped.
    Shipped,
    /// All of it has arrived.
    Delivered,
    /// All of it has come back.
    Returned,
    /// All of it is paid back.
    Refunded,
    /// Ended: not all units could be had.
    SoldOut,
    /// Ended: what was asked for is not what there is.
    Rejected,
    /// Ended: the deadline came first.
    Expired,
    /// Ended: no attempt to pay succeeded.
    PaymentFailed,
    /// Ended, or all of it was cancelled later.
    Cancelled,
}

/// Something an operator must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Trouble {
    /// A call is not answered within the life of the provider's keys (rule M2): find out, then settle it.
    #[n(0)]
    NotAnswered(#[n(0)] CallKey),
    /// The provider took a call for another one with the same reference.
    #[n(1)]
    Conflict(#[n(0)] CallKey),
    /// A call was refused for good (rule M4).
    #[n(2)]
    Refused {
        /// The call.
        #[n(0)]
        call: CallKey,
        /// The provider's reason.
        #[cbor(n(1), with = "text")]
        code: CompactString,
    },
    /// Another entity refused what it must not refuse.
    #[n(3)]
    StepRefused(#[n(0)] Step),
}

/// A request that had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Seen {
    /// Fingerprint of the request's body.
    #[n(0)]
    pub terms: Fingerprint,
    /// What the request made.
    #[n(1)]
    pub made: Made,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Order {
    /// Its id; zero while there is no such order.
    #[n(0)]
    pub id: OrderId,
    /// Where the saga stands.
    #[n(1)]
    pub stage: Stage,
    /// What it was placed with; `None` while there is no such order.
    #[cbor(n(2), with = "shared")]
    pub head: Option<Arc<Head>>,
    /// Its personal data, stored apart; `None` once it is erased.
    #[cbor(n(3), with = "apart")]
    pub personal: Option<Arc<Personal>>,
    /// Salted hash of the personal data as it is now; kept when the data is erased.
    #[cbor(n(4), with = "bytes")]
    pub personal_hash: [u8; 32],
    /// Its lines, one per SKU; numbered from 1.
    #[n(5)]
    pub lines: Vec<Line>,
    /// Lines that the present stage still waits for.
    #[n(6)]
    pub open: usize,
    /// Its prices beside those of its lines; `None` until all lines are reserved.
    #[n(7)]
    pub priced: Option<PricedOrder>,
    /// The order's deadline (rule R4).
    #[n(8)]
    pub expires_at: Timestamp,
    /// When it was confirmed.
    #[n(9)]
    pub confirmed_at: Option<Timestamp>,
    /// How much of the total is not due any more: cancelled, returned, refunded. Minor units.
    #[n(10)]
    pub reduced: i64,
    /// Attempts to pay, in order of their numbers.
    #[n(11)]
    pub payments: Vec<Payment>,
    /// Number of the payment that pays for it.
    #[n(12)]
    pub paying: Option<u16>,
    /// A cancellation that waits for the order to be confirmed (rule R6).
    #[n(13)]
    pub cancel_requested: Option<(Request, CancelReason)>,
    /// Cancellations of units, in order of their numbers.
    #[n(14)]
    pub cancels: Vec<Cancelled>,
    /// Refunds, in order of their numbers.
    #[n(15)]
    pub refunds: Vec<Refund>,
    /// Shipments, in order of their numbers.
    #[n(16)]
    pub shipments: Vec<Shipment>,
    /// Returns, in order of their numbers.
    #[n(17)]
    pub returns: Vec<Return>,
    /// What an operator must look at.
    #[n(18)]
    pub troubles: Vec<Trouble>,
    /// Every request that had an effect here, for ever.
    #[n(19)]
    pub requests: BTreeMap<RequestId, Seen>,
    /// What is owed to other entities, and calls to the provider that are not settled.
    #[n(20)]
    pub todo: BTreeSet<Todo>,
    /// Is the cart frozen by this order, as far as the order knows?
    #[n(21)]
    pub cart_frozen: bool,
}

/// What never changes, or only by an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Head {
    /// The request that placed it.
    #[n(0)]
    pub request: Request,
    /// The cart or the lines it was placed with.
    #[n(1)]
    pub source: Source,
    /// Prices, taxes, policies and destination that hold for it.
    #[n(2)]
    pub terms: Terms,
    /// How it is to be paid, if the placement said so.
    #[n(3)]
    pub payment: Option<Instruction>,
    /// When it was placed.
    #[n(4)]
    pub placed_at: Timestamp,
    /// The salted hash of the personal data it was placed with: what a repeated request is compared with.
    #[cbor(n(5), with = "bytes")]
    pub personal_hash: [u8; 32],
}

/// The order's own part of its price, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PricedOrder {
    /// Shipping as the option prices it, minor units.
    #[n(0)]
    pub shipping: i64,
    /// Tax on the shipping (or in it), minor units.
    #[n(1)]
    pub shipping_tax: i64,
    /// Shipping with its tax, minor units.
    #[n(2)]
    pub shipping_total: i64,
    /// What the shopper pays, minor units.
    #[n(3)]
    pub total: i64,
}

impl Order {
    /// Does it exist?
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.head.is_some()
    }

    /// The facts it was placed with; `None`: no such order.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        self.head.as_ref().map(|head| &head.terms)
    }

    /// A line by its number.
    #[must_use]
    pub fn line(&self, number: LineNumber) -> Option<&Line> {
        self.lines.get(usize::from(number.checked_sub(1)?))
    }

    pub(super) fn line_mut(&mut self, number: LineNumber) -> Option<&mut Line> {
        self.lines.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// The lines with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (LineNumber, &Line)> {
        (1..=LineNumber::MAX).zip(&self.lines)
    }

    /// A payment by its number.
    #[must_use]
    pub fn payment(&self, number: u16) -> Option<&Payment> {
        self.payments.get(usize::from(number.checked_sub(1)?))
    }

    pub(super) fn payment_mut(&mut self, number: u16) -> Option<&mut Payment> {
        self.payments.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// A refund by its number.
    #[must_use]
    pub fn refund(&self, number: u16) -> Option<&Refund> {
        self.refunds.get(usize::from(number.checked_sub(1)?))
    }

    /// A shipment by its number.
    #[must_use]
    pub fn shipment(&self, number: u16) -> Option<&Shipment> {
        self.shipments.get(usize::from(number.checked_sub(1)?))
    }

    /// A return by its number.
    #[must_use]
    pub fn return_(&self, number: u16) -> Option<&Return> {
        self.returns.get(usize::from(number.checked_sub(1)?))
    }

    /// Our reference of a call.
    #[must_use]
    pub const fn reference(&self, call: CallKey) -> Reference {
        Reference { order: self.id, operation: call.operation, payment: call.payment, attempt: call.attempt }
    }

    /// The number of whatever comes next in a list.
    pub(super) fn next_number<T>(list: &[T]) -> u16 {
        u16::try_from(list.len()).unwrap_or(u16::MAX).saturating_add(1)
    }

    /// An amount in the order's currency.
    #[must_use]
    pub fn money(&self, amount: i64) -> Money {
        Money { amount, currency: self.terms().map(|terms| terms.currency).unwrap_or_default() }
    }
}
