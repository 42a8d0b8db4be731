//! `GET /v1/events`: pages that go on from a cursor, waits, streams, and who may read them.

use crate::client::{Answer, Client};
use crate::owners::SELLER;
use crate::server::{Server, order_of, paid_order_of};
use doorbuster_api::keys::Scope;
use doorbuster_api::settings::RequestSettings;
use doorbuster_api::{ApiSettings, SocketLimits};
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn placed(client: &Client, key: &str, body: &Value) -> String {
    let answer = client.clone().with("Prefer", "wait=10").post("/v1/orders", Some(key), Some(body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().expect("an id").to_owned()
}

async fn page(client: &Client, query: &str) -> (Vec<Value>, String) {
    let answer = client.get(&format!("/v1/events?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let data = answer.body["data"].as_array().expect("events").clone();
    (data, answer.body["next_cursor"].as_str().expect("a cursor").to_owned())
}

/// All events behind a cursor, and the cursor behind them.
async fn all(client: &Client, query: &str, cursor: Option<&str>) -> (Vec<Value>, String) {
    let mut events = Vec::new();
    let mut at = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    loop {
        let (more, next) = page(client, &format!("{query}{at}")).await;
        events.extend(more);
        if at == format!("&cursor={next}") {
            return (events, next);
        }
        at = format!("&cursor={next}");
    }
}

fn types_of<'a>(events: &'a [Value], order: &str) -> Vec<&'a str> {
    let of = events.iter().filter(|event| event["subject"]["id"] == order || event["data"]["order"] == order);
    of.map(|event| event["type"].as_str().expect("a type")).collect()
}

#[tokio::test]
async fn pages_of_any_length_tell_each_event_once_in_order_and_nothing_personal() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let (before, cursor) = all(&seller, "limit=3", None).await;
    let kinds: BTreeSet<&str> = before.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["product.created", "inventory.received"]));
    let paid = placed(&seller, "k1", &paid_order_of("A", 2, "tok_ok")).await;
    let unpaid = placed(&seller, "k2", &order_of("A", 1)).await;
    assert!(seller.post(&format!("/v1/orders/{unpaid}/cancel"), Some("k3"), None).await.is_good());
    let (events, end) = all(&seller, "limit=2", Some(&cursor)).await;
    assert_eq!(
        types_of(&events, &paid),
        [
            "order.placed",
            "order.payment_required",
            "payment.started",
            "payment.authorized",
            "order.confirmed",
            "payment.captured"
        ]
    );
    assert_eq!(types_of(&events, &unpaid), ["order.placed", "order.payment_required", "order.cancelled"]);
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), events.len(), "none came twice");
    let text = json!(events).to_string();
    assert!(!text.contains("a@b.example") && !text.contains("High St"), "{text}");
    let first = events.iter().find(|event| event["type"] == "order.placed").expect("one");
    assert_eq!(first["data"]["currency"], "GBP");
    assert!(first["at"].is_string() && first["data"]["expires_at"].is_string(), "{first}");
    // From the beginning the same, and behind the end nothing.
    let (whole, _) = all(&seller, "limit=200", None).await;
    let all_ids: BTreeSet<&str> = whole.iter().filter_map(|event| event["id"].as_str()).collect();
    assert!(ids.is_subset(&all_ids) && whole.len() == before.len() + events.len());
    assert_eq!(page(&seller, &format!("cursor={end}")).await, (vec![], end));
}

#[tokio::test]
async fn a_page_is_as_new_as_the_answer_to_an_order() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let (_, mut cursor) = all(&seller, "limit=200", None).await;
    for number in 0..20 {
        let order = placed(&seller, &format!("k{number}"), &order_of("A", 1)).await;
        let (events, next) = page(&seller, &format!("limit=200&cursor={cursor}")).await;
        assert_eq!(types_of(&events, &order), ["order.placed", "order.payment_required"], "at once");
        cursor = next;
    }
}

#[tokio::test]
async fn only_the_types_that_are_wanted_come() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    placed(&seller, "k1", &paid_order_of("A", 1, "tok_ok")).await;
    let kinds = async |types: &str| {
        let (events, _) = all(&seller, &format!("types={types}"), None).await;
        let kinds = events.iter().map(|event| event["type"].as_str().expect("a type").to_owned());
        kinds.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kinds("order.*").await, "order.confirmed order.payment_required order.placed");
    assert_eq!(kinds("order.confirmed,%20inventory.*").await, "inventory.received order.confirmed");
}

#[tokio::test]
async fn a_wait_is_answered_once_something_has_happened_and_not_before() {
    let server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let (_, cursor) = all(&seller, "limit=200", None).await;
    let path = format!("/v1/events?types=order.placed&cursor={cursor}");
    let waiting = {
        let (seller, path) = (seller.clone().with("Prefer", "wait=30"), path.clone());
        tokio::spawn(async move { seller.get(&path).await })
    };
    while server.pipeline.followers.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    let order = placed(&seller, "k1", &order_of("A", 1)).await;
    let answer: Answer = waiting.await.expect("it does not panic");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["data"][0]["subject"]["id"], order.as_str());
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    // Nothing of this kind happens: the wait ends, and the cursor is where it was or later.
    let answer = seller.with("Prefer", "wait=1").get(&format!("/v1/events?types=return.*&cursor={cursor}")).await;
    assert_eq!((answer.status, &answer.body["data"]), (200, &json!([])));
    assert!(answer.body["next_cursor"].is_string());
}

