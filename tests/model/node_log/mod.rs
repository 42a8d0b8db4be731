//! One log a node instead of one a shard, explored to the end: one old owner and two claimants of its two shards.
//!
//! ```text
//! processes (claim, close, read, own, serve, append, roll, release, flush) ──statements──► store ──► laws, in every state
//!                                 any of them stopped at any step         lost answers, late writes, deletion of what is stored
//! ```
//!
//! A log belongs to one process and is closed once and for all; what is claimed by compare-and-set is the row of a shard, which names the
//! logs that hold its newest events. The page `docs/ownership.md` tells the protocol; [`rules`] lists what a test takes out of it.

mod laws;
mod process;
mod protocol;
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

fn met(shown: &BTreeSet<&'static str>, wanted: &[&str]) {
    for what in wanted {
        assert!(shown.contains(what), "never seen: {what}");
    }
}

#[test]
fn two_claimants_of_two_shards_of_one_log_break_no_law() {
    let shown = holds(Size::TWO_SHARDS);
    met(
        &shown,
        &[
            "a claimant closes a log",
            "a claimant finds the log closed by another",
            "a claimant loses the shard to another",
            "the two shards of one log have two new owners",
            "a shard moves and nothing is closed",
            "a zombie's append is refused",
            "a zombie's answer is held back",
        ],
    );
}

#[test]
fn rolling_beside_a_claim_breaks_no_law() {
    let shown = holds(Size::ROLLING);
    met(
        &shown,
        &[
            "a claimant goes on to the next bucket",
            "a claimant closes a bucket that was never open",
            "a log rolls on",
            "a log that rolls on finds itself closed",
        ],
    );
}

#[test]
fn late_statements_break_no_law() {
    let shown = holds(Size::LATE);
    met(
        &shown,
        &[
            "an unknown outcome is settled: it was there",
            "an unknown outcome is settled: it was not there, and is now",
            "an unknown outcome is settled: closed",
            "a late append lands",
            "a late append is refused",
            "a late release lands",
            "a late release changes nothing",
            "a late claim lands",
        ],
    );
}

#[test]
fn checkpoints_and_deletion_beside_a_claim_break_no_law() {
    let shown = holds(Size::CHECKPOINTS);
    met(
        &shown,
        &[
            "a bucket is deleted",
            "a checkpoint goes on under a later epoch",
            "rows go while a claimant reads",
            "a shard that is stored is released and names no log",
        ],
    );
}

#[test]
fn a_shard_that_comes_back_to_a_log_breaks_no_law() {
    let shown = holds(Size::COMES_BACK);
    met(&shown, &["a shard comes back to a log it was in", "a claim reads two logs"]);
}

#[test]
fn larger_worlds_of_one_log_a_node_hold_too() {
    if std::env::var("DOORBUSTER_MODEL").as_deref() != Ok("large") {
        eprintln!("NOT tried: the larger worlds of one log a node (DOORBUSTER_MODEL=large explores them)");
        return;
    }
    for size in Size::LARGE {
        holds(size);
    }
}
