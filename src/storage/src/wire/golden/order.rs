//! Golden bytes of an order's events, and orders that are written and read back.

use super::{
    META, cut_events_are_refused, decoded, encoded, events_are_read, events_keep_their_bytes, states_are_read,
    states_keep_their_bytes,
};
use crate::wire::{HEAD, PERSONAL, WireError, whole};
use doorbuster_domain::any;
use doorbuster_domain::claims::{self, ClaimKind};
use doorbuster_domain::entity::Entity;
use doorbuster_domain::ids::{CounterId, OrderId, Request, RequestFingerprint, RequestId, Sku, WarehouseId};
use doorbuster_domain::inventory::{Allocation, Price, Reserved};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{
    Address, Amended, AttentionReason, Buyer, CallKey, CancelReason, Cancelled, CancelledLine, CapturePolicy,
    CartRefusal, Condition, Destination, Edit, EndReason, Event, GroupNotes, Head, Instruction, LineUnits, Order,
    OrderClaim, OrderTerms, PaymentPolicy, Personal, Placed, Priced, PricedLine, Receipt, RefundCause, RefundStarted,
    Rejection, ReturnLine, ReturnPolicy, ShipmentStarted, Shipping, Shortage, Source, Step, TaxTable, Wanted,
};
use doorbuster_domain::payment::{NextAction, Operation, Retry};
use doorbuster_domain::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

fn gbp(amount: i64) -> Money {
    Money { amount, currency: Currency::GBP }
}

fn request(key: u128) -> Request {
    Request { id: RequestId(key), terms: RequestFingerprint(key + 1) }
}

fn wanted() -> Wanted {
    Wanted { sku: Sku::parse("NOVA-LOW-42").unwrap(), units: 1, expected_unit_price: Some(gbp(12_999)) }
}

fn allocation(units: u32) -> Allocation {
    Allocation { warehouse: WarehouseId::parse("lon1").unwrap(), units }
}

fn personal(name: &str) -> Arc<Personal> {
    let ship_to = Address { name: Some(name.into()), country: "GB".into(), ..Address::default() };
    Arc::new(Personal {
        salt: [7; 16],
        buyer: Buyer { email: Some("a@b.example".into()), name: Some(name.into()), phone: None, locale: None },
        ship_to: Some(ship_to),
        bill_to: None,
        note: Some("ring twice".into()),
    })
}

fn shipping() -> Shipping {
    Shipping { option: "std".into(), price: gbp(499), tax_included: true }
}

fn tax() -> TaxTable {
    TaxTable { name: "VAT".into(), rate_ppm: 200_000, classes: vec![("books".into(), 0)] }
}

fn head() -> Head {
    let terms = OrderTerms {
        currency: Currency::GBP,
        seller: "sel_main".into(),
        owner: "gst_1".into(),
        destination: Destination { country: "GB".into(), postal_area: Some("LS1".into()) },
        shipping: Some(shipping()),
        tax: tax(),
        hold_s: 600,
        payment: PaymentPolicy {
            provider: "simulated".into(),
            capture: CapturePolicy::OnShipment,
            attempts_max: 3,
            keys_life_s: 86_400,
            query_after_s: 10,
            lapse_margin_s: 3_600,
            method_hold_s: vec![("bank_transfer".into(), 1_200)],
        },
        returns: ReturnPolicy { window_days: 30, auto_approve: true },
        ranking: vec![WarehouseId::parse("lon1").unwrap()],
        expected_total: Some(gbp(13_498)),
        metadata: vec![("follows".into(), "ord_1".into())],
        claims: None,
    };
    Head {
        request: request(1),
        source: Source::Lines(vec![wanted()]),
        terms,
        payment: Some(instruction()),
        placed_at: Timestamp(1_000),
        personal_hash: personal("A").hash(),
        installation: None,
    }
}

fn instruction() -> Instruction {
    Instruction {
        method: "card".into(),
        token: Some("tok_ok".into()),
        return_url: None,
        capture: None,
        goods_first: None,
    }
}

fn priced() -> Priced {
    let line = PricedLine { subtotal: 12_999, rate_ppm: 200_000, tax: 2_167, total: 12_999, shipping_share: 499 };
    Priced { lines: vec![line], shipping: 499, shipping_tax: 83, shipping_total: 499, total: 13_498 }
}

