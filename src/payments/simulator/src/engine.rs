//! The simulated provider as a function of values: no clock, no I/O, no dice that are not in the seed.
//!
//! What is asked, when, and what is known give the answer, how long it takes, what is written and which webhooks follow.
//!
//! ```text
//! call ─► outage? ─► lost on the way? ─► known key? ─► decide ─► write ─► lost on the way back? ─► reply
//! ```

use super::book::{Book, Entry, Later, Line, Terms};
use super::odds::{Dice, Odds};
use super::tokens::Fortune;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::payment::{NextAction, Operation, ProviderAnswer, ProviderCall, Reference, Retry};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::webhook::WebhookEvent;
use std::collections::BTreeMap;

/// What reaches the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An answer.
    Answer(ProviderAnswer),
    /// 429: try again.
    TooMany,
    /// A 5xx, which says nothing of what happened.
    Broken,
    /// Nothing, ever.
    Silence,
}

/// What follows from a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What reaches the caller …
    pub reply: Reply,
    /// … after so many milliseconds.
    pub latency_ms: u64,
    /// What must be in the ledger's file before anything leaves. It is in the book already.
    pub line: Option<Line>,
    /// What is told later, and when.
    pub webhooks: Vec<(Timestamp, WebhookEvent)>,
}

/// What the shopper did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Passed the check.
    Ok,
    /// Failed it.
    Fail,
}

/// What follows from a shopper's act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// What is true of the operation now; `None` when there is nothing to act on.
    pub answer: Option<ProviderAnswer>,
    /// Where the shopper goes now.
    pub return_url: Option<CompactString>,
    /// What must be in the ledger's file first.
    pub line: Option<Line>,
    /// What is told, and when.
    pub webhooks: Vec<(Timestamp, WebhookEvent)>,
}

/// The provider.
#[derive(Debug, Clone)]
pub struct Engine {
    odds: Odds,
    seed: u64,
    /// What action addresses begin with.
    action_url: CompactString,
    /// From, up to: every call in between gets a 5xx.
    outages: Vec<(Timestamp, Timestamp)>,
    book: Book,
    /// How often a reference was sent, where that decides something. Not durable: after a restart the dice of the first sending are
    /// thrown again, which is as good a day as any.
    sent: BTreeMap<Reference, u32>,
}

impl Engine {
    /// A provider that goes on from `book`.
    #[must_use]
    pub fn new(odds: Odds, seed: u64, action_url: &str, book: Book) -> Self {
        Self { odds, seed, action_url: action_url.into(), outages: Vec::new(), book, sent: BTreeMap::new() }
    }

    /// Nothing but 5xx from `from` up to `to`.
    pub fn add_outage(&mut self, from: Timestamp, to: Timestamp) {
        self.outages.push((from, to));
    }

    /// What it holds to be true.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// One call at `now`.
    pub fn call(&mut self, call: &ProviderCall, now: Timestamp) -> Planned {
        if self.outages.iter().any(|(from, to)| *from <= now && now < *to) {
            return Planned::reply(Reply::Broken, 0);
        }
        let fortune = Fortune::of(call);
        let sent = self.count(call.reference, fortune);
        let mut dice =
            if self.odds.throws_no_dice() { Dice::idle() } else { Dice::of(self.seed, call.reference, sent) };
        let latency_ms = dice.latency_ms(&self.odds);
        if dice.hits(self.odds.too_many_ppm) {
            return Planned::reply(Reply::TooMany, latency_ms);
        }
        if dice.hits(self.odds.timeout_before_ppm) {
            return Planned::reply(Reply::Silence, latency_ms);
        }
        let known = self.book.find(call.reference);
        if call.query_only {
            let answer = known.and_then(|entry| entry.seen(now)).unwrap_or(&ProviderAnswer::NotFound);
            return Planned::reply(Reply::Answer(answer.clone()), latency_ms);
        }
        let remembered = known.filter(|entry| now < entry.accepted_at.plus_s(self.odds.key_life_s));
        if let Some(entry) = remembered {
            if entry.terms != Terms::of(call) {
                return Planned::reply(Reply::Answer(ProviderAnswer::Conflict), latency_ms);
            }
            let first = entry.first.clone();
            return Planned::reply(Reply::Answer(first), latency_ms.max(entry.lands_at.since_ms(now)));
        }
        if fortune == Fortune::TimeoutNotCharged && sent == 1 {
            return Planned::reply(Reply::Silence, latency_ms);
        }
        let latency_ms = if fortune == Fortune::Slow { latency_ms.max(self.odds.slow_ms) } else { latency_ms };
        self.accept(call, fortune, &mut dice, now, latency_ms)
    }

