//! Reservations, for a shop that keeps its own cart and checkout: made (alone or by the hundred), read, committed, released, extended.
//!
//! ```text
//! one SKU        ─► its stock: one decision, one event, and the name says where it is (`rsv_…~SKU`)
//! several SKUs   ─► the reservation: an entity of its own, all or none
//! a batch        ─► per SKU one question with all its wishes, all at once; each item answered on its own, in the order of the items
//! ```
//!
//! The caller's `reference` is the key: what is sent again with it is the same reservation. An `Idempotency-Key` may come with it and must
//! then say the same.

mod batch;
mod list;
mod wish;

pub(super) use batch::make_many;
pub(super) use list::list;

use self::wish::{Several, Wanted};
use super::conventions;
use super::door::Request;
use super::fingerprint::of_body;
use super::json;
use super::problem::{Code, Problem};
use super::refusals::{accepted, not_found, of_inventory, of_short, short_line};
use super::reply::Reply;
use super::requests::{EmptyBody, ExtendBody, ReservationBody};
use super::seam::Shop;
use super::view::{ReservationParts, ReservationView};
use compact_str::CompactString;
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_domain::any::{self, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, ReservationName, Sku};
use doorbuster_domain::inventory::{self, Keeper, Party, Promise, PromiseEnd, PromiseWish, Promised};
use doorbuster_domain::reservation::{self, Reservation};

pub(super) async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: ReservationBody = json::read(&request.body)?;
    if request.headers.contains_key("idempotency-key")
        && conventions::idempotency_key(&request.headers)? != body.reference.0
    {
        let detail = "the reference is this request's key: leave Idempotency-Key out, or send the reference";
        return Err(Problem::new(Code::InvalidIdempotencyKey).detail(detail));
    }
    let owner = request.principal()?;
    match wish::read(&request, &owner, body)? {
        Wanted::One(sku, wish) => {
            let (sku, accepted) = promise(&request, sku, wish).await?;
            let (name, promise, accepted) = first_of(sku, accepted)?;
            let sku = name.sku.as_ref().ok_or_else(not_found)?;
            let view = ReservationView::of_promise(&name, sku, &promise);
            Ok(Reply::json(201, &view).location(&wish::location(&name)).of(&accepted))
        }
        Wanted::Several(several) => {
            let (name, accepted) = Box::pin(make_several(&request, several)).await?;
            Ok(show_several(201, &name, &accepted)?.location(&wish::location(&name)))
        }
    }
}

async fn promise<S: Shop>(request: &Request<'_, S>, sku: Sku, wish: PromiseWish) -> Result<(Sku, Accepted), Problem> {
    let ranking = wish::ranking(request, &sku);
    let command = inventory::Command::Promise { keeper: Keeper::Stock, ranking, wishes: vec![wish] };
    let accepted = request.ask(EntityId::Inventory(sku.clone()), any::Command::Inventory(command)).await?;
    Ok((sku, accepted))
}

/// The answer to the one wish of a command, taken out of what was accepted.
fn first_of(sku: Sku, mut accepted: Accepted) -> Result<(ReservationName, Promise, Accepted), Problem> {
    let any::Reply::Inventory(inventory::Reply::Promises(answers)) = &mut accepted.reply else {
        return Err(not_found());
    };
    match answers.pop() {
        Some(Ok(promised)) => {
            let Promised { id, promise, repeated } = *promised;
            accepted.repeated = repeated;
            Ok((ReservationName { id, sku: Some(sku) }, promise, accepted))
        }
        Some(Err(refusal)) => Err(problem_of(&sku, &refusal)),
        None => Err(not_found()),
    }
}

/// What a SKU refused, with the line that the contract shows.
fn problem_of(sku: &Sku, refusal: &inventory::Refusal) -> Problem {
    let problem = of_inventory(refusal);
    match refusal {
        inventory::Refusal::SoldOut { wanted, available, all_reserved } => {
            problem.with("lines", [short_line(sku.as_str(), *wanted, *available, *all_reserved)])
        }
        _ => problem,
    }
}

