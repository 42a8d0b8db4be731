//! What a run brought: on standard output, as one page with plots, as JSON.

use super::chaos::{Event, shown};
use super::options::{Chaos, ClusterOptions};
use super::run::Outcome;
use super::stats::{Sample, merged, millis, percent};
use crate::machine::Origin;
use crate::record::{Record, SLOT};
use crate::report::{STYLE, latency_over_time, throughput};
use crate::sale::print_verified;
use crate::svg::{self, Axes, escape};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{float, grouped, ratio, shown_micros, whole};
use doorbuster_bench::prometheus::{self, Histogram};
use doorbuster_bench::shopper::Verdict;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a failure may take: the figures to show.
pub(crate) const NOTICED_MAX: Duration = Duration::from_secs(3);
/// See [`NOTICED_MAX`].
pub(crate) const SERVING_MAX: Duration = Duration::from_secs(5);

/// What buyers saw between two instants of the sale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Buyers who got an answer.
    pub(crate) answered: u64,
    /// Requests that had to be sent again: errors before retries.
    pub(crate) again: u64,
    /// Buyers who gave up: errors after them.
    pub(crate) gave_up: u64,
}

impl Seen {
    /// In the slots that lie (partly) between `from` and `to`.
    pub(crate) fn between(record: &Record, from: Duration, to: Duration) -> Self {
        let mut seen = Self::default();
        for (slot, number) in record.slots.iter().zip(0_u32..) {
            if SLOT * (number + 1) > from && SLOT * number < to {
                seen.answered += slot.answers.values().sum::<u64>();
                seen.again += slot.again;
                seen.gave_up += slot.gave_up;
            }
        }
        seen
    }

    /// Requests, whatever came of them.
    pub(crate) const fn requests(self) -> u64 {
        self.answered + self.again + self.gave_up
    }

    /// In words.
    pub(crate) fn shown(self) -> String {
        format!(
            "{} of {} requests sent again ({}), {} buyers of {} gave up ({})",
            grouped(self.again),
            grouped(self.requests()),
            percent(self.again, self.requests()),
            grouped(self.gave_up),
            grouped(self.answered + self.gave_up),
            percent(self.gave_up, self.answered + self.gave_up)
        )
    }

    fn json(self) -> Value {
        json!({ "answered": self.answered, "sent_again": self.again, "gave_up": self.gave_up })
    }
}

/// What the store was asked for, from the nodes' own figures (of the processes that run at the end).
#[derive(Debug, Clone)]
pub(crate) struct StoreFigures {
    /// How long a lightweight transaction that appends a batch took.
    pub(crate) appends: Histogram,
    /// Decisions in one batch.
    pub(crate) batches: Histogram,
    /// Single counters by name.
    pub(crate) counters: BTreeMap<&'static str, u64>,
}

/// Counters of the store and of the way between nodes that belong beside every figure.
const COUNTERS: [&str; 11] = [
    "cql_appends",
    "cql_transactions",
    "cql_confirmations",
    "cql_unknown_outcomes",
    "cql_settled_as_committed",
    "cql_never_settled",
    "cql_fenced",
    "cql_claims",
    "cql_rolls",
    "cluster_sent",
    "cluster_frames_sent",
];

impl StoreFigures {
    /// Out of the nodes' texts.
    pub(crate) fn of(metrics: &[String]) -> Self {
        let all = |words: &[&str]| merged(metrics.iter().map(|text| Histogram::find(text, words)));
        // With the ending, since one name may begin another.
        let sum = |name: &str| {
            let counter = format!("{name}_total");
            metrics.iter().filter_map(|text| prometheus::sum(text, &[counter.as_str()])).sum::<f64>()
        };
        let counters = COUNTERS.into_iter().map(|name| (name, whole(sum(name)))).collect();
        Self { appends: all(&["append_seconds"]), batches: all(&["batch_records"]), counters }
    }

