//! `--figures`: the table. Each row is a run of its own on nodes of its own; what can only be compared is measured side by side.

use super::options::{Chaos, ClusterOptions};
use super::redis::{self, RedisAct};
use super::referee;
use super::report::{self, NOTICED_MAX, SERVING_MAX, Seen, StoreFigures, write_file};
use super::run::{self, ONE_AUDIT_LIMIT, Outcome, Site, Stand, Wanted, audit};
use super::shop;
use super::stats::Sample;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::closed::{self, Closed, Measured};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{float, grouped, ratio, shown_micros, whole};
use doorbuster_bench::scripts::Orders;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Stock of a rate's run: more than can be sold in it.
const PLENTY: u64 = 2_000_000;
/// SKUs of the row "many".
const MANY: u32 = 1_000;
/// Not counted, of a rate.
const WARM_UP: Duration = Duration::from_secs(5);
/// Counted.
const MEASURED: Duration = Duration::from_secs(20);
/// How long Redis is disturbed, and measured meanwhile.
const DISTURBED: Duration = Duration::from_secs(12);
/// What must be left of the goodput while Redis is disturbed, in parts of a hundred.
const GOODPUT_MIN: f64 = 80.0;

/// One row.
#[derive(Debug)]
struct Row {
    metric: String,
    value: String,
    good: bool,
    figures: Value,
}

/// Makes all rows that are wanted, prints them as Markdown, and writes them as JSON. `true`: nothing was broken in any run.
pub(crate) async fn table(site: &Site, options: &ClusterOptions) -> Result<bool, BenchError> {
    let is_wanted = |row: &str| options.only.is_empty() || options.only.iter().any(|only| only == row);
    let mut rows = Vec::new();
    let several = usize::from(options.nodes);
    for (word, skus) in [("hot", 1), ("many", MANY)] {
        for nodes in if several > 1 { vec![1, several] } else { vec![1] } {
            if is_wanted(word) {
                add(&mut rows, reservations(site, options, nodes, skus).await?);
            }
        }
    }
    if is_wanted("failover") {
        for row in fail_over(site, options).await? {
            add(&mut rows, row);
        }
    }
    if is_wanted("rolling") {
        add(&mut rows, rolling(site, options).await?);
    }
    if is_wanted("redis") {
        for row in disturbed(site, options).await? {
            add(&mut rows, row);
        }
    }
    print!("\n{}", markdown(&rows, site.cql.addresses.len()));
    if let Some(path) = &options.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "metric": row.metric, "value": row.value, "good": row.good, "figures": row.figures }))
            .collect();
        write_file(
            path,
            &format!("{:#}\n", json!({ "one_machine": true, "cql_nodes": site.cql.addresses.len(), "rows": rows })),
        )?;
    }
    Ok(rows.iter().all(|row| row.good))
}

fn add(rows: &mut Vec<Row>, row: Row) {
    println!("           {}: {}", row.metric, row.value);
    rows.push(row);
}

fn markdown(rows: &[Row], cql_nodes: usize) -> String {
    let mut text = format!(
        "All of it on one machine: the nodes, {cql_nodes} CQL server(s), Redis, the provider and the crowd share its cores.\n\n| metric | value | |\n|---|---|---|\n"
    );
    for row in rows {
        text.push_str(&format!("| {} | {} | {} |\n", row.metric, row.value, if row.good { "" } else { "broken" }));
    }
    text
}

/// Closed loops against all nodes at once; their rates add up.
async fn saturate(
    publics: &[Target],
    options: &ClusterOptions,
    duration: (Duration, Duration),
    script: impl Fn(&Target, usize) -> Orders,
) -> Result<Measured, BenchError> {
    let connections = usize::try_from(options.connections).unwrap_or(1).div_ceil(publics.len().max(1));
    let numbers = Arc::new(AtomicU64::new(0));
    let closed = Closed { connections, warm_up: duration.0, duration: duration.1 };
    let loops = publics.iter().enumerate().map(|(index, target)| {
        let (numbers, script) = (&numbers, &script);
        async move { closed::run(target, closed, numbers, |_| script(target, index)).await }
    });
    let mut parts = try_join_all(loops).await?.into_iter();
    let mut sum = parts.next().ok_or_else(|| BenchError::Input("a cluster has a node at least".to_owned()))?;
    for part in parts {
        sum.rate += part.rate;
        sum.done += part.done;
        sum.failed += part.failed;
        sum.latency.add(&part.latency).expect("both have the same bounds");
    }
    Ok(sum)
}

fn first(targets: Vec<Target>) -> Result<Target, BenchError> {
    targets.into_iter().next().ok_or_else(|| BenchError::Input("a cluster has a node at least".to_owned()))
}

