//! Answers of the operator port as tables for a terminal. Missing fields are shown as unknown: the node may be of another version.

use serde_json::Value;
use std::fmt::Write;

/// The cell of an unknown value.
const NOTHING: &str = "-";

/// A table: headings, rows, and which columns hold numbers and are set to the right.
struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn text(&self) -> String {
        let width = |column: usize, heading: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([heading.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> =
            self.headings.iter().enumerate().map(|(column, heading)| width(column, heading)).collect();
        let is_number = |column: usize| {
            let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| *cell != NOTHING);
            cells.clone().next().is_some() && cells.all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let numbers: Vec<bool> = (0..widths.len()).map(is_number).collect();
        let mut out = String::new();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for row in [headings].iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), number) in row.iter().zip(&widths).zip(&numbers) {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                let cell = if *number { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
                line.push_str(&cell);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// A value as one cell.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => NOTHING.to_owned(),
        Some(Value::String(text)) if text.is_empty() => NOTHING.to_owned(),
        // A text from an order must not carry control sequences to the terminal.
        Some(Value::String(text)) => {
            text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
        }
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(all)) if all.is_empty() => NOTHING.to_owned(),
        Some(Value::Array(all)) => all.iter().map(|one| cell(Some(one))).collect::<Vec<_>>().join("; "),
        Some(other) => other.to_string(),
    }
}

fn at(object: &Value, key: &str) -> String {
    cell(object.get(key))
}

