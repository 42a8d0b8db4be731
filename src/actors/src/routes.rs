//! Which shards are on this node, and whether they take requests from outside.

use super::messages::local::LocalActor;
use super::messages::shard::ShardMsg;
use doorbuster_storage::{Epoch, Shard};
use ractor::ActorId;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The route to one shard.
#[derive(Debug, Default)]
struct Route {
    /// Its actor and epoch, while the node owns it.
    local: RwLock<Option<(LocalActor<ShardMsg>, Epoch)>>,
    /// It takes requests from outside. What it has under way goes on while it does not.
    open: AtomicBool,
    /// Requests from outside that it has not answered.
    in_flight: AtomicU32,
}

/// The routes to all shards.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: Box<[Route]>,
    /// How often a shard came or went.
    changes: AtomicU64,
}

/// One request from outside in a shard, as long as this lives.
pub(crate) struct Entered<'route>(&'route AtomicU32);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Routes {
    /// The node owns none of the `shards`.
    pub(crate) fn new(shards: u16) -> Self {
        Self { routes: (0..shards).map(|_| Route::default()).collect(), changes: AtomicU64::new(0) }
    }

    fn route(&self, shard: Shard) -> Option<&Route> {
        self.routes.get(usize::from(shard.0))
    }

    /// The node owns the shard from now on, or no longer.
    pub(crate) fn set(&self, shard: Shard, local: Option<(LocalActor<ShardMsg>, Epoch)>) {
        if let Some(route) = self.route(shard) {
            route.open.store(local.is_some(), Ordering::Release);
            *route.local.write().unwrap_or_else(PoisonError::into_inner) = local;
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// A number that changes with each shard that comes or goes: what was sent to it before may be lost.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The shard takes no more requests from outside; its own effects and answers still pass.
    pub(crate) fn close(&self, shard: Shard) {
        if let Some(route) = self.route(shard) {
            route.open.store(false, Ordering::SeqCst);
        }
    }

    /// Does the shard take requests from outside here?
    pub(crate) fn is_open(&self, shard: Shard) -> bool {
        self.route(shard).is_some_and(|route| route.open.load(Ordering::Acquire))
    }

    /// Counts a request from outside in. `None`: the shard takes none here. It is counted before the look whether the shard is open:
    /// a release closes it first and then waits for the count.
    pub(crate) fn enter(&self, shard: Shard) -> Option<(Entered<'_>, LocalActor<ShardMsg>)> {
        let route = self.route(shard)?;
        route.in_flight.fetch_add(1, Ordering::SeqCst);
        let entered = Entered(&route.in_flight);
        if !route.open.load(Ordering::SeqCst) {
            return None;
        }
        Some((entered, self.actor(shard)?))
    }

    /// Requests from outside that a shard has not answered.
    pub(crate) fn in_flight(&self, shard: Shard) -> u32 {
        self.route(shard).map_or(0, |route| route.in_flight.load(Ordering::SeqCst))
    }

    /// The shard's actor, while the node owns the shard.
    pub(crate) fn actor(&self, shard: Shard) -> Option<LocalActor<ShardMsg>> {
        let local = self.route(shard)?.local.read().unwrap_or_else(PoisonError::into_inner);
        local.as_ref().map(|(actor, _)| actor.clone())
    }

    /// The shard of this actor and its epoch.
    pub(crate) fn shard_of_actor(&self, actor: ActorId) -> Option<(Shard, Epoch)> {
        self.routes.iter().zip(0..).find_map(|(route, shard)| {
            let local = route.local.read().unwrap_or_else(PoisonError::into_inner);
            local.as_ref().filter(|(found, _)| found.actor().get_id() == actor).map(|(_, epoch)| (Shard(shard), *epoch))
        })
    }

    /// The shards that the node owns, in order.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (Shard, LocalActor<ShardMsg>)> {
        (0..).map(Shard).zip(&self.routes).filter_map(|(shard, _)| Some((shard, self.actor(shard)?)))
    }
}
