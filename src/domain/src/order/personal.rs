//! What an order knows of people: apart from the facts, which hold only its salted hash, so that it can be erased without
//! breaking replay.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Makes the hash of personal data unguessable; random, comes in the command, is erased with the data.
pub type Salt = [u8; 16];

/// Everything personal of one order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Personal {
    /// Erased with the rest: without it the hash in the facts can be linked to nobody.
    pub salt: Salt,
    /// Who buys.
    pub buyer: Buyer,
    /// Where it goes.
    pub ship_to: Option<Address>,
    /// Who is billed, when it is somebody else.
    pub bill_to: Option<Address>,
    /// The shopper's own words.
    pub note: Option<CompactString>,
}

/// Who buys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Buyer {
    /// Where the confirmation goes.
    pub email: Option<CompactString>,
    /// As the shopper writes it.
    pub name: Option<CompactString>,
    /// For the carrier.
    pub phone: Option<CompactString>,
    /// A BCP 47 tag.
    pub locale: Option<CompactString>,
}

/// A postal address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Address {
    /// Who receives it.
    pub name: Option<CompactString>,
    /// Or which company.
    pub company: Option<CompactString>,
    /// Street and number.
    pub line1: Option<CompactString>,
    /// What else the street needs.
    pub line2: Option<CompactString>,
    /// Town.
    pub city: Option<CompactString>,
    /// County, state, province.
    pub region: Option<CompactString>,
    /// As the country writes it.
    pub postal_code: Option<CompactString>,
    /// ISO 3166-1 alpha-2; a fact too (see `Destination`).
    pub country: CompactString,
    /// For the carrier.
    pub phone: Option<CompactString>,
    /// For customs and invoices.
    pub tax_id: Option<CompactString>,
}

/// SHA-256 over the salt and every field, each with its length, so that no two different data feed the same bytes. The
/// order of the fields is fixed for ever: the hashes are in the journal.
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
    /// The hash of this data under its own salt: what the facts keep.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash_under(&self.salt)
    }

    /// The hash of this data under another salt: how a repeated request is compared with the first.
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
