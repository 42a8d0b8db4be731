//! Golden bytes of what travels, and messages of every kind that are written and read back. Raise `WIRE_VERSION` when the bytes change.

use super::*;
use doorbuster_domain::entity::Entity;
use doorbuster_domain::ids::{CartId, OrderId, ProductId, Sku, WarehouseId};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderReport, Reference, Retry};
use doorbuster_domain::principal::{Account, Scope};
use doorbuster_domain::{cart, inventory, order, product, warehouse};
use proptest::prelude::*;

const AT: Timestamp = Timestamp(1_000);

fn sku() -> Sku {
    Sku::parse("NOVA-42").unwrap()
}

fn gbp(amount: i64) -> Money {
    Money { amount, currency: Currency::GBP }
}

fn reserve() -> Ask {
    Ask {
        entity: EntityId::Inventory(sku()),
        command: Command::Inventory(inventory::Command::Reserve {
            order: OrderId(1 << 16),
            units: 2,
            currency: Currency::GBP,
            expected_unit_price: Some(gbp(12_999)),
            ranking: vec![WarehouseId::parse("lon1").unwrap()],
            expires_at: Timestamp(9),
            instead_of: None,
        }),
        by: Principal::System,
        if_version: Some(3),
        wait: Wait::Held,
        deadline: AT,
        reject_if_absent: Some(Box::new(Refusal::Inventory(sold_out()))),
    }
}

fn sold_out() -> inventory::Refusal {
    inventory::Refusal::SoldOut { wanted: 2, available: 1, all_reserved: true }
}

fn accepted(reply: Reply, state: Option<State>) -> Answer {
    let meta = Meta { version: 1, created_at: AT, updated_at: Timestamp(2_000) };
    Answer::Accepted(Box::new(Accepted {
        reply,
        state: state.map(Arc::new),
        meta,
        repeated: true,
        shard: Shard(5),
        seq: 77,
    }))
}

/// A warehouse's state with something in it.
fn warehouse_state() -> State {
    let details = warehouse::Details { name: "London".into(), country: "GB".into(), ..warehouse::Details::default() };
    let mut state = warehouse::Warehouse::default();
    state.evolve(&warehouse::Event::Put { details, owner: None });
    State::Warehouse(Box::new(state))
}

fn shown<T: std::fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Raise `WIRE_VERSION` when this changes.
#[test]
fn a_question_is_these_bytes() {
    assert_eq!(
        hex(&ask_body(&reserve())),
        "00074e4f56412d3432000680800402474250018ecb0147425001046c6f6e31090000010301010002020101"
    );
}

/// Raise `WIRE_VERSION` when this changes.
#[test]
fn what_is_told_is_these_bytes() {
    let key = EffectKey { step: 1, subject: 2, part: 3 };
    let cart = EntityId::Cart(CartId(4));
    let asked = OneWay::Ask { ask: Box::new(reserve()), reply_to: Some((cart.clone(), key)) };
    assert_eq!(
        hex(&one_way_body(&asked)),
        "0000074e4f56412d3432000680800402474250018ecb0147425001046c6f6e31090000010301010002020101010104010203"
    );
    let outcome = Box::new(Outcome::Refused(Refusal::Inventory(sold_out())));
    assert_eq!(hex(&one_way_body(&OneWay::Answer { entity: cart.clone(), key, outcome })), "010104010203010002020101");
    assert_eq!(hex(&one_way_body(&OneWay::CopyGone { entity: cart, key })), "020104010203");
    assert_eq!(hex(&owner_hint_body(6, &NodeId { name: "n".to_owned(), incarnation: 7 })), "06016e07");
}

