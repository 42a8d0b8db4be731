//! One run: a keyspace of its own, nodes, a shop, a crowd and what is done to them; then everything is read back and held against each other.

use super::chaos::{Event, Stage};
use super::fleet::{Fleet, Ground};
use super::network::Network;
use super::options::{Chaos, ClusterOptions};
use super::probe::{self, Probe};
use super::referee::{self, Books};
use super::report::StoreFigures;
use super::screen::Screen;
use super::servers::{Cql, Redis};
use super::shop;
use super::view::Board;
use crate::crowd::Crowd;
use crate::listed::{self, Listed};
use crate::load::{self, Closing, Doors, Sale};
use crate::options::JourneyKind;
use crate::record::{Live, Record, still_there};
use crate::verify::{self, Verified};
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue::Level;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Simulator, TemporaryFolder};
use doorbuster_node::HASH_VERSION;
use doorbuster_storage::Layout;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// The crowd waits for the schedule to begin this long, so that connections and threads are there.
const LEAD: Duration = Duration::from_millis(200);
/// How long a buyer waits for an answer before the same request goes to another node. Longer than an order takes that is well,
/// shorter than a shopper's patience.
const REQUEST_LIFE: Duration = Duration::from_secs(8);
/// `Prefer: wait`, in seconds; less than the above.
const WAIT_S: u32 = 5;
/// How often the picture is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// An audit whose orders are still under way is asked for again for so long.
const AUDIT_LIMIT: Duration = Duration::from_secs(120);
/// Once their number has not changed for this time, they wait for their shoppers and not for the cluster.
const AT_REST: Duration = Duration::from_secs(15);
/// One audit replays every decision of the cluster: it may take so long.
pub(crate) const ONE_AUDIT_LIMIT: Duration = Duration::from_secs(600);
/// Buyers without an answer, in parts of a thousand, beyond which a run is not good.
const GAVE_UP_PER_MILLE_MAX: u64 = 1;

/// The servers, and the folder for everything; dropped in this order.
#[derive(Debug)]
pub(crate) struct Site {
    /// The store.
    pub(crate) cql: Cql,
    /// The cache.
    pub(crate) redis: Option<Redis>,
    folder: TemporaryFolder,
}

impl Site {
    /// Gets the servers.
    pub(crate) async fn open(options: &ClusterOptions) -> Result<Self, BenchError> {
        let folder = TemporaryFolder::new(options.data.as_deref())?;
        let cql = Cql::get(options, folder.path()).await?;
        let redis = Redis::get(options, folder.path()).await?;
        let list: Vec<String> = cql.addresses.iter().map(ToString::to_string).collect();
        println!(
            "store      {} ({}), copies of each row: {}",
            list.join(" "),
            if cql.own { "started for this run" } else { "given" },
            cql.replication()
        );
        match &redis {
            Some(redis) => println!(
                "redis      {} ({})",
                redis.address,
                if redis.is_own() { "started for this run" } else { "given" }
            ),
            None => println!("redis      none"),
        }
        Ok(Self { cql, redis, folder })
    }
}

/// What a run is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Nodes.
    pub(crate) nodes: usize,
    /// SKUs on sale.
    pub(crate) skus: u32,
    /// Units, over all of them.
    pub(crate) units: u64,
    /// Buyers who are prepared.
    pub(crate) buyers: u64,
    /// The doors close when the last fault is over.
    pub(crate) closes_early: bool,
    /// Relays are laid between the processes, so that paths can be cut.
    pub(crate) relays: bool,
    /// What is done to the nodes, one after the other.
    pub(crate) plan: Vec<Chaos>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What it was to be.
    pub(crate) wanted: Wanted,
    /// Buyers per second, as scheduled.
    pub(crate) rate: f64,
    /// Servers of the store.
    pub(crate) cql_nodes: usize,
    /// The buyers' side.
    pub(crate) record: Record,
    /// What happened to the nodes.
    pub(crate) events: Vec<Event>,
    /// Nodes that ended by themselves.
    pub(crate) ended_by_themselves: Vec<String>,
    /// What reading back found.
    pub(crate) verified: Verified,
    /// The lists of orders, on each node.
    pub(crate) listed: Listed,
    /// Stock at the end.
    pub(crate) level: Level,
    /// The audit of the whole cluster.
    pub(crate) audit: Value,
    /// The provider's ledger against the orders.
    pub(crate) books: Books,
    /// The nodes' figures before the first buyer, in their text form …
    pub(crate) metrics_before: Vec<String>,
    /// … and at the end.
    pub(crate) metrics: Vec<String>,
}

