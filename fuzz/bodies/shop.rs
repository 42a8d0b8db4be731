//! A shop without actors, stores or sockets: entities in memory that decide one after the other, so that the same requests always give the
//! same answers.
//!
//! ```text
//! ask ──decide──► events ──written, read again──► evolve ──owed──► other entities, a provider that answers at once ──► …
//! ```

use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_actors::view::Stock;
use doorbuster_api::{Journaled, Shop, Unavailable, Webhook, WebhookError};
use doorbuster_domain::any::{Command, Refusal, Reply, State};
use doorbuster_domain::effect::{Effect, Outcome};
use doorbuster_domain::entity::Decision;
use doorbuster_domain::ids::{EntityId, Sku};
use doorbuster_domain::inventory::{Level, Levels};
use doorbuster_domain::payment::{NextAction, Operation, ProviderAnswer, ProviderCall, ProviderReport, Retry};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::{laws, order};
use doorbuster_payments::{WebhookHeaders, WebhookSecret};
use doorbuster_storage::Shard;
use doorbuster_storage::wire::{self, Decided, Meta};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// When the shop opens; each request comes a minute after the one before.
pub const START: Timestamp = Timestamp(1_750_000_000_000);
const BETWEEN_REQUESTS_S: u64 = 60;
/// Rounds of effects until an entity owes nothing that can be answered: far above what any saga needs.
const ROUNDS_MAX: usize = 200;
const WEBHOOK_SECRET: [u8; 32] = [9; 32];

/// Everything the shop knows.
#[derive(Debug, Clone, Default)]
pub struct Books {
    entities: BTreeMap<EntityId, Kept>,
    requests: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    state: State,
    meta: Meta,
    journal: Vec<Decided>,
}

/// The shop; its clones are the same shop.
#[derive(Debug, Clone, Default)]
pub struct InMemory(Arc<Mutex<Books>>);

impl InMemory {
    fn books(&self) -> MutexGuard<'_, Books> {
        // Poisoned by a panic inside, which the API turns into a 500: that is found there.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Another shop's books in place of its own.
    pub fn set(&self, books: Books) {
        *self.books() = books;
    }

    /// Its books.
    pub fn get(&self) -> Books {
        self.books().clone()
    }

    /// The next request comes: time has passed, and whatever was due by then has happened.
    pub fn next_request(&self) {
        let mut books = self.books();
        books.requests += 1;
        let now = books.now();
        let due: Vec<EntityId> = books.entities.keys().cloned().collect();
        for entity in due {
            let wakes = books.entities[&entity].state.wake_at(Timestamp(0)).is_some_and(|at| at <= now);
            if wakes && books.decide(&entity, &Command::Wake, &Principal::System).is_ok() {
                books.settle(entity);
            }
        }
    }

    /// Every entity keeps its laws.
    pub fn check_laws(&self) {
        for (id, kept) in &self.books().entities {
            match &kept.state {
                State::Inventory(stock) => {
                    laws::stock_is_lawful(stock).unwrap_or_else(|broken| panic!("{id}: {broken}"));
                }
                State::Order(order) => {
                    order::laws::all(order).unwrap_or_else(|broken| panic!("{id}: {broken}"));
                }
                State::Counter(counter) => {
                    laws::a_counter_counts_its_grants(counter).unwrap_or_else(|broken| panic!("{id}: {broken}"));
                }
                State::Cart(_) | State::Product(_) | State::Warehouse(_) | State::Reservation(_) => {}
            }
        }
    }
}

impl Books {
    fn now(&self) -> Timestamp {
        START.plus_s(self.requests * BETWEEN_REQUESTS_S)
    }

    fn kept(&mut self, entity: &EntityId) -> &mut Kept {
        let empty = || Kept { state: State::empty(entity), meta: Meta::default(), journal: Vec::new() };
        self.entities.entry(entity.clone()).or_insert_with(empty)
    }

    /// One decision; what it says happened is written and read as a store would.
    fn decide(&mut self, entity: &EntityId, command: &Command, by: &Principal) -> Result<(Reply, bool), Refusal> {
        let now = self.now();
        let kept = self.kept(entity);
        let Decision { events, reply, repeated } = kept.state.decide_for(by, command, now)?;
        if !events.is_empty() {
            let decided =
                Decided { entity: entity.clone(), number: kept.meta.version + 1, at: now, by: by.by(), events };
            let read = wire::decode(&wire::encode(&decided)).expect("what was decided can be written and read");
            assert_eq!(read, decided, "what was decided is read as it was");
            read.events.iter().for_each(|event| kept.state.evolve(event));
            kept.meta.after(read.events.len(), now);
            kept.journal.push(read);
        }
        Ok((reply, repeated))
    }

