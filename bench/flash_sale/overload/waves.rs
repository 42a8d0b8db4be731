//! More than the node can do: the peak, then multiples of it, then how soon all is as it was.

use super::latency::WaveResult;
use super::load::{Load, Template, Wave, per_s};
use super::options::OverloadOptions;
use super::test_node::{TestNode, Usage, gauge, shown_bytes};
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::closed::{self, Closed};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Node, settings_for_load};
use doorbuster_bench::number::{count, float, grouped, ratio, shown_micros, whole};
use doorbuster_bench::scripts::Orders;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Units of each SKU: enough that no buyer meets "sold out".
const UNITS: u64 = 10_000_000;
/// One look of the probe that says whether all is as before.
const LOOK: Duration = Duration::from_millis(500);
/// Connections of that probe.
const PROBES: usize = 8;
/// Normal again means: no refusal, and a p99 at most this many times the one before.
const AS_BEFORE: f64 = 2.0;
/// A p99 below this is not distinguished from noise.
const NOISE_MICROS: u64 = 5_000;
/// What RELIABILITY asks for: back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// The probe gives up after this.
const PROBE_LIMIT: Duration = Duration::from_secs(30);
/// The memory of the node is looked at so often.
const WATCH: Duration = Duration::from_millis(100);

/// The share of the peak that must be left at a multiple of it: 95 % at 2, 85 % at 5, 70 % at 10.
fn wanted_share(times: f64) -> f64 {
    match times {
        times if times <= 2.0 => 0.95,
        times if times <= 5.0 => 0.85,
        _ => 0.70,
    }
}

/// What one multiple showed.
struct Shown {
    times: f64,
    result: WaveResult,
    goodput: u64,
    rss_max: u64,
    places_min: f64,
    cpu_ms: u64,
    back: Option<Duration>,
}

/// Offers it; `true` when the node stayed within what RELIABILITY asks and the audit is clean.
pub(crate) async fn run(options: &OverloadOptions) -> Result<bool, BenchError> {
    let settings = settings_for_load();
    let test_node = TestNode::open(&options.test_node, settings, options.skus, UNITS).await?;
    println!("node       {}", test_node.shown(&options.test_node));
    let run = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect::<String>();
    let token = (!options.unpaid).then_some("tok_ok");
    let target = &test_node.node.public;
    let templates = test_node.skus.iter().map(|sku| Template::order(target, &run, sku, token)).collect();
    let load = Load {
        target: target.clone(),
        templates: Arc::new(templates),
        connections: usize::try_from(options.connections).unwrap_or(1),
        deadline: Duration::from_secs(options.deadline_s),
        retries: options.retries,
        numbers: Arc::default(),
        held: Arc::default(),
    };
    // Threads of the load: one for each core it has.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if test_node.pinned { cores.saturating_sub(1).max(1) } else { cores };
    let wave = Wave { rate: None, duration: Duration::from_secs(options.peak_seconds) };
    let (mut calm, mut peak, mut at, mut order_us) = (load.run(wave, threads).await?, 0, 0, 0.0);
    // Of a few connections the disk decides, of many the processor: the peak is the best of them.
    for connections in [load.connections / 4, load.connections, load.connections * 4] {
        let connections = connections.clamp(1, usize::try_from(options.crowd_connections).unwrap_or(1));
        let before = test_node.usage();
        let result = Load { connections, ..load.clone() }.run(wave, threads).await?;
        let rate = per_s(result.in_wave, wave.duration);
        if rate > peak {
            order_us =
                ratio(float(test_node.usage().cpu_ms.saturating_sub(before.cpu_ms)) * 1_000.0, float(result.in_time));
            (calm, peak, at) = (result, rate, connections);
        }
    }
    println!(
        "peak       {}/s in a closed loop of {at} connections, p50 {}, p99 {}; {order_us:.0} µs of the node's processor an order{}",
        grouped(peak),
        shown_micros(calm.answer.value_at_quantile(0.5)),
        shown_micros(calm.answer.value_at_quantile(0.99)),
        if options.unpaid { ", not paid" } else { ", paid" },
    );
    if peak == 0 {
        return Err(BenchError::Node(format!("no order was held: {:?}", calm.answers)));
    }
    let normal = normal(target, &test_node.skus).await?;
    println!("normal     p99 {} of {PROBES} connections", shown_micros(normal));
    let crowd = Load { connections: usize::try_from(options.crowd_connections).unwrap_or(1), ..load.clone() };
    let mut all = Vec::new();
    for times in &options.times {
        let wave = Wave { rate: Some(float(peak) * times), duration: Duration::from_secs(options.seconds) };
        let shown = offer(&test_node, &crowd, wave, *times, threads, normal).await?;
        print(&shown, wave, peak, order_us);
        all.push(shown);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let mut orders: Vec<&String> = all.iter().flat_map(|shown| &shown.result.orders).collect();
    orders.extend(&calm.orders);
    let missing = missing(target, &orders).await?;
    println!("orders     {} acknowledged ones read again, {missing} missing", grouped(count(orders.len())));
    let clean = test_node.audit().await?;
    let mut kept = true;
    for shown in &all {
        kept &= verdict(shown, peak, options);
    }
    Ok(kept && clean && missing == 0)
}

/// The p99 of a small closed loop at rest, in µs.
async fn normal(target: &Target, skus: &Arc<Vec<String>>) -> Result<u64, BenchError> {
    let mut looks = Vec::new();
    for _ in 0..6 {
        looks.push(float(look(target, skus).await?.0));
    }
    Ok(doorbuster_bench::number::median(&looks).map_or(0, whole))
}

/// One look: the p99 in µs, and how many were refused.
async fn look(target: &Target, skus: &Arc<Vec<String>>) -> Result<(u64, u64), BenchError> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let closed = Closed { connections: PROBES, warm_up: Duration::ZERO, duration: LOOK };
    let numbers = Arc::new(AtomicU64::new(0));
    let measured = closed::run(target, closed, &numbers, |_| Orders::new(target, &run, skus, None)).await?;
    Ok((measured.quantile(0.99), measured.failed))
}

