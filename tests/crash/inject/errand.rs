//! A sale that remembers: what was asked, what was answered, and whether a later process still knows it.

use crate::holding::files_with;
use crate::node::{Door, Node};
use crate::oracle::{contradiction, is_confirmed, is_settled, status, units_sold};
use crate::shop;
use doorbuster_test_kit::client::{Answer, Call};
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// Of this there is enough, of that there is not.
const STOCK: [(&str, u32); 2] = [("MANY", 1_000), ("FEW", 4)];
/// What a shopper has to say.
const NOTE: &str = "a gift!";
/// How many shoppers are in the shop at once.
const LANES: usize = 3;
/// How often a shopper does the same again.
const ROUNDS: usize = 3;

/// What was asked so far, in the order in which each shopper asked it, and what was acknowledged of it.
#[derive(Debug, Default)]
pub struct Memory {
    asked: Mutex<Vec<Asked>>,
    /// The name of the buyer whose data was erased, once that was acknowledged.
    erased: Mutex<Option<String>>,
}

#[derive(Debug, Clone)]
struct Asked {
    call: Call,
    /// `None`: never answered; it may have happened or not.
    answer: Option<Answer>,
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        let erased = Mutex::new(self.erased.lock().unwrap().clone());
        Self { asked: Mutex::new(self.asked.lock().unwrap().clone()), erased }
    }
}

