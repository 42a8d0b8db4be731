//! The crowd: clients that work side by side, each with one buyer after the other, until every buyer has an answer.
//!
//! A buyer whose attempt got no answer is sent again with the same key, at once and for as long as it takes. One buyer in fifty is
//! impatient and sends the same again although it was answered.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An attempt without an answer in this time is given up and sent again.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A pause after an attempt that could not even be sent.
const PAUSE: Duration = Duration::from_millis(5);
/// One buyer in this many sends again what was answered.
const IMPATIENT: u64 = 50;
/// A whole drop takes no longer than this.
const DROP_MAX: Duration = Duration::from_secs(600);

/// The drop.
#[derive(Debug, Clone, Copy)]
pub struct Drop {
    pub units: u64,
    pub buyers: u64,
    pub clients: u64,
    pub kill: bool,
}

/// What a buyer was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A unit is reserved, under this name.
    Reserved(String),
    /// There is none left.
    SoldOut,
}

/// One client's connection, made anew after every loss.
pub trait Connection: Sized + Send {
    /// One attempt for a buyer; `Err`: no answer, or none that says anything.
    fn reserve(&mut self, buyer: u64) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// A server under test, and how to speak with it.
pub trait Peer: Send + Sync + 'static {
    type Connection: Connection + 'static;
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    pub sold: u64,
    pub oversold: u64,
    /// Buyers who have more than one unit, though each asked for one.
    pub twice: u64,
    /// Acknowledged, and not there afterwards.
    pub lost: u64,
    /// Units that left the stock and belong to no buyer.
    pub astray: i64,
    pub p50_micros: u64,
    pub p99_micros: u64,
    /// Sold per second until the kill.
    pub before: Option<u64>,
    /// Sold per second from the first answer after it.
    pub after: Option<u64>,
    /// From the kill to the first answer after it.
    pub outage_ms: Option<u64>,
    /// Attempts that were made again.
    pub resent: u64,
}

impl Figures {
    /// Nothing was sold that was not there, nothing twice, nothing lost.
    pub fn is_sound(&self) -> bool {
        self.oversold == 0 && self.twice == 0 && self.lost == 0
    }
}

/// What the server has in its books afterwards.
#[derive(Debug, Default)]
pub struct Books {
    /// Per buyer: units.
    pub buyers: BTreeMap<u64, u64>,
    /// What it says is left.
    pub left: i64,
}

/// Everything the crowd shares.
pub struct Crowd {
    drop: Drop,
    next: AtomicU64,
    sold: AtomicU64,
    resent: AtomicU64,
    begun: Instant,
    answers: Mutex<BTreeMap<u64, Answer>>,
    latency: Mutex<Histogram<u64>>,
    /// When each buyer's unit was acknowledged.
    sales: Mutex<Vec<Duration>>,
    killed: AtomicBool,
}

impl Crowd {
    pub fn new(drop: Drop) -> Arc<Self> {
        let latency = Histogram::new_with_max(120_000_000, 3).expect("lawful bounds");
        Arc::new(Self {
            drop,
            next: AtomicU64::new(0),
            sold: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            begun: Instant::now(),
            answers: Mutex::default(),
            latency: Mutex::new(latency),
            sales: Mutex::default(),
            killed: AtomicBool::new(false),
        })
    }

    /// Runs the whole drop; `kill_and_restart` is called once, when half of the units are sold, and gives the instant of the kill.
    pub async fn run<P: Peer, F: Future<Output = Result<Instant, String>> + Send>(
        self: &Arc<Self>,
        peer: Arc<P>,
        kill_and_restart: impl FnOnce() -> F,
    ) -> Result<Option<Instant>, String> {
        let mut clients = Vec::new();
        for _ in 0..self.drop.clients {
            clients.push(tokio::spawn(client(Arc::clone(self), Arc::clone(&peer))));
        }
        let mut killed_at = None;
        if self.drop.kill {
            while self.sold.load(Ordering::Relaxed) < self.drop.units / 2 {
                if self.begun.elapsed() > DROP_MAX || clients.iter().all(tokio::task::JoinHandle::is_finished) {
                    return Err("half was never sold".to_owned());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.killed.store(true, Ordering::Relaxed);
            killed_at = Some(kill_and_restart().await?);
        }
        for client in clients {
            let left = DROP_MAX.saturating_sub(self.begun.elapsed());
            match tokio::time::timeout(left, client).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => return Err(format!("a client failed: {panic}")),
                Err(_) => return Err("some buyers had no answer in time".to_owned()),
            }
        }
        Ok(killed_at)
    }

    /// What was acknowledged, by buyer.
    pub fn acknowledged(&self) -> Vec<(u64, String)> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .iter()
            .filter_map(|(buyer, answer)| match answer {
                Answer::Reserved(name) => Some((*buyer, name.clone())),
                Answer::SoldOut => None,
            })
            .collect()
    }

