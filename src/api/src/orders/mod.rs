//! Orders: placed, read, listed, changed, cancelled; and their journal.

mod access;
mod bodies;
mod claimed;
pub(crate) mod events;
mod list;
pub(crate) mod parts;
mod place;
mod terms;
mod views;

pub(crate) use access::{
    ask, ask_until, line_number, line_units, made, not_empty, order_id, order_of, visible, visible_whole, wait_for,
    with_allowed,
};
pub use bodies::{
    AddressBody, BuyerBody, CancelBody, LineUnitsBody, OrderBody, OrderLineBody, OrderPatchBody, PaymentBody,
};
pub use events::{EventPage, EventView};
pub(crate) use terms::instruction;
pub use views::{OrderView, ShownTo, allowed_words, is_decided};

use self::terms::EXTERNAL_ID;
use crate::core::caller::Access;
use crate::core::headers::if_match;
use crate::core::keys::Scope;
use crate::core::page::ListView;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::{not_found, of_claim};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::{Shop, Unavailable};
use crate::core::types::{Metadata, Text};
use compact_str::{CompactString, format_compact};
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::order::{CancelReason, Command, Group, Order, Patch};
use doorbuster_domain::warehouse;
use doorbuster_domain::{any, claims};

/// The most events of a page of an order's journal.
const EVENTS_MAX: usize = 200;
/// The most records of the journal that a page has in memory at once.
const RECORDS_AT_ONCE: usize = 16;

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "POST",
                path: "/v1/orders",
                class: PriorityClass::Checkout,
                access: Access::Shopper,
                key: true,
                body: Body::LargeJson(schema_of::<OrderBody>),
                handler: |request| Box::pin(place::place(request)),
                docs: Docs::new("PlaceOrder", "Orders", "Place an order, and pay it at once if a payment is given")
                    .answers(&[(201, Some(schema_of::<OrderView>)), (202, Some(schema_of::<OrderView>))])
                    .minimal()
                    .codes(&[
                        Code::NotFound,
                        Code::SoldOut,
                        Code::PriceChanged,
                        Code::TotalChanged,
                        Code::ReservationExpired,
                        Code::CartFrozen,
                        Code::AlreadyOrdered,
                        Code::NameTaken,
                        Code::WrongState,
                        Code::LimitExceeded,
                        Code::AmountOverflow,
                        Code::CurrencyMismatch,
                        Code::NotDeliverable,
                        Code::SetAside,
                    ]),
            },
            Route {
                method: "GET",
                path: "/v1/orders",
                class: PriorityClass::Browsing,
                access: Access::Scope(Scope::Orders),
                key: false,
                body: Body::None,
                handler: |request| Box::pin(list::list(request)),
                docs: Docs::new("ListOrders", "Orders", "The orders that the caller's account sees, newest first")
                    .answers(&[(200, Some(schema_of::<ListView<OrderView>>))])
                    .query(list::QUERY)
                    .indexed()
                    .codes(&[Code::InvalidId]),
            },
            Route {
                method: "GET",
                path: "/v1/me/orders",
                class: PriorityClass::Browsing,
                access: Access::Shopper,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(list::own(request)),
                docs: Docs::new("ListOwnOrders", "Orders", "The orders that the caller placed, newest first")
                    .answers(&[(200, Some(schema_of::<ListView<OrderView>>))])
                    .query(list::QUERY)
                    .indexed()
                    .codes(&[Code::InvalidId]),
            },
            Route {
                method: "GET",
                path: "/v1/orders/{id}",
                class: PriorityClass::Checkout,
                access: Access::OrderParty,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetOrder", "Orders", "One order, whole")
                    .answers(&[(200, Some(schema_of::<OrderView>))]),
            },
            Route {
                method: "PATCH",
                path: "/v1/orders/{id}",
                class: PriorityClass::Checkout,
                access: Access::OrderParty,
                key: false,
                body: Body::Json(schema_of::<OrderPatchBody>),
                handler: |request| Box::pin(patch(request)),
                docs: Docs::new("PatchOrder", "Orders", "Change what may still be changed")
                    .answers(&[(200, Some(schema_of::<OrderView>))])
                    .minimal()
                    .codes(&[
                        Code::WrongState,
                        Code::NotDeliverable,
                        Code::CurrencyMismatch,
                        Code::AmountOverflow,
                        Code::LimitExceeded,
                    ]),
            },
            Route {
                method: "POST",
                path: "/v1/orders/{id}/cancel",
                class: PriorityClass::Completion,
                access: Access::OrderParty,
                key: true,
                body: Body::JsonOrNothing(schema_of::<CancelBody>),
                handler: |request| Box::pin(cancel(request)),
                docs: Docs::new("CancelOrder", "Orders", "Cancel what has not shipped")
                    .answers(&[(200, Some(schema_of::<OrderView>))])
                    .minimal()
                    .codes(&[Code::WrongState, Code::LimitExceeded]),
            },
            Route {
                method: "GET",
                path: "/v1/orders/{id}/events",
                class: PriorityClass::Browsing,
                access: Access::OrderParty,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(events(request)),
                docs: Docs::new(
                    "OrderEvents",
                    "Orders",
                    "The order's journal, oldest first: who did what, when, at each step",
                )
                .answers(&[(200, Some(schema_of::<Vec<EventView>>))])
                .query(&[
                    ("after", "The number of an event: those behind it"),
                    (
                        "limit",
                        "The most events, 1 to 200 (200); a header `Link` with `rel=\"next\"` names the next page",
                    ),
                ])
                .codes(&[Code::InvalidCursor, Code::Invalid]),
            },
        ]
    }
}

