//! Claims about the way between nodes.
//!
//! `child`: what a process does that runs as a node. `stranger`: one that speaks the transport, but not our version. `process`: how a test starts and
//! asks them. The other files are the claims.

mod attacks;
mod child;
mod deliveries;
mod failures;
mod liars;
mod process;
mod speed;
mod stranger;
mod strangers;
mod tls;
