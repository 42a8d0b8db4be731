//! Taking and giving shards while the node runs: claim, recover, serve; and leave off, store, let go.
//!
//! ```text
//! take:  claim ─► writer ─► shard's actor ─► router says "here" ─► recover ─► serve
//! give:  router takes no more questions ─► those inside end, or are sent on ─► all states stored ─► actors end ─► writer ends ─► released
//! lose:  router says "elsewhere" ─► actors and writer end; what waited hears "unknown" (rules E2, E5)
//! ```
//!
//! A writer runs until everybody who holds its handle is gone: the shard's actor and all its entities. So once it has ended no actor
//! of this ownership is left, and the next one on this node meets none of them (rule E1).

use super::context::Context;
use super::provider::ProviderRunner;
use super::queue::WriterHandle;
use super::shard::{ShardActor, ShardMsg, ShardSeed};
use super::system::{RootMsg, StartError};
use super::writer::{BatchBounds, Writer};
use doorbuster_storage::{Claim, Epoch, Group, Journal, Shard};
use ractor::{Actor, ActorRef};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Actors that were told to end are gone within this time, or the ownership's writer is ended with its queue unread.
const END_BOUND: Duration = Duration::from_secs(5);
/// How often a shard that is given away is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Losses that may wait to be heard of; one shard is lost once per ownership, so it is never full.
const LOST_MAX: usize = 65_536;

/// A shard that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// The number of the ownership.
    pub epoch: Epoch,
    /// Events behind the last checkpoint, taken in again.
    pub tail_events: u64,
}

/// An ownership that ended without being given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostShard {
    /// Of this shard.
    pub shard: Shard,
    /// The number of the ownership.
    pub epoch: Epoch,
    /// Another node has claimed it; otherwise the store or an actor failed.
    pub fenced: bool,
    /// What happened.
    pub why: String,
}

/// One ownership, as long as it lasts.
#[derive(Debug)]
struct Owned {
    claim: Claim,
    actor: ActorRef<ShardMsg>,
    /// The writer of the group, with the first of its shards.
    writer: Option<WriterTask>,
}

/// A writer at work; dropped, it is ended where it stands.
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
    root: ActorRef<RootMsg>,
    provider: ProviderRunner,
    /// Locked while a shard is acquired or released, so that the two never overlap.
    turns: Vec<tokio::sync::Mutex<()>>,
    owned: Mutex<BTreeMap<Shard, Owned>>,
    lost: mpsc::Sender<LostShard>,
}

