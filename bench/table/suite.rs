//! Every metric of the table, one after the other, against one node; recovery and memory have nodes of their own.

use super::Options;
use super::bare::{Bare, Post};
use super::table::{Row, Table};
use super::{memory, recovery};
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue::{self, Offered};
use doorbuster_bench::closed::{self, Closed, Measured, Script};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::fsync;
use doorbuster_bench::node::{Node, TemporaryFolder, settings_for_load};
use doorbuster_bench::number::{float, grouped, median, ratio, shown_micros, whole};
use doorbuster_bench::scripts::{Batches, Journey, Orders, Reservations};
use doorbuster_bench::shopper::{Basket, order_body};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Units of a SKU that must not run out while it is measured.
const PLENTY: u64 = 10_000_000;
/// SKUs of the metric with many.
const MANY: usize = 1_000;
/// Hot SKUs, one after the other: one for each figure.
const HOT: usize = 16;
/// Reservations of one batch, and the connections that send batches.
const BATCH_ITEMS: u64 = 1_000;
const BATCH_CONNECTIONS: usize = 4;
/// What TigerBeetle makes of pending transfers on one hot account, in batches of 8,189, on the same kind of machine.
const PENDING_TRANSFERS: f64 = 457_000.0;
/// Writes of one disk probe.
const PROBE_ROUNDS: usize = 200;
/// The figure the field quotes, in durable confirmed orders per second.
const PLATFORM_PEAK: f64 = 23_000.0;

/// How long and how often each side is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    warm_up: Duration,
    duration: Duration,
    rounds: usize,
    /// Entities of the metric of memory, events of the metric of recovery: whole or a tenth.
    pub(crate) quick: bool,
}

impl Effort {
    const fn of(quick: bool) -> Self {
        if quick {
            Self { warm_up: Duration::from_millis(300), duration: Duration::from_secs(1), rounds: 1, quick }
        } else {
            Self { warm_up: Duration::from_secs(1), duration: Duration::from_secs(4), rounds: 3, quick }
        }
    }
}

/// The node under test with its bare counterparts and its shop.
struct Bench {
    effort: Effort,
    bare_held: Bare,
    bare_paid: Bare,
    bare_reserved: Bare,
    node: Node,
    numbers: Arc<AtomicU64>,
    hot: Vec<Arc<Vec<String>>>,
    hot_used: AtomicUsize,
    many: Arc<Vec<String>>,
    folder: TemporaryFolder,
}

/// Both sides, round by round.
struct Sides {
    bare: Vec<Measured>,
    ours: Vec<Measured>,
}

fn middle(side: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    median(&side.iter().map(figure).collect::<Vec<_>>()).unwrap_or(0.0)
}

impl Sides {
    fn rate(&self) -> f64 {
        middle(&self.ours, |one| one.rate)
    }
    fn bare_rate(&self) -> f64 {
        middle(&self.bare, |one| one.rate)
    }
    fn micros(&self, q: f64) -> u64 {
        whole(middle(&self.ours, |one| float(one.quantile(q))))
    }
    fn note(&self) -> String {
        let failed: u64 = self.ours.iter().map(|one| one.failed).sum();
        let tail = format!("p50 {}, p99 {}", shown_micros(self.micros(0.5)), shown_micros(self.micros(0.99)));
        if failed > 0 { format!("{tail}; {} answers not as wanted", grouped(failed)) } else { tail }
    }
    fn row(&self, metric: &str, gate: f64, goal: f64) -> Row {
        let figure = ratio(self.rate(), self.bare_rate());
        Row {
            metric: metric.to_owned(),
            bare: format!("{}/s", grouped(whole(self.bare_rate()))),
            ours: format!("{}/s", grouped(whole(self.rate()))),
            figure,
            shown: format!("{figure:.2}"),
            gate,
            goal,
            less_is_better: false,
            note: self.note(),
        }
    }
}

/// A row without a bare side.
pub(crate) fn lone_row(
    metric: &str,
    (figure, shown): (f64, String),
    gate: f64,
    goal: f64,
    less_is_better: bool,
    note: String,
) -> Row {
    let ours = shown.clone();
    Row { metric: metric.to_owned(), bare: "–".to_owned(), ours, figure, shown, gate, goal, less_is_better, note }
}

