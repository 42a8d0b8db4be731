//! The actors: one generic entity shell, shards that supervise entities, the router in front, the group log writer behind.

pub mod ask;
