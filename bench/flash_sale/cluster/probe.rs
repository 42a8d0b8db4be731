//! Does every shard serve? One SKU of each is read all the time, through whatever node a load balancer would choose.
//!
//! A read answers only once its owner has proved that it still is the owner (rule O4), so a read that began after a node was lost and
//! succeeded shows that its shard is in good hands again.

use crate::load::Sale;
use doorbuster_bench::api::{Caller, Request, segment};
use doorbuster_bench::number::count;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_storage::Layout;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two reads of a shard, while they are wanted: the resolution of "serving".
const ATTENTIVE: Duration = Duration::from_millis(100);
/// And otherwise, so that looking costs the sale little.
const AT_REST: Duration = Duration::from_secs(1);
/// A read that takes longer has failed.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// Reads of one shard under way at once: a stuck one must not hide the next.
const READS_MAX: usize = 12;
/// Names tried until every shard has its SKU.
const NAMES_MAX: u32 = 100_000;

/// One SKU of every shard, by shard.
pub(crate) fn one_sku_per_shard(layout: Layout, run: &str) -> Vec<String> {
    let mut found = BTreeMap::new();
    for number in 0..NAMES_MAX {
        let name = format!("PROBE-{run}-{number}");
        let Ok(sku) = Sku::parse(&name) else { break };
        found.entry(layout.shard_of(&EntityId::Inventory(sku)).0).or_insert(name);
        if found.len() == usize::from(layout.shards) {
            break;
        }
    }
    found.into_values().collect()
}

/// When the reads of one shard began and ended that succeeded.
type Reads = Mutex<Vec<(Instant, Instant)>>;

/// All reads, kept up until it is dropped.
#[derive(Debug)]
pub(crate) struct Probe {
    shards: Arc<Vec<Reads>>,
    attentive: Arc<AtomicBool>,
    _readers: JoinSet<()>,
}

impl Probe {
    /// Begins to read.
    pub(crate) fn start(sale: &Arc<Sale>, skus: &[String]) -> Self {
        let shards: Arc<Vec<Reads>> = Arc::new(skus.iter().map(|_| Reads::default()).collect());
        let attentive = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for (index, sku) in skus.iter().enumerate() {
            let path = format!("/v1/inventory/{}", segment(sku));
            readers.spawn(read_on(index, path, Arc::clone(sale), Arc::clone(&shards), Arc::clone(&attentive)));
        }
        Self { shards, attentive, _readers: readers }
    }

    /// Reads often from now on, or seldom.
    pub(crate) fn attend(&self, attentive: bool) {
        self.attentive.store(attentive, Ordering::Relaxed);
    }

    /// When the last shard was first read with a question asked at `since` or later; `None`: one has not been yet.
    pub(crate) fn served_since(&self, since: Instant) -> Option<Instant> {
        let first = |reads: &Reads| {
            let reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            reads.iter().filter(|(began, _)| *began >= since).map(|(_, ended)| *ended).min()
        };
        self.shards.iter().map(first).try_fold(since, |latest, first| Some(latest.max(first?)))
    }

    /// The longest time for which one shard gave no answer, between the two instants.
    pub(crate) fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        let of_shard = |reads: &Reads| {
            let reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            longest_silence(reads.iter().map(|(_, ended)| *ended), from, to)
        };
        self.shards.iter().map(of_shard).max().unwrap_or_default()
    }
}

fn longest_silence(answers: impl Iterator<Item = Instant>, from: Instant, to: Instant) -> Duration {
    let mut within: Vec<Instant> = answers.filter(|at| *at > from && *at < to).collect();
    within.sort_unstable();
    within.push(to);
    let mut last = from;
    let mut longest = Duration::ZERO;
    for at in within {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}

async fn read_on(index: usize, path: String, sale: Arc<Sale>, shards: Arc<Vec<Reads>>, attentive: Arc<AtomicBool>) {
    let mut under_way = JoinSet::new();
    let mut last: Option<Instant> = None;
    let mut number = count(index);
    let mut tick = tokio::time::interval(ATTENTIVE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        while under_way.try_join_next().is_some() {}
        let rests = !attentive.load(Ordering::Relaxed) && last.is_some_and(|last| last.elapsed() < AT_REST);
        if rests || under_way.len() >= READS_MAX {
            continue;
        }
        last = Some(Instant::now());
        number = number.wrapping_add(1);
        let (target, path, shards) =
            (sale.doors.target(sale.doors.choose(number, 0)).clone(), path.clone(), Arc::clone(&shards));
        under_way.spawn(async move {
            let began = Instant::now();
            let mut caller = Caller::new(target);
            let request = Request { method: "GET", path: &path, key: None, wait_s: None, body: b"" };
            let answer = tokio::time::timeout(READ_LIMIT, caller.once(request)).await;
            if matches!(answer, Ok(Ok((answer, _))) if answer.is_ok())
                && let Some(reads) = shards.get(index)
            {
                reads.lock().unwrap_or_else(PoisonError::into_inner).push((began, Instant::now()));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_node::HASH_VERSION;

    #[test]
    fn every_shard_has_its_sku() {
        let layout = Layout { shards: 16, hash_version: HASH_VERSION };
        let skus = one_sku_per_shard(layout, "a1b2");
        assert_eq!(skus.len(), 16);
        for (shard, sku) in (0..).zip(&skus) {
            let entity = EntityId::Inventory(Sku::parse(sku).unwrap());
            assert_eq!(layout.shard_of(&entity).0, shard);
        }
    }

    fn probe(reads: &[&[(u64, u64)]], start: Instant) -> Probe {
        let at = |millis: u64| start + Duration::from_millis(millis);
        let shards = reads
            .iter()
            .map(|reads| Mutex::new(reads.iter().map(|(began, ended)| (at(*began), at(*ended))).collect()))
            .collect();
        Probe { shards: Arc::new(shards), attentive: Arc::default(), _readers: JoinSet::new() }
    }

    #[test]
    fn all_serve_once_the_last_shard_has_answered_a_question_from_after_the_loss() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let probe = probe(&[&[(0, 10), (100, 130)], &[(40, 90), (200, 900), (300, 700)]], start);
        assert_eq!(probe.served_since(at(50)), Some(at(700)));
        assert_eq!(probe.served_since(at(150)), None);
    }

    #[test]
    fn the_longest_silence_counts_from_the_beginning_and_to_the_end() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let probe = probe(&[&[(0, 100), (0, 150)], &[(0, 100), (0, 400)]], start);
        assert_eq!(probe.longest_silence(at(0), at(450)), Duration::from_millis(300));
        assert_eq!(probe.longest_silence(at(0), at(2_000)), Duration::from_millis(1_850));
        assert_eq!(probe.longest_silence(at(3_000), at(3_010)), Duration::from_millis(10));
    }
}