/// Reservations per second: orders without payment, answered once their stock is durably held.
async fn reservations(site: &Site, options: &ClusterOptions, nodes: usize, skus: u32) -> Result<Row, BenchError> {
    let metric = format!(
        "reservations/s, {} on {nodes} node(s)",
        if skus == 1 { "one hot SKU".to_owned() } else { format!("{} SKUs", grouped(u64::from(skus))) }
    );
    println!("           measuring {metric}");
    let stand = Stand::build(site, options, nodes, false).await?;
    let work = async {
        let fleet = stand.start_nodes(site, options).await?;
        let (skus, looked_at) = stand.skus(options, skus);
        let publics = fleet.publics();
        shop::open(&publics, &stand.run, &skus, PLENTY, &looked_at).await?;
        let skus = Arc::new(skus);
        let load =
            saturate(&publics, options, (WARM_UP, MEASURED), |target, _| Orders::new(target, &stand.run, &skus, None));
        let after_warm_up = async {
            tokio::time::sleep(WARM_UP).await;
            fleet.metrics().await
        };
        let (measured, before) = tokio::join!(load, after_warm_up);
        let measured = measured?;
        let store = StoreFigures::of(&fleet.metrics().await?).since(&StoreFigures::of(&before?));
        let audit = audit_while_held(&first(fleet.operators())?).await?;
        let good = audit && measured.done > 0;
        let at = |q: f64| shown_micros(measured.quantile(q));
        let value = format!(
            "{}/s, p50 {}, p99 {} at {} connections; {}; {}; {} not answered as wanted",
            grouped(whole(measured.rate)),
            at(0.5),
            at(0.99),
            options.connections,
            store.shown(),
            store.shown_an_order(measured.done),
            grouped(measured.failed)
        );
        let figures = json!({
            "nodes": nodes, "skus": skus.len(), "per_s": measured.rate, "p50_us": measured.quantile(0.5), "p99_us": measured.quantile(0.99),
            "failed": measured.failed, "connections": options.connections, "store": store.json(), "store_an_order": store.json_an_order(measured.done)
        });
        Ok(Row { metric, value, good, figures })
    };
    finish(site, &stand, work).await
}

/// The audit's verdict where unpaid orders keep their stock: these are under way on purpose, and not waited for.
async fn audit_while_held(operator: &Target) -> Result<bool, BenchError> {
    let audit = Caller::waiting(operator.clone(), ONE_AUDIT_LIMIT).read("/admin/audit").await?;
    Ok(audit.get("clean").and_then(Value::as_bool) == Some(true))
}

/// Does the work and drops the run's keyspace, whatever came of it.
async fn finish<T>(
    site: &Site,
    stand: &Stand,
    work: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    let done = work.await;
    let dropped = site.cql.drop_keyspace(&stand.keyspace).await;
    let done = done?;
    dropped.map(|()| done)
}

fn wanted(options: &ClusterOptions, plan: Vec<Chaos>) -> Wanted {
    let seconds = 100
        * u64::try_from(plan.len()).unwrap_or(1)
        * if plan.contains(&Chaos::Rolling) { u64::from(options.nodes) } else { 1 };
    let buyers = whole(float(seconds) * options.rate());
    Wanted {
        nodes: usize::from(options.nodes),
        skus: options.skus,
        units: buyers,
        buyers,
        closes_early: true,
        relays: plan.iter().any(|chaos| chaos.is_cut()),
        plan,
    }
}

/// Each kind of failure so often; noticed and serving as quantiles.
async fn fail_over(site: &Site, options: &ClusterOptions) -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    for chaos in [Chaos::Kill, Chaos::Stop, Chaos::Cut, Chaos::CutOut] {
        let plan = (0..options.repeat).map(|_| chaos).collect();
        let outcome = run::sale(site, options, &wanted(options, plan)).await?;
        report::print(&outcome);
        rows.push(fail_over_row(chaos, &outcome));
    }
    Ok(rows)
}

fn fail_over_row(chaos: Chaos, outcome: &Outcome) -> Row {
    let noticed: Sample = outcome.events.iter().filter_map(|event| event.noticed).collect();
    let serving: Sample = outcome.events.iter().filter_map(|event| event.serving).collect();
    let never = outcome.events.len() * 2 - noticed.len() - serving.len();
    let within = |sample: &Sample, limit: Duration| sample.quantile(0.99).is_some_and(|worst| worst <= limit);
    let limits = if never == 0 && within(&noticed, NOTICED_MAX) && within(&serving, SERVING_MAX) {
        "within"
    } else {
        "NOT within"
    };
    let seen = outcome.events.iter().fold(Seen::default(), |sum, event| {
        let one = Seen::between(&outcome.record, event.began, event.ended);
        Seen { answered: sum.answered + one.answered, again: sum.again + one.again, gave_up: sum.gave_up + one.gave_up }
    });
    Row {
        metric: format!("fail-over, {} of {} nodes", chaos.word(), outcome.wanted.nodes),
        value: format!(
            "noticed {}; serving {}; {limits} 3 s and 5 s; {}",
            noticed.shown(),
            serving.shown(),
            seen.shown()
        ),
        good: outcome.is_good(),
        figures: json!({ "noticed": noticed.json(), "serving": serving.json(), "never": never, "run": report::json(outcome) }),
    }
}

