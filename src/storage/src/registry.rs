//! Where the nodes of a cluster know each other from: rows that each renews, who owns which shard, and what operators wish.
//!
//! ```text
//! join ──► renew, renew, … ──► leave            nodes() owners() wishes(): what everybody reads
//! ```
//!
//! Rule O6: whether a node lives is judged from the rows that it renews here; heartbeats between nodes only hasten it. Nothing here keeps a
//! shard safe: the journal's fence does (rules O1 to O5).

use super::journal::{Epoch, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use thiserror::Error;

/// What a node is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// It takes shards.
    Up,
    /// It gives its shards away and takes no new ones.
    Draining,
}

/// One process: a node of this name, started for the so-many-th time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The configured name; what shards are dealt by.
    pub name: String,
    /// Greater at each start.
    pub incarnation: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Who.
    pub id: NodeId,
    /// Counted up by its owner each time it renews the row: who reads it judges by whether it moves, never by a clock.
    pub beat: u64,
    /// What it is about.
    pub state: NodeState,
    /// Where other nodes reach its cluster port, `host:port`.
    pub cluster: String,
    /// Where it serves shoppers.
    pub public: String,
    /// Where it serves operators.
    pub operator: String,
    /// Its version of the product.
    pub version: String,
}

/// Who owns a shard, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// Which shard.
    pub shard: Shard,
    /// The number of the ownership.
    pub epoch: Epoch,
    /// The node, as it named itself when it claimed: `name.incarnation`. `None`: it has released the shard.
    pub node: Option<NodeId>,
}

/// What operators want.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Names of nodes that are to give their shards away.
    pub drained: BTreeSet<String>,
    /// Shards that are to be with a certain node, by name, whatever the placement says.
    pub moved: BTreeMap<Shard, String>,
}

/// Why the registry could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// A later process of the same name has joined: this one must end.
    #[error("another process has joined as {0}")]
    Replaced(String),
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl NodeId {
    /// `name.incarnation`, as logs, the journal and the network name it.
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

/// The nodes' common board.
pub trait Registry: Send + Sync + 'static {
    /// Makes this process known under `row.id.name`: gives it the next incarnation (`row.id.incarnation` is ignored) and takes the rows of
    /// earlier ones away.
    fn join(&self, row: &NodeRow) -> impl Future<Output = Result<NodeId, RegistryError>> + Send;

    /// Writes the row anew. [`RegistryError::Replaced`]: a later incarnation of the name has joined.
    fn renew(&self, row: &NodeRow) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Takes the row away.
    fn leave(&self, id: &NodeId) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Every row, by name and incarnation.
    fn nodes(&self) -> impl Future<Output = Result<Vec<NodeRow>, RegistryError>> + Send;

    /// The owners of all shards that were ever claimed, by shard.
    fn owners(&self) -> impl Future<Output = Result<Vec<OwnerRow>, RegistryError>> + Send;

    /// What operators want.
    fn wishes(&self) -> impl Future<Output = Result<Wishes, RegistryError>> + Send;

    /// A node is to give its shards away, or may take some again.
    fn wish_drained(&self, name: &str, drained: bool) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// A shard is to be with a node; `None`: where the placement says.
    fn wish_moved(&self, shard: Shard, to: Option<&str>) -> impl Future<Output = Result<(), RegistryError>> + Send;
}