    /// What was asked since `before`, of the same processes.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let earlier = |name: &str| before.counters.get(name).copied().unwrap_or(0);
        let counters = self.counters.iter().map(|(name, value)| (*name, value.saturating_sub(earlier(name))));
        Self {
            appends: self.appends.since(&before.appends),
            batches: self.batches.since(&before.batches),
            counters: counters.collect(),
        }
    }

    /// Transactions and reads that one order cost; `None` without orders.
    fn an_order(&self, orders: u64) -> Option<[f64; 2]> {
        let of = |name: &str| ratio(float(self.counters.get(name).copied().unwrap_or(0)), float(orders));
        (orders > 0).then(|| [of("cql_transactions"), of("cql_confirmations")])
    }

    /// The same in words. One order alone waits for them one after the other.
    pub(crate) fn shown_an_order(&self, orders: u64) -> String {
        self.an_order(orders).map_or_else(
            || "no order".to_owned(),
            |[transactions, reads]| format!("an order: {transactions:.2} transactions, {reads:.2} reads of the fence"),
        )
    }

    /// The same for machines.
    pub(crate) fn json_an_order(&self, orders: u64) -> Value {
        let [transactions, reads] = self.an_order(orders).map_or([None; 2], |both| both.map(Some));
        json!({ "orders": orders, "transactions": transactions, "reads": reads })
    }

    /// A quantile of the decisions in a batch; none holds less than one, whatever interpolation says.
    fn batch(&self, q: f64) -> Option<f64> {
        self.batches.quantile(q).map(|decisions| decisions.max(1.0))
    }

    /// In words.
    pub(crate) fn shown(&self) -> String {
        let time = |q: f64| {
            self.appends
                .quantile(q)
                .map_or_else(|| "not known".to_owned(), |seconds| shown_micros(whole(seconds * 1e6)))
        };
        let events =
            |q: f64| self.batch(q).map_or_else(|| "not known".to_owned(), |decisions| format!("{decisions:.1}"));
        format!(
            "append (LWT) p50 {}, p99 {}; decisions in a batch p50 {}, p99 {}",
            time(0.5),
            time(0.99),
            events(0.5),
            events(0.99)
        )
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let micros = |q: f64| self.appends.quantile(q).map(|seconds| whole(seconds * 1e6));
        json!({
            "append_p50_us": micros(0.5), "append_p99_us": micros(0.99), "appends_measured": self.appends.count(),
            "batch_decisions_p50": self.batch(0.5), "batch_decisions_p99": self.batch(0.99), "batches": self.batches.count(),
            "counters": self.counters
        })
    }
}

/// Prints it.
pub(crate) fn print(outcome: &Outcome) {
    let (record, verified) = (&outcome.record, &outcome.verified);
    let seconds = record.ended.as_secs_f64();
    println!(
        "confirmed  {}, sold out {}, declined {}, ended otherwise {}, refused {}",
        grouped(verified.confirmed),
        grouped(record.answered_with(Verdict::SoldOut)),
        grouped(record.answered_with(Verdict::Declined)),
        grouped(record.answered_with(Verdict::Ended)),
        grouped(record.answered_with(Verdict::Refused))
    );
    println!(
        "           {}/s answered over {seconds:.1} s, {} nodes, {} CQL server(s), all on this machine",
        grouped(whole(ratio(float(record.answers()), seconds))),
        outcome.wanted.nodes,
        outcome.cql_nodes
    );
    let at = |q: f64| shown_micros(record.latency.value_at_quantile(q));
    println!(
        "latency    p50 {}, p99 {}, p99.9 {}, max {} (from the intended time)",
        at(0.5),
        at(0.99),
        at(0.999),
        shown_micros(record.latency.max())
    );
    let all = Seen::between(record, Duration::ZERO, Duration::MAX);
    println!("errors     {}", all.shown());
    for (what, number) in record
        .again_why
        .iter()
        .map(|(why, n)| (format!("sent again: {why}"), n))
        .chain(record.gave_up.iter().map(|(why, n)| (format!("gave up: {why}"), n)))
        .chain(record.refusals.iter().map(|(why, n)| (format!("refused: {why}"), n)))
    {
        println!("             {} × {what}", grouped(*number));
    }
    for event in &outcome.events {
        println!("           {}", shown(event));
        println!("             {}", Seen::between(record, event.began, event.ended).shown());
    }
    for line in failures(&outcome.events) {
        println!("           {line}");
    }
    for line in &outcome.ended_by_themselves {
        println!("           {line}");
    }
    println!("store      {}", StoreFigures::of(&outcome.metrics).shown());
    if let Some(sale) = outcome.store_of_sale() {
        println!("           {}", sale.shown_an_order(outcome.verified.confirmed));
    }
    print_proof(outcome);
}

