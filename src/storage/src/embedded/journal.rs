//! The journal of one node on its own disk: claims, appends, and the records that no checkpoint has moved yet.
//!
//! Locks, in the order of acquisition: `rounds` (one checkpoint or claim at a time) → `log` (the group's writer, for one write and its sync) →
//! `shards` (for short reads and updates, never across I/O).

use super::EmbeddedOptions;
use super::checkpoint::Rounds;
use super::folder::{Folder, OpenError};
use super::history;
use super::log::{Log, Recovered};
use super::owned::Owned;
use super::stored::{Stored, log_error};
use super::tables::{Tables, key};
use super::upkeep::{self, Upkeep};
use super::writes::{Table, Writes};
use crate::journal::{
    AgendaRow, AppendError, Batch, Claim, ClaimError, Group, Journal, Layout, ReadError, Record, Seq, Shard,
    StateFlush, StateRow,
};
use doorbuster_domain::ids::EntityId;
use futures_util::{Stream, stream};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared with the thread of a checkpoint.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) stored: Stored,
    pub(super) rounds: Mutex<Rounds>,
    /// `None` once it is sealed.
    log: Mutex<Option<Log>>,
    pub(super) shards: Mutex<BTreeMap<Shard, Owned>>,
    pub(super) options: EmbeddedOptions,
    /// The last field, so that the folder is unlocked after everything that writes is closed.
    _folder: Folder,
}

/// The journal of one node on its own disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedJournal {
    inner: Arc<Inner>,
    _upkeep: Arc<Upkeep>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(super) fn shards(&self) -> MutexGuard<'_, BTreeMap<Shard, Owned>> {
        lock(&self.shards)
    }

    pub(super) fn rounds(&self) -> MutexGuard<'_, Rounds> {
        lock(&self.rounds)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Option<Log>> {
        lock(&self.log)
    }

    pub(super) fn flushed(&self, shard: Shard) -> Seq {
        self.shards().get(&shard).map_or(0, |owned| owned.flushed)
    }

    /// Refuses a batch of another owner, and one that does not continue the log, before the log sees it: an invalid batch would stop the log
    /// for good.
    fn may_append(&self, batch: &Batch) -> Result<(), AppendError> {
        let shards = self.shards();
        let mut ends: BTreeMap<Shard, Seq> = BTreeMap::new();
        for record in &batch.records {
            let (shard, epoch) = (record.shard, record.epoch);
            let (owner, end) = shards.get(&shard).map_or((0, 0), |owned| (owned.epoch, owned.end));
            if epoch != owner || epoch == 0 {
                return Err(AppendError::Fenced { shard, epoch });
            }
            let end = ends.entry(shard).or_insert(end);
            if record.events == 0 || record.seq != end.saturating_add(1) {
                let (seq, end) = (record.seq, *end);
                return Err(AppendError::Failed(format!("shard {shard}: event {seq} cannot follow event {end}")));
            }
            *end = record.last_seq();
        }
        Ok(())
    }

    fn appended(&self, batch: &Batch) {
        let mut shards = self.shards();
        for record in &batch.records {
            shards.entry(record.shard).or_default().appended(record);
        }
        let kept: u64 = shards.values().map(Owned::tail_bytes).sum();
        if kept > self.options.tail_bytes
            && let Some(largest) = shards.values_mut().max_by_key(|owned| owned.tail_bytes())
        {
            largest.forget_tail();
        }
    }

    fn append(&self, batch: &Batch) -> Result<(), AppendError> {
        let mut log = self.log();
        self.may_append(batch)?;
        let log = log.as_mut().ok_or_else(|| AppendError::Failed("the journal is closed".to_owned()))?;
        let appended = log.append(&batch.records).map_err(|error| AppendError::Failed(error.to_string()))?;
        self.appended(batch);
        (self.options.on_append.0)(appended);
        Ok(())
    }

    fn claim(&self, shard: Shard) -> Result<Claim, ClaimError> {
        if shard.0 >= self.options.layout.shards {
            return Err(ClaimError::Corrupt(format!("there is no shard {shard}")));
        }
        // This holds the rounds, so no checkpoint of a predecessor runs, and the log, so no append runs.
        let _rounds = self.rounds();
        let _log = self.log();
        self.remove_cut_short(shard)?;
        let epoch = self.shards().get(&shard).map_or(0, |owned| owned.epoch).saturating_add(1);
        // Not synced: an epoch lost in a power cut has no records, because a record's sync in the log makes its epoch durable too, and recovery
        // finds it there.
        let mut writes = Writes::default();
        writes.put(Table::States, &key(b'e', shard), &[&epoch.to_le_bytes()]);
        self.stored.tables.write(&mut writes, false).map_err(|error| ClaimError::Failed(error.to_string()))?;
        let mut shards = self.shards();
        let owned = shards.entry(shard).or_default();
        owned.epoch = epoch;
        Ok(Claim { shard, epoch, flushed_upto: owned.flushed, end: owned.end })
    }

    /// Removes what a checkpoint of a predecessor that was cut short left in history.
    fn remove_cut_short(&self, shard: Shard) -> Result<(), ClaimError> {
        let (tables, flushed) = (&self.stored.tables, self.flushed(shard));
        let mut writes = Writes::default();
        let removed = |error: AppendError| ClaimError::Failed(error.to_string());
        while history::remove_one_after(tables, shard, flushed, &mut writes).map_err(|error| match error {
            ReadError::Corrupt(why) => ClaimError::Corrupt(why),
            ReadError::Failed(why) => ClaimError::Failed(why),
        })? {
            tables.write(&mut writes, false).map_err(removed)?;
        }
        Ok(())
    }
}

