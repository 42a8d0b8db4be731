//! Stock of a SKU: the seller's movements and levels, the shopper's availability.

use super::door::Request;
use super::fingerprint::of_body;
use super::json;
use super::problem::{Code, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::requests::{AdjustmentBody, CountBody, ReceiptBody};
use super::seam::Shop;
use super::view::{AvailabilityView, InventoryView, LevelView, stock_of};
use doorbuster_actors::ask::Accepted;
use doorbuster_actors::view::Stock;
use doorbuster_domain::any;
use doorbuster_domain::ids::{EntityId, Sku, WarehouseId};
use doorbuster_domain::inventory::{Command, Level, Levels, Reply as Replied};
use std::sync::Arc;

fn sku<S>(request: &Request<'_, S>) -> Result<Sku, Problem> {
    Sku::parse(request.params.first()).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}

fn levels_of(accepted: &Accepted) -> Result<&Levels, Problem> {
    match &accepted.reply {
        any::Reply::Inventory(Replied::Levels(levels)) => Ok(levels),
        _ => Err(not_found()),
    }
}

pub(super) async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let sku = sku(&request)?;
    let accepted = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(Command::Read)).await?;
    let levels = levels_of(&accepted)?;
    let times = [accepted.meta.created_at, accepted.meta.updated_at];
    let view = InventoryView::new(&sku, levels, request.api.settings.terms.low_stock_at, times);
    Ok(Reply::json(200, &view).etag(levels.version).of(&accepted))
}

pub(super) async fn receive<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: ReceiptBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    let warehouse = body.warehouse.0.clone();
    let command = Command::Receive {
        request: key,
        warehouse: body.warehouse.0,
        units: body.units.0,
        reference: body.reference.map(|text| text.0),
        expected_at: body.expected_at.map(|at| at.0),
    };
    moved(request, warehouse, command).await
}

pub(super) async fn adjust<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: AdjustmentBody = json::read(&request.body)?;
    if body.delta.0 == 0 {
        return Err(Problem::field("/delta", "out_of_range", "must not be 0"));
    }
    let key = request.request_key(of_body(&request.body)?)?;
    let (warehouse, delta, reason) = (body.warehouse.0.clone(), body.delta.0, body.reason.0);
    let command = Command::Adjust { request: key, warehouse: body.warehouse.0, delta, reason };
    moved(request, warehouse, command).await
}

pub(super) async fn count<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: CountBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    let warehouse = body.warehouse.0.clone();
    let command = Command::Count {
        request: key,
        warehouse: body.warehouse.0,
        counted: body.counted.0,
        expected_in_building: body.expected_in_building.map(|units| units.0.into()),
    };
    moved(request, warehouse, command).await
}

async fn moved<S: Shop>(request: Request<'_, S>, warehouse: WarehouseId, command: Command) -> Result<Reply, Problem> {
    let sku = sku(&request)?;
    let accepted = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(command)).await?;
    let levels = levels_of(&accepted)?;
    let empty = Level::at(warehouse);
    let level = levels.levels.iter().find(|level| level.warehouse == empty.warehouse).unwrap_or(&empty);
    let view = LevelView::new(&sku, level, levels.version, request.api.settings.terms.low_stock_at);
    Ok(Reply::json(201, &view).of(&accepted))
}

pub(super) async fn availability<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let sku = sku(&request)?;
    let stock = match request.api.shop.glimpse(&sku).filter(|stock| stock.levels.is_some()) {
        Some(stock) => stock,
        // Not seen since the start: the stock itself knows.
        None => Box::pin(read(&request, &sku)).await?,
    };
    let view = AvailabilityView::new(&sku, &stock, request.api.settings.terms.low_stock_at);
    Ok(Reply::json(200, &view).etag(stock.version).cache("no-cache"))
}

/// Stock as its entity tells it now.
pub(super) async fn read<S: Shop>(request: &Request<'_, S>, sku: &Sku) -> Result<Stock, Problem> {
    let command = any::Command::Inventory(Command::Read);
    let accepted = request.ask(EntityId::Inventory(sku.clone()), command).await?;
    match accepted.reply {
        any::Reply::Inventory(Replied::Levels(levels)) => Ok(stock_of(Arc::from(levels))),
        _ => Err(not_found()),
    }
}
