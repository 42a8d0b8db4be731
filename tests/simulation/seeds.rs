//! Many seeds, one seed, and the same seeds twice.

use crate::run;
use doorbuster_test_kit::campaign;
use std::panic;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of the short and of the long campaign.
const SEEDS: (u64, u64) = (3_000, 10_000);
/// Seeds that are run twice, in two processes.
const TWICE: u64 = 100;
/// Each thread runs its own worlds.
const THREADS: usize = 2;

/// Panics that were ordered are no news.
pub(crate) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let why = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
            let ordered = why.is_some_and(|why| why.starts_with("a fault was ordered"));
            if !ordered {
                loud(info);
            }
        }));
    });
}

fn replay(seed: u64) -> String {
    format!("DOORBUSTER_SEED={seed} cargo test --test simulation one_seed -- --nocapture")
}

#[test]
fn every_world_keeps_the_laws_and_comes_to_rest() {
    hush();
    let first = campaign::number("DOORBUSTER_FIRST_SEED").unwrap_or(1);
    let seeds = campaign::size("DOORBUSTER_SEEDS", SEEDS.0, SEEDS.1);
    let next = AtomicU64::new(first);
    let records = AtomicU64::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failed.lock().expect("no thread panics with it").len() >= 5 {
                        return;
                    }
                    let ended = run::seed(seed, false);
                    records.fetch_add(ended.records, Ordering::Relaxed);
                    if let Some(broken) = ended.broken {
                        eprintln!("seed {seed}: {broken}\n    {}", replay(seed));
                        failed.lock().expect("no thread panics with it").push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panicked");
    eprintln!("{seeds} worlds from seed {first}, {} records", records.load(Ordering::Relaxed));
    assert!(failed.is_empty(), "{} worlds are broken; replay the first with\n    {}", failed.len(), replay(failed[0]));
}

#[test]
fn one_seed() {
    hush();
    let asked = campaign::number("DOORBUSTER_SEED");
    let seed = asked.unwrap_or(1);
    let ended = run::seed(seed, asked.is_some());
    if asked.is_some() {
        eprintln!("{}", ended.story);
        eprintln!("seed {seed}: {}, hash {}", ended.summary, ended.hash);
    }
    assert_eq!(ended.broken, None, "replay with\n    {}", replay(seed));
}

/// Prints the hashes of the first worlds, for a parent that compares them; on its own it says nothing.
#[test]
fn the_hashes_of_the_first_worlds() {
    hush();
    if std::env::var("DOORBUSTER_PRINT_HASHES").is_ok() {
        for seed in 1..=TWICE {
            println!("hash {seed} {}", run::seed(seed, false).hash);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_world_in_another_process() {
    hush();
    let here: Vec<String> = (1..=TWICE).map(|seed| format!("hash {seed} {}", run::seed(seed, false).hash)).collect();
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "seeds::the_hashes_of_the_first_worlds", "--nocapture"])
        .env("DOORBUSTER_PRINT_HASHES", "1")
        .output()
        .expect("this test runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let there: Vec<&str> = text.lines().filter_map(|line| line.find("hash ").map(|at| &line[at..])).collect();
    assert_eq!(here, there, "two processes, two worlds");
}
