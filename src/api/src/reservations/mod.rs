//! Reservations, for a shop that keeps its own cart and checkout: made (one or a batch), read, committed, shipped, released, extended.
//!
//! ```text
//! one SKU        ─► its stock: one decision, one event; the id names the SKU (`rsv_…~SKU`)
//! several SKUs   ─► the reservation: an entity of its own, all or none
//! a batch        ─► one command per SKU with all its items, all at once; each item is answered on its own, in the order of the items
//! ```
//!
//! The caller's `reference` is the key: a request that repeats it is the same reservation. If an `Idempotency-Key` comes with it, both must be equal.

mod batch;
mod bodies;
mod lines;
mod list;
mod views;

pub use bodies::{CommitBody, ExtendBody, ReservationBatchBody, ReservationBody, ReservationLineBody};
pub use views::{BatchView, ReservationLineView, ReservationListView, ReservationParts, ReservationView, ResultView};

use self::lines::Wanted;
use crate::core::ask::AskError;
use crate::core::caller::Access;
use crate::core::headers;
use crate::core::keys::Scope;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::{ShortLine, not_found, of_inventory, of_short};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use crate::core::types::EmptyBody;
use crate::inventory::known;
use compact_str::CompactString;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{self, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, ReservationName, Sku};
use doorbuster_domain::inventory::{self, Decider, ExternalAnswer, ExternalEnd, ExternalRequest, Requester};
use doorbuster_domain::reservation::{self, Made, Reservation};

const ORDERS: Access = Access::Scope(Scope::Orders);

/// What a reservation may be refused with.
const RESERVING: &[Code] = &[
    Code::InvalidIdempotencyKey,
    Code::IdempotencyKeyReused,
    Code::NotFound,
    Code::SoldOut,
    Code::ReservationExpired,
    Code::LimitExceeded,
    Code::SetAside,
];

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "POST",
                path: "/v1/reservations",
                class: PriorityClass::Checkout,
                access: ORDERS,
                key: false,
                body: Body::Json(schema_of::<ReservationBody>),
                handler: |request| Box::pin(make(request)),
                docs: Docs::new(
                    "MakeReservation",
                    "Reservations",
                    "Reserve units, all or none; `reference` is the key",
                )
                .answers(&[(201, Some(schema_of::<ReservationView>))])
                .minimal()
                .codes(RESERVING),
            },
            Route {
                method: "POST",
                path: "/v1/reservations:batch",
                class: PriorityClass::Checkout,
                access: ORDERS,
                key: false,
                body: Body::LargeJson(schema_of::<ReservationBatchBody>),
                handler: |request| Box::pin(batch::make_many(request)),
                docs: Docs::new(
                    "MakeReservations",
                    "Reservations",
                    "A batch of reservations, each answered on its own",
                )
                .answers(&[(200, Some(schema_of::<BatchView>))]),
            },
            Route {
                method: "GET",
                path: "/v1/reservations",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(list::list(request)),
                docs: Docs::new("ListReservations", "Reservations", "Reservations of a SKU, newest first")
                    .query(&[
                        ("sku", "Required: the SKU."),
                        ("status", "Only reservations that are `held`, `committed`, `released` or `expired`."),
                        ("limit", "Greatest number of reservations, 1 to 200; default: 50."),
                        ("cursor", "`next_cursor` of the page before."),
                    ])
                    .answers(&[(200, Some(schema_of::<ReservationListView>))])
                    .exported()
                    .codes(&[Code::InvalidCursor, Code::Invalid, Code::InvalidId, Code::SetAside]),
            },
            Route {
                method: "GET",
                path: "/v1/reservations/{id}",
                class: PriorityClass::Checkout,
                access: ORDERS,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetReservation", "Reservations", "One reservation")
                    .answers(&[(200, Some(schema_of::<ReservationView>))]),
            },
            Route {
                method: "POST",
                path: "/v1/reservations/{id}/commit",
                class: PriorityClass::Completion,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<CommitBody>),
                handler: |request| Box::pin(commit(request)),
                docs: Docs::new("CommitReservation", "Reservations", "The units are sold")
                    .answers(&[(200, Some(schema_of::<ReservationView>))])
                    .minimal()
                    .codes(&[Code::ReservationExpired, Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/reservations/{id}/ship",
                class: PriorityClass::Completion,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(ship(request)),
                docs: Docs::new(
                    "ShipReservation",
                    "Reservations",
                    "The units of a committed reservation left the warehouse: a stocktake no longer finds them",
                )
                .answers(&[(200, Some(schema_of::<ReservationView>))])
                .minimal()
                .codes(&[Code::ReservationExpired, Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/reservations/{id}/release",
                class: PriorityClass::Completion,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(release(request)),
                docs: Docs::new("ReleaseReservation", "Reservations", "The units are available again")
                    .answers(&[(200, Some(schema_of::<ReservationView>))])
                    .minimal()
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/reservations/{id}/extend",
                class: PriorityClass::Completion,
                access: ORDERS,
                key: true,
                body: Body::Json(schema_of::<ExtendBody>),
                handler: |request| Box::pin(extend(request)),
                docs: Docs::new("ExtendReservation", "Reservations", "The units are held for longer")
                    .answers(&[(200, Some(schema_of::<ReservationView>))])
                    .minimal()
                    .codes(&[Code::ReservationExpired, Code::WrongState, Code::LimitExceeded]),
            },
        ]
    }
}

