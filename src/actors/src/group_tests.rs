//! Inside a commit group a message travels at once. That is right only while sender and receiver have the same writer, which may change on the way.

use super::cores::Core;
use super::messages::ask::Ask;
use super::messages::asker::Asker;
use super::messages::entity::{EntityMsg, ReplyTo};
use super::messages::local::LocalActor;
use super::system::Handle;
use super::tests::{World, levels, open_shop, sku};
use doorbuster_domain::any::Command;
use doorbuster_domain::effect::EffectKey;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::inventory;
use doorbuster_domain::money::Currency;
use doorbuster_domain::principal::Principal;
use doorbuster_storage::memory::Groups;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

const KEY: EffectKey = EffectKey { step: 1, subject: 1, part: 0 };
const INSTANCE: u64 = 7;

/// Stands for the entity that owes an effect, and passes on what it hears.
struct Probe;

impl Actor for Probe {
    type Msg = EntityMsg;
    type State = mpsc::UnboundedSender<EntityMsg>;
    type Arguments = mpsc::UnboundedSender<EntityMsg>;

    async fn pre_start(
        &self,
        _: ActorRef<EntityMsg>,
        heard: mpsc::UnboundedSender<EntityMsg>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle(
        &self,
        _: ActorRef<EntityMsg>,
        message: EntityMsg,
        heard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        heard.send(message).map_err(|error| error.to_string().into())
    }
}

/// Sends the effect of an order to the SKU as inside the group of `writer`; gives what the order hears of it.
async fn send_in_group(node: &Handle, order: u128, writer: u64) -> EntityMsg {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let (probe, _) = Actor::spawn(None, Probe, heard).await.expect("it starts");
    let actor = LocalActor::new(probe.clone(), Core::none());
    let asker = Asker::in_group(KEY, actor, INSTANCE, writer, std::sync::Arc::default());
    let reserve = inventory::Command::Reserve {
        order: OrderId(order << 16),
        units: 1,
        currency: Currency::GBP,
        expected_unit_price: None,
        ranking: Vec::new(),
        expires_at: node.now().plus_s(600),
        instead_of: None,
    };
    let ask = Ask {
        entity: EntityId::Inventory(sku()),
        command: Command::Inventory(reserve),
        by: Principal::System,
        wait: Wait::Decided,
        deadline: node.now().plus_s(20),
        if_version: None,
        reject_if_absent: None,
    };
    node.router.send(ask, ReplyTo::Entity(asker));
    let message = hears.recv().await.expect("it hears of it");
    probe.stop(None);
    message
}

/// An order's process lost its log in the middle of an append, and the SKU was claimed anew, in the next log, before the order's message reached it. What
/// the order decided may never become durable, so nothing may follow from it.
#[tokio::test(start_paused = true)]
async fn what_was_sent_inside_another_group_is_dropped_and_its_sender_hears_so() {
    let world = World::new(Groups::PerNode);
    let actors = world.start().await;
    let node = actors.handle();
    open_shop(&node, 5).await;
    let writer = node.router.routes.writer(node.shard_of(&EntityId::Inventory(sku()))).expect("it is here");
    for (order, other) in [(1, writer + 1), (2, writer - 1)] {
        let heard = send_in_group(&node, order, other).await;
        assert!(matches!(heard, EntityMsg::CopyGone { instance: INSTANCE, key: KEY }), "{heard:?}");
    }
    assert_eq!(levels(&node).await.reserved, 0);
    let heard = send_in_group(&node, 3, writer).await;
    assert!(matches!(heard, EntityMsg::Answer { instance: INSTANCE, key: KEY, .. }), "{heard:?}");
    assert_eq!(levels(&node).await.reserved, 1);
}
