//! An actor may host one entity after another: what is on its way to an earlier instance must not reach a later one (rule E1).

use super::messages::ask::Answer;
use super::messages::entity::EntityMsg;
use super::tests::{World, ask_until, levels, open_shop, sku};
use doorbuster_domain::any::{Command, Refusal, Reply};
use doorbuster_domain::claims;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::inventory;
use doorbuster_domain::money::Currency;
use doorbuster_domain::order;
use doorbuster_storage::memory::Groups;
use std::time::Duration;

/// The SKU asks an order that never was whether it still wants its unit. The answer that it does not exist frees the unit, if it
/// goes to the instance that asked.
#[tokio::test(start_paused = true)]
async fn an_answer_to_an_earlier_instance_is_not_taken_for_one_to_this() {
    let world = World::new(Groups::One);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 1).await;
    node.faults().arm_step("ask_order", u32::MAX);
    let reserve = inventory::Command::Reserve {
        order: OrderId(1 << 16),
        units: 1,
        currency: Currency::GBP,
        expected_unit_price: None,
        ranking: Vec::new(),
        expires_at: node.now().plus_s(10),
        instead_of: None,
    };
    let entity = EntityId::Inventory(sku());
    let reserved = match ask_until(&node, entity, Command::Inventory(reserve), Wait::Decided).await {
        Answer::Accepted(accepted) => match accepted.reply {
            Reply::Inventory(inventory::Reply::Reserved(reserved)) => reserved.reservation,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    tokio::time::sleep(Duration::from_secs(10 + claims::QUESTION_GRACE_S + 2)).await;
    // The question is under way, and lost each time.
    let subject = u32::try_from(reserved).expect("one of the first events");
    let never_was = |instance| EntityMsg::Answer {
        instance,
        key: EffectKey { step: 1, subject, part: 0 },
        outcome: Outcome::Refused(Refusal::Order(order::Refusal::Unknown)),
    };
    let handle = node.router.handles.get(&EntityId::Inventory(sku())).expect("it has an actor");
    handle.send(never_was(u64::MAX)).expect("it is open");
    assert_eq!(levels(&node).await.reserved, 1, "an earlier instance had asked");
    for instance in 0..100 {
        if handle.send(never_was(instance)).is_err() {
            // It owes nothing any more, and has left.
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(levels(&node).await.reserved, 0, "one of them is this instance");
}
