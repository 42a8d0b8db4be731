//! A shard: the owner of a part of all entities. It alone starts and ends their actors (rule E1), keeps their agenda, supervises
//! them, and checkpoints them.
//!
//! ```text
//!            Ask              Passivate, and all its messages handled
//! (none) ──────────► Resident ──────────────────────────────────► Stopping ──exit seen──► Passivated ──checkpoint──► (none)
//!                      │ failed                                                              │ Ask
//!                      ▼                                                                     ▼
//!                  Restarting ──delay, all its events durable──► Resident                Resident
//!                      │ failed too often
//!                      ▼
//!                  Quarantined ──operator──► Resident
//! ```
//!
//! What restart of a shard means: there is none on its own. What stops one shard before its queue is durable stops its commit
//! group (rule E2), which on the embedded store is the process; the successor recovers from the journal.
//!
//! ```text
//! actor      the messages and what each does           lifecycle  start, passivate, restart, quarantine
//! commands   a command to an entity of the shard       checkpoint what changed goes into the store
//! recover    from the agenda and the log's tail        sweep      residents that are idle or owe effects
//! absence    commands that are refused if their entity does not exist
//! state      the shard's state; of it residents, slot, agenda
//! ```

mod absence;
mod actor;
mod agenda;
mod checkpoint;
mod commands;
mod inspect;
mod lifecycle;
mod recover;
mod residents;
mod slot;
mod state;
mod sweep;

pub(crate) use actor::{ShardActor, ShardSeed};
#[cfg(test)]
pub(crate) use lifecycle::in_words;
