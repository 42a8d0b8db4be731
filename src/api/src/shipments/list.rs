//! `GET /v1/shipments`: the shipments that the caller's account sees, newest first.

use super::views::{ShipmentView, shipment_word};
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::core::view::At;
use crate::orders::parts::{Kind, parts};
use doorbuster_projections::orders::Part;
use schemars::JsonSchema;
use serde::Serialize;

/// A page of shipments.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShipmentList")]
pub(super) struct ShipmentListView<'a> {
    data: Vec<ShipmentView<'a>>,
    next_cursor: Option<String>,
    /// Everything that was acknowledged before this moment is in.
    as_of: At,
}

const KIND: Kind = Kind {
    part: Part::Shipment,
    schema: "Shipment",
    cursor: "shp1:",
    status: |order, sight, number, _now| {
        let shipment = order.shipment(number).filter(|shipment| sight.has_shipment(shipment))?;
        Some(shipment_word(shipment.status))
    },
};

pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let page = parts(&request, KIND).await?;
    let data = page.views(|order, sight, number| Some(ShipmentView::new(order, order.shipment(number)?, sight)));
    let view = ShipmentListView { data, next_cursor: page.next_cursor.clone(), as_of: At(page.as_of) };
    Ok(Reply::json(200, &view).private())
}
