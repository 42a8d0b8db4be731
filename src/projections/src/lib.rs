//! Read models: fed from what is durable, rebuilt from the journal whenever they are lost, never the truth.
//!
//! ```text
//!  releaser ──changed SKUs──► Outbox ──put, newer only──►  Cache  ──get──► Glances ──► API: what a shopper may see
//!                                                          │  memory | Redis
//!  journal  ──records behind the cursor──► Publisher ──►  Streams ──► consumer groups
//!  journal  ──states and tail──► reconcile: reports and repairs what the cache has wrong
//! ```
//!
//! Nothing here is waited for by an order: what feeds and what reads are tasks of their own behind queues that are bounded and drop, and a store that
//! is slow, hung, killed or emptied is noticed by them alone. What was dropped is put again or found by `reconcile`.

pub mod cache;
mod counts;
pub mod glances;
pub mod memory;
pub mod outbox;
pub mod publisher;
pub mod reconcile;
pub mod streams;
pub mod truth;

pub use cache::{AnyCache, Cache, Figures};
pub use counts::Counts;
pub use streams::{AnyStreams, Entry, EventId, Streams};

use doorbuster_storage::redis::LinkError;
use thiserror::Error;

/// Why a read model could not be written or read. Nobody but its own task hears of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unreachable {
    /// It is not even tried: too many calls in a row failed a moment ago.
    #[error("not tried: it failed a moment ago")]
    Resting,
    /// Tried and failed, or not answered in time.
    #[error("{0}")]
    Failed(String),
    /// There is no such consumer group: it was never made, or the store was emptied.
    #[error("no such consumer group")]
    NoGroup,
    /// What is stored cannot be read.
    #[error("{0}")]
    Damaged(String),
}

impl From<LinkError> for Unreachable {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Resting => Self::Resting,
            LinkError::Failed(why) => Self::Failed(why),
            LinkError::NoGroup => Self::NoGroup,
        }
    }
}
