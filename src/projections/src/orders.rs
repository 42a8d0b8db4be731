//! The index of orders: every list of them.
//!
//! ```text
//! all      viewer                newest first: key = the rest of time at the placement, id
//! sku      viewer, SKU
//! e-mail   viewer, keyed hash    gone with the buyer's personal data
//! number   the order's number
//! parts    viewer, kind          its payments (the platform's alone), shipments, returns: key = the rest of time when each was made, its id
//! owner    the principal that placed it
//! viewer = "" the platform, which sees every order; else a seller with a line in it (rule P4)
//! ```
//!
//! A seller's question reads rows of its own only, so what it may not see has no influence on its pages (rule V11). Where an order stands in a list never
//! changes; its status and all that changes is in what is kept of it, and a filter on that is applied while reading (rule V4).

use super::projection::{Place, Projection, Rows};
use bytes::Bytes;
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::ids::{EntityId, OrderId, OrderNumber, Sku};
use doorbuster_domain::order::{self, LineNumber, Order};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::index::Breadth;
use doorbuster_storage::wire::{self, Decided, Dirty, HEAD, Meta, WireError};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::fmt;

/// Raised with every change of `apply`, `rows` or the form of what is kept.
const VERSION: u16 = 2;
/// The bytes of the hash of an e-mail address that a row is found by.
const HASH_BYTES: usize = 16;

/// The hash of an e-mail address.
type EmailHash = [u8; HASH_BYTES];

/// What rows are found by. The narrowest part of what a list is asked for is one; the other parts are filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question<'a> {
    /// Those with a line of this SKU.
    Sku(&'a Sku),
    /// Those of a buyer with this e-mail address, in whatever case.
    Email(&'a str),
    /// The one with this number.
    Number(OrderNumber),
    /// Those that a principal placed, by its name.
    Owner(&'a str),
}

/// What an order has several of, each with a list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Attempts to pay. An order is paid as a whole, so sellers of single lines have no such list.
    Payment,
    /// Parcels.
    Shipment,
    /// Returns.
    Return,
}

impl Part {
    const fn tag(self) -> u8 {
        match self {
            Self::Payment => b'p',
            Self::Shipment => b'h',
            Self::Return => b'r',
        }
    }

    /// The parts of an order that a viewer's list has, each as number and moment.
    fn of(self, kept: &KeptOrder, order: &Order, viewer: &str) -> Vec<(u16, Timestamp)> {
        let group = order.group(viewer);
        let is_seen = |line: LineNumber| viewer.is_empty() || group.is_some_and(|group| group.has(line));
        match self {
            Self::Payment if viewer.is_empty() => {
                order.payments.iter().map(|payment| (payment.number, payment.asked_at)).collect()
            }
            Self::Payment => Vec::new(),
            Self::Shipment => {
                let started = order.shipments.iter().map(|shipment| &shipment.started);
                let seen = started.filter(|started| started.lines.iter().any(|line| is_seen(line.line)));
                seen.map(|started| (started.number, started.at)).collect()
            }
            Self::Return => {
                let moments = order.returns.iter().zip(&kept.returned_at);
                let seen = moments.filter(|(one, _)| one.lines.iter().any(|line| is_seen(line.line)));
                seen.map(|(one, at)| (one.number, *at)).collect()
            }
        }
    }

    /// Its number in its order, by the key of its row.
    #[must_use]
    pub fn number(key: &[u8]) -> Option<u16> {
        key.last_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }
}

/// Whose view of the orders is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer<'a> {
    /// The platform's account.
    Platform,
    /// Another seller's account.
    Seller(&'a str),
}

impl<'a> Viewer<'a> {
    /// The name in its partitions.
    const fn name(self) -> &'a str {
        match self {
            Self::Platform => "",
            Self::Seller(account) => account,
        }
    }
}

/// The index of orders.
#[derive(Clone)]
pub struct OrderIndex {
    /// Makes the hashes of e-mail addresses, so that addresses cannot be tried by reading the index.
    keyed: Hmac<Sha256>,
    platform: String,
}

impl fmt::Debug for OrderIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OrderIndex").field("platform", &self.platform).finish_non_exhaustive()
    }
}

/// What is kept of an order: its facts, without personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptOrder {
    state: State,
    /// Version and times.
    pub meta: Meta,
    email: Option<EmailHash>,
    /// When each return was asked for, by its number.
    returned_at: Vec<Timestamp>,
}

