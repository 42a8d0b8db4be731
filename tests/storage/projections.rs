//! What every home of snapshots and streams must hold, tried on the one in the process and, where there is a server, on Redis.

use crate::redis::{OURS, link, prefix, test_redis};
use bytes::Bytes;
use doorbuster_domain::ids::Sku;
use doorbuster_projections::cache::RedisCache;
use doorbuster_projections::memory::{MemoryCache, MemoryStreams};
use doorbuster_projections::streams::RedisStreams;
use doorbuster_projections::{AvailabilitySnapshot, Cache, Entry, EventId, ReadModelError, Streams};
use doorbuster_storage::Shard;
use std::time::Duration;

const SHARD: Shard = Shard(3);
/// Redis trims whole blocks of a stream, of a hundred entries each.
const LENGTH_MAX: u64 = 200;
const BLOCK: u64 = 100;

pub(crate) fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

pub(crate) fn snapshot(version: u64, available: u64) -> AvailabilitySnapshot {
    AvailabilitySnapshot { version, available, reserved: 1, ..AvailabilitySnapshot::default() }
}

pub(crate) fn event(seq: u64, index: u32) -> Entry {
    Entry { id: EventId { seq, index }, event: Bytes::from(format!("{{\"seq\":{seq},\"index\":{index}}}")) }
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.to_string()).collect()
}

async fn only_newer_figures_replace_what_is_there(cache: &impl Cache) {
    let (a, b) = (sku("A"), sku("B"));
    let both = [a.clone(), b.clone()];
    assert_eq!(cache.get(&both).await.unwrap(), [None, None]);
    assert_eq!(cache.put(&[(a.clone(), snapshot(9, 90)), (b.clone(), snapshot(1, 10))]).await.unwrap(), 2);
    // Late, repeated, and with more digits.
    assert_eq!(cache.put(&[(a.clone(), snapshot(8, 80)), (b.clone(), snapshot(2, 20))]).await.unwrap(), 1);
    assert_eq!(cache.put(&[(a.clone(), snapshot(9, 91))]).await.unwrap(), 0, "the same version changes nothing");
    assert_eq!(cache.get(&both).await.unwrap(), [Some(snapshot(9, 90)), Some(snapshot(2, 20))]);
    assert_eq!(
        cache.put(&[(a.clone(), snapshot(10, 100))]).await.unwrap(),
        1,
        "10 is newer than 9, though not as a text"
    );
    // Beyond what a double distinguishes.
    let large = 1 << 60;
    assert_eq!(cache.put(&[(a.clone(), snapshot(large, 1))]).await.unwrap(), 1);
    assert_eq!(cache.put(&[(a.clone(), snapshot(large + 1, 2))]).await.unwrap(), 1);
    assert_eq!(cache.put(&[(a.clone(), snapshot(large, 3))]).await.unwrap(), 0);
    assert_eq!(cache.get(&[a]).await.unwrap(), [Some(snapshot(large + 1, 2))]);
    assert_eq!(cache.put(&[]).await.unwrap(), 0);
}

async fn a_repair_takes_effect_only_on_what_was_seen(cache: &impl Cache) {
    let a = sku("REPAIRED");
    assert!(cache.replace(&a, None, Some(&snapshot(5, 5))).await.unwrap(), "nothing was there");
    assert!(!cache.replace(&a, None, Some(&snapshot(6, 6))).await.unwrap(), "something is");
    assert!(!cache.replace(&a, Some(4), Some(&snapshot(6, 6))).await.unwrap(), "another version is there");
    assert!(cache.replace(&a, Some(5), Some(&snapshot(2, 2))).await.unwrap(), "also by an older one");
    assert_eq!(cache.get(std::slice::from_ref(&a)).await.unwrap(), [Some(snapshot(2, 2))]);
    assert!(cache.replace(&a, Some(2), None).await.unwrap());
    assert_eq!(cache.get(std::slice::from_ref(&a)).await.unwrap(), [None]);
    assert_eq!(cache.put(&[(a, snapshot(1, 1))]).await.unwrap(), 1, "nothing is remembered of it");
}

