//! The tables: their keys and values.
//!
//! ```text
//! states    f shard                 flushed_upto u64
//!           e shard                 epoch u64: of the last claim
//!           s shard entity chunk    seq u64, body
//!           d shard number          agenda: what a checkpoint changed in it, see `agenda`
//!           a shard entity          the same of a version before this one: owes u8, wake_at u64 or nothing
//!           g                       nothing: rows removed from `personal` may still be in a file, see `forget`
//! history   b shard seq             a block of records, see `history`
//!           i shard entity number   first seq u64 of a block that holds the entity's events from this number on
//! personal  s shard entity          seq u64, body: the state's personal row
//!           p shard seq             personal data of the records of the block with that seq, see `personal`
//!           h shard entity seq      the same of a version before this one: personal data of the record with that seq
//! ```
//!
//! Numbers in keys are big-endian, so keys sort by them; numbers in values are little-endian. `forget` removes erased rows from the disk.

mod agenda;
mod forget;

pub(super) use agenda::AgendaRows;

use super::EmbeddedOptions;
use super::folder::OpenError;
use super::writes::{Table, Writes};
use crate::journal::{AppendError, Epoch, ReadError, Seq, Shard, StateRow};
use crate::wire::{HEAD, PERSONAL, WireError, in_chunks};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The number of files of a keyspace that may overlap before they are merged. Too few: rows written during a sale are copied again and again. Too
/// many: a read of a stored entity looks into more files.
const MERGED_AT: u8 = 8;

/// The database with its keyspaces.
#[derive(Clone)]
pub(super) struct Tables {
    folder: PathBuf,
    /// The first write that failed: after it the database refuses all others without repeating the reason.
    broken: Arc<OnceLock<String>>,
    database: Database,
    states: Keyspace,
    history: Keyspace,
    personal: Keyspace,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tables").finish_non_exhaustive()
    }
}

pub(super) fn key(tag: u8, shard: Shard) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.push(tag);
    key.extend_from_slice(&shard.0.to_be_bytes());
    key
}

pub(super) fn key_of(tag: u8, shard: Shard, entity: &EntityId) -> Vec<u8> {
    let mut key = key(tag, shard);
    entity.write_key(&mut key);
    key
}

pub(super) fn with_u64(mut key: Vec<u8>, number: u64) -> Vec<u8> {
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn state_key(shard: Shard, entity: &EntityId, chunk: u16) -> (Table, Vec<u8>) {
    let mut key = key_of(b's', shard, entity);
    if chunk == PERSONAL {
        return (Table::Personal, key);
    }
    key.extend_from_slice(&chunk.to_be_bytes());
    (Table::States, key)
}

pub(super) fn failed(error: &fjall::Error) -> ReadError {
    match error {
        fjall::Error::Storage(fjall::LsmError::ChecksumMismatch { .. }) => {
            ReadError::Corrupt(format!("the tables are damaged: {error}"))
        }
        error => ReadError::Failed(in_words(error)),
    }
}

/// The database's error in words, with the system's own text if the system refused.
fn in_words(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => error.to_string(),
        fjall::Error::Poisoned => "writing them out failed".to_owned(),
        error => error.to_string(),
    }
}

pub(super) fn corrupt(what: &str) -> ReadError {
    ReadError::Corrupt(format!("the tables are damaged: {what}"))
}

pub(super) fn unreadable(error: &WireError) -> ReadError {
    ReadError::Corrupt(error.to_string())
}

fn number(value: &[u8]) -> Result<u64, ReadError> {
    value.try_into().map(u64::from_le_bytes).map_err(|_length| corrupt("a number that is not one"))
}

impl Tables {
    /// Opens or creates the tables of a folder.
    pub(super) fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, OpenError> {
        let made = if folder.exists() { Ok(()) } else { Self::make(folder, options) };
        let opened = made.and_then(|()| Self::open_in(folder, options));
        opened.map_err(|error| OpenError::Tables { folder: folder.to_owned(), why: in_words(&error) })
    }

