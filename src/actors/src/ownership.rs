//! The shards that a node owns, acquired and released while it runs.
//!
//! ```text
//! acquire:  claim ─► writer ─► shard's actor ─► route set ─► recover ─► serve
//! release:  route closed to requests ─► those inside end, or are sent on ─► all states stored ─► actors end ─► writer ends ─► released
//! revoke:   route removed ─► actors and writer end; what waited is answered "unknown" (rules E2, E5)
//! ```
//!
//! A writer runs as long as any actor holds its handle: the shard's actor and all its entities. So once it has ended no actor of this
//! ownership is left, and the next one on this node meets none of them (rule E1).

use super::context::{Context, LostShard};
use super::cores::Core;
use super::messages::local::LocalActor;
use super::messages::shard::ShardMsg;
use super::provider::ProviderRunner;
use super::queue::WriterHandle;
use super::router::Router;
use super::shard::{ShardActor, ShardSeed};
use super::shard_context::ShardContext;
use super::writer::{BatchBounds, Writer};
use doorbuster_storage::{Claim, ClaimError, Epoch, Group, Journal, Shard};
use ractor::{Actor, ActorCell};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Within this time the actors of an ownership have ended; after it its writer is aborted with its queue unread.
const END_BOUND: Duration = Duration::from_secs(5);
/// Time between two looks whether a shard that is being released is empty.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// Losses that may wait to be received. A shard is lost once per ownership, so the queue is never full.
const LOST_MAX: usize = 65_536;

/// A shard that was acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// The number of the ownership.
    pub epoch: Epoch,
    /// Events behind the last checkpoint, applied again.
    pub tail_events: u64,
}

/// Why a shard could not be acquired, or the actors could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A shard could not be claimed.
    #[error("claim shard {shard}: {error}")]
    Claim {
        /// The shard.
        shard: Shard,
        /// The journal's error.
        error: ClaimError,
    },
    /// A shard could not be recovered.
    #[error("recover shard {shard}: {error}")]
    Recover {
        /// The shard.
        shard: Shard,
        /// The reason.
        error: String,
    },
    /// An actor or the writer's thread could not be started.
    #[error("start {what}: {error}")]
    Spawn {
        /// The actor or thread.
        what: &'static str,
        /// The reason.
        error: String,
    },
}

/// One ownership, as long as it lasts.
#[derive(Debug)]
struct Owned {
    claim: Claim,
    actor: LocalActor<ShardMsg>,
    /// The writer of the commit group; kept with the first of the group's shards.
    writer: Option<WriterTask>,
}

/// A running writer; dropping this aborts it.
#[derive(Debug)]
struct WriterTask(JoinHandle<()>);

impl Drop for WriterTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The shards a node owns.
#[derive(Debug)]
pub(crate) struct OwnedShards {
    context: Arc<Context>,
    router: Arc<Router>,
    /// The supervisor of the shards' actors.
    root: ActorCell,
    provider: ProviderRunner,
    /// Locked while a shard is acquired or released, so that the two never overlap.
    turns: Vec<tokio::sync::Mutex<()>>,
    owned: Mutex<BTreeMap<Shard, Owned>>,
    lost: mpsc::Sender<LostShard>,
}

