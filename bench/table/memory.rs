//! What an idle entity costs in memory: with its actor, and as a state alone that waits for the flush.
//!
//! Resident memory of the process before and after many of one kind, divided by their number. An allocator keeps what it was
//! once given, so both figures are upper bounds.

use super::recovery::{place, without_checkpoints};
use super::suite::{lone_row, set_up};
use super::table::Row;
use doorbuster_bench::api::Caller;
use doorbuster_bench::catalogue;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Node, TemporaryFolder};
use doorbuster_bench::number::{count, float, grouped, ratio};
use doorbuster_bench::prometheus;
use std::path::Path;
use std::time::Duration;

/// Until buffers and actors that are about to end are gone.
const REST: Duration = Duration::from_secs(2);

async fn resident(node: &Node) -> Result<u64, BenchError> {
    tokio::time::sleep(REST).await;
    node.resident_bytes().ok_or_else(|| BenchError::Node("the node's memory cannot be read from /proc".to_owned()))
}

/// Both rows.
pub(crate) async fn measure(parent: Option<&Path>, quick: bool) -> Result<Vec<Row>, BenchError> {
    let (skus, orders) = if quick { (1_000, 10_000) } else { (5_000, 100_000) };
    let folder = TemporaryFolder::new(parent)?;
    // Idle actors stay: an hour is longer than this takes.
    let settings = without_checkpoints().with("entities.idle_ms", 60 * 60 * 1_000);
    let node = Node::start(folder.path(), settings).await?;
    let mut caller = Caller::new(node.public.clone());
    catalogue::open_warehouse(&mut caller).await?;
    // What any traffic makes the process take once is not an entity's: buffers, threads' heaps, the log's first segment.
    let warm = set_up(&mut caller, "warm", 100, 1_000_000).await?;
    place(&node.public, &warm, orders / 10).await?;
    let empty = resident(&node).await?;
    let before = actors(&node).await;
    let shelf = set_up(&mut caller, "shelf", skus, 1_000_000).await?;
    let with_actors = resident(&node).await?;
    let after = actors(&node).await;
    let placed = place(&node.public, &shelf, orders).await?;
    let with_states = resident(&node).await?;
    let per = |bytes: u64, entities: u64| ratio(float(bytes), float(entities)) / 1_024.0;
    let actor = per(with_actors.saturating_sub(empty), count(skus));
    let state = per(with_states.saturating_sub(with_actors), placed);
    let counted = match (before, after) {
        (Some(before), Some(after)) => format!("; actors by the operator's metrics: {before} before, {after} after"),
        _ => String::new(),
    };
    let shown = |kilobytes: f64| (kilobytes, format!("{kilobytes:.1} KB"));
    let resting = format!("{} orders that wait for payment, with their reservations", grouped(placed));
    Ok(vec![
        lone_row(
            "memory per idle entity with its actor, KB",
            shown(actor),
            16.0,
            10.0,
            true,
            format!("{skus} SKUs with stock{counted}"),
        ),
        lone_row("memory per idle entity, its state alone, KB", shown(state), 2.0, 1.0, true, resting),
    ])
}

/// How many entities have an actor, if the node says so.
async fn actors(node: &Node) -> Option<f64> {
    let answer = Caller::new(node.operator.clone()).get("/metrics").await.ok()?;
    prometheus::sum(&String::from_utf8_lossy(&answer.body), &["resident"])
}