fn reserved() -> Reserved {
    Reserved {
        reservation: 9_912,
        allocations: vec![allocation(1)],
        price: Price { unit: gbp(12_999), was: Some(gbp(14_999)), tax_included: true },
        title: "Nova Low, 42".into(),
        seller: "sel_main".into(),
        tax_class: "standard".into(),
        hold_s: None,
    }
}

/// An order as it is placed, with all it can be placed with.
pub(in crate::wire) fn placed() -> Event {
    Event::Placed(Box::new(Placed {
        order: OrderId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0000),
        head: Arc::new(head()),
        expires_at: Timestamp(601_000),
        personal: Some(personal("A")),
    }))
}

/// One of each event; an order's life as far as they follow from one another.
fn samples() -> Vec<Event> {
    let call = |operation| CallKey { operation, payment: 1, attempt: 1 };
    let at = Timestamp(2_000);
    vec![
        placed(),
        Event::Frozen { lines: vec![wanted()] },
        Event::CartRefused(CartRefusal::Frozen { order: OrderId(1 << 16) }),
        Event::Reserved { line: 1, reserved: Box::new(reserved()) },
        Event::Refused { line: 2, why: Shortage::SoldOut { available: 3, all_reserved: true } },
        Event::Refused { line: 2, why: Shortage::PriceChanged { expected: gbp(1), now: gbp(2) } },
        Event::Held(Box::new(priced())),
        Event::PaymentStarted {
            number: 1,
            asked: Some((request(3), instruction())),
            amount: 13_498,
            capture: CapturePolicy::Manual,
            at,
            expires_at: Timestamp(601_000),
        },
        Event::ActionRequired {
            payment: 1,
            provider_reference: "pi_1".into(),
            action: NextAction { kind: "redirect".into(), url: Some("https://p.example".into()), expires_at: at },
            at,
            expires_at: None,
        },
        Event::Processing { payment: 1, provider_reference: "pi_1".into(), at, expires_at: None },
        Event::Authorized { payment: 1, provider_reference: "pi_1".into(), lapses_at: Some(Timestamp(604_800_000)) },
        Event::Declined { payment: 1, code: "insufficient_funds".into(), retry: Retry::OtherMethod },
        Event::Done(Step::Commit(1)),
        Event::Gone(Step::Ship { shipment: 1, line: 2 }),
        Event::Confirmed { at },
        Event::CallStarted { call: call(Operation::Capture), amount: 100, request: Some(request(5)), refund: None, at },
        Event::CallSucceeded { call: call(Operation::Capture), provider_reference: "ch_1".into() },
        Event::CallRefused { call: call(Operation::Refund), code: "no".into(), retry: Retry::Never },
        Event::QueryOnly { call: call(Operation::Void), conflict: true },
        Event::Settled { call: call(Operation::Authorize) },
        Event::Troubled(AttentionReason::Refused { call: call(Operation::Refund), code: "no".into() }),
        Event::Ending { outcome: EndReason::Rejected(Rejection::Overflow), request: None, at },
        Event::Ending { outcome: EndReason::Cancelled(CancelReason::Customer), request: Some(request(7)), at },
        Event::Ended,
        Event::CancelRequested { request: request(9), reason: CancelReason::Staff },
        Event::Cancelled(Box::new(Cancelled {
            number: 1,
            request: Some(request(11)),
            lines: vec![CancelledLine { line: 1, from: vec![allocation(1)] }],
            reason: CancelReason::Stock,
            amount: 13_498,
        })),
        Event::RefundStarted(Box::new(RefundStarted {
            number: 1,
            payment: 1,
            amount: 500,
            cause: RefundCause::Goodwill,
            request: Some(request(13)),
            lines: vec![LineUnits { line: 1, units: 1 }],
            shipping: true,
            reason: "late".into(),
            at,
            seller: None,
        })),
        Event::Shipped(Box::new(ShipmentStarted {
            number: 1,
            request: request(15),
            lines: vec![LineUnits { line: 1, units: 1 }],
            warehouse: WarehouseId::parse("lon1").unwrap(),
            carrier: Some("royal_mail".into()),
            tracking_number: Some("RM1".into()),
            tracking_url: None,
            at,
        })),
        Event::Delivered { shipment: 1, request: request(17), at },
        Event::Lost { shipment: 1, request: request(19) },
        Event::ReturnRequested {
            number: 1,
            request: request(21),
            lines: vec![ReturnLine { line: 1, units: 1, reason: "too_small".into(), refund: None }],
            approved: false,
            window_ends_at: at,
        },
        Event::ReturnApproved { number: 1, request: request(23) },
        Event::ReturnRejected { number: 1, request: request(25), reason: "worn".into() },
        Event::ReturnReceived {
            number: 1,
            request: request(27),
            receipts: vec![Receipt {
                receipt: 1,
                line: 1,
                settled: 1,
                to: vec![allocation(1)],
                condition: Condition::Used,
                restock: false,
                money: None,
                credited: None,
            }],
            amount: 12_999,
        },
        Event::Amended(Box::new(Amended {
            destination: Some((Destination { country: "DE".into(), postal_area: None }, tax())),
            shipping: Some(shipping()),
            metadata: Some(Vec::new()),
            priced: Some(priced()),
            personal_hash: Some([3; 32]),
            personal: Some(personal("B")),
            tracking: None,
            notes: None,
        })),
        Event::PersonalErased,
    ]
}

