//! What a change of an order after its placement replaces: address, delivery and prices, a seller's notes, how a shipment travels.

use super::event::Priced;
use super::personal::Personal;
use super::terms::{Destination, Shipping, TaxTable};
use crate::codec::{self as minicbor, Decode, Encode, KeepsApart, apart, apart_text, bytes, text};
use compact_str::CompactString;
use serde::Serialize;
use std::sync::Arc;

/// The changes; `None` leaves a field unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Amended {
    /// The new destination, with its taxes.
    #[n(0)]
    pub destination: Option<(Destination, TaxTable)>,
    /// The new shipping option.
    #[n(1)]
    pub shipping: Option<Shipping>,
    /// The caller's own pairs; they replace all earlier ones.
    #[cbor(n(2), with = "apart_text")]
    pub metadata: Option<Vec<(CompactString, CompactString)>>,
    /// The new prices.
    #[n(3)]
    pub priced: Option<Priced>,
    /// The hash of the changed personal data, under the first salt.
    #[cbor(n(4), with = "bytes")]
    pub personal_hash: Option<[u8; 32]>,
    /// The changed personal data; `None` once it is erased.
    #[serde(skip)]
    #[cbor(n(5), with = "apart")]
    pub personal: Option<Arc<Personal>>,
    /// The carrier and tracking data of a shipment, put right.
    #[n(6)]
    pub tracking: Option<Tracking>,
    /// What a seller keeps with its group, from now on.
    #[n(7)]
    pub notes: Option<GroupNotes>,
}

/// What a seller keeps with its lines of an order: pairs of its own, its own id among them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct GroupNotes {
    /// The seller's account.
    #[cbor(n(0), with = "text")]
    pub seller: CompactString,
    /// Its pairs.
    #[cbor(n(1), with = "apart_text")]
    pub metadata: Vec<(CompactString, CompactString)>,
}

/// How a shipment travels, as it was put right: it replaces what was known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Encode, Decode)]
#[cbor(context_bound = "KeepsApart")]
pub struct Tracking {
    /// Number of the shipment within the order.
    #[n(0)]
    pub shipment: u16,
    /// The carrier's name.
    #[cbor(n(1), with = "text")]
    pub carrier: Option<CompactString>,
    /// The carrier's number of the parcel.
    #[cbor(n(2), with = "apart_text")]
    pub tracking_number: Option<CompactString>,
    /// Page that shows where the parcel is.
    #[cbor(n(3), with = "apart_text")]
    pub tracking_url: Option<CompactString>,
}
