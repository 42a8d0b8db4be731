//! The trade, through the API: each customer's events in file order, customers side by side.

use super::trade::{Customer, Event, Open, Sale, SkuIndex, Trade, match_newest_first};
use crate::progress::Progress;
use doorbuster_bench::api::{Answer, Caller, Target, segment};
use doorbuster_bench::catalogue::{self, Offered, WAREHOUSE};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{count, grouped};
use doorbuster_bench::shopper::{Verdict, of_status};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How often an order that is still under way is looked at again, 100 ms apart.
const SETTLE_LOOKS: u32 = 600;

/// What came of the trade.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// The order of each accepted invoice.
    pub(crate) accepted: BTreeMap<String, String>,
    /// Invoices refused because there was not enough.
    pub(crate) refused: Vec<String>,
    /// Unexpected answers.
    pub(crate) unexpected: Vec<String>,
    /// Requests answered.
    pub(crate) requests: u64,
}

impl Ran {
    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.refused.extend(other.refused);
        self.unexpected.extend(other.unexpected);
        self.requests += other.requests;
    }
}

/// Runs `work` for every index below `length` on `workers` callers side by side and adds up what they bring.
pub(crate) async fn side_by_side<T, W, F>(
    target: &Target,
    length: usize,
    workers: u32,
    what: &str,
    work: W,
) -> Result<Vec<T>, BenchError>
where
    T: Default + Send + 'static,
    W: Fn(Caller, Arc<AtomicUsize>, Arc<AtomicU64>) -> F,
    F: Future<Output = Result<T, BenchError>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let mut set = JoinSet::new();
    for _ in 0..usize::try_from(workers).unwrap_or(1).clamp(1, length.max(1)) {
        set.spawn(work(Caller::new(target.clone()), Arc::clone(&next), Arc::clone(&done)));
    }
    let mut results = Vec::new();
    let progress = Progress::new();
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            joined = set.join_next() => match joined {
                Some(joined) => results.push(joined.map_err(|panic| BenchError::Node(format!("a worker failed: {panic}")))??),
                None => break,
            },
            _ = tick.tick() => {
                let (done, of) = (done.load(Ordering::Relaxed), count(length));
                progress.show((done, of), &format!("{what}: {} of {}", grouped(done), grouped(of)));
            },
        }
    }
    progress.end();
    Ok(results)
}