impl Outcome {
    /// Did the audit find every law kept?
    pub(crate) fn is_clean(&self) -> bool {
        self.audit.get("clean").and_then(Value::as_bool) == Some(true)
    }

    /// What the sale asked of the store; `None` where something happened to the nodes, for counters end with a process.
    pub(crate) fn store_of_sale(&self) -> Option<StoreFigures> {
        let before = StoreFigures::of(&self.metrics_before);
        self.events.is_empty().then(|| StoreFigures::of(&self.metrics).since(&before))
    }

    /// Were more units sold than there were?
    pub(crate) fn is_oversold(&self) -> bool {
        self.verified.confirmed_units > self.wanted.units || self.level.on_hand > self.wanted.units
    }

    /// Was nothing broken, and did (nearly) every buyer get an answer?
    pub(crate) fn is_good(&self) -> bool {
        let came = self.record.answers() + self.record.errors();
        self.is_clean()
            && !self.is_oversold()
            && self.verified.is_kept()
            && self.listed.is_whole()
            && self.books.agree()
            && self.record.answers() > 0
            && self.record.errors() * 1_000 <= came * GAVE_UP_PER_MILLE_MAX
    }
}

/// A run in which a crowd comes by schedule.
pub(crate) async fn sale(site: &Site, options: &ClusterOptions, wanted: &Wanted) -> Result<Outcome, BenchError> {
    let stand = Stand::build(site, options, wanted.nodes, wanted.relays).await?;
    let held = stand.run(site, options, wanted).await;
    // Whatever came of it, the keyspace goes; but the first error is the one to report.
    let dropped = site.cql.drop_keyspace(&stand.keyspace).await;
    let outcome = held?;
    dropped.map(|()| outcome)
}

/// What is there before the nodes are.
#[derive(Debug)]
pub(crate) struct Stand {
    /// The keyspace of this run.
    pub(crate) keyspace: String,
    /// Makes its SKUs and keys its own.
    pub(crate) run: String,
    /// The provider.
    pub(crate) simulator: Simulator,
    processes: Arc<Vec<AtomicU32>>,
    network: Option<Network>,
    folder: std::path::PathBuf,
    nodes: usize,
}

impl Stand {
    /// A provider, and relays if they are wanted.
    pub(crate) async fn build(
        site: &Site,
        options: &ClusterOptions,
        nodes: usize,
        relays: bool,
    ) -> Result<Self, BenchError> {
        let run: String = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
        let keyspace = format!("flash_{run}");
        let folder = site.folder.path().join(&keyspace);
        std::fs::create_dir_all(&folder)
            .map_err(|source| BenchError::io(format!("create {}", folder.display()), source))?;
        let simulator = Simulator::start(&folder, options.seed, options.provider.word()).await?;
        let processes: Arc<Vec<AtomicU32>> = Arc::new((0..nodes).map(|_| AtomicU32::new(0)).collect());
        let network = if relays {
            let loopback = site.cql.addresses.iter().all(|address| address.ip().is_loopback());
            if !loopback {
                return Err(BenchError::Input("paths can only be cut where the CQL servers are on loopback: drivers find the others by their own addresses".to_owned()));
            }
            let redis = site.redis.as_ref().map(|redis| redis.address);
            Some(Network::lay(&processes, &site.cql.addresses, redis).await?)
        } else {
            None
        };
        Ok(Self { keyspace, run, simulator, processes, network, folder, nodes })
    }

    /// Starts the nodes.
    pub(crate) async fn start_nodes(&self, site: &Site, options: &ClusterOptions) -> Result<Fleet, BenchError> {
        let ground = Ground {
            options,
            nodes: self.nodes,
            folder: &self.folder,
            cql: &site.cql,
            redis: site.redis.as_ref(),
            simulator: &self.simulator,
            network: self.network.as_ref(),
            keyspace: &self.keyspace,
            processes: &self.processes,
        };
        Fleet::start(&ground).await
    }

    /// The SKUs on sale of this run, and one of each shard.
    pub(crate) fn skus(&self, options: &ClusterOptions, number: u32) -> (Vec<String>, Vec<String>) {
        let layout = Layout { shards: options.shards, hash_version: HASH_VERSION };
        (shop::names(&self.run, number), probe::one_sku_per_shard(layout, &self.run))
    }

