//! Shipments of an order: handed to a carrier, delivered, lost, sent again, undone.

mod list;
pub(crate) mod views;

pub use views::ShipmentView;

use crate::core::caller::Access;
use crate::core::headers::if_match;
use crate::core::keys::Scope;
use crate::core::page::ListView;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use crate::core::types::{EmptyBody, Id, Text, present};
use crate::orders::{LineUnitsBody, ask, line_units, made, order_id, order_of, parts, visible, with_allowed};
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any;
use doorbuster_domain::ids::{EntityId, ShipmentId, WarehouseId};
use doorbuster_domain::order::{Command, Made};
use schemars::JsonSchema;
use serde::Deserialize;

const ORDERS: Access = Access::Scope(Scope::Orders);

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "POST",
                path: "/v1/orders/{id}/shipments",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<ShipmentBody>),
                handler: |request| Box::pin(ship(request)),
                docs: Docs::new("ShipOrder", "Fulfilment", "Hand units to a carrier")
                    .answers(&[(201, Some(schema_of::<ShipmentView>))])
                    .codes(&[Code::WrongState, Code::LimitExceeded]),
            },
            Route {
                method: "GET",
                path: "/v1/shipments",
                class: PriorityClass::Browsing,
                access: Access::Scope(Scope::Orders),
                key: false,
                body: Body::None,
                handler: |request| Box::pin(list::list(request)),
                docs: Docs::new("ListShipments", "Fulfilment", "The shipments that the caller's account sees, newest first")
                    .answers(&[(200, Some(schema_of::<ListView<ShipmentView>>))])
                    .query(parts::QUERY)
                    .indexed(),
            },
            Route {
                method: "GET",
                path: "/v1/shipments/{id}",
                class: PriorityClass::Cart,
                access: Access::OrderParty,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetShipment", "Fulfilment", "One shipment")
                    .answers(&[(200, Some(schema_of::<ShipmentView>))]),
            },
            Route {
                method: "PATCH",
                path: "/v1/shipments/{id}",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: false,
                body: Body::Json(schema_of::<TrackingBody>),
                handler: |request| Box::pin(correct(request)),
                docs: Docs::new("CorrectShipment", "Fulfilment", "Put carrier and tracking data right")
                    .answers(&[(200, Some(schema_of::<ShipmentView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/shipments/{id}/deliver",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(deliver(request)),
                docs: Docs::new("DeliverShipment", "Fulfilment", "A shipment was delivered")
                    .answers(&[(200, Some(schema_of::<ShipmentView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/shipments/{id}/lose",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(lose(request)),
                docs: Docs::new("LoseShipment", "Fulfilment", "A shipment was lost")
                    .answers(&[(200, Some(schema_of::<ShipmentView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/shipments/{id}/undo",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(undo(request)),
                docs: Docs::new(
                    "UndoShipment",
                    "Fulfilment",
                    "A shipment was recorded by mistake and never left: its units are to ship again",
                )
                .answers(&[(200, Some(schema_of::<ShipmentView>))])
                .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/shipments/{id}/resend",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(resend(request)),
                docs: Docs::new(
                    "ResendShipment",
                    "Fulfilment",
                    "Send other units of the same warehouse in place of those of a lost shipment; it is `resending` until there are such units",
                )
                .answers(&[(200, Some(schema_of::<ShipmentView>))])
                .codes(&[Code::WrongState]),
            },
        ]
    }
}

/// A shipment.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipmentBody {
    /// The units; absent: all that have not shipped.
    pub lines: Option<Vec<LineUnitsBody>>,
    /// The warehouse; absent: the one that holds the units.
    pub warehouse: Option<Id<WarehouseId>>,
    /// The carrier.
    pub carrier: Option<Text<100>>,
    /// The carrier's tracking number.
    pub tracking_number: Option<Text<100>>,
    /// The page that shows the tracking number.
    pub tracking_url: Option<Text<2000>>,
}

/// Corrections of a shipment: an absent field stays, `null` clears it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackingBody {
    /// The carrier.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Text<100>>")]
    pub carrier: Option<Option<Text<100>>>,
    /// The carrier's tracking number.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Text<100>>")]
    pub tracking_number: Option<Option<Text<100>>>,
    /// The page that shows the tracking number.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Text<2000>>")]
    pub tracking_url: Option<Option<Text<2000>>>,
}

fn show<S: Shop>(request: &Request<'_, S>, status: u16, number: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let who = request.who();
    let sight = order.sight(&who).ok_or_else(not_found)?;
    let shipment = order.shipment(number).filter(|shipment| sight.has_shipment(shipment)).ok_or_else(not_found)?;
    Ok(Reply::json(status, &ShipmentView::new(order, shipment, &sight)).of(accepted))
}

async fn ship<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: ShipmentBody = request.read()?;
    let command = Command::Ship {
        request: request.body_key()?,
        lines: line_units(body.lines.as_deref().unwrap_or_default())?,
        warehouse: body.warehouse.map(|warehouse| warehouse.0),
        carrier: body.carrier.map(|text| text.0),
        tracking_number: body.tracking_number.map(|text| text.0),
        tracking_url: body.tracking_url.map(|text| text.0),
    };
    visible(&request, id).await?;
    let accepted = ask(&request, id, command).await?;
    let Some(Made::Shipment(number)) = made(&accepted) else { return Err(not_found()) };
    let location = format_compact!("/v1/shipments/{}", ShipmentId::of(id, number));
    Ok(show(&request, 201, number, &accepted)?.location(&location))
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ShipmentId::parse)?;
    let accepted = visible(&request, id.order()).await?;
    Ok(show(&request, 200, id.number(), &accepted)?.etag(accepted.meta.version))
}

async fn correct<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ShipmentId::parse)?;
    let body: TrackingBody = request.read()?;
    let if_version = if_match(&request.headers)?;
    visible(&request, id.order()).await?;
    let command = any::Command::Order(Command::CorrectTracking {
        shipment: id.number(),
        carrier: body.carrier.map(|text| text.map(|text| text.0)),
        tracking_number: body.tracking_number.map(|text| text.map(|text| text.0)),
        tracking_url: body.tracking_url.map(|text| text.map(|text| text.0)),
    });
    match request.ask(EntityId::Order(id.order()), command).if_version(if_version).send().await {
        Ok(accepted) => Ok(show(&request, 200, id.number(), &accepted)?.etag(accepted.meta.version)),
        Err(error) => Err(with_allowed(&request, id.order(), error).await),
    }
}

async fn deliver<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ShipmentId::parse)?;
    request.read::<EmptyBody>()?;
    let command = Command::Deliver { request: request.body_key()?, shipment: id.number() };
    change(&request, id, command).await
}

async fn lose<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ShipmentId::parse)?;
    request.read::<EmptyBody>()?;
    let command = Command::Lose { request: request.body_key()?, shipment: id.number() };
    change(&request, id, command).await
}

async fn undo<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ShipmentId::parse)?;
    request.read::<EmptyBody>()?;
    let command = Command::UndoShipment { request: request.body_key()?, shipment: id.number() };
    change(&request, id, command).await
}

async fn resend<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ShipmentId::parse)?;
    request.read::<EmptyBody>()?;
    let command = Command::Resend { request: request.body_key()?, shipment: id.number() };
    change(&request, id, command).await
}

async fn change<S: Shop>(request: &Request<'_, S>, id: ShipmentId, command: Command) -> Result<Reply, Problem> {
    visible(request, id.order()).await?;
    let accepted = ask(request, id.order(), command).await?;
    show(request, 200, id.number(), &accepted)
}
