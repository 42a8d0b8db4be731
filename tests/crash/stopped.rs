//! One process at a time; a polite stop answers what it took; whatever the stop was like, everything is there afterwards.

use crate::node::{Node, quick};
use crate::oracle::is_confirmed;
use crate::provider::Provider;
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::Value;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_refused_to_any_other_process() {
    let mut node = Node::started(quick()).await;
    shop::open(&node.door(), "nova-low", &[("A", 10)]).await;
    for arguments in [&[][..], &["audit"], &["journal", "dump"]] {
        let refused = node.run(arguments).await;
        assert!(!refused.status.success(), "{arguments:?} on a folder in use succeeded: {}", refused.all());
        assert!(refused.stderr.contains("in use by another process"), "{arguments:?} said: {}", refused.all());
        assert!(refused.stderr.contains(&node.data().display().to_string()), "which folder? {}", refused.all());
        assert!(!refused.all().contains("panicked"), "{}", refused.all());
    }
    assert_eq!(shop::level(&node.door(), "A").await.on_hand, 10, "the one that was first serves on");
    node.stop().await;
    let audit = node.run(&["audit"]).await;
    assert!(audit.status.success(), "{}", audit.all());
    node.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_answers_what_is_under_way_and_the_next_start_finds_a_clean_stop() {
    sigterm("per_core").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_one_runtime_for_all() {
    sigterm("shared").await;
}

async fn sigterm(runtimes: &str) {
    let provider = Provider::started("instant", 1).await;
    let settings = quick().with("payments.timeout_ms", 10_000).with("node.runtimes", runtimes);
    let mut node = Node::started(provider.settings(settings)).await;
    provider.calls_back(&node);
    shop::open(&node.door(), "nova-low", &[("A", 10)]).await;
    let door = node.door();
    let done = shop::good(
        &door,
        &Call::post("/v1/orders", "done", shop::paid(shop::order(&[("A", 1)]), "tok_ok")).waiting(10),
    )
    .await;
    assert!(is_confirmed(&done.body), "{done}");

    // `tok_slow` takes the provider five seconds: the stop comes in the middle.
    let call = Call::post("/v1/orders", "slow", shop::paid(shop::order(&[("A", 2)]), "tok_slow")).waiting(20);
    let under_way = tokio::spawn({
        let (door, call) = (door.clone(), call.clone());
        async move { door.send(&call).await }
    });
    until("a saga in flight", PATIENCE, || async {
        let sagas = door.operate(&Call::get("/admin/sagas")).await.map_err(|lost| lost.to_string())?;
        let charging =
            sagas.body["data"].as_array().is_some_and(|open| open.iter().any(|saga| saga["status"] == "authorizing"));
        if charging { Ok(()) } else { Err(sagas.to_string()) }
    })
    .await;
    node.terminate();
    let answer =
        under_way.await.expect("no panic").unwrap_or_else(|lost| panic!("a request under way was cut off: {lost}"));
    assert!(matches!(answer.status, 201 | 202 | 503), "{answer}");
    let ended = node.ended(PATIENCE).await;
    assert!(ended.status.success(), "SIGTERM ended it with {}: {}", ended.status, ended.all());
    assert!(ended.stdout.contains("stopped"), "it says how it stopped: {}", ended.stdout);

    node.start().await;
    provider.calls_back(&node);
    assert!(
        node.stdout().contains("the last stop was a clean one"),
        "the start says that the stop was clean: {}",
        node.stdout()
    );
    assert_confirmed(&node, "done", &call_of("done", 1, "tok_ok")).await;
    assert_confirmed(&node, "slow", &call).await;
    assert_eq!(shop::level(&node.door(), "A").await.on_hand, 7);

    // The seal of the clean stop goes with the first append (rule L5).
    shop::receive(&node.door(), "A", 1, "after").await;
    node.kill().await;
    node.start().await;
    assert!(node.stdout().contains("the last stop was not a clean one"), "SIGKILL is no clean stop: {}", node.stdout());
    assert_eq!(shop::level(&node.door(), "A").await.on_hand, 8);
    node.stop().await;
    node.assert_no_panic();
}

fn call_of(key: &str, units: u32, token: &str) -> Call {
    Call::post("/v1/orders", key, shop::paid(shop::order(&[("A", units)]), token))
}

/// The order that this call made is confirmed, soon.
async fn assert_confirmed(node: &Node, key: &str, call: &Call) {
    let order = node.door().insist(call).await;
    assert!(order.is_good(), "{key}: {order}");
    let path = format!("/v1/orders/{}", order.text_at("/id"));
    until("the confirmation", PATIENCE, || async {
        let order = shop::read(&node.door(), &path).await;
        if is_confirmed(&order) { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_cannot_drain_in_time_ends_all_the_same_and_the_saga_goes_on() {
    let provider = Provider::started("instant", 1).await;
    let settings = quick().with("payments.timeout_ms", 10_000).with("node.drain_timeout_ms", 300);
    let mut node = Node::started(provider.settings(settings)).await;
    provider.calls_back(&node);
    shop::open(&node.door(), "nova-low", &[("A", 10)]).await;
    let call = call_of("slow", 2, "tok_slow");
    let placed = shop::good(&node.door(), &call).await;
    node.terminate();
    let ended = node.ended(Duration::from_secs(30)).await;
    assert!(ended.status.success(), "SIGTERM ended it with {}: {}", ended.status, ended.all());
    node.start().await;
    provider.calls_back(&node);
    let path = format!("/v1/orders/{}", placed.text_at("/id"));
    let order: Value = until("the confirmation", PATIENCE, || async {
        let order = shop::read(&node.door(), &path).await;
        if is_confirmed(&order) { Ok(order) } else { Err(order.to_string()) }
    })
    .await;
    assert_eq!(provider.disagreements(&[order]).await, Vec::<String>::new());
    node.stop().await;
    node.assert_no_panic();
}
