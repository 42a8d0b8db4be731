//! The program as a shell meets it: statuses, closed pipes, a second Ctrl-C.

use crate::node::{Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_is_no_error() {
    let mut node = Node::started(quick()).await;
    shop::open(&node.door(), "nova-low", &[("A", 10)]).await;
    let made = node.run(&["key", "create", "--account", "sel_main", "--scopes", "orders"]).await;
    assert!(made.status.success(), "{}", made.all());
    node.stop().await;
    for arguments in [
        &["journal", "dump"][..],
        &["key", "list"],
        &["audit"],
        &["config", "check"],
        &["man"],
        &["completions", "bash"],
    ] {
        // The reading end is closed before the program writes.
        let mut child = node.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && stderr.is_empty(), "{arguments:?} ended with {}: {stderr}", ended.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_ends_with_2_and_help_with_0() {
    let node = Node::new(quick());
    let code = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code();
    for arguments in [&["frobnicate"][..], &["--listen", "nowhere"], &["key", "revoke"], &["--config", "/no/such/file"]]
    {
        assert_eq!(code(&mut node.command(arguments)), Some(2), "{arguments:?}");
    }
    assert_eq!(code(node.command(&["config", "check"]).env("DOORBUSTER_API_LISTEN", "127.0.0.1:0")), Some(2));
    for arguments in [&["--version"][..], &["--help"], &["help", "key"], &["config", "check"]] {
        assert_eq!(code(&mut node.command(arguments)), Some(0), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ctrl_c_ends_at_once_and_loses_nothing_that_was_acknowledged() {
    let mut node =
        Node::started(quick().with("payments.timeout_ms", 10_000).with("node.drain_timeout_ms", 60_000)).await;
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 10)]).await;
    let order = shop::paid(shop::order(&[("A", 1)]), "tok_ok");
    let done = shop::good(&door, &Call::post("/v1/orders", "done", order).waiting(10)).await;
    // The provider takes five seconds: the first signal waits for it.
    let slow = Call::post("/v1/orders", "slow", shop::paid(shop::order(&[("A", 2)]), "tok_slow")).waiting(20);
    let under_way = tokio::spawn({
        let door = door.clone();
        async move { door.send(&slow).await }
    });
    until("a payment under way", PATIENCE, || async {
        let sagas = door.operate(&Call::get("/admin/sagas")).await.map_err(|lost| lost.to_string())?;
        let sagas = sagas.body["data"].as_array().cloned().unwrap_or_default();
        if sagas.iter().any(|saga| saga["status"] == "authorizing") { Ok(()) } else { Err(format!("{sagas:?}")) }
    })
    .await;
    node.signal("INT");
    until("the stop to begin", PATIENCE, || async {
        if node.stdout().contains("stopping") { Ok(()) } else { Err(node.stdout()) }
    })
    .await;
    let asked_again = Instant::now();
    node.signal("INT");
    let ended = node.ended(PATIENCE).await;
    assert_eq!(ended.status.code(), Some(130), "{}", ended.all());
    assert!(asked_again.elapsed() < Duration::from_secs(2), "it took {:?}", asked_again.elapsed());
    assert!(under_way.await.unwrap().is_err(), "its connection was cut");
    node.start().await;
    let id = done.body["id"].as_str().unwrap();
    assert_eq!(shop::read(&node.door(), &format!("/v1/orders/{id}")).await["status"], "confirmed");
    node.assert_no_panic();
}
