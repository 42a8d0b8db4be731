//! Claiming a shard: rules N3 to N5, one statement at a time.
//!
//! ```text
//! 1 its row ─► released? no ─► 2 fence of a bucket of its log ─► 3 close it ─► 4 rows of each log it names ─► 5 flushed_upto ─► 6 own: claimed
//!                 │               ▲ sealed: the next bucket │                     ▲
//!                 └ yes           └─────────────────────────┘                     └── nothing is closed
//! ```
//!
//! Each step is one statement that decides, so that a test can interleave two claims in every order. The claim takes effect in step 6, a compare-and-set on
//! the epoch that step 1 read, or not at all. Before it nothing is lost but what a former owner had not appended when its log was closed.

use super::log::{Fence, Logs, OwnLog};
use super::options::Counts;
use super::owned::{Owned, Owners, TailRow};
use super::read_log::{LogContents, tail_behind};
use super::session::{Answer, Cql, Pauses, bigint, claim_error, number, shard_key};
use crate::journal::{Claim, ClaimError, Epoch, Group, ReadError, Seq, Shard};
use doorbuster_clock::monotonic;
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

/// The lost compare-and-sets on a fence after which the claim fails.
const CONFLICTS_MAX: u32 = 16;

/// The row of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ownership {
    pub(super) epoch: Epoch,
    /// The log that its owner appends to.
    log: Option<Uuid>,
    released: bool,
    /// The logs that may hold events behind `flushed_upto`.
    pub(super) logs: Vec<Uuid>,
}

impl Ownership {
    /// The logs that may hold events behind `flushed_upto`, or may get some.
    pub(super) fn named(self) -> impl Iterator<Item = Uuid> {
        self.logs.into_iter().chain(self.log.filter(|_| !self.released))
    }
}

impl Ownership {
    pub(super) fn epoch(self) -> Epoch {
        self.epoch
    }
}

/// The next step.
#[derive(Debug)]
enum Stage {
    ReadOwner,
    ReadFence { log: Uuid, bucket: u64 },
    Close { log: Uuid, bucket: u64, found: Fence },
    ReadRows { log: Uuid, bucket: u64 },
    ReadFlushed,
    Own,
}

/// A claim in progress.
#[derive(Debug)]
pub struct Claiming {
    cql: Arc<Cql>,
    owners: Arc<Owners>,
    logs: Arc<Logs>,
    shard: Shard,
    node: String,
    stage: Stage,
    /// The log that its records will go to.
    own: Option<Arc<OwnLog>>,
    found: Ownership,
    /// The logs that are read after the one that is being read.
    unread: VecDeque<Uuid>,
    contents: LogContents,
    /// The shard's part of what was read.
    rows: Vec<TailRow>,
    flushed: Seq,
    conflicts: u32,
}

impl Claiming {
    pub(super) fn new(cql: Arc<Cql>, owners: Arc<Owners>, logs: Arc<Logs>, shard: Shard, node: &str) -> Self {
        Self {
            cql,
            owners,
            logs,
            shard,
            node: node.to_owned(),
            stage: Stage::ReadOwner,
            own: None,
            found: Ownership::default(),
            unread: VecDeque::new(),
            contents: LogContents::default(),
            rows: Vec::new(),
            flushed: 0,
            conflicts: 0,
        }
    }

    /// The log that is closed or read next, if any.
    pub(super) fn log(&self) -> Option<Uuid> {
        match self.stage {
            Stage::ReadFence { log, .. } | Stage::Close { log, .. } | Stage::ReadRows { log, .. } => Some(log),
            Stage::ReadOwner | Stage::ReadFlushed | Stage::Own => None,
        }
    }

