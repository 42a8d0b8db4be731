//! Prices an order: a sum over the terms that the SKUs agreed to.
//!
//! The shipping is spread over the lines by their value, by largest remainder, so that refunds line by line add up to the order exactly. Its tax
//! follows the goods: each share pays the rate of its line, unless the tax table has a rate of its own for shipping. Tax is rounded once per line,
//! and for the shipping once per rate, halves away from zero.

use super::event::{Priced, PricedLine};
use super::terms::{Shipping, TaxTable};
use super::{Agreed, Order};
use crate::inventory::Units;
use crate::money::{AMOUNT_MAX, MoneyError, spread, tax_of};
use std::collections::BTreeMap;

fn on_top(amount: i64, tax: i64, included: bool) -> i64 {
    if included { amount } else { amount.saturating_add(tax) }
}

const fn bounded(amount: i64) -> Result<i64, MoneyError> {
    if amount > AMOUNT_MAX || amount < 0 { Err(MoneyError::Overflow) } else { Ok(amount) }
}

/// Prices lines and shipping.
///
/// # Errors
/// [`MoneyError::Overflow`]: a line or the total exceeds the largest amount.
pub(super) fn price<'a>(
    lines: impl Iterator<Item = (Units, &'a Agreed)>,
    shipping: Option<&Shipping>,
    tax: &TaxTable,
) -> Result<Priced, MoneyError> {
    let mut priced = Priced::default();
    for (units, agreed) in lines {
        let subtotal = bounded(agreed.price.unit.times(units)?.amount)?;
        let rate_ppm = tax.rate_of(&agreed.tax_class);
        let included = agreed.price.tax_included;
        let line_tax = tax_of(subtotal, rate_ppm, included);
        let total = bounded(on_top(subtotal, line_tax, included))?;
        priced.total = bounded(priced.total.saturating_add(total))?;
        priced.lines.push(PricedLine { subtotal, rate_ppm, tax: line_tax, total, shipping_share: 0 });
    }
    if let Some(shipping) = shipping {
        priced.shipping = bounded(shipping.price.amount)?;
        priced.shipping_tax = share_shipping(&mut priced.lines, priced.shipping, shipping.tax_included, tax);
        priced.shipping_total = bounded(on_top(priced.shipping, priced.shipping_tax, shipping.tax_included))?;
        priced.total = bounded(priced.total.saturating_add(priced.shipping_total))?;
    }
    Ok(priced)
}

/// Gives each line its share of the shipping, tax included; returns the tax in it or on it, in minor units.
fn share_shipping(lines: &mut [PricedLine], price: i64, included: bool, tax: &TaxTable) -> i64 {
    let weights: Vec<i64> = lines.iter().map(|line| line.total).collect();
    for (line, share) in lines.iter_mut().zip(spread(price, &weights)) {
        line.shipping_share = share;
    }
    let mut by_rate: BTreeMap<u32, Vec<&mut PricedLine>> = BTreeMap::new();
    for line in lines {
        by_rate.entry(tax.shipping_ppm().unwrap_or(line.rate_ppm)).or_default().push(line);
    }
    let mut whole_tax = 0_i64;
    for (rate_ppm, lines) in by_rate {
        let shares: Vec<i64> = lines.iter().map(|line| line.shipping_share).collect();
        let rate_tax = tax_of(shares.iter().fold(0, |sum, share| sum.saturating_add(*share)), rate_ppm, included);
        whole_tax = whole_tax.saturating_add(rate_tax);
        for (line, own) in lines.into_iter().zip(spread(rate_tax, &shares)) {
            line.shipping_share = on_top(line.shipping_share, own, included);
        }
    }
    whole_tax
}

