//! An owner that was stopped and wakes up: whatever it tries then is refused or does no harm.

use super::proxy::{Act, Proxy};
use super::{A, B, fenced, fill, keyspace, log_of, put, write};
use crate::given::{Owner, agenda, append, everything, order_on, replayed, state};
use doorbuster_storage::wire::HEAD;
use doorbuster_storage::{AppendError, Journal, Shard, StateFlush};
use std::sync::atomic::Ordering;

/// Rules N1 and O4: in the same bucket, where its place is taken, where it is free, and where it was deleted.
#[tokio::test]
async fn a_former_owner_can_neither_append_nor_answer_nor_store() {
    let Some(store) = keyspace("zombies", 10) else { return };
    let (old_node, new_node) = (store.open().await, store.open().await);
    // What the new owner does before the old one wakes up: nothing, take its place, pass its bucket, store all of that.
    for (round, (upto, stored)) in
        [(0, 0), (4, 0), (14, 0), (14, 12), (24, 24), (9, 9), (10, 10)].into_iter().enumerate()
    {
        for begun in [3, 9] {
            let shard = Shard(u16::try_from(round % 4).unwrap());
            let mut old = Owner::of(&old_node, shard).await;
            let base = (old.next - 1).next_multiple_of(10);
            fill(&old_node, &mut old, base + begun).await;
            let mut new = Owner::of(&new_node, shard).await;
            fill(&new_node, &mut new, base + upto).await;
            if stored > 0 && base + stored < new.next {
                new.checkpoint(&new_node, base + stored).await;
            }
            let case = format!("woke up at {begun} while the other was at {upto}, stored {stored}");
            let order = order_on(shard, 0);
            let before = everything(&new_node, shard).await;
            let flush =
                StateFlush { states: vec![state(&order, HEAD, base + begun, "zombie")], ..StateFlush::default() };
            assert_eq!(old_node.checkpoint(&old.claim, flush, base + begun).await, fenced(&old), "{case}");
            assert_eq!(old.confirm(&old_node).await, fenced(&old), "{case}");
            let stale = old.record(&order, 1, 1, None);
            assert_eq!(put(&old_node, &stale).await, fenced(&old), "{case}");
            assert!(put(&old_node, &stale).await.is_err(), "{case}: and once more");
            assert_eq!(everything(&new_node, shard).await, before, "{case}");
            assert_eq!(new_node.load(shard, &order).await.unwrap(), [], "{case}");
            new.confirm(&new_node).await.unwrap();
            write(&new_node, &mut new, 1).await;
            let end = new.next.next_multiple_of(10) - 1;
            fill(&new_node, &mut new, end).await;
            new.checkpoint(&new_node, end).await;
        }
    }
}

/// Rule O4: everything is stored and deleted, so no claimant finds a row; the former owner must not take its own old fence for an answer.
#[tokio::test]
async fn a_former_owner_of_which_everything_is_stored_does_not_confirm_itself() {
    let Some(store) = keyspace("confirming beside a deleted log", 10) else { return };
    for end in [9, 10, 20] {
        let old_node = store.open().await;
        let mut old = Owner::of(&old_node, A).await;
        let end = old.next - 1 + end;
        fill(&old_node, &mut old, end).await;
        old.checkpoint(&old_node, end).await;
        old.confirm(&old_node).await.unwrap();
        let new_node = old_node.another_process();
        let mut new = Owner::of(&new_node, A).await;
        assert_eq!((new.claim.flushed_upto, new.claim.end), (end, end));
        assert_eq!(old.confirm(&old_node).await, fenced(&old));
        new.confirm(&new_node).await.unwrap();
        write(&new_node, &mut new, 1).await;
        new.checkpoint(&new_node, end + 1).await;
    }
}

/// Rule N7: who takes one shard from a log takes all of them from its process, which comes back with another log.
#[tokio::test]
async fn a_process_whose_log_was_closed_has_lost_every_shard_and_begins_another() {
    let Some(store) = keyspace("a closed log", 10) else { return };
    let (old_node, new_node) = (store.open().await, store.open().await);
    let (mut old, mut other) = (Owner::of(&old_node, A).await, Owner::of(&old_node, B).await);
    write(&old_node, &mut old, 1).await;
    let kept = write(&old_node, &mut other, 1).await;
    let first_log = log_of(&store, B).await;
    let mut new = Owner::of(&new_node, A).await;
    assert_eq!(other.confirm(&old_node).await, fenced(&other), "nobody has claimed it, and it is lost all the same");
    let stale = other.record(&order_on(B, 0), 2, 1, None);
    assert_eq!(put(&old_node, &stale).await, fenced(&other));
    let mut again = Owner::of(&old_node, B).await;
    let second_log = log_of(&store, B).await;
    assert_ne!(first_log, second_log, "a name is never used again");
    assert_eq!((again.epoch(), again.claim.end), (2, kept.last_seq()));
    write(&old_node, &mut again, 1).await;
    write(&new_node, &mut new, 1).await;
    new.confirm(&new_node).await.unwrap();
    again.confirm(&old_node).await.unwrap();
}

/// The process itself may be the one that claims again what it had in a log that was closed (rule N5: nothing is closed that names its own log).
#[tokio::test]
async fn a_shard_that_is_claimed_again_in_the_same_log_closes_nothing() {
    let Some(store) = keyspace("claiming again", 10) else { return };
    let node = store.open().await;
    let (mut first, mut other) = (Owner::of(&node, A).await, Owner::of(&node, B).await);
    let written = fill(&node, &mut first, 3).await;
    let mut again = Owner::of(&node, A).await;
    assert_eq!((again.epoch(), again.claim.end), (2, 3));
    assert_eq!(replayed(&node, A, 1).await, written);
    let stale = first.record(&order_on(A, 0), 1, 1, None);
    assert_eq!(put(&node, &stale).await, fenced(&first));
    write(&node, &mut other, 1).await;
    write(&node, &mut again, 1).await;
    assert_eq!(node.counts().logs_closed.load(Ordering::Relaxed), 0);
}

