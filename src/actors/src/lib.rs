//! The actors: one generic entity shell, shards that supervise entities, the router in front, the group log writer behind.
//!
//! ```text
//! Router ──► Shard ──► Shell (one per resident entity) ──► Writer ──batch──► journal
//!               ▲                                            │
//!               └──────────────── Dispatcher ◄───────────────┘ ──► callers, provider, views
//! ```
//!
//! Each floor uses only the floors above it in this table:
//!
//! | floor | modules |
//! |---|---|
//! | values | `settings`, `stats`, `faults`, `cores` |
//! | messages | `messages`, then `handle` and `view`, then `output` |
//! | services | `queue`, `context`; `routes`, `router`; `provider`, `shard_context` |
//! | entities | `recovery`, `entity` |
//! | shards | `shard` |
//! | log | `dispatcher`, `writer` |
//! | supervision | `ownership`, `system` |
//!
//! `context` and `router` do not use each other.

#[cfg(test)]
mod absence_tests;
#[cfg(test)]
mod assigned_tests;
#[cfg(test)]
mod audit_tests;
mod context;
pub mod cores;
#[cfg(test)]
mod cores_tests;
#[cfg(test)]
mod crowd_tests;
mod dispatcher;
mod entity;
pub mod faults;
#[cfg(test)]
mod guard_tests;
mod handle;
mod messages;
mod output;
pub mod ownership;
#[cfg(test)]
mod pool_tests;
pub mod provider;
mod queue;
mod recovery;
mod router;
mod routes;
pub mod settings;
mod shard;
mod shard_context;
pub mod stats;
pub mod system;
#[cfg(test)]
mod tests;
pub mod view;
mod writer;

pub use messages::{ask, remote};
