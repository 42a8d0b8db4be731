//! Rule S3: no clock takes part. Every cell that a checkpoint writes carries the constant of the schema plus a seq, so an owner whose clock is an
//! hour behind, or a year ahead, stores what any other would have stored.

use super::{A, fill, keyspace, write};
use crate::given::{Owner, agenda, append, order_on, replayed, sku_on, state};
use doorbuster_storage::cql::TIMESTAMP_BASE;
use doorbuster_storage::wire::{HEAD, PERSONAL};
use doorbuster_storage::{Journal, StateFlush};
use scylla::value::{CqlValue, Row};

fn times(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.columns[0].as_ref().and_then(CqlValue::as_bigint).unwrap() - TIMESTAMP_BASE).collect()
}

#[tokio::test]
async fn what_a_checkpoint_stores_carries_its_seq_and_no_time() {
    let Some(store) = keyspace("timestamps are seqs", 100) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let (order, sku) = (order_on(A, 0), sku_on(A));
    fill(&journal, &mut owner, 5).await;
    let personal = owner.record(&order, 6, 3, Some("Ada"));
    append(&journal, vec![personal]).await.unwrap();
    let states = vec![state(&order, HEAD, 6, "head"), state(&order, PERSONAL, 4, "Ada"), state(&sku, 9, 8, "chunk")];
    let flush = StateFlush { states, agenda: vec![agenda(&order, Some(1), true)], erase: vec![] };
    journal.checkpoint(&owner.claim, flush, 8).await.unwrap();
    for (select, expected) in [
        ("WRITETIME(body) FROM KS.states WHERE chunk = 0 ALLOW FILTERING", vec![6]),
        ("WRITETIME(body) FROM KS.states WHERE chunk = 9 ALLOW FILTERING", vec![8]),
        ("WRITETIME(body) FROM KS.states WHERE chunk = 65535 ALLOW FILTERING", vec![4]),
        ("WRITETIME(body) FROM KS.agenda", vec![8]),
        ("WRITETIME(flushed_upto) FROM KS.shard_progress", vec![8]),
        ("WRITETIME(facts) FROM KS.history WHERE shard = 0 AND bucket = 0", vec![1, 2, 3, 4, 5, 6]),
        ("WRITETIME(personal) FROM KS.history WHERE shard = 0 AND bucket = 0 AND seq = 6", vec![6]),
    ] {
        assert_eq!(times(&store.say(&format!("SELECT {select}")).await), expected, "{select}");
    }
    // Erasing is a write like any other.
    let flush = StateFlush { erase: vec![order.clone()], ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 8).await.unwrap();
    let erased = "WRITETIME(personal) FROM KS.history WHERE shard = 0 AND bucket = 0 AND seq = 6";
    assert_eq!(times(&store.say(&format!("SELECT {erased}")).await), [8]);
    let erased = "WRITETIME(body) FROM KS.states WHERE chunk = 65535 ALLOW FILTERING";
    assert_eq!(times(&store.say(&format!("SELECT {erased}")).await), [8]);
}

/// A former owner's personal data, written late with the very timestamp of the erasure, stays erased; and what another owner stored by a clock an
/// hour behind is nothing that could exist: its rows are those of its seqs.
#[tokio::test]
async fn what_is_erased_stays_so_when_it_is_written_late() {
    let Some(store) = keyspace("late personal data", 100) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let order = order_on(A, 0);
    let record = owner.record(&order, 1, 1, Some("Ada"));
    append(&journal, vec![record]).await.unwrap();
    let flush = StateFlush {
        states: vec![state(&order, HEAD, 1, "head"), state(&order, PERSONAL, 1, "Ada")],
        erase: vec![order.clone()],
        ..StateFlush::default()
    };
    journal.checkpoint(&owner.claim, flush, 1).await.unwrap();
    let at = TIMESTAMP_BASE + 1;
    let key = store.say("SELECT entity FROM KS.states LIMIT 1").await[0].columns[0].clone().unwrap();
    let key: String = key.as_blob().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    for late in [
        format!(
            "UPDATE KS.history USING TIMESTAMP {at} SET personal = 0x00ffff WHERE shard = 0 AND bucket = 0 AND seq = 1"
        ),
        format!(
            "INSERT INTO KS.states (shard, entity, chunk, slot, seq, body) VALUES (0, 0x{key}, 65535, 0, 1, 0x00ffff) USING TIMESTAMP {at}"
        ),
    ] {
        store.say(&late).await;
    }
    assert_eq!(journal.load(A, &order).await.unwrap(), [state(&order, HEAD, 1, "head")]);
    let found = journal.history(A, &order, 0, 10).await.unwrap();
    assert!(doorbuster_storage::wire::split_personal(&found[0].body).unwrap().1.is_none());
}

/// The servers' clocks take part in one place only: they order the writes of a row of the log. A deletion takes its time from there, so one that comes
/// late, by whatever clock, does not hide what was written after.
#[tokio::test]
async fn a_deletion_carries_the_time_of_the_last_row_it_deletes() {
    let Some(store) = keyspace("timestamps of deletions", 100) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    fill(&journal, &mut owner, 5).await;
    owner.checkpoint(&journal, 3).await;
    // Were the deletion's time a clock's, a row put back with a time a moment after the last one's would be hidden by it.
    let written =
        store.say("SELECT WRITETIME(epoch) FROM KS.shard_log WHERE shard = 0 AND bucket = 0 AND seq = 4").await;
    let fourth = written[0].columns[0].as_ref().and_then(CqlValue::as_bigint).unwrap();
    let row = format!(
        "UPDATE KS.shard_log USING TIMESTAMP {} SET epoch = 1 WHERE shard = 0 AND bucket = 0 AND seq = 3",
        fourth - 1
    );
    store.say(&row).await;
    assert_eq!(store.say("SELECT seq FROM KS.shard_log WHERE shard = 0 AND bucket = 0 AND seq = 3").await.len(), 1);
    let more = write(&journal, &mut owner, 1).await;
    assert_eq!(replayed(&journal, A, 6).await, [more]);
}

/// Two owners, the second with a clock an hour behind: what the first stored does not cover what the second stores.
#[tokio::test]
async fn an_owner_whose_clock_is_an_hour_behind_loses_no_flush() {
    let Some(store) = keyspace("a clock an hour behind", 100) else { return };
    store.make().await;
    let first = store.open_with(|options| options.driver_clock_skew_s = 3_600).await;
    let mut owner = Owner::of(&first, A).await;
    let order = order_on(A, 0);
    fill(&first, &mut owner, 3).await;
    let flush = StateFlush {
        states: vec![state(&order, HEAD, 3, "by the clock that is ahead")],
        agenda: vec![agenda(&order, Some(3), true)],
        erase: Vec::new(),
    };
    first.checkpoint(&owner.claim, flush, 3).await.unwrap();
    let behind = store.open_with(|options| options.driver_clock_skew_s = -3_600).await;
    let mut owner = Owner::of(&behind, A).await;
    let written = fill(&behind, &mut owner, 6).await;
    let states = vec![state(&order, HEAD, 6, "by the clock that is behind")];
    let flush = StateFlush { states: states.clone(), agenda: vec![agenda(&order, Some(6), false)], erase: Vec::new() };
    behind.checkpoint(&owner.claim, flush, 5).await.unwrap();
    let other = store.open().await;
    assert_eq!(other.load(A, &order).await.unwrap(), states);
    assert_eq!(other.agenda(A).await.unwrap(), [agenda(&order, Some(6), false)]);
    let claim = other.claim(A, "n3").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (5, 6));
    assert_eq!(replayed(&other, A, 6).await, written[2..]);
}
