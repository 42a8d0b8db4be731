//! Several nodes as one cluster: membership, shard ownership, and the connections between nodes.
//!
//! ```text
//! registry ──rows──► membership ──view──► placement ──► shard manager ──acquire, release──► actors
//!                         │ members                                                    ▲
//!                         ▼                                                            │ Inbound
//!        Remote ──► gateway: peers ──frames──► another node's gateway ─────────────────┘
//! ```
//!
//! Nothing here keeps a shard safe. The journal's fence does (rules O1 to O5). A mistake here costs waiting time; it never sells a unit
//! twice.

/// The levels of the transport's own log lines, as targets of `tracing`.
///
/// It warns of each connection that ends, so every stranger would be two lines; what it warns of is in this crate's lines, with the peer's name, and those of strangers are counted.
pub const LOG_LEVELS: &str = "ractor=warn,ractor_cluster=error";

// Connections between nodes.
mod connector;
mod context;
mod gateway;
mod guard;
mod hints;
mod inbound;
mod link;
pub mod message;
mod peers;
mod refusals;
mod send_queue;
pub mod settings;
mod strangers;
mod tls;
mod transport;
pub mod wire;

pub use context::Traffic;
pub use hints::OwnerHints;
pub use inbound::{Inbound, InboundAnswer};
pub use peers::{PeerHeartbeat, Peers};
pub use tls::TlsError;
pub use transport::{Bound, Gateway, OpenError};

// Shard ownership.
pub mod membership;
pub mod placement;
pub mod shard_manager;
