//! Faults on demand, for `POST /admin/faults` and for tests: only where the configuration allows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is to go wrong.
#[derive(Debug, Default)]
pub struct Faults {
    disk_delay_ms: AtomicU64,
}

impl Faults {
    /// Every append takes so much longer, until told otherwise.
    pub fn slow_disk(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.disk_delay_ms.store(millis, Ordering::Release);
    }

    /// How much longer an append takes now.
    #[must_use]
    pub fn disk_delay(&self) -> Duration {
        Duration::from_millis(self.disk_delay_ms.load(Ordering::Acquire))
    }
}
