//! `GET /v1/shipments`: the shipments that the caller's account sees, newest first.

use super::views::{ShipmentView, shipment_word};
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::orders::parts::{Kind, parts};
use doorbuster_projections::orders::Part;

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
    Ok(page.answer(|order, sight, number| Some(ShipmentView::new(order, order.shipment(number)?, sight))))
}
