//! The attackers: each kind by itself, from an address of its own, as fast as the node answers.

use super::names::colliding;
use super::options::Size;
use clap::ValueEnum;
use doorbuster_bench::api::{Request, Target, segment};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::count;
use doorbuster_bench::scan;
use doorbuster_test_kit::http::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where the attackers are: another address than that of the honest.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// A request that is not answered within this is given up.
const REQUEST_LIFE: Duration = Duration::from_secs(15);
/// After a lost connection.
const AGAIN: Duration = Duration::from_millis(20);
/// Before a socket that was closed is opened anew.
const REST: Duration = Duration::from_millis(100);

/// What is done to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// One guest orders thousands of SKUs that do not exist, again and again.
    UnknownOrders,
    /// One guest orders as many lawful lines as an order may have.
    LargeOrders,
    /// One guest changes the metadata of an order without end, and reads its events.
    Metadata,
    /// Sockets that announce a large body and send none.
    SilentBodies,
    /// Anonymous reads of names with one hash.
    CollidingNames,
    /// Batches of a megabyte that are no batches.
    GarbageBatch,
    /// A full cart, whose lines are put again and again.
    LargeCart,
    /// Guests are made without end.
    Guests,
    /// Audits are asked for in a loop.
    Audits,
}

/// Whom and with what.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// The public port with a seller's key.
    pub(super) public: Target,
    pub(super) operator: Target,
    pub(super) skus: Arc<Vec<String>>,
    pub(super) size: Size,
    pub(super) until: Instant,
}

/// What an attack sent and was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// By status.
    pub(super) answers: BTreeMap<u16, u64>,
    /// Not answered.
    pub(super) lost: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.lost += other.lost;
        for (status, answers) in other.answers {
            *self.answers.entry(status).or_default() += answers;
        }
    }
}

/// One attacker with one connection.
struct Hand {
    target: Target,
    open: Option<Connection>,
    bytes: Vec<u8>,
    tally: Tally,
}

impl Hand {
    fn new(target: &Target) -> Self {
        Self { target: target.clone(), open: None, bytes: Vec::new(), tally: Tally::default() }
    }

    /// Sends once; gives status and body of the answer.
    async fn send(&mut self, request: Request<'_>) -> Option<(u16, Vec<u8>)> {
        self.bytes.clear();
        self.target.write(&mut self.bytes, request);
        self.tally.requests += 1;
        let answer = self.exchange().await;
        match &answer {
            Some((status, _)) => *self.tally.answers.entry(*status).or_default() += 1,
            None => {
                self.tally.lost += 1;
                tokio::time::sleep(AGAIN).await;
            }
        }
        answer
    }

    async fn exchange(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut connection = match self.open.take() {
            Some(open) if !open.is_gone() => open,
            _ => Connection::open_from(FROM, self.target.address).await.ok()?,
        };
        let reply = tokio::time::timeout(REQUEST_LIFE, connection.exchange(&self.bytes)).await.ok()?.ok()?;
        let answer = (reply.status, reply.body.to_vec());
        if !connection.is_closed() {
            self.open = Some(connection);
        }
        Some(answer)
    }

    async fn get(&mut self, path: &str) -> Option<(u16, Vec<u8>)> {
        self.send(Request { method: "GET", path, key: None, wait_s: None, body: b"" }).await
    }

    async fn post(&mut self, path: &str, key: Option<&str>, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        self.send(Request { method: "POST", path, key, wait_s: None, body }).await
    }

    /// The text of a field of the answer to a POST that is repeated until it is carried out, or the attack ends.
    async fn made(&mut self, until: Instant, path: &str, key: &str, body: &[u8], field: &str) -> Option<String> {
        while Instant::now() < until {
            if let Some((200..=299, body)) = self.post(path, Some(key), body).await {
                return scan::text(&body, field).map(str::to_owned);
            }
            tokio::time::sleep(AGAIN).await;
        }
        None
    }
}

/// As many attackers at once, each with its number.
async fn hands<Work>(many: usize, work: impl Fn(usize) -> Work) -> Result<Tally, BenchError>
where
    Work: Future<Output = Tally> + Send + 'static,
{
    let tasks: Vec<_> = (0..many).map(|number| tokio::spawn(work(number))).collect();
    let mut total = Tally::default();
    for task in tasks {
        total.add(task.await.map_err(|panic| BenchError::Node(format!("an attacker failed: {panic}")))?);
    }
    Ok(total)
}

