//! Secret keys: the first one cannot be lost, and what is made or revoked beside a running node holds for the next request.

use crate::node::{Node, quick};
use doorbuster_test_kit::client::{Answer, Call, Client};
use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;

const SCOPES: &str = "catalog,inventory,orders";

async fn asked_with(node: &Node, key: &str) -> Answer {
    Client::default().send(node.public(), key, &Call::get("/v1/inventory/none")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_finds_its_port_taken_makes_no_key() {
    let mut node = Node::new(quick());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for port in ["--listen", "--operator-listen"] {
        let ended = node.run(&[port, &address]).await;
        assert!(!ended.status.success() && ended.all().contains(&address), "{}", ended.all());
        assert!(!node.data().join("keys.jsonl").exists(), "{port}: a key was made that nobody saw");
    }
    node.start().await;
    assert!(node.stdout().contains("key sk_"), "{}", node.stdout());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_could_not_show_its_key_is_followed_by_one_that_shows_another() {
    let mut node = Node::new(quick());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = node.command(&[]).stdout(full).status().unwrap();
    assert!(!status.success(), "it ends when it cannot show the key");
    node.start().await;
    assert!(node.stdout().contains("key sk_"), "{}", node.stdout());
    node.stop().await;
    node.start().await;
    assert!(!node.stdout().contains("key sk_"), "it was shown: {}", node.stdout());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_or_revoked_beside_a_running_node_holds_for_the_next_request() {
    let node = Node::started(quick()).await;
    for _ in 0..3 {
        let made = node.run(&["key", "create", "--account", "sel_main", "--scopes", SCOPES]).await;
        assert!(made.status.success(), "{}", made.all());
        let key = made.stdout.lines().find(|line| line.starts_with("sk_")).unwrap();
        let id = made.stdout.split_whitespace().next().unwrap();
        assert_eq!(asked_with(&node, key).await.status, 404);
        let listed: Value = serde_json::from_str(&node.run(&["key", "list", "--json"]).await.stdout).unwrap();
        let listed: Vec<&Value> = listed.as_array().unwrap().iter().filter(|listed| listed["id"] == id).collect();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!((&listed[0]["account"], &listed[0]["never_shown"]), (&"sel_main".into(), &false.into()));
        let revoked = node.run(&["key", "revoke", id]).await;
        assert!(revoked.status.success(), "{}", revoked.all());
        assert_eq!(asked_with(&node, key).await.status, 401);
        assert!(!node.run(&["key", "list"]).await.stdout.contains(id));
    }
    let again = node.run(&["key", "revoke", "key_none"]).await;
    assert!(!again.status.success() && again.stderr.contains("there is no key key_none"), "{}", again.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_of_keys_stops_the_start_and_stays_as_it_is() {
    let mut node = Node::started(quick()).await;
    node.stop().await;
    let path = node.data().join("keys.jsonl");
    let damaged = std::fs::read_to_string(&path).unwrap().replacen("made", "mede", 1);
    std::fs::write(&path, &damaged).unwrap();
    for arguments in [vec![], vec!["key", "create", "--account", "sel_main", "--scopes", SCOPES]] {
        let ended = node.run(&arguments).await;
        assert!(!ended.status.success() && ended.stderr.contains("line 1 cannot be read"), "{}", ended.all());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    }
}
