//! The trade of the file as the shop sees it: who bought and brought back what, in which order.

use super::rules::{self, Kind};
use std::collections::BTreeMap;

/// One row, as texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// `536365`, `C536379`.
    pub(crate) invoice: &'a str,
    /// Stock code.
    pub(crate) code: &'a str,
    /// Units.
    pub(crate) quantity: &'a str,
    /// Pounds.
    pub(crate) price: &'a str,
    /// `17850.0` or empty.
    pub(crate) customer: &'a str,
    /// A name.
    pub(crate) country: &'a str,
}

/// A SKU by its place in [`Trade::skus`].
pub(crate) type SkuIndex = usize;

/// A SKU as it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TradedSku {
    /// Its id.
    pub(crate) id: String,
    /// The stock code: the product it is a price tier of.
    pub(crate) product: String,
    /// Its price.
    pub(crate) pence: u64,
    /// Units over all sales.
    pub(crate) demand: u64,
}

/// What a customer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// One invoice, one order.
    Sale(Sale),
    /// One cancellation invoice.
    Cancellation {
        /// Its number.
        invoice: String,
        /// Units by SKU, in file order; one SKU once.
        lines: Vec<(SkuIndex, u64)>,
    },
}

/// One invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sale {
    /// Its number.
    pub(crate) invoice: String,
    /// Where it goes.
    pub(crate) country: &'static str,
    /// Units by SKU, rows of one SKU summed; in order of first appearance.
    pub(crate) lines: Vec<(SkuIndex, u64)>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Trade {
    /// All SKUs that are sold or brought back.
    pub(crate) skus: Vec<TradedSku>,
    /// Per customer, and per guest's invoice, what they did, in file order.
    pub(crate) customers: Vec<Customer>,
    /// Rows read.
    pub(crate) rows: u64,
    /// Sale rows.
    pub(crate) sale_rows: u64,
    /// Cancellation rows.
    pub(crate) cancellation_rows: u64,
    /// Other rows, by reason.
    pub(crate) skipped: BTreeMap<&'static str, u64>,
    /// Country names the table does not know, with their rows.
    pub(crate) unknown_countries: BTreeMap<String, u64>,
    sku_by_id: BTreeMap<String, SkuIndex>,
    customer_by_name: BTreeMap<String, usize>,
}

/// A customer or a guest.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    /// Unique.
    pub(crate) name: String,
    /// In file order.
    pub(crate) events: Vec<Event>,
}

impl Trade {
    /// Takes one row in.
    pub(crate) fn take(&mut self, row: Row<'_>) {
        self.rows += 1;
        let read = row.quantity.trim().parse().ok().zip(rules::pence(row.price));
        let Some((quantity, pence)) = read else { return self.skip("not a number") };
        let invoice = row.invoice.trim();
        let (kind, units) = match rules::kind(invoice, quantity, pence) {
            Kind::Skipped(reason) => return self.skip(reason),
            sold @ Kind::Sale(units) | sold @ Kind::Cancellation(units) => (sold, units),
        };
        let Some(sku) = self.sku(row.code, pence.unsigned_abs()) else { return self.skip("no lawful SKU") };
        let name =
            rules::customer(row.customer).map_or_else(|| format!("guest-{invoice}"), |id| format!("customer-{id}"));
        if matches!(kind, Kind::Sale(_)) {
            self.sale_rows += 1;
            if let Some(traded) = self.skus.get_mut(sku) {
                traded.demand += units;
            }
            let country = self.country(row.country);
            let lines = self.event_lines(&name, invoice, || {
                Event::Sale(Sale { invoice: invoice.to_owned(), country, lines: Vec::new() })
            });
            add_units(lines, sku, units);
        } else {
            self.cancellation_rows += 1;
            let lines = self
                .event_lines(&name, invoice, || Event::Cancellation { invoice: invoice.to_owned(), lines: Vec::new() });
            add_units(lines, sku, units);
        }
    }

    /// How many invoices are sales.
    pub(crate) fn sales(&self) -> usize {
        self.customers
            .iter()
            .flat_map(|customer| &customer.events)
            .filter(|event| matches!(event, Event::Sale(_)))
            .count()
    }

    fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    fn country(&mut self, name: &str) -> &'static str {
        super::countries::code(name).unwrap_or_else(|| {
            *self.unknown_countries.entry(name.trim().to_owned()).or_default() += 1;
            "GB"
        })
    }

    fn sku(&mut self, code: &str, pence: u64) -> Option<SkuIndex> {
        let id = rules::sku(code, pence)?;
        if let Some(known) = self.sku_by_id.get(&id) {
            return Some(*known);
        }
        let index = self.skus.len();
        self.skus.push(TradedSku { id: id.clone(), product: rules::stock_code(code), pence, demand: 0 });
        self.sku_by_id.insert(id, index);
        Some(index)
    }

    /// The lines of this customer's event of that invoice. The rows of an invoice need not stand together (one in the file does not):
    /// it takes the place of its first row.
    fn event_lines(&mut self, name: &str, invoice: &str, make: impl FnOnce() -> Event) -> &mut Vec<(SkuIndex, u64)> {
        let next = self.customers.len();
        let index = *self.customer_by_name.entry(name.to_owned()).or_insert(next);
        if index == next {
            self.customers.push(Customer { name: name.to_owned(), events: Vec::new() });
        }
        let events = &mut self.customers.get_mut(index).expect("the customer was just made sure of").events;
        let known = events.iter().rposition(|event| event.invoice() == invoice);
        let at = known.unwrap_or_else(|| {
            events.push(make());
            events.len() - 1
        });
        match events.get_mut(at).expect("found or pushed above") {
            Event::Sale(Sale { lines, .. }) | Event::Cancellation { lines, .. } => lines,
        }
    }
}

impl Event {
    /// Its invoice's number.
    pub(crate) fn invoice(&self) -> &str {
        match self {
            Self::Sale(sale) => &sale.invoice,
            Self::Cancellation { invoice, .. } => invoice,
        }
    }
}

fn add_units(lines: &mut Vec<(SkuIndex, u64)>, sku: SkuIndex, units: u64) {
    match lines.iter_mut().find(|(known, _)| *known == sku) {
        Some((_, sum)) => *sum += units,
        None => lines.push((sku, units)),
    }
}

/// A sale a return can still take units from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Which of the customer's accepted sales, counted from the first.
    pub(crate) sale: usize,
    /// Of this SKU.
    pub(crate) sku: SkuIndex,
    /// Units not brought back yet.
    pub(crate) left: u64,
}

/// Units of one SKU that go back to one sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matched {
    /// Which of the customer's accepted sales.
    pub(crate) sale: usize,
    /// Units.
    pub(crate) units: u64,
}

/// Matches `units` of `sku` against the customer's earlier sales, newest first; the second number matched none.
pub(crate) fn match_newest_first(open: &mut [Open], sku: SkuIndex, units: u64) -> (Vec<Matched>, u64) {
    let mut left = units;
    let mut matched = Vec::new();
    for candidate in open.iter_mut().rev().filter(|candidate| candidate.sku == sku && candidate.left > 0) {
        let now = left.min(candidate.left);
        if now == 0 {
            break;
        }
        candidate.left -= now;
        left -= now;
        matched.push(Matched { sale: candidate.sale, units: now });
    }
    (matched, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(invoice: &'a str, code: &'a str, quantity: &'a str, customer: &'a str) -> Row<'a> {
        Row { invoice, code, quantity, price: "1.00", customer, country: "EIRE" }
    }

    #[test]
    fn rows_of_one_sku_in_one_invoice_are_one_line() {
        let mut trade = Trade::default();
        for row in [row("1", "a", "2", "7.0"), row("1", "b", "1", "7.0"), row("1", "A ", "3", "7.0")] {
            trade.take(row);
        }
        let [customer] = trade.customers.as_slice() else { panic!("one customer") };
        let sale = Sale { invoice: "1".into(), country: "IE", lines: vec![(0, 5), (1, 1)] };
        assert_eq!(customer.events, [Event::Sale(sale)]);
        assert_eq!(trade.skus[0].demand, 5);
    }

    #[test]
    fn an_invoice_torn_apart_in_the_file_is_one_order_in_its_first_place() {
        let mut trade = Trade::default();
        for row in [row("1", "a", "2", "7.0"), row("2", "a", "1", "7.0"), row("1", "b", "3", "7.0")] {
            trade.take(row);
        }
        let invoices: Vec<&str> = trade.customers[0].events.iter().map(Event::invoice).collect();
        assert_eq!((invoices, trade.sales()), (vec!["1", "2"], 2));
    }

    #[test]
    fn each_guest_invoice_is_a_customer_of_its_own() {
        let mut trade = Trade::default();
        for row in [row("1", "a", "2", ""), row("2", "a", "1", ""), row("C3", "a", "-1", "")] {
            trade.take(row);
        }
        assert_eq!(trade.customers.len(), 3);
    }

    #[test]
    fn a_return_takes_from_the_newest_sale_first_and_what_is_left_matches_none() {
        let mut open = vec![
            Open { sale: 0, sku: 1, left: 4 },
            Open { sale: 1, sku: 2, left: 9 },
            Open { sale: 2, sku: 1, left: 3 },
        ];
        let (matched, unmatched) = match_newest_first(&mut open, 1, 5);
        assert_eq!(matched, [Matched { sale: 2, units: 3 }, Matched { sale: 0, units: 2 }]);
        assert_eq!(unmatched, 0);
        assert_eq!(match_newest_first(&mut open, 1, 5), (vec![Matched { sale: 0, units: 2 }], 3));
    }
}
