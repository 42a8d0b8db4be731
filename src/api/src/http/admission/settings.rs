//! Settings of admission. The fields have the names of their keys in `cluster.toml`, which says what each is for.

/// A rate limit: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, sustained; 0: no limit.
    pub per_s: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

/// Bounds on requests in flight, on the wait queue and on what one caller may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Permits when the node starts, until it has measured its throughput.
    pub places_start: usize,
    /// The least number of permits.
    pub places_min: usize,
    /// The greatest number of permits.
    pub places_max: usize,
    /// Target delay: the limit is what is answered within this time at the measured throughput, in ms.
    pub delay_target_ms: u64,
    /// Length of a measuring window, in ms.
    pub delay_window_ms: u64,
    /// Per cent of the permits reserved for [`Completion`](super::PriorityClass::Completion).
    pub completion_reserved_percent: u8,
    /// Further per cent reserved for [`Checkout`](super::PriorityClass::Checkout) and above.
    pub checkout_reserved_percent: u8,
    /// Further per cent reserved for [`Cart`](super::PriorityClass::Cart) and above.
    pub cart_reserved_percent: u8,
    /// Longest time in the wait queue, in ms; 0: requests are refused without waiting.
    pub line_wait_ms: u64,
    /// Requests in the wait queue at once; further ones are refused.
    pub line_max: usize,
    /// Least `Retry-After` of a 503, in seconds.
    pub retry_after_s: u32,
    /// Greatest `Retry-After` of a 503, in seconds.
    pub retry_after_max_s: u32,
    /// Announced bytes of all request bodies that have not arrived yet.
    pub slow_bodies_bytes_max: u64,
    /// Callers whose token buckets are kept at once.
    pub callers_max: usize,
    /// The rate limit of one secret key.
    pub key: Rate,
    /// The rate limit of one guest, or of one order's token.
    pub guest: Rate,
    /// The rate limit of one address, for requests without a valid credential.
    pub address: Rate,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            places_start: 4_096,
            places_min: 256,
            places_max: 16_384,
            delay_target_ms: 500,
            delay_window_ms: 100,
            completion_reserved_percent: 5,
            checkout_reserved_percent: 25,
            cart_reserved_percent: 20,
            line_wait_ms: 2_000,
            line_max: 16_384,
            retry_after_s: 1,
            retry_after_max_s: 8,
            slow_bodies_bytes_max: 256 * 1024 * 1024,
            callers_max: 65_536,
            key: Rate { per_s: 0, burst: 1_000 },
            guest: Rate { per_s: 200, burst: 2_000 },
            address: Rate { per_s: 5_000, burst: 20_000 },
        }
    }
}
