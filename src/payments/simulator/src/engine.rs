//! The simulated provider as a pure function: no clock, no I/O, no randomness but what the seed determines.
//!
//! The call, its time and the ledger determine the answer, its latency, the ledger record and the webhooks.
//!
//! ```text
//! call ─► outage? ─► request lost? ─► known key? ─► decide ─► write ─► response lost? ─► reply
//! ```

use super::behaviour::{Behaviour, SeededRng};
use super::ledger::{CallFingerprint, Entry, LaterOutcome, Ledger, LedgerRecord};
use super::tokens::TokenBehaviour;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::{
    NextAction, Operation, ProviderAnswer, ProviderCall, ProviderReport, Reference, Retry,
};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::webhook::WebhookEvent;
use std::collections::{BTreeMap, BTreeSet};

/// The reply to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An answer of the provider.
    Answer(ProviderReport),
    /// 429: try again later.
    TooMany,
    /// A 500, after which the outcome is unknown. It is stored: the same key gets it for ever (rule M7).
    Broken,
    /// A 503: nothing was done.
    Unavailable,
    /// There is no response.
    Silence,
}

/// The effects of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPlan {
    /// The reply to the caller.
    pub reply: Reply,
    /// The latency before the reply, in milliseconds.
    pub latency_ms: u64,
    /// The record to write to the ledger's file before the reply. The ledger in memory holds it already.
    pub line: Option<LedgerRecord>,
    /// Webhooks and when they are due.
    pub webhooks: Vec<(Timestamp, WebhookEvent)>,
}

/// What a shopper does on the action page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShopperAction {
    /// Passes the check.
    Ok,
    /// Fails the check.
    Fail,
}

/// The effects of a shopper's action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionPlan {
    /// The operation's state; `None`: no operation waits for an action.
    pub answer: Option<ProviderAnswer>,
    /// The page to which the shopper returns.
    pub return_url: Option<CompactString>,
    /// The record to write to the ledger's file before the reply.
    pub line: Option<LedgerRecord>,
    /// Webhooks and when they are due.
    pub webhooks: Vec<(Timestamp, WebhookEvent)>,
}

/// The provider's state and behaviour.
#[derive(Debug, Clone)]
pub struct Engine {
    behaviour: Behaviour,
    seed: u64,
    /// The prefix of action addresses.
    action_url: CompactString,
    /// Start and end of each outage; every call in between gets a 5xx.
    outages: Vec<(Timestamp, Timestamp)>,
    ledger: Ledger,
    /// How often a reference was sent, where the behaviour depends on it. Not durable: after a restart the random numbers of the first sending are
    /// drawn again.
    sent: BTreeMap<Reference, u32>,
    /// The references whose key gets a stored 500. Not durable either.
    broken: BTreeSet<Reference>,
}

