//! Views of reservations.

use crate::core::view::{At, MinimalView, Shown};
use crate::core::words::external_status_word;
use compact_str::format_compact;
use doorbuster_domain::ids::{ReservationName, Sku};
use doorbuster_domain::inventory::{ExternalReservation, ExternalStatus};
use doorbuster_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// One line of a reservation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReservationLine")]
pub struct ReservationLineView<'a> {
    pub(crate) sku: Shown<&'a Sku>,
    pub(crate) quantity: u64,
    /// The number of units reserved.
    pub(crate) granted: u64,
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
    /// When the units left the warehouse; `null`: they have not.
    shipped_at: Option<At>,
    version: u64,
    created_at: At,
    updated_at: At,
}

/// What reservations have in common, of one line and of several.
#[derive(Debug)]
pub struct ReservationParts<'a> {
    /// Its id.
    pub name: &'a ReservationName,
    /// The caller's own name for it.
    pub reference: &'a str,
    /// Its status.
    pub status: ExternalStatus,
    /// The caller's key for the buyer.
    pub buyer_key: Option<&'a str>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When its units left the warehouse.
    pub shipped_at: Option<Timestamp>,
    /// Its version: the number of its changes.
    pub version: u64,
    /// When it was made and when it last changed.
    pub times: [Timestamp; 2],
}

impl<'a> ReservationView<'a> {
    /// A reservation with its lines: SKU, units wanted, units granted.
    #[must_use]
    pub fn new(parts: &ReservationParts<'a>, lines: impl IntoIterator<Item = (&'a Sku, u64, u64)>) -> Self {
        let line = |(sku, quantity, granted)| ReservationLineView { sku: Shown(sku), quantity, granted };
        let [created_at, updated_at] = parts.times.map(At);
        Self {
            id: Shown(parts.name),
            reference: parts.reference,
            status: external_status_word(parts.status),
            buyer_key: parts.buyer_key,
            lines: lines.into_iter().map(line).collect(),
            expires_at: At(parts.expires_at),
            shipped_at: parts.shipped_at.map(At),
            version: parts.version,
            created_at,
            updated_at,
        }
    }

    /// What is left of it under `Prefer: return=minimal`.
    pub(super) fn minimal(&self) -> MinimalView {
        let (status, version, expires_at) = (self.status, self.version, self.expires_at);
        MinimalView { id: format_compact!("{}", self.id.0), status, version, total: None, expires_at }
    }

    /// A reservation of one line, which its SKU keeps.
    #[must_use]
    pub fn of_external(name: &'a ReservationName, sku: &'a Sku, reservation: &'a ExternalReservation) -> Self {
        let parts = ReservationParts {
            name,
            reference: &reservation.reference,
            status: reservation.status,
            buyer_key: reservation.buyer_key.as_deref(),
            expires_at: reservation.expires_at,
            shipped_at: reservation.shipped_at,
            version: u64::from(reservation.changes),
            times: [reservation.made_at, reservation.changed_at],
        };
        let units = reservation.units();
        Self::new(&parts, [(sku, units, units)])
    }
}

/// A page of a list of reservations.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReservationList")]
pub struct ReservationListView<'a> {
    /// Newest first.
    pub data: Vec<ReservationView<'a>>,
    /// The cursor of the next page; `null`: there is none.
    pub next_cursor: Option<String>,
    /// When the page was read.
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
    /// Its index in the batch, from 0.
    index: usize,
    /// The status it would have alone.
    status: u16,
    /// A reservation, or a problem.
    body: serde_json::Value,
}
