//! The logs' partitions: what a row holds, how a log rolls on, what is deleted of it and what stays (rules N1, N2, N4 and N8).

use super::{A, B, fence_of, fenced, fill, keyspace, log_of, positions_in, put, write};
use crate::given::{Owner, append, everything, order_on, replayed};
use crate::server::Keyspace;
use doorbuster_storage::cql::CqlJournal;
use doorbuster_storage::{AppendError, Journal, ReadError, Record, Shard};
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// What a batch of all shards costs: one transaction.
#[tokio::test]
async fn a_batch_of_several_shards_is_one_row_and_one_transaction() {
    let Some(store) = keyspace("a batch of several shards", 10) else { return };
    let journal = store.open().await;
    let mut owners = Vec::new();
    for shard in 0..4 {
        owners.push(Owner::of(&journal, Shard(shard)).await);
    }
    let before = journal.counts().transactions.load(Ordering::Relaxed);
    let mut batch = Vec::new();
    for (round, which) in [0, 1, 0, 2, 3, 1].into_iter().enumerate() {
        batch.push(owners[which].record(&order_on(A, 0), u64::try_from(round).unwrap() + 1, 1, None));
    }
    append(&journal, batch.clone()).await.unwrap();
    assert_eq!(journal.counts().transactions.load(Ordering::Relaxed) - before, 1);
    assert_eq!(positions_in(&store, log_of(&store, A).await, 0).await, [0]);
    for shard in (0..4).map(Shard) {
        let expected: Vec<Record> = batch.iter().filter(|record| record.shard == shard).cloned().collect();
        assert_eq!(replayed(&journal.another_process(), shard, 1).await, expected);
    }
    // Rule O4: one read for all of them.
    let all = owners.iter().map(|owner| (owner.claim.shard, owner.epoch())).collect();
    journal.confirm(&all).await.unwrap();
    assert_eq!(journal.counts().confirmations.load(Ordering::Relaxed), 1);
}

/// Several logs a node: each has a part of the shards, and closing one costs the others nothing.
#[tokio::test]
async fn a_node_may_divide_its_shards_among_several_logs() {
    let Some(store) = keyspace("several logs a node", 10) else { return };
    let journal = store.open_with(|options| options.logs_per_node = 2).await;
    let mut owners = Vec::new();
    for shard in 0..4 {
        owners.push(Owner::of(&journal, Shard(shard)).await);
    }
    let groups: Vec<_> = owners.iter().map(|owner| owner.claim.group).collect();
    assert_eq!((groups[0], groups[1]), (groups[2], groups[3]));
    assert_ne!(groups[0], groups[1]);
    let mixed = vec![owners[0].record(&order_on(A, 0), 1, 1, None), owners[1].record(&order_on(B, 0), 1, 1, None)];
    assert!(matches!(append(&journal, mixed).await, Err(AppendError::Failed(why)) if why.contains("two logs")));
    store.open().await.claim(Shard(0), "n2").await.unwrap();
    assert_eq!(owners[2].confirm(&journal).await, fenced(&owners[2]), "in the log of the shard that was claimed");
    owners[3].confirm(&journal).await.unwrap();
}

/// Rule L1: a decision is never split, and a row holds any number of events.
#[tokio::test]
async fn a_decision_larger_than_a_bucket_is_in_one_row() {
    let Some(store) = keyspace("a decision larger than a bucket", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut written = fill(&journal, &mut owner, 8).await;
    written.push(write(&journal, &mut owner, 25).await);
    written.push(write(&journal, &mut owner, 2).await);
    let reader = journal.another_process();
    for from in [1, 9, 10, 33, 34] {
        let expected: Vec<_> = written.iter().filter(|record| record.last_seq() >= from).cloned().collect();
        assert_eq!(replayed(&reader, A, from).await, expected, "from {from}");
        assert_eq!(reader.page(A, from, 10).await.unwrap(), expected, "a page from {from}");
    }
    let claim = reader.claim(A, "n2").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (0, 35));
    let mut next = Owner { claim, next: 36 };
    written.push(write(&reader, &mut next, 1).await);
    next.checkpoint(&reader, 33).await;
    assert_eq!(replayed(&reader, A, 1).await, written[9..]);
    assert_eq!(everything(&reader.another_process(), A).await, written);
    assert_eq!(reader.another_process().claim(A, "n3").await.unwrap().flushed_upto, 33);
}

