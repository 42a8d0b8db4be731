//! The failure detector: which nodes are alive, judged from the rows that the nodes renew (rule O6).
//!
//! ```text
//! read ──► read ──► read ──►     the row's beat did not change for long enough ──► out ──► settled: a new view
//!          (successful reads only)                              beats again, several times ──► back
//! ```
//!
//! The functions take what was read and when; they use no clock and no I/O. Three situations they must survive:
//!
//! - *A store that stalls for all nodes* must not make all nodes dead. So only successful reads of this node count, by the time between them
//!   and at most two renewal intervals each. After a longer gap every node has the full grace period again, as after a start.
//! - *A one-way network partition* must not make two nodes fence each other for ever. So missed heartbeats alone never mark a node dead; they
//!   only shorten the time after which an unchanged row counts as dead.
//! - *A node that comes and goes* must not move its shards each time. So a change must last for a while before it counts, and a node
//!   that was out is back only after several beats.

use doorbuster_storage::registry::{NodeId, NodeRow, NodeState};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Time limits of the failure detector; `cluster.toml` says what goes wrong when one is too small or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureDetection {
    /// The interval at which nodes renew their rows.
    pub renew_interval: Duration,
    /// A node is dead once its row has not changed for this long.
    pub stale_after: Duration,
    /// The same limit for a node that also misses heartbeats.
    pub stale_after_if_suspect: Duration,
    /// The number of reads that must have found the row unchanged before its node is dead, and changed before a dead node is back.
    pub stale_reads_min: u32,
    /// The number of consecutively missed heartbeats that make a node suspect.
    pub suspect_misses_min: u32,
    /// The time for which a change must last before it becomes the view.
    pub settle_time: Duration,
}

/// While changes follow each other, the view waits at most this many times `settle_time`.
const SETTLE_TIMES_MAX: u32 = 5;

/// A member of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id of the process.
    pub id: NodeId,
    /// Whether it takes shards or drains.
    pub state: NodeState,
}

/// Members by name.
pub type Members = BTreeMap<String, Member>;

/// Whether a process that owned a shard is still alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerLiveness {
    /// It is alive, as far as this node knows.
    Live,
    /// A later process of the same name has joined.
    Replaced,
    /// It left, or the failure detector judged it dead.
    Gone,
}

/// What this node knows of one name.
#[derive(Debug, Clone)]
struct ObservedNode {
    row: NodeRow,
    /// For how long its beat has not changed, by this node's reads.
    still: Duration,
    /// The number of reads that found it unchanged.
    still_reads: u32,
    /// The instant up to which `still` is counted.
    counted_to: Instant,
    /// When its beat was last seen to change.
    moved_at: Instant,
    /// Changes of its beat since it went out.
    beats: u32,
    out: bool,
}

/// A row and its verdict, for the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeObservation {
    /// The row as last read.
    pub row: NodeRow,
    /// When its beat was last seen to change.
    pub moved_at: Instant,
    /// The failure detector judged it dead.
    pub out: bool,
}

/// One node's judgement of all nodes.
#[derive(Debug)]
pub struct Membership {
    settings: FailureDetection,
    me: NodeId,
    observed: BTreeMap<String, ObservedNode>,
    /// The latest incarnation of each name ever seen: an older one does not come back.
    latest: BTreeMap<String, u64>,
    read_at: Option<Instant>,
    misses: BTreeMap<NodeId, u32>,
    view: Members,
    version: u64,
    /// The next view once it has lasted, and the instant since when it is unchanged.
    pending: Option<(Members, Instant)>,
    /// Since when the view differs from what was read.
    unsettled_since: Option<Instant>,
}

impl Membership {
    /// A failure detector without observations. It never judges `me`.
    #[must_use]
    pub const fn new(me: NodeId, settings: FailureDetection) -> Self {
        Self {
            settings,
            me,
            observed: BTreeMap::new(),
            latest: BTreeMap::new(),
            read_at: None,
            misses: BTreeMap::new(),
            view: BTreeMap::new(),
            version: 0,
            pending: None,
            unsettled_since: None,
        }
    }

    /// Takes in a successful read of all rows, begun and ended at these instants. The caller must also have renewed its own row.
    pub fn observe(&mut self, began: Instant, ended: Instant, rows: &[NodeRow]) {
        let gap = self.read_at.map_or(Duration::ZERO, |last| began.saturating_duration_since(last));
        let was_blind = gap > self.settings.stale_after;
        self.read_at = Some(began);
        let mut newest: BTreeMap<&str, &NodeRow> = BTreeMap::new();
        for row in rows {
            let latest = self.latest.entry(row.id.name.clone()).or_default();
            *latest = row.id.incarnation.max(*latest);
            if row.id.incarnation == *latest {
                newest.insert(&row.id.name, row);
            }
        }
        // A node that deleted its row has left.
        self.observed.retain(|name, _| newest.contains_key(name.as_str()));
        for (name, row) in newest {
            match self.observed.get_mut(name) {
                Some(observed) if observed.row.id == row.id => {
                    observed.read(row, began, ended, was_blind, self.settings.renew_interval);
                }
                _ => drop(self.observed.insert(name.to_owned(), ObservedNode::first(row, ended))),
            }
        }
        self.judge(ended);
    }

    /// Takes in the number of consecutively missed heartbeats per peer.
    pub fn missed(&mut self, now: Instant, misses: BTreeMap<NodeId, u32>) {
        self.misses = misses;
        self.judge(now);
    }