impl Default for KeptOrder {
    fn default() -> Self {
        Self { state: State::Order(Box::default()), meta: Meta::default(), email: None, returned_at: Vec::new() }
    }
}

impl KeptOrder {
    /// The order's facts; `None`: it does not exist.
    #[must_use]
    pub fn order(&self) -> Option<&Order> {
        match &self.state {
            State::Order(order) if order.exists() => Some(order),
            _ => None,
        }
    }
}

impl OrderIndex {
    /// `key`: a secret of the installation's own. `platform`: the account that runs the shop.
    ///
    /// # Panics
    /// Never: HMAC takes keys of every length.
    #[must_use]
    pub fn new(key: &[u8; 32], platform: &str) -> Self {
        let keyed = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of every length");
        Self { keyed, platform: platform.to_owned() }
    }

    fn hash_of(&self, email: &str) -> EmailHash {
        let mut keyed = self.keyed.clone();
        keyed.update(email.to_lowercase().as_bytes());
        let tag = keyed.finalize().into_bytes();
        let mut hash = EmailHash::default();
        hash.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        hash
    }

    /// The partition that answers a question; `None`: this viewer has none for it, reads all its orders and filters.
    #[must_use]
    pub fn partition(&self, viewer: Viewer<'_>, question: &Question<'_>) -> Option<Bytes> {
        let name = viewer.name();
        match question {
            Question::Sku(sku) => Some(of_viewer(b's', name, sku.as_str().as_bytes())),
            Question::Email(email) => Some(of_viewer(b'e', name, &self.hash_of(email))),
            Question::Number(number) if viewer == Viewer::Platform => {
                Some(of_viewer(b'n', "", &number.bits().to_be_bytes()))
            }
            Question::Owner(owner) if viewer == Viewer::Platform => Some(of_owner(owner)),
            Question::Number(_) | Question::Owner(_) => None,
        }
    }

    /// The partition of all orders that a viewer sees.
    #[must_use]
    pub fn all(viewer: Viewer<'_>) -> Bytes {
        of_viewer(b'a', viewer.name(), b"")
    }

    /// The partition of the orders that a principal placed, for that principal itself.
    #[must_use]
    pub fn own(owner: &str) -> Bytes {
        of_owner(owner)
    }

    /// The partition of a kind of parts that a viewer sees.
    #[must_use]
    pub fn parts(viewer: Viewer<'_>, part: Part) -> Bytes {
        of_viewer(part.tag(), viewer.name(), b"")
    }

    /// Is this the buyer's e-mail address? Where rows were not found by it.
    #[must_use]
    pub fn is_email(&self, kept: &KeptOrder, email: &str) -> bool {
        kept.email == Some(self.hash_of(email))
    }
}

fn of_viewer(tag: u8, viewer: &str, value: &[u8]) -> Bytes {
    [&[tag], viewer.as_bytes(), &[0], value].concat().into()
}

fn of_owner(owner: &str) -> Bytes {
    of_viewer(b'o', "", owner.as_bytes())
}

