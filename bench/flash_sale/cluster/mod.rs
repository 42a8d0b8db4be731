//! A cluster on one machine: nodes as processes, one store and one Redis for all, a sale against every node, faults in the middle, and the proof.
//!
//! ```text
//! tests/servers ──► CQL, Redis        payment simulator: the referee's ledger
//!                      ▲  ▲                 ▲
//!            (relays, that can be cut)      │
//!                      │  │                 │
//!  crowd ──balancer──► node1 node2 node3 ───┘        chaos: kill, stop, cut, drain, rolling
//!                         ▲ 20 looks a second: members, owners, one SKU of every shard
//! ```

mod chaos;
mod dialler;
mod figures;
mod fleet;
mod network;
mod options;
mod probe;
mod redis;
mod referee;
mod report;
mod run;
mod screen;
mod servers;
mod shop;
mod stats;
mod view;

pub(crate) use options::ClusterOptions;

use doorbuster_bench::error::BenchError;
use run::{Site, Wanted};

/// Holds the sale, or makes the table; `true` when nothing was broken.
pub(crate) async fn run(options: &ClusterOptions) -> Result<bool, BenchError> {
    let site = Site::open(options).await?;
    if options.figures {
        return figures::table(&site, options).await;
    }
    let plan = options.plan();
    let wanted = Wanted {
        nodes: usize::from(options.nodes),
        skus: options.skus,
        units: options.units(),
        buyers: options.buyers(),
        closes_early: options.closes_early(),
        relays: plan.iter().any(|chaos| chaos.is_cut()),
        plan,
    };
    let outcome = run::sale(&site, options, &wanted).await?;
    report::print(&outcome);
    report::write(&outcome, options)?;
    Ok(outcome.is_good())
}
