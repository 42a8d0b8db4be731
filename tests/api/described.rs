//! OpenAPI says what the server does: every described route exists, every route is described, and nothing answers with a status
//! that its description leaves out.

use crate::client::Client;
use crate::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn documented(document: &Value, path: &str, method: &str) -> Vec<u16> {
    let responses = document["paths"][path][method]["responses"].as_object().expect("responses");
    responses.keys().map(|status| status.parse().expect("a number")).collect()
}

#[tokio::test]
async fn every_described_route_exists_and_answers_as_described() {
    let server = Server::start().await;
    let document = server.anyone().get("/openapi.json").await;
    assert_eq!(document.body["openapi"], "3.1.0");
    let order = "ord_00000000000000000000010000";
    let callers = [server.anyone(), server.seller(), server.guest().await];
    for (path, methods) in document.body["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let real = path.replace("/orders/{id}", &format!("/orders/{order}")).replace("{provider}", "simulated");
            let real = real.replace("/reservations/{id}", "/reservations/rsv_00000000000000000000010000~A");
            let real = real.replace("{id}", "x").replace("{sku}", "A");
            let allowed = documented(&document.body, path, method);
            for caller in &callers {
                for (key, body) in
                    [(Some("k"), Some("{}")), (None, None), (Some("k"), Some("{")), (Some("k"), Some(r#"{"role":1}"#))]
                {
                    let answer = caller.send(&method.to_uppercase(), &real, key, body).await;
                    assert_ne!(answer.status, 405, "{method} {path} is described and does not exist");
                    assert!(
                        allowed.contains(&answer.status),
                        "{method} {path}: {} is not described: {answer:?}",
                        answer.status
                    );
                }
            }
        }
    }
}

/// The headers of an answer that mean something to its caller.
const HEADERS: [&str; 7] =
    ["etag", "location", "retry-after", "doorbuster-seq", "idempotency-replayed", "preference-applied", "link"];

/// The story that the examples tell, in an empty shop: each operation, and the id in its path where the node gave one.
struct Story {
    document: Value,
    seller: Client,
    sent: BTreeSet<String>,
    number: u32,
}

impl Story {
    /// Sends the example of an operation as it stands; the answer must be a good one, and have no header that is not described.
    async fn tell(&mut self, operation: &str, id: &str) -> Value {
        let paths = self.document["paths"].as_object().expect("paths");
        let all = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(method, described)| (path, method, described))
        });
        let (path, method, described) =
            all.into_iter().find(|(_, _, described)| described["operationId"] == operation).expect("it is described");
        let mut real = path.clone();
        for parameter in described["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "path" {
                let name = parameter["name"].as_str().expect("a name");
                real = real.replace(&format!("{{{name}}}"), parameter["example"].as_str().unwrap_or(id));
            }
        }
        // An id in a path before a SKU, as of a cart's line.
        let example = described.pointer("/requestBody/content/application~1json/example").map(Value::to_string);
        self.number += 1;
        let takes_key =
            described["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "Idempotency-Key");
        let key = takes_key.then(|| format!("story-{}", self.number));
        let answer = self.seller.send(&method.to_uppercase(), &real, key.as_deref(), example.as_deref()).await;
        assert!(answer.is_good(), "{method} {real} with its example: {answer:?}");
        let status = answer.status.to_string();
        let headers = described["responses"][&status]["headers"].as_object().cloned().unwrap_or_default();
        let headers: BTreeSet<String> = headers.keys().map(|name| name.to_ascii_lowercase()).collect();
        for (name, _) in &answer.headers {
            let is_known = !HEADERS.contains(&name.as_str()) || headers.contains(name);
            assert!(is_known, "{operation}: the header {name} of a {status} is not described");
        }
        if example.is_some() {
            self.sent.insert(operation.to_owned());
        }
        answer.body
    }

    async fn order(&mut self) -> String {
        let order = self.tell("PlaceOrder", "").await;
        let id = order["id"].as_str().expect("an id").to_owned();
        let seller = &self.seller;
        doorbuster_test_kit::until::until("the order to be confirmed", Duration::from_secs(30), || async {
            let order = seller.get(&format!("/v1/orders/{id}")).await;
            if order.body["status"] == "confirmed" { Ok(()) } else { Err(order.body["status"].to_string()) }
        })
        .await;
        id
    }

    /// A confirmed order that was shipped and delivered; gives the shipment.
    async fn delivered(&mut self) -> (String, String) {
        let order = self.order().await;
        let shipment = self.tell("ShipOrder", &order).await["id"].as_str().expect("an id").to_owned();
        (order, shipment)
    }

    /// An order that waits for its payment.
    async fn unpaid(&mut self, method: Option<&str>) -> Value {
        self.number += 1;
        let line = json!({ "sku": "NOVA-LOW-42", "quantity": 1 });
        let mut order = json!({
            "lines": [line], "buyer": { "email": "a@b.example" },
            "ship_to": { "country": "GB", "line1": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA" }
        });
        if let Some(method) = method {
            order["payment"] = json!({ "method": method });
        }
        let placed = self.seller.post("/v1/orders", Some(&format!("own-{}", self.number)), Some(&order)).await;
        assert!(placed.is_good(), "{placed:?}");
        placed.body
    }
}

