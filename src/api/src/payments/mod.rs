//! Payments of an order: attempts to pay, captures, refunds, and the webhooks of providers.

mod bodies;
mod list;
mod provider_page;
mod unmatched;
pub(crate) mod views;
mod webhooks;

pub use bodies::{CaptureBody, MarkBody, RefundBody};
pub use unmatched::UnmatchedWebhooks;
pub use views::{PaymentErrorView, PaymentView, RefundView};

use crate::core::caller::Access;
use crate::core::keys::Scope;
use crate::core::page::ListView;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use crate::core::types::EmptyBody;
use crate::orders::parts;
use crate::orders::{
    PaymentBody, ask, ask_until, instruction, line_units, made, not_empty, order_id, order_of, visible, visible_whole,
    wait_for,
};
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::PaymentId;
use doorbuster_domain::money::Money;
use doorbuster_domain::order::{Attempt, Command, Made, Payment, RefundWhat};

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "POST",
                path: "/v1/orders/{id}/refunds",
                class: PriorityClass::Cart,
                access: Access::Scope(Scope::Payments),
                key: true,
                body: Body::Json(schema_of::<RefundBody>),
                handler: |request| Box::pin(refund(request)),
                docs: Docs::new("RefundOrder", "Orders", "Refund money without a return")
                    .answers(&[(201, Some(schema_of::<RefundView>))])
                    .codes(&[Code::WrongState, Code::RefundTooLarge, Code::LimitExceeded, Code::CurrencyMismatch]),
            },
            Route {
                method: "POST",
                path: "/v1/orders/{id}/captures",
                class: PriorityClass::Completion,
                access: Access::Scope(Scope::Payments),
                key: true,
                body: Body::JsonOrNothing(schema_of::<CaptureBody>),
                handler: |request| Box::pin(capture(request)),
                docs: Docs::new("CaptureOrder", "Orders", "Capture money by hand")
                    .answers(&[(201, Some(schema_of::<PaymentView>))])
                    .codes(&[Code::WrongState, Code::LimitExceeded, Code::CurrencyMismatch]),
            },
            Route {
                method: "POST",
                path: "/v1/orders/{id}/payment",
                class: PriorityClass::Completion,
                access: Access::OrderParty,
                key: true,
                body: Body::Json(schema_of::<PaymentBody>),
                handler: |request| Box::pin(pay(request)),
                docs: Docs::new("PayOrder", "Payments", "Try to pay")
                    .answers(&[(201, Some(schema_of::<PaymentView>)), (202, Some(schema_of::<PaymentView>))])
                    .codes(&[Code::WrongState, Code::LimitExceeded]),
            },
            Route {
                method: "GET",
                path: "/v1/payments",
                class: PriorityClass::Browsing,
                access: Access::Scope(Scope::Payments),
                key: false,
                body: Body::None,
                handler: |request| Box::pin(list::list(request)),
                docs: Docs::new("ListPayments", "Payments", "The attempts to pay, newest first")
                    .answers(&[(200, Some(schema_of::<ListView<PaymentView>>))])
                    .query(parts::QUERY)
                    .indexed(),
            },
            Route {
                method: "GET",
                path: "/v1/payments/{id}",
                class: PriorityClass::Checkout,
                access: Access::OrderParty,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetPayment", "Payments", "One attempt to pay")
                    .answers(&[(200, Some(schema_of::<PaymentView>))]),
            },
            Route {
                method: "POST",
                path: "/v1/payments/{id}/mark_paid",
                class: PriorityClass::Completion,
                access: Access::Scope(Scope::Payments),
                key: true,
                body: Body::Json(schema_of::<MarkBody>),
                handler: |request| Box::pin(mark_paid(request)),
                docs: Docs::new("MarkPaid", "Payments", "The money of a `manual` payment has come")
                    .answers(&[(200, Some(schema_of::<PaymentView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/payments/{id}/void",
                class: PriorityClass::Completion,
                access: Access::Scope(Scope::Payments),
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(void(request)),
                docs: Docs::new(
                    "VoidPayment",
                    "Payments",
                    "Take no more: what is due is waived, the rest of the hold voided",
                )
                .answers(&[(200, Some(schema_of::<PaymentView>))])
                .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/payments/{id}/mark_refunded",
                class: PriorityClass::Completion,
                access: Access::Scope(Scope::Payments),
                key: true,
                body: Body::Json(schema_of::<MarkBody>),
                handler: |request| Box::pin(mark_refunded(request)),
                docs: Docs::new("MarkRefunded", "Payments", "The pending refunds of a `manual` payment were paid out")
                    .answers(&[(200, Some(schema_of::<PaymentView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/providers/{provider}/webhooks",
                class: PriorityClass::Completion,
                access: Access::Provider,
                key: false,
                body: Body::Raw,
                handler: |request| Box::pin(webhooks::receive(request)),
                docs: Docs::new("Webhook", "Payments", "A payment provider reports the outcome of a payment")
                    .answers(&[(200, None)]),
            },
            provider_page::shown(),
            provider_page::submitted(),
        ]
    }
}

fn show<S: Shop>(request: &Request<'_, S>, status: u16, number: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let payment = order.payment(number).ok_or_else(not_found)?;
    Ok(Reply::json(status, &PaymentView::new(order, payment, request.now)).of(accepted))
}

async fn pay<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: PaymentBody = request.read()?;
    let key = request.body_key()?;
    let instruction = instruction(request.shop_settings(), &request.caller, body, "")?;
    visible(&request, id).await?;
    let (wait, deadline) = wait_for(&request, Wait::Settled);
    let command = Command::Pay { request: key, instruction };
    let accepted = ask_until(&request, id, command, wait, deadline).await?;
    let Some(Made::Payment(number)) = made(&accepted) else { return Err(not_found()) };
    let decided = order_of(&accepted)?.payment(number).is_some_and(is_decided);
    let location = format_compact!("/v1/payments/{}", PaymentId::of(id, number));
    let reply = show(&request, if decided { 201 } else { 202 }, number, &accepted)?.location(&location);
    let reply = if decided { reply } else { reply.retry_after(request.settings().retry_after_s) };
    Ok(reply.waited(request.prefer_wait))
}

async fn mark_paid<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(PaymentId::parse)?;
    let body: MarkBody = request.read()?;
    let command = Command::MarkPaid { payment: id.number(), reference: body.reference.0 };
    mark(&request, id, command).await
}

async fn void<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(PaymentId::parse)?;
    request.read::<EmptyBody>()?;
    let key = request.body_key()?;
    mark(&request, id, Command::Void { request: key, payment: id.number() }).await
}

async fn mark_refunded<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(PaymentId::parse)?;
    let body: MarkBody = request.read()?;
    let (key, reference) = (request.body_key()?, body.reference.0);
    mark(&request, id, Command::MarkRefunded { request: key, payment: id.number(), reference }).await
}

async fn mark<S: Shop>(request: &Request<'_, S>, id: PaymentId, command: Command) -> Result<Reply, Problem> {
    visible(request, id.order()).await?;
    let (wait, deadline) = wait_for(request, Wait::Settled);
    let accepted = ask_until(request, id.order(), command, wait, deadline).await?;
    Ok(show(request, 200, id.number(), &accepted)?.waited(request.prefer_wait))
}

/// Is the outcome known, or does the shopper have to act?
fn is_decided(payment: &Payment) -> bool {
    payment.settled() || matches!(payment.attempt, Attempt::RequiresAction(_))
}

async fn capture<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: CaptureBody = request.read()?;
    let command = Command::Capture { request: request.body_key()?, amount: body.amount.map(Money::from) };
    visible(&request, id).await?;
    let accepted = ask(&request, id, command).await?;
    let Some(Made::Capture { payment, .. }) = made(&accepted) else { return Err(not_found()) };
    Ok(show(&request, 201, payment, &accepted)?.waited(request.prefer_wait))
}

