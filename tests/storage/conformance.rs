//! The one suite that every journal passes: each test is a claim about all of them.

use crate::given::{
    Backend, InMemory, OnCql, OnDisk, Owner, PerShard, agenda, append, everything, order_on, replayed, sku_on, state,
};
use doorbuster_storage::wire::{HEAD, PERSONAL};
use doorbuster_storage::{AppendError, Journal, Record, Shard, StateFlush, wire};
use futures_util::TryStreamExt;
use std::collections::BTreeMap;

macro_rules! claims {
    ($($claim:ident),+ $(,)?) => {
        claims!(@on in_memory InMemory $($claim)+);
        claims!(@on in_memory_with_a_group_per_shard PerShard $($claim)+);
        claims!(@on embedded OnDisk $($claim)+);
        claims!(@on cql OnCql $($claim)+);
    };
    (@on $name:ident $backend:ident $($claim:ident)+) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $claim() {
                    if <super::$backend as super::Backend>::is_there(stringify!($claim)) {
                        super::$claim::<super::$backend>().await;
                    }
                }
            )+
        }
    };
}

claims![
    each_claim_raises_the_epoch_also_across_a_restart,
    an_older_owner_is_fenced_and_leaves_nothing,
    without_a_claim_there_is_no_append,
    two_claimants_end_with_one_owner,
    a_batch_is_all_or_nothing,
    seqs_are_dense,
    replay_begins_at_any_seq,
    one_replay_serves_several_shards_each_in_order,
    a_reader_that_goes_on_finds_what_came_since_wherever_it_is_by_now,
    pages_from_any_seq_give_every_record_once_and_in_order,
    a_checkpoint_ends_what_replay_gives,
    a_checkpoint_ends_at_a_whole_durable_record_or_is_refused,
    a_fenced_owner_stores_no_checkpoint,
    a_state_ahead_of_the_log_is_refused,
    states_are_overwritten_row_by_row,
    an_entity_never_stored_has_no_rows,
    an_agenda_row_with_nothing_in_it_removes_the_entity,
    entities_are_listed_in_order_by_pages,
    history_is_whole_and_in_order_before_and_after_checkpoints,
    history_begins_at_any_number_and_ends_at_the_limit,
    everything_acknowledged_survives_a_crash,
    everything_acknowledged_survives_a_clean_stop,
    erasing_removes_personal_data_from_states_and_history,
    what_is_erased_stays_erased_and_facts_stay,
    a_large_flush_is_stored_whole,
];

const A: Shard = Shard(0);
const B: Shard = Shard(1);

async fn each_claim_raises_the_epoch_also_across_a_restart<T: Backend>() {
    let store = T::default();
    let mut last = 0;
    for cleanly in [false, true, false] {
        let journal = store.open().await;
        for _ in 0..2 {
            let claim = journal.claim(A, "n1").await.unwrap();
            assert!(claim.epoch > last, "epoch {} after {last}", claim.epoch);
            last = claim.epoch;
        }
        store.stop(journal, cleanly);
    }
}

/// Rule O2 in small: the last claimant owns the shard.
async fn an_older_owner_is_fenced_and_leaves_nothing<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut old, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    let first = old.write(&journal, &order, 1).await;
    let mut new = Owner::of(&journal, A).await;
    let stale = old.record(&order, 2, 1, None);
    let answer = append(&journal, vec![stale]).await;
    assert_eq!(answer, Err(AppendError::Fenced { shard: A, epoch: old.epoch() }));
    let second = new.write(&journal, &order, 2).await;
    assert_eq!(replayed(&journal, A, 1).await, [first, second]);
}

async fn without_a_claim_there_is_no_append<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut record = Owner::of(&journal, A).await.record(&order_on(B, 0), 1, 1, None);
    record.shard = B;
    record.epoch = 0;
    assert!(matches!(append(&journal, vec![record]).await, Err(AppendError::Fenced { shard: B, .. })));
    assert_eq!(journal.ends(), BTreeMap::new());
}

async fn two_claimants_end_with_one_owner<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (one, two) = tokio::join!(journal.claim(A, "n1"), journal.claim(A, "n2"));
    let mut owners = 0;
    for claim in [one.unwrap(), two.unwrap()] {
        let mut owner = Owner { claim, next: claim.end + 1 };
        let record = owner.record(&order_on(A, 0), 1, 1, None);
        owners += u32::from(append(&journal, vec![record]).await.is_ok());
    }
    assert_eq!(owners, 1);
}

