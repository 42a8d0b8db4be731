//! The gate before the door: while a node is crowded, a request is told to wait or to come back before anything is made of it.
//!
//! ```text
//! head ──► room for everybody? ──yes──────────────────────────────► the filters, the door
//!            │ no                                                     ▲
//!            └─► its lane has room? ──yes─────────────────────────────┤
//!                  │ no                                               │ called
//!                  └─► the line ──────────────────────────────────────┘
//!                        └─► 503, made beforehand
//! ```
//!
//! The door itself still gives the places: this only spares the way to it. Whoever is called goes in like everybody, and is refused there in
//! the rare case that somebody else was quicker.

use super::admission::{Admission, Lane, Waiter};
use super::door::DoorCounts;
use super::routes::{Found, Router};
use doorbuster_domain::time::Timestamp;
use hyper::Method;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use warp::reply::Response;

/// What tells the time of the shop behind the door.
type Now = dyn Fn() -> Timestamp + Send + Sync;

/// The gate of one API; its clones are the same gate.
#[derive(Clone)]
pub struct Gate {
    counts: Arc<DoorCounts>,
    router: Arc<Router>,
    now: Arc<Now>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Gate")
    }
}

impl Gate {
    pub(super) const fn new(counts: Arc<DoorCounts>, router: Arc<Router>, now: Arc<Now>) -> Self {
        Self { counts, router, now }
    }

    /// The lane in which a request must wait; `None`: it may go on, for there is room, or it wants nothing there is.
    pub(super) fn stops(&self, method: &Method, path: &str) -> Option<Lane> {
        if self.admission().is_open() {
            return None;
        }
        match self.router.find(method, path) {
            Found::Route(route, _) => Some(Lane::of(route.op)),
            Found::Methods(_) | Found::Undecodable | Found::Nothing => None,
        }
    }

    /// Waits for room until `late` is ready; `false`: there was none, and [`refusal`](Self::refusal) is the answer.
    pub(super) async fn wait(&self, lane: Lane, mut late: impl FnMut(&mut Context<'_>) -> Poll<()>) -> bool {
        let mut waiter: Waiter<'_> = match self.admission().line_up(lane, (self.now)()) {
            Ok(None) => return true,
            Ok(Some(waiter)) => waiter,
            Err(()) => return false,
        };
        let called = poll_fn(|context| {
            if waiter.poll_room(context).is_ready() {
                return Poll::Ready(true);
            }
            late(context).map(|()| false)
        })
        .await;
        if !called {
            waiter.gives_up();
        }
        called
    }

    /// So long a request waits.
    pub(super) fn patience(&self) -> Duration {
        self.admission().line_wait()
    }

    /// The answer to whoever was not called.
    pub(super) fn refusal(&self) -> Response {
        let response = self.admission().no_place();
        self.counts.answered(&response);
        response
    }

    fn admission(&self) -> &Admission {
        &self.counts.admission
    }
}
