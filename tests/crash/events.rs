//! Events through kills: a reader that goes on from its cursor sees each durable event once, in order.

use crate::node::{Door, Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is told of an order that is paid at once.
const OF_A_PAID_ORDER: [&str; 6] = [
    "order.placed",
    "order.payment_required",
    "payment.started",
    "payment.authorized",
    "order.confirmed",
    "payment.captured",
];

/// A reader that keeps its cursor.
struct Follower {
    door: Door,
    cursor: Option<String>,
    seen: Vec<Value>,
}

impl Follower {
    fn new(door: Door) -> Self {
        Self { door, cursor: None, seen: Vec::new() }
    }

    /// Reads on: what came, and whether it was something.
    async fn read(&mut self, wait_s: u32) -> bool {
        let path = match &self.cursor {
            Some(cursor) => format!("/v1/events?limit=7&cursor={cursor}"),
            None => "/v1/events?limit=7".to_owned(),
        };
        let page = shop::good(&self.door, &Call::get(path).waiting(wait_s)).await.body;
        let cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
        let has_moved = self.cursor.replace(cursor.clone()) != Some(cursor);
        self.seen.extend(page["data"].as_array().expect("events").iter().cloned());
        has_moved
    }

    /// The ids of what it saw, by subject, in the order it saw them.
    fn by_subject(&self) -> BTreeMap<String, Vec<(u64, String, String)>> {
        let mut all: BTreeMap<String, Vec<(u64, String, String)>> = BTreeMap::new();
        for event in &self.seen {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
            let subject = format!("{} {}", text("/subject/kind"), text("/subject/id"));
            let seq = event["seq"].as_u64().expect("a number");
            all.entry(subject).or_default().push((seq, text("/id"), text("/type")));
        }
        all
    }
}

/// All events of an order's own journal, by id.
async fn journal_of(door: &Door, order: &str) -> BTreeMap<String, u64> {
    let events = shop::read(door, &format!("/v1/orders/{order}/events?limit=200")).await;
    let events = events.as_array().expect("a list").iter();
    events
        .map(|event| (event["id"].as_str().expect("an id").to_owned(), event["number"].as_u64().expect("one")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v3_a_follower_sees_each_durable_event_once_and_in_order_through_kills() {
    let mut node = Node::started(quick()).await;
    shop::open(&node.door(), "nova-low", &[("A", 1_000), ("B", 1_000)]).await;
    let mut follower = Follower::new(node.door());
    let is_over = Arc::new(AtomicBool::new(false));
    let following = {
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                follower.read(1).await;
            }
            follower
        })
    };
    let mut orders = Vec::new();
    for round in 0..4 {
        for number in 0..8 {
            let body = shop::paid(shop::order(&[(if number % 2 == 0 { "A" } else { "B" }, 1)]), "tok_ok");
            let call = Call::post("/v1/orders", format!("k{round}-{number}"), body).waiting(10);
            let order = shop::good(&node.door(), &call).await;
            orders.push(order.text_at("/id").to_owned());
        }
        node.kill().await;
        node.start().await;
    }
    for order in &orders {
        until("the order to be confirmed", PATIENCE, || async {
            let order = shop::read(&node.door(), &format!("/v1/orders/{order}")).await;
            let states = json!([order["status"], order["payment_status"]]);
            if states == json!(["confirmed", "captured"]) { Ok(()) } else { Err(states.to_string()) }
        })
        .await;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut follower = following.await.expect("it does not panic");
    while follower.read(0).await {}
    let seen = follower.by_subject();
    let mut told = 0;
    for order in &orders {
        let journal = journal_of(&node.door(), order).await;
        let mut types = Vec::new();
        for (subject, events) in &seen {
            let is_of_order =
                subject.ends_with(order.as_str()) || events.iter().all(|(_, id, _)| journal.contains_key(id));
            if !is_of_order {
                continue;
            }
            assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0), "{subject}: {events:?}");
            for (seq, id, kind) in events {
                assert_eq!(journal.get(id), Some(seq), "{subject}: {id} is not in the journal as it was told");
                types.push(kind.as_str());
            }
        }
        types.sort_unstable();
        let mut expected = OF_A_PAID_ORDER.to_vec();
        expected.sort_unstable();
        assert_eq!(types, expected, "{order}");
        told += types.len();
    }
    let others: usize = follower.seen.len() - told;
    assert_eq!(others, 3, "the product, and what was received of each SKU");
    // Whoever begins now sees the same.
    let mut late = Follower::new(node.door());
    while late.read(0).await {}
    assert_eq!(late.by_subject(), seen);
    node.assert_no_panic();
}