/// What came with owners: a refund of one seller's share, and a seller's notes.
fn owned() -> Vec<Event> {
    let seller = compact_str::CompactString::from("sel_other");
    vec![
        Event::RefundStarted(Box::new(RefundStarted {
            number: 2,
            payment: 1,
            amount: 300,
            cause: RefundCause::Goodwill,
            request: Some(request(17)),
            lines: Vec::new(),
            shipping: false,
            reason: "sorry".into(),
            at: Timestamp(1_000),
            seller: Some(seller.clone()),
        })),
        Event::Amended(Box::new(Amended {
            notes: Some(GroupNotes { seller, metadata: vec![("bin".into(), "7".into())] }),
            ..Amended::default()
        })),
    ]
}

#[test]
fn events_of_one_seller_s_lines_keep_their_bytes() {
    events_keep_their_bytes(&owned(), include_str!("order_events_owners.txt"), true);
    cut_events_are_refused(&owned());
}

#[test]
fn a_state_with_a_seller_s_notes_keeps_its_bytes() {
    let people = samples().into_iter().filter(|event| *event != Event::PersonalErased);
    let events: Vec<Event> = people.chain(owned()).collect();
    states_keep_their_bytes::<Order>(&events, include_str!("order_states_owners.txt"), events.len(), |order| order);
}

fn order() -> Order {
    let mut order = Order::default();
    for event in samples().iter().filter(|event| !matches!(event, Event::PersonalErased)) {
        order.evolve(event);
    }
    order
}

#[test]
fn events_keep_their_bytes_and_those_of_version_1_are_read() {
    events_keep_their_bytes(&samples(), include_str!("order_events_2.txt"), true);
    events_are_read(&samples(), include_str!("order_events.txt"), 1);
}

#[test]
fn the_deadline_of_a_pending_payment_keeps_its_bytes() {
    let (at, expires_at) = (Timestamp(2_000), Some(Timestamp(1_201_000)));
    let action = NextAction { kind: "redirect".into(), url: None, expires_at: at };
    let events = [
        Event::ActionRequired { payment: 1, provider_reference: "pi_1".into(), action, at, expires_at },
        Event::Processing { payment: 1, provider_reference: "pi_1".into(), at, expires_at },
    ];
    events_keep_their_bytes(&events, include_str!("order_pending.txt"), true);
}

/// What is known of calls whose record is not what was asked for.
fn differing() -> [Event; 4] {
    let authorize = CallKey::authorize(1);
    let capture = CallKey { operation: Operation::Capture, ..authorize };
    [
        Event::AmountDiffers {
            call: authorize,
            found: gbp(500),
            charge: Some("pi_1".into()),
            undo: Some(Operation::Void),
        },
        Event::AmountDiffers { call: capture, found: gbp(500), charge: None, undo: None },
        Event::Troubled(AttentionReason::AmountDiffers { call: capture, found: gbp(500) }),
        Event::Settled { call: capture },
    ]
}

#[test]
fn a_record_that_differs_keeps_its_bytes() {
    events_keep_their_bytes(&differing(), include_str!("order_differs.txt"), false);
}

