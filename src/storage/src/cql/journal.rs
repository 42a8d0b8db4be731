//! The journal of a cluster: any node can own a shard, one at a time, and the store itself refuses a former owner.

use super::append::Owners;
use super::claim::Claiming;
use super::index::CqlIndex;
use super::options::{Counts, CqlOptions};
use super::read::Reader;
use super::registry::CqlRegistry;
use super::session::{Cql, CqlError, connect};
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
use tokio::sync::Mutex;

/// The journal on ScyllaDB or Apache Cassandra. Clones belong to the same node.
#[derive(Debug, Clone)]
pub struct CqlJournal {
    cql: Arc<Cql>,
    owners: Arc<Owners>,
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
        let turns = (0..options.layout.shards.max(1)).map(|_| Mutex::new(())).collect();
        let buckets = Buckets::new(options.bucket_events);
        let cql = Cql { session, statements, options, buckets, counts: Arc::default() };
        Ok(Self { cql: Arc::new(cql), owners: Arc::default(), turns })
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

    /// A claim in single steps; [`Journal::claim`] makes all of them.
    #[must_use]
    pub fn claiming(&self, shard: Shard, node: &str) -> Claiming {
        Claiming::new(Arc::clone(&self.cql), Arc::clone(&self.owners), shard, node)
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

    fn group_of(&self, shard: Shard) -> Group {
        Group(shard.0)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn room(&self, next: Seq) -> Option<u64> {
        Some(self.cql.buckets.room(next))
    }

    /// Waits for a checkpoint of this process that is in progress.
    async fn claim(&self, shard: Shard, node: &str) -> Result<Claim, ClaimError> {
        let Some(_turn) = self.turn(shard).await else {
            return Err(ClaimError::Corrupt(format!("there is no shard {shard}")));
        };
        let mut claiming = self.claiming(shard, node);
        loop {
            if let Some(claim) = claiming.step().await? {
                return Ok(claim);
            }
        }
    }

    async fn append(&self, _group: Group, batch: &Batch) -> Result<(), AppendError> {
        self.cql.append(&self.owners, batch).await
    }

    async fn confirm(&self, shard: Shard, epoch: Epoch) -> Result<(), AppendError> {
        self.cql.confirm(&self.owners, shard, epoch).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), AppendError> {
        self.cql.release(&self.owners, claim).await
    }

    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        let cql = Arc::clone(&self.cql);
        let owned = self.owners.lock().get(&shard).map(|owned| owned.flushed);
        // Recovery reads the agenda before the tail. If a former owner's last checkpoint moved the tail between the two, its entities would be on no list
        // (rule S5). So the owner reads everything that was after its own claim's position.
        let records = match owned {
            Some(flushed) => Reader::behind(cql, shard, flushed).records(),
            None => Reader::of_tail(cql, shard).records(),
        };
        records.try_filter(move |record| std::future::ready(record.last_seq() >= from))
    }

    fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(from).flat_map(|(shard, from)| self.replay(shard, from).boxed())
    }

    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        Reader::of_everything(Arc::clone(&self.cql), shard).records()
    }

    async fn page(&self, shard: Shard, from: Seq, limit: usize) -> Result<Vec<Record>, ReadError> {
        let in_memory = self.owners.lock().get(&shard).and_then(|owned| owned.page(from, limit));
        if let Some(records) = in_memory {
            return Ok(records);
        }
        let records = Reader::from(Arc::clone(&self.cql), shard, from).await?.records();
        let behind = records.try_skip_while(|record| std::future::ready(Ok(record.last_seq() < from)));
        behind.take(limit).try_collect().await
    }

    fn records_from(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        Reader::of_everything_from(Arc::clone(&self.cql), shard, from.max(1)).records()
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
        let known = {
            let shards = self.owners.lock();
            shards.get(&shard).map(|owned| (owned.flushed, owned.records()))
        };
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
        let (flushed, _) = self.cql.progress(shard).await?;
        let mut found = self.cql.entity_history((shard, entity), from, flushed, limit).await?;
        let last = found.last().map_or(0, Record::last_seq);
        found.extend(tail.into_iter().filter(|record| record.seq > last.max(flushed)));
        found.truncate(limit);
        Ok(found)
    }

    /// The ends of the shards that this node owns.
    fn ends(&self) -> BTreeMap<Shard, Seq> {
        let shards = self.owners.lock();
        shards.iter().map(|(shard, owned)| (*shard, owned.end)).filter(|(_, end)| *end > 0).collect()
    }
}
