//! Redis, for data that may be lost: values that only newer versions replace, and streams whose ids only grow.
//!
//! ```text
//! VersionedValues ─┐
//!                  ├──► Link ── one connection, one time limit, one breaker ──► Redis
//! StreamLog       ─┘
//! ```
//!
//! Redis never holds a stock decrement, a lock, an epoch or the only copy of anything. `FLUSHALL` during a sale changes no order. It must be one
//! server, or one primary with replicas: the scripts touch several keys, which the sharded cluster mode of Redis does not allow.

mod breaker;
mod streams;
mod values;

pub use breaker::Breaker;
pub use streams::StreamLog;
pub use values::{Versioned, VersionedValues};

use doorbuster_clock::monotonic;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// `redis://[user:password@]host:port[/database]`.
    pub url: String,
    /// The prefix of every key.
    pub prefix: String,
    /// The time limit of a call: connecting, sending and answering together.
    pub timeout: Duration,
    /// The number of consecutive failures that opens the circuit breaker.
    pub failures_max: u32,
    /// The first pause of the open breaker; it doubles up to `rest_max`.
    pub rest_min: Duration,
    /// The longest pause of the open breaker.
    pub rest_max: Duration,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// Not tried, because the circuit breaker is open.
    #[error("not tried: the circuit breaker is open")]
    CircuitOpen,
    /// Tried and failed, or not answered within the time limit.
    #[error("{0}")]
    Failed(String),
    /// There is no such consumer group, or no such stream.
    #[error("no such consumer group")]
    NoGroup,
}

/// A connection to one Redis, which reconnects after a failure, with a circuit breaker.
#[derive(Debug)]
pub struct Link {
    client: redis::Client,
    settings: LinkSettings,
    /// Also held while connecting: one call connects, and the others wait for it, each within its own time limit.
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    breaker: Mutex<Breaker>,
    calls: AtomicU64,
    failed: AtomicU64,
    not_tried: AtomicU64,
}

impl Link {
    /// A link that is not connected yet.
    ///
    /// # Errors
    /// The address is invalid.
    pub fn new(settings: LinkSettings) -> Result<Self, String> {
        // The address may hold a password, so an error does not repeat it.
        let client = redis::Client::open(settings.url.as_str()).map_err(|error| error.category().to_owned())?;
        let breaker = Breaker::new(settings.failures_max, settings.rest_min, settings.rest_max);
        Ok(Self {
            client,
            settings,
            connection: tokio::sync::Mutex::default(),
            breaker: Mutex::new(breaker),
            calls: AtomicU64::default(),
            failed: AtomicU64::default(),
            not_tried: AtomicU64::default(),
        })
    }

    /// A key with the prefix.
    fn key(&self, room: &str, name: &str) -> String {
        format!("{}:{room}:{name}", self.settings.prefix)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        // The call's own time limit is the only one; it also ends the wait for an answer.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let fresh = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *connection = Some(fresh.clone());
        Ok(fresh)
    }

    /// Makes one call within the time limit. A failed call closes its connection, which might still deliver the answer.
    async fn call<T, F>(&self, make: impl FnOnce(MultiplexedConnection) -> F + Send) -> Result<T, LinkError>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        if !self.breaker().may_try(monotonic()) {
            self.not_tried.fetch_add(1, Ordering::Relaxed);
            return Err(LinkError::CircuitOpen);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let made = async { make(self.connection().await?).await };
        let why = match tokio::time::timeout(self.settings.timeout, made).await {
            Ok(Ok(answer)) => {
                self.breaker().succeeded();
                return Ok(answer);
            }
            Ok(Err(error)) if error.code() == Some("NOGROUP") => {
                self.breaker().succeeded();
                return Err(LinkError::NoGroup);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {} ms", self.settings.timeout.as_millis()),
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.lost().await;
        if self.breaker().failed(monotonic()) {
            tracing::warn!(why, "redis does not answer; calls pause");
        }
        Err(LinkError::Failed(why))
    }

    /// Drops the connection. A call that is connecting at this moment keeps its own.
    async fn lost(&self) {
        if let Ok(mut connection) = self.connection.try_lock() {
            *connection = None;
        }
        tokio::task::yield_now().await;
    }

    /// Name, description, whether it is a gauge, value.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, &'static str, bool, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let open = u64::from(self.breaker().is_open());
        vec![
            ("redis_calls", "calls to Redis", false, read(&self.calls)),
            ("redis_failed", "calls to Redis that failed or took too long", false, read(&self.failed)),
            ("redis_not_tried", "calls to Redis that were not tried while it rested", false, read(&self.not_tried)),
            ("redis_breaker_open", "1 while Redis is left alone", true, open),
        ]
    }
}
