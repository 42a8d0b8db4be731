//! What the sale looked like, from the buyers' side: kept per load thread, added up afterwards.

use doorbuster_bench::closed::latencies;
use doorbuster_bench::number::{length, micros};
use doorbuster_bench::shopper::Verdict;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One point of the plots over time covers this long.
pub(crate) const SLOT: Duration = Duration::from_millis(500);

/// An acknowledged order: it must never be lost.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    /// `ord_…`.
    pub(crate) order: Box<str>,
    /// Who.
    pub(crate) buyer: u64,
    /// What was said.
    pub(crate) verdict: Verdict,
    /// When, from the beginning of the sale.
    pub(crate) at: Duration,
}

/// The acknowledged orders, without those that are `gone`: reading back each of them has found that.
pub(crate) fn still_there<'a>(acknowledged: &'a [Acknowledged], gone: &[String]) -> BTreeSet<&'a str> {
    let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
    acknowledged.iter().map(|told| &*told.order).filter(|order| !gone.contains(order)).collect()
}

/// One point in time of the plots.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Answers by verdict.
    pub(crate) answers: BTreeMap<Verdict, u64>,
    /// Requests that had to be sent again.
    pub(crate) again: u64,
    /// Buyers who gave up.
    pub(crate) gave_up: u64,
    /// From the intended time to the answer, microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Slot {
    fn new() -> Self {
        Self { answers: BTreeMap::new(), again: 0, gave_up: 0, latency: latencies(2) }
    }
    /// Answers of these kinds.
    pub(crate) fn of(&self, verdicts: &[Verdict]) -> u64 {
        verdicts.iter().filter_map(|verdict| self.answers.get(verdict)).sum()
    }
}

/// Everything one load thread saw.
#[derive(Debug)]
pub(crate) struct Record {
    /// From the intended time of sending to the last answer, microseconds; all buyers who got one.
    pub(crate) latency: Histogram<u64>,
    /// By time of the answer.
    pub(crate) slots: Vec<Slot>,
    /// Every acknowledged order.
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// By the last answer to the buyer.
    pub(crate) verdicts: BTreeMap<Verdict, u64>,
    /// Buyers who only looked.
    pub(crate) looked: u64,
    /// Buyers who gave up without an answer, by why.
    pub(crate) gave_up: BTreeMap<String, u64>,
    /// Refusals by their code.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Requests sent again with the same key.
    pub(crate) again: u64,
    /// Of those, why.
    pub(crate) again_why: BTreeMap<String, u64>,
    /// When the last answer came.
    pub(crate) ended: Duration,
}

impl Record {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            latency: latencies(3),
            slots: Vec::new(),
            acknowledged: Vec::new(),
            verdicts: BTreeMap::new(),
            looked: 0,
            gave_up: BTreeMap::new(),
            refusals: BTreeMap::new(),
            again: 0,
            again_why: BTreeMap::new(),
            ended: Duration::ZERO,
        }
    }

    fn slot(&mut self, at: Duration) -> &mut Slot {
        let index = length(u64::try_from(at.as_millis() / SLOT.as_millis()).unwrap_or(0));
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::new);
        }
        self.slots.get_mut(index).expect("the slots were made up to this index")
    }

    /// A buyer was answered at `at`, having meant to send at `intended`.
    pub(crate) fn answered(&mut self, at: Duration, intended: Duration, verdict: Verdict) {
        let waited = micros(at.saturating_sub(intended));
        self.latency.saturating_record(waited);
        *self.verdicts.entry(verdict).or_default() += 1;
        self.ended = self.ended.max(at);
        let slot = self.slot(at);
        slot.latency.saturating_record(waited);
        *slot.answers.entry(verdict).or_default() += 1;
    }

    /// A request had to be sent again.
    pub(crate) fn sent_again(&mut self, at: Duration, why: &str) {
        self.again += 1;
        self.slot(at).again += 1;
        match self.again_why.get_mut(why) {
            Some(count) => *count += 1,
            None => drop(self.again_why.insert(why.to_owned(), 1)),
        }
    }

    /// A buyer went home without an answer.
    pub(crate) fn gave_up(&mut self, at: Duration, why: String) {
        *self.gave_up.entry(why).or_default() += 1;
        self.slot(at).gave_up += 1;
    }

    /// Adds what another thread saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.latency.add(&other.latency).expect("both have the same bounds");
        for (index, slot) in other.slots.into_iter().enumerate() {
            let at = SLOT * u32::try_from(index).unwrap_or(u32::MAX);
            let own = self.slot(at);
            own.latency.add(&slot.latency).expect("both have the same bounds");
            own.again += slot.again;
            own.gave_up += slot.gave_up;
            add_counts(&mut own.answers, slot.answers);
        }
        self.acknowledged.extend(other.acknowledged);
        add_counts(&mut self.verdicts, other.verdicts);
        add_counts(&mut self.gave_up, other.gave_up);
        add_counts(&mut self.refusals, other.refusals);
        add_counts(&mut self.again_why, other.again_why);
        self.looked += other.looked;
        self.again += other.again;
        self.ended = self.ended.max(other.ended);
    }

    /// Buyers whose last answer was this.
    pub(crate) fn answered_with(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    /// Buyers who got an answer.
    pub(crate) fn answers(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// Buyers without an answer.
    pub(crate) fn errors(&self) -> u64 {
        self.gave_up.values().sum()
    }
}

fn add_counts<K: Ord>(own: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
    for (key, count) in other {
        *own.entry(key).or_default() += count;
    }
}

/// What the live line shows; all threads count here.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Arrivals that were due.
    pub(crate) due: AtomicU64,
    /// Buyers answered.
    pub(crate) answered: AtomicU64,
    /// Of them, with stock held or confirmed.
    pub(crate) got: AtomicU64,
    /// Of them, too late.
    pub(crate) sold_out: AtomicU64,
    /// Requests sent again.
    pub(crate) again: AtomicU64,
    /// Buyers who gave up.
    pub(crate) errors: AtomicU64,
}

impl Live {
    /// One more.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    /// Counts an answer.
    pub(crate) fn answer(&self, verdict: Verdict) {
        Self::count(&self.answered);
        match verdict {
            Verdict::Confirmed | Verdict::Held | Verdict::Declined => Self::count(&self.got),
            Verdict::SoldOut => Self::count(&self.sold_out),
            Verdict::Ended | Verdict::Refused | Verdict::Again => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_time() {
        let mut record = Record::new();
        record.answered(Duration::from_millis(1_700), Duration::from_millis(200), Verdict::Confirmed);
        assert!((1_499_000..=1_501_000).contains(&record.latency.max()));
        assert_eq!(record.slots.len(), 4);
    }

    #[test]
    fn two_threads_add_up() {
        let (mut one, mut two) = (Record::new(), Record::new());
        one.answered(Duration::from_millis(100), Duration::ZERO, Verdict::SoldOut);
        two.answered(Duration::from_millis(900), Duration::ZERO, Verdict::SoldOut);
        two.sent_again(Duration::from_millis(900), "503");
        two.gave_up(Duration::from_millis(900), "503".to_owned());
        one.add(two);
        assert_eq!((one.answers(), one.answered_with(Verdict::SoldOut), one.again, one.slots.len()), (2, 2, 1, 2));
        assert_eq!(one.ended, Duration::from_millis(900));
    }
}