    /// Creates the database under another name and renames it once it is complete. A database cut off during its creation cannot be opened, so one kill
    /// during the first start would otherwise make the folder useless.
    fn make(folder: &Path, options: &EmbeddedOptions) -> fjall::Result<()> {
        let aside = folder.with_extension("new");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        let made = Self::open_in(&aside, options)?;
        // Synced here, where a failure is returned: closing syncs too, but without an error.
        made.database.persist(PersistMode::SyncAll)?;
        // Closed before the rename: an open database does not learn its new name.
        drop(made);
        fs::rename(&aside, folder)?;
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(above)?.sync_all()?)
    }

    fn open_in(folder: &Path, options: &EmbeddedOptions) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .worker_threads(options.worker_threads.max(1))
            .max_cached_files(Some(256))
            .max_journaling_size(256 << 20)
            .journal_compression(fjall::CompressionType::None)
            .open()?;
        // Most requested entities were never stored (every new order): a filter of 14 bits a key on every level answers that without reading a
        // block.
        let filter = FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(14.0)));
        let create = || {
            let merge = Leveled::default().with_l0_threshold(MERGED_AT);
            KeyspaceCreateOptions::default()
                .max_memtable_size(options.memtable_bytes)
                .filter_policy(filter.clone())
                .compaction_strategy(Arc::new(merge))
        };
        // Blocks of history are written once and never change. They are stored apart from their keys, so that no merge copies them.
        let create_history = || create().with_kv_separation(Some(KvSeparationOptions::default()));
        Ok(Self {
            states: database.keyspace("states", create)?,
            history: database.keyspace("history", create_history)?,
            personal: database.keyspace("personal", create)?,
            folder: folder.to_owned(),
            broken: Arc::default(),
            database,
        })
    }

    /// Names the files of a failed write: the database's error does not.
    pub(super) fn not_written(&self, error: &fjall::Error) -> AppendError {
        let why = self.broken.get_or_init(|| in_words(error));
        AppendError::Failed(format!("write the tables in {}: {why}", self.folder.display()))
    }

    pub(super) const fn table(&self, table: Table) -> &Keyspace {
        match table {
            Table::States => &self.states,
            Table::History => &self.history,
            Table::Personal => &self.personal,
        }
    }

    /// The value of a row, if there is one.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let found = self.table(table).get(key).map_err(|error| failed(&error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Writes all or nothing. `durable`: this write and everything before it is on the disk afterwards.
    pub(super) fn write(&self, writes: &mut Writes, durable: bool) -> Result<(), AppendError> {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), writes.len());
        if durable {
            batch = batch.durability(Some(PersistMode::SyncAll));
        }
        for (table, key, value) in writes.in_order() {
            match value {
                Some(value) => batch.insert(self.table(table), key, value),
                None => batch.remove(self.table(table), key),
            }
        }
        writes.clear();
        batch.commit().map_err(|error| self.not_written(&error))
    }

    /// `flushed_upto` of each shard that was ever flushed.
    pub(super) fn flushed_upto(&self) -> Result<BTreeMap<Shard, Seq>, ReadError> {
        self.numbers(b'f')
    }

    /// The last epoch of each shard that was ever claimed.
    pub(super) fn epochs(&self) -> Result<BTreeMap<Shard, Epoch>, ReadError> {
        self.numbers(b'e')
    }

    fn numbers(&self, tag: u8) -> Result<BTreeMap<Shard, u64>, ReadError> {
        let mut numbers = BTreeMap::new();
        for row in self.states.prefix([tag]) {
            let (key, value) = row.into_inner().map_err(|error| failed(&error))?;
            let shard = key.get(1..).and_then(|shard| shard.try_into().ok()).map(u16::from_be_bytes);
            let shard = shard.ok_or_else(|| corrupt("a shard that is not one"))?;
            numbers.insert(Shard(shard), number(&value)?);
        }
        Ok(numbers)
    }

    pub(super) fn load(&self, shard: Shard, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        let (_, head) = state_key(shard, entity, HEAD);
        // A point read uses the filters, a scan cannot; an entity without a head row was never stored.
        let Some(head) = self.states.get(&head).map_err(|error| failed(&error))? else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        if in_chunks(entity) {
            for row in self.states.prefix(key_of(b's', shard, entity)) {
                let (key, value) = row.into_inner().map_err(|error| failed(&error))?;
                let chunk = key.last_chunk().copied().map(u16::from_be_bytes).ok_or_else(|| corrupt("a chunk"))?;
                rows.push(state_row(entity, chunk, &value)?);
            }
        } else {
            rows.push(state_row(entity, HEAD, &head)?);
        }
        let (_, personal) = state_key(shard, entity, PERSONAL);
        if let Some(value) = self.personal.get(personal).map_err(|error| failed(&error))? {
            rows.push(state_row(entity, PERSONAL, &value)?);
        }
        Ok(rows)
    }

    pub(super) fn entities(
        &self,
        shard: Shard,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<EntityId>, ReadError> {
        let prefix = key(b's', shard);
        let mut from = after.map_or_else(|| prefix.clone(), |after| behind(shard, after));
        let mut entities: Vec<EntityId> = Vec::new();
        'seek: while entities.len() < limit {
            for row in self.states.range(from.clone()..) {
                let key = row.key().map_err(|error| failed(&error))?;
                if !key.starts_with(&prefix) {
                    break 'seek;
                }
                let entity = entity_in(&key)?;
                if entities.last() == Some(&entity) {
                    // The chunk rows of an entity already found: a new search skips the rest of them.
                    from = behind(shard, &entity);
                    continue 'seek;
                }
                entities.push(entity);
                if entities.len() >= limit {
                    break 'seek;
                }
            }
            break;
        }
        Ok(entities)
    }

    /// Every key of personal data of an entity that has rows of its own.
    pub(super) fn personal_keys(&self, shard: Shard, entity: &EntityId) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut keys = Vec::new();
        for tag in [b's', b'h'] {
            for row in self.personal.prefix(key_of(tag, shard, entity)) {
                keys.push(row.key().map_err(|error| failed(&error))?.to_vec());
            }
        }
        Ok(keys)
    }

    /// Personal data of one record of history, where a version before this one stored it.
    pub(super) fn personal_of(&self, shard: Shard, entity: &EntityId, seq: Seq) -> Result<Option<Bytes>, ReadError> {
        self.get(Table::Personal, &with_u64(key_of(b'h', shard, entity), seq))
    }
}

