//! Several nodes as one: who is a member, who owns which shard, and the way between them.
//!
//! ```text
//! registry ──rows──► membership ──view──► placement ──► keeper ──claim, release──► actors
//!                         │ members                                                  ▲
//!                         ▼                                                          │ Inbound
//!        Remote ──► gateway: peers ──frames──► another node's gateway ───────────────┘
//! ```
//!
//! Nothing here keeps a shard safe. The journal's fence does (rules O1 to O5), so everything here may be wrong for a while and costs
//! waiting, never a unit sold twice.

// The way between nodes.
mod common;
mod door;
pub mod envelope;
mod gateway;
mod guard;
mod hints;
mod inbound;
mod link;
mod outbox;
mod peers;
pub mod settings;
mod tls;
mod transport;
pub mod wire;

pub use common::Traffic;
pub use hints::OwnerHints;
pub use inbound::{Inbound, Inbox};
pub use peers::{Heartbeat, Peers};
pub use tls::TlsError;
pub use transport::{Bound, Gateway, OpenError};

// Who owns which shard.
pub mod keeper;
pub mod membership;
pub mod placement;
