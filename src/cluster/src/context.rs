//! What the parts of the gateway share: this node's identity, the settings, the owner hints, the counters.

use super::hints::OwnerHints;
use super::refusals::Refusals;
use super::settings::GatewaySettings;
use doorbuster_clock::SharedClock;
use doorbuster_storage::registry::NodeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The `ractor` process group of a node's gateways.
pub(super) fn group_of(node: &NodeId) -> String {
    format!("doorbuster.gateway.{node}")
}

/// Shared by all parts of the gateway.
#[derive(Debug)]
pub(super) struct GatewayContext {
    pub(super) own: NodeId,
    /// [`GatewayContext::own`] as text, as frames carry it.
    pub(super) name: String,
    /// The address at which other nodes reach this one, `host:port`.
    pub(super) address: String,
    pub(super) settings: GatewaySettings,
    pub(super) clock: SharedClock,
    pub(super) hints: OwnerHints,
    pub(super) counters: Counters,
    pub(super) refusals: Arc<Refusals>,
    /// Sessions that have ended: what was sent in one and not answered may be lost.
    pub(super) sessions_ended: AtomicU64,
    last_id: AtomicU64,
}

impl GatewayContext {
    pub(super) fn new(own: NodeId, address: String, settings: GatewaySettings, clock: SharedClock) -> Self {
        let (hints, counters) = (OwnerHints::default(), Counters::default());
        let (sessions_ended, last_id) = (AtomicU64::new(0), AtomicU64::new(0));
        let refusals = Arc::default();
        Self {
            name: own.to_string(),
            own,
            address,
            settings,
            clock,
            hints,
            counters,
            refusals,
            sessions_ended,
            last_id,
        }
    }

    /// A request id: never 0, and never reused in this process, so a late answer is matched to no other request.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// Live counters behind [`Traffic`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) frames_sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) frames_received: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) unreadable: AtomicU64,
}

/// Messages and frames exchanged with peers since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages sent to peers.
    pub sent: u64,
    /// Frames that carried the sent messages.
    pub frames_sent: u64,
    /// Messages received from peers.
    pub received: u64,
    /// Frames that carried the received messages.
    pub frames_received: u64,
    /// Requests refused because a queue or permit limit was reached, on either node.
    pub busy: u64,
    /// Requests that were sent and never answered.
    pub unknown: u64,
    /// One-way messages that were discarded because no queue had room or no node owned the shard; their sender repeats them (rule E4).
    pub dropped: u64,
    /// Frames and messages that could not be decoded.
    pub unreadable: u64,
}

/// Adds `by` to a counter.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    pub(super) fn shown(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            sent: read(&self.sent),
            frames_sent: read(&self.frames_sent),
            received: read(&self.received),
            frames_received: read(&self.frames_received),
            busy: read(&self.busy),
            unknown: read(&self.unknown),
            dropped: read(&self.dropped),
            unreadable: read(&self.unreadable),
        }
    }
}