#[tokio::test]
async fn the_examples_work_as_they_stand_and_headers_are_described() {
    let server = Server::start().await;
    let document = server.anyone().get("/openapi.json").await.body;
    let mut story = Story { document, seller: server.seller(), sent: BTreeSet::new(), number: 0 };
    for operation in ["PutWarehouse", "PutProduct", "Receive", "Adjust", "Count"] {
        story.tell(operation, "").await;
    }
    let text = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let cart = text(&story.tell("MakeCart", "").await);
    story.tell("PutCartLine", &cart).await;
    // Shipped, corrected, delivered, returned; and one that is rejected.
    let (order, shipment) = story.delivered().await;
    story.tell("CorrectShipment", &shipment).await;
    story.tell("DeliverShipment", &shipment).await;
    let returned = text(&story.tell("ReturnOrder", &order).await);
    story.tell("ApproveReturn", &returned).await;
    story.tell("ReceiveReturn", &returned).await;
    let (order, shipment) = story.delivered().await;
    story.tell("DeliverShipment", &shipment).await;
    let returned = text(&story.tell("ReturnOrder", &order).await);
    story.tell("RejectReturn", &returned).await;
    story.tell("RefundOrder", &order).await;
    let (_, shipment) = story.delivered().await;
    story.tell("LoseShipment", &shipment).await;
    // Changed, paid, cancelled before and after.
    let unpaid = text(&story.unpaid(None).await);
    story.tell("PatchOrder", &unpaid).await;
    story.tell("PayOrder", &unpaid).await;
    let order = story.order().await;
    story.tell("CancelOrder", &order).await;
    // Paid in cash, and paid back.
    let manual = story.unpaid(Some("manual")).await;
    let payment = text(&manual["payments"][0]);
    story.tell("MarkPaid", &payment).await;
    let reservation = text(&story.tell("MakeReservation", "").await);
    story.tell("ExtendReservation", &reservation).await;
    story.tell("CommitReservation", &reservation).await;
    let batch = story.tell("MakeReservations", "").await;
    let held = text(&batch["results"][0]["body"]);
    story.tell("ReleaseReservation", &held).await;
    // What needs another order than the examples make: cash paid back.
    let apart: BTreeSet<String> = ["MarkRefunded"].map(str::to_owned).into();
    let paths = story.document["paths"].as_object().expect("paths");
    for described in paths.values().flat_map(|methods| methods.as_object().into_iter().flatten().map(|(_, one)| one)) {
        // An empty body says nothing that could be wrong.
        let example = described.pointer("/requestBody/content/application~1json/example");
        let has_example = example.is_some_and(|example| *example != json!({}));
        let operation = described["operationId"].as_str().expect("an id");
        assert!(
            !has_example || story.sent.contains(operation) || apart.contains(operation),
            "the example of {operation} was not tried"
        );
    }
}

#[tokio::test]
async fn lists_that_must_not_be_empty_are_refused_when_they_are() {
    let server = Server::start().await;
    let document = server.anyone().get("/openapi.json").await.body;
    let mut story = Story { document, seller: server.seller(), sent: BTreeSet::new(), number: 0 };
    for operation in ["PutWarehouse", "PutProduct", "Receive"] {
        story.tell(operation, "").await;
    }
    let (order, shipment) = story.delivered().await;
    story.tell("DeliverShipment", &shipment).await;
    let returned = story.tell("ReturnOrder", &order).await["id"].as_str().expect("an id").to_owned();
    story.tell("ApproveReturn", &returned).await;
    for (path, body) in [
        (format!("/v1/orders/{order}/returns"), json!({ "lines": [] })),
        (format!("/v1/orders/{order}/refunds"), json!({ "lines": [], "reason": "none" })),
        (format!("/v1/returns/{returned}/receive"), json!({ "lines": [] })),
    ] {
        let answer = story.seller.post(&path, Some("empty"), Some(&body)).await;
        assert_eq!(answer.status, 422, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_described_does_not_exist() {
    let server = Server::start().await;
    let seller: Client = server.seller();
    for path in ["/v1/drops", "/v1/quotes", "/v1/imports", "/v1/orders/ord_x/merge"] {
        assert_eq!(seller.get(path).await.status, 404, "{path} is not built yet, so it is absent");
    }
}

#[tokio::test]
async fn the_page_to_try_it_brings_everything_it_needs() {
    let server = Server::start().await;
    let page = server.anyone().get("/docs").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "nothing is loaded from elsewhere");
    for asset in ["/docs/docs.js", "/docs/docs.css"] {
        assert!(page.text.contains(asset));
        assert_eq!(server.anyone().get(asset).await.status, 200);
    }
}