/// An order that was placed, whole or as little of it as the caller prefers: the one answer that has its token.
fn show_placed<S: Shop>(request: &Request<'_, S>, status: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let token = request.context.secret.order_token(order_of(accepted)?.id);
    let who = request.who();
    let shown = ShownTo { who: &who, ships: false, token: Some(&token) };
    show(request, status, accepted, &shown, request.prefers_minimal())
}

/// An order that was changed: whole, or as little of it as the caller prefers.
async fn show_changed<S: Shop>(request: &Request<'_, S>, status: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    show_known(request, status, accepted, request.prefers_minimal()).await
}

async fn show_known<S: Shop>(
    request: &Request<'_, S>,
    status: u16,
    accepted: &Accepted,
    minimal: bool,
) -> Result<Reply, Problem> {
    let who = request.who();
    let group = order_of(accepted)?.sight(&who).and_then(|sight| sight.group);
    let ships = match group {
        Some(group) => Box::pin(keeps_all(request, &group)).await,
        None => false,
    };
    show(request, status, accepted, &ShownTo { who: &who, ships, token: None }, minimal)
}

/// Are the warehouses from which the units of a group come all the caller's? Then it sends them itself. Each warehouse says so.
async fn keeps_all<S: Shop>(request: &Request<'_, S>, group: &Group<'_>) -> bool {
    for warehouse in group.warehouses() {
        let read = any::Command::Warehouse(warehouse::Command::Read);
        if request.ask(EntityId::Warehouse(warehouse.clone()), read).send().await.is_err() {
            return false;
        }
    }
    true
}

fn show<S: Shop>(
    request: &Request<'_, S>,
    status: u16,
    accepted: &Accepted,
    shown: &ShownTo<'_>,
    minimal: bool,
) -> Result<Reply, Problem> {
    let view = OrderView::new(order_of(accepted)?, &accepted.meta, shown, request.now).ok_or_else(not_found)?;
    let reply = if minimal { Reply::minimal(status, &view.minimal()) } else { Reply::json(status, &view) };
    Ok(reply.etag(accepted.meta.version).of(accepted))
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let accepted = visible(&request, id).await?;
    show_known(&request, 200, &accepted, false).await
}

async fn cancel<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: CancelBody = request.read()?;
    let command = Command::Cancel {
        request: request.body_key()?,
        lines: line_units(body.lines.as_deref().unwrap_or_default())?,
        reason: body.reason.map_or(CancelReason::Customer, |reason| reason.0),
    };
    visible(&request, id).await?;
    let accepted = ask(&request, id, command).await?;
    Ok(show_changed(&request, 200, &accepted).await?.waited(request.prefer_wait))
}

async fn patch<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: OrderPatchBody = request.read()?;
    let if_version = if_match(&request.headers)?;
    let known = visible(&request, id).await?;
    let patch = patch_of(&request, order_of(&known)?, body)?;
    // What must be claimed first is answered when it is.
    let claims: Vec<claims::Wanted> = patch.claims.iter().filter_map(|(_, wanted)| *wanted).collect();
    let command = any::Command::Order(Command::Patch(Box::new(patch)));
    let mut asking = request.ask(EntityId::Order(id), command).if_version(if_version);
    if !claims.is_empty() {
        let (wait, deadline) = wait_for(&request, Wait::Held);
        asking = asking.until(wait, deadline);
    }
    match asking.send().await {
        Ok(accepted) => match order_of(&accepted)?.edit_refused.as_ref().filter(|one| claims.contains(&one.wanted)) {
            Some(refused) => Err(of_claim(refused)),
            None => show_changed(&request, 200, &accepted).await,
        },
        Err(error) => Err(with_allowed(&request, id, error).await),
    }
}

