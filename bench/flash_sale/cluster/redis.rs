//! What is done to Redis in the middle of a sale. No order may change by it, and little goodput be lost.

use super::servers::Redis;
use doorbuster_bench::error::BenchError;
use std::time::{Duration, Instant};

/// Between two flushes.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedisAct {
    /// Nothing: what the others are compared with.
    Nothing,
    /// `FLUSHALL` once a second.
    Flush,
    /// SIGKILL; back, and empty, after a while.
    Kill,
    /// SIGSTOP: it accepts connections and answers nothing.
    Hang,
}

impl RedisAct {
    /// All of them, the undisturbed run first.
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Flush, Self::Kill, Self::Hang];

    /// In reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "undisturbed",
            Self::Flush => "FLUSHALL every second",
            Self::Kill => "killed",
            Self::Hang => "hung (SIGSTOP)",
        }
    }
}

/// Does it to a Redis that is our own, from now on for as long as it lasts, and waits until all is as it was.
pub(crate) async fn act(redis: &Redis, act: RedisAct, lasts: Duration) -> Result<(), BenchError> {
    let over = Instant::now() + lasts;
    match act {
        RedisAct::Nothing => tokio::time::sleep_until(over.into()).await,
        RedisAct::Flush => {
            while Instant::now() < over {
                redis.flush().await?;
                tokio::time::sleep(FLUSH_EVERY).await;
            }
        }
        RedisAct::Kill => {
            redis.kill().await?;
            tokio::time::sleep_until(over.into()).await;
            redis.restart().await?;
        }
        RedisAct::Hang => {
            redis.hang(lasts.as_secs().max(1))?;
            tokio::time::sleep_until(over.into()).await;
        }
    }
    Ok(())
}
