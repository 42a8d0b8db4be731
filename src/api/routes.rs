//! The one table of routes: it dispatches requests, and OpenAPI is written from it.
//!
//! A route that is not here does not exist; an operation that no handler serves does not compile.

use super::callers::Access;
use super::keys::Scope;
use super::problem::Code;
use super::requests as body;
use super::view;
use compact_str::CompactString;
use hyper::Method;
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
    /// Good answers, with what they carry.
    pub answers: &'static [(u16, Option<SchemaOf>)],
    /// Problems beside those that every such route has.
    pub codes: &'static [Code],
}

const fn read(op: Op, path: &'static str, tag: &'static str, access: Access, summary: &'static str) -> Route {
    let (key, body) = (false, Body::None);
    Route { op, method: "GET", path, tag, summary, access, key, body, answers: &[], codes: &[] }
}

const fn post(op: Op, path: &'static str, tag: &'static str, access: Access, summary: &'static str) -> Route {
    let (key, body) = (true, Body::None);
    Route { op, method: "POST", path, tag, summary, access, key, body, answers: &[], codes: &[] }
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

const CATALOG: Access = Access::Scope(Scope::Catalog);
const INVENTORY: Access = Access::Scope(Scope::Inventory);
const ORDERS: Access = Access::Scope(Scope::Orders);
const PAYMENTS: Access = Access::Scope(Scope::Payments);
const PARTY: Access = Access::OrderParty;

/// Every route of the public port.
pub static ROUTES: &[Route] = &[
    read(Op::OpenApi, "/openapi.json", "About", Access::Anyone, "This description, as OpenAPI 3.1")
        .answers(&[(200, None)]),
    read(Op::Docs, "/docs", "About", Access::Anyone, "A page to read and try the API").answers(&[(200, None)]),
    read(Op::DocsScript, "/docs/docs.js", "About", Access::Anyone, "Its script").answers(&[(200, None)]),
    read(Op::DocsStyle, "/docs/docs.css", "About", Access::Anyone, "Its style").answers(&[(200, None)]),
    post(Op::PutProduct, "/v1/products/{id}", "Catalogue", CATALOG, "Set a whole product with its SKUs")
        .put()
        .takes(Body::LargeJson(schema_of::<body::ProductBody>))
        .answers(&[(200, Some(schema_of::<view::ProductView>)), (201, Some(schema_of::<view::ProductView>))]),
    read(Op::GetProduct, "/v1/products/{id}", "Catalogue", Access::Anyone, "One product with its SKUs")
        .answers(&[(200, Some(schema_of::<view::ProductView>))]),
    post(Op::PutWarehouse, "/v1/warehouses/{id}", "Inventory", CATALOG, "Set a warehouse")
        .put()
        .takes(Body::Json(schema_of::<body::WarehouseBody>))
        .answers(&[(200, Some(schema_of::<view::WarehouseView>)), (201, Some(schema_of::<view::WarehouseView>))]),
    read(Op::GetWarehouse, "/v1/warehouses/{id}", "Inventory", CATALOG, "One warehouse")
        .answers(&[(200, Some(schema_of::<view::WarehouseView>))]),
    read(Op::GetInventory, "/v1/inventory/{sku}", "Inventory", INVENTORY, "Stock of a SKU, by warehouse")
        .answers(&[(200, Some(schema_of::<view::InventoryView>))]),
    post(Op::Receive, "/v1/inventory/{sku}/receipts", "Inventory", INVENTORY, "Units have arrived, or are announced")
        .takes(Body::Json(schema_of::<body::ReceiptBody>))
        .answers(&[(201, Some(schema_of::<view::LevelView>))])
        .codes(&[Code::LimitExceeded, Code::AmountOverflow]),
    post(Op::Adjust, "/v1/inventory/{sku}/adjustments", "Inventory", INVENTORY, "Correct stock, with a reason")
        .takes(Body::Json(schema_of::<body::AdjustmentBody>))
        .answers(&[(201, Some(schema_of::<view::LevelView>))])
        .codes(&[Code::Promised, Code::AmountOverflow]),
    post(Op::Count, "/v1/inventory/{sku}/counts", "Inventory", INVENTORY, "Set stock by what was counted")
        .takes(Body::Json(schema_of::<body::CountBody>))
        .answers(&[(201, Some(schema_of::<view::LevelView>))])
        .codes(&[Code::Promised, Code::StaleVersion, Code::AmountOverflow]),
    read(
        Op::GetAvailability,
        "/v1/skus/{sku}/availability",
        "Catalogue",
        Access::Anyone,
        "What a shopper may know of a SKU's stock",
    )
    .answers(&[(200, Some(schema_of::<view::AvailabilityView>))]),
    post(
        Op::MakeGuest,
        "/v1/guests",
        "Shopper",
        Access::Anyone,
        "A signed token for a guest, as cookie and in the body",
    )
    .without_key()
    .answers(&[(201, Some(schema_of::<view::GuestView>))]),
    post(Op::MakeCart, "/v1/carts", "Shopper", Access::Shopper, "Make a cart")
        .takes(Body::JsonOrNothing(schema_of::<body::CartBody>))
        .answers(&[(201, Some(schema_of::<view::CartView>))]),
    read(Op::GetCart, "/v1/carts/{id}", "Shopper", Access::Shopper, "One cart with today's prices")
        .answers(&[(200, Some(schema_of::<view::CartView>))]),
    post(
        Op::PutCartLine,
        "/v1/carts/{id}/lines/{sku}",
        "Shopper",
        Access::Shopper,
        "Set a line's quantity; never adds",
    )
    .put()
    .takes(Body::Json(schema_of::<body::CartLineBody>))
    .answers(&[(200, Some(schema_of::<view::CartView>))])
    .codes(&[
        Code::CartFrozen,
        Code::AlreadyOrdered,
        Code::WrongState,
        Code::CurrencyMismatch,
        Code::LimitExceeded,
    ]),
    post(Op::DeleteCartLine, "/v1/carts/{id}/lines/{sku}", "Shopper", Access::Shopper, "Remove a line")
        .delete()
        .answers(&[(200, Some(schema_of::<view::CartView>))])
        .codes(&[Code::CartFrozen, Code::AlreadyOrdered, Code::WrongState]),
    post(
        Op::PlaceOrder,
        "/v1/orders",
        "Orders",
        Access::Shopper,
        "Place an order, and pay it at once if a payment is given",
    )
    .takes(Body::LargeJson(schema_of::<body::OrderBody>))
    .answers(&[(201, Some(schema_of::<view::OrderView>)), (202, Some(schema_of::<view::OrderView>))])
    .codes(&[
        Code::NotFound,
        Code::SoldOut,
        Code::PriceChanged,
        Code::TotalChanged,
        Code::ReservationExpired,
        Code::CartFrozen,
        Code::AlreadyOrdered,
        Code::WrongState,
        Code::LimitExceeded,
        Code::AmountOverflow,
        Code::CurrencyMismatch,
        Code::NotDeliverable,
        Code::SetAside,
    ]),
    read(Op::GetOrder, "/v1/orders/{id}", "Orders", PARTY, "One order, whole")
        .answers(&[(200, Some(schema_of::<view::OrderView>))]),
    post(Op::PatchOrder, "/v1/orders/{id}", "Orders", PARTY, "Change what may still be changed")
        .patch()
        .takes(Body::Json(schema_of::<body::OrderPatchBody>))
        .answers(&[(200, Some(schema_of::<view::OrderView>))])
        .codes(&[Code::WrongState, Code::NotDeliverable, Code::CurrencyMismatch, Code::AmountOverflow]),
    post(Op::CancelOrder, "/v1/orders/{id}/cancel", "Orders", PARTY, "Cancel what has not shipped")
        .takes(Body::JsonOrNothing(schema_of::<body::CancelBody>))
        .answers(&[(200, Some(schema_of::<view::OrderView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(Op::RefundOrder, "/v1/orders/{id}/refunds", "Orders", PAYMENTS, "Give money back without a return")
        .takes(Body::Json(schema_of::<body::RefundBody>))
        .answers(&[(201, Some(schema_of::<view::RefundView>))])
        .codes(&[Code::WrongState, Code::RefundTooLarge, Code::LimitExceeded, Code::CurrencyMismatch]),
    post(Op::CaptureOrder, "/v1/orders/{id}/captures", "Orders", PAYMENTS, "Take money by hand")
        .takes(Body::JsonOrNothing(schema_of::<body::CaptureBody>))
        .answers(&[(201, Some(schema_of::<view::PaymentView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded, Code::CurrencyMismatch]),
    post(Op::PayOrder, "/v1/orders/{id}/payment", "Payments", PARTY, "Try to pay")
        .takes(Body::Json(schema_of::<body::PaymentBody>))
        .answers(&[(201, Some(schema_of::<view::PaymentView>)), (202, Some(schema_of::<view::PaymentView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(Op::ShipOrder, "/v1/orders/{id}/shipments", "Fulfilment", ORDERS, "Hand units to a carrier")
        .takes(Body::JsonOrNothing(schema_of::<body::ShipmentBody>))
        .answers(&[(201, Some(schema_of::<view::ShipmentView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(Op::ReturnOrder, "/v1/orders/{id}/returns", "Fulfilment", PARTY, "Ask to send units back")
        .takes(Body::Json(schema_of::<body::ReturnBody>))
        .answers(&[(201, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded, Code::ReturnWindowClosed]),
    read(
        Op::OrderEvents,
        "/v1/orders/{id}/events",
        "Orders",
        PARTY,
        "The order's journal: who, what, when, at each step",
    )
    .answers(&[(200, Some(schema_of::<Vec<view::EventView>>))]),
    read(Op::GetPayment, "/v1/payments/{id}", "Payments", PARTY, "One attempt to pay")
        .answers(&[(200, Some(schema_of::<view::PaymentView>))]),
    read(Op::GetShipment, "/v1/shipments/{id}", "Fulfilment", PARTY, "One shipment")
        .answers(&[(200, Some(schema_of::<view::ShipmentView>))]),
    post(Op::DeliverShipment, "/v1/shipments/{id}/deliver", "Fulfilment", ORDERS, "A shipment has arrived")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ShipmentView>))])
        .codes(&[Code::WrongState]),
    post(Op::LoseShipment, "/v1/shipments/{id}/lose", "Fulfilment", ORDERS, "A shipment will not arrive")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ShipmentView>))])
        .codes(&[Code::WrongState]),
    read(Op::GetReturn, "/v1/returns/{id}", "Fulfilment", PARTY, "One return")
        .answers(&[(200, Some(schema_of::<view::ReturnView>))]),
    post(Op::ApproveReturn, "/v1/returns/{id}/approve", "Fulfilment", ORDERS, "Agree to a return")
        .takes(Body::JsonOrNothing(schema_of::<body::EmptyBody>))
        .answers(&[(200, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState]),
    post(Op::RejectReturn, "/v1/returns/{id}/reject", "Fulfilment", ORDERS, "Do not agree to a return")
        .takes(Body::Json(schema_of::<body::RejectBody>))
        .answers(&[(200, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState]),
    post(Op::ReceiveReturn, "/v1/returns/{id}/receive", "Fulfilment", ORDERS, "Units came back; they are refunded")
        .takes(Body::Json(schema_of::<body::ReceiveBody>))
        .answers(&[(200, Some(schema_of::<view::ReturnView>))])
        .codes(&[Code::WrongState, Code::LimitExceeded]),
    post(
        Op::Webhook,
        "/v1/providers/{provider}/webhooks",
        "Payments",
        Access::Provider,
        "A payment provider tells what became of a payment",
    )
    .without_key()
    .takes(Body::Raw)
    .answers(&[(200, None)]),
];

/// The segments that stood for `{…}`, decoded, and the path they make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    segments: [CompactString; 2],
    count: usize,
}

impl Params {
    /// The first.
    #[must_use]
    pub fn first(&self) -> &str {
        let [first, _] = &self.segments;
        first
    }

    /// The second.
    #[must_use]
    pub fn second(&self) -> &str {
        let [_, second] = &self.segments;
        second
    }

    fn push(&mut self, segment: CompactString) {
        if let Some(slot) = self.segments.get_mut(self.count) {
            *slot = segment;
            self.count += 1;
        }
    }

    /// The route's path with the segments in it: the same for every way to encode them.
    #[must_use]
    pub fn path_of(&self, route: &Route) -> CompactString {
        if self.count == 0 {
            return CompactString::const_new(route.path);
        }
        let mut segments = self.segments.iter();
        let mut path = CompactString::default();
        for part in route.path.split('/').skip(1) {
            path.push('/');
            path.push_str(if part.starts_with('{') { segments.next().map_or("", |text| text) } else { part });
        }
        path
    }
}

/// What a method and path lead to.
#[derive(Debug)]
pub enum Found {
    /// A route.
    Route(&'static Route, Params),
    /// The path exists, the method does not: these do.
    Methods(Vec<&'static str>),
    /// A segment that cannot be decoded.
    Undecodable,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Default)]
struct Node {
    literals: Vec<(&'static str, Node)>,
    param: Option<Box<Node>>,
    routes: Vec<&'static Route>,
}

/// The table as a tree of segments.
#[derive(Debug, Default)]
pub struct Router {
    root: Node,
}

impl Router {
    /// A router over a table.
    #[must_use]
    pub fn new(table: &'static [Route]) -> Self {
        let mut root = Node::default();
        for route in table {
            let mut node = &mut root;
            for part in route.path.split('/').skip(1) {
                node = if part.starts_with('{') {
                    node.param.get_or_insert_with(Box::default)
                } else {
                    let known = node.literals.iter().position(|(literal, _)| *literal == part);
                    let at = known.unwrap_or_else(|| {
                        node.literals.push((part, Node::default()));
                        node.literals.len() - 1
                    });
                    &mut node.literals.get_mut(at).expect("just found or pushed").1
                };
            }
            node.routes.push(route);
        }
        Self { root }
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Found {
        let Some(path) = path.strip_prefix('/') else { return Found::Nothing };
        let mut node = &self.root;
        let mut params = Params::default();
        for part in path.split('/') {
            if let Some((_, child)) = node.literals.iter().find(|(literal, _)| *literal == part) {
                node = child;
            } else if let Some(child) = node.param.as_deref() {
                node = child;
                let Some(decoded) = decode(part) else { return Found::Undecodable };
                params.push(decoded);
            } else {
                return Found::Nothing;
            }
        }
        // A HEAD is a GET whose body the server leaves out.
        let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
        match node.routes.iter().find(|route| route.method == wanted) {
            Some(route) => Found::Route(route, params),
            None if node.routes.is_empty() => Found::Nothing,
            None => Found::Methods(node.routes.iter().map(|route| route.method).collect()),
        }
    }
}

/// A segment without its percent-encoding; `None`: cut off, no hexadecimal digits, or not UTF-8.
pub(super) fn decode(segment: &str) -> Option<CompactString> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let plain = if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        decoded.push(plain);
    }
    CompactString::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_found_and_named_once() {
        let router = Router::new(ROUTES);
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method, route.path)), "{} {}", route.method, route.path);
            let path = route.path.replace("{id}", "x").replace("{sku}", "y").replace("{provider}", "z");
            let method: Method = route.method.parse().unwrap();
            match router.find(&method, &path) {
                Found::Route(found, _) => assert_eq!(found.op, route.op),
                other => panic!("{path}: {other:?}"),
            }
            assert!(!route.answers.is_empty(), "{path} has no answer");
        }
    }

    #[test]
    fn an_encoded_path_is_the_same_path() {
        let router = Router::new(ROUTES);
        let path = |text: &str| match router.find(&Method::POST, text) {
            Found::Route(route, params) => params.path_of(route),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("/v1/inventory/A%20B/receipts"), "/v1/inventory/A B/receipts");
        assert_eq!(path("/v1/inventory/%41%20B/receipts"), "/v1/inventory/A B/receipts");
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let router = Router::new(ROUTES);
        assert!(matches!(router.find(&Method::TRACE, "/v1/orders"), Found::Methods(methods) if methods == ["POST"]));
        assert!(matches!(router.find(&Method::GET, "/v1/order"), Found::Nothing));
        assert!(matches!(router.find(&Method::GET, "/v1/orders/"), Found::Route(..)));
        assert!(matches!(router.find(&Method::GET, "/v1/orders/%ff"), Found::Undecodable));
    }
}
