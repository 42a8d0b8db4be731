//! Who may do what: keys with scopes, guests, holders of an order's token; and what others get.

use crate::server::{CATALOG_KEY, FOREIGN_KEY, Server, order_of, signed};
use doorbuster_api::caller::{GUEST_COOKIE, LOCAL_GUEST_COOKIE};
use doorbuster_api::{ApiSettings, SocketLimits};
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderReport, Reference};
use doorbuster_payments::{SignedWebhook, WebhookEvent};
use serde_json::json;

#[tokio::test]
async fn a_missing_and_an_invalid_credential_are_401() {
    let server = Server::start().await;
    let body = order_of("A", 1);
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";
    let expiring = "eyJhbGciOiJFZERTQSJ9.eyJleHAiOiIxIn0.AAAA";
    for token in ["sk_wrong", "gt_forged", "ot_forged", none, expiring, "x"] {
        let answer = server.anyone().bearer(token).post("/v1/orders", Some("k"), Some(&body)).await;
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{token}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(server.anyone().post("/v1/orders", Some("k"), Some(&body)).await.status, 401);
    let forged = server.anyone().with("Cookie", &format!("{LOCAL_GUEST_COOKIE}=gt_AAAA")).get("/v1/products/x").await;
    assert_eq!(forged.status, 401, "a forged cookie is not an anonymous request");
}

#[tokio::test]
async fn a_scope_that_is_missing_is_403() {
    let server = Server::start().await;
    let catalog = server.anyone().bearer(CATALOG_KEY);
    for (method, path) in [("POST", "/v1/orders"), ("GET", "/v1/inventory/A"), ("POST", "/v1/orders/ord_x/refunds")] {
        let answer = catalog.send(method, path, Some("k"), Some("{}")).await;
        assert_eq!((answer.status, answer.code()), (403, "missing_scope"), "{path}");
    }
    let guest = server.guest().await;
    for path in ["/v1/products/x", "/v1/warehouses/x"] {
        assert_eq!(guest.put(path, &json!({})).await.status, 403, "a shopper on the seller's API");
    }
}

#[tokio::test]
async fn another_callers_resource_is_not_found() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let (one, other) = (server.guest().await, server.guest().await);
    let cart = one.post("/v1/carts", Some("c"), None).await;
    let cart_path = format!("/v1/carts/{}", cart.body["id"].as_str().expect("an id"));
    assert_eq!(one.get(&cart_path).await.status, 200);
    assert_eq!(other.get(&cart_path).await.status, 404);
    assert_eq!(other.put(&format!("{cart_path}/lines/A"), &json!({ "quantity": 1 })).await.status, 404);
    let stolen = json!({ "cart_id": cart.body["id"], "buyer": {} });
    assert_eq!(other.post("/v1/orders", Some("s"), Some(&stolen)).await.status, 404);

    let order = one.post("/v1/orders", Some("o"), Some(&order_of("A", 1))).await;
    assert_eq!(order.status, 201, "{order:?}");
    let path = order.header("location").expect("a place").to_owned();
    let token = order.body["order_token"].as_str().expect("a token");
    assert_eq!(one.get(&path).await.status, 200);
    assert_eq!(server.anyone().bearer(token).get(&path).await.status, 200, "the token reads its order");
    assert_eq!(server.seller().get(&path).await.status, 200, "the shop sees its orders");
    for stranger in [&other, &server.anyone().bearer(FOREIGN_KEY)] {
        assert_eq!(stranger.get(&path).await.status, 404);
        assert_eq!(stranger.get(&format!("{path}/events")).await.status, 404);
        assert_eq!(stranger.post(&format!("{path}/cancel"), Some("x"), None).await.status, 404);
        let payment = json!({ "method": "card", "token": "tok_ok" });
        assert_eq!(stranger.post(&format!("{path}/payment"), Some("x"), Some(&payment)).await.status, 404);
    }
    let second = one.post("/v1/orders", Some("o2"), Some(&order_of("A", 1))).await;
    let second_path = second.header("location").expect("a place");
    assert_eq!(server.anyone().bearer(token).get(second_path).await.status, 404, "a token is for one order");
}

