//! The same over sockets: shoppers of a real process that is killed again and again see one shelf.
//!
//! An answer about an order does not name the version of its SKU, so the versions come from the journal. What shoppers saw is compared with it: each
//! promise lies between the question and its answer, each read and each "sold out" is what there was at a version of its time. In the memory of
//! one process, and with every version in the answer itself, `tests/linear` does a million.

#[path = "../linear/check/mod.rs"]
mod check;

use crate::node::{Door, Node, quick};
use crate::shop;
use check::{Answer, Op, Operation, check};
use doorbuster_domain::ids::OrderId;
use doorbuster_test_kit::campaign;
use doorbuster_test_kit::client::Call;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SKUS: [&str; 2] = ["ONE", "TWO"];
const SHOPPERS: u32 = 5;
/// Kills in a plain test run; `DOORBUSTER_KILLS` says otherwise.
const KILLS: u64 = 6;

/// What a shopper saw.
#[derive(Debug, Clone)]
enum Saw {
    /// An order of `units`, by its number, and whether its answer said that they are held.
    Order { order: u128, units: u32, held: bool },
    /// Too few are free.
    SoldOut { units: u32, available: u64, all_reserved: Option<bool> },
    /// An order is to end.
    Cancel { order: u128 },
    /// Units arrived.
    Receipt { units: u32, on_hand: u64, version: u64 },
    /// Stock.
    Levels { on_hand: u64, reserved: u64, version: u64 },
}

#[derive(Debug, Clone)]
struct Noted {
    shopper: u32,
    sku: usize,
    invoked: u64,
    returned: u64,
    saw: Saw,
}

#[derive(Debug, Default)]
struct Notes {
    clock: AtomicU64,
    noted: Mutex<Vec<Noted>>,
    stop: AtomicBool,
}

impl Notes {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }
}

struct Shopper {
    door: Door,
    notes: Arc<Notes>,
    number: u32,
    step: u32,
    rng: ChaCha8Rng,
}

impl Shopper {
    fn key(&mut self) -> String {
        self.step += 1;
        format!("linear-{}-{}", self.number, self.step)
    }

    /// Sends until it is answered, and notes what `saw` makes of the answer; an answer that says nothing of stock is not noted.
    async fn ask(&self, sku: usize, call: &Call, saw: impl FnOnce(u16, &Value) -> Option<Saw>) -> Value {
        let invoked = self.notes.tick();
        let answer = self.door.insist(call).await;
        let returned = self.notes.tick();
        if let Some(saw) = saw(answer.status, &answer.body) {
            let noted = Noted { shopper: self.number, sku, invoked, returned, saw };
            self.notes.noted.lock().unwrap().push(noted);
        }
        answer.body
    }

    async fn receive(&mut self, sku: usize, units: u32) {
        let body = json!({ "warehouse": shop::WAREHOUSE, "units": units });
        let call = Call::post(format!("/v1/inventory/{}/receipts", SKUS[sku]), self.key(), body);
        self.ask(sku, &call, |status, body| {
            assert_eq!(status, 201, "{body}");
            let number = |name: &str| body[name].as_u64().expect("a number");
            Some(Saw::Receipt { units, on_hand: number("on_hand"), version: number("version") })
        })
        .await;
    }

    async fn look(&self, sku: usize) {
        let call = Call::get(format!("/v1/inventory/{}", SKUS[sku]));
        self.ask(sku, &call, |status, body| {
            assert_eq!(status, 200, "{body}");
            let level = |name: &str| body["levels"][0][name].as_u64().expect("a number");
            let version = body["version"].as_u64().expect("a version");
            Some(Saw::Levels { on_hand: level("on_hand"), reserved: level("reserved"), version })
        })
        .await;
    }

