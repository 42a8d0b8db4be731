//! What every actor of a node shares: the store, the clock, the views, the way to each other.

use super::ask::Ask;
use super::entity::EntityMsg;
use super::output::ReplyTo;
use super::ownership::LostShard;
use super::router::{Envelope, Router};
use super::settings::Settings;
use super::shard::EFFECT_ROOM;
use super::stats::Stats;
use super::view::AvailabilityViews;
use compact_str::CompactString;
use doorbuster_clock::SharedClock;
use doorbuster_domain::ids::EntityId;
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
    pub(crate) views: Arc<AvailabilityViews>,
    pub(crate) provider_name: CompactString,
    pub(crate) faults: super::faults::Faults,
    /// Why the node must end, once it must.
    pub(crate) failed: watch::Sender<Option<String>>,
    /// Where a shard's end is told, when shards come and go; `None`: all are owned from the start, and with one of them ends the node.
    pub(crate) losses: Option<mpsc::UnboundedSender<LostShard>>,
    pub(super) router: Router,
}

impl Context {
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
        // Nobody listens once the node ends, and then there is nothing left to stop.
        drop(losses.send(LostShard { shard, epoch, fenced, why: format!("{what}: {error}") }));
    }

    /// Must the node end?
    pub(crate) fn must_end(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Sends a question on its way; who asked hears through `reply_to`. To a SKU with an actor on this node it goes straight.
    pub(crate) fn send(&self, ask: Ask, reply_to: ReplyTo) {
        let mut envelope = Box::new(Envelope { ask, reply_to });
        if let EntityId::Inventory(sku) = &envelope.ask.entity {
            let sku = sku.clone();
            match self.views.send(&sku, EntityMsg::Ask(envelope), self.settings.mailbox_max.saturating_mul(EFFECT_ROOM))
            {
                Err(EntityMsg::Ask(back)) => envelope = back,
                Ok(()) | Err(_) => return,
            }
        }
        self.router.send(envelope);
    }

    /// The way to any entity.
    pub(crate) const fn router(&self) -> &Router {
        &self.router
    }
}
