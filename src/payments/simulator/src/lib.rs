//! A payment provider to test against, and the referee of what was charged. One engine, two houses:
//!
//! ```text
//!                         ┌── in_process: function calls, tokio's time ──► a node, or a simulation
//! engine ── book ── desk ─┤
//!  odds     ledger_file   └── server: HTTP, synced ledger ──► `payment-simulator`
//! ```

pub mod book;
pub mod command;
pub mod courier;
pub mod desk;
pub mod engine;
pub mod in_process;
pub mod ledger_file;
mod odds;
mod post;
pub mod server;
mod tokens;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod loopback;
#[cfg(test)]
pub(crate) mod testing;

pub use book::Book;
pub use courier::{Courier, Deliver, Receiver};
pub use desk::{ActDone, Desk, Keep, LedgerLost};
pub use engine::{Act, Engine, Reply};
pub use in_process::{InProcess, Terms};
pub use ledger_file::LedgerFileError;
pub use odds::{Odds, Profile, WebhookOdds};
pub use post::WebhookPost;
