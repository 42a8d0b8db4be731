//! Overload and rate limits: 503 when the node has no permit, 429 when the caller has reached its rate limit, both with Retry-After.

use crate::client::{Client, Connection};
use crate::server::{KEY, Server, order_of, paid_order_of};
use doorbuster_api::admission::{PriorityClass, Rate};
use doorbuster_api::{ApiSettings, SocketLimits, bind, serve};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use warp::Filter;

/// This many permits, and no wait queue.
fn permits(permits: usize) -> ApiSettings {
    let mut settings = ApiSettings::default();
    let admission = &mut settings.admission;
    (admission.places_start, admission.places_min, admission.places_max) = (permits, permits, permits);
    admission.line_wait_ms = 0;
    settings
}

/// The same, with a wait queue in which requests wait as long as a test may take.
fn permits_and_a_queue(number: usize) -> ApiSettings {
    let mut settings = permits(number);
    settings.admission.line_wait_ms = 30_000;
    settings
}

const ONE_OF_THREE: Rate = Rate { per_s: 1, burst: 3 };

#[tokio::test]
async fn a_guest_beyond_its_quota_is_429_and_another_is_served() {
    let mut settings = ApiSettings::default();
    settings.admission.guest = Rate { per_s: 1, burst: 3 };
    let server = Server::with(SocketLimits::default(), settings).await;
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
    let mut settings = ApiSettings::default();
    settings.admission.guest = Rate { per_s: 2, burst: 1 };
    let server = Server::with(SocketLimits::default(), settings).await;
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
    assert_eq!((again.status, again.is_replayed()), (201, false), "{again:?}");
}

#[tokio::test]
async fn who_guesses_at_keys_is_charged_to_the_address() {
    let mut settings = ApiSettings::default();
    settings.admission.address = ONE_OF_THREE;
    let server = Server::with(SocketLimits::default(), settings).await;
    let mut statuses = BTreeSet::new();
    for guess in 0..20 {
        let answer = server.anyone().bearer(&format!("sk_guess{guess}")).get("/v1/warehouses/lon1").await;
        statuses.insert(answer.status);
    }
    assert_eq!(statuses, BTreeSet::from([401, 429]));
    assert_eq!(
        server.seller().get("/v1/warehouses/lon1").await.status,
        404,
        "a good key is not its neighbours' victim"
    );
}

#[tokio::test]
async fn a_key_that_was_given_a_quota_keeps_to_it() {
    let mut settings = ApiSettings::default();
    settings.admission.key = ONE_OF_THREE;
    let server = Server::with(SocketLimits::default(), settings).await;
    let mut statuses = BTreeSet::new();
    for _ in 0..10 {
        statuses.insert(server.seller().get("/v1/warehouses/lon1").await.status);
    }
    assert_eq!(statuses, BTreeSet::from([404, 429]));
}

