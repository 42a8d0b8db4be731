//! The indexes of a node's lists: where they are kept, and the thread that keeps each up to date.
//!
//! ```text
//! journal ──► runner (a thread of its own, every lists.interval_ms) ──► index ──► reader ──► API
//! ```

use super::NodeError;
use super::background::{self, Pace};
use super::cluster_admin::Figure;
use crate::config::{self, Config, JournalKind};
use doorbuster_actors::system::Handle;
use doorbuster_projections::orders::OrderIndex;
use doorbuster_projections::reader::Reader;
use doorbuster_projections::runner::Runner;
use doorbuster_projections::{Counts, Lists, Progress, Projection};
use doorbuster_storage::embedded;
use doorbuster_storage::index::{Build, EmbeddedIndex, Index, IndexOptions, IndexStore, MemoryIndex};
use doorbuster_storage::{Journal, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The indexes of a node's lists.
#[derive(Debug)]
pub(super) struct NodeLists {
    lists: Lists,
    stop: watch::Sender<bool>,
    followers: Vec<oneshot::Receiver<()>>,
}

impl NodeLists {
    /// Opens the indexes and begins to follow the journal. `key`: a secret of the installation's own.
    pub(super) async fn start(
        config: &Config,
        handle: &Handle,
        key: &[u8; 32],
        counts: &Arc<Counts>,
    ) -> Result<Self, NodeError> {
        let index = open(config, handle.store())?;
        let (stop, stopped) = watch::channel(false);
        let interval = Duration::from_millis(config.lists.interval_ms);
        let projection = OrderIndex::new(key, &config.shop.seller);
        let (orders, follower) = follow(projection, &index, handle, Arc::clone(counts), interval, stopped).await?;
        Ok(Self { lists: Lists { orders }, stop, followers: vec![follower] })
    }

    /// What answers lists.
    pub(super) const fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Ends the threads, and waits until none of them holds the store any more.
    pub(super) async fn end(&mut self) {
        self.stop.send_replace(true);
        for follower in self.followers.drain(..) {
            // One that panicked has let go, too.
            follower.await.ok();
        }
    }
}

/// For `/metrics`: by how much the lists are behind.
pub(super) fn lag(lists: &Lists, handle: &Handle) -> Figure {
    let behind = lists.orders.as_of().map_or(0, |as_of| handle.now().since_ms(as_of));
    Figure::gauge("projection_lag", "milliseconds by which the slowest index of a list is behind the journal", behind)
}

fn open(config: &Config, store: &Store) -> Result<Index, NodeError> {
    let config::Lists { cache_bytes, memtable_bytes, .. } = config.lists;
    Ok(match store {
        Store::Embedded(_) if config.journal.kind == JournalKind::Embedded => {
            let folder = embedded::index_path(&config.node.data_folder);
            let index = EmbeddedIndex::open(&folder, IndexOptions { cache_bytes, memtable_bytes });
            Index::Embedded(Arc::new(index.map_err(|error| NodeError::Index(error.to_string()))?))
        }
        Store::Embedded(_) | Store::Memory(_) => Index::Memory(Arc::new(MemoryIndex::default())),
        Store::Cql(journal) => Index::Cql(journal.index()),
    })
}

async fn follow<P: Projection + Clone>(
    projection: P,
    index: &Index,
    handle: &Handle,
    counts: Arc<Counts>,
    interval: Duration,
    stopped: watch::Receiver<bool>,
) -> Result<(Arc<Reader<P, Index>>, oneshot::Receiver<()>), NodeError> {
    let failed = |error: String| NodeError::Index(error);
    let version = projection.version();
    let generation = index.generation(P::NAME, version).await.map_err(|error| failed(error.to_string()))?;
    let build = Build { name: P::NAME, version, generation };
    let layout = handle.store().layout();
    let progress = Arc::new(Progress::new(layout.shards));
    let reader = Reader::new(projection.clone(), index.clone(), layout, build, Arc::clone(&progress));
    let stores = (handle.store().clone(), index.clone());
    let runner = Runner::new(projection, build, stores, progress, counts);
    let handle = handle.clone();
    let work = move || run(runner, handle, interval, stopped);
    let follower = background::spawn_at(Pace::KeepsUp, P::NAME, work).map_err(|error| failed(error.to_string()))?;
    Ok((Arc::new(reader), follower))
}

/// Follows the shards of this node until it stops.
async fn run<P: Projection>(
    mut runner: Runner<P, Store, Index>,
    handle: Handle,
    interval: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut has_failed = false;
    while !*stopped.borrow() {
        let now = handle.now();
        match runner.round(&handle.owned(), now).await {
            Ok(true) => continue,
            Ok(false) => has_failed = false,
            Err(error) if !has_failed => {
                has_failed = true;
                tracing::warn!(%error, name = P::NAME, "the index of a list cannot follow the journal; it is tried again");
            }
            Err(error) => {
                tracing::debug!(%error, name = P::NAME, "the index of a list still cannot follow the journal");
            }
        }
        // A sender that is gone has stopped, too.
        tokio::time::timeout(interval, stopped.wait_for(|stopped| *stopped)).await.ok();
    }
}
