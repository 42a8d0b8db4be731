//! The open loop: buyers arrive by schedule, whatever the node does.
//!
//! ```text
//! schedule ─► pacer thread ─permits─► lane (one thread, one runtime) ─► one task per connection ─► node
//!                                       ▲                                     │ 503, timeout, connection lost
//!                                       └────── the same buyer, later ◄───────┘ (same key, Retry-After)
//! ```
//!
//! A buyer's latency counts from the instant the schedule named, not from when a connection was free: a node that stalls
//! is charged for everyone who came meanwhile (no coordinated omission). A buyer who must come again waits outside, so
//! the connection serves others.

use super::crowd::{Aim, Crowd};
use super::record::{Acknowledged, Live, Record};
use doorbuster_bench::api::{RETRY_AFTER_MAX, Request, Target, segment};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{count, length, nanos};
use doorbuster_bench::scan;
use doorbuster_bench::shopper::{Basket, Verdict, judge, order_body};
use doorbuster_test_kit::http::Connection;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// A buyer sends the same request at most this often.
const ATTEMPTS_MAX: u32 = 40;
/// A buyer who has heard nothing for this long goes home.
const BUYER_PATIENCE: Duration = Duration::from_secs(90);
/// How often the pacer looks at the schedule: the error of "by schedule", and what it costs.
const PACE: Duration = Duration::from_micros(250);

/// The public ports of the nodes, as a load balancer in front of them sees them: it sends no buyer to one that is not ready.
#[derive(Debug)]
pub(crate) struct Doors(Vec<Door>);

#[derive(Debug)]
struct Door {
    target: Target,
    shut: AtomicBool,
}

impl Doors {
    /// Of one node.
    pub(crate) fn one(target: Target) -> Self {
        Self::of([target])
    }

    /// Of several.
    pub(crate) fn of(targets: impl IntoIterator<Item = Target>) -> Self {
        let door = |target| Door { target, shut: AtomicBool::new(false) };
        Self(targets.into_iter().map(door).collect())
    }

    /// What the balancer's look at the node of this index has brought.
    pub(crate) fn set_open(&self, index: usize, open: bool) {
        if let Some(door) = self.0.get(index) {
            door.shut.store(!open, Ordering::Relaxed);
        }
    }

    /// Are buyers sent there?
    pub(crate) fn is_open(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|door| !door.shut.load(Ordering::Relaxed))
    }

    /// Where a buyer goes with an attempt: the next open door from their own on, each time another; where all are shut, to that one all the same.
    pub(crate) fn choose(&self, buyer: u64, attempt: u32) -> usize {
        let doors = count(self.0.len()).max(1);
        let first = buyer.wrapping_add(u64::from(attempt)) % doors;
        (0..doors)
            .map(|step| length((first + step) % doors))
            .find(|index| self.is_open(*index))
            .unwrap_or(length(first))
    }

    /// The node of this index; the first for an index that none has.
    pub(crate) fn target(&self, index: usize) -> &Target {
        let door = self.0.get(index).or(self.0.first()).expect("there is a door at least");
        &door.target
    }
}

/// The time from which on no buyer is let in; unset: never.
#[derive(Debug)]
pub(crate) struct Closing(AtomicU64);

impl Default for Closing {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Closing {
    /// A buyer whose intended arrival, from the beginning of the sale, is later than this is not let in.
    pub(crate) fn close(&self, at: Duration) {
        self.0.store(nanos(at), Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) != u64::MAX
    }

