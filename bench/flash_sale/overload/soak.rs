//! A long time at a load the node can carry, with everything that happens to a shop: is it the same node at the end as in the middle?

use super::latency::WaveResult;
use super::load::{Load, Template, Wave, per_s};
use super::options::SoakOptions;
use super::tending::{Done, tend};
use super::test_node::{TestNode, gauge, metrics, shown_bytes, sizes};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::settings_for_load;
use doorbuster_bench::number::{float, grouped, median, ratio, shown_micros, whole};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SKUS: u32 = 200;
/// Units of each: what is paid is not all sent back.
const UNITS: u64 = 5_000_000;
/// One order of this many is paid, the others expire.
const PAID_ONE_OF: usize = 5;
/// Pairs of hands behind the counter.
const HANDS: usize = 8;
/// A buyer waits out a restart.
const DEADLINE: Duration = Duration::from_secs(30);
const RETRIES: u32 = 40;
/// A third may be this much above the one before, and by the slack of its measure, and still be called flat.
const FLAT: f64 = 1.10;
const ORDERS_BETWEEN_LINES: u32 = 6;

/// One figure of a sample, if it was to be had.
type Measure = fn(&Sample) -> Option<f64>;

/// The node at one time.
#[derive(Debug, Clone, Default)]
struct Sample {
    at_s: f64,
    rss: u64,
    threads: u64,
    files: u64,
    residents: Option<f64>,
    /// By what lies at the top of the data folder.
    data: BTreeMap<String, u64>,
    orders: u64,
}

impl Sample {
    fn data_bytes(&self) -> u64 {
        self.data.values().sum()
    }
}

