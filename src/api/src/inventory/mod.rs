//! Stock of a SKU: the seller's levels and movements, the shopper's availability.

mod bodies;
pub(crate) mod known;
mod movements;
pub(crate) mod views;

pub use bodies::{AdjustmentBody, CountBody, ReceiptBody};
pub use movements::MovementListView;
pub use views::{AvailabilityView, InventoryView, LevelView};

use crate::core::ask::AskError;
use crate::core::caller::Access;
use crate::core::keys::Scope;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::{not_found, of_inventory};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use doorbuster_actors::ask::Accepted;
use doorbuster_actors::view::Stock;
use doorbuster_domain::any;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, Sku, WarehouseId};
use doorbuster_domain::inventory::{Command, Level, Levels, Refusal, Reply as Replied};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::warehouse;
use std::sync::Arc;

const INVENTORY: Access = Access::Scope(Scope::Inventory);

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "GET",
                path: "/v1/inventory/{sku}",
                class: PriorityClass::Cart,
                access: INVENTORY,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetInventory", "Inventory", "Stock of a SKU, by warehouse")
                    .answers(&[(200, Some(schema_of::<InventoryView>))]),
            },
            Route {
                method: "POST",
                path: "/v1/inventory/{sku}/receipts",
                class: PriorityClass::Cart,
                access: INVENTORY,
                key: true,
                body: Body::Json(schema_of::<ReceiptBody>),
                handler: |request| Box::pin(receive(request)),
                docs: Docs::new("Receive", "Inventory", "Add units that have arrived, or announce units")
                    .answers(&[(201, Some(schema_of::<LevelView>))])
                    .codes(&[Code::LimitExceeded, Code::AmountOverflow]),
            },
            Route {
                method: "POST",
                path: "/v1/inventory/{sku}/adjustments",
                class: PriorityClass::Cart,
                access: INVENTORY,
                key: true,
                body: Body::Json(schema_of::<AdjustmentBody>),
                handler: |request| Box::pin(adjust(request)),
                docs: Docs::new("Adjust", "Inventory", "Correct stock, with a reason")
                    .answers(&[(201, Some(schema_of::<LevelView>))])
                    .codes(&[Code::UnitsReserved, Code::AmountOverflow]),
            },
            Route {
                method: "POST",
                path: "/v1/inventory/{sku}/counts",
                class: PriorityClass::Cart,
                access: INVENTORY,
                key: true,
                body: Body::Json(schema_of::<CountBody>),
                handler: |request| Box::pin(count(request)),
                docs: Docs::new("Count", "Inventory", "Set stock to what was counted")
                    .answers(&[(201, Some(schema_of::<LevelView>))])
                    .codes(&[Code::UnitsReserved, Code::StaleVersion, Code::AmountOverflow]),
            },
            Route {
                method: "GET",
                path: "/v1/inventory/{sku}/movements",
                class: PriorityClass::Browsing,
                access: INVENTORY,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(movements::list(request)),
                docs: Docs::new(
                    "ListMovements",
                    "Inventory",
                    "How the units of a SKU came, were corrected and left, newest first, without its sales",
                )
                .query(&[
                    (
                        "limit",
                        "Greatest number of movements, 1 to 200; default: 50. A page may have fewer, and a next one.",
                    ),
                    ("cursor", "`next_cursor` of the page before."),
                ])
                .answers(&[(200, Some(schema_of::<MovementListView>))])
                .exported()
                .codes(&[Code::InvalidCursor, Code::Invalid]),
            },
            Route {
                method: "GET",
                path: "/v1/skus/{sku}/availability",
                class: PriorityClass::Browsing,
                access: Access::Anyone,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(availability(request)),
                docs: Docs::new("GetAvailability", "Catalogue", "The availability of a SKU, for shoppers")
                    .answers(&[(200, Some(schema_of::<AvailabilityView>))]),
            },
        ]
    }
}

fn levels_of(accepted: &Accepted) -> Result<&Levels, Problem> {
    match &accepted.reply {
        any::Reply::Inventory(Replied::Levels(levels)) => Ok(levels),
        _ => Err(not_found()),
    }
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let sku = request.id(Sku::parse)?;
    let command = any::Command::Inventory(Command::Read);
    let accepted = request.ask(EntityId::Inventory(sku.clone()), command).send().await?;
    let levels = levels_of(&accepted)?;
    let times = [accepted.meta.created_at, accepted.meta.updated_at];
    let view = InventoryView::new(&sku, levels, request.shop_settings().low_stock_at, times);
    Ok(Reply::json(200, &view).etag(levels.version).of(&accepted))
}