impl Engine {
    /// A provider that continues from `ledger`.
    #[must_use]
    pub fn new(behaviour: Behaviour, seed: u64, action_url: &str, ledger: Ledger) -> Self {
        Self {
            behaviour,
            seed,
            action_url: action_url.into(),
            outages: Vec::new(),
            ledger,
            sent: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// Answers every call between `from` and `to` with a 5xx.
    pub fn add_outage(&mut self, from: Timestamp, to: Timestamp) {
        self.outages.push((from, to));
    }

    /// The ledger so far.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Handles a call at `now`.
    pub fn call(&mut self, call: &ProviderCall, now: Timestamp) -> CallPlan {
        if self.outages.iter().any(|(from, to)| *from <= now && now < *to) {
            return CallPlan::reply(Reply::Unavailable, 0);
        }
        let token = TokenBehaviour::of(call);
        let sent = self.count(call.reference, token);
        let mut rng = if self.behaviour.is_deterministic() {
            SeededRng::idle()
        } else {
            SeededRng::of(self.seed, call.reference, sent)
        };
        let latency_ms = rng.latency_ms(&self.behaviour);
        if rng.hits(self.behaviour.too_many_ppm) {
            return CallPlan::reply(Reply::TooMany, latency_ms);
        }
        if rng.hits(self.behaviour.timeout_before_ppm) {
            return CallPlan::reply(Reply::Silence, latency_ms);
        }
        if call.cancel {
            return self.cancel(call, now, latency_ms);
        }
        if !call.query_only && self.broken.contains(&call.reference) {
            return CallPlan::reply(Reply::Broken, latency_ms);
        }
        let known = self.ledger.find(call.reference);
        if call.query_only {
            let found = known.and_then(|entry| Some(entry.report(entry.seen(now)?)));
            let report = found.unwrap_or(ProviderReport::of(call, ProviderAnswer::NotFound));
            return CallPlan::reply(Reply::Answer(report), latency_ms);
        }
        let remembered = known.filter(|entry| now < entry.accepted_at.plus_s(self.behaviour.key_life_s));
        if let Some(entry) = remembered {
            if entry.fingerprint != CallFingerprint::of(call) {
                let conflict = ProviderReport::of(call, ProviderAnswer::Conflict);
                return CallPlan::reply(Reply::Answer(conflict), latency_ms);
            }
            let first = entry.report(&entry.first);
            return CallPlan::reply(Reply::Answer(first), latency_ms.max(entry.lands_at.since_ms(now)));
        }
        if token == TokenBehaviour::ErrorNotCharged || rng.hits(self.behaviour.error_before_ppm) {
            self.broken.insert(call.reference);
            return CallPlan::reply(Reply::Broken, latency_ms);
        }
        if token == TokenBehaviour::TimeoutNotCharged && sent == 1 {
            return CallPlan::reply(Reply::Silence, latency_ms);
        }
        let latency_ms =
            if token == TokenBehaviour::Slow { latency_ms.max(self.behaviour.slow_ms) } else { latency_ms };
        self.accept(call, token, &mut rng, now, latency_ms)
    }

    /// How often this reference was sent, this call included. Counted only where the behaviour depends on it.
    fn count(&mut self, reference: Reference, token: TokenBehaviour) -> u32 {
        if self.behaviour.is_deterministic() && token != TokenBehaviour::TimeoutNotCharged {
            return 1;
        }
        let sent = self.sent.entry(reference).or_default();
        *sent = sent.saturating_add(1);
        *sent
    }

    fn accept(
        &mut self,
        call: &ProviderCall,
        token: TokenBehaviour,
        rng: &mut SeededRng,
        now: Timestamp,
        latency_ms: u64,
    ) -> CallPlan {
        let lands_at = now.plus_ms(latency_ms);
        let number = self.ledger.next_number();
        let authorization = call
            .provider_reference
            .as_deref()
            .filter(|_| call.reference.operation != Operation::Authorize)
            .and_then(|named| self.ledger.authorization(call.reference.order, named));
        let (first, later) = if call.reference.operation == Operation::Authorize {
            self.authorize(call, token, rng, number, lands_at)
        } else {
            (self.follow_up(call, authorization, rng, number, lands_at), None)
        };
        let entry = Entry {
            number,
            reference: call.reference,
            amount: recorded(call, token, rng.hits(self.behaviour.other_amount_ppm)),
            fingerprint: CallFingerprint::of(call),
            authorization: authorization.map(|entry| entry.number),
            return_url: call.return_url.clone(),
            accepted_at: now,
            lands_at,
            first,
            later,
        };
        let webhooks = self.webhooks_of(&entry, rng);
        let mut report = entry.report(&entry.first);
        if token == TokenBehaviour::OtherReference || rng.hits(self.behaviour.other_reference_ppm) {
            report.reference.attempt = report.reference.attempt.saturating_add(1);
        }
        let lost = token == TokenBehaviour::TimeoutCharged || rng.hits(self.behaviour.timeout_after_ppm);
        let reply = if lost {
            Reply::Silence
        } else if token == TokenBehaviour::ErrorCharged || rng.hits(self.behaviour.error_after_ppm) {
            self.broken.insert(call.reference);
            Reply::Broken
        } else {
            Reply::Answer(report)
        };
        let line = LedgerRecord::Accepted(Box::new(entry));
        self.ledger.take(line.clone()).expect("numbered by this ledger");
        CallPlan { reply, latency_ms, line: Some(line), webhooks }
    }

    /// Rule M10: what has not taken effect never does. The answer is how it stands for good.
    fn cancel(&mut self, call: &ProviderCall, now: Timestamp, latency_ms: u64) -> CallPlan {
        let cancelled = declined("cancelled", Retry::SameMethod);
        let line = match self.ledger.find(call.reference) {
            Some(entry) => match entry.seen(now) {
                // It lands in a moment, and its webhook is on its way: ask again.
                None | Some(ProviderAnswer::Processing { .. }) => return CallPlan::reply(Reply::TooMany, latency_ms),
                Some(ProviderAnswer::RequiresAction { .. }) => {
                    let later = LaterOutcome { at: now, answer: cancelled };
                    Some(LedgerRecord::ActionPlan { number: entry.number, later })
                }
                Some(_) => None,
            },
            None => Some(LedgerRecord::Accepted(Box::new(Entry {
                number: self.ledger.next_number(),
                reference: call.reference,
                amount: call.amount,
                fingerprint: CallFingerprint::of(call),
                authorization: None,
                return_url: None,
                accepted_at: now,
                lands_at: now,
                first: cancelled,
                later: None,
            }))),
        };
        if let Some(line) = &line {
            self.ledger.take(line.clone()).expect("numbered by this ledger");
        }
        let found = self.ledger.find(call.reference).and_then(|entry| Some(entry.report(entry.seen(now)?)));
        let report = found.unwrap_or(ProviderReport::unknown(call.reference));
        CallPlan { reply: Reply::Answer(report), latency_ms, line, webhooks: Vec::new() }
    }

    fn authorize(
        &self,
        call: &ProviderCall,
        token: TokenBehaviour,
        rng: &mut SeededRng,
        number: u64,
        lands_at: Timestamp,
    ) -> (ProviderAnswer, Option<LaterOutcome>) {
        if call.amount.amount <= 0 {
            return (declined("invalid_amount", Retry::Never), None);
        }
        let provider_reference = Ledger::provider_reference(number);
        let authorized = |at: Timestamp| ProviderAnswer::Authorized {
            provider_reference: provider_reference.clone(),
            lapses_at: at.plus_s(self.behaviour.lapse_s),
        };
        // A transfer comes when the shopper has made it, not by itself.
        if call.method.as_deref() == Some("bank_transfer") && call.token.is_none() {
            return self.waits_for_shopper(call, "transfer_to", provider_reference, lands_at);
        }
        let token = if token == TokenBehaviour::Unspecified { self.draw_outcome(rng) } else { token };
        match token {
            TokenBehaviour::Ok
            | TokenBehaviour::Slow
            | TokenBehaviour::TimeoutCharged
            | TokenBehaviour::TimeoutNotCharged
            | TokenBehaviour::ErrorCharged
            | TokenBehaviour::ErrorNotCharged
            | TokenBehaviour::OtherAmount
            | TokenBehaviour::OtherCurrency
            | TokenBehaviour::OtherReference
            | TokenBehaviour::Unspecified => (authorized(lands_at), None),
            TokenBehaviour::DeclineSoft => (declined("insufficient_funds", Retry::SameMethod), None),
            TokenBehaviour::DeclineHard => (declined("card_blocked", Retry::OtherMethod), None),
            TokenBehaviour::Unknown => (declined("unknown_token", Retry::OtherMethod), None),
            TokenBehaviour::Processing => {
                let at = lands_at.plus_ms(self.behaviour.processing_ms);
                let later = LaterOutcome { at, answer: authorized(at) };
                (ProviderAnswer::Processing { provider_reference }, Some(later))
            }
            TokenBehaviour::Action => self.waits_for_shopper(call, "redirect", provider_reference, lands_at),
        }
    }

    /// The shopper has to act at the action's address, in time.
    fn waits_for_shopper(
        &self,
        call: &ProviderCall,
        kind: &'static str,
        provider_reference: CompactString,
        lands_at: Timestamp,
    ) -> (ProviderAnswer, Option<LaterOutcome>) {
        let expires_at = lands_at.plus_s(self.behaviour.action_s);
        let url = format_compact!("{}/actions/{}", self.action_url, call.reference);
        let action = NextAction { kind: kind.into(), url: Some(url), expires_at };
        let later = LaterOutcome { at: expires_at, answer: declined("action_expired", Retry::SameMethod) };
        (ProviderAnswer::RequiresAction { provider_reference, action }, Some(later))
    }

    /// Draws the outcome of an authorization whose token does not determine it.
    fn draw_outcome(&self, rng: &mut SeededRng) -> TokenBehaviour {
        if rng.hits(self.behaviour.decline_soft_ppm) {
            TokenBehaviour::DeclineSoft
        } else if rng.hits(self.behaviour.decline_hard_ppm) {
            TokenBehaviour::DeclineHard
        } else if rng.hits(self.behaviour.processing_ppm) {
            TokenBehaviour::Processing
        } else {
            TokenBehaviour::Ok
        }
    }

    /// Capture, void or refund. Invariants: `refunded ≤ captured ≤ authorized`; a void lets go of what was not captured, and there must be some.
    fn follow_up(
        &self,
        call: &ProviderCall,
        authorization: Option<&Entry>,
        rng: &mut SeededRng,
        number: u64,
        lands_at: Timestamp,
    ) -> ProviderAnswer {
        let Some(entry) = authorization else { return declined("no_such_authorization", Retry::Never) };
        // An authorization that has not landed cannot be used: the caller has no answer that names it.
        let Some(ProviderAnswer::Authorized { lapses_at, .. }) = entry.seen(lands_at) else {
            return declined("not_authorized", Retry::Never);
        };
        let used = self.ledger.used(entry);
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
            Operation::Void if used.captured >= entry.amount.amount => Some("already_captured"),
            Operation::Refund if used.refunded.saturating_add(amount) > used.captured => {
                Some("amount_exceeds_captured")
            }
            Operation::Capture | Operation::Void | Operation::Refund => None,
        };
        if let Some(code) = refusal {
            return declined(code, Retry::Never);
        }
        if rng.hits(self.behaviour.follow_up_soft_ppm) {
            return declined("try_again", Retry::SameMethod);
        }
        if rng.hits(self.behaviour.follow_up_hard_ppm) {
            return declined("refused", Retry::Never);
        }
        ProviderAnswer::Succeeded { provider_reference: Ledger::provider_reference(number) }
    }

    /// Applies a shopper's action to an authorization that waits for it. A second action repeats the first; a late one has no effect.
    pub fn act(&mut self, reference: Reference, act: ShopperAction, now: Timestamp) -> ActionPlan {
        let nothing = ActionPlan { answer: None, return_url: None, line: None, webhooks: Vec::new() };
        let Some(entry) = self.ledger.find(reference) else { return nothing };
        let ProviderAnswer::RequiresAction { provider_reference, .. } = &entry.first else { return nothing };
        let return_url = entry.return_url.clone();
        match entry.seen(now) {
            None => return nothing,
            Some(ProviderAnswer::RequiresAction { .. }) => {}
            Some(settled) => return ActionPlan { answer: Some(settled.clone()), return_url, ..nothing },
        }
        let answer = match act {
            ShopperAction::Ok => ProviderAnswer::Authorized {
                provider_reference: provider_reference.clone(),
                lapses_at: now.plus_s(self.behaviour.lapse_s),
            },
            ShopperAction::Fail => declined("authentication_failed", Retry::SameMethod),
        };
        let later = LaterOutcome { at: now, answer: answer.clone() };
        let mut rng = SeededRng::of(self.seed, reference, u32::MAX);
        let webhooks = self.webhook_copies(entry, &later.answer, now, &mut rng);
        let line = LedgerRecord::ActionPlan { number: entry.number, later };
        match self.ledger.take(line.clone()) {
            Ok(()) => ActionPlan { answer: Some(answer), return_url, line: Some(line), webhooks },
            Err(_not_there) => nothing,
        }
    }

    fn webhooks_of(&self, entry: &Entry, rng: &mut SeededRng) -> Vec<(Timestamp, WebhookEvent)> {
        match (&entry.first, &entry.later) {
            // An expired action is reported to a query only: before its time limit the shopper may still act.
            (ProviderAnswer::RequiresAction { .. }, _) => Vec::new(),
            (_, Some(later)) => self.webhook_copies(entry, &later.answer, later.at, rng),
            (first, None) if self.behaviour.webhooks.every_outcome => {
                self.webhook_copies(entry, first, entry.lands_at, rng)
            }
            (_, None) => Vec::new(),
        }
    }

    /// The copies of the webhook for an outcome at `at`.
    fn webhook_copies(
        &self,
        entry: &Entry,
        answer: &ProviderAnswer,
        at: Timestamp,
        rng: &mut SeededRng,
    ) -> Vec<(Timestamp, WebhookEvent)> {
        let behaviour = &self.behaviour.webhooks;
        if rng.hits(behaviour.lost_ppm) {
            return Vec::new();
        }
        let event = WebhookEvent { id: format_compact!("evt_{}", entry.reference), report: entry.report(answer) };
        let copies = rng.upto(behaviour.copies_max.saturating_sub(1)).saturating_add(1);
        let copy = |_| {
            let most = if rng.hits(behaviour.very_late_ppm) {
                behaviour.late_ms.saturating_mul(10)
            } else {
                behaviour.late_ms
            };
            (at.plus_ms(rng.upto(most)), event.clone())
        };
        (0..copies).map(copy).collect()
    }
}

impl CallPlan {
    const fn reply(reply: Reply, latency_ms: u64) -> Self {
        Self { reply, latency_ms, line: None, webhooks: Vec::new() }
    }
}

/// The amount that the provider records: that of the call, unless it makes a mistake.
fn recorded(call: &ProviderCall, token: TokenBehaviour, is_other: bool) -> Money {
    let Money { amount, currency } = call.amount;
    if token == TokenBehaviour::OtherCurrency {
        let other = if currency.as_str() == "EUR" { "USD" } else { "EUR" };
        return Currency::parse(other).map_or(call.amount, |currency| Money { amount, currency });
    }
    let is_other = token == TokenBehaviour::OtherAmount || is_other && call.reference.operation == Operation::Authorize;
    Money { amount: if is_other { amount.saturating_add(1) } else { amount }, currency }
}

fn declined(code: &str, retry: Retry) -> ProviderAnswer {
    ProviderAnswer::Declined { code: code.into(), retry }
}
