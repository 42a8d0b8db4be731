//! Money of an order: pay, capture, refund.

use super::door::Request;
use super::fingerprint::of_body;
use super::json;
use super::orders::{ask, ask_until, instruction, line_units, order_id, order_of, visible};
use super::problem::{Code, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::requests::{CaptureBody, PaymentBody, RefundBody};
use super::seam::Shop;
use super::view::{PaymentView, RefundView};
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::PaymentId;
use doorbuster_domain::money::Money;
use doorbuster_domain::order::{Attempt, Command, Made, Payment, RefundWhat, Reply as Replied};

/// What the order says the request made.
pub(super) fn made(accepted: &Accepted) -> Option<Made> {
    match &accepted.reply {
        any::Reply::Order(Replied::Made(made)) => Some(*made),
        _ => None,
    }
}

fn show<S: Shop>(request: &Request<'_, S>, status: u16, number: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let payment = order.payment(number).ok_or_else(not_found)?;
    Ok(Reply::json(status, &PaymentView::new(order, payment, request.now)).of(accepted))
}

pub(super) async fn pay<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: PaymentBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    let instruction = instruction(&request.api.settings.terms, body, "")?;
    visible(&request, id).await?;
    let door = &request.api.settings.door;
    let preferred = request.prefer_wait();
    let (wait, deadline) = match preferred {
        None => (Wait::Settled, request.now.plus_ms(door.order_wait_ms)),
        Some(0) => (Wait::Decided, request.now.plus_ms(door.command_timeout_ms)),
        Some(seconds) => (Wait::Settled, request.now.plus_s(seconds)),
    };
    let command = Command::Pay { request: key, instruction };
    let accepted = ask_until(&request, id, command, wait, deadline).await?;
    let Some(Made::Payment(number)) = made(&accepted) else { return Err(not_found()) };
    let settled = order_of(&accepted)?.payment(number).is_some_and(is_told);
    let location = format_compact!("/v1/payments/{}", PaymentId::of(id, number));
    let reply = show(&request, if settled { 201 } else { 202 }, number, &accepted)?.location(&location);
    let reply = if settled { reply } else { reply.retry_after(door.retry_after_s) };
    Ok(reply.waited(preferred))
}

/// Is it known what the shopper has to know: yes, no, or what to do?
fn is_told(payment: &Payment) -> bool {
    payment.settled() || matches!(payment.attempt, Attempt::RequiresAction(_))
}

pub(super) async fn capture<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: CaptureBody = json::read(&request.body)?;
    let command = Command::Capture {
        request: request.request_key(of_body(&request.body)?)?,
        amount: body.amount.map(Money::from),
    };
    visible(&request, id).await?;
    let accepted = ask(&request, id, command).await?;
    let Some(Made::Capture { payment, .. }) = made(&accepted) else { return Err(not_found()) };
    Ok(show(&request, 201, payment, &accepted)?.waited(request.prefer_wait()))
}

pub(super) async fn refund<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: RefundBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    let what = match (&body.lines, body.amount) {
        (Some(_), Some(_)) => return Err(Problem::field("", "invalid_value", "either lines or amount")),
        (None, Some(amount)) if amount.amount.0 == 0 => {
            return Err(Problem::field("/amount/amount", "out_of_range", "must not be 0"));
        }
        (None, Some(amount)) => RefundWhat::Amount(amount.into()),
        (Some(lines), None) if lines.is_empty() => {
            return Err(Problem::field("/lines", "out_of_range", "must not be empty"));
        }
        (Some(lines), None) => {
            RefundWhat::Lines { lines: line_units(lines)?, shipping: body.shipping.unwrap_or(false) }
        }
        (None, None) => RefundWhat::Everything,
    };
    visible(&request, id).await?;
    let command = Command::Refund { request: key, what, reason: body.reason.0 };
    let accepted = ask(&request, id, command).await?;
    let Some(Made::Refund(number)) = made(&accepted) else { return Err(not_found()) };
    let order = order_of(&accepted)?;
    let refund = order.refund(number).ok_or_else(not_found)?;
    Ok(Reply::json(201, &RefundView::new(order, refund)).of(&accepted).waited(request.prefer_wait()))
}

pub(super) async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = PaymentId::parse(request.params.first())
        .map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))?;
    let accepted = visible(&request, id.order()).await?;
    Ok(show(&request, 200, id.number(), &accepted)?.etag(accepted.meta.version))
}
