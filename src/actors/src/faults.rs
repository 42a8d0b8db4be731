//! Faults on demand, for `POST /admin/faults` and for tests: only where the configuration allows them.

use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The faults that are armed.
#[derive(Debug, Default)]
pub struct Faults {
    /// While nothing is armed, a command costs one load and no lock.
    armed: AtomicBool,
    panics: Mutex<BTreeMap<EntityId, u32>>,
    steps: Mutex<BTreeMap<String, u32>>,
    disk_delay_ms: AtomicU64,
    disk_slow_until_ms: AtomicU64,
    slow_shard: Mutex<Option<(Shard, Duration)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one of those left under a key.
fn take<K: Ord>(left: &mut BTreeMap<K, u32>, key: &K) -> bool {
    match left.get_mut(key) {
        Some(0) | None => false,
        Some(times) => {
            *times = times.saturating_sub(1);
            true
        }
    }
}

impl Faults {
    /// The entity's actor panics `times` times: at `ShardMsg::Panic`, or as soon as it starts.
    pub fn arm_panic(&self, entity: &EntityId, times: u32) {
        lock(&self.panics).insert(entity.clone(), times);
        self.armed.store(true, Ordering::Release);
    }

    /// `times` effects of this step are lost on their way; they stay owed and are sent again.
    pub fn arm_step(&self, step: &str, times: u32) {
        lock(&self.steps).insert(step.to_owned(), times);
        self.armed.store(true, Ordering::Release);
    }

    /// Every append takes `delay` longer; `until` `None`: until the next call.
    pub fn slow_disk(&self, delay: Duration, until: Option<Timestamp>) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.disk_slow_until_ms.store(until.map_or(u64::MAX, |until| until.0), Ordering::Release);
        self.disk_delay_ms.store(millis, Ordering::Release);
    }

    /// Each message to an entity of this shard takes `delay` longer, until the next call; a `delay` of zero ends it.
    pub fn slow_shard(&self, shard: Shard, delay: Duration) {
        *lock(&self.slow_shard) = (!delay.is_zero()).then_some((shard, delay));
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn shard_delay(&self, shard: Shard) -> Option<Duration> {
        if !self.armed.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.slow_shard).filter(|(slow, _)| *slow == shard).map(|(_, delay)| delay)
    }

    pub(crate) fn must_panic(&self, entity: &EntityId) -> bool {
        self.armed.load(Ordering::Acquire) && take(&mut lock(&self.panics), entity)
    }

    pub(crate) fn loses(&self, step: &str) -> bool {
        self.armed.load(Ordering::Acquire) && take(&mut lock(&self.steps), &step.to_owned())
    }

    pub(crate) fn disk_delay(&self, now: impl FnOnce() -> Timestamp) -> Option<Duration> {
        let millis = self.disk_delay_ms.load(Ordering::Acquire);
        let slow = millis > 0 && now().0 < self.disk_slow_until_ms.load(Ordering::Acquire);
        slow.then(|| Duration::from_millis(millis))
    }
}