/// Rule N2.
#[tokio::test]
async fn a_full_bucket_is_sealed_and_the_next_is_opened() {
    let Some(store) = keyspace("rolling on", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let log = log_of(&store, A).await;
    let mut written = fill(&journal, &mut owner, 10).await;
    assert_eq!((fence_of(&store, log, 0).await, fence_of(&store, log, 1).await), ("open".into(), String::new()));
    written.extend(fill(&journal, &mut owner, 23).await);
    let fences = [fence_of(&store, log, 0).await, fence_of(&store, log, 1).await, fence_of(&store, log, 2).await];
    assert_eq!(fences, ["sealed", "sealed", "open"]);
    assert_eq!(positions_in(&store, log, 1).await, (10..20).collect::<Vec<i64>>());
    assert_eq!(replayed(&journal.another_process(), A, 1).await, written);
    assert_eq!(journal.counts().rolls.load(Ordering::Relaxed), 2);
}

/// Rules N2 and N3: the claimant closes the first bucket that is not sealed, wherever the owner stands in rolling on.
#[tokio::test]
async fn a_log_is_closed_where_it_could_grow() {
    let Some(store) = keyspace("closing a log", 10) else { return };
    // The rows it has, whether its full bucket is sealed as if the process had stopped in the middle of rolling on, and the bucket that is closed.
    for (rows, sealed, closed) in [(3, false, 0), (10, false, 0), (10, true, 1), (13, false, 1), (30, false, 2)] {
        let journal = store.open().await;
        let mut old = Owner::of(&journal, A).await;
        let (log, end) = (log_of(&store, A).await, old.next - 1 + rows);
        let written = fill(&journal, &mut old, end).await;
        if sealed {
            let seal = "UPDATE KS.node_log SET fence = 'sealed' WHERE log = LOG AND bucket = 0 IF fence = 'open'";
            store.say(&seal.replace("LOG", &log.to_string())).await;
        }
        let other = journal.another_process();
        let mut new = Owner::of(&other, A).await;
        let case = format!("{rows} rows, sealed: {sealed}");
        assert_eq!(new.claim.end, end, "{case}");
        assert_eq!(fence_of(&store, log, closed).await, "closed", "{case}");
        let stale = old.record(&order_on(A, 0), 1, 1, None);
        assert_eq!(put(&journal, &stale).await, fenced(&old), "{case}");
        assert_eq!(replayed(&other, A, written[0].seq).await, written, "{case}");
        write(&other, &mut new, 1).await;
        new.checkpoint(&other, end + 1).await;
    }
}

/// Rule N8: rows go once each shard in the bucket is stored, fences stay, and the bucket that is being filled stays.
#[tokio::test]
async fn a_bucket_is_deleted_once_every_shard_in_it_is_stored_and_its_fence_stays() {
    let Some(store) = keyspace("deletion of buckets", 10) else { return };
    let journal = store.open().await;
    let (mut owner, mut other) = (Owner::of(&journal, A).await, Owner::of(&journal, B).await);
    let log = log_of(&store, A).await;
    let mut written = fill(&journal, &mut owner, 4).await;
    let of_other = write(&journal, &mut other, 1).await;
    written.extend(fill(&journal, &mut owner, 33).await);
    let left = async || {
        let mut left = Vec::new();
        for bucket in 0..4 {
            left.push(positions_in(&store, log, bucket).await.len());
        }
        left
    };
    owner.checkpoint(&journal, 33).await;
    assert_eq!(left().await, [10, 10, 10, 4], "the other shard's event is in the first, and the first goes first");
    other.checkpoint(&journal, 1).await;
    assert_eq!(left().await, [0, 0, 0, 4]);
    let fences = [fence_of(&store, log, 0).await, fence_of(&store, log, 1).await, fence_of(&store, log, 2).await];
    assert_eq!(fences, ["sealed", "sealed", "sealed"]);
    assert_eq!(everything(&journal.another_process(), A).await, written);
    assert_eq!(everything(&journal.another_process(), B).await, [of_other]);
    let claim = store.open().await.claim(A, "n2").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (33, 33));
}

