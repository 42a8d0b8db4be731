//! Orders: placed, read, changed, cancelled; and their journal.

mod place;
mod terms;

pub(super) use place::place;
pub(super) use terms::instruction;

use super::callers::Caller;
use super::conventions::if_match;
use super::door::Request;
use super::fingerprint::of_body;
use super::json;
use super::problem::{Code, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::requests::{CancelBody, LineUnitsBody, OrderPatchBody};
use super::seam::{Shop, Unavailable};
use super::view::{OrderView, allowed_words, events_of};
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any::{self, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::order::{CancelReason, Command, LineNumber, LineUnits, Order, Patch};
use doorbuster_domain::time::Timestamp;

/// Under this name an order keeps the other system's id among its pairs; no caller can send it, for keys have no control
/// characters, and it sorts before every name they can.
pub(super) const EXTERNAL_ID: &str = "\u{1}external_id";
/// Decisions read at once for `/events`: an order of the most lines has fewer.
const JOURNAL_MAX: usize = 100_000;

pub(super) fn order_of(accepted: &Accepted) -> Result<&Order, Problem> {
    match accepted.state.as_deref() {
        Some(State::Order(order)) if order.exists() => Ok(order),
        _ => Err(not_found()),
    }
}

pub(super) fn order_id<S>(request: &Request<'_, S>) -> Result<OrderId, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidId).detail(detail);
    let order = OrderId::parse(request.params.first()).map_err(|error| invalid(error.to_string()))?;
    // The low bits number what belongs to an order; an id that has some is no order's.
    if OrderId::of_request(doorbuster_domain::ids::RequestId(order.0)) == order { Ok(order) } else { Err(not_found()) }
}

/// May this caller know of the order? Its own, its token's, or one of its shop.
pub(super) fn may_see(caller: &Caller, order: &Order) -> bool {
    let Some(terms) = order.terms() else { return false };
    let owner = || caller.principal().is_some_and(|principal| principal == terms.owner);
    match caller {
        Caller::Anyone => false,
        Caller::Holder(held) => *held == order.id,
        Caller::Guest(_) => owner(),
        Caller::Seller(key) => {
            let sold_by = |line: &doorbuster_domain::order::Line| {
                line.agreed.as_ref().is_some_and(|agreed| agreed.seller == key.account)
            };
            terms.seller == key.account || order.lines.iter().any(sold_by) || owner()
        }
    }
}

/// An order that the caller may know of; any other is not there.
pub(super) async fn visible<S: Shop>(request: &Request<'_, S>, id: OrderId) -> Result<Accepted, Problem> {
    let accepted = request.ask(EntityId::Order(id), any::Command::Order(Command::Read)).await?;
    if may_see(&request.caller, order_of(&accepted)?) { Ok(accepted) } else { Err(not_found()) }
}

/// Asks an order that the caller may know of, and waits as the caller prefers.
pub(super) async fn ask<S: Shop>(request: &Request<'_, S>, id: OrderId, command: Command) -> Result<Accepted, Problem> {
    let door = &request.api.settings.door;
    let (wait, deadline) = match request.prefer_wait() {
        Some(seconds) if seconds > 0 => (Wait::Settled, request.now.plus_s(seconds)),
        _ => (Wait::Decided, request.now.plus_ms(door.command_timeout_ms)),
    };
    ask_until(request, id, command, wait, deadline).await
}

/// The same, with a wait and a deadline of its own.
pub(super) async fn ask_until<S: Shop>(
    request: &Request<'_, S>,
    id: OrderId,
    command: Command,
    wait: Wait,
    deadline: Timestamp,
) -> Result<Accepted, Problem> {
    let asked = request.ask_patiently(EntityId::Order(id), any::Command::Order(command), wait, deadline).await;
    match asked {
        Err(problem) if problem.code() == Code::WrongState => Err(with_allowed(request, id, problem).await),
        asked => asked,
    }
}

/// A caller who asked for what cannot be done now is told what can.
async fn with_allowed<S: Shop>(request: &Request<'_, S>, id: OrderId, problem: Problem) -> Problem {
    let Ok(accepted) = visible(request, id).await else { return problem };
    match order_of(&accepted) {
        Ok(order) => problem.with("allowed", allowed_words(order, &request.caller)),
        Err(_gone) => problem,
    }
}

pub(super) fn show<S: Shop>(request: &Request<'_, S>, status: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let token = request.api.secret.order_token(order.id);
    let view = OrderView::new(order, &accepted.meta, &request.caller, &token, request.now).ok_or_else(not_found)?;
    Ok(Reply::json(status, &view).etag(accepted.meta.version).of(accepted))
}

/// Units of lines as the domain names them.
pub(super) fn line_units(lines: &[LineUnitsBody]) -> Result<Vec<LineUnits>, Problem> {
    let each = lines.iter().enumerate();
    each.map(|(index, line)| Ok(LineUnits { line: line_number(&line.line.0, index)?, units: line.quantity.0 }))
        .collect()
}

pub(super) fn line_number(id: &str, index: usize) -> Result<LineNumber, Problem> {
    id.parse().map_err(|_none| Problem::field(format!("/lines/{index}/line"), "unknown", "no such line"))
}

pub(super) async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let accepted = visible(&request, id).await?;
    show(&request, 200, &accepted)
}

pub(super) async fn cancel<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: CancelBody = json::read(&request.body)?;
    let command = Command::Cancel {
        request: request.request_key(of_body(&request.body)?)?,
        lines: line_units(body.lines.as_deref().unwrap_or_default())?,
        reason: body.reason.map_or(CancelReason::Customer, |reason| reason.0),
    };
    visible(&request, id).await?;
    let accepted = ask(&request, id, command).await?;
    Ok(show(&request, 200, &accepted)?.waited(request.prefer_wait()))
}

