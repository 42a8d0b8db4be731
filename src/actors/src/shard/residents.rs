//! The entities of a shard that have an actor, and the actors that wait for an entity.

use crate::messages::entity::EntityMsg;
use crate::settings::Settings;
use doorbuster_clock::monotonic;
use doorbuster_domain::entity::Residency;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::keyed::KeyedSet;
use ractor::{ActorId, ActorRef};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// Actors that wait in a shard for the next short-lived entity, at most. Too few: a sale spawns and ends actors all the time. Each costs
/// some 10 KB.
const POOL_MAX: usize = 512;
/// Time between two sweeps in ms, at most half of the time after which an effect is sent again: under overload there are thousands of
/// residents, and a sweep at every tick took 3 % of the node.
const SWEEP_EVERY_MS: u64 = 250;

/// Which entities have an actor.
#[derive(Debug)]
pub(super) struct Residents {
    /// `FxHash` without a key: the process numbers its actors itself.
    by_actor: FxHashMap<ActorId, EntityId>,
    short_lived: KeyedSet<EntityId>,
    long_lived: KeyedSet<EntityId>,
    /// Actors without an entity.
    pool: Vec<ActorRef<EntityMsg>>,
    /// The number of the last instance.
    instances: u64,
    swept_at: Instant,
}

impl Residents {
    /// None.
    pub(super) fn new() -> Self {
        Self {
            by_actor: FxHashMap::default(),
            short_lived: KeyedSet::default(),
            long_lived: KeyedSet::default(),
            pool: Vec::new(),
            instances: 0,
            swept_at: monotonic(),
        }
    }

    /// A number for one more instance.
    pub(super) fn next_instance(&mut self) -> u64 {
        self.instances = self.instances.wrapping_add(1);
        self.instances
    }

    /// The actor hosts the entity from now on.
    pub(super) fn insert(&mut self, actor: ActorId, entity: &EntityId) {
        self.by_actor.insert(actor, entity.clone());
        match entity.residency() {
            Residency::LongLived => self.long_lived.insert(entity.clone()),
            Residency::ShortLived => self.short_lived.insert(entity.clone()),
        };
    }

    /// The actor hosts nothing from now on. Gives the entity it hosted; `None`: it hosted none.
    pub(super) fn remove(&mut self, actor: ActorId) -> Option<EntityId> {
        let entity = self.by_actor.remove(&actor)?;
        match entity.residency() {
            Residency::LongLived => self.long_lived.remove(&entity),
            Residency::ShortLived => self.short_lived.remove(&entity),
        };
        Some(entity)
    }

    /// An actor from the pool.
    pub(super) fn reuse(&mut self) -> Option<ActorRef<EntityMsg>> {
        self.pool.pop()
    }

    /// Puts an actor without an entity into the pool, or stops it when the pool is full.
    pub(super) fn keep(&mut self, actor: ActorRef<EntityMsg>) {
        if self.pool.len() < POOL_MAX {
            self.pool.push(actor);
        } else {
            actor.stop(None);
        }
    }

    /// An actor in the pool has failed.
    pub(super) fn forget(&mut self, actor: ActorId) {
        self.pool.retain(|waiting| waiting.get_id() != actor);
    }

    /// Are there so many that idle ones must leave at once?
    pub(super) fn is_crowded(&self, settings: &Settings) -> bool {
        self.by_actor.len() > settings.residents_per_shard_max
    }

    /// Is it time for a sweep? Then the next pause begins.
    pub(super) fn begin_sweep(&mut self, now: Instant, settings: &Settings) -> bool {
        let since = now.duration_since(self.swept_at).as_millis();
        let is_due = since >= u128::from(SWEEP_EVERY_MS.min(settings.effect_retry_min_ms / 2));
        if is_due || self.is_crowded(settings) {
            self.swept_at = now;
            return true;
        }
        false
    }

    /// All of them, the short-lived first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &EntityId> {
        self.short_lived.iter().chain(&self.long_lived)
    }

    /// The short-lived ones.
    pub(super) fn short_lived(&self) -> impl Iterator<Item = &EntityId> {
        self.short_lived.iter()
    }
}
