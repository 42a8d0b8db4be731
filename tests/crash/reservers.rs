//! Shops with a checkout of their own, through kills of the node: what was acknowledged as sold is sold, everything else is free again.

use crate::node::Door;
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// SKUs that no other part of the test uses, with their units.
pub const KEPT: [(&str, u32); 2] = [("KEPT", 1_000_000), ("SCARCE", 200)];

/// What became of a reservation, as its shop knows it.
#[derive(Debug, Clone)]
struct Fate {
    lines: Vec<(&'static str, u64)>,
    committed: bool,
}

/// What was answered to all of them, by the reservation's path.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<String, Fate>>);

impl Ledger {
    fn note(&self, path: &str, lines: &[(&'static str, u64)], committed: bool) {
        let fate = Fate { lines: lines.to_vec(), committed };
        self.0.lock().unwrap().insert(path.to_owned(), fate);
    }

    fn all(&self) -> BTreeMap<String, Fate> {
        self.0.lock().unwrap().clone()
    }
}

/// Reserves, and then commits, releases or forgets, until `stop` says so.
pub async fn reserve_on(
    door: Door,
    ledger: Arc<Ledger>,
    name: String,
    mut rng: ChaCha8Rng,
    stop: impl Fn() -> bool + Send,
) {
    for number in 0_u64.. {
        if stop() {
            return;
        }
        one(&door, &ledger, &format!("{name}-{number}"), &mut rng).await;
    }
}

async fn one(door: &Door, ledger: &Ledger, reference: &str, rng: &mut ChaCha8Rng) {
    let mut lines = vec![(KEPT[rng.random_range(0..2)].0, rng.random_range(1..=2_u64))];
    if rng.random_bool(0.4) {
        lines = KEPT.iter().map(|(sku, _)| (*sku, rng.random_range(1..=2_u64))).collect();
    }
    let of = |(sku, quantity): &(&str, u64)| json!({ "sku": sku, "quantity": quantity });
    let item = json!({ "reference": reference, "lines": lines.iter().map(of).collect::<Vec<_>>(), "hold_s": 3 });
    let path = if rng.random_bool(0.3) { by_batch(door, &item).await } else { alone(door, &item).await };
    let Some(path) = path else { return };
    ledger.note(&path, &lines, false);
    if rng.random_bool(0.2) {
        assert_eq!(alone(door, &item).await.as_ref(), Some(&path), "the same reference is the same reservation");
    }
    let word = match rng.random_range(0..10) {
        0..=5 => "commit",
        6 | 7 => "release",
        // Left alone: it expires.
        _ => return,
    };
    let call = Call::post(format!("{path}/{word}"), format!("{reference}-{word}"), json!({}));
    let answer = door.insist(&call).await;
    match (word, answer.status, answer.code()) {
        ("commit", 200, _) => ledger.note(&path, &lines, answer.body["status"] == "committed"),
        ("release", 200, _) | ("commit", 409, "reservation_expired") => {}
        _ => panic!("{call} answered {answer}"),
    }
}

/// Where it is; `None`: it could not be had.
async fn alone(door: &Door, item: &Value) -> Option<String> {
    let call = Call { key: None, ..Call::post("/v1/reservations", "", item.clone()) };
    let answer = door.insist(&call).await;
    if answer.status == 409 {
        return None;
    }
    answer.expect(&call, 201).header("location").map(str::to_owned)
}

async fn by_batch(door: &Door, item: &Value) -> Option<String> {
    let call = Call { key: None, ..Call::post("/v1/reservations:batch", "", json!({ "items": [item] })) };
    loop {
        let answer = door.insist(&call).await.expect(&call, 200);
        let result = &answer.body["results"][0];
        match result["status"].as_u64() {
            Some(201) => return Some(format!("/v1/reservations/{}", result["body"]["id"].as_str().unwrap())),
            Some(409) => return None,
            // The node was stopping, or died between the two: this item alone must be sent again.
            Some(503) => {}
            _ => panic!("{call} answered {answer}"),
        }
    }
}

/// What is committed is sold, nothing else is held any more, and every unit is accounted for.
pub async fn adds_up(door: &Door, ledger: &Ledger) -> (usize, usize) {
    let fates = ledger.all();
    let mut sold: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, fate) in &fates {
        until("the end of every reservation", PATIENCE, || async {
            let now = shop::read(door, path).await;
            match (fate.committed, now["status"].as_str().unwrap_or_default()) {
                (true, "committed") | (false, "released" | "expired") => Ok(()),
                (false, "held") => Err(now.to_string()),
                _ => panic!("{path}: {fate:?}, and now {now}"),
            }
        })
        .await;
        if fate.committed {
            fate.lines.iter().for_each(|(sku, units)| *sold.entry(sku).or_default() += units);
        }
    }
    for (sku, received) in KEPT {
        let (level, sold) = (shop::level(door, sku).await, sold.get(sku).copied().unwrap_or_default());
        assert_eq!(level.on_hand + sold, u64::from(received), "{sku}: {level:?}, {sold} sold of {received}");
        assert_eq!(level.reserved, 0, "{sku}: {level:?}");
    }
    (fates.len(), fates.values().filter(|fate| fate.committed).count())
}
