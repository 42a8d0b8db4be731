//! More requests than there is room for, and callers who send more than they may: 503 is ours, 429 is theirs, both say when to come back.

use crate::client::{Client, Connection};
use crate::server::{KEY, Server, order_of, paid_order_of};
use doorbuster::api::admission::Rate;
use doorbuster::api::{Limits, Settings};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

fn places(places: usize) -> Settings {
    let mut settings = Settings::default();
    let admission = &mut settings.admission;
    (admission.places_start, admission.places_min, admission.places_max) = (places, places, places);
    settings
}

const ONE_OF_THREE: Rate = Rate { per_s: 1, burst: 3 };

#[tokio::test]
async fn a_guest_beyond_its_quota_is_429_and_another_is_served() {
    let mut settings = Settings::default();
    settings.admission.guest = Rate { per_s: 1, burst: 3 };
    let server = Server::with(Limits::default(), settings).await;
    let (greedy, modest) = (server.guest().await, server.guest().await);
    let mut refused = None;
    for _ in 0..20 {
        let answer = greedy.get("/v1/carts/crt_0000000000000000000000000").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("twenty at once are more than three");
    assert_eq!((refused.code(), refused.body["retry"].as_str()), ("too_many_requests", Some("same_key")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.body["retry_after_s"], 1);
    assert_eq!(modest.post("/v1/carts", Some("k"), Some(&json!({}))).await.status, 201);
    // A shop's own servers have no quota unless they are given one.
    for _ in 0..20 {
        assert_eq!(server.seller().get("/v1/products/none").await.status, 404);
    }
}

#[tokio::test]
async fn a_429_binds_no_key() {
    let mut settings = Settings::default();
    settings.admission.guest = Rate { per_s: 2, burst: 1 };
    let server = Server::with(Limits::default(), settings).await;
    server.with_stock("NOVA-42", 5).await;
    let guest = server.guest().await;
    assert_eq!(guest.post("/v1/orders", Some("first"), Some(&order_of("NOVA-42", 1))).await.status, 201);
    let refused = guest.post("/v1/orders", Some("second"), Some(&order_of("NOVA-42", 1))).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let mut again = refused;
    while again.status == 429 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = guest.post("/v1/orders", Some("second"), Some(&order_of("NOVA-42", 1))).await;
    }
    assert_eq!((again.status, again.replayed()), (201, false), "{again:?}");
}

#[tokio::test]
async fn who_guesses_at_keys_is_charged_to_the_address() {
    let mut settings = Settings::default();
    settings.admission.address = ONE_OF_THREE;
    let server = Server::with(Limits::default(), settings).await;
    let mut told = BTreeSet::new();
    for guess in 0..20 {
        let answer = server.anyone().bearer(&format!("sk_guess{guess}")).get("/v1/warehouses/lon1").await;
        told.insert(answer.status);
    }
    assert_eq!(told, BTreeSet::from([401, 429]));
    assert_eq!(
        server.seller().get("/v1/warehouses/lon1").await.status,
        404,
        "a good key is not its neighbours' victim"
    );
}

#[tokio::test]
async fn a_key_that_was_given_a_quota_keeps_to_it() {
    let mut settings = Settings::default();
    settings.admission.key = ONE_OF_THREE;
    let server = Server::with(Limits::default(), settings).await;
    let mut told = BTreeSet::new();
    for _ in 0..10 {
        told.insert(server.seller().get("/v1/warehouses/lon1").await.status);
    }
    assert_eq!(told, BTreeSet::from([404, 429]));
}

#[tokio::test]
async fn everybody_who_finds_no_place_is_told_when_to_come_back_and_not_all_the_same() {
    let server = Server::with(Limits::default(), places(0)).await;
    let mut seconds = BTreeSet::new();
    for _ in 0..10 {
        let refused = server.seller().post("/v1/orders", Some("k"), Some(&order_of("NOVA-42", 1))).await;
        assert_eq!(
            (refused.status, refused.code(), refused.body["retry"].as_str()),
            (503, "overloaded", Some("same_key"))
        );
        let after: u32 = refused.header("retry-after").expect("when").parse().expect("seconds");
        assert_eq!(refused.body["retry_after_s"], after);
        seconds.insert(after);
    }
    assert!(seconds.len() > 1 && seconds.iter().all(|after| (1..=8).contains(after)), "{seconds:?}");
}

/// Opens a connection whose request stays inside: its order waits for a provider that takes its time.
async fn stays_inside(server: &Server, key: &str) -> Connection {
    let body = paid_order_of("NOVA-42", 1, "tok_slow").to_string();
    let mut connection = Connection::open(server.address).await;
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: {key}\r\nPrefer: wait=20\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write(head.as_bytes()).await;
    connection
}

async fn waits_for<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let until = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), until).await.expect("it comes to hold");
}

