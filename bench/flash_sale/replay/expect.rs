//! What the file says must come out: the left column of the table, from the file alone.

use super::trade::{Event, Open, Trade, match_newest_first};
use std::collections::BTreeMap;

/// The figures that are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Orders confirmed.
    pub(crate) orders: u64,
    /// Units sold.
    pub(crate) units: u64,
    /// Amount, in pence.
    pub(crate) pence: u64,
    /// Units brought back to their orders.
    pub(crate) returned_units: u64,
    /// Amount, in pence.
    pub(crate) returned_pence: u64,
    /// Units brought back that belong to no order.
    pub(crate) unmatched_units: u64,
    /// What is left, per SKU.
    pub(crate) stock: Vec<u64>,
}

impl Figures {
    /// Units left over all SKUs.
    pub(crate) fn stock_left(&self) -> u64 {
        self.stock.iter().sum()
    }
}

/// Units received per SKU: its whole demand times `thousandths` / 1000, rounded down.
pub(crate) fn received(trade: &Trade, thousandths: u64) -> Vec<u64> {
    trade.skus.iter().map(|sku| sku.demand * thousandths / 1_000).collect()
}

/// The figures when exactly the invoices that `accepted` names become orders, from `received` units per SKU.
pub(crate) fn expect(trade: &Trade, received: &[u64], accepted: impl Fn(&str) -> bool) -> Figures {
    let mut figures = Figures::default();
    let mut stock: BTreeMap<usize, i128> = received.iter().map(|units| i128::from(*units)).enumerate().collect();
    let pence = |sku: usize| trade.skus.get(sku).map_or(0, |traded| traded.pence);
    for customer in &trade.customers {
        let mut open: Vec<Open> = Vec::new();
        let mut sales = 0;
        for event in &customer.events {
            match event {
                Event::Sale(sale) if accepted(&sale.invoice) => {
                    figures.orders += 1;
                    for (sku, units) in &sale.lines {
                        figures.units += units;
                        figures.pence += units * pence(*sku);
                        *stock.entry(*sku).or_default() -= i128::from(*units);
                        open.push(Open { sale: sales, sku: *sku, left: *units });
                    }
                    sales += 1;
                }
                Event::Sale(_) => {}
                Event::Cancellation { lines, .. } => {
                    for (sku, units) in lines {
                        let (_, unmatched) = match_newest_first(&mut open, *sku, *units);
                        figures.returned_units += units - unmatched;
                        figures.returned_pence += (units - unmatched) * pence(*sku);
                        figures.unmatched_units += unmatched;
                        *stock.entry(*sku).or_default() += i128::from(*units);
                    }
                }
            }
        }
    }
    figures.stock = stock.into_values().map(|units| u64::try_from(units).unwrap_or(0)).collect();
    figures
}

#[cfg(test)]
mod tests {
    use super::super::trade::Row;
    use super::*;

    fn trade(rows: &[(&str, &str, &str, &str)]) -> Trade {
        let mut trade = Trade::default();
        for (invoice, code, quantity, customer) in rows {
            trade.take(Row { invoice, code, quantity, price: "2.50", customer, country: "France" });
        }
        trade
    }

    #[test]
    fn all_demand_received_and_all_sold_leaves_what_came_back() {
        let trade = trade(&[
            ("1", "A", "5", "7.0"),
            ("2", "A", "3", "7.0"),
            ("C3", "A", "-4", "7.0"),
            ("C4", "A", "-2", "8.0"),
        ]);
        let figures = expect(&trade, &received(&trade, 1_000), |_| true);
        let expected = Figures {
            orders: 2,
            units: 8,
            pence: 2_000,
            returned_units: 4,
            returned_pence: 1_000,
            unmatched_units: 2,
            stock: vec![6],
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn a_cancellation_before_the_sale_matches_nothing() {
        let trade = trade(&[("C1", "A", "-1", "7.0"), ("2", "A", "3", "7.0")]);
        let figures = expect(&trade, &received(&trade, 1_000), |_| true);
        assert_eq!((figures.returned_units, figures.unmatched_units), (0, 1));
    }

    #[test]
    fn a_refused_sale_sells_nothing_and_takes_no_return() {
        let trade = trade(&[("1", "A", "5", "7.0"), ("C2", "A", "-5", "7.0")]);
        let figures = expect(&trade, &received(&trade, 900), |_| false);
        assert_eq!((figures.orders, figures.unmatched_units, figures.stock), (0, 5, vec![9]));
    }
}
