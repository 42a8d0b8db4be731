//! Rule O5: a transaction that was cut between question and answer. It is settled by the same statement with the same batch id: acknowledged
//! once when it is there, and never twice.

use super::proxy::{Act, Proxy};
use super::{A, keyspace, put, write};
use crate::given::{Owner, body, order_on, replayed};
use crate::server::Keyspace;
use doorbuster_storage::cql::CqlJournal;
use doorbuster_storage::{AppendError, Journal, Record};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the network recognises.
const MARK: &str = "the record whose way is not a straight one";

fn marked(owner: &mut Owner, mark: &str) -> Record {
    let order = order_on(owner.claim.shard, 0);
    let record = owner.record(&order, 1, 1, None);
    Record { body: body(&order, record.seq, 1, mark.as_bytes(), None), ..record }
}

/// A node that reaches the store through a network with whims, and loses patience soon.
async fn node(store: &Keyspace, proxy: &Proxy, request_ms: u64, settle_ms: u64) -> CqlJournal {
    let open = store.open_with(|options| {
        options.contact_points = vec![proxy.address()];
        options.request_timeout = Duration::from_millis(request_ms);
        options.settle_timeout = Duration::from_millis(settle_ms);
    });
    open.await
}

#[tokio::test]
async fn an_append_without_an_answer_is_settled_and_there_exactly_once() {
    let Some(store) = keyspace("unknown outcomes", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let journal = node(&store, &proxy, 5_000, 60_000).await;
    let mut owner = Owner::of(&journal, A).await;
    let mut written = Vec::new();
    for (round, (act, times)) in
        [(Act::CutAfter, 1), (Act::LoseAnswer, 1), (Act::CutBefore, 1), (Act::CutAfter, 3), (Act::CutBefore, 2)]
            .into_iter()
            .enumerate()
    {
        let mark = format!("{MARK} {round}");
        let rule = proxy.on(&mark, times, act);
        written.push(write(&journal, &mut owner, 1).await);
        let record = marked(&mut owner, &mark);
        put(&journal, &record).await.unwrap();
        written.push(record);
        assert_eq!(rule.times(), times, "{act:?}");
        // From another node's eyes.
        assert_eq!(replayed(&journal, A, 1).await, written, "{act:?} {times} times");
    }
    let counts = journal.counts();
    assert_eq!(counts.appends.load(Ordering::Relaxed), 10);
    assert!(counts.unknown_outcomes.load(Ordering::Relaxed) >= 5);
    assert_eq!(counts.settled_as_committed.load(Ordering::Relaxed), 3, "those that had been carried out");
    let other = store.open().await;
    assert_eq!(other.claim(A, "n2").await.unwrap().end, 10);
    assert_eq!(replayed(&other, A, 1).await, written);
}

/// The first copy waits on the way, the second is applied; then the first arrives.
#[tokio::test]
async fn a_copy_that_arrives_late_changes_nothing() {
    let Some(store) = keyspace("a late copy of an append", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let journal = node(&store, &proxy, 3_000, 60_000).await;
    let mut owner = Owner::of(&journal, A).await;
    let held = proxy.on(MARK, 1, Act::Hold);
    let record = marked(&mut owner, MARK);
    put(&journal, &record).await.unwrap();
    assert_eq!(held.times(), 1);
    let next = write(&journal, &mut owner, 1).await;
    held.let_go();
    // The late copy is on the same connection as these.
    let after = write(&journal, &mut owner, 1).await;
    assert_eq!(replayed(&journal, A, 1).await, [record, next, after]);
}

/// The first copy waits on the way until another owns the shard; then it arrives, where its place is still free.
#[tokio::test]
async fn a_copy_that_arrives_after_a_take_over_is_refused() {
    let Some(store) = keyspace("a late append after a take-over", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let journal = node(&store, &proxy, 4_000, 0).await;
    let mut owner = Owner::of(&journal, A).await;
    let first = write(&journal, &mut owner, 1).await;
    let held = proxy.on(MARK, usize::MAX, Act::Hold);
    let record = marked(&mut owner, MARK);
    let answer = put(&journal, &record).await;
    assert!(matches!(answer, Err(AppendError::Failed(_))), "nobody knows: {answer:?}");
    let other = store.open().await;
    let mut next = Owner::of(&other, A).await;
    assert_eq!(next.claim.end, 1);
    held.let_go();
    // Something that goes the same way behind it.
    journal.load(A, &order_on(A, 0)).await.unwrap();
    for _ in 0..20 {
        assert_eq!(replayed(&other, A, 1).await, std::slice::from_ref(&first));
    }
    let second = write(&other, &mut next, 1).await;
    assert_eq!(replayed(&other, A, 1).await, [first, second]);
}

/// Beyond the bound nothing more is appended by this owner (rule L8); the shard is claimed anew, and what was carried out is there.
#[tokio::test]
async fn an_append_that_is_never_settled_ends_the_ownership_and_is_found_by_the_next() {
    let Some(store) = keyspace("never settled", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    for (round, act) in [Act::LoseAnswer, Act::CutBefore].into_iter().enumerate() {
        let journal = node(&store, &proxy, 3_000, 4_000).await;
        let mut owner = Owner::of(&journal, A).await;
        let end = owner.claim.end;
        write(&journal, &mut owner, 1).await;
        let mark = format!("{MARK} {round}");
        let rule = proxy.on(&mark, usize::MAX, act);
        let record = marked(&mut owner, &mark);
        assert!(matches!(put(&journal, &record).await, Err(AppendError::Failed(_))));
        assert!(rule.times() >= 2, "it was asked again");
        rule.let_go();
        let more = owner.record(&order_on(A, 0), 9, 1, None);
        let answer = put(&journal, &more).await;
        assert!(matches!(&answer, Err(AppendError::Failed(why)) if why.contains("never settled")), "{answer:?}");
        assert!(journal.confirm(A, owner.epoch()).await.is_err(), "nor does it answer from memory");
        assert_eq!(journal.counts().never_settled.load(Ordering::Relaxed), 1);
        let carried_out = act == Act::LoseAnswer;
        let again = journal.claim(A, "n1").await.unwrap();
        assert_eq!(again.end, end + 1 + u64::from(carried_out), "{act:?}");
        let mut owner = Owner { claim: again, next: again.end + 1 };
        write(&journal, &mut owner, 1).await;
    }
}

/// A caller that stopped waiting must not go on at the same place.
#[tokio::test]
async fn an_append_that_was_abandoned_ends_the_ownership() {
    let Some(store) = keyspace("an abandoned append", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let journal = node(&store, &proxy, 20_000, 60_000).await;
    let mut owner = Owner::of(&journal, A).await;
    let held = proxy.on(MARK, usize::MAX, Act::Hold);
    let record = marked(&mut owner, MARK);
    tokio::select! {
        answer = put(&journal, &record) => panic!("{answer:?}"),
        () = held.met() => {}
    }
    owner.next -= 1;
    let other = owner.record(&order_on(A, 0), 1, 1, None);
    assert!(matches!(put(&journal, &other).await, Err(AppendError::Failed(_))));
    held.let_go();
}

/// Unknown outcomes of a claim and of rolling on are settled by looking.
#[tokio::test]
async fn claims_and_rolls_survive_lost_answers() {
    let Some(store) = keyspace("lost answers of claims and rolls", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let journal = node(&store, &proxy, 10_000, 60_000).await;
    // The node's name stands only in the statement that raises the epoch.
    let rule = proxy.on("a-node-with-a-name.1", 2, Act::CutAfter);
    let claim = journal.claim(A, "a-node-with-a-name.1").await.unwrap();
    assert_eq!((rule.times(), claim.epoch), (2, 3), "only an answer makes an epoch ours");
    let mut owner = Owner { claim, next: 1 };
    let mut written = Vec::new();
    for _ in 0..25 {
        written.push(write(&journal, &mut owner, 1).await);
    }
    assert_eq!(replayed(&journal, A, 1).await, written);
    let owners = doorbuster_storage::registry::Registry::owners(&journal.registry()).await.unwrap();
    assert_eq!((owners[0].epoch, owners[0].node.as_ref().unwrap().to_string()), (3, "a-node-with-a-name.1".to_owned()));
}
