//! A product and its SKUs. It sends its offer of each (price, title, limits) to the SKU's inventory.
//!
//! ```text
//! PUT ──► Put (revision n) ──owes──► Offer n to each SKU ──► Taken, or Refused: the SKU is another product's
//! ```
//!
//! The newest revision wins at the SKU, so offers may overtake each other. A SKU that a later PUT leaves out is archived, never removed, because
//! stock and orders still refer to it. A SKU that belongs to another product stays listed as a conflict until a PUT leaves it out.

mod details;
mod listed;

#[cfg(test)]
mod tests;

pub use details::{
    ATTRIBUTES_MAX, BRAND_MAX, DESCRIPTION_MAX, Details, Fault, HOLD_S_MAX, IMAGES_MAX, Image, PER_ORDER_MAX,
    PRICES_MAX, SKUS_MAX, Status, TITLE_MAX, Variant,
};

use super::effect::{Effect, EffectKey, OWED_MAX, Outcome};
use super::entity::{Decision, Entity, Residency, Wait};
use super::ids::{EntityId, ProductId, Sku};
use super::inventory::{self, Offer};
use super::message;
use super::principal::{Denied, Principal};
use super::time::Timestamp;
use crate::codec::{self as minicbor, Decode, Encode};
use compact_str::{CompactString, format_compact};
use listed::Listed;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The only step that owes an effect: sending a SKU its offer.
const STEP_OFFER: u8 = 1;

/// What is asked of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A deadline may have come.
    Wake,
    /// Only asks whether it exists; the state comes with the answer.
    Read,
    /// Sets all of it.
    Put {
        /// As it is to be.
        details: Box<Details>,
        /// `If-Match`: the revision that the caller saw.
        expected_version: Option<u64>,
    },
    /// A SKU has answered to the push of a revision; made by `answered`, never sent by others.
    Told {
        /// The id of the SKU.
        sku: Sku,
        /// Of this revision.
        revision: u64,
        /// The product that the SKU belongs to, if it is another one.
        belongs_to: Option<ProductId>,
    },
}

/// What happened to a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(flat)]
pub enum Event {
    /// A PUT changed it.
    #[n(0)]
    Put {
        /// The whole product from now on.
        #[n(0)]
        details: Box<Details>,
    },
    /// A SKU has taken a revision.
    #[n(1)]
    Taken {
        /// The id of the SKU.
        #[n(0)]
        sku: Sku,
        /// The revision that was pushed.
        #[n(1)]
        revision: u64,
    },
    /// A SKU refused a revision: it is another product's.
    #[n(2)]
    Refused {
        /// The id of the SKU.
        #[n(0)]
        sku: Sku,
        /// The revision that was pushed.
        #[n(1)]
        revision: u64,
        /// The product it belongs to.
        #[n(2)]
        belongs_to: ProductId,
    },
}

/// The answer to what was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or had been done already.
    Done,
}

/// A lawful "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such product.
    Unknown,
    /// Another revision than expected.
    Stale {
        /// The product's; 0: it does not exist.
        current: u64,
    },
    /// It cannot be so.
    Invalid(Vec<Fault>),
    /// The product is another seller's.
    OtherSeller,
}

/// The state of a product.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Product {
    /// PUTs so far that changed something.
    #[n(0)]
    revision: u64,
    /// As the newest PUT brought it.
    #[n(1)]
    details: Option<Details>,
    /// Its SKUs, also those it no longer lists.
    #[cbor(n(2), with = "listed")]
    skus: BTreeMap<Sku, Listed>,
    /// Its SKUs by number; follows from `skus`.
    #[cbor(skip)]
    numbers: Vec<Sku>,
    /// Numbers of SKUs that have not answered to the newest revision.
    #[n(3)]
    untold: BTreeSet<u32>,
}

impl Product {
    /// A stored product, with what is not stored but follows: the order of its SKUs, and that a variant is in memory once.
    #[must_use]
    pub fn restored(mut self) -> Self {
        let mut numbers: Vec<(u32, Sku)> = self.skus.iter().map(|(sku, known)| (known.number, sku.clone())).collect();
        numbers.sort_unstable();
        self.numbers = numbers.into_iter().map(|(_, sku)| sku).collect();
        for variant in self.details.iter().flat_map(|details| &details.variants) {
            if let Some(known) = self.skus.get_mut(&variant.sku).filter(|known| known.variant == *variant) {
                known.variant = Arc::clone(variant);
            }
        }
        self
    }

