//! Redis behind the shop: one script is one step that nothing interrupts, and the append-only file is synced before it is answered.

use super::{Database, OrderRequest, Placed, PlacedOrder};
use redis::Script;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// The key, the fingerprint, order, payment and lines in hashes; all units or none.
const PLACE: &str = "
    local known = redis.call('HMGET', 'key:' .. ARGV[1], 'fingerprint', 'order', 'payment', 'prices')
    if known[1] then
        if known[1] ~= ARGV[2] then return { 'reused' } end
        return { 'order', known[2], known[3], known[4] }
    end
    local wanted, prices, due = {}, {}, 0
    for at = 5, #ARGV, 2 do wanted[ARGV[at]] = (wanted[ARGV[at]] or 0) + tonumber(ARGV[at + 1]) end
    for sku, quantity in pairs(wanted) do
        if tonumber(redis.call('HGET', 'stock:' .. sku, 'available') or '0') < quantity then return { 'sold_out' } end
    end
    for sku, quantity in pairs(wanted) do redis.call('HINCRBY', 'stock:' .. sku, 'available', -quantity) end
    local number = redis.call('INCR', 'orders')
    local order, payment = 'ord_' .. number, 'pay_' .. number .. '_1'
    for at = 5, #ARGV, 2 do
        local line, price = (at - 3) / 2, redis.call('HGET', 'stock:' .. ARGV[at], 'unit_price')
        prices[line] = price
        due = due + price * ARGV[at + 1]
        redis.call('HSET', 'line:' .. order .. ':' .. line, 'sku', ARGV[at], 'quantity', ARGV[at + 1], 'unit_price', price)
    end
    local text = table.concat(prices, ' ')
    local now = redis.call('TIME')[1]
    redis.call('HSET', 'order:' .. order, 'status', 'awaiting_payment', 'email', ARGV[3], 'name', ARGV[4], 'total', due, 'placed_at', now, 'expires_at', now + 3600)
    redis.call('HSET', 'payment:' .. payment, 'order', order, 'status', 'awaiting_payment', 'amount', due)
    redis.call('HSET', 'key:' .. ARGV[1], 'fingerprint', ARGV[2], 'order', order, 'payment', payment, 'prices', text)
    return { 'order', order, payment, text }
";

pub struct Redis {
    connection: ConnectionManager,
    place: Script,
}

impl Redis {
    pub async fn new(port: u16) -> Result<Self, String> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).map_err(|error| error.to_string())?;
        let connection = ConnectionManager::new_with_config(client, ConnectionManagerConfig::new()).await;
        Ok(Self { connection: connection.map_err(|error| error.to_string())?, place: Script::new(PLACE) })
    }
}

impl Database for Redis {
    async fn place(&self, key: &str, fingerprint: &[u8], order: &OrderRequest) -> Result<Placed, String> {
        let mut call = self.place.arg(key);
        call.arg(fingerprint).arg(&order.buyer.email).arg(&order.buyer.name);
        for line in &order.lines {
            call.arg(&line.sku).arg(line.quantity);
        }
        let answer: Vec<String> =
            call.invoke_async(&mut self.connection.clone()).await.map_err(|error| error.to_string())?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["order", id, payment, prices] => {
                let unit_prices: Result<_, _> = prices.split(' ').map(str::parse).collect();
                let unit_prices = unit_prices.map_err(|error: std::num::ParseIntError| error.to_string())?;
                Ok(Placed::Order(PlacedOrder { id: (*id).to_owned(), payment: (*payment).to_owned(), unit_prices }))
            }
            ["sold_out"] => Ok(Placed::SoldOut),
            ["reused"] => Ok(Placed::KeyReused),
            other => Err(format!("the script answered {other:?}")),
        }
    }
}