/// Rule S3: stopped in the middle of a checkpoint, it writes the rest of it when its successor has long stored what is newer.
#[tokio::test]
async fn a_late_flush_of_a_former_owner_never_covers_a_newer_one() {
    let Some(store) = keyspace("late flushes", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let old_node = store.open_with(|options| options.contact_points = vec![proxy.address()]).await;
    let mut old = Owner::of(&old_node, A).await;
    let (order, other) = (order_on(A, 0), order_on(A, 1));
    fill(&old_node, &mut old, 8).await;
    // From the first write of the checkpoint on, nothing passes until it is let go.
    let held = proxy.on_batches(Act::Hold);
    let states = vec![state(&order, HEAD, 8, "at 8"), state(&other, HEAD, 8, "only here, at 8")];
    let rows = vec![agenda(&order, Some(8), true), agenda(&other, Some(8), false)];
    let flush = StateFlush { states, agenda: rows, erase: Vec::new() };
    let (late, claim) = (old_node.clone(), old.claim);
    let zombie = tokio::spawn(async move { late.checkpoint(&claim, flush, 8).await });
    held.met().await;
    let new_node = store.open().await;
    let mut new = Owner::of(&new_node, A).await;
    assert_eq!((new.claim.flushed_upto, new.claim.end), (0, 8));
    let written = fill(&new_node, &mut new, 15).await;
    let states = vec![state(&order, HEAD, 15, "at 15"), state(&other, HEAD, 15, "at 15")];
    let rows = vec![agenda(&order, None, false), agenda(&other, Some(15), true)];
    let flush = StateFlush { states: states.clone(), agenda: rows.clone(), erase: Vec::new() };
    new_node.checkpoint(&new.claim, flush, 15).await.unwrap();
    let everything_before = everything(&new_node, A).await;
    held.let_go();
    let answer = zombie.await.unwrap();
    assert!(matches!(answer, Ok(()) | Err(AppendError::Fenced { .. } | AppendError::Failed(_))), "{answer:?}");
    for (at, entity) in [&order, &other].into_iter().enumerate() {
        assert_eq!(new_node.load(A, entity).await.unwrap(), [states[at].clone()]);
    }
    assert_eq!(new_node.agenda(A).await.unwrap(), rows[1..]);
    assert_eq!(everything(&new_node, A).await, everything_before);
    assert_eq!(written.len(), 7);
    let claim = store.open().await.claim(A, "n3").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (15, 15), "flushed_upto never falls");
}

/// The same, and its successor has not stored anything yet: what it finds in between is true, and replay makes it whole.
#[tokio::test]
async fn a_late_flush_before_its_successor_s_first_is_overwritten_by_it() {
    let Some(store) = keyspace("late flushes, before", 10) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let old_node = store.open_with(|options| options.contact_points = vec![proxy.address()]).await;
    let mut old = Owner::of(&old_node, A).await;
    let order = order_on(A, 0);
    let written = fill(&old_node, &mut old, 8).await;
    let held = proxy.on_batches(Act::Hold);
    let flush = StateFlush {
        states: vec![state(&order, HEAD, 8, "at 8")],
        agenda: vec![agenda(&order, Some(8), true)],
        erase: Vec::new(),
    };
    let (late, claim) = (old_node.clone(), old.claim);
    let zombie = tokio::spawn(async move { late.checkpoint(&claim, flush, 8).await });
    held.met().await;
    let new_node = store.open().await;
    let mut new = Owner::of(&new_node, A).await;
    held.let_go();
    zombie.await.unwrap().ok();
    // Its rows may be gone from the log by now: history has them.
    assert_eq!(everything(&new_node, A).await, written);
    write(&new_node, &mut new, 1).await;
    let flush = StateFlush {
        states: vec![state(&order, HEAD, 9, "at 9")],
        agenda: vec![agenda(&order, Some(9), true)],
        erase: Vec::new(),
    };
    new_node.checkpoint(&new.claim, flush, 9).await.unwrap();
    assert_eq!(new_node.load(A, &order).await.unwrap(), [state(&order, HEAD, 9, "at 9")]);
    assert_eq!(new_node.agenda(A).await.unwrap(), [agenda(&order, Some(9), true)]);
    assert_eq!(replayed(&new_node, A, 1).await, []);
    assert_eq!(everything(&new_node, A).await[..8], written);
    let more = new.record(&order, 10, 1, None);
    append(&new_node, vec![more]).await.unwrap();
}

/// Rule N7: what it has in memory of a shard is over as well. An audit that runs on it reads what its successor has written.
#[tokio::test]
async fn n7_a_process_that_lost_its_log_reads_the_shard_as_everybody_else_does() {
    let Some(store) = keyspace("reading a lost shard", 10) else { return };
    let (old_node, new_node) = (store.open().await, store.open().await);
    let mut old = Owner::of(&old_node, A).await;
    let mut written = fill(&old_node, &mut old, 3).await;
    let mut new = Owner::of(&new_node, A).await;
    written.push(write(&new_node, &mut new, 1).await);
    assert_eq!(old.confirm(&old_node).await, fenced(&old));
    assert_eq!(everything(&old_node, A).await, written);
    assert_eq!(replayed(&old_node, A, 1).await, written);
    assert_eq!(old_node.page(A, 1, 10).await.unwrap(), written);
    assert_eq!(old_node.ends().get(&A), None, "it says nothing of a shard that is not its own");
}
