//! Bodies of captures, refunds, and of what came past the provider.

use crate::core::types::{MoneyIn, Prose, Text};
use crate::orders::LineUnitsBody;
use schemars::JsonSchema;
use serde::Deserialize;

/// A refund without a return.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundBody {
    /// The units to refund, at what was paid for them; or `amount`. Without both, all that can be refunded.
    pub lines: Option<Vec<LineUnitsBody>>,
    /// The amount to refund.
    pub amount: Option<MoneyIn>,
    /// Does it include the units' share of the shipping?
    pub shipping: Option<bool>,
    /// The seller's reason.
    pub reason: Prose<500>,
}

/// A capture.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureBody {
    /// The amount to capture; absent: all that is due.
    pub amount: Option<MoneyIn>,
}

/// What the seller's books say of a payment that came past the provider.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkBody {
    /// How the seller's books name it: a receipt, a line of a bank statement.
    #[schemars(length(min = 1))]
    pub reference: Text<128>,
}
