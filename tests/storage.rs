//! What every journal must hold, tried on each of them, and what the embedded one must hold besides.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds nothing, or indexes out of range, fails, as it should"
)]
#![allow(clippy::print_stderr, reason = "a test that cannot be tried says so loudly")]
#![allow(clippy::disallowed_methods, reason = "a test measures the time that a paused runtime says has passed")]

#[path = "storage/conformance.rs"]
mod conformance;
#[path = "storage/cql/mod.rs"]
mod cql;
#[path = "storage/embedded.rs"]
mod embedded;
#[path = "storage/given.rs"]
mod given;
#[path = "storage/holding.rs"]
mod holding;
#[path = "storage/memory.rs"]
mod memory;
#[path = "storage/projections.rs"]
mod projections;
#[path = "storage/rebuilding.rs"]
mod rebuilding;
#[path = "storage/redis.rs"]
mod redis;
#[path = "storage/server.rs"]
mod server;