/// Noticed and serving over all failures of a run, against what they may take.
fn failures(events: &[Event]) -> Vec<String> {
    let failed: Vec<&Event> =
        events.iter().filter(|event| event.chaos.is_failure() && event.chaos != Chaos::CutPeers).collect();
    if failed.is_empty() {
        return Vec::new();
    }
    let line = |what: &str, limit: Duration, of: fn(&Event) -> Option<Duration>| {
        let sample: Sample = failed.iter().filter_map(|event| of(event)).collect();
        let within = sample.len() == failed.len() && sample.quantile(1.0).is_some_and(|worst| worst <= limit);
        let verdict = if within { "within" } else { "NOT within" };
        format!("{what}: {}; {verdict} {} s", sample.shown(), limit.as_secs())
    };
    vec![line("noticed", NOTICED_MAX, |event| event.noticed), line("serving", SERVING_MAX, |event| event.serving)]
}

fn print_proof(outcome: &Outcome) {
    let (verified, books) = (&outcome.verified, &outcome.books);
    print_verified(verified);
    outcome.listed.print();
    println!(
        "ledger     {} lines of the provider against {} orders: {} double, {} orphan, {} missing; {} still under way",
        grouped(doorbuster_bench::number::count(books.lines)),
        grouped(doorbuster_bench::number::count(books.orders)),
        books.double.len(),
        books.orphan.len(),
        books.missing.len(),
        books.in_flight
    );
    for order in books.double.iter().chain(&books.orphan).chain(&books.missing).take(10) {
        println!("             {order}");
    }
    let word = if outcome.is_oversold() { "OVERSOLD" } else { "nothing oversold" };
    println!(
        "stock      {} received, {} confirmed, {} still held, {} left: {word}",
        grouped(outcome.wanted.units),
        grouped(verified.confirmed_units),
        grouped(outcome.level.reserved),
        grouped(outcome.level.available)
    );
    let orders = outcome.audit.get("orders").and_then(Value::as_u64).map_or_else(|| "all".to_owned(), grouped);
    if outcome.is_clean() {
        println!("audit      clean, over the whole cluster ({orders} orders)");
    } else {
        println!("audit      NOT CLEAN: {}", outcome.audit.get("violations").unwrap_or(&outcome.audit));
    }
    println!("verdict    {}", if outcome.is_good() { "nothing was broken" } else { "BROKEN" });
}

/// For machines: one run.
pub(crate) fn json(outcome: &Outcome) -> Value {
    let record = &outcome.record;
    let at = |q: f64| record.latency.value_at_quantile(q);
    let events: Vec<Value> = outcome.events.iter().map(|event| event_json(record, event)).collect();
    json!({
        "good": outcome.is_good(),
        "nodes": outcome.wanted.nodes, "cql_nodes": outcome.cql_nodes, "one_machine": true,
        "skus": outcome.wanted.skus, "units": outcome.wanted.units, "rate": outcome.rate,
        "answered": record.answers(), "answered_per_s": ratio(float(record.answers()), record.ended.as_secs_f64()),
        "confirmed": outcome.verified.confirmed, "sold_out": record.answered_with(Verdict::SoldOut),
        "latency_us": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": record.latency.max() },
        "errors": { "sent_again": record.again, "sent_again_why": record.again_why, "gave_up": record.gave_up, "refusals": record.refusals },
        "events": events, "ended_by_themselves": outcome.ended_by_themselves,
        "store": StoreFigures::of(&outcome.metrics).json(),
        "store_an_order": outcome.store_of_sale().map(|sale| sale.json_an_order(outcome.verified.confirmed)),
        "read_back": { "acknowledged": outcome.verified.acknowledged, "read": outcome.verified.read, "missing": outcome.verified.missing, "contradicted": outcome.verified.contradicted, "unsettled": outcome.verified.unsettled },
        "lists": { "orders": outcome.listed.orders, "missing": outcome.listed.missing, "twice": outcome.listed.twice },
        "ledger": { "lines": outcome.books.lines, "orders": outcome.books.orders, "double": outcome.books.double, "orphan": outcome.books.orphan, "missing": outcome.books.missing, "in_flight": outcome.books.in_flight },
        "stock": { "on_hand": outcome.level.on_hand, "reserved": outcome.level.reserved, "available": outcome.level.available, "confirmed_units": outcome.verified.confirmed_units, "oversold": outcome.is_oversold() },
        "audit": outcome.audit,
    })
}

