//! One node's shard manager: renews its row, reads the others' rows, and acquires and releases shards accordingly.
//!
//! ```text
//! every beat: renew own row │ read owners, nodes, desired state ──► membership ──► view ──► placement ──► plan ──► ShardHost::acquire, release
//! heartbeats missed ──────────────────────────────────────────────────▲              lost shards ───────────▲
//! ```
//!
//! Its loop never waits: reads, claims and releases run side by side, each with a time limit. While the registry cannot be read, or this
//! node's row cannot be renewed, it judges no node and begins no action.

mod plan;
mod run;
mod settings;
mod status;
mod status_builder;
#[cfg(test)]
mod tests;

pub use settings::ShardManagerSettings;
pub use status::{ClusterStatus, Handoff, HandoffReason, MemberState, MemberStatus, ShardActivity, ShardStatus};

use self::run::{Command, Runner};
use doorbuster_clock::SharedClock;
use doorbuster_storage::registry::{NodeId, NodeRow, Registry, RegistryError};
use doorbuster_storage::{Epoch, Shard};
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

/// Requests to the shard manager that may be queued.
const COMMANDS_MAX: usize = 64;

/// Why a shard could not be acquired.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcquireError {
    /// Another node claimed it at the same time and won.
    #[error("it was claimed by another node")]
    Conflict,
    /// What is stored contradicts itself; an operator must look.
    #[error("{0}")]
    Corrupt(String),
    /// The store or the actors failed.
    #[error("{0}")]
    Failed(String),
}

/// A shard that this node no longer serves, without having released it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostShard {
    /// The number of the shard.
    pub shard: Shard,
    /// The epoch of the ownership that ended.
    pub epoch: Epoch,
    /// Whether the journal refused this node because another one owns the shard.
    pub fenced: bool,
    /// The reason, in words.
    pub why: String,
}

/// Serves shards on this node; the actors implement it.
pub trait ShardHost: Send + Sync + 'static {
    /// Claims the shard in the journal, recovers it and serves it. If the future is dropped, the work is either finished or undone, and
    /// [`ShardHost::owned`] says which.
    fn acquire(&self, shard: Shard, node: &NodeId) -> impl Future<Output = Result<Epoch, AcquireError>> + Send;

    /// Drains the shard within `bound`: takes no new requests, ends those in progress, stores the states, records in the store that the shard is
    /// free unless another node owns it by now, and stops serving it. Returns `false` if work was still in progress at the bound.
    fn release(&self, shard: Shard, bound: Duration) -> impl Future<Output = bool> + Send;

    /// The shards that it serves now, with their epochs.
    fn owned(&self) -> BTreeMap<Shard, Epoch>;
}

/// A callback that receives a shard, its epoch and its owner.
pub type OnOwner = Arc<dyn Fn(Shard, Epoch, &NodeId) + Send + Sync>;

/// What the shard manager works with.
pub struct Wiring<R, H> {
    /// The registry of the nodes, which this node has joined.
    pub registry: Arc<R>,
    /// Serves the shards of this node.
    pub host: Arc<H>,
    /// Shards that the host lost.
    pub lost: BoxStream<'static, LostShard>,
    /// The number of consecutively missed heartbeats of each peer.
    pub misses: watch::Receiver<BTreeMap<NodeId, u32>>,
    /// Called for each owner that is read and for each own claim. Called often, so it must be quick.
    pub on_owner: OnOwner,
    /// The clock of the times shown to operators; no decision depends on it.
    pub clock: SharedClock,
}

impl<R, H> std::fmt::Debug for Wiring<R, H> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Wiring").finish_non_exhaustive()
    }
}

/// What a node still has to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Load {
    owned: usize,
    in_progress: usize,
    /// The registry says that this node drains.
    is_draining: bool,
}

/// A node's shard manager. Dropping it stops it at once, as a crash would.
#[derive(Debug)]
pub struct ShardManager {
    me: NodeId,
    members: watch::Receiver<Vec<NodeRow>>,
    load: watch::Receiver<Load>,
    ended: watch::Receiver<Option<String>>,
    leaving: watch::Sender<bool>,
    commands: mpsc::Sender<Command>,
    task: Option<AbortHandle>,
}

impl ShardManager {
    /// Starts it. `row.id` is the result of [`Registry::join`]; `shards` is the number of shards of the layout.
    #[must_use]
    pub fn start<R: Registry, H: ShardHost>(
        row: NodeRow,
        shards: u16,
        settings: ShardManagerSettings,
        wiring: Wiring<R, H>,
    ) -> Self {
        let (mut shard_manager, running) = Self::prepare(row, shards, settings, wiring);
        let task = tokio::spawn(running);
        shard_manager.task = Some(task.abort_handle());
        shard_manager
    }

    /// A shard manager and its loop, which a test can stop at any point, as a signal stops a process.
    fn prepare<R: Registry, H: ShardHost>(
        row: NodeRow,
        shards: u16,
        settings: ShardManagerSettings,
        wiring: Wiring<R, H>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let me = row.id.clone();
        let (members_in, members) = watch::channel(Vec::new());
        let (load_in, load) = watch::channel(Load::default());
        let (ended_in, ended) = watch::channel(None);
        let (leaving, leaving_out) = watch::channel(false);
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let outputs = run::Outputs { members: members_in, load: load_in, ended: ended_in };
        let inputs = run::Inputs { leaving: leaving_out, commands: commands_out };
        let running = Runner::new(row, shards, settings, wiring, outputs).run(inputs);
        (Self { me, members, load, ended, leaving, commands, task: None }, running)
    }

    /// This node's id.
    #[must_use]
    pub const fn id(&self) -> &NodeId {
        &self.me
    }

    /// The rows of all settled members, this node among them: the nodes to connect with.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Vec<NodeRow>> {
        self.members.clone()
    }

    /// The cluster as this node sees it; `None`: the shard manager has ended.
    pub async fn status(&self) -> Option<ClusterStatus> {
        let (reply, status) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.ok()?;
        status.await.ok()
    }

    /// Releases every shard within `bound`, and acquires none until [`ShardManager::resume`]. Returns whether none is left.
    pub async fn drain(&self, bound: Duration) -> bool {
        self.leaving.send_replace(true);
        let mut load = self.load.clone();
        let empty = load.wait_for(|load| load.is_draining && load.owned == 0 && load.in_progress == 0);
        tokio::time::timeout(bound, empty).await.is_ok_and(|empty| empty.is_ok())
    }

    /// Acquires shards again.
    pub fn resume(&self) {
        self.leaving.send_replace(false);
    }

    /// Ends, and deletes this node's row, so that other nodes claim what it still serves at once.
    pub async fn leave(&self) -> Result<(), RegistryError> {
        let (reply, left) = oneshot::channel();
        let sent = self.commands.send(Command::Leave(reply)).await;
        let gone = || RegistryError::Failed("the shard manager has ended".to_owned());
        sent.map_err(|_closed| gone())?;
        left.await.unwrap_or_else(|_closed| Err(gone()))
    }

    /// Waits until the node must end because a later process has taken its name, and returns the reason in words.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the shard manager has ended".to_owned())
    }
}

impl Drop for ShardManager {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
