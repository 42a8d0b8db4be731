//! Everything a shard knows.

use super::absence::AbsenceReads;
use super::agenda::Agenda;
use super::checkpoint::Checkpointing;
use super::residents::Residents;
use super::slot::Slot;
use crate::messages::shard::ShardMsg;
use crate::shard_context::ShardContext;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::keyed::KeyedMap;
use doorbuster_storage::{Claim, Seq};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The state of a shard's actor.
#[derive(Debug)]
pub(crate) struct ShardState {
    pub(super) shared: Arc<ShardContext>,
    pub(super) claim: Claim,
    /// What arrived before the shard has recovered; `None` once it has. No entity may be started from its stored rows alone.
    pub(super) early: Option<Vec<ShardMsg>>,
    /// Entities with an actor, and those without one that cannot be read from the store yet or may not be started.
    pub(super) slots: KeyedMap<EntityId, Slot>,
    pub(super) residents: Residents,
    /// Those in `slots` that failed and will start again.
    pub(super) restarting: BTreeSet<EntityId>,
    pub(super) agenda: Agenda,
    pub(super) absence: AbsenceReads,
    /// The last event known to be durable.
    pub(super) seq: Seq,
    pub(super) checkpointing: Checkpointing,
}

impl ShardState {
    /// Not recovered yet.
    pub(super) fn new(shared: Arc<ShardContext>, claim: Claim) -> Self {
        Self {
            shared,
            early: Some(Vec::new()),
            slots: KeyedMap::default(),
            residents: Residents::new(),
            restarting: BTreeSet::new(),
            agenda: Agenda::default(),
            absence: AbsenceReads::default(),
            seq: claim.end,
            checkpointing: Checkpointing::new(&claim),
            claim,
        }
    }
}
