//! The link to one peer: queued messages share frames, requests wait for their answers, and both are bounded.
//!
//! ```text
//! ask, send, answer ──► queue ──pump: all queued messages, one frame──► session ──► the peer's gateways
//!                                     ▲ a bounded number of unconfirmed frames; meanwhile messages gather
//! ```
//!
//! A message that never left the queue was never delivered. A message that left it and met the end of its session, or its own deadline, may have
//! been decided (rule E5). A link lasts as long as its peer is a member; sessions come and go.

use super::context::{GatewayContext, count};
use super::gateway::GatewayMsg;
use super::guard::Guard;
use super::message::{self, DeliveryStatus, Frame, Header, MessageKind};
use super::refusals::Refused;
use super::send_queue::{QueuedMessage, RequestEnd, SendQueue};
use super::wire::{self, Verdict};
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::remote::{Delivered, OneWay};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use ractor::{ActorId, ActorRef, RpcReplyPort};
use ractor_cluster::NodeSessionMessage;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

/// The session that carries a link's frames.
#[derive(Debug)]
pub(super) struct LinkSession {
    pub(super) actor: ActorRef<NodeSessionMessage>,
    pub(super) guard: Option<Arc<Guard>>,
    /// The peer's gateways; frames rotate over them.
    pub(super) gateways: Vec<ActorRef<GatewayMsg>>,
}

#[derive(Debug)]
struct ActiveSession {
    id: ActorId,
    session: Arc<LinkSession>,
    pump: JoinHandle<()>,
}

