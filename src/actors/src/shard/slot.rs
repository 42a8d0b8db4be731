//! What a shard knows of one entity: its actor, or its state when it has none.

use crate::handle::EntityHandle;
use crate::messages::entity::{EntityMsg, Queue};
use crate::messages::passivated::PassivatedState;
use doorbuster_clock::monotonic;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Seq;
use std::sync::Arc;
use tokio::time::Instant;

/// One entity in the shard's table. All variants are boxed: in a sale the table grows fast, and each growth moves its entries.
#[derive(Debug)]
pub(super) enum Slot {
    /// It has an actor.
    Resident(Box<Resident>),
    /// It has none; its state waits for the checkpoint.
    Passivated(Box<Passivated>),
    /// It failed and will start again.
    Restarting(Box<Restarting>),
    /// It kept failing.
    Quarantined(Box<Quarantined>),
}

/// An entity with an actor.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) handle: Arc<EntityHandle>,
    pub(super) instance: u64,
    /// Messages sent to it by the last sweep.
    pub(super) seen: u64,
    /// Its actor was stopped; commands wait in `queue`.
    pub(super) stopping: bool,
    /// The state it left, while it is stopping.
    pub(super) passivated: Option<Box<Passivated>>,
    /// It owes an effect.
    pub(super) owes: bool,
    /// Failures in a row before this instance.
    pub(super) failures: u32,
    pub(super) queue: Queue,
    /// The last message that was not a tick of an idle entity.
    pub(super) touched_at: Instant,
    pub(super) started_at: Instant,
}

impl Resident {
    /// Sends it a message. A failed actor does not get it; its supervision event is on the way.
    pub(super) fn send(&self, message: EntityMsg) {
        // Only an entity that is stopping or has failed has a closed handle, and nothing is sent to those.
        drop(self.handle.send(message));
    }

    /// Sends it a tick; `touch`: that counts as use.
    pub(super) fn tick(&mut self, touch: bool) {
        if touch {
            self.touched_at = monotonic();
        }
        self.send(EntityMsg::Tick);
        self.seen = self.handle.sent();
    }

    /// Messages since the last sweep, from whatever sender, count as use.
    pub(super) fn note_use(&mut self, now: Instant) {
        let sent = self.handle.sent();
        if std::mem::replace(&mut self.seen, sent) != sent {
            self.touched_at = now;
        }
    }
}

/// An entity without an actor; all of its state is durable.
#[derive(Debug)]
pub(super) struct Passivated {
    pub(super) state: PassivatedState,
    /// A log position that covers it.
    pub(super) seq: Seq,
}

/// A failed entity that will start again.
#[derive(Debug)]
pub(super) struct Restarting {
    pub(super) instance: u64,
    pub(super) failures: u32,
    pub(super) not_before: Instant,
    /// Everything the failed instance submitted is durable (rule E1).
    pub(super) durable: bool,
    pub(super) queue: Queue,
}

/// An entity that kept failing.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) reason: String,
    pub(super) failures: u32,
    pub(super) since: Timestamp,
}
