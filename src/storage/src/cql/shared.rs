//! Values that all nodes share and only one may create: API keys, and the secret that signs tokens. Written once, read by every node.

use super::options::Counts;
use super::session::{Cql, Pauses};
use crate::journal::ReadError;
use doorbuster_clock::monotonic;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Named values in the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CqlShared {
    cql: Arc<Cql>,
}

impl CqlShared {
    pub(super) const fn new(cql: Arc<Cql>) -> Self {
        Self { cql }
    }

    /// A value, read serially.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let row = self.cql.first::<(Option<Vec<u8>>,)>(&self.cql.statements.shared, (kind, name)).await?;
        Ok(row.and_then(|(value,)| value))
    }

    /// Every value of a kind, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn all(&self, kind: &str) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
        let rows = self.cql.all::<(String, Option<Vec<u8>>)>(&self.cql.statements.all_shared, (kind,)).await?;
        Ok(rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// Writes a value unless there is one; returns the stored value, whichever node wrote it.
    ///
    /// # Errors
    /// The store failed; the value may or may not be stored.
    pub async fn put_if_absent(&self, kind: &str, name: &str, value: &[u8]) -> Result<Vec<u8>, ReadError> {
        let begun = monotonic();
        let mut pauses = Pauses::new();
        loop {
            match self.cql.transact(&self.cql.statements.share, (kind, name, value)).await {
                Ok(answer) if answer.applied => return Ok(value.to_vec()),
                Ok(answer) => {
                    let stored = answer.blob("value");
                    return stored.ok_or_else(|| ReadError::Corrupt(format!("{kind} {name} has no value")));
                }
                // A repetition finds its own value and returns it.
                Err(why) if doorbuster_clock::since(begun) >= self.cql.options.settle_timeout => {
                    return Err(ReadError::Failed(why));
                }
                Err(_) => {
                    Counts::add(&self.cql.counts.unknown_outcomes);
                    pauses.pause().await;
                }
            }
        }
    }
}