async fn what_is_known_can_be_listed_and_who_filled_it(cache: &impl Cache) {
    for number in 0..1_500 {
        cache.put(&[(sku(&format!("L{number}")), snapshot(1, 1))]).await.unwrap();
    }
    let mut listed = std::collections::BTreeSet::new();
    let mut page = 0;
    loop {
        let (skus, next) = cache.skus(page).await.unwrap();
        listed.extend(skus.into_iter().filter(|sku| sku.as_str().starts_with('L')));
        if next == 0 {
            break;
        }
        page = next;
    }
    assert_eq!(listed.len(), 1_500);
    assert!(!cache.is_filled("n1").await.unwrap());
    cache.set_filled("n1").await.unwrap();
    assert!(cache.is_filled("n1").await.unwrap() && !cache.is_filled("n2").await.unwrap());
}

async fn publishing_twice_adds_nothing(streams: &impl Streams) {
    assert_eq!(streams.last(SHARD).await.unwrap(), EventId::START);
    let first = [event(1, 0), event(1, 1), event(3, 0)];
    let last = first[2].id;
    assert_eq!(streams.publish(SHARD, EventId::START, &first).await.unwrap(), last);
    // Again, and half again with something new behind it; by a publisher that knows less.
    assert_eq!(streams.publish(SHARD, EventId::START, &first).await.unwrap(), last);
    let second = [event(1, 1), event(3, 0), event(4, 0)];
    assert_eq!(streams.publish(SHARD, last, &second).await.unwrap().to_string(), "4-0");
    assert_eq!(streams.length(SHARD).await.unwrap(), 4);
    assert_eq!(streams.publish(SHARD, last, &[event(2, 0)]).await.unwrap().to_string(), "4-0", "too old an id");
    assert_eq!(streams.length(SHARD).await.unwrap(), 4);
    assert_eq!(streams.last(Shard(4)).await.unwrap(), EventId::START, "shards are apart");
}

async fn a_stream_that_ends_before_its_publisher_believes_takes_nothing(streams: &impl Streams) {
    let known = EventId { seq: 7, index: 0 };
    assert_eq!(streams.publish(SHARD, known, &[event(8, 0)]).await.unwrap(), EventId::START);
    assert_eq!(streams.length(SHARD).await.unwrap(), 0, "events before it are missing: it may not begin with 8");
}

async fn each_event_goes_to_one_consumer_of_a_group_until_it_is_acknowledged(streams: &impl Streams) {
    let events: Vec<Entry> = (1..=6).map(|seq| event(seq, 0)).collect();
    streams.create_group(SHARD, "mail", EventId::START).await.unwrap();
    streams.publish(SHARD, EventId::START, &events).await.unwrap();
    streams.create_group(SHARD, "mail", events[5].id).await.unwrap();
    streams.create_group(SHARD, "late", events[3].id).await.unwrap();
    let one = streams.read(SHARD, "mail", "one", 2).await.unwrap();
    assert_eq!(one, events[..2], "with what was published");
    let two = streams.read(SHARD, "mail", "two", 100).await.unwrap();
    assert_eq!(ids(&two), ["3-0", "4-0", "5-0", "6-0"]);
    assert!(streams.read(SHARD, "mail", "one", 100).await.unwrap().is_empty(), "nothing new, and it does not wait");
    assert_eq!(ids(&streams.read(SHARD, "late", "one", 100).await.unwrap()), ["5-0", "6-0"], "groups are apart");
    assert_eq!(streams.pending(SHARD, "mail").await.unwrap(), 6);
    assert_eq!(streams.acknowledge(SHARD, "mail", &[two[0].id, two[1].id]).await.unwrap(), 2);
    assert_eq!(streams.acknowledge(SHARD, "mail", &[two[0].id]).await.unwrap(), 0, "once");
    assert_eq!(streams.pending(SHARD, "mail").await.unwrap(), 4);
    // Consumer one is gone: two takes over what it was given, and what it had itself.
    let idle = Duration::ZERO;
    let taken = streams.take_over(SHARD, "mail", "two", idle, 100).await.unwrap();
    assert_eq!(ids(&taken), ["1-0", "2-0", "5-0", "6-0"]);
    assert_eq!(taken[0], events[0], "with what was published");
    let patient = Duration::from_secs(60);
    assert!(streams.take_over(SHARD, "mail", "three", patient, 100).await.unwrap().is_empty(), "not yet");
    let all: Vec<EventId> = taken.iter().map(|entry| entry.id).collect();
    assert_eq!(streams.acknowledge(SHARD, "mail", &all).await.unwrap(), 4);
    assert!(streams.take_over(SHARD, "mail", "two", idle, 100).await.unwrap().is_empty());
}

