//! Rule R5: commands that are refused if their entity does not exist, while the store is read for it.
//!
//! The read runs outside the shard's loop, so other commands go on meanwhile. What makes the answer sound afterwards:
//!
//! - A command that reaches the entity meanwhile ends the wait: the entity answers all. So a wait that still stands means that no command
//!   has reached the entity since the read began, and a read that is older than the entity's first event refuses nothing.
//! - When the read is back, the shard looks at memory and tail again before it refuses.

use crate::messages::entity::{Envelope, Queue};
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::keyed::KeyedMap;

/// The commands that wait for a read, by entity.
#[derive(Debug, Default)]
pub(super) struct AbsenceReads {
    waits: KeyedMap<EntityId, Wait>,
    /// Commands in `waits`.
    commands: usize,
    /// The number of the last read.
    reads: u64,
}

/// The commands that wait for one read.
#[derive(Debug)]
struct Wait {
    read: u64,
    envelopes: Queue,
}

impl AbsenceReads {
    /// Does no command wait?
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Do `max` commands wait?
    pub(super) const fn is_full(&self, max: usize) -> bool {
        self.commands >= max
    }

    /// Lets a command wait for the read that is under way for its entity.
    ///
    /// # Errors
    /// The envelope, when there is none.
    pub(super) fn join(&mut self, envelope: Box<Envelope>) -> Result<(), Box<Envelope>> {
        let Some(wait) = self.waits.get_mut(&envelope.ask.entity) else { return Err(envelope) };
        wait.envelopes.push_back(envelope);
        self.commands = self.commands.saturating_add(1);
        Ok(())
    }

    /// Lets a command wait for a new read; gives the read's number.
    pub(super) fn begin(&mut self, envelope: Box<Envelope>) -> u64 {
        self.reads = self.reads.wrapping_add(1);
        self.commands = self.commands.saturating_add(1);
        let entity = envelope.ask.entity.clone();
        self.waits.insert(entity, Wait { read: self.reads, envelopes: Queue::from([envelope]) });
        self.reads
    }

    /// Ends the wait for an entity, whatever the read says. Gives the commands that waited.
    pub(super) fn end(&mut self, entity: &EntityId) -> Queue {
        let envelopes = self.waits.remove(entity).map_or_else(Queue::new, |wait| wait.envelopes);
        self.commands = self.commands.saturating_sub(envelopes.len());
        envelopes
    }

    /// The read of this number is back: its wait ends. No commands, if that had ended before.
    pub(super) fn read(&mut self, entity: &EntityId, read: u64) -> Queue {
        match self.waits.get(entity) {
            Some(wait) if wait.read == read => self.end(entity),
            Some(_) | None => Queue::new(),
        }
    }

    /// Ends all waits. Gives the commands that waited.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = Box<Envelope>> {
        self.commands = 0;
        std::mem::take(&mut self.waits).into_values().flat_map(|wait| wait.envelopes)
    }
}
