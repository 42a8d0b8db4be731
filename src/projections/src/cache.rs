//! What a shopper may see of a SKU, kept where every node can read it: availability and prices, each at a version of the SKU.
//!
//! The one law: figures of a version replace those of an older version and no others, so late and repeated writes are harmless.

use super::Unreachable;
use super::memory::MemoryCache;
use doorbuster_domain::ids::Sku;
use doorbuster_domain::inventory::Levels;
use doorbuster_storage::redis::{Link, Versioned, VersionedValues};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::Arc;

/// SKUs that one call may put or get; callers cut longer lists.
pub const BATCH_MAX: usize = 200;

/// Stock and offer of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// The SKU's own count of events: newer figures have a greater one.
    pub version: u64,
    /// Free to reserve.
    pub available: u64,
    /// In someone's checkout.
    pub reserved: u64,
    /// Prices, warehouses and the rest; it may be older than the counters, for it is not written with every reservation.
    pub levels: Option<Arc<Levels>>,
}

impl Figures {
    /// What an inventory itself says.
    #[must_use]
    pub fn of(levels: Levels, version: u64) -> Self {
        let (available, reserved) = (levels.available(), levels.reserved());
        Self { version, available, reserved, levels: Some(Arc::new(levels)) }
    }

    /// Do both tell a shopper the same? The counters and the offer do; levels per warehouse may lag behind the counters.
    #[must_use]
    pub fn tells_the_same_as(&self, other: &Self) -> bool {
        let offer = |figures: &Self| figures.levels.as_deref().and_then(|levels| levels.offer.clone());
        let counters = |figures: &Self| (figures.version, figures.available, figures.reserved);
        counters(self) == counters(other) && offer(self) == offer(other)
    }
}

/// Where figures are kept.
pub trait Cache: Send + Sync + 'static {
    /// Takes in each of the figures whose version is newer than what is there; gives how many that were.
    fn put(&self, figures: &[(Sku, Figures)]) -> impl Future<Output = Result<u64, Unreachable>> + Send;

    /// The figures of each SKU, in order; `None`: nothing is known.
    fn get(&self, skus: &[Sku]) -> impl Future<Output = Result<Vec<Option<Figures>>, Unreachable>> + Send;

    /// Repairs: puts `with` (`None`: nothing) in the place of the figures of version `seen` (`None`: of nothing), whatever their versions.
    /// `false`: something else is there by now.
    fn replace(
        &self,
        sku: &Sku,
        seen: Option<u64>,
        with: Option<&Figures>,
    ) -> impl Future<Output = Result<bool, Unreachable>> + Send;

    /// The SKUs of which something is known, a page at a time: begin with 0 and go on with the number given back, until that is 0. One may
    /// come twice.
    fn skus(&self, page: u64) -> impl Future<Output = Result<(Vec<Sku>, u64), Unreachable>> + Send;

    /// Did this node fill it, and was it not emptied since?
    fn is_filled(&self, node: &str) -> impl Future<Output = Result<bool, Unreachable>> + Send;

    /// This node has filled it.
    fn set_filled(&self, node: &str) -> impl Future<Output = Result<(), Unreachable>> + Send;
}

/// The cache that the configuration chose.
#[derive(Debug, Clone)]
pub enum AnyCache {
    /// In this process.
    Memory(Arc<MemoryCache>),
    /// In Redis.
    Redis(RedisCache),
}

/// Figures in Redis, as JSON.
#[derive(Debug, Clone)]
pub struct RedisCache {
    values: VersionedValues,
}

/// The marker by which a node knows what it filled from what was emptied since.
const FILLED: &str = "filled";
/// Where figures lie; the number is that of their form, so that no version of the product reads another's.
const SKUS: &str = "sku1";

impl RedisCache {
    /// Figures behind a link.
    #[must_use]
    pub const fn new(link: Arc<Link>) -> Self {
        Self { values: VersionedValues::new(link, SKUS) }
    }
}

fn written(figures: &Figures) -> Result<Versioned, Unreachable> {
    let body = serde_json::to_vec(figures).map_err(|error| Unreachable::Damaged(error.to_string()))?;
    Ok(Versioned { version: figures.version, body: body.into() })
}

impl Cache for RedisCache {
    async fn put(&self, figures: &[(Sku, Figures)]) -> Result<u64, Unreachable> {
        let mut values = Vec::with_capacity(figures.len());
        for (sku, figures) in figures {
            values.push((sku.as_str(), written(figures)?));
        }
        Ok(self.values.put(&values).await?)
    }

    async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<Figures>>, Unreachable> {
        let names: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let found = self.values.get(&names).await?;
        // What cannot be read is not known: the SKU itself is asked then. The version by which newer is told from older is the one that counts.
        let read = |value: Versioned| {
            let figures: Figures = serde_json::from_slice(&value.body).ok()?;
            Some(Figures { version: value.version, ..figures })
        };
        Ok(found.into_iter().map(|value| read(value?)).collect())
    }

    async fn replace(&self, sku: &Sku, seen: Option<u64>, with: Option<&Figures>) -> Result<bool, Unreachable> {
        let with = with.map(written).transpose()?;
        Ok(self.values.replace(sku.as_str(), seen, with.as_ref()).await?)
    }

    async fn skus(&self, page: u64) -> Result<(Vec<Sku>, u64), Unreachable> {
        let (names, next) = self.values.names(page).await?;
        Ok((names.iter().filter_map(|name| Sku::parse(name).ok()).collect(), next))
    }

    async fn is_filled(&self, node: &str) -> Result<bool, Unreachable> {
        Ok(self.values.marked(FILLED, node).await?)
    }

    async fn set_filled(&self, node: &str) -> Result<(), Unreachable> {
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
    async fn put(&self, figures: &[(Sku, Figures)]) -> Result<u64, Unreachable> {
        each!(self, cache => cache.put(figures).await)
    }

    async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<Figures>>, Unreachable> {
        each!(self, cache => cache.get(skus).await)
    }

    async fn replace(&self, sku: &Sku, seen: Option<u64>, with: Option<&Figures>) -> Result<bool, Unreachable> {
        each!(self, cache => cache.replace(sku, seen, with).await)
    }

    async fn skus(&self, page: u64) -> Result<(Vec<Sku>, u64), Unreachable> {
        each!(self, cache => cache.skus(page).await)
    }

    async fn is_filled(&self, node: &str) -> Result<bool, Unreachable> {
        each!(self, cache => cache.is_filled(node).await)
    }

    async fn set_filled(&self, node: &str) -> Result<(), Unreachable> {
        each!(self, cache => cache.set_filled(node).await)
    }
}