/// The link to one peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: NodeId,
    context: Arc<GatewayContext>,
    send_queue: Mutex<SendQueue>,
    active: Mutex<Option<ActiveSession>>,
    wake: Notify,
    /// Permits for requests from this peer, `in_flight_per_peer_max` of them.
    inbound_permits: Arc<Semaphore>,
    connected: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(peer: NodeId, context: Arc<GatewayContext>) -> Arc<Self> {
        let inbound_permits = Arc::new(Semaphore::new(context.settings.in_flight_per_peer_max));
        Arc::new(Self {
            peer,
            context,
            send_queue: Mutex::default(),
            active: Mutex::default(),
            wake: Notify::new(),
            inbound_permits,
            connected: watch::Sender::new(false),
        })
    }

    /// Whether a session exists.
    pub(super) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until a session exists.
    pub(super) async fn connected(&self) {
        // The sender is part of this link, so the wait ends only by the value.
        self.connected.subscribe().wait_for(|connected| *connected).await.map(drop).unwrap_or_default();
    }

    /// Installs a session that is ready to carry frames.
    pub(super) fn connect(self: &Arc<Self>, session: LinkSession) {
        let id = session.actor.get_id();
        let session = Arc::new(session);
        let mut active = lock(&self.active);
        let before = active.take();
        let pump = tokio::spawn(pump(Arc::clone(self), Arc::clone(&session)));
        *active = Some(ActiveSession { id, session, pump });
        drop(active);
        if let Some(before) = before {
            before.pump.abort();
            self.fail_pending();
        }
        self.connected.send_replace(true);
    }

    /// Ends the link's session if it is this one.
    pub(super) fn disconnect(&self, session: ActorId) {
        let Some(before) = lock(&self.active).take_if(|active| active.id == session) else { return };
        before.pump.abort();
        self.connected.send_replace(false);
        self.fail_pending();
    }

    /// Closes the session: both halves of its connection, even if they are blocked, and its actor.
    pub(super) fn cut(&self, why: &str) {
        let active = lock(&self.active).as_ref().map(|active| (active.id, Arc::clone(&active.session)));
        if let Some((id, session)) = active {
            session.actor.stop(Some(why.to_owned()));
            if let Some(guard) = &session.guard {
                guard.close();
            }
            self.disconnect(id);
        }
    }

    /// Whether this session carries the link.
    pub(super) fn is_carried_by(&self, session: ActorId) -> bool {
        lock(&self.active).as_ref().is_some_and(|active| active.id == session)
    }

    /// One of the peer's gateways, for a heartbeat.
    pub(super) fn any_gateway(&self) -> Option<ActorRef<GatewayMsg>> {
        lock(&self.active).as_ref().and_then(|active| active.session.gateways.first().cloned())
    }

    fn fail_pending(&self) {
        let lost = lock(&self.send_queue).fail_all();
        count(&self.context.counters.dropped, lost);
    }

    /// A permit for a request from the peer; `None`: the peer has `in_flight_per_peer_max` requests in flight.
    pub(super) fn inbound_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inbound_permits).try_acquire_owned().ok()
    }

    /// Sends a request to the peer and waits for the answer until the request's deadline.
    pub(super) async fn ask(self: Arc<Self>, shard: Shard, ask: Ask) -> Delivered {
        let context = Arc::clone(&self.context);
        let remaining_ms = ask.deadline.since_ms(context.clock.now());
        if remaining_ms == 0 {
            return Delivered::Answered(Answer::Late);
        }
        let body = wire::ask_body(&ask);
        let command = ask.entity.stable_hash() ^ u64::from(crc32fast::hash(&body));
        let header =
            Header { kind: MessageKind::Request, id: context.next_id(), shard, deadline: ask.deadline, command };
        let Ok(message) = message::write(&header, &body) else {
            error!(peer = %self.peer, entity = %ask.entity, bytes = body.len(), "a request is too long to travel");
            return Delivered::NotDelivered;
        };
        if !self.is_connected() {
            return Delivered::NotDelivered;
        }
        let answer = lock(&self.send_queue).ask(header.id, message, &context.settings);
        let Some(answer) = answer else {
            count(&context.counters.busy, 1);
            return Delivered::NotDelivered;
        };
        self.wake.notify_one();
        // Dropped when the caller stops waiting too: then the request no longer counts as in flight.
        let pending = PendingRequest { link: &self, id: header.id };
        let ended = match tokio::time::timeout(Duration::from_millis(remaining_ms), answer).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => RequestEnd::Lost { sent: pending.cancel() },
        };
        drop(pending);
        let delivered = self.delivered(&ask, shard, ended);
        if matches!(delivered, Delivered::Unknown) {
            count(&context.counters.unknown, 1);
            debug!(peer = %self.peer, %shard, entity = %ask.entity, command, "a request has no known outcome");
        }
        delivered
    }

    fn delivered(&self, ask: &Ask, shard: Shard, ended: RequestEnd) -> Delivered {
        match ended {
            RequestEnd::Answered(body) => match wire::read_verdict(&ask.entity, &body) {
                Ok(Verdict::Answered(Answer::Unknown)) => Delivered::Unknown,
                Ok(Verdict::Answered(answer)) => Delivered::Answered(answer),
                Ok(Verdict::NotOwner(hint)) => {
                    if let Some((epoch, node)) = hint {
                        self.context.hints.learn(shard, epoch, &node);
                    }
                    Delivered::NotDelivered
                }
                Ok(Verdict::Busy | Verdict::BadVersion) => Delivered::NotDelivered,
                Err(error) => {
                    count(&self.context.counters.unreadable, 1);
                    if let Some(unlogged) = self.context.refusals.note(Refused::Reply) {
                        error!(peer = %self.peer, %shard, %error, unlogged, "an answer cannot be read");
                    }
                    Delivered::Unknown
                }
            },
            RequestEnd::NotTaken(status) => {
                if status == DeliveryStatus::Busy {
                    count(&self.context.counters.busy, 1);
                }
                if status == DeliveryStatus::BadVersion
                    && let Some(unlogged) = self.context.refusals.note(Refused::Version)
                {
                    warn!(peer = %self.peer, unlogged, "a node of another version did not understand a request");
                }
                Delivered::NotDelivered
            }
            RequestEnd::Lost { sent: false } => Delivered::NotDelivered,
            RequestEnd::Lost { sent: true } => Delivered::Unknown,
        }
    }

    /// Sends a message that has no answer. `false`: it stays here, there is no session or no room.
    pub(super) fn send(&self, shard: Shard, one_way: &OneWay) -> bool {
        let deadline = match one_way {
            OneWay::Ask { ask, .. } => ask.deadline,
            OneWay::Answer { .. } | OneWay::CopyGone { .. } => Timestamp(u64::MAX),
        };
        self.send_message(MessageKind::OneWay, shard, deadline, &wire::one_way_body(one_way))
    }

    /// Sends a hint about the owner of a shard.
    pub(super) fn send_owner_hint(&self, shard: Shard, epoch: Epoch, node: &NodeId) {
        self.send_message(MessageKind::OwnerHint, shard, Timestamp(u64::MAX), &wire::owner_hint_body(epoch, node));
    }

    fn send_message(&self, kind: MessageKind, shard: Shard, deadline: Timestamp, body: &[u8]) -> bool {
        let written = message::write(&Header { kind, id: 0, shard, deadline, command: 0 }, body);
        let room = self.is_connected()
            && written
                .is_ok_and(|message| lock(&self.send_queue).push(QueuedMessage::new(message), &self.context.settings));
        if room {
            self.wake.notify_one();
        } else {
            count(&self.context.counters.dropped, 1);
        }
        room
    }

    /// Answers a request of the peer. There is always room for an answer, because the permits bound their number. An answer that is too long, or does
    /// not fit beside the queued bytes, is replaced by *unknown*.
    pub(super) fn answer(&self, id: u64, shard: Shard, verdict: Verdict, permit: OwnedSemaphorePermit) {
        let header = Header { kind: MessageKind::Answer, id, shard, deadline: Timestamp(u64::MAX), command: 0 };
        let unknown = [DeliveryStatus::Unknown.number()];
        let body = wire::verdict_body(verdict);
        let mut send_queue = lock(&self.send_queue);
        let fits = send_queue.has_capacity(body.len(), &self.context.settings);
        let message = message::write(&header, if fits { &body } else { &unknown }).or_else(|_too_long| {
            error!(peer = %self.peer, %shard, bytes = body.len(), "an answer is too long to travel");
            message::write(&header, &unknown)
        });
        if let Ok(message) = message {
            send_queue.push_unbounded(QueuedMessage::answer(message, permit));
        }
        drop(send_queue);
        self.wake.notify_one();
    }

    /// Completes a request with the peer's answer.
    pub(super) fn answered(&self, id: u64, body: &[u8]) {
        lock(&self.send_queue).end(id, RequestEnd::Answered(body.to_vec()));
    }

    /// Takes in the receipt of a frame that carried these requests.
    fn confirmed(&self, ids: &[u64], receipt: &[u8]) {
        let refused = message::read_receipt(receipt).unwrap_or_else(|error| {
            count(&self.context.counters.unreadable, 1);
            if let Some(unlogged) = self.context.refusals.note(Refused::Reply) {
                warn!(peer = %self.peer, %error, unlogged, "a receipt cannot be read");
            }
            Vec::new()
        });
        let mut send_queue = lock(&self.send_queue);
        for (id, status) in refused {
            if id == 0 {
                ids.iter().for_each(|id| send_queue.end(*id, RequestEnd::NotTaken(status)));
            } else {
                send_queue.end(id, RequestEnd::NotTaken(status));
            }
        }
    }

    /// The next frame and the ids of its requests; `None`: the queue is empty.
    fn next_frame(&self) -> Option<(Vec<u8>, Vec<u64>)> {
        let mut frame = Frame::from(&self.context.name);
        let ids = lock(&self.send_queue).fill(&mut frame, self.context.settings.frame_bytes_max);
        let messages = frame.messages();
        if messages == 0 {
            return None;
        }
        count(&self.context.counters.sent, messages);
        count(&self.context.counters.frames_sent, 1);
        Some((frame.into_bytes(), ids))
    }
}

