//! All actors of a node, started from what the journal holds and stopped without losing any of it.
//!
//! ```text
//! Root ── supervises ──► Shard 0 … n ── supervise ──► entities
//! ```
//!
//! What restart means here: none. A shard that fails before its queue is durable takes its commit group with it (rule E2);
//! the node logs it and ends, and its next start finds everything that was acknowledged.

use super::context::Context;
pub use super::context::LostShard;
use super::cores::Core;
use super::faults::Faults;
use super::messages::ask::{Answer, Ask};
use super::messages::remote::{Delivered, OneWay, Remote};
use super::messages::shard::ShardMsg;
pub use super::messages::shard::{QuarantinedEntity, ShardStatus};
use super::ownership::OwnedShards;
pub use super::ownership::{Acquired, StartError};
use super::provider::{ProviderCalls, ProviderRunner};
use super::router::Router;
use super::settings::Settings;
use super::stats::Stats;
use super::view::AvailabilityViews;
use compact_str::CompactString;
use doorbuster_clock::SharedClock;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{AppendError, Epoch, Journal, Shard, Store};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// What a start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Number of shards claimed.
    pub shards: usize,
    /// Events behind the last checkpoints, applied again.
    pub tail_events: u64,
}

/// The actors of a node.
#[derive(Debug)]
pub struct Actors {
    context: Arc<Context>,
    router: Arc<Router>,
    owned_shards: Arc<OwnedShards>,
    losses: Mutex<Option<mpsc::Receiver<LostShard>>>,
    root: ActorRef<RootMsg>,
    tasks: Vec<JoinHandle<()>>,
    recovery: Recovery,
}

/// The root gets no messages; it supervises.
#[derive(Debug)]
pub(crate) enum RootMsg {}

impl ractor::Message for RootMsg {}

#[derive(Debug)]
struct Root;

impl Actor for Root {
    type Msg = RootMsg;
    type State = (Arc<Context>, Arc<Router>);
    type Arguments = Self::State;

    async fn pre_start(&self, _: ActorRef<RootMsg>, state: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<RootMsg>,
        event: SupervisionEvent,
        (context, router): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, error) = event {
            let what = format!("shard actor {}", cell.get_id());
            match router.routes.shard_of_actor(cell.get_id()) {
                Some((shard, epoch)) => context.lose(shard, epoch, &what, &AppendError::Failed(error.to_string())),
                None => tracing::warn!(what, %error, "failed at its end"),
            }
        }
        Ok(())
    }
}

/// What a start has begun; a start that fails, or is dropped in the middle, leaves nothing of it running.
#[derive(Debug)]
struct Begun {
    root: Option<ActorRef<RootMsg>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(root) = self.root.take() {
            // With it go the shards and their entities, and with those the writers.
            root.kill();
        }
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

/// How a node comes by its shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shards<'name> {
    /// It owns all of them from the start, under this name; with one of them ends the node.
    All(&'name str),
    /// It acquires and releases them while it runs ([`Handle::acquire`], [`Handle::release`]).
    Assigned,
}

impl Actors {
    /// Claims the shards it is to own from the start, recovers them, and serves. Dropped before it is done it leaves no actor behind.
    pub async fn start(
        store: Store,
        provider: Arc<dyn ProviderCalls>,
        clock: SharedClock,
        settings: Settings,
        stats: Arc<Stats>,
        shards: Shards<'_>,
    ) -> Result<Self, StartError> {
        Self::start_on(&[], store, provider, clock, settings, stats, shards).await
    }

