//! A closed loop: each connection sends its next request as soon as the last is answered.
//!
//! That finds the most a server can do. It is not how a crowd behaves, and its latency leaves out those who would have
//! come meanwhile; the flash sale itself is an open loop.

use super::api::Target;
use super::error::BenchError;
use super::number::{micros, ratio};
use doorbuster_test_kit::http::Connection;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Latencies are kept up to this many microseconds.
const LATENCY_MAX_MICROS: u64 = 120_000_000;

/// What one connection sends, and how it reads the answers.
pub trait Script: Send {
    /// Writes the next request; `number` is different for each request of the run.
    fn request(&mut self, out: &mut Vec<u8>, number: u64);
    /// Looks at the answer.
    fn answer(&mut self, status: u16, body: &[u8]) -> Turn;
}

/// What an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// What is counted is done (an order, a whole journey).
    Done,
    /// One step on the way there.
    Step,
    /// Not what was wanted; the script starts over.
    Failed,
}

/// How long and with how many.
#[derive(Debug, Clone, Copy)]
pub struct Closed {
    /// At the same time.
    pub connections: usize,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Done per second.
    pub rate: f64,
    /// From the first request of what is counted to its last answer, in microseconds.
    pub latency: Histogram<u64>,
    /// Done while measuring.
    pub done: u64,
    /// Answers that were not wanted.
    pub failed: u64,
}

impl Measured {
    /// A quantile in microseconds.
    pub fn quantile(&self, q: f64) -> u64 {
        self.latency.value_at_quantile(q)
    }
}

/// An empty histogram of microseconds with `digits` significant digits.
pub fn latencies(digits: u8) -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MAX_MICROS, digits).expect("bounds and digits are lawful")
}

/// Runs `closed` against `target`, on as many threads as there are cores.
pub async fn run<S: Script + 'static>(
    target: &Target,
    closed: Closed,
    numbers: &Arc<AtomicU64>,
    script: impl Fn(usize) -> S,
) -> Result<Measured, BenchError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(closed.connections).max(1);
    let mut lanes = Vec::new();
    for lane in 0..threads {
        let scripts: Vec<S> = (lane..closed.connections).step_by(threads).map(&script).collect();
        let (target, numbers) = (target.clone(), Arc::clone(numbers));
        lanes.push(tokio::task::spawn_blocking(move || lane_run(&target, closed, &numbers, scripts)));
    }
    let mut total = Measured { rate: 0.0, latency: latencies(3), done: 0, failed: 0 };
    for lane in lanes {
        let part = lane.await.map_err(|panic| BenchError::Node(format!("a load thread failed: {panic}")))??;
        total.latency.add(&part.latency).expect("both have the same bounds");
        total.done += part.done;
        total.failed += part.failed;
    }
    total.rate = ratio(super::number::float(total.done), closed.duration.as_secs_f64());
    Ok(total)
}

fn lane_run<S: Script + 'static>(
    target: &Target,
    closed: Closed,
    numbers: &Arc<AtomicU64>,
    scripts: Vec<S>,
) -> Result<Measured, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| BenchError::io("start a load thread", source))?;
    let local = LocalSet::new();
    let measured = Rc::new(RefCell::new(Measured { rate: 0.0, latency: latencies(3), done: 0, failed: 0 }));
    let begin = Instant::now() + closed.warm_up;
    let end = begin + closed.duration;
    let lost = Rc::new(Cell::new(0_usize));
    let connections = scripts.len();
    for script in scripts {
        let (address, numbers) = (target.address, Arc::clone(numbers));
        let (measured, lost) = (Rc::clone(&measured), Rc::clone(&lost));
        local.spawn_local(async move {
            let sent = converse(address, script, &numbers, (begin, end), &measured).await;
            if sent.is_err() {
                lost.set(lost.get() + 1);
            }
        });
    }
    // A request that is still unanswered long after the end is given up: a phase is bounded in time.
    runtime.block_on(local.run_until(async {
        tokio::time::sleep_until(end.into()).await;
    }));
    let grace = Duration::from_secs(5);
    let finished = runtime.block_on(async { tokio::time::timeout(grace, local).await.is_ok() });
    if lost.get() > 0 {
        return Err(BenchError::Node(format!("{} of {connections} connections were lost while measuring", lost.get())));
    }
    let mut measured = measured.borrow().clone();
    if !finished {
        measured.failed += 1;
    }
    Ok(measured)
}

async fn converse<S: Script>(
    address: std::net::SocketAddr,
    mut script: S,
    numbers: &AtomicU64,
    (begin, end): (Instant, Instant),
    measured: &RefCell<Measured>,
) -> std::io::Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut bytes = Vec::with_capacity(2048);
    let mut started = None;
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(());
        }
        let since = *started.get_or_insert(now);
        bytes.clear();
        script.request(&mut bytes, numbers.fetch_add(1, Ordering::Relaxed));
        let reply = connection.exchange(&bytes).await?;
        let turn = script.answer(reply.status, reply.body);
        if connection.is_closed() {
            connection = Connection::open(address).await?;
        }
        if turn == Turn::Step {
            continue;
        }
        let answered = Instant::now();
        started = None;
        if answered < begin || answered >= end {
            continue;
        }
        let mut measured = measured.borrow_mut();
        match turn {
            Turn::Done => {
                measured.done += 1;
                measured.latency.saturating_record(micros(answered - since));
            }
            Turn::Failed | Turn::Step => measured.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Fixed;

    impl Script for Fixed {
        fn request(&mut self, out: &mut Vec<u8>, number: u64) {
            out.extend_from_slice(format!("GET /{number} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        }
        fn answer(&mut self, status: u16, _body: &[u8]) -> Turn {
            if status == 200 { Turn::Done } else { Turn::Failed }
        }
    }

    /// Answers 500 to every tenth request of a connection, and counts.
    async fn serve(counted: Arc<AtomicU64>) -> Target {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut bytes = [0_u8; 1024];
                    let mut number = 0;
                    while matches!(stream.read(&mut bytes).await, Ok(1..)) {
                        counted.fetch_add(1, Ordering::Relaxed);
                        number += 1;
                        let status = if number % 10 == 0 { "500 No" } else { "200 OK" };
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Target { address, key: String::new() }
    }

    #[tokio::test]
    async fn what_was_answered_is_counted_once_and_what_was_not_wanted_apart() {
        let counted = Arc::new(AtomicU64::new(0));
        let target = serve(Arc::clone(&counted)).await;
        let closed = Closed { connections: 4, warm_up: Duration::ZERO, duration: Duration::from_millis(300) };
        let measured = run(&target, closed, &Arc::new(AtomicU64::new(0)), |_| Fixed).await.unwrap();
        let answered = counted.load(Ordering::Relaxed);
        // The last request of each connection may be answered after the end.
        assert!((answered - 4..=answered).contains(&(measured.done + measured.failed)), "{measured:?} of {answered}");
        assert!(measured.done > 0 && measured.failed > 0 && measured.latency.len() == measured.done);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_and_no_figure() {
        let target = Target::parse("http://127.0.0.1:1", "").unwrap();
        let closed = Closed { connections: 2, warm_up: Duration::ZERO, duration: Duration::from_millis(50) };
        assert!(run(&target, closed, &Arc::new(AtomicU64::new(0)), |_| Fixed).await.is_err());
    }
}
