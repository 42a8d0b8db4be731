//! The overload gate before the pipeline: while the node is overloaded, a request waits or is refused before anything is allocated for it.
//!
//! ```text
//! head ──► room for every class? ──yes────────────────────────────► warp's filter, the pipeline
//!            │ no                                                     ▲
//!            └─► room for its class? ──yes───────────────────────────┤
//!                  │ no                                               │ woken
//!                  └─► wait queue ────────────────────────────────────┘
//!                        └─► the prepared 503
//! ```
//!
//! The gate grants nothing: the pipeline acquires the permit. The gate only saves the work up to there. A request that was woken goes on like every
//! other, and is refused in the pipeline in the rare case that another one was faster.

use super::admission::{Admission, PriorityClass, Waiter};
use super::pipeline::PipelineCounts;
use super::request_id::X_REQUEST_ID;
use doorbuster_domain::time::Timestamp;
use hyper::Method;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use warp::reply::Response;

/// What the gate needs of the API behind it, whatever its shop is.
pub(super) trait Gated: Send + Sync {
    /// The counters and the admission.
    fn counts(&self) -> &PipelineCounts;
    /// The priority class of a request; `None`: no route has its path.
    fn class_of(&self, method: &Method, path: &str) -> Option<PriorityClass>;
    /// The time of the shop.
    fn now(&self) -> Timestamp;
}

/// The overload gate of one API; its clones are the same gate.
#[derive(Clone)]
pub struct OverloadGate(Arc<dyn Gated>);

impl fmt::Debug for OverloadGate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OverloadGate")
    }
}

impl OverloadGate {
    pub(super) fn new(api: Arc<dyn Gated>) -> Self {
        Self(api)
    }

    /// Ends the wait of all who follow events, and cuts exports: the server stops.
    pub(super) fn stop_followers(&self) {
        self.0.counts().followers.stop();
        self.0.counts().exports.stop();
    }

    /// The class in which a request must wait. `None`: it may go on, because there is room or because no route has its path.
    pub(super) fn must_wait(&self, method: &Method, path: &str) -> Option<PriorityClass> {
        if self.admission().has_room_for_all() {
            return None;
        }
        self.0.class_of(method, path)
    }

    /// Waits for room until `timeout` is ready. `false`: there was none, and the answer is [`overloaded_response`](Self::overloaded_response).
    pub(super) async fn wait(
        &self,
        class: PriorityClass,
        mut timeout: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> bool {
        let mut waiter: Waiter<'_> = match self.admission().join_queue(class, self.0.now()) {
            Ok(None) => return true,
            Ok(Some(waiter)) => waiter,
            Err(()) => return false,
        };
        let woken = poll_fn(|context| {
            if waiter.poll_room(context).is_ready() {
                return Poll::Ready(true);
            }
            timeout(context).map(|()| false)
        })
        .await;
        if !woken {
            waiter.give_up();
        }
        woken
    }

    /// The longest time a request waits here.
    pub(super) fn wait_max(&self) -> Duration {
        self.admission().queue_wait_max()
    }

    /// The answer to a request that was not woken in time.
    pub(super) fn overloaded_response(&self) -> Response {
        let mut response = self.admission().overloaded_response();
        let counts = self.0.counts();
        counts.count(&response);
        response.headers_mut().insert(&X_REQUEST_ID, counts.request_ids.make());
        response
    }

    fn admission(&self) -> &Admission {
        &self.0.counts().admission
    }
}
