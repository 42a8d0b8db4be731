//! Killed at random moments under load, and again during recovery: nothing acknowledged is lost, every saga ends, and the
//! provider's ledger agrees to the penny.

use crate::node::{Node, quick};
use crate::oracle::{Oracle, is_confirmed, is_settled, status, units_sold};
use crate::provider::Provider;
use crate::reservers::{KEPT, Ledger, adds_up, reserve_on};
use crate::shop;
use crate::shoppers::{Crowd, look_at, shop_on};
use doorbuster_test_kit::campaign;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What is for sale: a hot SKU, some that sell out on the way, one that never does.
const STOCK: [(&str, u32); 5] = [("HOT", 1_000_000), ("FEW", 40), ("SOME", 150), ("MORE", 400), ("PLENTY", 1_000_000)];
const SHOPPERS: u64 = 8;
/// Shops with a checkout of their own.
const RESERVERS: u64 = 2;
/// Orders that are looked at again after each start.
const LOOKED_AT: usize = 12;
/// The whole state is audited once in this many kills.
const AUDIT_EVERY: u32 = 10;

/// Kills of the short and of the long campaign.
const KILLS: (u64, u64) = (20, 50);

#[derive(Debug, Default)]
struct Kills {
    serving: u32,
    recovering: u32,
    provider: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_loses_nothing_sells_nothing_twice_and_charges_nothing_twice() {
    let seed = campaign::number("DOORBUSTER_SEED").unwrap_or(1);
    let kills = u32::try_from(campaign::size("DOORBUSTER_KILLS", KILLS.0, KILLS.1)).expect("not that many");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut provider = Provider::started("fast", seed).await;
    let settings = quick().with("orders.hold_s", 4);
    let mut node = Node::started(provider.settings(settings)).await;
    provider.calls_back(&node);
    shop::open(&node.door(), "nova-low", &STOCK).await;
    shop::open(&node.door(), "kept", &KEPT).await;

    let crowd = Arc::new(Crowd {
        door: node.door(),
        bank: provider.bank(),
        // The hot one half of the time.
        skus: vec!["HOT", "FEW", "HOT", "SOME", "HOT", "MORE", "HOT", "PLENTY"],
        oracle: Oracle::default(),
        refused: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let shopper = |number| {
        shop_on(Arc::clone(&crowd), format!("s{seed}-{number}"), ChaCha8Rng::seed_from_u64(seed * 1_000 + number))
    };
    let shoppers: Vec<_> = (0..SHOPPERS).map(|number| tokio::spawn(shopper(number))).collect();

    let ledger = Arc::new(Ledger::default());
    let reserver = |number| {
        let (door, ledger, crowd) = (node.door(), Arc::clone(&ledger), Arc::clone(&crowd));
        let rng = ChaCha8Rng::seed_from_u64(seed * 1_000 + 500 + number);
        let name = format!("r{seed}-{number}");
        tokio::spawn(reserve_on(door, ledger, name, rng, move || crowd.stop.load(Ordering::Relaxed)))
    };
    let reservers: Vec<_> = (0..RESERVERS).map(reserver).collect();

    let mut done = Kills::default();
    while done.serving + done.recovering < kills {
        // A shopper who leaves early has met something unlawful: say what, at once.
        if shoppers.iter().chain(&reservers).any(|shopper| shopper.is_finished()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..700))).await;
        node.kill().await;
        done.serving += 1;
        if rng.random_range(0..4) == 0 {
            provider.kill_and_restart().await;
            done.provider += 1;
        }
        while rng.random_range(0..3) == 0 {
            node.begin();
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..120))).await;
            node.kill().await;
            done.recovering += 1;
        }
        node.start().await;
        provider.calls_back(&node);
        let known = crowd.oracle.orders();
        for id in known.choose_multiple(&mut rng, LOOKED_AT) {
            look_at(&crowd, id).await;
        }
        crowd.oracle.assert_kept();
        if (done.serving + done.recovering) % AUDIT_EVERY == 0 {
            audit_is_clean(&crowd).await;
        }
    }
    crowd.stop.store(true, Ordering::Relaxed);
    for shopper in shoppers.into_iter().chain(reservers) {
        shopper.await.expect("shoppers do not panic");
    }
    crowd.oracle.assert_kept();

    let orders = every_saga_ends(&crowd).await;
    crowd.oracle.assert_kept();
    audit_is_clean(&crowd).await;
    stock_adds_up(&crowd, &orders).await;
    let (reserved, committed) = adds_up(&crowd.door, &ledger).await;
    until("agreement with the provider's ledger", PATIENCE, || async {
        let mut orders = Vec::new();
        for id in crowd.oracle.orders() {
            orders.push(look_at(&crowd, &id).await);
        }
        let wrong = provider.disagreements(&orders).await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    })
    .await;
    node.stop().await;
    node.assert_no_panic();

    let confirmed = orders.iter().filter(|order| is_confirmed(order)).count();
    let refused = crowd.refused.load(Ordering::Relaxed);
    let mut ends = std::collections::BTreeMap::<&str, usize>::new();
    for order in &orders {
        *ends.entry(status(order)).or_default() += 1;
    }
    eprintln!("seed {seed}: {reserved} reservations without an order, {committed} of them committed");
    eprintln!("seed {seed}: {done:?}; {} orders, {confirmed} confirmed, {refused} refused; {ends:?}", orders.len());
    assert!(committed > 0, "nothing was reserved for the kills to mean anything");
    assert!(
        confirmed >= usize::try_from(kills).expect("not that many"),
        "too little was sold for the kills to mean anything"
    );
}

/// Reads all orders until each has ended, one way or the other, and the operator sees none in flight.
async fn every_saga_ends(crowd: &Crowd) -> Vec<Value> {
    until("the end of every saga", PATIENCE, || async {
        let mut orders = Vec::new();
        for id in crowd.oracle.orders() {
            let order = look_at(crowd, &id).await;
            if !is_settled(&order) {
                return Err(order.to_string());
            }
            orders.push(order);
        }
        let sagas = crowd.door.operate(&Call::get("/admin/sagas")).await.map_err(|lost| lost.to_string())?;
        match sagas.body["data"].as_array().or_else(|| sagas.body.as_array()) {
            Some(open) if open.is_empty() => Ok(orders),
            _ => Err(sagas.to_string()),
        }
    })
    .await
}

/// `/admin/audit` proves the laws from the journal.
async fn audit_is_clean(crowd: &Crowd) {
    let call = Call::get("/admin/audit");
    let audit = until("the audit", PATIENCE, || crowd.door.operate(&call)).await.expect(&call, 200);
    assert_eq!(audit.body["clean"], true, "the audit found {:#}", audit.body["violations"]);
}

/// Every unit received is on the shelf or in a confirmed order, none is promised any more.
async fn stock_adds_up(crowd: &Crowd, orders: &[Value]) {
    for (sku, received) in STOCK {
        let sold: u64 = orders.iter().map(|order| units_sold(order, sku)).sum();
        let level = shop::level(&crowd.door, sku).await;
        assert_eq!(level.on_hand + sold, u64::from(received), "{sku}: {level:?}, {sold} sold of {received}");
        assert_eq!((level.reserved, level.available), (0, level.on_hand), "{sku}: {level:?}");
    }
}
