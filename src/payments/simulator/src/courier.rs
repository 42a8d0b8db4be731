//! Carries webhooks at their time: to a node in the same process, or over HTTP. They arrive late, twice or not at all; that is the point.
//!
//! What waits here is lost with the process. A shop that relies on webhooks alone is wrong; this one also asks.

use super::post::WebhookPost;
use doorbuster_clock::{SharedClock, monotonic};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::webhook::{SignedWebhook, WebhookEvent, WebhookSecret};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// At most so many webhooks wait; more are lost.
const WAITING_MAX: usize = 100_000;
/// How often one copy is offered before it is lost.
const TRIES_MAX: u32 = 5;
/// The first pause between two tries; each next one is twice as long.
const PAUSE_MS: u64 = 500;
/// Deliveries over HTTP under way at once.
const UNDER_WAY_MAX: usize = 32;

/// Takes a webhook as a node's HTTP route would; false: not now, try again.
pub type Deliver = Arc<dyn Fn(SignedWebhook) -> bool + Send + Sync>;

/// Where webhooks go.
#[derive(Clone)]
pub enum Receiver {
    /// To a node in this process.
    Inside(Deliver),
    /// To an address.
    Http(Arc<WebhookPost>),
}

impl fmt::Debug for Receiver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Inside(_) => "Inside",
            Self::Http(_) => "Http",
        })
    }
}

struct Waiting {
    event: WebhookEvent,
    tries: u32,
}

/// Hands webhooks to the task that carries them. The task ends when the last of these is gone.
#[derive(Debug, Clone)]
pub struct Courier {
    queue: Option<mpsc::Sender<(Instant, Waiting)>>,
    clock: SharedClock,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} after {} tries", self.event.id, self.tries)
    }
}

impl Courier {
    /// Carries nothing: nobody wants to be told.
    #[must_use]
    pub fn idle(clock: SharedClock) -> Self {
        Self { queue: None, clock }
    }

    /// Starts carrying, on the current runtime.
    #[must_use]
    pub fn start(receiver: Receiver, secret: WebhookSecret, clock: SharedClock) -> Self {
        let (queue, incoming) = mpsc::channel(WAITING_MAX);
        let round =
            Round { receiver, secret, clock: Arc::clone(&clock), under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)) };
        tokio::spawn(carry(round, incoming));
        Self { queue: Some(queue), clock }
    }

    /// Takes webhooks that are due at these instants.
    pub fn hand(&self, webhooks: Vec<(Timestamp, WebhookEvent)>) {
        let Some(queue) = &self.queue else { return };
        let now = self.clock.now();
        for (at, event) in webhooks {
            let due = monotonic() + Duration::from_millis(at.since_ms(now));
            if queue.try_send((due, Waiting { event, tries: 0 })).is_err() {
                tracing::warn!("a webhook is lost: too many wait");
            }
        }
    }
}

struct Round {
    receiver: Receiver,
    secret: WebhookSecret,
    clock: SharedClock,
    under_way: Arc<Semaphore>,
}

async fn carry(round: Round, mut incoming: mpsc::Receiver<(Instant, Waiting)>) {
    let (again, mut failed) = mpsc::unbounded_channel::<(Instant, Waiting)>();
    let mut waiting: BTreeMap<(Instant, u64), Waiting> = BTreeMap::new();
    let mut handed: u64 = 0;
    loop {
        let next = waiting.keys().next().map(|(due, _)| *due);
        let due = async {
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let (at, one) = tokio::select! {
            biased;
            one = incoming.recv(), if waiting.len() < WAITING_MAX => match one {
                Some(one) => one,
                None => return,
            },
            Some(one) = failed.recv() => one,
            () = due => {
                if let Some((_, one)) = waiting.pop_first() {
                    round.offer(one, &again).await;
                }
                continue;
            }
        };
        handed = handed.wrapping_add(1);
        waiting.insert((at, handed), one);
    }
}

impl Round {
    async fn offer(&self, one: Waiting, again: &mpsc::UnboundedSender<(Instant, Waiting)>) {
        let signed = self.secret.sign(&one.event, self.clock.now());
        match &self.receiver {
            Receiver::Inside(deliver) => one.settle(deliver(signed), again),
            Receiver::Http(post) => {
                let Ok(permit) = Arc::clone(&self.under_way).acquire_owned().await else { return };
                let (post, again) = (post.clone(), again.clone());
                tokio::spawn(async move {
                    one.settle(post.send(signed).await, &again);
                    drop(permit);
                });
            }
        }
    }
}

impl Waiting {
    /// Taken, or to be offered again later, or lost.
    fn settle(self, taken: bool, again: &mpsc::UnboundedSender<(Instant, Self)>) {
        let tries = self.tries.saturating_add(1);
        if taken || tries >= TRIES_MAX {
            return;
        }
        let pause = Duration::from_millis(PAUSE_MS.saturating_mul(1 << tries));
        let offered = again.send((monotonic() + pause, Self { event: self.event, tries }));
        debug_assert!(offered.is_ok() || again.is_closed(), "only an ended courier does not take it back");
    }
}
