//! From a socket to a handler: the server, the overload gate, the pipeline with its admission, and the router.

pub mod admission;
mod compression;
mod cors;
mod export;
mod meter;
mod overload_gate;
mod pipeline;
mod request_id;
pub mod router;
pub mod server;

pub(crate) use pipeline::catch_panic;

pub use overload_gate::OverloadGate;
pub use pipeline::{Api, PipelineCounts};