/// Puts the products and receives the stock.
pub(crate) async fn stock_up(
    target: &Target,
    trade: &Arc<Trade>,
    stock: &[u64],
    workers: u32,
) -> Result<(), BenchError> {
    let mut caller = Caller::new(target.clone());
    catalogue::open_warehouse(&mut caller).await?;
    let mut by_product: BTreeMap<String, Vec<Offered>> = BTreeMap::new();
    for sku in &trade.skus {
        by_product.entry(sku.product.clone()).or_default().push(Offered { sku: sku.id.clone(), pence: sku.pence });
    }
    let products: Arc<Vec<(String, Vec<Offered>)>> = Arc::new(by_product.into_iter().collect());
    side_by_side(target, products.len(), workers, "products", |mut caller, next, done| {
        let products = Arc::clone(&products);
        async move {
            while let Some((product, skus)) = products.get(next.fetch_add(1, Ordering::Relaxed)) {
                catalogue::put_product(&mut caller, product, product, skus).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await?;
    let stock: Arc<Vec<(String, u64)>> =
        Arc::new(trade.skus.iter().map(|sku| sku.id.clone()).zip(stock.iter().copied()).collect());
    side_by_side(target, stock.len(), workers, "receipts", |mut caller, next, done| {
        let stock = Arc::clone(&stock);
        async move {
            while let Some((sku, units)) = stock.get(next.fetch_add(1, Ordering::Relaxed)) {
                catalogue::receive(&mut caller, sku, *units).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })
    .await
    .map(drop)
}

/// Lets every customer do what they did.
pub(crate) async fn trade_all(target: &Target, trade: &Arc<Trade>, workers: u32) -> Result<Ran, BenchError> {
    let parts = side_by_side(target, trade.customers.len(), workers, "customers", |mut caller, next, done| {
        let trade = Arc::clone(trade);
        async move {
            let mut ran = Ran::default();
            while let Some(customer) = trade.customers.get(next.fetch_add(1, Ordering::Relaxed)) {
                Visit { caller: &mut caller, trade: &trade, ran: &mut ran, sales: Vec::new() }.all_of(customer).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(ran)
        }
    })
    .await?;
    let mut ran = Ran::default();
    parts.into_iter().for_each(|part| ran.add(part));
    Ok(ran)
}

/// An order that was accepted: what a later return needs of it.
#[derive(Debug)]
struct Bought {
    order: String,
    lines: BTreeMap<SkuIndex, (String, u64)>,
    delivered: bool,
}

/// One customer's events, one after the other.
struct Visit<'a> {
    caller: &'a mut Caller,
    trade: &'a Trade,
    ran: &'a mut Ran,
    sales: Vec<Bought>,
}

impl Visit<'_> {
    async fn all_of(mut self, customer: &Customer) -> Result<(), BenchError> {
        let mut open: Vec<Open> = Vec::new();
        for event in &customer.events {
            match event {
                Event::Sale(sale) => {
                    if self.buy(customer, sale).await? {
                        let number = self.sales.len() - 1;
                        open.extend(sale.lines.iter().map(|(sku, units)| Open {
                            sale: number,
                            sku: *sku,
                            left: *units,
                        }));
                    }
                }
                Event::Cancellation { invoice, lines } => {
                    let mut back: BTreeMap<usize, Vec<(SkuIndex, u64)>> = BTreeMap::new();
                    for (sku, units) in lines {
                        let (matched, unmatched) = match_newest_first(&mut open, *sku, *units);
                        for part in matched {
                            back.entry(part.sale).or_default().push((*sku, part.units));
                        }
                        if unmatched > 0 {
                            self.adjust(invoice, *sku, unmatched).await?;
                        }
                    }
                    for (sale, lines) in back {
                        self.bring_back(invoice, sale, &lines).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn post(&mut self, path: &str, key: &str, wait_s: Option<u32>, body: &Value) -> Result<Answer, BenchError> {
        self.ran.requests += 1;
        self.caller.post(path, key, wait_s, body).await
    }

    /// A POST that must be accepted; otherwise it is on record as unexpected, and the answer is `None`.
    async fn must(&mut self, path: &str, key: &str, body: &Value) -> Result<Option<Value>, BenchError> {
        let answer = self.post(path, key, Some(30), body).await?;
        if answer.is_ok() {
            return Ok(Some(answer.json()));
        }
        self.ran.unexpected.push(answer.error(format!("POST {path}")).to_string());
        Ok(None)
    }

    fn sku(&self, index: SkuIndex) -> (&str, u64) {
        self.trade.skus.get(index).map_or(("", 0), |sku| (sku.id.as_str(), sku.pence))
    }

    /// One invoice, one order, paid. `false`: refused, because there was not enough.
    async fn buy(&mut self, customer: &Customer, sale: &Sale) -> Result<bool, BenchError> {
        let lines: Vec<Value> = sale
            .lines
            .iter()
            .map(|(sku, units)| {
                let (id, pence) = self.sku(*sku);
                json!({ "sku": id, "quantity": units, "expected_unit_price": { "amount": pence, "currency": "GBP" } })
            })
            .collect();
        let body = json!({
            "lines": lines,
            "buyer": { "email": format!("{}@retail.example", customer.name.to_lowercase()), "name": "A Customer" },
            "ship_to": { "name": "A Customer", "line1": "1 High Street", "city": "Town", "postal_code": "LS1 1AA", "country": sale.country },
            "payment": { "method": "card", "token": "tok_ok", "capture": "on_confirmation" },
            "metadata": { "invoice": sale.invoice }
        });
        let answer = self.post("/v1/orders", &format!("invoice-{}", sale.invoice), Some(30), &body).await?;
        let order = if answer.is_ok() { self.settled(answer.json()).await? } else { answer.json() };
        let status = order.get("status").and_then(Value::as_str).unwrap_or_default();
        let verdict = match answer.status {
            200..=202 => of_status(status),
            409 if answer.code() == "sold_out" => Verdict::SoldOut,
            _ => Verdict::Refused,
        };
        match verdict {
            Verdict::Confirmed => {
                let bought = self.bought(&order, sale);
                self.ran.accepted.insert(sale.invoice.clone(), bought.order.clone());
                self.sales.push(bought);
                Ok(true)
            }
            Verdict::SoldOut => {
                self.ran.refused.push(sale.invoice.clone());
                Ok(false)
            }
            _ => {
                let what = format!("invoice {} ({status})", sale.invoice);
                self.ran.unexpected.push(answer.error(what).to_string());
                Ok(false)
            }
        }
    }

    /// The order once its saga has ended.
    async fn settled(&mut self, mut order: Value) -> Result<Value, BenchError> {
        for _ in 0..SETTLE_LOOKS {
            let status = order.get("status").and_then(Value::as_str).unwrap_or_default();
            let id = order.get("id").and_then(Value::as_str).unwrap_or_default();
            if of_status(status) != Verdict::Held || id.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.ran.requests += 1;
            order = self.caller.read(&format!("/v1/orders/{id}")).await?;
        }
        Ok(order)
    }

    fn bought(&self, order: &Value, sale: &Sale) -> Bought {
        let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
        for line in order.get("lines").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
            ids.insert(text("sku"), text("id"));
        }
        let lines = sale.lines.iter().map(|(sku, units)| {
            let id = ids.get(self.sku(*sku).0).copied().unwrap_or_default();
            (*sku, (id.to_owned(), *units))
        });
        let id = order.get("id").and_then(Value::as_str).unwrap_or_default();
        Bought { order: id.to_owned(), lines: lines.collect(), delivered: false }
    }

    /// Only what has been delivered can be returned: the whole order leaves and arrives before its first return.
    async fn deliver(&mut self, sale: usize) -> Result<bool, BenchError> {
        let Some(bought) = self.sales.get(sale) else { return Ok(false) };
        if bought.delivered {
            return Ok(true);
        }
        let lines: Vec<Value> =
            bought.lines.values().map(|(line, units)| json!({ "line": line, "quantity": units })).collect();
        let path = format!("/v1/orders/{}/shipments", bought.order);
        let Some(shipment) = self.must(&path, "whole", &json!({ "lines": lines, "warehouse": WAREHOUSE })).await?
        else {
            return Ok(false);
        };
        let id = shipment.get("id").and_then(Value::as_str).unwrap_or_default();
        if self.must(&format!("/v1/shipments/{id}/deliver"), "whole", &json!({})).await?.is_none() {
            return Ok(false);
        }
        if let Some(bought) = self.sales.get_mut(sale) {
            bought.delivered = true;
        }
        Ok(true)
    }

    async fn bring_back(&mut self, invoice: &str, sale: usize, units: &[(SkuIndex, u64)]) -> Result<(), BenchError> {
        if !self.deliver(sale).await? {
            return Ok(());
        }
        let Some(bought) = self.sales.get(sale) else { return Ok(()) };
        let line = |sku: &SkuIndex| bought.lines.get(sku).map_or("", |(line, _)| line.as_str());
        let wanted: Vec<Value> = units
            .iter()
            .map(|(sku, units)| json!({ "line": line(sku), "quantity": units, "reason": "other" }))
            .collect();
        let received: Vec<Value> = units
            .iter()
            .map(|(sku, units)| json!({ "line": line(sku), "quantity": units, "condition": "as_new", "restock": true }))
            .collect();
        let path = format!("/v1/orders/{}/returns", bought.order);
        let Some(made) = self.must(&path, invoice, &json!({ "lines": wanted })).await? else { return Ok(()) };
        let text = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = text("id");
        // A policy may have approved it by itself.
        if text("status") == "requested" {
            self.must(&format!("/v1/returns/{id}/approve"), invoice, &json!({})).await?;
        }
        self.must(&format!("/v1/returns/{id}/receive"), invoice, &json!({ "lines": received })).await.map(drop)
    }

    async fn adjust(&mut self, invoice: &str, sku: SkuIndex, units: u64) -> Result<(), BenchError> {
        let path = format!("/v1/inventory/{}/adjustments", segment(self.sku(sku).0));
        let body = json!({ "warehouse": WAREHOUSE, "delta": units, "reason": "return_unmatched" });
        self.must(&path, invoice, &body).await.map(drop)
    }
}