/// A key after all rows of the entity and before those of the next.
fn behind(shard: Shard, entity: &EntityId) -> Vec<u8> {
    let mut key = key_of(b's', shard, entity);
    key.extend_from_slice(&[0xff; 3]);
    key
}

fn entity_in(key: &[u8]) -> Result<EntityId, ReadError> {
    let entity = key.get(3..).ok_or_else(|| corrupt("a short key"))?;
    EntityId::read_key(entity).map(|(entity, _)| entity).map_err(|error| corrupt(&error.to_string()))
}

fn state_row(entity: &EntityId, chunk: u16, value: &[u8]) -> Result<StateRow, ReadError> {
    let (seq, body) = value.split_first_chunk().ok_or_else(|| corrupt("a state row without its seq"))?;
    let (seq, body) = (u64::from_le_bytes(*seq), Bytes::copy_from_slice(body));
    Ok(StateRow { entity: entity.clone(), chunk, seq, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Layout;
    use doorbuster_domain::time::Timestamp;

    pub(super) fn tables_in(folder: &Path) -> Tables {
        let options = EmbeddedOptions::new(Layout { shards: 1, hash_version: 1 }, || Timestamp(0));
        Tables::open(folder, &options).unwrap()
    }

    /// How many bytes the files of a folder hold.
    fn length_of(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn blocks_of_history_stand_apart_from_what_merges_copy() {
        let folder = tempfile::tempdir().unwrap();
        let tables = tables_in(&folder.path().join("states"));
        let mut dice = 1_u32;
        let mut block = || -> Vec<u8> {
            let mut bytes = || {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                dice.to_be_bytes()
            };
            (0..2_048).flat_map(|_| bytes()).collect()
        };
        let mut writes = Writes::default();
        (0..64).for_each(|first| writes.put(Table::History, &with_u64(key(b'b', Shard(0)), first), &[&block()]));
        let written = writes.bytes();
        tables.write(&mut writes, true).unwrap();
        tables.write_out(&tables.history).unwrap();
        let merged = length_of(&tables.history.path().join("tables"));
        assert!(merged < written as u64 / 10, "{merged} of {written} bytes are copied by each merge");
        assert!(length_of(&tables.history.path().join("blobs")) > written as u64 / 2);
    }
}
