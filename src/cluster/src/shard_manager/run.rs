//! The shard manager's loop: the operations in progress, their results, and what follows from them.

use super::plan::{Action, Plan, PlanInput};
use super::settings::ShardManagerSettings;
use super::status::{ClusterStatus, Handoff, HandoffReason};
use super::status_builder::{RegistryHealth, StatusBuilder};
use super::{AcquireError, Load, LostShard, OnOwner, ShardHost, Wiring};
use crate::membership::{Member, Membership};
use crate::placement;
use doorbuster_clock::{SharedClock, monotonic};
use doorbuster_storage::registry::{DesiredState, NodeId, NodeRow, NodeState, OwnerRow, Registry, RegistryError};
use doorbuster_storage::{Epoch, Shard};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// A request to the shard manager.
#[derive(Debug)]
pub(super) enum Command {
    Status(oneshot::Sender<ClusterStatus>),
    Leave(oneshot::Sender<Result<(), RegistryError>>),
}

/// The shard manager's inputs.
pub(super) struct Inputs {
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// What the shard manager publishes.
pub(super) struct Outputs {
    pub(super) members: watch::Sender<Vec<NodeRow>>,
    pub(super) load: watch::Sender<Load>,
    pub(super) ended: watch::Sender<Option<String>>,
}

/// The contents of the registry. The owners are read first: an owner had its row by then, so an owner without a row when the nodes are read
/// has left.
struct RegistrySnapshot {
    owners: Vec<OwnerRow>,
    nodes: Vec<NodeRow>,
    desired: DesiredState,
}

/// The result of an operation.
enum Completed {
    Renewed {
        state: NodeState,
        result: Result<(), RegistryError>,
    },
    Read {
        began: Instant,
        result: Result<RegistrySnapshot, RegistryError>,
    },
    Claimed {
        shard: Shard,
        from: Option<NodeId>,
        why: HandoffReason,
        took: Duration,
        result: Result<Epoch, AcquireError>,
    },
    Released {
        shard: Shard,
        to: Option<String>,
        why: HandoffReason,
        took: Duration,
        drained: bool,
    },
}

/// The shard manager of one node.
pub(super) struct Runner<R, H> {
    registry: Arc<R>,
    host: Arc<H>,
    lost: BoxStream<'static, LostShard>,
    misses: watch::Receiver<BTreeMap<NodeId, u32>>,
    on_owner: OnOwner,
    clock: SharedClock,
    outputs: Outputs,
    settings: ShardManagerSettings,
    shards: u16,
    /// This node's row as it is written next.
    row: NodeRow,
    /// This node's state as the registry holds it.
    written: Option<NodeState>,
    leaving: bool,
    membership: Membership,
    plan: Plan,
    owners: BTreeMap<Shard, OwnerRow>,
    desired: DesiredState,
    placed: BTreeMap<Shard, String>,
    /// The number of the placement map; it changes whenever the view or the desired state changes.
    map: u64,
    /// The last known owner of a shard that may be free by now.
    former: BTreeMap<Shard, NodeId>,
    history: BTreeMap<Shard, Handoff>,
    renewals: RegistryHealth,
    reads: RegistryHealth,
    read_at: Option<Instant>,
    /// When the last successful read began.
    read_started: Instant,
    in_progress: FuturesUnordered<BoxFuture<'static, Completed>>,
    renewal_in_flight: bool,
    read_in_flight: bool,
    /// When the map will have been unchanged for one renewal interval; `None`: it has been.
    release_from: Option<Instant>,
    renew_next: Instant,
    read_next: Instant,
}

impl<R: Registry, H: ShardHost> Runner<R, H> {
    pub(super) fn new(
        row: NodeRow,
        shards: u16,
        settings: ShardManagerSettings,
        wiring: Wiring<R, H>,
        outputs: Outputs,
    ) -> Self {
        let now = monotonic();
        Self {
            registry: wiring.registry,
            host: wiring.host,
            lost: wiring.lost,
            misses: wiring.misses,
            on_owner: wiring.on_owner,
            clock: wiring.clock,
            outputs,
            settings,
            shards,
            membership: Membership::new(row.id.clone(), settings.failure_detection),
            plan: Plan::new(row.id.clone(), shards, settings),
            written: Some(row.state),
            row,
            leaving: false,
            owners: BTreeMap::new(),
            desired: DesiredState::default(),
            placed: BTreeMap::new(),
            map: 0,
            former: BTreeMap::new(),
            history: BTreeMap::new(),
            renewals: RegistryHealth::new("renew this node's row"),
            reads: RegistryHealth::new("read the nodes' rows"),
            read_at: None,
            read_started: now,
            in_progress: FuturesUnordered::new(),
            renewal_in_flight: false,
            read_in_flight: false,
            release_from: None,
            renew_next: now,
            read_next: now,
        }
    }

