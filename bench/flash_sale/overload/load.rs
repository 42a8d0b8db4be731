//! A load generator that costs the machine little: finished bytes with one patched number, few tasks, no allocation per request.
//!
//! ```text
//! schedule ──due──► ready ──► a free connection ──► 201: in time, or late
//!                     ▲                        ├──► 429, 503: waits at least `Retry-After`, comes back with its key ─┐
//!                     └────────────────────────┴──► lost: comes back with the same key ─────────────────────────────┤
//!                     └────────────────────────────────────────────────────── until its deadline or its last retry ─┘
//! ```
//!
//! The loop is open: a buyer comes when the schedule says, whatever the node does, and their time counts from then. Without a rate it is
//! closed: every connection sends its next request at once, which finds the peak by the same means.

use super::latency::WaveResult;
use doorbuster_bench::api::{Request, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{count, float, length, micros, nanos, whole};
use doorbuster_bench::scan;
use doorbuster_bench::shopper::{Basket, order_body};
use doorbuster_test_kit::http::Connection;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Stands where the number of a request goes.
const SLOT: &str = "0000000000000000";
/// How often the schedule is looked at: the error of a latency, always to the node's disadvantage.
const PACE: Duration = Duration::from_micros(500);
/// The shortest pause after a lost connection; the longest is twice that.
const AGAIN: Duration = Duration::from_millis(100);
/// After this many requests a connection is closed and another one opened.
const REQUESTS_PER_CONNECTION: u32 = 1_000;
/// One order of this many is remembered, to be read again.
const REMEMBERED: u64 = 64;
/// No more of them than this.
const REMEMBERED_MAX: usize = 20_000;

/// One order, as bytes with a number in them.
#[derive(Debug, Clone)]
pub(super) struct Template {
    bytes: Vec<u8>,
    slot: Range<usize>,
}

impl Template {
    /// One unit of `sku`; with a token paid as well, though only the stock is waited for.
    pub(super) fn order(target: &Target, run: &str, sku: &str, token: Option<&str>) -> Self {
        let mut body = Vec::new();
        order_body(&mut body, Basket::One(sku), 1, token);
        let key = format!("{run}-{SLOT}");
        let mut bytes = Vec::new();
        target.write(
            &mut bytes,
            Request { method: "POST", path: "/v1/orders", key: Some(&key), wait_s: None, body: &body },
        );
        let begin = bytes.windows(SLOT.len()).position(|part| part == SLOT.as_bytes()).expect("the key is in it");
        Self { bytes, slot: begin..begin + SLOT.len() }
    }

    fn write(&self, out: &mut Vec<u8>, mut number: u64) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        for digit in out.get_mut(self.slot.clone()).into_iter().flatten().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
    }
}

/// The buyers, and how they behave.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) target: Target,
    /// Taken in turns.
    pub(super) templates: Arc<Vec<Template>>,
    pub(super) connections: usize,
    /// How long after the intended arrival a buyer gives up.
    pub(super) deadline: Duration,
    /// How often a buyer comes back.
    pub(super) retries: u32,
    /// Counts requests over all waves: each is another one.
    pub(super) numbers: Arc<AtomicU64>,
    /// Orders held so far, over all waves.
    pub(super) held: Arc<AtomicU64>,
}

/// The rate of buyers, and for how long they come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wave {
    /// Buyers per second; `None`: as many as are answered.
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
}

/// One buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Buyer {
    /// Not sent before this.
    due: Instant,
    /// The intended arrival.
    meant: Instant,
    number: u64,
    tries: u32,
}

/// What the connections of one thread share.
struct Worker {
    load: Load,
    begin: Instant,
    end: Instant,
    /// Between two buyers of this thread; `None`: closed.
    gap: Option<Duration>,
    /// Buyers of this thread who have come.
    come: u64,
    ready: VecDeque<Buyer>,
    away: BinaryHeap<Reverse<Buyer>>,
    idle: Vec<Rc<Notify>>,
    busy: usize,
    ended: bool,
    result: WaveResult,
    rng: u64,
}

