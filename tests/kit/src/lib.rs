//! What the tests and the harness share. It knows nothing of the product: it starts programs, speaks HTTP, and cuts connections.
//!
//! [`process`]: a child process, what it writes and how it is ended. [`settings`]: settings of a node as environment variables. [`http`]: one
//! connection, as cheap as it can be. [`client`]: requests and answers over connections that are kept. [`relay`]: an address that stands for
//! another, on a path that can be cut. [`until`]: waiting for a condition. [`campaign`]: how much a campaign tries.

#![allow(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests measure their own patience, read the size of a campaign from the environment, and fail by panicking"
)]

pub mod campaign;
pub mod client;
pub mod http;
pub mod process;
pub mod relay;
pub mod settings;
pub mod until;
