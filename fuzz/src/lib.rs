//! The bodies of the fuzz targets, as the fuzzer links them.

#[path = "../bodies/mod.rs"]
pub mod bodies;
