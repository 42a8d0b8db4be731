//! What a shard knows of one entity: whether it has an actor, and what is left of it when it has none.

use super::entity::EntityMsg;
use super::handle::EntityHandle;
use super::output::PassivatedState;
use super::router::Envelope;
use doorbuster_clock::monotonic;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Seq;
use std::sync::Arc;
use tokio::time::Instant;

/// One entity in the shard's table. All of it in boxes: in a sale the table grows and grows, and moves what it holds each time.
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
    /// Messages sent to it when it was last looked at.
    pub(super) seen: u64,
    /// It was told to end; what comes meanwhile queues.
    pub(super) stopping: bool,
    /// What it left.
    pub(super) passivated: Option<Box<Passivated>>,
    /// It owes an effect.
    pub(super) owes: bool,
    /// How often it failed in a row before.
    pub(super) failures: u32,
    pub(super) queue: Vec<Envelope>,
    /// The last message from outside its own agenda.
    pub(super) touched_at: Instant,
    pub(super) started_at: Instant,
}

impl Resident {
    /// Sends it a message. One that failed meanwhile does not get it; its supervision event is on the way.
    pub(super) fn send(&self, message: EntityMsg) {
        // Only one that is stopping or has failed has a closed line, and to those nothing is sent.
        drop(self.handle.send(message));
    }

    /// Looks in on it; `touch`: that counts as use.
    pub(super) fn tick(&mut self, touch: bool) {
        if touch {
            self.touched_at = monotonic();
        }
        self.send(EntityMsg::Tick);
        self.seen = self.handle.sent();
    }

    /// Was it sent anything since it was last looked at, by whomever? Then it is in use.
    pub(super) fn note_use(&mut self, now: Instant) {
        let sent = self.handle.sent();
        if std::mem::replace(&mut self.seen, sent) != sent {
            self.touched_at = now;
        }
    }
}

/// An entity without an actor, as its last instance left it; all of it is durable.
#[derive(Debug)]
pub(super) struct Passivated {
    pub(super) state: PassivatedState,
    /// A log position that covers it.
    pub(super) seq: Seq,
}

/// A failed entity between two lives.
#[derive(Debug)]
pub(super) struct Restarting {
    pub(super) instance: u64,
    pub(super) failures: u32,
    pub(super) not_before: Instant,
    /// Everything the failed instance submitted is durable (rule E1).
    pub(super) durable: bool,
    pub(super) queue: Vec<Envelope>,
}

/// An entity that kept failing.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) reason: String,
    pub(super) failures: u32,
    pub(super) since: Timestamp,
}
