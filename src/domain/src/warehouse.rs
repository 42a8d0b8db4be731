//! A warehouse: its name, its address, and its rank among others.

use super::effect::{Effect, EffectKey, Outcome};
use super::entity::{Decision, Entity, Residency};
use super::ids::WarehouseId;
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode, text};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Characters of a warehouse's name.
pub const NAME_MAX: usize = 100;
/// Characters of a postal code.
pub const POSTAL_CODE_MAX: usize = 20;

/// A seller's data of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Details {
    /// Name for the seller's staff, at most [`NAME_MAX`] characters.
    #[cbor(n(0), with = "text")]
    pub name: CompactString,
    /// ISO 3166-1 alpha-2, in capitals.
    #[cbor(n(1), with = "text")]
    pub country: CompactString,
    /// Postal code, at most [`POSTAL_CODE_MAX`] characters.
    #[cbor(n(2), with = "text")]
    pub postal_code: Option<CompactString>,
    /// May orders be shipped from it?
    #[n(3)]
    pub active: bool,
    /// Rank among the seller's warehouses; lower comes first.
    #[n(4)]
    pub priority: u32,
}

/// A command to a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have passed.
    Wake,
    /// Reads it; the state comes with the answer.
    Read,
    /// Sets all data of it.
    Put {
        /// As it is to be.
        details: Details,
        /// The version from `If-Match`; another version is refused.
        expected_version: Option<u64>,
    },
}

/// An event of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// A PUT changed it.
    #[n(0)]
    Put {
        /// The whole warehouse from now on.
        #[n(0)]
        details: Details,
    },
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command took effect, now or before.
    Done,
}

/// A refusal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such warehouse.
    Unknown,
    /// Its version is another than the expected one.
    Stale {
        /// The warehouse's; 0: it does not exist.
        current: u64,
    },
    /// A field is too long or invalid.
    Invalid {
        /// Such as `/country`.
        pointer: Cow<'static, str>,
    },
}

/// The state of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Warehouse {
    /// How many changes it has had; the `ETag` of its answers.
    #[n(0)]
    version: u64,
    /// The seller's data; `None` before it is created.
    #[n(1)]
    details: Option<Details>,
}

impl Warehouse {
    /// Events so far: the resource's version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The last data of it; `None`: it does not exist.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        self.details.as_ref()
    }
}

fn check(details: &Details) -> Result<(), Refusal> {
    let length = details.name.chars().count();
    if length == 0 || length > NAME_MAX {
        return Err(Refusal::Invalid { pointer: "/name".into() });
    }
    if details.country.len() != 2 || !details.country.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Refusal::Invalid { pointer: "/country".into() });
    }
    if details.postal_code.as_ref().is_some_and(|code| code.chars().count() > POSTAL_CODE_MAX) {
        return Err(Refusal::Invalid { pointer: "/postal_code".into() });
    }
    Ok(())
}

impl Entity for Warehouse {
    type Id = WarehouseId;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;

    const RESIDENCY: Residency = Residency::LongLived;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        match command {
            Command::Wake => Ok(Decision::nothing(Reply::Done)),
            Command::Read if self.details.is_none() => Err(Refusal::Unknown),
            Command::Read => Ok(Decision::nothing(Reply::Done)),
            Command::Put { details, expected_version } => {
                check(details)?;
                match expected_version {
                    Some(version) if *version != self.version => Err(Refusal::Stale { current: self.version }),
                    Some(_) | None if self.details.as_ref() == Some(details) => Ok(Decision::again(Reply::Done)),
                    Some(_) | None => Ok(Decision::one(Event::Put { details: details.clone() }, Reply::Done)),
                }
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.version = self.version.saturating_add(1);
        match event {
            Event::Put { details } => self.details = Some(details.clone()),
        }
    }

    fn owed(&self, _now: Timestamp) -> Vec<EffectKey> {
        Vec::new()
    }

    fn effect(&self, _key: EffectKey) -> Option<Effect> {
        None
    }

    fn answered(&self, _key: EffectKey, _outcome: Outcome) -> Option<Command> {
        None
    }

    fn wake_at(&self, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, expected_version: Option<u64>) -> Command {
        let details = Details { name: name.into(), country: "GB".into(), active: true, ..Details::default() };
        Command::Put { details, expected_version }
    }

    #[test]
    fn the_same_put_twice_is_one_event() {
        let mut warehouse = Warehouse::default();
        let first = warehouse.decide(&put("London", None), Timestamp(1)).unwrap();
        first.events.iter().for_each(|event| warehouse.evolve(event));
        assert_eq!(warehouse.decide(&put("London", None), Timestamp(2)), Ok(Decision::again(Reply::Done)));
        assert_eq!(warehouse.version(), 1);
    }

    #[test]
    fn a_put_that_saw_another_version_is_refused() {
        let warehouse = Warehouse::default();
        assert_eq!(warehouse.decide(&put("London", Some(3)), Timestamp(1)), Err(Refusal::Stale { current: 0 }));
    }

    #[test]
    fn a_country_that_is_none_is_refused() {
        let details = Details { name: "x".into(), country: "gb".into(), ..Details::default() };
        let command = Command::Put { details, expected_version: None };
        assert_eq!(
            Warehouse::default().decide(&command, Timestamp(1)),
            Err(Refusal::Invalid { pointer: "/country".into() })
        );
    }
}
