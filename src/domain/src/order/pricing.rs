//! Prices an order: a sum over the terms that the SKUs agreed to.
//!
//! Tax is rounded once per line and once for the shipping, halves away from zero. The shipping is spread over the lines by
//! largest remainder, so that refunds line by line add up to the order exactly.

use super::event::{Priced, PricedLine};
use super::terms::{Shipping, TaxTable};
use super::{Agreed, Order};
use crate::inventory::Units;
use crate::money::{AMOUNT_MAX, MoneyError, spread, tax_of};

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
        priced.shipping_tax = tax_of(priced.shipping, tax.rate_ppm, shipping.tax_included);
        priced.shipping_total = bounded(on_top(priced.shipping, priced.shipping_tax, shipping.tax_included))?;
        priced.total = bounded(priced.total.saturating_add(priced.shipping_total))?;
        let weights: Vec<i64> = priced.lines.iter().map(|line| line.total).collect();
        for (line, share) in priced.lines.iter_mut().zip(spread(priced.shipping_total, &weights)) {
            line.shipping_share = share;
        }
    }
    Ok(priced)
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

    #[test]
    fn a_total_beyond_what_json_can_count_is_refused() {
        let dear = agreed(AMOUNT_MAX, true);
        assert_eq!(price([(2, &dear)].into_iter(), None, &vat()), Err(MoneyError::Overflow));
        assert_eq!(price([(1, &dear), (1, &dear)].into_iter(), None, &vat()), Err(MoneyError::Overflow));
    }

    proptest! {
        #[test]
        fn lines_and_shares_add_up_to_the_total(units in prop::collection::vec((1_u32..50, 0_i64..100_000, any::<bool>()), 1..30), shipping in 0_i64..10_000) {
            let agreed: Vec<_> = units.iter().map(|(units, unit, included)| (*units, agreed(*unit, *included))).collect();
            let priced = price(agreed.iter().map(|(units, agreed)| (*units, agreed)), Some(&standard(shipping, true)), &vat()).unwrap();
            let sum: i64 = priced.lines.iter().map(|line| line.total + line.shipping_share).sum();
            prop_assert_eq!(sum, priced.total);
        }
    }
}