impl Memory {
    /// How many answers are remembered.
    pub fn acknowledged(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.answer.is_some()).count()
    }

    /// Sends until it is answered, however often the process says that it does not know; for ever when it has ended, so the caller watches
    /// for that.
    async fn ask(&self, door: &Door, call: Call) -> Answer {
        let place = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(Asked { call: call.clone(), answer: None });
            asked.len() - 1
        };
        loop {
            match door.send(&call).await {
                Ok(answer) if !answer.is_to_be_repeated() => {
                    self.asked.lock().unwrap()[place].answer = Some(answer.clone());
                    return answer;
                }
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Opens the shop.
    pub async fn open(&self, door: &Door) {
        let warehouse = json!({ "name": "London", "country": "GB" });
        self.ask(door, Call::put(format!("/v1/warehouses/{}", shop::WAREHOUSE), warehouse)).await;
        let price = json!([{ "amount": 1299, "currency": "GBP", "tax_included": true }]);
        let skus: Vec<Value> = STOCK.iter().map(|(name, _)| json!({ "sku": name, "prices": price })).collect();
        let product = json!({ "title": "Nova Low", "status": "active", "tax_class": "standard", "skus": skus });
        self.ask(door, Call::put("/v1/products/nova-low", product)).await;
        for (sku, units) in STOCK {
            let receipt = json!({ "warehouse": shop::WAREHOUSE, "units": units });
            let call = Call::post(format!("/v1/inventory/{sku}/receipts"), format!("first-{sku}"), receipt);
            self.ask(door, call).await;
        }
    }

    /// Sells: paid and unpaid orders, more of them than there are units of one SKU, cancellations, reads. `name` makes its keys.
    pub async fn sell(&self, door: &Door, name: &str) {
        let lanes = (0..LANES).map(|lane| async move {
            for round in 0..ROUNDS {
                self.round(door, &format!("{name}-{lane}-{round}")).await;
            }
        });
        futures_util::future::join_all(lanes).await;
    }

    async fn round(&self, door: &Door, name: &str) {
        let order = |what: &str, mut body: Value| {
            // Long enough that a few dozen orders fill a segment.
            let notes = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name.to_owned(), json!(NOTE.repeat(60))));
            body["metadata"] = Value::Object(notes.into_iter().collect());
            body["buyer"]["name"] = json!(format!("Buyer of {name}-{what}"));
            Call::post("/v1/orders", format!("{name}-{what}"), body).waiting(5)
        };
        self.ask(door, order("paid", shop::paid(shop::order(&[("MANY", 2)]), "tok_ok"))).await;
        let unpaid = self.ask(door, order("unpaid", shop::order(&[("MANY", 3)]))).await;
        self.ask(door, order("few", shop::paid(shop::order(&[("FEW", 1), ("MANY", 1)]), "tok_ok"))).await;
        let id = unpaid.text_at("/id");
        if !id.is_empty() && !name.ends_with('1') {
            self.ask(door, Call::post(format!("/v1/orders/{id}/cancel"), format!("{name}-cancel"), json!({}))).await;
        }
        self.ask(door, Call::get("/v1/inventory/MANY")).await;
    }

    /// The operator has the personal data of an ended order erased.
    pub async fn erase_one(&self, door: &Door) {
        let asked = self.asked.lock().unwrap().clone();
        let ended = asked.iter().filter(|asked| asked.call.path.ends_with("/cancel"));
        let order =
            ended.filter_map(|asked| asked.answer.as_ref()).find(|first| first.is_good()).expect("one was cancelled");
        let call =
            Call { key: None, ..Call::post(format!("/admin/erase/order/{}", order.text_at("/id")), "", json!({})) };
        loop {
            match door.operate(&call).await {
                Ok(answer) if answer.status == 200 => break,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        *self.erased.lock().unwrap() = Some(order.text_at("/buyer/name").to_owned());
    }

    /// What was erased is in no file of the tables of a node that was stopped cleanly after it.
    pub fn is_erased(&self, node: &Node) {
        if let Some(name) = self.erased.lock().unwrap().as_deref() {
            assert!(!name.is_empty(), "the order had a buyer");
            let found = files_with(&node.data().join("states"), name);
            assert_eq!(found, Vec::<PathBuf>::new(), "{name} was erased");
        }
    }

    /// Everything that was acknowledged is there, what was not is there or not and then has its first effect, the stock adds up, and the
    /// audit finds nothing; asked of a process that serves.
    pub async fn is_kept(&self, node: &Node) {
        let door = node.door();
        let mut orders = Vec::new();
        let asked = self.asked.lock().unwrap().clone();
        for Asked { call, answer: first } in asked {
            let now = door.insist(&call).await;
            if let Some(first) = &first {
                compare(&call, first, &now);
            }
            if let Some(id) = now.body["id"].as_str().filter(|id| id.starts_with("ord_"))
                && !orders.contains(&id.to_owned())
            {
                orders.push(id.to_owned());
            }
        }
        let mut shown = Vec::new();
        for id in orders {
            let path = format!("/v1/orders/{id}");
            let order = until("the end of a saga", PATIENCE, || async {
                let order = shop::read(&door, &path).await;
                let at_rest = is_settled(&order) || status(&order) == "awaiting_payment";
                if at_rest { Ok(order) } else { Err(order.to_string()) }
            });
            shown.push(order.await);
        }
        let was_opened = door.insist(&Call::get("/v1/inventory/FEW")).await.is_good();
        for (sku, received) in STOCK.into_iter().filter(|_| was_opened) {
            stock_adds_up(&door, &shown, sku, u64::from(received)).await;
        }
        let call = Call::get("/admin/audit");
        let audit = until("the audit", PATIENCE, || door.operate(&call)).await.expect(&call, 200);
        assert_eq!(audit.body["clean"], true, "the audit found {:#}", audit.body["violations"]);
    }
}

/// Does what is said now agree with what was said before a process died?
#[track_caller]
fn compare(call: &Call, first: &Answer, now: &Answer) {
    let is_order = first.text_at("/id").starts_with("ord_");
    if first.is_good() {
        assert!(now.is_good(), "{call} was acknowledged with {first}\nand is answered now with {now}");
    }
    if is_order && first.is_good() {
        let differs = contradiction(&first.body, &now.body);
        assert_eq!(differs, None, "{call} was answered {first}\nand now {now}");
    } else if call.path.ends_with("/receipts") {
        for field in ["on_hand", "version"] {
            assert_eq!(first.body[field], now.body[field], "{call}: {field} was in {first}\nand is in {now}");
        }
    } else if call.path.starts_with("/v1/inventory/") && first.is_good() {
        let version = |answer: &Answer| answer.body["version"].as_u64();
        assert!(version(first) <= version(now), "{call}: {first}\nand later an older one: {now}");
    }
}

async fn stock_adds_up(door: &Door, orders: &[Value], sku: &str, received: u64) {
    let sold: u64 = orders.iter().map(|order| units_sold(order, sku)).sum();
    let held = |order: &&Value| !is_confirmed(order) && status(order) == "awaiting_payment";
    let units = |order: &Value| {
        let lines = order["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        lines.iter().filter(|line| line["sku"] == sku).filter_map(|line| line["quantity"].as_u64()).sum::<u64>()
    };
    let reserved: u64 = orders.iter().filter(held).map(units).sum();
    until("stock that adds up", PATIENCE, || async {
        let level = shop::level(door, sku).await;
        if (level.on_hand + sold, level.reserved) == (received, reserved) {
            return Ok(());
        }
        Err(format!("{sku}: {level:?} with {sold} sold and {reserved} promised of {received} received"))
    })
    .await;
}
