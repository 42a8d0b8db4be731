//! One attack after the other on one node, the windows before, while and after, and the facts at the end.

use super::attacks::{Attack, Field, Tally};
use super::honest::{Honest, Window};
use super::options::HostileOptions;
use super::report;
use crate::overload::{TestNode, Usage};
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::settings_for_load;
use doorbuster_bench::number::{count, float};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Units of each SKU: enough that no shopper meets "sold out".
const UNITS: u64 = 1_000_000;
/// An attack that has not ended this long after its time is broken off: its requests wait for a node that does not answer.
const GRACE: Duration = Duration::from_secs(20);
/// The width of one look at whether all is as before.
const LOOK: Duration = Duration::from_secs(1);
/// As before means: a p99 at most this many times the one before …
const AS_BEFORE: f64 = 2.0;
/// … where a p99 below this is not distinguished from noise …
const NOISE_MICROS: u64 = 5_000;
/// … and this share of the shoppers is served.
const SERVED: f64 = 0.95;
/// What is asked for: back within this time, and this share of the shoppers served meanwhile.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(5);
pub(super) const SERVED_WHILE: f64 = 0.90;
/// The memory of the node is looked at so often.
const WATCH: Duration = Duration::from_millis(100);
/// An audit may take this long, and one that was asked for in an attack may still run before it.
const AUDIT_LIMIT: Duration = Duration::from_secs(600);

/// What one attack showed.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) attack: &'static str,
    pub(super) sent: Tally,
    pub(super) attack_ms: u64,
    pub(super) before: Window,
    pub(super) during: Window,
    /// Resident memory of the node before the attack, at most until all was as before, and then; in bytes.
    pub(super) rss_before: u64,
    pub(super) rss_peak: u64,
    pub(super) rss_after: u64,
    /// From the end of the attack until all was as before; `None`: not within `--back-s`.
    pub(super) back_ms: Option<u64>,
    /// The node's process ended by itself.
    pub(super) ended: bool,
}

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) node: String,
    pub(super) honest_per_s: f64,
    pub(super) short: bool,
    pub(super) rows: Vec<Row>,
    /// Honest orders by the status of their last answer; 0: never answered.
    pub(super) honest: BTreeMap<u16, u64>,
    /// Of them, those whose last answer is none that the contract allows.
    pub(super) unlawful: u64,
    pub(super) node_ended: bool,
    pub(super) oversold: bool,
    pub(super) audit: Value,
}

