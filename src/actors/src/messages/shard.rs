//! What a shard's actor understands.

use super::entity::Envelope;
use super::passivated::PassivatedState;
use bytes::Bytes;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::{AppendError, Epoch, Seq, Shard};
use tokio::sync::oneshot;

/// What a shard's actor understands.
#[derive(Debug)]
pub(crate) enum ShardMsg {
    /// The node is wired: recover, then answer with the number of events taken in from the log's tail.
    Recover(oneshot::Sender<Result<u64, String>>),
    /// A command to one of its entities.
    Ask(Box<Envelope>),
    /// An answer to an effect of one of its entities.
    Answer { entity: EntityId, key: EffectKey, outcome: Outcome },
    /// The copy of an effect of one of its entities is gone without an answer (rule W2).
    CopyGone { entity: EntityId, key: EffectKey },
    /// Notices that have become durable under this ownership, in order, each with a log position that covers it. `bytes`: of
    /// records appended since the claim.
    Durable { epoch: Epoch, bytes: u64, notices: Vec<(Seq, ShardNotice)> },
    /// Time has passed.
    Tick,
    /// The store has finished a checkpoint, or failed.
    Checkpointed { upto: Seq, result: Result<(), AppendError> },
    /// The store was read for commands that are refused if their entity does not exist (rule R5).
    AbsenceRead { entity: EntityId, read: u64, is_absent: bool },
    /// Store everything now; answered when all is stored, dropped when the store failed.
    FlushAll(oneshot::Sender<()>),
    /// The shard is being released: callers that wait in it ask its next owner.
    DrainWaiters,
    /// Operator: list the quarantined entities.
    ListQuarantined(oneshot::Sender<Vec<QuarantinedEntity>>),
    /// Operator: start a quarantined entity once more; `false`: it was not quarantined.
    Retry { entity: EntityId, done: oneshot::Sender<bool> },
    /// Operator: the shard's figures.
    Describe(oneshot::Sender<ShardStatus>),
    /// Operator: entities with effects under way or a deadline, at most `limit`.
    UnderWay { limit: usize, reply: oneshot::Sender<Vec<EntityId>> },
    /// Fault injection: the entity's actor panics; `false`: it could not be started.
    Panic { entity: EntityId, done: oneshot::Sender<bool> },
}

impl ractor::Message for ShardMsg {}

/// What an entity lets its shard know once everything before it is durable.
#[derive(Debug)]
pub(crate) enum ShardNotice {
    /// The entity is idle: it may leave memory.
    Passivate(Box<Passivate>),
    /// The agenda's entry of an entity that stays in memory.
    Agenda { entity: EntityId, wake_at: Option<Timestamp>, owes: bool },
    /// Rows for a checkpoint.
    Flushed(Box<Flushed>),
    /// Everything the shard's entities submitted before is durable.
    Barrier(Barrier),
}

/// An idle entity, as it may leave memory.
#[derive(Debug)]
pub(crate) struct Passivate {
    pub(crate) entity: EntityId,
    pub(crate) instance: u64,
    /// Counted messages it had handled (rule E1).
    pub(crate) handled: u64,
    pub(crate) state: PassivatedState,
    pub(crate) wake_at: Option<Timestamp>,
}

/// The rows an entity gives to a checkpoint.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// The checkpoint's number.
    pub(crate) checkpoint: u64,
    pub(crate) entity: EntityId,
    /// Chunk and body.
    pub(crate) rows: Vec<(u16, Bytes)>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) owes: bool,
    /// Its personal data must be deleted from what is stored.
    pub(crate) erased: bool,
}

/// Why a shard must know how far its log is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The checkpoint of this number begins here.
    Checkpoint(u64),
    /// The last submissions of a failed instance are durable; the next may start (rule E1).
    Exit { entity: EntityId, instance: u64 },
}

/// An entity that kept failing, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEntity {
    /// The entity.
    pub entity: EntityId,
    /// The reason of its last failure.
    pub reason: String,
    /// Failures in a row.
    pub failures: u32,
    /// The instant of the last failure.
    pub since: Timestamp,
}

/// A shard, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// The shard.
    pub shard: Shard,
    /// The epoch it writes under.
    pub epoch: u64,
    /// Its last event known to be durable.
    pub seq: Seq,
    /// States are stored up to this event.
    pub flushed_upto: Seq,
    /// Entities with an actor.
    pub residents: usize,
    /// Entities without an actor whose state waits in memory for a checkpoint.
    pub passivated: usize,
    /// Entities with a deadline.
    pub agenda: usize,
    /// Of them, those that wait for an operator.
    pub for_operator: usize,
    /// Quarantined entities.
    pub quarantined: usize,
    /// Messages that wait for its entities.
    pub queue_depth: u64,
}
