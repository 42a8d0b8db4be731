//! The line to one resident entity: its actor, and how many messages are on their way to it.
//!
//! The shard holds one end. The other end of a SKU's line lies in its view, so that an order of the same node asks its SKU without a stop at the
//! SKU's shard. Rule E1 wants that an actor ends only when nothing is on its way to it; hence the count and the end of a line are one
//! number: whoever sends counts first, and only at a count that the entity has handled can the line be closed.

use super::entity::EntityMsg;
use ractor::ActorRef;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The bit of `sent` that says that nothing may be sent any more.
const CLOSED: u64 = 1 << 63;

/// The line to one life of one entity.
#[derive(Debug)]
pub(crate) struct Line {
    actor: ActorRef<EntityMsg>,
    /// Messages sent ever, and [`CLOSED`].
    sent: AtomicU64,
    /// Messages sent and not handled: shared with the entity, which counts them down.
    waiting: std::sync::Arc<AtomicU32>,
}

impl Line {
    /// A line over which `sent` messages went already.
    pub(crate) const fn new(actor: ActorRef<EntityMsg>, sent: u64, waiting: std::sync::Arc<AtomicU32>) -> Self {
        Self { actor, sent: AtomicU64::new(sent), waiting }
    }

    /// Its actor.
    pub(crate) const fn actor(&self) -> &ActorRef<EntityMsg> {
        &self.actor
    }

    /// Messages sent ever.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire) & !CLOSED
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Sends a message; one whose actor has failed meanwhile does not get it, and its shard hears of that. Gives it back when the line is
    /// closed.
    pub(crate) fn send(&self, message: EntityMsg) -> Result<(), EntityMsg> {
        if self.sent.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            return Err(message);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        drop(self.actor.send_message(message));
        Ok(())
    }

    /// Closes it if exactly `handled` messages were sent: then none is on its way. `false`: it stays open.
    pub(crate) fn close_at(&self, handled: u64) -> bool {
        self.sent.compare_exchange(handled, handled | CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Closes it, whatever is on its way: its actor has ended.
    pub(crate) fn close(&self) {
        self.sent.fetch_or(CLOSED, Ordering::AcqRel);
    }
}
