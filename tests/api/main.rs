//! The HTTP API over real sockets, with real actors on the memory store: what the contract promises, what bad input gets, and
//! that every request sent again is one request.

#![allow(clippy::indexing_slicing, reason = "a test that indexes out of range fails, as it should")]
#![allow(clippy::large_futures, reason = "a test's conversation is one future, and it is awaited once")]

mod answers;
mod bad_input;
mod bounds;
mod callers;
mod claims;
mod client;
mod corpus;
mod cross_origin;
mod crowd;
mod described;
mod events;
mod exports;
mod framing;
#[path = "../../fuzz/bodies/mod.rs"]
#[allow(unreachable_pub, reason = "the fuzz targets reach it, from a crate of their own")]
mod fuzzed;
mod groups;
mod installations;
mod journeys;
mod lists;
mod names;
mod operator;
mod owners;
mod pages;
mod repeated;
mod reservations;
mod server;
mod shops;
mod sockets;
mod stock;
mod work;
