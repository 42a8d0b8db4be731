//! The details of warehouses as this node last read them, for decisions that only need them nearly new (rank, country, active).
//!
//! A warehouse lives on one node and is changed there, or through any other node. So what was read once is read again in the background, as
//! long as requests use it; what no request uses is forgotten.
//!
//! ```text
//! get ──hit──► details, marked as used         round, every REFRESH_EVERY:  used ──► read again
//!   └──miss──► None, read soon                                              unused UNUSED_ROUNDS_MAX times ──► forgotten
//! ```

use doorbuster_domain::ids::WarehouseId;
use doorbuster_domain::warehouse::Details;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// A change made elsewhere is seen after this time, and the time of one read.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// Warehouses remembered at once, some 300 bytes each. Beyond it, those that were not used since the last round make room.
const WAREHOUSES_MAX: usize = 10_000;
/// A warehouse that no request has used in this many rounds in a row is forgotten.
const UNUSED_ROUNDS_MAX: u32 = 600;

/// One warehouse.
#[derive(Debug)]
struct Known {
    /// `None`: not read yet, or the seller has described no such warehouse.
    details: Option<Arc<Details>>,
    /// A request has used it since the last round.
    is_used: AtomicBool,
    /// Rounds in a row in which no request used it.
    unused_rounds: u32,
}

/// The details of warehouses, as last read. Copies are the same cache.
#[derive(Debug, Clone, Default)]
pub(super) struct WarehouseCache(Arc<RwLock<BTreeMap<WarehouseId, Known>>>);

/// What the cache has of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cached {
    /// As last read; `None`: not there, or not read yet.
    Details(Option<Arc<Details>>),
    /// Asked for the first time: the caller is to read it.
    Missing,
}

impl WarehouseCache {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<WarehouseId, Known>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<WarehouseId, Known>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, without waiting. An order asks this for each warehouse that may serve it, so it takes no clock and no write lock.
    pub(super) fn get(&self, id: &WarehouseId) -> Cached {
        self.read().get(id).map_or(Cached::Missing, |known| {
            // Most reads find the mark set: they leave the cache line alone.
            if !known.is_used.load(Ordering::Relaxed) {
                known.is_used.store(true, Ordering::Relaxed);
            }
            Cached::Details(known.details.clone())
        })
    }

    /// Remembers what was read. A warehouse that is not known yet counts as used.
    pub(super) fn put(&self, id: &WarehouseId, details: Option<Arc<Details>>) {
        let mut all = self.write();
        if let Some(known) = all.get_mut(id) {
            known.details = details;
            return;
        }
        if all.len() >= WAREHOUSES_MAX {
            all.retain(|_, known| *known.is_used.get_mut());
        }
        // A node whose requests use more warehouses than fit begins anew: the cache is a memory of reads, and nothing depends on it.
        if all.len() >= WAREHOUSES_MAX {
            all.clear();
        }
        all.insert(id.clone(), Known { details, is_used: AtomicBool::new(true), unused_rounds: 0 });
    }

    /// Begins a round: forgets what has not been used for long, and gives what was used since the last round and is to be read again.
    pub(super) fn begin_round(&self) -> Vec<WarehouseId> {
        let mut all = self.write();
        all.retain(|_, known| {
            let is_used = *known.is_used.get_mut();
            known.unused_rounds = if is_used { 0 } else { known.unused_rounds.saturating_add(1) };
            known.unused_rounds <= UNUSED_ROUNDS_MAX
        });
        let used =
            |(id, known): (&WarehouseId, &mut Known)| std::mem::take(known.is_used.get_mut()).then(|| id.clone());
        all.iter_mut().filter_map(used).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> WarehouseId {
        WarehouseId::parse(text).expect("lawful")
    }

    fn details(name: &str) -> Option<Arc<Details>> {
        Some(Arc::new(Details { name: name.into(), ..Details::default() }))
    }

    #[test]
    fn what_is_used_is_read_again_in_each_round_and_what_is_not_is_left_alone() {
        let cache = WarehouseCache::default();
        assert_eq!(cache.get(&id("lon1")), Cached::Missing);
        cache.put(&id("lon1"), None);
        cache.put(&id("man1"), details("Manchester"));
        assert_eq!(cache.begin_round(), [id("lon1"), id("man1")]);
        assert_eq!(cache.begin_round(), []);
        assert_eq!(cache.get(&id("man1")), Cached::Details(details("Manchester")));
        assert_eq!(cache.begin_round(), [id("man1")]);
        cache.put(&id("man1"), details("Salford"));
        assert_eq!(cache.begin_round(), [], "a read of the round itself is no use by a request");
        assert_eq!(cache.get(&id("man1")), Cached::Details(details("Salford")));
    }

    #[test]
    fn a_warehouse_that_no_request_uses_is_forgotten() {
        let cache = WarehouseCache::default();
        cache.put(&id("lon1"), details("London"));
        for _ in 0..=UNUSED_ROUNDS_MAX {
            cache.begin_round();
        }
        assert_eq!(cache.read().len(), 1);
        cache.begin_round();
        assert_eq!(cache.read().len(), 0);
    }

    #[test]
    fn the_cache_has_a_bound() {
        let cache = WarehouseCache::default();
        for number in 0..WAREHOUSES_MAX {
            cache.put(&id(&format!("w{number}")), None);
        }
        cache.begin_round();
        assert_eq!(cache.get(&id("w7")), Cached::Details(None));
        cache.put(&id("one-more"), None);
        assert_eq!(cache.read().len(), 2, "those in use stay");
        for number in 0..2 * WAREHOUSES_MAX {
            cache.put(&id(&format!("w{number}")), None);
            assert!(cache.read().len() <= WAREHOUSES_MAX);
        }
    }
}