async fn receive<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: ReceiptBody = request.read()?;
    let key = request.body_key()?;
    let warehouse = body.warehouse.0.clone();
    let command = Command::Receive {
        request: key,
        warehouse: body.warehouse.0,
        units: body.units.0,
        reference: body.reference.map(|text| text.0),
        expected_at: body.expected_at.map(|at| at.0),
    };
    change(request, warehouse, command).await
}

async fn adjust<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: AdjustmentBody = request.read()?;
    if body.delta.0 == 0 {
        return Err(Problem::field("/delta", "out_of_range", "must not be 0"));
    }
    let key = request.body_key()?;
    let warehouse = body.warehouse.0.clone();
    let command = Command::Adjust {
        request: key,
        warehouse: body.warehouse.0,
        delta: body.delta.0,
        reason: body.reason.0,
        note: body.note.map(|note| note.0),
    };
    change(request, warehouse, command).await
}

async fn count<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: CountBody = request.read()?;
    let key = request.body_key()?;
    let warehouse = body.warehouse.0.clone();
    let command = Command::Count {
        request: key,
        warehouse: body.warehouse.0,
        counted: body.counted.0,
        expected_in_building: body.expected_in_building.map(|units| units.0.into()),
    };
    change(request, warehouse, command).await
}

/// Announces units of the SKU to their warehouse, which the seller must have described: those in a mistyped one would be sold, and found nowhere.
/// From then on the SKU is told when the warehouse stops or resumes selling; if it is closed now, the SKU knows before its units come.
async fn announce<S: Shop>(request: &Request<'_, S>, sku: &Sku, id: &WarehouseId) -> Result<(), Problem> {
    let is_listed = |stock: &Stock| stock.levels.as_ref().is_some_and(|levels| levels.offer.is_some());
    // A mistyped SKU, and another seller's, is refused before the warehouse remembers it.
    let is_known = request.caller.is_platform(&request.shop_settings().seller)
        && request.context.shop.cached_availability(sku).is_some_and(|stock| is_listed(&stock));
    if !is_known && !is_listed(&Box::pin(read_as(request, request.who(), sku)).await?) {
        return Err(of_inventory(&Refusal::Unknown));
    }
    let stock = any::Command::Warehouse(warehouse::Command::Stock { warehouse: id.clone(), sku: sku.clone() });
    let unknown = Box::new(any::Refusal::Warehouse(warehouse::Refusal::Unknown));
    let asking = request.ask(EntityId::Warehouse(id.clone()), stock).until(Wait::Held, request.deadline());
    match asking.reject_if_absent(Some(unknown)).send().await {
        Ok(_described) => Ok(()),
        Err(AskError::Refused(any::Refusal::Warehouse(warehouse::Refusal::Unknown) | any::Refusal::NotYours)) => {
            Err(Problem::field("/warehouse", "unknown", format!("{id}: no such warehouse")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends a seller's command and shows the level of the warehouse after it.
async fn change<S: Shop>(request: Request<'_, S>, warehouse: WarehouseId, command: Command) -> Result<Reply, Problem> {
    let sku = request.id(Sku::parse)?;
    announce(&request, &sku, &warehouse).await?;
    let accepted = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(command)).send().await?;
    let levels = levels_of(&accepted)?;
    let empty = Level::at(warehouse);
    let level = levels.levels.iter().find(|level| level.warehouse == empty.warehouse).unwrap_or(&empty);
    let view = LevelView::new(&sku, level, levels.version, request.shop_settings().low_stock_at);
    Ok(Reply::json(201, &view).of(&accepted))
}

async fn availability<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let sku = request.id(Sku::parse)?;
    let stock = match request.context.shop.cached_availability(&sku).filter(|stock| stock.levels.is_some()) {
        Some(stock) => stock,
        // The read model does not have it since the start of the node: the entity is asked.
        None => Box::pin(read(&request, &sku)).await?,
    };
    let view = AvailabilityView::new(&sku, &stock, request.shop_settings().low_stock_at);
    Ok(Reply::json(200, &view).etag(stock.version).cache("no-cache"))
}

/// Asks the entity for the stock of a SKU that the read models have not seen, for what everyone may know of it.
pub(crate) async fn read<S: Shop>(request: &Request<'_, S>, sku: &Sku) -> Result<Stock, Problem> {
    read_as(request, Principal::System, sku).await
}

async fn read_as<S: Shop>(request: &Request<'_, S>, by: Principal, sku: &Sku) -> Result<Stock, Problem> {
    let command = any::Command::Inventory(Command::Read);
    let accepted = request.ask_as(by, EntityId::Inventory(sku.clone()), command).send().await?;
    let any::Reply::Inventory(Replied::Levels(levels)) = accepted.reply else { return Err(not_found()) };
    Ok(Stock {
        available: levels.available(),
        reserved: levels.reserved(),
        next_release_at: levels.next_release_at,
        version: levels.version,
        levels: Some(Arc::from(levels)),
    })
}
