//! States, agenda and history on a store that is not atomic over its tables.

use super::proxy::{Act, Proxy};
use super::{A, fill, keyspace};
use crate::given::{LAYOUT, Owner, agenda, append, everything, order_on, sku_on, state};
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::ids::{EntityId, OrderId, WarehouseId};
use doorbuster_domain::inventory::{self, Allocation};
use doorbuster_domain::money::Currency;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::{self, Dirty, HEAD, Meta};
use doorbuster_storage::{Journal, StateFlush, StateRow};

/// Rules S2 and S5: what one owner stored, the next one finds.
#[tokio::test]
async fn states_agenda_and_history_are_the_same_for_the_next_owner() {
    let Some(store) = keyspace("states across a take-over", 10) else { return };
    let first = store.open().await;
    let mut owner = Owner::of(&first, A).await;
    let orders: Vec<_> = (0..20).map(|which| order_on(A, which)).collect();
    let mut written = Vec::new();
    for order in &orders {
        let record = owner.record(order, 1, 1, Some("Ada"));
        append(&first, vec![record.clone()]).await.unwrap();
        written.push(record);
    }
    let states: Vec<_> = orders.iter().map(|order| state(order, HEAD, 20, "first")).collect();
    let rows: Vec<_> = orders.iter().map(|order| agenda(order, Some(9), false)).collect();
    first.checkpoint(&owner.claim, StateFlush { states, agenda: rows.clone(), erase: vec![] }, 15).await.unwrap();
    let second = store.open().await;
    let mut owner = Owner::of(&second, A).await;
    assert_eq!((owner.claim.flushed_upto, owner.claim.end), (15, 20));
    assert_eq!(second.agenda(A).await.unwrap(), rows);
    assert_eq!(second.entities(A, None, 100).await.unwrap(), orders);
    assert_eq!(everything(&second, A).await, written);
    for (order, record) in orders.iter().zip(&written) {
        assert_eq!(second.load(A, order).await.unwrap(), [state(order, HEAD, 20, "first")]);
        assert_eq!(second.history(A, order, 0, 9).await.unwrap(), std::slice::from_ref(record));
    }
    let more = owner.record(&orders[3], 2, 1, None);
    append(&second, vec![more]).await.unwrap();
    let gone: Vec<_> = orders[..10].iter().map(|order| agenda(order, None, false)).collect();
    let flush = StateFlush { states: vec![state(&orders[3], HEAD, 21, "second")], agenda: gone, erase: vec![] };
    second.checkpoint(&owner.claim, flush, 21).await.unwrap();
    let third = store.open().await;
    assert_eq!(third.agenda(A).await.unwrap(), rows[10..]);
    assert_eq!(third.load(A, &orders[3]).await.unwrap(), [state(&orders[3], HEAD, 21, "second")]);
}

/// A SKU whose state is a head and 256 chunks, as it grows.
struct Hot {
    sku: EntityId,
    state: State,
    meta: Meta,
    dirty: Dirty,
}

impl Hot {
    fn new() -> Self {
        let sku = sku_on(A);
        Self { state: State::empty(&sku), sku, meta: Meta::default(), dirty: Dirty::default() }
    }

    fn take(&mut self, event: inventory::Event) {
        let event = Event::Inventory(event);
        self.state.evolve(&event);
        wire::touch(&event, &mut self.dirty);
        self.meta.after(1, Timestamp(1));
    }

    fn reserve_and_release(&mut self, from: u128, count: u128) {
        let allocation = Allocation { warehouse: WarehouseId::parse("w1").unwrap(), units: 1 };
        for n in from..from + count {
            // Spread over the chunks as random ids are.
            let order = OrderId((n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)) & !0xffff);
            let reservation = self.meta.version + 1;
            self.take(inventory::Event::Reserved {
                order,
                reservation,
                currency: Currency::parse("GBP").unwrap(),
                allocations: vec![allocation.clone()],
                expires_at: Timestamp(9),
                ask_at: Timestamp(99),
            });
            self.take(inventory::Event::Released { order, reservation });
        }
    }

    fn rows(&mut self, seq: u64) -> Vec<StateRow> {
        let rows = wire::rows_of(&self.state, &self.meta, &std::mem::take(&mut self.dirty));
        rows.into_iter().map(|(chunk, body)| StateRow { entity: self.sku.clone(), chunk, seq, body }).collect()
    }

    fn is_what(&self, rows: &[StateRow]) -> bool {
        let rows: Vec<_> = rows.iter().map(|row| (row.chunk, row.body.clone())).collect();
        wire::state_of(&self.sku, &rows).unwrap() == (self.state.clone(), self.meta)
    }
}

/// Rule S4: as rows of their own they would be tombstones, and the SKU could not be read for days.
#[tokio::test]
async fn a_sku_with_120_000_ended_reservations_stays_readable() {
    let Some(store) = keyspace("120,000 ended reservations", 1_000) else { return };
    let journal = store.open().await;
    let mut owner = Owner::of(&journal, A).await;
    let mut hot = Hot::new();
    for round in 0..4_u64 {
        hot.reserve_and_release(u128::from(round) * 30_000, 30_000);
        fill(&journal, &mut owner, round + 1).await;
        let states = hot.rows(round + 1);
        assert!(states.len() <= 257);
        journal.checkpoint(&owner.claim, StateFlush { states, ..StateFlush::default() }, round + 1).await.unwrap();
        let loaded = store.open().await.load(A, &hot.sku).await.unwrap();
        assert_eq!(loaded.len(), 257, "a head and 256 chunks, whatever they hold");
        assert!(hot.is_what(&loaded), "after {} reservations", (round + 1) * 30_000);
    }
    let stored = store.say("SELECT chunk FROM KS.states").await.len();
    assert!(stored <= 2 * 257, "{stored} rows");
}

