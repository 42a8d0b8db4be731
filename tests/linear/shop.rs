//! A shop on a disk in memory: started, killed in the middle of appends, started again on what is there, all of it in virtual time.

use crate::check::{Answer as Seen, Op};
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::settings::Settings;
use doorbuster_actors::stats::Stats;
use doorbuster_actors::system::{Actors, Handle, Shards};
use doorbuster_clock::{SharedClock, TestClock};
use doorbuster_domain::any::{Command, Refusal, Reply};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId, ProductId, Request, RequestFingerprint, RequestId, Sku, WarehouseId};
use doorbuster_domain::inventory::{self, Offer, Price};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_node::provider::AnyProvider;
use doorbuster_storage::memory::{Fault, Faults, Groups, MemoryStore};
use doorbuster_storage::{Layout, Store};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Nothing expires while the clients run.
const HOLD_S: u64 = 100 * 365 * 86_400;
/// A question that waits longer is dropped.
const PATIENCE_S: u64 = 5;

/// An answer, as far as it says anything of the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// What.
    pub answer: Seen,
    /// The version it saw.
    pub seen: Option<u64>,
    /// It had been done before.
    pub repeated: bool,
}

#[derive(Debug, Clone)]
struct Life {
    node: Handle,
    gone: Arc<Notify>,
}

/// The shop.
#[derive(Debug)]
pub struct Shop {
    disk: Mutex<MemoryStore>,
    clock: Arc<TestClock>,
    provider: Arc<AnyProvider>,
    settings: Settings,
    life: Mutex<Option<Life>>,
    /// Batches that the disk forgets at a kill although it had confirmed them: a disk that lies.
    forgets: usize,
    closed: AtomicBool,
    /// Kills so far, and failures of the disk.
    pub kills: AtomicU64,
    /// Failures of the disk so far.
    pub failures: AtomicU64,
}