/// All nodes restarted in turn under load; errors over the whole time.
async fn rolling(site: &Site, options: &ClusterOptions) -> Result<Row, BenchError> {
    let outcome = run::sale(site, options, &wanted(options, vec![Chaos::Rolling])).await?;
    report::print(&outcome);
    let seen = Seen::between(&outcome.record, Duration::ZERO, Duration::MAX);
    Ok(Row {
        metric: format!("rolling restart of {} nodes under load", outcome.wanted.nodes),
        value: format!(
            "{}; {} lost, {} double",
            seen.shown(),
            outcome.verified.missing.len(),
            outcome.books.double.len()
        ),
        good: outcome.is_good(),
        figures: report::json(&outcome),
    })
}

/// Paid orders at full load, while Redis is left alone and while it is not; the same nodes throughout.
async fn disturbed(site: &Site, options: &ClusterOptions) -> Result<Vec<Row>, BenchError> {
    let Some(server) = site.redis.as_ref().filter(|redis| redis.is_own()) else {
        println!("           Redis: not measured, it is not ours to disturb");
        return Ok(Vec::new());
    };
    let stand = Stand::build(site, options, usize::from(options.nodes), false).await?;
    let work = async {
        let fleet = stand.start_nodes(site, options).await?;
        let (skus, looked_at) = stand.skus(options, options.skus);
        let publics = fleet.publics();
        shop::open(&publics, &stand.run, &skus, PLENTY, &looked_at).await?;
        let skus = Arc::new(skus);
        let mut rates = Vec::new();
        for act in RedisAct::ALL {
            println!("           measuring goodput, Redis {}", act.word());
            let key = format!("{}-{}", stand.run, rates.len());
            let load = saturate(&publics, options, (WARM_UP, DISTURBED), |target, _| {
                Orders::new(target, &key, &skus, Some("tok_ok"))
            });
            let faults = async {
                tokio::time::sleep(WARM_UP).await;
                redis::act(server, act, DISTURBED).await
            };
            let (measured, acted) = tokio::join!(load, faults);
            acted?;
            rates.push((act, measured?));
        }
        let books = referee::compare(&first(publics)?, &stand.simulator.target, &[]).await?;
        let report = audit(&first(fleet.operators())?).await?;
        let clean = report.get("clean").and_then(Value::as_bool) == Some(true) && books.agree();
        Ok(redis_rows(&rates, clean))
    };
    finish(site, &stand, work).await
}

fn redis_rows(rates: &[(RedisAct, Measured)], clean: bool) -> Vec<Row> {
    let undisturbed = rates.first().map_or(0.0, |(_, measured)| measured.rate);
    let row = |(act, measured): &(RedisAct, Measured)| {
        let share = ratio(measured.rate, undisturbed) * 100.0;
        let word = if share >= GOODPUT_MIN { "at least" } else { "LESS THAN" };
        Row {
            metric: format!("paid orders/s, Redis {}", act.word()),
            value: format!(
                "{}/s, {share:.0} % of undisturbed ({word} {GOODPUT_MIN:.0} %), p99 {}; orders, audit and ledger {}",
                grouped(whole(measured.rate)),
                shown_micros(measured.quantile(0.99)),
                if clean { "agree" } else { "DISAGREE" }
            ),
            good: clean,
            figures: json!({ "per_s": measured.rate, "percent": share, "p99_us": measured.quantile(0.99), "failed": measured.failed, "clean": clean }),
        }
    };
    rates.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_bench::closed::latencies;

    fn measured(rate: f64) -> Measured {
        Measured { rate, latency: latencies(3), done: 1, failed: 0 }
    }

    #[test]
    fn goodput_is_held_against_the_undisturbed_run() {
        let rates =
            [(RedisAct::Nothing, measured(100.0)), (RedisAct::Kill, measured(81.0)), (RedisAct::Hang, measured(79.0))];
        let rows = redis_rows(&rates, true);
        assert!(rows[1].value.contains("81 % of undisturbed (at least 80 %)"), "{}", rows[1].value);
        assert!(rows[2].value.contains("LESS THAN 80 %"));
        assert!(redis_rows(&rates, false).iter().all(|row| !row.good));
    }

    #[test]
    fn the_table_says_that_it_is_one_machine_and_which_rows_are_broken() {
        let row = Row { metric: "m".into(), value: "v".into(), good: false, figures: Value::Null };
        let text = markdown(&[row], 3);
        assert!(
            text.starts_with("All of it on one machine")
                && text.contains("3 CQL server(s)")
                && text.ends_with("| m | v | broken |\n")
        );
    }
}
