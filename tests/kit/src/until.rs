//! Waiting for a condition: it is asked for again and again, and a failure says what the last answer was.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Asks until the answer is `Ok`, for at most `patience`; then fails with the last reason why not.
pub async fn until<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let give_up = Instant::now() + patience;
    let mut pause = Duration::from_millis(5);
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(why) if Instant::now() > give_up => {
                panic!("{what}: not within {patience:?}; the last answer was: {why}")
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// How long a test waits for what should take milliseconds. Long, because the machine may be busy; no test asserts it.
pub const PATIENCE: Duration = Duration::from_secs(60);
