//! A listener beside the crowd: it follows `GET /v1/events` by its cursor, and at the end has heard of each acknowledged order once, in order.

use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::grouped;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What was acknowledged is durable, and so is to be heard at once; a node that was killed may take as long to serve.
const HEAR_LIMIT: Duration = Duration::from_secs(60);
/// How often it asks when nothing has happened, or the node does not answer.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Events of one page.
const PAGE: usize = 200;

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Events.
    pub(crate) events: u64,
    /// Acknowledged orders of which nothing was heard.
    pub(crate) unheard: BTreeSet<String>,
    /// Events that came again or too late, and orders whose first event was not that they were placed.
    pub(crate) wrong: BTreeSet<String>,
}

impl Heard {
    /// Was each order heard of once, in order?
    pub(crate) fn is_whole(&self) -> bool {
        self.unheard.is_empty() && self.wrong.is_empty()
    }

    /// The line of a report.
    pub(crate) fn print(&self) {
        println!(
            "events     {} heard beside the crowd: {} acknowledged orders not among them, {} twice or out of order",
            grouped(self.events),
            self.unheard.len(),
            self.wrong.len()
        );
        for line in self.unheard.iter().chain(&self.wrong).take(10) {
            println!("             {line}");
        }
    }
}

/// Follows the events of a node until it is told to end.
#[derive(Debug)]
pub(crate) struct Listener {
    ends: Arc<AtomicBool>,
    task: JoinHandle<Result<Ear, BenchError>>,
}

impl Listener {
    /// Begins behind what has happened so far.
    pub(crate) async fn start(target: &Target) -> Result<Self, BenchError> {
        let mut ear =
            Ear { caller: Caller::new(target.clone()), cursor: None, last: BTreeMap::new(), heard: Heard::default() };
        while ear.page().await? {}
        ear.heard = Heard::default();
        ear.last.clear();
        let ends = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ends);
        let task = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                ear.listen().await;
            }
            Ok(ear)
        });
        Ok(Self { ends, task })
    }

    /// Ends it, and compares with the orders that it is to have heard of.
    pub(crate) async fn end(self, told: &BTreeSet<&str>) -> Result<Heard, BenchError> {
        self.ends.store(true, Ordering::Relaxed);
        let mut ear = self.task.await.map_err(|error| BenchError::Input(format!("the listener: {error}")))??;
        let until = Instant::now() + HEAR_LIMIT;
        loop {
            ear.listen().await;
            let unheard = told.iter().filter(|order| !ear.last.contains_key(**order));
            ear.heard.unheard = unheard.map(|order| (*order).to_owned()).collect();
            if ear.heard.unheard.is_empty() || Instant::now() > until {
                return Ok(ear.heard);
            }
        }
    }
}

#[derive(Debug)]
struct Ear {
    caller: Caller,
    cursor: Option<String>,
    /// The number of the last event of each subject.
    last: BTreeMap<String, u64>,
    heard: Heard,
}

impl Ear {
    /// A page; after nothing, or no answer, a pause.
    async fn listen(&mut self) {
        if !self.page().await.unwrap_or(false) {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Reads a page; gives whether the cursor has moved.
    async fn page(&mut self) -> Result<bool, BenchError> {
        let path = match &self.cursor {
            Some(cursor) => format!("/v1/events?limit={PAGE}&cursor={cursor}"),
            None => format!("/v1/events?limit={PAGE}"),
        };
        let answer = self.caller.get(&path).await?;
        if !answer.is_ok() {
            return Err(answer.error(format!("GET {path}")));
        }
        let page = answer.json();
        let events = page.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        events.iter().for_each(|event| self.hear(event));
        let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let has_moved = next != self.cursor;
        self.cursor = next;
        Ok(has_moved)
    }

    fn hear(&mut self, event: &Value) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, subject) = (text("/type"), text("/subject/id"));
        let seq = event.get("seq").and_then(Value::as_u64).unwrap_or_default();
        self.heard.events += 1;
        let before = self.last.insert(subject.to_owned(), seq);
        let is_begun = before.is_some() || !kind.starts_with("order.");
        if before.is_some_and(|before| before >= seq) || !(is_begun || kind == "order.placed") {
            self.heard.wrong.insert(format!("{kind} of {subject}, {seq} after {}", before.unwrap_or_default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ear() -> Ear {
        let target = Target::parse("http://127.0.0.1:1", "").expect("an address");
        Ear { caller: Caller::new(target), cursor: None, last: BTreeMap::new(), heard: Heard::default() }
    }

    fn event(kind: &str, order: &str, seq: u64) -> Value {
        json!({ "type": kind, "subject": { "kind": "order", "id": order }, "seq": seq })
    }

    #[test]
    fn what_comes_again_too_late_or_without_its_beginning_is_wrong() {
        let mut ear = ear();
        for (kind, order, seq) in [("order.placed", "a", 1), ("order.confirmed", "a", 4), ("order.placed", "b", 1)] {
            ear.hear(&event(kind, order, seq));
        }
        assert!(ear.heard.is_whole() && ear.heard.events == 3);
        ear.hear(&event("order.confirmed", "a", 4));
        ear.hear(&event("order.shipped", "b", 1));
        ear.hear(&event("order.confirmed", "c", 4));
        assert_eq!(ear.heard.wrong.len(), 3, "{:?}", ear.heard.wrong);
    }
}
