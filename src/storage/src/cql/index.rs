//! The indexes of lists, which all nodes share (rules V4 to V6).
//!
//! ```text
//! index_windows   build, question           → (window, slot) that have rows
//! index_rows      build, question, window, slot │ key → value
//! index_entries   build, shard, entity      → seq, body
//! index_cursors   build │ shard             → seq, at
//! index_builds    name │ version            → generation, by compare-and-set
//! ```
//!
//! A write is several statements, in this order: windows, new rows, removals, entries, cursor. All carry the seq of the event that changed the row as
//! their time, so what a former owner writes late loses against its successor's, or is the same. What a crash in the middle leaves is put right when the
//! same events come again: see [`IndexStore::is_shared`].

use super::history::entity_key;
use super::options::{Counts, TIMESTAMP_BASE};
use super::session::{Cql, Pauses, append_error, bigint, number, shard_key, timestamp};
use crate::index::{Breadth, Build, Changes, Cursor, IndexStore, Kept, PARTITION_BYTES_MAX, Row, RowChange};
use crate::journal::{AppendError, ReadError, Shard};
use crate::keyed::KeyedSet;
use bytes::Bytes;
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use futures_util::{StreamExt, TryStreamExt, stream};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row as CqlRow};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most rows of one partition in one write.
const ROWS_TOGETHER: usize = 64;
/// The most partitions that a page reads at once. More: a page over many small windows waits less. Fewer: it reads less that it does not show.
const PLACES_AT_ONCE: usize = 16;
/// The most windows and slots that are read at once; more than any question has slots.
const WINDOWS_AT_ONCE: usize = 64;
/// The most windows and slots that are remembered as having a row of their own.
const WINDOWS_KNOWN_MAX: usize = 65_536;
/// The time of a removal: later than everything that may still be written to a build that was replaced.
const FOR_EVER: i64 = i64::MAX;

/// A window and a slot of a question.
type Place = (i64, i32);

/// The index store of a cluster. Clones are the same store.
#[derive(Debug, Clone)]
pub struct CqlIndex {
    cql: Arc<Cql>,
    /// Which windows and slots have a row in the directory.
    known: Arc<Mutex<KeyedSet<Vec<u8>>>>,
}

/// A build's name in keys.
fn named(build: Build) -> String {
    format!("{}/{}/{}", build.name, build.version, build.generation)
}

/// The window of a key: the upper bits of its first eight bytes, which are a time.
fn window_of(breadth: Breadth, key: &[u8]) -> i64 {
    let Some(bits) = breadth.window_bits() else { return 0 };
    let mut first = [0; 8];
    first.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    i64::try_from(u64::from_be_bytes(first) >> bits).unwrap_or(i64::MAX)
}

/// The slot of a key. For ever the same, on every node.
fn slot_of(breadth: Breadth, key: &[u8]) -> i32 {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    i32::try_from((hash ^ (hash >> 15)) % u32::from(breadth.slots().max(1))).unwrap_or(0)
}

