//! A week of orders on disk: what one costs there, what a checkpoint costs those who buy meanwhile, and that compaction keeps up.
//!
//! ```text
//! orders, paid and confirmed ──► a slice ──► sizes of log, states, history, personal data ──► the next slice ──► … ──► checkpointed, at rest
//! ```
//!
//! What is bounded shows as a column that stops growing (the log, the states of a SKU), what is kept for ever as one that grows evenly (history).

use super::options::WeekOptions;
use doorbuster_bench::api::Caller;
use doorbuster_bench::catalogue::{self, Offered};
use doorbuster_bench::closed::{self, Closed};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Node, TemporaryFolder, settings_for_load};
use doorbuster_bench::number::{grouped, shown_micros};
use doorbuster_bench::prometheus;
use doorbuster_bench::scripts::Orders;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Rows of the table.
const SLICES: u64 = 10;
/// One measurement within a slice.
const STEP: Duration = Duration::from_millis(500);
/// A slice that takes longer than this has no end.
const SLICE_MAX: Duration = Duration::from_secs(600);
/// What is still to be stored has this long after the last order.
const REST_MAX: Duration = Duration::from_secs(60);

/// Sizes of a data folder, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    /// Segments, those made ahead and those waiting for their retention too.
    log: u64,
    /// The table of states with the agenda, of history, of personal data: in the order in which they are made.
    tables: [u64; 3],
    /// What fjall has not sorted into its tables yet.
    journals: u64,
}

impl Sizes {
    fn of(data: &Path) -> Self {
        let states = data.join("states");
        let mut keyspaces: BTreeMap<u64, u64> = BTreeMap::new();
        for entry in std::fs::read_dir(states.join("keyspaces")).into_iter().flatten().flatten() {
            if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                keyspaces.insert(number, bytes_in(&entry.path()));
            }
        }
        // The last three are ours; what stands before them is the store's own.
        let mut newest = keyspaces.into_values().rev();
        let (personal, history, entities) = (newest.next(), newest.next(), newest.next());
        let tables = [entities, history, personal].map(Option::unwrap_or_default);
        let all = bytes_in(&states);
        let journals = all.saturating_sub(tables.iter().sum::<u64>());
        Self { log: bytes_in(&data.join("log")), tables, journals }
    }

    fn total(&self) -> u64 {
        self.log + self.journals + self.tables.iter().sum::<u64>()
    }
}

/// A file that goes while we look is not counted.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_in(&entry.path()),
        // What is on disk, not how long the file says it is.
        Ok(data) => std::os::unix::fs::MetadataExt::blocks(&data) * 512,
        Err(_gone) => 0,
    };
    entries.flatten().map(of).sum()
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Runs it and prints the table.
pub(crate) async fn run(options: &WeekOptions) -> Result<bool, BenchError> {
    let folder = TemporaryFolder::new(options.data.as_deref())?;
    // Nothing is kept for its retention: what is still there is what the node needs.
    let settings = settings_for_load()
        .with("journal.checkpoint_interval_ms", options.checkpoint_ms)
        .with("journal.retention_days", 0);
    let node = Node::start(folder.path(), settings).await?;
    let data = folder.path().join("data");
    let mut caller = Caller::new(node.public.clone());
    catalogue::open_warehouse(&mut caller).await?;
    let skus = Arc::new((0..options.skus).map(|n| format!("week-{n}")).collect::<Vec<String>>());
    for (index, chunk) in skus.chunks(100).enumerate() {
        let offered: Vec<Offered> = chunk.iter().map(|sku| Offered { sku: sku.clone(), pence: 1_000 }).collect();
        catalogue::put_product(&mut caller, &format!("week-{index}"), "week", &offered).await?;
    }
    for sku in skus.iter() {
        catalogue::receive(&mut caller, sku, options.orders.max(1_000)).await?;
    }
    let numbers = Arc::new(AtomicU64::new(1));
    println!(
        "{} orders over {} SKUs, a checkpoint every {} ms\n",
        grouped(options.orders),
        skus.len(),
        options.checkpoint_ms
    );
    println!(
        "| orders | orders/s | p50 | p99 | checkpoints | log | states and agenda | history | personal | not sorted yet | all, per order | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut placed = 0;
    for slice in 1..=SLICES {
        let upto = options.orders * slice / SLICES;
        let (began, before) = (Instant::now(), placed);
        let mut latency = closed::latencies(3);
        while placed < upto {
            if began.elapsed() > SLICE_MAX {
                return Err(BenchError::Node(format!("only {placed} of {upto} orders within {SLICE_MAX:?}")));
            }
            let closed = Closed { connections: 64, warm_up: Duration::ZERO, duration: STEP };
            let script = |_| Orders::new(&node.public, "week", &skus, Some("tok_ok"));
            let measured = closed::run(&node.public, closed, &numbers, script).await?;
            placed += measured.done;
            latency.add(&measured.latency).expect("both have the same bounds");
        }
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (placed - before) * 1_000 / millis;
        let (p50, p99) = (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99));
        row(&node, &data, placed, &[grouped(rate), shown_micros(p50), shown_micros(p99)]).await?;
    }
    let resting = Instant::now();
    let mut last = Sizes::of(&data).total();
    while resting.elapsed() < REST_MAX {
        tokio::time::sleep(Duration::from_millis(options.checkpoint_ms * 3)).await;
        let now = Sizes::of(&data).total();
        if now >= last {
            break;
        }
        last = now;
    }
    row(&node, &data, placed, &["at rest".to_owned(), "–".to_owned(), "–".to_owned()]).await?;
    Ok(true)
}

async fn row(node: &Node, data: &Path, placed: u64, speed: &[String; 3]) -> Result<(), BenchError> {
    let metrics = Caller::new(node.operator.clone()).get("/metrics").await?;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let checkpoints = prometheus::sum(&text, &["checkpoints"]).map_or(0, doorbuster_bench::number::whole);
    let sizes = Sizes::of(data);
    let [states, history, personal] = sizes.tables.map(mib);
    let per_order = sizes.total() / placed.max(1);
    let [rate, p50, p99] = speed;
    println!(
        "| {} | {rate} | {p50} | {p99} | {checkpoints} | {} | {states} | {history} | {personal} | {} | {per_order} B | {} |",
        grouped(placed),
        mib(sizes.log),
        mib(sizes.journals),
        node.resident_bytes().map_or_else(|| "–".to_owned(), mib),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_large_as_what_is_in_it() {
        let folder = TemporaryFolder::new(None).unwrap();
        let table = folder.path().join("states/keyspaces/3");
        std::fs::create_dir_all(&table).unwrap();
        std::fs::create_dir_all(folder.path().join("log")).unwrap();
        std::fs::write(table.join("a"), vec![1; 100_000]).unwrap();
        std::fs::write(folder.path().join("log/b"), vec![1; 50_000]).unwrap();
        let sizes = Sizes::of(folder.path());
        assert!(sizes.tables[2] >= 100_000 && sizes.log >= 50_000, "{sizes:?}");
        assert_eq!(sizes.total(), sizes.log + sizes.tables[2] + sizes.journals);
        assert_eq!(bytes_in(&folder.path().join("gone")), 0);
    }
}