impl Bench {
    async fn open(options: &Options, effort: Effort) -> Result<Self, BenchError> {
        let folder = TemporaryFolder::new(options.data.as_deref())?;
        let node = Node::start(folder.path(), settings_for_load()).await?;
        let mut caller = Caller::new(node.public.clone());
        catalogue::open_warehouse(&mut caller).await?;
        let hot = set_up(&mut caller, "hot", HOT, PLENTY).await?;
        let many = set_up(&mut caller, "many", MANY, PLENTY / 10).await?;
        let held = one_answer(&mut caller, &hot, None).await?;
        let paid = one_answer(&mut caller, &hot, Some("tok_ok")).await?;
        let key = node.public.key.clone();
        let reserved = one_reservation(&mut caller, &hot).await?;
        let (paid_folder, held_folder) = (folder.path().join("paid"), folder.path().join("held"));
        let reserved_folder = folder.path().join("reserved");
        for folder in [&paid_folder, &held_folder, &reserved_folder] {
            std::fs::create_dir_all(folder).map_err(|source| BenchError::io("create a folder", source))?;
        }
        let bare_held = Bare::start(&held_folder, Post::Orders, &held, &key).await?;
        let bare_paid = Bare::start(&paid_folder, Post::Orders, &paid, &key).await?;
        let bare_reserved = Bare::start(&reserved_folder, Post::Reservations, &reserved, &key).await?;
        let numbers = Arc::new(AtomicU64::new(1));
        let hot = hot.iter().map(|sku| Arc::new(vec![sku.clone()])).collect();
        Ok(Self {
            effort,
            bare_held,
            bare_paid,
            bare_reserved,
            node,
            numbers,
            hot,
            hot_used: AtomicUsize::new(0),
            many,
            folder,
        })
    }

    fn closed(&self, connections: usize) -> Closed {
        Closed { connections, warm_up: self.effort.warm_up, duration: self.effort.duration }
    }