#[tokio::test]
async fn requests_without_a_permit_get_different_retry_afters() {
    let server = Server::with(SocketLimits::default(), permits(0)).await;
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
async fn browsing_is_refused_first_then_carts_and_a_payment_is_still_admitted() {
    // Of ten permits: one for completion, three for checkout, two for carts, four for all.
    let mut settings = permits(10);
    let admission = &mut settings.admission;
    (admission.completion_reserved_percent, admission.checkout_reserved_percent) = (10, 30);
    admission.cart_reserved_percent = 20;
    let server = Server::with(SocketLimits::default(), settings).await;
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
    assert_eq!(browse().await.status, 200, "the permits were released with their answers");
}

fn cart_of(key: &str) -> Vec<u8> {
    let head = "POST /v1/carts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    format!("{head}Authorization: Bearer {KEY}\r\nIdempotency-Key: {key}\r\n\r\n{{}}").into_bytes()
}

/// Waits until this many requests are queued.
async fn queued(server: &Server, number: usize) {
    waits_for(|| async { server.pipeline.admission.queued() == number }).await;
}

/// A node of one permit, and the connection that has it for a while.
async fn full(settings: ApiSettings) -> (Server, Connection) {
    // A refused request keeps its connection until there is room, which takes longer than the usual timeout of idle ones.
    let limits = SocketLimits { header_read_timeout: Duration::from_secs(60), ..SocketLimits::default() };
    let server = Server::with(limits, settings).await;
    server.with_stock("NOVA-42", 5).await;
    let inside = stays_inside(&server, "inside").await;
    waits_for(|| async { server.pipeline.admission.in_flight() == 1 }).await;
    (server, inside)
}

#[tokio::test]
async fn a_request_without_a_permit_waits_and_gets_the_one_that_is_released() {
    let (server, mut inside) = full(permits_and_a_queue(1)).await;
    let mut queue = Vec::new();
    for number in 0..3 {
        let mut connection = Connection::open(server.address).await;
        connection.write(&cart_of(&format!("c{number}"))).await;
        queue.push(connection);
        queued(&server, number + 1).await;
    }
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    for mut connection in queue {
        assert_eq!(connection.read().await.expect("an answer").status, 201, "no queued request is forgotten");
    }
    queued(&server, 0).await;
}

#[tokio::test]
async fn a_queued_request_times_out_and_its_connection_stays_usable() {
    let mut settings = permits_and_a_queue(1);
    settings.admission.line_wait_ms = 50;
    let (server, mut inside) = full(settings).await;
    let mut connection = Connection::open(server.address).await;
    connection.write(&cart_of("c")).await;
    let refused = connection.read().await.expect("an answer");
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(server.pipeline.admission.refused(PriorityClass::Cart), 1, "and it is counted");
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    connection.write(&cart_of("c")).await;
    assert_eq!(connection.read().await.expect("an answer").status, 201, "the same connection, the same key");
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_the_queue_and_is_not_served() {
    let (server, mut inside) = full(permits_and_a_queue(1)).await;
    let mut stays = Connection::open(server.address).await;
    stays.write(&cart_of("stays")).await;
    queued(&server, 1).await;
    let mut leaves = Connection::open(server.address).await;
    leaves.write(&cart_of("leaves")).await;
    queued(&server, 2).await;
    drop(leaves);
    queued(&server, 1).await;
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    assert_eq!(stays.read().await.expect("an answer").status, 201, "a request that stays is served");
    let again = server.seller().post("/v1/carts", Some("leaves"), Some(&json!({}))).await;
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (201, None),
        "nothing was made for the request that left"
    );
}

#[tokio::test]
async fn the_wait_queue_is_bounded() {
    let mut settings = permits_and_a_queue(1);
    settings.admission.line_max = 1;
    let (server, mut inside) = full(settings).await;
    let mut first = Connection::open(server.address).await;
    first.write(&cart_of("first")).await;
    queued(&server, 1).await;
    assert_eq!(server.seller().post("/v1/carts", Some("second"), Some(&json!({}))).await.status, 503);
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    assert_eq!(first.read().await.expect("an answer").status, 201);
}

#[tokio::test]
async fn completion_is_woken_before_checkout() {
    let server = Server::with(SocketLimits::default(), permits_and_a_queue(1)).await;
    server.with_stock("NOVA-42", 5).await;
    let placed = server.seller().post("/v1/orders", Some("placed"), Some(&order_of("NOVA-42", 1))).await;
    let cancel = format!(
        "POST /v1/orders/{}/cancel HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: cancel\r\nContent-Length: 0\r\n\r\n",
        placed.body["id"].as_str().expect("an id")
    );
    let mut inside = stays_inside(&server, "inside").await;
    waits_for(|| async { server.pipeline.admission.in_flight() == 1 }).await;
    let mut cancelling = Connection::open(server.address).await;
    cancelling.write(cancel.as_bytes()).await;
    queued(&server, 1).await;
    // Newer, and another slow one: had it been called first, the cancellation would wait for its payment, too.
    let mut slow = stays_inside(&server, "slow").await;
    queued(&server, 2).await;
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    assert_eq!(cancelling.read().await.expect("an answer").status, 200);
    assert!(
        server.pipeline.admission.queued() + server.pipeline.admission.in_flight() > 0,
        "the other one is not answered yet"
    );
    assert_eq!(slow.read().await.expect("an answer").status, 201);
}

#[tokio::test]
async fn without_permits_no_request_reaches_the_filter() {
    let server = Server::with(SocketLimits::default(), permits(0)).await;
    let (made, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&made);
    let filter = warp::any().map(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        warp::reply()
    });
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16).expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let serving = serve(
        listener,
        doorbuster_api::server::Runtimes::current(),
        Some(server.gate.clone()),
        filter,
        SocketLimits::default(),
        Arc::default(),
        std::future::pending(),
    );
    let serving = tokio::spawn(serving.expect("room for a thread"));
    for path in ["/v1/orders", "/v1/reservations", "/v1/carts"] {
        let answer = Client::new(address).bearer(KEY).post(path, Some("k"), Some(&json!({}))).await;
        seen.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
    }
    assert_eq!((seen.load(Ordering::Relaxed), made.load(Ordering::Relaxed)), (3, 0));
    serving.abort();
}

#[tokio::test]
async fn a_slow_body_takes_no_permit_and_a_client_that_disconnects_releases_its_own() {
    let server = Server::with(SocketLimits::default(), permits(1)).await;
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
        "its body is whole: it acquires a permit like others"
    );
    drop(dripping);
    assert_eq!(seller.get("/v1/products/none").await.status, 404);
}

#[tokio::test]
async fn slow_bodies_are_bounded_together() {
    let mut settings = ApiSettings::default();
    settings.admission.slow_bodies_bytes_max = 100_000;
    settings.requests.body_timeout_ms = 60_000;
    let server = Server::with(SocketLimits::default(), settings).await;
    let head = format!(
        "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n"
    );
    // All but one byte of each arrives: what is only announced counts nothing.
    let all_but_one = format!("{head}Content-Length: 60000\r\n\r\n{}", " ".repeat(59_999));
    let mut waiting = Connection::open(server.address).await;
    waiting.write(all_but_one.as_bytes()).await;
    let refused = || async {
        let mut next = Connection::open(server.address).await;
        next.write(all_but_one.as_bytes()).await;
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
