//! An order's payments: attempts to pay, calls to the provider, refunds.

use super::{CallKey, CapturePolicy, Instruction, LineUnits, RefundCause};
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart_text, text};
use crate::money::Money;
use crate::payment::{NextAction, Operation, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;

/// The state of an attempt to pay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat, context_bound = "KeepsApart")]
pub enum Attempt {
    /// Sent; not answered, or the outcome is unknown.
    #[n(0)]
    Asked,
    /// The shopper must act.
    #[n(1)]
    RequiresAction(#[n(0)] NextAction),
    /// The provider works on it and will answer later.
    #[n(2)]
    Processing,
    /// Authorized until then; `None`: captured at once.
    #[n(3)]
    Authorized {
        /// When the authorization lapses.
        #[n(0)]
        lapses_at: Option<Timestamp>,
    },
    /// The provider declined.
    #[n(4)]
    Declined {
        /// The provider's reason.
        #[cbor(n(0), with = "text")]
        code: CompactString,
        /// What may be tried next.
        #[n(1)]
        retry: Retry,
    },
}

/// An attempt to pay, with its captures, voids and refunds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Payment {
    /// Number of the payment within the order, from 1.
    #[n(0)]
    pub number: u16,
    /// How the shopper means to pay.
    #[n(1)]
    pub instruction: Instruction,
    /// Minor units of the order's currency.
    #[n(2)]
    pub amount: i64,
    /// When the money is captured.
    #[n(3)]
    pub capture: CapturePolicy,
    /// How far it got.
    #[n(4)]
    pub attempt: Attempt,
    /// The provider's own reference, once known.
    #[cbor(n(5), with = "text")]
    pub provider_reference: Option<CompactString>,
    /// When the provider was first asked.
    #[n(6)]
    pub asked_at: Timestamp,
    /// When it last changed: questions to the provider are counted from here.
    #[n(7)]
    pub changed_at: Timestamp,
    /// Is the provider only asked about it from now on (rule M2)?
    #[n(8)]
    pub query_only: bool,
    /// Captured so far, minor units.
    #[n(9)]
    pub captured: i64,
    /// Refunded so far, minor units.
    #[n(10)]
    pub refunded: i64,
    /// Was the authorization voided?
    #[n(11)]
    pub voided: bool,
    /// Its captures, voids and refunds, by operation and attempt.
    #[n(12)]
    pub calls: Vec<Call>,
    /// The provider's record of the authorization has another amount than it was asked for (rule M6).
    #[n(13)]
    pub differs: Option<Differing>,
    /// Is it cancelled by its reference until its outcome is known (rule M10)?
    #[n(14)]
    pub given_up: Option<bool>,
}

/// A record of the provider that is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Differing {
    /// The amount in the record.
    #[n(0)]
    pub found: Money,
    /// What undoes it: a void or a refund. `None`: nothing is charged so far.
    #[n(1)]
    pub undo: Option<Operation>,
}

/// A call: a capture, a void or an attempt to refund.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Call {
    /// Operation, payment and attempt.
    #[n(0)]
    pub key: CallKey,
    /// Minor units of the order's currency.
    #[n(1)]
    pub amount: i64,
    /// Number of the refund it carries out; `None` for a capture or void.
    #[n(2)]
    pub refund: Option<u16>,
    /// When it was first sent.
    #[n(3)]
    pub asked_at: Timestamp,
    /// Open, or how it ended.
    #[n(4)]
    pub state: CallState,
}

/// The state of a call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum CallState {
    /// Sent; not answered, or the outcome is unknown.
    #[n(0)]
    Asked,
    /// Sent with an unknown outcome, and only queried from now on (rule M2).
    #[n(1)]
    QueryOnly,
    /// Declined and examined by an operator: another attempt may be made.
    #[n(2)]
    Retried,
    /// Sent with an unknown outcome after a 5xx, and cancelled by its reference until that is known (rule M10).
    #[n(5)]
    GivenUp,
    /// Succeeded; the value is the provider's own reference.
    #[n(3)]
    Succeeded(#[cbor(n(0), with = "text")] CompactString),
    /// The provider refused for good.
    #[n(4)]
    Refused {
        /// The provider's reason.
        #[cbor(n(0), with = "text")]
        code: CompactString,
        /// What may be tried next.
        #[n(1)]
        retry: Retry,
    },
}

/// A refund of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Refund {
    /// Number of the refund within the order, from 1.
    #[n(0)]
    pub number: u16,
    /// Number of the payment it comes from.
    #[n(1)]
    pub payment: u16,
    /// Minor units of the order's currency.
    #[n(2)]
    pub amount: i64,
    /// The reason of the cancellation or refund.
    #[n(3)]
    pub cause: RefundCause,
    /// The units that it is for, if any.
    #[n(4)]
    pub lines: Vec<LineUnits>,
    /// The seller's own words.
    #[cbor(n(5), with = "apart_text")]
    pub reason: CompactString,
    /// When it was decided.
    #[n(6)]
    pub at: Timestamp,
    /// How far it got.
    #[n(7)]
    pub status: RefundStatus,
    /// The seller from whose share it is taken, where it names no lines.
    #[cbor(n(8), with = "text")]
    pub seller: Option<CompactString>,
    /// Of one that names no units: what counted for units that came back since, in minor units; `None`: nothing.
    #[n(9)]
    pub credited: Option<i64>,
}

/// The state of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RefundStatus {
    /// Asked of the provider, and not settled.
    #[n(0)]
    Pending,
    /// The provider refunded it.
    #[n(1)]
    Succeeded,
    /// Refused for good: it needs an operator's attention.
    #[n(2)]
    Failed,
}

impl Payment {
    /// Whether its outcome is unknown.
    #[must_use]
    pub const fn settled(&self) -> bool {
        match self.attempt {
            Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing => false,
            Attempt::Authorized { .. } | Attempt::Declined { .. } => true,
        }
    }

    /// The calls of one operation.
    pub fn calls_of(&self, operation: Operation) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.key.operation == operation)
    }

    /// Whether a call of this operation is unsettled.
    #[must_use]
    pub fn has_open(&self, operation: Operation) -> bool {
        self.calls_of(operation).any(Call::open)
    }

    /// When the authorization lapses, while it is neither voided nor captured entirely.
    #[must_use]
    pub const fn lapses_at(&self) -> Option<Timestamp> {
        match self.attempt {
            Attempt::Authorized { lapses_at } if !self.voided => lapses_at,
            Attempt::Authorized { .. }
            | Attempt::Asked
            | Attempt::RequiresAction(_)
            | Attempt::Processing
            | Attempt::Declined { .. } => None,
        }
    }

    /// The authorized amount that can still be captured, in minor units.
    #[must_use]
    pub const fn uncaptured(&self) -> i64 {
        match self.attempt {
            Attempt::Authorized { lapses_at: Some(_) } if !self.voided => self.amount.saturating_sub(self.captured),
            Attempt::Authorized { .. }
            | Attempt::Asked
            | Attempt::RequiresAction(_)
            | Attempt::Processing
            | Attempt::Declined { .. } => 0,
        }
    }
}

impl Call {
    /// Whether its outcome is unknown.
    #[must_use]
    pub const fn open(&self) -> bool {
        match self.state {
            CallState::Asked | CallState::QueryOnly | CallState::GivenUp => true,
            CallState::Succeeded(_) | CallState::Refused { .. } | CallState::Retried => false,
        }
    }
}
