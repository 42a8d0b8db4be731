//! The journal in memory, with faults to order: what the simulation runs on.
//!
//! ```text
//! MemoryStore ─── the disk: survives every crash
//!    │ open() ──► MemoryJournal, incarnation 1 ──► crash() ──► open() ──► MemoryJournal, incarnation 2 ──► …
//! ```
//!
//! A crash takes its incarnation's word for nothing: what it had in flight is there whole or not at all, as the seed decides, and
//! whatever it still tries afterwards never returns. Time is tokio's, so that on a paused clock a slow disk costs nothing.

mod disk;
mod faults;
mod registry;

pub use faults::{Fault, Faults};
pub use registry::MemoryRegistry;

use self::disk::Disk;
use crate::journal::{
    AgendaRow, AppendError, Batch, Claim, ClaimError, Epoch, Group, Journal, Layout, ReadError, Record, Seq, Shard,
    StateFlush, StateRow,
};
use doorbuster_domain::ids::EntityId;
use futures_util::{Stream, stream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Which shards of a [`MemoryStore`] become durable in one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// All in one, as on the embedded store.
    One,
    /// Each shard alone, as on CQL.
    PerShard,
}

/// The disk under the journals of successive incarnations. Cheap to clone: clones are the same disk.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<Disk>>,
}

impl MemoryStore {
    /// An empty store. `seed` decides what a crash leaves of a batch in flight, and how long appends take.
    #[must_use]
    pub fn new(layout: Layout, groups: Groups, seed: u64) -> Self {
        Self { shared: Arc::new(Mutex::new(Disk::new(layout, groups, seed))) }
    }

    /// A journal on this disk, of the incarnation that runs now.
    #[must_use]
    pub fn open(&self) -> MemoryJournal {
        let disk = self.disk();
        MemoryJournal { store: self.clone(), incarnation: disk.incarnation, layout: disk.layout, groups: disk.groups }
    }

    /// The process dies: its appends in flight are settled by the seed, each whole or not at all, and nothing it tries from now on
    /// happens or returns. Gives how many batches were in flight, and how many of them are there.
    pub fn crash(&self) -> (usize, usize) {
        self.disk().crash()
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Somebody else claims the shard: whoever owned it is fenced.
    pub fn fence(&self, shard: Shard) {
        self.disk().raise_epoch(shard);
    }

    /// Keeps every durable batch from now on, for [`MemoryStore::cut_at`].
    pub fn keep_frames(&self) {
        self.disk().keep_frames();
    }

    /// How many batches are durable since [`MemoryStore::keep_frames`].
    #[must_use]
    pub fn frames(&self) -> usize {
        self.disk().frames()
    }

    /// The durable batches from number `from` on (the first is 0), as they were written: for whoever holds every record against
    /// the laws while the node runs. Empty when batches were not kept.
    #[must_use]
    pub fn frames_from(&self, from: usize) -> Vec<Batch> {
        self.disk().frames_from(from)
    }

    /// Another disk, which holds what this one would hold had the power gone after so many batches. `None` when batches were
    /// not kept from the beginning.
    #[must_use]
    pub fn cut_at(&self, frames: usize) -> Option<Self> {
        let disk = self.disk().cut_at(frames)?;
        Some(Self { shared: Arc::new(Mutex::new(disk)) })
    }

    /// How often it was asked to append so far, failures included: the number of the next one is this plus one.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.disk().appends
    }

    /// The same for checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> u64 {
        self.disk().checkpoints
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one incarnation of a node sees of a [`MemoryStore`].
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    store: MemoryStore,
    incarnation: u64,
    layout: Layout,
    groups: Groups,
}

impl MemoryJournal {
    /// Acts on the disk, or never when this incarnation is dead: a dead process does nothing and learns nothing.
    async fn on_disk<T>(&self, act: impl FnOnce(&mut Disk) -> T + Send) -> T {
        {
            let mut disk = self.store.disk();
            if disk.incarnation == self.incarnation {
                return act(&mut disk);
            }
        }
        std::future::pending().await
    }
}

async fn wait(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

impl Journal for MemoryJournal {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn group_of(&self, shard: Shard) -> Group {
        match self.groups {
            Groups::One => Group(0),
            Groups::PerShard => Group(shard.0),
        }
    }

    async fn claim(&self, shard: Shard, _node: &str) -> Result<Claim, ClaimError> {
        let group = self.group_of(shard);
        self.on_disk(|disk| {
            let epoch = disk.raise_epoch(shard);
            disk.mend(group);
            Ok(Claim { shard, epoch, flushed_upto: disk.flushed_upto(shard), end: disk.end(shard) })
        })
        .await
    }

    /// Where each shard is alone, it can change hands, as on CQL.
    fn is_shared(&self) -> bool {
        self.groups == Groups::PerShard
    }

    async fn confirm(&self, shard: Shard, epoch: Epoch) -> Result<(), AppendError> {
        let newest = self.on_disk(|disk| disk.epoch(shard)).await;
        if newest == epoch { Ok(()) } else { Err(AppendError::Fenced { shard, epoch }) }
    }

    async fn append(&self, group: Group, batch: &Batch) -> Result<(), AppendError> {
        let (fault, pause) = self.on_disk(|disk| disk.begin_append(group, batch)).await?;
        wait(pause).await;
        match fault {
            None => self.on_disk(|disk| disk.finish_append(group)).await,
            Some(Fault::Fail { written }) => {
                self.on_disk(|disk| disk.break_append(group, written)).await;
                Err(AppendError::Failed("ordered by the fault plan".to_owned()))
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(self.store.disk().tail(shard, from).into_iter().map(Ok))
    }

    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(self.store.disk().records(shard))
    }

    async fn load(&self, _shard: Shard, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        self.on_disk(|disk| Ok(disk.load(entity))).await
    }

    async fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        self.on_disk(|disk| Ok(disk.agenda(shard))).await
    }

    async fn entities(&self, shard: Shard, after: Option<&EntityId>, limit: usize) -> Result<Vec<EntityId>, ReadError> {
        self.on_disk(|disk| Ok(disk.entities(shard, after, limit))).await
    }

    async fn checkpoint(&self, claim: &Claim, flush: StateFlush, upto: Seq) -> Result<(), AppendError> {
        let (fault, pause) = self.on_disk(Disk::begin_checkpoint).await;
        wait(pause).await;
        match fault {
            None => self.on_disk(|disk| disk.checkpoint(claim, flush, upto)).await,
            Some(Fault::Fail { written }) => {
                if written {
                    self.on_disk(|disk| disk.checkpoint(claim, flush, upto)).await?;
                }
                Err(AppendError::Failed("ordered by the fault plan".to_owned()))
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    async fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.on_disk(|disk| disk.history(shard, entity, from, limit)).await
    }

    fn ends(&self) -> BTreeMap<Shard, Seq> {
        self.store.disk().ends()
    }
}