impl Shop {
    /// An empty one that is not open yet.
    pub fn new(groups: Groups, seed: u64, forgets: usize) -> Arc<Self> {
        let clock = TestClock::starting_at(Timestamp(1_750_000_000_000));
        let shared: SharedClock = clock.clone();
        let provider =
            doorbuster_node::provider::build(&doorbuster_node::config::Payments::default(), "", None, shared, None);
        let disk = MemoryStore::new(Layout { shards: 4, hash_version: 1 }, groups, seed);
        if forgets > 0 {
            disk.keep_frames();
        }
        let settings = Settings {
            writer_thread: false,
            idle_ms: 40,
            checkpoint_interval_ms: 100,
            batch_records_max: 16,
            restart_delay_min_ms: 1,
            restart_delay_max_ms: 20,
            ..Settings::default()
        };
        Arc::new(Self {
            disk: Mutex::new(disk),
            clock,
            provider: Arc::new(provider.expect("the simulated provider needs nothing")),
            settings,
            life: Mutex::new(None),
            forgets,
            closed: AtomicBool::new(false),
            kills: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    fn disk(&self) -> MemoryStore {
        self.disk.lock().unwrap().clone()
    }

    /// Starts, dies and starts again until it is closed.
    pub async fn keep(self: Arc<Self>, mut rng: ChaCha8Rng) {
        while !self.closed.load(Ordering::Relaxed) {
            self.disk().set_faults(faults(&mut rng, self.disk().appends()));
            let clock: SharedClock = self.clock.clone();
            let store = Store::Memory(self.disk().open());
            let stats = Arc::<Stats>::default();
            let provider = Arc::clone(&self.provider);
            let started = Actors::start(store, provider, clock, self.settings, stats, Shards::All("linear")).await;
            let Ok(actors) = started else { continue };
            let gone = Arc::<Notify>::default();
            *self.life.lock().unwrap() = Some(Life { node: actors.handle(), gone: Arc::clone(&gone) });
            let node = actors.handle();
            tokio::select! {
                biased;
                _reason = node.failed() => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
                () = tokio::time::sleep(Duration::from_millis(rng.random_range(20..400))) => {
                    self.kills.fetch_add(1, Ordering::Relaxed);
                }
            }
            *self.life.lock().unwrap() = None;
            gone.notify_waiters();
            actors.end().await;
            self.disk().crash();
            if self.forgets > 0 {
                let kept = self.disk().frames().saturating_sub(self.forgets);
                let cut = self.disk().cut_at(kept).expect("its batches were kept");
                *self.disk.lock().unwrap() = cut;
                self.disk().keep_frames();
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        }
    }

    /// It dies once more, and does not come back.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Asks; `None`: no answer, or one that says that it is not known.
    pub async fn ask(&self, sku: u32, op: Op) -> Option<Heard> {
        let life = self.life.lock().unwrap().clone()?;
        let question = Ask {
            entity: EntityId::Inventory(name_of(sku)),
            command: Command::Inventory(self.command(sku, op)),
            by: Principal::System,
            if_version: None,
            wait: Wait::Decided,
            deadline: life.node.now().plus_s(PATIENCE_S),
            reject_if_absent: None,
        };
        tokio::select! {
            biased;
            answer = life.node.ask(question) => heard(op, answer),
            () = life.gone.notified() => None,
        }
    }

    fn command(&self, sku: u32, op: Op) -> inventory::Command {
        use inventory::Command;
        match op {
            Op::Offer => Command::Offer(Box::new(offer(sku))),
            Op::Receive { request, units } => Command::Receive {
                request: Request {
                    id: RequestId::new("sel_main", "/receipts", &request.to_string()),
                    terms: RequestFingerprint(1),
                },
                warehouse: warehouse(),
                units,
                reference: None,
                expected_at: None,
            },
            Op::Reserve { order, units } => Command::Reserve {
                order: id_of(order),
                units,
                currency: Currency::GBP,
                expected_unit_price: None,
                ranking: vec![warehouse()],
                expires_at: self.provider_independent_deadline(),
                instead_of: None,
            },
            Op::Commit { order, number } => Command::Commit { order: id_of(order), reservation: number },
            Op::Release { order, number } => Command::Release { order: id_of(order), reservation: number },
            Op::Forget { order, number } => Command::Forget { order: id_of(order), reservation: number },
            Op::Read => Command::Read,
        }
    }

    /// The same for all, so that a request sent again asks for the same.
    fn provider_independent_deadline(&self) -> Timestamp {
        Timestamp(1_750_000_000_000).plus_s(HOLD_S)
    }
}

/// Appends take their time, so that kills meet them; now and then one fails, and is there or not.
fn faults(rng: &mut ChaCha8Rng, appends: u64) -> Faults {
    let mut failing = BTreeMap::new();
    if rng.random_bool(0.3) {
        failing.insert(appends + rng.random_range(1..200), Fault::Fail { written: rng.random_bool(0.5) });
    }
    Faults {
        appends: failing,
        append_takes: (Duration::ZERO, Duration::from_millis(2)),
        checkpoint_takes: Duration::from_millis(rng.random_range(0..30)),
        ..Faults::default()
    }
}

fn name_of(sku: u32) -> Sku {
    Sku::parse(&format!("SKU-{sku}")).expect("lawful")
}

fn id_of(order: u64) -> OrderId {
    OrderId::of_request(RequestId::new("sel_main", "/v1/orders", &order.to_string()))
}

fn warehouse() -> WarehouseId {
    WarehouseId::parse("lon1").expect("lawful")
}

fn offer(sku: u32) -> Offer {
    let unit = Money { amount: 1_299, currency: Currency::GBP };
    Offer {
        sku: name_of(sku),
        product: ProductId::parse("nova").expect("lawful"),
        version: 1,
        seller: "sel_main".into(),
        title: "Nova".into(),
        on_sale: true,
        prices: vec![Price { unit, was: None, tax_included: true }],
        max_per_order: None,
        hold_s: None,
        tax_class: "standard".into(),
        weight_g: 0,
    }
}

fn heard(op: Op, answer: Answer) -> Option<Heard> {
    use inventory::{Refusal as No, Reply as Yes};
    match answer {
        Answer::Accepted(accepted) => {
            let answer = match accepted.reply {
                Reply::Inventory(Yes::Done) => Seen::Done,
                Reply::Inventory(Yes::Unknown) => Seen::Unknown,
                Reply::Inventory(Yes::Reserved(reserved)) => Seen::Reserved { number: reserved.reservation },
                Reply::Inventory(Yes::Levels(levels)) if op == Op::Read => {
                    let on_hand = levels.levels.iter().map(|level| level.on_hand).sum();
                    assert_eq!(
                        levels.version, accepted.meta.version,
                        "a read says which version it saw, in both places"
                    );
                    Seen::Levels { on_hand, reserved: levels.reserved() }
                }
                Reply::Inventory(Yes::Levels(levels)) => {
                    let on_hand = levels.levels.iter().map(|level| level.on_hand).sum();
                    Seen::Received { on_hand, version: levels.version }
                }
                other => panic!("{op} is answered {other:?}"),
            };
            Some(Heard { answer, seen: Some(accepted.meta.version), repeated: accepted.repeated })
        }
        Answer::Refused(Refusal::Inventory(refusal)) => {
            let answer = match refusal {
                No::SoldOut { available, all_reserved, .. } => {
                    Seen::SoldOut { available, all_reserved: Some(all_reserved) }
                }
                No::Ended => Seen::Ended,
                No::NotEnded => Seen::NotEnded,
                other => panic!("{op} is refused: {other:?}"),
            };
            Some(Heard { answer, seen: None, repeated: false })
        }
        Answer::Unknown | Answer::NotServing | Answer::Busy { .. } | Answer::Late | Answer::Quarantined => None,
        other => panic!("{op} is answered {other:?}"),
    }
}