    fn turns_away(&self, intended: Duration) -> bool {
        nanos(intended) > self.0.load(Ordering::Relaxed)
    }
}

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Sale {
    /// Where to.
    pub(crate) doors: Doors,
    /// Who.
    pub(crate) crowd: Crowd,
    /// The product that is looked at.
    pub(crate) product: String,
    /// Makes keys of different runs against one node different.
    pub(crate) run: String,
    /// `Prefer: wait`, in seconds.
    pub(crate) wait_s: Option<u32>,
    /// Connections over all lanes.
    pub(crate) connections: usize,
    /// How long a request is waited for before it is sent again: to another node, where there are several.
    pub(crate) request_life: Duration,
    /// When the doors close, if before the last buyer has come.
    pub(crate) closed_after: Closing,
    /// When the schedule begins.
    pub(crate) began: Instant,
    /// For the live line.
    pub(crate) live: Live,
}

impl Sale {
    /// The key under which a buyer sends one step, however often.
    pub(crate) fn key(&self, step: &str, buyer: u64) -> String {
        format!("{}-{step}-{buyer}", self.run)
    }
}

/// Runs the whole crowd; comes back when the last buyer has an answer or has gone home.
pub(crate) async fn run(sale: &Arc<Sale>) -> Result<Record, BenchError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(sale.connections).max(1);
    let gates: Vec<Arc<Semaphore>> = (0..threads).map(|_| Arc::new(Semaphore::new(0))).collect();
    let mut lanes = Vec::new();
    for (number, gate) in gates.iter().enumerate() {
        let (sale, gate) = (Arc::clone(sale), Arc::clone(gate));
        lanes.push(tokio::task::spawn_blocking(move || lane_run(&sale, &gate, number, threads)));
    }
    let pacer = {
        let sale = Arc::clone(sale);
        tokio::task::spawn_blocking(move || pace(&sale, &gates))
    };
    let mut record = Record::new();
    for lane in lanes {
        record.add(lane.await.map_err(|panic| BenchError::Node(format!("a load thread failed: {panic}")))??);
    }
    pacer.await.map_err(|panic| BenchError::Node(format!("the pacer failed: {panic}")))?;
    Ok(record)
}

/// Lets each buyer in at their time; buyer `n` belongs to lane `n % lanes`.
fn pace(sale: &Sale, gates: &[Arc<Semaphore>]) {
    let mut let_in = 0_usize;
    while let_in < sale.crowd.arrivals.len() {
        // Once the doors are closed the rest of the crowd is answered all at once.
        let now = if sale.closed_after.is_closed() { u64::MAX } else { nanos(sale.began.elapsed()) };
        let due = sale.crowd.arrivals.partition_point(|at| *at <= now);
        for (lane, gate) in gates.iter().enumerate() {
            let members = |upto: usize| (upto + gates.len() - 1 - lane) / gates.len();
            gate.add_permits(members(due) - members(let_in));
        }
        let_in = due;
        if now != u64::MAX {
            sale.live.due.store(count(due), Ordering::Relaxed);
        }
        std::thread::sleep(PACE);
    }
}

/// A buyer on the way.
#[derive(Debug)]
struct Buyer {
    number: u64,
    attempts: u32,
    step: Step,
    cart: String,
}

/// What the buyer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Cart,
    Line,
    Order,
}

/// One thread's share of the crowd. Its tasks share it by reference count: all live and die on that thread.
struct Lane {
    sale: Arc<Sale>,
    gate: Arc<Semaphore>,
    number: usize,
    lanes: usize,
    next: Cell<usize>,
    left: Cell<usize>,
    again: RefCell<VecDeque<Buyer>>,
    record: RefCell<Record>,
}

fn lane_run(sale: &Arc<Sale>, gate: &Arc<Semaphore>, number: usize, lanes: usize) -> Result<Record, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| BenchError::io("start a load thread", source))?;
    let members = sale.crowd.arrivals.len().saturating_sub(number).div_ceil(lanes);
    if members == 0 {
        return Ok(Record::new());
    }
    let lane = Rc::new(Lane {
        sale: Arc::clone(sale),
        gate: Arc::clone(gate),
        number,
        lanes,
        next: Cell::new(0),
        left: Cell::new(members),
        again: RefCell::new(VecDeque::new()),
        record: RefCell::new(Record::new()),
    });
    let local = LocalSet::new();
    for _ in (number..sale.connections).step_by(lanes) {
        local.spawn_local(serve_buyers(Rc::clone(&lane)));
    }
    runtime.block_on(local);
    Ok(lane.record.replace(Record::new()))
}

/// One connection: takes the next buyer who may come in, until all have been.
async fn serve_buyers(lane: Rc<Lane>) {
    let mut line = Line { connection: None, door: 0, bytes: Vec::with_capacity(2048), body: Vec::with_capacity(1024) };
    while let Ok(permit) = lane.gate.acquire().await {
        permit.forget();
        let waiting = lane.again.borrow_mut().pop_front();
        let buyer = match waiting {
            Some(buyer) => buyer,
            None => match lane.admit() {
                Some(buyer) => buyer,
                None => {
                    lane.depart();
                    continue;
                }
            },
        };
        lane.serve(buyer, &mut line).await;
    }
}

