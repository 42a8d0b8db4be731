//! Lists through kills: every acknowledged order is listed once, also when the index is lost.

use crate::node::{Door, Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

/// The orders of all pages, each with its status. None stands there twice.
async fn listed(door: &Door) -> BTreeMap<String, String> {
    let mut orders = BTreeMap::new();
    let mut path = "/v1/orders?limit=7".to_owned();
    loop {
        let page = shop::read(door, &path).await;
        for order in page["data"].as_array().expect("a list") {
            let text = |name: &str| order[name].as_str().expect("a text").to_owned();
            assert_eq!(orders.insert(text("id"), text("status")), None, "listed twice");
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return orders };
        path = format!("/v1/orders?limit=7&cursor={cursor}");
    }
}

async fn are_listed(door: &Door, expected: &BTreeMap<String, String>) {
    until("the list of all orders", PATIENCE, || async {
        let found = listed(door).await;
        if found == *expected { Ok(()) } else { Err(format!("{} of {} are listed", found.len(), expected.len())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_order_is_listed_once_through_kills_and_a_lost_index() {
    let mut node = Node::started(quick()).await;
    shop::open(&node.door(), "nova-low", &[("A", 1_000)]).await;
    let mut expected = BTreeMap::new();
    for round in 0..4 {
        for number in 0..10 {
            let mut body = shop::order(&[("A", 1)]);
            if number % 3 > 0 {
                body["payment"] = json!(shop::payment("tok_ok"));
            }
            let call = Call::post("/v1/orders", format!("k{round}-{number}"), body).waiting(10);
            let order = shop::good(&node.door(), &call).await;
            expected.insert(order.text_at("/id").to_owned(), order.text_at("/status").to_owned());
        }
        // In the second round the index is killed wherever it is.
        if round != 1 {
            are_listed(&node.door(), &expected).await;
        }
        node.kill().await;
        if round == 2 {
            fs::remove_dir_all(node.data().join("index")).expect("there is an index");
        }
        node.start().await;
        are_listed(&node.door(), &expected).await;
    }
    node.assert_no_panic();
}
