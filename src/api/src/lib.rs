//! The HTTP API: parse, authenticate, admit, ask, answer.
//!
//! ```text
//! http    acceptor ─► connection ─► overload gate ─► pipeline (one warp filter) ─► router
//!                                                                                   │ a row of the table of routes
//! orders, carts, …                                            handler ◄─────────────┘
//!                                                                │ Request::ask
//! core                                                        service: the shop behind the API
//! ```
//!
//! One folder a resource: its rows of the table of routes, its handlers, the bodies it takes and the views it shows. `core` is below the resources,
//! `http` and the table in [`routes`] are above them.
//!
//! Absent on purpose: any store, any actor. Handlers know the shop by the traits [`Shop`] and [`operator::Operations`] alone, so the simulation
//! and the tests use the same filter as the sockets. No handler runs a saga: it submits a command, waits, and may be dropped at any moment.

pub mod carts;
pub mod core;
pub mod docs;
pub mod events;
pub mod guests;
pub mod http;
pub mod inventory;
pub mod operator;
pub mod orders;
pub mod payments;
pub mod products;
pub mod reservations;
pub mod returns;
pub mod routes;
pub mod shipments;
pub mod warehouses;

pub use crate::core::service::{Journaled, Page, PageRequest, Shop, Unavailable, Webhook, WebhookError};
pub use crate::core::settings::{ApiSettings, Installation};
pub use crate::core::{address, caller, json, keys, problem, secret, settings, view};
pub use crate::http::server::{SocketCounts, SocketLimits, bind, serve};
pub use crate::http::{Api, OverloadGate, PipelineCounts, admission, server};