#[test]
fn what_is_undone_sent_again_given_up_or_taken_back_keeps_its_bytes() {
    let capture = CallKey { operation: Operation::Capture, ..CallKey::authorize(1) };
    let events = [
        Event::ShipmentUndone { shipment: 1, request: request(19) },
        Event::ResendStarted { shipment: 1, request: request(19) },
        Event::GivenUp { call: capture },
        Event::Reversed { call: capture, code: "no".into() },
        Event::Troubled(AttentionReason::Reversed { call: capture, code: "no".into() }),
    ];
    events_keep_their_bytes(&events, include_str!("order_later.txt"), false);
}

/// What is waived, what a return names and gives back, and goods that go before their money: with the fields that came with them.
#[test]
fn what_goes_back_or_is_waived_keeps_its_bytes() {
    let instruction = Instruction { method: "manual".into(), token: None, goods_first: Some(true), ..instruction() };
    let receipt = Receipt {
        receipt: 1,
        line: 1,
        settled: 1,
        to: vec![allocation(1)],
        condition: Condition::Used,
        restock: true,
        money: Some(10_000),
        credited: Some(500),
    };
    let events = [
        Event::PaymentStarted {
            number: 1,
            asked: Some((request(2), instruction)),
            amount: 13_498,
            capture: CapturePolicy::OnConfirmation,
            at: Timestamp(2_000),
            expires_at: Timestamp(601_000),
        },
        Event::Waived { payment: 1, amount: 498, request: request(20) },
        Event::ReturnRequested {
            number: 1,
            request: request(21),
            lines: vec![ReturnLine { line: 1, units: 1, reason: "".into(), refund: Some(1) }],
            approved: true,
            window_ends_at: Timestamp(9_000),
        },
        Event::ReturnReceived { number: 1, request: request(22), receipts: vec![receipt], amount: 10_000 },
    ];
    events_keep_their_bytes(&events, include_str!("order_back.txt"), true);
}

/// An order that claims more than stock, up to a refusal.
fn claiming() -> Vec<Event> {
    let mut head = head();
    let wanted = |kind, at, limit| claims::Wanted { kind, at: CounterId(at), limit };
    let all = [
        wanted(ClaimKind::ExternalId, 1, 1),
        wanted(ClaimKind::UnpaidByBuyer, 2, 50),
        wanted(ClaimKind::UnpaidByAddress, 3, 50),
        wanted(ClaimKind::UnpaidByInstrument, 4, 50),
        wanted(ClaimKind::Coupon, 5, 100),
    ];
    head.terms.claims = Some(all.to_vec());
    let placed = Placed {
        order: OrderId(1 << 16),
        head: Arc::new(head),
        expires_at: Timestamp(601_000),
        personal: Some(personal("A")),
    };
    let at = Timestamp(2_000);
    vec![
        Event::Placed(Box::new(placed)),
        Event::Granted { claim: 0xa000, number: 7 },
        Event::Refused { line: 0xa001, why: Shortage::LimitReached { limit: 50, taken: 49 } },
        Event::Ending { outcome: EndReason::Rejected(Rejection::Claim(ClaimKind::UnpaidByBuyer)), request: None, at },
    ]
}

#[test]
fn an_order_that_claims_more_than_stock_keeps_its_bytes() {
    events_keep_their_bytes(&claiming(), include_str!("order_claims.txt"), true);
    states_keep_their_bytes::<Order>(&claiming(), include_str!("order_states_claims.txt"), 1, |order| order);
}

#[test]
fn a_change_that_claims_keeps_its_bytes() {
    let claim = |id, at| OrderClaim {
        id,
        wanted: claims::Wanted { kind: ClaimKind::UnpaidByBuyer, at: CounterId(at), limit: 50 },
        units: 3,
        hold: claims::Hold::Asked,
        number: None,
    };
    let amended = Amended { shipping: Some(shipping()), ..Amended::default() };
    let edit = Edit { amended, claims: vec![claim(0xa001, 2)], replaces: vec![0xa000] };
    let events = [
        Event::EditBegun(Box::new(edit)),
        Event::EditEnded { refused: Some(0xa001) },
        Event::EditEnded { refused: None },
    ];
    events_keep_their_bytes(&events, include_str!("order_claims_edits.txt"), true);
}

/// What an order is told of a person, in the fields of the samples.
const TEXTS: [&str; 8] =
    ["a@b.example", "follows", "tok_ok", "https://p.example", "RM1", "too_small", "worn", "ring twice"];

