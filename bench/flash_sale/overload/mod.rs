//! A node under more load than it can serve, under hostile sockets, and over a long time.
//!
//! ```text
//! overload   closed loop ─► peak;  open loop at 2×, 5×, 10× with clients that come back ─► goodput, refusals, memory, back to normal
//! sockets    thousands that idle, drip, stall, hang up  +  a few honest callers ─► closed in time? honest p99?
//! soak       60 % of the peak for long, with expiries, returns, cancellations, restarts and kills ─► is everything flat?
//! ```
//!
//! Each ends with the audit.

mod hostile;
mod latency;
mod load;
mod options;
mod soak;
mod sockets;
mod tending;
mod test_node;
mod waves;

pub(crate) use options::{OverloadOptions, SoakOptions, SocketsOptions, TestNodeOptions};
pub(crate) use soak::run as soak;
pub(crate) use sockets::run as sockets;
pub(crate) use test_node::{TestNode, Usage, shown_bytes};
pub(crate) use waves::run as overload;