/// Rule L1: a batch with one record that cannot be there is not there at all, though the other shard's part is lawful.
async fn a_batch_is_all_or_nothing<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let good = owner.record(&order_on(A, 0), 1, 1, None);
    let mut hole = owner.record(&order_on(A, 0), 2, 1, None);
    hole.seq += 1;
    assert!(append(&journal, vec![good.clone(), hole]).await.is_err());
    assert_eq!(everything(&journal, A).await, []);
    append(&journal, vec![good.clone()]).await.unwrap();
    assert_eq!(everything(&journal, A).await, [good]);
}

async fn seqs_are_dense<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let records = [1, 3, 2].map(|events| owner.record(&order_on(A, 0), 1, events, None));
    append(&journal, records.to_vec()).await.unwrap();
    assert_eq!(journal.ends(), BTreeMap::from([(A, 6)]));
    for seq in [1, 6, 8] {
        let wrong = Record { seq, ..owner.clone().record(&order_on(A, 0), 1, 1, None) };
        assert!(matches!(append(&journal, vec![wrong]).await, Err(AppendError::Failed(_))), "seq {seq} behind 6");
    }
    assert_eq!(replayed(&journal, A, 1).await, records);
}

async fn replay_begins_at_any_seq<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut records = Vec::new();
    for events in [2, 1, 3, 1] {
        let record = owner.record(&order_on(A, 0), 1, events, None);
        append(&journal, vec![record.clone()]).await.unwrap();
        records.push(record);
    }
    for from in 1..=8 {
        let expected: Vec<_> = records.iter().filter(|record| record.last_seq() >= from).cloned().collect();
        assert_eq!(replayed(&journal, A, from).await, expected, "from {from}");
    }
}

async fn one_replay_serves_several_shards_each_in_order<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut a, mut b) = (Owner::of(&journal, A).await, Owner::of(&journal, B).await);
    for number in 1..=3 {
        a.write(&journal, &order_on(A, 0), number).await;
        b.write(&journal, &order_on(B, 0), number).await;
    }
    let all: Vec<Record> = journal.replay_all(BTreeMap::from([(A, 2), (B, 3)])).try_collect().await.unwrap();
    let seqs_of =
        |shard| all.iter().filter(|record| record.shard == shard).map(|record| record.seq).collect::<Vec<_>>();
    assert_eq!((seqs_of(A), seqs_of(B)), (vec![2, 3], vec![3]));
}

/// Rule A1: an audit reads every log, and then what came since, while owners store and move.
async fn a_reader_that_goes_on_finds_what_came_since_wherever_it_is_by_now<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut records: Vec<Record> = Vec::new();
    let mut ends = vec![0];
    for batch in 0..6_u64 {
        let together: Vec<_> =
            (1..=2).map(|number| owner.record(&order_on(A, 0), batch * 2 + number, 1, None)).collect();
        append(&journal, together.clone()).await.unwrap();
        records.extend(together);
        ends.push(owner.next - 1);
        if batch % 2 == 1 {
            owner.checkpoint(&journal, owner.next - 3).await;
        }
        for end in &ends {
            let since: Vec<Record> = journal.records_from(A, end + 1).try_collect().await.unwrap();
            let expected: Vec<_> = records.iter().filter(|record| record.seq > *end).cloned().collect();
            assert_eq!(since, expected, "read on from {end} after batch {batch}");
        }
    }
}

/// Rule V8: a reader with its own cursor reads on wherever it is, in history, in the log, and over the border between them.
async fn pages_from_any_seq_give_every_record_once_and_in_order<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut records = Vec::new();
    for number in 1..=60_u64 {
        let which = u128::from(number % 7);
        let (personal, events) = ((number % 3 == 0).then(|| format!("buyer {number}")), 1 + u32::from(number % 5 == 0));
        let record = owner.record(&order_on(A, which), number, events, personal.as_deref());
        append(&journal, vec![record.clone()]).await.unwrap();
        records.push(record);
        if [20, 21, 45].contains(&number) {
            owner.checkpoint(&journal, owner.next - 1).await;
        }
    }
    let end = owner.next - 1;
    for from in 0..=end {
        for limit in [1, 4, 100] {
            let (mut read, mut next) = (Vec::new(), from);
            while next <= end {
                let page = journal.page(A, next, limit).await.unwrap();
                assert!((1..=limit).contains(&page.len()), "from {next}, at most {limit}: {}", page.len());
                next = page.last().unwrap().last_seq() + 1;
                read.extend(page);
            }
            let expected: Vec<_> = records.iter().filter(|record| record.last_seq() >= from).cloned().collect();
            assert_eq!(read, expected, "from {from}, by {limit}");
        }
    }
}

