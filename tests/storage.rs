//! What every journal must hold, tried on each of them, and what the embedded one must hold besides.

#[path = "storage/conformance.rs"]
mod conformance;
#[path = "storage/embedded.rs"]
mod embedded;
#[path = "storage/given.rs"]
mod given;
#[path = "storage/memory.rs"]
mod memory;
#[path = "storage/rebuilding.rs"]
mod rebuilding;
