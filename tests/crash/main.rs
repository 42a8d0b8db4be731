//! Real processes: killed at random moments, stopped, started twice, asked the same thing five times, given a damaged journal.
//!
//! ```text
//!            ┌── HTTP ──► doorbuster ──► relay ──► payment-simulator ──► its ledger: the referee
//! a test ────┤                 ▲                        │ webhooks
//!            └── SIGKILL       └──────── relay ◄────────┘
//! ```
//!
//! `process`, `relay`, `node`, `provider`: children and where they are. `client`, `shop`: how a test talks to them. `oracle`: what was
//! acknowledged. `inject`: faults at every write. The other files are the claims. `DOORBUSTER_KILLS=1000 cargo test --test crash killed` kills more often;
//! `DOORBUSTER_SEED=7` uses another seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests measure their own patience, and read how often to kill")]
#![allow(clippy::print_stderr, reason = "a run says what it tried")]
#![allow(unreachable_pub, reason = "one binary, no users outside")]

mod command_line;
mod corrupted;
mod dead_ends;
mod deadlines;
mod events;
mod faults;
#[path = "../storage/holding.rs"]
mod holding;
mod inject;
mod keys;
mod killed;
mod linear;
mod lists;
mod memory;
mod node;
mod oracle;
mod page;
mod private;
mod provider;
mod repeated;
mod reservers;
mod shop;
mod shoppers;
mod stopped;
