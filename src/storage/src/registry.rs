//! The registry of a cluster: a row that each node renews, the owner of each shard, and the state that operators want.
//!
//! ```text
//! join ──► renew, renew, … ──► leave            nodes() owners() desired_state(): read by every node
//! ```
//!
//! Rule O6: whether a node is alive is judged from the row that it renews here; heartbeats between nodes only shorten the wait. Nothing here keeps a
//! shard safe: the journal's fence does (rules O1 to O5).

use super::journal::{Epoch, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use thiserror::Error;

/// What a node does with shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// It takes shards.
    Up,
    /// It releases its shards and takes no new ones.
    Draining,
}

/// One process: a start of the node with this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The configured name, by which shards are assigned.
    pub name: String,
    /// The number of the start; it grows with each one.
    pub incarnation: u64,
}

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// The id of the process.
    pub id: NodeId,
    /// A counter that the node raises at each renewal. Readers judge by whether it changes, never by a clock.
    pub beat: u64,
    /// Whether it takes shards or drains.
    pub state: NodeState,
    /// The address of its cluster port, `host:port`.
    pub cluster: String,
    /// The address of its port for shoppers.
    pub public: String,
    /// The address of its port for operators.
    pub operator: String,
    /// Its version of Doorbuster.
    pub version: String,
}

/// The owner of a shard, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// The number of the shard.
    pub shard: Shard,
    /// The epoch of the ownership.
    pub epoch: Epoch,
    /// The owner, `name.incarnation`. `None`: the shard is released.
    pub node: Option<NodeId>,
}

/// The state that operators want.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredState {
    /// The names of nodes that are to release their shards.
    pub drained: BTreeSet<String>,
    /// Shards that are to be owned by a node, by name, instead of their assigned owner.
    pub moved: BTreeMap<Shard, String>,
}

/// Why the registry could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// A later process of the same name has joined, so this one must end.
    #[error("another process has joined as {0}")]
    Replaced(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl NodeId {
    /// Reads `name.incarnation`, the form in logs, the journal and messages.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, incarnation) = text.rsplit_once('.')?;
        Some(Self { name: name.to_owned(), incarnation: incarnation.parse().ok()? })
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.name, self.incarnation)
    }
}

/// The registry that all nodes share.
pub trait Registry: Send + Sync + 'static {
    /// Registers this process under `row.id.name`: returns its id with the next incarnation (`row.id.incarnation` is ignored) and deletes the rows of
    /// earlier ones.
    fn join(&self, row: &NodeRow) -> impl Future<Output = Result<NodeId, RegistryError>> + Send;

    /// Renews the row. [`RegistryError::Replaced`]: a later incarnation of the name has joined.
    fn renew(&self, row: &NodeRow) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Deletes the row.
    fn leave(&self, id: &NodeId) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Every row, by name and incarnation.
    fn nodes(&self) -> impl Future<Output = Result<Vec<NodeRow>, RegistryError>> + Send;

    /// The owners of all shards that were ever claimed, by shard.
    fn owners(&self) -> impl Future<Output = Result<Vec<OwnerRow>, RegistryError>> + Send;

    /// The state that operators want.
    fn desired_state(&self) -> impl Future<Output = Result<DesiredState, RegistryError>> + Send;

    /// Sets whether a node is to release its shards.
    fn set_drained(&self, name: &str, drained: bool) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Sets the node that is to own a shard; `None`: the assigned owner.
    fn set_placement(&self, shard: Shard, to: Option<&str>) -> impl Future<Output = Result<(), RegistryError>> + Send;
}
