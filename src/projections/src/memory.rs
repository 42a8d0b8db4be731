//! The cache and the streams inside the process: the default, for a node alone and for tests; bounded, and gone with the process.

use super::Unreachable;
use super::cache::{Cache, Figures};
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

/// Figures by SKU.
#[derive(Debug)]
pub struct MemoryCache {
    skus_max: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    figures: BTreeMap<Sku, Figures>,
    /// In the order in which they came; the first is the first to go. A SKU is in it once.
    came: VecDeque<Sku>,
    filled: BTreeSet<String>,
}

impl MemoryCache {
    /// An empty one, for at most so many SKUs: beyond it those that came first go.
    #[must_use]
    pub fn new(skus_max: usize) -> Self {
        Self { skus_max: skus_max.max(1), known: Mutex::default() }
    }

    /// Everything goes, as with `FLUSHALL`.
    pub fn empty(&self) {
        *lock(&self.known) = Known::default();
    }
}

impl Known {
    fn set(&mut self, sku: &Sku, figures: Figures, skus_max: usize) {
        if self.figures.insert(sku.clone(), figures).is_some() {
            return;
        }
        self.came.push_back(sku.clone());
        while self.came.len() > skus_max {
            if let Some(first) = self.came.pop_front() {
                self.figures.remove(&first);
            }
        }
    }
}

impl Cache for MemoryCache {
    async fn put(&self, figures: &[(Sku, Figures)]) -> Result<u64, Unreachable> {
        let mut known = lock(&self.known);
        let mut applied: u64 = 0;
        for (sku, figures) in figures {
            if known.figures.get(sku).is_none_or(|older| figures.version > older.version) {
                known.set(sku, figures.clone(), self.skus_max);
                applied = applied.saturating_add(1);
            }
        }
        Ok(applied)
    }

    async fn get(&self, skus: &[Sku]) -> Result<Vec<Option<Figures>>, Unreachable> {
        let known = lock(&self.known);
        Ok(skus.iter().map(|sku| known.figures.get(sku).cloned()).collect())
    }

    async fn replace(&self, sku: &Sku, seen: Option<u64>, with: Option<&Figures>) -> Result<bool, Unreachable> {
        let mut known = lock(&self.known);
        if known.figures.get(sku).map(|figures| figures.version) != seen {
            return Ok(false);
        }
        if let Some(figures) = with {
            known.set(sku, figures.clone(), self.skus_max);
        } else {
            known.figures.remove(sku);
            known.came.retain(|other| other != sku);
        }
        Ok(true)
    }

    async fn skus(&self, _page: u64) -> Result<(Vec<Sku>, u64), Unreachable> {
        Ok((lock(&self.known).figures.keys().cloned().collect(), 0))
    }

    async fn is_filled(&self, node: &str) -> Result<bool, Unreachable> {
        Ok(lock(&self.known).filled.contains(node))
    }

    async fn set_filled(&self, node: &str) -> Result<(), Unreachable> {
        lock(&self.known).filled.insert(node.to_owned());
        Ok(())
    }
}

/// Streams by shard.
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
    given_upto: EventId,
    /// Given to some consumer and not acknowledged; since when.
    pending: BTreeMap<EventId, Instant>,
}

impl MemoryStreams {
    /// Empty ones, each trimmed to so many events.
    #[must_use]
    pub fn new(length_max: usize) -> Self {
        Self { length_max: length_max.max(1), streams: Mutex::default() }
    }

    /// Everything goes, groups too, as with `FLUSHALL`.
    pub fn empty(&self) {
        lock(&self.streams).clear();
    }

    fn on_group<T>(
        &self,
        shard: Shard,
        group: &str,
        act: impl FnOnce(&BTreeMap<EventId, Bytes>, &mut Group) -> T,
    ) -> Result<T, Unreachable> {
        let mut streams = lock(&self.streams);
        let stream = streams.get_mut(&shard).ok_or(Unreachable::NoGroup)?;
        let group = stream.groups.get_mut(group).ok_or(Unreachable::NoGroup)?;
        Ok(act(&stream.events, group))
    }
}

impl Streams for MemoryStreams {
    async fn publish(&self, shard: Shard, after: EventId, events: &[Entry]) -> Result<EventId, Unreachable> {
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

    async fn last(&self, shard: Shard) -> Result<EventId, Unreachable> {
        Ok(lock(&self.streams).get(&shard).map(|stream| stream.last).unwrap_or_default())
    }

    async fn length(&self, shard: Shard) -> Result<u64, Unreachable> {
        let length = lock(&self.streams).get(&shard).map_or(0, |stream| stream.events.len());
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    async fn create_group(&self, shard: Shard, group: &str, after: EventId) -> Result<(), Unreachable> {
        let mut streams = lock(&self.streams);
        let groups = &mut streams.entry(shard).or_default().groups;
        groups.entry(group.to_owned()).or_insert_with(|| Group { given_upto: after, pending: BTreeMap::new() });
        Ok(())
    }

    async fn read(&self, shard: Shard, group: &str, _consumer: &str, limit: usize) -> Result<Vec<Entry>, Unreachable> {
        self.on_group(shard, group, |events, group| {
            let now = monotonic();
            let mut found = Vec::new();
            for (id, event) in events.range((Excluded(group.given_upto), Unbounded)).take(limit) {
                group.pending.insert(*id, now);
                found.push(Entry { id: *id, event: event.clone() });
            }
            group.given_upto = found.last().map_or(group.given_upto, |entry| entry.id);
            found
        })
    }

    async fn acknowledge(&self, shard: Shard, group: &str, ids: &[EventId]) -> Result<u64, Unreachable> {
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
    ) -> Result<Vec<Entry>, Unreachable> {
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

    async fn pending(&self, shard: Shard, group: &str) -> Result<u64, Unreachable> {
        self.on_group(shard, group, |_, group| u64::try_from(group.pending.len()).unwrap_or(u64::MAX))
    }
}
