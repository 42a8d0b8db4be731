//! An actor of this node, and the core it runs on.

use crate::cores::Core;
use ractor::{ActorRef, ActorStatus};

/// An actor and its core. Its messages from one sender arrive in the order in which they were sent: all of them go straight to its mailbox, or all
/// through the queue of its core.
#[derive(Debug)]
pub(crate) struct LocalActor<Message> {
    actor: ActorRef<Message>,
    core: Core,
}

impl<Message> Clone for LocalActor<Message> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), core: self.core.clone() }
    }
}

impl<Message: ractor::Message> LocalActor<Message> {
    /// An actor that was spawned on `core`.
    pub(crate) const fn new(actor: ActorRef<Message>, core: Core) -> Self {
        Self { actor, core }
    }

    /// The actor, to be supervised or stopped.
    pub(crate) const fn actor(&self) -> &ActorRef<Message> {
        &self.actor
    }

    /// Its core.
    #[cfg(test)]
    pub(crate) const fn core(&self) -> &Core {
        &self.core
    }

    /// Sends a message. `false`: the actor has ended and never gets it.
    pub(crate) fn send(&self, message: Message) -> bool {
        if self.core.is_here() {
            return self.actor.send_message(message).is_ok();
        }
        let runs = self.actor.get_status() < ActorStatus::Stopping;
        if runs {
            let actor = self.actor.clone();
            // An actor that ends meanwhile drops it, and whoever waits for an answer hears that.
            self.core.run(move || drop(actor.send_message(message)));
        }
        runs
    }
}
