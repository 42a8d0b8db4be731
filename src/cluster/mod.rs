//! Several nodes as one: who is a member, who owns which shard, and the way between them.
//!
//! ```text
//! registry ──rows──► membership ──view──► placement ──► keeper ──claim, release──► actors
//! ```
//!
//! Nothing here keeps a shard safe. The journal's fence does (rules O1 to O5), so everything here may be wrong for a while and costs
//! waiting, never a unit sold twice.

pub mod keeper;
pub mod membership;
pub mod placement;
