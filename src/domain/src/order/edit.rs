//! Changes of an order after its placement, and the erasure of its personal data.

use super::amended::{Amended, GroupNotes};
use super::command::{Made, Patch, Refusal, Reply};
use super::event::Event;
use super::personal::Personal;
use super::saga::{Decided, made};
use super::terms::OrderTerms;
use super::{Order, Stage};
use crate::entity::Decision;
use crate::time::Timestamp;
use compact_str::CompactString;
use std::sync::Arc;

/// The most changes of an order after its placement. Each is in its journal for ever.
pub const EDITS_MAX: u32 = 256;

impl Order {
    /// While the order waits for payment: address, shipping option and buyer, with new prices. After the sale, until something ships: an address
    /// in the same country with the same tax, the buyer's e-mail address and phone, the note; its price and the warehouses its units come from stay.
    /// Metadata at any time.
    pub(super) fn patch(&self, patch: &Patch, now: Timestamp) -> Decided {
        let Some(terms) = self.terms() else { return Err(Refusal::Unknown) };
        if let (Some(seller), Some(metadata)) = (&patch.seller, &patch.metadata) {
            return self.note(seller, metadata);
        }
        let open = self.awaits_payment();
        let unshipped = self.stage == Stage::Confirmed
            && self.lines.iter().all(|line| line.shipped == 0)
            && self.lines.iter().any(|line| line.left() > 0);
        let same_place = patch
            .ship_to
            .as_ref()
            .is_none_or(|(_, destination, tax)| destination.country == terms.destination.country && *tax == terms.tax);
        let same_buyer = patch.buyer.as_ref().is_none_or(|buyer| {
            let mut known = self.personal.as_ref().map(|personal| personal.buyer.clone()).unwrap_or_default();
            known.phone.clone_from(&buyer.phone);
            known.email.clone_from(&buyer.email);
            known == *buyer
        });
        let small = same_place && same_buyer && patch.shipping.is_none() && patch.bill_to.is_none();
        let only_metadata = *patch == Patch { metadata: patch.metadata.clone(), ..Patch::default() };
        if !(open || (unshipped && small) || only_metadata) {
            return Err(self.wrong_state());
        }
        let amended = self.amendment(patch, terms)?;
        if amended == Amended::default() {
            return Ok(Decision::nothing(made(Made::Order)));
        }
        self.room_for_edit()?;
        Ok(self.follow(vec![Event::Amended(Box::new(amended))], now, made(Made::Order)))
    }

    /// Sets what a seller keeps with its group.
    fn note(&self, seller: &CompactString, metadata: &[(CompactString, CompactString)]) -> Decided {
        // After the erasure nothing is kept that may tell of a person.
        if self.personal.is_none() {
            return Err(self.wrong_state());
        }
        let known = self.group(seller).ok_or(Refusal::Unknown)?.notes();
        if known == metadata {
            return Ok(Decision::nothing(made(Made::Order)));
        }
        self.room_for_edit()?;
        let notes = Some(GroupNotes { seller: seller.clone(), metadata: metadata.to_vec() });
        Ok(Decision::one(Event::Amended(Box::new(Amended { notes, ..Amended::default() })), made(Made::Order)))
    }

    /// May it be changed once more?
    pub(super) fn room_for_edit(&self) -> Result<(), Refusal> {
        if self.edits.unwrap_or(0) >= EDITS_MAX { Err(Refusal::TooManyEdits { limit: EDITS_MAX }) } else { Ok(()) }
    }

    fn amendment(&self, patch: &Patch, terms: &OrderTerms) -> Result<Amended, Refusal> {
        let mut amended = Amended::default();
        if let Some((_, destination, tax)) = &patch.ship_to
            && (*destination != terms.destination || *tax != terms.tax)
        {
            amended.destination = Some((destination.clone(), tax.clone()));
        }
        if let Some(shipping) = &patch.shipping {
            if shipping.price.currency != terms.currency {
                return Err(Refusal::CurrencyMismatch);
            }
            amended.shipping = (terms.shipping.as_ref() != Some(shipping)).then(|| shipping.clone());
        }
        if let Some(metadata) = &patch.metadata {
            amended.metadata = (terms.metadata != *metadata).then(|| metadata.clone());
        }
        let taxed_anew = patch.ship_to.as_ref().is_some_and(|(_, _, tax)| *tax != terms.tax);
        if taxed_anew || amended.shipping.is_some() {
            // Cancelled units were counted at the old prices, so the prices may not change any more.
            if !self.cancels.is_empty() {
                return Err(self.wrong_state());
            }
            let shipping = amended.shipping.as_ref().or(terms.shipping.as_ref());
            let tax = amended.destination.as_ref().map_or(&terms.tax, |(_, tax)| tax);
            amended.priced = Some(self.price_with(shipping, tax).map_err(|_unpayable| Refusal::Overflow)?);
        }
        self.amend_people(patch, &mut amended)?;
        Ok(amended)
    }

    fn amend_people(&self, patch: &Patch, amended: &mut Amended) -> Result<(), Refusal> {
        let touched =
            patch.buyer.is_some() || patch.ship_to.is_some() || patch.bill_to.is_some() || patch.note.is_some();
        if !touched {
            return Ok(());
        }
        // After the erasure there is no personal data to change.
        let known = self.personal.as_ref().ok_or_else(|| self.wrong_state())?;
        let mut people = Personal::clone(known);
        if let Some(buyer) = &patch.buyer {
            people.buyer = buyer.clone();
        }
        if let Some((address, _, _)) = &patch.ship_to {
            people.ship_to = Some(address.clone());
        }
        if let Some(bill_to) = &patch.bill_to {
            people.bill_to.clone_from(bill_to);
        }
        if let Some(note) = &patch.note {
            people.note.clone_from(note);
        }
        if people != **known {
            amended.personal_hash = Some(people.hash());
            amended.personal = Some(Arc::new(people));
        }
        Ok(())
    }

    pub(super) fn erase(&self) -> Decided {
        if !self.exists() {
            return Err(Refusal::Unknown);
        }
        Ok(match self.personal {
            Some(_) => Decision::one(Event::PersonalErased, Reply::Done),
            None => Decision::nothing(Reply::Done),
        })
    }
}