impl Worker {
    fn number(&self) -> u64 {
        self.load.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds the buyers whose time has come, and wakes as many connections as there is work for.
    fn pace(&mut self, now: Instant) {
        if let Some(gap) = self.gap {
            loop {
                let meant = self.begin + gap.mul_f64(float(self.come));
                if meant > now || meant >= self.end {
                    break;
                }
                self.come += 1;
                self.result.offered += 1;
                let number = self.number();
                self.ready.push_back(Buyer { due: meant, meant, number, tries: 0 });
            }
        }
        while self.away.peek().is_some_and(|Reverse(buyer)| buyer.due <= now) {
            if let Some(Reverse(buyer)) = self.away.pop() {
                self.ready.push_back(buyer);
            }
        }
        // A buyer who waited too long for a connection gives up without having sent anything.
        while self.ready.front().is_some_and(|buyer| now >= buyer.meant + self.load.deadline) {
            if let Some(buyer) = self.ready.pop_front() {
                self.unheard(buyer);
            }
        }
        if now >= self.end && self.ready.is_empty() && self.away.is_empty() && self.busy == 0 {
            self.ended = true;
        }
        let wanted =
            if self.ended || self.gap.is_none() { self.idle.len() } else { self.ready.len().min(self.idle.len()) };
        for one in self.idle.split_off(self.idle.len() - wanted) {
            one.notify_one();
        }
    }

    /// Chance decides which buyer gets a free connection. First come, first served would give each connection, once
    /// they are scarce, to a buyer who is about to give up, and that would count against the node.
    fn next(&mut self, now: Instant) -> Option<Buyer> {
        while !self.ready.is_empty() {
            let place = length(self.roll() % count(self.ready.len()));
            let Some(buyer) = self.ready.swap_remove_front(place) else { break };
            if now < buyer.meant + self.load.deadline {
                return Some(buyer);
            }
            self.unheard(buyer);
        }
        if self.gap.is_none() && now < self.end {
            self.result.offered += 1;
            return Some(Buyer { due: now, meant: now, number: self.number(), tries: 0 });
        }
        None
    }

    /// The buyer gives up before a connection was free.
    fn unheard(&mut self, buyer: Buyer) {
        self.result.gave_up += 1;
        self.result.never_sent += u64::from(buyer.tries == 0);
    }

    fn roll(&mut self) -> u64 {
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.rng >> 11
    }

    /// The buyer comes back after `pause` and a little more, or not at all.
    fn back(&mut self, mut buyer: Buyer, now: Instant, pause: Duration) {
        let jitter = float(self.roll()) / float(1 << 53);
        buyer.due = now + pause.mul_f64(1.0 + jitter);
        buyer.tries += 1;
        if buyer.tries > self.load.retries || buyer.due >= buyer.meant + self.load.deadline {
            self.result.gave_up += 1;
        } else {
            self.away.push(Reverse(buyer));
        }
    }

    fn answered(&mut self, buyer: Buyer, sent: Instant, status: u16, retry_after: Option<Duration>, body: &[u8]) {
        let now = Instant::now();
        *self.result.answers.entry(status).or_default() += 1;
        match status {
            200..=299 => {
                self.load.held.fetch_add(1, Ordering::Relaxed);
                let whole = now.saturating_duration_since(buyer.meant);
                if whole <= self.load.deadline {
                    self.result.in_time += 1;
                    self.result.in_wave += u64::from(now < self.end);
                } else {
                    self.result.late += 1;
                }
                self.result.whole.saturating_record(micros(whole));
                self.result.answer.saturating_record(micros(now - sent));
                if buyer.number.is_multiple_of(REMEMBERED) && self.result.orders.len() < REMEMBERED_MAX {
                    self.result.orders.extend(scan::text(body, "id").map(str::to_owned));
                }
            }
            429 | 503 => {
                self.result.refusal.saturating_record(micros(now - sent));
                self.result.without_retry_after += u64::from(retry_after.is_none());
                self.back(buyer, now, retry_after.unwrap_or(AGAIN));
            }
            _ => self.result.gave_up += 1,
        }
    }
}

impl Load {
    /// Runs the wave; returns once the last buyer is served or has given up.
    pub(super) async fn run(&self, wave: Wave, threads: usize) -> Result<WaveResult, BenchError> {
        let threads = threads.clamp(1, self.connections.max(1));
        let begin = Instant::now() + Duration::from_millis(100);
        let mut workers = Vec::new();
        for worker in 0..threads {
            let mut load = self.clone();
            load.connections = (worker..self.connections).step_by(threads).count();
            let gap = wave.rate.map(|rate| Duration::from_secs_f64(float(count(threads)) / rate.max(0.001)));
            workers.push(tokio::task::spawn_blocking(move || thread(load, wave, gap, begin, count(worker))));
        }
        let mut result = WaveResult::new();
        for worker in workers {
            result.add(worker.await.map_err(|panic| BenchError::Node(format!("a load thread failed: {panic}")))??);
        }
        Ok(result)
    }
}

fn thread(load: Load, wave: Wave, gap: Option<Duration>, begin: Instant, seed: u64) -> Result<WaveResult, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| BenchError::io("start a load thread", source))?;
    let connections = load.connections;
    let worker = Rc::new(RefCell::new(Worker {
        begin,
        end: begin + wave.duration,
        gap,
        come: 0,
        ready: VecDeque::new(),
        away: BinaryHeap::new(),
        idle: Vec::with_capacity(connections),
        busy: 0,
        ended: false,
        result: WaveResult::new(),
        rng: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ nanos(wave.duration),
        load,
    }));
    let local = LocalSet::new();
    for _ in 0..connections {
        let worker = Rc::clone(&worker);
        local.spawn_local(converse(worker));
    }
    let pacer = Rc::clone(&worker);
    local.spawn_local(async move {
        tokio::time::sleep_until(begin.into()).await;
        loop {
            pacer.borrow_mut().pace(Instant::now());
            if pacer.borrow().ended {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    });
    runtime.block_on(local);
    let result = worker.borrow().result.clone();
    Ok(result)
}

/// One connection: serves one buyer after the other, and is made anew now and then.
async fn converse(worker: Rc<RefCell<Worker>>) {
    let turn = Rc::new(Notify::new());
    let mut open: Option<Connection> = None;
    let mut used = 0;
    let mut bytes = Vec::with_capacity(1_024);
    let (address, deadline) = (worker.borrow().load.target.address, worker.borrow().load.deadline);
    let templates = Arc::clone(&worker.borrow().load.templates);
    loop {
        let next = {
            let mut worker = worker.borrow_mut();
            let now = Instant::now();
            let next = if now < worker.begin { None } else { worker.next(now) };
            match next {
                Some(buyer) => {
                    worker.busy += 1;
                    worker.result.sent += 1;
                    Some(buyer)
                }
                None if worker.ended => return,
                None => {
                    worker.idle.push(Rc::clone(&turn));
                    None
                }
            }
        };
        let Some(buyer) = next else {
            turn.notified().await;
            continue;
        };
        if let Some(template) = templates.get(length(buyer.number) % templates.len().max(1)) {
            template.write(&mut bytes, buyer.number);
        }
        let sent = Instant::now();
        // An answer long after the deadline is of no use, but a run must end.
        let until = buyer.meant + deadline * 2;
        let reused = open.is_some();
        let answered =
            tokio::time::timeout_at(until.into(), exchange(&mut open, address, &bytes, &worker, buyer, sent)).await;
        let mut worker = worker.borrow_mut();
        worker.busy -= 1;
        worker.result.opened += u64::from(!reused && open.is_some());
        used += 1;
        match answered {
            Ok(Ok(())) if used < REQUESTS_PER_CONNECTION => {}
            Ok(Ok(())) => (open, used) = (None, 0),
            Ok(Err(_)) | Err(_) => {
                (open, used) = (None, 0);
                worker.result.lost += 1;
                worker.back(buyer, Instant::now(), AGAIN);
            }
        }
    }
}

async fn exchange(
    open: &mut Option<Connection>,
    address: std::net::SocketAddr,
    bytes: &[u8],
    worker: &RefCell<Worker>,
    buyer: Buyer,
    sent: Instant,
) -> io::Result<()> {
    if open.is_none() {
        *open = Some(Connection::open(address).await?);
    }
    let Some(connection) = open.as_mut() else { return Ok(()) };
    let reply = connection.exchange(bytes).await?;
    worker.borrow_mut().answered(buyer, sent, reply.status, reply.retry_after, reply.body);
    if connection.is_closed() {
        *open = None;
    }
    Ok(())
}

/// Whole buyers per second.
pub(super) fn per_s(buyers: u64, over: Duration) -> u64 {
    whole(float(buyers) / over.as_secs_f64().max(0.001))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers every request by what `answer` makes of its key and how often it came.
    async fn serve(answer: fn(u64, usize) -> String) -> (Target, Arc<Mutex<Vec<String>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&keys);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut bytes = [0_u8; 4_096];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                        let key =
                            text.split("idempotency-key: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
                        let number = key.split('-').nth(1).unwrap().parse().unwrap();
                        let times = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(key.clone());
                            seen.iter().filter(|other| **other == key).count()
                        };
                        stream.write_all(answer(number, times).as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (Target { address, key: String::new() }, keys)
    }

    fn load(target: &Target, retries: u32) -> Load {
        let templates =
            vec![Template::order(target, "run", "A", None), Template::order(target, "run", "B", Some("tok_ok"))];
        Load {
            target: target.clone(),
            templates: Arc::new(templates),
            connections: 8,
            deadline: Duration::from_secs(5),
            retries,
            numbers: Arc::default(),
            held: Arc::default(),
        }
    }

    const HELD: &str = "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
    const FULL: &str = "HTTP/1.1 503 Full\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}";
    const WAVE: Wave = Wave { rate: Some(100.0), duration: Duration::from_millis(500) };

    #[tokio::test]
    async fn everybody_the_schedule_names_comes_once_with_a_key_of_their_own() {
        let (target, keys) = serve(|_, _| HELD.to_owned()).await;
        let result = load(&target, 3).run(WAVE, 2).await.unwrap();
        assert_eq!((result.offered, result.in_time, result.gave_up, result.sent), (50, 50, 0, 50));
        assert_eq!(keys.lock().unwrap().iter().collect::<BTreeSet<_>>().len(), 50);
    }

    #[tokio::test]
    async fn whoever_is_refused_comes_back_with_the_same_key_and_not_before_they_were_told() {
        let (target, keys) =
            serve(|number, times| if number % 5 == 0 && times == 1 { FULL.to_owned() } else { HELD.to_owned() }).await;
        let result = load(&target, 3).run(WAVE, 1).await.unwrap();
        assert_eq!((result.offered, result.in_time, result.sent, result.refused()), (50, 50, 60, 10));
        assert_eq!(keys.lock().unwrap().iter().collect::<BTreeSet<_>>().len(), 50);
        assert!(result.whole.max() >= 1_000_000, "the wait counts: {}", result.whole.max());
    }

    #[tokio::test]
    async fn whoever_is_always_refused_gives_up() {
        let (target, _) = serve(|_, _| FULL.to_owned()).await;
        let result = load(&target, 1).run(WAVE, 1).await.unwrap();
        assert_eq!((result.offered, result.in_time, result.gave_up, result.sent), (50, 0, 50, 100));
    }

    #[tokio::test]
    async fn without_a_rate_every_connection_is_always_busy() {
        let (target, _) = serve(|_, _| HELD.to_owned()).await;
        let result = load(&target, 0).run(Wave { rate: None, ..WAVE }, 1).await.unwrap();
        assert!(result.in_time > 100 && result.offered == result.in_time && result.gave_up == 0, "{result:?}");
    }
}