async fn a_group_that_is_not_there_is_said_to_be_missing(streams: &impl Streams) {
    assert_eq!(streams.read(SHARD, "nobody", "one", 1).await, Err(ReadModelError::NoGroup), "no stream");
    streams.publish(SHARD, EventId::START, &[event(1, 0)]).await.unwrap();
    assert_eq!(streams.read(SHARD, "nobody", "one", 1).await, Err(ReadModelError::NoGroup));
    assert_eq!(streams.take_over(SHARD, "nobody", "one", Duration::ZERO, 1).await, Err(ReadModelError::NoGroup));
    assert_eq!(streams.pending(SHARD, "nobody").await, Err(ReadModelError::NoGroup));
    assert_eq!(streams.acknowledge(SHARD, "nobody", &[EventId::START]).await, Ok(0));
}

async fn a_stream_keeps_a_bounded_number_of_events(streams: &impl Streams) {
    streams.create_group(SHARD, "slow", EventId::START).await.unwrap();
    let mut last = streams.publish(SHARD, EventId::START, &[event(1, 0)]).await.unwrap();
    let given = streams.read(SHARD, "slow", "one", 1).await.unwrap();
    assert_eq!(ids(&given), ["1-0"]);
    for first in (2..2_000).step_by(100) {
        let events: Vec<Entry> = (first..first + 100).map(|seq| event(seq, 0)).collect();
        last = streams.publish(SHARD, last, &events).await.unwrap();
    }
    let length = streams.length(SHARD).await.unwrap();
    assert!((LENGTH_MAX..=LENGTH_MAX + BLOCK).contains(&length), "{length}");
    assert_eq!(streams.last(SHARD).await.unwrap(), last, "the newest stay");
    let next = streams.read(SHARD, "slow", "one", 1).await.unwrap();
    assert!(next[0].id.seq > 1_000, "a group that is too slow misses events, and goes on: {:?}", next[0].id);
    let taken = streams.take_over(SHARD, "slow", "two", Duration::ZERO, 10).await.unwrap();
    assert_eq!(ids(&taken), ids(&next), "what was trimmed is pending no longer");
    assert_eq!(streams.pending(SHARD, "slow").await.unwrap(), 1);
}

/// One test a law, for both homes; each has a prefix of its own.
macro_rules! laws {
    ($make:ident: $($law:ident),* $(,)?) => {
        mod in_memory {
            use super::*;
            $(#[tokio::test]
            async fn $law() {
                super::$law(&$make::in_memory()).await;
            })*
        }
        mod in_redis {
            use super::*;
            $(#[tokio::test]
            async fn $law() {
                let Some(redis) = test_redis(stringify!($law)) else { return };
                super::$law(&$make::in_redis(&redis)).await;
            })*
        }
    };
}

mod caches {
    use super::*;

    mod make {
        use super::*;
        pub(crate) fn in_memory() -> MemoryCache {
            MemoryCache::new(10_000)
        }
        pub(crate) fn in_redis(redis: &str) -> RedisCache {
            RedisCache::new(link(redis, &prefix(), OURS))
        }
    }

    laws!(make: only_newer_figures_replace_what_is_there, a_repair_takes_effect_only_on_what_was_seen, what_is_known_can_be_listed_and_who_filled_it);
}

mod streams {
    use super::*;

    mod make {
        use super::*;
        pub(crate) fn in_memory() -> MemoryStreams {
            MemoryStreams::new(usize::try_from(LENGTH_MAX).unwrap())
        }
        pub(crate) fn in_redis(redis: &str) -> RedisStreams {
            RedisStreams::new(link(redis, &prefix(), OURS), LENGTH_MAX)
        }
    }

    laws!(make: publishing_twice_adds_nothing,
        a_stream_that_ends_before_its_publisher_believes_takes_nothing,
        each_event_goes_to_one_consumer_of_a_group_until_it_is_acknowledged,
        a_group_that_is_not_there_is_said_to_be_missing,
        a_stream_keeps_a_bounded_number_of_events);
}

#[tokio::test]
async fn memory_for_figures_is_bounded_and_those_that_came_first_go() {
    let cache = MemoryCache::new(2);
    for name in ["A", "B", "A", "C"] {
        cache.put(&[(sku(name), snapshot(1, 1))]).await.unwrap();
    }
    let known: Vec<bool> =
        cache.get(&[sku("A"), sku("B"), sku("C")]).await.unwrap().iter().map(Option::is_some).collect();
    assert_eq!(known, [false, true, true]);
}
