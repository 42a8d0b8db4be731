//! A small shop that answers as the contract says, to try the harness on: it sells, refuses, stumbles, and can lose or oversell.

use bytes::Bytes;
use doorbuster_bench::api::Target;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// What the shop does wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// One order of this many is answered 503 after it was taken: the same key must bring the same order.
    pub(crate) unknown_every: Option<u64>,
    /// The order of this number is forgotten once it was acknowledged.
    pub(crate) forgets: Option<u64>,
    /// The order of this number is in no list.
    pub(crate) unlisted: Option<u64>,
    /// Each list has its last order twice.
    pub(crate) lists_twice: bool,
    /// Units are never counted down.
    pub(crate) oversells: bool,
    /// What a return takes in is not put back on the shelf.
    pub(crate) loses_returns: bool,
}

#[derive(Debug, Default)]
struct Shop {
    faults: Faults,
    stock: BTreeMap<String, i64>,
    orders: BTreeMap<String, Value>,
    prices: BTreeMap<String, u64>,
    by_key: BTreeMap<String, Value>,
    posted: u64,
    stumbled: std::collections::BTreeSet<String>,
}

/// Starts the shop; public and operator port are one.
pub(crate) async fn shop(faults: Faults) -> Target {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shop = Arc::new(Mutex::new(Shop { faults, ..Shop::default() }));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&shop), request));
                let stream = hyper_util::rt::TokioIo::new(stream);
                drop(hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await);
            });
        }
    });
    Target { address, key: "sk_test".into() }
}

async fn answer(shop: Arc<Mutex<Shop>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = head.uri.path().replace("%20", " ");
    let cursor = head.uri.query().and_then(|query| query.split("cursor=").nth(1)).map(str::to_owned);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let key = head.headers.get("idempotency-key").map(|key| format!("{path} {}", key.to_str().unwrap()));
    let (status, body) = shop.lock().unwrap().route(head.method.as_str(), &parts, key, &body, cursor);
    let answer = Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())));
    Ok(answer.unwrap())
}

impl Shop {
    fn route(
        &mut self,
        method: &str,
        parts: &[&str],
        key: Option<String>,
        body: &Value,
        cursor: Option<String>,
    ) -> (u16, Value) {
        let Some(key) = key else {
            return match (method, parts) {
                ("GET", ["v1", "orders"]) => (200, self.list(cursor)),
                _ => self.plain(method, parts, body),
            };
        };
        if let Some(known) = self.by_key.get(&key) {
            return (200, self.orders.get(known["id"].as_str().unwrap_or("")).unwrap_or(known).clone());
        }
        let (status, answer) = self.post(parts, body);
        if status < 300 {
            self.by_key.insert(key.clone(), answer.clone());
        }
        let stumbles = self.faults.unknown_every.is_some_and(|every| self.posted.is_multiple_of(every));
        if parts == ["v1", "orders"] && stumbles && self.stumbled.insert(key) {
            return (503, json!({ "code": "outcome_unknown" }));
        }
        (status, answer)
    }

    fn plain(&mut self, method: &str, parts: &[&str], body: &Value) -> (u16, Value) {
        match (method, parts) {
            ("PUT", ["v1", "products", _]) => {
                for sku in body["skus"].as_array().unwrap() {
                    self.prices
                        .insert(sku["sku"].as_str().unwrap().into(), sku["prices"][0]["amount"].as_u64().unwrap());
                }
                (200, json!({}))
            }
            ("GET", ["v1", "inventory", sku]) => {
                let left = self.stock.get(*sku).copied().unwrap_or(0).max(0);
                (200, json!({ "levels": [{ "on_hand": left, "reserved": 0, "available": left }] }))
            }
            ("GET", ["v1", "orders", id]) => {
                self.orders.get(*id).map_or_else(|| (404, json!({ "code": "not_found" })), |order| (200, order.clone()))
            }
            ("GET", ["admin", "audit"]) => {
                (200, json!({ "clean": true, "violations": [], "orders": self.orders.len() }))
            }
            _ => (200, json!({})),
        }
    }

