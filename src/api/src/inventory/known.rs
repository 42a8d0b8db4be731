//! Does a SKU exist? Asked before anything that would start an entity for it (rule W1): a name that exists nowhere starts none.
//!
//! ```text
//! seen by the read models of this node ──yes──► it exists: nothing is asked
//!          └─no──► its shard: memory, tail, store (rule R5) ──► it exists, or is refused without an actor
//! ```

use crate::core::ask::AskError;
use crate::core::problem::Problem;
use crate::core::request::Request;
use crate::core::service::Shop;
use doorbuster_domain::any::{self, Refusal};
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_domain::inventory;
use futures_util::{StreamExt, stream};
use std::pin::pin;

/// Names of one request that are looked up at once. Too few: the first large order after a start takes many round trips. Too many: one request takes
/// the room of many, for names that may not exist.
const LOOKUPS_AT_ONCE_MAX: usize = 16;

/// Have the read models of this node seen the SKU? Then it exists: a SKU is never removed.
pub(crate) fn is_seen<S: Shop>(shop: &S, sku: &Sku) -> bool {
    shop.cached_availability(sku).is_some_and(|stock| stock.levels.is_some())
}

/// The refusal of a command whose SKU does not exist.
pub(crate) fn unknown() -> Box<Refusal> {
    Box::new(Refusal::Inventory(inventory::Refusal::Unknown))
}

/// The same, if the SKU was not seen yet.
pub(crate) fn unknown_unless_seen<S: Shop>(shop: &S, sku: &Sku) -> Option<Box<Refusal>> {
    (!is_seen(shop, sku)).then(unknown)
}

/// The first of these SKUs that does not exist, by its place among them. It ends with the first, so a request of many unknown names costs
/// [`LOOKUPS_AT_ONCE_MAX`] lookups.
pub(crate) async fn first_unknown<S: Shop>(request: &Request<'_, S>, skus: Vec<Sku>) -> Result<Option<usize>, Problem> {
    let lookups = stream::iter(skus).map(|sku| exists(request, sku)).buffered(LOOKUPS_AT_ONCE_MAX);
    let mut lookups = pin!(lookups.enumerate());
    while let Some((place, found)) = lookups.next().await {
        if !found? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

async fn exists<S: Shop>(request: &Request<'_, S>, sku: Sku) -> Result<bool, Problem> {
    let command = any::Command::Inventory(inventory::Command::Read);
    match request.ask_inside(EntityId::Inventory(sku), command).send().await {
        Ok(_) | Err(AskError::Quarantined) => Ok(true),
        Err(AskError::Refused(Refusal::Inventory(inventory::Refusal::Unknown))) => Ok(false),
        // Not known whether it exists: nothing was asked for, so the same request may come again.
        Err(error) => Err(error.into()),
    }
}
