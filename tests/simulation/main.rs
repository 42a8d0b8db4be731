//! The whole node in a world of its own: virtual time, a disk and a payment provider that fail, clients that ask twice; all of it from one seed.
//!
//! ```text
//! DOORBUSTER_SEEDS=100000 cargo test --test simulation                          more worlds
//! DOORBUSTER_SEED=123 cargo test --test simulation one_seed -- --nocapture     one world, line by line
//! ```
//!
//! Every record is held against the laws as soon as it is durable, every answer against the records; at the end the world heals, and
//! every saga must have ended, the node must show what the journal says, and the provider's ledger must agree.

#![allow(clippy::indexing_slicing, reason = "a test that indexes out of range fails, as it should")]
#![allow(clippy::print_stderr, reason = "a failing seed says how to replay it")]
#![allow(clippy::disallowed_methods, reason = "the number of seeds comes from the environment")]

mod bytes;
mod client;
mod cuts;
mod door;
mod judge;
mod life;
mod mutants;
mod paper;
mod plan;
mod reserving;
mod run;
mod seeds;
mod tending;
mod words;
mod world;