async fn offer(
    test_node: &TestNode,
    crowd: &Load,
    wave: Wave,
    times: f64,
    threads: usize,
    normal: u64,
) -> Result<Shown, BenchError> {
    let before = test_node.usage();
    let over = Arc::new(AtomicBool::new(false));
    let (rss_max, places) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
    let watch = tokio::spawn(watch(&test_node.node, Arc::clone(&over), Arc::clone(&rss_max), Arc::clone(&places)));
    let ends = Instant::now() + wave.duration + Duration::from_millis(100);
    let back = async {
        tokio::time::sleep_until(ends.into()).await;
        let busy = test_node.usage();
        loop {
            let begun = Instant::now();
            // A node so busy that it loses the probe's connections is not back either.
            let looked = look(&test_node.node.public, &test_node.skus).await.unwrap_or((u64::MAX, 1));
            let bound = whole(float(normal.max(NOISE_MICROS)) * AS_BEFORE);
            if looked.0 <= bound && looked.1 == 0 {
                return (busy, Some(begun.saturating_duration_since(ends)));
            }
            if ends.elapsed() > PROBE_LIMIT {
                return (busy, None);
            }
        }
    };
    let (result, (busy, back)) = tokio::join!(crowd.run(wave, threads), back);
    let result = result?;
    over.store(true, Ordering::Relaxed);
    watch.await.map_err(|panic| BenchError::Node(panic.to_string()))?;
    let places_min = places.load(Ordering::Relaxed);
    Ok(Shown {
        times,
        goodput: per_s(result.in_wave, wave.duration),
        result,
        rss_max: rss_max.load(Ordering::Relaxed),
        places_min: if places_min == u64::MAX { 0.0 } else { float(places_min) },
        cpu_ms: busy.cpu_ms.saturating_sub(before.cpu_ms),
        back,
    })
}

/// The most memory, and the fewest places, until `over`.
fn watch(
    node: &Node,
    over: Arc<AtomicBool>,
    rss_max: Arc<AtomicU64>,
    places: Arc<AtomicU64>,
) -> impl Future<Output = ()> + Send + 'static {
    let (process, operator) = (node.id().unwrap_or(0), node.operator.clone());
    async move {
        let mut looks = 0_u32;
        while !over.load(Ordering::Relaxed) {
            rss_max.fetch_max(Usage::of(process).resident_bytes, Ordering::Relaxed);
            if looks.is_multiple_of(10)
                && let Some(now) = gauge(&super::test_node::metrics(&operator).await, "doorbuster_places")
            {
                places.fetch_min(whole(now), Ordering::Relaxed);
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(WATCH).await;
        }
    }
}

