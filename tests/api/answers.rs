//! What is around an answer: its coding, the id of its request, and its line in the access log.

use crate::client::{Client, Connection};
use crate::server::{KEY, Server, order_of};
use doorbuster_api::settings::AccessLog;
use doorbuster_api::{ApiSettings, SocketLimits};
use serde_json::json;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The bytes of an answer, which need not be text.
async fn raw_answer(server: &Server, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address).await.expect("it accepts");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer, and the end");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text").to_ascii_lowercase();
    (head, bytes.split_off(end + 4))
}

#[tokio::test]
async fn long_reads_are_compressed_for_those_who_ask() {
    let server = Server::start().await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}\r\n");
    let (head, plain) = raw_answer(&server, &get("/openapi.json", "")).await;
    assert!(head.contains("vary: accept-encoding") && !head.contains("content-encoding"), "{head}");
    for (asked, coding) in [("gzip", "gzip"), ("gzip, br;q=0.9", "gzip"), ("gzip, br", "br"), ("*;q=0.1", "br")] {
        let (head, coded) = raw_answer(&server, &get("/openapi.json", &format!("Accept-Encoding: {asked}\r\n"))).await;
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{asked}: {head}");
        assert!(head.contains(&format!("content-length: {}", coded.len())) && coded.len() * 2 < plain.len(), "{head}");
        let mut read = Vec::new();
        match coding {
            "br" => brotli::BrotliDecompress(&mut &*coded, &mut read).expect("it reads back"),
            _ => drop(std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*coded), &mut read).expect("too")),
        }
        assert!(read == plain, "{asked}");
    }
    for (path, asked) in [("/openapi.json", "identity"), ("/openapi.json", "br;q=0"), ("/v1/products/none", "gzip")] {
        let (head, _) = raw_answer(&server, &get(path, &format!("Accept-Encoding: {asked}\r\n"))).await;
        assert!(!head.contains("content-encoding"), "{path} {asked}: {head}");
    }
    let mut settings = ApiSettings::default();
    settings.requests.compress_from_bytes = 0;
    let server = Server::with(SocketLimits::default(), settings).await;
    let (head, _) = raw_answer(&server, &get("/openapi.json", "Accept-Encoding: gzip\r\n")).await;
    assert!(!head.contains("content-encoding") && !head.contains("vary"), "{head}");
}

/// Whoever read a compressed answer may name its tag wherever the plain one's would do.
#[tokio::test]
async fn the_tag_of_a_compressed_answer_names_its_version() {
    let mut settings = ApiSettings::default();
    settings.requests.compress_from_bytes = 1;
    let server = Server::with(SocketLimits::default(), settings).await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let placed = seller.post("/v1/orders", Some("a"), Some(&order_of("A", 1))).await;
    let path = format!("/v1/orders/{}", placed.body["id"].as_str().expect("an id"));
    let plain = seller.get(&path).await.header("etag").expect("a version").to_owned();
    for coding in ["br", "gzip"] {
        let more = format!("Authorization: Bearer {KEY}\r\nAccept-Encoding: {coding}\r\n");
        let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}\r\n");
        let (head, _) = raw_answer(&server, &get).await;
        let tag = format!("{}-{coding}\"", plain.strip_suffix('"').expect("it is quoted"));
        assert!(head.contains(&format!("\r\netag: {tag}\r\n")), "{head}");
        let known = server.seller().with("If-None-Match", &tag).get(&path).await;
        assert_eq!((known.status, known.header("etag")), (304, Some(tag.as_str())));
    }
    let tag = format!("{}-br\"", plain.strip_suffix('"').expect("it is quoted"));
    let note = json!({ "note": "ring twice" });
    let changed = server.seller().with("If-Match", &tag).patch(&path, &note).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let late = server.seller().with("If-Match", &tag).patch(&path, &note).await;
    assert_eq!((late.status, late.code()), (412, "stale_version"), "{late:?}");
    assert_eq!(server.seller().with("If-None-Match", &tag).get(&path).await.status, 200);
}

