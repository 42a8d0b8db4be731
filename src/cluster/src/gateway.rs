//! A node's gateways: the only actors that other nodes know of. They take frames in, hand on what is in them, and never wait.
//!
//! ```text
//! frame ──► gateway ──► Inbound.deliver, a task per question ──► answer, in a frame of the way back
//!              └──► receipt, at once: which questions were not taken, and why
//! ```

use super::common::{Common, count};
use super::envelope::{self, Envelope, Kind, Status};
use super::inbound::{Inbound, Inbox};
use super::link::Link;
use super::peers::Peers;
use super::wire::{self, Verdict};
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_storage::registry::NodeId;
use doorbuster_storage::{Epoch, Shard};
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::{debug, warn};

/// All that a node understands from others.
#[derive(Debug)]
pub(super) enum GatewayMsg {
    /// A frame; the reply is its receipt.
    Deliver(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// Are you there? The reply is empty.
    Ping(RpcReplyPort<Vec<u8>>),
}

const DELIVER: &str = "Deliver";
const PING: &str = "Ping";

/// By hand rather than derived: bytes go through as they are, and what is not one of the two is refused.
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

/// One gateway.
#[derive(Debug)]
pub(super) struct GatewayActor;

impl Actor for GatewayActor {
    type Msg = GatewayMsg;
    type State = Arc<Intake>;
    type Arguments = Arc<Intake>;

    async fn pre_start(&self, _: ActorRef<GatewayMsg>, intake: Arc<Intake>) -> Result<Arc<Intake>, ActorProcessingErr> {
        Ok(intake)
    }

    async fn handle(
        &self,
        _: ActorRef<GatewayMsg>,
        message: GatewayMsg,
        intake: &mut Arc<Intake>,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever waits for the reply may be gone: no reason to end a gateway.
        match message {
            GatewayMsg::Deliver(frame, reply) => reply.send(envelope::write_receipt(&intake.take_in(&frame))).ok(),
            GatewayMsg::Ping(reply) => reply.send(Vec::new()).ok(),
        };
        Ok(())
    }
}

/// What all gateways of the node do with a frame.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) common: Arc<Common>,
    pub(super) peers: Arc<Peers>,
    pub(super) inbound: OnceLock<Arc<dyn Inbound>>,
}

impl Intake {
    /// Takes a frame in; gives what was not taken. Id 0: nothing of it could be read.
    fn take_in(&self, frame: &[u8]) -> Vec<(u64, Status)> {
        let counters = &self.common.counters;
        count(&counters.frames_received, 1);
        let (sender, parcels) = match envelope::read_frame(frame) {
            Ok(read) => read,
            Err(error) => {
                count(&counters.unreadable, 1);
                warn!(%error, bytes = frame.len(), "a frame from a peer cannot be read");
                return vec![(0, Status::BadVersion)];
            }
        };
        let Some(link) = self.peers.link_named(sender) else {
            count(&counters.unreadable, 1);
            warn!(sender, "a frame from a node that has no session with us");
            return vec![(0, Status::BadVersion)];
        };
        count(&counters.received, parcels.len());
        let taken = parcels.into_iter().map(|parcel| self.open(&link, parcel));
        taken.filter_map(Result::err).filter(|(id, _)| *id != 0).collect()
    }

    /// Takes one envelope in, or says why not.
    fn open(&self, link: &Arc<Link>, parcel: &[u8]) -> Result<(), (u64, Status)> {
        let Envelope { header, body } =
            envelope::read(parcel).map_err(|(id, error)| self.unreadable(link, id, &error))?;
        let id = header.id;
        match header.kind {
            Kind::Ask => {
                let ask = wire::read_ask(header.deadline, body).map_err(|error| self.unreadable(link, id, &error))?;
                debug!(peer = %link.peer, shard = %header.shard, entity = %ask.entity, command = header.command, "asked");
                self.asked(link, id, header.shard, ask)?;
            }
            Kind::Answer => link.answered(id, body),
            Kind::Tell => {
                let told = wire::read_told(header.deadline, body).map_err(|error| self.unreadable(link, id, &error))?;
                match self.inbound.get() {
                    Some(inbound) => inbound.told(header.shard, told),
                    None => count(&self.common.counters.dropped, 1),
                }
                self.set_right(link, header.shard);
            }
            Kind::Owns => {
                let (epoch, node) = wire::read_owns(body).map_err(|error| self.unreadable(link, id, &error))?;
                self.common.hints.learn(header.shard, epoch, &node);
            }
        }
        Ok(())
    }

    fn unreadable(&self, link: &Link, id: u64, error: &dyn std::fmt::Display) -> (u64, Status) {
        count(&self.common.counters.unreadable, 1);
        warn!(peer = %link.peer, %error, "an envelope cannot be read");
        (id, Status::BadVersion)
    }

    /// Whoever tells a shard's news to a node that knows another owner is told so.
    fn set_right(&self, link: &Link, shard: Shard) {
        if let Some((epoch, node)) = self.hint_for(shard)
            && node != link.peer
        {
            link.say_owner(shard, epoch, &node);
        }
    }

    /// Where the shard is, if that is elsewhere.
    fn hint_for(&self, shard: Shard) -> Option<(Epoch, NodeId)> {
        self.common.hints.owner(shard).filter(|(_, node)| *node != self.common.own)
    }

    fn asked(&self, link: &Arc<Link>, id: u64, shard: Shard, ask: Ask) -> Result<(), (u64, Status)> {
        let inbound = self.inbound.get().ok_or((id, Status::NotOwner))?;
        let place = link.place().ok_or((id, Status::Busy))?;
        let left_ms = ask.deadline.since_ms(self.common.clock.now());
        if left_ms == 0 {
            link.answer(id, shard, Verdict::Answered(Answer::Late), place);
            return Ok(());
        }
        let entity = ask.entity.clone();
        let answering = inbound.deliver(shard, ask);
        let (link, hint) = (Arc::clone(link), self.hint_for(shard));
        tokio::spawn(async move {
            // Past its deadline nobody waits for the answer; the place must not be lost with it.
            let verdict = match tokio::time::timeout(Duration::from_millis(left_ms), answering).await {
                Ok(Inbox::Answered(answer)) => Verdict::Answered(answer),
                Ok(Inbox::NotOwner) => Verdict::NotOwner(hint),
                Err(_) => {
                    warn!(peer = %link.peer, %shard, %entity, "a question from another node was not answered by its deadline");
                    Verdict::Answered(Answer::Unknown)
                }
            };
            link.answer(id, shard, verdict, place);
        });
        Ok(())
    }
}
