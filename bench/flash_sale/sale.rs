//! The sale, from the first line of the shop to the verdict.
//!
//! node ─► shop ─► crowd (and perhaps a kill) ─► every acknowledged order read again ─► audit ─► figures, report, exit status

use super::crowd::Crowd;
use super::kill::{self, Kill, Story};
use super::listed;
use super::listen::{Heard, Listener};
use super::load::{self, Closing, Doors, Sale};
use super::machine::Origin;
use super::options::{JourneyKind, SaleOptions, payment_mix};
use super::pace;
use super::progress::Progress;
use super::record::{Live, Record, still_there};
use super::report::{self, Figures};
use super::verify::{self, Verified};
use doorbuster_bench::api::{Caller, REQUEST_LIFE, Target};
use doorbuster_bench::catalogue::{self, Level, Offered};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::fsync;
use doorbuster_bench::node::{Node, Simulator, TemporaryFolder, paid_through, settings_for_load};
use doorbuster_bench::number::{count, float, grouped, ratio, shown_micros, whole};
use doorbuster_bench::output;
use doorbuster_bench::prometheus::Histogram;
use doorbuster_bench::shopper::Verdict;
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one unit costs, in pence.
const PRICE_PENCE: u64 = 12_999;
/// SKUs of one product.
const SKUS_PER_PRODUCT: usize = 100;
/// The crowd waits for the schedule to begin this long, so that connections and threads are there.
const LEAD: Duration = Duration::from_millis(200);
/// How often stock is looked at during the sale.
const STOCK_EVERY: Duration = Duration::from_millis(250);
/// Writes of the disk probe.
const PROBE_ROUNDS: usize = 300;
/// More SKUs than this are not looked at one by one during the sale, only after it.
const STOCK_SKUS_MAX: usize = 20;

/// The node in use; what is its own is dropped in this order: the node, the provider, the folder.
struct Site {
    public: Target,
    operator: Option<Target>,
    node: Option<Node>,
    simulator: Option<Simulator>,
    folder: Option<TemporaryFolder>,
}

impl Site {
    async fn open(options: &SaleOptions) -> Result<Self, BenchError> {
        if let Some(url) = &options.node.target {
            let operator = options.node.operator.as_deref().map(|url| Target::parse(url, "")).transpose()?;
            let public = Target::parse(url, &options.node.key)?;
            for target in [Some(&public), operator.as_ref()].into_iter().flatten() {
                target.must_answer().await?;
            }
            return Ok(Self { public, operator, node: None, simulator: None, folder: None });
        }
        let folder = TemporaryFolder::new(options.node.data.as_deref())?;
        let mut settings = settings_for_load();
        let mut simulator = None;
        if options.kill_after.is_some() {
            let started = Simulator::start(folder.path(), options.seed, "realistic").await?;
            settings = paid_through(settings, started.target.address);
            simulator = Some(started);
        }
        let node = Node::start(folder.path(), settings).await?;
        let (public, operator) = (node.public.clone(), Some(node.operator.clone()));
        Ok(Self { public, operator, node: Some(node), simulator, folder: Some(folder) })
    }

    async fn metrics(&self) -> String {
        let Some(operator) = &self.operator else { return String::new() };
        let answer = Caller::new(operator.clone()).get("/metrics").await;
        answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default()
    }
}

