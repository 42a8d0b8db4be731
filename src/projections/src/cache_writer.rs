//! Writes changed availability to the cache: the newest snapshot of each SKU, in batches, however often the SKU changed in between.
//!
//! A snapshot that could not be put stays pending, and only the newest of a SKU is pending. Beyond the bound a new SKU is dropped and counted;
//! its next change brings it.

use super::cache::{AvailabilitySnapshot, BATCH_MAX, Cache};
use super::counts::{Counts, count};
use doorbuster_domain::ids::Sku;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Snapshots pending for the cache.
#[derive(Debug)]
pub struct CacheWriter<C> {
    cache: C,
    pending: BTreeMap<Sku, AvailabilitySnapshot>,
    skus_max: usize,
    counts: Arc<Counts>,
}

impl<C: Cache> CacheWriter<C> {
    /// An empty writer for at most `skus_max` pending SKUs.
    #[must_use]
    pub fn new(cache: C, skus_max: usize, counts: Arc<Counts>) -> Self {
        Self { cache, pending: BTreeMap::new(), skus_max: skus_max.max(1), counts }
    }

    /// Makes a snapshot pending for the next [`CacheWriter::send`]; replaces an older one of the same SKU.
    pub fn add(&mut self, sku: Sku, snapshot: AvailabilitySnapshot) {
        if let Some(pending) = self.pending.get_mut(&sku) {
            if snapshot.version >= pending.version {
                *pending = snapshot;
            }
        } else if self.pending.len() < self.skus_max {
            self.pending.insert(sku, snapshot);
        } else {
            count(&self.counts.put_dropped, 1);
        }
    }

    /// Puts the pending snapshots. A snapshot that could not be put stays pending; then the result is `false`.
    pub async fn send(&mut self) -> bool {
        while !self.pending.is_empty() {
            let batch: Vec<(Sku, AvailabilitySnapshot)> =
                self.pending.iter().take(BATCH_MAX).map(|(sku, snapshot)| (sku.clone(), snapshot.clone())).collect();
            if self.cache.put(&batch).await.is_err() {
                count(&self.counts.put_failed, 1);
                return false;
            }
            count(&self.counts.put, u64::try_from(batch.len()).unwrap_or(u64::MAX));
            for (sku, _) in &batch {
                self.pending.remove(sku);
            }
        }
        true
    }

    /// The number of pending SKUs.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReadModelError;
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
        async fn put(&self, snapshots: &[(Sku, AvailabilitySnapshot)]) -> Result<u64, ReadModelError> {
            if self.down.load(Ordering::Relaxed) {
                return Err(ReadModelError::CircuitOpen);
            }
            self.puts.fetch_add(u64::try_from(snapshots.len()).unwrap(), Ordering::Relaxed);
            self.inner.put(snapshots).await
        }
        async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<AvailabilitySnapshot>>, ReadModelError> {
            self.inner.get(skus).await
        }
        async fn replace(
            &self,
            sku: &Sku,
            expected: Option<u64>,
            with: Option<&AvailabilitySnapshot>,
        ) -> Result<bool, ReadModelError> {
            self.inner.replace(sku, expected, with).await
        }
        async fn skus(&self, page: u64) -> Result<(Vec<Sku>, u64), ReadModelError> {
            self.inner.skus(page).await
        }
        async fn is_filled(&self, node: &str) -> Result<bool, ReadModelError> {
            self.inner.is_filled(node).await
        }
        async fn set_filled(&self, node: &str) -> Result<(), ReadModelError> {
            self.inner.set_filled(node).await
        }
    }

    fn flaky() -> Arc<Flaky> {
        Arc::new(Flaky { inner: MemoryCache::new(100), down: AtomicBool::new(false), puts: AtomicU64::new(0) })
    }

    fn sku(name: &str) -> Sku {
        Sku::parse(name).unwrap()
    }

    fn snapshot(version: u64) -> AvailabilitySnapshot {
        AvailabilitySnapshot { version, available: version, ..AvailabilitySnapshot::default() }
    }

    #[tokio::test]
    async fn a_thousand_changes_of_one_sku_are_put_once() {
        let cache = flaky();
        let mut cache_writer = CacheWriter::new(Arc::clone(&cache), 10, Arc::default());
        (1..=1_000).for_each(|version| cache_writer.add(sku("A"), snapshot(version)));
        cache_writer.add(sku("A"), snapshot(7));
        assert!(cache_writer.send().await);
        assert_eq!(cache.puts.load(Ordering::Relaxed), 1);
        assert_eq!(cache.get(&[sku("A")]).await.unwrap(), [Some(snapshot(1_000))]);
    }

    #[tokio::test]
    async fn what_could_not_be_put_waits_and_beyond_the_bound_it_is_dropped_and_counted() {
        let cache = flaky();
        cache.down.store(true, Ordering::Relaxed);
        let counts = Arc::new(Counts::default());
        let mut cache_writer = CacheWriter::new(Arc::clone(&cache), 2, Arc::clone(&counts));
        for (name, version) in [("A", 1), ("B", 1), ("C", 1), ("A", 2)] {
            cache_writer.add(sku(name), snapshot(version));
        }
        assert!(!cache_writer.send().await);
        assert_eq!((cache_writer.pending(), counts.put_dropped.load(Ordering::Relaxed)), (2, 1));
        cache.down.store(false, Ordering::Relaxed);
        assert!(cache_writer.send().await);
        let found = cache.get(&[sku("A"), sku("B"), sku("C")]).await.unwrap();
        assert_eq!(found, [Some(snapshot(2)), Some(snapshot(1)), None]);
    }
}