/// The key of an order's rows: the newest first, orders of one moment by their ids.
#[must_use]
pub fn key_of(placed_at: Timestamp, id: OrderId) -> [u8; 24] {
    let mut key = [0; 24];
    let bytes = (u64::MAX - placed_at.0).to_be_bytes().into_iter().chain(id.0.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

impl Projection for OrderIndex {
    type Kept = KeptOrder;

    const NAME: &'static str = "orders";

    /// Which account is the platform's decides which rows there are.
    fn version(&self) -> u32 {
        let mut keyed = self.keyed.clone();
        keyed.update(b"platform ");
        keyed.update(self.platform.as_bytes());
        let tag = keyed.finalize().into_bytes();
        let configured = tag.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes));
        u32::from(VERSION) << 16 | u32::from(configured)
    }

    fn follows(&self, entity: &EntityId) -> bool {
        matches!(entity, EntityId::Order(_))
    }

    fn apply(&self, kept: &mut KeptOrder, decided: &Decided) {
        for event in &decided.events {
            kept.state.evolve(event);
        }
        kept.meta.after(decided.events.len(), decided.at);
        let State::Order(order) = &kept.state else { return };
        // A hash costs as much as three rows, and the address changes with an amendment only.
        let amended = decided.events.iter().any(|event| matches!(event, Event::Order(order::Event::Amended(_))));
        if let Some(personal) = order.personal.as_ref().filter(|_| amended || kept.email.is_none()) {
            kept.email = personal.buyer.email.as_deref().map(|email| self.hash_of(email));
        }
        let new = order.returns.len().saturating_sub(kept.returned_at.len());
        kept.returned_at.extend(std::iter::repeat_n(decided.at, new));
        if decided.events.iter().any(|event| matches!(event, Event::Order(order::Event::PersonalErased))) {
            kept.email = None;
        }
    }

    fn rows(&self, entity: &EntityId, kept: &KeptOrder) -> Rows {
        let mut rows = Rows::new();
        let Some(order) = kept.order() else { return rows };
        let Some(head) = &order.head else { return rows };
        let key = Bytes::copy_from_slice(&key_of(head.placed_at, order.id));
        let mut named = Vec::with_capacity(20);
        entity.write_key(&mut named);
        let named = Bytes::from(named);
        let mut put = |partition: Bytes, key: Bytes| rows.insert(Place { partition, key }, named.clone());
        put(of_viewer(b'n', "", &OrderNumber::from(order.id).bits().to_be_bytes()), key.clone());
        put(of_owner(&head.terms.owner), key.clone());
        let sellers = order.lines.iter().filter_map(|line| line.agreed.as_ref()).map(|agreed| agreed.seller.as_str());
        let others: BTreeSet<&str> = sellers.filter(|seller| *seller != self.platform).collect();
        for viewer in std::iter::once("").chain(others) {
            put(of_viewer(b'a', viewer, b""), key.clone());
            for line in &order.lines {
                let is_seen = viewer.is_empty() || line.agreed.as_ref().is_some_and(|agreed| agreed.seller == viewer);
                if is_seen {
                    put(of_viewer(b's', viewer, line.sku.as_str().as_bytes()), key.clone());
                }
            }
            // A seller knows no buyer.
            if let Some(hash) = kept.email.filter(|_| viewer.is_empty()) {
                put(of_viewer(b'e', viewer, &hash), key.clone());
            }
            for part in [Part::Payment, Part::Shipment, Part::Return] {
                for (number, at) in part.of(kept, order, viewer) {
                    let key = key_of(at, OrderId(order.id.0 | u128::from(number)));
                    put(of_viewer(part.tag(), viewer, b""), Bytes::copy_from_slice(&key));
                }
            }
        }
        rows
    }

    fn breadth(&self, partition: &[u8]) -> Breadth {
        match partition.first() {
            Some(b'n') => Breadth::Few,
            Some(b'e' | b'o') => Breadth::Own,
            _ => Breadth::Shop,
        }
    }

    fn encode(&self, kept: &KeptOrder) -> Bytes {
        let mut dirty = Dirty::default();
        dirty.mark(HEAD);
        let rows = wire::rows_of(&kept.state, &kept.meta, &dirty);
        let head = rows.iter().find(|(chunk, _)| *chunk == HEAD).map(|(_, head)| head.as_ref()).unwrap_or_default();
        let email = kept.email.unwrap_or_default();
        let returns = u16::try_from(kept.returned_at.len()).unwrap_or(u16::MAX);
        let mut body = Vec::with_capacity(head.len().saturating_add(32));
        body.push(u8::from(kept.email.is_some()));
        body.extend_from_slice(&email);
        body.extend_from_slice(&returns.to_be_bytes());
        for at in kept.returned_at.iter().take(usize::from(returns)) {
            body.extend_from_slice(&at.0.to_be_bytes());
        }
        body.extend_from_slice(head);
        body.into()
    }

    fn decode(&self, entity: &EntityId, body: &Bytes) -> Result<KeptOrder, WireError> {
        let short = || WireError::Damaged { what: "what is kept of an order", why: "it ends early".to_owned() };
        let (known, rest) = body.split_first().ok_or_else(short)?;
        let (email, rest) = rest.split_first_chunk::<HASH_BYTES>().ok_or_else(short)?;
        let (returns, mut rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let mut returned_at = Vec::new();
        for _ in 0..u16::from_be_bytes(*returns) {
            let (at, behind) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            returned_at.push(Timestamp(u64::from_be_bytes(*at)));
            rest = behind;
        }
        let (state, meta) = wire::state_of(entity, &[(HEAD, body.slice_ref(rest))])?;
        Ok(KeptOrder { state, meta, email: (*known != 0).then_some(*email), returned_at })
    }
}
