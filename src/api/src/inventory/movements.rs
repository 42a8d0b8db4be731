//! `GET /v1/inventory/{sku}/movements`: how the units of a SKU came, were corrected and left, newest first, read from its journal.
//!
//! ```text
//! events of the SKU   1 ……………………………………… before-256 ……… before-1 │ before
//!                                            └── one read, newest first ──┘ until the page is full, or READS_MAX reads were made
//! ```
//!
//! A SKU that sells has many more events than movements. So a page may have fewer than `limit` of them, even none, and a `next_cursor`.
//! Sales and reservations are not among them: they are in the orders' own histories.

use crate::core::page;
use crate::core::problem::{Code, Problem};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::{Journaled, Shop, Unavailable};
use crate::core::view::{At, Shown};
use crate::core::words::adjustment_word;
use crate::orders::events::ByView;
use doorbuster_domain::any;
use doorbuster_domain::ids::{EntityId, OrderId, ShipmentId, Sku, WarehouseId};
use doorbuster_domain::inventory::{Allocation, Command, Event, ReturnKey};
use schemars::JsonSchema;
use serde::Serialize;

/// Events of one read of the journal. More: a page of a quiet SKU reads needlessly much; fewer: a busy SKU needs more reads.
const READ_EVENTS: u64 = 256;
/// Reads of one request: it looks at 4,096 events at most.
const READS_MAX: usize = 16;
/// Prefix of a decoded cursor.
const CURSOR: &str = "mov1:";

/// A change of a SKU's stock in a warehouse, other than a sale.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Movement")]
struct MovementView {
    /// The number of its event within the SKU's journal; newer movements have greater ones.
    number: u64,
    /// `received`, `announced`, `adjusted`, `counted`, `shipped`, `returned`, `cancelled`
    #[serde(rename = "type")]
    kind: &'static str,
    at: At,
    by: ByView,
    changes: Vec<ChangeView>,
    /// Why a seller corrected the stock.
    reason: Option<&'static str>,
    /// What the seller wrote down.
    note: Option<String>,
    /// The seller's own reference of a receipt.
    reference: Option<String>,
    /// When announced units are expected.
    expected_at: Option<At>,
    /// Units found by a count, those included that are sold and not shipped.
    counted: Option<u32>,
    /// The order whose units left or came back.
    order: Option<String>,
    shipment: Option<String>,
    /// Of units that came back: are they for sale again? If not, they were written off.
    restocked: Option<bool>,
}

/// Units in one warehouse.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MovementChange")]
struct ChangeView {
    warehouse: Shown<WarehouseId>,
    /// Units that came, or, negative, that left or were missing.
    units: i64,
}

/// A page of movements.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MovementList")]
pub struct MovementListView {
    data: Vec<MovementView>,
    next_cursor: Option<String>,
    as_of: At,
}

pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let sku = request.id(Sku::parse)?;
    let limit = usize::try_from(page::limit(&request)?).unwrap_or(usize::MAX);
    let before = request.query("cursor").map(|text| page::read_cursor(CURSOR, text)).transpose()?;
    let entity = EntityId::Inventory(sku);
    let accepted = request.ask(entity.clone(), any::Command::Inventory(Command::Read)).send().await?;
    let mut before = before.unwrap_or(u64::MAX).min(accepted.meta.version.saturating_add(1));
    let mut data = Vec::new();
    for _ in 0..READS_MAX {
        if before <= 1 || data.len() >= limit {
            break;
        }
        let from = before.saturating_sub(READ_EVENTS).max(1);
        // A record has at least one event, so these records reach `before`.
        let read =
            request.context.shop.history(&entity, from, usize::try_from(READ_EVENTS).unwrap_or(usize::MAX)).await;
        let journal = read.map_err(|error| match error {
            Unavailable::NotServing => Problem::new(Code::Draining).detail("the node is starting or stopping"),
            Unavailable::Failed => Problem::new(Code::Overloaded).detail("the journal cannot be read now"),
        })?;
        before = add_newest(&mut data, &journal, (from, before), limit);
    }
    let next_cursor = (before > 1).then(|| page::cursor(CURSOR, before));
    let view = MovementListView { data, next_cursor, as_of: At(request.now) };
    Ok(Reply::json(200, &view).of(&accepted))
}

