//! The HTTP API: parse, authenticate, admit, ask, answer.
//!
//! ```text
//! server (sockets, bounds, timeouts) ─► door (one warp filter) ─► routes (one table) ─► a handler ─► seam (the shop)
//!                                                                   │
//!                                                                   └─► openapi, docs
//! ```
//!
//! Absent on purpose: any store, any actor. Handlers know the shop by the traits in `seam` and `operator` alone, so the simulation
//! and the tests enter by the same filter as the sockets do. No handler runs a saga: it submits, waits and may be dropped at any moment.

pub mod admission;
pub mod callers;
mod carts;
mod catalog;
pub mod conventions;
mod door;
pub mod edge;
pub mod fingerprint;
mod gate;
mod guests;
pub mod json;
pub mod keys;
pub mod openapi;
pub mod operator;
mod orders;
mod parcels;
mod paying;
pub mod problem;
pub mod refusals;
pub mod reply;
pub mod requests;
mod reservations;
pub mod routes;
pub mod seam;
pub mod secret;
pub mod server;
pub mod settings;
mod stock;
pub mod view;
mod webhooks;

pub use door::{Api, DoorCounts};
pub use gate::Gate;
pub use seam::{Journaled, Shop, Unavailable, Webhook, WebhookError};
pub use server::{Limits, SocketCounts, bind, serve};
pub use settings::Settings;
