//! The log's partitions: where a row may stand, how the owner rolls on, what a checkpoint deletes and what it leaves.

use super::{A, fenced, fill, keyspace, put, write};
use crate::given::{Owner, append, everything, order_on, replayed};
use doorbuster_storage::{AppendError, Journal, ReadError};
use futures_util::StreamExt;
use scylla::value::CqlValue;

/// Rule O1.
#[tokio::test]
async fn a_batch_that_would_cross_a_bucket_s_end_is_refused_and_the_journal_says_how_much_fits() {
    let Some(store) = keyspace("a batch does not cross a bucket's end", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    assert_eq!([1, 9, 10, 19].map(|next| journal.room(next)), [Some(9), Some(1), Some(10), Some(1)]);
    fill(&journal, &mut owner, 7).await;
    let mut greedy = owner.clone();
    let three = [1, 1, 1].map(|events| greedy.record(&order_on(A, 0), 8, events, None));
    assert!(matches!(append(&journal, three.to_vec()).await, Err(AppendError::Failed(why)) if why.contains("O1")));
    let two = [8, 9].map(|number| owner.record(&order_on(A, 0), number, 1, None));
    append(&journal, two.to_vec()).await.unwrap();
    write(&journal, &mut owner, 1).await;
    assert_eq!(replayed(&journal, A, 1).await.len(), 10);
}

/// Rules O1 and L1: a decision is never split, wherever the bucket ends; its row holds all of it.
#[tokio::test]
async fn a_decision_larger_than_the_room_is_there_whole_or_not_at_all() {
    let Some(store) = keyspace("a decision over a bucket's end", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut written = fill(&journal, &mut owner, 8).await;
    // One event in bucket 0, all of bucket 1 and 2, four in bucket 3.
    written.push(write(&journal, &mut owner, 25).await);
    written.push(write(&journal, &mut owner, 2).await);
    assert_eq!(replayed(&journal, A, 1).await, written);
    for from in [9, 10, 33, 34] {
        let expected: Vec<_> = written.iter().filter(|record| record.last_seq() >= from).cloned().collect();
        assert_eq!(replayed(&journal, A, from).await, expected, "from {from}");
        assert_eq!(journal.page(A, from, 10).await.unwrap(), expected, "a page from {from}");
    }
    let other = store.open().await;
    let claim = other.claim(A, "n2").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (0, 35));
    let mut next = Owner { claim, next: 36 };
    written.push(write(&other, &mut next, 1).await);
    next.checkpoint(&other, 33).await;
    assert_eq!(replayed(&other, A, 1).await, written[9..]);
    assert_eq!(everything(&other, A).await, written);
    assert_eq!(other.claim(A, "n2").await.unwrap().flushed_upto, 33);
    for from in [9, 10, 33, 34] {
        let expected: Vec<_> = written.iter().filter(|record| record.last_seq() >= from).cloned().collect();
        assert_eq!(other.page(A, from, 10).await.unwrap(), expected, "a page from {from}, after the checkpoint");
    }
}

/// Killed after a decision's row and before the rows that stand for the rest of its events: it is durable, and its successor says so.
#[tokio::test]
async fn a_decision_cut_off_between_two_buckets_is_completed_by_the_next_owner() {
    let Some(store) = keyspace("a decision cut off between two buckets", 10) else { return };
    for (rests, kept) in [("0, 1, 2", 0), ("1, 2", 1), ("2", 2)] {
        let journal = store.open().await;
        let mut owner = Owner::of(&journal, A).await;
        let begin = owner.next;
        let mut written = fill(&journal, &mut owner, (begin + 1).next_multiple_of(10) - 2).await;
        written.push(write(&journal, &mut owner, 14).await);
        let bucket = begin / 10;
        let missing: Vec<u64> = (1..=2).filter(|behind| *behind > kept).map(|behind| bucket + behind).collect();
        for bucket in &missing {
            store.say(&format!("DELETE FROM KS.shard_log WHERE shard = 0 AND bucket = {bucket}")).await;
        }
        let other = store.open().await;
        let claim = other.claim(A, "n2").await.unwrap();
        assert_eq!(claim.end, written.last().unwrap().last_seq(), "without the rows {rests}");
        let mut next = Owner { claim, next: claim.end + 1 };
        written.push(write(&other, &mut next, 1).await);
        let tail = replayed(&other, A, begin).await;
        assert_eq!(tail, written, "without the rows {rests}");
        // The former owner, had it only been slow, finds its own batch there and no other.
        let answer = put(&journal, &owner.record(&order_on(A, 0), 1, 1, None)).await;
        assert_eq!(answer, fenced(&owner));
        next.checkpoint(&other, next.next - 1).await;
        drop(other);
        // The next round begins with a bucket of its own.
        let last = store.open().await;
        let mut filler = Owner::of(&last, A).await;
        let end = filler.next.next_multiple_of(10) - 1;
        fill(&last, &mut filler, end).await;
    }
}

/// Rule O2.6.
#[tokio::test]
async fn a_full_bucket_is_taken_over_with_the_next_one() {
    let Some(store) = keyspace("take-over of a full bucket", 10) else { return };
    for (end, upto) in [(9, 0), (9, 9), (19, 5), (19, 9), (19, 19), (29, 12)] {
        let journal = store.open().await;
        let mut old = Owner::of(&journal, A).await;
        let (base, flushed) = (old.next - 1, old.claim.flushed_upto);
        assert_eq!(base % 10, if base == 0 { 0 } else { 9 });
        let base = if base == 0 { 0 } else { base + 1 };
        fill(&journal, &mut old, base + end).await;
        if upto > 0 {
            old.checkpoint(&journal, base + upto).await;
        }
        let other = store.open().await;
        let claim = other.claim(A, "n2").await.unwrap();
        let expected = if upto > 0 { base + upto } else { flushed };
        assert_eq!((claim.end, claim.flushed_upto), (base + end, expected));
        // Both would write the first event of the next bucket.
        let mut new = Owner { claim, next: claim.end + 1 };
        let stale = old.record(&order_on(A, 0), 1, 1, None);
        assert_eq!(put(&journal, &stale).await, fenced(&old), "bucket full at {end}, stored up to {upto}");
        fill(&other, &mut new, (base + end + 10).next_multiple_of(10) - 1).await;
        assert_eq!(
            put(&journal, &stale).await,
            Err(AppendError::Failed("shard 0: an append before was never settled".to_owned()))
        );
    }
}

/// Rule O3.
#[tokio::test]
async fn an_owner_rolls_on_to_an_empty_bucket_and_raises_a_lower_fence_there() {
    let Some(store) = keyspace("rolling on", 10) else { return };
    let journal = store.open().await;
    Owner::of(&journal, A).await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 9).await;
    store.say("UPDATE KS.shard_log SET fence = 1 WHERE shard = 0 AND bucket = 1 IF fence = null").await;
    fill(&journal, &mut owner, 12).await;
    assert_eq!(replayed(&journal, A, 1).await.len(), 12);
    let fence = store.say("SELECT DISTINCT fence FROM KS.shard_log WHERE shard = 0 AND bucket = 1").await;
    assert_eq!(fence[0].columns[0], Some(CqlValue::BigInt(2)));
}

