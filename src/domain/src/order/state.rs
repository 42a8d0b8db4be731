//! What an order is: its terms, its lines with their counters, its payments, shipments and returns, and what it owes.
//!
//! Fields are read by everybody and written by `evolve` alone.

use super::{
    CallKey, CancelReason, Cancelled, CartRefusal, Instruction, Line, Made, Payment, Personal, Refund, Return,
    Shipment, Source, Step, Terms, Todo,
};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stage {
    /// There is no such order.
    #[default]
    Nothing,
    /// Its cart is asked for.
    Freezing,
    /// Its stock is asked for.
    Reserving,
    /// Its stock is held; it waits for money.
    Held,
    /// It is paid (or free); its stock is being sold to it.
    Committing,
    /// Sold.
    Confirmed,
    /// It will end this way; what was done is being undone.
    Ending(Outcome),
    /// It ended this way; nothing is held and nothing is owed.
    Ended(Outcome),
}

/// How an order ends that is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Not all units could be had.
    SoldOut,
    /// What was asked for is not what there is.
    Rejected(Rejection),
    /// The deadline came first.
    Expired,
    /// No attempt to pay succeeded.
    PaymentFailed,
    /// Somebody wanted it no more.
    Cancelled(CancelReason),
}

/// Why an order was rejected; lines say what was wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// A SKU has another price than expected.
    PriceChanged,
    /// The total is another than expected.
    TotalChanged {
        /// The caller's.
        expected: Money,
        /// Ours.
        now: Money,
    },
    /// A SKU is unknown, not on sale, or has no price in this currency.
    NotForSale,
    /// More of a SKU than one order may take.
    LimitExceeded,
    /// The cart cannot be had.
    Cart(CartRefusal),
    /// A total beyond what can be counted.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// A call is not answered within the life of the provider's keys (rule M2): find out, then settle it.
    NotAnswered(CallKey),
    /// The provider took a call for another one with the same reference.
    Conflict(CallKey),
    /// A call was refused for good (rule M4).
    Refused {
        /// This one.
        call: CallKey,
        /// The provider's word.
        code: CompactString,
    },
    /// Another entity refused what it must not refuse.
    StepRefused(Step),
}

/// A request that had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What was asked for.
    pub terms: Fingerprint,
    /// What it made.
    pub made: Made,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Order {
    /// Its id; zero while there is no such order.
    pub id: OrderId,
    /// Where the saga stands.
    pub stage: Stage,
    /// What it was placed with. Absent only while there is no such order.
    pub head: Option<Arc<Head>>,
    /// About people; absent once erased, and never stored with the facts.
    #[serde(skip)]
    pub personal: Option<Arc<Personal>>,
    /// The salted hash of it as it is now, for ever.
    pub personal_hash: [u8; 32],
    /// Its lines, one per SKU.
    pub lines: Vec<Line>,
    /// How many lines the present stage still waits for.
    pub open: usize,
    /// As priced; absent until held. Its lines' part is in the lines.
    pub priced: Option<PricedOrder>,
    /// The order's deadline (rule R4).
    pub expires_at: Timestamp,
    /// When it was confirmed.
    pub confirmed_at: Option<Timestamp>,
    /// How much of the total is not due any more: cancelled, returned, refunded. Minor units.
    pub reduced: i64,
    /// Attempts to pay.
    pub payments: Vec<Payment>,
    /// The payment that pays for it.
    pub paying: Option<u16>,
    /// A cancellation that waits for the order to be confirmed (rule R6).
    pub cancel_requested: Option<(Request, CancelReason)>,
    /// Cancellations of units.
    pub cancels: Vec<Cancelled>,
    /// Money given back.
    pub refunds: Vec<Refund>,
    /// Units on their way.
    pub shipments: Vec<Shipment>,
    /// Units coming back.
    pub returns: Vec<Return>,
    /// What an operator must look at.
    pub troubles: Vec<Trouble>,
    /// Every request that had an effect here, for ever.
    pub requests: BTreeMap<RequestId, Seen>,
    /// What is owed to other entities, and calls to the provider that are not settled.
    pub todo: BTreeSet<Todo>,
    /// Is the cart frozen by this order, as far as we know?
    pub cart_frozen: bool,
}

/// What never changes, or only by an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The request that made it.
    pub request: Request,
    /// What was bought.
    pub source: Source,
    /// The facts.
    pub terms: Terms,
    /// How it was to be paid, if that was said at once.
    pub payment: Option<Instruction>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The salted hash of the personal data it was placed with: what a repeated request is compared with.
    pub personal_hash: [u8; 32],
}

/// The order's own part of its price, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedOrder {
    /// What travelling costs, as priced.
    pub shipping: i64,
    /// Tax in or on it.
    pub shipping_tax: i64,
    /// What travelling counts into the total.
    pub shipping_total: i64,
    /// Everything the shopper pays.
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
