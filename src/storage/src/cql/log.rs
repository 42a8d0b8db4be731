//! The logs of this process: where each stands, how it begins, rolls on and is lost (rules N2 and N7), and what may be deleted of it (rule N8).
//!
//! ```text
//! fence of a bucket:   never ──► open ──► sealed: full, the log goes on in the next
//!                        └─────────┴────► closed: the log has ended, for ever and for everybody
//! ```

use super::options::{Counts, LOG_BUCKET_BYTES, LOG_BUCKETS_KEPT};
use super::owned::Owners;
use super::session::{Cql, Pauses, bigint, bucket_key, claim_error, number, timestamp};
use crate::journal::{AppendError, ClaimError, ReadError, Seq, Shard};
use doorbuster_clock::monotonic;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Who may write to a bucket of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// Nobody yet.
    Never,
    /// The log's process.
    Open,
    /// Nobody any more; the log goes on in the next bucket.
    Sealed,
    /// Nobody any more; the log has ended.
    Closed,
}

impl Fence {
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::Never => None,
            Self::Open => Some("open"),
            Self::Sealed => Some("sealed"),
            Self::Closed => Some("closed"),
        }
    }

    pub(super) fn of(word: Option<&str>) -> Result<Self, ReadError> {
        match word {
            None => Ok(Self::Never),
            Some("open") => Ok(Self::Open),
            Some("sealed") => Ok(Self::Sealed),
            Some("closed") => Ok(Self::Closed),
            Some(other) => Err(ReadError::Corrupt(format!("a fence is `{other}`"))),
        }
    }
}

/// A bucket that takes no more rows, and the newest event of each shard in it.
#[derive(Debug, Clone)]
pub(super) struct FullBucket {
    pub(super) log: Uuid,
    pub(super) bucket: u64,
    pub(super) newest: BTreeMap<Shard, Seq>,
}

/// Where a log stands.
#[derive(Debug, Default)]
pub(super) struct LogState {
    pub(super) bucket: u64,
    /// The position of the next row.
    pub(super) position: u64,
    /// What the bucket holds.
    rows: u64,
    bytes: u64,
    newest: BTreeMap<Shard, Seq>,
    /// It was closed by another process, as this one has heard.
    lost: bool,
    /// A write is under way, or its outcome is unknown: nothing more is written (rules L8, O5).
    unsettled: bool,
    /// The next append begins a bucket, so that this one can be deleted.
    roll_due: bool,
}

/// A log of this process.
#[derive(Debug)]
pub(super) struct OwnLog {
    pub(super) name: Uuid,
    /// Its number in this process; the first is 1.
    pub(super) number: u64,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<LogState>,
}