/// Milliseconds in the unit that fits.
fn ago(value: Option<&Value>) -> String {
    match value.and_then(Value::as_u64) {
        None => NOTHING.to_owned(),
        Some(millis @ ..1_000) => format!("{millis} ms"),
        Some(millis @ ..60_000) => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        Some(millis) => format!("{} min", millis / 60_000),
    }
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `GET /admin/cluster`.
pub(super) fn cluster(answer: &Value) -> String {
    let mut out = format!("asked {}, Doorbuster {}", at(answer, "node"), at(answer, "version"));
    if let Some(view) = answer.get("view").and_then(Value::as_u64) {
        write!(out, ", view {view}").ok();
    }
    out.push('\n');
    if let Some(registry) = answer.get("registry").filter(|registry| !registry.is_null()) {
        let read = ago(registry.get("read_ms_ago"));
        write!(out, "registry read {read} ago, {} failures", at(registry, "failures")).ok();
        if let Some(why) = registry.get("failure").and_then(Value::as_str) {
            write!(out, "; it fails now: {}", cell(Some(&Value::from(why)))).ok();
        }
        out.push('\n');
    }
    out.push('\n');
    let mut table = Table::new(&[
        "NODE",
        "STATE",
        "OWNED",
        "PLACED",
        "CLAIMED",
        "SERVING",
        "MISSED",
        "HEARTBEAT",
        "ROW",
        "VERSION",
        "CLUSTER",
        "PUBLIC",
        "OPERATOR",
    ]);
    for member in list(answer, "members") {
        let wished = member.get("drain_wished").and_then(Value::as_bool) == Some(true);
        let state = at(member, "state");
        table.row(vec![
            format!("{}.{}", at(member, "name"), at(member, "incarnation")),
            if wished && state != "draining" { format!("{state}, to drain") } else { state },
            at(member, "shards_owned"),
            at(member, "shards_placed"),
            at(member, "shards_claimed"),
            at(member, "shards_serving"),
            at(member, "heartbeats_missed"),
            ago(member.get("last_heartbeat_ms_ago")),
            ago(member.get("beat_age_ms")),
            at(member, "version"),
            at(member, "cluster"),
            at(member, "public"),
            at(member, "operator"),
        ]);
    }
    out + &table.text()
}

/// `GET /admin/shards`.
pub(super) fn shards(answer: &Value) -> String {
    let mut table = Table::new(&[
        "SHARD",
        "OWNER",
        "EPOCH",
        "PLACED",
        "SERVING",
        "SEQ",
        "LAG",
        "RESIDENT",
        "WAITING",
        "DEADLINES",
        "ASIDE",
        "QUEUE",
        "LAST HAND-OFF",
    ]);
    for shard in list(answer, "data") {
        let moved = shard.get("moved").and_then(Value::as_bool) == Some(true);
        let serving = match shard.get("doing").and_then(Value::as_str) {
            Some(doing) => format!("{}, {doing}", at(shard, "serving")),
            None => at(shard, "serving"),
        };
        table.row(vec![
            at(shard, "shard"),
            at(shard, "owner"),
            at(shard, "epoch"),
            if moved { format!("{}, moved", at(shard, "placed")) } else { at(shard, "placed") },
            serving,
            at(shard, "seq"),
            at(shard, "lag"),
            at(shard, "resident"),
            at(shard, "waiting_for_checkpoint"),
            at(shard, "deadlines"),
            at(shard, "set_aside"),
            at(shard, "queue_depth"),
            shard.get("last_handoff").filter(|handoff| !handoff.is_null()).map_or_else(|| NOTHING.to_owned(), handoff),
        ]);
    }
    table.text()
}

fn handoff(handoff: &Value) -> String {
    let mut text = format!("{} {} → {}", at(handoff, "at"), at(handoff, "from"), at(handoff, "to"));
    write!(text, ", {}", at(handoff, "why")).ok();
    if handoff.get("took_ms").is_some_and(Value::is_u64) {
        write!(text, ", {}", ago(handoff.get("took_ms"))).ok();
    }
    text
}

/// `GET /admin/sagas`.
pub(super) fn sagas(answer: &Value) -> String {
    let all = list(answer, "data");
    if all.is_empty() {
        return "no saga is in flight\n".to_owned();
    }
    let mut table = Table::new(&["ORDER", "STEP", "STATUS", "AGE S", "TROUBLE"]);
    for saga in all {
        let cells = ["order", "step", "status", "age_s", "trouble"];
        table.row(cells.iter().map(|key| at(saga, key)).collect());
    }
    table.text()
}

/// `GET /admin/entities/set-aside`.
pub(super) fn set_aside(answer: &Value) -> String {
    let all = list(answer, "data");
    if all.is_empty() {
        return "nothing is set aside\n".to_owned();
    }
    let mut table = Table::new(&["ENTITY", "FAILURES", "SINCE", "REASON"]);
    for aside in all {
        table.row(["entity", "failures", "since", "reason"].iter().map(|key| at(aside, key)).collect());
    }
    table.text()
}

/// `GET /admin/audit`.
pub(super) fn audit(answer: &Value) -> String {
    let clean = answer.get("clean").and_then(Value::as_bool) == Some(true);
    let mut out = if clean { "clean: no law is broken\n\n".to_owned() } else { "NOT CLEAN\n\n".to_owned() };
    let mut table = Table::new(&["", ""]);
    for (key, words) in [
        ("orders", "orders at the cut"),
        ("confirmed", "confirmed"),
        ("ended", "ended otherwise"),
        ("in_flight_at_the_cut", "in flight at the cut"),
        ("in_flight", "in flight still"),
        ("placed_since", "placed since the cut"),
        ("skus", "SKUs"),
        ("units_received", "units received"),
        ("units_sold", "units sold"),
        ("units_reserved", "units reserved"),
        ("units_available", "units available"),
        ("events", "events replayed"),
        ("rounds", "rounds over all logs"),
        ("violations_total", "violations"),
    ] {
        table.row(vec![words.to_owned(), at(answer, key)]);
    }
    out.push_str(table.text().trim_start());
    if answer.get("ledger_compared").and_then(Value::as_bool) == Some(true) {
        out.push_str("the payment provider's ledger was compared\n");
    } else {
        out.push_str("the payment provider's ledger was not compared\n");
    }
    for violation in list(answer, "violations") {
        writeln!(out, "  {}", cell(Some(violation))).ok();
    }
    let waiting = list(answer, "in_flight_orders");
    if !waiting.is_empty() {
        out.push_str("in flight, to be looked at again once they ended:\n");
        for order in waiting {
            writeln!(out, "  {}", cell(Some(order))).ok();
        }
    }
    out
}
