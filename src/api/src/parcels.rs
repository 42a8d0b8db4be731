//! Goods of an order on their way: shipments and returns.

use super::door::Request;
use super::fingerprint::of_body;
use super::json;
use super::orders::{ask, line_number, line_units, order_id, order_of, visible};
use super::paying::made;
use super::problem::{Code, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::requests::{EmptyBody, ReceiveBody, RejectBody, ReturnBody, ShipmentBody};
use super::seam::Shop;
use super::view::{ReturnView, ShipmentView};
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::ids::{IdError, ReturnId, ShipmentId};
use doorbuster_domain::order::{Command, Made, ReceivedLine, ReturnLine};

fn id_of<T, S>(request: &Request<'_, S>, parse: fn(&str) -> Result<T, IdError>) -> Result<T, Problem> {
    parse(request.params.first()).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}

fn show_shipment(status: u16, number: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let shipment = order.shipment(number).ok_or_else(not_found)?;
    Ok(Reply::json(status, &ShipmentView::new(order, shipment)).of(accepted))
}

fn show_return(status: u16, number: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let one = order.return_(number).ok_or_else(not_found)?;
    Ok(Reply::json(status, &ReturnView::new(order, one)).of(accepted))
}

pub(super) async fn ship<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: ShipmentBody = json::read(&request.body)?;
    let command = Command::Ship {
        request: request.request_key(of_body(&request.body)?)?,
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
    Ok(show_shipment(201, number, &accepted)?.location(&location))
}

pub(super) async fn get_shipment<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ShipmentId::parse)?;
    let accepted = visible(&request, id.order()).await?;
    Ok(show_shipment(200, id.number(), &accepted)?.etag(accepted.meta.version))
}

pub(super) async fn deliver<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ShipmentId::parse)?;
    json::read::<EmptyBody>(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    visible(&request, id.order()).await?;
    let command = Command::Deliver { request: key, shipment: id.number() };
    let accepted = ask(&request, id.order(), command).await?;
    show_shipment(200, id.number(), &accepted)
}

pub(super) async fn lose<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ShipmentId::parse)?;
    json::read::<EmptyBody>(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    visible(&request, id.order()).await?;
    let command = Command::Lose { request: key, shipment: id.number() };
    let accepted = ask(&request, id.order(), command).await?;
    show_shipment(200, id.number(), &accepted)
}

pub(super) async fn request_return<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: ReturnBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    not_empty(body.lines.len())?;
    let mut lines = Vec::with_capacity(body.lines.len());
    for (index, line) in body.lines.into_iter().enumerate() {
        let reason = line.reason.map(|text| text.0).unwrap_or_default();
        lines.push(ReturnLine { line: line_number(&line.line.0, index)?, units: line.quantity.0, reason });
    }
    visible(&request, id).await?;
    let accepted = ask(&request, id, Command::RequestReturn { request: key, lines }).await?;
    let Some(Made::Return(number)) = made(&accepted) else { return Err(not_found()) };
    let location = format_compact!("/v1/returns/{}", ReturnId::of(id, number));
    Ok(show_return(201, number, &accepted)?.location(&location))
}

fn not_empty(lines: usize) -> Result<(), Problem> {
    if lines == 0 { Err(Problem::field("/lines", "out_of_range", "must not be empty")) } else { Ok(()) }
}

pub(super) async fn get_return<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ReturnId::parse)?;
    let accepted = visible(&request, id.order()).await?;
    Ok(show_return(200, id.number(), &accepted)?.etag(accepted.meta.version))
}

pub(super) async fn approve<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ReturnId::parse)?;
    json::read::<EmptyBody>(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    visible(&request, id.order()).await?;
    let command = Command::ApproveReturn { request: key, number: id.number() };
    let accepted = ask(&request, id.order(), command).await?;
    show_return(200, id.number(), &accepted)
}

pub(super) async fn reject<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ReturnId::parse)?;
    let body: RejectBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    visible(&request, id.order()).await?;
    let command = Command::RejectReturn { request: key, number: id.number(), reason: body.reason.0 };
    let accepted = ask(&request, id.order(), command).await?;
    show_return(200, id.number(), &accepted)
}

pub(super) async fn receive<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = id_of(&request, ReturnId::parse)?;
    let body: ReceiveBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    not_empty(body.lines.len())?;
    let mut lines = Vec::with_capacity(body.lines.len());
    for (index, line) in body.lines.iter().enumerate() {
        lines.push(ReceivedLine {
            line: line_number(&line.line.0, index)?,
            units: line.quantity.0,
            condition: line.condition.0,
            restock: line.restock,
        });
    }
    visible(&request, id.order()).await?;
    let command = Command::ReceiveReturn { request: key, number: id.number(), lines };
    let accepted = ask(&request, id.order(), command).await?;
    show_return(200, id.number(), &accepted)
}