    /// The same with the shards divided among `cores`; without any they run on the caller's runtime.
    pub async fn start_on(
        cores: &[Core],
        store: Store,
        provider: Arc<dyn ProviderCalls>,
        clock: SharedClock,
        settings: Settings,
        stats: Arc<Stats>,
        shards: Shards<'_>,
    ) -> Result<Self, StartError> {
        let (failed, _) = watch::channel(None);
        let (losses, lost) = mpsc::unbounded_channel();
        let losses = matches!(shards, Shards::Assigned).then_some(losses);
        let layout = store.layout();
        let router = Router::new(layout, Arc::clone(&clock), settings, Arc::clone(&stats));
        let context = Arc::new(Context {
            store,
            layout,
            clock,
            settings,
            stats,
            views: AvailabilityViews::default(),
            provider_name: CompactString::new(provider.name()),
            faults: Faults::default(),
            cores: cores.into(),
            failed,
            losses,
        });
        let spawned = |error: ractor::SpawnErr| StartError::Spawn { what: "the root actor", error: error.to_string() };
        let (root, _) = Root::spawn(None, Root, (Arc::clone(&context), Arc::clone(&router))).await.map_err(spawned)?;
        let mut begun = Begun { root: Some(root.clone()), tasks: Vec::new() };
        let runner = ProviderRunner::new(provider, Arc::clone(&context), Arc::clone(&router));
        let (owned_shards, losses) =
            OwnedShards::new(Arc::clone(&context), Arc::clone(&router), root.get_cell(), runner);
        let owned_shards = Arc::new(owned_shards);
        begun.tasks.push(tokio::spawn(revoke_lost_shards(lost, Arc::clone(&owned_shards))));
        let mut recovery = Recovery { shards: 0, tail_events: 0 };
        if let Shards::All(node) = shards {
            let all: Vec<Shard> = (0..layout.shards).map(Shard).collect();
            for (_, acquired) in owned_shards.acquire(&all, node).await? {
                recovery.shards = recovery.shards.saturating_add(1);
                recovery.tail_events = recovery.tail_events.saturating_add(acquired.tail_events);
            }
        }
        router.serve(true);
        begun.root = None;
        let tasks = std::mem::take(&mut begun.tasks);
        Ok(Self { context, router, owned_shards, losses: Mutex::new(Some(losses)), root, tasks, recovery })
    }

    /// What the start found.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// The way in for callers.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            context: Arc::clone(&self.context),
            router: Arc::clone(&self.router),
            owned_shards: Arc::clone(&self.owned_shards),
        }
    }

    /// Receives the shards that are lost; `None` when it was given out before.
    #[must_use]
    pub fn losses(&self) -> Option<mpsc::Receiver<LostShard>> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stops serving, lets what is under way end within `bound`, stores everything and ends the actors. `false`: something was still
    /// under way at the bound; it is in the journal and goes on at the next start.
    pub async fn stop(self, bound: Duration) -> bool {
        let router = &self.router;
        router.serve(false);
        let drained = tokio::time::timeout(bound, async {
            while !self.context.must_end() && (router.in_flight() > 0 || self.context.stats.log_queue() > 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut flushes = Vec::new();
            for (shard, _) in router.routes.owned() {
                let (done, flushed) = oneshot::channel();
                router.send_to_shard(shard, ShardMsg::FlushAll(done));
                flushes.push(flushed);
            }
            for flushed in flushes {
                // A shard that is gone has nothing to store.
                drop(flushed.await);
            }
        })
        .await
        .is_ok();
        self.end().await;
        drained
    }

    /// Ends the actors at once: what is not durable was acknowledged to no one. For a failed node, and for crashes in tests.
    pub async fn end(self) {
        self.router.serve(false);
        self.owned_shards.end_all();
        self.root.kill();
        for task in self.tasks {
            task.abort();
        }
    }
}

/// Revokes the shards that are lost; ends with the node.
async fn revoke_lost_shards(mut lost: mpsc::UnboundedReceiver<LostShard>, owned_shards: Arc<OwnedShards>) {
    while let Some(lost) = lost.recv().await {
        owned_shards.revoke(lost).await;
    }
}

/// The way in for the API and the operator: cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    context: Arc<Context>,
    pub(crate) router: Arc<Router>,
    owned_shards: Arc<OwnedShards>,
}

impl Handle {
    /// Asks an entity; see [`Ask`].
    pub async fn ask(&self, ask: Ask) -> Answer {
        self.router.ask(ask).await
    }

    /// A request that another node passes on for one of its callers.
    pub async fn deliver(&self, ask: Ask) -> Delivered {
        self.router.deliver(ask).await.map_or(Delivered::NotDelivered, Delivered::Answered)
    }

    /// A message from an entity of another node to one of this node.
    pub fn receive(&self, message: OneWay) {
        self.router.receive(message);
    }

    /// Gives the way to the shards of other nodes; once.
    pub fn connect(&self, remote: Arc<dyn Remote>) {
        self.router.connect(remote);
    }

