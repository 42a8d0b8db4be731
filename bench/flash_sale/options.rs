//! The command line of `flash-sale`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A crowd many times the stock, against a durable node, with the proof that nothing was oversold.
#[derive(Debug, Parser)]
#[command(name = "flash-sale", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Another run than a flash sale.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The sale.
    #[command(flatten)]
    pub(crate) sale: SaleOptions,
}

/// The other runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay real trade: the Online Retail file (UCI, doi:10.24432/C5BW33), as .csv or .csv.gz.
    Replay(ReplayOptions),
    /// A week of orders on disk: bytes per order, what checkpoints cost, whether compaction keeps up.
    Week(WeekOptions),
    /// Several nodes on this machine with a CQL store and Redis, faults in the middle of the sale, and the proof.
    Cluster(Box<super::cluster::ClusterOptions>),
    /// More load than the node can serve: its peak, then 2, 5 and 10 times of it, and how soon all is as before.
    Overload(super::overload::OverloadOptions),
    /// Thousands of hostile sockets that idle, drip, stall and hang up, and honest callers among them.
    Sockets(super::overload::SocketsOptions),
    /// A long time at 60 % of the peak, with expiries, returns, restarts and kills: is everything flat?
    Soak(super::overload::SoakOptions),
    /// One attack after the other, by guests, strangers and a seller, and honest shoppers among them: what they meet, and how soon all is as before.
    Hostile(super::hostile::HostileOptions),
}

/// A week on disk.
#[derive(Debug, Clone, Args)]
pub(crate) struct WeekOptions {
    /// Number of orders, each paid and confirmed.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(10..=100_000_000))]
    pub(crate) orders: u64,
    /// Number of SKUs they are spread over.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) skus: u32,
    /// Milliseconds between two checkpoints.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub(crate) checkpoint_ms: u64,
    /// Where the node's temporary folder is made.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
}

/// Which node is used.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeOptions {
    /// A node that runs already, http://HOST:PORT; without it a node of its own is started and removed.
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// The operator port of --target.
    #[arg(long, value_name = "URL", requires = "target")]
    pub(crate) operator: Option<String>,
    /// A secret key with all scopes, of --target.
    #[arg(long, requires = "target", default_value = "")]
    pub(crate) key: String,
    /// Where the temporary folder of the own node is made: its disk decides the figures.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Connections at the same time.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    pub(crate) connections: u32,
}

/// Buyers per second of a sale in whose middle the node is killed: slow enough that orders are under way in every state then.
const RATE_WITH_KILL: f64 = 1_000.0;

/// How a buyer buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JourneyKind {
    /// One POST: the order with its payment.
    Hot,
    /// Looks at the product, fills a cart, checks out.
    BrowseCartCheckout,
    /// Half hot, three in ten the whole journey, two in ten only look.
    Mixed,
}

/// The sale.
#[derive(Debug, Clone, Args)]
pub(crate) struct SaleOptions {
    /// Which node.
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Units in stock, over all SKUs.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) units: u64,
    /// Buyers who come.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub(crate) buyers: u64,
    /// Buyers per second, whatever the node does. Unless given it is found first: six tenths of what the node does when it is only asked as
    /// fast as it answers (with --kill-after 1000).
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// SKUs on sale.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) skus: u32,
    /// Exponent of Zipf's law over the SKUs; 0: all alike.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) skew: f64,
    /// How a buyer buys.
    #[arg(long, value_enum, default_value = "hot")]
    pub(crate) journey: JourneyKind,
    /// `ok`, `none`, or test tokens with weights: tok_ok=90,tok_decline_soft=8,tok_slow=2.
    #[arg(long, default_value = "ok", value_parser = |text: &str| payment_mix(text).map(|_| text.to_owned()))]
    pub(crate) payment: String,
    /// Seconds after which no more buyers come.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,
    /// SIGKILL the own node after this many seconds and start it again; payments then go through a process of their own, slowly.
    #[arg(long, value_name = "SECONDS", conflicts_with = "target")]
    pub(crate) kill_after: Option<f64>,
    /// Follow `GET /v1/events` beside the crowd: each acknowledged order must be heard of once, in order.
    #[arg(long)]
    pub(crate) listen_in: bool,
    /// The same seed gives the same arrivals, SKUs and tokens.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the report goes.
    #[arg(long, value_name = "FILE", default_value = "flash-sale.html")]
    pub(crate) report: PathBuf,
    /// Print the figures as one JSON object in place of lines for people.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the verdict and nothing else.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Do not measure the disk before the sale.
    #[arg(long)]
    pub(crate) no_fsync_probe: bool,
}

