//! History: the records before the last checkpoint, one row each, and an index by entity.
//!
//! Facts and personal data have cells of their own, so that personal data can be erased alone. Every write carries `USING TIMESTAMP base + seq` of
//! its record (rule S3): written twice, by any owner, it is the same row.

use super::session::{Cql, append_error, bigint, bucket_key, number, shard_key, timestamp};
use crate::journal::{AppendError, ReadError, Record, Seq, Shard};
use crate::wire;
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::value::MaybeUnset;
use std::collections::{BTreeMap, BTreeSet};

/// The most rows of one partition in one write.
const TOGETHER_MAX: usize = 200;
/// The most bytes in one write.
const TOGETHER_BYTES: usize = 128 * 1024;
/// The most rows of history read by their seqs at once.
const ROWS_AT_A_TIME: usize = 100;
/// The first byte of personal data; [`ERASED`] is greater, so it wins where both have one timestamp.
const KEPT: u8 = 0;
const ERASED: u8 = 1;

/// `seq`, `epoch`, `events`, `facts`, `personal`.
pub(super) type HistoryRow = (i64, Option<i64>, Option<i32>, Option<Vec<u8>>, Option<Vec<u8>>);
type NewRow = (i32, i32, i64, i64, i32, Vec<u8>, MaybeUnset<Vec<u8>>, i64);
type NewIndex = (i32, Vec<u8>, i64, i64, i64);

/// The key of an entity.
pub(super) fn entity_key(entity: &EntityId) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    entity.write_key(&mut key);
    key
}

/// Personal data in its stored form.
pub(super) fn kept(personal: &[u8]) -> Vec<u8> {
    let mut cell = Vec::with_capacity(personal.len().saturating_add(1));
    cell.push(KEPT);
    cell.extend_from_slice(personal);
    cell
}

/// The stored form of erased personal data.
pub(super) fn erased() -> Vec<u8> {
    vec![ERASED]
}

/// The personal data of a cell; `None`: erased.
pub(super) fn personal_in(cell: &[u8]) -> Option<&[u8]> {
    cell.strip_prefix(&[KEPT])
}

fn unreadable(error: &wire::WireError) -> ReadError {
    ReadError::Corrupt(error.to_string())
}

/// A record with its personal data, unless that is erased.
pub(super) fn record_of(shard: Shard, row: HistoryRow) -> Result<Record, ReadError> {
    let (seq, epoch, events, facts, personal) = row;
    let seq = number("a seq", seq)?;
    let damaged = || ReadError::Corrupt(format!("history of shard {shard}: the row of event {seq} is not whole"));
    let (Some(epoch), Some(events), Some(facts)) = (epoch, events, facts) else { return Err(damaged()) };
    let events = u32::try_from(events).ok().filter(|events| *events > 0).ok_or_else(damaged)?;
    let facts = Bytes::from(facts);
    let body = match personal.as_deref().and_then(personal_in) {
        None => facts,
        Some(personal) => wire::join_personal(&facts, personal).map_err(|error| unreadable(&error))?,
    };
    Ok(Record { shard, epoch: number("an epoch", epoch)?, seq, events, body })
}

/// Splits rows into batches.
fn together<T>(rows: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut all, mut some, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for row in rows {
        bytes = bytes.saturating_add(size(&row));
        some.push(row);
        if bytes >= TOGETHER_BYTES || some.len() >= TOGETHER_MAX {
            all.push(std::mem::take(&mut some));
            bytes = 0;
        }
    }
    if !some.is_empty() {
        all.push(some);
    }
    all
}

impl Cql {
    /// Copies records into history; leaves out the personal data of `gone`.
    pub(super) async fn put_history(
        &self,
        shard: Shard,
        records: &[Record],
        gone: &BTreeSet<EntityId>,
    ) -> Result<(), AppendError> {
        let mut rows: BTreeMap<u64, Vec<NewRow>> = BTreeMap::new();
        let mut index: BTreeMap<Vec<u8>, Vec<NewIndex>> = BTreeMap::new();
        for record in records {
            let damaged =
                |error: wire::WireError| AppendError::Failed(format!("event {} of shard {shard}: {error}", record.seq));
            let head = wire::head(&record.body).map_err(damaged)?;
            let (facts, personal) = wire::split_personal(&record.body).map_err(damaged)?;
            let personal = match personal {
                None => MaybeUnset::Unset,
                Some(_) if gone.contains(&head.entity) => MaybeUnset::Set(erased()),
                Some(personal) => MaybeUnset::Set(kept(&personal)),
            };
            let (seq, at) = (bigint(record.seq), timestamp(record.seq));
            let bucket = self.buckets.of(record.seq);
            let events = i32::try_from(record.events).unwrap_or(i32::MAX);
            rows.entry(bucket).or_default().push((
                shard_key(shard),
                bucket_key(bucket),
                seq,
                bigint(record.epoch),
                events,
                facts.to_vec(),
                personal,
                at,
            ));
            let entity = entity_key(&head.entity);
            let named = (shard_key(shard), entity.clone(), bigint(head.number), seq, at);
            index.entry(entity).or_default().push(named);
        }
        let length =
            |row: &NewRow| row.5.len().saturating_add(if let MaybeUnset::Set(some) = &row.6 { some.len() } else { 0 });
        let rows: Vec<Vec<NewRow>> = rows.into_values().flat_map(|rows| together(rows, length)).collect();
        self.in_parallel(rows.into_iter().map(|rows| self.write_together(&self.statements.put_history, rows))).await?;
        let index: Vec<Vec<NewIndex>> =
            index.into_values().flat_map(|rows| together(rows, |row| row.1.len().saturating_add(24))).collect();
        let put = index.into_iter().map(|rows| self.write_together(&self.statements.put_history_of_entity, rows));
        self.in_parallel(put).await
    }

