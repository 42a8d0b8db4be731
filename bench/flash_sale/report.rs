//! The report: one HTML file that needs nothing else.

use super::kill::{Kill, Story};
use super::listed::Listed;
use super::listen::Heard;
use super::machine::Origin;
use super::options::SaleOptions;
use super::record::{Record, SLOT};
use super::svg::{self, Axes, Series, escape};
use super::verify::{self, Verified};
use doorbuster_bench::catalogue::Level;
use doorbuster_bench::number::{float, grouped, ratio, shown_micros, whole};
use doorbuster_bench::prometheus::Histogram;
use doorbuster_bench::shopper::Verdict;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything the sale brought.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Where and when.
    pub(crate) origin: Origin,
    /// What was asked for.
    pub(crate) options: SaleOptions,
    /// fsync p50 of the idle disk, microseconds.
    pub(crate) probed: Option<u64>,
    /// fsync p50 in the node, microseconds.
    pub(crate) fsync: Option<u64>,
    /// Events per batch.
    pub(crate) batches: Histogram,
    /// Units available over time.
    pub(crate) stock: Vec<(Duration, u64)>,
    /// Stock at the end.
    pub(crate) level: Level,
    /// The kill, if there was one.
    pub(crate) kill: Option<Kill>,
    /// What it met.
    pub(crate) story: Option<Story>,
    /// The operator port's audit.
    pub(crate) audit: Option<Value>,
    /// What reading back found.
    pub(crate) verified: Verified,
    /// The list of orders.
    pub(crate) listed: Listed,
    /// What was heard of beside the crowd; `None`: there was no listener.
    pub(crate) heard: Option<Heard>,
    /// The buyers' side.
    pub(crate) record: Record,
}

pub(crate) const STYLE: &str = ":root{color-scheme:light dark;--ink:#222;--soft:#666;--paper:#fff;--plot:#fafafa;--grid:#e4e4e4;--mark:#c00;--good:#17733f;--bad:#b3261e;\
--c0:#1b6ca8;--c1:#c8553d;--c2:#588157;--c3:#8d6a9f;--c4:#b08900}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--soft:#a3a3a3;--paper:#161616;--plot:#1f1f1f;--grid:#3a3a3a;--mark:#ff7b72;--good:#57c785;--bad:#ff8a80;\
--c0:#6cb6ec;--c1:#f2957f;--c2:#9cc79a;--c3:#c6a5d8;--c4:#e3bd4c}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2em auto;padding:0 1em;color:var(--ink);background:var(--paper)}\
table{border-collapse:collapse}td{padding:.15em 1em .15em 0;vertical-align:top;overflow-wrap:anywhere}td:first-child{color:var(--soft);min-width:9em}\
figure{margin:1.5em 0}figcaption{font-weight:600}svg{width:100%;height:auto;background:var(--plot)}svg text{font-size:11px;fill:var(--soft)}\
.grid{stroke:var(--grid)}.mark{stroke:var(--mark);stroke-dasharray:4 3}text.mark{stroke:none;fill:var(--mark)}.legend{margin:.2em 0;font-size:13px}\
pre{background:var(--plot);padding:1em;overflow:auto}.verdict{font-size:1.25em;font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}\
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}rect.c0{fill:var(--c0);stroke:none}\
.l0{color:var(--c0)}.l1{color:var(--c1)}.l2{color:var(--c2)}.l3{color:var(--c3)}.l4{color:var(--c4)}";

/// The whole page.
pub(crate) fn html(figures: &Figures) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Flash sale</title><style>",
    );
    page.push_str(STYLE);
    page.push_str("</style><h1>Flash sale</h1>");
    let class = if figures.is_good() { "good" } else { "bad" };
    page.push_str(&format!("<p class=\"verdict {class}\">{}</p>", figures.verdict()));
    page.push_str(&summary(figures));
    if let (Some(kill), Some(story)) = (&figures.kill, &figures.story) {
        page.push_str(&shown_kill(kill, story));
    }
    for plot in plots(figures) {
        page.push_str(&plot);
    }
    page.push_str("<p>Latency counts from the instant at which the schedule let the buyer in, not from the sending: whoever a stall kept waiting is counted.</p></html>");
    page
}