    /// Orders, seven a page.
    fn list(&self, cursor: Option<String>) -> Value {
        let begin: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let unlisted = self.faults.unlisted.map(|number| format!("ord_{number:026}"));
        let mut all: Vec<&String> = self.orders.keys().rev().filter(|id| Some(*id) != unlisted.as_ref()).collect();
        if self.faults.lists_twice {
            all.extend(all.last().copied());
        }
        let page: Vec<Value> = all.iter().skip(begin).take(7).map(|id| json!({ "id": id })).collect();
        let next = (begin + 7 < all.len()).then(|| (begin + 7).to_string());
        json!({ "data": page, "next_cursor": next })
    }

    fn post(&mut self, parts: &[&str], body: &Value) -> (u16, Value) {
        match parts {
            ["v1", "inventory", sku, "receipts"] => {
                *self.stock.entry((*sku).to_owned()).or_default() += body["units"].as_i64().unwrap();
                (201, json!({}))
            }
            ["v1", "inventory", sku, "adjustments"] => {
                *self.stock.entry((*sku).to_owned()).or_default() += body["delta"].as_i64().unwrap();
                (201, json!({}))
            }
            ["v1", "orders"] => self.order(body),
            ["v1", "orders", id, "shipments"] => (201, json!({ "id": format!("shp_{id}") })),
            ["v1", "orders", id, "returns"] => (201, json!({ "id": format!("ret_{id}"), "status": "requested" })),
            ["v1", "returns", id, "receive"] => self.receive(id.trim_start_matches("ret_"), body),
            _ => (200, json!({})),
        }
    }

    fn order(&mut self, body: &Value) -> (u16, Value) {
        self.posted += 1;
        let lines = body["lines"].as_array().unwrap();
        let wanted = |line: &Value| (line["sku"].as_str().unwrap().to_owned(), line["quantity"].as_i64().unwrap());
        if lines.iter().map(wanted).any(|(sku, units)| self.stock.get(&sku).copied().unwrap_or(0) < units) {
            return (409, json!({ "code": "sold_out" }));
        }
        let mut shown = Vec::new();
        let mut total = 0;
        for (number, (sku, units)) in lines.iter().map(wanted).enumerate() {
            if !self.faults.oversells {
                *self.stock.get_mut(&sku).unwrap() -= units;
            }
            total += self.prices[&sku] * units.unsigned_abs();
            shown.push(json!({ "id": number.to_string(), "sku": sku, "quantity": units, "returned": 0 }));
        }
        let id = format!("ord_{:026}", self.posted);
        let order = json!({
            "id": id, "status": "confirmed", "buyer": body["buyer"], "lines": shown, "payments": [{ "status": "captured" }],
            "totals": { "total": { "amount": total }, "refunded": { "amount": 0 } }
        });
        if self.faults.forgets != Some(self.posted) {
            self.orders.insert(id, order.clone());
        }
        (201, order)
    }

    fn receive(&mut self, id: &str, body: &Value) -> (u16, Value) {
        let order = self.orders.get_mut(id).unwrap();
        let mut refunded = order["totals"]["refunded"]["amount"].as_u64().unwrap();
        for back in body["lines"].as_array().unwrap() {
            let units = back["quantity"].as_i64().unwrap();
            let line =
                order["lines"].as_array_mut().unwrap().iter_mut().find(|line| line["id"] == back["line"]).unwrap();
            line["returned"] = json!(line["returned"].as_i64().unwrap() + units);
            let sku = line["sku"].as_str().unwrap();
            refunded += self.prices[sku] * units.unsigned_abs();
            if !self.faults.loses_returns {
                *self.stock.get_mut(sku).unwrap() += units;
            }
        }
        order["totals"]["refunded"]["amount"] = json!(refunded);
        (200, json!({}))
    }
}

mod claims {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;
    use doorbuster_bench::node::TemporaryFolder;

    fn options(target: &Target, arguments: &[&str]) -> Options {
        let url = format!("http://{}", target.address);
        let mut all = vec!["flash-sale"];
        all.extend(arguments);
        all.extend(["--target", &url, "--operator", &url, "--key", "sk_test", "--connections", "8"]);
        Options::try_parse_from(all).unwrap()
    }

    async fn sale(faults: Faults, arguments: &[&str]) -> (bool, String) {
        let folder = TemporaryFolder::new(None).unwrap();
        let report = folder.path().join("report.html");
        let mut all = vec!["--units", "50", "--buyers", "200", "--rate", "2000", "--report", report.to_str().unwrap()];
        all.extend(arguments);
        let target = shop(faults).await;
        let good = crate::sale::run(&options(&target, &all).sale).await.unwrap();
        (good, std::fs::read_to_string(report).unwrap())
    }

