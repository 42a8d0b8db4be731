//! PostgreSQL behind the shop: one call of a function is one transaction and one round trip, and the contended row is locked last.

use super::{Database, OrderRequest, Placed, PlacedOrder};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use std::time::Duration;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

/// More connections than this make a hot row slower, not faster: they wait for one lock.
const CONNECTIONS: usize = 8;
/// A request that gets no connection in this time is answered 503.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Tables and the function; statements are apart by `---`.
pub const SCHEMA: &str = "
CREATE TABLE stock (sku text PRIMARY KEY, available int NOT NULL CHECK (available >= 0), unit_price bigint NOT NULL)
---
CREATE TABLE orders (id uuid PRIMARY KEY, key text NOT NULL UNIQUE, fingerprint bytea NOT NULL, status text NOT NULL,
    email text NOT NULL, name text NOT NULL, total bigint NOT NULL, placed_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL)
---
CREATE TABLE order_line (order_id uuid NOT NULL, line int NOT NULL, sku text NOT NULL, quantity int NOT NULL, unit_price bigint NOT NULL,
    PRIMARY KEY (order_id, line))
---
CREATE TABLE payment (id uuid PRIMARY KEY, order_id uuid NOT NULL, attempt int NOT NULL, status text NOT NULL, amount bigint NOT NULL,
    UNIQUE (order_id, attempt))
---
CREATE FUNCTION place_order(the_key text, the_fingerprint bytea, the_email text, the_name text, skus text[], quantities int[],
    OUT order_id uuid, OUT payment_id uuid, OUT prices bigint[], OUT same_request boolean) LANGUAGE plpgsql AS $$
DECLARE
    due bigint;
    step record;
BEGIN
    SELECT array_agg(stock.unit_price ORDER BY wanted.line), sum(stock.unit_price * wanted.quantity) INTO prices, due
        FROM unnest(skus, quantities) WITH ORDINALITY AS wanted (sku, quantity, line) JOIN stock USING (sku);
    INSERT INTO orders VALUES (gen_random_uuid(), the_key, the_fingerprint, 'awaiting_payment', the_email, the_name, due, now(), now() + interval '1 hour')
        ON CONFLICT (key) DO NOTHING RETURNING id INTO order_id;
    IF order_id IS NULL THEN
        SELECT id, fingerprint = the_fingerprint INTO order_id, same_request FROM orders WHERE key = the_key;
        SELECT id INTO payment_id FROM payment WHERE payment.order_id = place_order.order_id AND attempt = 1;
        RETURN;
    END IF;
    same_request := true;
    INSERT INTO order_line SELECT place_order.order_id, wanted.line, wanted.sku, wanted.quantity, prices[wanted.line]
        FROM unnest(skus, quantities) WITH ORDINALITY AS wanted (sku, quantity, line);
    INSERT INTO payment VALUES (gen_random_uuid(), place_order.order_id, 1, 'awaiting_payment', due) RETURNING id INTO payment_id;
    FOR step IN SELECT sku, sum(quantity) AS quantity FROM unnest(skus, quantities) AS wanted (sku, quantity) GROUP BY sku ORDER BY sku LOOP
        UPDATE stock SET available = available - step.quantity WHERE sku = step.sku AND available >= step.quantity;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'sold out' USING ERRCODE = 'SO001';
        END IF;
    END LOOP;
END $$
";

pub struct Postgres(Pool);

impl Postgres {
    pub fn new(port: u16) -> Result<Self, String> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user("postgres").dbname("postgres").connect_timeout(WAIT_MAX);
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let pool = Pool::builder(manager).max_size(CONNECTIONS).wait_timeout(Some(WAIT_MAX)).runtime(Runtime::Tokio1);
        pool.build().map(Self).map_err(|error| error.to_string())
    }
}

impl Database for Postgres {
    async fn place(&self, key: &str, fingerprint: &[u8], order: &OrderRequest) -> Result<Placed, String> {
        let client = self.0.get().await.map_err(|error| error.to_string())?;
        let call =
            "SELECT order_id::text, payment_id::text, prices, same_request FROM place_order($1, $2, $3, $4, $5, $6)";
        let call = client.prepare_cached(call).await.map_err(|error| error.to_string())?;
        let skus: Vec<&str> = order.lines.iter().map(|line| line.sku.as_str()).collect();
        let quantities: Result<Vec<i32>, _> = order.lines.iter().map(|line| i32::try_from(line.quantity)).collect();
        let quantities = quantities.map_err(|error| error.to_string())?;
        match client
            .query_one(&call, &[&key, &fingerprint, &order.buyer.email, &order.buyer.name, &skus, &quantities])
            .await
        {
            Ok(row) if row.get("same_request") => {
                let (id, payment, unit_prices) = (row.get("order_id"), row.get("payment_id"), row.get("prices"));
                Ok(Placed::Order(PlacedOrder { id, payment, unit_prices }))
            }
            Ok(_) => Ok(Placed::KeyReused),
            Err(error) if error.code() == Some(&SqlState::from_code("SO001")) => Ok(Placed::SoldOut),
            Err(error) => Err(error.to_string()),
        }
    }
}
