//! What clients say: the commands behind the requests of the API, made from a request's key and a few random numbers.

use crate::plan::Plan;
use doorbuster_domain::any::Command;
use doorbuster_domain::cart;
use doorbuster_domain::ids::{
    EntityId, InstallationId, OrderId, ProductId, Request, RequestFingerprint, RequestId, Sku, WarehouseId,
};
use doorbuster_domain::inventory::{self, AdjustmentReason, Price};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{
    self, CapturePolicy, Destination, Instruction, OrderTerms, PaymentPolicy, Personal, PlaceOrder, ReturnPolicy,
    Shipping, Source, TaxTable, Wanted,
};
use doorbuster_domain::principal::{Account, Principal, Scopes};
use doorbuster_domain::product::{self, Details, Variant};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The one seller.
pub(crate) const SELLER: &str = "sel_main";
/// The name under which its orders and reservations are kept.
pub(crate) const OWNER: &str = "seller:sel_main";
/// The account that runs the shop, as a principal.
pub(crate) fn platform() -> Principal {
    Principal::Platform(Account { id: SELLER.into(), scopes: Scopes::default() })
}

/// Every test token of the simulated provider, and one it leaves to chance.
const TOKENS: [&str; 9] = [
    "tok_ok",
    "tok_ok",
    "tok_decline_soft",
    "tok_decline_hard",
    "tok_action",
    "tok_processing",
    "tok_slow",
    "tok_timeout_charged",
    "tok_timeout_not_charged",
];

/// So much money.
pub(crate) fn gbp(amount: i64) -> Money {
    Money { amount, currency: Currency::GBP }
}

/// The request of a key.
pub(crate) fn request(path: &str, key: &str) -> Request {
    Request { id: RequestId::new(SELLER, path, key), terms: RequestFingerprint(1) }
}

/// Some means to pay.
pub(crate) fn instruction(rng: &mut ChaCha8Rng) -> Instruction {
    let token = if rng.random_bool(0.2) { "tok_random" } else { TOKENS[rng.random_range(0..TOKENS.len())] };
    let capture = match rng.random_range(0..10) {
        0 => Some(CapturePolicy::OnShipment),
        1 => Some(CapturePolicy::Manual),
        _ => None,
    };
    Instruction { method: "card".into(), token: Some(token.into()), return_url: None, capture, goods_first: None }
}

/// Some lines.
pub(crate) fn lines(rng: &mut ChaCha8Rng, skus: &[Sku]) -> Vec<Wanted> {
    (0..rng.random_range(1..=3))
        .map(|_| {
            let expected = rng.random_bool(0.1).then(|| gbp(1_000));
            let sku = skus[rng.random_range(0..skus.len())].clone();
            Wanted { sku, units: rng.random_range(1..=2), expected_unit_price: expected }
        })
        .collect()
}

/// The installation of every world.
const INSTALLATION: InstallationId = InstallationId(0xd00b << 20);

/// An order's terms.
fn terms(rng: &mut ChaCha8Rng, plan: &Plan, warehouses: &[WarehouseId]) -> OrderTerms {
    let shipping = rng.random_bool(0.3).then(|| Shipping {
        option: "standard".into(),
        price: gbp(rng.random_range(0..500)),
        tax_included: rng.random_bool(0.5),
    });
    OrderTerms {
        currency: Currency::GBP,
        seller: SELLER.into(),
        owner: SELLER.into(),
        destination: Destination { country: "GB".into(), postal_area: None },
        shipping,
        tax: TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes: Vec::new() },
        hold_s: plan.hold_s,
        payment: PaymentPolicy {
            provider: "simulated".into(),
            capture: CapturePolicy::OnConfirmation,
            attempts_max: 3,
            keys_life_s: 86_400,
            query_after_s: 3,
            lapse_margin_s: 3_600,
            method_hold_s: if rng.random_bool(0.2) { vec![("card".into(), 20)] } else { Vec::new() },
        },
        returns: ReturnPolicy { window_days: 30, auto_approve: rng.random_bool(0.5) },
        ranking: if rng.random_bool(0.5) { warehouses.to_vec() } else { Vec::new() },
        expected_total: None,
        metadata: Vec::new(),
        claims: None,
    }
}

