//! What every journal must hold, tried on each of them, and what the embedded one must hold besides.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that finds nothing, or indexes out of range, fails, as it should"
)]
#![allow(clippy::print_stderr, reason = "a test that cannot be tried says so loudly")]
#![allow(clippy::disallowed_methods, reason = "a test measures the time that a paused runtime says has passed")]

mod conformance;
mod cql;
mod embedded;
mod given;
mod holding;
mod indexes;
mod memory;
mod projections;
mod rebuilding;
mod redis;
mod server;
