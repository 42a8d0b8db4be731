//! A hostile crowd: one attack after the other on a node of its own, and honest shoppers who buy at a fixed rate all the time.
//!
//! ```text
//! honest shoppers (127.0.0.1, open loop) ──────────────────────────────────────────────────────────────► node
//!   calm: before ─► attack (127.0.0.2): while ─► after: until p99 and goodput are as before ─► the next attack
//! ```
//!
//! `honest`: the shoppers and what they met in a window of time. `attacks`: what each attacker does. `names`: SKU names with one hash. `run`: the
//! order of things. `report`: the table and the JSON. It ends with the audit.

mod attacks;
mod honest;
mod names;
mod options;
mod report;
mod run;

pub(crate) use options::HostileOptions;
pub(crate) use run::run;
