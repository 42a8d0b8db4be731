//! The read models of a node: where each is kept, and the tasks that feed it. No order waits for any of them.
//!
//! ```text
//! views ──changes──► writer ──► cache ──► availability cache ──► shop      every publish_interval_ms
//! journal ──► publisher ──► streams                                        every publish_interval_ms
//! journal ──► fill ──► cache                                               when it was found emptied
//! ```

use super::NodeError;
use super::background;
use super::cluster_admin::Figure;
use super::lists::{self, NodeLists};
use crate::config::{self, Config};
use doorbuster_actors::system::Handle;
use doorbuster_actors::view::AvailabilityView;
use doorbuster_domain::ids::Sku;
use doorbuster_projections::availability_cache::{AvailabilityCache, AvailabilityCacheSettings};
use doorbuster_projections::cache_writer::CacheWriter;
use doorbuster_projections::memory::MemoryCache;
use doorbuster_projections::publisher::Publisher;
use doorbuster_projections::streams::RedisStreams;
use doorbuster_projections::{
    AnyCache, AvailabilitySnapshot, Cache, Counts, Lists, cache::RedisCache, rebuild_availability, reconcile,
};
use doorbuster_storage::redis::{Link, LinkSettings};
use doorbuster_storage::{Journal, ReadError, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// The read models. When they are dropped, their tasks end.
#[derive(Debug)]
pub(super) struct Projections {
    availability_cache: Option<AvailabilityCache>,
    lists: NodeLists,
    figures: ProjectionFigures,
    tasks: Vec<JoinHandle<()>>,
}

/// What `/metrics` shows of them.
#[derive(Debug, Clone)]
pub(super) struct ProjectionFigures {
    counts: Arc<Counts>,
    link: Option<Arc<Link>>,
    lists: Lists,
    handle: Handle,
}

impl Drop for Projections {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The connection to Redis; `None`: `redis.url` is empty.
pub(super) fn link(redis: &config::Redis) -> Result<Option<Arc<Link>>, NodeError> {
    if redis.url.0.is_empty() {
        return Ok(None);
    }
    let link = Link::new(LinkSettings {
        url: redis.url.0.clone(),
        prefix: redis.prefix.clone(),
        timeout: Duration::from_millis(redis.timeout_ms),
        failures_max: redis.failures_max,
        rest_min: Duration::from_millis(redis.rest_min_ms),
        rest_max: Duration::from_millis(redis.rest_max_ms),
    });
    Ok(Some(Arc::new(link.map_err(|error| NodeError::Setting(format!("redis.url: {error}")))?)))
}

impl Projections {
    /// `index_key`: a secret of the installation's own, for the indexes of lists.
    pub(super) async fn start(config: &Config, handle: &Handle, index_key: &[u8; 32]) -> Result<Self, NodeError> {
        let redis = &config.redis;
        let link = link(redis)?;
        let counts = Arc::new(Counts::default());
        let lists = NodeLists::start(config, handle, index_key, &counts).await?;
        let figures = ProjectionFigures {
            counts: Arc::clone(&counts),
            link: link.clone(),
            lists: lists.lists().clone(),
            handle: handle.clone(),
        };
        let mut started = Self { availability_cache: None, lists, figures, tasks: Vec::new() };
        let cache = match &link {
            Some(link) => AnyCache::Redis(RedisCache::new(Arc::clone(link))),
            // Where shards move between nodes, a node's own memory of a SKU may be of an earlier ownership.
            None if handle.store().is_shared() => return Ok(started),
            None => AnyCache::Memory(Arc::new(MemoryCache::new(redis.skus_max))),
        };
        let settings = AvailabilityCacheSettings {
            fresh: Duration::from_millis(redis.fresh_ms),
            stale: Duration::from_millis(redis.stale_ms),
            skus_max: redis.skus_max,
            queue_max: redis.queue_max,
        };
        let (availability_cache, lookups) = AvailabilityCache::new(cache.clone(), settings, Arc::clone(&counts));
        started.availability_cache = Some(availability_cache);
        started.tasks.push(tokio::spawn(lookups.run()));
        let publish_every = Duration::from_millis(redis.publish_interval_ms);
        let check_every = Duration::from_millis(redis.check_interval_ms);
        if let Some(changed) = handle.views().follow(redis.queue_max) {
            let writer = CacheWriter::new(cache.clone(), redis.queue_max, Arc::clone(&counts));
            started.tasks.push(tokio::spawn(send_changes(changed, writer, publish_every)));
        }
        if let Some(link) = link {
            let (node, counts) = (config.node.name.clone(), Arc::clone(&counts));
            started.tasks.push(tokio::spawn(keep_filled(handle.clone(), cache, node, check_every, counts)));
            if redis.stream_events_max > 0 {
                let streams = RedisStreams::new(link, redis.stream_events_max);
                let counts = Arc::clone(&started.figures.counts);
                let journal = handle.store().clone();
                let publisher = Publisher::new(journal, streams, redis.stream_events_max, check_every, counts);
                started.tasks.push(tokio::spawn(publish(handle.clone(), publisher, publish_every)));
            }
        }
        Ok(started)
    }

    /// Ends the tasks, and waits until none of them holds the store any more.
    pub(super) async fn end(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // The result of an aborted task says nothing.
            drop(task.await);
        }
        self.lists.end().await;
    }

    /// What answers lists.
    pub(super) const fn lists(&self) -> &Lists {
        self.lists.lists()
    }

    /// Availability of SKUs of other nodes; `None`: it is not cached.
    pub(super) fn availability_cache(&self) -> Option<AvailabilityCache> {
        self.availability_cache.clone()
    }

    pub(super) fn figures(&self) -> ProjectionFigures {
        self.figures.clone()
    }
}

impl ProjectionFigures {
    /// For `/metrics`.
    pub(super) fn all(&self) -> Vec<Figure> {
        let counted = self.counts.figures().into_iter().map(|(name, help, value)| Figure::counter(name, help, value));
        let help = "changes of SKUs that found no room in the queue to the cache";
        let dropped = Figure::counter("projection_changes_untold", help, self.handle.views().changes_dropped());
        let link = self.link.iter().flat_map(|link| link_figures(link));
        let lag = lists::lag(&self.lists, &self.handle);
        counted.chain([dropped, lag]).chain(link).collect()
    }
}

/// What the connection to Redis counts, for `/metrics`.
pub(super) fn link_figures(link: &Link) -> Vec<Figure> {
    let figures = link.figures().into_iter();
    figures.map(|(name, help, gauge, value)| Figure { name, help, gauge, value }).collect()
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn owned(handle: &Handle) -> Vec<Shard> {
    handle.owned().into_keys().collect()
}

/// Sends what changed, and sends again what could not be sent.
async fn send_changes(
    mut changed: mpsc::Receiver<Arc<AvailabilityView>>,
    mut writer: CacheWriter<AnyCache>,
    interval: Duration,
) {
    let mut ticks = every(interval);
    loop {
        ticks.tick().await;
        if writer.pending() == 0 {
            // There is nothing to send until a SKU changes.
            let Some(view) = changed.recv().await else { return };
            add(&mut writer, &view);
        }
        while let Ok(view) = changed.try_recv() {
            add(&mut writer, &view);
        }
        writer.send().await;
    }
}

fn add(writer: &mut CacheWriter<AnyCache>, view: &AvailabilityView) {
    let stock = view.take_stock();
    let snapshot = AvailabilitySnapshot {
        version: stock.version,
        available: stock.available,
        reserved: stock.reserved,
        next_release_at: stock.next_release_at,
        levels: stock.levels,
    };
    writer.add(view.sku().clone(), snapshot);
}

/// Publishes the events of the shards that this node owns.
async fn publish<J: Journal>(handle: Handle, mut publisher: Publisher<J, RedisStreams>, interval: Duration) {
    let mut ticks = every(interval);
    loop {
        ticks.tick().await;
        if let Err(error) = publisher.round(&owned(&handle)).await {
            tracing::debug!(%error, "publish events; the next round publishes them");
        }
    }
}

/// The availability of a shard's SKUs, read beside the serving threads.
async fn rebuilt(handle: Handle, shard: Shard) -> Result<BTreeMap<Sku, AvailabilitySnapshot>, ReadError> {
    let read = move || async move { rebuild_availability::of_shard(handle.store(), shard).await };
    let failed = |why: String| ReadError::Failed(why);
    let read = background::spawn("fill cache", read).map_err(|error| failed(error.to_string()))?;
    read.await.unwrap_or_else(|_panicked| Err(failed("reading the shard panicked".to_owned())))
}

/// Fills the cache from the journal when it was emptied, or never filled by this node.
async fn keep_filled(handle: Handle, cache: AnyCache, node: String, interval: Duration, counts: Arc<Counts>) {
    let mut ticks = every(interval);
    loop {
        ticks.tick().await;
        if cache.is_filled(&node).await != Ok(false) {
            continue;
        }
        let shards = owned(&handle);
        let filled = match reconcile::fill(|shard| rebuilt(handle.clone(), shard), &shards, &cache).await {
            Ok(skus) => cache.set_filled(&node).await.map(|()| skus).map_err(Into::into),
            Err(error) => Err(error),
        };
        counts.refilled(filled.is_ok());
        match filled {
            Ok(skus) => {
                tracing::info!(skus, shards = shards.len(), "the cache was empty and is filled from the journal");
            }
            Err(error) => tracing::warn!(%error, "fill the cache"),
        }
    }
}