/// Runs it; `true` when everything that should be flat was, nothing is missing and the audit is clean.
pub(crate) async fn run(options: &SoakOptions) -> Result<bool, BenchError> {
    let settings = settings_for_load().with("orders.hold_s", options.hold_s);
    let mut test_node = TestNode::open(&options.test_node, settings, SKUS, UNITS).await?;
    println!("node       {}", test_node.shown(&options.test_node));
    let run = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect::<String>();
    let target = test_node.node.public.clone();
    let templates = test_node.skus.iter().enumerate().map(|(index, sku)| {
        let token = index.is_multiple_of(PAID_ONE_OF).then_some("tok_ok");
        Template::order(&target, &run, sku, token)
    });
    let load = Load {
        target: target.clone(),
        templates: Arc::new(templates.collect()),
        connections: usize::try_from(options.connections).unwrap_or(1),
        deadline: DEADLINE,
        retries: RETRIES,
        numbers: Arc::default(),
        held: Arc::default(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if test_node.pinned { cores.saturating_sub(1).max(1) } else { cores };
    let rate = match options.rate {
        Some(rate) => rate,
        None => {
            let wave = Wave { rate: None, duration: Duration::from_secs(5) };
            load.run(wave, threads).await?;
            let peak = per_s(load.run(wave, threads).await?.in_wave, wave.duration);
            println!("peak       {}/s in a closed loop of {} connections", grouped(peak), options.connections);
            float(peak) * float(u64::from(options.percent)) / 100.0
        }
    };
    let duration = Duration::from_secs_f64((options.minutes * 60.0).max(1.0));
    println!(
        "soak       {}/s for {:.1} minutes; 1 of {PAID_ONE_OF} is paid, the others expire after {} s; returns, cancellations",
        grouped(whole(rate)),
        options.minutes,
        options.hold_s
    );
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::new(Done::default());
    let hands: Vec<_> = (0..HANDS)
        .map(|hand| {
            tokio::spawn(tend(target.clone(), hand, Arc::clone(&test_node.skus), Arc::clone(&done), Arc::clone(&over)))
        })
        .collect();
    let begun = Instant::now();
    let process = Arc::new(AtomicU64::new(u64::from(test_node.node.id().unwrap_or(0))));
    let sampler = tokio::spawn(sampler(Watched {
        process: Arc::clone(&process),
        operator: test_node.node.operator.clone(),
        data: test_node.folder.path().join("data"),
        held: Arc::clone(&load.held),
        begun,
        every: Duration::from_secs(options.sample_every_s.max(1)),
        over: Arc::clone(&over),
        series: options.series.clone(),
    }));
    let wave = Wave { rate: Some(rate), duration };
    let result = {
        let load = load.run(wave, threads);
        let faults = restarts(&mut test_node, options, begun + duration, &process);
        let (result, restarted) = tokio::join!(load, faults);
        restarted?;
        result?
    };
    over.store(true, Ordering::Relaxed);
    for hand in hands {
        hand.await.map_err(|panic| BenchError::Node(panic.to_string()))?;
    }
    let samples = sampler.await.map_err(|panic| BenchError::Node(panic.to_string()))??;
    print_result(&result, &done, wave);
    let flat = flat(&samples);
    // What still waits to expire does so before the books are read.
    tokio::time::sleep(Duration::from_secs(options.hold_s + 2)).await;
    let clean = test_node.audit().await?;
    Ok(flat && clean && result.without_retry_after == 0)
}

/// Restarts the node by turns, politely and not, until shortly before the end.
async fn restarts(
    test_node: &mut TestNode,
    options: &SoakOptions,
    end: Instant,
    process: &AtomicU64,
) -> Result<(), BenchError> {
    let every = Duration::from_secs(options.restart_every_s);
    let mut polite = true;
    while !every.is_zero() && Instant::now() + every + every / 4 < end {
        tokio::time::sleep(every).await;
        let begun = Instant::now();
        process.store(0, Ordering::Relaxed);
        if polite {
            test_node.node.terminate().await?;
        } else {
            test_node.node.kill().await?;
        }
        test_node.node.restart().await?;
        test_node.pin()?;
        process.store(u64::from(test_node.node.id().unwrap_or(0)), Ordering::Relaxed);
        println!(
            "{:>8}   {}, serving again after {:.2} s",
            "",
            if polite { "SIGTERM" } else { "SIGKILL" },
            begun.elapsed().as_secs_f64()
        );
        polite = !polite;
    }
    Ok(())
}

/// What the sampler looks at.
struct Watched {
    /// 0 while there is none.
    process: Arc<AtomicU64>,
    operator: doorbuster_bench::api::Target,
    data: PathBuf,
    held: Arc<AtomicU64>,
    begun: Instant,
    every: Duration,
    over: Arc<AtomicBool>,
    series: Option<PathBuf>,
}

async fn sampler(watched: Watched) -> Result<Vec<Sample>, BenchError> {
    let mut file = match &watched.series {
        Some(path) => Some(
            std::fs::File::create(path)
                .map_err(|source| BenchError::io(format!("write {}", path.display()), source))?,
        ),
        None => None,
    };
    println!(
        "{:>8} {:>10} {:>10} {:>8} {:>7} {:>7} {:>10}",
        "minute", "orders", "memory", "threads", "files", "actors", "data"
    );
    let (mut samples, mut lines) = (Vec::new(), 0_u32);
    while !watched.over.load(Ordering::Relaxed) {
        tokio::time::sleep(watched.every).await;
        let process = u32::try_from(watched.process.load(Ordering::Relaxed)).unwrap_or(0);
        if process == 0 {
            continue;
        }
        let usage = super::test_node::Usage::of(process);
        let metrics = metrics(&watched.operator).await;
        let sample = Sample {
            at_s: watched.begun.elapsed().as_secs_f64(),
            rss: usage.resident_bytes,
            threads: usage.threads,
            files: usage.files,
            residents: gauge(&metrics, "doorbuster_entities_resident"),
            data: sizes(&watched.data),
            orders: watched.held.load(Ordering::Relaxed),
        };
        if sample.rss == 0 {
            continue;
        }
        if let Some(file) = &mut file {
            let line = json!({
                "at_s": sample.at_s, "resident_bytes": sample.rss, "threads": sample.threads, "files": sample.files,
                "entities_resident": sample.residents, "orders": sample.orders, "data_bytes": sample.data,
            });
            writeln!(file, "{line}").map_err(|source| BenchError::io("write the series", source))?;
        }
        if lines.is_multiple_of(ORDERS_BETWEEN_LINES) {
            println!(
                "{:>8.1} {:>10} {:>10} {:>8} {:>7} {:>7} {:>10}",
                sample.at_s / 60.0,
                grouped(sample.orders),
                shown_bytes(sample.rss),
                sample.threads,
                sample.files,
                sample.residents.map_or_else(|| "-".to_owned(), |residents| grouped(whole(residents))),
                shown_bytes(sample.data_bytes()),
            );
        }
        lines = lines.wrapping_add(1);
        samples.push(sample);
    }
    Ok(samples)
}

fn print_result(result: &WaveResult, done: &Done, wave: Wave) {
    println!(
        "\ncrowd      {} came, {} held in time ({}/s), {} late, {} gave up, {} sent again",
        grouped(result.offered),
        grouped(result.in_time),
        grouped(per_s(result.in_wave, wave.duration)),
        result.late,
        result.gave_up,
        grouped(result.sent.saturating_sub(result.offered))
    );
    println!(
        "           answered in p50 {}, p99 {}; {} connections lost",
        shown_micros(result.answer.value_at_quantile(0.5)),
        shown_micros(result.answer.value_at_quantile(0.99)),
        result.lost
    );
    let count = |counter: &AtomicU64| grouped(counter.load(Ordering::Relaxed));
    println!(
        "tending    {} returned, {} cancelled, {} broken off",
        count(&done.returned),
        count(&done.cancelled),
        count(&done.broken_off)
    );
}

/// Compares the middle third with the last one, measure by measure. Medians, so that neither a restart nor a checkpoint decides.
fn flat(samples: &[Sample]) -> bool {
    let third = samples.len() / 3;
    let (Some(middle), Some(last)) = (samples.get(third..2 * third), samples.get(2 * third..)) else { return false };
    if third < 3 {
        println!("verdict    too short to say: {} samples", samples.len());
        return true;
    }
    const MIB: f64 = 1_048_576.0;
    let measures: [(&str, Measure, f64, bool); 4] = [
        ("memory", |sample| Some(float(sample.rss)), 32.0 * MIB, true),
        ("threads", |sample| Some(float(sample.threads)), 2.0, false),
        ("files", |sample| Some(float(sample.files)), 16.0, false),
        ("actors", |sample| sample.residents, 1_000.0, false),
    ];
    println!("\n{:<22} {:>12} {:>12}", "median of", "middle third", "last third");
    let mut all = true;
    for (name, of, slack, bytes) in measures {
        let values = |part: &[Sample]| median(&part.iter().filter_map(of).collect::<Vec<_>>()).unwrap_or(0.0);
        let (then, now) = (values(middle), values(last));
        let holds = is_flat(then, now, slack);
        all &= holds;
        let shown = |value: f64| if bytes { shown_bytes(whole(value)) } else { grouped(whole(value)) };
        println!("{name:<22} {:>12} {:>12}  {}", shown(then), shown(now), if holds { "flat" } else { "GROWS" });
    }
    // History is kept for ever, by design: it may grow with the orders, and only with them.
    let names: std::collections::BTreeSet<&String> = samples.iter().flat_map(|sample| sample.data.keys()).collect();
    for name in names {
        let per_order = |part: &[Sample]| {
            let (Some(first), Some(end)) = (part.first(), part.last()) else { return 0.0 };
            let size = |sample: &Sample| float(sample.data.get(name).copied().unwrap_or(0));
            ratio((size(end) - size(first)).max(0.0), float(end.orders.saturating_sub(first.orders)))
        };
        let (then, now) = (per_order(middle), per_order(last));
        println!("{:<22} {:>10.0} B {:>10.0} B  an order", format!("growth of {name}"), then, now);
    }
    let growth = |part: &[Sample]| {
        let (Some(first), Some(end)) = (part.first(), part.last()) else { return 0.0 };
        ratio(float(end.data_bytes()) - float(first.data_bytes()), float(end.orders.saturating_sub(first.orders)))
    };
    let (then, now) = (growth(middle), growth(last));
    // A file of the log, or a table being merged, may fall into either third.
    let holds = now <= then.max(0.0) * 1.5 + 1_000.0;
    all &= holds;
    println!(
        "{:<22} {:>10.0} B {:>10.0} B  an order  {}",
        "growth of all data",
        then,
        now,
        if holds { "steady" } else { "GROWS FASTER" }
    );
    println!("\nverdict    {}", if all { "flat" } else { "NOT FLAT" });
    all
}

fn is_flat(middle: f64, last: f64, slack: f64) -> bool {
    last <= middle * FLAT + slack
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss: impl Fn(u64) -> u64, data: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..60)
            .map(|at| Sample {
                at_s: float(at),
                rss: rss(at),
                threads: 8,
                files: 40,
                residents: Some(100.0),
                data: BTreeMap::from([("log".to_owned(), data(at))]),
                orders: at * 1_000,
            })
            .collect()
    }

    #[test]
    fn what_wobbles_is_flat_and_what_leaks_is_not() {
        let steady = |at: u64| at * 500_000;
        assert!(flat(&samples(|at| 500_000_000 + (at % 7) * 1_000_000, steady)));
        assert!(flat(&samples(|at| if at == 50 { 2_000_000_000 } else { 500_000_000 }, steady)), "one peak is no leak");
        assert!(!flat(&samples(|at| 500_000_000 + at * 20_000_000, steady)));
    }

    #[test]
    fn data_that_grows_with_the_orders_is_explained_and_faster_is_not() {
        assert!(flat(&samples(|_| 1, |at| at * 900_000)));
        assert!(!flat(&samples(|_| 1, |at| at * at * 200_000)));
    }
}
