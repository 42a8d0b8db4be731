//! History: the records that the log held before the last checkpoint, in blocks, without personal data.
//!
//! ```text
//! block = record record record …       record = epoch u64 │ seq u64 │ events u32 │ length u32 │ body
//! ```
//!
//! A block is keyed by its first seq; so is the row with the personal data of its records, see `personal`. A checkpoint that a crash cut short leaves
//! blocks after `flushed_upto`; the next owner removes them. A version before this one left them to be read twice, so a reader skips the records that
//! it has read.

use super::personal;
use super::tables::{Tables, corrupt, failed, key, key_of, unreadable, with_u64};
use super::writes::{Table, Writes};
use crate::journal::{AppendError, ReadError, Record, Seq, Shard};
use crate::keyed::KeyedMap;
use crate::wire;
use bytes::{Buf, Bytes};
use doorbuster_domain::ids::EntityId;
use std::collections::{BTreeMap, BTreeSet};

/// The length at which a block is complete, in bytes; it is the cost of reading one event of an entity.
const BLOCK_BYTES: usize = 32 * 1024;

/// The blocks that are looked at for one event: more than one only where a version before this one left blocks of a checkpoint that was cut short.
const BLOCKS_LOOKED_AT_MAX: usize = 64;

/// Gathers records into blocks.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    shard: Shard,
    /// Entities whose personal data is erased.
    erased: &'a BTreeSet<EntityId>,
    first: Option<Seq>,
    block: Vec<u8>,
    /// Personal data of the records in the block.
    personal: Vec<u8>,
    /// The entities in the block, each with the number of its first event there.
    entities: KeyedMap<EntityId, u64>,
}

fn block_key(shard: Shard, first: Seq) -> Vec<u8> {
    with_u64(key(b'b', shard), first)
}

fn personal_key(shard: Shard, first: Seq) -> Vec<u8> {
    with_u64(key(b'p', shard), first)
}

fn index_key(shard: Shard, entity: &EntityId, number: u64) -> Vec<u8> {
    with_u64(key_of(b'i', shard, entity), number)
}

impl<'a> Blocks<'a> {
    pub(super) fn new(shard: Shard, erased: &'a BTreeSet<EntityId>) -> Self {
        let (block, personal, entities) = (Vec::new(), Vec::new(), KeyedMap::default());
        Self { shard, erased, first: None, block, personal, entities }
    }

    pub(super) fn push(&mut self, record: &Record, into: &mut Writes) -> Result<(), AppendError> {
        self.block.extend_from_slice(&record.epoch.to_le_bytes());
        self.block.extend_from_slice(&record.seq.to_le_bytes());
        self.block.extend_from_slice(&record.events.to_le_bytes());
        let length_at = self.block.len();
        self.block.extend_from_slice(&[0; size_of::<u32>()]);
        let begin = self.block.len();
        let (head, personal) = wire::take_apart(&record.body, &mut self.block)
            .map_err(|error| AppendError::Failed(format!("event {} of shard {}: {error}", record.seq, self.shard)))?;
        let length = u32::try_from(self.block.len().saturating_sub(begin)).unwrap_or(u32::MAX);
        if let Some(place) = self.block.get_mut(length_at..begin) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        if !personal.is_empty() && !self.erased.contains(&head.entity) {
            personal::push(&mut self.personal, record.seq, personal);
        }
        self.first.get_or_insert(record.seq);
        self.entities.entry(head.entity).or_insert(head.number);
        if self.block.len() >= BLOCK_BYTES {
            self.close(into);
        }
        Ok(())
    }

    /// Completes the current block.
    pub(super) fn close(&mut self, into: &mut Writes) {
        let Some(first) = self.first.take() else { return };
        for (entity, number) in self.entities.drain() {
            into.put(Table::History, &index_key(self.shard, &entity, number), &[&first.to_le_bytes()]);
        }
        into.put(Table::History, &block_key(self.shard, first), &[&self.block]);
        if !self.personal.is_empty() {
            into.put(Table::Personal, &personal_key(self.shard, first), &[&self.personal]);
        }
        self.block.clear();
        self.personal.clear();
    }
}