/// The process is gone: whoever has read its log deletes it, the closed bucket too, once all shards are stored, wherever they are by then.
#[tokio::test]
async fn the_log_of_a_process_that_is_gone_is_deleted_by_those_that_read_it() {
    let Some(store) = keyspace("deletion of a dead process's log", 10) else { return };
    let dead = store.open().await;
    let (mut owner, mut other) = (Owner::of(&dead, A).await, Owner::of(&dead, B).await);
    fill(&dead, &mut owner, 14).await;
    write(&dead, &mut other, 1).await;
    let log = log_of(&store, A).await;
    drop(dead);
    let (first, second) = (store.open().await, store.open().await);
    let (a, b) = (Owner::of(&first, A).await, Owner::of(&second, B).await);
    b.checkpoint(&second, 1).await;
    assert_eq!(positions_in(&store, log, 1).await.len(), 5, "an event of the other shard is not stored");
    a.checkpoint(&first, 14).await;
    assert_eq!((positions_in(&store, log, 0).await, positions_in(&store, log, 1).await), (vec![], vec![]));
    assert_eq!((fence_of(&store, log, 0).await, fence_of(&store, log, 1).await), ("sealed".into(), "closed".into()));
}

/// A shard that is never stored must not make the log grow for ever: it is told to make a checkpoint, and others are not.
#[tokio::test]
async fn a_shard_that_keeps_a_log_from_being_deleted_needs_a_checkpoint() {
    let Some(store) = keyspace("forced checkpoints", 2) else { return };
    let journal = store.open().await;
    let (mut busy, mut quiet) = (Owner::of(&journal, A).await, Owner::of(&journal, B).await);
    write(&journal, &mut quiet, 1).await;
    fill(&journal, &mut busy, 9).await;
    assert!(!journal.needs_checkpoint(B), "four full buckets are allowed");
    fill(&journal, &mut busy, 11).await;
    assert!(journal.needs_checkpoint(B));
    busy.checkpoint(&journal, 11).await;
    assert!(journal.needs_checkpoint(B) && !journal.needs_checkpoint(A));
    quiet.checkpoint(&journal, 1).await;
    assert!(!journal.needs_checkpoint(B));
}

/// A dead node's log is closed once and read once, whatever shards move from it.
#[tokio::test]
async fn shards_that_move_from_one_log_are_served_by_one_read_of_it() {
    let Some(store) = keyspace("one read for all shards", 10) else { return };
    let dead = store.open().await;
    let mut written = Vec::new();
    for shard in (0..4).map(Shard) {
        let mut owner = Owner::of(&dead, shard).await;
        written.push(fill(&dead, &mut owner, 6).await);
    }
    let heir = store.open().await;
    let shards: Vec<Shard> = (0..4).map(Shard).collect();
    let claims = futures_util::future::join_all(shards.iter().map(|shard| heir.claim(*shard, "n2"))).await;
    assert!(claims.iter().all(|claim| claim.as_ref().is_ok_and(|claim| claim.end == 6)), "{claims:?}");
    let counts = heir.counts();
    assert_eq!((counts.logs_closed.load(Ordering::Relaxed), counts.logs_read.load(Ordering::Relaxed)), (1, 1));
    for (shard, written) in (0..4).map(Shard).zip(written) {
        assert_eq!(replayed(&heir, shard, 1).await, written, "what was read is kept for the replay");
    }
}

/// What does not fit into memory is read again, and nothing is missed.
#[tokio::test]
async fn a_log_that_is_too_large_for_memory_is_read_for_each_shard() {
    let Some(store) = keyspace("a log too large for memory", 4) else { return };
    let dead = store.open().await;
    let mut written = Vec::new();
    for shard in (0..3).map(Shard) {
        let mut owner = Owner::of(&dead, shard).await;
        written.push(fill(&dead, &mut owner, 7).await);
    }
    let heir = store.open_with(|options| options.tail_bytes_max = 100).await;
    for (shard, written) in (0..3).map(Shard).zip(&written) {
        let claim = heir.claim(shard, "n2").await.unwrap();
        assert_eq!(claim.end, 7);
        assert_eq!(replayed(&heir, shard, 1).await, *written);
        for from in 1..=7 {
            let page = heir.page(shard, from, 2).await.unwrap();
            let at = usize::try_from(from).unwrap() - 1;
            assert!(!page.is_empty() && written[at..].starts_with(&page), "a page from {from}: {page:?}");
        }
        heir.checkpoint(&claim, doorbuster_storage::StateFlush::default(), 5).await.unwrap();
        assert_eq!(everything(&heir.another_process(), shard).await, *written);
    }
    assert_eq!(heir.counts().logs_read.load(Ordering::Relaxed), 3);
}