    /// Runs until the node leaves or is replaced.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        loop {
            let settles_at = self.membership.settles_at();
            // The order matters: events are taken in before decisions that follow from them, and a test with paused time is repeatable.
            tokio::select! {
                biased;
                Some(lost) = self.lost.next() => self.shard_lost(&lost),
                Some(completed) = self.in_progress.next() => self.complete(completed),
                Ok(()) = inputs.leaving.changed() => {
                    self.leaving = *inputs.leaving.borrow_and_update();
                    self.renew_next = monotonic();
                }
                Some(command) = inputs.commands.recv() => match command {
                    Command::Status(reply) => drop(reply.send(self.status())),
                    Command::Leave(reply) => {
                        reply.send(self.leave().await).ok();
                        return;
                    }
                },
                Ok(()) = self.misses.changed() => {
                    let misses = self.misses.borrow_and_update().clone();
                    self.membership.missed(monotonic(), misses);
                }
                () = until(settles_at) => {}
                () = until(self.release_from) => self.release_from = None,
                () = until((!self.renewal_in_flight).then_some(self.renew_next)) => self.renew(),
                () = until((!self.read_in_flight).then_some(self.read_next)) => self.read(),
            }
            if let Some(successor) = self.membership.replaced_by() {
                return self.replaced(&successor.to_string());
            }
            if self.outputs.ended.borrow().is_some() {
                return;
            }
            if self.membership.settle(monotonic()) {
                self.new_view();
            }
            self.act();
            self.expect();
            self.publish_load();
        }
    }

    /// Renews this node's row with the next beat.
    fn renew(&mut self) {
        let drains = self.leaving || self.desired.drained.contains(&self.row.id.name);
        self.row.state = if drains { NodeState::Draining } else { NodeState::Up };
        self.row.beat = self.row.beat.saturating_add(1);
        let (registry, row, bound) = (Arc::clone(&self.registry), self.row.clone(), self.settings.registry_timeout);
        self.renewal_in_flight = true;
        self.renew_next = monotonic() + self.settings.failure_detection.renew_interval;
        let renewal = async move {
            let result = bounded(bound, registry.renew(&row)).await;
            Completed::Renewed { state: row.state, result }
        };
        self.in_progress.push(renewal.boxed());
    }

    /// Reads the whole registry.
    fn read(&mut self) {
        let (registry, bound, began) = (Arc::clone(&self.registry), self.settings.registry_timeout, monotonic());
        self.read_in_flight = true;
        let reading = async move {
            let read = async {
                let owners = registry.owners().await?;
                let (nodes, desired) =
                    futures_util::future::try_join(registry.nodes(), registry.desired_state()).await?;
                Ok(RegistrySnapshot { owners, nodes, desired })
            };
            Completed::Read { began, result: bounded(bound, read).await }
        };
        self.in_progress.push(reading.boxed());
    }

    fn complete(&mut self, completed: Completed) {
        match completed {
            Completed::Renewed { state, result } => {
                self.renewal_in_flight = false;
                match result {
                    Ok(()) => {
                        self.renewals.succeeded();
                        self.written = Some(state);
                    }
                    Err(RegistryError::Replaced(name)) => self.replaced(&name),
                    Err(error) => self.renewals.failed(&error),
                }
            }
            Completed::Read { began, result } => {
                self.read_in_flight = false;
                match result {
                    Ok(snapshot) => {
                        self.reads.succeeded();
                        self.apply_snapshot(began, snapshot);
                    }
                    Err(error) => self.reads.failed(&error),
                }
                self.read_next = began + self.settings.failure_detection.renew_interval;
            }
            Completed::Claimed { shard, from, why, took, result } => self.claimed(shard, from, why, took, result),
            Completed::Released { shard, to, why, took, drained } => {
                self.plan.released(monotonic(), shard, self.host.owned().contains_key(&shard));
                tracing::info!(
                    shard = shard.0,
                    to = to.as_deref(),
                    ?why,
                    drained,
                    duration_ms = millis(took),
                    "released"
                );
                self.record(shard, Some(self.row.id.to_string()), to, why, Some(took));
            }
        }
    }

    /// Takes in a read of the registry. A node that cannot renew its own row judges no other node (rule O6).
    fn apply_snapshot(&mut self, began: Instant, snapshot: RegistrySnapshot) {
        let now = monotonic();
        self.read_at = Some(now);
        self.read_started = began;
        if self.renewals.is_fine() {
            self.membership.observe(began, now, &snapshot.nodes);
        }
        let owners: BTreeMap<Shard, OwnerRow> = snapshot.owners.into_iter().map(|row| (row.shard, row)).collect();
        let first = self.owners.is_empty();
        for (shard, row) in &owners {
            let Some(node) = &row.node else { continue };
            (self.on_owner)(*shard, row.epoch, node);
            let before = self.former.insert(*shard, node.clone());
            if !first && *node != self.row.id && before.as_ref() != Some(node) {
                let from = before.map(|node| node.to_string());
                self.record(*shard, from, Some(node.to_string()), HandoffReason::Observed, None);
            }
        }
        self.owners = owners;
        if self.desired != snapshot.desired {
            let drains = |desired: &DesiredState| desired.drained.contains(&self.row.id.name);
            if drains(&self.desired) != drains(&snapshot.desired) {
                self.renew_next = now;
            }
            self.desired = snapshot.desired;
            self.reassign();
        }
    }

    fn new_view(&mut self) {
        self.reassign();
        let members: Vec<String> = self.membership.view().values().map(|member| member.id.to_string()).collect();
        tracing::info!(view = self.membership.version(), ?members, "a new view of the cluster");
        self.outputs.members.send_replace(self.membership.rows());
    }

    fn reassign(&mut self) {
        let eligible =
            |member: &&Member| member.state == NodeState::Up && !self.desired.drained.contains(&member.id.name);
        let eligible: BTreeSet<String> =
            self.membership.view().values().filter(eligible).map(|member| member.id.name.clone()).collect();
        self.placed = placement::assign(self.shards, &eligible, &self.desired.moved);
        self.map = self.map.saturating_add(1);
        self.release_from = Some(monotonic() + self.settings.failure_detection.renew_interval);
    }

    /// Begins the planned actions. It begins none by an old read, and none before there is a view.
    fn act(&mut self) {
        if !self.reads.is_fine() || !self.renewals.is_fine() || self.membership.version() == 0 {
            return;
        }
        let input = PlanInput {
            now: monotonic(),
            map: self.map,
            placed: &self.placed,
            read_started: self.read_started,
            owners: &self.owners,
            owned: &self.host.owned(),
            liveness: &|id| self.membership.liveness(id),
            may_release: self.release_from.is_none(),
            leaving: self.leaving,
        };
        for action in self.plan.next(&input) {
            let begun = monotonic();
            let host = Arc::clone(&self.host);
            self.in_progress.push(match action {
                Action::Claim { shard, from, why } => {
                    let (me, bound) = (self.row.id.clone(), self.settings.claim_timeout);
                    let claim = async move {
                        let late = || AcquireError::Failed(format!("it took longer than {} ms", bound.as_millis()));
                        let acquired = tokio::time::timeout(bound, host.acquire(shard, &me)).await;
                        let result = acquired.unwrap_or_else(|_elapsed| Err(late()));
                        Completed::Claimed { shard, from, why, took: doorbuster_clock::since(begun), result }
                    };
                    claim.boxed()
                }
                Action::Release { shard, to, why, bound } => {
                    // The host keeps the bound; if it does not, the loop goes on and looks at what the host still owns.
                    let release_timeout = bound.saturating_add(self.settings.release_timeout);
                    let release = async move {
                        let drained = tokio::time::timeout(release_timeout, host.release(shard, bound)).await;
                        Completed::Released {
                            shard,
                            to,
                            why,
                            took: doorbuster_clock::since(begun),
                            drained: drained.unwrap_or(false),
                        }
                    };
                    release.boxed()
                }
            });
        }
    }

    /// Reads the registry more often while a shard is expected from another node.
    fn expect(&mut self) {
        if self.reads.is_fine() && self.plan.is_waiting(monotonic()) {
            self.read_next = self.read_next.min(self.read_started + self.settings.handoff_poll);
        }
    }

    fn claimed(
        &mut self,
        shard: Shard,
        from: Option<NodeId>,
        why: HandoffReason,
        took: Duration,
        result: Result<Epoch, AcquireError>,
    ) {
        match result {
            Ok(epoch) => {
                self.plan.claimed(shard);
                let from = from.or_else(|| self.former.get(&shard).cloned());
                tracing::info!(shard = shard.0, epoch, ?why, duration_ms = millis(took), "claimed");
                (self.on_owner)(shard, epoch, &self.row.id);
                let me = self.row.id.clone();
                self.record(shard, from.map(|node| node.to_string()), Some(me.to_string()), why, Some(took));
                self.former.insert(shard, me);
            }
            Err(error) => {
                self.plan.not_claimed(monotonic(), shard);
                tracing::warn!(shard = shard.0, ?why, %error, duration_ms = millis(took), "could not claim");
            }
        }
    }

    fn shard_lost(&mut self, lost: &LostShard) {
        // A report about an epoch before the one that is served now.
        if self.host.owned().get(&lost.shard).is_some_and(|epoch| *epoch > lost.epoch) {
            return;
        }
        tracing::warn!(shard = lost.shard.0, epoch = lost.epoch, fenced = lost.fenced, why = lost.why, "lost a shard");
        if lost.fenced {
            self.plan.fenced(monotonic(), lost.shard, self.map);
        } else {
            self.plan.failed(monotonic(), lost.shard);
        }
        let why = if lost.fenced { HandoffReason::Fenced } else { HandoffReason::Failed };
        self.record(lost.shard, Some(self.row.id.to_string()), None, why, None);
    }

    fn record(
        &mut self,
        shard: Shard,
        from: Option<String>,
        to: Option<String>,
        why: HandoffReason,
        took: Option<Duration>,
    ) {
        let at_ms = self.clock.now().0;
        self.history.insert(shard, Handoff { at_ms, from, to, why, took_ms: took.map(millis) });
    }

    fn replaced(&self, by: &str) {
        tracing::error!(by, "another process has joined under this node's name; this one must end");
        self.outputs.ended.send_replace(Some(format!("another process has joined as {by}")));
    }

    /// Deletes this node's row. A renewal in flight would write it again, so it ends first.
    async fn leave(&mut self) -> Result<(), RegistryError> {
        while self.renewal_in_flight {
            match self.in_progress.next().await {
                Some(completed) => self.complete(completed),
                None => break,
            }
        }
        bounded(self.settings.registry_timeout, self.registry.leave(&self.row.id)).await
    }

    fn publish_load(&self) {
        let load = Load {
            owned: self.host.owned().len(),
            in_progress: self.plan.in_progress(),
            is_draining: self.leaving && self.written == Some(NodeState::Draining),
        };
        self.outputs.load.send_if_modified(|published| std::mem::replace(published, load) != load);
    }

    fn status(&self) -> ClusterStatus {
        let builder = StatusBuilder {
            me: &self.row.id,
            now: monotonic(),
            shards: self.shards,
            membership: &self.membership,
            desired: &self.desired,
            placed: &self.placed,
            owners: &self.owners,
            owned: &self.host.owned(),
            plan: &self.plan,
            history: &self.history,
            attempts: [&self.renewals, &self.reads],
            read_at: self.read_at,
        };
        builder.build()
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

async fn bounded<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, RegistryError>> + Send,
) -> Result<T, RegistryError> {
    let late = || RegistryError::Failed(format!("no answer within {} ms", bound.as_millis()));
    tokio::time::timeout(bound, work).await.unwrap_or_else(|_elapsed| Err(late()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
