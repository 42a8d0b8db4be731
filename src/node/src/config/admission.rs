//! The settings of admission: who comes in when there is no room for all.

use serde::{Deserialize, Serialize};

/// `[admission]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "cluster.toml describes every setting")]
pub struct Admission {
    pub delay_target_ms: u64,
    pub delay_window_ms: u64,
    pub places_start: usize,
    pub places_min: usize,
    pub completion_reserved_percent: u8,
    pub checkout_reserved_percent: u8,
    pub cart_reserved_percent: u8,
    /// 0: nobody waits.
    pub line_wait_ms: u64,
    pub line_max: usize,
    pub retry_after_max_s: u32,
    pub slow_bodies_bytes_max: u64,
    pub callers_max: usize,
    /// 0: no quota.
    pub key_requests_per_s: u32,
    pub key_burst_max: u32,
    /// 0: no quota.
    pub guest_requests_per_s: u32,
    pub guest_burst_max: u32,
    /// 0: no quota.
    pub address_requests_per_s: u32,
    pub address_burst_max: u32,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            delay_target_ms: 500,
            delay_window_ms: 100,
            places_start: 4_096,
            places_min: 256,
            completion_reserved_percent: 5,
            checkout_reserved_percent: 25,
            cart_reserved_percent: 20,
            line_wait_ms: 2_000,
            line_max: 16_384,
            retry_after_max_s: 8,
            slow_bodies_bytes_max: 256 * 1_024 * 1_024,
            callers_max: 65_536,
            key_requests_per_s: 0,
            key_burst_max: 1_000,
            guest_requests_per_s: 200,
            guest_burst_max: 2_000,
            address_requests_per_s: 5_000,
            address_burst_max: 20_000,
        }
    }
}
