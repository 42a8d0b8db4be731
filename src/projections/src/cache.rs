//! Availability and price of SKUs in a cache that every node can read, each snapshot with the SKU's version.
//!
//! A snapshot replaces an older version of its SKU and nothing else, so late and repeated writes are harmless.

use super::ReadModelError;
use super::memory::MemoryCache;
use doorbuster_domain::ids::Sku;
use doorbuster_domain::inventory::Levels;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::redis::{Link, Versioned, VersionedValues};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::Arc;

/// The most SKUs in one call; callers split longer lists.
pub const BATCH_MAX: usize = 200;

/// The availability and the offer of one SKU at a version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AvailabilitySnapshot {
    /// The number of the SKU's events; a newer snapshot has a greater one.
    pub version: u64,
    /// Units that can be reserved.
    pub available: u64,
    /// Units reserved by orders and reservations.
    pub reserved: u64,
    /// The earliest deadline of a reservation.
    #[serde(default)]
    pub next_release_at: Option<Timestamp>,
    /// Prices, stock per warehouse and the rest. It may be older than the counters, because it is not written with every reservation.
    pub levels: Option<Arc<Levels>>,
}

impl AvailabilitySnapshot {
    /// The snapshot of an inventory at a version.
    #[must_use]
    pub fn of(levels: Levels, version: u64) -> Self {
        let (available, reserved, next_release_at) = (levels.available(), levels.reserved(), levels.next_release_at);
        Self { version, available, reserved, next_release_at, levels: Some(Arc::new(levels)) }
    }

    /// Whether both show a shopper the same counters and offer. Stock per warehouse may lag behind the counters.
    #[must_use]
    pub fn shows_the_same(&self, other: &Self) -> bool {
        let offer = |snapshot: &Self| snapshot.levels.as_deref().and_then(|levels| levels.offer.clone());
        let counters = |snapshot: &Self| (snapshot.version, snapshot.available, snapshot.reserved);
        counters(self) == counters(other) && offer(self) == offer(other)
    }
}

/// A cache of snapshots.
pub trait Cache: Send + Sync + 'static {
    /// Stores each snapshot that is newer than the cached one; returns how many were.
    fn put(
        &self,
        snapshots: &[(Sku, AvailabilitySnapshot)],
    ) -> impl Future<Output = Result<u64, ReadModelError>> + Send;

    /// The snapshot of each SKU, in order; `None`: the SKU is not cached.
    fn get(
        &self,
        skus: &[Sku],
    ) -> impl Future<Output = Result<Vec<Option<AvailabilitySnapshot>>, ReadModelError>> + Send;

    /// Repairs one SKU: replaces the snapshot of version `expected` (`None`: no snapshot) by `with` (`None`: removes it), whatever its version.
    /// Returns `false` if another version is cached by now.
    fn replace(
        &self,
        sku: &Sku,
        expected: Option<u64>,
        with: Option<&AvailabilitySnapshot>,
    ) -> impl Future<Output = Result<bool, ReadModelError>> + Send;

    /// The cached SKUs, page by page. Begin with page 0 and continue with the returned number until it is 0. A SKU may occur twice.
    fn skus(&self, page: u64) -> impl Future<Output = Result<(Vec<Sku>, u64), ReadModelError>> + Send;

    /// Whether this node has filled the cache since it was last emptied.
    fn is_filled(&self, node: &str) -> impl Future<Output = Result<bool, ReadModelError>> + Send;

    /// Records that this node has filled the cache.
    fn set_filled(&self, node: &str) -> impl Future<Output = Result<(), ReadModelError>> + Send;
}

/// The cache that the configuration selects.
#[derive(Debug, Clone)]
pub enum AnyCache {
    /// In this process.
    Memory(Arc<MemoryCache>),
    /// In Redis, shared by the nodes.
    Redis(RedisCache),
}

/// A cache in Redis, with snapshots as JSON.
#[derive(Debug, Clone)]
pub struct RedisCache {
    values: VersionedValues,
}

