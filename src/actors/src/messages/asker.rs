//! The entity that owes an effect, as the copy of the effect carries it: where the answer goes, and who hears that the copy is gone.
//!
//! Rule W2: an effect is sent again only when its first copy is gone. A copy that ends anywhere without an answer (no room, too late, its
//! receiver failed) is dropped there, and the drop itself is the notice.

use super::entity::EntityMsg;
use super::local::LocalActor;
use super::remote::OneWay;
use crate::stats::Stats;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use std::fmt::Debug;
use std::sync::Arc;

/// Takes messages to entities of other commit groups, here or on other nodes. It never waits.
pub(crate) trait OneWays: Debug + Send + Sync {
    /// Sends one; it may be lost.
    fn send_one_way(&self, message: OneWay);
}

/// How the entity that owes the effect is reached.
#[derive(Debug)]
enum Address {
    /// In the same commit group: straight to its actor, at once. `instance`: the one that asked; the actor may host another entity by now.
    Actor { actor: LocalActor<EntityMsg>, instance: u64 },
    /// In another commit group, here or on another node.
    OtherGroup { entity: EntityId, one_ways: Arc<dyn OneWays> },
}

/// The entity that owes an effect. It is counted as a waiting effect as long as it lives.
#[derive(Debug)]
pub(crate) struct Asker {
    key: EffectKey,
    /// `None`: it was answered.
    address: Option<Address>,
    stats: Arc<Stats>,
}

/// An answer to an effect, ready to leave.
#[derive(Debug)]
pub(crate) enum EffectAnswer {
    /// Inside the group: sent at once, whatever it causes is queued behind this decision (rule L2).
    InGroup(LocalActor<EntityMsg>, EntityMsg),
    /// To another group: only once what it depends on is durable.
    OtherGroup(OneWay),
}

impl Asker {
    /// An entity of the same commit group.
    pub(crate) fn in_group(key: EffectKey, actor: LocalActor<EntityMsg>, instance: u64, stats: Arc<Stats>) -> Self {
        Self::new(key, Address::Actor { actor, instance }, stats)
    }

    /// An entity of another commit group.
    pub(crate) fn in_other_group(
        key: EffectKey,
        entity: EntityId,
        one_ways: Arc<dyn OneWays>,
        stats: Arc<Stats>,
    ) -> Self {
        Self::new(key, Address::OtherGroup { entity, one_ways }, stats)
    }

    fn new(key: EffectKey, address: Address, stats: Arc<Stats>) -> Self {
        stats.effect_waits();
        Self { key, address: Some(address), stats }
    }

    /// The answer; `None`: it was given before.
    pub(crate) fn answer(mut self, outcome: Outcome) -> Option<EffectAnswer> {
        let key = self.key;
        Some(match self.address.take()? {
            Address::Actor { actor, instance } => {
                EffectAnswer::InGroup(actor, EntityMsg::Answer { instance, key, outcome })
            }
            Address::OtherGroup { entity, .. } => {
                EffectAnswer::OtherGroup(OneWay::Answer { entity, key, outcome: Box::new(outcome) })
            }
        })
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stats.effect_left();
        let key = self.key;
        match self.address.take() {
            // The instance may have ended; the next one sends whatever is owed.
            Some(Address::Actor { actor, instance }) => {
                actor.send(EntityMsg::CopyGone { instance, key });
            }
            Some(Address::OtherGroup { entity, one_ways }) => one_ways.send_one_way(OneWay::CopyGone { entity, key }),
            None => {}
        }
    }
}
