//! Reservations, as the shop that made them sees them.

use super::{At, Shown};
use doorbuster_domain::ids::{ReservationName, Sku};
use doorbuster_domain::inventory::{Promise, PromiseStatus};
use doorbuster_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// One line of a reservation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReservationLine")]
pub struct ReservationLineView<'a> {
    pub(crate) sku: Shown<&'a Sku>,
    pub(crate) quantity: u64,
    /// All of it or nothing.
    pub(crate) granted: u64,
    /// The numbers of the units sold, where the SKU numbers them.
    pub(crate) unit_numbers: [u64; 0],
}

/// A reservation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reservation")]
pub struct ReservationView<'a> {
    id: Shown<&'a ReservationName>,
    reference: &'a str,
    /// `held`, `committed`, `released`, `expired`
    status: &'static str,
    buyer_key: Option<&'a str>,
    lines: Vec<ReservationLineView<'a>>,
    expires_at: At,
    version: u64,
    created_at: At,
    updated_at: At,
    metadata: BTreeMap<String, String>,
    external_id: Option<String>,
}

/// What all reservations have, however many lines they have.
#[derive(Debug)]
pub struct ReservationParts<'a> {
    /// Under this name.
    pub name: &'a ReservationName,
    /// The caller's own.
    pub reference: &'a str,
    /// How far it got.
    pub status: PromiseStatus,
    /// Whoever buys.
    pub buyer_key: Option<&'a str>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// How often it changed.
    pub version: u64,
    /// When it was made, when it last changed.
    pub times: [Timestamp; 2],
}

impl<'a> ReservationView<'a> {
    /// A reservation with its lines: SKU, wanted, granted.
    #[must_use]
    pub fn new(parts: &ReservationParts<'a>, lines: impl IntoIterator<Item = (&'a Sku, u64, u64)>) -> Self {
        let line =
            |(sku, quantity, granted)| ReservationLineView { sku: Shown(sku), quantity, granted, unit_numbers: [] };
        let [created_at, updated_at] = parts.times.map(At);
        Self {
            id: Shown(parts.name),
            reference: parts.reference,
            status: promise_word(parts.status),
            buyer_key: parts.buyer_key,
            lines: lines.into_iter().map(line).collect(),
            expires_at: At(parts.expires_at),
            version: parts.version,
            created_at,
            updated_at,
            metadata: BTreeMap::new(),
            external_id: None,
        }
    }

    /// One of one line, which its SKU keeps.
    #[must_use]
    pub fn of_promise(name: &'a ReservationName, sku: &'a Sku, promise: &'a Promise) -> Self {
        let parts = ReservationParts {
            name,
            reference: &promise.reference,
            status: promise.status,
            buyer_key: promise.buyer_key.as_deref(),
            expires_at: promise.expires_at,
            version: u64::from(promise.changes),
            times: [promise.made_at, promise.changed_at],
        };
        let units = promise.units();
        Self::new(&parts, [(sku, units, units)])
    }
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReservationList")]
pub struct ReservationListView<'a> {
    /// Newest first.
    pub data: Vec<ReservationView<'a>>,
    /// Where the next page begins; `null`: there is none.
    pub next_cursor: Option<String>,
    /// When it was read.
    pub as_of: At,
}

/// The answers to a batch, in the order of its items.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReservationBatchResult")]
pub struct BatchView {
    results: Vec<ResultView>,
}

/// The answer to one item of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReservationResult")]
pub struct ResultView {
    /// Its place in the batch, from 0.
    index: usize,
    /// As if it had come alone.
    status: u16,
    /// A reservation, or a problem.
    body: serde_json::Value,
}

/// The word for how far a reservation got.
#[must_use]
pub const fn promise_word(status: PromiseStatus) -> &'static str {
    match status {
        PromiseStatus::Held => "held",
        PromiseStatus::Committed => "committed",
        PromiseStatus::Released => "released",
        PromiseStatus::Expired => "expired",
    }
}
