//! The list of orders against what buyers were told: each acknowledged order is in it once, on every node that is asked.

use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::count;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The list follows the journal: what is missing is looked for again within this time. The shop of the tests has it at once, or never.
const FOLLOW_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 90 });
/// Between two such looks.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Orders of one page.
const PAGE: usize = 200;

/// What the lists have.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Orders in the list of each node.
    pub(crate) orders: Vec<u64>,
    /// Acknowledged orders that one of them does not have.
    pub(crate) missing: BTreeSet<String>,
    /// Orders that one of them has more than once.
    pub(crate) twice: BTreeSet<String>,
}

impl Listed {
    /// Does every list have every order once?
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.twice.is_empty()
    }

    /// The line of a report.
    pub(crate) fn print(&self) {
        println!(
            "lists      {} orders: {} acknowledged ones missing, {} more than once",
            self.orders.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
            self.missing.len(),
            self.twice.len()
        );
        for order in self.missing.iter().chain(&self.twice).take(10) {
            println!("             {order}");
        }
    }
}

/// Reads the lists of these nodes, which are to have these orders.
pub(crate) async fn read(targets: &[Target], told: &BTreeSet<&str>) -> Result<Listed, BenchError> {
    let mut listed = Listed::default();
    for target in targets {
        let until = Instant::now() + FOLLOW_LIMIT;
        loop {
            let found = all(target).await?;
            let missing: Vec<&&str> = told.iter().filter(|order| !found.contains_key(**order)).collect();
            let twice: Vec<&String> = found.iter().filter(|(_, times)| **times > 1).map(|(order, _)| order).collect();
            if (missing.is_empty() && twice.is_empty()) || Instant::now() > until {
                listed.missing.extend(missing.into_iter().map(|order| (*order).to_owned()));
                listed.twice.extend(twice.into_iter().cloned());
                listed.orders.push(count(found.len()));
                break;
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
    Ok(listed)
}

/// How often each order is in the list.
async fn all(target: &Target) -> Result<BTreeMap<String, u32>, BenchError> {
    let mut caller = Caller::new(target.clone());
    let mut found = BTreeMap::new();
    let mut path = format!("/v1/orders?limit={PAGE}");
    loop {
        let page = caller.read(&path).await?;
        let orders = page.get("data").and_then(Value::as_array);
        for order in orders.into_iter().flatten().filter_map(|order| order.get("id")?.as_str()) {
            *found.entry(order.to_owned()).or_default() += 1;
        }
        let Some(next) = page.get("next_cursor").and_then(Value::as_str) else { return Ok(found) };
        path = format!("/v1/orders?limit={PAGE}&cursor={next}");
    }
}
