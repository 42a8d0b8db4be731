//! The description of the API: the OpenAPI document, and a page to read and try it.

mod examples;
pub(crate) mod fields;
mod headers;
pub mod openapi;

use crate::core::caller::Access;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Answering, Body, Docs, Route};
use crate::core::service::Shop;
use bytes::Bytes;

/// A row of this resource.
const fn row<S: Shop>(
    path: &'static str,
    handler: for<'a> fn(Request<'a, S>) -> Answering<'a>,
    (id, summary, media): (&'static str, &'static str, &'static str),
) -> Route<S> {
    Route {
        method: "GET",
        path,
        class: PriorityClass::Browsing,
        access: Access::Anyone,
        key: false,
        body: Body::None,
        handler,
        docs: Docs::new(id, "About", summary).answers(&[(200, None)]).media(media),
    }
}

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            row(
                "/openapi.json",
                |request| Box::pin(document(request)),
                ("OpenApi", "This description, as OpenAPI 3.1", "application/json"),
            ),
            row(
                "/docs",
                |_| Box::pin(page("text/html; charset=utf-8", include_str!("docs.html"))),
                ("Docs", "A page to read and try the API", "text/html"),
            ),
            row(
                "/docs/docs.js",
                |_| Box::pin(page("text/javascript; charset=utf-8", include_str!("docs.js"))),
                ("DocsScript", "Its script", "text/javascript"),
            ),
            row(
                "/docs/docs.css",
                |_| Box::pin(page("text/css; charset=utf-8", include_str!("docs.css"))),
                ("DocsStyle", "Its style", "text/css"),
            ),
        ]
    }
}

async fn document<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    Ok(Reply::bytes(200, "application/json", request.context.openapi.clone()).cache("max-age=60"))
}

async fn page(content_type: &'static str, text: &'static str) -> Result<Reply, Problem> {
    // Scripts of this node only, and no request to any other: a key that is typed into the page stays with this node.
    let policy = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    let reply = Reply::bytes(200, content_type, Bytes::from_static(text.as_bytes())).cache("max-age=60");
    Ok(reply.with("content-security-policy", policy).with("x-content-type-options", "nosniff"))
}