fn rows_max(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

fn cursor_of(row: &(i32, Option<i64>, Option<i64>)) -> Result<(Shard, Cursor), ReadError> {
    let shard = u16::try_from(row.0)
        .map_err(|_negative_or_large| ReadError::Corrupt(format!("an index has a shard {}", row.0)))?;
    let seq = number("a cursor's seq", row.1.unwrap_or_default())?;
    let at = number("a cursor's moment", row.2.unwrap_or_default())?;
    Ok((Shard(shard), Cursor { seq, at: Timestamp(at) }))
}

impl CqlIndex {
    pub(super) fn new(cql: Arc<Cql>) -> Self {
        Self { cql, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, KeyedSet<Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the windows and slots of new rows in the directory: before the rows, so that no row is where no reader looks.
    async fn open_windows(
        &self,
        build: &str,
        rows: &BTreeMap<(&Bytes, Place), Vec<&RowChange>>,
    ) -> Result<(), AppendError> {
        let mut missing = Vec::new();
        for ((partition, (window, slot)), rows) in rows {
            if rows.iter().all(|row| row.breadth.window_bits().is_none()) {
                continue;
            }
            let name = [build.as_bytes(), &window.to_be_bytes(), &slot.to_be_bytes(), partition].concat();
            if !self.known().contains(&name) {
                missing.push((name, partition.to_vec(), *window, *slot));
            }
        }
        let mut writes = Vec::with_capacity(missing.len());
        for (_, partition, window, slot) in &missing {
            let values = (build, partition, *window, *slot, TIMESTAMP_BASE);
            writes.push(self.cql.write(&self.cql.statements.put_index_window, values));
        }
        self.cql.in_parallel(writes.into_iter()).await?;
        let mut known = self.known();
        if known.len().saturating_add(missing.len()) > WINDOWS_KNOWN_MAX {
            known.clear();
        }
        known.extend(missing.into_iter().map(|(name, ..)| name).take(WINDOWS_KNOWN_MAX));
        Ok(())
    }

    async fn put_rows(
        &self,
        build: &str,
        rows: &BTreeMap<(&Bytes, Place), Vec<&RowChange>>,
    ) -> Result<(), AppendError> {
        let mut writes = Vec::new();
        for ((partition, (window, slot)), rows) in rows {
            for rows in rows.chunks(ROWS_TOGETHER) {
                let values = rows.iter().map(|row| {
                    let value = row.value.as_deref().unwrap_or_default();
                    let at = timestamp(row.seq);
                    (build, partition.to_vec(), *window, *slot, row.key.to_vec(), value.to_vec(), at)
                });
                writes.push(self.cql.write_together(&self.cql.statements.put_index_row, values.collect()));
            }
        }
        self.cql.in_parallel(writes.into_iter()).await
    }

    /// The windows and slots of a question that may have rows from this key on, those of a window together, at most about [`WINDOWS_AT_ONCE`];
    /// and the window where the next begin, if there are more.
    async fn places(
        &self,
        build: &str,
        partition: &[u8],
        breadth: Breadth,
        from: i64,
    ) -> Result<(Vec<Place>, Option<i64>), ReadError> {
        if breadth.window_bits().is_none() {
            return Ok(((0..i32::from(breadth.slots())).map(|slot| (0, slot)).collect(), None));
        }
        let values = (build, partition, from, rows_max(WINDOWS_AT_ONCE));
        let mut places = self.cql.all::<Place>(&self.cql.statements.index_windows, values).await?;
        if places.len() < WINDOWS_AT_ONCE {
            return Ok((places, None));
        }
        // The last window may have more slots.
        let last = places.last().map_or(from, |(window, _)| *window);
        places.retain(|(window, _)| *window != last);
        Ok((places, Some(last)))
    }

    /// Whole windows, as many as [`PLACES_AT_ONCE`] holds, at least one.
    fn next_windows(places: &[Place]) -> usize {
        let mut taken: usize = 0;
        for windows in places.chunk_by(|one, other| one.0 == other.0) {
            if taken > 0 && taken.saturating_add(windows.len()) > PLACES_AT_ONCE {
                break;
            }
            taken = taken.saturating_add(windows.len());
        }
        taken
    }

    async fn rows_of(
        &self,
        build: &str,
        partition: &[u8],
        (window, slot): Place,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let values = (build, partition, window, slot, from, rows_max(limit));
        let rows = self.cql.all::<(Vec<u8>, Option<Vec<u8>>)>(&self.cql.statements.index_rows, values).await?;
        Ok(rows
            .into_iter()
            .map(|(key, value)| Row { key: key.into(), value: value.unwrap_or_default().into() })
            .collect())
    }

    async fn entry(&self, build: &str, shard: Shard, entity: &EntityId) -> Result<Option<Kept>, ReadError> {
        let values = (build, shard_key(shard), entity_key(entity));
        let row = self.cql.first::<(Option<i64>, Option<Vec<u8>>)>(&self.cql.statements.index_entry, values);
        let Some((Some(seq), body)) = row.await? else { return Ok(None) };
        let seq = number("an entry's seq", seq)?;
        Ok(Some(Kept { entity: entity.clone(), seq, body: body.unwrap_or_default().into() }))
    }

    async fn stored_generation(&self, name: &str, version: u32) -> Result<Option<u32>, ReadError> {
        let values = (name, i64::from(version));
        let row = self.cql.first::<(Option<i64>,)>(&self.cql.statements.index_build, values).await?;
        let Some((Some(generation),)) = row else { return Ok(None) };
        let damaged = |_| ReadError::Corrupt(format!("the index {name} has a generation {generation}"));
        u32::try_from(generation).map(Some).map_err(damaged)
    }

    /// One attempt to let a build take the place of another. An error: its outcome is unknown.
    async fn compare_and_set(&self, build: Build, stored: Option<u32>) -> Result<bool, String> {
        let (version, generation) = (i64::from(build.version), i64::from(build.generation));
        let statements = &self.cql.statements;
        let answer = match stored {
            None => self.cql.transact(&statements.first_index_build, (generation, build.name, version)).await?,
            Some(stored) => {
                let values = (generation, build.name, version, i64::from(stored));
                self.cql.transact(&statements.next_index_build, values).await?
            }
        };
        Ok(answer.applied)
    }
}

impl IndexStore for CqlIndex {
    fn is_shared(&self) -> bool {
        true
    }

    async fn cursors(&self, build: Build) -> Result<BTreeMap<Shard, Cursor>, ReadError> {
        let rows = self.cql.all::<(i32, Option<i64>, Option<i64>)>(&self.cql.statements.index_cursors, (named(build),));
        rows.await?.iter().map(cursor_of).collect()
    }

    async fn kept(&self, build: Build, shard: Shard, entities: &[EntityId]) -> Result<Vec<Option<Kept>>, ReadError> {
        let build = named(build);
        let mut reads = Vec::with_capacity(entities.len());
        for entity in entities {
            reads.push(self.entry(&build, shard, entity));
        }
        stream::iter(reads).buffered(self.cql.options.writes_in_flight_max.max(1)).try_collect().await
    }

    async fn write(&self, build: Build, shard: Shard, changes: Changes, cursor: Cursor) -> Result<(), AppendError> {
        let build = named(build);
        let mut new: BTreeMap<(&Bytes, Place), Vec<&RowChange>> = BTreeMap::new();
        let mut gone = Vec::new();
        for row in &changes.rows {
            if row.partition.len() > PARTITION_BYTES_MAX {
                return Err(AppendError::Failed(format!("a partition of the index of {} bytes", row.partition.len())));
            }
            let place = (window_of(row.breadth, &row.key), slot_of(row.breadth, &row.key));
            match row.value {
                Some(_) => new.entry((&row.partition, place)).or_default().push(row),
                None => gone.push((row, place)),
            }
        }
        self.open_windows(&build, &new).await?;
        self.put_rows(&build, &new).await?;
        let mut removals = Vec::with_capacity(gone.len());
        for (row, (window, slot)) in gone {
            let values = (timestamp(row.seq), build.as_str(), row.partition.to_vec(), window, slot, row.key.to_vec());
            removals.push(self.cql.write(&self.cql.statements.delete_index_row, values));
        }
        self.cql.in_parallel(removals.into_iter()).await?;
        let mut entries = Vec::with_capacity(changes.kept.len());
        for kept in &changes.kept {
            let (seq, body) = (bigint(kept.seq), kept.body.to_vec());
            let entity = entity_key(&kept.entity);
            let values = (build.as_str(), shard_key(shard), entity, seq, body, timestamp(kept.seq));
            entries.push(self.cql.write(&self.cql.statements.put_index_entry, values));
        }
        self.cql.in_parallel(entries.into_iter()).await?;
        let at = bigint(cursor.at.0);
        let values = (build.as_str(), shard_key(shard), bigint(cursor.seq), at, timestamp(cursor.seq));
        self.cql.write(&self.cql.statements.put_index_cursor, values).await.map_err(append_error)
    }

    async fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> Result<(), AppendError> {
        let build = named(build);
        let mut writes = Vec::new();
        for cursors in cursors.chunks(ROWS_TOGETHER) {
            let mut values = Vec::with_capacity(cursors.len());
            for (shard, cursor) in cursors {
                let (seq, at) = (bigint(cursor.seq), bigint(cursor.at.0));
                values.push((build.as_str(), shard_key(*shard), seq, at, timestamp(cursor.seq)));
            }
            writes.push(self.cql.write_together(&self.cql.statements.put_index_cursor, values));
        }
        self.cql.in_parallel(writes.into_iter()).await
    }

    async fn page(
        &self,
        build: Build,
        question: (&[u8], Breadth),
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let (partition, breadth) = question;
        // What is too long was never written.
        if partition.len() > PARTITION_BYTES_MAX {
            return Ok(Vec::new());
        }
        let build = named(build);
        let mut rows: Vec<Row> = Vec::new();
        let mut begin = window_of(breadth, from);
        loop {
            let (places, next) = self.places(&build, partition, breadth, begin).await?;
            let mut places = places.as_slice();
            while !places.is_empty() && rows.len() < limit {
                let (now, later) = places.split_at(Self::next_windows(places));
                let missing = limit.saturating_sub(rows.len());
                let mut reads = Vec::with_capacity(now.len());
                for place in now {
                    reads.push(self.rows_of(&build, partition, *place, from, missing));
                }
                let read: Vec<Vec<Row>> = stream::iter(reads).buffered(PLACES_AT_ONCE).try_collect().await?;
                let mut read: Vec<Row> = read.into_iter().flatten().collect();
                read.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                rows.extend(read.into_iter().take(missing));
                places = later;
            }
            match next {
                Some(window) if rows.len() < limit => begin = window,
                _ => return Ok(rows),
            }
        }
    }

    async fn generation(&self, name: &'static str, version: u32) -> Result<u32, ReadError> {
        Ok(self.stored_generation(name, version).await?.unwrap_or_default())
    }

    async fn take_over(&self, build: Build, instead_of: u32) -> Result<bool, AppendError> {
        let begun = monotonic();
        let mut pauses = Pauses::new();
        loop {
            let stored = self.stored_generation(build.name, build.version).await.map_err(append_error)?;
            // One that was cut off before its answer finds its own generation.
            if stored == Some(build.generation) {
                return Ok(true);
            }
            if stored.unwrap_or_default() != instead_of {
                return Ok(false);
            }
            match self.compare_and_set(build, stored).await {
                Ok(done) => return Ok(done),
                Err(why) if doorbuster_clock::since(begun) >= self.cql.options.settle_timeout => {
                    return Err(AppendError::Failed(why));
                }
                Err(_) => {
                    Counts::add(&self.cql.counts.unknown_outcomes);
                    pauses.pause().await;
                }
            }
        }
    }

    async fn remove(&self, build: Build) -> Result<(), AppendError> {
        let build = named(build);
        let statements = &self.cql.statements;
        self.cql.write(&statements.remove_index_cursors, (FOR_EVER, build.as_str())).await.map_err(append_error)?;
        for (listed, removal) in [
            (&statements.all_index_rows, &statements.remove_index_rows),
            (&statements.all_index_windows, &statements.remove_index_windows),
            (&statements.all_index_entries, &statements.remove_index_entry),
        ] {
            self.remove_partitions(&build, listed, removal).await?;
        }
        Ok(())
    }
}

impl CqlIndex {
    /// Goes through the partitions of all builds in a table, because nothing knows those of one. A partition's first column is its build; `removal` takes a
    /// time and all of them.
    async fn remove_partitions(
        &self,
        build: &str,
        listed: &PreparedStatement,
        removal: &PreparedStatement,
    ) -> Result<(), AppendError> {
        let mut state = None;
        loop {
            let (partitions, next) = self.cql.page::<CqlRow>(listed, &(), state).await.map_err(append_error)?;
            let mut removals = Vec::new();
            for CqlRow { columns } in partitions {
                let is_of_build = columns.first().and_then(Option::as_ref).and_then(CqlValue::as_text);
                if is_of_build.is_some_and(|name| name == build) {
                    let values: Vec<_> = [Some(CqlValue::BigInt(FOR_EVER))].into_iter().chain(columns).collect();
                    removals.push(self.cql.write(removal, values));
                }
            }
            self.cql.in_parallel(removals.into_iter()).await?;
            state = next;
            if state.is_none() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_order_are_in_windows_in_order_and_a_key_is_always_in_one_place() {
        let keys: Vec<Vec<u8>> = [0_u64, 1 << 20, 1 << 22, 1 << 28, 1 << 40, u64::MAX]
            .iter()
            .map(|time| [&time.to_be_bytes()[..], b"id"].concat())
            .collect();
        for breadth in [Breadth::Few, Breadth::Own, Breadth::Shop] {
            let windows: Vec<i64> = keys.iter().map(|key| window_of(breadth, key)).collect();
            assert!(windows.is_sorted(), "{windows:?}");
            let slots: Vec<i32> = keys.iter().map(|key| slot_of(breadth, key)).collect();
            assert!(slots.iter().all(|slot| (0..i32::from(breadth.slots())).contains(slot)), "{slots:?}");
        }
        // What is stored says so for ever.
        assert_eq!((window_of(Breadth::Shop, &keys[4]), slot_of(Breadth::Shop, &keys[4])), (1 << 18, 4));
        assert_eq!(window_of(Breadth::Shop, b"a"), window_of(Breadth::Shop, b"a\0"));
    }

    #[test]
    fn a_page_reads_whole_windows() {
        let places = [(1, 0), (1, 3), (2, 0), (3, 1)];
        assert_eq!(CqlIndex::next_windows(&places), 4);
        let wide: Vec<Place> = (0..6).flat_map(|window| (0..7).map(move |slot| (window, slot))).collect();
        assert_eq!(CqlIndex::next_windows(&wide), 14, "two windows of seven, and not a part of the third");
        let widest: Vec<Place> = (0..20).map(|slot| (1, slot)).collect();
        assert_eq!(CqlIndex::next_windows(&widest), 20);
    }
}
