//! What is known of an order's money: attempts to pay, calls about them, refunds.

use super::{CallKey, CapturePolicy, Instruction, LineUnits, RefundCause};
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::payment::{NextAction, Operation, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;

/// How an attempt to pay stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Attempt {
    /// Asked; not answered, or not known.
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

/// One attempt to pay, and everything done with its money.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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
    /// The provider's own reference, once it gave one.
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
    /// Calls made about it, by operation and attempt.
    #[n(12)]
    pub calls: Vec<Call>,
}

/// A capture, a void or a try to refund.
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

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum CallState {
    /// Asked; not answered, or not known.
    #[n(0)]
    Asked,
    /// The same, and from now on we only ask (rule M2).
    #[n(1)]
    QueryOnly,
    /// A definite no that an operator looked at: it may be tried anew.
    #[n(2)]
    Retried,
    /// Done; the provider's own reference of it.
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

/// Money given back, or on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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
    /// Why.
    #[n(3)]
    pub cause: RefundCause,
    /// The units it is for (goodwill).
    #[n(4)]
    pub lines: Vec<LineUnits>,
    /// The seller's own words.
    #[cbor(n(5), with = "text")]
    pub reason: CompactString,
    /// When it was decided.
    #[n(6)]
    pub at: Timestamp,
    /// How far it got.
    #[n(7)]
    pub status: RefundStatus,
}

/// How a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RefundStatus {
    /// Asked of the provider, and not settled.
    #[n(0)]
    Pending,
    /// The provider refunded it.
    #[n(1)]
    Succeeded,
    /// Refused for good: an operator must look.
    #[n(2)]
    Failed,
}

impl Payment {
    /// Is its outcome known?
    #[must_use]
    pub const fn settled(&self) -> bool {
        match self.attempt {
            Attempt::Asked | Attempt::RequiresAction(_) | Attempt::Processing => false,
            Attempt::Authorized { .. } | Attempt::Declined { .. } => true,
        }
    }

    /// Calls of one kind.
    pub fn calls_of(&self, operation: Operation) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.key.operation == operation)
    }

    /// Is a call of this kind not settled?
    #[must_use]
    pub fn has_open(&self, operation: Operation) -> bool {
        self.calls_of(operation).any(Call::open)
    }

    /// When the promise of money ends by itself, while there is one that nobody let go of or took whole.
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

    /// What could still be taken of what was promised, minor units.
    #[must_use]
    pub const fn promised(&self) -> i64 {
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
    /// Is its outcome unknown?
    #[must_use]
    pub const fn open(&self) -> bool {
        match self.state {
            CallState::Asked | CallState::QueryOnly => true,
            CallState::Succeeded(_) | CallState::Refused { .. } | CallState::Retried => false,
        }
    }
}