async fn make_several<S: Shop>(
    request: &Request<'_, S>,
    several: Several,
) -> Result<(ReservationName, Accepted), Problem> {
    let id = several.made.id;
    let command = any::Command::Reservation(reservation::Command::Make(Box::new(several.made)));
    let deadline = request.now.plus_ms(request.api.settings.door.order_wait_ms);
    let entity = EntityId::Reservation(id);
    let accepted = request.ask_until(entity, command, Wait::Held, deadline, None).await?;
    let made = reservation_of(&accepted)?;
    if made.status().is_none() {
        let problem = of_short(made.lines());
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

/// A reservation of several lines as it is shown.
fn view_of<'a>(name: &'a ReservationName, reservation: &'a Reservation) -> Result<ReservationView<'a>, Problem> {
    let (Some(made), Some(status)) = (reservation.made(), reservation.status()) else { return Err(not_found()) };
    let parts = ReservationParts {
        name,
        reference: &made.reference,
        status,
        buyer_key: made.buyer_key.as_deref(),
        expires_at: reservation.expires_at(),
        version: reservation.version(),
        times: reservation.times(),
    };
    let lines = made.lines.iter().map(|line| (&line.sku, u64::from(line.units), u64::from(line.units)));
    Ok(ReservationView::new(&parts, lines))
}

fn show_several(status: u16, name: &ReservationName, accepted: &Accepted) -> Result<Reply, Problem> {
    Ok(Reply::json(status, &view_of(name, reservation_of(accepted)?)?).of(accepted))
}

fn show_one(status: u16, sku: &Sku, accepted: &Accepted) -> Result<Reply, Problem> {
    let any::Reply::Inventory(inventory::Reply::Promise(promised)) = &accepted.reply else { return Err(not_found()) };
    let name = ReservationName { id: promised.id, sku: Some(sku.clone()) };
    let view = ReservationView::of_promise(&name, sku, &promised.promise);
    Ok(Reply::json(status, &view).etag(u64::from(promised.promise.changes)).of(accepted))
}

fn name_in<S: Shop>(request: &Request<'_, S>) -> Result<ReservationName, Problem> {
    ReservationName::parse(request.params.first())
        .map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}

/// Asks whoever keeps the reservation, in the words of each.
async fn ask_keeper<S: Shop>(
    request: &Request<'_, S>,
    name: &ReservationName,
    of_stock: impl FnOnce(Party) -> inventory::Command,
    of_several: impl FnOnce(CompactString) -> reservation::Command,
) -> Result<Reply, Problem> {
    let owner = request.principal()?;
    match &name.sku {
        Some(sku) => {
            let command = any::Command::Inventory(of_stock(Party::Caller(owner)));
            let accepted = request.ask(EntityId::Inventory(sku.clone()), command).await?;
            show_one(200, sku, &accepted)
        }
        None => {
            let command = any::Command::Reservation(of_several(owner));
            let deadline = request.now.plus_ms(request.api.settings.door.command_timeout_ms);
            let entity = EntityId::Reservation(name.id);
            let accepted = request.ask_until(entity, command, Wait::Settled, deadline, None).await?;
            Ok(show_several(200, name, &accepted)?.etag(reservation_of(&accepted)?.version()))
        }
    }
}

pub(super) async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let name = name_in(&request)?;
    let id = name.id;
    let of_stock = |party| inventory::Command::ReadPromise { id, party };
    ask_keeper(&request, &name, of_stock, |owner| reservation::Command::Read { owner }).await
}

pub(super) async fn commit<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    end(request, PromiseEnd::Commit, reservation::Wish::Commit).await
}

pub(super) async fn release<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    end(request, PromiseEnd::Release, reservation::Wish::Release).await
}

/// Said twice it is done once, whatever the key: a reservation ends only once.
async fn end<S: Shop>(request: Request<'_, S>, end: PromiseEnd, wish: reservation::Wish) -> Result<Reply, Problem> {
    let name = name_in(&request)?;
    json::read::<EmptyBody>(&request.body)?;
    let id = name.id;
    let of_stock = |party| inventory::Command::EndPromise { id, party, end };
    ask_keeper(&request, &name, of_stock, |owner| reservation::Command::End { owner, wish }).await
}

pub(super) async fn extend<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let name = name_in(&request)?;
    let body: ExtendBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    let hold_s = wish::hold_s(&request, Some(body.hold_s), "")?;
    let (id, expires_at) = (name.id, request.now.plus_s(hold_s));
    let of_stock = |party| inventory::Command::ExtendPromise { id, party, request: key, expires_at };
    ask_keeper(&request, &name, of_stock, |owner| reservation::Command::Extend { owner, request: key, expires_at })
        .await
}

/// Asks as the caller, and takes any answer.
async fn answer_to<S: Shop>(request: &Request<'_, S>, entity: EntityId, command: any::Command) -> Answer {
    let deadline = request.now.plus_ms(request.api.settings.door.command_timeout_ms);
    let (by, wait, if_version, reject_if_absent) = (request.caller.by(), Wait::Decided, None, None);
    request.api.ask(Ask { entity, command, by, if_version, wait, deadline, reject_if_absent }).await
}

/// The problem that an answer is.
fn no_answer(answer: Answer) -> Problem {
    accepted(answer).err().unwrap_or_else(not_found)
}
