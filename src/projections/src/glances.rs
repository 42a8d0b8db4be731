//! What other nodes lately said of their SKUs, at hand without waiting: the API looks here, and a task fetches behind its back.
//!
//! ```text
//! see(sku)  ≤ fresh: given        ≤ stale: given, and fetched again        older or never seen: nothing, and fetched
//! ```
//!
//! Looking never waits for anything: when the cache behind hangs, what is here grows stale and then is nothing, and the SKU itself is asked, as if
//! there were no cache. Nothing is decided by what is seen here; an order never looks.

use super::cache::{BATCH_MAX, Cache, Figures};
use super::counts::{Counts, count};
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::Sku;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Times and bounds of [`Glances`].
#[derive(Debug, Clone, Copy)]
pub struct GlanceSettings {
    /// Figures younger than this are given without a thought.
    pub fresh: Duration,
    /// Figures older than this are not given.
    pub stale: Duration,
    /// SKUs remembered at once, more or less.
    pub skus_max: usize,
    /// Look-ups that may wait.
    pub queue_max: usize,
}

#[derive(Debug, Clone)]
struct Seen {
    /// `None`: the cache knew nothing, or was not asked yet.
    figures: Option<Arc<Figures>>,
    /// When the cache said so.
    at: Instant,
    /// When a look-up was ordered last.
    ordered_at: Option<Instant>,
}

/// Two generations: when the younger is full the older goes, so that memory is bounded and what is asked for stays.
#[derive(Debug, Default)]
struct Generations {
    young: FxHashMap<Sku, Seen>,
    old: FxHashMap<Sku, Seen>,
}

impl Generations {
    fn get(&self, sku: &Sku) -> Option<&Seen> {
        self.young.get(sku).or_else(|| self.old.get(sku))
    }

    fn set(&mut self, sku: &Sku, seen: Seen, skus_max: usize) {
        if self.young.len() >= skus_max.div_ceil(2).max(1) && !self.young.contains_key(sku) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(sku.clone(), seen);
    }
}

/// Cheap to clone: clones see the same.
#[derive(Debug, Clone)]
pub struct Glances {
    settings: GlanceSettings,
    seen: Arc<Mutex<Generations>>,
    orders: mpsc::Sender<Sku>,
    counts: Arc<Counts>,
}

impl Glances {
    /// Nothing seen yet; the second half is to be [run](LookUps::run).
    #[must_use]
    pub fn new<C: Cache>(cache: C, settings: GlanceSettings, counts: Arc<Counts>) -> (Self, LookUps<C>) {
        let (orders, ordered) = mpsc::channel(settings.queue_max.max(1));
        let glances = Self { settings, seen: Arc::default(), orders, counts };
        let seen = Arc::clone(&glances.seen);
        let counts = Arc::clone(&glances.counts);
        (glances, LookUps { cache, settings, seen, ordered, counts })
    }

    /// The figures of a SKU, if they are not too old. Never waits.
    #[must_use]
    pub fn see(&self, sku: &Sku) -> Option<Arc<Figures>> {
        let now = monotonic();
        let mut all = lock(&self.seen);
        let seen = all.get(sku).cloned().unwrap_or(Seen { figures: None, at: now, ordered_at: None });
        let age = now.duration_since(seen.at);
        let given = seen.figures.clone().filter(|_| age < self.settings.stale);
        let known_lately = seen.ordered_at.is_some() && age < self.settings.fresh;
        let ordered_lately = seen.ordered_at.is_some_and(|at| now.duration_since(at) < self.settings.fresh);
        if !known_lately && !ordered_lately {
            if self.orders.try_send(sku.clone()).is_ok() {
                all.set(sku, Seen { ordered_at: Some(now), ..seen }, self.settings.skus_max);
            } else {
                count(&self.counts.look_up_dropped, 1);
            }
        }
        given
    }
}

/// Carries out the look-ups that [`Glances::see`] orders.
#[derive(Debug)]
pub struct LookUps<C> {
    cache: C,
    settings: GlanceSettings,
    seen: Arc<Mutex<Generations>>,
    ordered: mpsc::Receiver<Sku>,
    counts: Arc<Counts>,
}

