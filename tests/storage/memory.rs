//! What the simulation counts on in the journal in memory: crashes and faults as ordered, the same from the same seed.

use crate::given::{LAYOUT, Owner, append, everything, order_on, replayed, state};
use doorbuster_storage::memory::{Fault, Faults, Groups, MemoryStore};
use doorbuster_storage::wire::HEAD;
use doorbuster_storage::{AppendError, Journal, Shard, StateFlush};
use std::collections::BTreeMap;
use std::time::Duration;

const A: Shard = Shard(0);
const B: Shard = Shard(1);

fn slow() -> Faults {
    Faults { append_takes: (Duration::from_millis(1), Duration::from_millis(40)), ..Faults::default() }
}

/// What three crashes, each with a batch of three records in flight, leave behind.
async fn left_by_crashes(seed: u64) -> Vec<u64> {
    let store = MemoryStore::new(LAYOUT, Groups::One, seed);
    store.set_faults(slow());
    let mut left = Vec::new();
    for _ in 0..3 {
        let journal = store.open();
        let mut owner = Owner::of(&journal, A).await;
        let batch: Vec<_> = (1..=3).map(|number| owner.record(&order_on(A, 0), number, 1, None)).collect();
        let appending = append(&journal, batch);
        assert!(tokio::time::timeout(Duration::ZERO, appending).await.is_err(), "still in flight");
        let (in_flight, there) = store.crash();
        assert_eq!(in_flight, 1);
        let end = store.open().ends().get(&A).copied().unwrap_or(0);
        assert_eq!(end, left.last().copied().unwrap_or(0) + if there == 1 { 3 } else { 0 });
        left.push(end);
    }
    left
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_flight_at_a_crash_is_there_whole_or_not_at_all_as_the_seed_says() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..32 {
        let left = left_by_crashes(seed).await;
        assert_eq!(left, left_by_crashes(seed).await, "seed {seed}");
        outcomes.insert(left);
    }
    assert!(outcomes.len() >= 4, "the seed decides: {outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_incarnation_neither_acts_nor_hears() {
    let store = MemoryStore::new(LAYOUT, Groups::One, 1);
    let dead = store.open();
    let mut owner = Owner::of(&dead, A).await;
    owner.write(&dead, &order_on(A, 0), 1).await;
    store.crash();
    let record = owner.record(&order_on(A, 0), 2, 1, None);
    let appending = append(&dead, vec![record]);
    assert!(tokio::time::timeout(Duration::from_secs(3_600), appending).await.is_err());
    let claiming = dead.claim(A, "n1");
    assert!(tokio::time::timeout(Duration::from_secs(3_600), claiming).await.is_err());
    assert_eq!(store.open().claim(A, "n2").await.unwrap().epoch, owner.epoch() + 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_while_an_append_is_on_its_way_fences_it() {
    let store = MemoryStore::new(LAYOUT, Groups::One, 1);
    store.set_faults(slow());
    let journal = store.open();
    let mut owner = Owner::of(&journal, A).await;
    let record = owner.record(&order_on(A, 0), 1, 1, None);
    let (answer, ()) = tokio::join!(append(&journal, vec![record]), async { store.fence(A) });
    assert_eq!(answer, Err(AppendError::Fenced { shard: A, epoch: owner.epoch() }));
    assert_eq!(everything(&journal, A).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_may_be_there_or_not_and_ends_the_group_until_it_begins_anew() {
    for written in [false, true] {
        let store = MemoryStore::new(LAYOUT, Groups::PerShard, 1);
        store.set_faults(Faults { appends: BTreeMap::from([(2, Fault::Fail { written })]), ..Faults::default() });
        let journal = store.open();
        let (mut owner, mut other) = (Owner::of(&journal, A).await, Owner::of(&journal, B).await);
        owner.write(&journal, &order_on(A, 0), 1).await;
        let second = owner.record(&order_on(A, 0), 2, 1, None);
        assert!(matches!(append(&journal, vec![second]).await, Err(AppendError::Failed(_))));
        let end = if written { 2 } else { 1 };
        assert_eq!(journal.ends().get(&A), Some(&end));
        owner.next = end + 1;
        let third = owner.record(&order_on(A, 0), 3, 1, None);
        assert!(matches!(append(&journal, vec![third]).await, Err(AppendError::Failed(_))), "rule L8");
        other.write(&journal, &order_on(B, 0), 1).await;
        let mut again = Owner::of(&journal, A).await;
        again.write(&journal, &order_on(A, 0), 3).await;
        assert_eq!(replayed(&journal, A, 1).await.len(), usize::try_from(end + 1).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_checkpoint_is_whole_or_not_there() {
    for written in [false, true] {
        let store = MemoryStore::new(LAYOUT, Groups::One, 1);
        store.set_faults(Faults { checkpoints: BTreeMap::from([(1, Fault::Fail { written })]), ..Faults::default() });
        let journal = store.open();
        let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 0));
        owner.write(&journal, &order, 1).await;
        let flush = StateFlush { states: vec![state(&order, HEAD, 1, "one")], ..StateFlush::default() };
        assert!(journal.checkpoint(&owner.claim, flush, 1).await.is_err());
        assert_eq!(journal.load(A, &order).await.unwrap().len(), usize::from(written));
        assert_eq!(journal.claim(A, "n1").await.unwrap().flushed_upto, u64::from(written));
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_takes_the_time_that_was_ordered_and_no_more_than_that() {
    let store = MemoryStore::new(LAYOUT, Groups::One, 1);
    let stall = Duration::from_secs(30);
    store.set_faults(Faults { append_stalls: BTreeMap::from([(2, stall)]), ..Faults::default() });
    let journal = store.open();
    let mut owner = Owner::of(&journal, A).await;
    let begun = tokio::time::Instant::now();
    owner.write(&journal, &order_on(A, 0), 1).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    owner.write(&journal, &order_on(A, 0), 2).await;
    assert_eq!(begun.elapsed(), stall);
}

/// Rule L1: this is how a checkout is cut at every one of its records.
#[tokio::test]
async fn a_recorded_log_can_be_cut_after_every_frame() {
    let store = MemoryStore::new(LAYOUT, Groups::One, 1);
    store.keep_frames();
    let journal = store.open();
    let (mut a, mut b) = (Owner::of(&journal, A).await, Owner::of(&journal, B).await);
    for number in 1..=5 {
        let batch = vec![a.record(&order_on(A, 0), number, 1, None), b.record(&order_on(B, 0), number, 2, None)];
        append(&journal, batch).await.unwrap();
        a.checkpoint(&journal, a.next - 1).await;
    }
    assert_eq!(store.frames(), 5);
    for frames in 0..=5 {
        let cut = store.cut_at(frames).unwrap().open();
        let kept = u64::try_from(frames).unwrap();
        let expected = if frames == 0 { BTreeMap::new() } else { BTreeMap::from([(A, kept), (B, 2 * kept)]) };
        assert_eq!(cut.ends(), expected);
        let mut owner = Owner::of(&cut, A).await;
        owner.write(&cut, &order_on(A, 0), 9).await;
    }
}
