//! What shoppers may see of stock without asking its entity: fed from durable decisions only, rebuilt on demand, never the truth.

use crate::domain::ids::Sku;
use crate::domain::inventory::Levels;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Stock of one SKU over all warehouses, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// Free to reserve.
    pub available: u64,
    /// In someone's checkout.
    pub reserved: u64,
    /// The entity's version these figures belong to.
    pub version: u64,
    /// Everything else, when it changed.
    pub levels: Option<Arc<Levels>>,
}

/// The newest durable figures of one SKU.
#[derive(Debug, Default)]
pub struct SkuView {
    available: AtomicU64,
    reserved: AtomicU64,
    version: AtomicU64,
    levels: RwLock<Option<Arc<Levels>>>,
}

impl SkuView {
    /// Takes in newer figures; older ones change nothing. Only one thread publishes: the releaser.
    pub(crate) fn publish(&self, stock: Stock) {
        if stock.version < self.version.load(Ordering::Acquire) {
            return;
        }
        self.available.store(stock.available, Ordering::Release);
        self.reserved.store(stock.reserved, Ordering::Release);
        self.version.store(stock.version, Ordering::Release);
        if let Some(levels) = stock.levels {
            *self.levels.write().unwrap_or_else(PoisonError::into_inner) = Some(levels);
        }
    }

    /// The newest figures; `levels` (offer, warehouses) may be older than the counters.
    #[must_use]
    pub fn stock(&self) -> Stock {
        Stock {
            available: self.available.load(Ordering::Acquire),
            reserved: self.reserved.load(Ordering::Acquire),
            version: self.version.load(Ordering::Acquire),
            levels: self.levels.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Has anything been published yet?
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.version.load(Ordering::Acquire) > 0
    }
}

/// All SKUs whose figures this node knows: those whose inventory is, or lately was, resident.
#[derive(Debug, Default)]
pub struct Views {
    skus: RwLock<FxHashMap<Sku, Arc<SkuView>>>,
}

impl Views {
    /// The view of a SKU, if its inventory has published one.
    #[must_use]
    pub fn get(&self, sku: &Sku) -> Option<Arc<SkuView>> {
        let skus = self.skus.read().unwrap_or_else(PoisonError::into_inner);
        skus.get(sku).filter(|view| view.is_known()).cloned()
    }

    /// The view of a SKU for its inventory to publish into.
    pub(crate) fn open(&self, sku: &Sku) -> Arc<SkuView> {
        let mut skus = self.skus.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(skus.entry(sku.clone()).or_default())
    }

    /// The inventories of a shard that is no longer here, and their views with them.
    pub(crate) fn close_all(&self, gone: impl Fn(&Sku) -> bool) {
        self.skus.write().unwrap_or_else(PoisonError::into_inner).retain(|sku, _| !gone(sku));
    }

    /// The inventory leaves memory, and its view with it.
    pub(crate) fn close(&self, sku: &Sku) {
        self.skus.write().unwrap_or_else(PoisonError::into_inner).remove(sku);
    }
}