fn event_json(record: &Record, event: &Event) -> Value {
    json!({
        "what": event.chaos.word(), "node": event.node, "at_ms": millis(event.began),
        "noticed_ms": event.noticed.map(millis), "serving_ms": event.serving.map(millis), "whole_ms": event.whole.map(millis),
        "longest_silence_ms": millis(event.silence), "buyers": Seen::between(record, event.began, event.ended).json()
    })
}

/// Writes the page, and the JSON if it is wanted.
pub(crate) fn write(outcome: &Outcome, options: &ClusterOptions) -> Result<(), BenchError> {
    write_file(&options.report, &html(outcome))?;
    println!("report     {}", options.report.display());
    if let Some(path) = &options.json {
        write_file(path, &format!("{:#}\n", json(outcome)))?;
        println!("json       {}", path.display());
    }
    Ok(())
}

/// Writes a text.
pub(crate) fn write_file(path: &std::path::Path, text: &str) -> Result<(), BenchError> {
    std::fs::write(path, text).map_err(|source| BenchError::io(format!("write {}", path.display()), source))
}

/// The whole page.
pub(crate) fn html(outcome: &Outcome) -> String {
    let record = &outcome.record;
    let marks: Vec<(f64, &str)> =
        outcome.events.iter().map(|event| (event.began.as_secs_f64(), event.chaos.word())).collect();
    let seconds = Axes { x: "seconds", y: "per second", title: "", y_log: false, x_log: false };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Flash sale on a cluster</title><style>{STYLE}</style><h1>Flash sale on a cluster</h1>"
    );
    let (word, class) = if outcome.is_good() { ("nothing was broken", "good") } else { ("broken", "bad") };
    page.push_str(&format!(
        "<p><b class=\"{class}\">{word}</b>; {} nodes and {} CQL server(s), all on one machine.</p><table>",
        outcome.wanted.nodes, outcome.cql_nodes
    ));
    for (name, value) in Origin::now().rows() {
        page.push_str(&format!("<tr><td>{name}</td><td>{}</td></tr>", escape(&value)));
    }
    for event in &outcome.events {
        page.push_str(&format!(
            "<tr><td>{}</td><td>{}</td></tr>",
            escape(&shown(event)),
            escape(&Seen::between(record, event.began, event.ended).shown())
        ));
    }
    page.push_str("</table>");
    page.push_str(&svg::lines(Axes { title: "Answers per second", ..seconds }, &throughput(record), &marks));
    page.push_str(&svg::lines(
        Axes { title: "Latency over time", y: "milliseconds", y_log: true, ..seconds },
        &latency_over_time(record),
        &marks,
    ));
    page.push_str(&format!("<pre>{}</pre></html>", escape(&format!("{:#}", json(outcome)))));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::referee::Books;
    use crate::cluster::run::Wanted;
    use crate::listed::Listed;
    use crate::verify::Verified;
    use doorbuster_bench::catalogue::Level;

    fn event(chaos: Chaos, noticed: u64, serving: Option<u64>) -> Event {
        Event {
            chaos,
            node: "node2".into(),
            began: Duration::from_secs(2),
            noticed: Some(Duration::from_millis(noticed)),
            serving: serving.map(Duration::from_millis),
            whole: Some(Duration::from_secs(6)),
            silence: Duration::from_millis(100),
            ended: Duration::from_secs(8),
        }
    }

    fn outcome() -> Outcome {
        let mut record = Record::new();
        for second in 1..10 {
            record.answered(Duration::from_secs(second), Duration::from_secs(second), Verdict::Confirmed);
        }
        record.sent_again(Duration::from_millis(3_100), "503 overloaded");
        Outcome {
            wanted: Wanted { nodes: 3, skus: 1, units: 20, buyers: 9, closes_early: false, relays: false, plan: vec![Chaos::Kill] },
            rate: 1.0,
            cql_nodes: 1,
            listed: Listed::default(),
            record,
            events: vec![event(Chaos::Kill, 2_000, Some(3_000))],
            ended_by_themselves: Vec::new(),
            verified: Verified { acknowledged: 9, read: 9, confirmed: 9, confirmed_units: 9, ..Verified::default() },
            level: Level { on_hand: 11, reserved: 0, available: 11 },
            audit: json!({ "clean": true, "orders": 9 }),
            books: Books { lines: 18, orders: 9, ..Books::default() },
            metrics_before: vec!["doorbuster_cql_transactions_total 30\n".to_owned()],
            metrics: vec!["doorbuster_cql_transactions_total 75\ndoorbuster_cql_confirmations_total 9\ndoorbuster_append_seconds_bucket{le=\"0.01\"} 5\ndoorbuster_append_seconds_bucket{le=\"+Inf\"} 5\ndoorbuster_cql_appends_total 5\n".to_owned()],
        }
    }

    #[test]
    fn whatever_is_broken_fails_the_run() {
        assert!(outcome().is_good());
        let broken: [fn(&mut Outcome); 7] = [
            |outcome| outcome.audit = json!({ "clean": false }),
            |outcome| outcome.audit = json!({}),
            |outcome| outcome.verified.missing.push("ord_1".into()),
            |outcome| outcome.verified.confirmed_units = 21,
            |outcome| outcome.books.double.push("ord_1".into()),
            |outcome| outcome.record.gave_up(Duration::from_secs(1), "503".into()),
            |outcome| outcome.record = Record::new(),
        ];
        for (number, breaks) in broken.iter().enumerate() {
            let mut outcome = outcome();
            breaks(&mut outcome);
            assert!(!outcome.is_good(), "{number}");
            assert_eq!(json(&outcome)["good"], false);
        }
    }

    #[test]
    fn what_buyers_saw_is_counted_within_the_event() {
        let record = outcome().record;
        let seen = Seen::between(&record, Duration::from_secs(2), Duration::from_millis(4_200));
        assert_eq!(seen, Seen { answered: 3, again: 1, gave_up: 0 });
        assert_eq!(Seen::between(&record, Duration::from_secs(4), Duration::from_secs(5)).again, 0);
        assert_eq!(Seen::between(&record, Duration::ZERO, Duration::MAX).requests(), 10);
    }

    #[test]
    fn a_failure_that_was_never_healed_is_not_within_the_limit() {
        assert!(failures(&[event(Chaos::Kill, 2_900, Some(4_900))]).iter().all(|line| line.contains("; within")));
        assert!(failures(&[event(Chaos::Kill, 3_100, None)]).iter().all(|line| line.contains("NOT within")));
        assert!(failures(&[event(Chaos::Drain, 9_000, None)]).is_empty());
    }

    #[test]
    fn the_page_stands_alone_and_the_json_holds_every_figure() {
        let outcome = outcome();
        let page = html(&outcome);
        assert!(page.contains("nothing was broken") && !page.contains("http") && !page.contains("NaN"));
        let read = json(&outcome);
        assert_eq!(
            (&read["events"][0]["serving_ms"], &read["store"]["counters"]["cql_appends"]),
            (&json!(3_000), &json!(5))
        );
        assert!(read["store"]["append_p50_us"].as_u64().is_some_and(|micros| micros <= 10_000));
        assert_eq!(read["store_an_order"], json!(null), "a process that was killed took its counters with it");
        let quiet = Outcome { events: Vec::new(), ..outcome };
        assert_eq!(json(&quiet)["store_an_order"], json!({ "orders": 9, "transactions": 5.0, "reads": 1.0 }));
    }
}