/// A stream of events, read until it has this text.
struct Stream(TcpStream, String);

impl Stream {
    async fn open(server: &Server, key: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).await.expect("it accepts");
        let request = format!(
            "GET /v1/events?types=order.placed HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        Self(stream, String::new())
    }

    async fn until(&mut self, text: &str) {
        let reading = async {
            while !self.1.contains(text) {
                let mut bytes = [0; 4_096];
                let read = self.0.read(&mut bytes).await.expect("it is open");
                assert!(read > 0, "the stream ended with {}", self.1);
                self.1.push_str(std::str::from_utf8(&bytes[..read]).expect("it is text"));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_late| panic!("{text} does not come"));
    }

    /// The newest id.
    fn last_id(&self) -> &str {
        let (_, behind) = self.1.rsplit_once("id: ").expect("an id");
        behind.lines().next().expect("a line")
    }
}

#[tokio::test]
async fn a_stream_goes_on_is_taken_up_again_and_ends_with_the_server() {
    let mut server = Server::start().await;
    server.with_stock("A", 100).await;
    let seller = server.seller();
    let first = placed(&seller, "k1", &order_of("A", 1)).await;
    let mut stream = Stream::open(&server, crate::server::KEY, "").await;
    stream.until(&first).await;
    assert!(stream.1.contains("content-type: text/event-stream") && stream.1.contains("event: order.placed\ndata: {"));
    let second = placed(&seller, "k2", &order_of("A", 1)).await;
    stream.until(&second).await;
    stream.until("id: ").await;
    let id = stream.last_id().to_owned();
    drop(stream);
    let third = placed(&seller, "k3", &order_of("A", 1)).await;
    let mut again = Stream::open(&server, crate::server::KEY, &format!("Last-Event-ID: {id}\r\n")).await;
    again.until(&third).await;
    assert!(!again.1.contains(&first), "{}", again.1);
    assert_eq!(server.stop().await, 0, "it is not cut off");
}

#[tokio::test]
async fn as_many_follow_as_may() {
    let requests = RequestSettings { event_followers_max: 1, ..RequestSettings::default() };
    let settings = ApiSettings { requests, ..ApiSettings::default() };
    let server = Server::with(SocketLimits::default(), settings).await;
    let mut stream = Stream::open(&server, crate::server::KEY, "").await;
    stream.until("\r\n\r\n").await;
    let seller = server.seller();
    let (_, cursor) = all(&seller, "", None).await;
    let answer = seller.clone().with("Prefer", "wait=30").get(&format!("/v1/events?cursor={cursor}")).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (200, None), "at once");
    let refused = seller.with("Accept", "text/event-stream").get("/v1/events").await;
    assert_eq!((refused.status, refused.code()), (503, "overloaded"));
    drop(stream);
    // Its place is free once the server has noticed.
    until("its place is free again", PATIENCE, || async {
        match server.pipeline.followers.count() {
            0 => Ok(()),
            count => Err(count),
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_cursor_or_no_type_is_refused_and_a_seller_does_not_read_the_whole_shop() {
    let others: [(&str, &str, &[Scope]); 2] =
        [(SELLER, "sel_b", &Scope::ALL), ("sk_orders", "sel_main", &[Scope::Orders])];
    let server = Server::with_keys(SocketLimits::default(), ApiSettings::default(), &others).await;
    server.with_stock("A", 10).await;
    let seller = server.seller();
    let (_, end) = all(&seller, "", None).await;
    // Each shard as far as no journal goes.
    let ahead = "ZXZ0MToAAP____8H_____wf_____Bw";
    for (query, status, code) in [
        ("cursor=", 400, "invalid_cursor"),
        ("cursor=nonsense", 400, "invalid_cursor"),
        (&*format!("cursor={ahead}"), 400, "invalid_cursor"),
        (&*format!("cursor={}", &end[..end.len() - 4]), 400, "invalid_cursor"),
        ("types=", 422, "invalid"),
        ("types=orders", 422, "invalid"),
        ("types=*", 422, "invalid"),
        ("types=order", 422, "invalid"),
        ("limit=0", 422, "invalid"),
        ("limit=201", 422, "invalid"),
        ("since=1", 422, "invalid"),
    ] {
        let answer = seller.get(&format!("/v1/events?{query}")).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{query}");
    }
    let last = seller.clone().with("Last-Event-ID", "nonsense").get("/v1/events").await;
    assert_eq!((last.status, last.code()), (400, "invalid_cursor"));
    for key in [SELLER, "sk_orders"] {
        let answer = Client::new(server.address).bearer(key).get("/v1/events").await;
        assert_eq!((answer.status, answer.code()), (403, "missing_scope"), "{key}");
    }
    let csv = seller.with("Accept", "text/csv").get("/v1/events").await;
    assert_eq!(csv.status, 406);
}
