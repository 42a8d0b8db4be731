//! Reads a stopped node's folder without changing it: for `journal dump` and `audit`.
//!
//! It takes the folder's lock, so it never reads a running node's folder. A torn tail is reported and left as it is.

use super::EmbeddedOptions;
use super::folder::{Folder, OpenError};
use super::log::{LogReader, Recovered};
use super::stored::Stored;
use super::tables::Tables;
use crate::journal::{AgendaRow, Layout, ReadError, Record, Seq, Shard, StateRow};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// An open folder of a stopped node.
#[derive(Debug)]
pub struct Stopped {
    stored: Stored,
    flushed: BTreeMap<Shard, Seq>,
    recovered: Recovered,
    folder: Folder,
}

impl Stopped {
    /// Opens a data folder for reading.
    ///
    /// # Errors
    /// [`OpenError`], as for the node itself.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let folder = Folder::open(path)?;
        let options = EmbeddedOptions::new(folder.layout, || Timestamp(0));
        let (log, recovered) = LogReader::open(&folder.log())?;
        let stored = Stored { tables: Tables::open(&folder.tables(), &options)?, log };
        let flushed = stored.check(path, &recovered)?;
        Ok(Self { stored, flushed, recovered, folder })
    }

    /// The layout fixed when the folder was created.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.folder.layout
    }

    /// All shards of the layout.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + use<> {
        (0..self.folder.layout.shards).map(Shard)
    }

    /// The recovered end of the log, and its torn tail.
    #[must_use]
    pub const fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// The position up to which states are stored.
    #[must_use]
    pub fn flushed_upto(&self, shard: Shard) -> Seq {
        self.flushed.get(&shard).copied().unwrap_or(0)
    }

    /// All records of a shard: history, then log.
    pub fn records(&self, shard: Shard) -> impl Iterator<Item = Result<Record, ReadError>> + Send + use<> {
        self.stored.records_from(shard, 1, self.flushed_upto(shard))
    }

    /// The records of one entity, oldest first.
    ///
    /// # Errors
    /// [`ReadError`] if what is stored cannot be read.
    pub fn history(&self, entity: &EntityId) -> Result<Vec<Record>, ReadError> {
        let shard = self.layout().shard_of(entity);
        let flushed = self.flushed_upto(shard);
        let tail = self.stored.log.replay(shard, flushed.saturating_add(1));
        let tail = tail.map(|record| record.map_err(|error| super::stored::log_error(&error)));
        self.stored.history((shard, entity), flushed, tail, (0, usize::MAX))
    }

    /// Entities with a stored state: see [`crate::Journal::entities`].
    ///
    /// # Errors
    /// [`ReadError`] if what is stored cannot be read.
    pub fn entities(&self, shard: Shard, after: Option<&EntityId>, limit: usize) -> Result<Vec<EntityId>, ReadError> {
        self.stored.tables.entities(shard, after, limit)
    }

    /// The stored rows of an entity: its state as of the last checkpoint.
    ///
    /// # Errors
    /// [`ReadError`] if what is stored cannot be read.
    pub fn load(&self, entity: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        self.stored.tables.load(self.layout().shard_of(entity), entity)
    }

    /// The stored agenda of a shard.
    ///
    /// # Errors
    /// [`ReadError`] if what is stored cannot be read.
    pub fn agenda(&self, shard: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        self.stored.tables.agenda(shard)
    }
}
