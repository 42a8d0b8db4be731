//! Many clients, few units, and a shop that dies and comes back: what they saw is one shelf, and a shop that is wrong is found out.

use crate::check::{Anomaly, Checked, check};
use crate::crowd::Crowd;
use crate::doctor::{Doctor, Wrong};
use crate::shop::Shop;
use doorbuster_storage::memory::Groups;
use doorbuster_test_kit::campaign;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Operations of the short and of the long campaign; half of them with one log for all, half with a log for each shard.
const OPERATIONS: (u64, u64) = (50_000, 1_000_000);
/// Operations until a shop that is wrong must be found out.
const FEW: usize = 4_000;
const CLIENTS: u32 = 24;
const SKUS: u32 = 6;

/// What a run was like.
struct Run {
    result: Result<Checked, Vec<Anomaly>>,
    kills: u64,
    failures: u64,
}

fn run(groups: Groups, wrong: Wrong, forgets: usize, operations: usize, seed: u64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let shop = Shop::new(groups, seed, forgets);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let keeper = tokio::spawn(Arc::clone(&shop).keep(rng));
        let crowd = Crowd::new(Arc::clone(&shop), Doctor::new(wrong), SKUS);
        crowd.open().await;
        crowd.live(CLIENTS, operations, seed).await;
        crowd.look().await;
        shop.close();
        keeper.await.expect("the keeper does not panic");
        let (kills, failures) = (shop.kills.load(Ordering::Relaxed), shop.failures.load(Ordering::Relaxed));
        Run { result: check(&crowd.history()), kills, failures }
    })
}

fn is_linear(groups: Groups) {
    let operations = campaign::size("DOORBUSTER_OPERATIONS", OPERATIONS.0, OPERATIONS.1) / 2;
    let operations = usize::try_from(operations).expect("a count");
    let seed = campaign::number("DOORBUSTER_SEED").unwrap_or(1);
    let run = run(groups, Wrong::Nothing, 0, operations, seed);
    match run.result {
        Ok(checked) => {
            eprintln!(
                "{groups:?}, seed {seed}: {checked:?}, {} kills, {} failed appends: 0 anomalies",
                run.kills, run.failures
            );
            assert!(checked.operations >= operations && run.kills > 0 && run.failures > 0, "too little was tried");
            assert!(checked.unanswered > 0 && checked.searched > 0 && checked.unplaced > 0, "too little was tried");
        }
        Err(anomalies) => {
            let described: Vec<String> = anomalies.iter().map(ToString::to_string).collect();
            panic!("seed {seed}: {} anomalies:\n{}", described.len(), described.join("\n"));
        }
    }
}

#[test]
fn what_clients_see_of_a_sku_is_one_shelf_through_any_number_of_crashes_with_one_log_for_all() {
    is_linear(Groups::One);
}

#[test]
fn what_clients_see_of_a_sku_is_one_shelf_through_any_number_of_crashes_with_a_log_for_each_shard() {
    is_linear(Groups::PerShard);
}

/// Finds out a shop that is wrong; what is said of it names these words.
#[track_caller]
fn is_found(wrong: Wrong, forgets: usize, words: &[&str]) {
    let run = run(Groups::One, wrong, forgets, FEW, 1);
    let anomalies = run.result.expect_err("a shop that is wrong is found out");
    let why = anomalies[0].to_string();
    eprintln!("{wrong:?}, forgets {forgets}: {why}");
    assert!(words.iter().any(|word| why.contains(word)), "{why}");
}

#[test]
fn a_stale_read_is_found_out() {
    is_found(Wrong::StaleReads, 0, &["had returned before it was begun"]);
}

#[test]
fn an_update_that_was_answered_and_never_done_is_found_out() {
    is_found(Wrong::LostUpdates, 0, &["was made twice", "made by no operation"]);
}

#[test]
fn a_reservation_made_twice_is_found_out() {
    is_found(Wrong::DoubleGrants, 0, &["was made by no operation"]);
}

#[test]
fn a_unit_that_is_given_twice_is_found_out() {
    is_found(Wrong::Oversold, 0, &["was made twice", "claims version", "had returned before"]);
}

#[test]
fn an_answer_that_leaves_before_it_is_durable_is_found_out_at_the_next_crash() {
    is_found(
        Wrong::Nothing,
        2,
        &["was made twice", "had returned before it was begun", "claims version", "made by no operation"],
    );
}
