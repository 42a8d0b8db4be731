//! One node's keeper: renews its row, watches the others', and takes and gives shards accordingly.
//!
//! ```text
//! every beat: renew own row │ read owners, nodes, wishes ──► membership ──► view ──► placement ──► plan ──► Holder::acquire, release
//! heartbeats missed ────────────────────────────────────────────▲              lost shards ───────────▲
//! ```
//!
//! It waits for nothing in its loop: registry, claims and releases are all under way beside each other, each with a bound. While the
//! registry cannot be read or the own row not renewed it judges nobody and begins nothing.

mod plan;
mod run;
mod settings;
mod show;
mod status;
#[cfg(test)]
mod tests;

pub use settings::Settings;
pub use status::{ClusterStatus, Doing, HandOff, MemberStatus, ShardStatus, Standing, Why};

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

/// Questions to the keeper that may wait.
const COMMANDS_MAX: usize = 64;

/// Why a shard could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcquireError {
    /// Somebody else is claiming; they win.
    #[error("it was claimed by another")]
    Lost,
    /// What is stored contradicts itself; a person must look.
    #[error("{0}")]
    Corrupt(String),
    /// The store failed, or the actors did.
    #[error("{0}")]
    Failed(String),
}

/// A shard is no longer served, and nobody asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub shard: Shard,
    /// The ownership that ended.
    pub epoch: Epoch,
    /// The journal refused us: somebody else owns it.
    pub fenced: bool,
    /// In words.
    pub why: String,
}

/// Whoever serves shards on this node: the actors.
pub trait Holder: Send + Sync + 'static {
    /// Claims the shard in the journal, recovers it and serves it. Dropped in the middle it goes on or is undone, and [`Holder::owned`]
    /// says which.
    fn acquire(&self, shard: Shard, node: &NodeId) -> impl Future<Output = Result<Epoch, AcquireError>> + Send;

    /// Takes no new questions for the shard, lets what is under way end within `bound`, stores what is to be stored, says in the store that
    /// the shard is free unless somebody else owns it by now, and stops serving it. `false`: something was still under way at the bound.
    fn release(&self, shard: Shard, bound: Duration) -> impl Future<Output = bool> + Send;

    /// What it serves now.
    fn owned(&self) -> BTreeMap<Shard, Epoch>;
}

/// Is told who owns a shard, and by which epoch.
pub type Learn = Arc<dyn Fn(Shard, Epoch, &NodeId) + Send + Sync>;

/// What the keeper needs and what it tells.
pub struct Wiring<R, H> {
    /// The nodes' common board; joined already.
    pub registry: Arc<R>,
    /// Who serves the shards.
    pub holder: Arc<H>,
    /// Shards that the holder lost.
    pub lost: BoxStream<'static, Lost>,
    /// Heartbeats that each peer has not answered in a row.
    pub misses: watch::Receiver<BTreeMap<NodeId, u32>>,
    /// Told of each owner that is read, and of each own claim: shard, epoch, node. Called often; must be quick.
    pub learn: Learn,
    /// For the times shown to operators; nothing is decided by it.
    pub clock: SharedClock,
}

impl<R, H> std::fmt::Debug for Wiring<R, H> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Wiring").finish_non_exhaustive()
    }
}

/// How much a node still has in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Load {
    held: usize,
    under_way: usize,
    /// The others were told that it drains.
    is_draining: bool,
}

/// A node's keeper. Dropped it stops where it is, as a crash would.
#[derive(Debug)]
pub struct Keeper {
    me: NodeId,
    members: watch::Receiver<Vec<NodeRow>>,
    load: watch::Receiver<Load>,
    ended: watch::Receiver<Option<String>>,
    leaving: watch::Sender<bool>,
    commands: mpsc::Sender<Command>,
    task: Option<AbortHandle>,
}

impl Keeper {
    /// Begins to keep. `row.id` is what [`Registry::join`] gave; `shards` is the layout's number.
    #[must_use]
    pub fn start<R: Registry, H: Holder>(row: NodeRow, shards: u16, settings: Settings, wiring: Wiring<R, H>) -> Self {
        let (mut keeper, keeping) = Self::prepare(row, shards, settings, wiring);
        let task = tokio::spawn(keeping);
        keeper.task = Some(task.abort_handle());
        keeper
    }

    /// The keeper and what it runs; whoever runs it can stop it in the middle, as a signal stops a process.
    fn prepare<R: Registry, H: Holder>(
        row: NodeRow,
        shards: u16,
        settings: Settings,
        wiring: Wiring<R, H>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let me = row.id.clone();
        let (members_in, members) = watch::channel(Vec::new());
        let (load_in, load) = watch::channel(Load::default());
        let (ended_in, ended) = watch::channel(None);
        let (leaving, leaving_out) = watch::channel(false);
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let told = run::Told { members: members_in, load: load_in, ended: ended_in };
        let asked = run::Asked { leaving: leaving_out, commands: commands_out };
        let keeping = Runner::new(row, shards, settings, wiring, told).run(asked);
        (Self { me, members, load, ended, leaving, commands, task: None }, keeping)
    }

    /// Who this node is.
    #[must_use]
    pub const fn id(&self) -> &NodeId {
        &self.me
    }

    /// The rows of all settled members, this node among them: whom to be connected with.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Vec<NodeRow>> {
        self.members.clone()
    }

    /// The cluster as this node sees it; `None`: it keeps nothing any more.
    pub async fn status(&self) -> Option<ClusterStatus> {
        let (reply, status) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.ok()?;
        status.await.ok()
    }

    /// Gives every shard away, within `bound`; takes none until [`Keeper::resume`]. `true`: it has none any more.
    pub async fn drain(&self, bound: Duration) -> bool {
        self.leaving.send_replace(true);
        let mut load = self.load.clone();
        let empty = load.wait_for(|load| load.is_draining && load.held == 0 && load.under_way == 0);
        tokio::time::timeout(bound, empty).await.is_ok_and(|empty| empty.is_ok())
    }

    /// Takes shards again.
    pub fn resume(&self) {
        self.leaving.send_replace(false);
    }

    /// Ends, and takes this node's row away, so that nobody waits for it. Whatever it still serves others claim.
    pub async fn leave(&self) -> Result<(), RegistryError> {
        let (reply, left) = oneshot::channel();
        let sent = self.commands.send(Command::Leave(reply)).await;
        let gone = || RegistryError::Failed("the keeper has ended".to_owned());
        sent.map_err(|_closed| gone())?;
        left.await.unwrap_or_else(|_closed| Err(gone()))
    }

    /// Waits until the node must end because a later process has taken its name; says so in words.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the keeper has ended".to_owned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
