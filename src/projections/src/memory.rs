//! The cache and the streams inside the process: the default for a single node and for tests. Bounded, and lost with the process.

use super::ReadModelError;
use super::cache::{AvailabilitySnapshot, Cache};
use super::streams::{Entry, EventId, Streams};
use bytes::Bytes;
use doorbuster_clock::monotonic;
use doorbuster_domain::ids::Sku;
use doorbuster_storage::Shard;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cache in memory.
#[derive(Debug)]
pub struct MemoryCache {
    skus_max: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    snapshots: BTreeMap<Sku, AvailabilitySnapshot>,
    /// SKUs in the order of their first insert; the first is evicted first. Each SKU occurs once.
    insert_order: VecDeque<Sku>,
    filled: BTreeSet<String>,
}

impl MemoryCache {
    /// An empty cache for at most `skus_max` SKUs; beyond it the oldest is evicted.
    #[must_use]
    pub fn new(skus_max: usize) -> Self {
        Self { skus_max: skus_max.max(1), known: Mutex::default() }
    }

    /// Removes everything, as `FLUSHALL` does.
    pub fn empty(&self) {
        *lock(&self.known) = Known::default();
    }
}

impl Known {
    fn set(&mut self, sku: &Sku, snapshot: AvailabilitySnapshot, skus_max: usize) {
        if self.snapshots.insert(sku.clone(), snapshot).is_some() {
            return;
        }
        self.insert_order.push_back(sku.clone());
        while self.insert_order.len() > skus_max {
            if let Some(first) = self.insert_order.pop_front() {
                self.snapshots.remove(&first);
            }
        }
    }
}

impl Cache for MemoryCache {
    async fn put(&self, snapshots: &[(Sku, AvailabilitySnapshot)]) -> Result<u64, ReadModelError> {
        let mut known = lock(&self.known);
        let mut applied: u64 = 0;
        for (sku, snapshot) in snapshots {
            if known.snapshots.get(sku).is_none_or(|older| snapshot.version > older.version) {
                known.set(sku, snapshot.clone(), self.skus_max);
                applied = applied.saturating_add(1);
            }
        }
        Ok(applied)
    }

    async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<AvailabilitySnapshot>>, ReadModelError> {
        let known = lock(&self.known);
        Ok(skus.iter().map(|sku| known.snapshots.get(sku).cloned()).collect())
    }

    async fn replace(
        &self,
        sku: &Sku,
        expected: Option<u64>,
        with: Option<&AvailabilitySnapshot>,
    ) -> Result<bool, ReadModelError> {
        let mut known = lock(&self.known);
        if known.snapshots.get(sku).map(|snapshot| snapshot.version) != expected {
            return Ok(false);
        }
        if let Some(snapshot) = with {
            known.set(sku, snapshot.clone(), self.skus_max);
        } else {
            known.snapshots.remove(sku);
            known.insert_order.retain(|other| other != sku);
        }
        Ok(true)
    }

    async fn skus(&self, _page: u64) -> Result<(Vec<Sku>, u64), ReadModelError> {
        Ok((lock(&self.known).snapshots.keys().cloned().collect(), 0))
    }

    async fn is_filled(&self, node: &str) -> Result<bool, ReadModelError> {
        Ok(lock(&self.known).filled.contains(node))
    }

    async fn set_filled(&self, node: &str) -> Result<(), ReadModelError> {
        lock(&self.known).filled.insert(node.to_owned());
        Ok(())
    }
}

/// Streams in memory.
#[derive(Debug)]
pub struct MemoryStreams {
    length_max: usize,
    streams: Mutex<BTreeMap<Shard, Stream>>,
}

#[derive(Debug, Default)]
struct Stream {
    last: EventId,
    events: BTreeMap<EventId, Bytes>,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Default)]
struct Group {
    delivered_upto: EventId,
    /// When each event was delivered to a consumer that has not acknowledged it.
    pending: BTreeMap<EventId, Instant>,
}

impl MemoryStreams {
    /// Empty streams, each trimmed to `length_max` events.
    #[must_use]
    pub fn new(length_max: usize) -> Self {
        Self { length_max: length_max.max(1), streams: Mutex::default() }
    }

