//! Changes of an order after its placement, and the erasure of its personal data.

use super::amended::{Amended, GroupNotes};
use super::command::{Made, Patch, Refusal, Reply};
use super::event::Event;
use super::personal::Personal;
use super::saga::{Decided, made};
use super::terms::OrderTerms;
use super::{Hold, Order, OrderClaim, Stage};
use crate::claims::{ClaimId, ClaimStage, Holder, Verdict, verdict};
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart};
use crate::entity::Decision;
use crate::time::Timestamp;
use compact_str::CompactString;
use serde::Serialize;
use std::sync::Arc;

/// A change that claims something before it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Edit {
    /// What it changes, with the new prices.
    #[n(0)]
    pub amended: Amended,
    /// What it claims, not asked for yet.
    #[n(1)]
    pub claims: Vec<OrderClaim>,
    /// The claims that it makes superfluous.
    #[n(2)]
    pub replaces: Vec<ClaimId>,
}

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
        let first = match self.claims_for(patch, open) {
            Some((claims, replaces)) => Event::EditBegun(Box::new(Edit { amended, claims, replaces })),
            None => Event::Amended(Box::new(amended)),
        };
        Ok(self.follow(vec![first], now, made(Made::Order)))
    }

    /// What a change claims anew, and the claims that these replace; `None`: what the order claims stays. A paid order claims nothing anew.
    fn claims_for(&self, patch: &Patch, open: bool) -> Option<(Vec<OrderClaim>, Vec<ClaimId>)> {
        let mut all: Vec<OrderClaim> = self.claims.clone().unwrap_or_default();
        let (mut replaces, known) = (Vec::new(), all.len());
        for (kind, wanted) in patch.claims.iter().filter(|_| open) {
            let live =
                self.claims.iter().flatten().find(|claim| claim.wanted.kind == *kind && claim.hold == Hold::Held);
            if live.map(|claim| claim.wanted.at) == wanted.map(|wanted| wanted.at) {
                continue;
            }
            replaces.extend(live.map(|claim| claim.id));
            if let Some(wanted) = wanted {
                let id = Self::next_claim(&all, kind.stage());
                let units = self.lines.iter().fold(0_u32, |sum, line| sum.saturating_add(line.left()));
                all.push(OrderClaim { id, wanted: *wanted, units: kind.units(units), hold: Hold::Asked, number: None });
            }
        }
        let claims = all.split_off(known);
        (!claims.is_empty() || !replaces.is_empty()).then_some((claims, replaces))
    }

    /// What follows once the claims of a change are answered: the change with its prices, then the release of what it replaces; or nothing but the
    /// release of what it was granted.
    pub(super) fn next_edit(&self) -> Option<Event> {
        let edit = self.edit.as_ref()?;
        let mine = || edit.claims.iter().filter_map(|claim| self.claim(claim.id));
        match verdict(mine().map(|claim| claim.hold)) {
            Verdict::Open => None,
            Verdict::Refused(_) => {
                let refused = mine().find(|claim| matches!(claim.hold, Hold::Refused(_))).map(|claim| claim.id);
                (self.open == 0).then_some(Event::EditEnded { refused })
            }
            Verdict::Held if edit.amended == Amended::default() => Some(Event::EditEnded { refused: None }),
            Verdict::Held => Some(Event::Amended(Box::new(edit.amended.clone()))),
        }
    }

    pub(super) fn edit_begun(&mut self, edit: &Edit) {
        self.claims.get_or_insert_default().extend(edit.claims.iter().cloned());
        self.edit = Some(Box::new(edit.clone()));
        self.edit_refused = None;
        self.ask_first_of(&[ClaimStage::Allowances]);
    }

    pub(super) fn edit_ended(&mut self, refused: Option<ClaimId>) {
        let Some(edit) = self.edit.take() else { return };
        self.edit_refused = refused.and_then(|id| self.claim(id)).cloned();
        let goes = match refused {
            None => edit.replaces,
            Some(_) => edit.claims.iter().map(|claim| claim.id).collect(),
        };
        for id in goes {
            match self.claim(id).map(|claim| claim.hold) {
                Some(Hold::Held) => self.release_all(&[id]),
                _ => self.set_hold(id, Hold::Released),
            }
        }
        self.commit_if_free();
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