/// Holds the sale; `true` when the audit is clean and every acknowledged order is there.
pub(crate) async fn run(options: &SaleOptions) -> Result<bool, BenchError> {
    let tokens = payment_mix(&options.payment).map_err(BenchError::Input)?;
    let paid = !tokens.is_empty();
    let origin = Origin::now();
    if options.json || options.quiet {
        output::be_quiet();
    }
    doorbuster_bench::writable(&options.report)?;
    let mut site = Site::open(options).await?;
    let probed = match &site.folder {
        Some(folder) if !options.no_fsync_probe => Some(fsync::p50_micros(folder.path(), PROBE_ROUNDS)?),
        _ => None,
    };
    println!("node       {}{}", site.public.address, if site.node.is_some() { ", its own, durable" } else { "" });
    let run = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect::<String>();
    let mut options = options.clone();
    let (product, skus) = set_up(&site.public, &options, &run).await?;
    if options.finds_rate() {
        let rate = pace::find(&site.public, &options, paid, &run).await?;
        println!(
            "rate       {} buyers/s, six tenths of what the node did when asked as fast as it answers",
            grouped(whole(rate))
        );
        options.rate = Some(rate);
    }
    let options = &options;
    let crowd = Crowd::new(
        (options.crowd(), options.rate()),
        (skus.clone(), options.skew),
        tokens,
        options.journey,
        options.seed,
    );
    println!(
        "sale       {} units of {} SKUs, {} buyers at {}/s over {} connections",
        grouped(options.units),
        grouped(count(skus.len())),
        grouped(options.crowd()),
        grouped(whole(options.rate())),
        options.node.connections
    );
    let before = site.metrics().await;
    let listener = match options.listen_in {
        true => Some(Listener::start(&site.public).await?),
        false => None,
    };
    let sale = Arc::new(Sale {
        doors: Doors::one(site.public.clone()),
        crowd,
        product,
        run,
        // A slow provider would keep each connection for its whole answer; the buyers of a killed node look again later.
        wait_s: (paid && options.kill_after.is_none()).then_some(10),
        connections: usize::try_from(options.node.connections).unwrap_or(1),
        request_life: REQUEST_LIFE,
        closed_after: Closing::default(),
        began: Instant::now() + LEAD,
        live: Live::default(),
    });
    let series = StockSeries::default();
    let watch = tokio::spawn(watch_stock(site.public.clone(), skus.clone(), sale.began, Arc::clone(&series)));
    let (record, kill) = run_sale(&sale, &mut site, options).await?;
    watch.abort();
    let stock = std::mem::take(&mut *series.lock().unwrap_or_else(PoisonError::into_inner));
    let after = site.metrics().await;

    let verified = verify::read_back(&site.public, &record.acknowledged, paid).await?;
    let told = still_there(&record.acknowledged, &verified.missing);
    let listed = listed::read(std::slice::from_ref(&site.public), &told).await?;
    let heard = match listener {
        Some(listener) => Some(listener.end(&told).await?),
        None => None,
    };
    let mut level = Level::default();
    let mut caller = Caller::new(site.public.clone());
    for sku in &skus {
        level = level.and(catalogue::level(&mut caller, sku).await?);
    }
    let story = match (&kill, &site.simulator) {
        (Some(kill), Some(simulator)) => {
            Some(kill::examine(&site.public, &simulator.target, &record.acknowledged, kill).await?)
        }
        _ => None,
    };
    let audit = match &site.operator {
        Some(operator) => Some(Caller::new(operator.clone()).read("/admin/audit").await?),
        None => None,
    };
    let metric = |words: &[&str]| {
        let (now, then) = (Histogram::find(&after, words), Histogram::find(&before, words));
        // A node that was started again counts from zero: then there is nothing to take off.
        if kill.is_some() { now } else { now.since(&then) }
    };
    let figures = Figures {
        origin,
        options: options.clone(),
        probed,
        fsync: metric(&["fsync"]).quantile(0.5).map(|seconds| whole(seconds * 1e6)),
        batches: metric(&["batch"]),
        stock,
        level,
        kill,
        story,
        audit,
        verified,
        listed,
        heard,
        record,
    };
    let good = print(&figures);
    if options.json {
        output::result(format_args!("{}", report::json(&figures)));
    } else {
        output::result(format_args!("{}", figures.verdict()));
    }
    std::fs::write(&options.report, report::html(&figures))
        .map_err(|source| BenchError::io(format!("write {}", options.report.display()), source))?;
    println!("report     {}", options.report.display());
    Ok(good)
}

async fn set_up(public: &Target, options: &SaleOptions, run: &str) -> Result<(String, Vec<String>), BenchError> {
    let mut caller = Caller::new(public.clone());
    catalogue::open_warehouse(&mut caller).await?;
    let number = u64::from(options.skus);
    let skus: Vec<String> = (1..=options.skus).map(|n| format!("HOT-{run}-{n}")).collect();
    let mut first = None;
    for (index, chunk) in skus.chunks(SKUS_PER_PRODUCT).enumerate() {
        let id = format!("hot-{run}-{index}");
        let offered: Vec<Offered> = chunk.iter().map(|sku| Offered { sku: sku.clone(), pence: PRICE_PENCE }).collect();
        catalogue::put_product(&mut caller, &id, "Nova Low, first run", &offered).await?;
        first.get_or_insert(id);
    }
    for (index, sku) in (0..number).zip(&skus) {
        // The units are spread evenly; the first SKUs take the remainder.
        let units = options.units / number + u64::from(index < options.units % number);
        catalogue::receive(&mut caller, sku, units).await?;
    }
    Ok((first.unwrap_or_default(), skus))
}

