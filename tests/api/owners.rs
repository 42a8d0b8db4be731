//! What belongs to whom (rule P4): every route is asked for by every kind of principal.
//!
//! The routes are those of the table itself: one that has no row in `EXPECTED` fails the test, and so does a row without a route. The thing that a route
//! is about is the seller's (`sel_b`) or the buyer's; of an order, one line is the platform's and one the seller's.

use crate::client::{Answer, Client};
use crate::server::{KEY, Server, TestShop, order_of};
use doorbuster_api::admission::Rate;
use doorbuster_api::caller::Access;
use doorbuster_api::keys::Scope;
use doorbuster_api::routes::routes;
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const SELLER: &str = "sk_seller_b";
pub(crate) const OTHER: &str = "sk_seller_c";
/// Keys of the platform's account that lack one scope each, in the order of `Scope::ALL`.
pub(crate) const LACKING: [&str; 6] =
    ["sk_no_catalog", "sk_no_inventory", "sk_no_orders", "sk_no_payments", "sk_no_events", "sk_no_personal"];
/// The same of the seller's account.
pub(crate) const SELLER_LACKING: [&str; 6] = [
    "sk_b_no_catalog",
    "sk_b_no_inventory",
    "sk_b_no_orders",
    "sk_b_no_payments",
    "sk_b_no_events",
    "sk_b_no_personal",
];

/// Who asks, in the order of the columns of `EXPECTED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Platform,
    Seller,
    OtherSeller,
    Buyer,
    OtherGuest,
    Holder,
    HolderOfAnother,
    Nobody,
}

const COLUMNS: [Who; 8] = [
    Who::Platform,
    Who::Seller,
    Who::OtherSeller,
    Who::Buyer,
    Who::OtherGuest,
    Who::Holder,
    Who::HolderOfAnother,
    Who::Nobody,
];

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    /// Nothing that belongs to somebody.
    None,
    /// The seller's product, warehouse, SKU.
    Goods,
    Cart,
    /// An order that was not paid.
    Unpaid,
    /// A paid order; nothing has shipped.
    Order,
    /// An order that is to be paid past the provider.
    Manual,
    /// A payment of a paid order.
    Payment,
    /// The seller's parcel of a paid order.
    Shipment,
    /// An order of which the seller's line was shipped.
    Shipped,
    /// A return of the seller's line, requested.
    Return,
    /// The same, approved.
    Approved,
    /// The seller's reservation of its own SKU.
    Reservation,
}

/// A row: method, path, what it is about, the body, and what each column gets.
///
/// `+`: done, `=`: let through, but the state does not allow it; `1`: 401, `3`: 403, `4`: 404 as if there were none, `9`: 409 `name_taken`.
type Row = (&'static str, &'static str, Thing, &'static str, &'static str);

const WAREHOUSE: &str = r#"{"name":"B","country":"GB"}"#;
pub(crate) const PRODUCT: &str = r#"{"title":"B","skus":[{"sku":"B","prices":[{"amount":333,"currency":"GBP"}]}]}"#;
const RECEIPT: &str = r#"{"warehouse":"wb","units":1}"#;
const ADJUSTMENT: &str = r#"{"warehouse":"wb","delta":1,"reason":"found"}"#;
const COUNT: &str = r#"{"warehouse":"wb","counted":90000}"#;
const LINE: &str = r#"{"quantity":1}"#;
const CARD: &str = r#"{"method":"card","token":"tok_ok"}"#;
const REFERENCE: &str = r#"{"reference":"r1"}"#;
const RETURNED: &str = r#"{"lines":[{"line":"2","quantity":1}]}"#;
const RECEIVED: &str = r#"{"lines":[{"line":"2","quantity":1,"condition":"as_new","restock":true}]}"#;

