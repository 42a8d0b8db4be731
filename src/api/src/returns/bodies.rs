//! Bodies of returns.

use crate::core::types::{Prose, Quantity, Text};
use crate::core::words::ConditionWord;
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
}