impl SaleOptions {
    /// Buyers per second; before it was found, that of a sale in which the node is killed.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.unwrap_or(RATE_WITH_KILL)
    }
    /// Is the rate to be found first?
    pub(crate) const fn finds_rate(&self) -> bool {
        self.rate.is_none() && self.kill_after.is_none()
    }
    /// Buyers who come within the duration.
    pub(crate) fn crowd(&self) -> u64 {
        let within = self.duration.map_or(u64::MAX, |seconds| doorbuster_bench::number::whole(seconds * self.rate()));
        self.buyers.min(within).max(1)
    }
}

/// The replay.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    /// The file: .csv or .csv.gz.
    pub(crate) file: PathBuf,
    /// Which node.
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// How much of each SKU's whole demand is received beforehand, with up to three decimals; below 1 some sales are refused.
    #[arg(long, default_value = "1", value_parser = thousandths)]
    pub(crate) stock: u64,
    /// Only the first rows of the file.
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<u64>,
}

/// A number of buyers per second.
fn rate(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    read.ok_or_else(|| "a number above 0, of buyers per second".to_owned())
}

/// `0.9` as 900: money and stock know no floats.
fn thousandths(text: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() };
    let padded = format!("{part:0<3}");
    match (read(whole), padded.len(), read(&padded)) {
        (Some(whole), 3, Some(part)) if whole <= 1_000 => Ok(whole * 1_000 + part),
        _ => Err("a number with up to three decimals, like 0.9".to_owned()),
    }
}

/// The tokens buyers pay with and their weights; empty: no buyer pays.
pub(crate) fn payment_mix(text: &str) -> Result<Vec<(String, u64)>, String> {
    match text {
        "ok" => return Ok(vec![("tok_ok".to_owned(), 1)]),
        "none" => return Ok(Vec::new()),
        _ => {}
    }
    let mut mix = Vec::new();
    for part in text.split(',') {
        let (token, weight) = part.split_once('=').unwrap_or((part, "1"));
        let lawful =
            token.starts_with("tok_") && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match weight.parse() {
            Ok(weight) if lawful && weight > 0 => mix.push((token.to_owned(), weight)),
            _ => return Err(format!("`{part}` is not TOKEN=WEIGHT")),
        }
    }
    Ok(mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        assert!(Options::try_parse_from(["flash-sale"]).unwrap().command.is_none());
        let replay = Options::try_parse_from(["flash-sale", "replay", "x.csv", "--stock", "0.9"]).unwrap();
        let Some(Command::Replay(options)) = replay.command else { panic!("not a replay") };
        assert_eq!(options.stock, 900);
    }

    #[test]
    fn what_cannot_be_used_is_refused_before_anything_runs() {
        for bad in [["--rate", "0"], ["--rate", "fast"], ["--rate", "NaN"], ["--payment", "cash"], ["--units", "0"]] {
            let error = Options::try_parse_from(["flash-sale"].into_iter().chain(bad)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad:?}");
        }
        let asked = |words: &[&str]| Options::try_parse_from([&["flash-sale"], words].concat()).unwrap().sale;
        assert!(asked(&[]).finds_rate());
        assert!(!asked(&["--rate", "5"]).finds_rate() && !asked(&["--kill-after", "2"]).finds_rate());
    }

    #[test]
    fn a_share_of_stock_is_read_without_floats() {
        assert_eq!((thousandths("0.9"), thousandths("1"), thousandths(".25")), (Ok(900), Ok(1_000), Ok(250)));
        for bad in ["-1", "0.1234", "x", "1e3"] {
            assert!(thousandths(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_payment_mix_is_tokens_with_weights() {
        assert_eq!(payment_mix("none"), Ok(vec![]));
        assert_eq!(payment_mix("tok_ok=9,tok_slow"), Ok(vec![("tok_ok".into(), 9), ("tok_slow".into(), 1)]));
        assert!(payment_mix("tok_ok=x").is_err() && payment_mix("ok\"=1").is_err());
    }
}
