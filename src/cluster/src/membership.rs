//! Who lives, judged from the rows that the nodes renew (rule O6).
//!
//! ```text
//! read ──► read ──► read ──►     the row's beat has not moved for long enough ──► out ──► settled: a new view
//!          (ours, that succeeded)                                       beats again, several times ──► back
//! ```
//!
//! Functions of what was read and when: no clock, no I/O. Three things it must survive:
//!
//! - *A store that stalls for everybody* must not make everybody dead. So only our own successful reads count, by how far they are apart
//!   and never more than two beats each; after a longer gap everybody has the full grace again, as with an observer that has just started.
//! - *A network cut one way* must not make two nodes fence each other for ever. So missed heartbeats condemn nobody; they only
//!   shorten the patience with a row that stands still.
//! - *A node that comes and goes* must not take its shards along each time. So a change must stand for a while before it counts, and who
//!   was out is back only after several beats.

use doorbuster_storage::registry::{NodeId, NodeRow, NodeState};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long we wait before we judge; the settings say what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often nodes renew their rows.
    pub beat: Duration,
    /// A row that stands still so long is dead.
    pub stale: Duration,
    /// The same for a node that also misses heartbeats.
    pub stale_missed: Duration,
    /// So many of our reads must have found it standing still; who was out must have been seen beating so often to be back.
    pub stale_reads: u32,
    /// So many heartbeats missed in a row are a suspicion.
    pub suspect_at: u32,
    /// A change must stand so long.
    pub settle: Duration,
}

/// While changes follow each other the view waits at most so many times as long as one must stand.
const SETTLE_TIMES_MAX: u32 = 5;

/// A member of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: NodeId,
    /// What it is about.
    pub state: NodeState,
}

/// Members by name.
pub type Members = BTreeMap<String, Member>;

/// How somebody who owned a shard stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As far as we know it lives.
    Live,
    /// A later process of the same name has taken its place.
    Replaced,
    /// It left, or is judged dead.
    Gone,
}

/// What we know of one name.
#[derive(Debug, Clone)]
struct Seen {
    row: NodeRow,
    /// How long its beat has not moved, by our reads.
    still: Duration,
    /// How many of our reads found it so.
    still_reads: u32,
    /// Up to when `still` is counted.
    counted_to: Instant,
    /// When its beat was last seen to move.
    moved_at: Instant,
    /// How often since it went out.
    beats: u32,
    out: bool,
}

/// What a person sees of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The row as last read.
    pub row: NodeRow,
    /// When its beat was last seen to move.
    pub moved_at: Instant,
    /// It is judged dead.
    pub out: bool,
}

/// One node's judgement of all.
#[derive(Debug)]
pub struct Membership {
    patience: Patience,
    me: NodeId,
    seen: BTreeMap<String, Seen>,
    /// The latest incarnation of each name ever seen: an older one does not come back.
    latest: BTreeMap<String, u64>,
    read_at: Option<Instant>,
    misses: BTreeMap<NodeId, u32>,
    view: Members,
    version: u64,
    /// What would be the view once it stands, and since when it has been that.
    pending: Option<(Members, Instant)>,
    /// Since when the view has not been what we see.
    unsettled_since: Option<Instant>,
}

impl Membership {
    /// An observer that has seen nothing yet. `me` is never judged.
    #[must_use]
    pub const fn new(me: NodeId, patience: Patience) -> Self {
        Self {
            patience,
            me,
            seen: BTreeMap::new(),
            latest: BTreeMap::new(),
            read_at: None,
            misses: BTreeMap::new(),
            view: BTreeMap::new(),
            version: 0,
            pending: None,
            unsettled_since: None,
        }
    }

    /// Takes in a read of all rows that succeeded, begun and ended at these instants, by a node that also could renew its own row.
    pub fn observe(&mut self, began: Instant, ended: Instant, rows: &[NodeRow]) {
        let gap = self.read_at.map_or(Duration::ZERO, |last| began.saturating_duration_since(last));
        let was_blind = gap > self.patience.stale;
        self.read_at = Some(began);
        let mut newest: BTreeMap<&str, &NodeRow> = BTreeMap::new();
        for row in rows {
            let latest = self.latest.entry(row.id.name.clone()).or_default();
            *latest = row.id.incarnation.max(*latest);
            if row.id.incarnation == *latest {
                newest.insert(&row.id.name, row);
            }
        }
        // Who took its row away has left.
        self.seen.retain(|name, _| newest.contains_key(name.as_str()));
        for (name, row) in newest {
            match self.seen.get_mut(name) {
                Some(seen) if seen.row.id == row.id => seen.read(row, began, ended, was_blind, self.patience.beat),
                _ => drop(self.seen.insert(name.to_owned(), Seen::first(row, ended))),
            }
        }
        self.judge(ended);
    }

