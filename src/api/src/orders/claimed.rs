//! What an order claims beside the stock of its lines: only what has a limit (rule C1).

use super::bodies::{AddressBody, BuyerBody, OrderBody, OrderPatchBody};
use crate::core::secret::Secret;
use crate::core::settings::{ShopSettings, UnpaidUnits};
use doorbuster_domain::claims::{ClaimKind, Wanted};

/// The claims of a new order; `None`: nothing but stock.
pub(super) fn of_body(shop: &ShopSettings, secret: &Secret, body: &OrderBody) -> Option<Vec<Wanted>> {
    let claim = |kind, limit, name: &str| Wanted { kind, at: secret.counter(kind, &shop.seller, name), limit };
    let external_id = body.external_id.as_ref().map(|id| claim(ClaimKind::ExternalId, 1, &id.0));
    let claims: Vec<Wanted> = external_id
        .into_iter()
        .chain(by_email(shop, secret, body.buyer.email.as_ref().map(|email| email.0.as_str())))
        .chain(by_address(shop, secret, body.ship_to.as_ref()))
        .collect();
    (!claims.is_empty()).then_some(claims)
}

/// What a change of an order makes it claim, by kind: what it does not touch, and what has no limit, stays.
pub(super) fn of_patch(
    shop: &ShopSettings,
    secret: &Secret,
    body: &OrderPatchBody,
) -> Vec<(ClaimKind, Option<Wanted>)> {
    let UnpaidUnits { buyer, address } = shop.unpaid_units;
    let email = |buyer: &BuyerBody| by_email(shop, secret, buyer.email.as_ref().map(|email| email.0.as_str()));
    let of_buyer = body.buyer.as_ref().filter(|_| buyer > 0).map(|buyer| (ClaimKind::UnpaidByBuyer, email(buyer)));
    let of_address = body.ship_to.as_ref().filter(|_| address > 0);
    let of_address = of_address.map(|address| (ClaimKind::UnpaidByAddress, by_address(shop, secret, Some(address))));
    of_buyer.into_iter().chain(of_address).collect()
}

/// The units that a buyer holds unpaid, if they are limited and the buyer has an e-mail address.
fn by_email(shop: &ShopSettings, secret: &Secret, email: Option<&str>) -> Option<Wanted> {
    let kind = ClaimKind::UnpaidByBuyer;
    let limit = Some(shop.unpaid_units.buyer).filter(|limit| *limit > 0)?;
    let email = normal_email(email?);
    (!email.is_empty()).then(|| Wanted { kind, at: secret.counter(kind, &shop.seller, &email), limit })
}

/// The units that are held unpaid for an address, if they are limited.
fn by_address(shop: &ShopSettings, secret: &Secret, address: Option<&AddressBody>) -> Option<Wanted> {
    let kind = ClaimKind::UnpaidByAddress;
    let limit = Some(shop.unpaid_units.address).filter(|limit| *limit > 0)?;
    let address = normal_address(address?);
    (!address.is_empty()).then(|| Wanted { kind, at: secret.counter(kind, &shop.seller, &address), limit })
}

/// One mailbox, one key: letters of either case, and without what follows a plus sign, which reaches the same mailbox.
fn normal_email(email: &str) -> String {
    let email = email.trim().to_lowercase();
    let Some((mailbox, host)) = email.rsplit_once('@') else { return email };
    let mailbox = mailbox.split_once('+').map_or(mailbox, |(mailbox, _)| mailbox);
    format!("{mailbox}@{host}")
}

/// One door, one key: country, postal code and lines, in letters of one case, digits, and nothing else.
fn normal_address(address: &AddressBody) -> String {
    let postal_code = address.postal_code.iter().map(|text| text.0.as_str());
    let lines = [&address.line1, &address.line2].into_iter().flatten().map(|text| text.0.as_str());
    let words: String = postal_code.chain(lines).flat_map(str::chars).filter(|sign| sign.is_alphanumeric()).collect();
    if words.is_empty() { words } else { format!("{}/{}", address.country.0, words.to_lowercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_are_one_buyer() {
        for email in ["ann@b.example", " Ann@B.example", "ann+sale@b.example", "ANN+a+b@b.example"] {
            assert_eq!(normal_email(email), "ann@b.example");
        }
        assert_ne!(normal_email("ann@c.example"), normal_email("ann@b.example"));
    }

    #[test]
    fn a_counter_is_of_one_kind_one_seller_and_one_name() {
        let secret = Secret::new(&[7; 32]);
        let one = secret.counter(ClaimKind::ExternalId, "sel_a", "b");
        assert_eq!(one, secret.counter(ClaimKind::ExternalId, "sel_a", "b"));
        let others = [
            secret.counter(ClaimKind::UnpaidByBuyer, "sel_a", "b"),
            secret.counter(ClaimKind::ExternalId, "sel_", "ab"),
            secret.counter(ClaimKind::ExternalId, "sel_a", "c"),
            Secret::new(&[8; 32]).counter(ClaimKind::ExternalId, "sel_a", "b"),
        ];
        assert!(!others.contains(&one));
    }
}