fn summary(figures: &Figures) -> String {
    let record = &figures.record;
    let audit = match figures.is_audited_clean() {
        Some(true) => "<b class=\"good\">clean</b>",
        Some(false) => "<b class=\"bad\">not clean</b>",
        None => "not asked",
    };
    let at = |q: f64| shown_micros(record.latency.value_at_quantile(q));
    let shown = |micros: Option<u64>| micros.map_or_else(|| "not known".to_owned(), shown_micros);
    let rows = [
        (
            "Units, SKUs, buyers",
            format!(
                "{}, {}, {}",
                grouped(figures.options.units),
                figures.options.skus,
                grouped(figures.options.crowd())
            ),
        ),
        ("Arrivals per second", grouped(whole(figures.options.rate()))),
        ("Connections, seed", format!("{}, {}", figures.options.node.connections, figures.options.seed)),
        ("Confirmed", grouped(figures.verified.confirmed)),
        ("Sold out", grouped(record.answered_with(Verdict::SoldOut))),
        ("Errors", grouped(record.errors())),
        ("Sent again, same key", grouped(record.again)),
        ("Throughput", format!("{}/s", grouped(whole(ratio(float(record.answers()), record.ended.as_secs_f64()))))),
        ("Latency p50, p99, p99.9", format!("{}, {}, {}", at(0.5), at(0.99), at(0.999))),
        ("fsync p50 (node, idle disk)", format!("{}, {}", shown(figures.fsync), shown(figures.probed))),
        (
            "Read back",
            format!(
                "{} acknowledged orders, {} missing, {} not what was said",
                verify::coverage(&figures.verified),
                figures.verified.missing.len(),
                figures.verified.contradicted.len()
            ),
        ),
        (
            "Stock left",
            format!(
                "{} ({} on hand, {} reserved)",
                grouped(figures.level.available),
                grouped(figures.level.on_hand),
                grouped(figures.level.reserved)
            ),
        ),
        ("Audit", audit.to_owned()),
    ];
    let origin = figures.origin.rows().map(|(name, value)| (name, escape(&value)));
    let rows = origin.iter().chain(&rows);
    let rows: String = rows.map(|(name, value)| format!("<tr><td>{name}</td><td>{value}</td></tr>")).collect();
    let note = if figures.only_orders() {
        ""
    } else {
        "<p>Answers are of whole journeys: from arrival to the answer of the order.</p>"
    };
    format!("<table>{rows}</table>{note}")
}

fn shown_kill(kill: &Kill, story: &Story) -> String {
    let lines: Vec<String> = story.lines.iter().map(|line| escape(line)).collect();
    format!(
        "<h2>The kill</h2><p>SIGKILL at {:.2} s, serving again {:.2} s later; {} orders were mid-payment, {} were charged twice.</p><pre>{}</pre>",
        kill.at.as_secs_f64(),
        (kill.back - kill.at).as_secs_f64(),
        story.mid_payment,
        story.charged_twice.len(),
        lines.join("\n")
    )
}

fn plots(figures: &Figures) -> Vec<String> {
    let marks: Vec<(f64, &str)> = figures
        .kill
        .iter()
        .flat_map(|kill| [(kill.at.as_secs_f64(), "killed"), (kill.back.as_secs_f64(), "serving")])
        .collect();
    let seconds = Axes { x: "seconds since the sale began", y: "", title: "", y_log: false, x_log: false };
    let latency = &figures.record.latency;
    let mut plots = vec![
        svg::lines(
            Axes { title: "Answers per second", y: "answers per second", ..seconds },
            &throughput(&figures.record),
            &marks,
        ),
        svg::lines(
            Axes { title: "Latency over time", y: "milliseconds", y_log: true, ..seconds },
            &latency_over_time(&figures.record),
            &marks,
        ),
        svg::lines(
            Axes {
                title: "Share of buyers who were answered within a time",
                x: "milliseconds",
                y: "per cent",
                y_log: false,
                x_log: true,
            },
            &[Series { name: "all buyers".to_owned(), points: cumulative(&figures.record) }],
            &[],
        ),
        svg::bars(
            Axes { title: "Buyers by latency", x: "milliseconds", y: "buyers", y_log: false, x_log: true },
            &latency
                .iter_log(100, 1.5)
                .map(|step| {
                    (
                        float(step.value_iterated_to()) / 1_500.0,
                        float(step.value_iterated_to()) / 1_000.0,
                        float(step.count_since_last_iteration()),
                    )
                })
                .collect::<Vec<_>>(),
        ),
    ];
    let stock = figures.stock.iter().map(|(at, units)| (at.as_secs_f64(), float(*units))).collect();
    let stock = Series { name: "available".to_owned(), points: stock };
    plots.push(svg::lines(Axes { title: "Stock over time", y: "units available", ..seconds }, &[stock], &marks));
    let batches: Vec<(f64, f64, f64)> =
        figures.batches.bars().into_iter().map(|(low, high, n)| (low.max(1.0), high, float(n))).collect();
    if !batches.is_empty() {
        plots.push(svg::bars(
            Axes { title: "Batches by size", x: "decisions in one batch", y: "batches", y_log: false, x_log: true },
            &batches,
        ));
    }
    plots
}

