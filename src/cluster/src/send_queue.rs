//! Messages queued for one peer, and requests that wait for its answers. Plain data: the link locks it.

use super::message::{DeliveryStatus, Frame, MESSAGES_PER_FRAME_MAX};
use super::settings::GatewaySettings;
use std::collections::{HashMap, VecDeque};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How a request ended.
#[derive(Debug)]
pub(super) enum RequestEnd {
    /// An answer came: its encoded body.
    Answered(Vec<u8>),
    /// The receipt rejected it.
    NotTaken(DeliveryStatus),
    /// The session ended, or its deadline passed.
    Lost {
        /// Whether it had left the queue.
        sent: bool,
    },
}

/// One queued message.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    message: Vec<u8>,
    /// The id of the request in it: skipped if the request was cancelled.
    request: Option<u64>,
    /// The permit of the request that it answers, returned once the message is sent.
    _permit: Option<OwnedSemaphorePermit>,
}

impl QueuedMessage {
    pub(super) const fn new(message: Vec<u8>) -> Self {
        Self { message, request: None, _permit: None }
    }
    pub(super) const fn answer(message: Vec<u8>, permit: OwnedSemaphorePermit) -> Self {
        Self { message, request: None, _permit: Some(permit) }
    }
}

#[derive(Debug)]
struct Request {
    sent: bool,
    end: oneshot::Sender<RequestEnd>,
}

/// The queue of one peer.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    queue: VecDeque<QueuedMessage>,
    queued_bytes: usize,
    requests: HashMap<u64, Request>,
}

impl SendQueue {
    /// Whether `bytes` more fit into the queue.
    pub(super) const fn has_capacity(&self, bytes: usize, settings: &GatewaySettings) -> bool {
        self.queued_bytes.saturating_add(bytes) <= settings.queue_bytes_per_peer_max
    }

    /// Queues a request; `None`: too many requests are in flight, or the queue is full.
    pub(super) fn ask(
        &mut self,
        id: u64,
        message: Vec<u8>,
        settings: &GatewaySettings,
    ) -> Option<oneshot::Receiver<RequestEnd>> {
        if self.requests.len() >= settings.in_flight_per_peer_max || !self.has_capacity(message.len(), settings) {
            return None;
        }
        let (end, ended) = oneshot::channel();
        self.requests.insert(id, Request { sent: false, end });
        self.push_unbounded(QueuedMessage { message, request: Some(id), _permit: None });
        Some(ended)
    }

    /// Queues a message; `false`: the queue is full.
    pub(super) fn push(&mut self, message: QueuedMessage, settings: &GatewaySettings) -> bool {
        let room = self.has_capacity(message.message.len(), settings);
        if room {
            self.push_unbounded(message);
        }
        room
    }

    /// Queues a message whose number is bounded elsewhere.
    pub(super) fn push_unbounded(&mut self, message: QueuedMessage) {
        self.queued_bytes = self.queued_bytes.saturating_add(message.message.len());
        self.queue.push_back(message);
    }

    /// Moves queued messages into a frame, in order, until it is full. Returns the ids of its requests, which now count as sent.
    pub(super) fn fill(&mut self, frame: &mut Frame, bytes_max: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while frame.bytes() < bytes_max && frame.messages() < MESSAGES_PER_FRAME_MAX {
            let Some(message) = self.queue.pop_front() else { break };
            self.queued_bytes = self.queued_bytes.saturating_sub(message.message.len());
            if let Some(id) = message.request {
                let Some(request) = self.requests.get_mut(&id) else { continue };
                request.sent = true;
                ids.push(id);
            }
            frame.put(&message.message);
        }
        ids
    }

    /// Completes a request; does nothing if it was cancelled.
    pub(super) fn end(&mut self, id: u64, ended: RequestEnd) {
        if let Some(request) = self.requests.remove(&id) {
            // The caller may have stopped waiting.
            request.end.send(ended).ok();
        }
    }

    /// Cancels a request; returns whether it was sent.
    pub(super) fn cancel(&mut self, id: u64) -> bool {
        self.requests.remove(&id).is_some_and(|request| request.sent)
    }

    /// Fails all requests and empties the queue, because the session has ended. Returns how many one-way messages and answers were dropped.
    pub(super) fn fail_all(&mut self) -> usize {
        for (_, request) in self.requests.drain() {
            request.end.send(RequestEnd::Lost { sent: request.sent }).ok();
        }
        let dropped = self.queue.iter().filter(|message| message.request.is_none()).count();
        self.queue.clear();
        self.queued_bytes = 0;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Cookie;
    use super::*;
    use std::time::Duration;

    fn settings() -> GatewaySettings {
        GatewaySettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: String::new(),
            cookie: Cookie::parse(&"7".repeat(64)).unwrap(),
            gateways: 2,
            heartbeat: Duration::from_millis(500),
            cut_misses_max: 20,
            in_flight_per_peer_max: 2,
            queue_bytes_per_peer_max: 100,
            frames_in_flight_max: 4,
            frame_bytes_max: 60,
            handshake_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(2),
            tls: None,
        }
    }

    #[test]
    fn a_question_beyond_the_peers_bound_is_refused_at_once() {
        let (mut send_queue, settings) = (SendQueue::default(), settings());
        let waiting: Vec<_> = (1..=3).map(|id| send_queue.ask(id, vec![0; 10], &settings)).collect();
        assert_eq!(waiting.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        send_queue.cancel(1);
        assert!(send_queue.ask(4, vec![0; 10], &settings).is_some());
    }

    #[test]
    fn bytes_that_wait_are_bounded_too() {
        let (mut send_queue, settings) = (SendQueue::default(), settings());
        assert!(send_queue.push(QueuedMessage::new(vec![0; 60]), &settings));
        assert!(!send_queue.push(QueuedMessage::new(vec![0; 60]), &settings));
        assert!(send_queue.ask(1, vec![0; 60], &settings).is_none());
        assert!(send_queue.fill(&mut Frame::from("n.1"), 1_000).is_empty());
        assert!(send_queue.ask(1, vec![0; 60], &settings).is_some());
    }

    #[test]
    fn what_left_the_queue_may_have_been_decided_and_what_did_not_was_not() {
        let (mut send_queue, settings) = (SendQueue::default(), settings());
        let mut first = send_queue.ask(1, vec![0; 50], &settings).unwrap();
        let mut second = send_queue.ask(2, vec![0; 50], &settings).unwrap();
        let mut frame = Frame::from("n.1");
        assert_eq!(send_queue.fill(&mut frame, 50), [1]);
        assert_eq!(send_queue.fail_all(), 0);
        assert!(matches!(first.try_recv(), Ok(RequestEnd::Lost { sent: true })));
        assert!(matches!(second.try_recv(), Ok(RequestEnd::Lost { sent: false })));
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_not_sent() {
        let (mut send_queue, settings) = (SendQueue::default(), settings());
        let _first = send_queue.ask(1, vec![1; 10], &settings);
        assert!(!send_queue.cancel(1));
        let mut frame = Frame::from("n.1");
        assert!(send_queue.fill(&mut frame, 1_000).is_empty());
        assert_eq!(frame.messages(), 0);
    }
}