async fn a_checkpoint_ends_what_replay_gives<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut records = Vec::new();
    for number in 1..=5 {
        records.push(owner.write(&journal, &order_on(A, 0), number).await);
    }
    owner.checkpoint(&journal, 3).await;
    assert_eq!(replayed(&journal, A, 1).await, records[3..]);
    assert_eq!(everything(&journal, A).await, records);
    store.stop(journal, false);
    let journal = store.open().await;
    let claim = journal.claim(A, "n1").await.unwrap();
    assert_eq!((claim.flushed_upto, claim.end), (3, 5));
    assert_eq!(replayed(&journal, A, claim.flushed_upto + 1).await, records[3..]);
    assert_eq!(everything(&journal, A).await, records);
}

/// Rule L1: the events of one decision are never split, not by a checkpoint either.
async fn a_checkpoint_ends_at_a_whole_durable_record_or_is_refused<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    for events in [2, 3] {
        let record = owner.record(&order_on(A, 0), 1, events, None);
        append(&journal, vec![record]).await.unwrap();
    }
    for upto in [1, 3, 4, 6] {
        let answer = journal.checkpoint(&owner.claim, StateFlush::default(), upto).await;
        assert!(matches!(answer, Err(AppendError::Failed(_))), "upto {upto}");
    }
    owner.checkpoint(&journal, 5).await;
    assert!(journal.checkpoint(&owner.claim, StateFlush::default(), 2).await.is_err(), "flushed_upto never falls");
    assert_eq!(journal.claim(A, "n1").await.unwrap().flushed_upto, 5);
}

async fn a_fenced_owner_stores_no_checkpoint<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut old, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    old.write(&journal, &order, 1).await;
    let new = Owner::of(&journal, A).await;
    let flush = StateFlush { states: vec![state(&order, HEAD, 1, "stale")], ..StateFlush::default() };
    let answer = journal.checkpoint(&old.claim, flush, 1).await;
    assert_eq!(answer, Err(AppendError::Fenced { shard: A, epoch: old.epoch() }));
    assert_eq!(journal.load(A, &order).await.unwrap(), []);
    new.checkpoint(&journal, 1).await;
}

/// Rule S1.
async fn a_state_ahead_of_the_log_is_refused<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    owner.write(&journal, &order, 1).await;
    let flush = StateFlush { states: vec![state(&order, HEAD, 2, "what never happened")], ..StateFlush::default() };
    assert!(matches!(journal.checkpoint(&owner.claim, flush, 1).await, Err(AppendError::Failed(_))));
    assert_eq!(journal.load(A, &order).await.unwrap(), []);
}

async fn states_are_overwritten_row_by_row<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut owner, sku) = (Owner::of(&journal, A).await, sku_on(A));
    owner.write(&journal, &sku, 1).await;
    let rows = [HEAD, 7, 255, PERSONAL].map(|chunk| state(&sku, chunk, 1, "old"));
    let flush = StateFlush { states: rows.to_vec(), ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 1).await.unwrap();
    owner.write(&journal, &sku, 2).await;
    let new = [state(&sku, 7, 2, "new"), state(&sku, HEAD, 2, "new")];
    let flush = StateFlush { states: new.to_vec(), ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 2).await.unwrap();
    let expected = [new[1].clone(), new[0].clone(), state(&sku, 255, 1, "old"), state(&sku, PERSONAL, 1, "old")];
    assert_eq!(journal.load(A, &sku).await.unwrap(), expected);
    store.stop(journal, false);
    assert_eq!(store.open().await.load(A, &sku).await.unwrap(), expected);
}

async fn an_entity_never_stored_has_no_rows<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 1));
    owner.write(&journal, &order, 1).await;
    let flush = StateFlush { states: vec![state(&order, HEAD, 1, "there")], ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 1).await.unwrap();
    assert_eq!(journal.load(A, &order_on(A, 0)).await.unwrap(), []);
    assert_eq!(journal.history(A, &order_on(A, 0), 0, 10).await.unwrap(), []);
}

