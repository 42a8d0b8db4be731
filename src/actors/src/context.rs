//! What every actor of a node needs and no actor is: the store, the clock, the settings, the counters, and the end of a node or a shard.

use super::cores::Core;
use super::faults::Faults;
use super::settings::Settings;
use super::stats::Stats;
use super::view::AvailabilityViews;
use compact_str::CompactString;
use doorbuster_clock::SharedClock;
use doorbuster_storage::{AppendError, Epoch, Layout, Shard, Store};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// One per node.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) layout: Layout,
    pub(crate) clock: SharedClock,
    pub(crate) settings: Settings,
    pub(crate) stats: Arc<Stats>,
    pub(crate) views: AvailabilityViews,
    pub(crate) provider_name: CompactString,
    pub(crate) faults: Faults,
    /// The cores among which the shards are divided; none in the simulation and with one runtime for all.
    pub(crate) cores: Box<[Core]>,
    /// Why the node must end, once it must.
    pub(crate) failed: watch::Sender<Option<String>>,
    /// Takes the shards that are lost, where shards are acquired and released while the node runs. `None`: the node owns all shards from
    /// the start and ends with one of them.
    pub(crate) losses: Option<mpsc::UnboundedSender<LostShard>>,
}

/// An ownership that ended without being released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostShard {
    /// The shard.
    pub shard: Shard,
    /// The epoch of the ownership.
    pub epoch: Epoch,
    /// Another node has claimed it; otherwise the store or an actor failed.
    pub fenced: bool,
    /// What happened, for the log.
    pub why: String,
}

impl Context {
    /// The core of a shard's actor and its entities.
    pub(crate) fn core_of(&self, shard: Shard) -> &Core {
        const NONE: &Core = &Core::none();
        let index = usize::from(shard.0).checked_rem(self.cores.len());
        index.and_then(|index| self.cores.get(index)).unwrap_or(NONE)
    }

    /// The node must end; the first reason stays.
    pub(crate) fn fail(&self, reason: &str) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                tracing::error!(reason, "the node must end");
                *failed = Some(reason.to_owned());
            }
            first
        });
    }

    /// An ownership is over: its commit group stops (rule E2), and where all shards are in one, the node.
    pub(crate) fn lose(&self, shard: Shard, epoch: Epoch, what: &str, error: &AppendError) {
        let fenced = matches!(error, AppendError::Fenced { .. });
        let Some(losses) = &self.losses else {
            self.fail(&format!("{what}: {error}"));
            return;
        };
        if fenced {
            tracing::info!(shard = shard.0, epoch, %error, "the shard has another owner now");
        } else {
            tracing::warn!(shard = shard.0, epoch, what, %error, "the shard stops");
        }
        // The receiver is gone once the node ends, and then there is nothing left to stop.
        drop(losses.send(LostShard { shard, epoch, fenced, why: format!("{what}: {error}") }));
    }

    /// Must the node end?
    pub(crate) fn must_end(&self) -> bool {
        self.failed.borrow().is_some()
    }
}
