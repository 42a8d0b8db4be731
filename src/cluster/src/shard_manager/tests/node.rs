//! One node of the tests: a shard_manager, a host on the memory journal, and the ways in which it can be cut off or stopped.

use super::Cluster;
use crate::shard_manager::{AcquireError, LostShard, ShardHost, ShardManager, Wiring};
use doorbuster_storage::memory::{MemoryJournal, MemoryRegistry};
use doorbuster_storage::registry::{DesiredState, NodeId, NodeRow, NodeState, OwnerRow, Registry, RegistryError};
use doorbuster_storage::{AppendError, Claim, Epoch, Journal, Shard};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How this node is cut off.
#[derive(Debug, Clone, Default)]
pub(super) struct Link(Arc<Cut>);

#[derive(Debug, Default)]
struct Cut {
    failing: AtomicBool,
    stopped: watch::Sender<bool>,
    /// The registry cannot be read or written, the journal can.
    blind: AtomicBool,
    /// The registry cannot be written.
    mute: AtomicBool,
    /// It does not give what it should.
    clings: AtomicBool,
}

impl Link {
    pub(super) fn fail(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::Relaxed);
    }

    pub(super) fn blind(&self, blind: bool) {
        self.0.blind.store(blind, Ordering::Relaxed);
    }

    pub(super) fn mute(&self, mute: bool) {
        self.0.mute.store(mute, Ordering::Relaxed);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.0.failing.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self, stopped: bool) {
        self.0.stopped.send_replace(stopped);
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.0.stopped.borrow()
    }
}

/// The registry, as this node reaches it.
#[derive(Debug)]
struct Reached {
    registry: MemoryRegistry,
    link: Link,
}

impl Reached {
    async fn registry(&self) -> Result<&MemoryRegistry, RegistryError> {
        // A store takes its time.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let fails = self.link.is_failing() || self.link.0.blind.load(Ordering::Relaxed);
        if fails { Err(RegistryError::Failed("cut off".to_owned())) } else { Ok(&self.registry) }
    }
}

impl Registry for Reached {
    async fn join(&self, row: &NodeRow) -> Result<NodeId, RegistryError> {
        self.registry().await?.join(row).await
    }

    async fn renew(&self, row: &NodeRow) -> Result<(), RegistryError> {
        let registry = self.registry().await?;
        if self.link.0.mute.load(Ordering::Relaxed) {
            return Err(RegistryError::Failed("read only".to_owned()));
        }
        // Slower than a read; and what is sent is sent, whether or not anybody still waits for the answer.
        let (registry, row) = (registry.clone(), row.clone());
        let sent = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(15)).await;
            registry.renew(&row).await
        });
        sent.await.unwrap_or_else(|error| Err(RegistryError::Failed(error.to_string())))
    }

    async fn leave(&self, id: &NodeId) -> Result<(), RegistryError> {
        self.registry().await?.leave(id).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, RegistryError> {
        self.registry().await?.nodes().await
    }

    async fn owners(&self) -> Result<Vec<OwnerRow>, RegistryError> {
        self.registry().await?.owners().await
    }

    async fn desired_state(&self) -> Result<DesiredState, RegistryError> {
        self.registry().await?.desired_state().await
    }

    async fn set_drained(&self, name: &str, drained: bool) -> Result<(), RegistryError> {
        self.registry().await?.set_drained(name, drained).await
    }

    async fn set_placement(&self, shard: Shard, to: Option<&str>) -> Result<(), RegistryError> {
        self.registry().await?.set_placement(shard, to).await
    }
}

/// Stands for the actors: claims and fences are real, serving is not.
#[derive(Debug)]
struct Serving {
    journal: MemoryJournal,
    registry: MemoryRegistry,
    link: Link,
    owned: Mutex<BTreeMap<Shard, Claim>>,
    lost: mpsc::UnboundedSender<LostShard>,
}

impl Serving {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Shard, Claim>) -> T) -> T {
        act(&mut self.owned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shards are asked something now and then; then the journal is asked whether they are still ours (rule O4).
    async fn ask_all(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            if self.link.is_failing() {
                continue;
            }
            for (shard, claim) in self.with(|owned| owned.clone()) {
                if let Err(AppendError::Fenced { epoch, .. }) = self.journal.confirm(shard, claim.epoch).await {
                    self.with(|owned| owned.remove(&shard));
                    // The word of it comes a little later than the fact.
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    drop(self.lost.send(LostShard { shard, epoch, fenced: true, why: "fenced".to_owned() }));
                }
            }
        }
    }
}

impl ShardHost for Serving {
    async fn acquire(&self, shard: Shard, node: &NodeId) -> Result<Epoch, AcquireError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if self.link.is_failing() {
            return Err(AcquireError::Failed("cut off".to_owned()));
        }
        let claim = self.journal.claim(shard, &node.to_string()).await;
        let claim = claim.map_err(|error| AcquireError::Failed(error.to_string()))?;
        self.registry.set_owner(shard, claim.epoch, Some(node.clone()));
        // Recovery.
        tokio::time::sleep(Duration::from_millis(30)).await;
        self.with(|owned| owned.insert(shard, claim));
        Ok(claim.epoch)
    }

    async fn release(&self, shard: Shard, bound: Duration) -> bool {
        if self.link.0.clings.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let work = Duration::from_millis(20);
        tokio::time::sleep(work.min(bound)).await;
        let claim = self.with(|owned| owned.remove(&shard));
        if let Some(claim) = claim
            && !self.link.is_failing()
            && self.journal.confirm(shard, claim.epoch).await.is_ok()
        {
            self.registry.set_owner(shard, claim.epoch, None);
        }
        work <= bound
    }

    fn owned(&self) -> BTreeMap<Shard, Epoch> {
        self.with(|owned| owned.iter().map(|(shard, claim)| (*shard, claim.epoch)).collect())
    }
}

