//! A shop in front of a database, as a user would write it: `POST /v1/orders` over the same HTTP server and with the same body as Doorbuster's.
//!
//! ```text
//! request ─► warp ─► read the body, the key ─► one call to the database (one transaction) ─► the order as JSON
//! ```
//!
//! It is a process of its own, as Doorbuster is, and has what an order there has: lines with prices, a payment to be made, and the
//! idempotency key with a fingerprint of the request. It has no cart, tax, delivery, warehouses, journal or quotas.

mod postgres;
mod redis;

pub use self::postgres::SCHEMA as POSTGRES_SCHEMA;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use warp::Filter;
use warp::http::StatusCode;

/// The largest body that is read.
const BODY_BYTES_MAX: u64 = 64 * 1_024;

/// The body of `POST /v1/orders`.
#[derive(Debug, Deserialize)]
struct OrderRequest {
    lines: Vec<LineRequest>,
    buyer: Buyer,
}

#[derive(Debug, Deserialize)]
struct LineRequest {
    sku: String,
    quantity: u32,
}

#[derive(Debug, Deserialize)]
struct Buyer {
    email: String,
    name: String,
}

/// An order as the database has it.
#[derive(Debug)]
struct PlacedOrder {
    id: String,
    payment: String,
    /// In the order of the request, in pence.
    unit_prices: Vec<i64>,
}

/// What the database answered.
#[derive(Debug)]
enum Placed {
    /// Placed now, or by the same request before.
    Order(PlacedOrder),
    SoldOut,
    /// The key was used by another request.
    KeyReused,
}

/// A database that places orders; an error is its own or the connection's, and says nothing about the order.
trait Database: Send + Sync + 'static {
    fn place(
        &self,
        key: &str,
        fingerprint: &[u8],
        order: &OrderRequest,
    ) -> impl Future<Output = Result<Placed, String>> + Send;
}

/// `peers front postgres|redis PORT`: serves until it is killed.
pub async fn run(database: &str, port: u16) -> Result<(), String> {
    match database {
        "postgres" => serve(postgres::Postgres::new(port)?).await,
        "redis" => serve(redis::Redis::new(port).await?).await,
        other => Err(format!("no shop in front of {other}: postgres or redis")),
    }
}

async fn serve<D: Database>(database: D) -> Result<(), String> {
    let database = Arc::new(database);
    let orders = warp::path!("v1" / "orders")
        .and(warp::post())
        .and(warp::header::<String>("idempotency-key"))
        .and(warp::body::content_length_limit(BODY_BYTES_MAX))
        .and(warp::body::bytes())
        .then(move |key: String, body: warp::hyper::body::Bytes| {
            let database = Arc::clone(&database);
            async move {
                let (status, answer) = answer(&*database, &key, &body).await;
                warp::reply::with_status(warp::reply::json(&answer), status)
            }
        });
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let listener = listener.map_err(|error| error.to_string())?;
    println!("public http://{}", listener.local_addr().map_err(|error| error.to_string())?);
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    warp::serve(orders).incoming(listener).run().await;
    Ok(())
}

async fn answer<D: Database>(database: &D, key: &str, body: &[u8]) -> (StatusCode, Value) {
    let problem = |status: StatusCode, code: &str, detail: &str| (status, json!({ "code": code, "detail": detail }));
    let order: OrderRequest = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => return problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid", &error.to_string()),
    };
    match database.place(key, &Sha256::digest(body), &order).await {
        Ok(Placed::Order(placed)) => (StatusCode::CREATED, view(&order, &placed)),
        Ok(Placed::SoldOut) => problem(StatusCode::CONFLICT, "sold_out", "there are not enough units"),
        Ok(Placed::KeyReused) => {
            problem(StatusCode::CONFLICT, "idempotency_key_reused", "another request has this key")
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error),
    }
}

fn view(order: &OrderRequest, placed: &PlacedOrder) -> Value {
    let mut total = 0;
    let lines: Vec<Value> = order
        .lines
        .iter()
        .zip(&placed.unit_prices)
        .enumerate()
        .map(|(index, (line, price))| {
            let subtotal = price * i64::from(line.quantity);
            total += subtotal;
            json!({
                "line": index + 1, "sku": line.sku, "quantity": line.quantity, "granted": line.quantity,
                "unit_price": { "amount": price, "currency": "GBP" }, "subtotal": { "amount": subtotal, "currency": "GBP" }
            })
        })
        .collect();
    json!({
        "id": placed.id, "status": "awaiting_payment", "lines": lines,
        "buyer": { "email": order.buyer.email, "name": order.buyer.name },
        "totals": { "subtotal": { "amount": total, "currency": "GBP" }, "total": { "amount": total, "currency": "GBP" } },
        "payments": [{ "id": placed.payment, "status": "awaiting_payment", "amount": { "amount": total, "currency": "GBP" } }]
    })
}
