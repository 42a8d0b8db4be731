//! A warehouse: its name, its address, its rank among others, and the SKUs that have stock in it.
//!
//! ```text
//! Stock ──► Stocked (before units of the SKU are booked) ──owes, while it is not active──► SetWarehouse to the SKU ──► Heard
//! PUT that changes `active` ──owes──► SetWarehouse to every SKU with stock in it ──► Heard
//! ```
//!
//! Units in a warehouse that is not active are not for sale. The SKU decides that, so it must know. The newest version wins at the SKU, so that
//! messages may overtake each other; one that is lost in a crash is owed until the SKU has answered.

use super::effect::{Effect, EffectKey, OWED_MAX, Outcome};
use super::entity::{Decision, Entity, Residency, Wait};
use super::ids::{EntityId, Sku, WarehouseId};
use super::inventory;
use super::message;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode, text};
use crate::country::is_country;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a warehouse's name.
pub const NAME_MAX: usize = 100;
/// The most SKUs with stock in one warehouse, some 25 bytes each in its stored row.
pub const SKUS_MAX: usize = 500_000;
/// The only step that owes an effect: telling a SKU whether its units here are for sale.
const STEP_ACTIVE: u8 = 1;
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
    /// Reads it.
    Read,
    /// Sets all data of it.
    Put {
        /// As it is to be.
        details: Details,
        /// The version from `If-Match`; another version is refused.
        expected_version: Option<u64>,
        /// The account to which it belongs if this makes it; `None`: the platform's.
        owner: Option<CompactString>,
    },
    /// Units of a SKU are about to be booked here.
    Stock {
        /// Its own id.
        warehouse: WarehouseId,
        /// The id of the SKU.
        sku: Sku,
    },
    /// A SKU has answered; made by `answered`, never sent by others.
    Heard {
        /// The SKU's number within the warehouse.
        number: u32,
        /// The version that it was told.
        version: u64,
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
        /// The account to which it belongs from the first on; `None`: the platform's.
        #[cbor(n(1), with = "text")]
        owner: Option<CompactString>,
    },
    /// Units of one more SKU may be booked here from now on.
    #[n(1)]
    Stocked {
        /// Its own id.
        #[n(0)]
        warehouse: WarehouseId,
        /// The id of the SKU.
        #[n(1)]
        sku: Sku,
    },
    /// A SKU knows whether the warehouse is active.
    #[n(2)]
    Heard {
        /// The SKU's number within the warehouse, from 0, by `Stocked`.
        #[n(0)]
        number: u32,
        /// The version that it was told.
        #[n(1)]
        version: u64,
    },
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command took effect, now or before.
    Done,
    /// The answer to `Read`, `Put` and `Stock`: the warehouse after it.
    Described {
        /// The seller's data.
        details: Box<Details>,
        /// The resource's version.
        version: u64,
    },
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
    /// The name is another account's.
    NameTaken,
    /// Too many SKUs have stock in it.
    Full {
        /// The largest number allowed.
        limit: usize,
    },
}

/// The state of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Warehouse {
    /// PUTs so far that changed something; the `ETag` of its answers.
    #[n(0)]
    version: u64,
    /// The seller's data; `None` before it is created.
    #[n(1)]
    details: Option<Details>,
    /// The SKUs with stock in it; `None` before the first.
    #[n(2)]
    stocked: Option<Stocked>,
    /// The account to which it belongs; `None`: the platform's, as does every warehouse that was made before there were owners.
    #[cbor(n(3), with = "text")]
    owner: Option<CompactString>,
}

/// The SKUs with stock in a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
struct Stocked {
    /// The warehouse, for what the SKUs are told.
    #[n(0)]
    warehouse: WarehouseId,
    /// By number: the order in which they came.
    #[n(1)]
    skus: Vec<Sku>,
    /// Numbers of SKUs that have not answered to the newest change of `active`.
    #[n(2)]
    unheard: BTreeSet<u32>,
    /// The numbers of the SKUs; follows from `skus`.
    #[cbor(skip)]
    numbers: BTreeMap<Sku, u32>,
}

impl Warehouse {
    /// A stored warehouse, with what is not stored but follows: the numbers of its SKUs.
    #[must_use]
    pub fn restored(mut self) -> Self {
        if let Some(stocked) = &mut self.stocked {
            stocked.numbers = (0..).zip(&stocked.skus).map(|(number, sku)| (sku.clone(), number)).collect();
        }
        self
    }

