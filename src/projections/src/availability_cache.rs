//! Availability of other nodes' SKUs, at hand without waiting. The API reads it, and a task fetches what is missing or old.
//!
//! ```text
//! get(sku)  ≤ fresh: returned        ≤ stale: returned, and fetched again        older or unknown: nothing, and fetched
//! ```
//!
//! A read never waits. When the shared cache hangs, the entries grow stale and then count as unknown, and the SKU itself is asked, as without
//! a cache. No decision uses these values; an order never reads them.

use super::cache::{AvailabilitySnapshot, BATCH_MAX, Cache};
use super::counts::{Counts, count};
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::Sku;
use doorbuster_storage::keyed::KeyedMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Time limits and sizes of an [`AvailabilityCache`].
#[derive(Debug, Clone, Copy)]
pub struct AvailabilityCacheSettings {
    /// Entries younger than this are returned without a fetch.
    pub fresh: Duration,
    /// Entries older than this are not returned.
    pub stale: Duration,
    /// The number of SKUs kept, approximately.
    pub skus_max: usize,
    /// The number of lookups that may be queued.
    pub queue_max: usize,
}

#[derive(Debug, Clone)]
struct CachedEntry {
    /// `None`: the shared cache has no snapshot, or was not asked yet.
    snapshot: Option<Arc<AvailabilitySnapshot>>,
    /// When the shared cache was asked.
    at: Instant,
    /// When a lookup was last requested.
    requested_at: Option<Instant>,
}

/// Two generations: when the younger is full, the older is dropped. So memory is bounded and entries in use stay.
#[derive(Debug, Default)]
struct Generations {
    young: KeyedMap<Sku, CachedEntry>,
    old: KeyedMap<Sku, CachedEntry>,
}

impl Generations {
    fn get(&self, sku: &Sku) -> Option<&CachedEntry> {
        self.young.get(sku).or_else(|| self.old.get(sku))
    }

    fn set(&mut self, sku: &Sku, entry: CachedEntry, skus_max: usize) {
        if self.young.len() >= skus_max.div_ceil(2).max(1) && !self.young.contains_key(sku) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(sku.clone(), entry);
    }
}

/// The local cache. Clones share their entries.
#[derive(Debug, Clone)]
pub struct AvailabilityCache {
    settings: AvailabilityCacheSettings,
    entries: Arc<Mutex<Generations>>,
    lookups: mpsc::Sender<Sku>,
    counts: Arc<Counts>,
}

impl AvailabilityCache {
    /// An empty cache, and the lookups that must be [run](CacheLookups::run) beside it.
    #[must_use]
    pub fn new<C: Cache>(
        cache: C,
        settings: AvailabilityCacheSettings,
        counts: Arc<Counts>,
    ) -> (Self, CacheLookups<C>) {
        let (lookups, requests) = mpsc::channel(settings.queue_max.max(1));
        let availability_cache = Self { settings, entries: Arc::default(), lookups, counts };
        let entries = Arc::clone(&availability_cache.entries);
        let counts = Arc::clone(&availability_cache.counts);
        (availability_cache, CacheLookups { cache, settings, entries, requests, counts })
    }

    /// The snapshot of a SKU, if it is not too old. Never waits.
    #[must_use]
    pub fn get(&self, sku: &Sku) -> Option<Arc<AvailabilitySnapshot>> {
        let now = monotonic();
        let mut all = lock(&self.entries);
        let entry = all.get(sku).cloned().unwrap_or(CachedEntry { snapshot: None, at: now, requested_at: None });
        let age = now.duration_since(entry.at);
        let returned = entry.snapshot.clone().filter(|_| age < self.settings.stale);
        let fetched_recently = entry.requested_at.is_some() && age < self.settings.fresh;
        let requested_recently = entry.requested_at.is_some_and(|at| now.duration_since(at) < self.settings.fresh);
        if !fetched_recently && !requested_recently {
            if self.lookups.try_send(sku.clone()).is_ok() {
                all.set(sku, CachedEntry { requested_at: Some(now), ..entry }, self.settings.skus_max);
            } else {
                count(&self.counts.look_up_dropped, 1);
            }
        }
        returned
    }
}

/// Carries out the lookups that [`AvailabilityCache::get`] requests.
#[derive(Debug)]
pub struct CacheLookups<C> {
    cache: C,
    settings: AvailabilityCacheSettings,
    entries: Arc<Mutex<Generations>>,
    requests: mpsc::Receiver<Sku>,
    counts: Arc<Counts>,
}

