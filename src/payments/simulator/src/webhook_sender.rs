//! Sends webhooks when they are due, to a node in this process or over HTTP. By configuration they come late, twice or not at all.
//!
//! Queued webhooks are lost with the process. A shop must not rely on webhooks alone; this one also queries.

use super::post_webhook::WebhookClient;
use doorbuster_clock::{SharedClock, monotonic};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::webhook::{SignedWebhook, WebhookEvent, WebhookSecret};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// The number of webhooks that may be queued; more are dropped.
const QUEUED_MAX: usize = 100_000;
/// The number of attempts before a copy is dropped.
const TRIES_MAX: u32 = 5;
/// The pause before the second attempt, in milliseconds; it doubles each time.
const PAUSE_MS: u64 = 500;
/// The number of HTTP deliveries in flight.
const IN_FLIGHT_MAX: usize = 32;

/// Delivers a webhook as a node's HTTP route would; `false`: not accepted, try again.
pub type DeliverWebhook = Arc<dyn Fn(SignedWebhook) -> bool + Send + Sync>;

/// The receiver of webhooks.
#[derive(Clone)]
pub enum WebhookTarget {
    /// A node in this process.
    InProcess(DeliverWebhook),
    /// An HTTP address.
    Http(Arc<WebhookClient>),
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::InProcess(_) => "InProcess",
            Self::Http(_) => "Http",
        })
    }
}

struct QueuedWebhook {
    event: WebhookEvent,
    tries: u32,
}

/// A handle on the sending task, which ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    queue: Option<mpsc::Sender<(Instant, QueuedWebhook)>>,
    clock: SharedClock,
}

impl fmt::Debug for QueuedWebhook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} after {} tries", self.event.id, self.tries)
    }
}

impl WebhookSender {
    /// A sender that drops every webhook, because no receiver is configured.
    #[must_use]
    pub fn disabled(clock: SharedClock) -> Self {
        Self { queue: None, clock }
    }

    /// Starts the sending task on the current runtime.
    #[must_use]
    pub fn start(target: WebhookTarget, secret: WebhookSecret, clock: SharedClock) -> Self {
        let (queue, incoming) = mpsc::channel(QUEUED_MAX);
        let send_loop =
            SendLoop { target, secret, clock: Arc::clone(&clock), in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)) };
        tokio::spawn(run(send_loop, incoming));
        Self { queue: Some(queue), clock }
    }

    /// Queues webhooks for the given times.
    pub fn enqueue(&self, webhooks: Vec<(Timestamp, WebhookEvent)>) {
        let Some(queue) = &self.queue else { return };
        let now = self.clock.now();
        for (at, event) in webhooks {
            let due = monotonic() + Duration::from_millis(at.since_ms(now));
            if queue.try_send((due, QueuedWebhook { event, tries: 0 })).is_err() {
                tracing::warn!("a webhook is lost: the queue is full");
            }
        }
    }
}

struct SendLoop {
    target: WebhookTarget,
    secret: WebhookSecret,
    clock: SharedClock,
    in_flight: Arc<Semaphore>,
}

async fn run(send_loop: SendLoop, mut incoming: mpsc::Receiver<(Instant, QueuedWebhook)>) {
    let (again, mut failed) = mpsc::unbounded_channel::<(Instant, QueuedWebhook)>();
    let mut queued: BTreeMap<(Instant, u64), QueuedWebhook> = BTreeMap::new();
    let mut sequence: u64 = 0;
    loop {
        let next = queued.keys().next().map(|(due, _)| *due);
        let due = async {
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let (at, one) = tokio::select! {
            biased;
            one = incoming.recv(), if queued.len() < QUEUED_MAX => match one {
                Some(one) => one,
                None => return,
            },
            Some(one) = failed.recv() => one,
            () = due => {
                if let Some((_, one)) = queued.pop_first() {
                    send_loop.offer(one, &again).await;
                }
                continue;
            }
        };
        sequence = sequence.wrapping_add(1);
        queued.insert((at, sequence), one);
    }
}

impl SendLoop {
    async fn offer(&self, one: QueuedWebhook, again: &mpsc::UnboundedSender<(Instant, QueuedWebhook)>) {
        let signed = self.secret.sign(&one.event, self.clock.now());
        match &self.target {
            WebhookTarget::InProcess(deliver) => one.settle(deliver(signed), again),
            WebhookTarget::Http(client) => {
                let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else { return };
                let (client, again) = (client.clone(), again.clone());
                tokio::spawn(async move {
                    one.settle(client.send(signed).await, &again);
                    drop(permit);
                });
            }
        }
    }
}

impl QueuedWebhook {
    /// Queues the webhook again unless it was accepted or has used up its attempts.
    fn settle(self, taken: bool, again: &mpsc::UnboundedSender<(Instant, Self)>) {
        let tries = self.tries.saturating_add(1);
        if taken || tries >= TRIES_MAX {
            return;
        }
        let pause = Duration::from_millis(PAUSE_MS.saturating_mul(1 << tries));
        let offered = again.send((monotonic() + pause, Self { event: self.event, tries }));
        debug_assert!(offered.is_ok() || again.is_closed(), "only an ended sender does not take it back");
    }
}
