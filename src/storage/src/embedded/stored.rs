//! Reads over the whole data folder: tables and log together.

use super::folder::OpenError;
use super::history;
use super::log::{LogError, LogReader, Recovered};
use super::tables::Tables;
use crate::journal::{ReadError, Record, Seq, Shard};
use crate::wire;
use doorbuster_domain::ids::EntityId;
use std::collections::BTreeMap;
use std::path::Path;

/// Tables and log of one folder.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) tables: Tables,
    pub(super) log: LogReader,
}

pub(super) fn log_error(error: &LogError) -> ReadError {
    if error.is_corruption() { ReadError::Corrupt(error.to_string()) } else { ReadError::Failed(error.to_string()) }
}

impl Stored {
    /// Rule L7: checks that tables and log join. Returns `flushed_upto` of each shard.
    pub(super) fn check(&self, folder: &Path, recovered: &Recovered) -> Result<BTreeMap<Shard, Seq>, OpenError> {
        let tables = |error: ReadError| OpenError::Tables { folder: folder.to_owned(), why: error.to_string() };
        let flushed = self.tables.flushed_upto().map_err(tables)?;
        recovered.check_flushed(&flushed)?;
        for (shard, flushed) in &flushed {
            if *flushed > 0 && !history::holds(&self.tables, *shard, *flushed).map_err(tables)? {
                let why =
                    format!("shard {shard}: states are stored up to {flushed}, history is not: something was lost");
                return Err(OpenError::Damaged { folder: folder.to_owned(), why });
            }
        }
        Ok(flushed)
    }

    /// The records of a shard in the log, from the one with the event `from` on.
    pub(super) fn log_from(
        &self,
        shard: Shard,
        from: Seq,
    ) -> impl Iterator<Item = Result<Record, ReadError>> + Send + use<> {
        self.log.replay(shard, from).map(|record| record.map_err(|error| log_error(&error)))
    }

    /// The durable records of a shard whose last event is at or after `from`, at the cost of those that are taken.
    pub(super) fn records_from(
        &self,
        shard: Shard,
        from: Seq,
        flushed: Seq,
    ) -> impl Iterator<Item = Result<Record, ReadError>> + Send + use<> {
        // The log's segments are taken now: those that a later checkpoint retires meanwhile stay readable.
        let behind = self.log_from(shard, from.max(flushed.saturating_add(1)));
        history::between(&self.tables, shard, from, flushed).chain(behind)
    }

    /// An entity's records, as [`crate::Journal::history`] gives them.
    pub(super) fn history(
        &self,
        (shard, entity): (Shard, &EntityId),
        flushed: Seq,
        tail: impl Iterator<Item = Result<Record, ReadError>>,
        (from, limit): (u64, usize),
    ) -> Result<Vec<Record>, ReadError> {
        let mut found = history::of_entity(&self.tables, (shard, entity), from, flushed, limit)?;
        for record in tail {
            if found.len() >= limit {
                break;
            }
            let record = record?;
            if wire::reaches(&record.body, entity, from).map_err(|error| ReadError::Corrupt(error.to_string()))? {
                found.push(record);
            }
        }
        Ok(found)
    }
}