/// The records of a block, as stored: facts only.
fn records(shard: Shard, block: &[u8]) -> Result<Vec<Record>, ReadError> {
    let damaged = || corrupt("a block of history");
    let mut rest = Bytes::copy_from_slice(block);
    let mut records = Vec::new();
    while !rest.is_empty() {
        let epoch = rest.try_get_u64_le().map_err(|_short| damaged())?;
        let seq = rest.try_get_u64_le().map_err(|_short| damaged())?;
        let events = rest.try_get_u32_le().map_err(|_short| damaged())?;
        let length = rest.try_get_u32_le().map_err(|_short| damaged())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(damaged());
        }
        records.push(Record { shard, epoch, seq, events, body: rest.split_to(length) });
    }
    Ok(records)
}

fn entity_of(record: &Record) -> Result<EntityId, ReadError> {
    wire::head(&record.body).map(|head| head.entity).map_err(|error| unreadable(&error))
}

/// The first seq of the block in a row of the index.
fn first_in(value: &[u8]) -> Result<Seq, ReadError> {
    value.try_into().map(u64::from_le_bytes).map_err(|_length| corrupt("an index row"))
}

/// The first seq of the block in a key.
fn first_of(key: &[u8]) -> Result<Seq, ReadError> {
    key.last_chunk().copied().map(u64::from_be_bytes).ok_or_else(|| corrupt("a key of history"))
}

/// Adds to the records of one block what has not been erased of their personal data.
struct Joined<'a> {
    tables: &'a Tables,
    shard: Shard,
    first: Seq,
    /// The row of the block; read when the first record needs it.
    row: Option<Bytes>,
}

impl<'a> Joined<'a> {
    const fn new(tables: &'a Tables, shard: Shard, first: Seq) -> Self {
        Self { tables, shard, first, row: None }
    }

    fn whole(&mut self, record: Record) -> Result<Record, ReadError> {
        if !wire::lacks_personal(&record.body).map_err(|error| unreadable(&error))? {
            return Ok(record);
        }
        let row = match self.row.take() {
            Some(row) => row,
            None => self.tables.get(Table::Personal, &personal_key(self.shard, self.first))?.unwrap_or_default(),
        };
        let row = self.row.insert(row);
        let joined = |personal: &[u8]| wire::join_personal(&record.body, personal).map_err(|error| unreadable(&error));
        let body = match personal::find(row, record.seq)? {
            Some(personal) => Some(joined(personal)?),
            // Erased, or stored by a version before this one.
            None => {
                let entity = entity_of(&record)?;
                let found = self.tables.personal_of(self.shard, &entity, record.seq)?;
                found.map(|personal| joined(&personal)).transpose()?
            }
        };
        Ok(Record { body: body.unwrap_or(record.body), ..record })
    }
}

/// The first seq of the block that holds the shard's event `seq`, if there is one. It looks at the blocks that begin before it, latest first.
fn block_with(tables: &Tables, shard: Shard, seq: Seq) -> Result<Option<Seq>, ReadError> {
    let blocks = tables.table(Table::History).range(key(b'b', shard)..=block_key(shard, seq));
    for row in blocks.rev().take(BLOCKS_LOOKED_AT_MAX) {
        let (key, block) = row.into_inner().map_err(|error| failed(&error))?;
        if records(shard, &block)?.iter().any(|record| record.seq <= seq && seq <= record.last_seq()) {
            return first_of(&key).map(Some);
        }
    }
    Ok(None)
}

/// Whether history holds the shard's event `seq`.
pub(super) fn holds(tables: &Tables, shard: Shard, seq: Seq) -> Result<bool, ReadError> {
    Ok(block_with(tables, shard, seq)?.is_some())
}