fn order_of(skus: impl Iterator<Item = String>) -> Vec<u8> {
    let lines: Vec<Value> = skus.map(|sku| json!({ "sku": sku, "quantity": 1 })).collect();
    let order = json!({
        "lines": lines,
        "buyer": { "email": "hostile@crowd.example", "name": "Hostile" },
        "ship_to": { "name": "Hostile", "line1": "1 High Street", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB" }
    });
    order.to_string().into_bytes()
}

impl Attack {
    /// Every attack, in the order of a run.
    pub(super) const ALL: [Self; 9] = [
        Self::UnknownOrders,
        Self::LargeOrders,
        Self::Metadata,
        Self::SilentBodies,
        Self::CollidingNames,
        Self::GarbageBatch,
        Self::LargeCart,
        Self::Guests,
        Self::Audits,
    ];

    /// Its name in the table.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::UnknownOrders => "unknown-orders",
            Self::LargeOrders => "large-orders",
            Self::Metadata => "metadata",
            Self::SilentBodies => "silent-bodies",
            Self::CollidingNames => "colliding-names",
            Self::GarbageBatch => "garbage-batch",
            Self::LargeCart => "large-cart",
            Self::Guests => "guests",
            Self::Audits => "audits",
        }
    }

    /// Attacks until the field's end, or until all is sent.
    pub(super) async fn run(self, field: &Field) -> Result<Tally, BenchError> {
        let field = Arc::new(field.clone());
        match self {
            Self::UnknownOrders => unknown_orders(&field).await,
            Self::LargeOrders => large_orders(&field).await,
            Self::Metadata => metadata(&field).await,
            Self::SilentBodies => silent_bodies(&field).await,
            Self::CollidingNames => colliding_names(&field).await,
            Self::GarbageBatch => garbage_batch(&field).await,
            Self::LargeCart => large_cart(&field).await,
            Self::Guests => {
                let target = Target { address: field.public.address, key: String::new() };
                repeat(16, field.until, target, "POST", "/v1/guests", Vec::new()).await
            }
            Self::Audits => repeat(4, field.until, field.operator.clone(), "GET", "/admin/audit", Vec::new()).await,
        }
    }
}

/// The same request again and again.
async fn repeat(
    many: usize,
    until: Instant,
    target: Target,
    method: &'static str,
    path: &'static str,
    body: Vec<u8>,
) -> Result<Tally, BenchError> {
    let body = Arc::new(body);
    hands(many, |_| {
        let (target, body) = (target.clone(), Arc::clone(&body));
        async move {
            let mut hand = Hand::new(&target);
            while Instant::now() < until {
                hand.send(Request { method, path, key: None, wait_s: None, body: &body }).await;
            }
            hand.tally
        }
    })
    .await
}

/// The public port for one guest.
async fn guest(field: &Field) -> Target {
    let mut target = Target { address: field.public.address, key: String::new() };
    let mut hand = Hand::new(&target);
    if let Some(token) = hand.made(field.until, "/v1/guests", "guest", b"", "token").await {
        target.key = token;
    }
    target
}

async fn unknown_orders(field: &Arc<Field>) -> Result<Tally, BenchError> {
    const HANDS: usize = 8;
    let guest = guest(field).await;
    hands(HANDS, |first| {
        let (field, mut hand) = (Arc::clone(field), Hand::new(&guest));
        async move {
            for order in (first..field.size.orders).step_by(HANDS) {
                if Instant::now() >= field.until {
                    break;
                }
                let body = order_of((0..field.size.lines).map(|line| format!("GHOST-{order}-{line}")));
                hand.post("/v1/orders", Some(&format!("ghost-{order}")), &body).await;
            }
            hand.tally
        }
    })
    .await
}

async fn large_orders(field: &Arc<Field>) -> Result<Tally, BenchError> {
    let guest = guest(field).await;
    let body = Arc::new(order_of(field.skus.iter().take(field.size.lines).cloned()));
    hands(4, |number| {
        let (until, mut hand, body) = (field.until, Hand::new(&guest), Arc::clone(&body));
        async move {
            let mut order: u64 = 0;
            while Instant::now() < until {
                order += 1;
                hand.post("/v1/orders", Some(&format!("large-{number}-{order}")), &body).await;
            }
            hand.tally
        }
    })
    .await
}