impl OwnLog {
    /// One with a name that no other will ever have, not begun yet (rule N7).
    pub(super) fn new(number: u64) -> Self {
        Self { name: Uuid::new_v4(), number, turn: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    /// Waits until no write of this process to it is under way, and keeps others from beginning.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(super) fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was closed by another process, as this one has heard.
    pub(super) fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// It was closed by another, or a write was never settled: this process writes nothing more to it. Asked by who has the turn.
    fn is_over(&self) -> bool {
        let state = self.state();
        state.lost || state.unsettled
    }

    /// Whether this process may write to it still; asked by who has the turn.
    pub(super) fn may_write(&self, fenced: &AppendError) -> Result<(), AppendError> {
        let state = self.state();
        if state.lost {
            return Err(fenced.clone());
        }
        if state.unsettled {
            return Err(AppendError::Failed(format!("log {}: an append before was never settled", self.name)));
        }
        Ok(())
    }

    /// Begins a write. Until [`OwnLog::settled`] its outcome counts as unknown, so that a caller that stopped waiting appends nothing after it.
    pub(super) fn begin_write(&self) {
        self.state().unsettled = true;
    }

    /// The write that was begun has the outcome that its answer says.
    pub(super) fn settled(&self) {
        self.state().unsettled = false;
    }

    /// A row was appended.
    pub(super) fn appended(&self, bytes: u64, newest: impl Iterator<Item = (Shard, Seq)>) {
        let mut state = self.state();
        state.position = state.position.saturating_add(1);
        state.rows = state.rows.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
        state.newest.extend(newest);
        state.unsettled = false;
    }

    /// The bucket is to be full with the next append, whatever it holds.
    pub(super) fn roll_soon(&self) {
        let mut state = self.state();
        state.roll_due = state.rows > 0;
    }
}

/// The logs that this process writes to, one at a time for each part of its shards.
#[derive(Debug)]
pub(super) struct Logs {
    parts: Box<[LogPart]>,
    begun: AtomicU64,
}

#[derive(Debug, Default)]
struct LogPart {
    turn: tokio::sync::Mutex<()>,
    current: Mutex<Option<Arc<OwnLog>>>,
}

impl Logs {
    pub(super) fn new(count: u16) -> Self {
        Self { parts: (0..count.max(1)).map(|_| LogPart::default()).collect(), begun: AtomicU64::new(0) }
    }

    fn part(&self, shard: Shard) -> Option<&LogPart> {
        self.parts.get(usize::from(shard.0).checked_rem(self.parts.len())?)
    }
}

/// Buckets that take no more rows and are not deleted yet, by log, the oldest first.
#[derive(Debug, Default)]
pub(super) struct FullBuckets {
    turn: tokio::sync::Mutex<()>,
    by_log: Mutex<BTreeMap<Uuid, VecDeque<FullBucket>>>,
}

impl FullBuckets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, VecDeque<FullBucket>>> {
        self.by_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bucket: FullBucket) {
        self.lock().entry(bucket.log).or_default().push_back(bucket);
    }

    /// A log that another process has left was read whole.
    pub(super) fn add_log(&self, log: Uuid, buckets: &[FullBucket]) {
        let mut logs = self.lock();
        let known = logs.entry(log).or_default();
        let last = known.back().map(|last| last.bucket);
        known.extend(buckets.iter().filter(|one| last.is_none_or(|last| one.bucket > last)).cloned());
    }

    fn front(&self, log: Uuid) -> Option<FullBucket> {
        self.lock().get(&log).and_then(|buckets| buckets.front().cloned())
    }

    fn deleted(&self, log: Uuid) {
        let mut logs = self.lock();
        if let Some(buckets) = logs.get_mut(&log) {
            buckets.pop_front();
            if buckets.is_empty() {
                logs.remove(&log);
            }
        }
    }

    /// Whether a shard whose states are stored up to `flushed` keeps more of this log from being deleted than a claimant should have to read.
    pub(super) fn holds_back(&self, log: Uuid, shard: Shard, flushed: Seq) -> bool {
        let logs = self.lock();
        let Some(buckets) = logs.get(&log).filter(|buckets| buckets.len() > LOG_BUCKETS_KEPT) else { return false };
        buckets.front().is_some_and(|oldest| oldest.newest.get(&shard).is_some_and(|newest| *newest > flushed))
    }
}

impl Cql {
    /// The fence of a bucket, read serially.
    pub(super) async fn fence(&self, log: Uuid, bucket: u64) -> Result<Fence, ReadError> {
        let key = (log, bucket_key(bucket));
        let row = self.first::<(Uuid, i32, Option<String>)>(&self.statements.fence, key).await?;
        Fence::of(row.and_then(|(_, _, fence)| fence).as_deref())
    }

    /// Compare-and-set of a fence. `false`: another value was there, or the outcome is unknown; the caller reads it again.
    pub(super) async fn set_fence(&self, log: Uuid, bucket: u64, from: Fence, to: Fence) -> bool {
        let (to, bucket, statements) = (to.word(), bucket_key(bucket), &self.statements);
        let answer = match from.word() {
            None => self.transact(&statements.first_fence, (to, log, bucket)).await,
            Some(from) => self.transact(&statements.next_fence, (to, log, bucket, from)).await,
        };
        match answer {
            Ok(answer) if answer.applied => true,
            Ok(_) => {
                Counts::add(&self.counts.conflicts);
                false
            }
            Err(_) => {
                Counts::add(&self.counts.unknown_outcomes);
                false
            }
        }
    }