impl EmbeddedJournal {
    /// Opens or creates a data folder and recovers its log.
    ///
    /// # Errors
    /// [`OpenError`]; if it reports damage, nothing was changed.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<(Self, Recovered), OpenError> {
        let mut options = options;
        options.keep_ms = upkeep::keep_ms(&options);
        let folder = Folder::open_or_make(path, options.layout)?;
        let tables = Tables::open(&folder.tables(), &options)?;
        let (log, recovered) = Log::open(&folder.log(), options.log)?;
        let stored = Stored { tables, log: log.reader() };
        let flushed = stored.check(path, &recovered)?;
        let unreadable = |error: ReadError| OpenError::Tables { folder: folder.tables(), why: error.to_string() };
        let epochs = stored.tables.epochs().map_err(unreadable)?;
        stored.tables.forget_what_is_owed().map_err(unreadable)?;
        let mut shards: BTreeMap<Shard, Owned> = BTreeMap::new();
        for (shard, tail) in &recovered.ends {
            let owned = shards.entry(*shard).or_default();
            (owned.end, owned.epoch) = (tail.seq, tail.epoch);
        }
        for (shard, epoch) in epochs {
            let owned = shards.entry(shard).or_default();
            owned.epoch = owned.epoch.max(epoch);
        }
        for (shard, flushed) in flushed {
            shards.entry(shard).or_default().flushed = flushed;
        }
        let inner = Inner {
            stored,
            rounds: Mutex::default(),
            log: Mutex::new(Some(log)),
            shards: Mutex::new(shards),
            options,
            _folder: folder,
        };
        let inner = Arc::new(inner);
        let upkeep = Upkeep::start(&inner);
        let upkeep =
            upkeep.map_err(|error| OpenError::Io { verb: "start a thread for", path: path.to_owned(), error })?;
        Ok((Self { inner, _upkeep: Arc::new(upkeep) }, recovered))
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    #[cfg(test)]
    pub(super) fn tables(&self) -> &Tables {
        &self.inner.stored.tables
    }

    /// A clean stop: says in a file of its own where the log ends (rule L5). Nothing can be appended afterwards; call it when
    /// nothing is under way.
    ///
    /// # Errors
    /// [`AppendError::Failed`]; then the next start finds an unsealed log and reads it to its end.
    pub fn close(&self) -> Result<(), AppendError> {
        let _rounds = self.inner.rounds();
        match self.inner.log().take() {
            None => Ok(()),
            Some(log) => log.seal().map_err(|error| AppendError::Failed(error.to_string())),
        }
    }
}

