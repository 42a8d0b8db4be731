//! The journal of a cluster: any node can own a shard, one at a time, and the store itself refuses a former owner.

use super::claim::Claiming;
use super::index::CqlIndex;
use super::log::Logs;
use super::options::{Counts, CqlOptions};
use super::owned::{Owners, PageAt};
use super::read::Reader;
use super::registry::CqlRegistry;
use super::session::{Connection, Cql, CqlError, connect};
use super::shared::CqlShared;
use super::statements::Statements;
use super::{options::Buckets, schema};
use crate::journal::{
    AgendaRow, AppendError, Batch, Claim, ClaimError, Epoch, Group, Journal, Layout, ReadError, Record, Seq, Shard,
    StateFlush, StateRow,
};
use crate::wire;
use doorbuster_domain::ids::EntityId;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

/// The journal on ScyllaDB or Apache Cassandra. Clones belong to the same node.
#[derive(Debug, Clone)]
pub struct CqlJournal {
    cql: Arc<Cql>,
    owners: Arc<Owners>,
    logs: Arc<Logs>,
    /// One lock per shard: this process makes one claim or checkpoint of a shard at a time.
    turns: Arc<[Mutex<()>]>,
}

impl CqlJournal {
    /// Connects, and checks the schema and the layout.
    ///
    /// # Errors
    /// [`CqlError`]; nothing was written.
    pub async fn open(options: CqlOptions) -> Result<Self, CqlError> {
        let session = connect(&options).await?;
        schema::check(&session, &options).await?;
        let statements = Statements::prepare(&session, options.reach).await?;
        let buckets = Buckets::new(options.bucket_events);
        let connection = Arc::new(Connection { session, statements, options, buckets, counts: Arc::default() });
        Ok(Self::of_process(connection))
    }

    /// Another process, as far as the store can tell, on the same connection: for tests of many.
    #[must_use]
    pub fn another_process(&self) -> Self {
        Self::of_process(Arc::clone(&self.cql.connection))
    }

    fn of_process(connection: Arc<Connection>) -> Self {
        let turns = (0..connection.options.layout.shards.max(1)).map(|_| Mutex::new(())).collect();
        let logs = Arc::new(Logs::new(connection.options.logs_per_node));
        Self { cql: Arc::new(Cql::new(connection)), owners: Arc::default(), logs, turns }
    }

    /// The registry of the nodes, on the same connection.
    #[must_use]
    pub fn registry(&self) -> CqlRegistry {
        CqlRegistry::new(Arc::clone(&self.cql))
    }

    /// The values that all nodes share, on the same connection.
    #[must_use]
    pub fn shared(&self) -> CqlShared {
        CqlShared::new(Arc::clone(&self.cql))
    }

    /// The indexes of lists, on the same connection.
    #[must_use]
    pub fn index(&self) -> CqlIndex {
        CqlIndex::new(Arc::clone(&self.cql))
    }

    /// The counters of this store.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.cql.counts
    }

    /// Deletes what is left in logs that no shard names any more, once it is stored; gives the number of buckets. Any node may do it, at any time.
    ///
    /// # Errors
    /// The store failed; what was not deleted is found again.
    pub async fn delete_left_logs(&self) -> Result<usize, ReadError> {
        self.cql.delete_left_logs(&self.owners).await
    }

    /// A claim in single steps; [`Journal::claim`] makes all of them.
    #[must_use]
    pub fn claiming(&self, shard: Shard, node: &str) -> Claiming {
        Claiming::new(Arc::clone(&self.cql), Arc::clone(&self.owners), Arc::clone(&self.logs), shard, node)
    }

    /// `flushed_upto` of a shard that this process owns, and the records behind it, if all are in memory: to read them from the log is to read those of all
    /// its shards.
    fn tail_in_memory(&self, shard: Shard) -> Option<(Seq, Vec<Record>)> {
        self.owners.in_memory(shard, |owned| Some((owned.flushed, owned.records()?))).flatten()
    }

    async fn turn(&self, shard: Shard) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match self.turns.get(usize::from(shard.0)) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

impl Journal for CqlJournal {
    fn layout(&self) -> Layout {
        self.cql.options.layout
    }

    /// The log that it appends to since it was last claimed here.
    fn group_of(&self, shard: Shard) -> Group {
        Group(self.owners.log_of(shard).map_or(0, |log| log.number))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn needs_checkpoint(&self, shard: Shard) -> bool {
        let owned = self.owners.lock().get(&shard).map(|owned| (owned.log.name, owned.flushed));
        owned.is_some_and(|(log, flushed)| self.cql.full_buckets.holds_back(log, shard, flushed))
    }

    /// Waits for a checkpoint of this process that is in progress.
    async fn claim(&self, shard: Shard, node: &str) -> Result<Claim, ClaimError> {
        let Some(_turn) = self.turn(shard).await else {
            return Err(ClaimError::Corrupt(format!("there is no shard {shard}")));
        };
        let mut claiming = self.claiming(shard, node);
        // Of several claims of this process that need the same log one closes and reads it, and the others use what it found.
        let mut reading: Option<(Uuid, OwnedMutexGuard<()>)> = None;
        loop {
            let log = claiming.log();
            if reading.as_ref().map(|(name, _)| *name) != log {
                drop(reading.take());
                if let Some(log) = log {
                    reading = Some((log, self.cql.read_logs.turn(log).lock_owned().await));
                    claiming.look_again().await?;
                    continue;
                }
            }
            if let Some(claim) = claiming.step().await? {
                return Ok(claim);
            }
        }
    }

    async fn append(&self, _group: Group, batch: &Batch) -> Result<(), AppendError> {
        self.cql.append(&self.owners, batch).await
    }

    async fn confirm(&self, shards: &BTreeMap<Shard, Epoch>) -> Result<(), AppendError> {
        self.cql.confirm(&self.owners, shards).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), AppendError> {
        self.cql.release(&self.owners, claim).await
    }

    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        let cql = Arc::clone(&self.cql);
        let owned = self.owners.in_memory(shard, |owned| (owned.flushed, owned.records()));
        // Recovery reads the agenda before the tail. If a former owner's last checkpoint moved the tail between the two, its entities would be on no list
        // (rule S5). So the owner reads everything that was after its own claim's position: from what the claim read, as long as it is in memory.
        let records = match owned {
            Some((_, Some(kept))) => stream::iter(kept).map(Ok).boxed(),
            Some((flushed, None)) => Reader::behind(cql, shard, flushed).records().boxed(),
            None => Reader::of_tail(cql, shard).records().boxed(),
        };
        records.try_filter(move |record| std::future::ready(record.last_seq() >= from))
    }

    fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(from).flat_map(|(shard, from)| self.replay(shard, from).boxed())
    }

    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        Reader::of_everything(Arc::clone(&self.cql), shard).with_tail(self.tail_in_memory(shard)).records()
    }

    async fn page(&self, shard: Shard, from: Seq, limit: usize) -> Result<Vec<Record>, ReadError> {
        let (mut page, mut next) = (Vec::new(), from);
        loop {
            let room = limit.saturating_sub(page.len());
            let at = self.owners.in_memory(shard, |owned| owned.page(next, room));
            let (records, may_follow): (Vec<Record>, bool) = match at {
                Some(PageAt::Memory(records)) => {
                    let may_follow = !records.is_empty();
                    (records, may_follow)
                }
                Some(PageAt::Bucket(log, bucket)) => {
                    let (_, records) = self.cql.read_bucket(log, bucket).await?;
                    // A shard that came back to a log has others' events between its own there.
                    let mut wanted = next;
                    let follows = |record: &Record| {
                        let follows = record.seq <= wanted.max(1);
                        wanted = record.last_seq().saturating_add(1);
                        follows
                    };
                    let of_shard = records.into_iter().filter(|one| one.shard == shard && one.last_seq() >= next);
                    let records: Vec<Record> = of_shard.take_while(follows).take(room).collect();
                    if records.is_empty() {
                        // A checkpoint has moved the first of them.
                        break;
                    }
                    (records, true)
                }
                Some(PageAt::Stored) | None => break,
            };
            next = records.last().map_or(next, |last| last.last_seq().saturating_add(1));
            page.extend(records);
            if !may_follow || page.len() >= limit {
                return Ok(page);
            }
        }
        if !page.is_empty() {
            return Ok(page);
        }
        let records = Reader::from(Arc::clone(&self.cql), shard, from).await?.records();
        let behind = records.try_skip_while(|record| std::future::ready(Ok(record.last_seq() < from)));
        behind.take(limit).try_collect().await
    }

    fn records_from(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        let reader = Reader::of_everything_from(Arc::clone(&self.cql), shard, from.max(1));
        reader.with_tail(self.tail_in_memory(shard)).records()
    }

    async fn load(&self, shard: Shard, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        self.cql.load(shard, entity).await
    }

    async fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        self.cql.agenda(shard).await
    }

    async fn entities(&self, shard: Shard, after: Option<&EntityId>, limit: usize) -> Result<Vec<EntityId>, ReadError> {
        self.cql.entities(shard, after, limit).await
    }

    async fn checkpoint(&self, claim: &Claim, flush: StateFlush, upto: Seq) -> Result<(), AppendError> {
        let _turn = self.turn(claim.shard).await;
        self.cql.checkpoint(&self.owners, claim, flush, upto).await
    }

    async fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let known = self.owners.in_memory(shard, |owned| (owned.flushed, owned.records()));
        let reaches = |record: &Record| {
            wire::reaches(&record.body, entity, from).map_err(|error| ReadError::Corrupt(error.to_string()))
        };
        if let Some((flushed, Some(tail))) = known {
            let mut found = self.cql.entity_history((shard, entity), from, flushed, limit).await?;
            for record in tail {
                if found.len() < limit && reaches(&record)? {
                    found.push(record);
                }
            }
            return Ok(found);
        }
        // The log's tail first: what a checkpoint moves meanwhile is then found twice, and never missed.
        let mut tail = Vec::new();
        let mut records = std::pin::pin!(Reader::of_tail(Arc::clone(&self.cql), shard).records());
        while let Some(record) = records.next().await {
            let record = record?;
            if reaches(&record)? {
                tail.push(record);
            }
        }
        let flushed = self.cql.progress(shard).await?;
        let mut found = self.cql.entity_history((shard, entity), from, flushed, limit).await?;
        let last = found.last().map_or(0, Record::last_seq);
        found.extend(tail.into_iter().filter(|record| record.seq > last.max(flushed)));
        found.truncate(limit);
        Ok(found)
    }

    /// The ends of the shards that this node owns.
    fn ends(&self) -> BTreeMap<Shard, Seq> {
        let shards = self.owners.lock();
        let live = shards.iter().filter(|(_, owned)| !owned.log.is_lost());
        live.map(|(shard, owned)| (*shard, owned.end)).filter(|(_, end)| *end > 0).collect()
    }
}
