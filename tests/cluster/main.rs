//! Several nodes: real processes, each started from this test binary itself, because the registries of actors are one per process.
//!
//! `transport`: the way between nodes, with nothing behind it but an echo.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests measure their own patience, and read which process they are")]
#![allow(unreachable_pub, reason = "one binary, no users outside")]
#![allow(clippy::print_stdout, reason = "a child process answers its test on standard output")]

mod transport;
