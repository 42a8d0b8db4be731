//! Personal data of an order, apart from the facts. The facts contain only its salted hash, so that it can be erased without
//! breaking replay.
//!
//! The free texts of an order may hold as much about a person: metadata, reasons, tracking, the token of a card, the page a shopper returns to. They
//! stand in their own fields, are stored apart too (`codec::apart_text`), and are erased together with [`Personal`]: an order without it has none.

use super::{Instruction, Order, Payment, Stage};
use crate::codec::{self as minicbor, Decode, Encode, bytes, text};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The random salt that makes the hash of personal data unguessable. It comes with the command and is erased with the data.
pub type Salt = [u8; 16];

/// The personal data of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Personal {
    /// Erased with the rest: without it the hash in the facts leads to no person.
    #[cbor(n(0), with = "bytes")]
    pub salt: Salt,
    /// The buyer's name and contact data.
    #[n(1)]
    pub buyer: Buyer,
    /// The address to ship to.
    #[n(2)]
    pub ship_to: Option<Address>,
    /// Billing address, when it is not `ship_to`.
    #[n(3)]
    pub bill_to: Option<Address>,
    /// The shopper's own words to the seller.
    #[cbor(n(4), with = "text")]
    pub note: Option<CompactString>,
}

/// The buyer's name and contact data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Buyer {
    /// Address the confirmation is sent to.
    #[cbor(n(0), with = "text")]
    pub email: Option<CompactString>,
    /// Name, as the shopper writes it.
    #[cbor(n(1), with = "text")]
    pub name: Option<CompactString>,
    /// Phone number for the carrier.
    #[cbor(n(2), with = "text")]
    pub phone: Option<CompactString>,
    /// Language, as a BCP 47 tag.
    #[cbor(n(3), with = "text")]
    pub locale: Option<CompactString>,
}

/// A postal address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Address {
    /// The person who receives it.
    #[cbor(n(0), with = "text")]
    pub name: Option<CompactString>,
    /// The company that receives it.
    #[cbor(n(1), with = "text")]
    pub company: Option<CompactString>,
    /// Street and number.
    #[cbor(n(2), with = "text")]
    pub line1: Option<CompactString>,
    /// Floor, flat, building.
    #[cbor(n(3), with = "text")]
    pub line2: Option<CompactString>,
    /// Town or city.
    #[cbor(n(4), with = "text")]
    pub city: Option<CompactString>,
    /// The county, state or province.
    #[cbor(n(5), with = "text")]
    pub region: Option<CompactString>,
    /// Postal code, as the country writes it.
    #[cbor(n(6), with = "text")]
    pub postal_code: Option<CompactString>,
    /// The country, ISO 3166-1 alpha-2; also a fact (see `Destination`).
    #[cbor(n(7), with = "text")]
    pub country: CompactString,
    /// Phone number for the carrier.
    #[cbor(n(8), with = "text")]
    pub phone: Option<CompactString>,
    /// Tax number, for customs and invoices.
    #[cbor(n(9), with = "text")]
    pub tax_id: Option<CompactString>,
}

/// SHA-256 over the salt and every field, each with its length, so that different data never gives the same bytes. The
/// order of the fields is fixed for ever, because the hashes are in the journal.
struct Feed(Sha256);

impl Feed {
    fn text(&mut self, text: &str) {
        self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text.as_bytes());
    }
    fn option(&mut self, text: Option<&CompactString>) {
        match text {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.text(text);
            }
        }
    }
    fn address(&mut self, address: Option<&Address>) {
        let Some(address) = address else {
            self.0.update([0]);
            return;
        };
        self.0.update([1]);
        let Address { name, company, line1, line2, city, region, postal_code, country, phone, tax_id } = address;
        for field in [name, company, line1, line2, city, region, postal_code, phone, tax_id] {
            self.option(field.as_ref());
        }
        self.text(country);
    }
}

impl Personal {
    /// The hash of this data under its own salt, which the facts contain.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash_under(&self.salt)
    }

    /// The hash of this data under another salt, to compare a repeated request with the first.
    #[must_use]
    pub fn hash_under(&self, salt: &Salt) -> [u8; 32] {
        let Self { salt: _, buyer, ship_to, bill_to, note } = self;
        let mut feed = Feed(Sha256::new_with_prefix(salt));
        let Buyer { email, name, phone, locale } = buyer;
        for field in [email, name, phone, locale, note] {
            feed.option(field.as_ref());
        }
        feed.address(ship_to.as_ref());
        feed.address(bill_to.as_ref());
        feed.0.finalize().into()
    }
}

impl Order {
    /// Empties the free texts of an order whose personal data was erased.
    ///
    /// The instruction of a payment that is not settled stays until it is: the provider is asked with it again, and other words under the same key would
    /// be a conflict (rule M1).
    pub(super) fn forget_texts(&mut self) {
        let pays_later = self.pays_at_once_later();
        if let Some(head) = self.head.as_mut().filter(|head| {
            !head.terms.metadata.is_empty()
                || (!pays_later && head.payment.as_ref().is_some_and(Instruction::has_texts))
        }) {
            let head = Arc::make_mut(head);
            head.terms.metadata = Vec::new();
            if let Some(instruction) = head.payment.as_mut().filter(|_| !pays_later) {
                instruction.forget_texts();
            }
        }
        for payment in self.payments.iter_mut().filter(|payment| payment.settled()) {
            payment.instruction.forget_texts();
        }
        self.group_notes = None;
        for refund in &mut self.refunds {
            refund.reason = CompactString::default();
        }
        for shipment in &mut self.shipments {
            (shipment.started.tracking_number, shipment.started.tracking_url) = (None, None);
        }
        for one in &mut self.returns {
            one.rejected_because = None;
            for line in &mut one.lines {
                line.reason = CompactString::default();
            }
        }
    }

    /// Version 2 of a stored order: one that was erased before free texts stood apart still has them.
    #[must_use]
    pub fn with_texts_apart(mut self) -> Self {
        if self.personal.is_none() {
            self.forget_texts();
        }
        self
    }

    /// Will the payment that came with the placement still begin?
    fn pays_at_once_later(&self) -> bool {
        let waits = matches!(self.stage, Stage::Freezing | Stage::Reserving | Stage::Held);
        waits && self.payments.is_empty() && self.head.as_ref().is_some_and(|head| head.payment.is_some())
    }

    /// Is nothing of the erased personal data needed any more, so that what is stored of it can go?
    pub(super) fn all_forgotten(&self) -> bool {
        self.personal.is_none() && !self.pays_at_once_later() && self.payments.iter().all(Payment::settled)
    }
}

impl Instruction {
    const fn has_texts(&self) -> bool {
        self.token.is_some() || self.return_url.is_some()
    }

    fn forget_texts(&mut self) {
        (self.token, self.return_url) = (None, None);
    }
}
