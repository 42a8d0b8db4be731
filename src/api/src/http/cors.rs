//! Requests of pages of other origins (CORS): the listed origins may read the answers; a browser's question beforehand is answered here.
//!
//! ```text
//! OPTIONS, Origin, Access-Control-Request-Method ──► listed? ──► 204 with what the path allows     not listed: 403
//! anything else with a listed Origin ──► the route ──► its answer, with Access-Control-Allow-Origin
//! ```
//!
//! Pages send keys and tokens themselves: cookies are not allowed to travel, so no page of another origin acts as a guest without its token.

use crate::core::problem::{Code, Problem};
use crate::core::reply::Reply;
use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use warp::reply::Response;

/// Request headers that a page may send.
const ALLOWED: &str =
    "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, On-Behalf-Of, Prefer, X-Request-Id";
/// Headers of an answer that a page may read beside those that it always may.
const EXPOSED: &str =
    "Doorbuster-Seq, ETag, Idempotency-Replayed, Link, Location, Preference-Applied, Retry-After, X-Request-Id";
/// Seconds for which a browser keeps the answer to its question.
const MAX_AGE_S: &str = "600";

/// The origins whose pages may read answers.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    pub(super) const fn new(origins: Vec<String>) -> Self {
        Self { origins }
    }

    /// The origin of a request, if it is listed.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let origin = headers.get(ORIGIN)?;
        self.origins.iter().any(|listed| origin.as_bytes() == listed.as_bytes()).then(|| origin.clone())
    }

    /// Does a browser ask what it may send? Nobody is asked where no origin is listed.
    pub(super) fn is_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        !self.origins.is_empty()
            && *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a browser's question about a path with these methods.
    ///
    /// # Errors
    /// 403 for an origin that is not listed.
    pub(super) fn preflight(&self, headers: &HeaderMap, methods: &[&str]) -> Result<Reply, Problem> {
        if self.origin(headers).is_none() {
            return Err(Problem::new(Code::ForeignOrigin).detail("the origin is not among api.cors_origins"));
        }
        let reply = Reply::empty(204).with("access-control-allow-methods", &methods.join(", "));
        let reply = reply.with("access-control-allow-headers", ALLOWED);
        Ok(reply.with("access-control-max-age", MAX_AGE_S))
    }

    /// Lets the page of a listed origin read an answer. Caches keep the answers for each origin apart.
    pub(super) fn expose(&self, response: &mut Response, origin: Option<HeaderValue>) {
        if self.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}
