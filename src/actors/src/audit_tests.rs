//! The audit of several nodes' logs while they serve (rule A1), and of logs that were tampered with: what is merely under way is no
//! violation, what is wrong is found.

use super::system::Handle;
use super::tests::{World, buy, open_shop, sku};
use doorbuster_audit::{Ledger, Report, RoundLimits, ShardLogs, audit_shared};
use doorbuster_domain::any::Event;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::inventory;
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::Provider;
use doorbuster_storage::memory::{Faults, Groups, MemoryJournal, MemoryStore};
use doorbuster_storage::wire::{self, Decided};
use doorbuster_storage::{Journal, ReadError, Record, Seq, Shard};
use futures_util::{Stream, StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;

const SHARDS: u16 = 3;
const PATIENT: RoundLimits = RoundLimits { rounds_max: 40, pause: Duration::from_millis(500) };
const IMPATIENT: RoundLimits = RoundLimits { rounds_max: 0, pause: Duration::ZERO };

/// Logs as they are, each read after a while: between two of them the sale goes on.
struct Slowly {
    journal: MemoryJournal,
    pause: Duration,
}

impl ShardLogs for Slowly {
    fn shards(&self) -> u16 {
        SHARDS
    }

    fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        // What is there is looked at when the reading begins, after the pause.
        let records = async move {
            tokio::time::sleep(self.pause).await;
            self.journal.records_from(shard, from)
        };
        stream::once(records).flatten()
    }
}

/// Logs that stand still.
struct Still(Vec<Vec<Result<Record, ReadError>>>);

impl ShardLogs for Still {
    fn shards(&self) -> u16 {
        SHARDS
    }

    fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        let all = self.0.get(usize::from(shard.0)).cloned().unwrap_or_default();
        let wanted = move |record: &Result<Record, ReadError>| record.as_ref().map_or(true, |it| it.last_seq() >= from);
        stream::iter(all.into_iter().filter(wanted))
    }
}

/// The logs of a sale in which `paid` orders were confirmed and one more still waits for its money.
async fn sold(paid: usize) -> MemoryStore {
    let world = World::new(Groups::PerShard);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 10).await;
    for number in 0..paid {
        buy(&node, &format!("paid {number}"), Some("tok_ok"), Wait::Settled).await;
    }
    buy(&node, "unpaid", None, Wait::Held).await;
    assert!(actors.stop(Duration::from_secs(20)).await);
    world.disk
}

async fn records(disk: &MemoryStore, shard: u16) -> Vec<Record> {
    let journal = disk.open();
    journal.records(Shard(shard)).map(|record| record.expect("it can be read")).collect().await
}

/// The same logs with other decisions in them, so numbered that nothing seems to be missing.
async fn rewritten(disk: &MemoryStore, change: impl Fn(Decided) -> Option<Decided>) -> Still {
    let mut shards = Vec::new();
    for number in 0..SHARDS {
        let mut seq: Seq = 0;
        let mut last = std::collections::BTreeMap::<EntityId, u64>::new();
        let mut kept = Vec::new();
        for record in records(disk, number).await {
            let Some(mut decided) = change(wire::decode(&record.body).expect("it can be read")) else { continue };
            let count = u64::try_from(decided.events.len()).expect("few");
            let version = last.entry(decided.entity.clone()).or_default();
            decided.number = *version + 1;
            *version += count;
            let events = u32::try_from(count).expect("few");
            kept.push(Ok(Record { seq: seq + 1, events, body: wire::encode(&decided), ..record }));
            seq += count;
        }
        shards.push(kept);
    }
    Still(shards)
}

async fn audited(logs: &impl ShardLogs) -> Report {
    audit_shared(logs, IMPATIENT, async { None }, Arc::default()).await.expect("it reads")
}

fn breaks(report: &Report, law: &str) -> bool {
    !report.clean && report.violations.iter().any(|found| found.starts_with(law))
}

fn stock_event(decided: &Decided, is: fn(&inventory::Event) -> bool) -> bool {
    decided.events.iter().any(|event| matches!(event, Event::Inventory(event) if is(event)))
}

