//! The one table of routes: it dispatches requests, and OpenAPI is written from it.
//!
//! A route that is not here does not exist; an operation that no handler serves does not compile.

mod router;
mod table;

pub(crate) use router::decode;
pub use router::{Found, Params, Router};
pub use table::ROUTES;

use super::callers::Access;
use super::problem::Code;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// What a route does; `door` has one arm for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table's summaries say what each does")]
pub enum Op {
    OpenApi,
    Docs,
    DocsScript,
    DocsStyle,
    PutProduct,
    GetProduct,
    PutWarehouse,
    GetWarehouse,
    GetInventory,
    Receive,
    Adjust,
    Count,
    GetAvailability,
    MakeGuest,
    MakeCart,
    GetCart,
    PutCartLine,
    DeleteCartLine,
    PlaceOrder,
    GetOrder,
    PatchOrder,
    CancelOrder,
    RefundOrder,
    CaptureOrder,
    PayOrder,
    ShipOrder,
    ReturnOrder,
    OrderEvents,
    GetPayment,
    GetShipment,
    DeliverShipment,
    LoseShipment,
    GetReturn,
    ApproveReturn,
    RejectReturn,
    ReceiveReturn,
    Webhook,
    MakeReservation,
    MakeReservations,
    ListReservations,
    GetReservation,
    CommitReservation,
    ReleaseReservation,
    ExtendReservation,
}

/// Gives the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Nothing; what comes is not read.
    None,
    /// JSON of this form.
    Json(SchemaOf),
    /// The same, up to the larger bound: lines or SKUs by the thousand.
    LargeJson(SchemaOf),
    /// JSON of this form, or nothing, which means `{}`.
    JsonOrNothing(SchemaOf),
    /// Bytes that somebody signed.
    Raw,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// What it does.
    pub op: Op,
    /// By this method.
    pub method: &'static str,
    /// At this path; `{…}` stands for one segment.
    pub path: &'static str,
    /// Under this heading.
    pub tag: &'static str,
    /// In words.
    pub summary: &'static str,
    /// For whom.
    pub access: Access,
    /// Does it need an `Idempotency-Key`?
    pub key: bool,
    /// What the request carries.
    pub body: Body,
    /// What its query may say, and what that means; those whose meaning begins with "Needed" must be there.
    pub query: &'static [(&'static str, &'static str)],
    /// Good answers, with what they carry.
    pub answers: &'static [(u16, Option<SchemaOf>)],
    /// Problems beside those that every such route has.
    pub codes: &'static [Code],
}

const fn read(op: Op, path: &'static str, tag: &'static str, access: Access, summary: &'static str) -> Route {
    let (key, body) = (false, Body::None);
    Route { op, method: "GET", path, tag, summary, access, key, body, query: &[], answers: &[], codes: &[] }
}

const fn post(op: Op, path: &'static str, tag: &'static str, access: Access, summary: &'static str) -> Route {
    let (key, body) = (true, Body::None);
    Route { op, method: "POST", path, tag, summary, access, key, body, query: &[], answers: &[], codes: &[] }
}

impl Route {
    const fn put(mut self) -> Self {
        self.method = "PUT";
        self.key = false;
        self
    }
    const fn patch(mut self) -> Self {
        self.method = "PATCH";
        self.key = false;
        self
    }
    const fn delete(mut self) -> Self {
        self.method = "DELETE";
        self.key = false;
        self
    }
    const fn without_key(mut self) -> Self {
        self.key = false;
        self
    }
    const fn asks(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }
    const fn takes(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
    const fn answers(mut self, answers: &'static [(u16, Option<SchemaOf>)]) -> Self {
        self.answers = answers;
        self
    }
    const fn codes(mut self, codes: &'static [Code]) -> Self {
        self.codes = codes;
        self
    }

    /// Does it change something? Then a cookie alone is not enough.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }

    /// Every problem it can answer with, those that follow from its shape too.
    #[must_use]
    pub fn all_codes(&self) -> Vec<Code> {
        let mut codes = vec![Code::MalformedRequest, Code::Unauthenticated, Code::RequestTimeout];
        codes.extend([Code::TooManyRequests, Code::Internal, Code::Overloaded, Code::Draining, Code::OutcomeUnknown]);
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
                codes.extend([Code::InvalidId, Code::Invalid]);
            }
        }
        codes.extend_from_slice(self.codes);
        codes.sort();
        codes.dedup();
        codes
    }
}
