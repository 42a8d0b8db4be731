//! An index in memory: for tests, for a node whose journal is in memory, and what the other backends are compared with.

use super::{Breadth, Build, Changes, Cursor, IndexStore, Kept, Row};
use crate::journal::{AppendError, ReadError, Shard};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An index in memory.
#[derive(Debug, Default)]
pub struct MemoryIndex(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    builds: BTreeMap<Build, Built>,
    generations: BTreeMap<(&'static str, u32), u32>,
}

#[derive(Debug, Default)]
struct Built {
    cursors: BTreeMap<Shard, Cursor>,
    kept: BTreeMap<(Shard, EntityId), Kept>,
    rows: BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>,
}

impl MemoryIndex {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexStore for MemoryIndex {
    async fn cursors(&self, build: Build) -> Result<BTreeMap<Shard, Cursor>, ReadError> {
        Ok(self.contents().builds.get(&build).map(|built| built.cursors.clone()).unwrap_or_default())
    }

    async fn kept(&self, build: Build, shard: Shard, entities: &[EntityId]) -> Result<Vec<Option<Kept>>, ReadError> {
        let contents = self.contents();
        let built = contents.builds.get(&build);
        let of = |entity: &EntityId| built?.kept.get(&(shard, entity.clone())).cloned();
        Ok(entities.iter().map(of).collect())
    }

    async fn write(&self, build: Build, shard: Shard, changes: Changes, cursor: Cursor) -> Result<(), AppendError> {
        let mut contents = self.contents();
        let built = contents.builds.entry(build).or_default();
        for kept in changes.kept {
            built.kept.insert((shard, kept.entity.clone()), kept);
        }
        for row in changes.rows {
            let rows = built.rows.entry(row.partition).or_default();
            match row.value {
                Some(value) => rows.insert(row.key, value),
                None => rows.remove(&row.key),
            };
        }
        built.cursors.insert(shard, cursor);
        Ok(())
    }

    async fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> Result<(), AppendError> {
        self.contents().builds.entry(build).or_default().cursors.extend(cursors.iter().copied());
        Ok(())
    }

    async fn page(
        &self,
        build: Build,
        (partition, _): (&[u8], Breadth),
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let contents = self.contents();
        let rows = contents.builds.get(&build).and_then(|built| built.rows.get(partition));
        let behind = |rows: &BTreeMap<Bytes, Bytes>| {
            let rows = rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).take(limit);
            rows.map(|(key, value)| Row { key: key.clone(), value: value.clone() }).collect()
        };
        Ok(rows.map(behind).unwrap_or_default())
    }

    async fn generation(&self, name: &'static str, version: u32) -> Result<u32, ReadError> {
        Ok(self.contents().generations.get(&(name, version)).copied().unwrap_or_default())
    }

    async fn take_over(&self, build: Build, instead_of: u32) -> Result<bool, AppendError> {
        let mut contents = self.contents();
        let read = contents.generations.entry((build.name, build.version)).or_default();
        if *read != instead_of {
            return Ok(false);
        }
        *read = build.generation;
        Ok(true)
    }

    async fn remove(&self, build: Build) -> Result<(), AppendError> {
        self.contents().builds.remove(&build);
        Ok(())
    }
}