    async fn order(&mut self, sku: usize) {
        let units = self.rng.random_range(1..=3);
        let mut body = shop::order(&[(SKUS[sku], units)]);
        if self.rng.random_bool(0.3) {
            body = shop::paid(body, "tok_ok");
        }
        let call = Call::post("/v1/orders", self.key(), body);
        let order = self.ask(sku, &call, |status, body| {
            if status == 409 {
                return sold_out(body, units);
            }
            let order = OrderId::parse(body["id"].as_str().expect("an order")).expect("an order's id").0;
            let held = matches!(body["status"].as_str(), Some("awaiting_payment" | "authorizing" | "confirmed"));
            Some(Saw::Order { order, units, held })
        });
        let order = order.await;
        if let Some(id) = order["id"].as_str().filter(|_| order["status"] == "awaiting_payment")
            && self.rng.random_bool(0.7)
        {
            let call = Call::post(format!("/v1/orders/{id}/cancel"), self.key(), json!({}));
            let order = OrderId::parse(id).expect("an order's id").0;
            self.ask(sku, &call, |_, _| Some(Saw::Cancel { order })).await;
        }
    }

    async fn live(mut self) {
        while !self.notes.stop.load(Ordering::Relaxed) {
            let sku = self.rng.random_range(0..SKUS.len());
            match self.rng.random_range(0..10) {
                0..6 => self.order(sku).await,
                6 => self.receive(sku, 2).await,
                _ => self.look(sku).await,
            }
        }
    }
}

fn sold_out(body: &Value, units: u32) -> Option<Saw> {
    let line = body["lines"].as_array()?.first()?;
    let all_reserved = match line["state"].as_str()? {
        "all_reserved" => Some(true),
        "sold_out" => Some(false),
        // Some are free, fewer than wanted: it does not say whether others are promised.
        _ => None,
    };
    Some(Saw::SoldOut { units, available: line["available"].as_u64()?, all_reserved })
}

/// The events of a SKU by version, from the journal of a stopped node.
async fn events_of(node: &Node, sku: &str) -> Vec<Value> {
    let dump = node.run(&["journal", "dump", "--entity", &format!("inventory/{sku}")]).await;
    assert!(dump.status.success(), "{}", dump.all());
    let mut events = Vec::new();
    for line in dump.stdout.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON lines");
        assert_eq!(record["number"].as_u64(), Some(events.len() as u64 + 1), "versions are dense: {line}");
        events.extend(record["events"].as_array().expect("events").iter().cloned());
    }
    events
}

