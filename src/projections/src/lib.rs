//! Read models: fed from durable events, rebuilt from the journal when they are lost, never the source of a decision.
//!
//! ```text
//!  releaser ──changed SKUs──► CacheWriter ──put, newer only──►  Cache  ──get──► AvailabilityCache ──► API: what a shopper sees
//!                                                               │  memory | Redis
//!  journal  ──records after the cursor──► Publisher ──►  Streams ──► consumer groups
//!  journal  ──states and tail──► reconcile: reports and repairs differences
//!  journal  ──records after the cursor──► Runner of a Projection ──► IndexStore ──► Reader ──► API: lists
//!  journal  ──records behind a place──► Feed ──► API: events, to readers that keep the place
//! ```
//!
//! No order waits for a read model. The tasks that write and read them have bounded queues that drop; only these tasks notice a store that is
//! slow, hung, killed or emptied. A dropped change is put again later, or found by `reconcile`.

pub mod availability_cache;
pub mod cache;
pub mod cache_writer;
mod counts;
pub mod feed;
mod lists;
pub mod memory;
pub mod orders;
mod progress;
mod projection;
pub mod publisher;
pub mod reader;
pub mod rebuild_availability;
pub mod reconcile;
pub mod runner;
#[cfg(test)]
mod runner_tests;
#[cfg(test)]
mod shared_index_tests;
pub mod streams;

pub use cache::{AnyCache, AvailabilitySnapshot, Cache};
pub use counts::Counts;
pub use feed::{Feed, FeedError, Place as FeedPlace};
pub use lists::Lists;
pub use progress::Progress;
pub use projection::{Place, Projection, Rows};
pub use streams::{AnyStreams, Entry, EventId, Streams};

use doorbuster_storage::redis::LinkError;
use thiserror::Error;

/// Why a read model could not be written or read. Only its own task sees the error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadModelError {
    /// The call was not tried, because too many calls in a row have failed a moment ago.
    #[error("not tried: the circuit breaker is open")]
    CircuitOpen,
    /// The call failed, or was not answered in time.
    #[error("{0}")]
    Failed(String),
    /// The consumer group was never created, or the store was emptied.
    #[error("no such consumer group")]
    NoGroup,
    /// A stored value cannot be decoded.
    #[error("{0}")]
    Damaged(String),
}

impl From<LinkError> for ReadModelError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::CircuitOpen => Self::CircuitOpen,
            LinkError::Failed(why) => Self::Failed(why),
            LinkError::NoGroup => Self::NoGroup,
        }
    }
}
