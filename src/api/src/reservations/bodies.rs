//! Bodies of reservations.

use crate::core::types::{Id, Quantity, Reference, Text, Whole};
use doorbuster_domain::ids::Sku;
use schemars::JsonSchema;
use serde::Deserialize;

/// A reservation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBody {
    /// The caller's own name for it, which is the key of the request.
    pub reference: Reference,
    /// The units, reserved all or none; several lines of one SKU are summed.
    #[schemars(length(min = 1, max = 2000))]
    pub lines: Vec<ReservationLineBody>,
    /// How long the units are held, in seconds; default: the SKU's, else the shop's.
    pub hold_s: Option<Whole>,
    /// The caller's key for the buyer. It is stored with the stock, so it must not be personal data.
    pub buyer_key: Option<Text<128>>,
}

/// Units of one SKU.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationLineBody {
    /// The SKU.
    pub sku: Id<Sku>,
    /// The number of units.
    pub quantity: Quantity,
}

/// The extension of a reservation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendBody {
    /// How long the units are held from now on, in seconds; it never shortens a reservation.
    pub hold_s: Whole,
}

/// The commit of a reservation.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitBody {
    /// Do the units leave the warehouse with the commit? Otherwise they are to ship, and a stocktake finds them in the building.
    pub shipped: Option<bool>,
}

/// A batch of reservations.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservationBatchBody {
    /// The reservations; each is answered on its own, with its reference as its key.
    pub items: Vec<ReservationBody>,
}