async fn metadata(field: &Arc<Field>) -> Result<Tally, BenchError> {
    const KEYS: usize = 50;
    const VALUE_BYTES: usize = 480;
    let guest = guest(field).await;
    let body = order_of(field.skus.first().cloned().into_iter());
    let order = Hand::new(&guest).made(field.until, "/v1/orders", "annotated", &body, "id").await.unwrap_or_default();
    hands(6, |number| {
        let (until, mut hand, order) = (field.until, Hand::new(&guest), order.clone());
        async move {
            let mut edit: u64 = 0;
            while Instant::now() < until {
                edit += 1;
                if number % 3 == 2 {
                    hand.get(&format!("/v1/orders/{order}/events")).await;
                    continue;
                }
                let text = format!("{number}-{edit}-{}", "x".repeat(VALUE_BYTES));
                let pairs = (0..KEYS).map(|key| (format!("k{key}"), Value::from(text.as_str())));
                let body = json!({ "metadata": pairs.collect::<serde_json::Map<_, _>>() }).to_string();
                let path = format!("/v1/orders/{order}");
                let request = Request { method: "PATCH", path: &path, key: None, wait_s: None, body: body.as_bytes() };
                hand.send(request).await;
            }
            hand.tally
        }
    })
    .await
}

async fn silent_bodies(field: &Arc<Field>) -> Result<Tally, BenchError> {
    let guest = guest(field).await;
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nidempotency-key: silent\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n",
        guest.key
    );
    hands(field.size.sockets, |_| {
        let (until, address, head) = (field.until, guest.address, head.clone());
        async move {
            let mut tally = Tally::default();
            while Instant::now() < until {
                tally.requests += 1;
                match silent(address, head.as_bytes(), until).await {
                    Some(status) => *tally.answers.entry(status).or_default() += 1,
                    None => tally.lost += 1,
                }
                tokio::time::sleep(REST).await;
            }
            tally
        }
    })
    .await
}

/// Sends a head and nothing more; the status it is answered with, if it is.
async fn silent(address: std::net::SocketAddr, head: &[u8], until: Instant) -> Option<u16> {
    let socket = tokio::net::TcpSocket::new_v4().ok()?;
    socket.bind((FROM, 0).into()).ok()?;
    let mut stream = socket.connect(address).await.ok()?;
    stream.write_all(head).await.ok()?;
    let mut answer = Vec::new();
    tokio::time::timeout_at(until.into(), stream.read_to_end(&mut answer)).await.ok()?.ok()?;
    let line = answer.get(9..12)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

async fn colliding_names(field: &Arc<Field>) -> Result<Tally, BenchError> {
    let anyone = Target { address: field.public.address, key: String::new() };
    let names: Arc<Vec<String>> = Arc::new(colliding(field.size.names).collect());
    hands(8, |number| {
        let (until, mut hand, names) = (field.until, Hand::new(&anyone), Arc::clone(&names));
        async move {
            for name in names.iter().cycle().skip(number * names.len() / 8) {
                if Instant::now() >= until {
                    break;
                }
                hand.get(&format!("/v1/skus/{}/availability", segment(name))).await;
            }
            hand.tally
        }
    })
    .await
}

async fn garbage_batch(field: &Arc<Field>) -> Result<Tally, BenchError> {
    let items = vec!["1"; field.size.batch_bytes / 2].join(",");
    let body = format!("{{\"items\":[{items}]}}").into_bytes();
    repeat(2, field.until, field.public.clone(), "POST", "/v1/reservations:batch", body).await
}

async fn large_cart(field: &Arc<Field>) -> Result<Tally, BenchError> {
    const HANDS: usize = 4;
    let guest = guest(field).await;
    let cart = Hand::new(&guest).made(field.until, "/v1/carts", "large", b"{}", "id").await.unwrap_or_default();
    hands(HANDS, |first| {
        let (field, mut hand, cart) = (Arc::clone(field), Hand::new(&guest), cart.clone());
        async move {
            let skus = field.skus.iter().take(field.size.lines);
            for (line, sku) in skus.cycle().enumerate().skip(first).step_by(HANDS) {
                if Instant::now() >= field.until {
                    break;
                }
                let body = format!("{{\"quantity\":{}}}", 1 + count(line) % 9);
                let path = format!("/v1/carts/{cart}/lines/{}", segment(sku));
                let request = Request { method: "PUT", path: &path, key: None, wait_s: None, body: body.as_bytes() };
                hand.send(request).await;
            }
            hand.tally
        }
    })
    .await
}
