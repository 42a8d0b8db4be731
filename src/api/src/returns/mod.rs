//! Returns of an order: requested, approved or rejected, received.

mod bodies;
mod list;
pub(crate) mod views;

pub use bodies::{ReceiveBody, ReceivedLineBody, RejectBody, ReturnBody, ReturnLineBody};
pub use views::ReturnView;

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
use crate::core::types::{EmptyBody, Id};
use crate::orders::{ask, line_number, made, not_empty, order_id, order_of, parts, visible};
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::ids::ReturnId;
use doorbuster_domain::money::Money;
use doorbuster_domain::order::{Command, Made, ReceivedLine, ReturnLine};

const ORDERS: Access = Access::Scope(Scope::Orders);

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "POST",
                path: "/v1/orders/{id}/returns",
                class: PriorityClass::Cart,
                access: Access::OrderParty,
                key: true,
                body: Body::Json(schema_of::<ReturnBody>),
                handler: |request| Box::pin(make(request)),
                docs: Docs::new("ReturnOrder", "Fulfilment", "Request a return of units")
                    .answers(&[(201, Some(schema_of::<ReturnView>))])
                    .codes(&[Code::WrongState, Code::LimitExceeded, Code::ReturnWindowClosed]),
            },
            Route {
                method: "GET",
                path: "/v1/returns",
                class: PriorityClass::Browsing,
                access: ORDERS,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(list::list(request)),
                docs: Docs::new(
                    "ListReturns",
                    "Fulfilment",
                    "The returns that the caller's account sees, newest first",
                )
                .answers(&[(200, Some(schema_of::<ListView<ReturnView>>))])
                .query(parts::QUERY)
                .indexed(),
            },
            Route {
                method: "GET",
                path: "/v1/returns/{id}",
                class: PriorityClass::Cart,
                access: Access::OrderParty,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetReturn", "Fulfilment", "One return")
                    .answers(&[(200, Some(schema_of::<ReturnView>))]),
            },
            Route {
                method: "POST",
                path: "/v1/returns/{id}/approve",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::JsonOrNothing(schema_of::<EmptyBody>),
                handler: |request| Box::pin(approve(request)),
                docs: Docs::new("ApproveReturn", "Fulfilment", "Approve a return")
                    .answers(&[(200, Some(schema_of::<ReturnView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/returns/{id}/reject",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::Json(schema_of::<RejectBody>),
                handler: |request| Box::pin(reject(request)),
                docs: Docs::new("RejectReturn", "Fulfilment", "Reject a return")
                    .answers(&[(200, Some(schema_of::<ReturnView>))])
                    .codes(&[Code::WrongState]),
            },
            Route {
                method: "POST",
                path: "/v1/returns/{id}/receive",
                class: PriorityClass::Cart,
                access: ORDERS,
                key: true,
                body: Body::Json(schema_of::<ReceiveBody>),
                handler: |request| Box::pin(receive(request)),
                docs: Docs::new("ReceiveReturn", "Fulfilment", "Units came back; they are refunded")
                    .answers(&[(200, Some(schema_of::<ReturnView>))])
                    .codes(&[Code::WrongState, Code::LimitExceeded, Code::RefundTooLarge, Code::CurrencyMismatch]),
            },
        ]
    }
}

fn show<S: Shop>(request: &Request<'_, S>, status: u16, number: u16, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    let who = request.who();
    let sight = order.sight(&who).ok_or_else(not_found)?;
    let one = order.return_(number).filter(|one| sight.has_return(one)).ok_or_else(not_found)?;
    Ok(Reply::json(status, &ReturnView::new(order, one, &sight)).of(accepted))
}

async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = order_id(&request)?;
    let body: ReturnBody = request.read()?;
    let key = request.body_key()?;
    not_empty(&body.lines)?;
    let mut lines = Vec::with_capacity(body.lines.len());
    for (index, line) in body.lines.into_iter().enumerate() {
        let reason = line.reason.map(|text| text.0).unwrap_or_default();
        let refund = match line.refund {
            Some(Id(refund)) if refund.order() == id => Some(refund.number()),
            Some(_) => {
                let pointer = format!("/lines/{index}/refund");
                return Err(Problem::field(pointer, "unknown", "is no refund of this order"));
            }
            None => None,
        };
        lines.push(ReturnLine { line: line_number(&line.line.0, index)?, units: line.quantity.0, reason, refund });
    }
    visible(&request, id).await?;
    let accepted = ask(&request, id, Command::RequestReturn { request: key, lines }).await?;
    let Some(Made::Return(number)) = made(&accepted) else { return Err(not_found()) };
    let location = format_compact!("/v1/returns/{}", ReturnId::of(id, number));
    Ok(show(&request, 201, number, &accepted)?.location(&location))
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ReturnId::parse)?;
    let accepted = visible(&request, id.order()).await?;
    Ok(show(&request, 200, id.number(), &accepted)?.etag(accepted.meta.version))
}

async fn approve<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ReturnId::parse)?;
    request.read::<EmptyBody>()?;
    let command = Command::ApproveReturn { request: request.body_key()?, number: id.number() };
    change(&request, id, command).await
}

async fn reject<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ReturnId::parse)?;
    let body: RejectBody = request.read()?;
    let command = Command::RejectReturn { request: request.body_key()?, number: id.number(), reason: body.reason.0 };
    change(&request, id, command).await
}

async fn receive<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(ReturnId::parse)?;
    let body: ReceiveBody = request.read()?;
    let key = request.body_key()?;
    not_empty(&body.lines)?;
    let mut lines = Vec::with_capacity(body.lines.len());
    for (index, line) in body.lines.into_iter().enumerate() {
        lines.push(ReceivedLine {
            line: line_number(&line.line.0, index)?,
            units: line.quantity.0,
            condition: line.condition.0,
            restock: line.restock,
            money: line.amount.map(Money::from),
        });
    }
    change(&request, id, Command::ReceiveReturn { request: key, number: id.number(), lines }).await
}

async fn change<S: Shop>(request: &Request<'_, S>, id: ReturnId, command: Command) -> Result<Reply, Problem> {
    visible(request, id.order()).await?;
    let accepted = ask(request, id.order(), command).await?;
    show(request, 200, id.number(), &accepted)
}