impl OwnedShards {
    /// None owned yet. What is lost is told to the receiver.
    pub(crate) fn new(
        context: Arc<Context>,
        root: ActorRef<RootMsg>,
        provider: ProviderRunner,
    ) -> (Self, mpsc::Receiver<LostShard>) {
        let (lost, losses) = mpsc::channel(LOST_MAX);
        let turns = (0..context.layout.shards).map(|_| tokio::sync::Mutex::new(())).collect();
        (Self { context, root, provider, turns, owned: Mutex::default(), lost }, losses)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shard, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which shards are owned, and under which epoch.
    pub(crate) fn owned(&self) -> BTreeMap<Shard, Epoch> {
        self.table().iter().map(|(shard, owned)| (*shard, owned.claim.epoch)).collect()
    }

    /// Claims shards, recovers them and serves them. Those of one commit group must be taken together. On an error none of them is
    /// served.
    pub(crate) async fn acquire(&self, shards: &[Shard], node: &str) -> Result<Vec<(Shard, Acquired)>, StartError> {
        let mut turns = Vec::new();
        for shard in shards {
            match self.turns.get(usize::from(shard.0)) {
                Some(turn) => turns.push(turn.lock().await),
                None => return Err(StartError::Recover { shard: *shard, error: "there is no such shard".to_owned() }),
            }
        }
        let taken = self.begin(shards, node).await;
        let begun = match taken {
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
            let (handle, writer) = Writer::new(Arc::clone(context), group, ends, bounds, self.provider.clone());
            // With a group per shard there are many writers, each of which waits for a network: threads would be wasted on them.
            let mut task = Some(run_writer(writer, settings.writer_thread && !context.store.is_shared())?);
            for claim in claims.into_values() {
                let actor = self.spawn(claim, &handle).await?;
                context.router().place(claim.shard, Some((actor.clone(), claim.epoch)));
                self.table().insert(claim.shard, Owned { claim, actor, writer: task.take() });
            }
        }
        Ok(())
    }

    async fn spawn(&self, claim: Claim, writer: &WriterHandle) -> Result<ActorRef<ShardMsg>, StartError> {
        let seed = ShardSeed { claim, context: Arc::clone(&self.context), writer: writer.clone() };
        let spawned = ShardActor::spawn_linked(None, ShardActor, seed, self.root.get_cell()).await;
        let failed = |error: ractor::SpawnErr| StartError::Spawn { what: "a shard's actor", error: error.to_string() };
        Ok(spawned.map_err(failed)?.0)
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
            drop(actor.send_message(ShardMsg::Recover(done)));
            recovering.push((*shard, epoch, recovered));
        }
        let mut acquired = Vec::new();
        for (shard, epoch, recovered) in recovering {
            let taken_in = recovered.await.unwrap_or_else(|_dropped| Err("its actor ended".to_owned()));
            let tail_events = taken_in.map_err(|error| StartError::Recover { shard, error })?;
            acquired.push((shard, Acquired { epoch, tail_events }));
        }
        Ok(acquired)
    }

    /// Gives a shard away: no new questions, those inside end, everything is stored, and the store is told. `false`: it was not owned,
    /// or something was still under way at the bound; that is in the journal and goes on at the next owner.
    pub(crate) async fn release(&self, shard: Shard, bound: Duration) -> bool {
        let Some(turn) = self.turns.get(usize::from(shard.0)) else { return false };
        let _turn = turn.lock().await;
        let Some((actor, claim)) = self.table().get(&shard).map(|owned| (owned.actor.clone(), owned.claim)) else {
            return false;
        };
        let router = self.context.router();
        router.close(shard);
        let drained = tokio::time::timeout(bound, async {
            drop(actor.send_message(ShardMsg::DrainWaiters));
            while router.inside(shard) > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let (done, flushed) = oneshot::channel();
            drop(actor.send_message(ShardMsg::FlushAll(done)));
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
            // It was given away or taken again meanwhile.
            return;
        }
        self.context.router().place(lost.shard, None);
        self.end(lost.shard).await;
        if self.lost.try_send(lost).is_err() {
            tracing::error!("nobody hears of lost shards any more");
        }
    }

    async fn end(&self, shard: Shard) {
        self.context.router().place(shard, None);
        let owned = self.table().remove(&shard);
        let Some(Owned { actor, writer, .. }) = owned else { return };
        if actor.kill_and_wait(Some(END_BOUND)).await.is_err() {
            tracing::debug!(shard = shard.0, "the shard's actor had ended before it was told to");
        }
        if let Some(mut writer) = writer
            && tokio::time::timeout(END_BOUND, &mut writer.0).await.is_err()
        {
            tracing::warn!(shard = shard.0, "the shard's writer was ended in the middle of an append");
        }
        let layout = self.context.layout;
        self.context
            .views
            .close_all(|sku| layout.shard_of(&doorbuster_domain::ids::EntityId::Inventory(sku.clone())) == shard);
    }

    /// Ends everything where it stands.
    pub(crate) fn end_all(&self) {
        for (shard, owned) in std::mem::take(&mut *self.table()) {
            self.context.router().place(shard, None);
            owned.actor.kill();
        }
    }
}

/// On a thread of its own the writer may block on the disk without holding up anybody.
fn run_writer(writer: Writer, own_thread: bool) -> Result<WriterTask, StartError> {
    if !own_thread {
        return Ok(WriterTask(tokio::spawn(writer.run())));
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