    /// How often this reference was sent, with this call. Counted only where the count is looked at.
    fn count(&mut self, reference: Reference, fortune: Fortune) -> u32 {
        if self.odds.throws_no_dice() && fortune != Fortune::TimeoutNotCharged {
            return 1;
        }
        let sent = self.sent.entry(reference).or_default();
        *sent = sent.saturating_add(1);
        *sent
    }

    fn accept(
        &mut self,
        call: &ProviderCall,
        fortune: Fortune,
        dice: &mut Dice,
        now: Timestamp,
        latency_ms: u64,
    ) -> Planned {
        let lands_at = now.plus_ms(latency_ms);
        let number = self.book.next_number();
        let authorization = call
            .provider_reference
            .as_deref()
            .filter(|_| call.reference.operation != Operation::Authorize)
            .and_then(|named| self.book.authorization(call.reference.order, named));
        let (first, later) = if call.reference.operation == Operation::Authorize {
            self.authorize(call, fortune, dice, number, lands_at)
        } else {
            (self.follow_up(call, authorization, dice, number, lands_at), None)
        };
        let entry = Entry {
            number,
            reference: call.reference,
            amount: call.amount,
            terms: Terms::of(call),
            authorization: authorization.map(|entry| entry.number),
            return_url: call.return_url.clone(),
            accepted_at: now,
            lands_at,
            first: first.clone(),
            later,
        };
        let webhooks = self.webhooks_of(&entry, dice);
        let lost = fortune == Fortune::TimeoutCharged || dice.hits(self.odds.timeout_after_ppm);
        let reply = if lost {
            Reply::Silence
        } else if dice.hits(self.odds.error_after_ppm) {
            Reply::Broken
        } else {
            Reply::Answer(first)
        };
        let line = Line::Accepted(Box::new(entry));
        self.book.take(line.clone()).expect("numbered by this book");
        Planned { reply, latency_ms, line: Some(line), webhooks }
    }

    fn authorize(
        &self,
        call: &ProviderCall,
        fortune: Fortune,
        dice: &mut Dice,
        number: u64,
        lands_at: Timestamp,
    ) -> (ProviderAnswer, Option<Later>) {
        if call.amount.amount <= 0 {
            return (declined("invalid_amount", Retry::Never), None);
        }
        let provider_reference = Book::provider_reference(number);
        let authorized = |at: Timestamp| ProviderAnswer::Authorized {
            provider_reference: provider_reference.clone(),
            lapses_at: at.plus_s(self.odds.lapse_s),
        };
        let fortune = if fortune == Fortune::Unsaid { self.unsaid(dice) } else { fortune };
        match fortune {
            Fortune::Ok | Fortune::Slow | Fortune::TimeoutCharged | Fortune::TimeoutNotCharged | Fortune::Unsaid => {
                (authorized(lands_at), None)
            }
            Fortune::DeclineSoft => (declined("insufficient_funds", Retry::SameMethod), None),
            Fortune::DeclineHard => (declined("card_blocked", Retry::OtherMethod), None),
            Fortune::Processing => {
                let at = lands_at.plus_ms(self.odds.processing_ms);
                let later = Later { at, answer: authorized(at) };
                (ProviderAnswer::Processing { provider_reference }, Some(later))
            }
            Fortune::Action => {
                let expires_at = lands_at.plus_s(self.odds.action_s);
                let url = format_compact!("{}/actions/{}", self.action_url, call.reference);
                let action = NextAction { kind: "redirect".into(), url: Some(url), expires_at };
                let later = Later { at: expires_at, answer: declined("action_expired", Retry::SameMethod) };
                (ProviderAnswer::RequiresAction { provider_reference, action }, Some(later))
            }
        }
    }

    /// What befalls a token that does not say.
    fn unsaid(&self, dice: &mut Dice) -> Fortune {
        if dice.hits(self.odds.decline_soft_ppm) {
            Fortune::DeclineSoft
        } else if dice.hits(self.odds.decline_hard_ppm) {
            Fortune::DeclineHard
        } else if dice.hits(self.odds.processing_ppm) {
            Fortune::Processing
        } else {
            Fortune::Ok
        }
    }

