//! Linearizability: what many clients see of each SKU, through crashes, is what one shelf would show that is changed by one operation at a time.
//!
//! ```text
//! clients ──ask──► shop (killed, started again) ──answers with versions──► history ──► check ──► 0 anomalies
//! ```
//!
//! `DOORBUSTER_OPERATIONS=1000000 cargo test --test linear what_clients -- --nocapture` does this many; `DOORBUSTER_SEED=7` uses another seed.
//! `check`: the checker. `shop`: the actors on a disk in memory. `crowd`: the clients. `doctor`: shops that are wrong on purpose.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "how much to try comes from the environment, and a run says what it tried"
)]
#![allow(unreachable_pub, reason = "one binary, no users outside")]

mod check;
mod crowd;
mod doctor;
mod runs;
mod shop;
