//! Streams whose ids only grow: Redis refuses an id that is not greater than the last, and that refusal counts as done.

use super::{Link, LinkError};
use bytes::Bytes;
use redis::{RedisResult, Script};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The prefix of the streams' keys.
const ROOM: &str = "events";
/// The one field of an entry.
const FIELD: &str = "event";

/// Returns the last id after adding the entries that follow it, unless the stream ends before the id that the caller knows.
static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local function digits_less(a, b)
           if #a ~= #b then return #a < #b end
           return a < b
         end
         local function less(a, b)
           local a1, a2 = string.match(a, '^(%d+)-(%d+)$')
           local b1, b2 = string.match(b, '^(%d+)-(%d+)$')
           if a1 ~= b1 then return digits_less(a1, b1) end
           return digits_less(a2, b2)
         end
         local last = '0-0'
         if redis.call('EXISTS', KEYS[1]) == 1 then
           local info = redis.call('XINFO', 'STREAM', KEYS[1])
           for i = 1, #info, 2 do
             if info[i] == 'last-generated-id' then last = info[i + 1] end
           end
         end
         if less(last, ARGV[2]) then return last end
         for i = 3, #ARGV, 2 do
           local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i], 'event', ARGV[i + 1])
           if type(added) == 'table' and added.err then
             if not string.find(added.err, 'equal or smaller', 1, true) then return added end
           else
             last = ARGV[i]
           end
         end
         return last",
    )
});

/// An entry in Redis's form: its id, and its fields and values in turn; a deleted one has none.
type Raw = (String, Option<Vec<Bytes>>);

fn entries(raw: Vec<Raw>) -> Vec<(String, Bytes)> {
    let event = |fields: Vec<Bytes>| {
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            if name == FIELD {
                return Some(value);
            }
        }
        None
    };
    raw.into_iter().filter_map(|(id, fields)| Some((id, event(fields?)?))).collect()
}

/// Streams by number.
#[derive(Debug, Clone)]
pub struct StreamLog {
    link: Arc<Link>,
    /// The number of entries to which each stream is trimmed, approximately.
    length_max: u64,
}

impl StreamLog {
    /// Streams behind a link.
    #[must_use]
    pub const fn new(link: Arc<Link>, length_max: u64) -> Self {
        Self { link, length_max }
    }

    fn key(&self, stream: u16) -> String {
        self.link.key(ROOM, &stream.to_string())
    }

    async fn ask<T: redis::FromRedisValue + Send>(&self, command: redis::Cmd) -> Result<T, LinkError> {
        self.link.call(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    /// Adds the entries that follow the stream's last, and returns its last id afterwards. Adds nothing if the stream ends before `after`.
    ///
    /// # Errors
    /// [`LinkError`]; some entries may have been added, and adding them again is harmless.
    pub async fn add(&self, stream: u16, after: &str, entries: &[(String, Bytes)]) -> Result<String, LinkError> {
        let mut add = ADD.prepare_invoke();
        add.key(self.key(stream)).arg(self.length_max).arg(after);
        for (id, event) in entries {
            add.arg(id).arg(&event[..]);
        }
        self.link.call(|mut connection| async move { add.invoke_async(&mut connection).await }).await
    }

    /// The number of entries of a stream.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn length(&self, stream: u16) -> Result<u64, LinkError> {
        let mut length = redis::cmd("XLEN");
        length.arg(self.key(stream));
        self.ask(length).await
    }

    /// Creates a group that begins after `after`, unless it exists.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn create_group(&self, stream: u16, group: &str, after: &str) -> Result<(), LinkError> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(self.key(stream)).arg(group).arg(after).arg("MKSTREAM");
        self.link
            .call(|mut connection| async move {
                let made: RedisResult<()> = create.query_async(&mut connection).await;
                match made {
                    Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
                    other => other,
                }
            })
            .await
    }

    /// Entries that no consumer of the group has read.
    ///
    /// # Errors
    /// [`LinkError`]; [`LinkError::NoGroup`]: it was never created, or is gone.
    pub async fn read(
        &self,
        stream: u16,
        group: &str,
        consumer: &str,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, LinkError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(consumer).arg("COUNT").arg(limit);
        read.arg("STREAMS").arg(self.key(stream)).arg(">");
        // Without new entries the answer is nil; otherwise one stream with its entries.
        let found: Option<Vec<(String, Vec<Raw>)>> = self.ask(read).await?;
        Ok(entries(found.unwrap_or_default().into_iter().flat_map(|(_stream, raw)| raw).collect()))
    }

    /// Acknowledges entries; returns how many were pending.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn acknowledge(&self, stream: u16, group: &str, ids: &[String]) -> Result<u64, LinkError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(self.key(stream)).arg(group).arg(ids);
        self.ask(acknowledge).await
    }

    /// Moves entries that have been pending for at least `idle` to this consumer.
    ///
    /// # Errors
    /// [`LinkError`]; [`LinkError::NoGroup`]: it was never created, or is gone.
    pub async fn take_over(
        &self,
        stream: u16,
        group: &str,
        consumer: &str,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, LinkError> {
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(self.key(stream)).arg(group).arg(consumer).arg(idle_ms).arg("0-0").arg("COUNT").arg(limit);
        // The next start, the entries, and (from Redis 7) the pending ones that were trimmed.
        let found: Vec<redis::Value> = self.ask(claim).await?;
        let raw = found.into_iter().nth(1).map(redis::from_redis_value::<Vec<Raw>>).transpose();
        raw.map(|raw| entries(raw.unwrap_or_default())).map_err(|error| LinkError::Failed(error.to_string()))
    }

    /// The number of entries that the group has read and not acknowledged.
    ///
    /// # Errors
    /// [`LinkError`]; [`LinkError::NoGroup`]: it was never created, or is gone.
    pub async fn pending(&self, stream: u16, group: &str) -> Result<u64, LinkError> {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(self.key(stream)).arg(group);
        let found: Vec<redis::Value> = self.ask(pending).await?;
        let first = found.into_iter().next().map(redis::from_redis_value::<u64>).transpose();
        first.map(Option::unwrap_or_default).map_err(|error| LinkError::Failed(error.to_string()))
    }
}
