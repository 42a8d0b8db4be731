//! From the fields of a body to the terms that an order is placed with.

use super::bodies::{AddressBody, BuyerBody, PaymentBody};
use crate::core::caller::Caller;
use crate::core::problem::{Code, Problem};
use crate::core::settings::ShopSettings;
use crate::core::words::MANUAL;
use compact_str::CompactString;
use doorbuster_domain::money::Currency;
use doorbuster_domain::order::{Address, Buyer, Destination, Instruction, Shipping};

/// The key of an order's metadata that holds its external id. No caller can send it, because keys have no control characters, and it sorts before
/// every key that they can send.
pub(super) const EXTERNAL_ID: &str = "\u{1}external_id";
/// Leading characters of a postal code that are a fact: they decide tax and warehouse, and identify no person.
const POSTAL_AREA_LENGTH: usize = 3;

/// The facts of an address, which decide tax and warehouse.
pub(super) fn destination(address: &AddressBody) -> Destination {
    let area = address.postal_code.as_ref().map(|code| code.0.chars().take(POSTAL_AREA_LENGTH).collect());
    Destination { country: address.country.0.clone(), postal_area: area }
}

/// An address as the domain takes it.
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

/// A buyer as the domain takes it.
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
    shop: &ShopSettings,
    option: &str,
    country: &str,
    currency: Currency,
) -> Result<Shipping, Problem> {
    if !shop.shipping.contains_key(option) {
        let known: Vec<&str> = shop.shipping.keys().map(CompactString::as_str).collect();
        return Err(Problem::field("/shipping_option", "unknown", format!("must be one of {}", known.join(", "))));
    }
    shop.shipping_of(option, country, currency).ok_or_else(|| {
        let detail = format!("{option} does not deliver to {country} in {}", currency.as_str());
        Problem::new(Code::NotDeliverable).detail(detail)
    })
}

/// The payment instruction of a body at `pointer`. When money is taken is the shop's policy: only its own side may say otherwise.
pub(crate) fn instruction(
    shop: &ShopSettings,
    caller: &Caller,
    body: PaymentBody,
    pointer: &str,
) -> Result<Instruction, Problem> {
    if body
        .capture
        .as_ref()
        .is_some_and(|capture| !caller.is_platform(&shop.seller) && capture.0 != shop.payment.capture)
    {
        let detail = "is the shop's to say; leave it out";
        return Err(Problem::field(format!("{pointer}/capture"), "invalid_value", detail));
    }
    if body.provider.is_some_and(|provider| provider.0 != shop.payment.provider) {
        return Err(Problem::field(format!("{pointer}/provider"), "unknown", "is not the shop's provider"));
    }
    let is_manual = body.method.0 == MANUAL;
    if let Some(goods_first) = body.goods_first {
        let pointer = || format!("{pointer}/goods_first");
        if goods_first && !is_manual {
            return Err(Problem::field(pointer(), "invalid_value", "is for payments that come past the provider"));
        }
        if !caller.is_platform(&shop.seller) && goods_first != (is_manual && shop.goods_first) {
            return Err(Problem::field(pointer(), "invalid_value", "is the shop's to say; leave it out"));
        }
    }
    Ok(Instruction {
        goods_first: (is_manual && body.goods_first.unwrap_or(shop.goods_first)).then_some(true),
        method: CompactString::const_new(body.method.0),
        token: body.token.map(|token| token.0),
        return_url: body.return_url.map(|url| url.0),
        capture: body.capture.map(|capture| capture.0),
    })
}