async fn run_sale(
    sale: &Arc<Sale>,
    site: &mut Site,
    options: &SaleOptions,
) -> Result<(Record, Option<Kill>), BenchError> {
    let load = load::run(sale);
    let killing = kill_in_the_middle(site, options.kill_after, sale.began);
    let (load, killing) = (std::pin::pin!(load), std::pin::pin!(killing));
    let both = async { tokio::try_join!(load, killing) };
    let mut both = std::pin::pin!(both);
    let progress = Progress::new();
    let of = options.crowd();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            ended = &mut both => {
                progress.end();
                return ended;
            }
            _ = tick.tick() => progress.show((sale.live.answered.load(Ordering::Relaxed), of), &live_line(sale)),
        }
    }
}

pub(crate) fn live_line(sale: &Sale) -> String {
    let read = |counter: &std::sync::atomic::AtomicU64| grouped(counter.load(Ordering::Relaxed));
    let live = &sale.live;
    format!(
        "{:5.1} s  came {}  answered {}  got {}  sold out {}  sent again {}  gave up {}",
        sale.began.elapsed().as_secs_f64(),
        read(&live.due),
        read(&live.answered),
        read(&live.got),
        read(&live.sold_out),
        read(&live.again),
        read(&live.errors)
    )
}

async fn kill_in_the_middle(site: &mut Site, after: Option<f64>, began: Instant) -> Result<Option<Kill>, BenchError> {
    let (Some(seconds), Some(node)) = (after, &mut site.node) else { return Ok(None) };
    let after =
        Duration::try_from_secs_f64(seconds).map_err(|error| BenchError::Input(format!("--kill-after: {error}")))?;
    tokio::time::sleep_until((began + after).into()).await;
    let (at, killed_at) = (began.elapsed(), now_text());
    node.kill().await?;
    node.restart().await?;
    Ok(Some(Kill { at, back: began.elapsed(), killed_at, back_at: now_text() }))
}

/// This instant as the API writes times: RFC 3339, UTC, milliseconds.
fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Units available, by time from the beginning of the sale.
type StockSeries = Arc<Mutex<Vec<(Duration, u64)>>>;

async fn watch_stock(public: Target, skus: Vec<String>, began: Instant, series: StockSeries) {
    let mut caller = Caller::new(public);
    loop {
        let mut available = 0;
        for sku in skus.iter().take(STOCK_SKUS_MAX) {
            available += catalogue::level(&mut caller, sku).await.map_or(0, |level| level.available);
        }
        series.lock().unwrap_or_else(PoisonError::into_inner).push((began.elapsed(), available));
        tokio::time::sleep(STOCK_EVERY).await;
    }
}

/// Prints the figures; `true` when the sale kept its promises.
fn print(figures: &Figures) -> bool {
    let (record, verified) = (&figures.record, &figures.verified);
    let seconds = record.ended.as_secs_f64();
    println!(
        "confirmed  {}{}",
        grouped(verified.confirmed),
        if verified.read < verified.acknowledged { " of those read back" } else { "" }
    );
    println!("sold out   {}", grouped(record.answered_with(Verdict::SoldOut)));
    println!(
        "declined   {}, ended otherwise {}, refused {}",
        grouped(record.answered_with(Verdict::Declined)),
        grouped(record.answered_with(Verdict::Ended)),
        grouped(record.answered_with(Verdict::Refused))
    );
    println!("errors     {} (sent again with the same key: {})", grouped(record.errors()), grouped(record.again));
    for (what, n) in record.gave_up.iter().chain(&record.refusals) {
        println!("             {} × {what}", grouped(*n));
    }
    println!("throughput {}/s over {seconds:.1} s", grouped(whole(ratio(float(record.answers()), seconds))));
    let at = |q: f64| shown_micros(record.latency.value_at_quantile(q));
    println!(
        "latency    p50 {}, p99 {}, p99.9 {}, max {} (from the intended time)",
        at(0.5),
        at(0.99),
        at(0.999),
        shown_micros(record.latency.max())
    );
    let shown = |micros: Option<u64>| micros.map_or_else(|| "not known".to_owned(), shown_micros);
    println!(
        "fsync      p50 {} in the node during the sale, {} on the idle disk before it",
        shown(figures.fsync),
        shown(figures.probed)
    );
    if let (Some(kill), Some(story)) = (&figures.kill, &figures.story) {
        print_kill(kill, story);
    }
    print_verified(verified);
    figures.listed.print();
    if let Some(heard) = &figures.heard {
        heard.print();
    }
    let sold = figures.options.units.saturating_sub(figures.level.on_hand);
    let over = figures.is_oversold();
    println!(
        "stock      {} received, {} sold, {} still held, {} left: {}",
        grouped(figures.options.units),
        grouped(sold),
        grouped(figures.level.reserved),
        grouped(figures.level.available),
        if over { "OVERSOLD" } else { "nothing oversold" }
    );
    match (figures.is_audited_clean(), &figures.audit) {
        (Some(true), Some(audit)) => println!(
            "audit      clean ({} orders)",
            audit.get("orders").and_then(Value::as_u64).map_or_else(|| "all".to_owned(), grouped)
        ),
        (_, Some(audit)) => println!("audit      NOT CLEAN: {}", audit.get("violations").unwrap_or(audit)),
        (_, None) => println!("audit      not asked: give --operator URL"),
    }
    figures.is_good()
}

