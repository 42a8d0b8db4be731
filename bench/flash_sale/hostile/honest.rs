//! Honest shoppers: guests who each order one unit and pay, at a fixed rate whatever the node does. Their time counts from when they meant to come.

use doorbuster_bench::api::{Caller, RETRY_AFTER_MAX, Request, Target};
use doorbuster_bench::closed::latencies;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{count, float, length, micros};
use doorbuster_bench::shopper::{Basket, order_body};
use doorbuster_test_kit::http::Connection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A shopper served later than this after the intended arrival is not counted as served.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// A shopper comes back for so long; then the last answer stands.
const PATIENCE: Duration = Duration::from_secs(60);
/// One request may take so long before its connection is given up.
const REQUEST_LIFE: Duration = Duration::from_secs(15);
/// The pause after a lost connection.
const AGAIN: Duration = Duration::from_millis(100);
/// How many guests they are: each stays far below a guest's own quota.
const GUESTS: usize = 32;

/// One order: when its shopper meant to come, and how it ended.
#[derive(Debug, Clone, Copy)]
struct Order {
    meant: Instant,
    /// When it ended, and the status of its last answer; 0: never answered.
    ended: Option<(Instant, u16)>,
}

/// What honest shoppers met in a window of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(super) struct Window {
    /// Shoppers who meant to come.
    pub(super) offered: u64,
    /// Of them, those whose stock was held within the deadline.
    pub(super) served: u64,
    /// Per second.
    pub(super) goodput: f64,
    /// From the intended arrival until the stock was held, all retries included, in microseconds; `None`: no shopper was served.
    pub(super) p50_us: Option<u64>,
    /// The same.
    pub(super) p99_us: Option<u64>,
}

/// All orders of the run, and what stops new ones.
#[derive(Debug)]
pub(super) struct Honest {
    orders: Arc<Mutex<Vec<Order>>>,
    over: Arc<AtomicBool>,
    coming: JoinHandle<()>,
}

/// What each of them needs.
#[derive(Debug, Clone)]
struct Shop {
    targets: Arc<Vec<Target>>,
    skus: Arc<Vec<String>>,
    run: Arc<str>,
    idle: Arc<Mutex<Vec<Connection>>>,
    orders: Arc<Mutex<Vec<Order>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Honest {
    /// Makes the guests, and lets them come from now on.
    pub(super) async fn start(target: &Target, skus: &Arc<Vec<String>>, rate: f64) -> Result<Self, BenchError> {
        let mut targets = Vec::new();
        let mut caller = Caller::new(Target { address: target.address, key: String::new() });
        for _ in 0..GUESTS {
            let request = Request { method: "POST", path: "/v1/guests", key: None, wait_s: None, body: b"" };
            let made = caller.send(request).await?;
            let token = made.json().get("token").and_then(Value::as_str).map(str::to_owned);
            let key = token.ok_or_else(|| made.error("POST /v1/guests"))?;
            targets.push(Target { address: target.address, key });
        }
        let (orders, over) = (Arc::<Mutex<Vec<Order>>>::default(), Arc::<AtomicBool>::default());
        let shop = Shop {
            targets: Arc::new(targets),
            skus: Arc::clone(skus),
            run: uuid::Uuid::new_v4().simple().to_string().into(),
            idle: Arc::default(),
            orders: Arc::clone(&orders),
        };
        let gap = Duration::from_secs_f64(1.0 / rate.clamp(0.1, 100_000.0));
        let coming = tokio::spawn(come(shop, gap, Arc::clone(&over)));
        Ok(Self { orders, over, coming })
    }

    /// What those met who meant to come between two instants; `None`: one of them may still be served in time.
    pub(super) fn window(&self, from: Instant, to: Instant) -> Option<Window> {
        let now = Instant::now();
        let orders = lock(&self.orders);
        let (mut window, mut times) = (Window::default(), latencies(3));
        for order in orders.iter().filter(|order| order.meant >= from && order.meant < to) {
            window.offered += 1;
            match order.ended {
                Some((at, 200..=299)) if at - order.meant <= DEADLINE => {
                    window.served += 1;
                    times.saturating_record(micros(at - order.meant));
                }
                Some(_) => {}
                None if now < order.meant + DEADLINE => return None,
                None => {}
            }
        }
        drop(orders);
        window.goodput = float(window.served) / (to - from).as_secs_f64().max(0.001);
        if window.served > 0 {
            window.p50_us = Some(times.value_at_quantile(0.5));
            window.p99_us = Some(times.value_at_quantile(0.99));
        }
        Some(window)
    }

    /// The same, once none of them can still be served in time.
    pub(super) async fn settled(&self, from: Instant, to: Instant) -> Window {
        loop {
            if Instant::now() >= to
                && let Some(window) = self.window(from, to)
            {
                return window;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets no more come, and waits until each has a last answer; gives their number by its status.
    pub(super) async fn end(self) -> Result<BTreeMap<u16, u64>, BenchError> {
        self.over.store(true, Ordering::Relaxed);
        self.coming.await.map_err(|panic| BenchError::Node(format!("the shoppers' task failed: {panic}")))?;
        let mut ends = BTreeMap::new();
        for order in lock(&self.orders).iter() {
            *ends.entry(order.ended.map_or(0, |(_, status)| status)).or_default() += 1;
        }
        Ok(ends)
    }
}

/// One shopper after the other, until it is over; then waits for those under way.
async fn come(shop: Shop, gap: Duration, over: Arc<AtomicBool>) {
    let begin = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    let mut number: usize = 0;
    while !over.load(Ordering::Relaxed) {
        let meant = begin + gap.mul_f64(float(count(number)));
        tokio::time::sleep_until(meant.into()).await;
        lock(&shop.orders).push(Order { meant, ended: None });
        under_way.spawn(buy(shop.clone(), number, meant));
        while under_way.try_join_next().is_some() {}
        number += 1;
    }
    while under_way.join_next().await.is_some() {}
}

async fn buy(shop: Shop, number: usize, meant: Instant) {
    let (Some(target), Some(sku)) =
        (shop.targets.get(number % shop.targets.len().max(1)), shop.skus.get(number % shop.skus.len().max(1)))
    else {
        return;
    };
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    order_body(&mut body, Basket::One(sku), count(number), Some("tok_ok"));
    let key = format!("{}-{number}", shop.run);
    target
        .write(&mut bytes, Request { method: "POST", path: "/v1/orders", key: Some(&key), wait_s: None, body: &body });
    let mut last = 0;
    loop {
        let answered = once(&shop, target, &bytes).await;
        let pause = match answered {
            Some((status @ (408 | 429 | 503), after)) => {
                last = status;
                after.unwrap_or(AGAIN).min(RETRY_AFTER_MAX)
            }
            Some((status, _)) => {
                last = status;
                break;
            }
            None => AGAIN,
        };
        if meant.elapsed() + pause > PATIENCE {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    if let Some(order) = lock(&shop.orders).get_mut(length(count(number))) {
        order.ended = Some((Instant::now(), last));
    }
}

/// Sends once; `None`: no answer.
async fn once(shop: &Shop, target: &Target, bytes: &[u8]) -> Option<(u16, Option<Duration>)> {
    let open = lock(&shop.idle).pop();
    let mut connection = match open {
        Some(open) if !open.is_gone() => open,
        _ => Connection::open(target.address).await.ok()?,
    };
    let reply = tokio::time::timeout(REQUEST_LIFE, connection.exchange(bytes)).await.ok()?.ok()?;
    let answer = (reply.status, reply.retry_after);
    if !connection.is_closed() {
        lock(&shop.idle).push(connection);
    }
    Some(answer)
}
