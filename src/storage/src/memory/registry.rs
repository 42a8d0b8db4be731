//! The nodes' board in memory: several nodes of one test share it. It can be made to fail, and to show a node old rows.

use crate::journal::{Epoch, Shard};
use crate::registry::{NodeId, NodeRow, OwnerRow, Registry, RegistryError, Wishes};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Board {
    nodes: BTreeMap<NodeId, NodeRow>,
    incarnations: BTreeMap<String, u64>,
    owners: BTreeMap<Shard, OwnerRow>,
    wishes: Wishes,
    failing: bool,
}

/// The board. Cheap to clone: clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegistry(Arc<Mutex<Board>>);

impl MemoryRegistry {
    /// Nothing can be read or written until it is set back.
    pub fn set_failing(&self, failing: bool) {
        self.board().failing = failing;
    }

    /// Writes down who owns a shard, as a claim does on CQL. `None`: released.
    pub fn set_owner(&self, shard: Shard, epoch: Epoch, node: Option<NodeId>) {
        self.board().owners.insert(shard, OwnerRow { shard, epoch, node });
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn working(&self) -> Result<MutexGuard<'_, Board>, RegistryError> {
        let board = self.board();
        if board.failing { Err(RegistryError::Failed("as ordered".to_owned())) } else { Ok(board) }
    }
}

impl Registry for MemoryRegistry {
    async fn join(&self, row: &NodeRow) -> Result<NodeId, RegistryError> {
        let mut board = self.working()?;
        let last = board.incarnations.entry(row.id.name.clone()).or_default();
        *last = last.saturating_add(1);
        let id = NodeId { name: row.id.name.clone(), incarnation: *last };
        board.nodes.retain(|known, _| known.name != id.name);
        board.nodes.insert(id.clone(), NodeRow { id: id.clone(), ..row.clone() });
        Ok(id)
    }

    async fn renew(&self, row: &NodeRow) -> Result<(), RegistryError> {
        let mut board = self.working()?;
        if board.incarnations.get(&row.id.name).is_some_and(|last| *last > row.id.incarnation) {
            return Err(RegistryError::Replaced(row.id.name.clone()));
        }
        board.nodes.insert(row.id.clone(), row.clone());
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

    async fn wishes(&self) -> Result<Wishes, RegistryError> {
        Ok(self.working()?.wishes.clone())
    }

    async fn wish_drained(&self, name: &str, drained: bool) -> Result<(), RegistryError> {
        let mut board = self.working()?;
        if drained {
            board.wishes.drained.insert(name.to_owned());
        } else {
            board.wishes.drained.remove(name);
        }
        Ok(())
    }

    async fn wish_moved(&self, shard: Shard, to: Option<&str>) -> Result<(), RegistryError> {
        let mut board = self.working()?;
        match to {
            Some(name) => drop(board.wishes.moved.insert(shard, name.to_owned())),
            None => drop(board.wishes.moved.remove(&shard)),
        }
        Ok(())
    }
}
