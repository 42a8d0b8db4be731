//! The way to one peer: what waits to be sent shares frames, what was asked waits for its answer, and both have bounds.
//!
//! ```text
//! ask, tell, answer ──► queue ──pump: one frame of what waits──► session ──► the peer's gateways
//!                                     ▲ at most so many frames unconfirmed; meanwhile the next ones gather
//! ```
//!
//! What never left the queue was never delivered; what left it and met the end of its session, or of its own time, may have been decided
//! (rule E5). A link lasts as long as its peer is a member; sessions come and go.

use super::common::{Common, count};
use super::envelope::{self, Frame, Header, Kind, Status};
use super::gateway::GatewayMsg;
use super::guard::Guard;
use super::outbox::{Ended, Outbox, Parcel};
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

/// What carries a link's frames while it lasts.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) session: ActorRef<NodeSessionMessage>,
    pub(super) guard: Option<Arc<Guard>>,
    /// The peer's gateways.
    pub(super) gateways: Vec<ActorRef<GatewayMsg>>,
}

#[derive(Debug)]
struct Carried {
    id: ActorId,
    carrier: Arc<Carrier>,
    pump: JoinHandle<()>,
}

/// The way to one peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: NodeId,
    common: Arc<Common>,
    outbox: Mutex<Outbox>,
    carried: Mutex<Option<Carried>>,
    wake: Notify,
    /// Places for questions that this peer asks us.
    taken_in: Arc<Semaphore>,
    connected: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(peer: NodeId, common: Arc<Common>) -> Arc<Self> {
        let taken_in = Arc::new(Semaphore::new(common.settings.in_flight_per_peer_max));
        Arc::new(Self {
            peer,
            common,
            outbox: Mutex::default(),
            carried: Mutex::default(),
            wake: Notify::new(),
            taken_in,
            connected: watch::Sender::new(false),
        })
    }

    /// Is there a session that carries it?
    pub(super) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until there is one.
    pub(super) async fn connected(&self) {
        // The sender is part of this link, so the wait ends only by the value.
        self.connected.subscribe().wait_for(|connected| *connected).await.map(drop).unwrap_or_default();
    }

    /// A session is ready to carry frames.
    pub(super) fn connect(self: &Arc<Self>, carrier: Carrier) {
        let id = carrier.session.get_id();
        let carrier = Arc::new(carrier);
        let mut carried = lock(&self.carried);
        let before = carried.take();
        let pump = tokio::spawn(pump(Arc::clone(self), Arc::clone(&carrier)));
        *carried = Some(Carried { id, carrier, pump });
        drop(carried);
        if let Some(before) = before {
            before.pump.abort();
            self.lose();
        }
        self.connected.send_replace(true);
    }

    /// The session has ended; another one's end changes nothing.
    pub(super) fn disconnect(&self, session: ActorId) {
        let Some(before) = lock(&self.carried).take_if(|carried| carried.id == session) else { return };
        before.pump.abort();
        self.connected.send_replace(false);
        self.lose();
    }

    /// Ends the session by hand: both halves of its connection, whatever they hang on, and its actor.
    pub(super) fn cut(&self, why: &str) {
        let carried = lock(&self.carried).as_ref().map(|carried| (carried.id, Arc::clone(&carried.carrier)));
        if let Some((id, carrier)) = carried {
            carrier.session.stop(Some(why.to_owned()));
            if let Some(guard) = &carrier.guard {
                guard.close();
            }
            self.disconnect(id);
        }
    }

    /// Is this the session that carries it?
    pub(super) fn is_carried_by(&self, session: ActorId) -> bool {
        lock(&self.carried).as_ref().is_some_and(|carried| carried.id == session)
    }

    /// One of the peer's gateways, for a heartbeat.
    pub(super) fn any_gateway(&self) -> Option<ActorRef<GatewayMsg>> {
        lock(&self.carried).as_ref().and_then(|carried| carried.carrier.gateways.first().cloned())
    }

    fn lose(&self) {
        let lost = lock(&self.outbox).lose_all();
        count(&self.common.counters.dropped, lost);
    }

    /// A place for a question that the peer asks us; `None`: it has as many under way as it may.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.taken_in).try_acquire_owned().ok()
    }

    /// Asks the peer; ends by the question's own deadline.
    pub(super) async fn ask(self: Arc<Self>, shard: Shard, ask: Ask) -> Delivered {
        let common = Arc::clone(&self.common);
        let left_ms = ask.deadline.since_ms(common.clock.now());
        if left_ms == 0 {
            return Delivered::Answered(Answer::Late);
        }
        let body = wire::ask_body(&ask);
        let command = ask.entity.stable_hash() ^ u64::from(crc32fast::hash(&body));
        let header = Header { kind: Kind::Ask, id: common.next_id(), shard, deadline: ask.deadline, command };
        let Ok(envelope) = envelope::write(&header, &body) else {
            error!(peer = %self.peer, entity = %ask.entity, bytes = body.len(), "a question is too long to travel");
            return Delivered::NotDelivered;
        };
        if !self.is_connected() {
            return Delivered::NotDelivered;
        }
        let waiting = lock(&self.outbox).ask(header.id, envelope, &common.settings);
        let Some(waiting) = waiting else {
            count(&common.counters.busy, 1);
            return Delivered::NotDelivered;
        };
        self.wake.notify_one();
        // Also when whoever asks stops waiting: the place among those under way is free again.
        let asked = Asked { link: &self, id: header.id };
        let ended = match tokio::time::timeout(Duration::from_millis(left_ms), waiting).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => Ended::Lost { sent: asked.give_up() },
        };
        drop(asked);
        let delivered = self.delivered(&ask, shard, ended);
        if matches!(delivered, Delivered::Unknown) {
            count(&common.counters.unknown, 1);
            debug!(peer = %self.peer, %shard, entity = %ask.entity, command, "a question has no known outcome");
        }
        delivered
    }

    fn delivered(&self, ask: &Ask, shard: Shard, ended: Ended) -> Delivered {
        match ended {
            Ended::Answered(body) => match wire::read_verdict(&ask.entity, &body) {
                Ok(Verdict::Answered(Answer::Unknown)) => Delivered::Unknown,
                Ok(Verdict::Answered(answer)) => Delivered::Answered(answer),
                Ok(Verdict::NotOwner(hint)) => {
                    if let Some((epoch, node)) = hint {
                        self.common.hints.learn(shard, epoch, &node);
                    }
                    Delivered::NotDelivered
                }
                Ok(Verdict::Busy | Verdict::BadVersion) => Delivered::NotDelivered,
                Err(error) => {
                    count(&self.common.counters.unreadable, 1);
                    error!(peer = %self.peer, %shard, %error, "an answer cannot be read");
                    Delivered::Unknown
                }
            },
            Ended::NotTaken(status) => {
                if status == Status::Busy {
                    count(&self.common.counters.busy, 1);
                }
                if status == Status::BadVersion {
                    warn!(peer = %self.peer, "a node of another version did not understand a question");
                }
                Delivered::NotDelivered
            }
            Ended::Lost { sent: false } => Delivered::NotDelivered,
            Ended::Lost { sent: true } => Delivered::Unknown,
        }
    }

    /// Says something nobody waits for.
    pub(super) fn tell(&self, shard: Shard, told: &OneWay) {
        let deadline = match told {
            OneWay::Ask { ask, .. } => ask.deadline,
            OneWay::Answer { .. } => Timestamp(u64::MAX),
        };
        self.put(Kind::Tell, shard, deadline, &wire::told_body(told));
    }

    /// Says who owns a shard.
    pub(super) fn say_owner(&self, shard: Shard, epoch: Epoch, node: &NodeId) {
        self.put(Kind::Owns, shard, Timestamp(u64::MAX), &wire::owns_body(epoch, node));
    }

    fn put(&self, kind: Kind, shard: Shard, deadline: Timestamp, body: &[u8]) {
        let written = envelope::write(&Header { kind, id: 0, shard, deadline, command: 0 }, body);
        let room = self.is_connected()
            && written.is_ok_and(|envelope| lock(&self.outbox).put(Parcel::of(envelope), &self.common.settings));
        if room {
            self.wake.notify_one();
        } else {
            count(&self.common.counters.dropped, 1);
        }
    }

    /// Answers what the peer asked. An answer always finds room: their number is bounded by the places, and one that is too long, or too much
    /// beside what waits already, is sent as *unknown*.
    pub(super) fn answer(&self, id: u64, shard: Shard, verdict: Verdict, place: OwnedSemaphorePermit) {
        let header = Header { kind: Kind::Answer, id, shard, deadline: Timestamp(u64::MAX), command: 0 };
        let unknown = [Status::Unknown.number()];
        let body = wire::verdict_body(verdict);
        let mut outbox = lock(&self.outbox);
        let fits = outbox.has_room(body.len(), &self.common.settings);
        let envelope = envelope::write(&header, if fits { &body } else { &unknown }).or_else(|_too_long| {
            error!(peer = %self.peer, %shard, bytes = body.len(), "an answer is too long to travel");
            envelope::write(&header, &unknown)
        });
        if let Ok(envelope) = envelope {
            outbox.put_always(Parcel::answer(envelope, place));
        }
        drop(outbox);
        self.wake.notify_one();
    }

    /// The peer has answered.
    pub(super) fn answered(&self, id: u64, body: &[u8]) {
        lock(&self.outbox).end(id, Ended::Answered(body.to_vec()));
    }

    /// The peer has confirmed a frame with these questions in it.
    fn confirmed(&self, ids: &[u64], receipt: &[u8]) {
        let refused = envelope::read_receipt(receipt).unwrap_or_else(|error| {
            count(&self.common.counters.unreadable, 1);
            warn!(peer = %self.peer, %error, "a receipt cannot be read");
            Vec::new()
        });
        let mut outbox = lock(&self.outbox);
        for (id, status) in refused {
            if id == 0 {
                ids.iter().for_each(|id| outbox.end(*id, Ended::NotTaken(status)));
            } else {
                outbox.end(id, Ended::NotTaken(status));
            }
        }
    }

    /// The next frame and the questions in it; `None`: nothing waits.
    fn next_frame(&self) -> Option<(Vec<u8>, Vec<u64>)> {
        let mut frame = Frame::from(&self.common.name);
        let ids = lock(&self.outbox).fill(&mut frame, self.common.settings.frame_bytes_max);
        let parcels = frame.parcels();
        if parcels == 0 {
            return None;
        }
        count(&self.common.counters.sent, parcels);
        count(&self.common.counters.frames_sent, 1);
        Some((frame.done(), ids))
    }
}

/// A question under way, until it has ended or nobody waits for it any more.
struct Asked<'a> {
    link: &'a Link,
    id: u64,
}

impl Asked<'_> {
    /// Was it sent?
    fn give_up(&self) -> bool {
        lock(&self.link.outbox).give_up(self.id)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Sends what waits, frame by frame, for as long as the session lasts.
async fn pump(link: Arc<Link>, carrier: Arc<Carrier>) {
    let window = Arc::new(Semaphore::new(link.common.settings.frames_in_flight_max));
    for gateway in carrier.gateways.iter().cycle() {
        // The window is never closed.
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
            let mut outbox = lock(&link.outbox);
            ids.iter().for_each(|id| outbox.end(*id, Ended::Lost { sent: false }));
            continue;
        }
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            // Without a receipt its gateway ended; what was asked then ends by its own deadline.
            if let Ok(receipt) = receipt.await {
                link.confirmed(&ids, &receipt);
            }
            drop(permit);
        });
    }
}