    /// Makes writes, as many at once as the settings allow.
    pub(super) async fn in_parallel(
        &self,
        writes: impl Iterator<Item = impl Future<Output = Result<(), ReadError>>>,
    ) -> Result<(), AppendError> {
        let writes = stream::iter(writes).buffer_unordered(self.options.writes_in_flight_max.max(1));
        writes.try_collect::<()>().await.map_err(append_error)
    }

    /// Erases an entity's personal data in history up to `upto`.
    pub(super) async fn erase_history(&self, shard: Shard, entity: &EntityId, upto: Seq) -> Result<(), AppendError> {
        let seqs = self.seqs_of_entity(shard, entity, 0, upto, usize::MAX).await.map_err(append_error)?;
        let mut with_personal = Vec::new();
        for row in self.history_rows(shard, &seqs).await.map_err(append_error)? {
            if row.4.as_deref().and_then(personal_in).is_some() {
                with_personal.push(row.0);
            }
        }
        let put = with_personal.into_iter().map(|seq| {
            let bucket = self.buckets.of(u64::try_from(seq).unwrap_or(0));
            let values = (timestamp(upto), erased(), shard_key(shard), bucket_key(bucket), seq);
            self.write(&self.statements.erase_history, values)
        });
        self.in_parallel(put).await
    }

    /// An entity's records up to the shard's event `upto`, from its own event `from` on, at most `limit`.
    pub(super) async fn entity_history(
        &self,
        (shard, entity): (Shard, &EntityId),
        from: u64,
        upto: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let seqs = self.seqs_of_entity(shard, entity, from, upto, limit.saturating_add(1)).await?;
        let mut found = Vec::new();
        for row in self.history_rows(shard, &seqs).await? {
            let record = record_of(shard, row)?;
            if found.len() < limit && wire::reaches(&record.body, entity, from).map_err(|error| unreadable(&error))? {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// The positions of an entity's records in order: the one that holds its event `from`, and the later ones.
    async fn seqs_of_entity(
        &self,
        shard: Shard,
        entity: &EntityId,
        from: u64,
        upto: Seq,
        limit: usize,
    ) -> Result<Vec<i64>, ReadError> {
        let (shard, entity) = (shard_key(shard), entity_key(entity));
        let before = (shard, entity.clone(), bigint(from));
        // A record is filed under its first number, which is at or before the requested one.
        let begin = self.first::<(i64,)>(&self.statements.entity_before, before).await?;
        let begin = begin.map_or(bigint(from), |(number,)| number);
        let mut seqs = Vec::new();
        let (values, mut state) = ((shard, entity, begin), None);
        loop {
            let page = self.page::<(i64, i64)>(&self.statements.entity_from, &values, state).await?;
            let (rows, next) = page;
            for (_, seq) in rows {
                if seq <= bigint(upto) && seqs.len() < limit {
                    seqs.push(seq);
                }
            }
            if next.is_none() || seqs.len() >= limit {
                seqs.sort_unstable();
                return Ok(seqs);
            }
            state = next;
        }
    }

    /// The rows with these seqs, in order.
    async fn history_rows(&self, shard: Shard, seqs: &[i64]) -> Result<Vec<HistoryRow>, ReadError> {
        let mut by_bucket: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for seq in seqs {
            by_bucket.entry(self.buckets.of(u64::try_from(*seq).unwrap_or(0))).or_default().push(*seq);
        }
        let pieces = by_bucket.into_iter().flat_map(|(bucket, seqs)| {
            let pieces: Vec<Vec<i64>> = seqs.chunks(ROWS_AT_A_TIME).map(<[i64]>::to_vec).collect();
            pieces.into_iter().map(move |piece| (bucket, piece))
        });
        let read = pieces.map(|(bucket, piece)| {
            self.all::<HistoryRow>(&self.statements.history_rows, (shard_key(shard), bucket_key(bucket), piece))
        });
        let read = stream::iter(read).buffered(self.options.writes_in_flight_max.max(1));
        let rows: Vec<Vec<HistoryRow>> = read.try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }
}