impl<C: Cache> CacheLookups<C> {
    /// Runs until every [`AvailabilityCache`] is dropped.
    pub async fn run(mut self) {
        let mut skus = Vec::with_capacity(BATCH_MAX);
        while self.requests.recv_many(&mut skus, BATCH_MAX).await > 0 {
            match self.cache.get(&skus).await {
                Ok(found) => {
                    count(&self.counts.looked_up, u64::try_from(skus.len()).unwrap_or(u64::MAX));
                    self.store(&skus, found);
                }
                Err(_) => count(&self.counts.look_up_failed, 1),
            }
            skus.clear();
        }
    }

    fn store(&self, skus: &[Sku], found: Vec<Option<AvailabilitySnapshot>>) {
        let now = monotonic();
        let mut all = lock(&self.entries);
        for (sku, snapshot) in skus.iter().zip(found) {
            let before = all.get(sku).and_then(|entry| entry.snapshot.clone());
            // An answer that a newer one has overtaken must not show a shopper an older state.
            let snapshot = match (snapshot.map(Arc::new), before) {
                (Some(new), Some(old)) if old.version > new.version => Some(old),
                (new, _) => new,
            };
            all.set(sku, CachedEntry { snapshot, at: now, requested_at: Some(now) }, self.settings.skus_max);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryCache;
    use std::sync::atomic::Ordering;

    const MS: Duration = Duration::from_millis(1);
    const SETTINGS: AvailabilityCacheSettings = AvailabilityCacheSettings {
        fresh: Duration::from_millis(100),
        stale: Duration::from_millis(1_000),
        skus_max: 4,
        queue_max: 2,
    };

    fn sku(name: &str) -> Sku {
        Sku::parse(name).unwrap()
    }

    fn snapshot(version: u64) -> AvailabilitySnapshot {
        AvailabilitySnapshot { version, available: version, ..AvailabilitySnapshot::default() }
    }

    /// Lets the task of the look-ups do what was requests.
    async fn settle() {
        tokio::time::sleep(MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_seen_is_nothing_at_first_and_fetched_behind_the_back() {
        let cache = Arc::new(MemoryCache::new(10));
        cache.put(&[(sku("A"), snapshot(1))]).await.unwrap();
        let (availability_cache, lookups_task) =
            AvailabilityCache::new(super::super::AnyCache::Memory(Arc::clone(&cache)), SETTINGS, Arc::default());
        tokio::spawn(lookups_task.run());
        assert_eq!(availability_cache.get(&sku("A")), None);
        settle().await;
        assert_eq!(availability_cache.get(&sku("A")).unwrap().version, 1);
        cache.put(&[(sku("A"), snapshot(2))]).await.unwrap();
        assert_eq!(availability_cache.get(&sku("A")).unwrap().version, 1, "fresh enough: not fetched again");
        tokio::time::sleep(100 * MS).await;
        assert_eq!(availability_cache.get(&sku("A")).unwrap().version, 1, "returned once more, and fetched");
        settle().await;
        assert_eq!(availability_cache.get(&sku("A")).unwrap().version, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_answers_what_was_seen_grows_stale_and_then_is_nothing() {
        let cache = super::super::AnyCache::Memory(Arc::new(MemoryCache::new(10)));
        cache.put(&[(sku("A"), snapshot(1))]).await.unwrap();
        let counts = Arc::new(Counts::default());
        let (availability_cache, lookups_task) = AvailabilityCache::new(cache, SETTINGS, Arc::clone(&counts));
        let running = tokio::spawn(lookups_task.run());
        assert_eq!(availability_cache.get(&sku("A")), None);
        settle().await;
        // The cache hangs: no task carries out lookups any more.
        running.abort();
        tokio::time::sleep(500 * MS).await;
        assert!(availability_cache.get(&sku("A")).is_some(), "stale, but better than asking");
        tokio::time::sleep(500 * MS).await;
        assert_eq!(availability_cache.get(&sku("A")), None, "too old to show");
        assert!(counts.look_up_dropped.load(Ordering::Relaxed) > 0, "no task takes the lookups");
    }

    #[tokio::test(start_paused = true)]
    async fn orders_and_memory_are_bounded() {
        let cache = super::super::AnyCache::Memory(Arc::new(MemoryCache::new(10)));
        let counts = Arc::new(Counts::default());
        let (availability_cache, lookups_task) = AvailabilityCache::new(cache, SETTINGS, Arc::clone(&counts));
        for number in 0..100 {
            assert_eq!(availability_cache.get(&sku(&format!("S{number}"))), None);
        }
        assert_eq!(counts.look_up_dropped.load(Ordering::Relaxed), 98, "two wait, the others are dropped");
        tokio::spawn(lookups_task.run());
        for number in 0..100 {
            assert_eq!(availability_cache.get(&sku(&format!("S{number}"))), None);
            settle().await;
        }
        let all = lock(&availability_cache.entries);
        assert!(all.young.len() + all.old.len() <= SETTINGS.skus_max, "{}", all.young.len() + all.old.len());
    }
}
