//! `flash-sale replay FILE`: seven months of a real shop, sold again through the API, and compared figure by figure.
//!
//! ```text
//! file ─► rules ─► trade (one list of events per customer, in file order) ─► run ─► API
//!                    └─► expect (pure) ───────────────────────────────► table ◄── tally (read back from the API)
//! ```

mod countries;
mod expect;
mod file;
mod rules;
mod run;
mod tally;
mod trade;

use super::options::ReplayOptions;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Node, TemporaryFolder, settings_for_load, without_tax_and_shipping};
use doorbuster_bench::number::grouped;
use std::sync::Arc;
use std::time::Instant;

/// Runs the replay; `true` when file and API are equal.
pub(crate) async fn replay(options: &ReplayOptions) -> Result<bool, BenchError> {
    let trade = Arc::new(file::read(&options.file, options.limit)?);
    print_trade(&trade);
    let (target, own) = match &options.node.target {
        Some(url) => (Target::parse(url, &options.node.key)?, None),
        None => {
            let folder = TemporaryFolder::new(options.node.data.as_deref())?;
            let node = Node::start(folder.path(), without_tax_and_shipping(settings_for_load())).await?;
            // The node first: it must be gone before its folder is removed.
            (node.public.clone(), Some((node, folder)))
        }
    };
    println!("node       {}", target.address);
    let stock = expect::received(&trade, options.stock);
    let began = Instant::now();
    run::stock_up(&target, &trade, &stock, options.node.connections).await?;
    println!(
        "stocked    {} SKUs in {:.1} s",
        grouped(doorbuster_bench::number::count(trade.skus.len())),
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let ran = run::trade_all(&target, &trade, options.node.connections).await?;
    println!("traded     {} requests in {:.1} s", grouped(ran.requests), began.elapsed().as_secs_f64());
    let whole = options.stock >= 1_000;
    let accepted = &ran.accepted;
    let expected = expect::expect(&trade, &stock, |invoice| whole || accepted.contains_key(invoice));
    let tally = tally::read_back(&target, &trade, &ran, options.node.connections).await?;
    let mut equal = tally::print_table(&expected, &stock, &tally);
    if !whole {
        equal &= tally::print_refusals(&trade, &ran);
    }
    for line in ran.unexpected.iter().chain(&tally.unexpected).take(20) {
        println!("unexpected  {line}");
    }
    equal &= ran.unexpected.is_empty() && tally.unexpected.is_empty();
    if let Some((node, _)) = &own {
        equal &= audit(&node.operator).await?;
    } else if let Some(url) = &options.node.operator {
        equal &= audit(&Target::parse(url, "")?).await?;
    }
    println!("{}", if equal { "file and API are equal" } else { "file and API are NOT equal" });
    Ok(equal)
}

async fn audit(operator: &Target) -> Result<bool, BenchError> {
    let audit = Caller::new(operator.clone()).read("/admin/audit").await?;
    let clean = audit.get("clean").and_then(serde_json::Value::as_bool).unwrap_or(false);
    println!("audit      {}", if clean { "clean".to_owned() } else { audit.to_string() });
    Ok(clean)
}

fn print_trade(trade: &trade::Trade) {
    let invoices = doorbuster_bench::number::count(trade.sales());
    println!(
        "rows       {} ({} of sales in {} invoices, {} of cancellations)",
        grouped(trade.rows),
        grouped(trade.sale_rows),
        grouped(invoices),
        grouped(trade.cancellation_rows)
    );
    for (reason, rows) in &trade.skipped {
        println!("skipped    {rows} rows: {reason}");
    }
    for (name, rows) in &trade.unknown_countries {
        println!("country    `{name}` is not in the table: GB for {rows} rows");
    }
}

/// The trade in a file, for tests on the real one.
#[cfg(test)]
pub(crate) fn read_file(path: &std::path::Path) -> trade::Trade {
    file::read(path, None).expect("the file is there and is the Online Retail file")
}