    /// Capture, void or refund: the law is `refunded ≤ captured ≤ authorized`, and a void only of what was not captured.
    fn follow_up(
        &self,
        call: &ProviderCall,
        authorization: Option<&Entry>,
        dice: &mut Dice,
        number: u64,
        lands_at: Timestamp,
    ) -> ProviderAnswer {
        let Some(entry) = authorization else { return declined("no_such_authorization", Retry::Never) };
        // What is still on its way cannot be used: the caller has no answer that names it.
        let Some(ProviderAnswer::Authorized { lapses_at, .. }) = entry.seen(lands_at) else {
            return declined("not_authorized", Retry::Never);
        };
        let used = self.book.used(entry);
        let amount = call.amount.amount;
        let refusal = match call.reference.operation {
            _ if call.amount.currency != entry.amount.currency => Some("currency_mismatch"),
            _ if amount <= 0 => Some("invalid_amount"),
            Operation::Authorize => None,
            Operation::Capture if used.voided => Some("authorization_voided"),
            Operation::Capture if *lapses_at <= lands_at => Some("authorization_lapsed"),
            Operation::Capture if used.captured.saturating_add(amount) > entry.amount.amount => {
                Some("amount_exceeds_authorized")
            }
            Operation::Void if used.voided => Some("authorization_voided"),
            Operation::Void if used.captured > 0 => Some("already_captured"),
            Operation::Refund if used.refunded.saturating_add(amount) > used.captured => {
                Some("amount_exceeds_captured")
            }
            Operation::Capture | Operation::Void | Operation::Refund => None,
        };
        if let Some(code) = refusal {
            return declined(code, Retry::Never);
        }
        if dice.hits(self.odds.follow_up_soft_ppm) {
            return declined("try_again", Retry::SameMethod);
        }
        if dice.hits(self.odds.follow_up_hard_ppm) {
            return declined("refused", Retry::Never);
        }
        ProviderAnswer::Succeeded { provider_reference: Book::provider_reference(number) }
    }

    /// The shopper acts on an authorization that waits for it. Acting twice is acting once; acting too late is not acting.
    pub fn act(&mut self, reference: Reference, act: Act, now: Timestamp) -> Acted {
        let nothing = Acted { answer: None, return_url: None, line: None, webhooks: Vec::new() };
        let Some(entry) = self.book.find(reference) else { return nothing };
        let ProviderAnswer::RequiresAction { provider_reference, .. } = &entry.first else { return nothing };
        let return_url = entry.return_url.clone();
        match entry.seen(now) {
            None => return nothing,
            Some(ProviderAnswer::RequiresAction { .. }) => {}
            Some(settled) => return Acted { answer: Some(settled.clone()), return_url, ..nothing },
        }
        let answer = match act {
            Act::Ok => ProviderAnswer::Authorized {
                provider_reference: provider_reference.clone(),
                lapses_at: now.plus_s(self.odds.lapse_s),
            },
            Act::Fail => declined("authentication_failed", Retry::SameMethod),
        };
        let later = Later { at: now, answer: answer.clone() };
        let mut dice = Dice::of(self.seed, reference, u32::MAX);
        let webhooks = self.told(reference, &later.answer, now, &mut dice);
        let line = Line::Acted { number: entry.number, later };
        match self.book.take(line.clone()) {
            Ok(()) => Acted { answer: Some(answer), return_url, line: Some(line), webhooks },
            Err(_not_there) => nothing,
        }
    }

    fn webhooks_of(&self, entry: &Entry, dice: &mut Dice) -> Vec<(Timestamp, WebhookEvent)> {
        match (&entry.first, &entry.later) {
            // That a shopper did not act in time is told when asked: until then the act may still come.
            (ProviderAnswer::RequiresAction { .. }, _) => Vec::new(),
            (_, Some(later)) => self.told(entry.reference, &later.answer, later.at, dice),
            (first, None) if self.odds.webhooks.every_outcome => {
                self.told(entry.reference, first, entry.lands_at, dice)
            }
            (_, None) => Vec::new(),
        }
    }

    /// The copies in which an outcome of `at` is told.
    fn told(
        &self,
        reference: Reference,
        answer: &ProviderAnswer,
        at: Timestamp,
        dice: &mut Dice,
    ) -> Vec<(Timestamp, WebhookEvent)> {
        let odds = &self.odds.webhooks;
        if dice.hits(odds.lost_ppm) {
            return Vec::new();
        }
        let event = WebhookEvent { id: format_compact!("evt_{reference}"), reference, answer: answer.clone() };
        let copies = dice.upto(odds.copies_max.saturating_sub(1)).saturating_add(1);
        let copy = |_| {
            let most = if dice.hits(odds.very_late_ppm) { odds.late_ms.saturating_mul(10) } else { odds.late_ms };
            (at.plus_ms(dice.upto(most)), event.clone())
        };
        (0..copies).map(copy).collect()
    }
}

impl Planned {
    const fn reply(reply: Reply, latency_ms: u64) -> Self {
        Self { reply, latency_ms, line: None, webhooks: Vec::new() }
    }
}

fn declined(code: &str, retry: Retry) -> ProviderAnswer {
    ProviderAnswer::Declined { code: code.into(), retry }
}
