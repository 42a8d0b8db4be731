//! More requests than there is room for, and callers who send more than they may: 503 is ours, 429 is theirs, both say when to come back.

use crate::client::{Client, Connection};
use crate::server::{KEY, Server, order_of, paid_order_of};
use doorbuster_api::admission::{PriorityClass, Rate};
use doorbuster_api::{SocketLimits, ApiSettings, bind, serve};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use warp::Filter;

/// So many places, and nobody waits for one.
fn places(places: usize) -> ApiSettings {
    let mut settings = ApiSettings::default();
    let admission = &mut settings.admission;
    (admission.places_start, admission.places_min, admission.places_max) = (places, places, places);
    admission.line_wait_ms = 0;
    settings
}

/// The same, and whoever finds none waits for it as long as a test may take.
fn places_and_a_line(number: usize) -> ApiSettings {
    let mut settings = places(number);
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
    assert_eq!((again.status, again.replayed()), (201, false), "{again:?}");
}

#[tokio::test]
async fn who_guesses_at_keys_is_charged_to_the_address() {
    let mut settings = ApiSettings::default();
    settings.admission.address = ONE_OF_THREE;
    let server = Server::with(SocketLimits::default(), settings).await;
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
    let mut settings = ApiSettings::default();
    settings.admission.key = ONE_OF_THREE;
    let server = Server::with(SocketLimits::default(), settings).await;
    let mut told = BTreeSet::new();
    for _ in 0..10 {
        told.insert(server.seller().get("/v1/warehouses/lon1").await.status);
    }
    assert_eq!(told, BTreeSet::from([404, 429]));
}

#[tokio::test]
async fn everybody_who_finds_no_place_is_told_when_to_come_back_and_not_all_the_same() {
    let server = Server::with(SocketLimits::default(), places(0)).await;
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
    assert_eq!(browse().await.status, 200, "the places came back with their answers");
}

fn cart_of(key: &str) -> Vec<u8> {
    let head = "POST /v1/carts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    format!("{head}Authorization: Bearer {KEY}\r\nIdempotency-Key: {key}\r\n\r\n{{}}").into_bytes()
}

/// As many wait in line as are meant to.
async fn wait_in_line(server: &Server, number: usize) {
    waits_for(|| async { server.door.admission.queued() == number }).await;
}

/// A node of one place, and who has it for a while.
async fn full(settings: ApiSettings) -> (Server, Connection) {
    // Whoever was refused keeps its connection until there is room, which takes longer than idle ones are kept.
    let limits = SocketLimits { header_read_timeout: Duration::from_secs(60), ..SocketLimits::default() };
    let server = Server::with(limits, settings).await;
    server.with_stock("NOVA-42", 5).await;
    let inside = stays_inside(&server, "inside").await;
    waits_for(|| async { server.door.admission.in_flight() == 1 }).await;
    (server, inside)
}

#[tokio::test]
async fn who_finds_no_place_waits_and_is_served_by_the_one_that_is_given_back() {
    let (server, mut inside) = full(places_and_a_line(1)).await;
    let mut line = Vec::new();
    for number in 0..3 {
        let mut connection = Connection::open(server.address).await;
        connection.write(&cart_of(&format!("c{number}"))).await;
        line.push(connection);
        wait_in_line(&server, number + 1).await;
    }
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    for mut connection in line {
        assert_eq!(connection.read().await.expect("an answer").status, 201, "nobody is forgotten in line");
    }
    wait_in_line(&server, 0).await;
}

#[tokio::test]
async fn nobody_waits_in_line_for_ever_and_the_connection_of_who_was_refused_is_as_good_as_before() {
    let mut settings = places_and_a_line(1);
    settings.admission.line_wait_ms = 50;
    let (server, mut inside) = full(settings).await;
    let mut connection = Connection::open(server.address).await;
    connection.write(&cart_of("c")).await;
    let refused = connection.read().await.expect("an answer");
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(server.door.admission.refused(PriorityClass::Cart), 1, "and it is counted");
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    connection.write(&cart_of("c")).await;
    assert_eq!(connection.read().await.expect("an answer").status, 201, "the same connection, the same key");
}