impl Order {
    /// Prices the order with this shipping option and tax.
    pub(super) fn price_with(&self, shipping: Option<&Shipping>, tax: &TaxTable) -> Result<Priced, MoneyError> {
        price(
            self.lines.iter().filter_map(|line| line.agreed.as_ref().map(|agreed| (line.units, agreed))),
            shipping,
            tax,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Price;
    use crate::money::{Currency, Money};
    use proptest::prelude::*;

    fn agreed(unit: i64, tax_included: bool) -> Agreed {
        Agreed {
            reservation: 1,
            price: Price { unit: Money { amount: unit, currency: Currency::GBP }, was: None, tax_included },
            title: "t".into(),
            seller: "s".into(),
            tax_class: "standard".into(),
            allocations: Vec::new(),
        }
    }

    fn vat() -> TaxTable {
        TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes: vec![("zero".into(), 0)] }
    }

    fn standard(price: i64, tax_included: bool) -> Shipping {
        Shipping { option: "std".into(), price: Money { amount: price, currency: Currency::GBP }, tax_included }
    }

    #[test]
    fn a_shoe_of_129_99_and_shipping_of_4_99_come_to_134_98_with_22_50_tax_inside() {
        let shoe = agreed(12_999, true);
        let priced = price([(1, &shoe)].into_iter(), Some(&standard(499, true)), &vat()).unwrap();
        let line = priced.lines[0];
        assert_eq!((line.subtotal, line.tax, line.total, line.shipping_share), (12_999, 2_167, 12_999, 499));
        assert_eq!((priced.total, line.tax + priced.shipping_tax), (13_498, 2_250));
    }

    #[test]
    fn tax_on_top_is_added_to_line_and_shipping() {
        let shoe = agreed(1_000, false);
        let priced = price([(2, &shoe)].into_iter(), Some(&standard(500, false)), &vat()).unwrap();
        assert_eq!((priced.lines[0].total, priced.shipping_total, priced.total), (2_400, 600, 3_000));
    }

    fn of_class(unit: i64, class: &str, tax_included: bool) -> Agreed {
        Agreed { tax_class: class.into(), ..agreed(unit, tax_included) }
    }

    #[test]
    fn tax_on_delivery_follows_the_goods_by_their_value() {
        let (book, shoe) = (of_class(3_000, "zero", true), of_class(1_000, "standard", true));
        let only_books = price([(1, &book)].into_iter(), Some(&standard(500, true)), &vat()).unwrap();
        assert_eq!((only_books.shipping_tax, only_books.shipping_total), (0, 500));
        let both = price([(1, &book), (1, &shoe)].into_iter(), Some(&standard(500, true)), &vat()).unwrap();
        // A quarter of the delivery is the shoe's: 1.25, of which 0.21 is tax.
        assert_eq!((both.shipping_tax, both.shipping_total), (21, 500));
        let on_top = price([(1, &book), (1, &shoe)].into_iter(), Some(&standard(500, false)), &vat()).unwrap();
        let shares: Vec<i64> = on_top.lines.iter().map(|line| line.shipping_share).collect();
        assert_eq!((on_top.shipping_tax, on_top.shipping_total, shares), (25, 525, vec![375, 150]));
    }

    #[test]
    fn a_rate_of_its_own_holds_for_delivery_whatever_the_goods() {
        let mut tax = vat();
        tax.classes.push(("shipping".into(), 100_000));
        let book = of_class(3_000, "zero", true);
        let priced = price([(1, &book)].into_iter(), Some(&standard(550, true)), &tax).unwrap();
        assert_eq!((priced.shipping_tax, priced.lines[0].tax), (50, 0));
    }

    #[test]
    fn a_total_beyond_what_json_can_count_is_refused() {
        let dear = agreed(AMOUNT_MAX, true);
        assert_eq!(price([(2, &dear)].into_iter(), None, &vat()), Err(MoneyError::Overflow));
        assert_eq!(price([(1, &dear), (1, &dear)].into_iter(), None, &vat()), Err(MoneyError::Overflow));
    }

    proptest! {
        #[test]
        fn lines_and_shares_add_up_to_the_total(units in prop::collection::vec((1_u32..50, 0_i64..100_000, any::<bool>(), any::<bool>()), 1..30), shipping in 0_i64..10_000, inside in any::<bool>()) {
            let class = |zero: bool| if zero { "zero" } else { "standard" };
            let agreed: Vec<_> = units.iter().map(|(units, unit, included, zero)| (*units, of_class(*unit, class(*zero), *included))).collect();
            let priced = price(agreed.iter().map(|(units, agreed)| (*units, agreed)), Some(&standard(shipping, inside)), &vat()).unwrap();
            prop_assert!(priced.lines.iter().all(|line| line.shipping_share >= 0));
            let sum: i64 = priced.lines.iter().map(|line| line.total + line.shipping_share).sum();
            prop_assert_eq!(sum, priced.total);
        }
    }
}
