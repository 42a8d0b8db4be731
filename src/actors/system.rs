//! All actors of a node, started from what the journal holds and stopped without losing any of it.
//!
//! ```text
//! Root ── supervises ──► Shard 0 … n ── supervise ──► entities
//! ```
//!
//! What restart means here: none. A shard that fails before its queue is durable takes its commit group with it (rule E2);
//! the node says so and ends, and whoever starts it again finds everything that was acknowledged.

use super::ask::{Answer, Ask};
use super::context::{Context, Wiring};
use super::faults::Faults;
use super::provider::ProviderRunner;
use super::releaser;
use super::router::Router;
use super::settings::Settings;
pub use super::shard::{SetAsideEntity, ShardStatus};
use super::shard::{ShardActor, ShardMsg, ShardSeed};
use super::stats::Stats;
use super::view::Views;
use super::writer::{BatchBounds, Writer};
use crate::clock::SharedClock;
use crate::domain::ids::EntityId;
use crate::domain::time::Timestamp;
use crate::payments::{AnyProvider, Provider};
use crate::storage::{Claim, ClaimError, Group, Journal, Shard, Store};
use compact_str::CompactString;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Why the actors could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A shard could not be claimed.
    #[error("claim shard {shard}: {error}")]
    Claim {
        /// Which.
        shard: Shard,
        /// Why.
        error: ClaimError,
    },
    /// A shard could not be recovered.
    #[error("recover shard {shard}: {error}")]
    Recover {
        /// Which.
        shard: Shard,
        /// Why.
        error: String,
    },
    /// An actor or the writer's thread could not be started.
    #[error("start {what}: {error}")]
    Spawn {
        /// What.
        what: &'static str,
        /// Why.
        error: String,
    },
}

/// What a start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Shards claimed.
    pub shards: usize,
    /// Events behind the last checkpoints, taken in again.
    pub tail_events: u64,
}

/// The actors of a node.
#[derive(Debug)]
pub struct Actors {
    context: Arc<Context>,
    root: ActorRef<RootMsg>,
    tasks: Vec<JoinHandle<()>>,
    recovery: Recovery,
}

/// What the root understands: nothing; it supervises.
#[derive(Debug)]
enum RootMsg {}

impl ractor::Message for RootMsg {}

#[derive(Debug)]
struct Root;

impl Actor for Root {
    type Msg = RootMsg;
    type State = Arc<Context>;
    type Arguments = Arc<Context>;

    async fn pre_start(&self, _: ActorRef<RootMsg>, context: Arc<Context>) -> Result<Self::State, ActorProcessingErr> {
        Ok(context)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<RootMsg>,
        event: SupervisionEvent,
        context: &mut Arc<Context>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, error) = event {
            context.fail(&format!("shard actor {} failed: {error}", cell.get_id()));
        }
        Ok(())
    }
}

/// What a start has begun; a start that fails, or is dropped in the middle, leaves nothing of it running.
#[derive(Debug, Default)]
struct Begun {
    root: Option<ActorRef<RootMsg>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(root) = self.root.take() {
            // With it go the shards and their entities.
            root.kill();
        }
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Actors {
    /// Claims every shard, recovers it, and serves. Dropped before it is done it leaves no actor behind.
    pub async fn start(
        store: Store,
        provider: Arc<AnyProvider>,
        clock: SharedClock,
        settings: Settings,
        stats: Arc<Stats>,
        node: &str,
    ) -> Result<Self, StartError> {
        let (failed, _) = watch::channel(None);
        let context = Arc::new(Context {
            store: store.clone(),
            clock,
            settings,
            stats,
            views: Arc::new(Views::default()),
            provider_name: CompactString::new(provider.name()),
            faults: Faults::default(),
            failed: failed.clone(),
            wiring: OnceLock::new(),
        });
        let spawned =
            |what: &'static str| move |error: ractor::SpawnErr| StartError::Spawn { what, error: error.to_string() };
        let (root, _) = Root::spawn(None, Root, Arc::clone(&context)).await.map_err(spawned("the root actor"))?;
        let mut begun = Begun { root: Some(root.clone()), tasks: Vec::new() };
        let mut shards = Vec::new();
        let mut claims: Vec<Claim> = Vec::new();
        for number in 0..store.layout().shards {
            let shard = Shard(number);
            let claim = store.claim(shard, node).await.map_err(|error| StartError::Claim { shard, error })?;
            let seed = ShardSeed { claim, context: Arc::clone(&context) };
            let actor = ShardActor::spawn_linked(None, ShardActor, seed, root.get_cell()).await;
            shards.push(actor.map_err(spawned("a shard's actor"))?.0);
            claims.push(claim);
        }
        let (released_in, released_out) = mpsc::unbounded_channel();
        let mut by_group: BTreeMap<Group, BTreeMap<Shard, (u64, u64)>> = BTreeMap::new();
        for claim in &claims {
            let group = by_group.entry(store.group_of(claim.shard)).or_default();
            group.insert(claim.shard, (claim.epoch, claim.end));
        }
        let bounds = BatchBounds { bytes: settings.batch_bytes_max, records: settings.batch_records_max };
        let mut writers = BTreeMap::new();
        for (group, ends) in by_group {
            let released = released_in.clone();
            let (handle, writer) = Writer::new(Arc::clone(&context), group, ends, bounds, released);
            writers.insert(group, handle);
            begun.tasks.push(run_writer(writer, settings.writer_thread)?);
        }
        drop(released_in);
        let router = Router::new(store.layout(), shards, &context);
        let wired = context.wiring.set(Wiring { writers, router }).is_ok();
        debug_assert!(wired, "a context is wired once");
        let runner = ProviderRunner::new(provider, Arc::clone(&context));
        begun.tasks.push(tokio::spawn(releaser::run(released_out, Arc::clone(&context), runner)));
        let tail_events = recover(&context).await?;
        let recovery = Recovery { shards: claims.len(), tail_events };
        context.router().serve(true);
        begun.root = None;
        let tasks = std::mem::take(&mut begun.tasks);
        Ok(Self { context, root, tasks, recovery })
    }

    /// What the start found.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// A handle for whoever asks.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { context: Arc::clone(&self.context) }
    }