/// A shard that moves between two that live, with what no checkpoint has stored in the logs of both; it comes back, and nothing is closed.
#[tokio::test]
async fn a_released_shard_moves_and_comes_back_and_nothing_is_closed() {
    let Some(store) = keyspace("moving between two that live", 10) else { return };
    let (one, two) = (store.open().await, store.open().await);
    let mut stays = Owner::of(&one, B).await;
    let mut written = Vec::new();
    for (round, (from, to)) in [(&one, &two), (&two, &one), (&one, &two)].into_iter().enumerate() {
        let mut owner = Owner::of(from, A).await;
        let end = owner.next + 2;
        written.extend(fill(from, &mut owner, end).await);
        if round == 1 {
            owner.checkpoint(from, end - 1).await;
        }
        from.release(&owner.claim).await.unwrap();
        assert_eq!(put(from, &owner.record(&order_on(A, 0), 1, 1, None)).await, fenced(&owner));
        let claim = to.claim(A, "n2").await.unwrap();
        assert_eq!(claim.end, end);
        to.release(&claim).await.unwrap();
    }
    assert_eq!(everything(&one.another_process(), A).await, written);
    write(&one, &mut stays, 1).await;
    let closed = |node: &CqlJournal| node.counts().logs_closed.load(Ordering::Relaxed);
    assert_eq!((closed(&one), closed(&two)), (0, 0));
}

/// Rule N6: after a complete drain nothing of the old owner's log is read.
#[tokio::test]
async fn a_shard_that_was_stored_before_it_was_released_names_no_log() {
    let Some(store) = keyspace("release after a drain", 10) else { return };
    let (old, new) = (store.open().await, store.open().await);
    let mut owner = Owner::of(&old, A).await;
    fill(&old, &mut owner, 5).await;
    owner.checkpoint(&old, 5).await;
    old.release(&owner.claim).await.unwrap();
    let logs = store.say("SELECT logs FROM KS.shard_owner WHERE shard = 0").await;
    let named: BTreeSet<Uuid> = logs[0].columns[0]
        .as_ref()
        .and_then(|logs| logs.as_list())
        .into_iter()
        .flatten()
        .filter_map(scylla::value::CqlValue::as_uuid)
        .collect();
    assert_eq!(named, BTreeSet::new());
    assert_eq!(new.claim(A, "n2").await.unwrap().end, 5);
}

async fn damage(store: &Keyspace, change: &str) -> (CqlJournal, Uuid) {
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 8).await;
    let log = log_of(store, A).await;
    store.say(&change.replace("LOG", &log.to_string())).await;
    (journal.another_process(), log)
}

/// Rule N4.
#[tokio::test]
async fn a_hole_in_the_log_is_corruption_for_claimants_and_readers() {
    let Some(store) = keyspace("a hole in the log", 10) else { return };
    let change = "DELETE FROM KS.node_log WHERE log = LOG AND bucket = 0 AND position = 4";
    let (other, log) = damage(&store, change).await;
    let read: Vec<_> = other.replay(A, 1).collect().await;
    let named = format!("row 5 of log {log} in bucket 0: the row before it is missing");
    assert!(matches!(read.last(), Some(Err(ReadError::Corrupt(why))) if *why == named), "{read:?}");
    assert_eq!(other.claim(A, "n2").await.unwrap_err().to_string(), named);
}

#[tokio::test]
async fn events_that_no_log_holds_are_corruption_for_claimants_and_readers() {
    let Some(store) = keyspace("missing events", 10) else { return };
    let change = "DELETE FROM KS.node_log WHERE log = LOG AND bucket = 0 AND position < 4";
    let (other, _) = damage(&store, change).await;
    let read: Vec<_> = other.replay(A, 1).collect().await;
    assert!(matches!(read.last(), Some(Err(ReadError::Corrupt(why))) if why.contains("misses event 1")), "{read:?}");
    let error = other.claim(A, "n2").await.unwrap_err().to_string();
    assert!(error.contains("misses event 1: event 5 follows") && error.contains("shard 0"), "{error}");
}

#[tokio::test]
async fn a_damaged_row_is_corruption_and_named() {
    let Some(store) = keyspace("a damaged row", 10) else { return };
    let change =
        "UPDATE KS.node_log SET payload = 0x0100 WHERE log = LOG AND bucket = 0 AND position = 2 IF fence = 'open'";
    let (other, log) = damage(&store, change).await;
    let read: Vec<_> = other.replay(A, 1).collect().await;
    let named = format!("row 2 of log {log} in bucket 0 cannot be read");
    assert!(matches!(read.last(), Some(Err(ReadError::Corrupt(why))) if why.contains(&named)), "{read:?}");
}