    /// PUTs so far that changed something: the resource's version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The last data of it; `None`: it does not exist.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        self.details.as_ref()
    }

    /// What a caller sees of it.
    fn described(&self) -> Result<Reply, Refusal> {
        let details = self.details.clone().ok_or(Refusal::Unknown)?;
        Ok(Reply::Described { details: Box::new(details), version: self.version })
    }

    fn put(
        &self,
        details: &Details,
        expected: Option<u64>,
        owner: Option<&CompactString>,
    ) -> Result<Decision<Event, Reply>, Refusal> {
        check(details)?;
        if expected.is_some_and(|version| version != self.version) {
            return Err(Refusal::Stale { current: self.version });
        }
        let described = |version: u64| Reply::Described { details: Box::new(details.clone()), version };
        if self.details.as_ref() == Some(details) {
            return Ok(Decision::again(described(self.version)));
        }
        let reply = described(self.version.saturating_add(1));
        let owner = if self.details.is_none() { owner } else { self.owner.as_ref() }.cloned();
        Ok(Decision::one(Event::Put { details: details.clone(), owner }, reply))
    }

    fn stock(&self, warehouse: &WarehouseId, sku: &Sku) -> Result<Decision<Event, Reply>, Refusal> {
        let reply = self.described()?;
        if self.stocked.as_ref().is_some_and(|stocked| stocked.numbers.contains_key(sku)) {
            return Ok(Decision::again(reply));
        }
        if self.stocked.as_ref().is_some_and(|stocked| stocked.skus.len() >= SKUS_MAX) {
            return Err(Refusal::Full { limit: SKUS_MAX });
        }
        Ok(Decision::one(Event::Stocked { warehouse: warehouse.clone(), sku: sku.clone() }, reply))
    }

    /// Is it this seller's?
    fn is_of(&self, account: &str) -> bool {
        self.owner.as_deref() == Some(account)
    }

    fn is_active(&self) -> bool {
        self.details.as_ref().is_none_or(|details| details.active)
    }

    fn take_put(&mut self, details: &Details, owner: Option<&CompactString>) {
        self.owner = owner.cloned();
        let changed = self.is_active() != details.active;
        self.version = self.version.saturating_add(1);
        self.details = Some(details.clone());
        if let Some(stocked) = self.stocked.as_mut().filter(|_| changed) {
            stocked.unheard = stocked.numbers.values().copied().collect();
        }
    }

    fn take_stocked(&mut self, warehouse: &WarehouseId, sku: &Sku) {
        let active = self.is_active();
        let stocked = self.stocked.get_or_insert_default();
        let number = u32::try_from(stocked.skus.len()).unwrap_or(u32::MAX);
        stocked.warehouse = warehouse.clone();
        stocked.skus.push(sku.clone());
        stocked.numbers.insert(sku.clone(), number);
        if !active {
            stocked.unheard.insert(number);
        }
    }

    /// Numbers of the SKUs that are owed the newest version.
    fn unheard(&self) -> impl Iterator<Item = u32> + '_ {
        self.stocked.iter().flat_map(|stocked| &stocked.unheard).copied()
    }

    /// The SKU that a key tells the newest version, if it has not answered.
    fn owed_to(&self, key: EffectKey) -> Option<&Sku> {
        let is_current = key.step == STEP_ACTIVE && key.part == low_half(self.version);
        let stocked = self.stocked.as_ref().filter(|stocked| is_current && stocked.unheard.contains(&key.subject))?;
        stocked.skus.get(usize::try_from(key.subject).ok()?)
    }
}

fn low_half(version: u64) -> u32 {
    u32::try_from(version & u64::from(u32::MAX)).unwrap_or(0)
}

