//! The journal on ScyllaDB or Apache Cassandra, which the nodes of a cluster share.
//!
//! ```text
//! shard_owner   who owns a shard: epoch + 1 at each claim               transactions only
//! shard_log     events: one row per batch, IF its position is free and the fence matches
//! states · agenda · history · shard_progress                            plain writes USING TIMESTAMP base + seq
//! nodes · wishes · shared                                               the registry
//! index_rows · …                                                        read models: plain writes, USING TIMESTAMP base + seq
//! ```
//!
//! Rules S and O of the protocol; `cql/` holds the schema with the reasons for each table. `claim`: claiming a shard. `append`: writes to the log.
//! `checkpoint`: moves records from log to tables. `read`: reads both in order. `states`, `agenda`, `history`, `index`: the tables. `session`: sends
//! statements and reads answers.

mod agenda;
mod append;
mod checkpoint;
mod claim;
mod history;
mod index;
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
pub use index::CqlIndex;
pub use journal::CqlJournal;
pub use options::{Appended, Counts, CqlOptions, Credentials, Reach, TIMESTAMP_BASE};
pub use registry::CqlRegistry;
pub use session::CqlError;
pub use shared::CqlShared;