    #[tokio::test]
    async fn a_good_shop_passes_and_the_report_stands_alone() {
        let (good, report) = sale(Faults::default(), &[]).await;
        assert!(good);
        assert!(report.contains("<td>Confirmed</td><td>50</td>") && report.contains("<td>Sold out</td><td>150</td>"));
        assert!(!report.contains("http") && !report.contains("NaN"));
    }

    #[tokio::test]
    async fn an_unknown_outcome_is_settled_by_the_same_key() {
        let (good, report) = sale(Faults { unknown_every: Some(7), ..Faults::default() }, &[]).await;
        assert!(
            good && report.contains("<td>Confirmed</td><td>50</td>") && report.contains("<td>Errors</td><td>0</td>")
        );
    }

    #[tokio::test]
    async fn a_lost_order_fails_the_run() {
        let (good, report) = sale(Faults { forgets: Some(3), ..Faults::default() }, &[]).await;
        assert!(!good && report.contains("1 missing"));
    }

    #[tokio::test]
    async fn an_order_that_a_list_lacks_or_has_twice_fails_the_run() {
        assert!(!sale(Faults { unlisted: Some(3), ..Faults::default() }, &[]).await.0);
        assert!(!sale(Faults { lists_twice: true, ..Faults::default() }, &[]).await.0);
    }

    #[tokio::test]
    async fn an_oversold_unit_fails_the_run() {
        assert!(!sale(Faults { oversells: true, ..Faults::default() }, &[]).await.0);
    }

    async fn replay(faults: Faults, arguments: &[&str]) -> bool {
        let folder = TemporaryFolder::new(None).unwrap();
        let file = folder.path().join("trade.csv");
        let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
            1,A,,6,d,2.55,7.0,EIRE\n1,bank charges,,1,d,15,7.0,EIRE\n1,a,,4,d,2.55,7.0,EIRE\n2,A,,5,d,2.55,7.0,EIRE\n\
            C3,A,,-8,d,2.55,7.0,EIRE\nC4,A,,-9,d,2.55,7.0,EIRE\nC5,B,,-2,d,1.005,,Unspecified\n6,A,,-1,d,0,,EIRE\n";
        std::fs::write(&file, text).unwrap();
        let mut all = vec!["replay", file.to_str().unwrap()];
        all.extend(arguments);
        let target = shop(faults).await;
        let Some(Command::Replay(options)) = options(&target, &all).command else { panic!("not a replay") };
        crate::replay::replay(&options).await.unwrap()
    }

    #[tokio::test]
    async fn a_replay_of_real_trade_is_equal_figure_by_figure() {
        assert!(replay(Faults::default(), &[]).await);
    }

    #[tokio::test]
    async fn a_replay_with_too_little_stock_is_refused_cleanly() {
        assert!(replay(Faults::default(), &["--stock", "0.9"]).await);
    }

    #[tokio::test]
    async fn a_shop_that_loses_returned_units_is_not_equal() {
        assert!(!replay(Faults { loses_returns: true, ..Faults::default() }, &[]).await);
    }

    #[tokio::test]
    async fn the_file_of_real_trade_says_what_its_description_says() {
        let Some(folder) = std::env::var_os("ONLINE_RETAIL_FOLDER") else { return };
        let path = std::path::Path::new(&folder).join("online-retail-2010-12_2011-06.csv.gz");
        let trade = crate::replay::read_file(&path);
        assert_eq!(
            (trade.rows, trade.sale_rows, trade.cancellation_rows, trade.sales()),
            (245_903, 239_930, 4_494, 9_659)
        );
    }

    #[tokio::test]
    async fn the_file_of_real_trade_replays_equal() {
        let Some(folder) = std::env::var_os("ONLINE_RETAIL_FOLDER") else { return };
        let path = std::path::Path::new(&folder).join("online-retail-2010-12_2011-06.csv.gz");
        let target = shop(Faults::default()).await;
        let all = ["replay", path.to_str().unwrap()];
        let Some(Command::Replay(options)) = options(&target, &all).command else { panic!("not a replay") };
        assert!(crate::replay::replay(&options).await.unwrap());
    }
}