async fn an_agenda_row_with_nothing_in_it_removes_the_entity<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let owner = Owner::of(&journal, A).await;
    let orders = [0, 1, 2].map(|which| order_on(A, which));
    let rows =
        vec![agenda(&orders[0], Some(5), false), agenda(&orders[1], None, true), agenda(&orders[2], Some(9), true)];
    let flush = StateFlush { agenda: rows.clone(), ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 0).await.unwrap();
    assert_eq!(journal.agenda(A).await.unwrap(), rows);
    assert_eq!(journal.agenda(B).await.unwrap(), []);
    let changed = vec![agenda(&orders[0], None, false), agenda(&orders[1], Some(7), false)];
    let flush = StateFlush { agenda: changed, ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 0).await.unwrap();
    let expected = vec![agenda(&orders[1], Some(7), false), rows[2].clone()];
    assert_eq!(journal.agenda(A).await.unwrap(), expected);
    store.stop(journal, false);
    assert_eq!(store.open().await.agenda(A).await.unwrap(), expected);
}

async fn entities_are_listed_in_order_by_pages<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut expected = vec![sku_on(A)];
    expected.extend((0..5).map(|which| order_on(A, which)));
    for shard in [A, B] {
        let owner = Owner::of(&journal, shard).await;
        let mut flush = StateFlush::default();
        let elsewhere = [order_on(B, 0)];
        let here = if shard == A { expected.as_slice() } else { &elsewhere };
        for entity in here.iter().rev() {
            flush.states.extend([HEAD, 1, 2].map(|chunk| state(entity, chunk, 0, "rows")));
        }
        journal.checkpoint(&owner.claim, flush, 0).await.unwrap();
    }
    for page in [1, 2, 6, 100] {
        let mut listed = Vec::new();
        loop {
            let next = journal.entities(A, listed.last(), page).await.unwrap();
            assert!(next.len() <= page);
            if next.is_empty() {
                break;
            }
            listed.extend(next);
        }
        assert_eq!(listed, expected, "pages of {page}");
    }
}

async fn history_is_whole_and_in_order_before_and_after_checkpoints<T: Backend>() {
    let store = T::default();
    let mut journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let orders = [order_on(A, 0), order_on(A, 1)];
    let mut written: BTreeMap<_, Vec<Record>> = BTreeMap::new();
    for number in 1..=40 {
        for order in &orders {
            let personal = format!("{order} lives at number {number}");
            let record = owner.record(order, number, 1, (number % 3 == 0).then_some(personal.as_str()));
            append(&journal, vec![record.clone()]).await.unwrap();
            written.entry(order.clone()).or_default().push(record);
        }
        for order in &orders {
            assert_eq!(journal.history(A, order, 0, 1000).await.unwrap(), written[order], "at number {number}");
        }
        if number % 7 == 0 {
            // Not everything: history and the log's tail must meet within the entity.
            owner.checkpoint(&journal, owner.next - 3).await;
        }
        if number % 17 == 0 {
            store.stop(journal, number % 2 == 0);
            journal = store.open().await;
            owner = Owner::of(&journal, A).await;
        }
    }
}

async fn history_begins_at_any_number_and_ends_at_the_limit<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    let mut records = Vec::new();
    for decision in 0..10 {
        let record = owner.record(&order, decision * 2 + 1, 2, None);
        append(&journal, vec![record.clone()]).await.unwrap();
        records.push(record);
        if decision == 2 || decision == 5 {
            owner.checkpoint(&journal, owner.next - 1).await;
        }
    }
    for from in 0..=21_u64 {
        let skipped = usize::try_from(from.saturating_sub(1) / 2).unwrap();
        for limit in [0, 1, 3, 100] {
            let expected: Vec<_> = records.iter().skip(skipped).take(limit).cloned().collect();
            let found = journal.history(A, &order, from, limit).await.unwrap();
            assert_eq!(found, expected, "from {from}, at most {limit}");
        }
    }
}

async fn survives<T: Backend>(cleanly: bool) {
    let store = T::default();
    let mut written = Vec::new();
    for round in 0..4_u64 {
        let journal = store.open().await;
        assert_eq!(everything(&journal, A).await, written, "before round {round}");
        let mut owner = Owner::of(&journal, A).await;
        assert_eq!(owner.claim.end, u64::try_from(written.len()).unwrap());
        for number in 0..5 {
            written.push(owner.write(&journal, &order_on(A, 0), round * 5 + number + 1).await);
        }
        if round == 1 {
            owner.checkpoint(&journal, 7).await;
        }
        store.stop(journal, cleanly);
    }
}

