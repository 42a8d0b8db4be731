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
use crate::common::api::{REQUEST_LIFE, RETRY_AFTER_MAX, Request, Target, segment};
use crate::common::http::Connection;
use crate::common::number::{count, length, nanos};
use crate::common::scan;
use crate::common::shopper::{Basket, Verdict, judge, order_body};
use crate::common::trouble::Trouble;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// A buyer sends the same request at most this often.
const ATTEMPTS_MAX: u32 = 40;
/// A buyer who has heard nothing for this long goes home.
const BUYER_PATIENCE: Duration = Duration::from_secs(90);
/// How often the pacer looks at the schedule: the error of "by schedule", and what it costs.
const PACE: Duration = Duration::from_micros(250);

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Sale {
    /// Where to.
    pub(crate) target: Target,
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
pub(crate) async fn run(sale: &Arc<Sale>) -> Result<Record, Trouble> {
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
        record.add(lane.await.map_err(|panic| Trouble::Node(format!("a load thread failed: {panic}")))??);
    }
    pacer.await.map_err(|panic| Trouble::Node(format!("the pacer failed: {panic}")))?;
    Ok(record)
}

/// Lets each buyer in at their time; buyer `n` belongs to lane `n % lanes`.
fn pace(sale: &Sale, gates: &[Arc<Semaphore>]) {
    let mut let_in = 0_usize;
    while let_in < sale.crowd.arrivals.len() {
        let now = nanos(sale.began.elapsed());
        let due = sale.crowd.arrivals.partition_point(|at| *at <= now);
        for (lane, gate) in gates.iter().enumerate() {
            let members = |upto: usize| (upto + gates.len() - 1 - lane) / gates.len();
            gate.add_permits(members(due) - members(let_in));
        }
        let_in = due;
        sale.live.due.store(count(due), Ordering::Relaxed);
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

fn lane_run(sale: &Arc<Sale>, gate: &Arc<Semaphore>, number: usize, lanes: usize) -> Result<Record, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Trouble::io("start a load thread", source))?;
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
    let mut line = Line { connection: None, bytes: Vec::with_capacity(2048), body: Vec::with_capacity(1024) };
    while let Ok(permit) = lane.gate.acquire().await {
        permit.forget();
        let waiting = lane.again.borrow_mut().pop_front();
        let buyer = waiting.unwrap_or_else(|| lane.admit());
        lane.serve(buyer, &mut line).await;
    }
}

/// A connection that is opened again when it was lost, with its buffers.
struct Line {
    connection: Option<Connection>,
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
    fn admit(&self) -> Buyer {
        let number = self.next.replace(self.next.get() + 1) * self.lanes + self.number;
        let number = count(number);
        let step = if self.sale.crowd.aim(number) == Aim::Order { Step::Order } else { Step::Look };
        Buyer { number, attempts: 0, step, cart: String::new() }
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
                self.told(buyer.number, Verdict::Refused);
                None
            }
            Step::Cart => Some(Step::Line),
            Step::Line | Step::Order => Some(Step::Order),
        }
    }

    fn come_again(self: &Rc<Self>, mut buyer: Buyer, after: Option<Duration>, why: String) {
        let at = self.sale.began.elapsed();
        self.record.borrow_mut().sent_again(at);
        Live::count(&self.sale.live.again);
        buyer.attempts += 1;
        if buyer.attempts >= ATTEMPTS_MAX || at.saturating_sub(self.intended(buyer.number)) > BUYER_PATIENCE {
            *self.record.borrow_mut().gave_up.entry(why).or_default() += 1;
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

    fn told(&self, buyer: u64, verdict: Verdict) {
        let at = self.sale.began.elapsed();
        self.record.borrow_mut().answered(at, self.intended(buyer), verdict);
        self.sale.live.answer(verdict);
    }

    async fn send(&self, buyer: &mut Buyer, line: &mut Line) -> Sent {
        self.write(buyer, line);
        let mut connection = match line.connection.take() {
            Some(open) => open,
            None => match Connection::open(self.sale.target.address).await {
                Ok(open) => open,
                Err(error) => return Sent::Again(None, format!("connect: {}", error.kind())),
            },
        };
        let reply = match tokio::time::timeout(REQUEST_LIFE, connection.exchange(&line.bytes)).await {
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

    fn write(&self, buyer: &Buyer, line: &mut Line) {
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
        sale.target
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
                self.told(buyer.number, verdict);
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