async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: ReservationBody = request.read()?;
    if request.headers.contains_key("idempotency-key")
        && headers::idempotency_key(&request.headers)? != body.reference.0
    {
        let detail = "the reference is the key of this request: omit Idempotency-Key, or send the reference in it";
        return Err(Problem::new(Code::InvalidIdempotencyKey).detail(detail));
    }
    let owner = request.principal()?;
    request.charge_lines(body.lines.len())?;
    match lines::read(&request, &owner, body)? {
        Wanted::One(sku, wanted) => {
            let mut accepted = reserve_at_stock(&request, &sku, vec![wanted]).await?;
            let ExternalAnswer { id, reservation, repeated } = first_of(&sku, &mut accepted)?;
            accepted.repeated = repeated;
            let name = ReservationName { id, sku: Some(sku) };
            let sku = name.sku.as_ref().ok_or_else(not_found)?;
            let view = ReservationView::of_external(&name, sku, &reservation);
            Ok(shown(&request, 201, &view).location(&lines::location(&name)).of(&accepted))
        }
        Wanted::Several(made) => {
            let (name, accepted) = Box::pin(make_several(&request, *made)).await?;
            Ok(show_several(&request, 201, &name, &accepted)?.location(&lines::location(&name)))
        }
    }
}

/// Asks a SKU for reservations of one line each.
async fn reserve_at_stock<S: Shop>(
    request: &Request<'_, S>,
    sku: &Sku,
    requests: Vec<ExternalRequest>,
) -> Result<Box<Accepted>, AskError> {
    let stock = request.context.shop.availability(sku);
    let is_seen = stock.as_ref().is_some_and(|stock| stock.levels.is_some());
    let unknown = if is_seen { None } else { known::unknown_unless_seen(&request.context.shop, sku) };
    let ranking = lines::ranking_of(request, stock);
    let command = inventory::Command::ReserveExternal { decider: Decider::Stock, ranking, requests, seller: None };
    let asking = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(command));
    asking.reject_if_absent(unknown).send().await
}

/// Takes the one reservation out of an answer.
fn first_of(sku: &Sku, accepted: &mut Accepted) -> Result<ExternalAnswer, Problem> {
    let any::Reply::Inventory(inventory::Reply::ReservedExternal(answers)) = &mut accepted.reply else {
        return Err(not_found());
    };
    match answers.pop() {
        Some(Ok(found)) => Ok(*found),
        Some(Err(refusal)) => Err(problem_of(sku, &refusal)),
        None => Err(not_found()),
    }
}

/// The problem of a SKU's refusal, with the line that the contract shows.
fn problem_of(sku: &Sku, refusal: &inventory::Refusal) -> Problem {
    match *refusal {
        inventory::Refusal::SoldOut { wanted, available, all_reserved } => {
            ShortLine { sku: sku.as_str(), wanted, available, all_reserved, next_release_at: None }.problem()
        }
        _ => of_inventory(refusal),
    }
}

/// Makes a reservation of several lines.
async fn make_several<S: Shop>(
    request: &Request<'_, S>,
    made: Made,
) -> Result<(ReservationName, Box<Accepted>), Problem> {
    let unseen = made.lines.iter().enumerate().filter(|(_, line)| !known::is_seen(&request.context.shop, &line.sku));
    let (places, skus): (Vec<usize>, Vec<Sku>) = unseen.map(|(place, line)| (place, line.sku.clone())).unzip();
    if let Some(unknown) = known::first_unknown(request, skus).await? {
        let place = places.get(unknown).copied().unwrap_or_default();
        return Err(Problem::field(format!("/lines/{place}/sku"), "not_on_sale", "not for sale"));
    }
    let id = made.id;
    let command = any::Command::Reservation(reservation::Command::Make(Box::new(made)));
    let deadline = request.now.plus_ms(request.settings().order_wait_ms);
    let accepted = request.ask(EntityId::Reservation(id), command).until(Wait::Held, deadline).send().await?;
    let reservation = reservation_of(&accepted)?;
    if reservation.status().is_none() {
        let problem = of_short(reservation.lines());
        return Err(if accepted.repeated { problem.replayed() } else { problem });
    }
    Ok((ReservationName { id, sku: None }, accepted))
}

fn reservation_of(accepted: &Accepted) -> Result<&Reservation, Problem> {
    match accepted.state.as_deref() {
        Some(State::Reservation(reservation)) => Ok(reservation),
        _ => Err(not_found()),
    }
}