pub(crate) fn print_verified(verified: &Verified) {
    println!(
        "read back  {} acknowledged orders: {} missing, {} not what was said, {} still under way",
        verify::coverage(verified),
        verified.missing.len(),
        verified.contradicted.len(),
        verified.unsettled
    );
    for line in verified
        .missing
        .iter()
        .map(|order| format!("{order} is missing"))
        .chain(verified.contradicted.iter().cloned())
        .take(10)
    {
        println!("             {line}");
    }
}

fn print_kill(kill: &Kill, story: &Story) {
    println!(
        "killed     at {:.2} s, serving again after {:.2} s",
        kill.at.as_secs_f64(),
        (kill.back - kill.at).as_secs_f64()
    );
    let ends: Vec<String> = story.ends.iter().map(|(status, n)| format!("{n} {status}")).collect();
    println!(
        "           {} orders were mid-payment then ({} looked at); now {}",
        story.mid_payment,
        story.looked_at,
        ends.join(", ")
    );
    println!("           charged twice: {}", story.charged_twice.len());
    for line in &story.lines {
        println!("           {line}");
    }
}

impl Figures {
    /// What the audit of the operator port says; `None`: it was not asked.
    pub(crate) fn is_audited_clean(&self) -> Option<bool> {
        self.audit.as_ref()?.get("clean")?.as_bool()
    }

    /// More units in confirmed orders than there were?
    pub(crate) fn is_oversold(&self) -> bool {
        self.verified.confirmed_units > self.options.units
    }

    /// Is every acknowledged order there as it was said to be, in the list once, and heard of once?
    fn is_kept(&self) -> bool {
        let is_heard = self.heard.as_ref().is_none_or(Heard::is_whole);
        self.verified.is_kept() && self.listed.is_whole() && is_heard
    }

    /// Did the sale keep its promises, and was that checked? A node without its operator port cannot be audited; that is not a success.
    pub(crate) fn is_good(&self) -> bool {
        let charged = self.story.as_ref().is_none_or(|story| story.charged_twice.is_empty());
        self.is_kept() && !self.is_oversold() && charged && self.is_audited_clean() == Some(true)
    }

    /// The sentence that counts. It is said only where each part of it was checked: stock and orders by reading them back, all three by the audit,
    /// which compares the provider's ledger.
    pub(crate) fn verdict(&self) -> &'static str {
        let ledger_was_compared =
            self.audit.as_ref().is_some_and(|audit| audit.get("ledger_compared") == Some(&true.into()));
        match (self.is_good(), self.is_audited_clean()) {
            (true, _) if ledger_was_compared => "Nothing oversold, nothing lost, nothing charged twice.",
            (true, _) => {
                "Nothing oversold, nothing lost. What was charged could not be compared with the provider's ledger."
            }
            (false, None) if self.is_kept() && !self.is_oversold() => {
                "No fault was seen, but the node was not audited: --operator URL names its operator port."
            }
            (false, _) => "The sale did not keep its promises.",
        }
    }

    /// In the middle of the mixed journeys not every answer is an order's.
    pub(crate) fn only_orders(&self) -> bool {
        self.options.journey == JourneyKind::Hot
    }
}
