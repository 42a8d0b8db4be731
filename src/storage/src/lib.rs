//! What is durable, and who may write it.
//!
//! A shard's log is the truth; states, agenda and history are made from it at a checkpoint. A backend gives the one trait
//! [`Journal`]; the conformance suite in `tests/` says what that means for each of them.

pub mod cql;
pub mod embedded;
pub mod journal;
pub mod memory;
pub mod on_append;
pub mod rebuild;
pub mod redis;
pub mod registry;
pub mod store;
pub mod wire;

pub use journal::{
    AgendaRow, AppendError, Batch, Claim, ClaimError, Epoch, Group, Journal, Layout, ReadError, Record, Seq, Shard,
    StateFlush, StateRow,
};
pub use on_append::OnAppend;
pub use store::Store;
