//! What actors say to each other. The lowest floor: nothing here knows who sends a message or who handles it.
//!
//! ```text
//! ask       Ask, Answer             what callers outside see
//! caller    Caller, Answers         who waits outside, and on which core
//! local     LocalActor              an actor, and the core it runs on
//! remote    OneWay, Remote          what travels between nodes
//! passivated                        a state without an actor
//! asker     Asker                   the entity that owes an effect, and hears what became of it
//! entity    Envelope, EntityMsg     a command with its sender; all that an entity's actor understands
//! shard     ShardMsg, ShardNotice   all that a shard's actor understands
//! ```

pub mod ask;
pub(crate) mod asker;
pub(crate) mod caller;
pub(crate) mod entity;
pub(crate) mod local;
pub(crate) mod passivated;
pub mod remote;
pub(crate) mod shard;