    /// Does what an entity and those it asks owe, until nothing that can be answered is owed.
    fn settle(&mut self, first: EntityId) {
        let mut waiting = VecDeque::from([first]);
        for _ in 0..ROUNDS_MAX {
            let Some(entity) = waiting.pop_front() else { return };
            let now = self.now();
            let owed = self.kept(&entity).state.owed(now);
            let mut moved = false;
            for key in owed {
                let Some(effect) = self.kept(&entity).state.effect(key) else { continue };
                let outcome = match effect {
                    Effect::Ask { to, command } => {
                        let answer = self.decide(&to, &command, &Principal::System);
                        waiting.push_back(to);
                        answer.map_or_else(Outcome::Refused, |(reply, _)| Outcome::Replied(reply))
                    }
                    Effect::Provider(call) => {
                        Outcome::Provider(Box::new(ProviderReport::of(&call, provider_says(&call, now))))
                    }
                };
                let before = self.kept(&entity).meta.version;
                if let Some(command) = self.kept(&entity).state.answered(key, outcome) {
                    let answer = self.decide(&entity, &command, &Principal::System);
                    assert!(answer.is_ok(), "{entity} refuses what was answered to it: {command:?}: {answer:?}");
                    moved |= self.kept(&entity).meta.version > before;
                }
            }
            if moved {
                waiting.push_back(entity);
            }
        }
    }

    fn levels(&self, sku: &Sku) -> Option<Levels> {
        match &self.entities.get(&EntityId::Inventory(sku.clone()))?.state {
            State::Inventory(stock) => Some(stock.read()),
            State::Order(_)
            | State::Cart(_)
            | State::Product(_)
            | State::Warehouse(_)
            | State::Reservation(_)
            | State::Counter(_) => None,
        }
    }
}

/// The provider answers at once, as the token says.
fn provider_says(call: &ProviderCall, now: Timestamp) -> ProviderAnswer {
    let provider_reference = "sim_1".into();
    match (call.reference.operation, call.token.as_deref()) {
        (Operation::Authorize, Some("tok_ok")) => {
            ProviderAnswer::Authorized { provider_reference, lapses_at: now.plus_s(5 * 86_400) }
        }
        (Operation::Authorize, Some("tok_decline_soft")) => {
            ProviderAnswer::Declined { code: "insufficient_funds".into(), retry: Retry::OtherMethod }
        }
        (Operation::Authorize, Some("tok_action")) => ProviderAnswer::RequiresAction {
            provider_reference,
            action: NextAction { kind: "redirect".into(), url: None, expires_at: now.plus_s(600) },
        },
        (Operation::Authorize, Some("tok_slow")) => ProviderAnswer::Processing { provider_reference },
        (Operation::Authorize, _) => ProviderAnswer::Unknown,
        (Operation::Capture | Operation::Void | Operation::Refund, _) => {
            ProviderAnswer::Succeeded { provider_reference }
        }
    }
}

impl Shop for InMemory {
    async fn ask(&self, ask: Ask) -> Answer {
        let Ask { entity, command, by, if_version, reject_if_absent, .. } = ask;
        let mut books = self.books();
        let version = books.entities.get(&entity).map_or(0, |kept| kept.meta.version);
        if let (Some(refusal), 0) = (reject_if_absent, version) {
            return Answer::Refused(*refusal);
        }
        if if_version.is_some_and(|wanted| wanted != version) {
            return Answer::Stale { version };
        }
        match books.decide(&entity, &command, &by) {
            Ok((reply, repeated)) => {
                books.settle(entity.clone());
                let kept = books.kept(&entity);
                let state = match &kept.state {
                    State::Inventory(_) => None,
                    other => Some(Arc::new(other.clone())),
                };
                let (meta, shard, seq) = (kept.meta, Shard(0), kept.meta.version);
                Answer::Accepted(Box::new(Accepted { reply, state, meta, repeated, shard, seq }))
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn availability(&self, sku: &Sku) -> Option<Stock> {
        let levels = self.books().levels(sku)?;
        let available = levels.levels.iter().map(Level::available).sum();
        let (reserved, next_release_at, version) = (levels.reserved(), levels.next_release_at, levels.version);
        Some(Stock { available, reserved, next_release_at, version, levels: Some(Arc::new(levels)) })
    }

    async fn history(&self, entity: &EntityId, from: u64, limit: usize) -> Result<Vec<Journaled>, Unavailable> {
        let books = self.books();
        let journal = books.entities.get(entity).map(|kept| kept.journal.as_slice()).unwrap_or_default();
        let wanted = journal.iter().filter(|decided| decided.last_number() >= from).take(limit);
        let shown = |decided: &Decided| Journaled { shard: Shard(0), seq: decided.number, decided: decided.clone() };
        Ok(wanted.map(shown).collect())
    }

    fn now(&self) -> Timestamp {
        self.books().now()
    }

    fn random(&self) -> [u8; 16] {
        [3; 16]
    }

    /// The fuzzer cannot sign; what comes is signed here, so that its body is read.
    fn webhook(&self, provider: &str, _: &hyper::HeaderMap, body: &[u8]) -> Result<Webhook, WebhookError> {
        if provider != "simulated" {
            return Err(WebhookError::UnknownProvider);
        }
        let now = self.now();
        let timestamp = (now.0 / 1_000).to_string();
        let signature = super::http::signature(&WEBHOOK_SECRET, "1", &timestamp, body);
        let headers = WebhookHeaders { id: "1", timestamp: &timestamp, signature: &signature };
        let secret = WebhookSecret::of(&WEBHOOK_SECRET).expect("long enough");
        let event = secret.verify(headers, body, now).map_err(|_other_form| WebhookError::Malformed)?;
        Ok(Webhook { report: event.report })
    }
}