#[tokio::test]
async fn who_hangs_up_leaves_the_line_and_is_not_served() {
    let (server, mut inside) = full(places_and_a_line(1)).await;
    let mut stays = Connection::open(server.address).await;
    stays.write(&cart_of("stays")).await;
    wait_in_line(&server, 1).await;
    let mut leaves = Connection::open(server.address).await;
    leaves.write(&cart_of("leaves")).await;
    wait_in_line(&server, 2).await;
    drop(leaves);
    wait_in_line(&server, 1).await;
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    assert_eq!(stays.read().await.expect("an answer").status, 201, "whoever stays is served");
    let again = server.seller().post("/v1/carts", Some("leaves"), Some(&json!({}))).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, None), "nothing was made for whoever left");
}

#[tokio::test]
async fn a_line_is_only_so_long() {
    let mut settings = places_and_a_line(1);
    settings.admission.line_max = 1;
    let (server, mut inside) = full(settings).await;
    let mut first = Connection::open(server.address).await;
    first.write(&cart_of("first")).await;
    wait_in_line(&server, 1).await;
    assert_eq!(server.seller().post("/v1/carts", Some("second"), Some(&json!({}))).await.status, 503);
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    assert_eq!(first.read().await.expect("an answer").status, 201);
}

#[tokio::test]
async fn who_ends_an_order_is_called_before_those_who_begin_one() {
    let server = Server::with(SocketLimits::default(), places_and_a_line(1)).await;
    server.with_stock("NOVA-42", 5).await;
    let placed = server.seller().post("/v1/orders", Some("placed"), Some(&order_of("NOVA-42", 1))).await;
    let cancel = format!(
        "POST /v1/orders/{}/cancel HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: cancel\r\nContent-Length: 0\r\n\r\n",
        placed.body["id"].as_str().expect("an id")
    );
    let mut inside = stays_inside(&server, "inside").await;
    waits_for(|| async { server.door.admission.in_flight() == 1 }).await;
    let mut cancelling = Connection::open(server.address).await;
    cancelling.write(cancel.as_bytes()).await;
    wait_in_line(&server, 1).await;
    // Newer, and another slow one: had it been called first, the cancellation would wait for its payment, too.
    let mut slow = stays_inside(&server, "slow").await;
    wait_in_line(&server, 2).await;
    assert_eq!(inside.read().await.expect("an answer").status, 201);
    assert_eq!(cancelling.read().await.expect("an answer").status, 200);
    assert!(server.door.admission.queued() + server.door.admission.in_flight() > 0, "the other one is not answered yet");
    assert_eq!(slow.read().await.expect("an answer").status, 201);
}

#[tokio::test]
async fn while_it_is_full_nothing_is_made_of_a_request() {
    let server = Server::with(SocketLimits::default(), places(0)).await;
    let (made, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&made);
    let filter = warp::any().map(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        warp::reply()
    });
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16, false).expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let serving =
        serve(listener, Some(server.gate.clone()), filter, SocketLimits::default(), Arc::default(), std::future::pending());
    let serving = tokio::spawn(serving.expect("room for a thread"));
    for path in ["/v1/orders", "/v1/reservations", "/v1/carts"] {
        let answer = Client::new(address).bearer(KEY).post(path, Some("k"), Some(&json!({}))).await;
        seen.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
    }
    assert_eq!((seen.load(Ordering::Relaxed), made.load(Ordering::Relaxed)), (3, 0));
    serving.abort();
}

#[tokio::test]
async fn a_body_that_drips_takes_no_place_and_a_client_that_leaves_gives_its_own_back() {
    let server = Server::with(SocketLimits::default(), places(1)).await;
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
    let mut settings = ApiSettings::default();
    settings.admission.slow_bodies_bytes_max = 100_000;
    settings.requests.body_timeout_ms = 60_000;
    let server = Server::with(SocketLimits::default(), settings).await;
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
