//! Durable events as streams for other systems: one stream a shard, with consumer groups, bounded in length.
//!
//! ```text
//! shard's log   …  seq 41 (2 events)   seq 43 (1 event)  …
//! its stream    …  41-0   41-1         43-0              …      id = the decision's seq - the event's index in it
//! ```
//!
//! Ids only grow, and the store refuses an id that is not greater than the last. So a second publisher of the same events adds nothing, and the
//! stream's last id is the publisher's cursor.

use super::ReadModelError;
use super::memory::MemoryStreams;
use bytes::Bytes;
use doorbuster_storage::redis::{Link, StreamLog};
use doorbuster_storage::{Seq, Shard};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The most events in one call; callers split longer lists.
pub const BATCH_MAX: usize = 500;

/// The position of an event in its shard's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId {
    /// The seq of its decision's first event.
    pub seq: Seq,
    /// Its index in the decision, from 0.
    pub index: u32,
}

impl EventId {
    /// The position before every event.
    pub const START: Self = Self { seq: 0, index: 0 };

    /// The event's seq in its shard's log.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.seq.saturating_add(u64::from(self.index))
    }

    /// Reads `seq-index`, the stored form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, index) = text.split_once('-')?;
        Some(Self { seq: seq.parse().ok()?, index: index.parse().ok()? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.seq, self.index)
    }
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the stream.
    pub id: EventId,
    /// The event as JSON, without personal data.
    pub event: Bytes,
}

