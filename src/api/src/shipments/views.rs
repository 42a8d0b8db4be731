//! Views of shipments.

use crate::core::view::{At, LineId, Shown, line_id};
use compact_str::CompactString;
use doorbuster_domain::ids::{OrderId, ShipmentId, WarehouseId};
use doorbuster_domain::order::{Order, Shipment, ShipmentStatus, Sight};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShipmentLine")]
struct ShipmentLineView {
    #[schemars(with = "LineId")]
    line: CompactString,
    quantity: u32,
}

/// A shipment of an order.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Shipment")]
pub struct ShipmentView<'a> {
    id: Shown<ShipmentId>,
    order: Shown<OrderId>,
    /// `shipped`, `delivered`, `lost`; `undone`: recorded by mistake; `resending`, `resent`: lost, and other units are to ship in its place.
    status: &'static str,
    lines: Vec<ShipmentLineView>,
    warehouse: Shown<&'a WarehouseId>,
    carrier: Option<&'a str>,
    tracking_number: Option<&'a str>,
    tracking_url: Option<&'a str>,
    shipped_at: At,
    delivered_at: Option<At>,
}

impl<'a> ShipmentView<'a> {
    /// A shipment of an order, with the lines that are in sight.
    #[must_use]
    pub fn new(order: &'a Order, shipment: &'a Shipment, sight: &Sight<'_>) -> Self {
        let started = &shipment.started;
        let lines = started.lines.iter().filter(|line| sight.has(line.line));
        let lines = lines.map(|line| ShipmentLineView { line: line_id(line.line), quantity: line.units });
        Self {
            id: Shown(ShipmentId::of(order.id, started.number)),
            order: Shown(order.id),
            status: shipment_word(shipment.status),
            lines: lines.collect(),
            warehouse: Shown(&started.warehouse),
            carrier: started.carrier.as_deref(),
            tracking_number: started.tracking_number.as_deref(),
            tracking_url: started.tracking_url.as_deref(),
            shipped_at: At(started.at),
            delivered_at: shipment.delivered_at.map(At),
        }
    }
}

/// The word for the status of a shipment.
pub(super) const fn shipment_word(status: ShipmentStatus) -> &'static str {
    match status {
        ShipmentStatus::Shipped => "shipped",
        ShipmentStatus::Delivered => "delivered",
        ShipmentStatus::Lost => "lost",
        ShipmentStatus::Undone => "undone",
        ShipmentStatus::Resending => "resending",
        ShipmentStatus::Resent => "resent",
    }
}