impl<C: Cache> LookUps<C> {
    /// Runs until every [`Glances`] is gone.
    pub async fn run(mut self) {
        let mut skus = Vec::with_capacity(BATCH_MAX);
        while self.ordered.recv_many(&mut skus, BATCH_MAX).await > 0 {
            match self.cache.get(&skus).await {
                Ok(found) => {
                    count(&self.counts.looked_up, u64::try_from(skus.len()).unwrap_or(u64::MAX));
                    self.take_in(&skus, found);
                }
                Err(_) => count(&self.counts.look_up_failed, 1),
            }
            skus.clear();
        }
    }

    fn take_in(&self, skus: &[Sku], found: Vec<Option<Figures>>) {
        let now = monotonic();
        let mut all = lock(&self.seen);
        for (sku, figures) in skus.iter().zip(found) {
            let before = all.get(sku).and_then(|seen| seen.figures.clone());
            // An answer that was overtaken by a newer one must not take a shopper back in time.
            let figures = match (figures.map(Arc::new), before) {
                (Some(new), Some(old)) if old.version > new.version => Some(old),
                (new, _) => new,
            };
            all.set(sku, Seen { figures, at: now, ordered_at: Some(now) }, self.settings.skus_max);
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
    const SETTINGS: GlanceSettings = GlanceSettings {
        fresh: Duration::from_millis(100),
        stale: Duration::from_millis(1_000),
        skus_max: 4,
        queue_max: 2,
    };

    fn sku(name: &str) -> Sku {
        Sku::parse(name).unwrap()
    }

    fn figures(version: u64) -> Figures {
        Figures { version, available: version, reserved: 0, levels: None }
    }

    /// Lets the task of the look-ups do what was ordered.
    async fn settle() {
        tokio::time::sleep(MS).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_seen_is_nothing_at_first_and_fetched_behind_the_back() {
        let cache = Arc::new(MemoryCache::new(10));
        cache.put(&[(sku("A"), figures(1))]).await.unwrap();
        let (glances, look_ups) =
            Glances::new(super::super::AnyCache::Memory(Arc::clone(&cache)), SETTINGS, Arc::default());
        tokio::spawn(look_ups.run());
        assert_eq!(glances.see(&sku("A")), None);
        settle().await;
        assert_eq!(glances.see(&sku("A")).unwrap().version, 1);
        cache.put(&[(sku("A"), figures(2))]).await.unwrap();
        assert_eq!(glances.see(&sku("A")).unwrap().version, 1, "fresh enough: not fetched again");
        tokio::time::sleep(100 * MS).await;
        assert_eq!(glances.see(&sku("A")).unwrap().version, 1, "given once more, and fetched");
        settle().await;
        assert_eq!(glances.see(&sku("A")).unwrap().version, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_answers_what_was_seen_grows_stale_and_then_is_nothing() {
        let cache = super::super::AnyCache::Memory(Arc::new(MemoryCache::new(10)));
        cache.put(&[(sku("A"), figures(1))]).await.unwrap();
        let counts = Arc::new(Counts::default());
        let (glances, look_ups) = Glances::new(cache, SETTINGS, Arc::clone(&counts));
        let running = tokio::spawn(look_ups.run());
        assert_eq!(glances.see(&sku("A")), None);
        settle().await;
        // The cache hangs: nobody carries out look-ups any more.
        running.abort();
        tokio::time::sleep(500 * MS).await;
        assert!(glances.see(&sku("A")).is_some(), "stale, but better than asking");
        tokio::time::sleep(500 * MS).await;
        assert_eq!(glances.see(&sku("A")), None, "too old to show");
        assert!(counts.look_up_dropped.load(Ordering::Relaxed) > 0, "nobody takes the orders");
    }

    #[tokio::test(start_paused = true)]
    async fn orders_and_memory_are_bounded() {
        let cache = super::super::AnyCache::Memory(Arc::new(MemoryCache::new(10)));
        let counts = Arc::new(Counts::default());
        let (glances, look_ups) = Glances::new(cache, SETTINGS, Arc::clone(&counts));
        for number in 0..100 {
            assert_eq!(glances.see(&sku(&format!("S{number}"))), None);
        }
        assert_eq!(counts.look_up_dropped.load(Ordering::Relaxed), 98, "two wait, the others are dropped");
        tokio::spawn(look_ups.run());
        for number in 0..100 {
            assert_eq!(glances.see(&sku(&format!("S{number}"))), None);
            settle().await;
        }
        let all = lock(&glances.seen);
        assert!(all.young.len() + all.old.len() <= SETTINGS.skus_max, "{}", all.young.len() + all.old.len());
    }
}