impl OwnedShards {
    /// None owned yet. The receiver gets the shards that are lost.
    pub(crate) fn new(
        context: Arc<Context>,
        router: Arc<Router>,
        root: ActorCell,
        provider: ProviderRunner,
    ) -> (Self, mpsc::Receiver<LostShard>) {
        let (lost, losses) = mpsc::channel(LOST_MAX);
        let turns = (0..context.layout.shards).map(|_| tokio::sync::Mutex::new(())).collect();
        (Self { context, router, root, provider, turns, owned: Mutex::default(), lost }, losses)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shard, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which shards are owned, and under which epoch.
    pub(crate) fn owned(&self) -> BTreeMap<Shard, Epoch> {
        self.table().iter().map(|(shard, owned)| (*shard, owned.claim.epoch)).collect()
    }

    /// Claims shards, recovers them and serves them. Those of one commit group must be acquired together. On an error none of them is
    /// served.
    pub(crate) async fn acquire(&self, shards: &[Shard], node: &str) -> Result<Vec<(Shard, Acquired)>, StartError> {
        let mut turns = Vec::new();
        for shard in shards {
            match self.turns.get(usize::from(shard.0)) {
                Some(turn) => turns.push(turn.lock().await),
                None => return Err(StartError::Recover { shard: *shard, error: "there is no such shard".to_owned() }),
            }
        }
        let started = self.begin(shards, node).await;
        let begun = match started {
            Ok(()) => self.recover(shards).await,
            Err(error) => Err(error),
        };
        if begun.is_err() {
            for shard in shards {
                self.end(*shard).await;
            }
        }
        begun
    }

    async fn begin(&self, shards: &[Shard], node: &str) -> Result<(), StartError> {
        let context = &self.context;
        let mut groups: BTreeMap<Group, BTreeMap<Shard, Claim>> = BTreeMap::new();
        for shard in shards {
            let shard = *shard;
            let claim = context.store.claim(shard, node).await.map_err(|error| StartError::Claim { shard, error })?;
            groups.entry(context.store.group_of(shard)).or_default().insert(shard, claim);
        }
        for (group, claims) in groups {
            let ends = claims.values().map(|claim| (claim.shard, (claim.epoch, claim.end))).collect();
            let settings = context.settings;
            let bounds = BatchBounds { bytes: settings.batch_bytes_max, records: settings.batch_records_max };
            let (handle, writer) =
                Writer::new(Arc::clone(context), Arc::clone(&self.router), group, ends, bounds, self.provider.clone());
            // With a group per shard there are many writers, each of which waits for a network: threads would be wasted on them.
            let core = claims.keys().next().map(|shard| context.core_of(*shard).clone()).unwrap_or_default();
            let own_thread = settings.writer_thread && !context.store.is_shared();
            let mut task = Some(run_writer(writer, &core, own_thread)?);
            for claim in claims.into_values() {
                let actor = self.spawn(claim, &handle).await?;
                self.router.routes.set(claim.shard, Some((actor.clone(), claim.epoch)));
                self.table().insert(claim.shard, Owned { claim, actor, writer: task.take() });
            }
        }
        Ok(())
    }

    async fn spawn(&self, claim: Claim, writer: &WriterHandle) -> Result<LocalActor<ShardMsg>, StartError> {
        let (context, router) = (Arc::clone(&self.context), Arc::clone(&self.router));
        let shared = Arc::new(ShardContext::new(claim.shard, context, router, writer.clone()));
        let core = shared.core.clone();
        let seed = ShardSeed { claim, shared };
        // An actor runs on the runtime that spawns it, and so do the entities that it spawns in turn.
        let spawned = core.carry_out(ShardActor::spawn_linked(None, ShardActor, seed, self.root.clone())).await;
        let failed = |error: String| StartError::Spawn { what: "a shard's actor", error };
        let spawned = spawned.ok_or_else(|| failed("its core has ended".to_owned()))?;
        let (actor, _) = spawned.map_err(|error| failed(error.to_string()))?;
        Ok(LocalActor::new(actor, core))
    }

    async fn recover(&self, shards: &[Shard]) -> Result<Vec<(Shard, Acquired)>, StartError> {
        let mut recovering = Vec::new();
        for shard in shards {
            let Some((actor, epoch)) = self.table().get(shard).map(|owned| (owned.actor.clone(), owned.claim.epoch))
            else {
                return Err(StartError::Recover { shard: *shard, error: "it was lost at once".to_owned() });
            };
            let (done, recovered) = oneshot::channel();
            // An actor that is gone drops `done`, which is heard below.
            actor.send(ShardMsg::Recover(done));
            recovering.push((*shard, epoch, recovered));
        }
        let mut acquired = Vec::new();
        for (shard, epoch, recovered) in recovering {
            let recovered = recovered.await.unwrap_or_else(|_dropped| Err("its actor ended".to_owned()));
            let tail_events = recovered.map_err(|error| StartError::Recover { shard, error })?;
            acquired.push((shard, Acquired { epoch, tail_events }));
        }
        Ok(acquired)
    }

    /// Releases a shard: it takes no new requests, those inside end, everything is stored, and the release is written down. `false`: it
    /// was not owned, or something was still under way at the bound; that is in the journal and goes on at the next owner.
    pub(crate) async fn release(&self, shard: Shard, bound: Duration) -> bool {
        let Some(turn) = self.turns.get(usize::from(shard.0)) else { return false };
        let _turn = turn.lock().await;
        let Some((actor, claim)) = self.table().get(&shard).map(|owned| (owned.actor.clone(), owned.claim)) else {
            return false;
        };
        let routes = &self.router.routes;
        routes.close(shard);
        let drained = tokio::time::timeout(bound, async {
            actor.send(ShardMsg::DrainWaiters);
            while routes.in_flight(shard) > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
            let (done, flushed) = oneshot::channel();
            actor.send(ShardMsg::FlushAll(done));
            flushed.await.is_ok()
        })
        .await
        .unwrap_or(false);
        self.end(shard).await;
        if let Err(error) = self.context.store.release(&claim).await {
            // Only a hint: the next owner waits a little longer, and claims anyway.
            tracing::info!(shard = shard.0, %error, "the release of a shard was not written down");
        }
        drained
    }

    /// An ownership is over: its actors and its writer end where they stand.
    pub(crate) async fn revoke(&self, lost: LostShard) {
        let Some(turn) = self.turns.get(usize::from(lost.shard.0)) else { return };
        let _turn = turn.lock().await;
        let newest = self.table().get(&lost.shard).map(|owned| owned.claim.epoch);
        if newest != Some(lost.epoch) {
            // It was released or acquired again meanwhile.
            return;
        }
        self.router.routes.set(lost.shard, None);
        self.end(lost.shard).await;
        if self.lost.try_send(lost).is_err() {
            tracing::error!("a lost shard could not be reported: the receiver is gone");
        }
    }

    async fn end(&self, shard: Shard) {
        self.router.routes.set(shard, None);
        let owned = self.table().remove(&shard);
        let Some(Owned { actor, writer, .. }) = owned else { return };
        if actor.actor().kill_and_wait(Some(END_BOUND)).await.is_err() {
            tracing::debug!(shard = shard.0, "the shard's actor had ended before it was stopped");
        }
        if let Some(mut writer) = writer
            && tokio::time::timeout(END_BOUND, &mut writer.0).await.is_err()
        {
            tracing::warn!(shard = shard.0, "the shard's writer was ended in the middle of an append");
        }
        self.router.handles.remove_all(|entity| self.context.layout.shard_of(entity) == shard);
        self.context.views.close_all(shard);
    }

    /// Ends everything where it stands.
    pub(crate) fn end_all(&self) {
        for (shard, owned) in std::mem::take(&mut *self.table()) {
            self.router.routes.set(shard, None);
            owned.actor.actor().kill();
        }
    }
}

/// On a thread of its own the writer may block on the disk without holding up other tasks; otherwise it runs on its shards' core.
fn run_writer(writer: Writer, core: &Core, own_thread: bool) -> Result<WriterTask, StartError> {
    if !own_thread {
        return Ok(WriterTask(core.spawn(writer.run())));
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
    Ok(WriterTask(tokio::spawn(async move { drop(end.await) })))
}
