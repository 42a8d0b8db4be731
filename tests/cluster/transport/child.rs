//! A node for other tests: a gateway with an echo behind it, that does what its standard input says.
//!
//! ```text
//! in:  number word argument …          out: > number answer
//! ```

use super::process::{ROLE, Settings};
use super::stranger;
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_actors::remote::{Delivered, OneWay, Remote};
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_cluster::settings::{Cookie, GatewaySettings, TlsFiles};
use doorbuster_cluster::{Bound, Gateway, Inbound, InboundAnswer};
use doorbuster_domain::any::{Command, Refusal, Reply};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_domain::inventory;
use doorbuster_domain::principal::Principal;
use doorbuster_storage::Shard;
use doorbuster_storage::registry::{NodeId, NodeRow, NodeState};
use doorbuster_storage::wire::Meta;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The process that the other tests start; without its variable it is no test at all.
#[test]
fn a_node_that_other_tests_start() {
    let Ok(settings) = std::env::var(ROLE) else { return };
    // The levels of a node.
    let levels: Targets = format!("info,{}", doorbuster_cluster::LOG_LEVELS).parse().unwrap();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).finish().with(levels).init();
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if settings.is_stranger {
            stranger::run(settings).await;
        } else {
            run(settings).await;
        }
    });
}

/// Answers `echo` at once, `slow` after a while, `stuck` never, and refuses `refuse`.
#[derive(Debug, Default)]
struct Echo {
    owned: Mutex<BTreeSet<u16>>,
    delivered: AtomicUsize,
    one_way: AtomicUsize,
}

impl Inbound for Echo {
    fn deliver(&self, shard: Shard, ask: Ask) -> BoxFuture<'static, InboundAnswer> {
        if !self.owned.lock().unwrap().contains(&shard.0) {
            return Box::pin(std::future::ready(InboundAnswer::NotOwner));
        }
        self.delivered.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let EntityId::Inventory(sku) = &ask.entity else { return InboundAnswer::Answered(Answer::Quarantined) };
            match sku.as_str() {
                "slow" => tokio::time::sleep(Duration::from_millis(300)).await,
                "stuck" => std::future::pending().await,
                "refuse" => {
                    let sold_out = inventory::Refusal::SoldOut { wanted: 1, available: 0, all_reserved: false };
                    return InboundAnswer::Answered(Answer::Refused(Refusal::Inventory(sold_out)));
                }
                _ => {}
            }
            InboundAnswer::Answered(Answer::Accepted(Box::new(Accepted {
                reply: Reply::Inventory(inventory::Reply::Done),
                state: None,
                meta: Meta::default(),
                repeated: false,
                shard,
                seq: 7,
            })))
        })
    }

    fn deliver_one_way(&self, _: Shard, _: OneWay) {
        self.one_way.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn settings_of(settings: &Settings) -> GatewaySettings {
    GatewaySettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: String::new(),
        cookie: Cookie::parse(&settings.cookie).unwrap(),
        gateways: 2,
        heartbeat: Duration::from_millis(100),
        cut_misses_max: settings.cut_misses_max,
        in_flight_per_peer_max: settings.in_flight_per_peer_max,
        queue_bytes_per_peer_max: 64 << 20,
        frames_in_flight_max: 8,
        frame_bytes_max: 256 << 10,
        handshake_timeout: Duration::from_secs(2),
        reconnect_min: Duration::from_millis(50),
        reconnect_max: Duration::from_millis(500),
        tls: settings.tls.as_ref().map(|folder| TlsFiles {
            certificate: folder.join("node.pem"),
            key: folder.join("node.key"),
            authority: folder.join("ca.pem"),
        }),
    }
}

pub fn question(sku: &str, life_ms: u64, padding: usize) -> Ask {
    let warehouse = doorbuster_domain::ids::WarehouseId::parse("lon1").unwrap();
    let command = if padding == 0 {
        inventory::Command::Read
    } else {
        inventory::Command::Reserve {
            order: doorbuster_domain::ids::OrderId(1 << 16),
            units: 1,
            currency: doorbuster_domain::money::Currency::GBP,
            expected_unit_price: None,
            ranking: vec![warehouse; padding],
            expires_at: SystemClock.now(),
            instead_of: None,
        }
    };
    Ask {
        entity: EntityId::Inventory(Sku::parse(sku).unwrap()),
        command: Command::Inventory(command),
        by: Principal::System,
        if_version: None,
        wait: Wait::Decided,
        deadline: SystemClock.now().plus_ms(life_ms),
        reject_if_absent: None,
    }
}

async fn run(settings: Settings) {
    let bound = Bound::bind(settings_of(&settings)).await.unwrap();
    println!("> 0 {}", json!(bound.address()));
    let gateway = bound.open(NodeId::parse(&settings.name).unwrap(), Arc::new(SystemClock)).await.unwrap();
    let echo = Arc::new(Echo::default());
    assert!(gateway.serve(Arc::clone(&echo) as Arc<dyn Inbound>));
    let mut orders = orders();
    while let Some(line) = orders.recv().await {
        let (gateway, echo) = (gateway.clone(), Arc::clone(&echo));
        tokio::spawn(async move {
            let words: Vec<&str> = line.split_whitespace().collect();
            let answer = obey(&gateway, &echo, &words[1..]).await;
            println!("> {} {answer}", words[0]);
        });
    }
    gateway.stop().await;
}

