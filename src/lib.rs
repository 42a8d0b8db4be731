//! Doorbuster: a commerce back end for the minute in which everyone presses *Buy* at once.
//!
//! See `ARCHITECTURE.md` for the map. Dependencies point one way: `main → node → {api, cluster} → actors → {domain, storage}`,
//! `storage → domain`, `domain → nothing`.

pub mod actors;
pub mod api;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod node;
pub mod payments;
pub mod projections;
pub mod storage;

/// The page that says how to add an entity; its example is compiled and run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../docs/adding-an-entity.md")]
mod adding_an_entity {}
