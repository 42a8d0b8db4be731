//! Durable storage: the journal's trait and its backends.
//!
//! A shard's log is the source of truth; a checkpoint derives states, agenda and history from it. Each backend implements the trait [`Journal`]; the
//! conformance suite in `tests/` defines what that means.

pub mod cql;
pub mod embedded;
pub mod index;
pub mod journal;
pub mod keyed;
pub mod memory;
pub mod on_append;
pub mod private;
pub mod rebuild;
pub mod redis;
pub mod registry;
pub mod store;
pub mod wire;

pub use journal::{
    AgendaRow, AppendError, Batch, Claim, ClaimError, Epoch, Group, Journal, Layout, ReadError, Record, RecordError,
    Seq, Shard, StateFlush, StateRow,
};
pub use on_append::OnAppend;
pub use store::Store;
