//! What shoppers may see of stock without asking its entity: fed from durable decisions only, rebuilt on demand, never the truth.

use super::entity::EntityMsg;
use super::handle::EntityHandle;
use doorbuster_domain::ids::Sku;
use doorbuster_domain::inventory::Levels;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::mpsc;

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
#[derive(Debug)]
pub struct AvailabilityView {
    sku: Sku,
    /// It waits for whoever follows changes, and need not be notified again.
    notified: AtomicBool,
    available: AtomicU64,
    reserved: AtomicU64,
    version: AtomicU64,
    levels: RwLock<Option<Arc<Levels>>>,
    handle: RwLock<Option<Arc<EntityHandle>>>,
}

impl AvailabilityView {
    fn of(sku: &Sku) -> Self {
        Self {
            sku: sku.clone(),
            notified: AtomicBool::new(false),
            available: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            version: AtomicU64::new(0),
            levels: RwLock::new(None),
            handle: RwLock::new(None),
        }
    }

    /// The handle to its inventory's actor.
    pub(crate) fn connect(&self, handle: Arc<EntityHandle>) {
        *self.handle.write().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Whose figures these are.
    #[must_use]
    pub const fn sku(&self) -> &Sku {
        &self.sku
    }

    /// Takes in newer figures; older ones change nothing. Only one thread publishes: the one that lets go of the shard's batches. The version comes
    /// last: whoever reads a version sees its figures or newer ones, never older.
    fn publish(&self, stock: Stock) {
        if stock.version < self.version.load(Ordering::Acquire) {
            return;
        }
        if let Some(levels) = stock.levels {
            *self.levels.write().unwrap_or_else(PoisonError::into_inner) = Some(levels);
        }
        self.available.store(stock.available, Ordering::Release);
        self.reserved.store(stock.reserved, Ordering::Release);
        self.version.store(stock.version, Ordering::Release);
    }

    /// The newest figures; `levels` (offer, warehouses) may be older than the counters.
    #[must_use]
    pub fn stock(&self) -> Stock {
        let version = self.version.load(Ordering::Acquire);
        Stock {
            available: self.available.load(Ordering::Acquire),
            reserved: self.reserved.load(Ordering::Acquire),
            version,
            levels: self.levels.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The same, for whoever follows changes: what comes after this is notified again.
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

/// All SKUs whose figures this node knows: those whose inventory is, or lately was, resident.
#[derive(Debug, Default)]
pub struct AvailabilityViews {
    skus: RwLock<FxHashMap<Sku, Arc<AvailabilityView>>>,
    follower: OnceLock<mpsc::Sender<Arc<AvailabilityView>>>,
    changes_dropped: AtomicU64,
}

impl AvailabilityViews {
    /// Every view that changes from now on, once until its figures are [taken](AvailabilityView::take_stock); at most `queue_max` of them wait, beyond it
    /// changes are not notified, and counted. `None`: somebody follows already.
    #[must_use]
    pub fn follow(&self, queue_max: usize) -> Option<mpsc::Receiver<Arc<AvailabilityView>>> {
        let (sender, receiver) = mpsc::channel(queue_max.max(1));
        self.follower.set(sender).is_ok().then_some(receiver)
    }

    /// Changes that were not notified for want of room.
    #[must_use]
    pub fn changes_dropped(&self) -> u64 {
        self.changes_dropped.load(Ordering::Relaxed)
    }

    /// Shows newer figures, and tells whoever follows; never waits.
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

    /// Sends a message straight to a SKU's inventory. Gives it back when that has no actor here, or one with a full mailbox: its shard
    /// knows what to do.
    pub(crate) fn send(&self, sku: &Sku, message: EntityMsg, mailbox_max: u32) -> Result<(), EntityMsg> {
        let skus = self.skus.read().unwrap_or_else(PoisonError::into_inner);
        let Some(view) = skus.get(sku) else { return Err(message) };
        match view.handle.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(handle) if handle.waiting() < mailbox_max => handle.send(message),
            _ => Err(message),
        }
    }

    /// The view of a SKU for its inventory to publish into.
    pub(crate) fn open(&self, sku: &Sku) -> Arc<AvailabilityView> {
        let mut skus = self.skus.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(skus.entry(sku.clone()).or_insert_with(|| Arc::new(AvailabilityView::of(sku))))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(version: u64) -> Stock {
        Stock { available: version, reserved: 0, version, levels: None }
    }

    #[test]
    fn a_sku_that_changes_often_is_told_once_until_it_is_looked_at() {
        let views = AvailabilityViews::default();
        let mut changed = views.follow(1).unwrap();
        assert!(views.follow(1).is_none(), "one follows");
        let (a, b) = (views.open(&Sku::parse("A").unwrap()), views.open(&Sku::parse("B").unwrap()));
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
        let view = views.open(&Sku::parse("A").unwrap());
        views.publish(&view, stock(5));
        views.publish(&view, stock(4));
        assert_eq!(view.stock().available, 5);
    }
}
