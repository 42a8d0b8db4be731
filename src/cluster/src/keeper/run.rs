//! The keeper's loop: what is under way, what came of it, and what follows.

use super::plan::{Action, Plan, Sight};
use super::settings::Settings;
use super::show::{Attempts, Facts};
use super::status::{ClusterStatus, HandOff, Why};
use super::{AcquireError, Holder, Learn, Load, Lost, Wiring};
use crate::membership::{Member, Membership};
use crate::placement;
use doorbuster_clock::{SharedClock, monotonic};
use doorbuster_storage::registry::{NodeId, NodeRow, NodeState, OwnerRow, Registry, RegistryError, Wishes};
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

/// What a keeper is asked.
#[derive(Debug)]
pub(super) enum Command {
    Status(oneshot::Sender<ClusterStatus>),
    Leave(oneshot::Sender<Result<(), RegistryError>>),
}

/// Where a keeper is asked.
pub(super) struct Asked {
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// Where a keeper tells.
pub(super) struct Told {
    pub(super) members: watch::Sender<Vec<NodeRow>>,
    pub(super) load: watch::Sender<Load>,
    pub(super) ended: watch::Sender<Option<String>>,
}

/// Everything that stands in the registry. The owners are read first: whoever owns a shard there had its row by then, so one that has none
/// when the nodes are read has left.
struct Board {
    owners: Vec<OwnerRow>,
    nodes: Vec<NodeRow>,
    wishes: Wishes,
}

/// What came of something under way.
enum Ended {
    Renewed { state: NodeState, result: Result<(), RegistryError> },
    Read { began: Instant, result: Result<Board, RegistryError> },
    Claimed { shard: Shard, from: Option<NodeId>, why: Why, took: Duration, result: Result<Epoch, AcquireError> },
    Released { shard: Shard, to: Option<String>, why: Why, took: Duration, drained: bool },
}

/// The keeper of one node.
pub(super) struct Runner<R, H> {
    registry: Arc<R>,
    holder: Arc<H>,
    lost: BoxStream<'static, Lost>,
    misses: watch::Receiver<BTreeMap<NodeId, u32>>,
    learn: Learn,
    clock: SharedClock,
    told: Told,
    settings: Settings,
    shards: u16,
    /// Our row as it is to be written next.
    row: NodeRow,
    /// The state that the registry holds.
    written: Option<NodeState>,
    leaving: bool,
    membership: Membership,
    plan: Plan,
    owners: BTreeMap<Shard, OwnerRow>,
    wishes: Wishes,
    placed: BTreeMap<Shard, String>,
    /// Another number whenever the view or the wishes change.
    map: u64,
    /// Who was last seen to own a shard that may be free by now.
    former: BTreeMap<Shard, NodeId>,
    history: BTreeMap<Shard, HandOff>,
    renewals: Attempts,
    reads: Attempts,
    read_at: Option<Instant>,
    /// When the last reading that succeeded began.
    read_began: Instant,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    is_renewing: bool,
    is_reading: bool,
    /// When the map will have stood for a beat; `None`: it has.
    give_from: Option<Instant>,
    renew_next: Instant,
    read_next: Instant,
}

impl<R: Registry, H: Holder> Runner<R, H> {
    pub(super) fn new(row: NodeRow, shards: u16, settings: Settings, wiring: Wiring<R, H>, told: Told) -> Self {
        let now = monotonic();
        Self {
            registry: wiring.registry,
            holder: wiring.holder,
            lost: wiring.lost,
            misses: wiring.misses,
            learn: wiring.learn,
            clock: wiring.clock,
            told,
            settings,
            shards,
            membership: Membership::new(row.id.clone(), settings.patience),
            plan: Plan::new(row.id.clone(), shards, settings),
            written: Some(row.state),
            row,
            leaving: false,
            owners: BTreeMap::new(),
            wishes: Wishes::default(),
            placed: BTreeMap::new(),
            map: 0,
            former: BTreeMap::new(),
            history: BTreeMap::new(),
            renewals: Attempts::new("renew this node's row"),
            reads: Attempts::new("read the nodes' rows"),
            read_at: None,
            read_began: now,
            under_way: FuturesUnordered::new(),
            is_renewing: false,
            is_reading: false,
            give_from: None,
            renew_next: now,
            read_next: now,
        }
    }

