//! One world: a disk, a clock, a payment provider, a node that dies and comes back, and a judge who sees everything.
//!
//! ```text
//! clients ──ask──► node (of now) ──► disk that survives ──batches──► judge
//!    └──────────────── answers ──────────────────────────────────────► judge
//! ```

use crate::judge::{Broken, Judge};
use crate::plan::Plan;
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::system::Handle;
use doorbuster_clock::{Clock, SharedClock, TestClock};
use doorbuster_domain::any::Command;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId, Sku, WarehouseId};
use doorbuster_domain::order;
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_node::provider::AnyProvider;
use doorbuster_payments::Provider;
use doorbuster_payments::webhook::{SignedWebhook, WebhookSecret};
use doorbuster_simulator::{DeliverWebhook, InProcess, SimulatorOptions};
use doorbuster_storage::memory::MemoryStore;
use doorbuster_storage::{Layout, Record, wire};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// When every world begins.
pub(crate) const BEGINNING: Timestamp = Timestamp(1_750_000_000_000);

/// A node that is up, and how whoever waits for it hears that it is gone: all at once and in the order in which they asked. Its
/// actors end in an order that no seed decides.
#[derive(Debug, Clone)]
struct Life {
    node: Handle,
    gone: Arc<Notify>,
}

/// One world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) disk: MemoryStore,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) payments: InProcess,
    pub(crate) provider: Arc<AnyProvider>,
    pub(crate) begun: Instant,
    node: Mutex<Option<Life>>,
    judge: Mutex<Judge>,
    orders: Mutex<Vec<OrderId>>,
    broken: Mutex<Option<Broken>>,
    story: Option<Mutex<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// An empty world on the current runtime, whose time is paused.
    pub(crate) fn new(plan: Plan, disk: MemoryStore, keep_story: bool) -> Arc<Self> {
        // Nothing is decided by the order of a map, and if it were, a seed would show it again in the next process.
        doorbuster_storage::keyed::fix_key(1);
        let clock = TestClock::starting_at(BEGINNING);
        // The provider has a clock of its own, which does not jump with the node's.
        let payments_clock: SharedClock = TestClock::starting_at(BEGINNING);
        let cell: Arc<OnceLock<Weak<Self>>> = Arc::new(OnceLock::new());
        let hears = Arc::clone(&cell);
        let deliver: DeliverWebhook = Arc::new(move |webhook: SignedWebhook| {
            hears.get().and_then(Weak::upgrade).is_some_and(|world| world.webhook(&webhook))
        });
        let options = SimulatorOptions {
            behaviour: plan.behaviour,
            seed: plan.seed,
            action_url: "http://bank.invalid",
            secret: WebhookSecret::of(&[7; 32]).expect("32 bytes are a secret"),
            timeout_ms: plan.settings.provider_timeout_ms,
            ledger: None,
        };
        let payments = InProcess::open(&options, payments_clock, Some(deliver)).expect("a ledger in memory");
        let world = Arc::new(Self {
            plan,
            disk,
            clock,
            provider: Arc::new(AnyProvider::Simulated(payments.clone())),
            payments,
            begun: Instant::now(),
            node: Mutex::new(None),
            judge: Mutex::default(),
            orders: Mutex::default(),
            broken: Mutex::new(None),
            story: keep_story.then(Mutex::default),
        });
        cell.set(Arc::downgrade(&world)).expect("set once");
        world
    }

    /// A disk as a plan wants it.
    pub(crate) fn disk_of(plan: &Plan) -> MemoryStore {
        let disk = MemoryStore::new(Layout { shards: plan.shards, hash_version: 1 }, plan.groups, plan.seed);
        disk.keep_frames();
        disk.set_faults(plan.faults.clone());
        disk
    }

    /// The judge, who has seen everything that is durable by now.
    pub(crate) fn judge(&self) -> MutexGuard<'_, Judge> {
        let mut judge = locked(&self.judge);
        let mut broken = None;
        for batch in self.disk.frames_from(judge.batches()) {
            for record in &batch.records {
                self.note(|| written(record));
            }
            if let Err(why) = judge.take(&batch) {
                broken.get_or_insert(why);
            }
        }
        if let Some(why) = broken {
            self.broke(&why);
        }
        judge
    }

    /// A law is broken: the first one stays.
    pub(crate) fn broke(&self, why: &str) {
        let first = locked(&self.broken).is_none();
        if first {
            self.note(|| format!("BROKEN {why}"));
            *locked(&self.broken) = Some(why.to_owned());
        }
    }

    /// What is broken.
    pub(crate) fn broken(&self) -> Option<Broken> {
        locked(&self.broken).clone()
    }

    /// Checks; remembers what is wrong.
    pub(crate) fn check(&self, result: Result<(), Broken>) {
        if let Err(why) = result {
            self.broke(&why);
        }
    }

    /// The node of now.
    pub(crate) fn node(&self) -> Option<Handle> {
        locked(&self.node).as_ref().map(|life| life.node.clone())
    }

    /// The node is up.
    pub(crate) fn node_is_up(&self, node: Handle) {
        *locked(&self.node) = Some(Life { node, gone: Arc::default() });
    }

    /// The node takes no more questions; those under way may still be answered.
    pub(crate) fn node_leaves(&self) -> impl FnOnce() {
        let life = locked(&self.node).take();
        move || life.into_iter().for_each(|life| life.gone.notify_waiters())
    }

    /// The instant on the node's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Orders that a client tried to place.
    pub(crate) fn orders(&self) -> Vec<OrderId> {
        locked(&self.orders).clone()
    }

    /// A client tries to place an order.
    pub(crate) fn placing(&self, order: OrderId) {
        let mut orders = locked(&self.orders);
        if !orders.contains(&order) {
            orders.push(order);
        }
    }

    /// The SKUs on sale.
    pub(crate) fn skus(&self) -> Vec<Sku> {
        (1..=self.plan.skus).map(|number| Sku::parse(&format!("SKU-{number}")).expect("lawful")).collect()
    }

    /// The places that hold stock.
    pub(crate) fn warehouses(&self) -> Vec<WarehouseId> {
        (1..=self.plan.warehouses).map(|number| WarehouseId::parse(&format!("w{number}")).expect("lawful")).collect()
    }

    /// A line of the story, for the replay of a seed.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            let at = self.begun.elapsed().as_millis();
            writeln!(locked(story), "{at:>7} ms  {}", line()).expect("a string takes everything");
        }
    }

    /// The story so far.
    pub(crate) fn story(&self) -> String {
        self.story.as_ref().map(|story| locked(story).clone()).unwrap_or_default()
    }

    /// Asks the node of now, and holds the answer against the journal.
    pub(crate) async fn ask(&self, who: &str, ask: Ask) -> Answer {
        let entity = ask.entity.clone();
        let life = locked(&self.node).clone();
        let answer = match life {
            Some(life) => tokio::select! {
                biased;
                answer = life.node.ask(ask) => answer,
                () = life.gone.notified() => Answer::Unknown,
            },
            None => Answer::NotServing,
        };
        let said = in_short(&answer);
        self.note(|| format!("{who}: {entity} ► {said}"));
        let mut judge = self.judge();
        judge.observed(who);
        judge.observed(&said);
        match &answer {
            Answer::Accepted(accepted) => {
                let held = judge.accepted(&entity, accepted);
                drop(judge);
                self.check(held);
            }
            Answer::Panicked => {
                drop(judge);
                self.broke(&format!("{entity}: decide panicked"));
            }
            Answer::Refused(_)
            | Answer::Stale { .. }
            | Answer::Unknown
            | Answer::Late
            | Answer::Busy { .. }
            | Answer::Quarantined
            | Answer::NotServing => {}
        }
        answer
    }

    /// A question with a deadline, in ms from now.
    pub(crate) fn question(
        &self,
        entity: EntityId,
        command: Command,
        by: Principal,
        wait: Wait,
        patience_ms: u64,
    ) -> Ask {
        Ask {
            entity,
            command,
            by,
            wait,
            deadline: self.now().plus_ms(patience_ms),
            if_version: None,
            reject_if_absent: None,
        }
    }

    /// The provider's webhook about a call. Taken as soon as it is sent on: what is lost then is asked about (rule M1).
    fn webhook(self: &Arc<Self>, webhook: &SignedWebhook) -> bool {
        if self.node().is_none() {
            return false;
        }
        let payments_now = self.payments.provider().now();
        let event = match self.provider.verify_webhook(webhook.headers(), &webhook.body, payments_now) {
            Ok(event) => event,
            Err(why) => {
                self.broke(&format!("our own webhook is refused: {why}"));
                return false;
            }
        };
        let world = Arc::clone(self);
        tokio::spawn(async move {
            let entity = EntityId::Order(event.report.reference.order);
            let says = order::Command::ProviderSays { report: Box::new(event.report) };
            let by = Principal::Provider("simulated".into());
            let ask = world.question(entity, Command::Order(says), by, Wait::Decided, 5_000);
            world.ask("webhook", ask).await;
        });
        true
    }
}