/// The view of a reservation of several lines.
fn view_of<'a>(name: &'a ReservationName, reservation: &'a Reservation) -> Result<ReservationView<'a>, Problem> {
    let (Some(made), Some(status)) = (reservation.made(), reservation.status()) else { return Err(not_found()) };
    let parts = ReservationParts {
        name,
        reference: &made.reference,
        status,
        buyer_key: made.buyer_key.as_deref(),
        expires_at: reservation.expires_at(),
        shipped_at: reservation.shipped_at(),
        version: reservation.version(),
        times: reservation.times(),
    };
    let lines = made.lines.iter().map(|line| (&line.sku, u64::from(line.units), u64::from(line.units)));
    Ok(ReservationView::new(&parts, lines))
}

/// A reservation: whole, or as little of it as the caller prefers.
fn shown<S: Shop>(request: &Request<'_, S>, status: u16, view: &ReservationView<'_>) -> Reply {
    if request.prefers_minimal() { Reply::minimal(status, &view.minimal()) } else { Reply::json(status, view) }
}

fn show_several<S: Shop>(
    request: &Request<'_, S>,
    status: u16,
    name: &ReservationName,
    accepted: &Accepted,
) -> Result<Reply, Problem> {
    Ok(shown(request, status, &view_of(name, reservation_of(accepted)?)?).of(accepted))
}

fn show_one<S: Shop>(request: &Request<'_, S>, status: u16, sku: &Sku, accepted: &Accepted) -> Result<Reply, Problem> {
    let any::Reply::Inventory(inventory::Reply::External(found)) = &accepted.reply else { return Err(not_found()) };
    let name = ReservationName { id: found.id, sku: Some(sku.clone()) };
    let view = ReservationView::of_external(&name, sku, &found.reservation);
    Ok(shown(request, status, &view).etag(u64::from(found.reservation.changes)).of(accepted))
}

/// Asks the entity that keeps a reservation: the SKU of one line, or the reservation of several.
async fn ask_decider<S: Shop>(
    request: &Request<'_, S>,
    name: &ReservationName,
    of_stock: impl FnOnce(Requester) -> inventory::Command,
    of_several: impl FnOnce(CompactString) -> reservation::Command,
) -> Result<Reply, Problem> {
    let owner = request.principal()?;
    match &name.sku {
        Some(sku) => {
            let command = any::Command::Inventory(of_stock(Requester::Caller(owner)));
            let unknown = known::unknown_unless_seen(&request.context.shop, sku);
            let asking = request.ask(EntityId::Inventory(sku.clone()), command).reject_if_absent(unknown);
            let accepted = asking.send().await?;
            show_one(request, 200, sku, &accepted)
        }
        None => {
            let command = any::Command::Reservation(of_several(owner));
            let asking = request.ask(EntityId::Reservation(name.id), command);
            let accepted = asking.until(Wait::Settled, request.deadline()).send().await?;
            Ok(show_several(request, 200, name, &accepted)?.etag(reservation_of(&accepted)?.version()))
        }
    }
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let name = request.id(ReservationName::parse)?;
    let id = name.id;
    let of_stock = |requester| inventory::Command::ReadExternal { id, requester };
    ask_decider(&request, &name, of_stock, |owner| reservation::Command::Read { owner }).await
}

async fn commit<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: CommitBody = request.read()?;
    if body.shipped == Some(true) {
        end(&request, ExternalEnd::CommitAndShip, reservation::ReservationEnd::CommitAndShip).await
    } else {
        end(&request, ExternalEnd::Commit, reservation::ReservationEnd::Commit).await
    }
}

async fn ship<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    request.read::<EmptyBody>()?;
    end(&request, ExternalEnd::Ship, reservation::ReservationEnd::Ship).await
}

async fn release<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    request.read::<EmptyBody>()?;
    end(&request, ExternalEnd::Release, reservation::ReservationEnd::Release).await
}

/// Commits, releases or ships a reservation. A repetition changes nothing, whatever its key: each happens only once.
async fn end<S: Shop>(
    request: &Request<'_, S>,
    end: ExternalEnd,
    wanted: reservation::ReservationEnd,
) -> Result<Reply, Problem> {
    let name = request.id(ReservationName::parse)?;
    let id = name.id;
    let of_stock = |requester| inventory::Command::EndExternal { id, requester, end };
    ask_decider(request, &name, of_stock, |owner| reservation::Command::End { owner, end: wanted }).await
}

async fn extend<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let name = request.id(ReservationName::parse)?;
    let body: ExtendBody = request.read()?;
    let key = request.body_key()?;
    let hold_s = lines::hold_s(&request, Some(body.hold_s))?;
    let (id, expires_at) = (name.id, request.now.plus_s(hold_s));
    let of_stock = |requester| inventory::Command::ExtendExternal { id, requester, request: key, expires_at };
    ask_decider(&request, &name, of_stock, |owner| reservation::Command::Extend { owner, request: key, expires_at })
        .await
}
