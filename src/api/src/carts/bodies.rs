//! Bodies of carts.

use crate::core::types::{Code4217, Quantity};
use schemars::JsonSchema;
use serde::Deserialize;

/// A cart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CartBody {
    /// The currency of all lines; default: the shop's.
    pub currency: Option<Code4217>,
}

/// A line of a cart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CartLineBody {
    /// The new quantity; it replaces the old one.
    pub quantity: Quantity,
}
