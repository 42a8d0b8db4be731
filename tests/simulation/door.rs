//! Shoppers who come through the door: the node's own warp filter, without sockets. What a request is, is the door's to say; behind it
//! stands the same judged world.

use crate::plan::rng_of;
use crate::words;
use crate::world::{World, pass};
use bytes::Bytes;
use doorbuster_actors::ask::{Answer, Ask};
use doorbuster_actors::view::Stock;
use doorbuster_api::keys::{Keys, Scope};
use doorbuster_api::secret::Secret;
use doorbuster_api::{Api, ApiSettings, Journaled, Shop, Unavailable, Webhook, WebhookError};
use doorbuster_domain::ids::{EntityId, OrderId, Sku};
use doorbuster_domain::time::Timestamp;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::service::TowerToHyperService;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// The seller's key.
const KEY: &str = "sk_simulation00000000000000000000000000000000";
/// Tries of one request before its shopper gives up.
const TRIES_MAX: u32 = 12;

/// The world as the API sees it.
#[derive(Clone)]
struct WorldShop {
    world: Arc<World>,
    rng: Arc<Mutex<ChaCha8Rng>>,
}

impl Shop for WorldShop {
    async fn ask(&self, ask: Ask) -> Answer {
        self.world.ask("door", ask).await
    }

    fn availability(&self, sku: &Sku) -> Option<Stock> {
        self.world.node()?.views().get(sku).map(|view| view.stock())
    }

    async fn history(&self, _: &EntityId, _: u64, _: usize) -> Result<Vec<Journaled>, Unavailable> {
        Err(Unavailable::NotServing)
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn random(&self) -> [u8; 16] {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    fn webhook(&self, _: &str, _: &HeaderMap, _: &[u8]) -> Result<Webhook, WebhookError> {
        Err(WebhookError::UnknownProvider)
    }
}

/// One shopper at the door.
pub(crate) struct Shopper {
    world: Arc<World>,
    api: Api<WorldShop>,
    rng: ChaCha8Rng,
    name: String,
    keys: u32,
}

/// An answer of the door.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    status: StatusCode,
    body: Value,
}

impl Shopper {
    pub(crate) fn new(world: &Arc<World>, number: u64) -> Self {
        let rng = Arc::new(Mutex::new(rng_of(world.plan.seed, 300 + number)));
        let shop = WorldShop { world: Arc::clone(world), rng };
        let keys = Keys::in_memory(&[(KEY, words::SELLER, &Scope::ALL)]);
        let mut settings = ApiSettings::default();
        settings.shop.hold_s = world.plan.hold_s;
        settings.shop.payment.query_after_s = 3;
        Self {
            world: Arc::clone(world),
            api: Api::new(shop, settings, keys, Secret::new(&[5; 32])),
            rng: rng_of(world.plan.seed, 200 + number),
            name: format!("shopper {number}"),
            keys: 0,
        }
    }

    /// Buys, looks, cancels, until it has done enough.
    pub(crate) async fn live(mut self) {
        for _ in 0..self.rng.random_range(1..=3) {
            pass(self.rng.random_range(0..=self.world.plan.think_max_ms)).await;
            if self.world.broken().is_some() {
                return;
            }
            let Some(order) = self.buy().await else { continue };
            let path = format!("/v1/orders/{order}");
            pass(self.rng.random_range(0..=self.world.plan.think_max_ms)).await;
            match self.rng.random_range(0..4) {
                0 => drop(self.post(&format!("{path}/cancel"), &json!({ "reason": "customer" })).await),
                1 => drop(self.post(&format!("{path}/payment"), &json!({ "method": "card", "token": "tok_ok" })).await),
                2 => drop(self.post(&format!("{path}/shipments"), &json!({})).await),
                _ => drop(self.send("GET", &path, None, None).await),
            }
        }
    }

    /// Places an order; gives its id.
    async fn buy(&mut self) -> Option<String> {
        let skus = self.world.skus();
        let sku = &skus[self.rng.random_range(0..skus.len())];
        let mut body = json!({
            "lines": [{ "sku": sku.as_str(), "quantity": self.rng.random_range(1..=2) }],
            "buyer": { "email": "a@b.example" },
        });
        if self.rng.random_bool(0.7) {
            let token = words::instruction(&mut self.rng).token.expect("it names one");
            body["payment"] = json!({ "method": "card", "token": token.as_str() });
        }
        let placed = self.post("/v1/orders", &body).await?;
        let id = placed.body["id"].as_str()?.to_owned();
        let Ok(order) = OrderId::parse(&id) else {
            self.world.broke(&format!("the door made an order {id}"));
            return None;
        };
        self.world.placing(order);
        if self.world.judge().order(order).is_none() {
            self.world.broke(&format!("what_was_acknowledged_is_in_the_journal: {order} was shown at the door"));
        }
        Some(id)
    }

    /// A POST, one to three copies of it, again until it is settled; all that are accepted name the same thing.
    async fn post(&mut self, path: &str, body: &Value) -> Option<Heard> {
        self.keys += 1;
        let key = format!("{}-{}", self.name.replace(' ', "-"), self.keys);
        let mut copies = self.rng.random_range(1..=3_usize);
        let mut first: Option<Heard> = None;
        for _ in 0..TRIES_MAX {
            let sent = (0..copies).map(|_| self.send("POST", path, Some(&key), Some(body)));
            for heard in join_all(sent).await {
                if !heard.status.is_success() {
                    if !is_transient(heard.status) {
                        copies = copies.saturating_sub(1);
                    }
                    continue;
                }
                copies = copies.saturating_sub(1);
                let same = first.as_ref().is_none_or(|first| first.body["id"] == heard.body["id"]);
                if !same {
                    self.world.broke(&format!("{path} {key}: {first:?}, and then {heard:?}"));
                }
                first.get_or_insert(heard);
            }
            if copies == 0 {
                break;
            }
            pass(self.rng.random_range(10..900)).await;
        }
        first
    }

    /// One request through the filter. It is never the server's fault in a way that it would be ashamed of.
    async fn send(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Heard {
        let mut request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {KEY}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.header("content-type", "application/json").header("prefer", "wait=2");
        let request = request.body(Full::new(body)).expect("a lawful request");
        let service = TowerToHyperService::new(warp::service(self.api.filter()));
        let answer = service.call(request).await.expect("the filter always answers");
        let status = answer.status();
        let bytes = answer.into_body().collect().await.expect("a body in memory").to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        self.world.note(|| format!("{}: {method} {path} ► {status} {}", self.name, body["status"]));
        self.world.judge().observed(&format!("{method} {path} {status}"));
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            self.world.broke(&format!("{method} {path} is answered {status}: {body}"));
        }
        Heard { status, body }
    }
}

/// Answers that settle nothing: the same key again.
fn is_transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}
