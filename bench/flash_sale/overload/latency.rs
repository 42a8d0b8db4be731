//! The result of a wave of buyers: counts, and three latencies that must not be confused.

use doorbuster_bench::closed::latencies;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// The result of a wave.
#[derive(Debug, Clone)]
pub(super) struct WaveResult {
    /// Buyers who meant to come.
    pub(super) offered: u64,
    /// Requests sent, those sent again too.
    pub(super) sent: u64,
    /// Buyers whose stock was held before their deadline …
    pub(super) in_time: u64,
    /// … of them, while the wave lasted …
    pub(super) in_wave: u64,
    /// … and after their deadline.
    pub(super) late: u64,
    /// Buyers who gave up: out of time or of retries.
    pub(super) gave_up: u64,
    /// Of them, those for whom no connection was free before their deadline.
    pub(super) never_sent: u64,
    /// Answers by status.
    pub(super) answers: BTreeMap<u16, u64>,
    /// 429 and 503 that did not say when to come back.
    pub(super) without_retry_after: u64,
    /// Connections lost with a request under way, or not made.
    pub(super) lost: u64,
    /// Connections made.
    pub(super) opened: u64,
    /// From the intended arrival of a buyer until their stock was held, retries included.
    pub(super) whole: Histogram<u64>,
    /// From the last request of a served buyer to its answer: the node's own time.
    pub(super) answer: Histogram<u64>,
    /// From a refused request to its refusal.
    pub(super) refusal: Histogram<u64>,
    /// Some of the orders.
    pub(super) orders: Vec<String>,
}

impl WaveResult {
    pub(super) fn new() -> Self {
        Self {
            offered: 0,
            sent: 0,
            in_time: 0,
            in_wave: 0,
            late: 0,
            gave_up: 0,
            never_sent: 0,
            answers: BTreeMap::new(),
            without_retry_after: 0,
            lost: 0,
            opened: 0,
            whole: latencies(3),
            answer: latencies(3),
            refusal: latencies(3),
            orders: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.in_time += other.in_time;
        self.in_wave += other.in_wave;
        self.late += other.late;
        self.gave_up += other.gave_up;
        self.never_sent += other.never_sent;
        self.without_retry_after += other.without_retry_after;
        self.lost += other.lost;
        self.opened += other.opened;
        for (status, answers) in other.answers {
            *self.answers.entry(status).or_default() += answers;
        }
        for (ours, theirs) in
            [(&mut self.whole, other.whole), (&mut self.answer, other.answer), (&mut self.refusal, other.refusal)]
        {
            ours.add(&theirs).expect("both have the same bounds");
        }
        self.orders.extend(other.orders);
    }

    /// Answers that were a refusal for want of room or quota.
    pub(super) fn refused(&self) -> u64 {
        self.answers.iter().filter(|(status, _)| matches!(status, 429 | 503)).map(|(_, answers)| answers).sum()
    }
}
