//! The handle to one resident entity: its actor, and how many messages are on their way to it.
//!
//! The shard holds one end. The other end of a SKU's handle lies in its view, so that an order of the same node asks its SKU without a stop at the
//! SKU's shard. Rule E1 wants that an actor ends only when nothing is on its way to it; hence the count and the end of a handle are one
//! number: whoever sends counts first, and only at a count that the entity has handled can the handle be closed.

use super::entity::EntityMsg;
use ractor::ActorRef;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The bit of `sent` that says that nothing may be sent any more.
const CLOSED: u64 = 1 << 63;

/// The handle to one life of one entity.
#[derive(Debug)]
pub(crate) struct EntityHandle {
    actor: ActorRef<EntityMsg>,
    /// Messages sent ever, and [`CLOSED`].
    sent: AtomicU64,
    /// Messages sent and not handled: shared with the entity, which counts them down.
    waiting: std::sync::Arc<AtomicU32>,
}

impl EntityHandle {
    /// A handle over which `sent` messages went already.
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

    /// Sends a message; one whose actor has failed meanwhile does not get it, and its shard hears of that. Gives it back when the handle is
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

#[cfg(test)]
mod tests {
    use super::*;
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
        EntityHandle::new(actor, 0, Arc::new(AtomicU32::new(0)))
    }

    /// Rule E1: an entity that said it is idle after three messages must not end while a fourth is on its way.
    #[tokio::test]
    async fn a_line_with_a_message_on_its_way_stays_open() {
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
    async fn over_a_closed_line_nothing_is_sent_and_the_sender_has_it_back() {
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