    /// Removes everything, groups too, as `FLUSHALL` does.
    pub fn empty(&self) {
        lock(&self.streams).clear();
    }

    fn on_group<T>(
        &self,
        shard: Shard,
        group: &str,
        act: impl FnOnce(&BTreeMap<EventId, Bytes>, &mut Group) -> T,
    ) -> Result<T, ReadModelError> {
        let mut streams = lock(&self.streams);
        let stream = streams.get_mut(&shard).ok_or(ReadModelError::NoGroup)?;
        let group = stream.groups.get_mut(group).ok_or(ReadModelError::NoGroup)?;
        Ok(act(&stream.events, group))
    }
}

impl Streams for MemoryStreams {
    async fn publish(&self, shard: Shard, after: EventId, events: &[Entry]) -> Result<EventId, ReadModelError> {
        let mut streams = lock(&self.streams);
        let last = streams.get(&shard).map(|stream| stream.last).unwrap_or_default();
        if last < after || events.is_empty() {
            return Ok(last);
        }
        let stream = streams.entry(shard).or_default();
        for entry in events {
            if entry.id > stream.last {
                stream.last = entry.id;
                stream.events.insert(entry.id, entry.event.clone());
            }
        }
        while stream.events.len() > self.length_max {
            stream.events.pop_first();
        }
        Ok(stream.last)
    }

    async fn last(&self, shard: Shard) -> Result<EventId, ReadModelError> {
        Ok(lock(&self.streams).get(&shard).map(|stream| stream.last).unwrap_or_default())
    }

    async fn length(&self, shard: Shard) -> Result<u64, ReadModelError> {
        let length = lock(&self.streams).get(&shard).map_or(0, |stream| stream.events.len());
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    async fn create_group(&self, shard: Shard, group: &str, after: EventId) -> Result<(), ReadModelError> {
        let mut streams = lock(&self.streams);
        let groups = &mut streams.entry(shard).or_default().groups;
        groups.entry(group.to_owned()).or_insert_with(|| Group { delivered_upto: after, pending: BTreeMap::new() });
        Ok(())
    }

    async fn read(
        &self,
        shard: Shard,
        group: &str,
        _consumer: &str,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadModelError> {
        self.on_group(shard, group, |events, group| {
            let now = monotonic();
            let mut found = Vec::new();
            for (id, event) in events.range((Excluded(group.delivered_upto), Unbounded)).take(limit) {
                group.pending.insert(*id, now);
                found.push(Entry { id: *id, event: event.clone() });
            }
            group.delivered_upto = found.last().map_or(group.delivered_upto, |entry| entry.id);
            found
        })
    }

    async fn acknowledge(&self, shard: Shard, group: &str, ids: &[EventId]) -> Result<u64, ReadModelError> {
        let known = self.on_group(shard, group, |_, group| {
            let known = ids.iter().filter(|id| group.pending.remove(id).is_some()).count();
            u64::try_from(known).unwrap_or(u64::MAX)
        });
        // Redis has nothing to acknowledge in a group that is gone, and says so with a zero.
        Ok(known.unwrap_or(0))
    }

    async fn take_over(
        &self,
        shard: Shard,
        group: &str,
        _consumer: &str,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadModelError> {
        self.on_group(shard, group, |events, group| {
            let now = monotonic();
            let idle_ones = group.pending.iter().filter(|(_, given_at)| now.duration_since(**given_at) >= idle);
            let ids: Vec<EventId> = idle_ones.map(|(id, _)| *id).take(limit).collect();
            let mut found = Vec::new();
            for id in ids {
                if let Some(event) = events.get(&id) {
                    group.pending.insert(id, now);
                    found.push(Entry { id, event: event.clone() });
                } else {
                    group.pending.remove(&id);
                }
            }
            found
        })
    }

    async fn pending(&self, shard: Shard, group: &str) -> Result<u64, ReadModelError> {
        self.on_group(shard, group, |_, group| u64::try_from(group.pending.len()).unwrap_or(u64::MAX))
    }
}