    async fn one<S: Script + 'static>(
        &self,
        target: &Target,
        connections: usize,
        script: impl Fn(usize) -> S,
    ) -> Result<Measured, BenchError> {
        closed::run(target, self.closed(connections), &self.numbers, script).await
    }

    /// Bare, ours, bare, ours, …: what the machine does meanwhile meets both.
    async fn sides(
        &self,
        skus: &Arc<Vec<String>>,
        token: Option<&'static str>,
        connections: usize,
    ) -> Result<Sides, BenchError> {
        let bare = if token.is_some() { &self.bare_paid.target } else { &self.bare_held.target };
        let mut sides = Sides { bare: Vec::new(), ours: Vec::new() };
        for _ in 0..self.effort.rounds {
            sides.bare.push(self.one(bare, connections, |_| Orders::new(bare, "bare", skus, token)).await?);
            let ours = &self.node.public;
            sides.ours.push(self.one(ours, connections, |_| Orders::new(ours, "ours", skus, token)).await?);
        }
        Ok(sides)
    }

    /// A SKU of which nothing was sold yet: one with a million open reservations would not be a sale.
    fn hot_sku(&self) -> Arc<Vec<String>> {
        let used = self.hot_used.fetch_add(1, Ordering::Relaxed);
        self.hot.get(used % HOT).cloned().unwrap_or_default()
    }

    async fn hot(&self) -> Result<Vec<Row>, BenchError> {
        let at_64 = self.sides(&self.hot_sku(), None, 64).await?;
        let at_256 = self.sides(&self.hot_sku(), None, 256).await?;
        let at_1024 = self.sides(&self.hot_sku(), None, 1_024).await?;
        let steady = ratio(at_1024.rate(), at_64.rate());
        let (p50, p99) = (at_64.micros(0.5), at_64.micros(0.99));
        let millis = |micros: u64| (float(micros) / 1_000.0, shown_micros(micros));
        let crowd = format!(
            "{}/s at 1024, ratio to bare {:.2}",
            grouped(whole(at_1024.rate())),
            ratio(at_1024.rate(), at_1024.bare_rate())
        );
        Ok(vec![
            at_64.row("hot SKU, order without payment, 64 connections", 0.40, 0.70),
            at_256.row("hot SKU, order without payment, 256 connections", 0.50, 0.90),
            lone_row("throughput at 1024 connections ÷ 64", (steady, format!("{steady:.2}")), 0.8, 0.95, false, crowd),
            lone_row("p50 at 64 connections, ms", millis(p50), 1.0, 0.4, true, String::new()),
            lone_row("p99 at 64 connections, ms", millis(p99), 10.0, 2.0, true, String::new()),
            lone_row("p99 at 1024 connections, ms", millis(at_1024.micros(0.99)), 0.0, 0.0, true, String::new()),
        ])
    }

    /// The same through `POST /v1/reservations`, where no order is made.
    async fn reserve(&self) -> Result<Vec<Row>, BenchError> {
        let mut rows = Vec::new();
        for (connections, gate, goal) in [(64, 0.0, 0.85), (256, 0.50, 0.90), (1_024, 0.0, 0.0)] {
            let (bare, ours) = (&self.bare_reserved.target, &self.node.public);
            let mut sides = Sides { bare: Vec::new(), ours: Vec::new() };
            let hot = self.hot_sku();
            for _ in 0..self.effort.rounds {
                sides.bare.push(self.one(bare, connections, |_| Reservations::new(bare, "bare-r", &hot)).await?);
                sides.ours.push(self.one(ours, connections, |_| Reservations::new(ours, "ours-r", &hot)).await?);
            }
            let metric = format!("hot SKU, POST /v1/reservations, {connections} connections");
            rows.push(sides.row(&metric, gate, goal));
            if connections == 64 {
                let millis = |q: f64| (float(sides.micros(q)) / 1_000.0, shown_micros(sides.micros(q)));
                let name = |which: &str| format!("{which} of the durable reservation at 64 connections, ms");
                rows.push(lone_row(&name("p50"), millis(0.5), 1.0, 0.4, true, String::new()));
                rows.push(lone_row(&name("p99"), millis(0.99), 10.0, 2.0, true, String::new()));
            }
        }
        Ok(rows)
    }

    /// Many in one request.
    async fn batch(&self) -> Result<Vec<Row>, BenchError> {
        let (ours, hot) = (&self.node.public, self.hot_sku());
        let mut rounds = Vec::new();
        for _ in 0..self.effort.rounds {
            // Half as long: what is reserved stays in memory, and this reserves by the hundred thousand.
            let closed = Closed { duration: self.effort.duration / 2, ..self.closed(BATCH_CONNECTIONS) };
            let script = |_| Batches::new(ours, "batch", &hot, BATCH_ITEMS);
            rounds.push(closed::run(ours, closed, &self.numbers, script).await?);
        }
        let sides = Sides { bare: Vec::new(), ours: rounds };
        let rate = sides.rate() * float(BATCH_ITEMS);
        let shown = format!("{}/s", grouped(whole(rate)));
        let metric =
            format!("batch API, reservations/s, hot SKU, {BATCH_ITEMS} a request, {BATCH_CONNECTIONS} connections");
        let note = format!("{} a request", sides.note());
        Ok(vec![lone_row(&metric, (rate, shown), 0.0, PENDING_TRANSFERS, false, note)])
    }

    async fn many(&self) -> Result<Vec<Row>, BenchError> {
        Ok(vec![self.sides(&self.many, None, 64).await?.row(
            "1000 SKUs, order without payment, 64 connections",
            0.35,
            0.70,
        )])
    }

    async fn checkout(&self) -> Result<Vec<Row>, BenchError> {
        let sides = self.sides(&self.hot_sku(), Some("tok_ok"), 256).await?;
        let mut row = sides.row("one-POST checkout to confirmed, instant provider, 256 connections", 0.15, 0.50);
        row.note =
            format!("{}; {:.2} of the {PLATFORM_PEAK}/s the field quotes", row.note, sides.rate() / PLATFORM_PEAK);
        Ok(vec![row])
    }

    async fn journey(&self) -> Result<Vec<Row>, BenchError> {
        let (ours, hot) = (&self.node.public, self.hot_sku());
        let mut rounds = Vec::new();
        for _ in 0..self.effort.rounds {
            let script = |_| Journey::new(Orders::new(ours, "journey", &hot, Some("tok_ok")), "hot-0");
            rounds.push(self.one(ours, 64, script).await?);
        }
        let sides = Sides { bare: Vec::new(), ours: rounds };
        let rate = sides.rate();
        let shown = format!("{}/s", grouped(whole(rate)));
        let metric = "full shopper journey (product, cart, line, checkout), orders/s, 64 connections";
        Ok(vec![lone_row(metric, (rate, shown), 3_000.0, 15_000.0, false, sides.note())])
    }

    async fn single(&self) -> Result<Vec<Row>, BenchError> {
        let (ours, hot) = (&self.node.public, self.hot_sku());
        let (mut ratios, mut note) = (Vec::new(), String::new());
        for _ in 0..self.effort.rounds {
            let before = fsync::p50_micros(self.folder.path(), PROBE_ROUNDS)?;
            let measured = self.one(ours, 1, |_| Orders::new(ours, "single", &hot, None)).await?;
            let after = fsync::p50_micros(self.folder.path(), PROBE_ROUNDS)?;
            let sync = before.midpoint(after);
            ratios.push(ratio(float(measured.quantile(0.5)), float(sync)));
            note = format!("p50 {} with fsync p50 {}", shown_micros(measured.quantile(0.5)), shown_micros(sync));
        }
        let figure = median(&ratios).unwrap_or(0.0);
        Ok(vec![lone_row("one connection: p50 ÷ fsync p50", (figure, format!("{figure:.2}")), 3.0, 1.3, true, note)])
    }
}