impl Outcome {
    /// What must hold of every run, however slow the machine is.
    pub(super) fn facts(&self) -> [(&'static str, bool); 4] {
        [
            ("the node never ended by itself", !self.node_ended),
            ("every honest order got a lawful answer", self.unlawful == 0),
            ("nothing was oversold", !self.oversold),
            ("the audit is clean", self.audit.get("clean") == Some(&Value::Bool(true))),
        ]
    }
}

/// Runs it; `true` when the facts hold and, except in a short run, each attack left what is asked for.
pub(crate) async fn run(options: &HostileOptions) -> Result<bool, BenchError> {
    let size = options.size();
    let skus = u32::try_from(size.lines).unwrap_or(u32::MAX);
    let mut test_node = TestNode::open(&options.test_node, settings_for_load(), skus, UNITS).await?;
    println!("node       {}", test_node.shown(&options.test_node));
    println!("honest     {} orders per second, paid, from 127.0.0.1; the attackers are 127.0.0.2\n", options.rate);
    let honest = Honest::start(&test_node.node.public, &test_node.skus, options.rate).await?;
    let mut rows = Vec::new();
    report::print_head();
    for attack in options.attacks() {
        let row = one(attack, options, &mut test_node, &honest).await?;
        report::print_row(&row);
        rows.push(row);
    }
    let ends = honest.end().await?;
    let audit = audit(&test_node.node.operator).await?;
    let units = |name: &str| audit.get(name).and_then(Value::as_u64).unwrap_or(0);
    let outcome = Outcome {
        node: test_node.shown(&options.test_node),
        honest_per_s: options.rate,
        short: options.short,
        node_ended: rows.iter().any(|row| row.ended),
        oversold: units("units_sold") + units("units_reserved") > units("units_received"),
        unlawful: ends.iter().filter(|(status, _)| !is_lawful(**status)).map(|(_, orders)| orders).sum(),
        rows,
        honest: ends,
        audit,
    };
    if let Some(path) = &options.json {
        report::write(&outcome, path)?;
    }
    Ok(report::verdict(&outcome))
}

/// Held, sold out, or asked to come back: what the contract knows for an order that is in order.
const fn is_lawful(status: u16) -> bool {
    matches!(status, 200..=202 | 409 | 429 | 503)
}

async fn one(
    attack: Attack,
    options: &HostileOptions,
    test_node: &mut TestNode,
    honest: &Honest,
) -> Result<Row, BenchError> {
    let calm = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.calm_s)).await;
    let begun = Instant::now();
    let before = honest.settled(calm, begun).await;
    let (rss_before, over, peak) = (test_node.usage().resident_bytes, Arc::<AtomicBool>::default(), Arc::default());
    let watching = tokio::spawn(watch(test_node.node.id().unwrap_or(0), Arc::clone(&over), Arc::clone(&peak)));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(options.attack_s);
    let field = Field {
        public: test_node.node.public.clone(),
        operator: test_node.node.operator.clone(),
        skus: Arc::clone(&test_node.skus),
        size: options.size(),
        until,
    };
    let sent = match tokio::time::timeout_at((until + GRACE).into(), attack.run(&field)).await {
        Ok(sent) => sent?,
        // Its tasks go on until their requests are given up; they send nothing new.
        Err(_elapsed) => Tally::default(),
    };
    let ended_at = Instant::now();
    let back = back(honest, &before, ended_at, Duration::from_secs(options.back_s)).await;
    let during = honest.settled(begun, ended_at).await;
    over.store(true, Ordering::Relaxed);
    watching.await.map_err(|panic| BenchError::Node(panic.to_string()))?;
    let rss_after = test_node.usage().resident_bytes;
    let ended = rss_after == 0;
    if ended || back.is_none() {
        // The next attack is to begin with a node that serves.
        test_node.node.kill().await?;
        test_node.node.restart().await?;
        test_node.pin()?;
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Row {
        attack: attack.word(),
        sent,
        attack_ms: millis(ended_at - begun),
        before,
        during,
        rss_before,
        rss_peak: peak.load(Ordering::Relaxed),
        rss_after,
        back_ms: back.map(millis),
        ended,
    })
}

/// How long after `from` a whole look was as before, at its beginning.
async fn back(honest: &Honest, before: &Window, from: Instant, limit: Duration) -> Option<Duration> {
    let bound = AS_BEFORE * float(before.p99_us.unwrap_or(NOISE_MICROS).max(NOISE_MICROS));
    let (step, mut begin) = (LOOK / 2, from);
    while begin < from + limit {
        let look = honest.settled(begin, begin + LOOK).await;
        let served = float(look.served) >= SERVED * float(look.offered);
        if look.offered > 0 && served && look.p99_us.is_some_and(|p99| float(p99) <= bound) {
            return Some(begin - from);
        }
        begin += step;
    }
    None
}

/// The most memory until `over`.
async fn watch(process: u32, over: Arc<AtomicBool>, peak: Arc<AtomicU64>) {
    while !over.load(Ordering::Relaxed) {
        peak.fetch_max(Usage::of(process).resident_bytes, Ordering::Relaxed);
        tokio::time::sleep(WATCH).await;
    }
}

/// The audit's report. One that was asked for in an attack may still run.
async fn audit(operator: &Target) -> Result<Value, BenchError> {
    let begun = Instant::now();
    let mut caller = Caller::waiting(operator.clone(), AUDIT_LIMIT);
    loop {
        let answer = caller.get("/admin/audit").await?;
        match answer.status {
            200 => return Ok(answer.json()),
            409 if begun.elapsed() < AUDIT_LIMIT => tokio::time::sleep(LOOK).await,
            _ => return Err(answer.error("GET /admin/audit")),
        }
    }
}

/// Honest orders in all.
pub(super) fn orders(outcome: &Outcome) -> u64 {
    outcome.honest.values().fold(count(0), |sum, orders| sum + orders)
}