    /// Compares what buyers were answered with what the server has.
    pub fn figures(&self, books: &Books, killed_at: Option<Instant>) -> Figures {
        let sold: u64 = books.buyers.values().sum();
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let sales = self.sales.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = i64::try_from(self.drop.units).unwrap_or(i64::MAX) - books.left;
        let mut figures = Figures {
            sold,
            oversold: sold.saturating_sub(self.drop.units),
            twice: books.buyers.values().filter(|units| **units > 1).count() as u64,
            lost: self.acknowledged().iter().filter(|(buyer, _)| !books.buyers.contains_key(buyer)).count() as u64,
            astray: gone - i64::try_from(sold).unwrap_or(i64::MAX),
            p50_micros: latency.value_at_quantile(0.5),
            p99_micros: latency.value_at_quantile(0.99),
            resent: self.resent.load(Ordering::Relaxed),
            ..Figures::default()
        };
        let rate = |count: usize, time: Duration| {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            Some(count as u64 * 1_000 / millis)
        };
        match killed_at {
            None => figures.before = sales.last().and_then(|last| rate(sales.len(), *last)),
            Some(killed_at) => {
                let killed = killed_at.duration_since(self.begun);
                let before = sales.iter().filter(|at| **at <= killed).count();
                figures.before = rate(before, killed);
                let after: Vec<Duration> = sales.iter().copied().filter(|at| *at > killed).collect();
                if let (Some(first), Some(last)) = (after.iter().min(), after.iter().max()) {
                    // Answers that were under way at the kill come within a moment of it: the outage ends with the first after a silence.
                    let mut sorted = after.clone();
                    sorted.sort_unstable();
                    let silence = std::iter::once(killed).chain(sorted.iter().copied()).zip(sorted.iter().copied());
                    let (_, resumed) = silence.max_by_key(|(one, next)| *next - *one).unwrap_or((killed, *first));
                    figures.outage_ms = u64::try_from((resumed - killed).as_millis()).ok();
                    let count = sorted.iter().filter(|at| **at >= resumed).count();
                    figures.after = rate(count, *last - resumed);
                }
            }
        }
        figures
    }
}

async fn client<P: Peer>(crowd: Arc<Crowd>, peer: Arc<P>) {
    let mut connection: Option<P::Connection> = None;
    loop {
        let buyer = crowd.next.fetch_add(1, Ordering::Relaxed);
        if buyer >= crowd.drop.buyers {
            return;
        }
        let began = Instant::now();
        let answer = insist(&crowd, &*peer, &mut connection, buyer).await;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        crowd.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        if let Answer::Reserved(_) = answer {
            crowd.sold.fetch_add(1, Ordering::Relaxed);
            crowd.sales.lock().unwrap_or_else(PoisonError::into_inner).push(crowd.begun.elapsed());
        }
        crowd.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(buyer, answer);
        if buyer % IMPATIENT == 0 {
            insist(&crowd, &*peer, &mut connection, buyer).await;
        }
    }
}

/// Sends until there is an answer.
async fn insist<P: Peer>(crowd: &Crowd, peer: &P, connection: &mut Option<P::Connection>, buyer: u64) -> Answer {
    let mut first = true;
    loop {
        if !first {
            crowd.resent.fetch_add(1, Ordering::Relaxed);
        }
        first = false;
        if connection.is_none() {
            match peer.connect().await {
                Ok(made) => *connection = Some(made),
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
        }
        let Some(open) = connection.as_mut() else { continue };
        match tokio::time::timeout(ANSWER_MAX, open.reserve(buyer)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(why)) => {
                if !crowd.killed.load(Ordering::Relaxed) {
                    eprintln!("buyer {buyer}: {why}");
                }
                *connection = None;
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => *connection = None,
        }
    }
}
