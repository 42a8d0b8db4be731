//! What is around a request: its id, the form of its answer, pages of other origins.

use crate::server::{FOREIGN_KEY, Server};
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::json;

const SHOP: &str = "https://shop.example";

async fn open_to_pages() -> Server {
    let mut settings = ApiSettings::default();
    settings.requests.cors_origins = vec![SHOP.to_owned()];
    Server::with(SocketLimits::default(), settings).await
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request_and_a_problem_names_it() {
    let server = Server::start().await;
    let mine = "Root=1-67891233:abc";
    let asked = server.anyone().with("X-Request-Id", mine);
    for path in ["/openapi.json", "/v1/products/none", "/nothing", "/v1/products/a?b=c", "/v1/orders/x"] {
        let answer = asked.get(path).await;
        assert_eq!(answer.header("x-request-id"), Some(mine), "{path}");
        if answer.status >= 400 {
            assert_eq!(answer.body["instance"], mine, "{path}");
        }
    }
    for unlawful in ["", "two words", "<x>", &"x".repeat(129)] {
        let answer = server.anyone().with("X-Request-Id", unlawful).get("/nothing").await;
        let made = answer.header("x-request-id").expect("an id");
        assert!(made.starts_with("req_") && answer.body["instance"] == made, "{answer:?}");
    }
    let [one, other] = [server.anyone().get("/docs").await, server.anyone().get("/docs").await];
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}

#[tokio::test]
async fn an_answer_that_the_caller_does_not_take_is_406() {
    let server = Server::start().await;
    for (path, accept, status) in [
        ("/openapi.json", "application/json", 200),
        ("/openapi.json", "text/html, */*;q=0.1", 200),
        ("/openapi.json", "text/csv", 406),
        ("/openapi.json", "application/json;q=0, */*", 406),
        ("/docs", "text/html,application/xhtml+xml", 200),
        ("/docs", "application/json", 406),
    ] {
        let answer = server.anyone().with("Accept", accept).get(path).await;
        assert_eq!(answer.status, status, "{path} {accept}");
    }
    let csv = server.seller().with("Accept", "text/csv");
    let cart = csv.post("/v1/carts", Some("k"), None).await;
    assert_eq!((cart.status, cart.code()), (406, "not_acceptable"), "and nothing is made: {cart:?}");
}

#[tokio::test]
async fn pages_of_listed_origins_ask_and_read() {
    let server = open_to_pages().await;
    let page = server.anyone().with("Origin", SHOP);
    let question = page.clone().with("Access-Control-Request-Method", "PUT");
    let answer = question.send("OPTIONS", "/v1/products/x", None, None).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PUT")), "{answer:?}");
    let headers = answer.header("access-control-allow-headers").expect("headers");
    assert!(headers.contains("Authorization") && headers.contains("Idempotency-Key"), "{headers}");
    assert_eq!(answer.header("access-control-allow-credentials"), None, "cookies stay at home");
    let read = page.get("/v1/products/none").await;
    assert_eq!(
        (read.status, read.header("access-control-allow-origin")),
        (404, Some(SHOP)),
        "problems can be read too"
    );
    assert!(read.header("access-control-expose-headers").is_some_and(|headers| headers.contains("ETag")));
    assert_eq!(read.header("vary"), Some("Origin"));
    assert_eq!(question.send("OPTIONS", "/nothing", None, None).await.status, 404);
}

#[tokio::test]
async fn pages_of_other_origins_neither_ask_nor_read() {
    let server = open_to_pages().await;
    for origin in ["https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null"] {
        let page = server.anyone().with("Origin", origin);
        let question = page.clone().with("Access-Control-Request-Method", "GET");
        let answer = question.send("OPTIONS", "/v1/products/x", None, None).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{origin}");
        assert_eq!(page.get("/openapi.json").await.header("access-control-allow-origin"), None);
    }
    // Where none is listed, there is nothing to ask.
    let closed = Server::start().await;
    let page = closed.anyone().with("Origin", SHOP).with("Access-Control-Request-Method", "GET");
    assert_eq!(page.send("OPTIONS", "/openapi.json", None, None).await.status, 405);
    assert_eq!(page.get("/openapi.json").await.header("vary"), Some("Accept-Encoding"), "it does not vary by origin");
}

/// There are no shoppers' accounts yet, so the platform's key is told so; anyone else may not even ask.
#[tokio::test]
async fn only_the_platform_acts_for_a_shopper() {
    let server = Server::start().await;
    let callers = [server.seller(), server.anyone().bearer(FOREIGN_KEY), server.guest().await];
    for (caller, status) in callers.into_iter().zip([400, 403, 403]) {
        let answer = caller.with("On-Behalf-Of", "cus_1").post("/v1/carts", Some("k"), None).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_country_currency_or_address_is_refused() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let mut order = crate::server::order_of("A", 1);
    for (pointer, wrong) in [
        ("/ship_to/country", json!("XX")),
        ("/buyer/email", json!("no address")),
        ("/lines/0/expected_unit_price", json!({ "amount": 1, "currency": "QQQ" })),
    ] {
        let mut body = order.clone();
        let (object, field) = pointer.rsplit_once('/').expect("a field");
        body.pointer_mut(object).expect("an object")[field] = wrong;
        let answer = server.seller().post("/v1/orders", Some("wrong"), Some(&body)).await;
        assert_eq!((answer.status, answer.code()), (422, "invalid"), "{pointer}: {answer:?}");
    }
    order["payment"] = json!({ "method": "card", "token": "tok_okay" });
    let waiting = server.seller().with("Prefer", "wait=10");
    let misspelt = waiting.post("/v1/orders", Some("misspelt"), Some(&order)).await;
    assert_eq!(misspelt.body["status"], "awaiting_payment", "{misspelt:?}");
    assert_eq!(misspelt.body["last_error"]["code"], "unknown_token");
}