    /// The resource's version: PUTs that changed something. Answers of SKUs do not count, so it only changes when the product does.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.revision
    }

    /// As the newest PUT brought it; `None`: it does not exist.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        self.details.as_ref()
    }

    /// SKUs that an earlier PUT had and the newest has not: archived.
    pub fn archived(&self) -> impl Iterator<Item = &Variant> + '_ {
        self.skus
            .values()
            .filter(|known| !known.listed && known.belongs_to.is_none())
            .map(|known| known.variant.as_ref())
    }

    /// SKUs of the newest PUT that are another product's, with that product: the PUT is to be answered by a conflict.
    pub fn conflicts(&self) -> impl Iterator<Item = (&Sku, &ProductId)> + '_ {
        self.skus
            .iter()
            .filter(|(_, known)| known.listed)
            .filter_map(|(sku, known)| known.belongs_to.as_ref().map(|product| (sku, product)))
    }

    /// The current offer for the SKU.
    fn offer(&self, known: &Listed) -> Option<Offer> {
        let details = self.details.as_ref()?;
        let variant = &known.variant;
        Some(Offer {
            sku: variant.sku.clone(),
            product: details.id.clone(),
            version: self.revision,
            seller: details.seller.clone(),
            title: title_of(details, variant),
            on_sale: known.listed && variant.status == Status::Active && details.status == Status::Active,
            prices: variant.prices.clone(),
            max_per_order: variant.max_per_order,
            hold_s: variant.hold_s,
            tax_class: details.tax_class.clone(),
            weight_g: variant.weight_g.unwrap_or(0),
        })
    }

    fn put(&self, details: &Details, expected: Option<u64>) -> Result<Decision<Event, Reply>, Refusal> {
        if expected.is_some_and(|revision| revision != self.revision) {
            return Err(Refusal::Stale { current: self.revision });
        }
        if self.details.as_ref().is_some_and(|known| known.seller != details.seller) {
            return Err(Refusal::OtherSeller);
        }
        let mut faults = details.faults();
        let new = details.variants.iter().filter(|variant| !self.skus.contains_key(&variant.sku)).count();
        if faults.is_empty() && self.skus.len().saturating_add(new) > SKUS_MAX {
            faults.push(Fault { pointer: "/skus".to_owned(), code: "too_many".into() });
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        if self.details.as_ref() == Some(details) {
            return Ok(Decision::again(Reply::Done));
        }
        Ok(Decision::one(Event::Put { details: Box::new(details.clone()) }, Reply::Done))
    }

    /// An answer to an older revision is no news: the newest is still owed.
    fn told(&self, sku: &Sku, revision: u64, belongs_to: Option<&ProductId>) -> Decision<Event, Reply> {
        let news = revision == self.revision && self.skus.get(sku).is_some_and(|known| known.told < revision);
        if !news {
            return Decision::again(Reply::Done);
        }
        let sku = sku.clone();
        let event = match belongs_to {
            None => Event::Taken { sku, revision },
            Some(product) => Event::Refused { sku, revision, belongs_to: product.clone() },
        };
        Decision::one(event, Reply::Done)
    }

    fn take_put(&mut self, details: &Details) {
        self.revision = self.revision.saturating_add(1);
        for known in self.skus.values_mut() {
            known.listed = false;
        }
        for variant in &details.variants {
            let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            let numbers = &mut self.numbers;
            let known = self.skus.entry(variant.sku.clone()).or_insert_with(|| {
                numbers.push(variant.sku.clone());
                Listed { number, variant: Arc::clone(variant), listed: true, told: 0, belongs_to: None }
            });
            known.variant = Arc::clone(variant);
            known.listed = true;
        }
        self.details = Some(details.clone());
        // A SKU of another product that is no longer listed gets no offer.
        let owed = self.skus.values().filter(|known| known.listed || known.belongs_to.is_none());
        self.untold = owed.map(|known| known.number).collect();
    }

    fn take_answer(&mut self, sku: &Sku, revision: u64, belongs_to: Option<&ProductId>) {
        let newest = self.revision;
        if let Some(known) = self.skus.get_mut(sku) {
            known.told = known.told.max(revision);
            known.belongs_to = belongs_to.cloned();
            if revision == newest {
                self.untold.remove(&known.number);
            }
        }
    }

    /// The SKU and revision that a push is about, if it is still owed.
    fn owed_to(&self, key: EffectKey) -> Option<&Listed> {
        let current = key.step == STEP_OFFER && key.part == low_half(self.revision);
        let sku = self.numbers.get(usize::try_from(key.subject).ok()?)?;
        (current && self.untold.contains(&key.subject)).then(|| self.skus.get(sku)).flatten()
    }
}

