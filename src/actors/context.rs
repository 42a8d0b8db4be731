//! What every actor of a node shares: the store, the clock, the writers, the views, the router.

use super::router::Router;
use super::settings::Settings;
use super::stats::Stats;
use super::view::Views;
use super::writer::WriterHandle;
use crate::clock::SharedClock;

use crate::storage::{Group, Store};
use compact_str::CompactString;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// One per node.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) settings: Settings,
    pub(crate) stats: Arc<Stats>,
    pub(crate) views: Arc<Views>,
    pub(crate) provider_name: CompactString,
    pub(crate) faults: super::faults::Faults,
    /// Why the node must end, once it must.
    pub(crate) failed: watch::Sender<Option<String>>,
    /// Set once the shards are claimed, before any of them serves.
    pub(crate) wiring: OnceLock<Wiring>,
}

/// What exists only once the shards are claimed.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) writers: BTreeMap<Group, WriterHandle>,
    pub(crate) router: Router,
}

impl Context {
    fn wiring(&self) -> &Wiring {
        self.wiring.get().expect("the node is wired before an actor serves")
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

    /// Must the node end?
    pub(crate) fn must_end(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// The writer of a group.
    pub(crate) fn writer(&self, group: Group) -> &WriterHandle {
        self.wiring().writers.get(&group).expect("every group of a claimed shard has its writer")
    }

    /// The way to any entity.
    pub(crate) fn router(&self) -> &Router {
        &self.wiring().router
    }
}
