//! Faults at every write and sync of a real process: killed before, after and within, refused, cut short, interrupted, full.
//!
//! ```text
//! for k = 1, 2, 3 … until there is no k-th call:
//!     a copy of a folder ──► a process that meets the fault at its k-th call ──► ends as it must ──► a successor ──► has everything
//! ```
//!
//! `library`: the fault, compiled from `preload.c`. `errand`: a sale and its memory. `trial`: one k. Here: all of them, or a sample.
//!
//! `DOORBUSTER_FAULTS=all cargo test --test crash inject -- --nocapture` tries every k; `DOORBUSTER_FAULTS=50` every fiftieth, begun
//! elsewhere for each kind; `DOORBUSTER_FAULT=eio:57` one alone, with `DOORBUSTER_STAGE=sale`.

mod errand;
mod library;
mod trial;

use library::{Fault, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;
use trial::{Outcome, Stage};

/// Trials at the same time; a trial mostly waits, so `DOORBUSTER_FAULTS_AT_ONCE` may ask for more than there are processors.
const AT_ONCE: usize = 2;
/// Faults that are reported one by one; of the others only their number is.
const REPORTED_MAX: usize = 12;

/// Which calls of a kind meet it: each `stride`-th from `first` on.
fn sample(kind: Kind, calls: u64, stride: u64) -> Vec<u64> {
    let place = Kind::ALL.iter().position(|other| *other == kind).expect("one of all");
    let place = u64::try_from(place).expect("a few");
    // A call beyond the last that a trial without faults made: threads take turns, so another run may make a few more.
    let beyond = calls + calls / 20 + 2;
    let first = 1 + place * stride / u64::try_from(Kind::ALL.len()).expect("a few");
    (first..=beyond).step_by(usize::try_from(stride).expect("not that many")).collect()
}

fn stride(default: u64) -> u64 {
    match std::env::var("DOORBUSTER_FAULTS").as_deref() {
        Err(_) => default,
        Ok("all") => 1,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("DOORBUSTER_FAULTS is `all` or a number, not {text}")),
    }
}

fn at_once() -> usize {
    std::env::var("DOORBUSTER_FAULTS_AT_ONCE")
        .map_or(AT_ONCE, |text| text.parse().expect("DOORBUSTER_FAULTS_AT_ONCE is a number"))
}

/// Is each trial reported when it ends? A sweep that is stopped half-way has then said what it tried.
fn is_reported() -> bool {
    std::env::var("DOORBUSTER_FAULTS_TELL").is_ok()
}

/// One fault alone, if that was asked for.
fn alone() -> Option<Fault> {
    let text = std::env::var("DOORBUSTER_FAULT").ok()?;
    let (word, at) = text.split_once(':').unwrap_or_else(|| panic!("DOORBUSTER_FAULT is kind:number, not {text}"));
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    let kind = kind.unwrap_or_else(|| panic!("no such kind: {word}"));
    Some(Fault { kind, at: at.parse().unwrap_or_else(|_| panic!("no such number: {at}")) })
}

/// What came of all trials of a stage.
#[derive(Debug, Default)]
struct Tally {
    trials: u64,
    met: BTreeMap<(Kind, String), u64>,
    acknowledged: usize,
    broken: Vec<String>,
}

impl Tally {
    fn take(&mut self, fault: Fault, outcome: &Outcome) {
        self.trials += 1;
        self.acknowledged += outcome.acknowledged;
        if let Some(met) = &outcome.report.met {
            let end = outcome.ended.as_ref().map_or_else(|| "killed".to_owned(), |ended| ended.status.to_string());
            *self.met.entry((fault.kind, end.clone())).or_default() += 1;
            if is_reported() {
                let said = outcome.ended.as_ref().map(|ended| ended.stderr.trim().to_owned()).unwrap_or_default();
                eprintln!("{fault}: {met}: {end}: {said}");
            }
        } else if is_reported() {
            eprintln!("{fault}: there was no such call");
        }
    }
}

/// Tries a stage with every fault of the sample.
async fn sweep(stage: Stage, default_stride: u64) {
    if std::env::var("DOORBUSTER_STAGE").is_ok_and(|only| only != stage.name) {
        return;
    }
    let calls = stage.trial(Fault { kind: Kind::Eio, at: 0 }).await.report.calls;
    let stride = stride(default_stride);
    let faults: Vec<Fault> = match alone() {
        Some(fault) => vec![fault],
        None => Kind::ALL
            .into_iter()
            .flat_map(|kind| sample(kind, calls, stride).into_iter().map(move |at| Fault { kind, at }))
            .collect(),
    };
    let name = stage.name;
    let (stage, faults) = (Arc::new(stage), Arc::new(faults));
    let (next, tally) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Tally::default())));
    let workers: Vec<_> = (0..at_once())
        .map(|_| {
            let (stage, faults, next, tally) =
                (Arc::clone(&stage), Arc::clone(&faults), Arc::clone(&next), Arc::clone(&tally));
            tokio::spawn(async move {
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("a number of faults");
                    let Some(fault) = faults.get(place).copied() else { return };
                    let stage = Arc::clone(&stage);
                    let tried = tokio::spawn(async move { stage.trial(fault).await }).await;
                    let mut tally = tally.lock().await;
                    match tried {
                        Ok(outcome) => tally.take(fault, &outcome),
                        Err(panic) => {
                            let payload = panic.try_into_panic().expect("not cancelled");
                            let why = payload
                                .downcast_ref::<String>()
                                .cloned()
                                .or_else(|| payload.downcast_ref::<&str>().map(|why| (*why).to_owned()));
                            let broken = format!("{name}, {fault}: {}", why.unwrap_or_default());
                            if is_reported() {
                                eprintln!("BROKEN {broken}");
                            }
                            tally.broken.push(broken);
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("workers do not panic");
    }
    let tally = tally.lock().await;
    eprintln!("{name}: {calls} calls, every {stride}th; {} trials, {} answers kept", tally.trials, tally.acknowledged);
    for ((kind, end), times) in &tally.met {
        eprintln!("    {:<12} {times:>4} times: {end}", kind.word());
    }
    let first = tally.broken.iter().take(REPORTED_MAX).map(String::as_str).collect::<Vec<_>>();
    assert!(tally.broken.is_empty(), "{} trials failed, the first ones:\n{}", tally.broken.len(), first.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_meets_a_fault_anywhere_leaves_a_folder_in_which_the_next_one_serves() {
    sweep(Stage::first_start(), 131).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_meets_a_fault_anywhere_loses_nothing_that_was_acknowledged() {
    sweep(Stage::sale().await, 71).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_meets_a_fault_anywhere_loses_nothing_that_was_acknowledged() {
    sweep(Stage::erasure().await, 151).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_meets_a_fault_anywhere_twice_loses_nothing_that_was_acknowledged() {
    sweep(Stage::recovery().await, 29).await;
}