    /// Claims a shard under the node's name, recovers it and serves it.
    pub async fn acquire(&self, shard: Shard, node: &str) -> Result<Acquired, StartError> {
        let nothing = || StartError::Recover { shard, error: "nothing was acquired".to_owned() };
        let (owned_shards, node) = (Arc::clone(&self.owned_shards), node.to_owned());
        // A task of its own: a caller that stops waiting leaves no shard half recovered.
        let acquired = tokio::spawn(async move { owned_shards.acquire(&[shard], &node).await }).await;
        let acquired = acquired.map_err(|error| StartError::Recover { shard, error: error.to_string() })??;
        acquired.first().map(|(_, acquired)| *acquired).ok_or_else(nothing)
    }

    /// Releases a shard: it takes no new requests, those inside end and everything is stored, within `bound`. `false`: it was not owned, or
    /// something was still under way at the bound; it goes on at the next owner.
    pub async fn release(&self, shard: Shard, bound: Duration) -> bool {
        let owned_shards = Arc::clone(&self.owned_shards);
        tokio::spawn(async move { owned_shards.release(shard, bound).await }).await.unwrap_or(false)
    }

    /// Which shards this node owns, and under which epoch.
    #[must_use]
    pub fn owned(&self) -> BTreeMap<Shard, Epoch> {
        self.owned_shards.owned()
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// What shoppers may see of stock.
    #[must_use]
    pub fn views(&self) -> &AvailabilityViews {
        &self.context.views
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.context.stats
    }

    /// Faults on demand.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.context.faults
    }

    /// The store, for what reads it directly: histories and audits.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.context.store
    }

    /// Does the node take requests?
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.router.is_serving() && self.failure().is_none()
    }

    /// Requests from outside under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.router.in_flight()
    }

    /// Why the node must end, once it must.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.context.failed.borrow().clone()
    }

    /// Waits until the node must end; gives the reason.
    pub async fn failed(&self) -> String {
        let mut failed = self.context.failed.subscribe();
        loop {
            if let Some(reason) = failed.borrow_and_update().clone() {
                return reason;
            }
            if failed.changed().await.is_err() {
                return "the node has ended".to_owned();
            }
        }
    }

    /// The shard of an entity.
    #[must_use]
    pub fn shard_of(&self, entity: &EntityId) -> Shard {
        self.router.shard_of(entity)
    }

    /// The figures of each shard that the node owns.
    pub async fn shards(&self) -> Vec<ShardStatus> {
        self.each(ShardMsg::Describe).await
    }

    /// The quarantined entities.
    pub async fn quarantined(&self) -> Vec<QuarantinedEntity> {
        self.each(ShardMsg::ListQuarantined).await.into_iter().flatten().collect()
    }

    /// Entities that have something under way or a deadline, at most `limit` of each shard.
    pub async fn under_way(&self, limit: usize) -> Vec<EntityId> {
        self.each(|reply| ShardMsg::UnderWay { limit, reply }).await.into_iter().flatten().collect()
    }

    /// Starts a quarantined entity once more; `false`: it was not quarantined.
    pub async fn retry(&self, entity: &EntityId) -> bool {
        let (done, started) = oneshot::channel();
        let shard = self.shard_of(entity);
        self.router.send_to_shard(shard, ShardMsg::Retry { entity: entity.clone(), done });
        started.await.unwrap_or(false)
    }

    /// Makes an entity's actor panic now, if that was armed ([`Faults::arm_panic`]).
    pub async fn panic_entity(&self, entity: &EntityId) -> bool {
        let (done, sent) = oneshot::channel();
        let shard = self.shard_of(entity);
        self.router.send_to_shard(shard, ShardMsg::Panic { entity: entity.clone(), done });
        sent.await.unwrap_or(false)
    }

    async fn each<T>(&self, message: impl Fn(oneshot::Sender<T>) -> ShardMsg) -> Vec<T> {
        let mut replies = Vec::new();
        for (shard, _) in self.router.routes.owned() {
            let (reply, answer) = oneshot::channel();
            self.router.send_to_shard(shard, message(reply));
            replies.push(answer);
        }
        let mut answers = Vec::new();
        for answer in replies {
            if let Ok(answer) = answer.await {
                answers.push(answer);
            }
        }
        answers
    }
}