/// Rule O3: an owner that finds rows, or a higher fence, in the bucket it rolls on to has lost the shard.
#[tokio::test]
async fn an_owner_that_finds_another_in_the_next_bucket_has_lost_the_shard() {
    let Some(store) = keyspace("rolling on into another's bucket", 10) else { return };
    let found = [
        "UPDATE KS.shard_log SET fence = 99 WHERE shard = 0 AND bucket = B IF fence = null",
        "UPDATE KS.shard_log SET fence = 1, epoch = 1, events = 1 WHERE shard = 0 AND bucket = B AND seq = S0 IF epoch = null",
    ];
    for (round, found) in found.into_iter().enumerate() {
        let shard = doorbuster_storage::Shard(u16::try_from(round).unwrap());
        let journal = store.open().await;
        Owner::of(&journal, shard).await;
        let mut owner = Owner::of(&journal, shard).await;
        fill(&journal, &mut owner, 9).await;
        let found = found.replace("= B", "= 1").replace("S0", "10").replace("shard = 0", &format!("shard = {round}"));
        store.say(&found).await;
        let record = owner.record(&order_on(shard, 0), 10, 1, None);
        assert_eq!(put(&journal, &record).await, fenced(&owner), "{found}");
        let again = journal.confirm(shard, owner.epoch()).await;
        assert!(again.is_err(), "what was lost stays lost");
    }
}

/// Rules S2 and O3: rows go, fences stay.
#[tokio::test]
async fn a_checkpoint_deletes_the_rows_before_it_and_no_fence() {
    let Some(store) = keyspace("truncation after checkpoints", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let written = fill(&journal, &mut owner, 34).await;
    for upto in [4, 15, 29, 33] {
        owner.checkpoint(&journal, upto).await;
        let mut left = Vec::new();
        for bucket in 0..=3 {
            let rows =
                store.say(&format!("SELECT seq, fence FROM KS.shard_log WHERE shard = 0 AND bucket = {bucket}")).await;
            assert!(!rows.is_empty(), "bucket {bucket} lost its fence");
            for row in rows {
                assert_eq!(row.columns[1], Some(CqlValue::BigInt(1)));
                left.extend(row.columns[0].as_ref().and_then(CqlValue::as_bigint));
            }
        }
        let expected: Vec<i64> = (i64::try_from(upto).unwrap() + 1..=34).collect();
        assert_eq!(left, expected, "stored up to {upto}");
        assert_eq!(everything(&journal, A).await, written);
    }
    let claim = store.open().await.claim(A, "n2").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (33, 34));
}