    /// Stops serving, lets what is under way end within `bound`, stores everything and ends the actors. `false`: something was still
    /// under way at the bound; it is in the journal and goes on at the next start.
    pub async fn stop(self, bound: Duration) -> bool {
        let router = self.context.router();
        router.serve(false);
        let drained = tokio::time::timeout(bound, async {
            while router.in_flight() > 0 || self.context.stats.log_queue() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut flushes = Vec::new();
            for (shard, _) in router.shards() {
                let (done, flushed) = oneshot::channel();
                router.send(shard, ShardMsg::FlushAll(done));
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

    /// Ends the actors where they stand: what is not durable was promised to nobody. For a failed node, and for crashes in tests.
    pub async fn end(self) {
        self.context.router().serve(false);
        for (_, shard) in self.context.router().shards() {
            shard.kill();
        }
        self.root.kill();
        for task in self.tasks {
            task.abort();
        }
    }
}

async fn recover(context: &Arc<Context>) -> Result<u64, StartError> {
    let mut ready = Vec::new();
    for (shard, actor) in context.router().shards() {
        let (done, recovered) = oneshot::channel();
        drop(actor.send_message(ShardMsg::Recover(done)));
        ready.push((shard, recovered));
    }
    let mut events: u64 = 0;
    for (shard, recovered) in ready {
        let taken_in = recovered.await.unwrap_or_else(|_| Err("its actor ended".to_owned()));
        events = events.saturating_add(taken_in.map_err(|error| StartError::Recover { shard, error })?);
    }
    Ok(events)
}

/// On a thread of its own the writer may block on the disk without holding up anybody.
fn run_writer(writer: Writer, own_thread: bool) -> Result<JoinHandle<()>, StartError> {
    if !own_thread {
        return Ok(tokio::spawn(writer.run()));
    }
    let failed = |error: std::io::Error| StartError::Spawn { what: "the log writer", error: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            runtime.block_on(writer.run());
            ended.send(()).ok();
        })
        .map_err(failed)?;
    Ok(tokio::spawn(async move { drop(end.await) }))
}

/// The way in for the API and the operator: cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    context: Arc<Context>,
}

impl Handle {
    /// Asks an entity; see [`Ask`].
    pub async fn ask(&self, ask: Ask) -> Answer {
        self.context.router().ask(ask).await
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// What shoppers may see of stock.
    #[must_use]
    pub fn views(&self) -> &Views {
        &self.context.views
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.context.stats
    }

    /// Faults to order.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.context.faults
    }

    /// The store, for what reads it directly: histories and audits.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.context.store
    }

    /// Does the node take questions?
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.context.router().is_serving() && self.failure().is_none()
    }

    /// Questions from outside under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.context.router().in_flight()
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
        self.context.router().shard_of(entity)
    }

    /// How each shard is.
    pub async fn shards(&self) -> Vec<ShardStatus> {
        self.each(ShardMsg::Describe).await
    }

    /// What is set aside.
    pub async fn set_aside(&self) -> Vec<SetAsideEntity> {
        self.each(ShardMsg::ListSetAside).await.into_iter().flatten().collect()
    }

    /// Entities that have something under way or a deadline, at most `limit` of each shard.
    pub async fn under_way(&self, limit: usize) -> Vec<EntityId> {
        self.each(|reply| ShardMsg::UnderWay { limit, reply }).await.into_iter().flatten().collect()
    }

    /// Starts an entity that was set aside once more; `false`: it was not.
    pub async fn retry(&self, entity: &EntityId) -> bool {
        let (done, started) = oneshot::channel();
        let shard = self.shard_of(entity);
        self.context.router().send(shard, ShardMsg::Retry { entity: entity.clone(), done });
        started.await.unwrap_or(false)
    }

    /// Makes an entity's actor panic now, if that was armed ([`Faults::arm_panic`]).
    pub async fn panic_entity(&self, entity: &EntityId) -> bool {
        let (done, sent) = oneshot::channel();
        let shard = self.shard_of(entity);
        self.context.router().send(shard, ShardMsg::Panic { entity: entity.clone(), done });
        sent.await.unwrap_or(false)
    }

    async fn each<T>(&self, message: impl Fn(oneshot::Sender<T>) -> ShardMsg) -> Vec<T> {
        let mut replies = Vec::new();
        for (shard, _) in self.context.router().shards() {
            let (reply, answer) = oneshot::channel();
            self.context.router().send(shard, message(reply));
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
