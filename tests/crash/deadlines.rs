//! Actors that are not needed leave memory; their deadlines fire all the same, also those that passed while nothing ran.

use crate::node::{Door, Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::settings::Settings;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::Value;
use std::time::{Duration, Instant};

fn settings() -> Settings {
    quick().with("entities.idle_ms", 50).with("orders.hold_s", 2)
}

/// All units are free again, without a request for the order.
async fn stock_is_free(door: &Door, units: u64) {
    until("the stock of an unpaid order", PATIENCE, || async {
        let level = shop::level(door, "A").await;
        if (level.available, level.reserved) == (units, 0) { Ok(()) } else { Err(format!("{level:?}")) }
    })
    .await;
}

async fn residents(door: &Door) -> u64 {
    let call = Call::get("/admin/shards");
    let shards = until("the shards", PATIENCE, || door.operate(&call)).await.expect(&call, 200);
    let of = |shard: &Value| shard["resident"].as_u64().expect("a number of residents");
    shards.body["data"].as_array().expect("shards").iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaid_order_expires_although_its_actor_has_left() {
    let mut node = Node::started(settings()).await;
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 10)]).await;
    let order = shop::good(&door, &Call::post("/v1/orders", "unpaid", shop::order(&[("A", 3)]))).await;
    assert_eq!(shop::level(&door, "A").await.reserved, 3);
    until("an empty memory", PATIENCE, || async {
        match residents(&door).await {
            0 => Ok(()),
            some => Err(format!("{some} entities are in memory")),
        }
    })
    .await;
    stock_is_free(&door, 10).await;
    let order = shop::read(&door, &format!("/v1/orders/{}", order.text_at("/id"))).await;
    assert_eq!(order["status"], "expired");
    node.stop().await;
    node.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passed_while_nothing_ran_fires_after_the_start() {
    for killed in [true, false] {
        let mut node = Node::started(settings()).await;
        let door = node.door();
        shop::open(&door, "nova-low", &[("A", 10)]).await;
        let order = shop::good(&door, &Call::post("/v1/orders", "unpaid", shop::order(&[("A", 3)]))).await;
        let placed = Instant::now();
        assert_eq!(order.text_at("/status"), "awaiting_payment");
        if killed {
            node.kill().await;
        } else {
            node.stop().await;
        }
        tokio::time::sleep_until((placed + Duration::from_millis(2_100)).into()).await;
        node.start().await;
        stock_is_free(&door, 10).await;
        let order = shop::read(&door, &format!("/v1/orders/{}", order.text_at("/id"))).await;
        assert_eq!(order["status"], "expired", "after SIGKILL: {killed}");
        node.stop().await;
        node.assert_no_panic();
    }
}
