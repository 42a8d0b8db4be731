//! Nodes that join, die, stop, leave and lose each other at random; and then it is quiet.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const NAMES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// One accident, or the end of one.
async fn happen(cluster: &mut Cluster, rng: &mut ChaCha8Rng) -> String {
    let name = NAMES[rng.random_range(0..NAMES.len())];
    let other = NAMES[rng.random_range(0..NAMES.len())];
    let runs = cluster.nodes.contains_key(name);
    let yes = rng.random_bool(0.5);
    match rng.random_range(0..9) {
        0 | 1 if !runs || yes => {
            cluster.join(name).await;
            format!("{name} starts")
        }
        2 if cluster.nodes.len() > 1 => {
            cluster.kill(name);
            format!("{name} is killed")
        }
        3 | 4 if runs => {
            let stops = !cluster.link(name).is_stopped();
            cluster.link(name).stop(stops);
            format!("{name} stopped: {stops}")
        }
        5 if runs => {
            cluster.lose_store(name, yes);
            format!("{name} without the store: {yes}")
        }
        6 => {
            let cut = (name.to_owned(), other.to_owned());
            if !cluster.cuts.remove(&cut) {
                cluster.cuts.insert(cut);
            }
            format!("{name} from {other}: cut or mended")
        }
        7 => {
            cluster.registry.set_drained(name, yes).await.unwrap();
            format!("{name} is to drain: {yes}")
        }
        8 => {
            let shard = Shard(rng.random_range(0..SHARDS));
            cluster.registry.set_placement(shard, yes.then_some(name)).await.unwrap();
            format!("shard {shard} is to be with {name}: {yes}")
        }
        _ => {
            let all = rng.random_bool(0.3);
            cluster.nodes.values().for_each(|node| node.link().fail(all));
            format!("all nodes without the store: {all}")
        }
    }
}

async fn run(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::of(3).await;
    let mut events = Vec::new();
    for _ in 0..25 {
        events.push(happen(&mut cluster, &mut rng).await);
        cluster.pass(Duration::from_millis(rng.random_range(0..8_000))).await;
    }
    for node in cluster.nodes.values() {
        node.link().fail(false);
        node.link().stop(false);
    }
    cluster.pass(Duration::from_millis(100)).await;
    if cluster.nodes.is_empty() {
        cluster.join("n1").await;
    }
    for name in NAMES {
        cluster.registry.set_drained(name, false).await.unwrap();
    }
    // The cuts remain: they change nothing (O6).
    cluster.quiet().await;
    eprintln!("seed {seed}: {events:?}");
    cluster.assert_placed().await;
    let epochs = cluster.epochs();
    cluster.quiet().await;
    cluster.assert_placed().await;
    assert_eq!(cluster.epochs(), epochs, "seed {seed}: once it is quiet nothing moves");
}

#[tokio::test(start_paused = true)]
async fn whatever_happened_once_it_is_quiet_every_shard_is_served_by_the_one_that_should() {
    for seed in 0..SEEDS {
        run(seed).await;
    }
}

/// The number of seeds; each runs some four minutes of the nodes' time.
const SEEDS: u64 = 16;
