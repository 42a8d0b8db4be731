//! A node's gateways: the only actors that other nodes can address. They decode frames, pass the messages on, and never wait.
//!
//! ```text
//! frame ──► gateway ──► Inbound.deliver, a task per request ──► answer, in a frame to the sender
//!              └──► receipt, at once: which requests were rejected, and why
//! ```

use super::context::{GatewayContext, count};
use super::inbound::{Inbound, InboundAnswer};
use super::link::Link;
use super::message::{self, DeliveryStatus, Message, MessageKind};
use super::peers::Peers;
use super::refusals::Refused;
use super::wire::{self, Verdict};
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::{debug, warn};

/// The messages that a gateway accepts from other nodes.
#[derive(Debug)]
pub(super) enum GatewayMsg {
    /// A frame; the reply is its receipt.
    Deliver(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// A heartbeat; the reply is empty.
    Ping(RpcReplyPort<Vec<u8>>),
}

const DELIVER: &str = "Deliver";
const PING: &str = "Ping";

/// Implemented by hand rather than derived: the bytes pass through unchanged, and any other variant is refused.
impl ractor::Message for GatewayMsg {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        let (variant, args, reply) = match self {
            Self::Deliver(frame, reply) => (DELIVER, frame, reply),
            Self::Ping(reply) => (PING, Vec::new(), reply),
        };
        Ok(SerializedMessage::Call { variant: variant.to_owned(), args, reply, metadata: None })
    }

    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        match message {
            SerializedMessage::Call { variant, args, reply, .. } if variant == DELIVER => {
                Ok(Self::Deliver(args, reply))
            }
            SerializedMessage::Call { variant, reply, .. } if variant == PING => Ok(Self::Ping(reply)),
            SerializedMessage::Call { .. } | SerializedMessage::Cast { .. } | SerializedMessage::CallReply(..) => {
                Err(BoxedDowncastErr)
            }
        }
    }
}

/// The actor of one gateway.
#[derive(Debug)]
pub(super) struct GatewayActor;

impl Actor for GatewayActor {
    type Msg = GatewayMsg;
    type State = Arc<FrameHandler>;
    type Arguments = Arc<FrameHandler>;

    async fn pre_start(
        &self,
        _: ActorRef<GatewayMsg>,
        handler: Arc<FrameHandler>,
    ) -> Result<Arc<FrameHandler>, ActorProcessingErr> {
        Ok(handler)
    }

    async fn handle(
        &self,
        _: ActorRef<GatewayMsg>,
        message: GatewayMsg,
        handler: &mut Arc<FrameHandler>,
    ) -> Result<(), ActorProcessingErr> {
        // The sender may have disconnected before the reply: that must not end the gateway.
        match message {
            GatewayMsg::Deliver(frame, reply) => reply.send(message::write_receipt(&handler.handle_frame(&frame))).ok(),
            GatewayMsg::Ping(reply) => reply.send(Vec::new()).ok(),
        };
        Ok(())
    }
}

/// Handles the frames of all gateways of the node.
#[derive(Debug)]
pub(super) struct FrameHandler {
    pub(super) context: Arc<GatewayContext>,
    pub(super) peers: Arc<Peers>,
    pub(super) inbound: OnceLock<Arc<dyn Inbound>>,
}

impl FrameHandler {
    /// Handles a frame and returns the rejected requests. Id 0: the frame itself could not be decoded.
    fn handle_frame(&self, frame: &[u8]) -> Vec<(u64, DeliveryStatus)> {
        let counters = &self.context.counters;
        count(&counters.frames_received, 1);
        let (sender, messages) = match message::read_frame(frame) {
            Ok(read) => read,
            Err(error) => {
                count(&counters.unreadable, 1);
                if let Some(unlogged) = self.context.refusals.note(Refused::Frame) {
                    warn!(%error, bytes = frame.len(), unlogged, "a frame from a peer cannot be read");
                }
                return vec![(0, DeliveryStatus::BadVersion)];
            }
        };
        let Some(link) = self.peers.link_named(sender) else {
            count(&counters.unreadable, 1);
            if let Some(unlogged) = self.context.refusals.note(Refused::Sender) {
                warn!(sender, unlogged, "a frame from a node that has no session with us");
            }
            return vec![(0, DeliveryStatus::BadVersion)];
        };
        count(&counters.received, messages.len());
        let taken = messages.into_iter().map(|message| self.handle_message(&link, message));
        taken.filter_map(Result::err).filter(|(id, _)| *id != 0).collect()
    }