fn print(shown: &Shown, wave: Wave, peak: u64, order_us: f64) {
    let result = &shown.result;
    let share = |part: u64| format!("{:.1} %", 100.0 * ratio(float(part), float(result.offered)));
    println!(
        "\n{}×         {} buyers came ({}/s) in {} s",
        shown.times,
        grouped(result.offered),
        grouped(per_s(result.offered, wave.duration)),
        wave.duration.as_secs()
    );
    println!(
        "  sent     {} requests ({}/s at the least), {} connections opened, {} lost",
        grouped(result.sent),
        grouped(per_s(result.sent, wave.duration)),
        grouped(result.opened),
        result.lost
    );
    let answers: Vec<String> =
        result.answers.iter().map(|(status, answers)| format!("{status}: {}", grouped(*answers))).collect();
    println!("  answers  {}", answers.join(", "));
    println!(
        "  buyers   {} served in time, {} late, {} gave up ({} of them found no free connection)",
        share(result.in_time),
        share(result.late),
        share(result.gave_up),
        share(result.never_sent)
    );
    println!(
        "  goodput  {}/s, {:.1} % of the peak",
        grouped(shown.goodput),
        100.0 * ratio(float(shown.goodput), float(peak))
    );
    println!(
        "  admitted answered in p50 {}, p99 {}; from the intended arrival, all coming back included, p50 {}, p99 {}",
        shown_micros(result.answer.value_at_quantile(0.5)),
        shown_micros(result.answer.value_at_quantile(0.99)),
        shown_micros(result.whole.value_at_quantile(0.5)),
        shown_micros(result.whole.value_at_quantile(0.99)),
    );
    println!(
        "  refused  in p50 {}, p99 {}; {} without Retry-After",
        shown_micros(result.refusal.value_at_quantile(0.5)),
        shown_micros(result.refusal.value_at_quantile(0.99)),
        result.without_retry_after
    );
    let rest_us = (float(shown.cpu_ms) * 1_000.0 - order_us * float(result.in_wave)).max(0.0);
    println!(
        "  node     memory at most {}, places at least {}, {:.2} s of the processor; beyond {order_us:.0} µs an order: {:.1} µs a refusal",
        shown_bytes(shown.rss_max),
        shown.places_min,
        float(shown.cpu_ms) / 1_000.0,
        ratio(rest_us, float(result.refused())),
    );
    match shown.back {
        Some(after) => println!("  normal   again {:.1} s after the last buyer meant to come", after.as_secs_f64()),
        None => println!("  normal   not again within {} s", PROBE_LIMIT.as_secs()),
    }
}

fn verdict(shown: &Shown, peak: u64, options: &OverloadOptions) -> bool {
    let share = ratio(float(shown.goodput), float(peak));
    let p99 = Duration::from_micros(shown.result.answer.value_at_quantile(0.99));
    let claims = [
        (
            format!("goodput at least {:.0} %: {:.1} %", wanted_share(shown.times) * 100.0, share * 100.0),
            share >= wanted_share(shown.times),
        ),
        (
            format!("p99 of the admitted within {} s: {:.2} s", options.deadline_s, p99.as_secs_f64()),
            p99 <= Duration::from_secs(options.deadline_s),
        ),
        ("every refusal says when to come back".to_owned(), shown.result.without_retry_after == 0),
        (
            format!("normal again within {} s", BACK_WITHIN.as_secs()),
            shown.back.is_some_and(|back| back <= BACK_WITHIN),
        ),
    ];
    println!("\nverdict {}×", shown.times);
    for (claim, holds) in &claims {
        println!("  {}  {claim}", if *holds { "holds " } else { "BROKEN" });
    }
    if shown.result.never_sent * 20 > shown.result.offered {
        println!(
            "  the load itself could not send what {}× is: the crowd's connections, or its core, were at their end",
            shown.times
        );
    }
    claims.iter().all(|(_, holds)| *holds)
}

async fn missing(target: &Target, orders: &[&String]) -> Result<u64, BenchError> {
    let mut caller = Caller::new(target.clone());
    let mut missing = 0;
    // A thousand spread over all of them: the audit reads the rest.
    for order in orders.iter().step_by((orders.len() / 1_000).max(1)) {
        missing += u64::from(!caller.get(&format!("/v1/orders/{order}")).await?.is_ok());
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::wanted_share;

    #[test]
    fn the_more_is_offered_the_less_must_be_left() {
        assert_eq!([1.5, 2.0, 5.0, 10.0].map(wanted_share), [0.95, 0.95, 0.85, 0.70]);
    }
}
