//! Upright in the crowd: what becomes of a node under more than it can do, under sockets that mean no good, and over a long time.
//!
//! ```text
//! overload   closed loop ─► peak;  open loop at 2×, 5×, 10× with clients that come back ─► goodput, refusals, memory, back to normal
//! sockets    thousands that idle, drip, stall, hang up  +  a few honest callers ─► closed in time? honest p99?
//! soak       60 % of the peak for long, with expiries, returns, cancellations, restarts and kills ─► is everything flat?
//! ```
//!
//! Each ends with the audit.

mod felt;
mod hostile;
mod house;
mod options;
mod overload;
mod soak;
mod sockets;
mod storm;
mod tending;

pub(crate) use options::{OverloadOptions, SoakOptions, SocketsOptions};
pub(crate) use overload::hold as overload;
pub(crate) use soak::hold as soak;
pub(crate) use sockets::hold as sockets;