/// The product's title and the values of the options, in the order of their names.
fn title_of(details: &Details, variant: &Variant) -> CompactString {
    let mut title = details.title.clone();
    for name in &details.option_names {
        if let Some(value) = variant.options.get(name) {
            title = format_compact!("{title}, {value}");
        }
    }
    title
}

fn low_half(revision: u64) -> u32 {
    u32::try_from(revision & u64::from(u32::MAX)).unwrap_or(0)
}

impl Entity for Product {
    type Id = ProductId;
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
            Command::Put { details, expected_version } => self.put(details, *expected_version),
            Command::Told { sku, revision, belongs_to } => Ok(self.told(sku, *revision, belongs_to.as_ref())),
        }
    }

    /// A product is its seller's and the platform's; what is not a draft can be read by everyone.
    fn permitted<'c>(&self, by: &Principal, command: &'c Command) -> Result<Cow<'c, Command>, Denied<Refusal>> {
        let known = self.details.as_ref();
        match (command, by) {
            (_, Principal::System | Principal::Operator | Principal::Provider(_)) => Ok(Cow::Borrowed(command)),
            (Command::Read, _) if known.is_none_or(|known| known.status != Status::Draft) => Ok(Cow::Borrowed(command)),
            (Command::Read, Principal::Platform(_)) => Ok(Cow::Borrowed(command)),
            (Command::Read, Principal::Seller(account)) if known.is_none_or(|known| known.seller == account.id) => {
                Ok(Cow::Borrowed(command))
            }
            (Command::Put { details, expected_version }, Principal::Platform(account) | Principal::Seller(account)) => {
                // The platform sells what it makes, and changes another seller's product without taking it.
                let seller = match (by, known) {
                    (Principal::Platform(_), Some(known)) => &known.seller,
                    (_, _) => &account.id,
                };
                if details.seller == *seller {
                    return Ok(Cow::Borrowed(command));
                }
                let details = Box::new(Details { seller: seller.clone(), ..Details::clone(details) });
                Ok(Cow::Owned(Command::Put { details, expected_version: *expected_version }))
            }
            (Command::Wake | Command::Read | Command::Put { .. } | Command::Told { .. }, _) => Err(Denied::NotYours),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Put { details } => self.take_put(details),
            Event::Taken { sku, revision } => self.take_answer(sku, *revision, None),
            Event::Refused { sku, revision, belongs_to } => self.take_answer(sku, *revision, Some(belongs_to)),
        }
    }

    fn owed(&self, _now: Timestamp) -> Vec<EffectKey> {
        let part = low_half(self.revision);
        self.untold.iter().take(OWED_MAX).map(|number| EffectKey { step: STEP_OFFER, subject: *number, part }).collect()
    }

    fn effect(&self, key: EffectKey) -> Option<Effect> {
        let offer = self.offer(self.owed_to(key)?)?;
        let to = EntityId::Inventory(offer.sku.clone());
        Some(Effect::Ask { to, command: message::Command::Inventory(inventory::Command::Offer(Box::new(offer))) })
    }

    fn answered(&self, key: EffectKey, outcome: Outcome) -> Option<Command> {
        let sku = self.owed_to(key)?.variant.sku.clone();
        let revision = self.revision;
        if let Outcome::Refused(message::Refusal::Inventory(inventory::Refusal::OtherProduct { product })) = outcome {
            return Some(Command::Told { sku, revision, belongs_to: Some(product) });
        }
        let done = Outcome::Replied(message::Reply::Inventory(inventory::Reply::Done));
        (outcome == done).then_some(Command::Told { sku, revision, belongs_to: None })
    }

    fn wake_at(&self, _now: Timestamp) -> Option<Timestamp> {
        None
    }

    fn reached(&self, wait: Wait) -> bool {
        match wait {
            Wait::Decided => true,
            Wait::Held | Wait::Settled => self.untold.is_empty(),
        }
    }
}
