//! `GET /v1/reservations?sku=…`: the caller's reservations of a SKU, newest first.
//!
//! The SKU itself is asked, so the list is as new as a read by id. Of a reservation of several lines the SKU knows its own line only; the
//! reservation is asked for the rest.

use super::views::{ReservationListView, ReservationView};
use super::{reservation_of, view_of};
use crate::core::page;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::core::view::At;
use crate::core::words::external_status_word;
use crate::inventory::known;
use doorbuster_domain::any;
use doorbuster_domain::ids::{EntityId, ReservationName, Sku};
use doorbuster_domain::inventory::{self, Decider, ExternalStatus};
use doorbuster_domain::reservation;

/// Prefix of a decoded cursor.
const CURSOR: &str = "rsv1:";

struct Query {
    sku: Sku,
    status: Option<ExternalStatus>,
    limit: u32,
    before: Option<u64>,
}

fn query<S: Shop>(request: &Request<'_, S>) -> Result<Query, Problem> {
    let sku = request.query("sku").ok_or_else(|| Problem::field("/sku", "missing_field", "is required"))?;
    let sku = Sku::parse(sku).map_err(|error| Problem::new(Code::InvalidId).detail(format!("/sku: {error}")))?;
    let status = request.query("status").map(status_of).transpose()?;
    let limit = page::limit(request)?;
    let before = request.query("cursor").map(|text| page::read_cursor(CURSOR, text)).transpose()?;
    Ok(Query { sku, status, limit, before })
}

fn status_of(word: &str) -> Result<ExternalStatus, Problem> {
    use ExternalStatus::{Committed, Expired, Held, Released};
    let found = [Held, Committed, Released, Expired].into_iter().find(|status| external_status_word(*status) == word);
    found.ok_or_else(|| Problem::field("/status", "invalid_value", "must be held, committed, released or expired"))
}

pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let Query { sku, status, limit, before } = query(&request)?;
    let owner = request.principal()?;
    let command = inventory::Command::ListExternal { owner: owner.clone(), status, before, limit };
    let unknown = known::unknown_unless_seen(&request.context.shop, &sku);
    let asking = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(command));
    let accepted = asking.reject_if_absent(unknown).send().await?;
    let any::Reply::Inventory(inventory::Reply::ExternalList { found, next }) = &accepted.reply else {
        return Err(not_found());
    };
    let mut whole = Vec::new();
    for one in found.iter().filter(|one| one.reservation.decider != Decider::Stock) {
        let read = any::Command::Reservation(reservation::Command::Read { owner: owner.clone() });
        if let Ok(accepted) = request.ask(EntityId::Reservation(one.id), read).send().await {
            whole.push((one.id, accepted));
        }
    }
    let names: Vec<ReservationName> = found
        .iter()
        .map(|found| {
            let sku = (found.reservation.decider == Decider::Stock).then(|| sku.clone());
            ReservationName { id: found.id, sku }
        })
        .collect();
    let views = found.iter().zip(&names).filter_map(|(found, name)| match found.reservation.decider {
        Decider::Stock => Some(ReservationView::of_external(name, &sku, &found.reservation)),
        Decider::Reservation { .. } => {
            let (_, accepted) = whole.iter().find(|(id, _)| *id == found.id)?;
            view_of(name, reservation_of(accepted).ok()?).ok()
        }
    });
    let view = ReservationListView {
        data: views.collect(),
        next_cursor: next.map(|before| page::cursor(CURSOR, before)),
        as_of: At(request.now),
    };
    Ok(Reply::json(200, &view).of(&accepted))
}
