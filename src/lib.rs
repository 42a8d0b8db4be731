//! Doorbuster: a commerce back end for the minute in which everyone presses *Buy* at once.
//!
//! See `ARCHITECTURE.md` for the map. Dependencies point one way: `main → node → {api, cluster} → actors → {domain, storage}`,
//! `storage → domain`, `domain → nothing`.

pub mod actors;
pub mod api;
pub mod clock;
pub mod domain;
pub mod payments;
pub mod storage;