    /// Does the next step. `None`: more steps follow.
    ///
    /// # Errors
    /// As [`crate::Journal::claim`]. After an error no further step may be made.
    pub async fn step(&mut self) -> Result<Option<Claim>, ClaimError> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::ReadOwner) {
            Stage::ReadOwner => self.read_owner().await?,
            Stage::ReadFence { log, bucket } => self.read_fence(log, bucket).await?,
            Stage::Close { log, bucket, found } => self.close(log, bucket, found).await?,
            Stage::ReadRows { log, bucket } => self.read_rows(log, bucket).await?,
            Stage::ReadFlushed => {
                self.flushed = self.cql.progress(self.shard).await.map_err(claim_error)?;
                Stage::Own
            }
            Stage::Own => return self.own().await.map(Some),
        };
        Ok(None)
    }

    /// Whether another claim of this process has read the log meanwhile that this one was to read.
    pub(super) async fn look_again(&mut self) -> Result<(), ClaimError> {
        let Some(log) = self.log().filter(|log| self.cql.read_logs.get(*log).is_some()) else { return Ok(()) };
        if matches!(self.stage, Stage::ReadRows { .. }) {
            self.unread.push_front(log);
        }
        self.stage = self.read_next().await?;
        Ok(())
    }

    fn lost(&self) -> ClaimError {
        Counts::add(&self.cql.counts.claims_lost);
        ClaimError::Lost(self.shard)
    }

    async fn read_owner(&mut self) -> Result<Stage, ClaimError> {
        let own = self.cql.log_for(&self.logs, self.shard).await?;
        // What this process had of the shard is over. A row in flight is settled before the log is read.
        self.owners.lock().remove(&self.shard);
        drop(own.turn().await);
        self.found = self.cql.owner(self.shard).await.map_err(claim_error)?.unwrap_or_default();
        self.unread = self.found.logs.iter().copied().collect();
        // A row that names this log is of an earlier claim of this process: nobody else can append to it.
        let closes = self.found.log.filter(|log| !self.found.released && *log != own.name);
        self.own = Some(own);
        match closes {
            Some(log) if self.cql.read_logs.get(log).is_none() => {
                let bucket = self.cql.first_bucket(log).await.map_err(claim_error)?;
                Ok(Stage::ReadFence { log, bucket })
            }
            _ => self.read_next().await,
        }
    }

    /// Rule N3: the first bucket that is not sealed is closed.
    async fn read_fence(&mut self, log: Uuid, bucket: u64) -> Result<Stage, ClaimError> {
        match self.cql.fence(log, bucket).await.map_err(claim_error)? {
            Fence::Sealed => Ok(Stage::ReadFence { log, bucket: bucket.saturating_add(1) }),
            // By another claimant, of whatever shard: that is as good.
            Fence::Closed => self.read_next().await,
            found => Ok(Stage::Close { log, bucket, found }),
        }
    }

    async fn close(&mut self, log: Uuid, bucket: u64, found: Fence) -> Result<Stage, ClaimError> {
        if self.cql.set_fence(log, bucket, found, Fence::Closed).await {
            Counts::add(&self.cql.counts.logs_closed);
            tracing::info!(%log, bucket, shard = self.shard.0, "closed the log of a former owner");
            return self.read_next().await;
        }
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts > CONFLICTS_MAX {
            return Err(ClaimError::Failed(format!("bucket {bucket} of log {log} cannot be closed")));
        }
        Ok(Stage::ReadFence { log, bucket })
    }

    /// Goes on with the next log that has to be read.
    async fn read_next(&mut self) -> Result<Stage, ClaimError> {
        while let Some(log) = self.unread.pop_front() {
            match self.cql.read_logs.get(log) {
                Some(contents) => self.take(log, &contents),
                None => {
                    let bucket = self.cql.first_bucket(log).await.map_err(claim_error)?;
                    return Ok(Stage::ReadRows { log, bucket });
                }
            }
        }
        Ok(Stage::ReadFlushed)
    }

    async fn read_rows(&mut self, log: Uuid, bucket: u64) -> Result<Stage, ClaimError> {
        let fence = self.cql.read_next_bucket(log, bucket, self.shard, &mut self.contents).await;
        match fence.map_err(claim_error)? {
            Fence::Sealed => Ok(Stage::ReadRows { log, bucket: bucket.saturating_add(1) }),
            last => {
                let contents = std::mem::take(&mut self.contents);
                if last == Fence::Closed {
                    let contents = self.cql.keep_closed(log, contents);
                    self.take(log, &contents);
                } else {
                    self.take(log, &contents);
                }
                self.read_next().await
            }
        }
    }

    fn take(&mut self, log: Uuid, contents: &LogContents) {
        let rows = contents.of_shard(self.shard).map(|(bucket, records)| TailRow::of((log, bucket), records.clone()));
        self.rows.extend(rows);
    }

    /// Rule N5.
    async fn own(&mut self) -> Result<Claim, ClaimError> {
        let Some(own) = self.own.clone() else { return Err(self.lost()) };
        let tail = match tail_behind(self.shard, self.flushed, std::mem::take(&mut self.rows)) {
            Ok(tail) => tail,
            // Records are missing because the shard has changed hands since its row was read.
            Err(_) if self.cql.owner(self.shard).await.map_err(claim_error)?.unwrap_or_default() != self.found => {
                return Err(self.lost());
            }
            Err(error) => return Err(claim_error(error)),
        };
        let epoch = self.found.epoch.saturating_add(1);
        let holds = |log: &Uuid| *log != own.name && tail.iter().any(|row| row.at.0 == *log);
        let mut logs: Vec<Uuid> = self.found.logs.iter().copied().filter(holds).collect();
        logs.push(own.name);
        self.compare_and_set(epoch, &own, &logs).await?;
        let end = tail.last().map_or(self.flushed, |row| row.last);
        let claim = Claim { shard: self.shard, epoch, flushed_upto: self.flushed, end, group: Group(own.number) };
        self.owners.put(self.shard, Owned::new(epoch, self.flushed, own, logs, tail));
        self.owners.bound_tails(self.cql.options.tail_bytes_max);
        Counts::add(&self.cql.counts.claims);
        Ok(claim)
    }

    /// A repetition after an unknown outcome finds its own row.
    async fn compare_and_set(&self, epoch: Epoch, own: &OwnLog, logs: &[Uuid]) -> Result<(), ClaimError> {
        let (cql, shard, begun) = (&self.cql, shard_key(self.shard), monotonic());
        let mut pauses = Pauses::new();
        loop {
            let answer: Result<Answer, String> = match epoch {
                1 => cql.transact(&cql.statements.first_owner, (bigint(1), &self.node, own.name, logs, shard)).await,
                _ => {
                    let before = bigint(epoch.saturating_sub(1));
                    let values = (bigint(epoch), &self.node, own.name, logs, shard, before);
                    cql.transact(&cql.statements.next_owner, values).await
                }
            };
            match answer {
                Ok(answer) if answer.applied => return Ok(()),
                Ok(_) => {
                    let row = cql.owner(self.shard).await.map_err(claim_error)?;
                    let is_ours = |row: &Ownership| row.epoch == epoch && row.log == Some(own.name) && !row.released;
                    return if row.as_ref().is_some_and(is_ours) { Ok(()) } else { Err(self.lost()) };
                }
                Err(why) if doorbuster_clock::since(begun) >= cql.options.settle_timeout => {
                    return Err(ClaimError::Failed(why));
                }
                Err(_) => {
                    Counts::add(&cql.counts.unknown_outcomes);
                    pauses.pause().await;
                }
            }
        }
    }
}

/// `epoch`, `log`, `released`, `logs`.
type StoredOwnership = (Option<i64>, Option<Uuid>, Option<bool>, Option<Vec<Uuid>>);

impl Cql {
    /// The seq up to which states are stored.
    pub(super) async fn progress(&self, shard: Shard) -> Result<Seq, ReadError> {
        let row = self.first::<(Option<i64>,)>(&self.statements.progress, (shard_key(shard),)).await?;
        number("flushed_upto", row.and_then(|(flushed,)| flushed).unwrap_or(0))
    }

    /// The row of a shard, read serially.
    pub(super) async fn owner(&self, shard: Shard) -> Result<Option<Ownership>, ReadError> {
        let row = self.first::<StoredOwnership>(&self.statements.owner, (shard_key(shard),)).await?;
        let Some((Some(epoch), log, released, logs)) = row else { return Ok(None) };
        let (released, logs) = (released.unwrap_or(false), logs.unwrap_or_default());
        Ok(Some(Ownership { epoch: number("an epoch", epoch)?, log, released, logs }))
    }
}
