//! What a cart line takes from the offer of its SKU, and when the offer allows none.

use super::command::Snapshot;
use crate::inventory::{Offer, Refusal};
use crate::money::Currency;

impl Snapshot {
    /// The snapshot of a line of `quantity` units in a cart of this currency. `offer`: of its SKU, if that has one.
    ///
    /// # Errors
    /// [`Refusal::NotOnSale`], [`Refusal::NoPrice`] or [`Refusal::LimitExceeded`]: the line could not be ordered.
    pub fn of(offer: Option<&Offer>, quantity: u32, currency: Currency) -> Result<Self, Refusal> {
        let offer = offer.filter(|offer| offer.on_sale).ok_or(Refusal::NotOnSale)?;
        let price = offer.price_in(currency).ok_or(Refusal::NoPrice { currency })?;
        offer.check_limit(quantity)?;
        Ok(Self { title: offer.title.clone(), seller: offer.seller.clone(), unit_price: price.unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProductId, Sku};
    use crate::inventory::Price;
    use crate::money::Money;

    fn offer() -> Offer {
        let unit = Money { amount: 12_999, currency: Currency::GBP };
        Offer {
            sku: Sku::parse("A").unwrap(),
            product: ProductId::parse("p").unwrap(),
            version: 1,
            seller: "sel_main".into(),
            title: "Nova Low".into(),
            on_sale: true,
            prices: vec![Price { unit, was: None, tax_included: true }],
            max_per_order: Some(2),
            hold_s: None,
            tax_class: "standard".into(),
            weight_g: 0,
        }
    }

    #[test]
    fn a_line_takes_title_seller_and_price_of_the_offer() {
        let snapshot = Snapshot::of(Some(&offer()), 2, Currency::GBP).unwrap();
        assert_eq!((snapshot.title.as_str(), snapshot.unit_price.amount), ("Nova Low", 12_999));
    }

    #[test]
    fn a_line_that_could_not_be_ordered_is_refused() {
        let euro = Currency::parse("EUR").unwrap();
        assert_eq!(Snapshot::of(None, 1, Currency::GBP), Err(Refusal::NotOnSale));
        let ended = Offer { on_sale: false, ..offer() };
        assert_eq!(Snapshot::of(Some(&ended), 1, Currency::GBP), Err(Refusal::NotOnSale));
        assert_eq!(Snapshot::of(Some(&offer()), 1, euro), Err(Refusal::NoPrice { currency: euro }));
        let too_many = Refusal::LimitExceeded { limit: 2, wanted: 3 };
        assert_eq!(Snapshot::of(Some(&offer()), 3, Currency::GBP), Err(too_many));
    }
}