#[test]
fn personal_data_is_never_among_the_facts_and_its_absence_is_read() {
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let mut found = BTreeSet::new();
    for event in samples() {
        let (facts, personal) = encoded(&event);
        for text in TEXTS {
            assert!(!has(&facts, text), "{text} in {event:?}");
            assert!(!has(super::super::shown(&any::Event::Order(event.clone())).unwrap().to_string().as_bytes(), text));
            found.extend(personal.as_deref().filter(|personal| has(personal, text)).map(|_| text));
        }
        match decoded(&facts, None) {
            Ok(Event::Placed(placed)) => {
                assert_eq!(placed.personal, None);
                assert_eq!(placed.head.terms.metadata, []);
                assert_eq!(placed.head.payment.as_ref().unwrap().token, None);
            }
            Ok(Event::Amended(amended)) => assert_eq!(amended.personal, None),
            Ok(read) => assert_eq!(read == event, personal.is_none(), "{read:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(found.len(), TEXTS.len(), "{found:?}");
}

/// Step by step as the journal has it, once the store erased: the same state as of the node that erased.
#[test]
fn what_was_erased_is_replayed_to_the_same_state() {
    let (mut live, mut replayed) = (Order::default(), Order::default());
    let mut after = vec![Event::PersonalErased];
    after.extend(samples().into_iter().filter(|event| {
        matches!(event, Event::RefundStarted(_) | Event::Shipped(_) | Event::ReturnRequested { .. } | Event::Amended(_))
    }));
    for event in samples().into_iter().filter(|event| *event != Event::PersonalErased).chain(after) {
        let event = match event {
            // After the erasure there are no people to change.
            Event::Amended(amended) if live.head.is_some() && live.personal.is_none() => {
                let metadata = Some(vec![("new".into(), "text".into())]);
                Event::Amended(Box::new(Amended { personal: None, metadata, ..*amended }))
            }
            event => event,
        };
        live.evolve(&event);
        replayed.evolve(&decoded(&encoded(&event).0, None).unwrap());
    }
    assert!(live.is_erased());
    assert_eq!(live, replayed);
    let rows = whole::rows_of(&live, &META);
    assert_eq!(rows.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>(), [HEAD], "nothing is apart any more");
    let has = |text: &str| rows[0].1.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!TEXTS.into_iter().any(has));
}

#[test]
fn personal_data_that_is_damaged_or_more_than_one_is_refused() {
    let (facts, personal) = encoded(&samples()[0]);
    let personal = personal.unwrap();
    for length in 0..personal.len() {
        assert!(decoded::<Event>(&facts, Some(&personal[..length])).is_err(), "cut at {length}");
    }
    let twice = [personal.as_slice(), &personal].concat();
    assert!(decoded::<Event>(&facts, Some(&twice)).is_err());
}

#[test]
fn an_order_reads_back_with_and_without_its_people() {
    let mut order = order();
    let mut rows = whole::rows_of(&order, &META);
    assert_eq!(rows.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>(), [HEAD, PERSONAL]);
    assert_eq!(whole::state_of(&rows), Ok((order.clone(), META)));
    let personal = rows.pop();
    order.evolve(&Event::PersonalErased);
    assert_eq!(whole::state_of(&rows), Ok((order.clone(), META)));
    let mut erased = whole::rows_of(&order, &META);
    erased.extend(personal);
    assert_eq!(
        whole::state_of(&erased),
        Ok((order, META)),
        "what was erased does not come back with a row that is left"
    );
}

#[test]
fn states_keep_their_bytes_and_those_of_version_1_are_read() {
    states_keep_their_bytes::<Order>(&samples(), include_str!("order_states_edits.txt"), 12, |order| order);
    // Before changes were counted, and what was refunded ahead of its return.
    let uncounted = |mut order: Order| {
        order.edits = None;
        order.lines.iter_mut().for_each(|line| line.refunded_ahead = 0);
        order
    };
    states_are_read::<Order>(&samples(), include_str!("order_states.txt"), 12, uncounted);
    states_are_read::<Order>(&samples(), include_str!("order_states_2.txt"), 12, uncounted);
}

#[test]
fn other_versions_and_damaged_bytes_are_refused() {
    assert!(matches!(whole::read_with::<Event>(3, &[], None), Err(WireError::Version { version: 3, .. })));
    assert!(matches!(whole::read_with::<Order>(3, &[], None), Err(WireError::Version { version: 3, .. })));
    cut_events_are_refused(&samples());
}
