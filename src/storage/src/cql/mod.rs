//! The journal on ScyllaDB or Apache Cassandra: what a cluster of nodes shares.
//!
//! ```text
//! shard_owner   who should be writing: epoch + 1 at each claim          transactions only
//! shard_log     what happened: one row per batch, IF its place is free and the fence is ours
//! states · agenda · history · shard_progress                            plain writes USING TIMESTAMP base + seq
//! nodes · wishes · shared                                               the nodes' board
//! ```
//!
//! Rules S and O of the protocol; `cql/` holds the schema and says why each table is as it is. `claim`: taking a shard over. `append`: writing to the
//! log. `checkpoint`: moving from log to tables. `read`: both of them in order. `states`, `agenda`, `history`: the tables. `session`: how
//! statements are sent and answers read.

mod agenda;
mod append;
mod checkpoint;
mod claim;
mod history;
mod journal;
mod options;
mod owned;
mod payload;
mod read;
mod registry;
pub mod schema;
mod session;
mod shared;
mod statements;
mod states;

pub use claim::Claiming;
pub use journal::CqlJournal;
pub use options::{Appended, Counts, CqlOptions, Credentials, Reach, TIMESTAMP_BASE};
pub use registry::CqlRegistry;
pub use session::CqlError;
pub use shared::CqlShared;