    /// Keeps until the node leaves or is replaced.
    pub(super) async fn run(mut self, mut asked: Asked) {
        loop {
            let settles_at = self.membership.settles_at();
            // In this order, so that what happened is known before what follows from it is decided, and a paused world is repeatable.
            tokio::select! {
                biased;
                Some(lost) = self.lost.next() => self.shard_lost(&lost),
                Some(ended) = self.under_way.next() => self.take(ended),
                Ok(()) = asked.leaving.changed() => {
                    self.leaving = *asked.leaving.borrow_and_update();
                    self.renew_next = monotonic();
                }
                Some(command) = asked.commands.recv() => match command {
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
                () = until(self.give_from) => self.give_from = None,
                () = until((!self.is_renewing).then_some(self.renew_next)) => self.renew(),
                () = until((!self.is_reading).then_some(self.read_next)) => self.read(),
            }
            if let Some(successor) = self.membership.replaced_by() {
                return self.replaced(&successor.to_string());
            }
            if self.told.ended.borrow().is_some() {
                return;
            }
            if self.membership.settle(monotonic()) {
                self.new_view();
            }
            self.act();
            self.expect();
            self.tell_load();
        }
    }

    /// Writes our row anew, with the next beat.
    fn renew(&mut self) {
        let drains = self.leaving || self.wishes.drained.contains(&self.row.id.name);
        self.row.state = if drains { NodeState::Draining } else { NodeState::Up };
        self.row.beat = self.row.beat.saturating_add(1);
        let (registry, row, bound) = (Arc::clone(&self.registry), self.row.clone(), self.settings.registry_timeout);
        self.is_renewing = true;
        self.renew_next = monotonic() + self.settings.patience.beat;
        let renewal = async move {
            let result = bounded(bound, registry.renew(&row)).await;
            Ended::Renewed { state: row.state, result }
        };
        self.under_way.push(renewal.boxed());
    }

    /// Reads everything.
    fn read(&mut self) {
        let (registry, bound, began) = (Arc::clone(&self.registry), self.settings.registry_timeout, monotonic());
        self.is_reading = true;
        let reading = async move {
            let read = async {
                let owners = registry.owners().await?;
                let (nodes, wishes) = futures_util::future::try_join(registry.nodes(), registry.wishes()).await?;
                Ok(Board { owners, nodes, wishes })
            };
            Ended::Read { began, result: bounded(bound, read).await }
        };
        self.under_way.push(reading.boxed());
    }

    fn take(&mut self, ended: Ended) {
        match ended {
            Ended::Renewed { state, result } => {
                self.is_renewing = false;
                match result {
                    Ok(()) => {
                        self.renewals.succeeded();
                        self.written = Some(state);
                    }
                    Err(RegistryError::Replaced(name)) => self.replaced(&name),
                    Err(error) => self.renewals.failed(&error),
                }
            }
            Ended::Read { began, result } => {
                self.is_reading = false;
                match result {
                    Ok(board) => {
                        self.reads.succeeded();
                        self.sight(began, board);
                    }
                    Err(error) => self.reads.failed(&error),
                }
                self.read_next = began + self.settings.patience.beat;
            }
            Ended::Claimed { shard, from, why, took, result } => self.claimed(shard, from, why, took, result),
            Ended::Released { shard, to, why, took, drained } => {
                self.plan.released(monotonic(), shard, self.holder.owned().contains_key(&shard));
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

    /// Takes in what the registry says, if we may judge by it: a node that cannot renew its own row judges nobody (rule O6).
    fn sight(&mut self, began: Instant, board: Board) {
        let now = monotonic();
        self.read_at = Some(now);
        self.read_began = began;
        if self.renewals.is_fine() {
            self.membership.observe(began, now, &board.nodes);
        }
        let owners: BTreeMap<Shard, OwnerRow> = board.owners.into_iter().map(|row| (row.shard, row)).collect();
        let first = self.owners.is_empty();
        for (shard, row) in &owners {
            let Some(node) = &row.node else { continue };
            (self.learn)(*shard, row.epoch, node);
            let before = self.former.insert(*shard, node.clone());
            if !first && *node != self.row.id && before.as_ref() != Some(node) {
                let from = before.map(|node| node.to_string());
                self.record(*shard, from, Some(node.to_string()), Why::Observed, None);
            }
        }
        self.owners = owners;
        if self.wishes != board.wishes {
            let drains = |wishes: &Wishes| wishes.drained.contains(&self.row.id.name);
            if drains(&self.wishes) != drains(&board.wishes) {
                self.renew_next = now;
            }
            self.wishes = board.wishes;
            self.deal();
        }
    }

    fn new_view(&mut self) {
        self.deal();
        let members: Vec<String> = self.membership.view().values().map(|member| member.id.to_string()).collect();
        tracing::info!(view = self.membership.version(), ?members, "a new view of the cluster");
        self.told.members.send_replace(self.membership.rows());
    }

    fn deal(&mut self) {
        let may = |member: &&Member| member.state == NodeState::Up && !self.wishes.drained.contains(&member.id.name);
        let may: BTreeSet<String> =
            self.membership.view().values().filter(may).map(|member| member.id.name.clone()).collect();
        self.placed = placement::deal(self.shards, &may, &self.wishes.moved);
        self.map = self.map.saturating_add(1);
        self.give_from = Some(monotonic() + self.settings.patience.beat);
    }

    /// Begins what is to be done. Nothing by an old reading, and nothing before there is a view.
    fn act(&mut self) {
        if !self.reads.is_fine() || !self.renewals.is_fine() || self.membership.version() == 0 {
            return;
        }
        let sight = Sight {
            now: monotonic(),
            map: self.map,
            placed: &self.placed,
            read_began: self.read_began,
            owners: &self.owners,
            held: &self.holder.owned(),
            standing: &|id| self.membership.standing(id),
            may_give: self.give_from.is_none(),
            leaving: self.leaving,
        };
        for action in self.plan.next(&sight) {
            let begun = monotonic();
            let holder = Arc::clone(&self.holder);
            self.under_way.push(match action {
                Action::Claim { shard, from, why } => {
                    let (me, bound) = (self.row.id.clone(), self.settings.claim_timeout);
                    let claim = async move {
                        let late = || AcquireError::Failed(format!("it took longer than {} ms", bound.as_millis()));
                        let acquired = tokio::time::timeout(bound, holder.acquire(shard, &me)).await;
                        let result = acquired.unwrap_or_else(|_elapsed| Err(late()));
                        Ended::Claimed { shard, from, why, took: begun.elapsed(), result }
                    };
                    claim.boxed()
                }
                Action::Release { shard, to, why, bound } => {
                    // The holder keeps the bound; should it not, the loop goes on and looks at what it holds.
                    let patience = bound.saturating_add(self.settings.release_timeout);
                    let release = async move {
                        let drained = tokio::time::timeout(patience, holder.release(shard, bound)).await;
                        Ended::Released { shard, to, why, took: begun.elapsed(), drained: drained.unwrap_or(false) }
                    };
                    release.boxed()
                }
            });
        }
    }

    /// While a shard is expected from another node the registry is read more often.
    fn expect(&mut self) {
        if self.reads.is_fine() && self.plan.is_waiting(monotonic()) {
            self.read_next = self.read_next.min(self.read_began + self.settings.handoff_poll);
        }
    }

    fn claimed(
        &mut self,
        shard: Shard,
        from: Option<NodeId>,
        why: Why,
        took: Duration,
        result: Result<Epoch, AcquireError>,
    ) {
        match result {
            Ok(epoch) => {
                self.plan.claimed(shard);
                let from = from.or_else(|| self.former.get(&shard).cloned());
                tracing::info!(shard = shard.0, epoch, ?why, duration_ms = millis(took), "claimed");
                (self.learn)(shard, epoch, &self.row.id);
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

    fn shard_lost(&mut self, lost: &Lost) {
        // Word of an ownership before the one we have now.
        if self.holder.owned().get(&lost.shard).is_some_and(|epoch| *epoch > lost.epoch) {
            return;
        }
        tracing::warn!(shard = lost.shard.0, epoch = lost.epoch, fenced = lost.fenced, why = lost.why, "lost a shard");
        if lost.fenced {
            self.plan.fenced(monotonic(), lost.shard, self.map);
        } else {
            self.plan.failed(monotonic(), lost.shard);
        }
        let why = if lost.fenced { Why::Fenced } else { Why::Failed };
        self.record(lost.shard, Some(self.row.id.to_string()), None, why, None);
    }

    fn record(&mut self, shard: Shard, from: Option<String>, to: Option<String>, why: Why, took: Option<Duration>) {
        let at_ms = self.clock.now().0;
        self.history.insert(shard, HandOff { at_ms, from, to, why, took_ms: took.map(millis) });
    }

    fn replaced(&self, by: &str) {
        tracing::error!(by, "another process has joined under this node's name; this one must end");
        self.told.ended.send_replace(Some(format!("another process has joined as {by}")));
    }

    /// Takes our row away. A renewal under way would write it again, so it ends first.
    async fn leave(&mut self) -> Result<(), RegistryError> {
        while self.is_renewing {
            match self.under_way.next().await {
                Some(ended) => self.take(ended),
                None => break,
            }
        }
        bounded(self.settings.registry_timeout, self.registry.leave(&self.row.id)).await
    }

    fn tell_load(&self) {
        let load = Load {
            held: self.holder.owned().len(),
            under_way: self.plan.under_way(),
            is_draining: self.leaving && self.written == Some(NodeState::Draining),
        };
        self.told.load.send_if_modified(|told| std::mem::replace(told, load) != load);
    }

    fn status(&self) -> ClusterStatus {
        let facts = Facts {
            me: &self.row.id,
            now: monotonic(),
            shards: self.shards,
            membership: &self.membership,
            wishes: &self.wishes,
            placed: &self.placed,
            owners: &self.owners,
            held: &self.holder.owned(),
            plan: &self.plan,
            history: &self.history,
            attempts: [&self.renewals, &self.reads],
            read_at: self.read_at,
        };
        facts.show()
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
