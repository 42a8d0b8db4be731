//! How long a node takes from `kill -9` to serving again, with a long tail of the log behind its last checkpoint.

use super::suite::{lone_row, set_up};
use super::table::Row;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue;
use doorbuster_bench::closed::{self, Closed};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Node, TemporaryFolder, settings_for_load};
use doorbuster_bench::number::grouped;
use doorbuster_bench::scripts::Orders;
use doorbuster_test_kit::settings::Settings;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// An order without payment is three events: placed, reserved, held.
const EVENTS_PER_ORDER: u64 = 3;
/// Events in the tail.
const TAIL_EVENTS: u64 = 100_000;
/// Placing the orders takes at most this long.
const PLACING_LIMIT: Duration = Duration::from_secs(180);

/// Nothing is flushed by itself: the whole log since the start is the tail, and all states wait.
pub(crate) fn without_checkpoints() -> Settings {
    settings_for_load()
        .with("journal.checkpoint_interval_ms", 60 * 60 * 1_000)
        .with("journal.checkpoint_bytes", 64_u64 << 30)
}

/// Places at least `orders` orders over `skus`.
pub(crate) async fn place(target: &Target, skus: &Arc<Vec<String>>, orders: u64) -> Result<u64, BenchError> {
    let numbers = Arc::new(AtomicU64::new(1));
    let until = Instant::now() + PLACING_LIMIT;
    let mut placed = 0;
    while placed < orders {
        if Instant::now() > until {
            return Err(BenchError::Node(format!("only {placed} of {orders} orders within {PLACING_LIMIT:?}")));
        }
        let closed = Closed { connections: 64, warm_up: Duration::ZERO, duration: Duration::from_millis(250) };
        placed += closed::run(target, closed, &numbers, |_| Orders::new(target, "fill", skus, None)).await?.done;
    }
    Ok(placed)
}

/// The row.
pub(crate) async fn measure(parent: Option<&Path>, quick: bool) -> Result<Vec<Row>, BenchError> {
    let folder = TemporaryFolder::new(parent)?;
    let mut node = Node::start(folder.path(), without_checkpoints()).await?;
    let mut caller = Caller::new(node.public.clone());
    catalogue::open_warehouse(&mut caller).await?;
    let skus = set_up(&mut caller, "tail", 1, 1_000_000).await?;
    let events = if quick { TAIL_EVENTS / 10 } else { TAIL_EVENTS };
    let placed = place(&node.public, &skus, events.div_ceil(EVENTS_PER_ORDER)).await?;
    let sku = skus.first().map_or("", String::as_str);
    let before = catalogue::level(&mut caller, sku).await?;
    node.kill().await?;
    let began = Instant::now();
    node.restart().await?;
    let mut caller = Caller::new(node.public.clone());
    let after = catalogue::level(&mut caller, sku).await?;
    let took = began.elapsed();
    if after != before {
        return Err(BenchError::Node(format!("stock was {before:?} before the kill and is {after:?} after it")));
    }
    let note = format!(
        "from the start of the process to the first answer of the hot SKU; {} orders in the tail",
        grouped(placed)
    );
    let seconds = took.as_secs_f64();
    Ok(vec![lone_row(
        "recovery after kill -9 with a tail of 100,000 events, s",
        (seconds, format!("{seconds:.2} s")),
        2.0,
        0.5,
        true,
        note,
    )])
}
