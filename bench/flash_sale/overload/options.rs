//! The command lines of `overload`, `sockets` and `soak`.

use clap::Args;
use std::path::PathBuf;

/// The node under test, always started by the harness.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestNodeOptions {
    /// Where the temporary folder of the node is made: its disk decides the figures.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// The node's syncs take this many times as long as the disk does (a library compiled with `cc` is preloaded).
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) disk_slow: u32,
    /// Node and load share all cores, instead of one core for the node and the others for the load.
    #[arg(long)]
    pub(crate) share_cores: bool,
    /// A setting of the node, as SECTION.KEY=VALUE; may be given several times.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// More load than the node can serve.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverloadOptions {
    #[command(flatten)]
    pub(crate) test_node: TestNodeOptions,
    /// The offered loads, as multiples of the peak.
    #[arg(long, value_delimiter = ',', default_values_t = [2.0, 5.0, 10.0])]
    pub(crate) times: Vec<f64>,
    /// How long each load is offered, in seconds: longer than the crowd's retries are spread, and than its connecting takes.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Seconds of each round that looks for the peak: long enough to include what an order still costs after its answer.
    #[arg(long, default_value_t = 12)]
    pub(crate) peak_seconds: u64,
    /// Connections of the closed loop that finds the peak; a quarter and four times as many are tried, too.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) connections: u32,
    /// Connections of the crowd, at most.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    pub(crate) crowd_connections: u32,
    /// Seconds after the intended arrival at which a buyer gives up.
    #[arg(long, default_value_t = 5)]
    pub(crate) deadline_s: u64,
    /// How often a buyer comes back after a refusal, never before `Retry-After`.
    #[arg(long, default_value_t = 3)]
    pub(crate) retries: u32,
    /// SKUs the crowd wants.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) skus: u32,
    /// Orders are placed and not paid: the cheapest a node does, and the hardest case, for refusing is not cheaper.
    #[arg(long)]
    pub(crate) unpaid: bool,
}

/// Hostile sockets.
#[derive(Debug, Clone, Args)]
pub(crate) struct SocketsOptions {
    #[command(flatten)]
    pub(crate) test_node: TestNodeOptions,
    /// Sockets open at the same time, of all kinds together.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(8..=9_000))]
    pub(crate) sockets: u32,
    /// For so long; each that is closed is opened anew.
    #[arg(long, default_value_t = 25)]
    pub(crate) seconds: u64,
    /// Honest callers.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) honest: u32,
}

/// A long time.
#[derive(Debug, Clone, Args)]
pub(crate) struct SoakOptions {
    #[command(flatten)]
    pub(crate) test_node: TestNodeOptions,
    /// How long.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) minutes: f64,
    /// What is offered, in hundredths of the peak.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) percent: u32,
    /// Orders per second, instead of a share of the peak.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// The node is restarted so often, by turns politely and with SIGKILL; 0: never.
    #[arg(long, default_value_t = 300)]
    pub(crate) restart_every_s: u64,
    /// Seconds between two samples.
    #[arg(long, default_value_t = 5)]
    pub(crate) sample_every_s: u64,
    /// An order that is not paid holds its stock so long.
    #[arg(long, default_value_t = 10)]
    pub(crate) hold_s: u64,
    /// Connections of the crowd.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) connections: u32,
    /// Every sample, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) series: Option<PathBuf>,
}
