//! Slow, stalled and too many sockets; pipelines; draining. Bounds are short here so that a test need not wait for the real ones.

use crate::client::Connection;
use crate::server::{KEY, Server};
use doorbuster_api::{ApiSettings, SocketLimits};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn short() -> (SocketLimits, ApiSettings) {
    let limits = SocketLimits { header_read_timeout: Duration::from_millis(200), ..SocketLimits::default() };
    let mut settings = ApiSettings::default();
    settings.requests.body_timeout_ms = 200;
    (limits, settings)
}

const POST: &str = "POST /v1/carts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_everything\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn idle_and_dripping_connections_are_closed() {
    let (limits, settings) = short();
    let server = Server::with(limits, settings).await;
    let mut idle = Connection::open(server.address).await;
    let mut dripping = Connection::open(server.address).await;
    dripping.write(b"GET /v1/ord").await;
    assert!(idle.is_closed().await);
    assert!(dripping.is_closed().await);
    let mut kept = Connection::open(server.address).await;
    kept.write(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(kept.read().await.expect("an answer").status, 200);
    assert!(kept.is_closed().await, "a kept connection that falls idle is closed too");
}

#[tokio::test]
async fn a_body_that_stalls_is_a_408() {
    let (limits, settings) = short();
    let server = Server::with(limits, settings).await;
    let mut stalled = Connection::open(server.address).await;
    stalled.write(format!("{POST}Content-Length: 20\r\n\r\n{{\"cur").as_bytes()).await;
    let answer = stalled.read().await.expect("an answer");
    assert_eq!((answer.status, answer.code()), (408, "request_timeout"));
    assert!(stalled.is_closed().await);
    let mut chunked = Connection::open(server.address).await;
    chunked.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n").as_bytes()).await;
    assert_eq!(chunked.read().await.expect("an answer").status, 408);
}

#[tokio::test]
async fn a_chunked_body_that_never_ends_is_too_large() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.address).await;
    connection.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..5 {
        connection.write(chunk.as_bytes()).await;
    }
    assert_eq!(connection.read().await.expect("an answer").status, 413);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let answer = server.anyone().with("X-Long", &"x".repeat(20_000)).get("/docs").await;
    assert_eq!((answer.status, answer.code()), (431, "head_too_large"));
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let server = Server::with(
        SocketLimits { connections_per_address_max: 2, ..SocketLimits::default() },
        ApiSettings::default(),
    )
    .await;
    let get = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(server.address).await;
        connection.write(get).await;
        assert_eq!(connection.read().await.expect("an answer").status, 200);
        kept.push(connection);
    }
    let mut third = Connection::open(server.address).await;
    assert_eq!(third.read().await.expect("a refusal").status, 429);
    kept.clear();
    while server.counts.open.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut again = Connection::open(server.address).await;
    again.write(get).await;
    assert_eq!(again.read().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn too_many_connections_and_too_many_requests_are_503() {
    let server =
        Server::with(SocketLimits { connections_max: 0, ..SocketLimits::default() }, ApiSettings::default()).await;
    let mut connection = Connection::open(server.address).await;
    let refused = connection.read().await.expect("a refusal");
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
    let mut settings = ApiSettings::default();
    (settings.admission.places_min, settings.admission.places_max) = (0, 0);
    let server = Server::with(SocketLimits::default(), settings).await;
    let refused = server.anyone().get("/docs").await;
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.address).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    let cart = format!("{POST}Content-Length: 2\r\n\r\n{{}}");
    let pipeline = [get("/docs"), get("/nothing"), cart, get("/openapi.json")].concat();
    connection.write(pipeline.as_bytes()).await;
    for status in [200, 404, 201, 200] {
        assert_eq!(connection.read().await.expect("an answer").status, status);
    }
}

#[tokio::test]
async fn a_stopping_server_answers_what_it_has_begun_and_closes_the_rest() {
    let mut server = Server::start().await;
    let mut idle = Connection::open(server.address).await;
    idle.write(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(idle.read().await.expect("an answer").status, 200);
    assert_eq!(server.stop().await, 0);
    assert!(idle.is_closed().await);
}
