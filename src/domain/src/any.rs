//! Entities of all kinds as one: what the shell, the router and the journal carry.
//!
//! It lies above the machines. The messages are in [`message`](super::message), below them, and are re-exported here.

pub use super::message::{Command, Event, Refusal, Reply};

use super::effect::{Effect, EffectKey, Outcome};
use super::entity::{Books, Decision, Entity, PublicView, Residency, Wait};
use super::ids::{EntityId, Sku};
use super::kinds::each_kind;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use std::borrow::Cow;

macro_rules! states {
    ($($kind:ident => $module:ident :: $state:ident),+ $(,)?) => {
        /// The state of an entity of any kind. Order and cart are boxed: they are the many.
        #[derive(Debug, Clone, PartialEq)]
        pub enum State { $( #[doc = stringify!($kind)] $kind(Box<crate::$module::$state>) ),+ }

        impl State {
            /// The empty state of the entity's kind: what its events are replayed onto.
            #[must_use]
            pub fn empty(id: &EntityId) -> Self {
                match id { $( EntityId::$kind(_) => Self::$kind(Box::default()) ),+ }
            }

            /// See [`Entity::decide`].
            pub fn decide(&self, command: &Command, now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
                match (self, command) {
                    $( (Self::$kind(state), Command::$kind(command)) => state.decide(command, now)
                        .map(|decision| Decision {
                            events: decision.events.into_iter().map(Event::$kind).collect(),
                            reply: Reply::$kind(decision.reply),
                            repeated: decision.repeated,
                        })
                        .map_err(Refusal::$kind), )+
                    $( (Self::$kind(state), Command::Wake) => match state.decide(&crate::$module::Command::Wake, now) {
                        Ok(decision) => Ok(Decision {
                            events: decision.events.into_iter().map(Event::$kind).collect(),
                            reply: Reply::Done,
                            repeated: false,
                        }),
                        Err(refusal) => Err(Refusal::$kind(refusal)),
                    }, )+
                    _ => Err(Refusal::WrongKind),
                }
            }

            /// Decides on a command of a principal, if it is permitted, and as far as it is ([`Entity::permitted`], rule P4).
            ///
            /// # Errors
            /// See [`Entity::decide`]; [`Refusal::NotYours`] for what is another's.
            pub fn decide_for(
                &self,
                by: &Principal,
                command: &Command,
                now: Timestamp,
            ) -> Result<Decision<Event, Reply>, Refusal> {
                if by.is_inside() {
                    return self.decide(command, now);
                }
                let meant = match (self, command) {
                    $( (Self::$kind(state), Command::$kind(command)) => match state.permitted(by, command) {
                        Ok(Cow::Borrowed(_)) => None,
                        Ok(Cow::Owned(meant)) => Some(Command::$kind(meant)),
                        Err(Denied::NotYours) => return Err(Refusal::NotYours),
                        Err(Denied::Refused(refusal)) => return Err(Refusal::$kind(refusal)),
                    }, )+
                    _ => None,
                };
                self.decide(meant.as_ref().unwrap_or(command), now)
            }

            /// See [`Entity::evolve`].
            ///
            /// # Panics
            /// When the event is of another kind: the journal filed it under an entity it does not belong to.
            pub fn evolve(&mut self, event: &Event) {
                match (self, event) {
                    $( (Self::$kind(state), Event::$kind(event)) => state.evolve(event), )+
                    (state, event) => panic!("an event of another kind: {event:?} for {state:?}"),
                }
            }

            /// See [`Entity::owed`].
            #[must_use]
            pub fn owed(&self, now: Timestamp) -> Vec<EffectKey> {
                match self { $( Self::$kind(state) => state.owed(now) ),+ }
            }

            /// See [`Entity::effect`].
            #[must_use]
            pub fn effect(&self, key: EffectKey) -> Option<Effect> {
                match self { $( Self::$kind(state) => state.effect(key) ),+ }
            }

            /// See [`Entity::answered`].
            #[must_use]
            pub fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
                match self { $( Self::$kind(state) => state.answered(key, outcome).map(Command::$kind) ),+ }
            }

            /// See [`Entity::wake_at`].
            #[must_use]
            pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
                match self { $( Self::$kind(state) => state.wake_at(now) ),+ }
            }

            /// See [`Entity::reached`].
            #[must_use]
            pub fn reached(&self, wait: Wait) -> bool {
                match self { $( Self::$kind(state) => state.reached(wait) ),+ }
            }

            /// See [`Entity::ANSWERS_WITH_STATE`].
            #[must_use]
            pub const fn answers_with_state(&self) -> bool {
                match self { $( Self::$kind(_) => crate::$module::$state::ANSWERS_WITH_STATE ),+ }
            }

            /// See [`Entity::public_view`].
            #[must_use]
            pub fn public_view(&self, whole: bool) -> Option<PublicView> {
                match self { $( Self::$kind(state) => state.public_view(whole) ),+ }
            }

            /// See [`Entity::is_erased`].
            #[must_use]
            pub fn is_erased(&self) -> bool {
                match self { $( Self::$kind(state) => Entity::is_erased(&**state) ),+ }
            }
        }

        impl Event {
            /// See [`Entity::changes_view_details`].
            #[must_use]
            pub fn changes_view_details(&self) -> bool {
                match self { $( Self::$kind(event) => crate::$module::$state::changes_view_details(event) ),+ }
            }
        }

        impl Command {
            /// See [`Entity::step_name`].
            #[must_use]
            pub fn step_name(&self) -> &'static str {
                match self {
                    $( Self::$kind(command) => crate::$module::$state::step_name(command), )+
                    Self::Wake => "other",
                }
            }
        }

        impl EntityId {
            /// See [`Entity::BOOKS`].
            #[must_use]
            pub const fn books(&self) -> Books {
                match self { $( Self::$kind(_) => crate::$module::$state::BOOKS ),+ }
            }

            /// See [`Entity::erasure`].
            #[must_use]
            pub fn erasure(&self) -> Option<Command> {
                match self { $( Self::$kind(_) => crate::$module::$state::erasure().map(Command::$kind) ),+ }
            }

            /// See [`Entity::RESIDENCY`].
            #[must_use]
            pub const fn residency(&self) -> Residency {
                match self { $( Self::$kind(_) => crate::$module::$state::RESIDENCY ),+ }
            }

            /// See [`Entity::published_as`].
            #[must_use]
            pub fn published_as(&self) -> Option<&Sku> {
                match self { $( Self::$kind(id) => crate::$module::$state::published_as(id) ),+ }
            }
        }
    };
}

each_kind!(states);
