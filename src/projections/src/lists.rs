//! The lists of a node, by what they show.

use super::orders::OrderIndex;
use super::reader::Reader;
use doorbuster_storage::index::Index;
use std::sync::Arc;

/// What answers lists. Clones are the same.
#[derive(Debug, Clone)]
pub struct Lists {
    /// Orders.
    pub orders: Arc<Reader<OrderIndex, Index>>,
}