/// The same figures for programs.
pub(crate) fn json(figures: &Figures) -> Value {
    let (record, verified, origin) = (&figures.record, &figures.verified, &figures.origin);
    let at = |q: f64| record.latency.value_at_quantile(q);
    json!({
        "good": figures.is_good(), "verdict": figures.verdict(),
        "at": origin.at, "version": origin.version, "machine": origin.machine, "command": origin.command,
        "units": figures.options.units, "skus": figures.options.skus, "buyers": figures.options.crowd(),
        "rate": figures.options.rate(), "connections": figures.options.node.connections, "seed": figures.options.seed,
        "seconds": record.ended.as_secs_f64(), "answers": record.answers(), "errors": record.errors(), "sent_again": record.again,
        "sold_out": record.answered_with(Verdict::SoldOut), "declined": record.answered_with(Verdict::Declined),
        "latency_us": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": record.latency.max() },
        "fsync_p50_us": { "node": figures.fsync, "idle_disk": figures.probed },
        "acknowledged": verified.acknowledged, "read_back": verified.read, "missing": verified.missing,
        "contradicted": verified.contradicted, "unlisted": figures.listed.missing, "listed_twice": figures.listed.twice,
        "events": figures.heard.as_ref().map(|heard| json!({ "heard": heard.events, "unheard": heard.unheard, "wrong": heard.wrong })), "unsettled": verified.unsettled, "confirmed": verified.confirmed,
        "confirmed_units": verified.confirmed_units,
        "stock": { "on_hand": figures.level.on_hand, "reserved": figures.level.reserved, "available": figures.level.available },
        "charged_twice": figures.story.as_ref().map(|story| &story.charged_twice), "audit": figures.audit,
    })
}

fn over_time(record: &Record, name: &str, value: impl Fn(&super::record::Slot) -> Option<f64>) -> Series {
    let at = |index: usize| SLOT.as_secs_f64() * (float(doorbuster_bench::number::count(index)) + 0.5);
    let points = record.slots.iter().enumerate().filter_map(|(index, slot)| Some((at(index), value(slot)?))).collect();
    Series { name: name.to_owned(), points }
}

pub(crate) fn throughput(record: &Record) -> Vec<Series> {
    let rate = |n: u64| Some(float(n) / SLOT.as_secs_f64());
    vec![
        over_time(record, "got one", |slot| rate(slot.of(&[Verdict::Confirmed, Verdict::Held, Verdict::Declined]))),
        over_time(record, "sold out", |slot| rate(slot.of(&[Verdict::SoldOut]))),
        over_time(record, "sent again", |slot| rate(slot.again)),
    ]
}

pub(crate) fn latency_over_time(record: &Record) -> Vec<Series> {
    let quantile = |q: f64| {
        move |slot: &super::record::Slot| {
            (!slot.latency.is_empty()).then(|| float(slot.latency.value_at_quantile(q)) / 1_000.0)
        }
    };
    vec![
        over_time(record, "p50", quantile(0.5)),
        over_time(record, "p99", quantile(0.99)),
        over_time(record, "p99.9", quantile(0.999)),
    ]
}

fn cumulative(record: &Record) -> Vec<(f64, f64)> {
    let steps = record.latency.iter_log(50, 1.25);
    steps.map(|step| (float(step.value_iterated_to()) / 1_000.0, step.percentile())).collect()
}