#[tokio::test]
async fn a_cookie_reads_anywhere_and_writes_only_from_our_own_pages() {
    let server = Server::start().await;
    let made = server.anyone().post("/v1/guests", None, None).await;
    let cookie = made.header("set-cookie").expect("a cookie");
    assert!(
        cookie.starts_with(LOCAL_GUEST_COOKIE) && !cookie.contains("Secure"),
        "a browser on this machine: {cookie}"
    );
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let guest = server.anyone().with("Cookie", cookie.split(';').next().expect("a pair"));
    assert_eq!(guest.post("/v1/carts", Some("k"), None).await.code(), "foreign_origin");
    let foreign = guest.clone().with("Origin", "http://evil.example");
    assert_eq!(foreign.post("/v1/carts", Some("k"), None).await.status, 403);
    let own = guest.clone().with("Origin", "http://localhost");
    let cart = own.post("/v1/carts", Some("k"), None).await;
    assert_eq!(cart.status, 201, "{cart:?}");
    let path = format!("/v1/carts/{}", cart.body["id"].as_str().expect("an id"));
    assert_eq!(guest.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_cookie_of_a_shop_on_the_internet_is_secure_and_the_hosts_own() {
    let server = Server::start().await;
    let proxied = server.anyone().with("X-Forwarded-For", "192.0.2.1");
    let made = proxied.post("/v1/guests", None, None).await;
    let cookie = made.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with(GUEST_COOKIE) && cookie.contains("; Secure"), "{cookie}");
    assert!(cookie.contains("; Path=/;") && !cookie.contains("Domain"), "what `__Host-` asks for: {cookie}");
    let guest = proxied.with("Cookie", cookie.split(';').next().expect("a pair")).with("Origin", "http://localhost");
    assert_eq!(guest.post("/v1/carts", Some("k"), None).await.status, 201);
}

#[tokio::test]
async fn an_orders_token_ends_with_its_life() {
    for (life_s, status) in [(3_600, 200), (0, 401)] {
        let mut settings = ApiSettings::default();
        settings.requests.order_token_life_s = life_s;
        let server = Server::with(SocketLimits::default(), settings).await;
        server.with_stock("A", 10).await;
        let buyer = server.guest().await;
        let order = buyer.post("/v1/orders", Some("o"), Some(&order_of("A", 1))).await;
        let path = order.header("location").expect("a place").to_owned();
        let holder = server.anyone().bearer(order.body["order_token"].as_str().expect("a token"));
        assert_eq!(holder.get(&path).await.status, status);
        assert_eq!(holder.get(&format!("{path}/events")).await.status, status);
        assert_eq!(holder.post(&format!("{path}/cancel"), Some("c"), None).await.status, status);
        assert_eq!(buyer.get(&path).await.status, 200, "who placed it needs no token");
    }
}

pub(crate) async fn hand_in(server: &Server, webhook: &SignedWebhook, signature: &str) -> u16 {
    let body = String::from_utf8(webhook.body.to_vec()).expect("it is JSON");
    let provider = server
        .anyone()
        .with("webhook-id", &webhook.id)
        .with("webhook-timestamp", &webhook.timestamp)
        .with("webhook-signature", signature);
    provider.send("POST", "/v1/providers/simulated/webhooks", None, Some(&body)).await.status
}

#[tokio::test]
async fn a_webhook_is_believed_when_signed_and_young_and_changes_nothing_the_second_time() {
    let server = Server::start().await;
    let reference = Reference { order: OrderId(1 << 64), operation: Operation::Authorize, payment: 1, attempt: 1 };
    let answer = ProviderAnswer::Declined { code: "x".into(), retry: doorbuster_domain::payment::Retry::Never };
    let event = WebhookEvent { id: "evt_1".into(), report: ProviderReport { reference, amount: None, answer } };
    let now = SystemClock.now();
    let webhook = signed(&event, now);
    assert_eq!(hand_in(&server, &webhook, "v1,AAAA").await, 401);
    let old = signed(&event, doorbuster_domain::time::Timestamp(now.0 - 301_000));
    assert_eq!(hand_in(&server, &old, &old.signature).await, 401);
    // Of an order that is none of ours: acknowledged, or it would come for ever.
    assert_eq!(hand_in(&server, &webhook, &webhook.signature).await, 200);
    assert_eq!(hand_in(&server, &webhook, &webhook.signature).await, 200);
    let unknown = server.anyone().send("POST", "/v1/providers/nobody/webhooks", None, Some("{}")).await;
    assert_eq!(unknown.status, 404);
}
