//! The command line of `hostile`.

use super::attacks::Attack;
use crate::overload::TestNodeOptions;
use clap::Args;
use std::path::PathBuf;

/// A hostile crowd.
#[derive(Debug, Clone, Args)]
pub(crate) struct HostileOptions {
    #[command(flatten)]
    pub(crate) test_node: TestNodeOptions,
    /// Honest orders per second, all the time.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,
    /// Seconds of calm before each attack.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) calm_s: u64,
    /// Seconds of each attack.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) attack_s: u64,
    /// Seconds after which an attack counts as one from which the node does not come back; it is then restarted for the next attack.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) back_s: u64,
    /// Only these attacks.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Attack>,
    /// Small attacks, and a verdict of facts alone: a look, and what the tests run.
    #[arg(long)]
    pub(crate) short: bool,
    /// The figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// How much an attacker does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Orders of unknown SKUs.
    pub(super) orders: usize,
    /// Lines of an order or a cart.
    pub(super) lines: usize,
    /// Sockets that announce a body and send none.
    pub(super) sockets: usize,
    /// Names that are asked for.
    pub(super) names: usize,
    /// Bytes of a batch that is no batch.
    pub(super) batch_bytes: usize,
}

impl HostileOptions {
    /// The attacks of this run, in their order.
    pub(super) fn attacks(&self) -> Vec<Attack> {
        if self.only.is_empty() { Attack::ALL.to_vec() } else { self.only.clone() }
    }

    pub(super) fn size(&self) -> Size {
        if self.short {
            Size { orders: 6, lines: 40, sockets: 24, names: 300, batch_bytes: 30_000 }
        } else {
            Size { orders: 200, lines: 2_000, sockets: 256, names: 8_000, batch_bytes: 1_000_000 }
        }
    }
}
