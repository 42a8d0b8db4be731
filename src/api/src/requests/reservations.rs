//! Bodies about reservations.

use crate::edge::{Id, Quantity, Reference, Text, Whole};
use doorbuster_domain::ids::Sku;
use schemars::JsonSchema;
use serde::Deserialize;

/// A reservation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    /// The caller's own name for it: the same reference for the same is the same reservation.
    pub reference: Reference,
    /// All or none; several of one SKU are summed.
    #[schemars(length(min = 1, max = 2000))]
    pub lines: Vec<ReservationLineBody>,
    /// For so long, in seconds; default: the SKU's, else the shop's.
    pub hold_s: Option<Whole>,
    /// The caller's name for whoever buys. It is kept with the stock: no name, no address.
    pub buyer_key: Option<Text<128>>,
}

/// Units of one SKU.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationLineBody {
    /// Of this SKU.
    pub sku: Id<Sku>,
    /// So many.
    pub quantity: Quantity,
}

/// Longer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendBody {
    /// From now on, in seconds; never shorter than it is.
    pub hold_s: Whole,
}

/// Many reservations.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBatchBody {
    /// Each is answered on its own, and each has its reference as its key.
    pub items: Vec<ReservationBody>,
}
