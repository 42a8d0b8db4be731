//! What fuzzing saved (`tests/corpus`) is tried again, and so are its neighbours: the same inputs with a few bytes changed, dropped,
//! doubled or put together otherwise, from a fixed seed.

use crate::fuzzed;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Neighbours of each input.
const NEIGHBOURS: usize = 40;
/// Changes that make a neighbour, at most.
const CHANGES_MAX: usize = 4;

fn saved(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .expect("a saved corpus")
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a readable file")))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{target} has only {} inputs", inputs.len());
    inputs
}

fn neighbour(input: &[u8], other: &[u8], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..dice.random_range(1..=CHANGES_MAX) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.random_range(0..bytes.len());
        let to = (at + dice.random_range(1..=8)).min(bytes.len());
        match dice.random_range(0..6) {
            0 => bytes[at] = dice.random(),
            1 => bytes[at] ^= 1 << dice.random_range(0..8),
            2 => drop(bytes.drain(at..to)),
            3 => bytes.insert(at, dice.random()),
            4 => bytes.extend_from_within(at..to),
            _ if other.is_empty() => {}
            _ => {
                let from = dice.random_range(0..other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

fn try_all(target: &str, check: fn(&[u8])) {
    let inputs = saved(target);
    for (name, input) in &inputs {
        check_one(name, input, check);
    }
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    for (name, input) in &inputs {
        for _ in 0..NEIGHBOURS {
            let (_, other) = &inputs[dice.random_range(0..inputs.len())];
            check_one(name, &neighbour(input, other, &mut dice), check);
        }
    }
}

fn check_one(name: &str, input: &[u8], check: fn(&[u8])) {
    let tried = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(tried.is_ok(), "like {name}: {}", input.escape_ascii());
}

#[test]
fn saved_records_and_states_and_their_neighbours_are_read_or_refused() {
    try_all("record", fuzzed::record::check);
}

#[test]
fn saved_logs_and_their_neighbours_are_opened_or_refused() {
    try_all("log", fuzzed::log::check);
}

#[test]
fn saved_envelopes_and_their_neighbours_are_read_or_refused() {
    try_all("envelope", fuzzed::envelope::check);
}

#[test]
fn saved_bodies_and_their_neighbours_are_read_or_refused() {
    try_all("body", fuzzed::body::check);
}

#[test]
fn saved_requests_and_their_neighbours_are_answered_as_described_and_the_laws_hold() {
    try_all("http", fuzzed::http::check);
}
