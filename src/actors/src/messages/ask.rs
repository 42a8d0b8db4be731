//! A request to an entity from outside, and every way in which it can be answered.

use doorbuster_domain::any::{Command, Refusal, Reply, State};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::Meta;
use doorbuster_storage::{Seq, Shard};
use std::sync::Arc;

/// A request to an entity.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The entity it goes to.
    pub entity: EntityId,
    /// What the entity decides on.
    pub command: Command,
    /// Who asks. The entity permits it what is its own (rule P4), and records it with the events.
    pub by: Principal,
    /// Only if the entity is at this version (`If-Match`). It is checked with the decision, so that of two writers who read the same
    /// version one is answered [`Answer::Stale`]. `None`: at any version.
    pub if_version: Option<u64>,
    /// How far the entity must get before it answers.
    pub wait: Wait,
    /// Checked before `decide`: past it the request is dropped (rule E4).
    pub deadline: Timestamp,
    /// If the entity does not exist, answer this, start no actor and bind no key (rule R5: sold out without the journal). `None`: the
    /// entity decides.
    pub reject_if_absent: Option<Box<Refusal>>,
}

/// The answer to an accepted command. It leaves only when everything it saw is durable.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The machine's own answer.
    pub reply: Reply,
    /// The state after the command; absent for kinds whose replies say everything.
    pub state: Option<Arc<State>>,
    /// Version and times of the entity.
    pub meta: Meta,
    /// It is a repeated request, whose first effect stands.
    pub repeated: bool,
    /// The shard that answered.
    pub shard: Shard,
    /// A position of that shard's log that covers what the answer saw.
    pub seq: Seq,
}

/// How a request ended.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Accepted.
    Accepted(Box<Accepted>),
    /// A lawful "no".
    Refused(Refusal),
    /// The entity is at another version than the request expected; nothing was decided.
    Stale {
        /// The entity's version.
        version: u64,
    },
    /// It is not known whether the command was decided: send it again with the same key (rule E5).
    Unknown,
    /// The deadline came first; nothing was decided, or it is not known yet.
    Late,
    /// A queue is full; nothing was decided.
    Busy {
        /// Seconds after which to come back.
        retry_after_s: u32,
    },
    /// The entity kept failing and is quarantined until an operator retries it.
    Quarantined,
    /// The node is stopping, is not ready yet, or does not own the shard; nothing was decided.
    NotServing,
    /// `decide` panicked, which is a bug; nothing was decided (rule E3).
    Panicked,
}
