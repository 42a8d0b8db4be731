//! Thousands of hostile sockets, and a few honest callers among them.

use super::hostile::{Kind, Met, TOO_LONG, live};
use super::options::SocketsOptions;
use super::test_node::{TestNode, shown_bytes};
use doorbuster_bench::closed::{self, Closed, Measured};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::settings_for_load;
use doorbuster_bench::number::{count, float, grouped, ratio, shown_micros, whole};
use doorbuster_bench::scripts::Orders;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Units in stock: enough that no buyer meets "sold out".
const UNITS: u64 = 50_000_000;
/// Timers and a busy machine are forgiven this much over a limit.
const SLACK: Duration = Duration::from_millis(1_000);
/// Honest callers' p99 may double.
const AS_BEFORE: f64 = 2.0;
/// A p99 below this is not distinguished from noise.
const NOISE_MICROS: u64 = 2_000;

/// Opens them; `true` when each was closed in its time and the honest were served as before.
pub(crate) async fn run(options: &SocketsOptions) -> Result<bool, BenchError> {
    let test_node = TestNode::open(&options.test_node, settings_for_load(), 1, UNITS).await?;
    println!("node       {}", test_node.shown(&options.test_node));
    let seconds = Duration::from_secs(options.seconds);
    let calm = honest(&test_node, options, seconds.min(Duration::from_secs(10))).await?;
    let idle = test_node.usage();
    println!(
        "calm       {} honest callers: {}/s, p50 {}, p99 {}",
        options.honest,
        grouped(whole(calm.rate)),
        shown_micros(calm.quantile(0.5)),
        shown_micros(calm.quantile(0.99))
    );
    let (address, key) = (test_node.node.public.address, test_node.node.public.key.clone());
    let sockets = usize::try_from(options.sockets).unwrap_or(8);
    let until = Instant::now() + seconds;
    let crowd = tokio::task::spawn_blocking(move || crowd(sockets, address, &key, until));
    // The hostile sockets are open before the honest callers come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let busy_for = seconds.saturating_sub(Duration::from_secs(2)).max(Duration::from_secs(1));
    let (among, most) = tokio::join!(honest(&test_node, options, busy_for), most(&test_node, busy_for));
    let among = among?;
    println!(
        "among them {} honest callers: {}/s, p50 {}, p99 {}, {} not served",
        options.honest,
        grouped(whole(among.rate)),
        shown_micros(among.quantile(0.5)),
        shown_micros(among.quantile(0.99)),
        among.failed
    );
    println!(
        "node       memory {} at rest, {} at most; {} files at most, {} threads",
        shown_bytes(idle.resident_bytes),
        shown_bytes(most.0),
        grouped(most.1),
        test_node.usage().threads
    );
    let met = crowd.await.map_err(|panic| BenchError::Node(format!("the sockets' thread failed: {panic}")))??;
    let mut kept = true;
    println!(
        "\n{:<16} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}",
        "socket", "closed", "p50", "p99", "at most", "limit", "never"
    );
    for (kind, met) in &met {
        let at_most = Duration::from_millis(met.closed.max());
        let holds = met.never == 0 && at_most <= kind.limit() + SLACK;
        kept &= holds;
        let shown = |millis: u64| format!("{:.2} s", float(millis) / 1_000.0);
        println!(
            "{:<16} {:>9} {:>9} {:>9} {:>9} {:>6} s {:>8}  {}",
            kind.word(),
            grouped(met.closed.len()),
            shown(met.closed.value_at_quantile(0.5)),
            shown(met.closed.value_at_quantile(0.99)),
            shown(met.closed.max()),
            kind.limit().as_secs(),
            met.never,
            if holds { "holds" } else { "BROKEN" },
        );
        if met.refused > 0 {
            println!("{:<16} {:>9} not let in", "", grouped(met.refused));
        }
    }
    let bound = float(calm.quantile(0.99).max(NOISE_MICROS)) * AS_BEFORE;
    let served = float(among.quantile(0.99)) <= bound && among.failed == 0;
    println!(
        "\nverdict    honest p99 {:.2} times that before: {}",
        ratio(float(among.quantile(0.99)), float(calm.quantile(0.99))),
        if served { "holds" } else { "BROKEN" }
    );
    let clean = test_node.audit().await?;
    Ok(kept && served && clean)
}

async fn honest(test_node: &TestNode, options: &SocketsOptions, duration: Duration) -> Result<Measured, BenchError> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let closed = Closed {
        connections: usize::try_from(options.honest).unwrap_or(1),
        warm_up: Duration::from_millis(500),
        duration,
    };
    let target = &test_node.node.public;
    closed::run(target, closed, &Arc::new(AtomicU64::new(0)), |_| Orders::new(target, &run, &test_node.skus, None))
        .await
}

/// The most memory and files within this time.
async fn most(test_node: &TestNode, duration: Duration) -> (u64, u64) {
    let until = Instant::now() + duration;
    let mut most = (0, 0);
    while Instant::now() < until {
        let usage = test_node.usage();
        most = (most.0.max(usage.resident_bytes), most.1.max(usage.files));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    most
}

/// All of them, on a thread of their own, in turns of the kinds.
fn crowd(sockets: usize, address: SocketAddr, key: &str, until: Instant) -> Result<BTreeMap<Kind, Met>, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| BenchError::io("start the sockets' thread", source))?;
    let local = LocalSet::new();
    let mut tasks = Vec::with_capacity(sockets);
    for (number, kind) in (0..sockets).zip(Kind::ALL.into_iter().cycle()) {
        let key = key.to_owned();
        tasks.push((
            kind,
            local.spawn_local(async move {
                // Not all in the same instant: that would try the backlog, and nothing else.
                tokio::time::sleep(Duration::from_micros(count(number) * 250)).await;
                live(kind, address, &key, until).await
            }),
        ));
    }
    runtime.block_on(local.run_until(async {
        let mut met: BTreeMap<Kind, Met> =
            Kind::ALL.into_iter().filter(|kind| *kind != Kind::Churn).map(|kind| (kind, Met::new())).collect();
        for (kind, task) in tasks {
            let limit = until.saturating_duration_since(Instant::now()) + TOO_LONG * 2 + kind.limit();
            match tokio::time::timeout(limit, task).await {
                Ok(Ok(one)) => met.entry(kind).or_insert_with(Met::new).add(&one),
                Ok(Err(_)) | Err(_) => met.entry(kind).or_insert_with(Met::new).never += 1,
            }
        }
        met.remove(&Kind::Churn);
        Ok(met)
    }))
}
