//! The command line of `flash-sale cluster`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What is done to the cluster in the middle of the sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Chaos {
    /// SIGKILL; started again under the same name a few seconds later.
    Kill,
    /// SIGSTOP for ten seconds, then SIGCONT: an owner that wakes up and does not know that it is none any more.
    Stop,
    /// Nothing gets through between one node and the store, Redis and the other nodes.
    Cut,
    /// The same, one way: what the node sends is lost, what is sent to it arrives.
    CutOut,
    /// The same, the other way: the node is heard and hears nothing.
    CutIn,
    /// Only the other nodes are out of reach; the store is not.
    CutPeers,
    /// `POST /admin/nodes/{name}/drain`, then `/resume`.
    Drain,
    /// SIGTERM and a new start, one node after the other.
    Rolling,
}

impl Chaos {
    /// As it is said on the command line and in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::CutOut => "cut-out",
            Self::CutIn => "cut-in",
            Self::CutPeers => "cut-peers",
            Self::Drain => "drain",
            Self::Rolling => "rolling",
        }
    }

    /// Does it need relays between the nodes?
    pub(crate) const fn is_cut(self) -> bool {
        matches!(self, Self::Cut | Self::CutOut | Self::CutIn | Self::CutPeers)
    }

    /// Does it take a node away without its consent, so that the others must notice?
    pub(crate) const fn is_failure(self) -> bool {
        !matches!(self, Self::Drain | Self::Rolling)
    }
}

/// How the payment provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProviderProfile {
    /// Answers at once.
    Instant,
    /// Declines, lost answers and repeats, in milliseconds.
    Fast,
    /// The same at the pace of a real one.
    Realistic,
}

impl ProviderProfile {
    /// As the simulator calls it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Fast => "fast",
            Self::Realistic => "realistic",
        }
    }
}

/// Several nodes on this machine, a sale against all of them, faults in the middle of it, and the proof.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterOptions {
    /// Nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,
    /// A CQL server that runs already; several with commas. A keyspace of its own is made there and dropped at the end.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with = "nodes_cql")]
    pub(crate) cql: Vec<String>,
    /// Cassandra nodes to start where no --cql is given.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) nodes_cql: u8,
    /// A Redis that runs already; keys are written under a prefix of this run.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "no_redis")]
    pub(crate) redis: Option<String>,
    /// Run without Redis: each node keeps its own cache.
    #[arg(long)]
    pub(crate) no_redis: bool,
    /// Into how many logs the entities are dealt.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) shards: u16,
    /// Buyers who come; without it as many as come until the last fault is over.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub(crate) buyers: Option<u64>,
    /// Units in stock, over all SKUs; without it four for every five buyers that are expected.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) units: Option<u64>,
    /// SKUs on sale.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) skus: u32,
    /// Buyers per second, whatever the nodes do.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) rate: f64,
    /// What is done to the nodes, one after the other: kill, stop, cut (then also cut-out), cut-in, cut-peers, drain, rolling.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) chaos: Vec<Chaos>,
    /// Quiet seconds before each of them and after the last.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) quiet: u64,
    /// How the payment provider, a process of its own with a durable ledger, behaves.
    #[arg(long, value_enum, default_value = "fast")]
    pub(crate) provider: ProviderProfile,
    /// The same seed gives the same arrivals, SKUs, fortunes of payments and victims.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Connections at the same time, over all nodes.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    pub(crate) connections: u32,
    /// Instead of one sale: the table of figures, each from a run of its own. It takes a while.
    #[arg(long, conflicts_with_all = ["chaos", "buyers", "units"])]
    pub(crate) figures: bool,
    /// Only these rows of the table: hot, many, failover, rolling, redis.
    #[arg(long, value_delimiter = ',', requires = "figures", value_parser = ["hot", "many", "failover", "rolling", "redis"])]
    pub(crate) only: Vec<String>,
    /// With --figures: how often each kind of failure is tried.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeat: u32,
    /// Where the folders of the nodes are made.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Keep the nodes' logs here instead of throwing them away.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) logs: Option<PathBuf>,
    /// What the nodes log, as their setting log.level has it.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// Where the page with the plots goes.
    #[arg(long, value_name = "FILE", default_value = "flash-sale-cluster.html")]
    pub(crate) report: PathBuf,
    /// All figures as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// The longest time that one kind of fault may keep the sale open: beyond it no more buyers are prepared.