/// The records of a shard whose last event is at or after `from`, up to `upto`, oldest first; a gap is an error. It reads no block before the one with
/// `from`.
pub(super) fn between(
    tables: &Tables,
    shard: Shard,
    from: Seq,
    upto: Seq,
) -> impl Iterator<Item = Result<Record, ReadError>> + Send + use<> {
    let tables = tables.clone();
    let mut next = from.max(1);
    let mut blocks = None;
    let mut block_first = 0;
    let mut ready = Vec::new().into_iter();
    let mut row: Option<Bytes> = None;
    let mut step = move || -> Result<Option<Record>, ReadError> {
        while next <= upto {
            for record in ready.by_ref() {
                let record: Record = record;
                if record.seq > next {
                    return Err(corrupt(&format!("history of shard {shard} misses event {next}")));
                }
                if record.last_seq() >= next && record.last_seq() <= upto {
                    next = record.last_seq().saturating_add(1);
                    let mut joined = Joined { tables: &tables, shard, first: block_first, row: row.take() };
                    let whole = joined.whole(record)?;
                    row = joined.row;
                    return Ok(Some(whole));
                }
            }
            if blocks.is_none() {
                let begin = if next == 1 { 0 } else { block_with(&tables, shard, next)?.unwrap_or(next) };
                let end = block_key(shard, Seq::MAX);
                blocks = Some(tables.table(Table::History).range(block_key(shard, begin)..=end));
            }
            let Some(block) = blocks.as_mut().and_then(Iterator::next) else {
                return Err(corrupt(&format!(
                    "history of shard {shard} ends before event {next}, it should reach {upto}"
                )));
            };
            let (key, block) = block.into_inner().map_err(|error| failed(&error))?;
            (block_first, row) = (first_of(&key)?, None);
            ready = records(shard, &block)?.into_iter();
        }
        Ok(None)
    };
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let stepped = step();
        ended = !matches!(stepped, Ok(Some(_)));
        stepped.transpose()
    })
}

/// An entity's records up to the shard's event `upto`, from the entity's own event `from`, at most `limit`.
pub(super) fn of_entity(
    tables: &Tables,
    (shard, entity): (Shard, &EntityId),
    from: u64,
    upto: Seq,
    limit: usize,
) -> Result<Vec<Record>, ReadError> {
    let prefix = key_of(b'i', shard, entity);
    let asked = with_u64(prefix.clone(), from);
    let index = tables.table(Table::History);
    // The block that holds `from` is filed under its first number, which is at or before `from`.
    let begin = match index.range(prefix.clone()..=asked.clone()).next_back() {
        Some(row) => row.key().map_err(|error| failed(&error))?.to_vec(),
        None => asked,
    };
    let (mut found, mut seen, mut block_seen) = (Vec::new(), 0, None);
    for row in index.range(begin..) {
        let (key, value) = row.into_inner().map_err(|error| failed(&error))?;
        if !key.starts_with(&prefix) || found.len() >= limit {
            break;
        }
        let first = first_in(&value)?;
        if block_seen.replace(first) == Some(first) {
            continue;
        }
        let block = tables.get(Table::History, &block_key(shard, first))?;
        let block = block.ok_or_else(|| corrupt("a block of history is missing"))?;
        let mut joined = Joined::new(tables, shard, first);
        for record in records(shard, &block)? {
            let ours = record.seq > seen && record.last_seq() <= upto && found.len() < limit;
            if ours && wire::reaches(&record.body, entity, from).map_err(|error| unreadable(&error))? {
                seen = record.seq;
                found.push(joined.whole(record)?);
            }
        }
    }
    Ok(found)
}

/// Takes the personal data of erased entities out of the rows of the blocks up to `flushed`.
pub(super) fn erase(
    tables: &Tables,
    shard: Shard,
    erased: &BTreeSet<EntityId>,
    flushed: Seq,
    into: &mut Writes,
) -> Result<(), ReadError> {
    let mut blocks = BTreeSet::new();
    for entity in erased {
        for row in tables.table(Table::History).prefix(key_of(b'i', shard, entity)) {
            let first = first_in(&row.value().map_err(|error| failed(&error))?)?;
            if first <= flushed {
                blocks.insert(first);
            }
        }
    }
    for first in blocks {
        let key = personal_key(shard, first);
        let Some(row) = tables.get(Table::Personal, &key)? else { continue };
        let block = tables.get(Table::History, &block_key(shard, first))?;
        let block = block.ok_or_else(|| corrupt("a block of history is missing"))?;
        let mut seqs = BTreeSet::new();
        for record in records(shard, &block)? {
            if erased.contains(&entity_of(&record)?) {
                seqs.insert(record.seq);
            }
        }
        let left = personal::without(&row, &seqs)?;
        if left.is_empty() {
            into.remove(Table::Personal, &key);
        } else {
            into.put(Table::Personal, &key, &[&left]);
        }
    }
    Ok(())
}