/// Adds the movements among the events from `from` to `before`, newest first, until there are `limit`; gives the event before which the
/// next page begins.
fn add_newest(data: &mut Vec<MovementView>, journal: &[Journaled], (from, before): (u64, u64), limit: usize) -> u64 {
    for journaled in journal.iter().rev() {
        let decided = &journaled.decided;
        for (index, event) in decided.events.iter().enumerate().rev() {
            let any::Event::Inventory(event) = event else { continue };
            let number = decided.number.saturating_add(u64::try_from(index).unwrap_or(u64::MAX));
            if number < from || number >= before {
                continue;
            }
            if data.len() >= limit {
                return number.saturating_add(1);
            }
            let moved = MovementView {
                number,
                kind: "",
                at: At(decided.at),
                by: (&decided.by).into(),
                changes: Vec::new(),
                reason: None,
                note: None,
                reference: None,
                expected_at: None,
                counted: None,
                order: None,
                shipment: None,
                restocked: None,
            };
            data.extend(moved.of(event));
        }
    }
    from
}

impl MovementView {
    /// With what the event says; `None`: it moves no goods.
    fn of(self, event: &Event) -> Option<Self> {
        Some(match event {
            Event::Received { warehouse, units, reference, .. } => Self {
                kind: "received",
                changes: change(warehouse, (*units).into()),
                reference: reference.as_deref().map(str::to_owned),
                ..self
            },
            Event::Announced { warehouse, units, expected_at, reference, .. } => Self {
                kind: "announced",
                changes: change(warehouse, (*units).into()),
                reference: reference.as_deref().map(str::to_owned),
                expected_at: Some(At(*expected_at)),
                ..self
            },
            Event::Adjusted { warehouse, delta, reason, note, .. } => Self {
                kind: "adjusted",
                changes: change(warehouse, *delta),
                reason: Some(adjustment_word(*reason)),
                note: note.as_deref().map(str::to_owned),
                ..self
            },
            Event::Counted { warehouse, counted, delta, .. } => {
                Self { kind: "counted", changes: change(warehouse, *delta), counted: Some(*counted), ..self }
            }
            Event::Shipped { order, shipment, allocations } => Self {
                kind: "shipped",
                changes: changes(allocations, -1),
                order: Some(order.to_string()),
                shipment: Some(ShipmentId::of(*order, *shipment).to_string()),
                ..self
            },
            Event::Unshipped { order, shipment, allocations, lost } => Self {
                kind: if *lost { "replaced" } else { "unshipped" },
                changes: changes(allocations, if *lost { -1 } else { 1 }),
                order: Some(order.to_string()),
                shipment: Some(ShipmentId::of(*order, *shipment).to_string()),
                ..self
            },
            Event::Returned { order, key, allocations, restock } => self.back(*order, *key, allocations, *restock),
            Event::Offered(_)
            | Event::Reserved { .. }
            | Event::Kept { .. }
            | Event::Committed { .. }
            | Event::Released { .. }
            | Event::Forgotten { .. }
            | Event::MovesForgotten { .. }
            | Event::ExternalReserved { .. }
            | Event::ExternalExtended { .. }
            | Event::ExternalKept { .. }
            | Event::ExternalCommitted { .. }
            | Event::ExternalShipped { .. }
            | Event::ExternalReleased { .. }
            | Event::ExternalExpired { .. }
            | Event::ExternalForgotten { .. }
            | Event::WarehouseSet { .. } => return None,
        })
    }

    fn back(self, order: OrderId, key: ReturnKey, allocations: &[Allocation], restock: bool) -> Self {
        let kind = match key {
            ReturnKey::Return { .. } => "returned",
            ReturnKey::Cancel { .. } => "cancelled",
        };
        let order = Some(order.to_string());
        Self { kind, changes: changes(allocations, 1), order, restocked: Some(restock), ..self }
    }
}

fn change(warehouse: &WarehouseId, units: i64) -> Vec<ChangeView> {
    vec![ChangeView { warehouse: Shown(warehouse.clone()), units }]
}

fn changes(allocations: &[Allocation], sign: i64) -> Vec<ChangeView> {
    let of = |part: &Allocation| ChangeView {
        warehouse: Shown(part.warehouse.clone()),
        units: i64::from(part.units).saturating_mul(sign),
    };
    allocations.iter().map(of).collect()
}
