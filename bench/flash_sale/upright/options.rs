//! The command lines of `overload`, `sockets` and `soak`.

use clap::Args;
use std::path::PathBuf;

/// The node under test: always one of our own.
#[derive(Debug, Clone, Args)]
pub(crate) struct HouseOptions {
    /// Where the temporary folder of the node is made: its disk decides the figures.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// The node's syncs take so many times as long as the disk does (a library of the C compiler's making is preloaded).
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) disk_slow: u32,
    /// Node and load share all cores, instead of one core for the node and the others for the load.
    #[arg(long)]
    pub(crate) share_cores: bool,
    /// A setting of the node, as SECTION.KEY=VALUE; may be given several times.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// More than it can do.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverloadOptions {
    #[command(flatten)]
    pub(crate) house: HouseOptions,
    /// What is offered, in times of the peak.
    #[arg(long, value_delimiter = ',', default_values_t = [2.0, 5.0, 10.0])]
    pub(crate) times: Vec<f64>,
    /// How long each is offered: longer than the crowd's coming back is spread, and than its connecting takes.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// How long the peak is looked for.
    #[arg(long, default_value_t = 4)]
    pub(crate) peak_seconds: u64,
    /// Connections of the closed loop that finds the peak; a quarter and four times as many are tried, too.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) connections: u32,
    /// Connections of the crowd, at most.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    pub(crate) crowd_connections: u32,
    /// A buyer gives up so long after they meant to come.
    #[arg(long, default_value_t = 5)]
    pub(crate) deadline_s: u64,
    /// A buyer comes back so often, when told to, not before they were told.
    #[arg(long, default_value_t = 3)]
    pub(crate) retries: u32,
    /// SKUs the crowd wants.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) skus: u32,
    /// Orders are placed and not paid: the cheapest a node does, and the hardest case, for refusing is not cheaper.
    #[arg(long)]
    pub(crate) unpaid: bool,
}

/// Sockets that mean no good.
#[derive(Debug, Clone, Args)]
pub(crate) struct SocketsOptions {
    #[command(flatten)]
    pub(crate) house: HouseOptions,
    /// So many at once, of all kinds together.
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
    pub(crate) house: HouseOptions,
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
    /// A sample every so many seconds.
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