/// Removes one of the blocks after `flushed` with the rows that belong to it; gives `false` when there is none. A checkpoint that was cut short left
/// them: an erasure would not find the personal data in those that the next checkpoint cuts elsewhere.
pub(super) fn remove_one_after(
    tables: &Tables,
    shard: Shard,
    flushed: Seq,
    into: &mut Writes,
) -> Result<bool, ReadError> {
    let behind = block_key(shard, flushed.saturating_add(1))..=block_key(shard, Seq::MAX);
    let Some(row) = tables.table(Table::History).range(behind).next() else { return Ok(false) };
    let (key, block) = row.into_inner().map_err(|error| failed(&error))?;
    let first = first_of(&key)?;
    let mut entities: BTreeMap<EntityId, u64> = BTreeMap::new();
    for record in records(shard, &block)? {
        let head = wire::head(&record.body).map_err(|error| unreadable(&error))?;
        entities.entry(head.entity).or_insert(head.number);
    }
    for (entity, number) in entities {
        into.remove(Table::History, &index_key(shard, &entity, number));
    }
    into.remove(Table::Personal, &personal_key(shard, first));
    into.remove(Table::History, &key);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::{EmbeddedJournal, EmbeddedOptions};
    use super::*;
    use crate::journal::{Batch, Group, Journal, Layout, StateFlush};
    use crate::wire::Head;
    use doorbuster_domain::entity::By;
    use doorbuster_domain::ids::OrderId;
    use doorbuster_domain::time::Timestamp;
    use std::path::Path;

    const SHARD: Shard = Shard(0);

    fn options() -> EmbeddedOptions {
        EmbeddedOptions::new(Layout { shards: 1, hash_version: 1 }, || Timestamp(0))
    }

    fn tables_in(folder: &Path) -> Tables {
        Tables::open(&folder.join("states"), &options()).unwrap()
    }

    fn files_with(folder: &Path, text: &[u8]) -> usize {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let holds = |path: &Path| std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text);
        paths.map(|path| if path.is_dir() { files_with(&path, text) } else { usize::from(holds(&path)) }).sum()
    }

    fn order(number: u64) -> EntityId {
        EntityId::Order(OrderId(u128::from(number) << 16))
    }

    /// Personal data of an order that has nothing in common with that of another: the tables compress what repeats.
    fn secret(seq: Seq) -> Vec<u8> {
        format!("{:032x}", u128::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).into_bytes()
    }

    /// An order's only record, some 4 KB long: eight of them fill a block.
    fn record(seq: Seq) -> Record {
        let head = Head { entity: order(seq), number: 1, at: Timestamp(seq), by: By::System, events: 1 };
        let body = wire::assemble(&head, 1, |facts| {
            facts.resize(4_500, 7);
            Some(secret(seq))
        });
        Record { shard: SHARD, epoch: 1, seq, events: 1, body }
    }

    fn store(tables: &Tables, seqs: std::ops::RangeInclusive<Seq>) {
        let (erased, mut writes) = (BTreeSet::new(), Writes::default());
        let mut blocks = Blocks::new(SHARD, &erased);
        seqs.for_each(|seq| blocks.push(&record(seq), &mut writes).unwrap());
        blocks.close(&mut writes);
        tables.write(&mut writes, true).unwrap();
    }

    fn read(tables: &Tables, from: Seq, upto: Seq) -> Vec<Record> {
        between(tables, SHARD, from, upto).map(Result::unwrap).collect()
    }

    fn rows(tables: &Tables) -> [usize; 3] {
        let history = tables.table(Table::History);
        let personal = tables.table(Table::Personal).iter().count();
        [history.prefix(key(b'b', SHARD)).count(), history.prefix(key(b'i', SHARD)).count(), personal]
    }

    #[test]
    fn a_page_from_the_middle_reads_no_block_before_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables_in(folder.path());
        store(&tables, 1..=40);
        assert_eq!(rows(&tables), [5, 40, 5]);
        let mut damaged = Writes::default();
        damaged.put(Table::History, &block_key(SHARD, 1), &[b"no block"]);
        damaged.put(Table::History, &block_key(SHARD, 33), &[b"no block"]);
        tables.write(&mut damaged, true).unwrap();
        for from in [9, 13, 32] {
            assert_eq!(read(&tables, from, 32), (from..=32).map(record).collect::<Vec<_>>());
        }
        let page: Vec<_> = between(&tables, SHARD, 14, 40).take(3).map(Result::unwrap).collect();
        assert_eq!(page, [14, 15, 16].map(record), "nor one after it");
        assert!(between(&tables, SHARD, 8, 40).next().unwrap().is_err());
    }

    #[test]
    fn what_a_checkpoint_left_that_was_cut_short_is_removed_with_its_index_and_personal_data() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables_in(folder.path());
        store(&tables, 1..=12);
        let before = rows(&tables);
        store(&tables, 13..=40);
        let mut removed = 0;
        let mut writes = Writes::default();
        while remove_one_after(&tables, SHARD, 12, &mut writes).unwrap() {
            tables.write(&mut writes, false).unwrap();
            removed += 1;
        }
        assert_eq!((removed, rows(&tables)), (4, before));
        assert_eq!(read(&tables, 1, 12), (1..=12).map(record).collect::<Vec<_>>());
    }

    #[test]
    fn an_erasure_leaves_the_others_of_a_block_and_reaches_rows_of_the_version_before() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables_in(folder.path());
        store(&tables, 1..=12);
        // As the version before stored it: a row a record.
        let (mut writes, row) =
            (Writes::default(), tables.get(Table::Personal, &personal_key(SHARD, 1)).unwrap().unwrap());
        for seq in 1..=8 {
            let personal = personal::find(&row, seq).unwrap().unwrap();
            writes.put(Table::Personal, &with_u64(key_of(b'h', SHARD, &order(seq)), seq), &[personal]);
        }
        writes.remove(Table::Personal, &personal_key(SHARD, 1));
        tables.write(&mut writes, true).unwrap();
        assert_eq!(read(&tables, 1, 12), (1..=12).map(record).collect::<Vec<_>>());
        let erased = BTreeSet::from([3, 10].map(order));
        for entity in &erased {
            tables.personal_keys(SHARD, entity).unwrap().iter().for_each(|key| writes.remove(Table::Personal, key));
        }
        erase(&tables, SHARD, &erased, 12, &mut writes).unwrap();
        tables.write(&mut writes, true).unwrap();
        for seq in 1..=12 {
            let whole = record(seq);
            let body = if [3, 10].contains(&seq) { wire::split_personal(&whole.body).unwrap().0 } else { whole.body };
            let expected = Record { body, ..whole };
            assert_eq!(read(&tables, seq, seq), std::slice::from_ref(&expected), "{seq}");
            assert_eq!(of_entity(&tables, (SHARD, &order(seq)), 0, 12, 9).unwrap(), [expected], "{seq}");
        }
    }

    /// Otherwise the next checkpoint cuts other blocks, and an erasure does not find what is in these.
    #[tokio::test]
    async fn the_next_owner_removes_what_a_checkpoint_left_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = EmbeddedJournal::open(folder.path(), options()).unwrap();
        store(journal.tables(), 1..=20);
        journal.claim(SHARD, "node").await.unwrap();
        assert_eq!(rows(journal.tables()), [0, 0, 0]);
    }

    #[tokio::test]
    async fn what_is_erased_from_a_block_is_in_no_file_of_the_tables() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = EmbeddedJournal::open(folder.path(), options()).unwrap();
        let claim = journal.claim(SHARD, "node").await.unwrap();
        let batch = Batch { id: 1, records: (1..=3).map(record).collect() };
        journal.append(Group(0), &batch).await.unwrap();
        journal.checkpoint(&claim, StateFlush::default(), 3).await.unwrap();
        let states = folder.path().join("states");
        assert!(files_with(&states, &secret(2)) > 0);
        let flush = StateFlush { erase: vec![order(2)], ..StateFlush::default() };
        journal.checkpoint(&claim, flush, 3).await.unwrap();
        assert_eq!(files_with(&states, &secret(2)), 0);
        assert!(files_with(&states, &secret(3)) > 0);
        let read: Vec<Record> = journal.page(SHARD, 1, 9).await.unwrap();
        let facts = wire::split_personal(&record(2).body).unwrap().0;
        assert_eq!(read, [record(1), Record { body: facts, ..record(2) }, record(3)]);
    }
}