    /// Makes a change that has lasted long enough the view. Returns whether there is a new view.
    pub fn settle(&mut self, now: Instant) -> bool {
        if self.settles_at().is_none_or(|at| now < at) {
            return false;
        }
        if let Some((members, _)) = self.pending.take() {
            self.view = members;
            self.version = self.version.saturating_add(1);
        }
        self.unsettled_since = None;
        true
    }

    /// When the pending change will have lasted long enough; `None`: no change is pending.
    #[must_use]
    pub fn settles_at(&self) -> Option<Instant> {
        let (_, since) = self.pending.as_ref()?;
        let latest = self.unsettled_since? + self.settings.settle_time * SETTLE_TIMES_MAX;
        Some((*since + self.settings.settle_time).min(latest))
    }

    /// The settled members.
    #[must_use]
    pub const fn view(&self) -> &Members {
        &self.view
    }

    /// The number of the view; 0: there is none yet. Each node counts its own views.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether a process is alive. It is gone when it is neither in the view nor about to be; in doubt it is live.
    #[must_use]
    pub fn liveness(&self, id: &NodeId) -> OwnerLiveness {
        if self.latest.get(&id.name).is_some_and(|latest| *latest > id.incarnation) {
            return OwnerLiveness::Replaced;
        }
        let lives = self.observed.get(&id.name).is_some_and(|observed| !observed.out);
        if lives || self.view.contains_key(&id.name) { OwnerLiveness::Live } else { OwnerLiveness::Gone }
    }

    /// A later process of this node's own name, if one was seen: this process must end.
    #[must_use]
    pub fn replaced_by(&self) -> Option<NodeId> {
        let latest = *self.latest.get(&self.me.name)?;
        (latest > self.me.incarnation).then(|| NodeId { name: self.me.name.clone(), incarnation: latest })
    }

    /// The rows of the settled members: the peers to connect with.
    #[must_use]
    pub fn rows(&self) -> Vec<NodeRow> {
        let rows = self
            .view
            .iter()
            .filter_map(|(name, member)| self.observed.get(name).filter(|observed| observed.row.id == member.id));
        rows.map(|observed| observed.row.clone()).collect()
    }

    /// Every row with its verdict, by name.
    pub fn observations(&self) -> impl Iterator<Item = NodeObservation> + '_ {
        self.observed.values().map(|observed| NodeObservation {
            row: observed.row.clone(),
            moved_at: observed.moved_at,
            out: observed.out,
        })
    }

    /// The number of consecutive heartbeats that a peer has not answered.
    #[must_use]
    pub fn misses(&self, id: &NodeId) -> u32 {
        self.misses.get(id).copied().unwrap_or(0)
    }

    fn judge(&mut self, now: Instant) {
        let settings = self.settings;
        for (name, observed) in self.observed.iter_mut().filter(|(name, _)| **name != self.me.name) {
            let suspect =
                self.misses.get(&observed.row.id).is_some_and(|misses| *misses >= settings.suspect_misses_min);
            let bound =
                if suspect { settings.stale_after_if_suspect.min(settings.stale_after) } else { settings.stale_after };
            let stale = observed.still_reads >= settings.stale_reads_min && observed.still >= bound;
            if stale {
                if !observed.out {
                    let still_ms = u64::try_from(observed.still.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(node = %observed.row.id, still_ms, suspect, "a node no longer renews its row");
                }
                observed.out = true;
                observed.beats = 0;
            } else if observed.out && observed.beats >= settings.stale_reads_min {
                tracing::info!(node = %name, "a node renews its row again");
                observed.out = false;
            }
        }
        self.compare(now);
    }

    /// Tracks since when the view differs from what was read.
    fn compare(&mut self, now: Instant) {
        let living = self.observed.values().filter(|observed| !observed.out);
        let member = |observed: &ObservedNode| Member { id: observed.row.id.clone(), state: observed.row.state };
        let members: Members = living.map(|observed| (observed.row.id.name.clone(), member(observed))).collect();
        if self.read_at.is_none() || (members == self.view && self.version > 0) {
            self.pending = None;
            self.unsettled_since = None;
            return;
        }
        self.unsettled_since.get_or_insert(now);
        if self.pending.as_ref().is_none_or(|(pending, _)| *pending != members) {
            self.pending = Some((members, now));
        }
    }
}

impl ObservedNode {
    fn first(row: &NodeRow, ended: Instant) -> Self {
        let row = row.clone();
        Self { row, still: Duration::ZERO, still_reads: 0, counted_to: ended, moved_at: ended, beats: 0, out: false }
    }

    fn read(&mut self, row: &NodeRow, began: Instant, ended: Instant, was_blind: bool, beat: Duration) {
        if self.row.beat != row.beat {
            self.beats = self.beats.saturating_add(1);
            self.moved_at = ended;
        }
        if was_blind || self.row.beat != row.beat {
            self.still = Duration::ZERO;
            self.still_reads = 0;
            // A renewal written after this read began may be missing from it, so the count runs from its end to the next read's beginning.
            self.counted_to = ended;
        } else {
            self.still += began.saturating_duration_since(self.counted_to).min(beat * 2);
            self.still_reads = self.still_reads.saturating_add(1);
            self.counted_to = began.max(self.counted_to);
        }
        self.row = row.clone();
    }
}

#[cfg(test)]
mod tests;