    /// Handles one message, or says why it is rejected.
    fn handle_message(&self, link: &Arc<Link>, message: &[u8]) -> Result<(), (u64, DeliveryStatus)> {
        let Message { header, body } =
            message::read(message).map_err(|(id, error)| self.unreadable(link, id, &error))?;
        let id = header.id;
        match header.kind {
            MessageKind::Request => {
                let ask = wire::read_ask(header.deadline, body).map_err(|error| self.unreadable(link, id, &error))?;
                debug!(peer = %link.peer, shard = %header.shard, entity = %ask.entity, command = header.command, "request from a peer");
                self.handle_request(link, id, header.shard, ask)?;
            }
            MessageKind::Answer => link.answered(id, body),
            MessageKind::OneWay => {
                let one_way =
                    wire::read_one_way(header.deadline, body).map_err(|error| self.unreadable(link, id, &error))?;
                match self.inbound.get() {
                    Some(inbound) => inbound.deliver_one_way(header.shard, one_way),
                    None => count(&self.context.counters.dropped, 1),
                }
                self.correct_owner(link, header.shard);
            }
            MessageKind::OwnerHint => {
                let (epoch, node) = wire::read_owner_hint(body).map_err(|error| self.unreadable(link, id, &error))?;
                self.context.hints.learn(header.shard, epoch, &node);
            }
        }
        Ok(())
    }

    fn unreadable(&self, link: &Link, id: u64, error: &dyn std::fmt::Display) -> (u64, DeliveryStatus) {
        count(&self.context.counters.unreadable, 1);
        if let Some(unlogged) = self.context.refusals.note(Refused::Message) {
            warn!(peer = %link.peer, %error, unlogged, "a message cannot be read");
        }
        (id, DeliveryStatus::BadVersion)
    }

    /// Answers a one-way message for a shard that this node believes to be elsewhere with a hint about the owner.
    fn correct_owner(&self, link: &Link, shard: Shard) {
        if let Some((epoch, node)) = self.owner_elsewhere(shard)
            && node != link.peer
        {
            link.send_owner_hint(shard, epoch, &node);
        }
    }

    /// The owner of the shard, if another node is believed to own it.
    fn owner_elsewhere(&self, shard: Shard) -> Option<(Epoch, NodeId)> {
        self.context.hints.owner(shard).filter(|(_, node)| *node != self.context.own)
    }

    fn handle_request(&self, link: &Arc<Link>, id: u64, shard: Shard, ask: Ask) -> Result<(), (u64, DeliveryStatus)> {
        let inbound = self.inbound.get().ok_or((id, DeliveryStatus::NotOwner))?;
        let permit = link.inbound_permit().ok_or((id, DeliveryStatus::Busy))?;
        let remaining_ms = ask.deadline.since_ms(self.context.clock.now());
        if remaining_ms == 0 {
            link.answer(id, shard, Verdict::Answered(Answer::Late), permit);
            return Ok(());
        }
        let entity = ask.entity.clone();
        let answering = inbound.deliver(shard, ask);
        let (link, hint) = (Arc::clone(link), self.owner_elsewhere(shard));
        tokio::spawn(async move {
            // After its deadline no one waits for the answer, but the permit must still be returned.
            let verdict = match tokio::time::timeout(Duration::from_millis(remaining_ms), answering).await {
                Ok(InboundAnswer::Answered(answer)) => Verdict::Answered(answer),
                Ok(InboundAnswer::NotOwner) => Verdict::NotOwner(hint),
                Err(_) => {
                    warn!(peer = %link.peer, %shard, %entity, "a request from another node was not answered by its deadline");
                    Verdict::Answered(Answer::Unknown)
                }
            };
            link.answer(id, shard, verdict, permit);
        });
        Ok(())
    }
}
