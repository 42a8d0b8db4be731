//! What the benchmarks are made of: one SKU on sale, an order of one line, their bodies.

use doorbuster_domain::entity::Entity;
use doorbuster_domain::ids::{
    EntityId, OrderId, ProductId, Request, RequestFingerprint, RequestId, ReservationId, Sku, WarehouseId,
};
use doorbuster_domain::inventory::{Command, Decider, ExternalRequest, Inventory, Offer, Price, Reply};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{
    self, CapturePolicy, Destination, Order, OrderTerms, PaymentPolicy, Personal, PlaceOrder, ReturnPolicy, Source,
    TaxTable, Wanted,
};
use doorbuster_domain::time::Timestamp;

pub(crate) const NOW: Timestamp = Timestamp(1_764_547_200_000);
const SHOP: &str = "seller:sel_main";

pub(crate) const ORDER_JSON: &[u8] = br#"{"lines":[{"sku":"hot-sku-0","quantity":1}],"buyer":{"email":"b123456@example.com","name":"Buyer 123456"},"ship_to":{"name":"Buyer 123456","line1":"1 High St","city":"Leeds","postal_code":"LS1 1AA","country":"GB"}}"#;
pub(crate) const RESERVATION_JSON: &[u8] = br#"{"reference":"run-123456","lines":[{"sku":"hot-sku-0","quantity":1}]}"#;

pub(crate) fn sku() -> Sku {
    Sku::parse("hot-sku-0").unwrap()
}

pub(crate) fn sku_entity() -> EntityId {
    EntityId::Inventory(sku())
}

fn warehouse() -> WarehouseId {
    WarehouseId::parse("lon1").unwrap()
}

fn order_id(number: u64) -> OrderId {
    OrderId::of_request(RequestId::new(SHOP, "/v1/orders", &format!("run-{number}")))
}

pub(crate) fn order_entity(number: u64) -> EntityId {
    EntityId::Order(order_id(number))
}

fn send(stock: &mut Inventory, command: &Command) -> Reply {
    let decision = stock.decide(command, NOW).unwrap();
    decision.events.iter().for_each(|event| stock.evolve(event));
    decision.reply
}

/// Ten million units, half of `live` reserved by orders, half under references.
pub(crate) fn stock(live: u64) -> Inventory {
    let mut stock = Inventory::default();
    let price = Price { unit: Money { amount: 1_000, currency: Currency::GBP }, was: None, tax_included: true };
    let offer = Offer {
        sku: sku(),
        product: ProductId::parse("hot-0").unwrap(),
        version: 1,
        seller: "sel_main".into(),
        title: "hot".into(),
        on_sale: true,
        prices: vec![price],
        max_per_order: None,
        hold_s: None,
        tax_class: "standard".into(),
        weight_g: 100,
    };
    send(&mut stock, &Command::Offer(Box::new(offer)));
    let request = Request { id: RequestId(1), terms: RequestFingerprint(1) };
    let units = 100_000_000;
    send(&mut stock, &Command::Receive { request, warehouse: warehouse(), units, reference: None, expected_at: None });
    for number in 1..=live {
        send(&mut stock, &if number % 2 == 0 { reserve(number) } else { reserve_external(number, 1) });
    }
    stock
}

pub(crate) fn reserve(number: u64) -> Command {
    Command::Reserve {
        order: order_id(number),
        units: 1,
        currency: Currency::GBP,
        expected_unit_price: None,
        ranking: vec![warehouse()],
        expires_at: NOW.plus_s(600),
        instead_of: None,
    }
}

/// `count` requests, the last of that number.
pub(crate) fn reserve_external(number: u64, count: u64) -> Command {
    let wish = |number: u64| {
        let reference = format!("run-{number}");
        ExternalRequest {
            id: ReservationId::of_reference(SHOP, &reference),
            reference: reference.into(),
            units: 1,
            hold_s: 600,
            expires_at: NOW.plus_s(600),
            buyer_key: None,
        }
    };
    let requests = (number + 1 - count..=number).map(wish).collect();
    Command::ReserveExternal { decider: Decider::Stock, ranking: Vec::new(), requests, seller: None }
}

pub(crate) fn place(number: u64) -> order::Command {
    let request =
        Request { id: RequestId::new(SHOP, "/v1/orders", &format!("run-{number}")), terms: RequestFingerprint(1) };
    let source = Source::Lines(vec![Wanted { sku: sku(), units: 1, expected_unit_price: None }]);
    let personal = Personal { salt: [3; 16], note: Some("by the side door".into()), ..Personal::default() };
    let terms = OrderTerms {
        currency: Currency::GBP,
        seller: "sel_main".into(),
        owner: SHOP.into(),
        destination: Destination { country: "GB".into(), postal_area: None },
        shipping: None,
        tax: TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes: Vec::new() },
        hold_s: 600,
        payment: PaymentPolicy {
            provider: "simulated".into(),
            capture: CapturePolicy::OnConfirmation,
            attempts_max: 5,
            keys_life_s: 86_400,
            query_after_s: 30,
            lapse_margin_s: 86_400,
            method_hold_s: Vec::new(),
        },
        returns: ReturnPolicy { window_days: 30, auto_approve: false },
        ranking: vec![warehouse()],
        expected_total: None,
        metadata: Vec::new(),
        claims: None,
    };
    order::Command::Place(Box::new(PlaceOrder { request, source, terms, personal, payment: None, installation: None }))
}

/// An order whose stock is held.
pub(crate) fn held_order() -> Order {
    let mut order = Order::default();
    let mut take = |command: &order::Command| {
        let decision = order.decide(command, NOW).unwrap();
        decision.events.iter().for_each(|event| order.evolve(event));
    };
    take(&place(1));
    let mut stock = stock(0);
    let Reply::Reserved(reserved) = send(&mut stock, &reserve(1)) else { panic!("there is plenty") };
    take(&order::Command::Answered { step: order::Step::Reserve(1), answer: order::Answer::Reserved(reserved) });
    order
}