/// A record as a line of the story.
fn written(record: &Record) -> String {
    let place = format!("  shard {} seq {} epoch {}", record.shard, record.seq, record.epoch);
    match wire::decode(&record.body) {
        Ok(decided) => format!("{place}: {} {:?}", decided.entity, decided.events),
        Err(error) => format!("{place}: {error}"),
    }
}

/// An answer in a few words that are the same in every run.
pub(crate) fn in_short(answer: &Answer) -> String {
    match answer {
        Answer::Accepted(accepted) => {
            let again = if accepted.repeated { " again" } else { "" };
            let shown = match accepted.state.as_deref() {
                Some(doorbuster_domain::any::State::Order(order)) => format!(" {:?}", order.status()),
                _ => String::new(),
            };
            format!("accepted{again} v{} seq {}{shown}", accepted.meta.version, accepted.seq)
        }
        Answer::Refused(refusal) => format!("refused {refusal:?}"),
        Answer::Stale { version } => format!("stale, it is at v{version}"),
        Answer::Unknown => "unknown".to_owned(),
        Answer::Late => "late".to_owned(),
        Answer::Busy { .. } => "busy".to_owned(),
        Answer::Quarantined => "set aside".to_owned(),
        Answer::NotServing => "not serving".to_owned(),
        Answer::Panicked => "panicked".to_owned(),
    }
}

/// Lets `millis` of the world's time pass.
pub(crate) async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