/// A claimant begins where rows may be: what was deleted is not walked over.
#[tokio::test]
async fn ten_thousand_deleted_buckets_are_claimed_in_as_many_steps_as_one() {
    let Some(store) = keyspace("ten thousand deleted buckets", 2) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 1).await;
    let steps = async |journal: &CqlJournal| {
        let (mut claiming, mut steps) = (journal.claiming(A, "n2"), 1);
        loop {
            match claiming.step().await.unwrap() {
                Some(claim) => return (claim, steps),
                None => steps += 1,
            }
        }
    };
    let heir = journal.another_process();
    let (_, few) = steps(&heir).await;
    // As ten thousand rolls and a checkpoint leave it.
    let (session, log) = (store.session().await, log_of(&store, A).await);
    let fence = format!("UPDATE {}.node_log SET fence = ? WHERE log = {log} AND bucket = ?", store.options.keyspace);
    let fence = session.prepare(fence).await.unwrap();
    let sealed = futures_util::stream::iter(0..=10_000)
        .map(|bucket: i32| session.execute_unpaged(&fence, (if bucket == 10_000 { "open" } else { "sealed" }, bucket)));
    let sealed: Vec<_> = sealed.buffer_unordered(64).collect().await;
    assert!(sealed.iter().all(Result::is_ok));
    let first = format!("UPDATE KS.log_progress USING TIMESTAMP 1010000 SET first_bucket = 10000 WHERE log = {log}");
    store.say(&first).await;
    store.say("UPDATE KS.shard_progress USING TIMESTAMP 1020001 SET flushed_upto = 20001 WHERE shard = 0").await;
    let other = store.open().await;
    let (claim, many) = steps(&other).await;
    assert_eq!((claim.flushed_upto, claim.end), (20_001, 20_001));
    assert!(many <= few + 1, "{many} steps, {few} with one bucket of one log, and the row names two logs");
    let mut owner = Owner { claim, next: claim.end + 1 };
    write(&other, &mut owner, 1).await;
}

/// Rule N8: a process ends before it has deleted what is stored, and no shard's row names its log any more.
#[tokio::test]
async fn n8_what_an_ended_process_left_in_its_log_is_deleted_and_nothing_else() {
    let Some(store) = keyspace("logs that were left", 10) else { return };
    let (drained, beside) = (store.open().await, store.open().await);
    let (mut owner, mut other) = (Owner::of(&drained, A).await, Owner::of(&beside, B).await);
    let log = log_of(&store, A).await;
    fill(&drained, &mut owner, 13).await;
    let kept = fill(&beside, &mut other, 3).await;
    // Not stored, or still named: nothing goes.
    assert_eq!(beside.delete_left_logs().await.unwrap(), 0);
    owner.checkpoint(&drained, 13).await;
    assert_eq!(positions_in(&store, log, 1).await, [10, 11, 12], "the last bucket is not full");
    drained.release(&owner.claim).await.unwrap();
    drop(drained);
    assert_eq!(fence_of(&store, log, 1).await, "open");
    assert_eq!(beside.delete_left_logs().await.unwrap(), 1);
    assert_eq!(positions_in(&store, log, 1).await, Vec::<i64>::new());
    assert_eq!(fence_of(&store, log, 1).await, "closed", "a place that is free again is taken by nobody");
    assert_eq!(beside.delete_left_logs().await.unwrap(), 0);
    assert_eq!(everything(&beside, B).await, kept);
    let again = store.open().await.claim(A, "n").await.unwrap();
    assert_eq!((again.flushed_upto, again.end), (13, 13));
}

/// The process may live, without a shard: it begins another log.
#[tokio::test]
async fn n8_a_process_that_gave_all_its_shards_away_begins_another_log() {
    let Some(store) = keyspace("a log that was left by a process that lives", 10) else { return };
    let (drained, beside) = (store.open().await, store.open().await);
    let mut owner = Owner::of(&drained, A).await;
    fill(&drained, &mut owner, 3).await;
    owner.checkpoint(&drained, 3).await;
    drained.release(&owner.claim).await.unwrap();
    assert_eq!(beside.delete_left_logs().await.unwrap(), 1);
    let mut again = Owner::of(&drained, A).await;
    write(&drained, &mut again, 1).await;
    again.confirm(&drained).await.unwrap();
}