impl Journal for EmbeddedJournal {
    fn layout(&self) -> Layout {
        self.inner.options.layout
    }

    fn group_of(&self, _shard: Shard) -> Group {
        Group(0)
    }

    /// Waits for a checkpoint that is under way.
    async fn claim(&self, shard: Shard, _node: &str) -> Result<Claim, ClaimError> {
        let inner = Arc::clone(&self.inner);
        let claimed = tokio::task::spawn_blocking(move || inner.claim(shard)).await;
        claimed.unwrap_or_else(|error| Err(ClaimError::Failed(error.to_string())))
    }

    /// Writes and syncs on the caller's thread: the group's writer has one of its own.
    async fn append(&self, _group: Group, batch: &Batch) -> Result<(), AppendError> {
        self.inner.append(batch)
    }

    fn replay(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        self.replay_all(BTreeMap::from([(shard, from)]))
    }

    fn replay_all(&self, from: BTreeMap<Shard, Seq>) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        let behind = |(shard, from): (Shard, Seq)| (shard, from.max(self.inner.flushed(shard).saturating_add(1)));
        let records = self.inner.stored.log.replay_all(from.into_iter().map(behind).collect());
        stream::iter(records.map(|record| record.map_err(|error| log_error(&error))))
    }

    fn records(&self, shard: Shard) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(self.inner.stored.records_from(shard, 1, self.inner.flushed(shard)))
    }

    fn records_from(&self, shard: Shard, from: Seq) -> impl Stream<Item = Result<Record, ReadError>> + Send {
        stream::iter(self.inner.stored.records_from(shard, from, self.inner.flushed(shard)))
    }

    async fn page(&self, shard: Shard, from: Seq, limit: usize) -> Result<Vec<Record>, ReadError> {
        let in_memory = self.inner.shards().get(&shard).and_then(|owned| owned.records_from(shard, from));
        if let Some(records) = in_memory {
            return records.take(limit).collect();
        }
        let inner = Arc::clone(&self.inner);
        let read = move || {
            let flushed = inner.flushed(shard);
            if from > flushed {
                return inner.stored.log_from(shard, from).take(limit).collect();
            }
            // It ends where history ends: the next page begins in memory, and in the log's file it would begin with a whole segment.
            history::between(&inner.stored.tables, shard, from, flushed).take(limit).collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(ReadError::Failed(error.to_string())))
    }

    async fn load(&self, shard: Shard, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        self.inner.stored.tables.load(shard, entity)
    }

    async fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        self.inner.stored.tables.agenda(shard)
    }

    async fn entities(&self, shard: Shard, after: Option<&EntityId>, limit: usize) -> Result<Vec<EntityId>, ReadError> {
        self.inner.stored.tables.entities(shard, after, limit)
    }

    async fn checkpoint(&self, claim: &Claim, flush: StateFlush, upto: Seq) -> Result<(), AppendError> {
        let (inner, claim) = (Arc::clone(&self.inner), *claim);
        let done = tokio::task::spawn_blocking(move || inner.checkpoint(claim, flush, upto)).await;
        done.unwrap_or_else(|error| Err(AppendError::Failed(error.to_string())))
    }

    async fn history(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let (flushed, in_memory) = {
            let shards = self.inner.shards();
            // A shard that was never claimed has none.
            let Some(owned) = shards.get(&shard) else { return Ok(Vec::new()) };
            (owned.flushed, owned.unflushed(shard))
        };
        let (inner, entity) = (Arc::clone(&self.inner), entity.clone());
        let read = move || {
            let of = (shard, &entity);
            match in_memory {
                Some(tail) => inner.stored.history(of, flushed, tail, (from, limit)),
                None => {
                    let tail = inner.stored.log_from(shard, flushed.saturating_add(1));
                    inner.stored.history(of, flushed, tail, (from, limit))
                }
            }
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(ReadError::Failed(error.to_string())))
    }

    fn ends(&self) -> BTreeMap<Shard, Seq> {
        let shards = self.inner.shards();
        shards.iter().map(|(shard, owned)| (*shard, owned.end)).filter(|(_, end)| *end > 0).collect()
    }
}