fn check(details: &Details) -> Result<(), Refusal> {
    let length = details.name.chars().count();
    if length == 0 || length > NAME_MAX {
        return Err(Refusal::Invalid { pointer: "/name".into() });
    }
    if !is_country(&details.country) {
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
    /// Its state names every SKU with stock in it.
    const ANSWERS_WITH_STATE: bool = false;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Decision<Event, Reply>, Refusal> {
        match command {
            Command::Wake => Ok(Decision::nothing(Reply::Done)),
            Command::Read => Ok(Decision::nothing(self.described()?)),
            Command::Put { details, expected_version, owner } => self.put(details, *expected_version, owner.as_ref()),
            Command::Stock { warehouse, sku } => self.stock(warehouse, sku),
            // An answer to an older version is no news: the newest is still owed.
            Command::Heard { number, version }
                if *version == self.version
                    && self.stocked.as_ref().is_some_and(|all| all.unheard.contains(number)) =>
            {
                Ok(Decision::one(Event::Heard { number: *number, version: *version }, Reply::Done))
            }
            Command::Heard { .. } => Ok(Decision::again(Reply::Done)),
        }
    }

    /// A warehouse is its owner's and the platform's: nobody else books in it, changes it or reads it.
    fn permitted<'c>(&self, by: &Principal, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        match by {
            Principal::System | Principal::Operator | Principal::Provider(_) | Principal::Platform(_) => {
                Ok(Cow::Borrowed(command))
            }
            Principal::Guest(_) | Principal::Holder(_) | Principal::Anyone => Err(Denied::NotYours),
            Principal::Seller(account) => match command {
                Command::Put { .. } if self.details.is_some() && !self.is_of(&account.id) => {
                    Err(Denied::Refused(Refusal::NameTaken))
                }
                Command::Put { details, expected_version, owner: _ } => Ok(Cow::Owned(Command::Put {
                    details: details.clone(),
                    expected_version: *expected_version,
                    owner: Some(account.id.clone()),
                })),
                Command::Read | Command::Stock { .. } if self.details.is_none() || self.is_of(&account.id) => {
                    Ok(Cow::Borrowed(command))
                }
                Command::Wake | Command::Read | Command::Stock { .. } | Command::Heard { .. } => Err(Denied::NotYours),
            },
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Put { details, owner } => self.take_put(details, owner.as_ref()),
            Event::Stocked { warehouse, sku } => self.take_stocked(warehouse, sku),
            Event::Heard { number, version: _ } => {
                if let Some(stocked) = &mut self.stocked {
                    stocked.unheard.remove(number);
                }
            }
        }
    }

    fn owed(&self, _now: Timestamp) -> Vec<EffectKey> {
        let part = low_half(self.version);
        let key = |number: u32| EffectKey { step: STEP_ACTIVE, subject: number, part };
        self.unheard().take(OWED_MAX).map(key).collect()
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        let to = EntityId::Inventory(self.owed_to(key)?.clone());
        let warehouse = self.stocked.as_ref()?.warehouse.clone();
        let (active, version) = (self.is_active(), self.version);
        let command = inventory::Command::SetWarehouse { warehouse, active, version };
        Some(Effect::Ask { to, command: message::Command::Inventory(command) })
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        self.owed_to(key)?;
        let done = Outcome::Replied(message::Reply::Inventory(inventory::Reply::Done));
        (outcome == done).then_some(Command::Heard { number: key.subject, version: self.version })
    }

    fn wake_at(&self, _now: Timestamp) -> Option<Timestamp> {
        None
    }

    fn reached(&self, wait: Wait) -> bool {
        match wait {
            Wait::Decided => true,
            Wait::Held | Wait::Settled => self.unheard().next().is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, expected_version: Option<u64>) -> Command {
        let details = Details { name: name.into(), country: "GB".into(), active: true, ..Details::default() };
        Command::Put { details, expected_version, owner: None }
    }

    #[test]
    fn the_same_put_twice_is_one_event() {
        let mut warehouse = Warehouse::default();
        let first = warehouse.decide(&put("London", None), Timestamp(1)).unwrap();
        first.events.iter().for_each(|event| warehouse.evolve(event));
        assert_eq!(warehouse.decide(&put("London", None), Timestamp(2)), Ok(Decision::again(first.reply)));
        assert_eq!(warehouse.version(), 1);
    }

    /// A warehouse with two SKUs, and each of them.
    struct World {
        warehouse: Warehouse,
        stocks: [inventory::Inventory; 2],
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { warehouse: Warehouse::default(), stocks: Default::default() };
            world.tell(&put("London", None));
            for number in 0..2 {
                world.tell(&Command::Stock { warehouse: id(), sku: sku(number) });
            }
            world
        }

        fn tell(&mut self, command: &Command) -> Decision<Event, Reply> {
            let decision = self.warehouse.decide(command, Timestamp(1)).unwrap();
            decision.events.iter().for_each(|event| self.warehouse.evolve(event));
            decision
        }

        fn set_active(&mut self, active: bool) {
            let details = Details { active, ..self.warehouse.details().unwrap().clone() };
            self.tell(&Command::Put { details, expected_version: None, owner: None });
        }

        /// An effect arrives at its SKU; the answer is not given to the warehouse.
        fn deliver(&mut self, effect: &Effect) -> Outcome {
            let Effect::Ask { to: EntityId::Inventory(to), command: message::Command::Inventory(command) } = effect
            else {
                panic!("{effect:?}")
            };
            let stock =
                (0..2).find(|number| sku(*number) == *to).and_then(|number| self.stocks.get_mut(number)).unwrap();
            let decision = stock.decide(command, Timestamp(1)).unwrap();
            decision.events.iter().for_each(|event| stock.evolve(event));
            Outcome::Replied(message::Reply::Inventory(decision.reply))
        }

        /// Everything owed arrives, and the answers come back.
        fn settle(&mut self) {
            for key in self.warehouse.owed(Timestamp(1)) {
                let effect = self.warehouse.effect(key).unwrap();
                let outcome = self.deliver(&effect);
                let heard = self.warehouse.answered(key, outcome).unwrap();
                self.tell(&heard);
            }
            assert!(self.warehouse.reached(Wait::Held));
        }

        fn active(&self) -> Vec<Option<bool>> {
            let of = |stock: &inventory::Inventory| stock.levels().next().map(inventory::Level::is_active);
            self.stocks.iter().map(of).collect()
        }
    }

    fn id() -> WarehouseId {
        WarehouseId::parse("lon1").unwrap()
    }

    fn sku(number: usize) -> Sku {
        Sku::parse(&format!("S{number}")).unwrap()
    }

    #[test]
    fn every_sku_hears_when_it_stops_and_when_it_resumes() {
        let mut world = World::new();
        assert!(world.warehouse.owed(Timestamp(1)).is_empty(), "a SKU takes a warehouse for active");
        world.set_active(false);
        assert!(!world.warehouse.reached(Wait::Held), "the PUT is answered when all have heard");
        let mut stored = world.warehouse.clone();
        stored.stocked.as_mut().unwrap().numbers.clear();
        let restored = stored.restored();
        assert_eq!(restored, world.warehouse, "what is owed survives a crash");
        world.settle();
        assert_eq!(world.active(), [Some(false), Some(false)]);
        world.set_active(true);
        world.settle();
        assert_eq!(world.active(), [Some(true), Some(true)]);
        assert_eq!(world.warehouse.version(), 3, "answers are no versions of the resource");
    }

    #[test]
    fn a_sku_that_is_first_stocked_in_a_closed_warehouse_hears_it_before_its_units_come() {
        let mut world = World::new();
        world.set_active(false);
        world.settle();
        world.tell(&Command::Stock { warehouse: id(), sku: sku(9) });
        assert_eq!(world.warehouse.owed(Timestamp(1)).len(), 1);
        assert!(!world.warehouse.reached(Wait::Held));
        let again = world.tell(&Command::Stock { warehouse: id(), sku: sku(9) });
        assert!(again.repeated && again.events.is_empty());
    }

    #[test]
    fn a_late_copy_of_an_older_change_is_no_news() {
        let mut world = World::new();
        world.set_active(false);
        let key = world.warehouse.owed(Timestamp(1))[0];
        let late = world.warehouse.effect(key).unwrap();
        let outcome = world.deliver(&late);
        world.set_active(true);
        assert_eq!(world.warehouse.answered(key, outcome), None, "the answer is to an older version");
        world.settle();
        world.deliver(&late);
        assert_eq!(world.active(), [Some(true), Some(true)]);
    }

    #[test]
    fn nothing_is_stocked_in_a_warehouse_that_was_not_described() {
        let stock = Command::Stock { warehouse: id(), sku: sku(0) };
        assert_eq!(Warehouse::default().decide(&stock, Timestamp(1)), Err(Refusal::Unknown));
    }

    #[test]
    fn a_put_that_saw_another_version_is_refused() {
        let warehouse = Warehouse::default();
        assert_eq!(warehouse.decide(&put("London", Some(3)), Timestamp(1)), Err(Refusal::Stale { current: 0 }));
    }

    #[test]
    fn a_country_that_is_none_is_refused() {
        let details = Details { name: "x".into(), country: "gb".into(), ..Details::default() };
        let command = Command::Put { details, expected_version: None, owner: None };
        assert_eq!(
            Warehouse::default().decide(&command, Timestamp(1)),
            Err(Refusal::Invalid { pointer: "/country".into() })
        );
    }
}