/// A request in flight. It is cancelled when this value is dropped.
struct PendingRequest<'a> {
    link: &'a Link,
    id: u64,
}

impl PendingRequest<'_> {
    /// Cancels the request; returns whether it was sent.
    fn cancel(&self) -> bool {
        lock(&self.link.send_queue).cancel(self.id)
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Sends the queued messages, frame by frame, while the session lasts.
async fn pump(link: Arc<Link>, session: Arc<LinkSession>) {
    let window = Arc::new(Semaphore::new(link.context.settings.frames_in_flight_max));
    for gateway in session.gateways.iter().cycle() {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&window).acquire_owned().await else { return };
        let (bytes, ids) = loop {
            if let Some(frame) = link.next_frame() {
                break frame;
            }
            link.wake.notified().await;
        };
        let (reply, receipt) = oneshot::channel();
        let port = RpcReplyPort::from(reply);
        if gateway.send_message(GatewayMsg::Deliver(bytes, port)).is_err() {
            // The local stand-in for the peer's gateway has ended: nothing left this node.
            let mut send_queue = lock(&link.send_queue);
            ids.iter().for_each(|id| send_queue.end(*id, RequestEnd::Lost { sent: false }));
            continue;
        }
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            // Without a receipt the peer's gateway has ended; its requests then end by their own deadlines.
            if let Ok(receipt) = receipt.await {
                link.confirmed(&ids, &receipt);
            }
            drop(permit);
        });
    }
}
