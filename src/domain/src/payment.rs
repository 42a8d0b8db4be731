//! Calls to payment providers and their answers.
//!
//! Every call carries the shop's reference, which is its idempotency key: `order.operation.attempt` (rules M1, M2, M4). A call that was
//! sent and not answered is `Unknown`, never "failed".

pub mod reconciliation;

use super::ids::OrderId;
use super::money::Money;
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart_text, text};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An operation of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum Operation {
    /// Set the money aside at the shopper's bank.
    #[n(0)]
    Authorize,
    /// Take all or part of what was authorized.
    #[n(1)]
    Capture,
    /// Cancel an authorization.
    #[n(2)]
    Void,
    /// Pay back what was captured.
    #[n(3)]
    Refund,
}

impl Operation {
    /// The name in references and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// The shop's reference of one attempt of one operation, which is the idempotency key at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// The id of the order.
    pub order: OrderId,
    /// The operation that was requested.
    pub operation: Operation,
    /// The number of the payment within the order, from 1.
    pub payment: u16,
    /// The number of the attempt of this operation, from 1; captures, voids and refunds are numbered within the payment.
    pub attempt: u16,
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}.{}", self.order, self.operation.as_str(), self.payment, self.attempt)
    }
}

impl Reference {
    /// Reads the form that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let order = OrderId::parse(parts.next()?).ok()?;
        let operation = match parts.next()? {
            "authorize" => Operation::Authorize,
            "capture" => Operation::Capture,
            "void" => Operation::Void,
            "refund" => Operation::Refund,
            _ => return None,
        };
        let payment = parts.next()?.parse().ok()?;
        let attempt = parts.next()?.parse().ok()?;
        if parts.next().is_some() { None } else { Some(Self { order, operation, payment, attempt }) }
    }
}

/// A call to a provider. It is repeated unchanged until it is answered: same reference, same parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderCall {
    /// The idempotency key.
    pub reference: Reference,
    /// The amount; for a void, that of the whole authorization.
    pub amount: Money,
    /// `card`, `wallet` or `bank_transfer` (authorize only).
    pub method: Option<CompactString>,
    /// The tokenised payment method (authorize only).
    pub token: Option<CompactString>,
    /// For capture, void and refund: the provider's own reference of the authorization.
    pub provider_reference: Option<CompactString>,
    /// The page to which the provider returns the shopper (authorize only).
    pub return_url: Option<CompactString>,
    /// Only query the reference and start nothing (rule M2, and while the shopper acts).
    pub query_only: bool,
    /// See to it that the call never takes effect, unless it has (rule M10). The answer is how it stands for good.
    pub cancel: bool,
    /// From then on the provider may have forgotten the key: a call with bytes that have not left by then is not sent any more (rule M7).
    pub send_before: Timestamp,
}

/// The retry that a decline allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum Retry {
    /// Try again with the same means of payment.
    #[n(0)]
    SameMethod,
    /// Try another means of payment.
    #[n(1)]
    OtherMethod,
    /// Do not retry at all.
    #[n(2)]
    Never,
}

/// An action that the shopper must take before the provider can continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct NextAction {
    /// `redirect`, `confirm_in_client` or `transfer_to`.
    #[cbor(n(0), with = "text")]
    pub kind: CompactString,
    /// URL of a redirect.
    #[cbor(n(1), with = "apart_text")]
    pub url: Option<CompactString>,
    /// When the provider gives up.
    #[n(2)]
    pub expires_at: Timestamp,
}

/// A provider's answer about a reference. `Unknown` and `NotFound` settle nothing (rule M1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderAnswer {
    /// The amount is authorized until `lapses_at`.
    Authorized {
        /// The provider's own reference.
        provider_reference: CompactString,
        /// When the authorization lapses.
        lapses_at: Timestamp,
    },
    /// A capture, void or refund took effect.
    Succeeded {
        /// The provider's own reference of this operation.
        provider_reference: CompactString,
    },
    /// The provider declined the operation.
    Declined {
        /// The provider's code for the reason.
        code: CompactString,
        /// The retry that the decline allows.
        retry: Retry,
    },
    /// The shopper must act; then query again or wait for the webhook.
    RequiresAction {
        /// The provider's own reference.
        provider_reference: CompactString,
        /// The required action.
        action: NextAction,
    },
    /// The provider is processing it and will report the outcome later.
    Processing {
        /// The provider's own reference.
        provider_reference: CompactString,
    },
    /// The provider does not know the reference, or not yet. It settles nothing.
    NotFound,
    /// The reference was used with other parameters, which is a fault of the shop; it needs an operator's attention.
    Conflict,
    /// A 5xx. It is no answer, and the provider may give it for ever to the same key (rule M7): the key is not sent again.
    Broken,
    /// A later record that a success was none (rule M13).
    Reversed {
        /// The provider's code for the reason.
        code: CompactString,
    },
    /// No answer, a 429 or a 503: send the call again.
    Unknown,
}

impl ProviderAnswer {
    /// Whether the answer speaks of money that moved, or may still move.
    #[must_use]
    pub const fn speaks_of_money(&self) -> bool {
        match self {
            Self::Authorized { .. }
            | Self::Succeeded { .. }
            | Self::RequiresAction { .. }
            | Self::Processing { .. } => true,
            Self::Declined { .. }
            | Self::NotFound
            | Self::Conflict
            | Self::Broken
            | Self::Reversed { .. }
            | Self::Unknown => false,
        }
    }
}

/// What a provider reports about a reference: in an answer to a call, or in a webhook.
///
/// Rule M6: what its record says is compared with what was asked for. A report of money without an amount settles nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderReport {
    /// The shop's reference in the record.
    pub reference: Reference,
    /// The amount in the record; `None`: there is no record, or it was not reported.
    pub amount: Option<Money>,
    /// The state of the operation.
    pub answer: ProviderAnswer,
}

impl ProviderReport {
    /// Nothing is known about the call: it was not answered, or its answer cannot be read.
    #[must_use]
    pub const fn unknown(reference: Reference) -> Self {
        Self { reference, amount: None, answer: ProviderAnswer::Unknown }
    }

    /// The report that a provider without fault gives on a call.
    #[must_use]
    pub fn of(call: &ProviderCall, answer: ProviderAnswer) -> Self {
        let amount = answer.speaks_of_money().then_some(call.amount);
        Self { reference: call.reference, amount, answer }
    }
}

/// A line of a provider's ledger, which the audit compares with the orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The shop's reference, which is the idempotency key.
    pub reference: Reference,
    /// The amount of the operation.
    pub amount: Money,
    /// Of a capture, void or refund: the provider's own reference of the authorization it belongs to.
    pub authorization: Option<CompactString>,
    /// The state of the operation at the provider.
    pub answer: ProviderAnswer,
}