pub(super) async fn patch<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: OrderPatchBody = json::read(&request.body)?;
    let if_version = if_match(&request.headers)?;
    let known = visible(&request, id).await?;
    let patch = patch_of(&request, order_of(&known)?, body)?;
    let command = any::Command::Order(Command::Patch(Box::new(patch)));
    let deadline = request.now.plus_ms(request.api.settings.door.command_timeout_ms);
    let asked = request.ask_until(EntityId::Order(id), command, Wait::Decided, deadline, if_version).await;
    let accepted = match asked {
        Err(problem) if problem.code() == Code::WrongState => return Err(with_allowed(&request, id, problem).await),
        asked => asked?,
    };
    show(&request, 200, &accepted)
}

fn patch_of<S: Shop>(request: &Request<'_, S>, order: &Order, body: OrderPatchBody) -> Result<Patch, Problem> {
    let shop = &request.api.settings.terms;
    let placed = order.terms().ok_or_else(not_found)?;
    let country = body.ship_to.as_ref().map_or(&placed.destination.country, |address| &address.country.0).clone();
    let option = body.shipping_option.as_ref().map(|option| option.0.clone());
    let moved = body.ship_to.is_some() && country != placed.destination.country;
    // Another country may be served otherwise, or not at all.
    let option = option.or_else(|| placed.shipping.as_ref().filter(|_| moved).map(|shipping| shipping.option.clone()));
    let shipping = option.map(|option| terms::shipping(shop, &option, &country, placed.currency)).transpose()?;
    let ship_to = body.ship_to.map(|address| {
        let destination = terms::destination(&address);
        let tax = shop.tax_of(&destination.country);
        (terms::address(address), destination, tax)
    });
    let metadata = body.metadata.map(|metadata| {
        let kept = placed.metadata.iter().filter(|(name, _)| name == EXTERNAL_ID).cloned();
        kept.chain(metadata.0).collect()
    });
    Ok(Patch {
        buyer: body.buyer.map(terms::buyer),
        ship_to,
        bill_to: body.bill_to.map(|address| address.map(terms::address)),
        shipping,
        note: body.note.map(|note| note.map(|note| note.0)),
        metadata,
    })
}

pub(super) async fn events<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    visible(&request, id).await?;
    let read = request.api.shop.history(&EntityId::Order(id), 1, JOURNAL_MAX).await;
    let journal = read.map_err(|error| match error {
        Unavailable::NotServing => Problem::new(Code::Draining).detail("the node is starting or stopping"),
        Unavailable::Failed => Problem::new(Code::Overloaded).detail("the journal cannot be read now"),
    })?;
    let after = request.query.iter().find(|(name, _)| name == "after");
    let skipped = match after {
        None => 0,
        Some((_, number)) => number.parse().map_err(|_none| Problem::new(Code::InvalidCursor))?,
    };
    let mut events = events_of(&journal);
    events.retain(|event| event.number() > skipped);
    Ok(Reply::json(200, &events))
}
