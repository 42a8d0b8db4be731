//! `GET /v1/reservations?sku=…`: what a SKU promised to this caller, newest first.
//!
//! The SKU itself is asked, so the list is as new as a read by id. Of a reservation of several lines the SKU knows its own line; the
//! reservation is asked for the rest.

use super::{reservation_of, view_of};
use crate::door::Request;
use crate::problem::{Code, Problem};
use crate::refusals::not_found;
use crate::reply::Reply;
use crate::seam::Shop;
use crate::view::{At, ReservationListView, ReservationView};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbuster_domain::any;
use doorbuster_domain::ids::{EntityId, ReservationName, Sku};
use doorbuster_domain::inventory::{self, Keeper, PromiseStatus};
use doorbuster_domain::reservation;

/// What a page has when nothing is said, and at the most.
const LIMIT: (u32, u32) = (50, 200);
/// What a cursor of ours begins with.
const CURSOR: &str = "rsv1:";

struct Query {
    sku: Sku,
    status: Option<PromiseStatus>,
    limit: u32,
    before: Option<u64>,
}

fn query<S: Shop>(request: &Request<'_, S>) -> Result<Query, Problem> {
    let said = |name: &str| request.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let invalid = |name: &str, why: &str| Problem::field(format!("/{name}"), "invalid_value", why);
    let sku = said("sku").ok_or_else(|| Problem::field("/sku", "missing_field", "of which SKU?"))?;
    let sku = Sku::parse(sku).map_err(|error| Problem::new(Code::InvalidId).detail(format!("/sku: {error}")))?;
    let status = match said("status") {
        None => None,
        Some("held") => Some(PromiseStatus::Held),
        Some("committed") => Some(PromiseStatus::Committed),
        Some("released") => Some(PromiseStatus::Released),
        Some("expired") => Some(PromiseStatus::Expired),
        Some(_) => return Err(invalid("status", "must be held, committed, released or expired")),
    };
    let limit = match said("limit") {
        None => LIMIT.0,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT.1).contains(limit))
            .ok_or_else(|| Problem::field("/limit", "out_of_range", format!("must be from 1 to {}", LIMIT.1)))?,
    };
    let before = said("cursor").map(read_cursor).transpose()?;
    Ok(Query { sku, status, limit, before })
}

fn cursor(before: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR}{before}"))
}

fn read_cursor(text: &str) -> Result<u64, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix(CURSOR)?.parse().ok());
    number.ok_or_else(|| Problem::new(Code::InvalidCursor).detail("no cursor of ours"))
}

pub(crate) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let Query { sku, status, limit, before } = query(&request)?;
    let owner = request.principal()?;
    let command = inventory::Command::ListPromises { owner: owner.clone(), status, before, limit };
    let accepted = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(command)).await?;
    let any::Reply::Inventory(inventory::Reply::PromiseList { found, next }) = &accepted.reply else {
        return Err(not_found());
    };
    let mut whole = Vec::new();
    for promised in found.iter().filter(|promised| promised.promise.keeper != Keeper::Stock) {
        let read = any::Command::Reservation(reservation::Command::Read { owner: owner.clone() });
        if let Ok(accepted) = request.ask(EntityId::Reservation(promised.id), read).await {
            whole.push((promised.id, accepted));
        }
    }
    let names: Vec<ReservationName> = found
        .iter()
        .map(|promised| {
            let sku = (promised.promise.keeper == Keeper::Stock).then(|| sku.clone());
            ReservationName { id: promised.id, sku }
        })
        .collect();
    let views = found.iter().zip(&names).filter_map(|(promised, name)| match promised.promise.keeper {
        Keeper::Stock => Some(ReservationView::of_promise(name, &sku, &promised.promise)),
        Keeper::Reservation { .. } => {
            let (_, accepted) = whole.iter().find(|(id, _)| *id == promised.id)?;
            view_of(name, reservation_of(accepted).ok()?).ok()
        }
    });
    let view = ReservationListView { data: views.collect(), next_cursor: next.map(cursor), as_of: At(request.now) };
    Ok(Reply::json(200, &view).of(&accepted))
}
