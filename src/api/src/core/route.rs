//! A row of the table of routes: how a request gets to its handler, and what OpenAPI says of it.
//!
//! Each resource has its rows beside its handlers; [`routes`](crate::routes) puts them together. A route that has no row does not exist.

use super::caller::Access;
use super::priority_class::PriorityClass;
use super::problem::{Code, Problem};
use super::reply::Reply;
use super::request::Request;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::fmt;
use std::pin::Pin;

/// The future of an answer. It is the one box of a request.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'a>>;

/// What answers the requests of a route.
pub type Handler<S> = for<'a> fn(Request<'a, S>) -> Answering<'a>;

/// Gives the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// None; bytes that arrive are not read.
    None,
    /// JSON of this form, at most `api.small_body_bytes_max` long.
    Json(SchemaOf),
    /// JSON of this form, at most `api.body_bytes_max` long: lines or SKUs by the thousand.
    LargeJson(SchemaOf),
    /// JSON of this form, or no body, which means `{}`.
    JsonOrNothing(SchemaOf),
    /// Bytes that the sender signed.
    Raw,
}

/// What OpenAPI says of a route beside what follows from its row.
#[derive(Debug, Clone, Copy)]
pub struct Docs {
    /// Its `operationId`.
    pub id: &'static str,
    /// The heading it stands under.
    pub tag: &'static str,
    /// What it does, in a sentence without its full stop.
    pub summary: &'static str,
    /// Query parameters: name and meaning. A meaning that begins with "Required" makes the parameter required.
    pub query: &'static [(&'static str, &'static str)],
    /// Statuses below 400, with the schema of their body.
    pub answers: &'static [(u16, Option<SchemaOf>)],
    /// Problems beside those that follow from the row.
    pub codes: &'static [Code],
    /// Does it answer `Prefer: return=minimal` with a `MinimalView`?
    pub minimal: bool,
    /// Is it a list that is read from an index? Then it honours `Doorbuster-After`.
    pub is_indexed: bool,
    /// The media type of its answers, problems aside.
    pub media: &'static str,
    /// Is it a list that can be exported, as NDJSON or CSV?
    pub is_exported: bool,
    /// Can it be followed: by `Prefer: wait` until something has happened, or as a stream?
    pub is_followed: bool,
    /// Is it part of the API? A page for a browser is not.
    pub is_described: bool,
}

impl Docs {
    /// A route with this operation id, heading and summary.
    #[must_use]
    pub const fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            query: &[],
            answers: &[],
            codes: &[],
            minimal: false,
            is_indexed: false,
            is_exported: false,
            is_followed: false,
            media: "application/json",
            is_described: true,
        }
    }

    /// Sets the query parameters.
    #[must_use]
    pub const fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    /// Sets the statuses below 400.
    #[must_use]
    pub const fn answers(mut self, answers: &'static [(u16, Option<SchemaOf>)]) -> Self {
        self.answers = answers;
        self
    }

    /// It answers `Prefer: return=minimal`.
    #[must_use]
    pub const fn minimal(mut self) -> Self {
        self.minimal = true;
        self
    }

    /// It is a list that is read from an index.
    #[must_use]
    pub const fn indexed(mut self) -> Self {
        self.is_indexed = true;
        self.exported()
    }

    /// It is a list that can be exported: its answer has `data` and `next_cursor`.
    #[must_use]
    pub const fn exported(mut self) -> Self {
        self.is_exported = true;
        self
    }

    /// It can be followed.
    #[must_use]
    pub const fn followed(mut self) -> Self {
        self.is_followed = true;
        self
    }

    /// Its answers are of this media type.
    #[must_use]
    pub const fn media(mut self, media: &'static str) -> Self {
        self.media = media;
        self
    }

    /// It is a page for a browser, and no part of the API.
    #[must_use]
    pub const fn page(mut self) -> Self {
        self.is_described = false;
        self
    }

    /// Sets the further problems.
    #[must_use]
    pub const fn codes(mut self, codes: &'static [Code]) -> Self {
        self.codes = codes;
        self
    }
}

/// One route.
pub struct Route<S: 'static> {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// Its path; `{…}` stands for one segment.
    pub path: &'static str,
    /// Its priority under overload.
    pub class: PriorityClass,
    /// Who may use it.
    pub access: Access,
    /// Does it need an `Idempotency-Key`?
    pub key: bool,
    /// The body of its requests.
    pub body: Body,
    /// What answers them.
    pub handler: Handler<S>,
    /// What OpenAPI says of it.
    pub docs: Docs,
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)
    }
}

impl<S> Route<S> {
    /// Does it change something? Then a cookie alone is not enough.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }

    /// Every problem it can answer with, including those that follow from its row.
    #[must_use]
    pub fn all_codes(&self) -> Vec<Code> {
        let mut codes = vec![Code::MalformedRequest, Code::Unauthenticated, Code::RequestTimeout];
        codes.extend([Code::TooManyRequests, Code::Internal, Code::Overloaded, Code::Draining, Code::OutcomeUnknown]);
        if self.access != Access::Provider {
            // For query parameters that it does not have.
            codes.push(Code::Invalid);
            codes.push(Code::NotAcceptable);
        }
        if self.access != Access::Anyone {
            codes.extend([Code::MissingScope, Code::ForeignOrigin]);
        }
        if self.path.contains('{') {
            codes.extend([Code::InvalidId, Code::NotFound, Code::SetAside]);
        }
        if self.key {
            codes.extend([Code::MissingIdempotencyKey, Code::InvalidIdempotencyKey, Code::IdempotencyKeyReused]);
        }
        if matches!(self.method, "PUT" | "PATCH" | "DELETE") {
            codes.push(Code::StaleVersion);
        }
        match self.body {
            Body::None => {}
            Body::Raw => codes.push(Code::BodyTooLarge),
            Body::Json(_) | Body::LargeJson(_) | Body::JsonOrNothing(_) => {
                codes.extend([Code::BodyTooLarge, Code::UnsupportedMediaType, Code::MalformedJson]);
                codes.push(Code::InvalidId);
            }
        }
        if self.docs.is_indexed {
            codes.push(Code::InvalidCursor);
        }
        codes.extend_from_slice(self.docs.codes);
        codes.sort();
        codes.dedup();
        codes
    }
}
