//! Clients at the same time, each with orders of its own, who write down what they ask and hear.

use crate::check::{Answer, Op, Operation};
use crate::doctor::Doctor;
use crate::shop::{Heard, Shop};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Reservations that one client looks after at the same time.
const ORDERS_MAX: usize = 5;

/// What clients share.
#[derive(Debug)]
pub struct Crowd {
    shop: Arc<Shop>,
    doctor: Doctor,
    skus: u32,
    /// One tick for each question and each answer.
    clock: AtomicU64,
    numbers: AtomicU64,
    history: Mutex<Vec<Operation>>,
}

impl Crowd {
    /// A crowd that has done nothing yet.
    pub fn new(shop: Arc<Shop>, doctor: Doctor, skus: u32) -> Arc<Self> {
        Arc::new(Self {
            shop,
            doctor,
            skus,
            clock: AtomicU64::new(1),
            numbers: AtomicU64::new(1),
            history: Mutex::default(),
        })
    }

    /// What was written down.
    pub fn history(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.history.lock().unwrap())
    }

    /// All SKUs on sale, with a few units each.
    pub async fn open(self: &Arc<Self>) {
        let mut client = Client::new(self, 0, 0);
        for sku in 0..self.skus {
            client.insist(sku, Op::Offer).await;
            let request = client.number();
            client.insist(sku, Op::Receive { request, units: 8 }).await;
        }
    }

    /// `operations` operations by `clients` clients.
    pub async fn live(self: &Arc<Self>, clients: u32, operations: usize, seed: u64) {
        let clients: Vec<_> = (1..=clients)
            .map(|number| {
                let client = Client::new(self, number, seed);
                tokio::spawn(client.live(operations))
            })
            .collect();
        for client in clients {
            client.await.expect("clients do not panic");
        }
    }

    /// One last look at everything.
    pub async fn look(self: &Arc<Self>) {
        let mut client = Client::new(self, 0, 0);
        for sku in 0..self.skus {
            client.insist(sku, Op::Read).await;
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy)]
struct Own {
    sku: u32,
    order: u64,
    number: u64,
    is_ended: bool,
}

struct Client {
    crowd: Arc<Crowd>,
    number: u32,
    rng: ChaCha8Rng,
    own: Vec<Own>,
}

impl Client {
    fn new(crowd: &Arc<Crowd>, number: u32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(number) + 10);
        Self { crowd: Arc::clone(crowd), number, rng, own: Vec::new() }
    }

    fn number(&self) -> u64 {
        self.crowd.numbers.fetch_add(1, Ordering::Relaxed)
    }

    async fn live(mut self, operations: usize) {
        while self.crowd.history.lock().unwrap().len() < operations {
            let sku = self.rng.random_range(0..self.crowd.skus);
            match self.rng.random_range(0..100) {
                0..45 => self.reserve(sku).await,
                45..78 => self.go_on_with_one().await,
                78..85 => {
                    let units = self.rng.random_range(1..=6);
                    let request = self.number();
                    self.ask(sku, Op::Receive { request, units }).await;
                }
                _ => {
                    self.ask(sku, Op::Read).await;
                }
            }
        }
    }

    async fn reserve(&mut self, sku: u32) {
        if self.own.len() >= ORDERS_MAX {
            return self.go_on_with_one().await;
        }
        let (order, units) = (self.number(), self.rng.random_range(1..=3));
        let heard = self.ask(sku, Op::Reserve { order, units }).await;
        if let Some(Heard { answer: Answer::Reserved { number }, .. }) = heard {
            self.own.push(Own { sku, order, number, is_ended: false });
            if self.rng.random_ratio(1, 20) {
                // The same once more, as a shopper who did not see the answer.
                self.ask(sku, Op::Reserve { order, units }).await;
            }
        }
    }

    async fn go_on_with_one(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.own.len());
        let Own { sku, order, number, is_ended } = self.own[at];
        if is_ended {
            self.own.swap_remove(at);
            self.ask(sku, Op::Forget { order, number }).await;
            return;
        }
        let op = match self.rng.random_range(0..20) {
            0..10 => Op::Commit { order, number },
            10..19 => Op::Release { order, number },
            _ => Op::Forget { order, number },
        };
        let heard = self.ask(sku, op).await;
        match heard.map(|heard| heard.answer) {
            Some(Answer::Done | Answer::Ended) => self.own[at].is_ended = true,
            Some(_) => {}
            // The outcome is unknown; it is left alone.
            None => {
                self.own.swap_remove(at);
            }
        }
    }

    /// Asks until it is answered, or gives up; writes it down either way.
    async fn ask(&mut self, sku: u32, op: Op) -> Option<Heard> {
        let mut invoked = self.crowd.tick();
        loop {
            if op == Op::Read {
                // A read that was not answered did nothing: each try is one of its own.
                invoked = self.crowd.tick();
            }
            let heard = self.crowd.doctor.ask(&self.crowd.shop, sku, op).await;
            if heard.is_some() || self.rng.random_ratio(1, 12) {
                let returned = heard.is_some().then(|| self.crowd.tick());
                let operation = Operation {
                    client: self.number,
                    sku,
                    invoked,
                    returned,
                    op,
                    answer: heard.map(|heard| heard.answer),
                    seen: heard.and_then(|heard| heard.seen),
                    repeated: heard.is_some_and(|heard| heard.repeated),
                };
                if operation.op != Op::Read || heard.is_some() {
                    self.crowd.history.lock().unwrap().push(operation);
                }
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(1..30))).await;
        }
    }

    async fn insist(&mut self, sku: u32, op: Op) {
        while self.ask(sku, op).await.is_none() {}
    }
}
