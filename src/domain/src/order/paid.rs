//! What is known of an order's money: attempts to pay, calls about them, refunds.

use super::{CallKey, CapturePolicy, Instruction, LineUnits, RefundCause};
use crate::payment::{NextAction, Operation, Retry};
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// How an attempt to pay stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// Asked; not answered, or not known.
    Asked,
    /// The shopper must act.
    RequiresAction(NextAction),
    /// The provider works on it.
    Processing,
    /// The money is promised until then; `None`: it was taken at once.
    Authorized {
        /// When the promise ends by itself.
        lapses_at: Option<Timestamp>,
    },
    /// A definite no.
    Declined {
        /// The provider's word.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
}

/// One attempt to pay, and everything done with its money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// 1, 2, …
    pub number: u16,
    /// How.
    pub instruction: Instruction,
    /// How much, minor units.
    pub amount: i64,
    /// When money is taken.
    pub capture: CapturePolicy,
    /// How it stands.
    pub attempt: Attempt,
    /// The provider's own reference, once it gave one.
    pub provider_reference: Option<CompactString>,
    /// When it was first asked.
    pub asked_at: Timestamp,
    /// When it last changed: asking goes on from here.
    pub changed_at: Timestamp,
    /// Do we only ask about it from now on (rule M2)?
    pub query_only: bool,
    /// Taken, minor units.
    pub captured: i64,
    /// Given back, minor units.
    pub refunded: i64,
    /// Let go?
    pub voided: bool,
    /// Calls made about it, by operation and attempt.
    pub calls: Vec<Call>,
}

/// A capture, a void or a try to refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Ours.
    pub key: CallKey,
    /// How much, minor units.
    pub amount: i64,
    /// The refund it carries out.
    pub refund: Option<u16>,
    /// When it was first asked.
    pub asked_at: Timestamp,
    /// How it stands.
    pub state: CallState,
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallState {
    /// Asked; not answered, or not known.
    Asked,
    /// The same, and from now on we only ask (rule M2).
    QueryOnly,
    /// A definite no that an operator looked at: it may be tried anew.
    Retried,
    /// Done; the provider's own reference of it.
    Succeeded(CompactString),
    /// A definite no.
    Refused {
        /// The provider's word.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
}

/// Money given back, or on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// 1, 2, …
    pub number: u16,
    /// The payment it comes from.
    pub payment: u16,
    /// How much, minor units.
    pub amount: i64,
    /// Because of.
    pub cause: RefundCause,
    /// The units it is for (goodwill).
    pub lines: Vec<LineUnits>,
    /// In the seller's words.
    pub reason: CompactString,
    /// When it began.
    pub at: Timestamp,
    /// How it stands.
    pub status: RefundStatus,
}

/// How a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundStatus {
    /// On its way.
    Pending,
    /// Given back.
    Succeeded,
    /// Refused for good: an operator must look.
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
