//! The node's figures in the text form that Prometheus reads (OpenMetrics 1.0).

use super::board::Figure;
use doorbuster_actors::stats::{Histogram, Stats};
use doorbuster_actors::system::Handle;
use doorbuster_api::admission::PriorityClass;
use doorbuster_api::{PipelineCounts, SocketCounts};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Microseconds in a second: histograms are kept in the former and shown in the latter, without floats.
const MICROS: u64 = 1_000_000;

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / MICROS, micros % MICROS)
}

fn header(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing into a string cannot fail.
    writeln!(out, "# HELP doorbuster_{name} {help}\n# TYPE doorbuster_{name} {kind}").ok();
}

fn histogram<const N: usize>(out: &mut String, name: &str, help: &str, of: &Histogram<N>, show: fn(u64) -> String) {
    header(out, name, help, "histogram");
    let (buckets, count, sum) = of.read();
    for (bound, cumulative) in buckets {
        writeln!(out, "doorbuster_{name}_bucket{{le=\"{}\"}} {cumulative}", show(bound)).ok();
    }
    writeln!(out, "doorbuster_{name}_bucket{{le=\"+Inf\"}} {count}").ok();
    writeln!(out, "doorbuster_{name}_sum {}\ndoorbuster_{name}_count {count}", show(sum)).ok();
}

fn figure(out: &mut String, name: &str, help: &str, gauge: bool, value: i64) {
    header(out, name, help, if gauge { "gauge" } else { "counter" });
    let suffix = if gauge { "" } else { "_total" };
    writeln!(out, "doorbuster_{name}{suffix} {value}").ok();
}

/// All figures; `more` are those of the cluster, where there is one, and of the read models.
pub(super) fn text(handle: &Handle, door: &PipelineCounts, sockets: &SocketCounts, more: &[Figure]) -> String {
    let stats: &Stats = handle.stats();
    let mut out = String::with_capacity(8 * 1024);
    let unit = |size: u64| size.to_string();
    histogram(&mut out, "batch_records", "records that became durable with one sync", &stats.batch_records, unit);
    histogram(&mut out, "append_seconds", "one append: write and sync", &stats.append_us, seconds);
    histogram(&mut out, "fsync_seconds", "the sync of one append alone", &stats.sync_us, seconds);
    histogram(&mut out, "ask_seconds", "a question to an entity, until its answer is durable", &stats.ask_us, seconds);
    for (name, help, gauge, value) in stats.figures() {
        figure(&mut out, name, help, gauge, value);
    }
    for Figure { name, help, gauge, value } in more {
        figure(&mut out, name, help, *gauge, i64::try_from(*value).unwrap_or(i64::MAX));
    }
    let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let many = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    figure(&mut out, "asks_in_flight", "questions under way", true, size(handle.in_flight()));
    let open = sockets.open.load(Ordering::Relaxed);
    figure(&mut out, "connections_open", "connections of shoppers and sellers", true, size(open));
    let accepted = sockets.accepted.load(Ordering::Relaxed);
    figure(&mut out, "connections_accepted", "connections ever accepted", false, size(accepted));
    let refused = sockets.refused.load(Ordering::Relaxed);
    figure(&mut out, "connections_refused", "connections turned away", false, size(refused));
    let admission = &door.admission;
    figure(&mut out, "requests_in_flight", "requests under way", true, size(admission.in_flight()));
    figure(&mut out, "requests_waiting", "requests that wait in line for a place", true, size(admission.queued()));
    figure(&mut out, "places", "requests that may be under way, at the pace of now", true, size(admission.limit()));
    header(&mut out, "answers", "answers by the hundreds of their status", "counter");
    for (hundreds, count) in door.answers.iter().enumerate().skip(1) {
        let count = many(count.load(Ordering::Relaxed));
        writeln!(out, "doorbuster_answers_total{{status=\"{hundreds}xx\"}} {count}").ok();
    }
    header(&mut out, "requests_refused", "requests refused for want of room, by lane", "counter");
    for lane in PriorityClass::ALL {
        let count = many(admission.refused(lane));
        writeln!(out, "doorbuster_requests_refused_total{{lane=\"{}\"}} {count}", lane.as_str()).ok();
    }
    let over = many(admission.rate_limited());
    figure(&mut out, "requests_over_quota", "requests beyond what their caller may send", false, over);
    out.push_str("# EOF\n");
    out
}
