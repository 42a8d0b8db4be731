//! Warehouses: set whole, read whole.

use crate::core::caller::Access;
use crate::core::headers::if_match;
use crate::core::keys::Scope;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use crate::core::types::{Country, Id, Prose, Text, Whole};
use crate::core::view::{At, Shown};
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{self, Command};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, WarehouseId};
use doorbuster_domain::warehouse;
use doorbuster_storage::wire::Meta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "PUT",
                path: "/v1/warehouses/{id}",
                class: PriorityClass::Cart,
                access: Access::Scope(Scope::Catalog),
                key: false,
                body: Body::Json(schema_of::<WarehouseBody>),
                handler: |request| Box::pin(put(request)),
                docs: Docs::new("PutWarehouse", "Inventory", "Set a warehouse")
                    .answers(&[(200, Some(schema_of::<WarehouseView>)), (201, Some(schema_of::<WarehouseView>))])
                    .codes(&[Code::NameTaken]),
            },
            Route {
                method: "GET",
                path: "/v1/warehouses/{id}",
                class: PriorityClass::Cart,
                access: Access::Scope(Scope::Catalog),
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetWarehouse", "Inventory", "One warehouse")
                    .answers(&[(200, Some(schema_of::<WarehouseView>))]),
            },
        ]
    }
}

/// A warehouse.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarehouseBody {
    /// The id of the path, if it is repeated.
    pub id: Option<Id<WarehouseId>>,
    /// Its name for sellers.
    pub name: Prose<100>,
    /// Its country.
    pub country: Country,
    /// Its postal code.
    pub postal_code: Option<Text<20>>,
    /// Are its units for sale? If not, no order or reservation takes units from it, and shoppers do not see them; what is reserved there
    /// stays reserved. Default: true.
    pub active: Option<bool>,
    /// Its place in the ranking: lower comes first. Default: 0.
    pub priority: Option<Whole>,
}

/// A warehouse.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Warehouse")]
pub struct WarehouseView<'a> {
    id: Shown<&'a WarehouseId>,
    name: &'a str,
    country: &'a str,
    postal_code: Option<&'a str>,
    active: bool,
    priority: u32,
    version: u64,
    created_at: At,
    updated_at: At,
}

impl<'a> WarehouseView<'a> {
    /// A warehouse as it was last set.
    #[must_use]
    pub fn new(id: &'a WarehouseId, details: &'a warehouse::Details, version: u64, meta: &Meta) -> Self {
        Self {
            id: Shown(id),
            name: &details.name,
            country: &details.country,
            postal_code: details.postal_code.as_deref(),
            active: details.active,
            priority: details.priority,
            version,
            created_at: At(meta.created_at),
            updated_at: At(meta.updated_at),
        }
    }
}

async fn put<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(WarehouseId::parse)?;
    let body: WarehouseBody = request.read()?;
    if body.id.is_some_and(|named| named.0 != id) {
        return Err(Problem::field("/id", "invalid_value", "differs from the id in the path"));
    }
    let details = warehouse::Details {
        name: body.name.0,
        country: body.country.0,
        postal_code: body.postal_code.map(|code| code.0),
        active: body.active.unwrap_or(true),
        priority: body.priority.map_or(0, |priority| priority.0),
    };
    let expected_version = if_match(&request.headers)?;
    let command = Command::Warehouse(warehouse::Command::Put { details, expected_version, owner: None });
    // Until every SKU with stock in it knows, an order could take units of a warehouse that was closed.
    let deadline = request.now.plus_ms(request.settings().order_wait_ms);
    let asking = request.ask(EntityId::Warehouse(id.clone()), command).until(Wait::Held, deadline);
    let accepted = asking.send().await?;
    show(&id, &accepted, true)
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(WarehouseId::parse)?;
    let command = Command::Warehouse(warehouse::Command::Read);
    let accepted = request.ask(EntityId::Warehouse(id.clone()), command).send().await?;
    show(&id, &accepted, false)
}

/// The answer with the warehouse: 201 to the PUT that created it.
fn show(id: &WarehouseId, accepted: &Accepted, put: bool) -> Result<Reply, Problem> {
    let any::Reply::Warehouse(warehouse::Reply::Described { details, version }) = &accepted.reply else {
        return Err(not_found());
    };
    let created = put && *version == 1 && !accepted.repeated;
    let view = WarehouseView::new(id, details, *version, &accepted.meta);
    Ok(Reply::json(if created { 201 } else { 200 }, &view).etag(*version).of(accepted))
}
