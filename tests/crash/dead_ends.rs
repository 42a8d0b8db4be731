//! What only an operator can take further is listed, and counted by a metric, until it was taken further.

use crate::node::{Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::Value;

/// The metric's value; `None`: it is not there.
async fn counted(node: &Node) -> Option<u64> {
    let text = node.door().operate(&Call::get("/metrics")).await.expect("it answers").text;
    let line = text.lines().find(|line| line.starts_with("doorbuster_orders_need_attention "))?;
    line.split(' ').nth(1)?.parse().ok()
}

async fn until_counted(node: &Node, orders: u64) {
    until("the count", PATIENCE, || async {
        let counted = counted(node).await;
        if counted == Some(orders) { Ok(()) } else { Err(format!("{counted:?} instead of {orders}")) }
    })
    .await;
}

/// Charges of another amount are undone, and an operator is to look at each of them. An order is counted once nothing else can take it further: until
/// its deadline the shopper may still pay it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metric_counts_orders_at_a_dead_end_after_a_restart_too() {
    let mut node = Node::started(quick().with("orders.hold_s", 2)).await;
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 10)]).await;
    until_counted(&node, 0).await;
    let mut references = Vec::new();
    for number in 1..=2 {
        let order = shop::paid(shop::order(&[("A", 1)]), "tok_other_amount");
        let placed = shop::good(&door, &Call::post("/v1/orders", format!("o{number}"), order)).await;
        references.push(placed.text_at("/id").to_owned());
        until_counted(&node, number).await;
    }
    shop::good(&door, &Call::post("/v1/orders", "good", shop::paid(shop::order(&[("A", 1)]), "tok_ok")).waiting(10))
        .await;
    until_counted(&node, 2).await;
    node.stop().await;
    node.start().await;
    until_counted(&node, 2).await;
    let sagas = node.door().operate(&Call::get("/admin/sagas")).await.expect("it answers");
    let listed: Vec<&str> = sagas.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|saga| saga["order"].as_str().or_else(|| saga["id"].as_str()))
        .collect();
    for order in &references {
        assert!(
            listed.iter().any(|listed| listed.contains(order.as_str())),
            "{order}: {}",
            Value::from(sagas.text.clone())
        );
    }
}
