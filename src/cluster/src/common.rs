//! What the parts of the gateway share: who we are, the bounds, the hints, the counters.

use super::hints::OwnerHints;
use super::settings::GatewaySettings;
use doorbuster_clock::SharedClock;
use doorbuster_storage::registry::NodeId;
use std::sync::atomic::{AtomicU64, Ordering};

/// The process group of a node's gateways.
pub(super) fn group_of(node: &NodeId) -> String {
    format!("doorbuster.gateway.{node}")
}

/// Held by every part.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) own: NodeId,
    /// [`Common::own`] as it is sent.
    pub(super) name: String,
    /// Where other nodes reach us.
    pub(super) address: String,
    pub(super) settings: GatewaySettings,
    pub(super) clock: SharedClock,
    pub(super) hints: OwnerHints,
    pub(super) counters: Counters,
    last_id: AtomicU64,
}

impl Common {
    pub(super) fn new(own: NodeId, address: String, settings: GatewaySettings, clock: SharedClock) -> Self {
        let (hints, counters, last_id) = (OwnerHints::default(), Counters::default(), AtomicU64::new(0));
        Self { name: own.to_string(), own, address, settings, clock, hints, counters, last_id }
    }

    /// A number for a question; never 0, and never again in this process: an answer that comes late answers nothing else.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// Counted since the start.
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

/// What has travelled since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Envelopes sent to peers.
    pub sent: u64,
    /// Frames they shared.
    pub frames_sent: u64,
    /// Envelopes that came from peers.
    pub received: u64,
    /// Frames they shared.
    pub frames_received: u64,
    /// Questions refused for want of room, here or there.
    pub busy: u64,
    /// Questions that were sent and whose answer never came.
    pub unknown: u64,
    /// Things told that found no room or nobody to take them; whoever owes them sends them again (rule E4).
    pub dropped: u64,
    /// Frames and envelopes that could not be read.
    pub unreadable: u64,
}

/// One more.
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
