//! The journal in memory, with planned faults: the simulation runs on it.
//!
//! ```text
//! MemoryStore ─── the disk: survives every crash
//!    │ open() ──► MemoryJournal, incarnation 1 ──► crash() ──► open() ──► MemoryJournal, incarnation 2 ──► …
//! ```
//!
//! A crash ends an incarnation: what it had in flight is stored whole or not at all, as the seed decides, and its later calls never return. Time is
//! tokio's, so a slow disk costs nothing on a paused clock.

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
    /// All in one group, as on the embedded store.
    One,
    /// Each shard alone, as on CQL.
    PerShard,
}

/// The disk under the journals of successive incarnations. Clones are the same disk.
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

    /// A journal on this disk for the current incarnation.
    #[must_use]
    pub fn open(&self) -> MemoryJournal {
        let disk = self.disk();
        MemoryJournal { store: self.clone(), incarnation: disk.incarnation, layout: disk.layout, groups: disk.groups }
    }

    /// Kills the process: the seed settles its appends in flight, each whole or not at all, and its later calls neither take effect nor return. Returns
    /// how many batches were in flight, and how many of them were stored.
    pub fn crash(&self) -> (usize, usize) {
        self.disk().crash()
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Claims the shard as another owner, which fences the current one.
    pub fn fence(&self, shard: Shard) {
        self.disk().raise_epoch(shard);
    }

    /// Keeps every durable batch from now on, for [`MemoryStore::cut_at`].
    pub fn keep_frames(&self) {
        self.disk().keep_frames();
    }

    /// The number of durable batches since [`MemoryStore::keep_frames`].
    #[must_use]
    pub fn frames(&self) -> usize {
        self.disk().frames()
    }

    /// The kept batches from number `from` on (the first is 0): for checks of every record while the node runs. Empty if batches are not kept.
    #[must_use]
    pub fn frames_from(&self, from: usize) -> Vec<Batch> {
        self.disk().frames_from(from)
    }

    /// A copy of the disk as a power cut after this number of batches would leave it. `None`: batches were not kept from the beginning.
    #[must_use]
    pub fn cut_at(&self, frames: usize) -> Option<Self> {
        let disk = self.disk().cut_at(frames)?;
        Some(Self { shared: Arc::new(Mutex::new(disk)) })
    }

    /// The number of appends so far, failures included; the next one has this number plus one.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.disk().appends
    }

    /// The number of checkpoints so far, failures included.
    #[must_use]
    pub fn checkpoints(&self) -> u64 {
        self.disk().checkpoints
    }

    /// The same for loads.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.disk().loads
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal of one incarnation on a [`MemoryStore`].
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    store: MemoryStore,
    incarnation: u64,
    layout: Layout,
    groups: Groups,
}

impl MemoryJournal {
    /// Acts on the disk, or waits for ever if this incarnation is dead.
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

    // Where each shard is its own group, it can change its owner, as on CQL.
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
        let (rows, pause) = self.on_disk(|disk| (disk.load(entity), disk.begin_load())).await;
        wait(pause).await;
        Ok(rows)
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