/// Rule S2: a flush too large for one write stops in the middle. Chunks that are newer than their head would be replayed twice; so the older state is
/// there whole until the head names the newer.
#[tokio::test]
async fn a_large_state_that_was_half_stored_is_the_older_one_whole() {
    let Some(store) = keyspace("a flush cut in the middle", 1_000) else { return };
    store.make().await;
    let proxy = Proxy::before(&store.options.contact_points[0]).await;
    let journal = store.open_with(|options| options.contact_points = vec![proxy.address()]).await;
    let mut owner = Owner::of(&journal, A).await;
    let mut hot = Hot::new();
    hot.reserve_and_release(0, 30_000);
    fill(&journal, &mut owner, 1).await;
    let flush = StateFlush { states: hot.rows(1), ..StateFlush::default() };
    journal.checkpoint(&owner.claim, flush, 1).await.unwrap();
    let older = journal.load(A, &hot.sku).await.unwrap();
    assert!(hot.is_what(&older));
    // The head is the only row of this flush that says "1 warehouse": everything else arrives.
    hot.reserve_and_release(30_000, 10_000);
    fill(&journal, &mut owner, 2).await;
    let rows = hot.rows(2);
    let head = rows.iter().find(|row| row.chunk == HEAD).unwrap().body.clone();
    let held = proxy.on_bytes(&head, Act::Hold);
    let (late, claim) = (journal.clone(), owner.claim);
    let flush = StateFlush { states: rows, ..StateFlush::default() };
    let cut = tokio::spawn(async move { late.checkpoint(&claim, flush, 2).await });
    held.met().await;
    let next = store.open().await;
    assert_eq!(next.load(A, &hot.sku).await.unwrap(), older);
    // The process died there; its successor stores a small change in place, and a large one after it.
    let mut owner = Owner::of(&next, A).await;
    assert_eq!((owner.claim.flushed_upto, owner.claim.end), (1, 2));
    cut.abort();
    for (round, count) in [(3_u64, 10_000), (4, 1), (5, 20_000), (6, 1)] {
        hot.reserve_and_release(u128::from(round) * 100_000, count);
        fill(&next, &mut owner, round).await;
        let mut dirty = Dirty::default();
        (1..=256).for_each(|chunk| dirty.mark(chunk));
        if round == 3 {
            // What the cut one had marked must be stored by the owner that replays.
            hot.dirty = dirty;
        }
        let flush = StateFlush { states: hot.rows(round), ..StateFlush::default() };
        next.checkpoint(&owner.claim, flush, round).await.unwrap();
        assert!(hot.is_what(&next.load(A, &hot.sku).await.unwrap()), "round {round}");
    }
    held.let_go();
    let other = store.open().await;
    for _ in 0..10 {
        assert!(hot.is_what(&other.load(A, &hot.sku).await.unwrap()), "the head that comes late is older");
    }
    assert_eq!(LAYOUT.shard_of(&hot.sku), A);
}

/// The seq of two checkpoints may be the same; the later one counts.
#[tokio::test]
async fn of_two_agendas_with_one_seq_the_later_counts_also_across_owners() {
    let Some(store) = keyspace("agendas of one seq", 10) else { return };
    let order = order_on(A, 0);
    let mut last = None;
    for round in 0..3_u64 {
        let journal = store.open().await;
        let owner = Owner::of(&journal, A).await;
        for wake_at in [Some(900 - round), None, Some(round), Some(2_000 + round)] {
            let row = agenda(&order, wake_at, false);
            let flush = StateFlush { agenda: vec![row.clone()], ..StateFlush::default() };
            journal.checkpoint(&owner.claim, flush, 0).await.unwrap();
            last = wake_at.map(|_| row);
            let expected: Vec<_> = last.iter().cloned().collect();
            assert_eq!(journal.agenda(A).await.unwrap(), expected);
        }
    }
    assert!(last.is_some());
}

/// Memory is short: records are read from the log again, and nothing else changes.
#[tokio::test]
async fn a_small_memory_for_the_tail_changes_nothing_but_speed() {
    let Some(store) = keyspace("a small memory for the tail", 10) else { return };
    store.make().await;
    let journal = store.open_with(|options| options.tail_bytes_max = 500).await;
    let mut owner = Owner::of(&journal, A).await;
    let mut written = Vec::new();
    for number in 1..=30 {
        let record = owner.record(&order_on(A, 0), number, 1, None);
        append(&journal, vec![record.clone()]).await.unwrap();
        written.push(record);
        assert_eq!(journal.history(A, &order_on(A, 0), 0, 100).await.unwrap(), written);
        assert_eq!(
            journal.page(A, number - 1, 100).await.unwrap(),
            written[usize::try_from(number).unwrap().saturating_sub(2)..]
        );
        if number % 4 == 0 {
            owner.checkpoint(&journal, number - 1).await;
        }
    }
    assert_eq!(everything(&journal, A).await, written);
}