/// What the standard input says, line by line; a thread waits for it.
pub fn orders() -> mpsc::UnboundedReceiver<String> {
    let (heard, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| heard.send(line)));
    orders
}

async fn obey(gateway: &Gateway, echo: &Echo, words: &[&str]) -> Value {
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let shard = |at: usize| Shard(words[at].parse().unwrap());
    match words[0] {
        "members" => {
            gateway.peers().set_members(words[1..].iter().map(|member| row(member)).collect());
            Value::Null
        }
        "own" => {
            echo.owned.lock().unwrap().insert(shard(1).0);
            gateway.announce(shard(1), number(2));
            Value::Null
        }
        "disown" => json!(echo.owned.lock().unwrap().remove(&shard(1).0)),
        "learn" => json!(gateway.hints().learn(shard(1), number(2), &NodeId::parse(words[3]).unwrap())),
        "stored" => {
            gateway.hints().learn_from_store(shard(1), number(2), &NodeId::parse(words[3]).unwrap());
            Value::Null
        }
        "owner" => json!(gateway.hints().owner(shard(1)).map(|(epoch, node)| format!("{epoch} {node}"))),
        "beats" => {
            let beats = gateway.peers().heartbeats();
            let shown =
                |beat: &doorbuster_cluster::PeerHeartbeat| json!([beat.connected, beat.misses, beat.last_ms_ago]);
            beats.iter().map(|(node, beat)| (node.to_string(), shown(beat))).collect::<serde_json::Map<_, _>>().into()
        }
        "traffic" => {
            let traffic = gateway.traffic();
            json!({
                "sent": traffic.sent, "frames_sent": traffic.frames_sent, "received": traffic.received,
                "frames_received": traffic.frames_received, "busy": traffic.busy, "unknown": traffic.unknown,
                "dropped": traffic.dropped, "unreadable": traffic.unreadable,
            })
        }
        "delivered" => json!(echo.delivered.load(Ordering::Relaxed)),
        "one_way" => json!(echo.one_way.load(Ordering::Relaxed)),
        "send" => {
            for _ in 0..number(3) {
                let ask = Box::new(question("echo", 10_000, 0));
                // One that cannot leave is counted as dropped.
                drop(gateway.send(shard(1), OneWay::Ask { ask, reply_to: None }));
            }
            Value::Null
        }
        "ask" => ask(gateway, shard(1), words[2], number(3), number(4), 0).await,
        "ask_large" => ask(gateway, shard(1), words[2], number(3), 10_000, usize::try_from(number(4)).unwrap()).await,
        "flood" => flood(gateway, shard(1), number(2), number(3)).await,
        other => panic!("no such order: {other}"),
    }
}

/// Questions at the same time.
async fn ask(gateway: &Gateway, shard: Shard, sku: &str, count: u64, life_ms: u64, padding: usize) -> Value {
    let ends = join_all((0..count).map(|_| gateway.ask(shard, question(sku, life_ms, padding)))).await;
    let count = |is: fn(&Delivered) -> bool| ends.iter().filter(|end| is(end)).count();
    json!({
        "accepted": count(|end| matches!(end, Delivered::Answered(Answer::Accepted(_)))),
        "refused": count(|end| matches!(end, Delivered::Answered(Answer::Refused(_)))),
        "late": count(|end| matches!(end, Delivered::Answered(Answer::Late))),
        "not_delivered": count(|end| matches!(end, Delivered::NotDelivered)),
        "unknown": count(|end| matches!(end, Delivered::Unknown)),
    })
}

/// `askers` askers, each with one question after the other, for some milliseconds; gives questions answered per second.
async fn flood(gateway: &Gateway, shard: Shard, askers: u64, millis: u64) -> Value {
    let begun = Instant::now();
    let end = begun + Duration::from_millis(millis);
    let one = |gateway: Gateway| async move {
        let (mut answered, mut slowest) = (0_u64, Duration::ZERO);
        while Instant::now() < end {
            let asked = Instant::now();
            if matches!(gateway.ask(shard, question("echo", 10_000, 0)).await, Delivered::Answered(_)) {
                answered += 1;
            }
            slowest = slowest.max(asked.elapsed());
        }
        (answered, slowest)
    };
    let ends = join_all((0..askers).map(|_| tokio::spawn(one(gateway.clone())))).await;
    let ends: Vec<(u64, Duration)> = ends.into_iter().map(Result::unwrap).collect();
    let answered: u64 = ends.iter().map(|(answered, _)| answered).sum();
    let slowest = ends.iter().map(|(_, slowest)| slowest.as_millis()).max().unwrap_or(0);
    json!({ "per_second": answered * 1000 / u64::try_from(begun.elapsed().as_millis()).unwrap(), "slowest_ms": slowest })
}

fn row(member: &str) -> NodeRow {
    let (id, cluster) = member.split_once('@').unwrap();
    NodeRow {
        id: NodeId::parse(id).unwrap(),
        beat: 0,
        state: NodeState::Up,
        cluster: cluster.to_owned(),
        public: String::new(),
        operator: String::new(),
        version: String::new(),
    }
}
