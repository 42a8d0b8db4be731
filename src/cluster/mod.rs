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

pub mod envelope;
pub mod hints;
pub mod inbound;
pub mod wire;
