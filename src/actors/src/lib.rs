//! The actors: one generic entity shell, shards that supervise entities, the router in front, the group log writer behind.
//!
//! ```text
//! Router ──► Shard ──► Shell (one per resident entity) ──► Writer ──batch──► journal
//!               ▲                                            │
//!               └──────────────── Releaser ◄─────────────────┘ ──► callers, provider, views
//! ```

mod agenda;
pub mod ask;
#[cfg(test)]
mod assigned_tests;
#[cfg(test)]
mod audit_tests;
mod checkpoint;
mod context;
#[cfg(test)]
mod crowd_tests;
mod entity;
pub mod faults;
#[cfg(test)]
mod guard_tests;
mod handle;
mod inspect;
mod instance;
mod lifecycle;
mod output;
pub mod ownership;
#[cfg(test)]
mod pool_tests;
pub mod provider;
mod queue;
mod recovery;
mod releaser;
pub mod remote;
mod router;
pub mod settings;
mod shard;
mod slot;
pub mod stats;
pub mod system;
#[cfg(test)]
mod tests;
pub mod view;
mod writer;
