//! What is asked of an entity from outside, and every way in which that can be answered.

use doorbuster_domain::any::{Command, Refusal, Reply, State};
use doorbuster_domain::entity::{By, Wait};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::Meta;
use doorbuster_storage::{Seq, Shard};
use std::sync::Arc;

/// One question.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whom.
    pub entity: EntityId,
    /// What.
    pub command: Command,
    /// On whose behalf.
    pub by: By,
    /// Only if the entity is at this version (`If-Match`): checked with the decision, so that of two writers who read the same
    /// version one is told [`Answer::Stale`]. `None`: at any.
    pub if_version: Option<u64>,
    /// How far things must have got before the answer.
    pub wait: Wait,
    /// Checked before `decide`: past it the question is dropped (rule E4).
    pub deadline: Timestamp,
    /// Answer this at once, starting no actor and binding no key, if the entity does not exist yet (rule R5: sold out at the door).
    pub reject_if_absent: Option<Box<Refusal>>,
}

/// The answer to an accepted command. It leaves only when everything it saw is durable.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The machine's own answer.
    pub reply: Reply,
    /// The state after it. Absent for inventories: their reply says what there is to say.
    pub state: Option<Arc<State>>,
    /// Version and times of the entity.
    pub meta: Meta,
    /// Was it a repeated request whose first effect stands?
    pub repeated: bool,
    /// The shard that answered.
    pub shard: Shard,
    /// A position of that shard's log that covers what was seen.
    pub seq: Seq,
}

/// How a question ended.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Accepted.
    Accepted(Box<Accepted>),
    /// A lawful "no".
    Refused(Refusal),
    /// The entity is at another version than the asker knew: nothing was decided.
    Stale {
        /// It is at this one.
        version: u64,
    },
    /// We do not know whether it happened: ask again with the same key (rule E5).
    Unknown,
    /// The deadline came first; nothing was decided, or it is not known yet.
    Late,
    /// No room: nothing was decided.
    Busy {
        /// Come back after so many seconds.
        retry_after_s: u32,
    },
    /// The entity kept failing and is set aside until an operator retries it.
    Quarantined,
    /// The node is stopping, or not ready yet: nothing was decided.
    NotServing,
    /// `decide` panicked: a bug; nothing was decided (rule E3).
    Panicked,
}
