//! A node that takes too much memory ends, and the next one has everything.

use crate::node::{Node, quick};
use crate::oracle::is_confirmed;
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_beyond_its_memory_ends_and_its_successor_has_what_was_acknowledged() {
    let mut node = Node::started(quick()).await;
    shop::open(&node.door(), "nova-low", &[("A", 10)]).await;
    let call = Call::post("/v1/orders", "o", shop::paid(shop::order(&[("A", 1)]), "tok_ok")).waiting(10);
    assert!(is_confirmed(&shop::good(&node.door(), &call).await.body));
    node.kill().await;
    node.begin_with(vec![("DOORBUSTER__NODE__MEMORY_BYTES_MAX".to_owned(), "1000000".to_owned())]);
    let ended = node.ended(PATIENCE).await;
    assert!(!ended.status.success(), "no node fits into a megabyte: {}", ended.all());
    assert!(ended.all().contains("more memory than it may"), "{}", ended.all());
    node.start().await;
    assert!(is_confirmed(&shop::good(&node.door(), &call).await.body));
    node.stop().await;
}