    /// Changes the fence of an own log. `false`: another process has closed the log. Only this process changes the fence to anything else, so one that
    /// is as it should be was set by the copy whose answer was lost.
    async fn set_own_fence(&self, log: Uuid, bucket: u64, from: Fence, to: Fence) -> Result<bool, ReadError> {
        let (begun, mut pauses) = (monotonic(), Pauses::new());
        loop {
            if self.set_fence(log, bucket, from, to).await {
                return Ok(true);
            }
            match self.fence(log, bucket).await? {
                found if found == to => return Ok(true),
                Fence::Closed => return Ok(false),
                _ if doorbuster_clock::since(begun) >= self.options.settle_timeout => {
                    return Err(ReadError::Failed(format!("the fence of bucket {bucket} of log {log} cannot be set")));
                }
                _ => pauses.pause().await,
            }
        }
    }

    /// The log that this process appends the shard's records to; a new one if there is none, or if the last is over (rule N7).
    pub(super) async fn log_for(&self, logs: &Logs, shard: Shard) -> Result<Arc<OwnLog>, ClaimError> {
        let none = || ClaimError::Corrupt(format!("there is no shard {shard}"));
        let part = logs.part(shard).ok_or_else(none)?;
        let _turn = part.turn.lock().await;
        let current = part.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(log) = current {
            let _settled = log.turn().await;
            // One that was closed while nothing was written to it would be named by a row that nobody could append under.
            if !log.is_over() && self.is_log_open(&log).await.map_err(claim_error)? {
                return Ok(Arc::clone(&log));
            }
        }
        let log = Arc::new(OwnLog::new(logs.begun.fetch_add(1, Ordering::Relaxed).saturating_add(1)));
        if !self.set_own_fence(log.name, 0, Fence::Never, Fence::Open).await.map_err(claim_error)? {
            return Err(ClaimError::Corrupt(format!("log {} was closed before it began", log.name)));
        }
        tracing::info!(log = %log.name, number = log.number, "a log begins");
        *part.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&log));
        Ok(log)
    }

    /// Rule N2: a full bucket is sealed, and then the next is opened. `false`: the log was closed by another process. By who has the turn and has begun
    /// a write.
    pub(super) async fn roll_if_full(&self, log: &OwnLog) -> Result<bool, ReadError> {
        let (bucket, is_full) = {
            let state = log.state();
            let is_full = state.rows >= self.options.log_bucket_rows.max(1) || state.bytes >= LOG_BUCKET_BYTES;
            (state.bucket, is_full || state.roll_due)
        };
        if !is_full {
            return Ok(true);
        }
        let next = bucket.saturating_add(1);
        if !self.set_own_fence(log.name, bucket, Fence::Open, Fence::Sealed).await?
            || !self.set_own_fence(log.name, next, Fence::Never, Fence::Open).await?
        {
            return Ok(false);
        }
        let mut state = log.state();
        let newest = std::mem::take(&mut state.newest);
        (state.bucket, state.rows, state.bytes, state.roll_due) = (next, 0, 0, false);
        drop(state);
        self.full_buckets.add(FullBucket { log: log.name, bucket, newest });
        Counts::add(&self.counts.rolls);
        Ok(true)
    }

    /// Another process has closed the log: all shards in it are lost (rule N7).
    pub(super) fn log_is_lost(&self, log: &OwnLog) {
        Counts::add(&self.counts.fenced);
        let mut state = log.state();
        if std::mem::replace(&mut state.lost, true) {
            return;
        }
        let bucket = FullBucket { log: log.name, bucket: state.bucket, newest: std::mem::take(&mut state.newest) };
        drop(state);
        tracing::info!(log = %log.name, "the log was closed by another process");
        self.full_buckets.add(bucket);
    }

    /// Rule O4: whether the log is open where the next row goes, which says so for all its shards. By who has the turn.
    pub(super) async fn is_log_open(&self, log: &OwnLog) -> Result<bool, ReadError> {
        let (bucket, lost) = {
            let state = log.state();
            (state.bucket, state.lost)
        };
        if !lost && self.fence(log.name, bucket).await? == Fence::Open {
            return Ok(true);
        }
        self.log_is_lost(log);
        Ok(false)
    }

    /// The first bucket of a log that may hold rows.
    pub(super) async fn first_bucket(&self, log: Uuid) -> Result<u64, ReadError> {
        let row = self.first::<(Option<i32>,)>(&self.statements.first_bucket, (log,)).await?;
        number("a bucket", i64::from(row.and_then(|(bucket,)| bucket).unwrap_or(0)))
    }

    /// Rule N8: deletes the rows of each full bucket whose events are stored, of whatever shards. Another sweep under way does it instead.
    pub(super) async fn delete_full_buckets(&self, owners: &Owners) -> Result<(), ReadError> {
        let Ok(_turn) = self.full_buckets.turn.try_lock() else { return Ok(()) };
        let logs: Vec<Uuid> = self.full_buckets.lock().keys().copied().collect();
        let mut flushed = BTreeMap::new();
        for log in logs {
            while let Some(oldest) = self.full_buckets.front(log) {
                if !self.is_stored(owners, &oldest, &mut flushed).await? {
                    break;
                }
                self.delete_oldest(&oldest).await?;
                self.full_buckets.deleted(log);
            }
        }
        Ok(())
    }

    /// Whether `flushed_upto` of each shard in a bucket covers it. Shards of this process are looked at first, because that costs nothing.
    pub(super) async fn is_stored(
        &self,
        owners: &Owners,
        bucket: &FullBucket,
        flushed: &mut BTreeMap<Shard, Seq>,
    ) -> Result<bool, ReadError> {
        let mut elsewhere = Vec::new();
        {
            let owned = owners.lock();
            for (shard, newest) in &bucket.newest {
                match owned.get(shard) {
                    Some(owned) if owned.flushed < *newest => return Ok(false),
                    Some(_) => {}
                    None => elsewhere.push((*shard, *newest)),
                }
            }
        }
        for (shard, newest) in elsewhere {
            let known = match flushed.get(&shard) {
                Some(known) => *known,
                None => self.progress(shard).await?,
            };
            flushed.insert(shard, known);
            if known < newest {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes the rows of a bucket with the write time of the last one: no clock takes part, and the fence stays.
    pub(super) async fn delete_rows(&self, log: Uuid, bucket: u64) -> Result<(), ReadError> {
        if let Some((position, at)) = self.last_row(log, bucket).await? {
            self.write(&self.statements.delete_rows, (at, log, bucket_key(bucket), position)).await?;
        }
        Counts::add(&self.counts.buckets_deleted);
        tracing::debug!(%log, bucket, "a bucket of a log was deleted");
        Ok(())
    }

    /// The position of a bucket's last row, and when it was written.
    pub(super) async fn last_row(&self, log: Uuid, bucket: u64) -> Result<Option<(i64, i64)>, ReadError> {
        let key = (log, bucket_key(bucket));
        let last = self.first::<(Option<i64>, Option<i64>)>(&self.statements.written_at, key).await?;
        // A bucket without rows shows its fence alone.
        Ok(last.and_then(|(position, at)| position.zip(at)))
    }

    /// Deletes the oldest bucket of a log: what comes behind it may be read first from now on.
    async fn delete_oldest(&self, full: &FullBucket) -> Result<(), ReadError> {
        self.delete_rows(full.log, full.bucket).await?;
        let next = full.bucket.saturating_add(1);
        self.write(&self.statements.put_first_bucket, (timestamp(next), bucket_key(next), full.log)).await
    }
}

/// A position as a value of a statement.
pub(super) fn position_key(position: u64) -> i64 {
    bigint(position)
}
