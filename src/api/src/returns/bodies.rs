//! Bodies of returns.

use crate::core::types::{Id, MoneyIn, Prose, Quantity, Text};
use crate::core::words::ConditionWord;
use doorbuster_domain::ids::RefundId;
use schemars::JsonSchema;
use serde::Deserialize;

/// A return.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnBody {
    /// The units to return.
    pub lines: Vec<ReturnLineBody>,
}

/// Units of a line to return.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnLineBody {
    /// The line's id.
    pub line: Text<5>,
    /// The number of units.
    pub quantity: Quantity,
    /// The shopper's reason.
    pub reason: Option<Prose<500>>,
    /// The refund by which the money of these units, or a part of it, went back ahead of their return; what goes back with them is less by so much.
    pub refund: Option<Id<RefundId>>,
}

/// The rejection of a return.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectBody {
    /// The seller's reason.
    pub reason: Prose<500>,
}

/// Units that came back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveBody {
    /// The units.
    pub lines: Vec<ReceivedLineBody>,
}

/// Units of a line that came back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceivedLineBody {
    /// The line's id.
    pub line: Text<5>,
    /// The number of units.
    pub quantity: Quantity,
    /// Their condition.
    pub condition: ConditionWord,
    /// Do they become available again?
    pub restock: bool,
    /// What goes back for them, up to what was paid for them with their share of the delivery; absent: what was paid for them, without it.
    pub amount: Option<MoneyIn>,
}
