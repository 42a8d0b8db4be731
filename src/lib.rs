//! Doorbuster: a commerce back end for the minute in which everyone presses *Buy* at once.
//!
//! See `ARCHITECTURE.md` for the map. Dependencies point one way: `main → node → {api, cluster} → actors → {domain, storage}`,
//! `storage → domain`, `domain → nothing`.

pub mod actors;
pub mod cli;
pub mod config;
pub mod domain;
pub mod storage;