#[rustfmt::skip]
const EXPECTED: &[Row] = &[
    //                                                                                     PSOBGHAN
    ("GET", "/openapi.json", Thing::None, "",                                              "++++++++"),
    ("GET", "/docs", Thing::None, "",                                                      "++++++++"),
    ("GET", "/docs/docs.js", Thing::None, "",                                              "++++++++"),
    ("GET", "/docs/docs.css", Thing::None, "",                                             "++++++++"),
    ("GET", "/simulated-provider/actions/{reference}", Thing::None, "",                    "44444444"),
    ("POST", "/simulated-provider/actions/{reference}", Thing::None, "",                   "44444444"),
    ("PUT", "/v1/products/{id}", Thing::Goods, PRODUCT,                                    "++933331"),
    ("GET", "/v1/products/{id}", Thing::Goods, "",                                         "++++++++"),
    ("PUT", "/v1/warehouses/{id}", Thing::Goods, WAREHOUSE,                                "++933331"),
    ("GET", "/v1/warehouses/{id}", Thing::Goods, "",                                       "++433331"),
    ("GET", "/v1/inventory/{sku}", Thing::Goods, "",                                       "++433331"),
    ("POST", "/v1/inventory/{sku}/receipts", Thing::Goods, RECEIPT,                        "++433331"),
    ("POST", "/v1/inventory/{sku}/adjustments", Thing::Goods, ADJUSTMENT,                  "++433331"),
    ("POST", "/v1/inventory/{sku}/counts", Thing::Goods, COUNT,                            "++433331"),
    ("GET", "/v1/inventory/{sku}/movements", Thing::Goods, "",                             "++433331"),
    ("GET", "/v1/skus/{sku}/availability", Thing::Goods, "",                               "++++++++"),
    ("POST", "/v1/guests", Thing::None, "",                                                "++++++++"),
    ("POST", "/v1/carts", Thing::None, "",                                                 "+++++331"),
    ("GET", "/v1/carts/{id}", Thing::Cart, "",                                             "444+4331"),
    ("PUT", "/v1/carts/{id}/lines/{sku}", Thing::Cart, LINE,                               "444+4331"),
    ("DELETE", "/v1/carts/{id}/lines/{sku}", Thing::Cart, "",                              "444+4331"),
    ("POST", "/v1/orders", Thing::None, "order",                                           "+++++331"),
    ("GET", "/v1/orders", Thing::Order, "",                                                "+++33331"),
    ("GET", "/v1/me/orders", Thing::Order, "",                                             "+++++331"),
    ("GET", "/v1/orders/{id}", Thing::Order, "",                                           "++4+4+41"),
    ("PATCH", "/v1/orders/{id}", Thing::Order, r#"{"metadata":{"a":"b"}}"#,                "++4+4+41"),
    ("POST", "/v1/orders/{id}/cancel", Thing::Order, "",                                   "++4+4+41"),
    ("GET", "/v1/orders/{id}/events", Thing::Order, "",                                    "+44+4+41"),
    ("POST", "/v1/orders/{id}/refunds", Thing::Order, r#"{"reason":"sorry"}"#,             "++433331"),
    ("POST", "/v1/orders/{id}/captures", Thing::Order, "",                                 "=4433331"),
    ("POST", "/v1/orders/{id}/payment", Thing::Unpaid, CARD,                               "+44+4+41"),
    ("GET", "/v1/payments", Thing::Payment, "",                                            "+++33331"),
    ("GET", "/v1/payments/{id}", Thing::Payment, "",                                       "+44+4+41"),
    ("POST", "/v1/payments/{id}/mark_paid", Thing::Manual, REFERENCE,                      "+4433331"),
    ("POST", "/v1/payments/{id}/void", Thing::Manual, "",                                  "=4433331"),
    ("POST", "/v1/payments/{id}/mark_refunded", Thing::Manual, REFERENCE,                  "=4433331"),
    ("POST", "/v1/providers/{provider}/webhooks", Thing::None, "{}",                       "11111111"),
    ("POST", "/v1/orders/{id}/shipments", Thing::Order, r#"{"lines":[{"line":"2","quantity":1}]}"#, "++433331"),
    ("GET", "/v1/shipments", Thing::Shipment, "",                                          "+++33331"),
    ("GET", "/v1/shipments/{id}", Thing::Shipment, "",                                     "++4+4+41"),
    ("PATCH", "/v1/shipments/{id}", Thing::Shipment, r#"{"carrier":"c"}"#,                 "++433331"),
    ("POST", "/v1/shipments/{id}/deliver", Thing::Shipment, "",                            "++433331"),
    ("POST", "/v1/shipments/{id}/lose", Thing::Shipment, "",                               "++433331"),
    ("POST", "/v1/shipments/{id}/undo", Thing::Shipment, "",                               "++433331"),
    ("POST", "/v1/shipments/{id}/resend", Thing::Shipment, "",                             "==433331"),
    ("POST", "/v1/orders/{id}/returns", Thing::Shipped, RETURNED,                          "++4+4+41"),
    ("GET", "/v1/returns", Thing::Return, "",                                              "+++33331"),
    ("GET", "/v1/returns/{id}", Thing::Return, "",                                         "++4+4+41"),
    ("POST", "/v1/returns/{id}/approve", Thing::Return, "",                                "++433331"),
    ("POST", "/v1/returns/{id}/reject", Thing::Return, r#"{"reason":"no"}"#,               "++433331"),
    ("POST", "/v1/returns/{id}/receive", Thing::Approved, RECEIVED,                        "++433331"),
    ("POST", "/v1/reservations", Thing::None, "reservation",                               "++433331"),
    ("POST", "/v1/reservations:batch", Thing::None, "batch",                               "++433331"),
    ("GET", "/v1/reservations", Thing::Goods, "",                                          "++433331"),
    ("GET", "/v1/reservations/{id}", Thing::Reservation, "",                               "4+433331"),
    ("POST", "/v1/reservations/{id}/commit", Thing::Reservation, "",                       "4+433331"),
    ("POST", "/v1/reservations/{id}/ship", Thing::Reservation, "",                         "4=433331"),
    ("POST", "/v1/reservations/{id}/release", Thing::Reservation, "",                      "4+433331"),
    ("GET", "/v1/events", Thing::None, "",                                                 "+3333331"),
    ("POST", "/v1/reservations/{id}/extend", Thing::Reservation, r#"{"hold_s":60}"#,       "4+433331"),
];

/// A route of the table.
struct Told {
    method: &'static str,
    path: &'static str,
    access: Access,
}

fn table() -> Vec<Told> {
    routes::<TestShop>().map(|route| Told { method: route.method, path: route.path, access: route.access }).collect()
}

/// A shop in which three accounts and two guests are busy.
pub(crate) struct Busy {
    pub(crate) server: Server,
    pub(crate) buyer: Client,
    other_guest: Client,
    /// The token of an order of the other guest.
    other_token: String,
    keys: AtomicU64,
}

/// What a request is about, once it exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    pub(crate) id: String,
    /// The token of its order.
    token: String,
    /// The path at which whoever owns it sees whether it was changed.
    seen_at: String,
}

impl Busy {
    pub(crate) async fn open() -> Self {
        let but = |index: usize| {
            let all = Scope::ALL.into_iter().enumerate().filter(move |(at, _)| *at != index);
            all.map(|(_, scope)| scope).collect::<Vec<_>>()
        };
        let lacking: Vec<Vec<Scope>> = (0..Scope::ALL.len()).map(but).collect();
        let mut keys: Vec<(&str, &str, &[Scope])> = vec![(SELLER, "sel_b", &Scope::ALL), (OTHER, "sel_c", &Scope::ALL)];
        for ((platform, seller), scopes) in LACKING.iter().zip(&SELLER_LACKING).zip(&lacking) {
            keys.push((*platform, "sel_main", scopes));
            keys.push((*seller, "sel_b", scopes));
        }
        let mut settings = ApiSettings::default();
        let unbounded = Rate { per_s: 0, burst: 1 };
        let admission = &mut settings.admission;
        for rate in [&mut admission.key, &mut admission.guest, &mut admission.address, &mut admission.address_guest] {
            *rate = unbounded;
        }
        for rate in [&mut admission.address_new_guests, &mut admission.webhook] {
            *rate = unbounded;
        }
        let server = Server::with_keys(SocketLimits::default(), settings, &keys).await;
        server.with_stock("A", 90_000).await;
        let seller = server.anyone().bearer(SELLER);
        assert_eq!(seller.send("PUT", "/v1/warehouses/wb", None, Some(WAREHOUSE)).await.status, 201);
        assert_eq!(seller.send("PUT", "/v1/products/pb", None, Some(PRODUCT)).await.status, 201);
        let receipt = json!({ "warehouse": "wb", "units": 90_000 });
        let received = seller.post("/v1/inventory/B/receipts", Some("first"), Some(&receipt)).await;
        assert_eq!(received.status, 201, "{received:?}");
        let (buyer, other_guest) = (server.guest().await, server.guest().await);
        let order = other_guest.post("/v1/orders", Some("another"), Some(&order_of("A", 1))).await;
        let other_token = order.body["order_token"].as_str().expect("a token").to_owned();
        Self { server, buyer, other_guest, other_token, keys: AtomicU64::new(0) }
    }

    pub(crate) fn key(&self) -> String {
        format!("k{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    fn client(&self, who: Who, subject: &Subject) -> Client {
        let anyone = self.server.anyone();
        match who {
            Who::Platform => anyone.bearer(KEY),
            Who::Seller => anyone.bearer(SELLER),
            Who::OtherSeller => anyone.bearer(OTHER),
            Who::Buyer => self.buyer.clone(),
            Who::OtherGuest => self.other_guest.clone(),
            // Where there is no order, the token of some order.
            Who::Holder if subject.token.is_empty() => anyone.bearer(&self.other_token),
            Who::Holder => anyone.bearer(&subject.token),
            Who::HolderOfAnother => anyone.bearer(&self.other_token),
            Who::Nobody => anyone,
        }
    }

    async fn ok(&self, client: &Client, method: &str, path: &str, body: Option<&str>) -> Answer {
        let key = (method == "POST").then(|| self.key());
        let answer = client.send(method, path, key.as_deref(), body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    }

    /// An order of the buyer: a line of the platform's and one of the seller's.
    async fn order(&self, payment: Option<Value>) -> Answer {
        let mut body = order_of("A", 1);
        body["lines"] = json!([{ "sku": "A", "quantity": 1 }, { "sku": "B", "quantity": 2 }]);
        if let Some(payment) = payment {
            body["payment"] = payment;
        }
        let waiting = self.buyer.clone().with("Prefer", "wait=10");
        let order = self.ok(&waiting, "POST", "/v1/orders", Some(&body.to_string())).await;
        assert_eq!(order.status, 201, "{order:?}");
        order
    }

    pub(crate) async fn subject(&self, thing: Thing) -> Subject {
        let of_order = |order: &Answer, id: &str| Subject {
            id: id.to_owned(),
            token: order.body["order_token"].as_str().expect("a token").to_owned(),
            seen_at: format!("/v1/orders/{}", text(&order.body["id"])),
        };
        let card = || Some(json!({ "method": "card", "token": "tok_ok" }));
        let seller = self.server.anyone().bearer(SELLER);
        match thing {
            Thing::None | Thing::Goods => Subject { seen_at: "/v1/inventory/B".into(), ..Subject::default() },
            Thing::Cart => {
                let cart = self.ok(&self.buyer, "POST", "/v1/carts", None).await;
                let path = format!("/v1/carts/{}", text(&cart.body["id"]));
                self.ok(&self.buyer, "PUT", &format!("{path}/lines/B"), Some(LINE)).await;
                Subject { id: text(&cart.body["id"]), token: String::new(), seen_at: path }
            }
            Thing::Unpaid => {
                let order = self.order(None).await;
                of_order(&order, &text(&order.body["id"]))
            }
            Thing::Order => {
                let order = self.order(card()).await;
                assert_eq!(order.body["status"], "confirmed", "{order:?}");
                of_order(&order, &text(&order.body["id"]))
            }
            Thing::Payment => {
                let order = self.order(card()).await;
                of_order(&order, &text(&order.body["payments"][0]["id"]))
            }
            Thing::Manual => {
                let order = self.order(None).await;
                let path = format!("/v1/orders/{}/payment", text(&order.body["id"]));
                let payment = self.ok(&self.buyer, "POST", &path, Some(r#"{"method":"manual"}"#)).await;
                of_order(&order, &text(&payment.body["id"]))
            }
            Thing::Shipment | Thing::Shipped | Thing::Return | Thing::Approved => {
                let order = self.order(card()).await;
                let path = format!("/v1/orders/{}", text(&order.body["id"]));
                let ship = r#"{"lines":[{"line":"2","quantity":2}]}"#;
                let parcel = self.ok(&seller, "POST", &format!("{path}/shipments"), Some(ship)).await;
                if thing == Thing::Shipment {
                    return of_order(&order, &text(&parcel.body["id"]));
                }
                if thing == Thing::Shipped {
                    return of_order(&order, &text(&order.body["id"]));
                }
                let back = self.ok(&self.buyer, "POST", &format!("{path}/returns"), Some(RETURNED)).await;
                let id = text(&back.body["id"]);
                let platform = self.server.seller();
                match (thing, text(&back.body["status"]).as_str()) {
                    (Thing::Approved, "requested") => {
                        self.ok(&platform, "POST", &format!("/v1/returns/{id}/approve"), None).await;
                    }
                    (_, status) => assert!(thing == Thing::Approved || status == "requested", "{back:?}"),
                }
                of_order(&order, &id)
            }
            Thing::Reservation => {
                let body = json!({ "reference": self.key(), "lines": [{ "sku": "B", "quantity": 1 }] });
                let made = seller.post("/v1/reservations", None, Some(&body)).await;
                assert_eq!(made.status, 201, "{made:?}");
                let id = text(&made.body["id"]);
                Subject { seen_at: format!("/v1/reservations/{id}"), id, token: String::new() }
            }
        }
    }

    fn path(&self, row: &Row, subject: &Subject) -> String {
        let (_, path, ..) = *row;
        let path = match path {
            "/v1/products/{id}" => "/v1/products/pb".to_owned(),
            "/v1/warehouses/{id}" => "/v1/warehouses/wb".to_owned(),
            "/v1/reservations" if row.0 == "GET" => "/v1/reservations?sku=B".to_owned(),
            path => path.replace("{id}", &subject.id),
        };
        path.replace("{sku}", "B").replace("{provider}", "simulated").replace("{reference}", "none")
    }

    fn body(&self, row: &Row) -> Option<String> {
        let reservation = || json!({ "reference": self.key(), "lines": [{ "sku": "B", "quantity": 1 }] });
        match row.3 {
            "" => None,
            "order" => Some(order_of("B", 1).to_string()),
            "reservation" => Some(reservation().to_string()),
            "batch" => Some(json!({ "items": [reservation()] }).to_string()),
            body => Some(body.to_owned()),
        }
    }

    /// Sends the request of a row; what came of it, as a letter of `EXPECTED`.
    async fn outcome(&self, row: &Row, client: &Client, subject: &Subject) -> (char, Answer) {
        let body = self.body(row);
        // A reservation's reference is its key.
        let keyed = row.0 == "POST" && !matches!(row.3, "reservation" | "batch");
        let key = keyed.then(|| self.key());
        let answer = client.send(row.0, &self.path(row, subject), key.as_deref(), body.as_deref()).await;
        let status = match row.3 {
            "batch" if answer.status == 200 => answer.body["results"][0]["status"]
                .as_u64()
                .and_then(|status| status.try_into().ok())
                .unwrap_or_default(),
            _ => answer.status,
        };
        let letter = match (status, answer.code()) {
            (200..300, _) => '+',
            (401, _) => '1',
            (403, "missing_scope") => '3',
            (404, _) => '4',
            (409, "name_taken") => '9',
            (409, "wrong_state") => '=',
            _ => '?',
        };
        (letter, answer)
    }

    /// What whoever owns a subject sees of it.
    /// What a refused request must not change. An order goes on by itself while it is looked at (its units are committed, its money is captured), so of an
    /// order it is what callers have done to it.
    async fn seen(&self, thing: Thing, subject: &Subject) -> Value {
        let owner = match thing {
            Thing::Cart => self.buyer.clone(),
            Thing::Reservation => self.server.anyone().bearer(SELLER),
            _ => self.server.seller(),
        };
        let of_an_order = subject.seen_at.starts_with("/v1/orders/");
        let path = if of_an_order { format!("{}/events", subject.seen_at) } else { subject.seen_at.clone() };
        let answer = owner.get(&path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if of_an_order {
            assert_eq!(answer.header("link"), None, "all of its events");
        }
        let mut body = answer.body;
        if of_an_order {
            let by_itself = ["system", "provider"];
            let events = body.as_array_mut().expect("a list");
            events.retain(|event| !by_itself.contains(&text(&event["by"]["kind"]).as_str()));
            return body;
        }
        for of_its_own_accord in ["server_time", "as_of"] {
            body.as_object_mut().expect("an object").remove(of_its_own_accord);
        }
        body
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned()
}

/// Every route, each column: who is refused is refused before anything is changed, and whoever may is let through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asks_whose_it_is() {
    let busy = Busy::open().await;
    let rows: BTreeSet<(&str, &str)> = EXPECTED.iter().map(|row| (row.0, row.1)).collect();
    let told: BTreeSet<(&str, &str)> = table().iter().map(|route| (route.method, route.path)).collect();
    assert_eq!(rows, told, "each route has a row here, and each row a route");
    let mut wrong = Vec::new();
    for row in EXPECTED {
        let subject = busy.subject(row.2).await;
        let expected: Vec<(Who, char)> = COLUMNS.into_iter().zip(row.4.chars()).collect();
        assert_eq!(expected.len(), COLUMNS.len(), "{row:?}");
        let before = busy.seen(row.2, &subject).await;
        for (who, letter) in expected.iter().filter(|(_, letter)| *letter != '+') {
            let (got, answer) = busy.outcome(row, &busy.client(*who, &subject), &subject).await;
            if got != *letter {
                wrong.push(format!("{} {} by {who:?}: {got} instead of {letter}: {answer:?}", row.0, row.1));
            }
            // The simulated bank's page is no problem document.
            if *letter == '4' && !row.1.starts_with("/simulated-provider/") {
                let none = [("type", "urn:doorbuster:problem:not_found"), ("detail", "no such resource")];
                let item = if row.3 == "batch" { &answer.body["results"][0]["body"] } else { &answer.body };
                for (field, value) in none {
                    if item[field] != value {
                        wrong.push(format!("{} {} by {who:?}: another's is not like none: {item}", row.0, row.1));
                    }
                }
            }
        }
        if busy.seen(row.2, &subject).await != before {
            wrong.push(format!("{} {}: a refused request changed something", row.0, row.1));
        }
        for (who, _) in expected.iter().filter(|(_, letter)| *letter == '+') {
            let subject = busy.subject(row.2).await;
            let (got, answer) = busy.outcome(row, &busy.client(*who, &subject), &subject).await;
            if got != '+' {
                wrong.push(format!("{} {} by {who:?}: {got} instead of +: {answer:?}", row.0, row.1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every route, each scope: without the one it needs a key is refused, without any other it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asks_for_its_scope_and_no_other() {
    let busy = Busy::open().await;
    let mut wrong = Vec::new();
    for row in EXPECTED {
        let route = table().into_iter().find(|route| (route.method, route.path) == (row.0, row.1)).expect("a route");
        let needed = match route.access {
            Access::Anyone | Access::Provider => None,
            Access::Scope(scope) => Some(scope),
            Access::Shopper | Access::OrderParty => Some(Scope::Orders),
        };
        let kept = busy.subject(row.2).await;
        for (keys, column) in [(LACKING, 0), (SELLER_LACKING, 1)] {
            for (scope, key) in Scope::ALL.into_iter().zip(keys) {
                let usual = row.4.chars().nth(column).expect("a letter");
                let letter = if needed == Some(scope) { '3' } else { usual };
                // What is read or refused is there for the next.
                let subject = if row.0 == "GET" || letter != '+' { &kept } else { &busy.subject(row.2).await };
                let (got, answer) = busy.outcome(row, &busy.server.anyone().bearer(key), subject).await;
                if got != letter {
                    wrong.push(format!("{} {} with {key}: {got} instead of {letter}: {answer:?}", row.0, row.1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
