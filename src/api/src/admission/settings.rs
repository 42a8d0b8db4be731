//! The numbers of admission; `cluster.toml` says what each one is for.

/// So many requests a second, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, for ever; 0: as many as there are.
    pub per_s: u32,
    /// At once, after a rest.
    pub burst: u32,
}

/// Bounds of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Places when the node starts, until it knows its own pace.
    pub places_start: usize,
    /// Never fewer places than this, …
    pub places_min: usize,
    /// … and never more.
    pub places_max: usize,
    /// So many places that what is inside is answered within this time, at the pace last seen.
    pub delay_target_ms: u64,
    /// How often the pace is looked at.
    pub delay_window_ms: u64,
    /// Of a hundred places so many only for [`Completion`](super::Lane::Completion), …
    pub completion_reserved_percent: u8,
    /// … so many more only for [`Checkout`](super::Lane::Checkout) and above, …
    pub checkout_reserved_percent: u8,
    /// … and so many more only for [`Cart`](super::Lane::Cart) and above.
    pub cart_reserved_percent: u8,
    /// So long those who found no place wait in line for one; 0: not at all.
    pub line_wait_ms: u64,
    /// So many wait at once; whoever comes then is refused at once.
    pub line_max: usize,
    /// The least that a 503 of ours says in `Retry-After`, …
    pub retry_after_s: u32,
    /// … and the most.
    pub retry_after_max_s: u32,
    /// Bytes of bodies that were announced and are still on their way, of all requests.
    pub slow_bodies_bytes_max: u64,
    /// Callers whose pace is remembered at once.
    pub callers_max: usize,
    /// What one secret key may send.
    pub key: Rate,
    /// What one guest, or the holder of one order's token, may send.
    pub guest: Rate,
    /// What one address may send without a credential, or with a bad one.
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