/// A store of streams.
pub trait Streams: Send + Sync + 'static {
    /// Appends events in order; skips those whose id is not greater than the stream's last. Returns the stream's last id afterwards. If that id
    /// is before `after` at the beginning, nothing is appended: the stream was emptied, and the caller must continue from its end.
    fn publish(
        &self,
        shard: Shard,
        after: EventId,
        events: &[Entry],
    ) -> impl Future<Output = Result<EventId, ReadModelError>> + Send;

    /// The id of the last event ever appended; [`EventId::START`]: there was none.
    fn last(&self, shard: Shard) -> impl Future<Output = Result<EventId, ReadModelError>> + Send;

    /// The number of events kept.
    fn length(&self, shard: Shard) -> impl Future<Output = Result<u64, ReadModelError>> + Send;

    /// Creates a consumer group that reads the kept events after `after`; an existing group stays as it is.
    fn create_group(
        &self,
        shard: Shard,
        group: &str,
        after: EventId,
    ) -> impl Future<Output = Result<(), ReadModelError>> + Send;

    /// The next events that no consumer of the group has read. They are pending for this consumer until acknowledged. Never waits.
    fn read(
        &self,
        shard: Shard,
        group: &str,
        consumer: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, ReadModelError>> + Send;

    /// Acknowledges events; returns how many were pending.
    fn acknowledge(
        &self,
        shard: Shard,
        group: &str,
        ids: &[EventId],
    ) -> impl Future<Output = Result<u64, ReadModelError>> + Send;

    /// Moves events that have been pending for at least `idle` to this consumer, because theirs is gone or has restarted. Trimmed events are no
    /// longer pending.
    fn take_over(
        &self,
        shard: Shard,
        group: &str,
        consumer: &str,
        idle: Duration,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, ReadModelError>> + Send;

    /// The number of events that the group has read and not acknowledged.
    fn pending(&self, shard: Shard, group: &str) -> impl Future<Output = Result<u64, ReadModelError>> + Send;
}

/// The streams that the configuration selects.
#[derive(Debug, Clone)]
pub enum AnyStreams {
    /// In this process.
    Memory(Arc<MemoryStreams>),
    /// In Redis, shared by the nodes.
    Redis(RedisStreams),
}

/// Streams in Redis.
#[derive(Debug, Clone)]
pub struct RedisStreams {
    log: StreamLog,
}

impl RedisStreams {
    /// Streams behind a Redis link, each trimmed to about `length_max` events.
    #[must_use]
    pub const fn new(link: Arc<Link>, length_max: u64) -> Self {
        Self { log: StreamLog::new(link, length_max) }
    }
}

fn id_of(text: &str) -> Result<EventId, ReadModelError> {
    EventId::parse(text).ok_or_else(|| ReadModelError::Damaged(format!("{text} is not an event id")))
}

fn entries_of(found: Vec<(String, Bytes)>) -> Result<Vec<Entry>, ReadModelError> {
    found.into_iter().map(|(id, event)| Ok(Entry { id: id_of(&id)?, event })).collect()
}

impl Streams for RedisStreams {
    async fn publish(&self, shard: Shard, after: EventId, events: &[Entry]) -> Result<EventId, ReadModelError> {
        let events: Vec<(String, Bytes)> =
            events.iter().map(|entry| (entry.id.to_string(), entry.event.clone())).collect();
        id_of(&self.log.add(shard.0, &after.to_string(), &events).await?)
    }

    async fn last(&self, shard: Shard) -> Result<EventId, ReadModelError> {
        // Nothing to add: only the last id comes back.
        id_of(&self.log.add(shard.0, &EventId::START.to_string(), &[]).await?)
    }

    async fn length(&self, shard: Shard) -> Result<u64, ReadModelError> {
        Ok(self.log.length(shard.0).await?)
    }

    async fn create_group(&self, shard: Shard, group: &str, after: EventId) -> Result<(), ReadModelError> {
        Ok(self.log.create_group(shard.0, group, &after.to_string()).await?)
    }

    async fn read(
        &self,
        shard: Shard,
        group: &str,
        consumer: &str,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadModelError> {
        entries_of(self.log.read(shard.0, group, consumer, limit).await?)
    }

    async fn acknowledge(&self, shard: Shard, group: &str, ids: &[EventId]) -> Result<u64, ReadModelError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Ok(self.log.acknowledge(shard.0, group, &ids).await?)
    }

    async fn take_over(
        &self,
        shard: Shard,
        group: &str,
        consumer: &str,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadModelError> {
        entries_of(self.log.take_over(shard.0, group, consumer, idle, limit).await?)
    }

    async fn pending(&self, shard: Shard, group: &str) -> Result<u64, ReadModelError> {
        Ok(self.log.pending(shard.0, group).await?)
    }
}

macro_rules! each {
    ($streams:expr, $inner:ident => $act:expr) => {
        match $streams {
            AnyStreams::Memory($inner) => $act,
            AnyStreams::Redis($inner) => $act,
        }
    };
}

impl Streams for AnyStreams {
    async fn publish(&self, shard: Shard, after: EventId, events: &[Entry]) -> Result<EventId, ReadModelError> {
        each!(self, streams => streams.publish(shard, after, events).await)
    }

    async fn last(&self, shard: Shard) -> Result<EventId, ReadModelError> {
        each!(self, streams => streams.last(shard).await)
    }

    async fn length(&self, shard: Shard) -> Result<u64, ReadModelError> {
        each!(self, streams => streams.length(shard).await)
    }

    async fn create_group(&self, shard: Shard, group: &str, after: EventId) -> Result<(), ReadModelError> {
        each!(self, streams => streams.create_group(shard, group, after).await)
    }

    async fn read(
        &self,
        shard: Shard,
        group: &str,
        consumer: &str,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadModelError> {
        each!(self, streams => streams.read(shard, group, consumer, limit).await)
    }

    async fn acknowledge(&self, shard: Shard, group: &str, ids: &[EventId]) -> Result<u64, ReadModelError> {
        each!(self, streams => streams.acknowledge(shard, group, ids).await)
    }

    async fn take_over(
        &self,
        shard: Shard,
        group: &str,
        consumer: &str,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadModelError> {
        each!(self, streams => streams.take_over(shard, group, consumer, idle, limit).await)
    }

    async fn pending(&self, shard: Shard, group: &str) -> Result<u64, ReadModelError> {
        each!(self, streams => streams.pending(shard, group).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_place_of_its_event() {
        let id = EventId { seq: 41, index: 1 };
        assert_eq!((id.position(), id.to_string().as_str()), (42, "41-1"));
        assert_eq!(EventId::parse("41-1"), Some(id));
        assert!(EventId { seq: 43, index: 0 } > id && id > EventId::START);
        for text in ["", "41", "41-", "-1", "41-x", "1-2-3"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