/// A node process of a test.
#[derive(Debug)]
pub(super) struct Node {
    shard_manager: Arc<ShardManager>,
    serving: Arc<Serving>,
    link: Link,
    misses: watch::Sender<BTreeMap<NodeId, u32>>,
    running: JoinHandle<()>,
}

impl Node {
    pub(super) async fn start(name: &str, cluster: &Cluster) -> Self {
        let link = Link::default();
        let registry = Arc::new(Reached { registry: cluster.registry.clone(), link: link.clone() });
        let (lost_in, mut lost) = mpsc::unbounded_channel();
        let serving = Arc::new(Serving {
            journal: cluster.journal.clone(),
            registry: cluster.registry.clone(),
            link: link.clone(),
            owned: Mutex::default(),
            lost: lost_in,
        });
        let text = |what: &str| format!("{name}-{what}");
        let id = NodeId { name: name.to_owned(), incarnation: 0 };
        let (cluster_port, public, operator) = (text("cluster"), text("public"), text("operator"));
        let mut row = NodeRow {
            id,
            beat: 0,
            state: NodeState::Up,
            cluster: cluster_port,
            public,
            operator,
            version: "1".to_owned(),
        };
        row.id = cluster.registry.join(&row).await.expect("the registry works when a node starts");
        let (misses, misses_out) = watch::channel(BTreeMap::new());
        let wiring = Wiring {
            registry,
            host: Arc::clone(&serving),
            lost: futures_util::stream::poll_fn(move |context| lost.poll_recv(context)).boxed(),
            misses: misses_out,
            on_owner: Arc::new(|_, _, _| {}),
            clock: Arc::clone(&cluster.clock) as doorbuster_clock::SharedClock,
        };
        let (shard_manager, keeping) = ShardManager::prepare(row, super::SHARDS, cluster.settings, wiring);
        let asking = Arc::clone(&serving);
        let whole = async move {
            tokio::select! {
                biased;
                () = asking.ask_all() => {}
                () = keeping => {}
            }
        };
        let running = tokio::spawn(stoppable(whole, link.0.stopped.subscribe()));
        Self { shard_manager: Arc::new(shard_manager), serving, link, misses, running }
    }

    pub(super) const fn shard_manager(&self) -> &Arc<ShardManager> {
        &self.shard_manager
    }

    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    pub(super) fn owned(&self) -> BTreeMap<Shard, Epoch> {
        self.serving.owned()
    }

    pub(super) fn serves(&self, shard: Shard, epoch: Epoch) -> bool {
        self.serving.with(|owned| owned.get(&shard).is_some_and(|claim| claim.epoch == epoch))
    }

    /// Word of the end of an ownership.
    pub(super) fn say_lost(&self, shard: Shard, epoch: Epoch) {
        let lost = LostShard { shard, epoch, fenced: false, why: "long ago".to_owned() };
        drop(self.serving.lost.send(lost));
    }

    /// Claims a shard that should be another's.
    pub(super) async fn steal(&self, shard: Shard, me: &NodeId) {
        self.serving.acquire(shard, me).await.expect("a claim in memory");
    }

    /// Its releases never end.
    pub(super) fn cling(&self, clings: bool) {
        self.link.0.clings.store(clings, Ordering::Relaxed);
    }

    /// A shard ends because its store failed it.
    pub(super) fn break_shard(&self, shard: Shard) {
        if let Some(claim) = self.serving.with(|owned| owned.remove(&shard)) {
            let lost = LostShard { shard, epoch: claim.epoch, fenced: false, why: "the store failed".to_owned() };
            drop(self.serving.lost.send(lost));
        }
    }

    /// One more round of heartbeats to all members.
    pub(super) fn heartbeats(&self, answers: impl Fn(&String) -> bool) {
        if self.link.is_stopped() {
            return;
        }
        let members = self.shard_manager.members().borrow().clone();
        self.misses.send_modify(|misses| {
            let round = members.into_iter().map(|row| {
                let before = misses.get(&row.id).copied().unwrap_or(0);
                let now = if answers(&row.id.name) { 0 } else { before + 1 };
                (row.id, now)
            });
            *misses = round.collect();
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Runs `work`, but not while it is stopped: its timers go off only after it wakes.
async fn stoppable(work: impl Future<Output = ()>, mut stopped: watch::Receiver<bool>) {
    let mut work = pin!(work);
    loop {
        let ended = {
            let mut changed = pin!(stopped.changed());
            poll_fn(|context| {
                if changed.as_mut().poll(context).is_ready() {
                    Poll::Ready(false)
                } else {
                    work.as_mut().poll(context).map(|()| true)
                }
            })
            .await
        };
        if ended {
            return;
        }
        while *stopped.borrow_and_update() {
            if stopped.changed().await.is_err() {
                return;
            }
        }
    }
}