    async fn run(&self, site: &Site, options: &ClusterOptions, wanted: &Wanted) -> Result<Outcome, BenchError> {
        let mut fleet = self.start_nodes(site, options).await?;
        let (skus, looked_at) = self.skus(options, wanted.skus);
        let publics = fleet.publics();
        let product = shop::open(&publics, &self.run, &skus, wanted.units, &looked_at).await?;
        let metrics_before = fleet.metrics().await?;
        let rate = options.rate();
        println!(
            "sale       {} units of {} SKUs, {:.0} buyers/s over {} nodes and {} shards, payments {}",
            wanted.units,
            wanted.skus,
            rate,
            wanted.nodes,
            options.shards,
            options.provider.word()
        );
        let tokens = vec![("tok_ok".to_owned(), 1)];
        let crowd = Crowd::new((wanted.buyers, rate), (skus.clone(), 0.0), tokens, JourneyKind::Hot, options.seed);
        let sale = Arc::new(Sale {
            doors: Doors::of(publics.clone()),
            crowd,
            product,
            run: self.run.clone(),
            wait_s: Some(WAIT_S),
            connections: usize::try_from(options.connections).unwrap_or(1),
            request_life: REQUEST_LIFE,
            closed_after: Closing::default(),
            began: Instant::now() + LEAD,
            live: Live::default(),
        });
        let names = fleet.members.iter().map(|member| member.name.clone()).collect();
        let board = Board::watch(names, &fleet.operators(), &sale);
        let probe = Probe::start(&sale, &looked_at);
        let screen = Screen::new();
        let (record, events) = {
            let mut stage = Stage {
                fleet: &mut fleet,
                network: self.network.as_ref(),
                board: &board,
                probe: &probe,
                screen: &screen,
                sale_began: sale.began,
                quiet: Duration::from_secs(options.quiet),
                seed: options.seed,
            };
            let acting = async {
                let events = stage.run(&wanted.plan).await;
                if wanted.closes_early || events.is_err() {
                    sale.closed_after.close(sale.began.elapsed());
                }
                events
            };
            let work = async { tokio::join!(load::run(&sale), acting) };
            let (record, events) = drawn(work, &screen, &sale, &board).await;
            (record?, events?)
        };
        drop((probe, board));
        fleet.tend().await?;
        let outcome = self.look_back(site, options, wanted, fleet, (record, events), &skus).await?;
        Ok(Outcome { metrics_before, ..outcome })
    }

    async fn look_back(
        &self,
        site: &Site,
        options: &ClusterOptions,
        wanted: &Wanted,
        fleet: Fleet,
        (record, events): (Record, Vec<Event>),
        skus: &[String],
    ) -> Result<Outcome, BenchError> {
        let missing = || BenchError::Input("a cluster has a node at least".to_owned());
        // Through another node than the first, where there is one: any node answers any request.
        let public = fleet.members.last().map(|member| member.public.clone()).ok_or_else(missing)?;
        let operator = fleet.members.first().map(|member| member.operator.clone()).ok_or_else(missing)?;
        println!("reading back what {} buyers were told", record.acknowledged.len());
        let verified = verify::read_back(&public, &record.acknowledged, true).await?;
        let told = still_there(&record.acknowledged, &verified.missing);
        let listed = listed::read(&fleet.publics(), &told).await?;
        let books = referee::compare(&public, &self.simulator.target, &record.acknowledged).await?;
        let level = shop::stock(&public, skus).await?;
        let audit = audit(&operator).await?;
        let metrics = fleet.metrics().await?;
        Ok(Outcome {
            wanted: wanted.clone(),
            rate: options.rate(),
            cql_nodes: site.cql.addresses.len(),
            record,
            events,
            ended_by_themselves: fleet.ended_by_themselves.clone(),
            verified,
            listed,
            level,
            audit,
            books,
            metrics_before: Vec::new(),
            metrics,
        })
    }
}

/// The audit of the whole cluster, asked for again while orders are under way that would leave it incomplete.
pub(crate) async fn audit(operator: &Target) -> Result<Value, BenchError> {
    let until = Instant::now() + AUDIT_LIMIT;
    let mut last = (u64::MAX, Instant::now());
    loop {
        let audit = Caller::waiting(operator.clone(), ONE_AUDIT_LIMIT).read("/admin/audit").await?;
        let under_way = audit.get("in_flight").and_then(Value::as_u64).unwrap_or(0);
        let clean = audit.get("clean").and_then(Value::as_bool) == Some(true);
        if last.0 != under_way {
            last = (under_way, Instant::now());
        }
        // Only what is unfinished is waited for.
        if under_way == 0 || (clean && last.1.elapsed() > AT_REST) || Instant::now() > until {
            return Ok(audit);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Does the work, and draws the picture meanwhile.
async fn drawn<T>(work: impl Future<Output = T>, screen: &Screen, sale: &Sale, board: &Board) -> T {
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(DRAW_EVERY);
    loop {
        tokio::select! {
            done = &mut work => {
                screen.end();
                return done;
            }
            _ = tick.tick() => screen.show(sale, board),
        }
    }
}