/// `skus` SKUs `{name}-0…` in products `{name}-0…`, each with `units`.
pub(crate) async fn set_up(
    caller: &mut Caller,
    name: &str,
    skus: usize,
    units: u64,
) -> Result<Arc<Vec<String>>, BenchError> {
    const SKUS_PER_PRODUCT: usize = 100;
    let ids: Vec<String> = (0..skus).map(|n| format!("{name}-sku-{n}")).collect();
    for (index, chunk) in ids.chunks(SKUS_PER_PRODUCT).enumerate() {
        let offered: Vec<Offered> = chunk.iter().map(|sku| Offered { sku: sku.clone(), pence: 1_000 }).collect();
        catalogue::put_product(caller, &format!("{name}-{index}"), name, &offered).await?;
    }
    for sku in &ids {
        catalogue::receive(caller, sku, units).await?;
    }
    Ok(Arc::new(ids))
}

/// What the node answers to the POST that is measured.
async fn one_answer(caller: &mut Caller, skus: &[String], token: Option<&str>) -> Result<Vec<u8>, BenchError> {
    let mut body = Vec::new();
    order_body(&mut body, Basket::One(skus.first().map_or("", String::as_str)), 0, token);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = caller.post("/v1/orders", &format!("sample-{}", token.is_some()), Some(10), &body).await?;
    if answer.status == 201 { Ok(answer.body) } else { Err(answer.error("the sample order")) }
}

/// What the node answers to a reservation.
async fn one_reservation(caller: &mut Caller, skus: &[String]) -> Result<Vec<u8>, BenchError> {
    let sku = skus.first().map_or("", String::as_str);
    let body = serde_json::json!({ "reference": "sample-reserved", "lines": [{ "sku": sku, "quantity": 1 }] });
    let answer = caller.post("/v1/reservations", "sample-reserved", None, &body).await?;
    if answer.status == 201 { Ok(answer.body) } else { Err(answer.error("the sample reservation")) }
}

/// Measures all that is asked for. What fails stands in the table with its reason; the rest goes on.
pub(crate) async fn measure(options: &Options) -> Result<Table, BenchError> {
    let effort = Effort::of(options.quick);
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut table = Table::default();
    let mut take = |name: &str, rows: Result<Vec<Row>, BenchError>| match rows {
        Ok(rows) => table.rows.extend(rows),
        Err(error) => table.failed.push((name.to_owned(), error.to_string())),
    };
    let mut syncs = Vec::new();
    {
        let bench = Bench::open(options, effort).await?;
        syncs.push(fsync::p50_micros(bench.folder.path(), PROBE_ROUNDS)?);
        for name in
            ["hot", "reserve", "many", "checkout", "journey", "single", "batch"].into_iter().filter(|name| wanted(name))
        {
            eprintln!("measuring {name}");
            let rows = match name {
                "hot" => bench.hot().await,
                "reserve" => bench.reserve().await,
                "batch" => bench.batch().await,
                "many" => bench.many().await,
                "checkout" => bench.checkout().await,
                "journey" => bench.journey().await,
                _ => bench.single().await,
            };
            take(name, rows);
        }
        syncs.push(fsync::p50_micros(bench.folder.path(), PROBE_ROUNDS)?);
    }
    let parent: Option<&Path> = options.data.as_deref();
    if wanted("recovery") {
        eprintln!("measuring recovery");
        take("recovery", recovery::measure(parent, effort.quick).await);
    }
    if wanted("memory") {
        eprintln!("measuring memory");
        take("memory", memory::measure(parent, effort.quick).await);
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let shown: Vec<String> = syncs.into_iter().map(shown_micros).collect();
    table.heading = vec![
        ("time".to_owned(), jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%MZ").to_string()),
        ("cores".to_owned(), format!("{cores}, shared with the load generator")),
        ("fsync p50 (before, after)".to_owned(), shown.join(", ")),
        ("mode".to_owned(), if effort.quick { "quick" } else { "full" }.to_owned()),
        ("rounds".to_owned(), format!("{} × {:?}", effort.rounds, effort.duration)),
    ];
    Ok(table)
}