/// Raise `WIRE_VERSION` when this changes.
#[test]
fn an_answer_is_these_bytes() {
    let accepted = accepted(Reply::Warehouse(warehouse::Reply::Done), Some(warehouse_state()));
    assert_eq!(
        hex(&verdict_body(Verdict::Answered(accepted))),
        "00000400010100198401014203e84207d0820185664c6f6e646f6e624742f6f40001e807d00f01054d"
    );
    let refused = Answer::Refused(Refusal::Inventory(sold_out()));
    assert_eq!(hex(&verdict_body(Verdict::Answered(refused))), "01010002020101");
    assert_eq!(hex(&verdict_body(Verdict::Answered(Answer::Stale { version: 9 }))), "010209");
    let rest = [
        Answer::Unknown,
        Answer::Late,
        Answer::Busy { retry_after_s: 1 },
        Answer::Quarantined,
        Answer::NotServing,
        Answer::Panicked,
    ];
    let rest: Vec<String> = rest.into_iter().map(|answer| hex(&verdict_body(Verdict::Answered(answer)))).collect();
    assert_eq!(rest, ["02", "0103", "010401", "0105", "0106", "0107"]);
    let moved = NodeId { name: "n".to_owned(), incarnation: 7 };
    assert_eq!(hex(&verdict_body(Verdict::NotOwner(Some((6, moved))))), "0406016e07");
    assert_eq!(hex(&verdict_body(Verdict::NotOwner(None))), "05");
    assert_eq!(hex(&verdict_body(Verdict::Busy)), "03");
    assert_eq!(hex(&verdict_body(Verdict::BadVersion)), "06");
}

fn commands() -> Vec<(EntityId, Command)> {
    let order = OrderId(1 << 16);
    vec![
        (reserve().entity, reserve().command),
        (EntityId::Inventory(sku()), Command::Wake),
        (EntityId::Cart(CartId(1)), Command::Cart(cart::Command::Wake)),
        (EntityId::Order(order), Command::Order(order::Command::Wake)),
        (
            EntityId::Product(ProductId::parse("p").unwrap()),
            Command::Product(product::Command::Put { details: Box::default(), expected_version: Some(1) }),
        ),
        (EntityId::Warehouse(WarehouseId::parse("w").unwrap()), Command::Warehouse(warehouse::Command::Read)),
    ]
}

fn seller() -> Principal {
    Principal::Seller(Account { id: "sel_other".into(), scopes: Scope::ALL.into_iter().collect() })
}

#[test]
fn questions_to_every_kind_arrive_as_they_were_asked() {
    for (entity, command) in commands() {
        for (by, wait) in [(Principal::Operator, Wait::Decided), (seller(), Wait::Settled)] {
            let ask = Ask {
                entity: entity.clone(),
                command: command.clone(),
                by,
                if_version: None,
                wait,
                deadline: AT,
                reject_if_absent: None,
            };
            assert_eq!(shown(&read_ask(AT, &ask_body(&ask)).unwrap()), shown(&ask));
            let sent = OneWay::Ask { ask: Box::new(ask), reply_to: None };
            assert_eq!(shown(&read_one_way(AT, &one_way_body(&sent)).unwrap()), shown(&sent));
        }
    }
    assert_eq!(shown(&read_ask(AT, &ask_body(&reserve())).unwrap()), shown(&reserve()));
}

#[test]
fn answers_arrive_as_they_were_given_with_the_state_they_speak_of() {
    let entity = EntityId::Warehouse(WarehouseId::parse("w").unwrap());
    let invalid = warehouse::Refusal::Invalid { pointer: "/country".into() };
    let faults = product::Refusal::Invalid(product::Details::default().faults());
    for answer in [
        accepted(Reply::Warehouse(warehouse::Reply::Done), Some(warehouse_state())),
        accepted(Reply::Inventory(inventory::Reply::Levels(Box::default())), None),
        Answer::Refused(Refusal::Warehouse(invalid)),
        Answer::Refused(Refusal::Product(faults)),
        Answer::Refused(Refusal::Order(order::Refusal::RefundTooLarge { refundable: gbp(5) })),
        Answer::Stale { version: 4 },
        Answer::Unknown,
        Answer::Late,
        Answer::Busy { retry_after_s: 9 },
        Answer::Quarantined,
        Answer::NotServing,
        Answer::Panicked,
    ] {
        let body = verdict_body(Verdict::Answered(answer.clone()));
        let Ok(Verdict::Answered(read)) = read_verdict(&entity, &body) else { panic!("{answer:?}") };
        assert_eq!(shown(&read), shown(&answer));
    }
}

