//! Problems: every error answer of the API by RFC 9457. Each code is a row of one table, which alone has its status.
//!
//! ```text
//! domain Refusal ─┐
//! Answer ─────────┼──► Problem { code, detail, extra } ──► status, retry, Retry-After, JSON
//! bad request ────┘
//! ```

use bytes::Bytes;
use compact_str::CompactString;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Write as _;
use warp::reply::Response;

/// What a client may do after a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Nothing: the same request will be refused again.
    Never,
    /// Send the same request with the same key again.
    SameKey,
    /// Change the request, and send it with a new key.
    NewKey,
    /// Try again later: the state may change.
    Later,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $code:literal, $title:literal, $retry:ident;)+) => {
        /// The stable code of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $( $(#[$doc])* #[doc = $title] $name ),+ }

        impl Code {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            const fn row(self) -> (u16, &'static str, &'static str, Retry) {
                match self { $( Self::$name => ($status, $code, $title, Retry::$retry) ),+ }
            }
        }
    };
}

codes! {
    MalformedRequest = 400, "malformed_request", "Malformed request", NewKey;
    MalformedJson = 400, "malformed_json", "Malformed JSON", NewKey;
    InvalidId = 400, "invalid_id", "Invalid id", NewKey;
    InvalidCursor = 400, "invalid_cursor", "Invalid cursor", NewKey;
    MissingIdempotencyKey = 400, "missing_idempotency_key", "Missing Idempotency-Key", NewKey;
    InvalidIdempotencyKey = 400, "invalid_idempotency_key", "Invalid Idempotency-Key", NewKey;
    Unauthenticated = 401, "unauthenticated", "Unauthenticated", Never;
    MissingScope = 403, "missing_scope", "Missing scope", Never;
    ForeignOrigin = 403, "foreign_origin", "Foreign origin", Never;
    NotFound = 404, "not_found", "Not found", Never;
    MethodNotAllowed = 405, "method_not_allowed", "Method not allowed", Never;
    RequestTimeout = 408, "request_timeout", "Request timeout", SameKey;
    SoldOut = 409, "sold_out", "Sold out", Later;
    PriceChanged = 409, "price_changed", "Price changed", NewKey;
    TotalChanged = 409, "total_changed", "Total changed", NewKey;
    ReservationExpired = 409, "reservation_expired", "Reservation expired", NewKey;
    CartFrozen = 409, "cart_frozen", "Cart frozen", Later;
    AlreadyOrdered = 409, "already_ordered", "Already ordered", Never;
    WrongState = 409, "wrong_state", "Wrong state", Never;
    NameTaken = 409, "name_taken", "Name taken", NewKey;
    UnitsReserved = 409, "promised", "Promised to orders", Later;
    StaleVersion = 412, "stale_version", "Stale version", NewKey;
    NotAcceptable = 406, "not_acceptable", "Not acceptable", NewKey;
    BodyTooLarge = 413, "body_too_large", "Body too large", NewKey;
    UriTooLong = 414, "uri_too_long", "URI too long", NewKey;
    UnsupportedMediaType = 415, "unsupported_media_type", "Unsupported media type", NewKey;
    Invalid = 422, "invalid", "Invalid", NewKey;
    LimitExceeded = 422, "limit_exceeded", "Limit exceeded", NewKey;
    IdempotencyKeyReused = 422, "idempotency_key_reused", "Idempotency-Key reused", NewKey;
    AmountOverflow = 422, "amount_overflow", "Amount overflow", NewKey;
    CurrencyMismatch = 422, "currency_mismatch", "Currency mismatch", NewKey;
    NotDeliverable = 422, "not_deliverable", "Not deliverable", NewKey;
    ReturnWindowClosed = 422, "return_window_closed", "Return window closed", Never;
    RefundTooLarge = 422, "refund_too_large", "Refund too large", NewKey;
    TooManyRequests = 429, "too_many_requests", "Too many requests", SameKey;
    HeadTooLarge = 431, "head_too_large", "Head too large", NewKey;
    /// A defect of the node; it binds no key.
    Internal = 500, "internal", "Internal error", SameKey;
    Overloaded = 503, "overloaded", "Overloaded", SameKey;
    Starting = 503, "starting", "Starting", SameKey;
    Draining = 503, "draining", "Draining", SameKey;
    SetAside = 503, "set_aside", "Set aside", SameKey;
    OutcomeUnknown = 503, "outcome_unknown", "Outcome unknown", SameKey;
}

