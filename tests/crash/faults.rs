//! Faults made on purpose in a running node: what they hit starts again or is set aside, and everything else goes on.

use crate::node::{Door, Node, quick};
use crate::oracle::is_confirmed;
use crate::provider::Provider;
use crate::shop;
use doorbuster_test_kit::client::{Answer, Call};
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::{Value, json};

async fn lever(door: &Door, path: &str, body: Value) -> Answer {
    let call = Call { key: None, ..Call::post(path, "", body) };
    until("the lever", PATIENCE, || door.operate(&call)).await
}

async fn fault(door: &Door, fault: Value) {
    let answer = lever(door, "/admin/faults", fault.clone()).await;
    assert_eq!(answer.status, 200, "{fault}: {answer}");
}

async fn node_that_may_fail() -> Node {
    let settings = quick()
        .with("faults.allowed", true)
        .with("entities.restart_delay_min_ms", 5)
        .with("entities.restart_delay_max_ms", 50);
    let node = Node::started(settings).await;
    shop::open(&node.door(), "nova-low", &[("A", 100), ("B", 100)]).await;
    node
}

fn order_of(sku: &str, key: &str) -> Call {
    Call::post("/v1/orders", key, shop::paid(shop::order(&[(sku, 1)]), "tok_ok")).waiting(20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_need_the_configurations_leave() {
    let mut node = Node::started(quick()).await;
    let answer = lever(&node.door(), "/admin/faults", json!({ "fault": "slow_disk", "millis": 1 })).await;
    assert_eq!(answer.status, 403, "{answer}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_that_panics_starts_again_from_its_journal() {
    let mut node = node_that_may_fail().await;
    let door = node.door();
    shop::good(&door, &order_of("A", "before")).await;
    fault(&door, json!({ "fault": "panic", "entity": "inventory/A", "times": 2 })).await;
    let order = shop::good(&door, &order_of("A", "after")).await;
    assert!(is_confirmed(&order.body), "{order}");
    assert_eq!(shop::level(&door, "A").await.on_hand, 98, "nothing was forgotten, nothing done twice");
    assert!(node.stderr().contains("inventory/A"), "the log says which entity panicked: {}", node.stderr());
    let aside = door.operate(&Call::get("/admin/entities/set-aside")).await.expect("an answer");
    assert_eq!(aside.body["data"], json!([]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_that_keeps_failing_is_set_aside_until_an_operator_retries_it_and_the_rest_goes_on() {
    let mut node = node_that_may_fail().await;
    let door = node.door();
    fault(&door, json!({ "fault": "panic", "entity": "inventory/A", "times": 5 })).await;
    let aside = until("the entity set aside", PATIENCE, || async {
        let aside = door.operate(&Call::get("/admin/entities/set-aside")).await.map_err(|lost| lost.to_string())?;
        match aside.body["data"].as_array().and_then(|all| all.first()) {
            Some(one) => Ok(one.clone()),
            None => {
                // It fails whenever it is needed.
                drop(door.send(&Call::get("/v1/inventory/A")).await);
                Err(aside.to_string())
            }
        }
    })
    .await;
    assert_eq!(aside["entity"], "inventory/A", "{aside}");
    assert!(aside["reason"].as_str().is_some_and(|reason| reason.contains("a fault was ordered")), "{aside}");
    assert_eq!(aside["failures"], 5, "{aside}");
    let refused = door.send(&Call::get("/v1/inventory/A")).await.expect("an answer");
    assert_eq!((refused.status, refused.code()), (503, "set_aside"), "{refused}");

    let other = shop::good(&door, &order_of("B", "other")).await;
    assert!(is_confirmed(&other.body), "everything else goes on: {other}");
    let waiting = Call { wait_s: None, ..order_of("A", "waits") };
    drop(door.send(&waiting).await);

    let retry = aside["retry"].as_str().expect("how to retry it").strip_prefix("POST ").expect("a POST").to_owned();
    let answer = lever(&door, &retry, json!({})).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(shop::level(&door, "A").await.on_hand, 100);
    let order = shop::good(&door, &waiting.waiting(20)).await;
    assert!(is_confirmed(&order.body), "what waited for it goes on: {order}");
    assert_eq!(shop::level(&door, "A").await.on_hand, 99);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_whose_steps_are_lost_on_their_way_sends_them_again() {
    let mut node = node_that_may_fail().await;
    let door = node.door();
    for step in ["reserve", "authorize", "commit", "capture"] {
        fault(&door, json!({ "fault": "fail_step", "step": step, "times": 2 })).await;
        let order = shop::good(&door, &order_of("A", step)).await;
        let path = format!("/v1/orders/{}", order.text_at("/id"));
        until("a captured order", PATIENCE, || async {
            let order = shop::read(&door, &path).await;
            if is_confirmed(&order) && order["payment_status"] == "captured" { Ok(()) } else { Err(order.to_string()) }
        })
        .await;
    }
    let cancelled = shop::good(&door, &Call::post("/v1/orders", "cancelled", shop::order(&[("B", 7)]))).await;
    fault(&door, json!({ "fault": "fail_step", "step": "release", "times": 2 })).await;
    let cancel = Call::post(format!("/v1/orders/{}/cancel", cancelled.text_at("/id")), "cancel", json!({}));
    shop::good(&door, &cancel).await;
    until("the stock of a cancelled order", PATIENCE, || async {
        let level = shop::level(&door, "B").await;
        if (level.reserved, level.available) == (0, 100) { Ok(()) } else { Err(format!("{level:?}")) }
    })
    .await;
    assert_eq!(shop::level(&door, "A").await.on_hand, 96);
    let unknown = lever(&door, "/admin/faults", json!({ "fault": "fail_step", "step": "dance" })).await;
    assert_eq!(unknown.status, 409, "{unknown}");
    node.stop().await;
    node.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_answers_late_not_wrong() {
    let provider = Provider::started("instant", 1).await;
    let mut node = Node::started(provider.settings(quick().with("faults.allowed", true))).await;
    provider.calls_back(&node);
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 100)]).await;
    fault(&door, json!({ "fault": "slow_disk", "millis": 100 })).await;
    let orders = (0..10).map(|number| {
        let (door, call) = (door.clone(), order_of("A", &format!("slow-{number}")));
        tokio::spawn(async move { shop::good(&door, &call).await.body })
    });
    let mut confirmed = Vec::new();
    for order in futures_util::future::join_all(orders.collect::<Vec<_>>()).await {
        let order = order.expect("no panic");
        assert!(is_confirmed(&order), "{order}");
        confirmed.push(order);
    }
    // Killed while an append is slow: whatever was answered above is there.
    node.kill().await;
    node.start().await;
    provider.calls_back(&node);
    for order in &confirmed {
        let now = shop::read(&door, &format!("/v1/orders/{}", order["id"].as_str().expect("an id"))).await;
        assert_eq!(crate::oracle::contradiction(order, &now), None);
    }
    assert_eq!(shop::level(&door, "A").await.on_hand, 90);
    node.stop().await;
    node.assert_no_panic();
}