/// Also what never reaches a handler has an id, which its problem names.
#[tokio::test]
async fn answers_of_the_socket_layer_name_their_request() {
    let server = Server::with(
        SocketLimits { request_timeout: Duration::from_millis(200), ..SocketLimits::default() },
        ApiSettings::default(),
    )
    .await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    let late =
        "POST /v1/providers/simulated/webhooks HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 5\r\n\r\n{";
    for (request, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Request-Id: mine\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (&long, 431),
        (late, 503),
    ] {
        let mut connection = Connection::open(server.address).await;
        connection.write(request.as_bytes()).await;
        let answer = connection.read().await.expect("an answer");
        let id = answer.header("x-request-id").unwrap_or_default().to_owned();
        let is_own = request.contains("X-Request-Id: mine");
        assert!(if is_own { id == "mine" } else { id.starts_with("req_") }, "{request:.60}: {answer:?}");
        assert_eq!((answer.status, &answer.body["instance"]), (status, &serde_json::json!(id)), "{answer:?}");
    }
    // Behind an answer of its own, `hyper` refuses what it cannot parse.
    let mut connection = Connection::open(server.address).await;
    connection.write(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n").await;
    connection.read().await.expect("an answer");
    connection.write(b"GET / HTTP/9.9\r\nHost: a\r\n\r\n").await;
    let answer = connection.read().await.expect("an answer");
    assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{answer:?}");
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the lines of the access log, of all servers of this process.
struct AccessLines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").expect("a text grows");
    }
}

impl Subscriber for AccessLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "access"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn lines_of(request: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(&format!("request=\"{request}\""))).cloned().collect()
}

/// The same three requests: a good one with personal data, a refused one with an id in its path, one of no route.
async fn three(server: &Server, name: &str) {
    server.with_stock("A", 10).await;
    let as_request = |client: Client, number: usize| client.with("X-Request-Id", &format!("{name}-{number}"));
    let mut order = order_of("A", 1);
    order["buyer"]["email"] = "person@shop.example".into();
    let placed = as_request(server.seller(), 1).post("/v1/orders", Some("secret-key"), Some(&order)).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(as_request(server.seller(), 2).get("/v1/inventory/person%2C?name=x").await.status, 422);
    assert_eq!(as_request(server.anyone(), 3).get("/v1/people/person").await.status, 404);
}

#[tokio::test]
async fn the_access_log_has_the_requests_that_are_asked_for_and_nothing_personal() {
    tracing::subscriber::set_global_default(AccessLines).expect("no other test of this program sets one");
    for (log, name) in [(AccessLog::Off, "off"), (AccessLog::Errors, "errors"), (AccessLog::All, "all")] {
        let mut settings = ApiSettings::default();
        settings.requests.access_log = log;
        let server = Server::with(SocketLimits::default(), settings).await;
        three(&server, name).await;
        let found: Vec<Vec<String>> = (1..=3).map(|number| lines_of(&format!("{name}-{number}"))).collect();
        let expected = match log {
            AccessLog::Off => [0, 0, 0],
            AccessLog::Errors => [0, 1, 1],
            AccessLog::All => [1, 1, 1],
        };
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{log:?}: {found:?}");
        let all = found.concat().concat();
        for personal in ["person", "secret-key", "example", "127.0.0.1", "sk_", "ord_", "Buyer"] {
            assert!(!all.contains(personal), "{personal} in {all}");
        }
        if log == AccessLog::All {
            let [order, refused, nothing] = [&found[0][0], &found[1][0], &found[2][0]];
            assert!(order.contains("method=POST route=\"/v1/orders\" status=201 "), "{order}");
            assert!(refused.contains("route=\"/v1/inventory/{sku}\" status=422 "), "{refused}");
            assert!(nothing.contains("route=\"\" status=404 ") && nothing.contains("took_ms="), "{nothing}");
        }
    }
}
