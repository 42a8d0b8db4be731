//! The table of a hostile crowd, its verdict, and the same as JSON.

use super::honest::Window;
use super::run::{BACK_WITHIN, Outcome, Row, SERVED_WHILE, orders};
use crate::overload::shown_bytes;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{float, grouped, ratio, shown_micros};
use std::path::Path;

pub(super) fn print_head() {
    println!(
        "{:<16} {:>8}  {:>24}  {:>24}  {:>30}  {:>9}  answers",
        "attack", "requests", "before: p50 p99 /s", "while: p50 p99 /s", "memory: before, peak, after", "as before"
    );
}

fn shown(window: &Window) -> String {
    let time = |micros: Option<u64>| micros.map_or_else(|| "-".to_owned(), shown_micros);
    format!("{} {} {:.0}", time(window.p50_us), time(window.p99_us), window.goodput)
}

pub(super) fn print_row(row: &Row) {
    let mut answers: Vec<String> =
        row.sent.answers.iter().map(|(status, answers)| format!("{status}: {}", grouped(*answers))).collect();
    if row.sent.lost > 0 {
        answers.push(format!("not answered: {}", grouped(row.sent.lost)));
    }
    let back = row.back_ms.map_or_else(|| "never".to_owned(), |ms| format!("{:.1} s", float(ms) / 1_000.0));
    let memory =
        format!("{}, {}, {}", shown_bytes(row.rss_before), shown_bytes(row.rss_peak), shown_bytes(row.rss_after));
    println!(
        "{:<16} {:>8}  {:>24}  {:>24}  {:>30}  {:>9}  {}{}",
        row.attack,
        grouped(row.sent.requests),
        shown(&row.before),
        shown(&row.during),
        memory,
        back,
        answers.join(", "),
        if row.ended { "; the node ENDED and was started again" } else { "" },
    );
}

/// Prints what holds; gives whether all of it does. In a short run times claim nothing.
pub(super) fn verdict(outcome: &Outcome) -> bool {
    let ends: Vec<String> =
        outcome.honest.iter().map(|(status, orders)| format!("{status}: {}", grouped(*orders))).collect();
    println!("\nhonest     {} orders, by last answer: {}", grouped(orders(outcome)), ends.join(", "));
    println!("verdict");
    let mut good = true;
    let mut claim = |what: &str, holds: bool| {
        println!("  {}  {what}", if holds { "holds " } else { "BROKEN" });
        good &= holds;
    };
    for (what, holds) in outcome.facts() {
        claim(what, holds);
    }
    if !outcome.short {
        for row in &outcome.rows {
            let served = ratio(float(row.during.served), float(row.during.offered));
            let what = format!("{}: {:.0} % of the honest served meanwhile", row.attack, served * 100.0);
            claim(&what, served >= SERVED_WHILE);
            let limit_ms = u64::try_from(BACK_WITHIN.as_millis()).unwrap_or(u64::MAX);
            let what = format!("{}: as before within {} s", row.attack, BACK_WITHIN.as_secs());
            claim(&what, row.back_ms.is_some_and(|ms| ms <= limit_ms));
        }
    }
    good
}

/// Writes the figures as JSON.
pub(super) fn write(outcome: &Outcome, path: &Path) -> Result<(), BenchError> {
    let failed = |source: std::io::Error| BenchError::io(format!("write {}", path.display()), source);
    let text = serde_json::to_string_pretty(outcome).map_err(|error| failed(error.into()))?;
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::attacks::Tally;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn outcome(short: bool, back_ms: Option<u64>, status: u16) -> Outcome {
        let window = Window { offered: 100, served: 95, goodput: 95.0, p50_us: Some(900), p99_us: Some(4_000) };
        let row = Row {
            attack: "guests",
            sent: Tally::default(),
            attack_ms: 1_000,
            before: window,
            during: window,
            rss_before: 1,
            rss_peak: 2,
            rss_after: 1,
            back_ms,
            ended: false,
        };
        Outcome {
            node: String::new(),
            honest_per_s: 100.0,
            short,
            rows: vec![row],
            honest: BTreeMap::from([(status, 100)]),
            unlawful: u64::from(status == 0) * 100,
            node_ended: false,
            oversold: false,
            audit: json!({ "clean": true }),
        }
    }

    #[test]
    fn a_short_run_is_judged_by_its_facts_and_a_whole_one_by_its_times_too() {
        assert!(verdict(&outcome(true, None, 201)) && verdict(&outcome(false, Some(4_000), 201)));
        assert!(!verdict(&outcome(false, None, 201)) && !verdict(&outcome(false, Some(9_000), 201)));
        assert!(!verdict(&outcome(true, Some(0), 0)), "an honest order without an answer");
    }

    #[test]
    fn the_report_is_json_with_a_row_for_each_attack() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hostile.json");
        write(&outcome(false, Some(500), 201), &path).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&read["rows"][0]["attack"], &read["rows"][0]["back_ms"]), (&json!("guests"), &json!(500)));
        assert_eq!(read["rows"][0]["during"]["p99_us"], 4_000);
    }
}
