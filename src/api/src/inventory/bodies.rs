//! Bodies of movements of stock.

use crate::core::types::{Counted, Delta, Id, Instant, Prose, Quantity, Text};
use crate::core::words::AdjustmentWord;
use doorbuster_domain::ids::WarehouseId;
use schemars::JsonSchema;
use serde::Deserialize;

/// Units that have arrived, or are announced.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptBody {
    /// The warehouse.
    pub warehouse: Id<WarehouseId>,
    /// The number of units.
    pub units: Quantity,
    /// The seller's own reference.
    pub reference: Option<Text<128>>,
    /// When announced units are expected; without it the units are there.
    pub expected_at: Option<Instant>,
}

/// A correction of stock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentBody {
    /// The warehouse.
    pub warehouse: Id<WarehouseId>,
    /// Units to add; negative: to remove.
    pub delta: Delta,
    /// The reason.
    pub reason: AdjustmentWord,
    /// What else there is to say; shown with the movement.
    pub note: Option<Prose<500>>,
}

/// A stocktake.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountBody {
    /// The warehouse.
    pub warehouse: Id<WarehouseId>,
    /// Units found in the building.
    pub counted: Counted,
    /// Units in the building by the books, if the count is to apply to them only.
    pub expected_in_building: Option<Counted>,
}