/// A connection that is opened again when it was lost or leads to another door, with its buffers.
struct Line {
    connection: Option<Connection>,
    door: usize,
    bytes: Vec<u8>,
    body: Vec<u8>,
}

/// What came of one request.
enum Sent {
    /// An answer that settles the step; for orders with its verdict.
    Settled,
    /// Send it again, not before this long.
    Again(Option<Duration>, String),
}

impl Lane {
    /// The next buyer of this lane; `None` for one who comes when the doors are closed.
    fn admit(&self) -> Option<Buyer> {
        let number = self.next.replace(self.next.get() + 1) * self.lanes + self.number;
        let number = count(number);
        if self.sale.closed_after.turns_away(self.intended(number)) {
            return None;
        }
        let step = if self.sale.crowd.aim(number) == Aim::Order { Step::Order } else { Step::Look };
        Some(Buyer { number, attempts: 0, step, cart: String::new() })
    }

    fn intended(&self, buyer: u64) -> Duration {
        Duration::from_nanos(self.sale.crowd.arrivals.get(length(buyer)).copied().unwrap_or(0))
    }

    fn depart(&self) {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.gate.close();
        }
    }

    async fn serve(self: &Rc<Self>, mut buyer: Buyer, line: &mut Line) {
        loop {
            match self.send(&mut buyer, line).await {
                Sent::Settled if buyer.step == Step::Order => return self.depart(),
                Sent::Settled => {
                    let Some(next) = self.next_step(&buyer) else { return self.depart() };
                    buyer.step = next;
                    buyer.attempts = 0;
                }
                Sent::Again(after, why) => return self.come_again(buyer, after, why),
            }
        }
    }

    /// The step after one that was settled; `None`: the buyer is done, and that is on record.
    fn next_step(&self, buyer: &Buyer) -> Option<Step> {
        match buyer.step {
            Step::Look if self.sale.crowd.aim(buyer.number) == Aim::Look => {
                self.record.borrow_mut().looked += 1;
                Live::count(&self.sale.live.answered);
                None
            }
            Step::Look => Some(Step::Cart),
            // Refused: there is no cart to go on with.
            Step::Cart if buyer.cart.is_empty() => {
                self.note_verdict(buyer.number, Verdict::Refused);
                None
            }
            Step::Cart => Some(Step::Line),
            Step::Line | Step::Order => Some(Step::Order),
        }
    }

    fn come_again(self: &Rc<Self>, mut buyer: Buyer, after: Option<Duration>, why: String) {
        let at = self.sale.began.elapsed();
        self.record.borrow_mut().sent_again(at, &why);
        Live::count(&self.sale.live.again);
        buyer.attempts += 1;
        if buyer.attempts >= ATTEMPTS_MAX || at.saturating_sub(self.intended(buyer.number)) > BUYER_PATIENCE {
            self.record.borrow_mut().gave_up(at, why);
            Live::count(&self.sale.live.errors);
            return self.depart();
        }
        let growing = Duration::from_millis(20) * 2_u32.pow(buyer.attempts.min(6));
        let pause = after.map_or(growing, |after| after.min(RETRY_AFTER_MAX));
        let lane = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            lane.again.borrow_mut().push_back(buyer);
            lane.gate.add_permits(1);
        });
    }

    fn note_verdict(&self, buyer: u64, verdict: Verdict) {
        let at = self.sale.began.elapsed();
        self.record.borrow_mut().answered(at, self.intended(buyer), verdict);
        self.sale.live.answer(verdict);
    }

    async fn send(&self, buyer: &mut Buyer, line: &mut Line) -> Sent {
        let door = self.sale.doors.choose(buyer.number, buyer.attempts);
        self.write(buyer, door, line);
        let opened = match line.connection.take().filter(|open| line.door == door && !open.is_gone()) {
            Some(open) => Ok(open),
            None => Connection::open(self.sale.doors.target(door).address).await,
        };
        line.door = door;
        let mut connection = match opened {
            Ok(open) => open,
            Err(error) => return Sent::Again(None, format!("connect: {}", error.kind())),
        };
        let reply = match tokio::time::timeout(self.sale.request_life, connection.exchange(&line.bytes)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Sent::Again(None, format!("connection: {}", error.kind())),
            Err(_elapsed) => return Sent::Again(None, "no answer in time".to_owned()),
        };
        let sent = self.heard(buyer, reply.status, reply.retry_after, reply.body);
        if !connection.is_closed() {
            line.connection = Some(connection);
        }
        sent
    }

    fn write(&self, buyer: &Buyer, door: usize, line: &mut Line) {
        let sale = &*self.sale;
        line.bytes.clear();
        line.body.clear();
        let (method, path, step) = match buyer.step {
            Step::Look => ("GET", format!("/v1/products/{}", segment(&sale.product)), None),
            Step::Cart => {
                line.body.extend_from_slice(br#"{"currency":"GBP"}"#);
                ("POST", "/v1/carts".to_owned(), Some("cart"))
            }
            Step::Line => {
                line.body.extend_from_slice(br#"{"quantity":1}"#);
                let sku = segment(sale.crowd.sku(buyer.number));
                ("PUT", format!("/v1/carts/{}/lines/{sku}", buyer.cart), None)
            }
            Step::Order => {
                let sku = sale.crowd.sku(buyer.number);
                let basket = if buyer.cart.is_empty() { Basket::One(sku) } else { Basket::Cart(&buyer.cart) };
                order_body(&mut line.body, basket, buyer.number, sale.crowd.token(buyer.number));
                ("POST", "/v1/orders".to_owned(), Some("order"))
            }
        };
        let key = step.map(|step| sale.key(step, buyer.number));
        let wait_s = sale.wait_s.filter(|_| buyer.step == Step::Order);
        sale.doors
            .target(door)
            .write(&mut line.bytes, Request { method, path: &path, key: key.as_deref(), wait_s, body: &line.body });
    }

    fn heard(&self, buyer: &mut Buyer, status: u16, after: Option<Duration>, body: &[u8]) -> Sent {
        let verdict = match buyer.step {
            Step::Order => judge(status, body),
            _ if matches!(status, 408 | 429 | 500..) => Verdict::Again,
            _ => Verdict::Refused,
        };
        if verdict == Verdict::Again {
            let code = scan::text(body, "code").unwrap_or("no code");
            return Sent::Again(after, format!("{status} {code}"));
        }
        let created = matches!(status, 200..=299);
        if !created && verdict != Verdict::SoldOut {
            let code = scan::text(body, "code").unwrap_or("no code");
            *self.record.borrow_mut().refusals.entry(format!("{status} {code}")).or_default() += 1;
        }
        match buyer.step {
            Step::Cart if created => scan::text(body, "id").unwrap_or_default().clone_into(&mut buyer.cart),
            Step::Order => {
                self.note_verdict(buyer.number, verdict);
                if let Some(order) = scan::text(body, "id").filter(|_| created) {
                    let at = self.sale.began.elapsed();
                    let acknowledged = Acknowledged { order: order.into(), buyer: buyer.number, verdict, at };
                    self.record.borrow_mut().acknowledged.push(acknowledged);
                }
            }
            Step::Look | Step::Cart | Step::Line => {}
        }
        Sent::Settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(number: u16) -> Doors {
        Doors::of((1..=number).map(|port| Target { address: ([127, 0, 0, 1], port).into(), key: String::new() }))
    }

    #[test]
    fn a_buyer_goes_to_another_door_with_each_attempt_and_past_those_that_are_shut() {
        let doors = doors(3);
        let way = |buyer: u64| (0..4).map(|attempt| doors.choose(buyer, attempt)).collect::<Vec<_>>();
        assert_eq!((way(0), way(4)), (vec![0, 1, 2, 0], vec![1, 2, 0, 1]));
        doors.set_open(1, false);
        assert_eq!(way(0), [0, 2, 2, 0]);
        for index in 0..3 {
            doors.set_open(index, false);
        }
        assert_eq!(way(2), [2, 0, 1, 2]);
    }

    #[test]
    fn closed_doors_turn_away_whoever_means_to_come_later() {
        let closing = Closing::default();
        assert!(!closing.is_closed() && !closing.turns_away(Duration::from_secs(1_000_000)));
        closing.close(Duration::from_secs(5));
        assert!(
            closing.is_closed()
                && closing.turns_away(Duration::from_secs(6))
                && !closing.turns_away(Duration::from_secs(5))
        );
    }
}