const TROUBLE_SECONDS_MAX: u64 = 90;

impl ClusterOptions {
    /// What is done, in order: a cut is tried both ways and then one way.
    pub(crate) fn plan(&self) -> Vec<Chaos> {
        let with_other_side = |chaos: &Chaos| match chaos {
            Chaos::Cut => vec![Chaos::Cut, Chaos::CutOut],
            other => vec![*other],
        };
        self.chaos.iter().flat_map(with_other_side).collect()
    }

    /// Buyers per second; nothing that is no rate.
    pub(crate) fn rate(&self) -> f64 {
        if self.rate.is_finite() && self.rate > 0.0 { self.rate } else { 1.0 }
    }

    /// Buyers who are prepared; where the doors close with the last fault, not all of them come.
    pub(crate) fn buyers(&self) -> u64 {
        let seconds = (self.quiet + TROUBLE_SECONDS_MAX) * doorbuster_bench::number::count(self.plan().len()) + 20;
        self.buyers
            .unwrap_or_else(|| doorbuster_bench::number::whole(doorbuster_bench::number::float(seconds) * self.rate()))
    }

    /// Do the doors close when the last fault is over?
    pub(crate) fn closes_early(&self) -> bool {
        self.buyers.is_none() && !self.chaos.is_empty()
    }

    /// Units in stock. A sale that is sold out early tries little of what follows, so there is enough for four buyers of five of those that a usual run sees.
    pub(crate) fn units(&self) -> u64 {
        let expected = if self.closes_early() { self.buyers() / 3 } else { self.buyers() };
        self.units.unwrap_or((expected * 4 / 5).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    fn options(words: &str) -> Result<ClusterOptions, clap::Error> {
        let all = ["flash-sale", "cluster"].into_iter().chain(words.split_whitespace());
        match Options::try_parse_from(all)?.command {
            Some(Command::Cluster(options)) => Ok(*options),
            other => panic!("not a cluster: {other:?}"),
        }
    }

    #[test]
    fn what_is_done_to_the_nodes_keeps_its_order_and_a_cut_has_two_sides() {
        let plan = options("--chaos kill,stop,cut,drain,rolling").unwrap().plan();
        assert_eq!(plan, [Chaos::Kill, Chaos::Stop, Chaos::Cut, Chaos::CutOut, Chaos::Drain, Chaos::Rolling]);
        assert!(options("--chaos flood").is_err());
        assert!(plan.iter().filter(|chaos| chaos.is_cut()).all(|chaos| chaos.is_failure()));
    }

    #[test]
    fn every_kind_of_fault_has_one_name() {
        for chaos in Chaos::value_variants() {
            assert_eq!(options(&format!("--chaos {}", chaos.word())).unwrap().chaos, [*chaos]);
        }
    }

    #[test]
    fn without_a_number_the_crowd_comes_until_the_last_fault_is_over() {
        let open = options("--chaos kill --rate 100").unwrap();
        assert!(open.closes_early() && open.buyers() > 100 * TROUBLE_SECONDS_MAX && open.units() < open.buyers());
        let told = options("--chaos kill --buyers 500 --units 90").unwrap();
        assert_eq!((told.closes_early(), told.buyers(), told.units()), (false, 500, 90));
        assert!(!options("").unwrap().closes_early());
    }

    #[test]
    fn what_contradicts_is_refused() {
        for words in [
            "--cql a:1 --nodes-cql 3",
            "--redis a:1 --no-redis",
            "--figures --chaos kill",
            "--only hot",
            "--nodes 0",
            "--nodes-cql 4",
        ] {
            assert!(options(words).is_err(), "{words}");
        }
        assert_eq!(options("--cql a:1,b:2").unwrap().cql, ["a:1", "b:2"]);
    }
}
