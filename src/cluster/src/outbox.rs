//! What waits to be sent to one peer, and what was asked of it and is not answered. Plain data: the link locks it.

use super::envelope::{Frame, PARCELS_MAX, Status};
use super::settings::GatewaySettings;
use std::collections::{HashMap, VecDeque};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How a question ended for the link.
#[derive(Debug)]
pub(super) enum Ended {
    /// By an answer: its body.
    Answered(Vec<u8>),
    /// By the receipt: it was not taken in.
    NotTaken(Status),
    /// By the end of the session, or of its own time.
    Lost {
        /// Had it been sent?
        sent: bool,
    },
}

/// One envelope that waits.
#[derive(Debug)]
pub(super) struct Parcel {
    envelope: Vec<u8>,
    /// The question it holds: skipped once nobody waits for it.
    question: Option<u64>,
    /// The place of the question that it answers: free once it is sent.
    _place: Option<OwnedSemaphorePermit>,
}

impl Parcel {
    pub(super) const fn of(envelope: Vec<u8>) -> Self {
        Self { envelope, question: None, _place: None }
    }
    pub(super) const fn answer(envelope: Vec<u8>, place: OwnedSemaphorePermit) -> Self {
        Self { envelope, question: None, _place: Some(place) }
    }
}

#[derive(Debug)]
struct Question {
    sent: bool,
    end: oneshot::Sender<Ended>,
}

/// What waits for one peer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    questions: HashMap<u64, Question>,
}

impl Outbox {
    /// Is there room for so many bytes more?
    pub(super) const fn has_room(&self, bytes: usize, settings: &GatewaySettings) -> bool {
        self.queued_bytes.saturating_add(bytes) <= settings.queue_bytes_per_peer_max
    }

    /// Queues a question; `None`: there are too many, or too much waits.
    pub(super) fn ask(
        &mut self,
        id: u64,
        envelope: Vec<u8>,
        settings: &GatewaySettings,
    ) -> Option<oneshot::Receiver<Ended>> {
        if self.questions.len() >= settings.in_flight_per_peer_max || !self.has_room(envelope.len(), settings) {
            return None;
        }
        let (end, ended) = oneshot::channel();
        self.questions.insert(id, Question { sent: false, end });
        self.put_always(Parcel { envelope, question: Some(id), _place: None });
        Some(ended)
    }

    /// Queues what is said; `false`: too much waits.
    pub(super) fn put(&mut self, parcel: Parcel, settings: &GatewaySettings) -> bool {
        let room = self.has_room(parcel.envelope.len(), settings);
        if room {
            self.put_always(parcel);
        }
        room
    }

    /// Queues what has its own bound.
    pub(super) fn put_always(&mut self, parcel: Parcel) {
        self.queued_bytes = self.queued_bytes.saturating_add(parcel.envelope.len());
        self.queue.push_back(parcel);
    }

    /// Moves what waits into a frame, in order, until it is full; gives the questions in it, which count as sent from here on.
    pub(super) fn fill(&mut self, frame: &mut Frame, bytes_max: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while frame.bytes() < bytes_max && frame.parcels() < PARCELS_MAX {
            let Some(parcel) = self.queue.pop_front() else { break };
            self.queued_bytes = self.queued_bytes.saturating_sub(parcel.envelope.len());
            if let Some(id) = parcel.question {
                let Some(question) = self.questions.get_mut(&id) else { continue };
                question.sent = true;
                ids.push(id);
            }
            frame.put(&parcel.envelope);
        }
        ids
    }

    /// A question has ended; one that nobody waits for changes nothing.
    pub(super) fn end(&mut self, id: u64, ended: Ended) {
        if let Some(question) = self.questions.remove(&id) {
            // Whoever asked may have stopped waiting.
            question.end.send(ended).ok();
        }
    }

    /// Nobody waits for a question any more; was it sent?
    pub(super) fn give_up(&mut self, id: u64) -> bool {
        self.questions.remove(&id).is_some_and(|question| question.sent)
    }

    /// The session has ended: so have all questions, and what waited is gone. Gives how much of that nobody is told of.
    pub(super) fn lose_all(&mut self) -> usize {
        for (_, question) in self.questions.drain() {
            question.end.send(Ended::Lost { sent: question.sent }).ok();
        }
        let untold = self.queue.iter().filter(|parcel| parcel.question.is_none()).count();
        self.queue.clear();
        self.queued_bytes = 0;
        untold
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
        let (mut outbox, settings) = (Outbox::default(), settings());
        let waiting: Vec<_> = (1..=3).map(|id| outbox.ask(id, vec![0; 10], &settings)).collect();
        assert_eq!(waiting.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        outbox.give_up(1);
        assert!(outbox.ask(4, vec![0; 10], &settings).is_some());
    }

    #[test]
    fn bytes_that_wait_are_bounded_too() {
        let (mut outbox, settings) = (Outbox::default(), settings());
        assert!(outbox.put(Parcel::of(vec![0; 60]), &settings));
        assert!(!outbox.put(Parcel::of(vec![0; 60]), &settings));
        assert!(outbox.ask(1, vec![0; 60], &settings).is_none());
        assert!(outbox.fill(&mut Frame::from("n.1"), 1_000).is_empty());
        assert!(outbox.ask(1, vec![0; 60], &settings).is_some());
    }

    #[test]
    fn what_left_the_queue_may_have_been_decided_and_what_did_not_was_not() {
        let (mut outbox, settings) = (Outbox::default(), settings());
        let mut first = outbox.ask(1, vec![0; 50], &settings).unwrap();
        let mut second = outbox.ask(2, vec![0; 50], &settings).unwrap();
        let mut frame = Frame::from("n.1");
        assert_eq!(outbox.fill(&mut frame, 50), [1]);
        assert_eq!(outbox.lose_all(), 0);
        assert!(matches!(first.try_recv(), Ok(Ended::Lost { sent: true })));
        assert!(matches!(second.try_recv(), Ok(Ended::Lost { sent: false })));
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_not_sent() {
        let (mut outbox, settings) = (Outbox::default(), settings());
        let _first = outbox.ask(1, vec![1; 10], &settings);
        assert!(!outbox.give_up(1));
        let mut frame = Frame::from("n.1");
        assert!(outbox.fill(&mut frame, 1_000).is_empty());
        assert_eq!(frame.parcels(), 0);
    }
}