/// A request to place an order: its id, its request, the command.
pub(crate) fn place(
    rng: &mut ChaCha8Rng,
    plan: &Plan,
    warehouses: &[WarehouseId],
    key: &str,
    source: Source,
) -> (OrderId, Request, Command) {
    let request = request("/v1/orders", key);
    let payment = rng.random_bool(0.6).then(|| instruction(rng));
    let personal = Personal { salt: [3; 16], note: Some(key.into()), ..Personal::default() };
    let place = PlaceOrder {
        request,
        source,
        terms: terms(rng, plan, warehouses),
        personal,
        payment,
        installation: Some(INSTALLATION),
    };
    (place.id(), request, Command::Order(order::Command::Place(Box::new(place))))
}

/// The product with all SKUs, at some price.
pub(crate) fn put_product(rng: &mut ChaCha8Rng, skus: &[Sku]) -> (EntityId, Command) {
    let id = ProductId::parse("thing").expect("lawful");
    let limit = rng.random_bool(0.2).then_some(2);
    let variants = skus
        .iter()
        .map(|sku| Variant {
            sku: sku.clone(),
            status: if rng.random_ratio(1, 40) { product::Status::Archived } else { product::Status::Active },
            prices: vec![Price {
                unit: gbp(if rng.random_bool(0.8) { 1_000 } else { 1_100 }),
                was: None,
                tax_included: true,
            }],
            max_per_order: limit,
            ..Variant::default()
        })
        .map(Arc::new)
        .collect();
    let details = Details {
        id: id.clone(),
        seller: SELLER.into(),
        title: "Thing".into(),
        status: product::Status::Active,
        tax_class: "standard".into(),
        variants,
        ..Details::default()
    };
    let put = product::Command::Put { details: Box::new(details), expected_version: None };
    (EntityId::Product(id), Command::Product(put))
}

/// Units arrive.
pub(crate) fn receive(sku: &Sku, warehouse: &WarehouseId, units: u32, key: &str) -> (EntityId, Request, Command) {
    let request = request("/v1/stock/receipts", key);
    let receive = inventory::Command::Receive {
        request,
        warehouse: warehouse.clone(),
        units,
        reference: None,
        expected_at: None,
    };
    (EntityId::Inventory(sku.clone()), request, Command::Inventory(receive))
}

/// Stock is corrected or counted.
pub(crate) fn correct(
    rng: &mut ChaCha8Rng,
    sku: &Sku,
    warehouse: &WarehouseId,
    key: &str,
) -> (EntityId, Request, Command) {
    let request = request("/v1/stock/corrections", key);
    let warehouse = warehouse.clone();
    let command = if rng.random_bool(0.5) {
        let delta = if rng.random_bool(0.5) { 1 } else { -1 };
        inventory::Command::Adjust { request, warehouse, delta, reason: AdjustmentReason::Correction, note: None }
    } else {
        inventory::Command::Count { request, warehouse, counted: rng.random_range(0..8), expected_in_building: None }
    };
    (EntityId::Inventory(sku.clone()), request, Command::Inventory(command))
}

/// A cart is made.
pub(crate) fn create_cart(key: &str) -> (EntityId, doorbuster_domain::ids::CartId, Command) {
    let request = request("/v1/carts", key);
    let id = doorbuster_domain::ids::CartId::of_request(request.id);
    let create = cart::Command::Create {
        terms: request.terms,
        owner: cart::Owner::Seller(SELLER.into()),
        currency: Currency::GBP,
        life_s: 7 * 86_400,
    };
    (EntityId::Cart(id), id, Command::Cart(create))
}

/// A line of a cart is set.
pub(crate) fn set_line(sku: &Sku, quantity: u32) -> Command {
    let snapshot = cart::Snapshot { title: "Thing".into(), seller: SELLER.into(), unit_price: gbp(1_000) };
    Command::Cart(cart::Command::SetLine { sku: sku.clone(), quantity, snapshot, expected_version: None })
}