#[tokio::test]
async fn browsing_is_refused_first_then_carts_and_a_payment_still_comes_in() {
    // Of ten places: one for completion, three for checkout, two for carts, four for all.
    let mut settings = places(10);
    let admission = &mut settings.admission;
    (admission.completion_reserved_percent, admission.checkout_reserved_percent) = (10, 30);
    admission.cart_reserved_percent = 20;
    let server = Server::with(Limits::default(), settings).await;
    server.with_stock("NOVA-42", 50).await;
    let placed = server.seller().post("/v1/orders", Some("placed"), Some(&order_of("NOVA-42", 1))).await;
    let payment = format!("/v1/orders/{}/payment", placed.body["id"].as_str().expect("an id"));
    let anyone = server.anyone();
    let browse = || anyone.get("/v1/products/p-NOVA-42");
    let cart = |key: &'static str| {
        let seller = server.seller();
        async move { seller.post("/v1/carts", Some(key), Some(&json!({}))).await }
    };
    let order = |key: &'static str| {
        let seller: Client = server.seller();
        async move { seller.post("/v1/orders", Some(key), Some(&order_of("NOVA-42", 1))).await }
    };
    let mut inside = Vec::new();
    for number in 0..4 {
        inside.push(stays_inside(&server, &format!("inside-{number}")).await);
    }
    waits_for(|| async { browse().await.status == 503 }).await;
    assert_eq!(cart("c1").await.status, 201);
    for number in 4..6 {
        inside.push(stays_inside(&server, &format!("inside-{number}")).await);
    }
    waits_for(|| async { cart("c1").await.status == 503 }).await;
    assert_eq!(order("o1").await.status, 201);
    for number in 6..9 {
        inside.push(stays_inside(&server, &format!("inside-{number}")).await);
    }
    waits_for(|| async { order("o1").await.status == 503 }).await;
    let paid = server.seller().post(&payment, Some("p"), Some(&json!({ "method": "card", "token": "tok_ok" }))).await;
    assert!(paid.status == 200 || paid.status == 201 || paid.status == 202, "{paid:?}");
    for mut connection in inside {
        assert_eq!(connection.read().await.expect("an answer").status, 201);
    }
    assert_eq!(browse().await.status, 200, "the places came back with their answers");
}

#[tokio::test]
async fn a_body_that_drips_takes_no_place_and_a_client_that_leaves_gives_its_own_back() {
    let server = Server::with(Limits::default(), places(1)).await;
    let seller = server.seller();
    let head = format!(
        "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    );
    let mut dripping = Vec::new();
    for number in 0..50 {
        let mut connection = Connection::open(server.address).await;
        connection.write(format!("{head}Idempotency-Key: d{number}\r\nContent-Length: 2\r\n\r\n{{").as_bytes()).await;
        dripping.push(connection);
    }
    waits_for(|| async { seller.get("/v1/products/none").await.status == 404 }).await;
    let mut last = dripping.pop().expect("fifty");
    last.write(b"}").await;
    assert_eq!(
        last.read().await.expect("an answer").status,
        201,
        "its body came whole: it takes a place like all others"
    );
    drop(dripping);
    assert_eq!(seller.get("/v1/products/none").await.status, 404);
}

#[tokio::test]
async fn bodies_that_are_announced_and_do_not_come_are_bounded_together() {
    let mut settings = Settings::default();
    settings.admission.slow_bodies_bytes_max = 100_000;
    settings.door.body_timeout_ms = 60_000;
    let server = Server::with(Limits::default(), settings).await;
    let head = format!(
        "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n"
    );
    let mut waiting = Connection::open(server.address).await;
    waiting.write(format!("{head}Content-Length: 90000\r\n\r\n{{").as_bytes()).await;
    let refused = || async {
        let mut next = Connection::open(server.address).await;
        next.write(format!("{head}Content-Length: 90000\r\n\r\n{{").as_bytes()).await;
        // While there is room it waits for its body, as it should; then it is looked whether the first one has arrived.
        matches!(tokio::time::timeout(Duration::from_millis(200), next.read()).await, Ok(Some(answer)) if answer.status == 503)
    };
    waits_for(refused).await;
    assert_eq!(
        server.seller().post("/v1/carts", Some("w"), Some(&json!({}))).await.status,
        201,
        "what comes whole is not in the way"
    );
}