async fn refund<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: RefundBody = request.read()?;
    let key = request.body_key()?;
    let what = match (&body.lines, body.amount) {
        (Some(_), Some(_)) => return Err(Problem::field("", "invalid_value", "must not have both lines and amount")),
        (None, Some(amount)) if amount.amount.0 == 0 => {
            return Err(Problem::field("/amount/amount", "out_of_range", "must not be 0"));
        }
        (None, Some(amount)) => RefundWhat::Amount(amount.into()),
        (Some(lines), None) => {
            not_empty(lines)?;
            RefundWhat::Lines { lines: line_units(lines)?, shipping: body.shipping.unwrap_or(false) }
        }
        (None, None) => RefundWhat::Everything,
    };
    visible(&request, id).await?;
    let command = Command::Refund { request: key, what, reason: body.reason.0, seller: None };
    let accepted = ask(&request, id, command).await?;
    let Some(Made::Refund(number)) = made(&accepted) else { return Err(not_found()) };
    let order = order_of(&accepted)?;
    let refund = order.refund(number).ok_or_else(not_found)?;
    let who = request.who();
    let is_whole = order.sight(&who).is_some_and(|sight| sight.group.is_none());
    Ok(Reply::json(201, &RefundView::new(order, refund, is_whole)).of(&accepted).waited(request.prefer_wait))
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(PaymentId::parse)?;
    let accepted = visible_whole(&request, id.order()).await?;
    Ok(show(&request, 200, id.number(), &accepted)?.etag(accepted.meta.version))
}
