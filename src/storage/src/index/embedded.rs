//! An index on one machine: a `fjall` database of its own, so that nothing that happens to it touches the journal's tables.
//!
//! ```text
//! data/index/   kept   c build shard          seq u64, at u64: the cursor
//!                      e build shard entity   seq u64, body
//!                      g name 0 version       generation u32
//!               rows   build length partition key → value
//! build = name 0 version generation
//! ```
//!
//! Numbers in keys are big-endian, numbers in values little-endian. One batch writes rows, what is kept and the cursor: after a crash all of a batch is
//! there or nothing. Nothing is synced by itself: after a power cut the cursor is where the disk was, and the rest comes again from the journal.

use super::{Breadth, Build, Changes, Cursor, IndexStore, Kept, PARTITION_BYTES_MAX, Row};
use crate::journal::{AppendError, ReadError, Shard};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// The most keys that one batch of a removal deletes.
const REMOVED_AT_ONCE: usize = 10_000;

/// An index in a folder. Its calls block on the disk, so each runs on a thread that may.
#[derive(Debug)]
pub struct EmbeddedIndex(Arc<Tables>);

struct Tables {
    database: Database,
    kept: Keyspace,
    rows: Keyspace,
    /// Held while a generation is compared and set.
    generations: Mutex<()>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tables").finish_non_exhaustive()
    }
}

/// Memory of an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexOptions {
    /// Memory for blocks that were read, in bytes.
    pub cache_bytes: u64,
    /// Memory of each of the two keyspaces before it is written out, in bytes.
    pub memtable_bytes: u64,
}

/// Why an index could not be opened.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The folder cannot be made or emptied.
    #[error("the folder of the index: {0}")]
    Folder(#[from] io::Error),
    /// The database.
    #[error("open the index: {0}")]
    Database(fjall::Error),
}

impl EmbeddedIndex {
    /// Opens or creates the index in a folder. One that cannot be opened is thrown away and made again, empty: the journal has all that it held.
    ///
    /// # Errors
    /// [`IndexError`], if it cannot be made either.
    pub fn open(folder: &Path, options: IndexOptions) -> Result<Self, IndexError> {
        match Tables::open(folder, options) {
            Ok(tables) => Ok(Self(Arc::new(tables))),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "the index cannot be opened; it is built again from the journal");
                fs::remove_dir_all(folder)?;
                Tables::open(folder, options).map(|tables| Self(Arc::new(tables))).map_err(IndexError::Database)
            }
        }
    }

    async fn blocking<T: Send + 'static, E: Send + 'static>(
        &self,
        act: impl FnOnce(&Tables) -> Result<T, E> + Send + 'static,
        failed: fn(String) -> E,
    ) -> Result<T, E> {
        let tables = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || act(&tables)).await;
        done.unwrap_or_else(|error| Err(failed(error.to_string())))
    }
}

fn key_of_build(tag: Option<u8>, build: Build) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.extend(tag);
    key.extend_from_slice(build.name.as_bytes());
    key.push(0);
    key.extend_from_slice(&build.version.to_be_bytes());
    key.extend_from_slice(&build.generation.to_be_bytes());
    key
}

fn cursor_key(build: Build, shard: Shard) -> Vec<u8> {
    let mut key = key_of_build(Some(b'c'), build);
    key.extend_from_slice(&shard.0.to_be_bytes());
    key
}

fn cursor_value(cursor: Cursor) -> Vec<u8> {
    [cursor.seq.to_le_bytes(), cursor.at.0.to_le_bytes()].concat()
}

fn kept_key(build: Build, shard: Shard, entity: &EntityId) -> Vec<u8> {
    let mut key = key_of_build(Some(b'e'), build);
    key.extend_from_slice(&shard.0.to_be_bytes());
    entity.write_key(&mut key);
    key
}

