//! From a request's words to the terms an order is placed with.

use crate::problem::{Code, Problem};
use crate::requests::{AddressBody, BuyerBody, PaymentBody};
use crate::settings;
use compact_str::CompactString;
use doorbuster_domain::money::Currency;
use doorbuster_domain::order::{Address, Buyer, Destination, Instruction, Shipping};

/// So many leading characters of a postal code decide tax and warehouse, and name no person.
const POSTAL_AREA_LENGTH: usize = 3;

/// What of an address decides tax and warehouse.
pub(super) fn destination(address: &AddressBody) -> Destination {
    let area = address.postal_code.as_ref().map(|code| code.0.chars().take(POSTAL_AREA_LENGTH).collect());
    Destination { country: address.country.0.clone(), postal_area: area }
}

/// An address as people write it.
pub(super) fn address(body: AddressBody) -> Address {
    Address {
        name: body.name.map(|text| text.0),
        company: body.company.map(|text| text.0),
        line1: body.line1.map(|text| text.0),
        line2: body.line2.map(|text| text.0),
        city: body.city.map(|text| text.0),
        region: body.region.map(|text| text.0),
        postal_code: body.postal_code.map(|text| text.0),
        country: body.country.0,
        phone: body.phone.map(|text| text.0),
        tax_id: body.tax_id.map(|text| text.0),
    }
}

/// Who buys.
pub(super) fn buyer(body: BuyerBody) -> Buyer {
    Buyer {
        email: body.email.map(|text| text.0),
        name: body.name.map(|text| text.0),
        phone: body.phone.map(|text| text.0),
        locale: body.locale.map(|text| text.0),
    }
}

/// A shipping option as an order takes it.
pub(super) fn shipping(
    shop: &settings::Terms,
    option: &str,
    country: &str,
    currency: Currency,
) -> Result<Shipping, Problem> {
    if !shop.shipping.contains_key(option) {
        let known: Vec<&str> = shop.shipping.keys().map(CompactString::as_str).collect();
        return Err(Problem::field("/shipping_option", "unknown", format!("one of {}", known.join(", "))));
    }
    shop.shipping_of(option, country, currency).ok_or_else(|| {
        let detail = format!("{option} does not go to {country} in {}", currency.as_str());
        Problem::new(Code::NotDeliverable).detail(detail)
    })
}

/// How the shopper means to pay.
pub(crate) fn instruction(shop: &settings::Terms, body: PaymentBody, pointer: &str) -> Result<Instruction, Problem> {
    if body.provider.is_some_and(|provider| provider.0 != shop.payment.provider) {
        return Err(Problem::field(format!("{pointer}/provider"), "unknown", "no such provider"));
    }
    Ok(Instruction {
        method: CompactString::const_new(body.method.0),
        token: body.token.map(|token| token.0),
        return_url: body.return_url.map(|url| url.0),
        capture: body.capture.map(|capture| capture.0),
    })
}
