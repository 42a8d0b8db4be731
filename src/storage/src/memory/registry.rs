//! The registry in memory: the nodes of one test share it. It can be made to fail.

use crate::journal::{Epoch, Shard};
use crate::registry::{DesiredState, NodeId, NodeRow, OwnerRow, Registry, RegistryError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Tables {
    nodes: BTreeMap<NodeId, NodeRow>,
    incarnations: BTreeMap<String, u64>,
    owners: BTreeMap<Shard, OwnerRow>,
    desired: DesiredState,
    failing: bool,
}

/// The registry. Clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegistry(Arc<Mutex<Tables>>);

impl MemoryRegistry {
    /// Makes every read and write fail until it is set back.
    pub fn set_failing(&self, failing: bool) {
        self.tables().failing = failing;
    }

    /// Records the owner of a shard, as a claim does on CQL. `None`: released.
    pub fn set_owner(&self, shard: Shard, epoch: Epoch, node: Option<NodeId>) {
        self.tables().owners.insert(shard, OwnerRow { shard, epoch, node });
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn working(&self) -> Result<MutexGuard<'_, Tables>, RegistryError> {
        let tables = self.tables();
        if tables.failing { Err(RegistryError::Failed("as ordered".to_owned())) } else { Ok(tables) }
    }
}

impl Registry for MemoryRegistry {
    async fn join(&self, row: &NodeRow) -> Result<NodeId, RegistryError> {
        let mut tables = self.working()?;
        let last = tables.incarnations.entry(row.id.name.clone()).or_default();
        *last = last.saturating_add(1);
        let id = NodeId { name: row.id.name.clone(), incarnation: *last };
        tables.nodes.retain(|known, _| known.name != id.name);
        tables.nodes.insert(id.clone(), NodeRow { id: id.clone(), ..row.clone() });
        Ok(id)
    }

    async fn renew(&self, row: &NodeRow) -> Result<(), RegistryError> {
        let mut tables = self.working()?;
        if tables.incarnations.get(&row.id.name).is_some_and(|last| *last > row.id.incarnation) {
            return Err(RegistryError::Replaced(row.id.name.clone()));
        }
        tables.nodes.insert(row.id.clone(), row.clone());
        Ok(())
    }

    async fn leave(&self, id: &NodeId) -> Result<(), RegistryError> {
        self.working()?.nodes.remove(id);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, RegistryError> {
        Ok(self.working()?.nodes.values().cloned().collect())
    }

    async fn owners(&self) -> Result<Vec<OwnerRow>, RegistryError> {
        Ok(self.working()?.owners.values().cloned().collect())
    }

    async fn desired_state(&self) -> Result<DesiredState, RegistryError> {
        Ok(self.working()?.desired.clone())
    }

    async fn set_drained(&self, name: &str, drained: bool) -> Result<(), RegistryError> {
        let mut tables = self.working()?;
        if drained {
            tables.desired.drained.insert(name.to_owned());
        } else {
            tables.desired.drained.remove(name);
        }
        Ok(())
    }

    async fn set_placement(&self, shard: Shard, to: Option<&str>) -> Result<(), RegistryError> {
        let mut tables = self.working()?;
        match to {
            Some(name) => drop(tables.desired.moved.insert(shard, name.to_owned())),
            None => drop(tables.desired.moved.remove(&shard)),
        }
        Ok(())
    }
}
