//! The page on which a shopper approves a payment with the provider inside the process, where there is one.
//!
//! No part of the API: a provider that is elsewhere has such pages on its own host.

use crate::core::caller::Access;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Handler, Route};
use crate::core::service::{Page, PageRequest, Shop};

/// Where it is.
const PATH: &str = "/simulated-provider/actions/{reference}";

const fn row<S: Shop>(
    method: &'static str,
    body: Body,
    handler: Handler<S>,
    id: &'static str,
    summary: &'static str,
) -> Route<S> {
    let docs =
        Docs::new(id, "Payments", summary).answers(&[(200, None), (303, None)]).codes(&[Code::ForeignOrigin]).page();
    let (class, access) = (PriorityClass::Completion, Access::Anyone);
    Route { method, path: PATH, class, access, key: false, body, handler, docs }
}

/// The page.
pub(super) const fn shown<S: Shop>() -> Route<S> {
    let handler: Handler<S> = |request| Box::pin(show(request));
    row("GET", Body::None, handler, "ProviderPage", "The page of the payment provider inside the process")
}

/// Its form.
pub(super) const fn submitted<S: Shop>() -> Route<S> {
    let handler: Handler<S> = |request| Box::pin(submit(request));
    row("POST", Body::Raw, handler, "ProviderForm", "The form of that page")
}

async fn show<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    answer(&request, None).await
}

async fn submit<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    answer(&request, Some(&request.body)).await
}

async fn answer<S: Shop>(request: &Request<'_, S>, posted: Option<&[u8]>) -> Result<Reply, Problem> {
    let asked = PageRequest { reference: request.params.first(), headers: &request.headers, posted };
    let Some(Page { status, headers, html }) = request.context.shop.provider_page(asked).await else {
        return Err(not_found());
    };
    let reply = Reply::bytes(status, "text/html; charset=utf-8", html.into());
    Ok(headers.iter().fold(reply, |reply, (name, value)| reply.with(name, value)))
}