#[tokio::test(start_paused = true)]
async fn a_sale_that_was_left_alone_is_clean_and_names_who_still_waits() {
    let disk = sold(3).await;
    let report = audited(&disk.open()).await;
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.orders, report.confirmed, report.in_flight, report.in_flight_at_the_cut), (4, 3, 1, 1));
    assert_eq!((report.units_sold, report.units_reserved, report.units_available), (3, 1, 6));
    assert_eq!(report.in_flight_orders.len(), 1);
    assert!(!report.ledger_compared);
}

/// Shoppers buy all the time, each order over three shards with logs of their own, and each append takes a while.
async fn crowd(node: Handle, shopper: usize) {
    for number in 0..12 {
        let token = (number % 3 != 2).then_some("tok_ok");
        let wait = if token.is_some() { Wait::Settled } else { Wait::Held };
        buy(&node, &format!("{shopper} {number}"), token, wait).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_audit_in_the_middle_of_a_sale_accuses_nobody_who_is_on_the_way() {
    let world = World::new(Groups::PerShard);
    let append_takes = (Duration::from_millis(1), Duration::from_millis(40));
    world.disk.set_faults(Faults { append_takes, ..Faults::default() });
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 60).await;
    let shoppers: Vec<_> = (0..8).map(|shopper| tokio::spawn(crowd(node.clone(), shopper))).collect();
    let (mut on_the_way, mut ended_since, mut placed_since) = (0, 0, 0);
    for pause_ms in [3, 7, 11, 20, 35, 50, 80, 5, 9, 14] {
        let logs = Slowly { journal: world.disk.open(), pause: Duration::from_millis(pause_ms) };
        let patience = RoundLimits { rounds_max: 4, pause: Duration::from_millis(50) };
        let report = audit_shared(&logs, patience, async { None }, Arc::default()).await.expect("it reads");
        assert_eq!(report.violations, Vec::<String>::new(), "{pause_ms} ms between two logs");
        on_the_way += report.in_flight_at_the_cut;
        ended_since += report.in_flight_at_the_cut.saturating_sub(report.in_flight);
        placed_since += report.placed_since;
    }
    assert!(on_the_way > 0 && ended_since > 0 && placed_since > 0, "{on_the_way} {ended_since} {placed_since}");
    for shopper in shoppers {
        shopper.await.expect("nobody panics");
    }
    let report = audit_shared(&world.disk.open(), PATIENT, async { None }, Arc::default()).await.expect("it reads");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(report.units_sold + report.units_reserved + report.units_available, 60);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_the_way_at_the_cut_is_looked_at_again_once_it_ended() {
    let world = World::new(Groups::PerShard);
    let append_takes = (Duration::from_millis(400), Duration::from_millis(600));
    world.disk.set_faults(Faults { append_takes, ..Faults::default() });
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    let buying = tokio::spawn(async move { buy(&node, "a", Some("tok_ok"), Wait::Settled).await });
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let report = audit_shared(&world.disk.open(), PATIENT, async { None }, Arc::default()).await.expect("it reads");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.in_flight_at_the_cut, report.in_flight, report.confirmed), (1, 0, 1), "{report:?}");
    buying.await.expect("nobody panics");
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_order_without_its_commit_is_found() {
    let committed = |event: &inventory::Event| matches!(event, inventory::Event::Committed { .. });
    let logs = rewritten(&sold(2).await, |decided| (!stock_event(&decided, committed)).then_some(decided)).await;
    let report = audited(&logs).await;
    assert!(breaks(&report, "a_confirmed_order_has_its_commits"), "{:?}", report.violations);
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_is_found() {
    let disk = sold(2).await;
    let mut tried = 0;
    for lost_of in 0..SHARDS {
        let mut shards = Vec::new();
        for number in 0..SHARDS {
            let mut kept: Vec<_> = records(&disk, number).await.into_iter().map(Ok).collect();
            if number == lost_of && kept.len() > 2 {
                drop(kept.remove(1));
                tried += 1;
            }
            shards.push(kept);
        }
        let report = audited(&Still(shards)).await;
        let is_short = records(&disk, lost_of).await.len() <= 2;
        assert!(is_short || breaks(&report, "seqs_are_dense"), "shard {lost_of}: {:?}", report.violations);
    }
    assert!(tried > 0, "some log is long enough to lose something in the middle");
}

#[tokio::test(start_paused = true)]
async fn an_oversell_is_found() {
    let received = |event: &inventory::Event| matches!(event, inventory::Event::Received { .. });
    let disk = sold(3).await;
    let logs = rewritten(&disk, |mut decided| {
        if stock_event(&decided, received) {
            for event in &mut decided.events {
                if let Event::Inventory(inventory::Event::Received { units, .. }) = event {
                    *units = 2;
                }
            }
        }
        Some(decided)
    });
    let report = audited(&logs.await).await;
    assert!(!report.clean, "two units came, three were sold and one is promised");
}

#[tokio::test(start_paused = true)]
async fn stock_that_is_reserved_for_an_order_that_does_not_exist_is_found() {
    let disk = sold(1).await;
    let logs = rewritten(&disk, |decided| (!matches!(decided.entity, EntityId::Order(_))).then_some(decided)).await;
    let report = audited(&logs).await;
    assert!(breaks(&report, "stock_is_promised_to_orders_that_exist"), "{:?}", report.violations);
}

#[tokio::test(start_paused = true)]
async fn an_ownership_that_wrote_after_its_successor_is_found() {
    let disk = sold(2).await;
    let mut shards: Vec<Vec<_>> = Vec::new();
    for number in 0..SHARDS {
        shards.push(records(&disk, number).await.into_iter().map(Ok).collect());
    }
    let raised = shards.iter_mut().find(|shard| shard.len() > 2).expect("somebody was busy");
    if let Some(Ok(record)) = raised.get_mut(1) {
        record.epoch += 1;
    }
    let report = audited(&Still(shards)).await;
    assert!(breaks(&report, "epochs_never_fall"), "{:?}", report.violations);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_contradicts_itself_is_reported_and_the_others_are_audited() {
    let disk = sold(2).await;
    let mut shards: Vec<Vec<_>> = Vec::new();
    for number in 0..SHARDS {
        shards.push(records(&disk, number).await.into_iter().map(Ok).collect());
    }
    shards[0].push(Err(ReadError::Corrupt("a hole behind event 7".to_owned())));
    let report = audited(&Still(shards)).await;
    assert!(breaks(&report, "every_log_can_be_read"), "{:?}", report.violations);
    assert_eq!(report.violations_total, 1);
}

#[tokio::test(start_paused = true)]
async fn the_money_is_compared_and_a_charge_that_is_missing_is_found() {
    let world = World::new(Groups::PerShard);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    buy(&node, "a", Some("tok_ok"), Wait::Settled).await;
    // What is still to be captured is captured.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let lines = world.provider.ledger(0, 1_000).await.expect("it is in this process").lines;
    let read_at = node.now();
    let whole = async { Some(Ledger { lines, read_at }) };
    let report = audit_shared(&world.disk.open(), PATIENT, whole, Arc::default()).await.expect("it reads");
    assert_eq!((report.ledger_compared, report.violations), (true, Vec::new()));
    let empty = async { Some(Ledger { lines: Vec::new(), read_at: Timestamp(read_at.0) }) };
    let report = audit_shared(&world.disk.open(), PATIENT, empty, Arc::default()).await.expect("it reads");
    assert!(breaks(&report, "the_provider_s_ledger_agrees"), "{:?}", report.violations);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_moves_into_history_under_the_reader_is_not_missing() {
    /// The second record is not there the first time it is looked for.
    struct Moving(Vec<Record>, std::sync::atomic::AtomicBool);
    impl ShardLogs for Moving {
        fn shards(&self) -> u16 {
            1
        }
        fn read(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
            let hidden = !self.1.swap(true, std::sync::atomic::Ordering::Relaxed);
            let there = self.0.iter().enumerate().filter(move |(index, record)| {
                record.shard == shard && record.last_seq() >= from && !(hidden && *index == 1)
            });
            stream::iter(there.map(|(_, record)| Ok(record.clone())).collect::<Vec<_>>())
        }
    }
    let disk = sold(2).await;
    let home = disk.open().layout().shard_of(&EntityId::Inventory(sku()));
    let stock: Vec<Record> = records(&disk, home.0).await;
    let logs = Moving(stock.into_iter().map(|record| Record { shard: Shard(0), ..record }).collect(), false.into());
    let report = audited(&logs).await;
    assert!(!breaks(&report, "seqs_are_dense"), "{:?}", report.violations);
}