/// The key that tells whether a node has filled the cache since it was emptied.
const FILLED: &str = "filled";
/// The prefix of the SKUs' keys. Its number is the version of the stored format, so that no release reads another's.
const SKUS: &str = "sku1";

impl RedisCache {
    /// A cache behind a Redis link.
    #[must_use]
    pub const fn new(link: Arc<Link>) -> Self {
        Self { values: VersionedValues::new(link, SKUS) }
    }
}

fn written(snapshot: &AvailabilitySnapshot) -> Result<Versioned, ReadModelError> {
    let body = serde_json::to_vec(snapshot).map_err(|error| ReadModelError::Damaged(error.to_string()))?;
    Ok(Versioned { version: snapshot.version, body: body.into() })
}

impl Cache for RedisCache {
    async fn put(&self, snapshots: &[(Sku, AvailabilitySnapshot)]) -> Result<u64, ReadModelError> {
        let mut values = Vec::with_capacity(snapshots.len());
        for (sku, snapshot) in snapshots {
            values.push((sku.as_str(), written(snapshot)?));
        }
        Ok(self.values.put(&values).await?)
    }

    async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<AvailabilitySnapshot>>, ReadModelError> {
        let names: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let found = self.values.get(&names).await?;
        // An unreadable snapshot counts as not cached. The version stored beside the body is the one that newer writes are compared with.
        let read = |value: Versioned| {
            let snapshot: AvailabilitySnapshot = serde_json::from_slice(&value.body).ok()?;
            Some(AvailabilitySnapshot { version: value.version, ..snapshot })
        };
        Ok(found.into_iter().map(|value| read(value?)).collect())
    }

    async fn replace(
        &self,
        sku: &Sku,
        expected: Option<u64>,
        with: Option<&AvailabilitySnapshot>,
    ) -> Result<bool, ReadModelError> {
        let with = with.map(written).transpose()?;
        Ok(self.values.replace(sku.as_str(), expected, with.as_ref()).await?)
    }

    async fn skus(&self, page: u64) -> Result<(Vec<Sku>, u64), ReadModelError> {
        let (names, next) = self.values.names(page).await?;
        Ok((names.iter().filter_map(|name| Sku::parse(name).ok()).collect(), next))
    }

    async fn is_filled(&self, node: &str) -> Result<bool, ReadModelError> {
        Ok(self.values.marked(FILLED, node).await?)
    }

    async fn set_filled(&self, node: &str) -> Result<(), ReadModelError> {
        Ok(self.values.mark(FILLED, node).await?)
    }
}

macro_rules! each {
    ($cache:expr, $inner:ident => $act:expr) => {
        match $cache {
            AnyCache::Memory($inner) => $act,
            AnyCache::Redis($inner) => $act,
        }
    };
}

impl Cache for AnyCache {
    async fn put(&self, snapshots: &[(Sku, AvailabilitySnapshot)]) -> Result<u64, ReadModelError> {
        each!(self, cache => cache.put(snapshots).await)
    }

    async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<AvailabilitySnapshot>>, ReadModelError> {
        each!(self, cache => cache.get(skus).await)
    }

    async fn replace(
        &self,
        sku: &Sku,
        expected: Option<u64>,
        with: Option<&AvailabilitySnapshot>,
    ) -> Result<bool, ReadModelError> {
        each!(self, cache => cache.replace(sku, expected, with).await)
    }

    async fn skus(&self, page: u64) -> Result<(Vec<Sku>, u64), ReadModelError> {
        each!(self, cache => cache.skus(page).await)
    }

    async fn is_filled(&self, node: &str) -> Result<bool, ReadModelError> {
        each!(self, cache => cache.is_filled(node).await)
    }

    async fn set_filled(&self, node: &str) -> Result<(), ReadModelError> {
        each!(self, cache => cache.set_filled(node).await)
    }
}
