//! What the nodes of a cluster share, on a real server: the one that `DOORBUSTER_TEST_CQL` names. Without one, standard error says what was not tried.

use super::installation::of_keyspace;
use super::key_store::KeyStore;
use super::shared_keys::SharedKeys;
use crate::config::environment;
use doorbuster_api::keys::Scope;
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Layout;
use doorbuster_storage::cql::{CqlJournal, CqlOptions, schema};
use std::io::Write;
use std::time::Duration;

const VARIABLE: &str = "DOORBUSTER_TEST_CQL";

/// A keyspace of the test's own. `None`: there is no server.
async fn keyspace(claim: &str) -> Option<CqlOptions> {
    let Some((_, address)) = environment().into_iter().find(|(name, value)| name == VARIABLE && !value.is_empty())
    else {
        let words = format!("NOT TRIED on CQL, for {VARIABLE} names no server: {claim}\n");
        std::io::stderr().write_all(words.as_bytes()).unwrap();
        return None;
    };
    let name = format!("test_{:032x}", rand::random::<u128>());
    let mut options = CqlOptions::new(&address, &name, Layout { shards: 2, hash_version: 1 });
    options.request_timeout = Duration::from_secs(20);
    options.settle_timeout = Duration::from_secs(60);
    schema::apply(&options).await.unwrap();
    Some(options)
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// Two nodes that start at the same moment make one id, and whoever starts later has it too (rule M6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m6_nodes_that_start_at_once_are_one_installation_and_stay_it() {
    let Some(options) = keyspace("two nodes at once are one installation").await else { return };
    let (one, other) = tokio::join!(CqlJournal::open(options.clone()), CqlJournal::open(options.clone()));
    let (one, other) = (one.unwrap(), other.unwrap());
    let (first, second) = tokio::join!(of_keyspace(&one), of_keyspace(&other));
    let made = first.unwrap();
    assert_eq!(second.unwrap(), made);
    assert!(!made.has_older_orders, "nobody has claimed a shard");
    let later = CqlJournal::open(options).await.unwrap();
    assert_eq!(of_keyspace(&later).await.unwrap(), made);
    let another = keyspace("two keyspaces are two installations").await.unwrap();
    assert_ne!(of_keyspace(&CqlJournal::open(another).await.unwrap()).await.unwrap().id, made.id);
}

/// When the command returns, every node refuses the key at the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_revoked_beside_running_nodes_is_refused_at_the_next_request() {
    let Some(options) = keyspace("a revoked key is refused at the next request").await else { return };
    let journal = CqlJournal::open(options.clone()).await.unwrap();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = SharedKeys::open(journal.shared()).await.unwrap();
        nodes.push((node.clone(), tokio::spawn(node.follow())));
    }
    let beside = CqlJournal::open(options).await.unwrap();
    let command = KeyStore::Shared(SharedKeys::open(beside.shared()).await.unwrap());
    for _ in 0..2 {
        let made = command.create("sel_main", &[Scope::Orders], now()).await.unwrap();
        for (node, _) in &nodes {
            assert!(node.keys().verify(&made.token, now()).is_some(), "made, and accepted at the next request");
        }
        command.revoke(&made.key.id, now()).await.unwrap();
        for (node, _) in &nodes {
            assert!(node.keys().verify(&made.token, now()).is_none(), "revoked, and accepted all the same");
        }
    }
    for (_, following) in nodes {
        following.abort();
    }
}