/// A crash between `flushed_upto` and the deletion leaves rows that are never read; the next owner's checkpoint deletes them.
#[tokio::test]
async fn rows_that_a_crash_left_behind_are_deleted_by_the_next_checkpoint() {
    let Some(store) = keyspace("rows left behind", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let written = fill(&journal, &mut owner, 25).await;
    // As if the process had died there: stored, and not deleted.
    owner.checkpoint(&journal, 24).await;
    let row = "UPDATE KS.shard_log SET epoch = 1, events = 1, payload = 0x00 WHERE shard = 0 AND bucket = 1 AND seq = 14 IF epoch = null";
    store.say(row).await;
    store.say("UPDATE KS.shard_progress USING TIMESTAMP 1000099 SET deleted_upto = 3 WHERE shard = 0").await;
    let other = store.open().await;
    let mut next = Owner::of(&other, A).await;
    assert_eq!((next.claim.flushed_upto, next.claim.end), (24, 25));
    fill(&other, &mut next, 27).await;
    next.checkpoint(&other, 26).await;
    assert_eq!(store.say("SELECT seq FROM KS.shard_log WHERE shard = 0 AND bucket = 1 AND seq > 0").await.len(), 0);
    assert_eq!(everything(&other, A).await[..25], written);
}

/// Rule O2.7.
#[tokio::test]
async fn a_hole_in_the_log_is_corruption_for_claimants_and_readers() {
    let Some(store) = keyspace("a hole in the log", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 8).await;
    store.say("DELETE FROM KS.shard_log WHERE shard = 0 AND bucket = 0 AND seq = 5").await;
    let other = store.open().await;
    let error = other.claim(A, "n2").await.unwrap_err().to_string();
    assert!(error.contains("misses event 5") && error.contains("shard 0"), "{error}");
    let read: Vec<_> = other.replay(A, 1).collect().await;
    assert!(matches!(read.last(), Some(Err(ReadError::Corrupt(why))) if why.contains("event 5")), "{read:?}");
}

#[tokio::test]
async fn a_damaged_row_is_corruption_and_named() {
    let Some(store) = keyspace("a damaged row", 10) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 3).await;
    store.say("UPDATE KS.shard_log SET payload = 0x0100 WHERE shard = 0 AND bucket = 0 AND seq = 2 IF epoch = 1").await;
    let read: Vec<_> = store.open().await.replay(A, 1).collect().await;
    assert!(
        matches!(read.last(), Some(Err(ReadError::Corrupt(why))) if why.contains("event 2 of shard 0")),
        "{read:?}"
    );
}

/// A claimant begins where states are stored: what lies before is not read.
#[tokio::test]
async fn ten_thousand_sealed_buckets_are_claimed_in_as_many_steps_as_one() {
    let Some(store) = keyspace("ten thousand sealed buckets", 2) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 1).await;
    let steps = async |journal: &doorbuster_storage::cql::CqlJournal| {
        let (mut claiming, mut steps) = (journal.claiming(A, "n2"), 1);
        loop {
            match claiming.step().await.unwrap() {
                Some(claim) => return (claim, steps),
                None => steps += 1,
            }
        }
    };
    let (_, few) = steps(&journal).await;
    // As ten thousand rolls and a checkpoint leave it.
    let session = store.session().await;
    let fence = format!("UPDATE {}.shard_log SET fence = 2 WHERE shard = 0 AND bucket = ?", store.options.keyspace);
    let fence = session.prepare(fence).await.unwrap();
    let sealed = futures_util::stream::iter(1..=10_000).map(|bucket: i32| session.execute_unpaged(&fence, (bucket,)));
    let sealed: Vec<_> = sealed.buffer_unordered(64).collect().await;
    assert!(sealed.iter().all(Result::is_ok));
    store.say("UPDATE KS.shard_progress USING TIMESTAMP 1020001 SET flushed_upto = 20001, deleted_upto = 20001 WHERE shard = 0").await;
    let other = store.open().await;
    let (claim, many) = steps(&other).await;
    assert_eq!((claim.flushed_upto, claim.end), (20_001, 20_001));
    assert!(many <= few, "{many} steps, {few} with one bucket");
    let mut owner = Owner { claim, next: claim.end + 1 };
    write(&other, &mut owner, 1).await;
}