async fn everything_acknowledged_survives_a_crash<T: Backend>() {
    survives::<T>(false).await;
}

async fn everything_acknowledged_survives_a_clean_stop<T: Backend>() {
    survives::<T>(true).await;
}

fn personal_in(record: &Record) -> bool {
    wire::split_personal(&record.body).unwrap().1.is_some()
}

async fn erasing_removes_personal_data_from_states_and_history<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let (erased, kept) = (order_on(A, 0), order_on(A, 1));
    for number in 1..=3 {
        for order in [&erased, &kept] {
            let record = owner.record(order, number, 2, Some("Ada, 12 St James's Square"));
            append(&journal, vec![record]).await.unwrap();
        }
    }
    let states: Vec<_> = [&erased, &kept]
        .into_iter()
        .flat_map(|order| [state(order, HEAD, 4, "facts"), state(order, PERSONAL, 4, "Ada")])
        .collect();
    let flush = StateFlush { states, ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 4).await.unwrap();
    let entities = journal.entities(A, None, 10).await.unwrap();
    // Some of it is in history by now, some of it moves there by the very checkpoint that erases, and a row comes with it.
    let end = owner.next - 1;
    let flush = StateFlush {
        states: vec![state(&erased, PERSONAL, end, "Ada once more")],
        erase: vec![erased.clone()],
        ..StateFlush::default()
    };
    journal.checkpoint(&owner.claim, flush, end).await.unwrap();
    let chunks = |rows: Vec<doorbuster_storage::StateRow>| rows.iter().map(|row| row.chunk).collect::<Vec<_>>();
    assert_eq!(chunks(journal.load(A, &erased).await.unwrap()), [HEAD]);
    assert_eq!(chunks(journal.load(A, &kept).await.unwrap()), [HEAD, PERSONAL]);
    let gone = journal.history(A, &erased, 0, 10).await.unwrap();
    assert_eq!((gone.len(), gone.iter().filter(|record| personal_in(record)).count()), (3, 0));
    let there = journal.history(A, &kept, 0, 10).await.unwrap();
    assert_eq!((there.len(), there.iter().filter(|record| personal_in(record)).count()), (3, 3));
    assert_eq!(journal.entities(A, None, 10).await.unwrap(), entities);
}

async fn what_is_erased_stays_erased_and_facts_stay<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let (mut owner, order) = (Owner::of(&journal, A).await, order_on(A, 0));
    let record = owner.record(&order, 1, 3, Some("Ada"));
    append(&journal, vec![record.clone()]).await.unwrap();
    let flush = StateFlush { erase: vec![order.clone()], ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 3).await.unwrap();
    store.stop(journal, false);
    let journal = store.open().await;
    let found = journal.history(A, &order, 0, 10).await.unwrap();
    let facts = wire::split_personal(&record.body).unwrap().0;
    assert_eq!(found, [Record { body: facts, ..record }]);
    assert_eq!(everything(&journal, A).await, found);
}

/// Larger than a slice of a checkpoint and than the memory for the tail.
async fn a_large_flush_is_stored_whole<T: Backend>() {
    let store = T::default();
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let orders: Vec<_> = (0..300).map(|which| order_on(A, which)).collect();
    let mut written = Vec::new();
    for number in 1..=4 {
        let batch: Vec<_> = orders.iter().map(|order| owner.record(order, number, 1, Some("Ada"))).collect();
        append(&journal, batch.clone()).await.unwrap();
        written.extend(batch);
    }
    let end = owner.next - 1;
    let text = "x".repeat(20_000);
    let states: Vec<_> = orders.iter().map(|order| state(order, HEAD, end, &text)).collect();
    let agenda: Vec<_> = orders.iter().map(|order| agenda(order, Some(9), true)).collect();
    let flush = StateFlush { states: states.clone(), agenda: agenda.clone(), erase: Vec::new() };
    journal.checkpoint(&owner.claim, flush, end).await.unwrap();
    store.stop(journal, false);
    let journal = store.open().await;
    for row in &states {
        assert_eq!(journal.load(A, &row.entity).await.unwrap(), std::slice::from_ref(row));
    }
    assert_eq!(journal.agenda(A).await.unwrap(), agenda);
    assert_eq!(everything(&journal, A).await, written);
    assert_eq!(journal.history(A, &orders[17], 0, 10).await.unwrap().len(), 4);
}
