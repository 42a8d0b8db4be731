//! A successful answer: a resource as JSON, with its headers.

use super::etag;
use super::view::MinimalView;
use bytes::Bytes;
use compact_str::{CompactString, format_compact};
use doorbuster_actors::ask::Accepted;
use futures_util::{FutureExt, Stream};
use http_body_util::{BodyExt, Collected};
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use serde::Serialize;
use warp::reply::Response;

static SEQ: HeaderName = HeaderName::from_static("doorbuster-seq");
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// First size of a body's buffer: an order of one line fits, which is the most frequent answer of a sale.
const BODY_BYTES: usize = 3_072;

/// An answer under construction.
#[derive(Debug)]
pub struct Reply {
    response: Response,
    /// Does it show what changes without its version, such as stock or today's prices?
    is_live: bool,
}

impl Reply {
    /// A resource as JSON.
    ///
    /// # Panics
    /// When the resource has a map whose keys are not texts; no view has one.
    #[must_use]
    pub fn json(status: u16, resource: &impl Serialize) -> Self {
        let mut body = Vec::with_capacity(BODY_BYTES);
        serde_json::to_writer(&mut body, resource)
            .expect("views are texts, whole numbers, lists and maps keyed by text");
        Self::bytes(status, "application/json", body.into())
    }

    /// A body that is serialized already.
    #[must_use]
    pub fn bytes(status: u16, content_type: &'static str, body: Bytes) -> Self {
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { response, is_live: false }
    }

    /// A body that is made while it is sent. It is cut off when the connection ends.
    #[must_use]
    pub fn stream<E>(
        content_type: &'static str,
        parts: impl Stream<Item = Result<Bytes, E>> + Send + Sync + 'static,
    ) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut response = warp::reply::Reply::into_response(warp::reply::stream(parts));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { response, is_live: true }
    }

    /// No body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::NO_CONTENT);
        Self { response, is_live: false }
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    /// Sets `ETag` to the version of the resource.
    #[must_use]
    pub fn etag(self, version: u64) -> Self {
        self.header(ETAG, &etag::of_version(version))
    }

    /// It shows what changes without its version, so no version makes it superfluous.
    #[must_use]
    pub const fn live(mut self) -> Self {
        self.is_live = true;
        self
    }

    /// 304 instead, if the caller has this version already. `known`: its `If-None-Match` (RFC 9110, 13.1.2). The tag of the 304 is the one that
    /// the caller named, in whose coding it has the answer.
    #[must_use]
    pub fn unless_known(mut self, known: &HeaderValue) -> Self {
        let Some(tag) = self.response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()) else { return self };
        let version = etag::version(tag);
        let tags = known.to_str().unwrap_or_default().split(',').map(str::trim);
        let mut strong = tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
        let named = strong.find(|tag| *tag == "*" || (version.is_some() && etag::version(tag) == version));
        let Some(named) = named.filter(|_| self.response.status() == StatusCode::OK && !self.is_live) else {
            return self;
        };
        if named != "*" {
            self = self.header(ETAG, named);
        }
        *self.response.status_mut() = StatusCode::NOT_MODIFIED;
        *self.response.body_mut() = Bytes::new().into();
        self.response.headers_mut().remove(CONTENT_TYPE);
        self
    }

    /// Keeps it out of caches that are not its caller's own, unless it says otherwise.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        self
    }

    /// Sets `Location` to the path of the resource.
    #[must_use]
    pub fn location(self, path: &str) -> Self {
        self.header(LOCATION, path)
    }

    /// Sets `Retry-After`.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(RETRY_AFTER, &format_compact!("{seconds}"))
    }

    /// Sets `Doorbuster-Seq`, and `Idempotency-Replayed` if the answer repeats an earlier one.
    #[must_use]
    pub fn of(self, accepted: &Accepted) -> Self {
        let reply = self.header(SEQ.clone(), &format_compact!("{}-{}", accepted.shard, accepted.seq));
        if accepted.repeated { reply.header(REPLAYED.clone(), "true") } else { reply }
    }

    /// What is left of a resource where the caller prefers that (`Prefer: return=minimal`).
    #[must_use]
    pub fn minimal(status: u16, resource: &MinimalView) -> Self {
        Self::json(status, resource).applied("return=minimal")
    }

    /// Sets `Preference-Applied` if the request had `Prefer: wait`.
    #[must_use]
    pub fn waited(self, seconds: Option<u64>) -> Self {
        match seconds {
            Some(seconds) => self.applied(&format_compact!("wait={seconds}")),
            None => self,
        }
    }

    /// Adds a preference to `Preference-Applied`.
    fn applied(mut self, preference: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(preference) {
            self.response.headers_mut().append(PREFERENCE_APPLIED.clone(), value);
        }
        self
    }

    /// Names the next page (RFC 8288), for a list that is a bare array.
    #[must_use]
    pub fn next_page(self, link: &str) -> Self {
        self.header(LINK, link)
    }

    /// Sets a cookie.
    #[must_use]
    pub fn cookie(self, cookie: &CompactString) -> Self {
        self.header(SET_COOKIE, cookie)
    }

    /// Sets `Cache-Control`.
    #[must_use]
    pub fn cache(self, policy: &str) -> Self {
        self.header(CACHE_CONTROL, policy)
    }

    /// Sets another header.
    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        self.header(HeaderName::from_static(name), value)
    }

    /// The number of bytes of its body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    /// Its body; `None`: it is made while it is sent.
    #[must_use]
    pub fn into_bytes(self) -> Option<Bytes> {
        let collected = self.response.into_body().collect().now_or_never()?;
        collected.ok().map(Collected::to_bytes)
    }

    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response {
        self.response
    }
}