fn generation_key(name: &str, version: u32) -> Vec<u8> {
    let mut key = vec![b'g'];
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// The beginning of the keys of a partition's rows; `None`: the partition's name is too long.
fn partition_key(build: Build, partition: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(partition.len()).ok().filter(|_| partition.len() <= PARTITION_BYTES_MAX)?;
    let mut key = key_of_build(None, build);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(partition);
    Some(key)
}

fn not_read(error: &fjall::Error) -> ReadError {
    ReadError::Failed(format!("read the index: {error}"))
}

fn not_written(error: &fjall::Error) -> AppendError {
    AppendError::Failed(format!("write the index: {error}"))
}

fn damaged(what: &str) -> ReadError {
    ReadError::Corrupt(format!("the index is damaged: {what}"))
}

fn split_u64(value: &[u8]) -> Option<(u64, &[u8])> {
    value.split_first_chunk::<8>().map(|(number, rest)| (u64::from_le_bytes(*number), rest))
}

impl Tables {
    fn open(folder: &Path, options: IndexOptions) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .worker_threads(1)
            .max_cached_files(Some(128))
            .journal_compression(fjall::CompressionType::None)
            .open()?;
        let create = || KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes);
        Ok(Self {
            kept: database.keyspace("kept", create)?,
            rows: database.keyspace("rows", create)?,
            generations: Mutex::default(),
            database,
        })
    }

    fn cursors(&self, build: Build) -> Result<BTreeMap<Shard, Cursor>, ReadError> {
        let prefix = key_of_build(Some(b'c'), build);
        let mut cursors = BTreeMap::new();
        for row in self.kept.prefix(&prefix) {
            let (key, value) = row.into_inner().map_err(|error| not_read(&error))?;
            let shard = key.strip_prefix(prefix.as_slice()).and_then(|shard| shard.try_into().ok());
            let read = split_u64(&value).and_then(|(seq, rest)| Some((seq, split_u64(rest)?.0)));
            let (shard, (seq, at)) = shard.zip(read).ok_or_else(|| damaged("a cursor"))?;
            cursors.insert(Shard(u16::from_be_bytes(shard)), Cursor { seq, at: Timestamp(at) });
        }
        Ok(cursors)
    }

    fn kept(&self, build: Build, shard: Shard, entity: EntityId) -> Result<Option<Kept>, ReadError> {
        let Some(value) = self.kept.get(kept_key(build, shard, &entity)).map_err(|error| not_read(&error))? else {
            return Ok(None);
        };
        let (seq, body) = split_u64(&value).ok_or_else(|| damaged("what is kept of an entity"))?;
        Ok(Some(Kept { entity, seq, body: Bytes::copy_from_slice(body) }))
    }

    fn write(&self, build: Build, shard: Shard, changes: &Changes, cursor: Cursor) -> Result<(), AppendError> {
        let mut batch = self.database.batch();
        let mut value = Vec::new();
        for kept in &changes.kept {
            value.clear();
            value.extend_from_slice(&kept.seq.to_le_bytes());
            value.extend_from_slice(&kept.body);
            batch.insert(&self.kept, kept_key(build, shard, &kept.entity), value.as_slice());
        }
        for row in &changes.rows {
            let too_long = || AppendError::Failed(format!("a partition of the index of {} bytes", row.partition.len()));
            let mut key = partition_key(build, &row.partition).ok_or_else(too_long)?;
            key.extend_from_slice(&row.key);
            match &row.value {
                Some(value) => batch.insert(&self.rows, key, &**value),
                None => batch.remove(&self.rows, key),
            }
        }
        batch.insert(&self.kept, cursor_key(build, shard), cursor_value(cursor));
        batch.commit().map_err(|error| not_written(&error))
    }

    fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> Result<(), AppendError> {
        let mut batch = self.database.batch();
        for (shard, cursor) in cursors {
            batch.insert(&self.kept, cursor_key(build, *shard), cursor_value(*cursor));
        }
        batch.commit().map_err(|error| not_written(&error))
    }

    fn page(&self, build: Build, partition: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>, ReadError> {
        // What is too long was never written.
        let Some(beginning) = partition_key(build, partition) else { return Ok(Vec::new()) };
        let mut begin = beginning.clone();
        begin.extend_from_slice(from);
        let mut rows = Vec::new();
        for row in self.rows.range(begin..).take(limit) {
            let (key, value) = row.into_inner().map_err(|error| not_read(&error))?;
            let Some(key) = key.strip_prefix(beginning.as_slice()) else { break };
            rows.push(Row { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(&value) });
        }
        Ok(rows)
    }

    fn generation(&self, name: &str, version: u32) -> Result<u32, ReadError> {
        let Some(value) = self.kept.get(generation_key(name, version)).map_err(|error| not_read(&error))? else {
            return Ok(0);
        };
        let value = value.first_chunk().ok_or_else(|| damaged("a generation"))?;
        Ok(u32::from_le_bytes(*value))
    }

    fn take_over(&self, build: Build, instead_of: u32) -> Result<bool, AppendError> {
        let _alone = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.generation(build.name, build.version);
        if read.map_err(|error| AppendError::Failed(error.to_string()))? != instead_of {
            return Ok(false);
        }
        let key = generation_key(build.name, build.version);
        self.kept.insert(key, build.generation.to_le_bytes()).map_err(|error| not_written(&error))?;
        Ok(true)
    }

    /// The cursors go first: a build whose removal was cut short begins at the first event if it is built again.
    fn remove(&self, build: Build) -> Result<(), AppendError> {
        let cursors = key_of_build(Some(b'c'), build);
        let kept = key_of_build(Some(b'e'), build);
        let rows = key_of_build(None, build);
        for (keyspace, prefix) in [(&self.kept, cursors), (&self.kept, kept), (&self.rows, rows)] {
            loop {
                let mut batch = self.database.batch();
                let mut removed: usize = 0;
                for row in keyspace.prefix(&prefix).take(REMOVED_AT_ONCE) {
                    batch.remove(keyspace, row.key().map_err(|error| not_written(&error))?);
                    removed = removed.saturating_add(1);
                }
                batch.commit().map_err(|error| not_written(&error))?;
                if removed < REMOVED_AT_ONCE {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl IndexStore for EmbeddedIndex {
    async fn cursors(&self, build: Build) -> Result<BTreeMap<Shard, Cursor>, ReadError> {
        self.blocking(move |tables| tables.cursors(build), ReadError::Failed).await
    }

    async fn kept(&self, build: Build, shard: Shard, entities: &[EntityId]) -> Result<Vec<Option<Kept>>, ReadError> {
        let entities = entities.to_vec();
        let read =
            move |tables: &Tables| entities.into_iter().map(|entity| tables.kept(build, shard, entity)).collect();
        self.blocking(read, ReadError::Failed).await
    }

    async fn write(&self, build: Build, shard: Shard, changes: Changes, cursor: Cursor) -> Result<(), AppendError> {
        self.blocking(move |tables| tables.write(build, shard, &changes, cursor), AppendError::Failed).await
    }

    async fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> Result<(), AppendError> {
        let cursors = cursors.to_vec();
        self.blocking(move |tables| tables.touch(build, &cursors), AppendError::Failed).await
    }

    async fn page(
        &self,
        build: Build,
        (partition, _): (&[u8], Breadth),
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let (partition, from) = (partition.to_vec(), from.to_vec());
        self.blocking(move |tables| tables.page(build, &partition, &from, limit), ReadError::Failed).await
    }

    async fn generation(&self, name: &'static str, version: u32) -> Result<u32, ReadError> {
        self.blocking(move |tables| tables.generation(name, version), ReadError::Failed).await
    }

    async fn take_over(&self, build: Build, instead_of: u32) -> Result<bool, AppendError> {
        self.blocking(move |tables| tables.take_over(build, instead_of), AppendError::Failed).await
    }

    async fn remove(&self, build: Build) -> Result<(), AppendError> {
        self.blocking(move |tables| tables.remove(build), AppendError::Failed).await
    }
}
