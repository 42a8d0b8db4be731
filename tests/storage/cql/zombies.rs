//! An owner that was stopped and wakes up: whatever it tries then is refused or does no harm.

use super::proxy::{Act, Proxy};
use super::{A, fenced, fill, keyspace, put, write};
use crate::given::{Owner, agenda, append, everything, order_on, replayed, state};
use doorbuster_storage::wire::HEAD;
use doorbuster_storage::{AppendError, Journal, Shard, StateFlush};

/// Rules O2 and O4: in the same bucket, where its place is taken, where it is free, and where it was deleted.
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
            let (upto, epoch) = (base + begun, old.epoch());
            assert_eq!(old_node.checkpoint(&old.claim, flush, upto).await, fenced(&old), "{case}");
            assert_eq!(old_node.confirm(shard, epoch).await, fenced(&old), "{case}");
            let stale = old.record(&order, 1, 1, None);
            assert_eq!(put(&old_node, &stale).await, fenced(&old), "{case}");
            assert!(put(&old_node, &stale).await.is_err(), "{case}: and once more");
            assert_eq!(everything(&new_node, shard).await, before, "{case}");
            assert_eq!(new_node.load(shard, &order).await.unwrap(), [], "{case}");
            new_node.confirm(shard, new.epoch()).await.unwrap();
            write(&new_node, &mut new, 1).await;
            let end = new.next.next_multiple_of(10) - 1;
            fill(&new_node, &mut new, end).await;
            new.checkpoint(&new_node, end).await;
        }
    }
}

/// Rule O4: the bucket is full and stored, so no successor looks at it; the former owner must not take its own old fence for an answer.
#[tokio::test]
async fn a_former_owner_whose_bucket_is_full_and_stored_does_not_confirm_itself() {
    let Some(store) = keyspace("confirming beside a full bucket", 10) else { return };
    let old_node = store.open().await;
    let mut old = Owner::of(&old_node, A).await;
    fill(&old_node, &mut old, 9).await;
    old.checkpoint(&old_node, 9).await;
    let new_node = store.open().await;
    let mut new = Owner::of(&new_node, A).await;
    let fence = store.say("SELECT DISTINCT fence FROM KS.shard_log WHERE shard = 0 AND bucket = 0").await;
    assert_eq!(
        fence[0].columns[0],
        Some(scylla::value::CqlValue::BigInt(1)),
        "the full bucket is still the old owner's"
    );
    assert_eq!(old_node.confirm(A, old.epoch()).await, fenced(&old));
    new_node.confirm(A, new.epoch()).await.unwrap();
    write(&new_node, &mut new, 1).await;
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
