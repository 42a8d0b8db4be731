//! The nodes' board and what all nodes share (rule O6).

use super::keyspace;
use doorbuster_storage::Shard;
use doorbuster_storage::registry::{NodeId, NodeRow, NodeState, Registry, RegistryError};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

fn row(name: &str, beat: u64) -> NodeRow {
    NodeRow {
        id: NodeId { name: name.to_owned(), incarnation: 0 },
        beat,
        state: NodeState::Up,
        cluster: "127.0.0.1:7000".to_owned(),
        public: "127.0.0.1:8080".to_owned(),
        operator: "127.0.0.1:8081".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

#[tokio::test]
async fn no_two_processes_of_one_name_get_the_same_incarnation() {
    let Some(store) = keyspace("incarnations", 10) else { return };
    let (one, two) = (store.open().await.registry(), store.open().await.registry());
    let joining = (0..6).map(|number| {
        let board = if number % 2 == 0 { &one } else { &two };
        async move { board.join(&row("n1", 0)).await.unwrap() }
    });
    let ids: Vec<NodeId> = join_all(joining).await;
    let distinct: BTreeSet<u64> = ids.iter().map(|id| id.incarnation).collect();
    assert_eq!(distinct.len(), 6, "{ids:?}");
    let newest = NodeId { name: "n1".to_owned(), incarnation: *distinct.last().unwrap() };
    let shown = one.nodes().await.unwrap();
    assert!(shown.iter().any(|row| row.id == newest), "{shown:?}");
    // A node that joins alone removes all earlier ones.
    let last = two.join(&row("n1", 0)).await.unwrap();
    assert_eq!(one.nodes().await.unwrap().iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [last]);
}

#[tokio::test]
async fn a_row_moves_with_each_beat_and_goes_when_its_node_leaves() {
    let Some(store) = keyspace("renewals", 10) else { return };
    let board = store.open().await.registry();
    let id = board.join(&row("n1", 5)).await.unwrap();
    let mut mine = NodeRow { id: id.clone(), ..row("n1", 6) };
    board.renew(&mine).await.unwrap();
    assert_eq!(board.nodes().await.unwrap(), std::slice::from_ref(&mine));
    mine = NodeRow { beat: 7, state: NodeState::Draining, operator: "elsewhere:1".to_owned(), ..mine };
    board.renew(&mine).await.unwrap();
    assert_eq!(board.nodes().await.unwrap(), std::slice::from_ref(&mine));
    // A copy that was late on its way, by whatever clock.
    board.renew(&NodeRow { beat: 6, ..mine.clone() }).await.unwrap();
    assert_eq!(board.nodes().await.unwrap(), [mine]);
    board.leave(&id).await.unwrap();
    assert_eq!(board.nodes().await.unwrap(), []);
}

#[tokio::test]
async fn a_process_that_was_replaced_hears_so_and_its_late_word_does_not_bring_it_back() {
    let Some(store) = keyspace("replaced processes", 10) else { return };
    let board = store.open().await.registry();
    let old = board.join(&row("n1", 1)).await.unwrap();
    let other = board.join(&row("n2", 1)).await.unwrap();
    let new = board.join(&row("n1", 1)).await.unwrap();
    assert!(new.incarnation > old.incarnation);
    let late = NodeRow { id: old.clone(), ..row("n1", 1_000) };
    assert_eq!(board.renew(&late).await, Err(RegistryError::Replaced("n1".to_owned())));
    // Its renewal was already on its way when the new one joined.
    let stale = format!(
        "INSERT INTO KS.nodes (board, name, incarnation, beat) VALUES (0, 'n1', {}, 9) USING TIMESTAMP 1000009",
        old.incarnation
    );
    store.say(&stale).await;
    assert_eq!(board.nodes().await.unwrap().iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [new, other]);
}

#[tokio::test]
async fn the_last_wish_counts() {
    let Some(store) = keyspace("wishes", 10) else { return };
    let (one, two) = (store.open().await.registry(), store.open().await.registry());
    assert_eq!(one.desired_state().await.unwrap(), Default::default());
    one.set_drained("n1", true).await.unwrap();
    two.set_drained("n2", true).await.unwrap();
    two.set_placement(Shard(3), Some("n2")).await.unwrap();
    one.set_placement(Shard(3), Some("n3")).await.unwrap();
    one.set_placement(Shard(4), Some("n1")).await.unwrap();
    two.set_drained("n1", false).await.unwrap();
    two.set_placement(Shard(4), None).await.unwrap();
    let wishes = two.desired_state().await.unwrap();
    assert_eq!(wishes, one.desired_state().await.unwrap());
    assert_eq!(wishes.drained, BTreeSet::from(["n2".to_owned()]));
    assert_eq!(wishes.moved, BTreeMap::from([(Shard(3), "n3".to_owned())]));
    for drained in [true, false, true, true] {
        one.set_drained("n1", drained).await.unwrap();
        assert_eq!(two.desired_state().await.unwrap().drained.contains("n1"), drained);
    }
}

#[tokio::test]
async fn what_is_shared_is_written_once_and_every_node_gets_the_same() {
    let Some(store) = keyspace("shared secrets", 10) else { return };
    let (one, two) = (store.open().await.shared(), store.open().await.shared());
    assert_eq!(one.get("secret", "tokens").await.unwrap(), None);
    let put = join_all(
        [(&one, b"first"), (&two, b"other")].map(|(shared, value)| shared.put_if_absent("secret", "tokens", value)),
    );
    let got: Vec<Vec<u8>> = put.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(got[0], got[1]);
    assert_eq!(one.get("secret", "tokens").await.unwrap().as_ref(), Some(&got[0]));
    one.put_if_absent("key", "a", b"1").await.unwrap();
    two.put_if_absent("key", "b", b"2").await.unwrap();
    assert_eq!(two.put_if_absent("key", "a", b"3").await.unwrap(), b"1");
    let all = BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())]);
    assert_eq!(one.all("key").await.unwrap(), all);
}
