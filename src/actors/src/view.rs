//! What shoppers may see of stock without asking its entity: fed from durable decisions only, rebuilt on demand, never what decides.

use doorbuster_domain::ids::Sku;
use doorbuster_domain::inventory::Levels;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use doorbuster_storage::keyed::KeyedMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::mpsc;

/// Stock of one SKU over all warehouses, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// Free to reserve.
    pub available: u64,
    /// Reserved and not committed.
    pub reserved: u64,
    /// The earliest deadline of a reservation.
    pub next_release_at: Option<Timestamp>,
    /// The entity's version that these figures belong to.
    pub version: u64,
    /// Offer and warehouses; `None` in an update: unchanged.
    pub levels: Option<Arc<Levels>>,
}

/// The newest durable figures of one SKU.
#[derive(Debug)]
pub struct AvailabilityView {
    sku: Sku,
    shard: Shard,
    /// It waits in the follower's queue, and need not be queued again.
    notified: AtomicBool,
    available: AtomicU64,
    reserved: AtomicU64,
    /// In ms; 0: no unit is reserved.
    next_release_at: AtomicU64,
    version: AtomicU64,
    levels: RwLock<Option<Arc<Levels>>>,
}

impl AvailabilityView {
    fn new(sku: &Sku, shard: Shard) -> Self {
        Self {
            sku: sku.clone(),
            shard,
            notified: AtomicBool::new(false),
            available: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            next_release_at: AtomicU64::new(0),
            version: AtomicU64::new(0),
            levels: RwLock::new(None),
        }
    }

    /// The SKU.
    #[must_use]
    pub const fn sku(&self) -> &Sku {
        &self.sku
    }

    /// Takes in newer figures; older ones change nothing. Only one thread publishes: the one that dispatches the shard's batches. The version
    /// is stored last: a reader of a version sees its figures or newer ones, never older.
    fn publish(&self, stock: Stock) {
        if stock.version < self.version.load(Ordering::Acquire) {
            return;
        }
        if let Some(levels) = stock.levels {
            *self.levels.write().unwrap_or_else(PoisonError::into_inner) = Some(levels);
        }
        self.available.store(stock.available, Ordering::Release);
        self.reserved.store(stock.reserved, Ordering::Release);
        self.next_release_at.store(stock.next_release_at.unwrap_or_default().0, Ordering::Release);
        self.version.store(stock.version, Ordering::Release);
    }

    /// The newest figures; `levels` (offer, warehouses) may be older than the counters.
    #[must_use]
    pub fn stock(&self) -> Stock {
        let version = self.version.load(Ordering::Acquire);
        Stock {
            available: self.available.load(Ordering::Acquire),
            reserved: self.reserved.load(Ordering::Acquire),
            next_release_at: Some(Timestamp(self.next_release_at.load(Ordering::Acquire))).filter(|at| at.0 > 0),
            version,
            levels: self.levels.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The same, for the follower of changes: the next change queues the view again.
    #[must_use]
    pub fn take_stock(&self) -> Stock {
        self.notified.store(false, Ordering::SeqCst);
        self.stock()
    }

    /// Has anything been published yet?
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.version.load(Ordering::Acquire) > 0
    }
}

/// The views of the SKUs whose inventory is resident on this node.
#[derive(Debug, Default)]
pub struct AvailabilityViews {
    skus: RwLock<KeyedMap<Sku, Arc<AvailabilityView>>>,
    follower: OnceLock<mpsc::Sender<Arc<AvailabilityView>>>,
    changes_dropped: AtomicU64,
}

impl AvailabilityViews {
    /// Every view that changes from now on, once until its figures are [taken](AvailabilityView::take_stock). At most `queue_max` of them
    /// wait; changes beyond it are dropped and counted. `None`: there is a follower already.
    #[must_use]
    pub fn follow(&self, queue_max: usize) -> Option<mpsc::Receiver<Arc<AvailabilityView>>> {
        let (sender, receiver) = mpsc::channel(queue_max.max(1));
        self.follower.set(sender).is_ok().then_some(receiver)
    }

    /// Changes that found the follower's queue full.
    #[must_use]
    pub fn changes_dropped(&self) -> u64 {
        self.changes_dropped.load(Ordering::Relaxed)
    }

    /// Shows newer figures and queues the view for the follower; never waits.
    pub(crate) fn publish(&self, view: &Arc<AvailabilityView>, stock: Stock) {
        view.publish(stock);
        let Some(follower) = self.follower.get() else { return };
        if !view.notified.swap(true, Ordering::SeqCst) && follower.try_send(Arc::clone(view)).is_err() {
            view.notified.store(false, Ordering::SeqCst);
            self.changes_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The view of a SKU, if its inventory has published one.
    #[must_use]
    pub fn get(&self, sku: &Sku) -> Option<Arc<AvailabilityView>> {
        let skus = self.skus.read().unwrap_or_else(PoisonError::into_inner);
        skus.get(sku).filter(|view| view.is_known()).cloned()
    }

    #[cfg(test)]
    pub(crate) fn listed(&self) -> usize {
        self.skus.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The view of a SKU for its inventory to publish into.
    pub(crate) fn open(&self, sku: &Sku, shard: Shard) -> Arc<AvailabilityView> {
        let mut skus = self.skus.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(skus.entry(sku.clone()).or_insert_with(|| Arc::new(AvailabilityView::new(sku, shard))))
    }

    /// The shard is no longer here: its views end.
    pub(crate) fn close_all(&self, shard: Shard) {
        self.skus.write().unwrap_or_else(PoisonError::into_inner).retain(|_, view| view.shard != shard);
    }

    /// The inventory leaves memory: its view ends.
    pub(crate) fn close(&self, sku: &Sku) {
        self.skus.write().unwrap_or_else(PoisonError::into_inner).remove(sku);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(version: u64) -> Stock {
        Stock { available: version, version, ..Stock::default() }
    }

    #[test]
    fn a_sku_that_changes_often_is_queued_once_until_its_figures_are_taken() {
        let views = AvailabilityViews::default();
        let mut changed = views.follow(1).unwrap();
        assert!(views.follow(1).is_none(), "one follows");
        let (a, b) = (views.open(&Sku::parse("A").unwrap(), Shard(0)), views.open(&Sku::parse("B").unwrap(), Shard(0)));
        (1..=100).for_each(|version| views.publish(&a, stock(version)));
        assert_eq!(views.changes_dropped(), 0);
        views.publish(&b, stock(1));
        assert_eq!(views.changes_dropped(), 1, "there was room for one");
        let notified = changed.try_recv().unwrap();
        assert_eq!((notified.sku().as_str(), notified.take_stock().version), ("A", 100));
        assert!(changed.try_recv().is_err());
        views.publish(&a, stock(101));
        assert_eq!(changed.try_recv().unwrap().take_stock().version, 101, "and again after that");
        views.publish(&b, stock(2));
        assert_eq!(
            changed.try_recv().unwrap().sku().as_str(),
            "B",
            "what was not notified is notified with the next change"
        );
    }

    #[test]
    fn older_figures_change_nothing() {
        let views = AvailabilityViews::default();
        let view = views.open(&Sku::parse("A").unwrap(), Shard(0));
        views.publish(&view, stock(5));
        views.publish(&view, stock(4));
        assert_eq!(view.stock().available, 5);
    }
}
