//! Who owns a shard, explored to the end: every order in which one old owner and two claimants can execute their CQL statements.
//!
//! ```text
//! owners (claim, replay, append, roll, flush, truncate, answer) ──statements──► store ──► laws, in every state
//!        any of them stopped at any step, and awake again later       lost answers, late writes
//! ```
//!
//! A step is one CQL statement, for what happens *between* two statements is the question; a stopped or killed process is one whose
//! next step comes late, or never. [`rules`] lists what can be taken out; [`taken_out`] shows what each of them is for. The page
//! `docs/ownership.md` describes the protocol.
//!
//! [`node_log`] and [`raises`] are models of designs: one log a node, and the waiting room of a drop.
//!
//! `DOORBUSTER_MODEL=large` explores larger worlds as well: up to eleven million states each, some minutes in all.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "an index out of range fails the test, as it should; the figures are printed; the size comes from the environment"
)]

mod laws;
mod node_log;
mod owner;
mod protocol;
mod raises;
mod rules;
mod store;
mod taken_out;
mod world;

use protocol::Protocol;
use rules::Size;
use stateright::{Checker, Model};
use std::collections::BTreeSet;

/// Explores a world to its end, finds no law broken, and gives the situations it met.
fn holds(size: Size) -> BTreeSet<&'static str> {
    let checker = Protocol::new(size, &[]).checker().spawn_bfs().join();
    eprintln!("{size:?}: {} states, {} steps", checker.unique_state_count(), checker.state_count());
    checker.assert_properties();
    assert!(checker.is_done());
    checker.model().shown()
}

#[test]
fn with_two_claimants_every_law_holds() {
    let shown = holds(Size::THREE_OWNERS);
    for what in [
        "somebody claims while another serves",
        "a claimant serves",
        "the second claimant serves",
        "a claimant gives up at a higher fence",
        "a claimant gives up because a later one came",
        "a claimant goes on to the next bucket",
        "a claimant finds that flushed_upto has moved to a later bucket",
        "a zombie's append is refused",
        "a zombie's answer is held back",
        "an owner rolls on",
        "an owner rolls over a lower fence",
        "an owner that rolls on finds a higher fence",
        "the log is truncated",
        "a checkpoint goes on under a later epoch",
        "rows go while they are replayed, and the replay starts over",
    ] {
        assert!(shown.contains(what), "never seen: {what}");
    }
    assert!(!shown.contains("fenced by nobody"));
}

#[test]
fn with_two_claimants_and_a_late_statement_every_law_holds() {
    let shown = holds(Size::LATE);
    for what in [
        "an unknown outcome is settled: it was there",
        "an unknown outcome is settled: it was not there, and is now",
        "an unknown outcome is settled: fenced",
        "a late append lands",
        "a late append is refused",
        "a late write lands",
        "a late write changes nothing",
    ] {
        assert!(shown.contains(what), "never seen: {what}");
    }
    assert!(!shown.contains("fenced by nobody"));
}

#[test]
fn over_a_longer_log_and_two_checkpoints_every_law_holds() {
    let shown = holds(Size::TWO_CHECKPOINTS);
    assert!(shown.contains("a late flush changes nothing"), "{shown:?}");
}

#[test]
fn with_wider_buckets_and_rows_every_law_holds() {
    holds(Size::WIDE);
}

#[test]
fn larger_worlds_hold_too() {
    if std::env::var("DOORBUSTER_MODEL").as_deref() != Ok("large") {
        eprintln!("NOT tried: the larger worlds of the ownership model (DOORBUSTER_MODEL=large explores them)");
        return;
    }
    let small = Size::THREE_OWNERS;
    for size in [
        Size { checkpoints: 2, ..small },
        Size { losses: 1, ..small },
        Size { losses: 2, ..Size::LONGER },
        Size { seqs: 5, batch: 2, ..Size::TWO_CHECKPOINTS },
    ] {
        holds(size);
    }
}