    /// Takes in how many heartbeats in a row each peer has not answered.
    pub fn missed(&mut self, now: Instant, misses: BTreeMap<NodeId, u32>) {
        self.misses = misses;
        self.judge(now);
    }

    /// Makes the change that has stood for long enough the view. `true`: there is a new view.
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

    /// When a change will have stood for long enough, if there is one.
    #[must_use]
    pub fn settles_at(&self) -> Option<Instant> {
        let (_, since) = self.pending.as_ref()?;
        let patience = self.unsettled_since? + self.patience.settle * SETTLE_TIMES_MAX;
        Some((*since + self.patience.settle).min(patience))
    }

    /// The members, settled.
    #[must_use]
    pub const fn view(&self) -> &Members {
        &self.view
    }

    /// The number of the view; 0: there is none yet. Other nodes count for themselves.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How somebody stands. Who is neither in the view nor about to be is gone; in doubt it lives.
    #[must_use]
    pub fn standing(&self, id: &NodeId) -> Standing {
        if self.latest.get(&id.name).is_some_and(|latest| *latest > id.incarnation) {
            return Standing::Replaced;
        }
        let lives = self.seen.get(&id.name).is_some_and(|seen| !seen.out);
        if lives || self.view.contains_key(&id.name) { Standing::Live } else { Standing::Gone }
    }

    /// A later process of our own name, if one was seen: we must end.
    #[must_use]
    pub fn replaced_by(&self) -> Option<NodeId> {
        let latest = *self.latest.get(&self.me.name)?;
        (latest > self.me.incarnation).then(|| NodeId { name: self.me.name.clone(), incarnation: latest })
    }

    /// The rows of the settled members: whom to be connected with.
    #[must_use]
    pub fn rows(&self) -> Vec<NodeRow> {
        let rows =
            self.view.iter().filter_map(|(name, member)| self.seen.get(name).filter(|seen| seen.row.id == member.id));
        rows.map(|seen| seen.row.clone()).collect()
    }

    /// Everything that has a row, by name.
    pub fn sightings(&self) -> impl Iterator<Item = Sighting> + '_ {
        self.seen.values().map(|seen| Sighting { row: seen.row.clone(), moved_at: seen.moved_at, out: seen.out })
    }

    /// Heartbeats that a peer has not answered in a row.
    #[must_use]
    pub fn misses(&self, id: &NodeId) -> u32 {
        self.misses.get(id).copied().unwrap_or(0)
    }

    fn judge(&mut self, now: Instant) {
        let patience = self.patience;
        for (name, seen) in self.seen.iter_mut().filter(|(name, _)| **name != self.me.name) {
            let suspect = self.misses.get(&seen.row.id).is_some_and(|misses| *misses >= patience.suspect_at);
            let bound = if suspect { patience.stale_missed.min(patience.stale) } else { patience.stale };
            let stale = seen.still_reads >= patience.stale_reads && seen.still >= bound;
            if stale {
                if !seen.out {
                    let still_ms = u64::try_from(seen.still.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(node = %seen.row.id, still_ms, suspect, "a node no longer renews its row");
                }
                seen.out = true;
                seen.beats = 0;
            } else if seen.out && seen.beats >= patience.stale_reads {
                tracing::info!(node = %name, "a node renews its row again");
                seen.out = false;
            }
        }
        self.compare(now);
    }

    /// Notes since when what we see is not the view.
    fn compare(&mut self, now: Instant) {
        let living = self.seen.values().filter(|seen| !seen.out);
        let member = |seen: &Seen| Member { id: seen.row.id.clone(), state: seen.row.state };
        let members: Members = living.map(|seen| (seen.row.id.name.clone(), member(seen))).collect();
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

impl Seen {
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
            // What it wrote after this read began may be missing from it, so we count from its end, and up to the next one's beginning.
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
