//! Sends what changed to the cache: the newest figures of each SKU, together, every so often, however often they changed in between.
//!
//! What a call could not put waits for the next, and only the newest figures of a SKU wait. Beyond the bound what comes is dropped and counted; the
//! SKU's next change brings it.

use super::cache::{BATCH_MAX, Cache, Figures};
use super::counts::{Counts, count};
use doorbuster_domain::ids::Sku;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Figures that wait to be put.
#[derive(Debug)]
pub struct Outbox<C> {
    cache: C,
    waiting: BTreeMap<Sku, Figures>,
    skus_max: usize,
    counts: Arc<Counts>,
}

impl<C: Cache> Outbox<C> {
    /// An empty one, in which so many SKUs may wait.
    #[must_use]
    pub fn new(cache: C, skus_max: usize, counts: Arc<Counts>) -> Self {
        Self { cache, waiting: BTreeMap::new(), skus_max: skus_max.max(1), counts }
    }

    /// Figures to put with the next [`Outbox::send`]; older ones of the same SKU go.
    pub fn add(&mut self, sku: Sku, figures: Figures) {
        if let Some(waiting) = self.waiting.get_mut(&sku) {
            if figures.version >= waiting.version {
                *waiting = figures;
            }
        } else if self.waiting.len() < self.skus_max {
            self.waiting.insert(sku, figures);
        } else {
            count(&self.counts.put_dropped, 1);
        }
    }

    /// Puts what waits; what could not be put goes on waiting. `false`: something does.
    pub async fn send(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let batch: Vec<(Sku, Figures)> =
                self.waiting.iter().take(BATCH_MAX).map(|(sku, figures)| (sku.clone(), figures.clone())).collect();
            if self.cache.put(&batch).await.is_err() {
                count(&self.counts.put_failed, 1);
                return false;
            }
            count(&self.counts.put, u64::try_from(batch.len()).unwrap_or(u64::MAX));
            for (sku, _) in &batch {
                self.waiting.remove(sku);
            }
        }
        true
    }

    /// How many SKUs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unreachable;
    use crate::memory::MemoryCache;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A cache that can be unreachable, and counts what is put.
    #[derive(Debug)]
    struct Flaky {
        inner: MemoryCache,
        down: AtomicBool,
        puts: AtomicU64,
    }

    impl Cache for Arc<Flaky> {
        async fn put(&self, figures: &[(Sku, Figures)]) -> Result<u64, Unreachable> {
            if self.down.load(Ordering::Relaxed) {
                return Err(Unreachable::Resting);
            }
            self.puts.fetch_add(u64::try_from(figures.len()).unwrap(), Ordering::Relaxed);
            self.inner.put(figures).await
        }
        async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<Figures>>, Unreachable> {
            self.inner.get(skus).await
        }
        async fn replace(&self, sku: &Sku, seen: Option<u64>, with: Option<&Figures>) -> Result<bool, Unreachable> {
            self.inner.replace(sku, seen, with).await
        }
        async fn skus(&self, page: u64) -> Result<(Vec<Sku>, u64), Unreachable> {
            self.inner.skus(page).await
        }
        async fn is_filled(&self, node: &str) -> Result<bool, Unreachable> {
            self.inner.is_filled(node).await
        }
        async fn set_filled(&self, node: &str) -> Result<(), Unreachable> {
            self.inner.set_filled(node).await
        }
    }

    fn flaky() -> Arc<Flaky> {
        Arc::new(Flaky { inner: MemoryCache::new(100), down: AtomicBool::new(false), puts: AtomicU64::new(0) })
    }

    fn sku(name: &str) -> Sku {
        Sku::parse(name).unwrap()
    }

    fn figures(version: u64) -> Figures {
        Figures { version, available: version, reserved: 0, levels: None }
    }

    #[tokio::test]
    async fn a_thousand_changes_of_one_sku_are_put_once() {
        let cache = flaky();
        let mut outbox = Outbox::new(Arc::clone(&cache), 10, Arc::default());
        (1..=1_000).for_each(|version| outbox.add(sku("A"), figures(version)));
        outbox.add(sku("A"), figures(7));
        assert!(outbox.send().await);
        assert_eq!(cache.puts.load(Ordering::Relaxed), 1);
        assert_eq!(cache.get(&[sku("A")]).await.unwrap(), [Some(figures(1_000))]);
    }

    #[tokio::test]
    async fn what_could_not_be_put_waits_and_beyond_the_bound_it_is_dropped_and_counted() {
        let cache = flaky();
        cache.down.store(true, Ordering::Relaxed);
        let counts = Arc::new(Counts::default());
        let mut outbox = Outbox::new(Arc::clone(&cache), 2, Arc::clone(&counts));
        for (name, version) in [("A", 1), ("B", 1), ("C", 1), ("A", 2)] {
            outbox.add(sku(name), figures(version));
        }
        assert!(!outbox.send().await);
        assert_eq!((outbox.waiting(), counts.put_dropped.load(Ordering::Relaxed)), (2, 1));
        cache.down.store(false, Ordering::Relaxed);
        assert!(outbox.send().await);
        let found = cache.get(&[sku("A"), sku("B"), sku("C")]).await.unwrap();
        assert_eq!(found, [Some(figures(2)), Some(figures(1)), None]);
    }
}