impl Code {
    /// The code in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The HTTP status as a number.
    #[must_use]
    pub const fn status_number(self) -> u16 {
        self.row().0
    }
}

/// One error of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901).
    pub pointer: String,
    /// Code for programs: `missing_field`, `unknown_field`, `wrong_type`, `out_of_range`, `too_long`, `invalid_value`, `card_number`.
    pub code: Cow<'static, str>,
    /// Message for people.
    pub message: String,
}

/// A problem with its details.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    code: Code,
    detail: String,
    retry: Retry,
    retry_after_s: Option<u32>,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    instance: Option<CompactString>,
}

impl Problem {
    /// A problem of this code. Those of 429 and 503 have a `Retry-After` of one second unless another is set.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let (status, _, _, retry) = code.row();
        Self(Box::new(Inner {
            code,
            detail: String::new(),
            retry,
            retry_after_s: matches!(status, 429 | 503).then_some(1),
            errors: Vec::new(),
            extra: Map::new(),
            headers: Vec::new(),
            instance: None,
        }))
    }

    /// 422 `invalid` with one error.
    #[must_use]
    pub fn field(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Invalid).errors(vec![FieldError {
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
        }])
    }

    /// Sets the explanation for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// Sets the errors of the body.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Sets `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Sets another advice than the code's own.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds a field of this problem. A value that cannot be written as JSON is left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extra.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds a header of this problem, such as `Allow`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// Marks it as the repeated answer to an earlier request with the same key.
    #[must_use]
    pub fn replayed(self) -> Self {
        self.header(HeaderName::from_static("idempotency-replayed"), "true")
    }

    /// Names the request that met it.
    #[must_use]
    pub fn instance(mut self, request: &str) -> Self {
        self.0.instance = Some(request.into());
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The body, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let inner = &self.0;
        let (status, code, title, _) = inner.code.row();
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:doorbuster:problem:{code}").into());
        body.insert("title".into(), title.into());
        body.insert("status".into(), status.into());
        body.insert("detail".into(), if inner.detail.is_empty() { title.into() } else { inner.detail.clone().into() });
        if let Some(instance) = &inner.instance {
            body.insert("instance".into(), instance.as_str().into());
        }
        body.insert("code".into(), code.into());
        body.insert("retry".into(), serde_json::to_value(inner.retry).unwrap_or_default());
        body.insert("retry_after_s".into(), inner.retry_after_s.into());
        body.insert("errors".into(), serde_json::to_value(&inner.errors).unwrap_or_default());
        for (name, value) in &inner.extra {
            body.insert(name.clone(), value.clone());
        }
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut response = Response::new(Bytes::from(self.to_json()).into());
        *response.status_mut() = self.0.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        for (name, value) in self.0.headers {
            headers.append(name, value);
        }
        response
    }

    /// The response as bytes, for a connection that is closed before `hyper` serves it.
    #[must_use]
    pub fn to_raw_http(&self) -> Vec<u8> {
        let body = self.to_json();
        let status = self.0.code.status();
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nConnection: close\r\n");
        // Writing to a string cannot fail.
        if let Some(seconds) = self.0.retry_after_s {
            let _written = write!(head, "Retry-After: {seconds}\r\n");
        }
        if let Some(request) = &self.0.instance {
            let _written = write!(head, "X-Request-Id: {request}\r\n");
        }
        let _written = write!(head, "Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_the_client_may_do() {
        let problem = Problem::new(Code::Overloaded).retry_after(7);
        let body: Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(body["status"], 503);
        assert_eq!(body["retry"], "same_key");
        assert_eq!(body["retry_after_s"], 7);
        let response = problem.into_response();
        assert_eq!(response.headers()["retry-after"], "7");
    }

    #[test]
    fn only_internal_errors_are_a_500() {
        let fives: Vec<_> = Code::ALL.iter().filter(|code| code.status_number() == 500).collect();
        assert_eq!(fives, [&Code::Internal]);
    }
}
