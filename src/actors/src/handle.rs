//! The handle of a resident entity: its actor, and how many messages are on their way to it.
//!
//! Rule E1: an actor ends only when no message is on its way to it. So the count of messages sent and the closed state are one number:
//! a sender counts first, and the handle closes only at the count that the entity has handled.
//!
//! The shard holds one clone. For a long-lived kind another is in [`Handles`], so that an order asks its SKU without a stop at the SKU's
//! shard.

use super::messages::entity::{EntityMsg, Envelope};
use super::messages::local::LocalActor;
use doorbuster_domain::entity::Residency;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::keyed::KeyedMap;
use ractor::ActorRef;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The bit of `sent` that says that the handle is closed.
const CLOSED: u64 = 1 << 63;

/// The handle of one instance of an entity.
#[derive(Debug)]
pub(crate) struct EntityHandle {
    actor: LocalActor<EntityMsg>,
    /// Messages sent ever, and [`CLOSED`].
    sent: AtomicU64,
    /// Messages sent and not handled: shared with the entity, which counts them down.
    waiting: Arc<AtomicU32>,
}

impl EntityHandle {
    /// A handle through which `sent` messages went already.
    pub(crate) const fn new(actor: LocalActor<EntityMsg>, sent: u64, waiting: Arc<AtomicU32>) -> Self {
        Self { actor, sent: AtomicU64::new(sent), waiting }
    }

    /// The entity's actor.
    pub(crate) const fn actor(&self) -> &ActorRef<EntityMsg> {
        self.actor.actor()
    }

    /// Messages sent ever.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire) & !CLOSED
    }

    /// Messages sent and not handled.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Sends a message. A failed actor does not get it, and its shard hears of the failure.
    ///
    /// # Errors
    /// The message, when the handle is closed.
    pub(crate) fn send(&self, message: EntityMsg) -> Result<(), EntityMsg> {
        if !self.count() {
            return Err(message);
        }
        self.actor.send(message);
        Ok(())
    }

    /// Counts one more message; `false`: the handle is closed, nothing may be sent.
    fn count(&self) -> bool {
        if self.sent.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Closes it if exactly `handled` messages were sent: then none is on its way. `false`: it stays open.
    pub(crate) fn close_at(&self, handled: u64) -> bool {
        self.sent.compare_exchange(handled, handled | CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Closes it with messages on their way: its actor has ended.
    pub(crate) fn close(&self) {
        self.sent.fetch_or(CLOSED, Ordering::AcqRel);
    }
}

/// The handles of the long-lived entities that are resident on this node.
#[derive(Debug, Default)]
pub(crate) struct Handles(RwLock<KeyedMap<EntityId, Arc<EntityHandle>>>);

impl Handles {
    /// The entity is resident from now on.
    pub(crate) fn insert(&self, entity: EntityId, handle: Arc<EntityHandle>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(entity, handle);
    }

    /// The handle of an entity that is resident here.
    #[cfg(test)]
    pub(crate) fn get(&self, entity: &EntityId) -> Option<Arc<EntityHandle>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(entity).cloned()
    }

    /// The entity leaves memory.
    pub(crate) fn remove(&self, entity: &EntityId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(entity);
    }

    /// Removes the entities of a shard that is no longer here.
    pub(crate) fn remove_all(&self, gone: impl Fn(&EntityId) -> bool) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|entity, _| !gone(entity));
    }

    /// Sends a command straight to an entity's actor.
    ///
    /// # Errors
    /// The envelope, when the entity has no open handle here or `waiting_max` messages wait for it: its shard decides what happens.
    pub(crate) fn send(&self, envelope: Box<Envelope>, waiting_max: u32) -> Result<(), Box<Envelope>> {
        if envelope.ask.entity.residency() != Residency::LongLived {
            return Err(envelope);
        }
        let handles = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match handles.get(&envelope.ask.entity) {
            Some(handle) if handle.waiting() < waiting_max && handle.count() => {
                handle.actor.send(EntityMsg::Ask(envelope));
                Ok(())
            }
            _ => Err(envelope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Core;
    use ractor::{Actor, ActorProcessingErr};
    use std::sync::Arc;

    #[derive(Debug)]
    struct Deaf;

    impl Actor for Deaf {
        type Msg = EntityMsg;
        type State = ();
        type Arguments = ();
        async fn pre_start(&self, _: ActorRef<EntityMsg>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    async fn handle() -> EntityHandle {
        let (actor, _) = Deaf::spawn(None, Deaf, ()).await.expect("it starts");
        EntityHandle::new(LocalActor::new(actor, Core::none()), 0, Arc::new(AtomicU32::new(0)))
    }

    /// Rule E1: an entity that said it is idle after three messages must not end while a fourth is on its way.
    #[tokio::test]
    async fn a_handle_with_a_message_on_its_way_stays_open() {
        let handle = handle().await;
        for _ in 0..4 {
            handle.send(EntityMsg::Tick).expect("it is open");
        }
        assert!(!handle.close_at(3), "one is on its way");
        handle.send(EntityMsg::Tick).expect("it is open still");
        assert_eq!((handle.sent(), handle.waiting()), (5, 5));
        assert!(handle.close_at(5));
        handle.actor().stop(None);
    }

    #[tokio::test]
    async fn through_a_closed_handle_nothing_is_sent_and_the_sender_has_it_back() {
        let handle = handle().await;
        assert!(handle.close_at(0));
        assert!(matches!(handle.send(EntityMsg::Tick), Err(EntityMsg::Tick)));
        assert_eq!(handle.waiting(), 0);
        assert!(!handle.close_at(0), "it closes once");
        handle.actor().stop(None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_all_who_send_while_it_closes_each_is_counted_or_has_it_back() {
        for _ in 0..200 {
            let handle = Arc::new(handle().await);
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let handle = Arc::clone(&handle);
                    tokio::spawn(async move { (0..20).filter(|_| handle.send(EntityMsg::Tick).is_ok()).count() })
                })
                .collect();
            let closed_at = loop {
                let sent = handle.sent();
                if handle.close_at(sent) {
                    break sent;
                }
            };
            let mut taken = 0;
            for sender in senders {
                taken += u64::try_from(sender.await.expect("it ends")).expect("a few");
            }
            assert_eq!(taken, closed_at, "what was taken was sent before the handle was closed");
            handle.actor().stop(None);
        }
    }
}
