//! What the tests of journals are made from: backends to open and reopen, and records to write.

use crate::server::Keyspace;
use bytes::Bytes;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::{EntityId, OrderId, Sku};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::cql::CqlJournal;
use doorbuster_storage::embedded::{EmbeddedJournal, EmbeddedOptions};
use doorbuster_storage::memory::{Groups, MemoryJournal, MemoryStore};
use doorbuster_storage::wire::{self, Head};
use doorbuster_storage::{
    AgendaRow, AppendError, Batch, Claim, Epoch, Journal, Layout, ReadError, Record, Seq, Shard, StateFlush, StateRow,
};
use futures_util::{StreamExt, TryStreamExt};
use tempfile::TempDir;

pub(crate) const LAYOUT: Layout = Layout { shards: 4, hash_version: 1 };

/// Something a journal can be opened on, again and again.
pub(crate) trait Backend: Default {
    type Journal: Journal;
    /// Can it be tried here? Where it cannot, standard error says what was not tried.
    fn is_there(_claim: &str) -> bool {
        true
    }
    async fn open(&self) -> Self::Journal;
    /// The process stops, cleanly or not; everything acknowledged must survive both.
    fn stop(&self, journal: Self::Journal, cleanly: bool);
}

pub(crate) struct InMemory(pub(crate) MemoryStore);

impl Default for InMemory {
    fn default() -> Self {
        Self(MemoryStore::new(LAYOUT, Groups::One, 7))
    }
}

impl Backend for InMemory {
    type Journal = MemoryJournal;
    async fn open(&self) -> MemoryJournal {
        self.0.open()
    }
    fn stop(&self, journal: MemoryJournal, cleanly: bool) {
        drop(journal);
        if !cleanly {
            self.0.crash();
        }
    }
}

pub(crate) struct PerShard(InMemory);

impl Default for PerShard {
    fn default() -> Self {
        Self(InMemory(MemoryStore::new(LAYOUT, Groups::PerShard, 7)))
    }
}

impl Backend for PerShard {
    type Journal = MemoryJournal;
    async fn open(&self) -> MemoryJournal {
        self.0.open().await
    }
    fn stop(&self, journal: MemoryJournal, cleanly: bool) {
        self.0.stop(journal, cleanly);
    }
}

pub(crate) struct OnDisk(pub(crate) TempDir);

impl Default for OnDisk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

pub(crate) fn options() -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(LAYOUT, || Timestamp(1_000));
    options.log.segment_bytes = 256 * 1024;
    options.log.frame_bytes_max = 128 * 1024;
    options.log.segments_ahead = 0;
    options
}

impl Backend for OnDisk {
    type Journal = EmbeddedJournal;
    async fn open(&self) -> EmbeddedJournal {
        EmbeddedJournal::open(self.0.path(), options()).unwrap().0
    }
    fn stop(&self, journal: EmbeddedJournal, cleanly: bool) {
        if cleanly {
            journal.close().unwrap();
        }
    }
}

pub(crate) struct OnCql(Keyspace);

impl Default for OnCql {
    fn default() -> Self {
        Self(Keyspace::new(LAYOUT))
    }
}

impl Backend for OnCql {
    type Journal = CqlJournal;
    fn is_there(claim: &str) -> bool {
        Keyspace::is_there(claim)
    }
    async fn open(&self) -> CqlJournal {
        self.0.open().await
    }
    /// Nothing is written when a process stops, so both ways of stopping are one.
    fn stop(&self, journal: CqlJournal, _cleanly: bool) {
        drop(journal);
    }
}

/// An order that lives on the shard.
pub(crate) fn order_on(shard: Shard, which: u128) -> EntityId {
    let orders = (0..).map(|n: u128| EntityId::Order(OrderId(n << 16)));
    orders.filter(|order| LAYOUT.shard_of(order) == shard).nth(usize::try_from(which).unwrap()).unwrap()
}

/// A SKU that lives on the shard.
pub(crate) fn sku_on(shard: Shard) -> EntityId {
    let mut skus = (0..).map(|n: u32| EntityId::Inventory(Sku::parse(&format!("SKU-{n}")).unwrap()));
    skus.find(|sku| LAYOUT.shard_of(sku) == shard).unwrap()
}

/// A decision of `events` events; the first of them carries personal data, if there is any.
pub(crate) fn body(entity: &EntityId, number: u64, events: u32, facts: &[u8], personal: Option<&str>) -> Bytes {
    let head = Head { entity: entity.clone(), number, at: Timestamp(number), by: By::System, events };
    let mut personal = personal.map(|text| text.as_bytes().to_vec());
    wire::assemble(&head, 1, |out| {
        out.extend_from_slice(facts);
        personal.take()
    })
}

/// The owner of a shard, counting.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) claim: Claim,
    pub(crate) next: Seq,
}

impl Owner {
    pub(crate) async fn of(journal: &impl Journal, shard: Shard) -> Self {
        let claim = journal.claim(shard, "n1").await.unwrap();
        Self { claim, next: claim.end + 1 }
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.claim.epoch
    }

    /// The next record of the shard.
    pub(crate) fn record(&mut self, entity: &EntityId, number: u64, events: u32, personal: Option<&str>) -> Record {
        let seq = self.next;
        self.next += u64::from(events);
        let body = body(entity, number, events, format!("facts of {seq}").as_bytes(), personal);
        Record { shard: self.claim.shard, epoch: self.claim.epoch, seq, events, body }
    }

    /// Appends one record of one event and gives it.
    pub(crate) async fn write(&mut self, journal: &impl Journal, entity: &EntityId, number: u64) -> Record {
        let record = self.record(entity, number, 1, None);
        append(journal, vec![record.clone()]).await.unwrap();
        record
    }

    pub(crate) async fn checkpoint(&self, journal: &impl Journal, upto: Seq) {
        journal.checkpoint(&self.claim, StateFlush::default(), upto).await.unwrap();
    }
}

pub(crate) async fn append(journal: &impl Journal, records: Vec<Record>) -> Result<(), AppendError> {
    let group = journal.group_of(records[0].shard);
    journal.append(group, &Batch { id: 1, records }).await
}

pub(crate) async fn replayed(journal: &impl Journal, shard: Shard, from: Seq) -> Vec<Record> {
    journal.replay(shard, from).try_collect().await.unwrap()
}

pub(crate) async fn everything(journal: &impl Journal, shard: Shard) -> Vec<Record> {
    journal.records(shard).try_collect().await.unwrap()
}

pub(crate) async fn first_error(journal: &impl Journal, shard: Shard) -> Option<ReadError> {
    let results: Vec<_> = journal.records(shard).collect().await;
    results.into_iter().find_map(Result::err)
}

pub(crate) fn state(entity: &EntityId, chunk: u16, seq: Seq, text: &str) -> StateRow {
    StateRow { entity: entity.clone(), chunk, seq, body: Bytes::copy_from_slice(text.as_bytes()) }
}

pub(crate) fn agenda(entity: &EntityId, wake_at: Option<u64>, owes: bool) -> AgendaRow {
    AgendaRow { entity: entity.clone(), wake_at: wake_at.map(Timestamp), owes }
}
