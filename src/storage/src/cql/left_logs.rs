//! What is left in logs that no shard's row names any more (rule N8).
//!
//! A bucket is deleted by whoever knows of it: the log's own process, or one that has read the log for a claim. Both can end in between; a process that is
//! drained and stopped leaves the last bucket of its log. What lies there is stored long since, personal data among it, and nobody would look at it again.

use super::log::{Fence, FullBucket};
use super::options::Counts;
use super::owned::Owners;
use super::session::{Cql, number};
use crate::journal::{ReadError, Seq, Shard};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

impl Cql {
    /// Deletes the rows of logs that no shard's row names, once all they hold is stored; gives the number of buckets. Such a log is closed first: a process
    /// that still has it has no shard in it, and begins another with its next claim.
    ///
    /// Fences are never deleted, so the list of buckets grows with the store: it is gone through a page at a time, and one that was emptied costs the read of
    /// a row that is not there. They come in no order, so nothing is concluded from one about another.
    pub(super) async fn delete_left_logs(&self, owners: &Owners) -> Result<usize, ReadError> {
        let named = self.named_logs().await?;
        let (mut deleted, mut state) = (0_usize, None);
        loop {
            let (buckets, next) = self.page::<(Uuid, i32)>(&self.statements.all_buckets, &(), state).await?;
            for (log, bucket) in buckets {
                let bucket = number("a bucket", i64::from(bucket))?;
                if !named.contains(&log) && self.delete_if_stored(owners, log, bucket).await? {
                    deleted = deleted.saturating_add(1);
                }
            }
            state = next;
            if state.is_none() {
                return Ok(deleted);
            }
        }
    }

    /// The logs that the rows of the shards name.
    async fn named_logs(&self) -> Result<BTreeSet<Uuid>, ReadError> {
        let mut named = BTreeSet::new();
        for shard in 0..self.options.layout.shards {
            let row = self.owner(Shard(shard)).await?.unwrap_or_default();
            named.extend(row.named());
        }
        Ok(named)
    }

    async fn delete_if_stored(&self, owners: &Owners, log: Uuid, bucket: u64) -> Result<bool, ReadError> {
        if self.last_row(log, bucket).await?.is_none() {
            return Ok(false);
        }
        let (fence, newest) = self.newest_in(log, bucket).await?;
        let full = FullBucket { log, bucket, newest };
        // Rows first, `flushed_upto` after them (rule N4).
        if full.newest.is_empty() || !self.is_stored(owners, &full, &mut BTreeMap::new()).await? {
            return Ok(false);
        }
        // In an open bucket a place that becomes free could be taken again.
        if fence == Fence::Open {
            if self.named_logs().await?.contains(&log) || !self.set_fence(log, bucket, fence, Fence::Closed).await {
                return Ok(false);
            }
            Counts::add(&self.counts.logs_closed);
            if self.newest_in(log, bucket).await?.1 != full.newest {
                return Ok(false);
            }
        }
        self.delete_rows(log, bucket).await?;
        Ok(true)
    }

    /// The fence of a bucket, and the newest event of each shard in it.
    async fn newest_in(&self, log: Uuid, bucket: u64) -> Result<(Fence, BTreeMap<Shard, Seq>), ReadError> {
        let (fence, records) = self.read_bucket(log, bucket).await?;
        Ok((fence, records.iter().map(|record| (record.shard, record.last_seq())).collect()))
    }
}
