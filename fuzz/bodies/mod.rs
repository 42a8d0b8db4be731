//! What is fuzzed: one function per target, which takes any bytes and panics when something is wrong.
//!
//! The fuzzer calls them (`fuzz/targets`), and so do the tests, over what it saved (`tests/api/corpus.rs`).

pub mod body;
pub mod envelope;
pub mod http;
pub mod log;
pub mod record;
mod shop;
mod taken;
