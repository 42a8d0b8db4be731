//! What an offer allows: the price in a currency, and the limit of units in one order.

use super::command::{Offer, Price, Refusal, Units};
use crate::money::Currency;

impl Offer {
    /// The price in `currency`, if the SKU has one.
    #[must_use]
    pub fn price_in(&self, currency: Currency) -> Option<&Price> {
        self.prices.iter().find(|price| price.unit.currency == currency)
    }

    /// Checks the limit of units in one order.
    ///
    /// # Errors
    /// [`Refusal::LimitExceeded`].
    pub const fn check_limit(&self, wanted: Units) -> Result<(), Refusal> {
        match self.max_per_order {
            Some(limit) if wanted > limit => Err(Refusal::LimitExceeded { limit, wanted }),
            Some(_) | None => Ok(()),
        }
    }
}