#[test]
fn the_state_of_an_inventory_stays_at_home() {
    let state = State::empty(&EntityId::Inventory(sku()));
    let body = verdict_body(Verdict::Answered(accepted(Reply::Done, Some(state))));
    let Ok(Verdict::Answered(Answer::Accepted(read))) = read_verdict(&EntityId::Inventory(sku()), &body) else {
        panic!()
    };
    assert!(read.state.is_none());
}

#[test]
fn outcomes_of_effects_arrive_as_they_were() {
    let key = EffectKey { step: 1, subject: 2, part: 3 };
    for outcome in [
        Outcome::Replied(Reply::Cart(cart::Reply::Done)),
        Outcome::Refused(Refusal::WrongKind),
        Outcome::Provider(Box::new(ProviderReport {
            reference: Reference { order: OrderId(1 << 16), operation: Operation::Authorize, payment: 1, attempt: 1 },
            amount: Some(Money { amount: 500, currency: Currency::GBP }),
            answer: ProviderAnswer::Declined { code: "no".into(), retry: Retry::Never },
        })),
    ] {
        let sent = OneWay::Answer { entity: EntityId::Order(OrderId(1 << 16)), key, outcome: Box::new(outcome) };
        assert_eq!(shown(&read_one_way(AT, &one_way_body(&sent)).unwrap()), shown(&sent));
    }
}

#[test]
fn a_byte_too_many_or_too_few_is_refused() {
    let mut body = ask_body(&reserve());
    body.push(0);
    assert!(read_ask(AT, &body).is_err());
    body.truncate(body.len() - 2);
    assert!(read_ask(AT, &body).is_err());
}

proptest! {
    #[test]
    fn word_on_an_owner_is_read_as_it_was_written(epoch: u64, name in "[a-z0-9.-]{1,40}", incarnation: u64) {
        let node = NodeId { name, incarnation };
        prop_assert_eq!(read_owner_hint(&owner_hint_body(epoch, &node)).unwrap(), (epoch, node.clone()));
        let body = verdict_body(Verdict::NotOwner(Some((epoch, node.clone()))));
        let read = read_verdict(&EntityId::Inventory(sku()), &body);
        prop_assert!(matches!(read, Ok(Verdict::NotOwner(Some(hint))) if hint == (epoch, node)));
    }

    #[test]
    fn a_reservation_of_any_numbers_arrives(number: u128, units: u32, amount: i64, expires: u64, version: Option<u64>, deadline: u64) {
        let mut ask = reserve();
        ask.command = Command::Inventory(inventory::Command::Reserve {
            order: OrderId(number), units, currency: Currency::GBP, expected_unit_price: Some(gbp(amount)),
            ranking: Vec::new(), expires_at: Timestamp(expires),
            instead_of: None,
        });
        ask.if_version = version;
        ask.deadline = Timestamp(deadline);
        prop_assert_eq!(shown(&read_ask(ask.deadline, &ask_body(&ask)).unwrap()), shown(&ask));
    }

    #[test]
    fn random_bodies_are_read_or_refused(body: Vec<u8>) {
        for (entity, _) in commands() {
            let _either = read_verdict(&entity, &body).is_ok();
        }
        let _either = (read_ask(AT, &body).is_ok(), read_one_way(AT, &body).is_ok(), read_owner_hint(&body).is_ok());
    }

    #[test]
    fn a_question_with_one_byte_changed_is_read_or_refused(at in 0..60_usize, byte: u8) {
        let mut body = ask_body(&reserve());
        if let Some(slot) = body.get_mut(at) {
            *slot = byte;
        }
        let _either = read_ask(AT, &body).is_ok();
    }
}
