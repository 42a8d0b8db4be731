//! The state of an order: its terms, its lines with their counters, its payments, shipments and returns, and its owed steps.
//!
//! Only `evolve` writes the fields.

use super::{
    CallKey, CancelReason, Cancelled, CartRefusal, Edit, GroupNotes, Instruction, Made, OrderClaim, OrderLine,
    OrderTerms, Payment, Personal, Refund, Return, Shipment, Source, Step, Todo,
};
use crate::claims::ClaimKind;
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart, bytes, shared, text};
use crate::ids::{InstallationId, OrderId, Request, RequestFingerprint, RequestId};
use crate::money::Money;
use crate::payment::Reference;
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of a line, from 1.
pub type LineNumber = u16;

/// The stage of the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(flat)]
pub enum Stage {
    /// The order does not exist.
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
    /// It is going to end; its steps are being undone.
    #[n(6)]
    Ending(#[n(0)] EndReason),
    /// It has ended; nothing is held and nothing is owed.
    #[n(7)]
    Ended(#[n(0)] EndReason),
}

/// How an unconfirmed order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum EndReason {
    /// Not all units were available.
    #[n(0)]
    SoldOut,
    /// The order's terms do not match the current ones.
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

/// Why an order was rejected; the lines have their own reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum Rejection {
    /// A SKU's price is another than the expected one.
    #[n(0)]
    PriceChanged,
    /// The total is another than the expected one.
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
    /// The total exceeds the largest amount.
    #[n(5)]
    Overflow,
    /// A claim of this kind was refused.
    #[n(6)]
    Claim(#[n(0)] ClaimKind),
}

/// The order's status in the API; after `Confirmed` it is derived from the lines' counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It waits for its cart and its reservations.
    Placed,
    /// Its stock is reserved; it waits for an attempt to pay.
    AwaitingPayment,
    /// An attempt to pay is in flight.
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
    /// All of it is refunded.
    Refunded,
    /// It ended because not all units could be reserved.
    SoldOut,
    /// It ended because its terms do not match the current ones.
    Rejected,
    /// It ended because the deadline passed.
    Expired,
    /// It ended because no attempt to pay succeeded.
    PaymentFailed,
    /// It ended by a cancellation, or all of it was cancelled later.
    Cancelled,
}

/// A reason for which the order needs an operator's attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(flat)]
pub enum AttentionReason {
    /// A call was not answered within the life of the provider's keys (rule M2): the operator must find its outcome and settle it.
    #[n(0)]
    NotAnswered(#[n(0)] CallKey),
    /// The provider reported a conflict with another call of the same reference.
    #[n(1)]
    Conflict(#[n(0)] CallKey),
    /// A call was refused for good (rule M4).
    #[n(2)]
    Refused {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The provider's reason.
        #[cbor(n(1), with = "text")]
        code: CompactString,
    },
    /// Another entity refused a step that it must accept.
    #[n(3)]
    StepRefused(#[n(0)] Step),
    /// The provider took a success back (rule M13).
    #[n(5)]
    Reversed {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The provider's reason.
        #[cbor(n(1), with = "text")]
        code: CompactString,
    },
    /// The provider's record has another amount or currency than the call (rule M6).
    #[n(4)]
    AmountDiffers {
        /// The key of the call.
        #[n(0)]
        call: CallKey,
        /// The amount in the provider's record.
        #[n(1)]
        found: Money,
    },
}

impl AttentionReason {
    /// The call that it is about.
    #[must_use]
    pub const fn call(&self) -> Option<CallKey> {
        match self {
            Self::NotAnswered(call)
            | Self::Conflict(call)
            | Self::Refused { call, .. }
            | Self::Reversed { call, .. }
            | Self::AmountDiffers { call, .. } => Some(*call),
            Self::StepRefused(_) => None,
        }
    }
}

/// A request that took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RememberedRequest {
    /// Fingerprint of the request's body.
    #[n(0)]
    pub terms: RequestFingerprint,
    /// What the request made.
    #[n(1)]
    pub made: Made,
}

/// The state of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Order {
    /// The order's id; zero while it does not exist.
    #[n(0)]
    pub id: OrderId,
    /// The stage of the saga.
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
    pub lines: Vec<OrderLine>,
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
    /// The amount that is not due any more, in minor units: cancelled, returned, refunded.
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
    /// The reasons for which it needs an operator's attention.
    #[n(18)]
    pub troubles: Vec<AttentionReason>,
    /// Every request that took effect; they stay for ever.
    #[n(19)]
    pub requests: BTreeMap<RequestId, RememberedRequest>,
    /// Steps owed to other entities, and unsettled calls to the provider.
    #[n(20)]
    pub todo: BTreeSet<Todo>,
    /// Is the cart frozen by this order, as far as the order knows?
    #[n(21)]
    pub cart_frozen: bool,
    /// The deadline that holds again once the pending payment for which it was moved has failed (rule M3); `None`: it was not moved.
    #[n(22)]
    pub ordinary_deadline: Option<Timestamp>,
    /// How often it was changed after its placement; `None`: never.
    #[n(23)]
    pub edits: Option<u32>,
    /// What sellers keep with their groups; `None`: nothing.
    #[n(24)]
    pub group_notes: Option<Vec<GroupNotes>>,
    /// What it claims beside the stock of its lines; `None`: nothing.
    #[n(26)]
    pub claims: Option<Vec<OrderClaim>>,
    /// A change whose claims are asked for; `None`: there is none.
    #[n(27)]
    pub edit: Option<Box<Edit>>,
    /// The claim for which the last change was refused; `None`: it took effect, or there was none.
    #[n(28)]
    pub edit_refused: Option<OrderClaim>,
}

/// The data that never changes, or only by an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Head {
    /// The request that placed it.
    #[n(0)]
    pub request: Request,
    /// The cart or the lines it was placed with.
    #[n(1)]
    pub source: Source,
    /// Prices, taxes, policies and destination that hold for it.
    #[n(2)]
    pub terms: OrderTerms,
    /// How it is to be paid, if the placement said so.
    #[n(3)]
    pub payment: Option<Instruction>,
    /// When it was placed.
    #[n(4)]
    pub placed_at: Timestamp,
    /// The salted hash of the personal data it was placed with; a repeated request is compared with it.
    #[cbor(n(5), with = "bytes")]
    pub personal_hash: [u8; 32],
    /// The installation that placed it, whose references no other one uses; `None`: it was placed before there were such ids.
    #[n(6)]
    pub installation: Option<InstallationId>,
}

/// The order's price without its lines, in minor units.
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
    /// Whether the order exists.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.head.is_some()
    }

    /// The facts it was placed with; `None`: the order does not exist.
    #[must_use]
    pub fn terms(&self) -> Option<&OrderTerms> {
        self.head.as_ref().map(|head| &head.terms)
    }

    /// A line by its number.
    #[must_use]
    pub fn line(&self, number: LineNumber) -> Option<&OrderLine> {
        self.lines.get(usize::from(number.checked_sub(1)?))
    }

    pub(super) fn line_mut(&mut self, number: LineNumber) -> Option<&mut OrderLine> {
        self.lines.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// The lines with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (LineNumber, &OrderLine)> {
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

    /// The reference of a call.
    #[must_use]
    pub const fn reference(&self, call: CallKey) -> Reference {
        Reference { order: self.id, operation: call.operation, payment: call.payment, attempt: call.attempt }
    }

    /// The number of the next entry of a list.
    pub(super) fn next_number<T>(list: &[T]) -> u16 {
        u16::try_from(list.len()).unwrap_or(u16::MAX).saturating_add(1)
    }

    /// An amount in the order's currency.
    #[must_use]
    pub fn money(&self, amount: i64) -> Money {
        Money { amount, currency: self.terms().map(|terms| terms.currency).unwrap_or_default() }
    }
}