/// What happened to a SKU, and what was seen of it, as one history.
fn history(sku: usize, events: &[Value], noted: &[Noted]) -> Vec<Operation> {
    let mine: Vec<&Noted> = noted.iter().filter(|noted| noted.sku == sku).collect();
    let mut numbers: HashMap<u128, u64> = HashMap::new();
    let mut history = Vec::new();
    let at = u32::try_from(sku).expect("a few");
    // What no shopper did alone: the shop's own steps, at any time after the shopper's.
    let own = |op: Op, answer: Answer, version: u64, invoked: u64| Operation {
        client: 0,
        sku: at,
        invoked,
        returned: None,
        op,
        answer: Some(answer),
        seen: Some(version),
        repeated: false,
    };
    let mut promised: HashMap<u128, u64> = HashMap::new();
    for (version, event) in (1_u64..).zip(events) {
        let (kind, event) = event.as_object().and_then(|event| event.iter().next()).expect("one event");
        let order = event["order"].as_str().and_then(|order| u128::from_str_radix(order, 16).ok()).unwrap_or(0);
        let next = numbers.len() as u64 + 1;
        let name = *numbers.entry(order).or_insert(next);
        let number = event["reservation"].as_u64().unwrap_or(0);
        let asked = |cancels: bool| {
            let found = mine.iter().find(|noted| match noted.saw {
                Saw::Order { order: other, .. } => !cancels && other == order,
                Saw::Cancel { order: other } => cancels && other == order,
                Saw::SoldOut { .. } | Saw::Receipt { .. } | Saw::Levels { .. } => false,
            });
            *found.unwrap_or_else(|| panic!("version {version} is {kind} {event}, and nobody asked for it"))
        };
        match kind.as_str() {
            "Offered" => history.push(own(Op::Offer, Answer::Done, version, 0)),
            "Reserved" => {
                let noted = asked(false);
                let Saw::Order { units, held, .. } = noted.saw else { unreachable!("an order") };
                promised.insert(order, version);
                let reserve = Op::Reserve { order: name, units };
                let operation = own(reserve, Answer::Reserved { number }, version, noted.invoked);
                let returned = held.then_some(noted.returned);
                history.push(Operation { client: noted.shopper, returned, seen: None, ..operation });
            }
            "Released" => {
                history.push(own(Op::Release { order: name, number }, Answer::Done, version, asked(true).invoked));
            }
            "Committed" => {
                history.push(own(Op::Commit { order: name, number }, Answer::Done, version, asked(false).invoked));
            }
            "Forgotten" => {
                history.push(own(Op::Forget { order: name, number }, Answer::Done, version, asked(false).invoked));
            }
            "Received" => {}
            other => panic!("version {version}: {other} {event}"),
        }
    }
    for noted in mine {
        let (op, answer, seen) = match noted.saw {
            Saw::Receipt { units, on_hand, version } => {
                (Op::Receive { request: version, units }, Answer::Received { on_hand, version }, None)
            }
            Saw::Levels { on_hand, reserved, version } => {
                (Op::Read, Answer::Levels { on_hand, reserved }, Some(version))
            }
            Saw::SoldOut { units, available, all_reserved } => {
                let order = u64::MAX - noted.invoked;
                (Op::Reserve { order, units }, Answer::SoldOut { available, all_reserved }, None)
            }
            Saw::Order { order, held, .. } => {
                assert!(
                    !held || promised.contains_key(&order),
                    "{noted:?} was acknowledged, and no version of its SKU holds it"
                );
                continue;
            }
            Saw::Cancel { .. } => continue,
        };
        let (invoked, returned) = (noted.invoked, Some(noted.returned));
        let (client, repeated) = (noted.shopper, false);
        history.push(Operation { client, sku: at, invoked, returned, op, answer: Some(answer), seen, repeated });
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shoppers_of_a_process_that_is_killed_again_and_again_see_one_shelf() {
    let seed = campaign::number("DOORBUSTER_SEED").unwrap_or(1);
    let kills = campaign::number("DOORBUSTER_KILLS").unwrap_or(KILLS);
    let settings = quick().with("orders.hold_s", 3_600).with("payments.profile", "instant");
    let mut node = Node::started(settings).await;
    shop::open(&node.door(), "nova-low", &SKUS.map(|sku| (sku, 1))).await;
    let notes = Arc::<Notes>::default();
    let door = node.door();
    let shopper = |number: u32| Shopper {
        door: door.clone(),
        notes: Arc::clone(&notes),
        number,
        step: 0,
        rng: ChaCha8Rng::seed_from_u64(seed * 1_000 + u64::from(number)),
    };
    let shoppers: Vec<_> = (1..=SHOPPERS).map(|number| tokio::spawn(shopper(number).live())).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..500))).await;
        node.kill().await;
        node.start().await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    notes.stop.store(true, Ordering::Relaxed);
    for shopper in shoppers {
        shopper.await.expect("shoppers do not panic");
    }
    for sku in 0..SKUS.len() {
        shopper(0).look(sku).await;
    }
    node.stop().await;
    let noted = notes.noted.lock().unwrap().clone();
    let mut all = Vec::new();
    for (sku, name) in SKUS.iter().enumerate() {
        let events = events_of(&node, name).await;
        let mut history = history(sku, &events, &noted);
        // The opening receipt is the test's own.
        let opening =
            events.iter().position(|event| event.get("Received").is_some()).expect("an opening receipt") as u64 + 1;
        let sku = u32::try_from(sku).expect("a few");
        let (op, answer) = (Op::Receive { request: 0, units: 1 }, Answer::Received { on_hand: 1, version: opening });
        history.push(Operation {
            client: 0,
            sku,
            invoked: 0,
            returned: None,
            op,
            answer: Some(answer),
            seen: Some(opening),
            repeated: false,
        });
        all.extend(history);
    }
    node.assert_no_panic();
    let checked = check(&all).unwrap_or_else(|anomalies| {
        let described: Vec<String> = anomalies.iter().map(ToString::to_string).collect();
        panic!("seed {seed}: {}", described.join("\n"))
    });
    eprintln!("seed {seed}, {kills} kills: {} answers noted, {checked:?}: 0 anomalies", noted.len());
    assert!(noted.len() > 100 && checked.unplaced > 0, "too little was tried");
}
