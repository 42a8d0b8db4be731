//! What the API says came out: the right column of the table, read back order by order and SKU by SKU.

use super::expect::Figures;
use super::run::{Ran, side_by_side};
use super::trade::Trade;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::{count, grouped};
use doorbuster_bench::shopper::{Verdict, of_status};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A refund that is still pending is looked at again, 100 ms apart.
const REFUND_LOOKS: u32 = 300;

/// What the API says.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The figures.
    pub(crate) figures: Figures,
    /// Units that are still promised to someone: must be none.
    pub(crate) reserved: u64,
    /// Orders in an unexpected state.
    pub(crate) unexpected: Vec<String>,
}

/// Reads every accepted order and every SKU.
pub(crate) async fn read_back(
    target: &Target,
    trade: &Arc<Trade>,
    ran: &Ran,
    workers: u32,
) -> Result<Tally, BenchError> {
    let orders: Arc<Vec<String>> = Arc::new(ran.accepted.values().cloned().collect());
    let parts = side_by_side(target, orders.len(), workers, "orders read back", |mut caller, next, done| {
        let orders = Arc::clone(&orders);
        async move {
            let mut tally = Tally::default();
            while let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) {
                tally.take(&read_order(&mut caller, order).await?);
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(tally)
        }
    })
    .await?;
    let mut tally = Tally::default();
    for part in parts {
        tally.add(part);
    }
    let levels = side_by_side(target, trade.skus.len(), workers, "levels read back", |mut caller, next, done| {
        let trade = Arc::clone(trade);
        async move {
            let mut levels = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(sku) = trade.skus.get(index) else { return Ok(levels) };
                levels.push((index, catalogue::level(&mut caller, &sku.id).await?));
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await?;
    let mut levels: Vec<(usize, catalogue::Level)> = levels.into_iter().flatten().collect();
    levels.sort_unstable_by_key(|(index, _)| *index);
    tally.reserved = levels.iter().map(|(_, level)| level.reserved).sum();
    tally.figures.stock = levels.into_iter().map(|(_, level)| level.on_hand).collect();
    Ok(tally)
}

/// The order, once its refunds are carried out.
async fn read_order(caller: &mut Caller, id: &str) -> Result<Value, BenchError> {
    let path = format!("/v1/orders/{id}");
    let mut order = caller.read(&path).await?;
    for _ in 0..REFUND_LOOKS {
        let returns = order.get("returns").and_then(Value::as_array);
        let pending = |made: &Value| made.pointer("/refund/status").and_then(Value::as_str) == Some("pending");
        if !returns.is_some_and(|returns| returns.iter().any(pending)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        order = caller.read(&path).await?;
    }
    Ok(order)
}

impl Tally {
    fn take(&mut self, order: &Value) {
        let text = |name: &str| order.get(name).and_then(Value::as_str).unwrap_or_default();
        if of_status(text("status")) != Verdict::Confirmed {
            self.unexpected.push(format!("order {} is {}", text("id"), text("status")));
            return;
        }
        let number = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let figures = &mut self.figures;
        figures.orders += 1;
        figures.pence += number(order, "/totals/total/amount");
        figures.returned_pence += number(order, "/totals/refunded/amount");
        for line in order.get("lines").and_then(Value::as_array).into_iter().flatten() {
            figures.units += number(line, "/quantity");
            figures.returned_units += number(line, "/returned");
        }
    }

    fn add(&mut self, other: Self) {
        let (own, more) = (&mut self.figures, other.figures);
        own.orders += more.orders;
        own.units += more.units;
        own.pence += more.pence;
        own.returned_units += more.returned_units;
        own.returned_pence += more.returned_pence;
        self.unexpected.extend(other.unexpected);
    }

    /// Units that came back to no order: what the levels hold beyond `received` less sold plus returned.
    fn unmatched(&self, received: u64) -> u64 {
        let figures = &self.figures;
        (figures.stock_left() + figures.units).saturating_sub(received + figures.returned_units)
    }
}

/// Prints file against API; `true` when all is equal.
pub(crate) fn print_table(expected: &Figures, received: &[u64], tally: &Tally) -> bool {
    let api = &tally.figures;
    let rows = [
        ("orders", expected.orders, api.orders),
        ("units", expected.units, api.units),
        ("money (pence)", expected.pence, api.pence),
        ("units returned", expected.returned_units, api.returned_units),
        ("money returned (pence)", expected.returned_pence, api.returned_pence),
        ("units unmatched", expected.unmatched_units, tally.unmatched(received.iter().sum())),
        ("stock left", expected.stock_left(), api.stock_left()),
    ];
    println!("{:<24}{:>16}{:>16}", "", "file", "API");
    let mut equal = true;
    for (name, file, api) in rows {
        let mark = if file == api { "equal" } else { "NOT EQUAL" };
        equal &= file == api;
        println!("{name:<24}{:>16}{:>16}  {mark}", grouped(file), grouped(api));
    }
    let pairs = expected.stock.iter().zip(&api.stock);
    let differing =
        count(pairs.filter(|(file, api)| file != api).count()) + count(expected.stock.len().abs_diff(api.stock.len()));
    println!(
        "{:<24}{:>16}{:>16}  {}",
        "SKUs",
        grouped(count(expected.stock.len())),
        grouped(count(api.stock.len())),
        if differing == 0 { "each with equal stock".to_owned() } else { format!("{differing} with ANOTHER stock") }
    );
    if tally.reserved > 0 {
        println!("units still promised to someone: {}", grouped(tally.reserved));
    }
    equal && differing == 0 && tally.reserved == 0
}

/// Prints what was refused for want of stock; `true` when every invoice of the file has its answer.
pub(crate) fn print_refusals(trade: &Trade, ran: &Ran) -> bool {
    let (sales, accepted, refused) = (count(trade.sales()), count(ran.accepted.len()), count(ran.refused.len()));
    println!(
        "invoices   {} = {} accepted + {} refused cleanly, nothing oversold",
        grouped(sales),
        grouped(accepted),
        grouped(refused)
    );
    sales == accepted + refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_counts_by_its_lines_and_totals() {
        let mut tally = Tally::default();
        tally.take(&json!({
            "id": "ord_1", "status": "delivered",
            "lines": [{ "quantity": 3, "returned": 1 }, { "quantity": 2, "returned": 0 }],
            "totals": { "total": { "amount": 1250 }, "refunded": { "amount": 250 } }
        }));
        tally.take(&json!({ "id": "ord_2", "status": "sold_out" }));
        let expected = Figures {
            orders: 1,
            units: 5,
            pence: 1250,
            returned_units: 1,
            returned_pence: 250,
            unmatched_units: 0,
            stock: vec![],
        };
        assert_eq!((tally.figures, tally.unexpected.len()), (expected, 1));
    }

    #[test]
    fn what_the_levels_hold_beyond_the_orders_came_back_unmatched() {
        let figures = Figures { units: 8, returned_units: 4, stock: vec![6], ..Figures::default() };
        assert_eq!(Tally { figures, ..Tally::default() }.unmatched(8), 2);
    }

    #[test]
    fn one_sku_with_another_stock_is_not_equal_though_the_sums_are() {
        let expected = Figures { stock: vec![1, 2], ..Figures::default() };
        let other = Tally { figures: Figures { stock: vec![2, 1], ..Figures::default() }, ..Tally::default() };
        let same = Tally { figures: expected.clone(), ..Tally::default() };
        assert!(!print_table(&expected, &[1, 2], &other));
        assert!(print_table(&expected, &[1, 2], &same));
    }
}
