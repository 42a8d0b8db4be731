//! The language spoken with payment providers: what we ask, what they may answer.
//!
//! Every call carries our own reference, which is its idempotency key: `order.operation.attempt` (rules M1, M2, M4). A call that was
//! sent and not answered is `Unknown`, never "failed".

pub mod reconciliation;

use super::ids::OrderId;
use super::money::Money;
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode, text};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked of a provider.
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
    /// The word in references and on the wire.
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

/// Our reference of one attempt of one operation: the provider's idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// For this order.
    pub order: OrderId,
    /// What was asked.
    pub operation: Operation,
    /// Which payment of the order (1, 2, …).
    pub payment: u16,
    /// Which try of this operation on this payment (captures, voids and refunds are numbered within the payment).
    pub attempt: u16,
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}.{}", self.order, self.operation.as_str(), self.payment, self.attempt)
    }
}

impl Reference {
    /// Reads the shown form.
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

/// One call to a provider. Sent again as it is until it is answered: same reference, same parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderCall {
    /// The idempotency key.
    pub reference: Reference,
    /// How much. For a void the whole authorization.
    pub amount: Money,
    /// The shopper's tokenised means of payment (authorize only).
    pub token: Option<CompactString>,
    /// For capture, void and refund: the provider's own reference of the authorization.
    pub provider_reference: Option<CompactString>,
    /// Where the provider sends the shopper back to (authorize only).
    pub return_url: Option<CompactString>,
    /// Only ask what became of the reference; never start anything (rule M2, and while the shopper acts).
    pub query_only: bool,
}

/// What may be done after a decline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum Retry {
    /// Try again with the same means of payment.
    #[n(0)]
    SameMethod,
    /// Try another means of payment.
    #[n(1)]
    OtherMethod,
    /// Do not try again.
    #[n(2)]
    Never,
}

/// Something the shopper must do before the provider can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct NextAction {
    /// `redirect`, `confirm_in_client` or `transfer_to`.
    #[cbor(n(0), with = "text")]
    pub kind: CompactString,
    /// URL of a redirect.
    #[cbor(n(1), with = "text")]
    pub url: Option<CompactString>,
    /// When the provider gives up.
    #[n(2)]
    pub expires_at: Timestamp,
}

/// What a provider says of a reference. `Unknown` settles nothing; neither does `NotFound` (rule M1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderAnswer {
    /// Authorize: the money is promised until `lapses_at`.
    Authorized {
        /// The provider's own reference.
        provider_reference: CompactString,
        /// When the promise ends by itself.
        lapses_at: Timestamp,
    },
    /// Capture, void or refund was carried out.
    Succeeded {
        /// The provider's own reference of this operation.
        provider_reference: CompactString,
    },
    /// A definite no.
    Declined {
        /// The provider's word for it.
        code: CompactString,
        /// What may be done now.
        retry: Retry,
    },
    /// The shopper must act; then ask again or wait for the webhook.
    RequiresAction {
        /// The provider's own reference.
        provider_reference: CompactString,
        /// What to do.
        action: NextAction,
    },
    /// The provider works on it and will say so later.
    Processing {
        /// The provider's own reference.
        provider_reference: CompactString,
    },
    /// The provider knows no such reference (yet). Settles nothing.
    NotFound,
    /// The same reference with other parameters: a bug of ours; shown to the operator.
    Conflict,
    /// No answer, a 5xx, a 429: ask again.
    Unknown,
}

/// One line of a provider's ledger, as the audit compares it (`reference` is ours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// Our reference.
    pub reference: Reference,
    /// How much.
    pub amount: Money,
    /// Of a capture, void or refund: the provider's own reference of the authorization it belongs to.
    pub authorization: Option<CompactString>,
    /// What the provider holds to be true of it.
    pub answer: ProviderAnswer,
}
