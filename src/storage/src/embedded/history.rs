//! History: the records that the log held before the last checkpoint, in blocks, without personal data.
//!
//! ```text
//! block = record record record …       record = epoch u64 │ seq u64 │ events u32 │ length u32 │ body
//! ```
//!
//! A block is keyed by its first seq. A checkpoint that a crash cut short may have left blocks after `flushed_upto`, and the next one may cut
//! the same records into other blocks. Both hold the same records, so a reader skips those it has read.

use super::tables::{Tables, corrupt, failed, key, key_of, unreadable, with_u64};
use super::writes::{Table, Writes};
use crate::journal::{AppendError, ReadError, Record, Seq, Shard};
use crate::wire;
use bytes::{Buf, Bytes};
use doorbuster_domain::ids::EntityId;
use std::collections::{BTreeMap, BTreeSet};

/// The length at which a block is complete, in bytes; it is the cost of reading one event of an entity.
const BLOCK_BYTES: usize = 32 * 1024;

/// Gathers records into blocks.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    shard: Shard,
    /// Entities whose personal data is erased.
    erased: &'a BTreeSet<EntityId>,
    first: Option<Seq>,
    block: Vec<u8>,
    /// The entities in the block, each with the number of its first event there.
    entities: BTreeMap<EntityId, u64>,
}

impl<'a> Blocks<'a> {
    pub(super) const fn new(shard: Shard, erased: &'a BTreeSet<EntityId>) -> Self {
        Self { shard, erased, first: None, block: Vec::new(), entities: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, record: &Record, into: &mut Writes) -> Result<(), AppendError> {
        let damaged = |error: wire::WireError| {
            AppendError::Failed(format!("event {} of shard {}: {error}", record.seq, self.shard))
        };
        let head = wire::head(&record.body).map_err(damaged)?;
        let (facts, personal) = wire::split_personal(&record.body).map_err(damaged)?;
        if let Some(personal) = personal
            && !self.erased.contains(&head.entity)
        {
            let key = with_u64(key_of(b'h', self.shard, &head.entity), record.seq);
            into.put(Table::Personal, &key, &[&personal]);
        }
        self.first.get_or_insert(record.seq);
        self.entities.entry(head.entity).or_insert(head.number);
        self.block.extend_from_slice(&record.epoch.to_le_bytes());
        self.block.extend_from_slice(&record.seq.to_le_bytes());
        self.block.extend_from_slice(&record.events.to_le_bytes());
        self.block.extend_from_slice(&u32::try_from(facts.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.block.extend_from_slice(&facts);
        if self.block.len() >= BLOCK_BYTES {
            self.close(into);
        }
        Ok(())
    }

    /// Completes the current block.
    pub(super) fn close(&mut self, into: &mut Writes) {
        let Some(first) = self.first.take() else { return };
        for (entity, number) in std::mem::take(&mut self.entities) {
            let key = with_u64(key_of(b'i', self.shard, &entity), number);
            into.put(Table::History, &key, &[&first.to_le_bytes()]);
        }
        let key = with_u64(key(b'b', self.shard), first);
        into.put(Table::History, &key, &[&self.block]);
        self.block.clear();
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

/// Adds the personal data that has not been erased.
fn whole(tables: &Tables, record: Record) -> Result<Record, ReadError> {
    let entity = wire::head(&record.body).map_err(|error| unreadable(&error))?.entity;
    match tables.personal_of(record.shard, &entity, record.seq)? {
        None => Ok(record),
        Some(personal) => {
            let body = wire::join_personal(&record.body, &personal).map_err(|error| unreadable(&error))?;
            Ok(Record { body, ..record })
        }
    }
}

/// Whether history holds the shard's event `seq`. It looks at the blocks that begin before it, latest first: normally one block, more where
/// a checkpoint was cut short.
pub(super) fn holds(tables: &Tables, shard: Shard, seq: Seq) -> Result<bool, ReadError> {
    let blocks = tables.table(Table::History).range(key(b'b', shard)..=with_u64(key(b'b', shard), seq));
    for row in blocks.rev().take(64) {
        let block = row.value().map_err(|error| failed(&error))?;
        if records(shard, &block)?.iter().any(|record| record.seq <= seq && seq <= record.last_seq()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All records of a shard up to `upto`, oldest first; a gap is an error.
pub(super) fn all(
    tables: &Tables,
    shard: Shard,
    upto: Seq,
) -> impl Iterator<Item = Result<Record, ReadError>> + Send + use<> {
    let tables = tables.clone();
    let mut blocks = tables.table(Table::History).prefix(key(b'b', shard));
    let mut ready = Vec::new().into_iter();
    let mut next: Seq = 1;
    let mut step = move || -> Result<Option<Record>, ReadError> {
        while next <= upto {
            for record in ready.by_ref() {
                let record: Record = record;
                if record.seq > next {
                    return Err(corrupt(&format!("history of shard {shard} misses event {next}")));
                }
                if record.last_seq() >= next && record.last_seq() <= upto {
                    next = record.last_seq().saturating_add(1);
                    return whole(&tables, record).map(Some);
                }
            }
            let Some(row) = blocks.next() else {
                return Err(corrupt(&format!(
                    "history of shard {shard} ends before event {next}, it should reach {upto}"
                )));
            };
            ready = records(shard, &row.value().map_err(|error| failed(&error))?)?.into_iter();
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
        let first = value.as_ref().try_into().map(u64::from_le_bytes).map_err(|_length| corrupt("an index row"))?;
        if block_seen.replace(first) == Some(first) {
            continue;
        }
        let block = index.get(with_u64(self::key(b'b', shard), first)).map_err(|error| failed(&error))?;
        let block = block.ok_or_else(|| corrupt("a block of history is missing"))?;
        for record in records(shard, &block)? {
            let ours = record.seq > seen && record.last_seq() <= upto && found.len() < limit;
            if ours && wire::reaches(&record.body, entity, from).map_err(|error| unreadable(&error))? {
                seen = record.seq;
                found.push(whole(tables, record)?);
            }
        }
    }
    Ok(found)
}