fn patch_of<S: Shop>(request: &Request<'_, S>, order: &Order, body: OrderPatchBody) -> Result<Patch, Problem> {
    let shop = request.shop_settings();
    let claims = claimed::of_patch(shop, &request.context.secret, &body);
    let placed = order.terms().ok_or_else(not_found)?;
    let who = request.who();
    let group = order.sight(&who).ok_or_else(not_found)?.group;
    let notes = group.map_or(placed.metadata.as_slice(), |group| group.notes());
    let metadata = metadata_of(notes, group.is_some(), body.metadata, body.external_id)?;
    let country = body.ship_to.as_ref().map_or(&placed.destination.country, |address| &address.country.0).clone();
    let option = body.shipping_option.as_ref().map(|option| option.0.clone());
    let moved = body.ship_to.is_some() && country != placed.destination.country;
    // Another country may have another price of the same option, or none; a first address begins a delivery, which has its price.
    let option = option.or_else(|| match &placed.shipping {
        Some(shipping) => moved.then(|| shipping.option.clone()),
        None => body.ship_to.is_some().then(|| shop.default_shipping.clone()),
    });
    let shipping = option.map(|option| terms::shipping(shop, &option, &country, placed.currency)).transpose()?;
    let ship_to = body.ship_to.map(|address| {
        let destination = terms::destination(&address);
        let tax = shop.tax_of(&destination.country);
        (terms::address(address), destination, tax)
    });
    Ok(Patch {
        buyer: body.buyer.map(terms::buyer),
        ship_to,
        bill_to: body.bill_to.map(|address| address.map(terms::address)),
        shipping,
        note: body.note.map(|note| note.map(|note| note.0)),
        metadata,
        seller: None,
        claims,
    })
}

/// The pairs that a change leaves, with the external id as the first; `None`: they stay. That of an order is set when it is placed, that of a
/// seller's own lines by their seller.
fn metadata_of(
    known: &[(CompactString, CompactString)],
    of_group: bool,
    metadata: Option<Metadata>,
    external_id: Option<Text<128>>,
) -> Result<Option<Vec<(CompactString, CompactString)>>, Problem> {
    if external_id.is_some() && !of_group {
        return Err(Problem::field("/external_id", "invalid_value", "is set when the order is placed"));
    }
    if metadata.is_none() && external_id.is_none() {
        return Ok(None);
    }
    let (ids, pairs): (Vec<_>, Vec<_>) = known.iter().cloned().partition(|(name, _)| name == EXTERNAL_ID);
    let ids = external_id.map_or(ids, |id| vec![(CompactString::const_new(EXTERNAL_ID), id.0)]);
    let pairs = metadata.map_or(pairs, |metadata| metadata.0);
    Ok(Some(ids.into_iter().chain(pairs).collect()))
}

/// A page of the order's journal, oldest first. The records are read a few at a time and let go as soon as they are described, because one of a large
/// order may be as long as the order.
async fn events<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let after: u64 = match request.query("after") {
        None => 0,
        Some(number) => number.parse().map_err(|_none| Problem::new(Code::InvalidCursor))?,
    };
    let limit = match request.query("limit") {
        None => EVENTS_MAX,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=EVENTS_MAX).contains(limit))
            .ok_or_else(|| Problem::field("/limit", "out_of_range", format!("must be from 1 to {EVENTS_MAX}")))?,
    };
    let accepted = visible_whole(&request, id).await?;
    let mut page = EventPage::of(order_of(&accepted)?, after, limit);
    while let Some(from) = page.next_from() {
        let read = request.context.shop.history(&EntityId::Order(id), from, RECORDS_AT_ONCE).await;
        page.add(&read.map_err(|error| match error {
            Unavailable::NotServing => Problem::new(Code::Draining).detail("the node is starting or stopping"),
            Unavailable::Failed => Problem::new(Code::Overloaded).detail("the journal cannot be read now"),
        })?);
    }
    let reply = Reply::json(200, &page.events());
    Ok(match page.more_after() {
        None => reply,
        Some(number) => {
            let next = format_compact!("</v1/orders/{id}/events?after={number}&limit={limit}>; rel=\"next\"");
            reply.next_page(&next)
        }
    })
}
