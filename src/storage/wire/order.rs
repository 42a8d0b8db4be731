//! An order's events and state as they are stored: facts here, personal data apart.
//!
//! Personal data is in [`Event::Placed`] and [`Event::Amended`] only; the facts keep its salted hash.

mod parts;
#[cfg(test)]
mod tests;

use self::parts::{
    CallV1, CancelReasonV1, CancelledV1, CapturePolicyV1, CartRefusalV1, DestinationV1, HeadV1, InstructionV1,
    NextActionV1, OutcomeV1, PersonalV1, PricedV1, ReceiptV1, RefundStartedV1, RequestV1, ReservedV1, RetryV1,
    ReturnLineV1, ShipmentV1, ShippingV1, ShortageV1, StepV1, TaxTableV1, TroubleV1, WantedV1,
};
use super::mirror::{Id, Mirror, Stored, mirror_enum};
use super::{WireError, form, whole};
use crate::domain::order::{Amended, Event, Order, Personal, Placed};
use crate::domain::time::Timestamp;
use compact_str::CompactString;
use serde::Serializer;
use serde::ser::SerializeStruct;
use std::sync::Arc;

/// The version in which events are written.
pub(super) const EVENTS: u16 = 1;
/// The version in which states are written; another one is rebuilt from history. It must grow with every change of what an
/// [`Order`] is made of (a golden-byte test sees to it).
pub(super) const SNAPSHOT: u16 = 1;
const WHAT: &str = "an event of an order";

mirror_enum!(EventV1 = Event {
    Placed(Box<PlacedV1>),
    CartRefused(CartRefusalV1),
    Held(Box<PricedV1>),
    Done(StepV1),
    Gone(StepV1),
    Troubled(TroubleV1),
    Cancelled(Box<CancelledV1>),
    RefundStarted(Box<RefundStartedV1>),
    Shipped(Box<ShipmentV1>),
    Amended(Box<AmendedV1>);
    Frozen { lines: Vec<WantedV1> },
    Reserved { line: u16, reserved: Box<ReservedV1> },
    Refused { line: u16, why: ShortageV1 },
    Ending { outcome: OutcomeV1, request: Option<RequestV1>, at: Timestamp },
    Ended {},
    PaymentStarted {
        number: u16,
        asked: Option<(RequestV1, InstructionV1)>,
        amount: i64,
        capture: CapturePolicyV1,
        at: Timestamp,
        expires_at: Timestamp,
    },
    Authorized { payment: u16, provider_reference: CompactString, lapses_at: Option<Timestamp> },
    Declined { payment: u16, code: CompactString, retry: RetryV1 },
    ActionRequired { payment: u16, provider_reference: CompactString, action: NextActionV1, at: Timestamp },
    Processing { payment: u16, provider_reference: CompactString, at: Timestamp },
    CallStarted { call: CallV1, amount: i64, request: Option<RequestV1>, refund: Option<u16>, at: Timestamp },
    CallSucceeded { call: CallV1, provider_reference: CompactString },
    CallRefused { call: CallV1, code: CompactString, retry: RetryV1 },
    QueryOnly { call: CallV1, conflict: bool },
    Settled { call: CallV1 },
    Confirmed { at: Timestamp },
    CancelRequested { request: RequestV1, reason: CancelReasonV1 },
    Delivered { shipment: u16, request: RequestV1, at: Timestamp },
    Lost { shipment: u16, request: RequestV1 },
    ReturnRequested {
        number: u16,
        request: RequestV1,
        lines: Vec<ReturnLineV1>,
        approved: bool,
        window_ends_at: Timestamp,
    },
    ReturnApproved { number: u16, request: RequestV1 },
    ReturnRejected { number: u16, request: RequestV1, reason: CompactString },
    ReturnReceived { number: u16, request: RequestV1, receipts: Vec<ReceiptV1>, amount: i64 },
    PersonalErased {},
});

/// The facts of [`Placed`].
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(in crate::storage::wire) struct PlacedV1 {
    order: Id,
    head: Box<HeadV1>,
    expires_at: Timestamp,
}

impl Mirror<Placed> for PlacedV1 {
    fn of(value: &Placed) -> Self {
        let Placed { order, head, expires_at, personal: _ } = value;
        Self { order: Id::of(order), head: Mirror::of(head), expires_at: *expires_at }
    }
    fn back(self) -> Placed {
        let Self { order, head, expires_at } = self;
        Placed { order: order.back(), head: head.back(), expires_at, personal: None }
    }
    fn write<S: Serializer>(value: &Placed, to: S) -> Result<S::Ok, S::Error> {
        let Placed { order, head, expires_at, personal: _ } = value;
        let mut facts = to.serialize_struct("PlacedV1", 3)?;
        facts.serialize_field("order", &Stored::<Id, _>::new(order))?;
        facts.serialize_field("head", &Stored::<Box<HeadV1>, _>::new(head))?;
        facts.serialize_field("expires_at", expires_at)?;
        facts.end()
    }
}

/// The facts of [`Amended`].
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(in crate::storage::wire) struct AmendedV1 {
    destination: Option<(DestinationV1, TaxTableV1)>,
    shipping: Option<ShippingV1>,
    metadata: Option<Vec<(CompactString, CompactString)>>,
    priced: Option<PricedV1>,
    personal_hash: Option<[u8; 32]>,
}

impl Mirror<Amended> for AmendedV1 {
    fn of(value: &Amended) -> Self {
        let Amended { destination, shipping, metadata, priced, personal_hash, personal: _ } = value;
        Self {
            destination: Mirror::of(destination),
            shipping: Mirror::of(shipping),
            metadata: metadata.clone(),
            priced: Mirror::of(priced),
            personal_hash: *personal_hash,
        }
    }
    fn back(self) -> Amended {
        let Self { destination, shipping, metadata, priced, personal_hash } = self;
        Amended {
            destination: destination.back(),
            shipping: shipping.back(),
            metadata,
            priced: priced.back(),
            personal_hash,
            personal: None,
        }
    }
    fn write<S: Serializer>(value: &Amended, to: S) -> Result<S::Ok, S::Error> {
        let Amended { destination, shipping, metadata, priced, personal_hash, personal: _ } = value;
        let mut facts = to.serialize_struct("AmendedV1", 5)?;
        facts.serialize_field("destination", &Stored::<Option<(DestinationV1, TaxTableV1)>, _>::new(destination))?;
        facts.serialize_field("shipping", &Stored::<Option<ShippingV1>, _>::new(shipping))?;
        facts.serialize_field("metadata", metadata)?;
        facts.serialize_field("priced", &Stored::<Option<PricedV1>, _>::new(priced))?;
        facts.serialize_field("personal_hash", personal_hash)?;
        facts.end()
    }
}

fn people(personal: Option<&Arc<Personal>>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    form::write(&Stored::<PersonalV1, _>::new(&**personal?), &mut out);
    Some(out)
}

fn read_people(what: &'static str, personal: Option<&[u8]>) -> Result<Option<Arc<Personal>>, WireError> {
    let Some(bytes) = personal else { return Ok(None) };
    form::read::<PersonalV1>(what, bytes).map(|personal| Some(Arc::new(personal.back())))
}

/// Appends an event's facts and gives its personal data apart.
pub(super) fn encode_event(event: &Event, facts: &mut Vec<u8>) -> Option<Vec<u8>> {
    form::write(&Stored::<EventV1, _>::new(event), facts);
    match event {
        Event::Placed(placed) => people(placed.personal.as_ref()),
        Event::Amended(amended) => people(amended.personal.as_ref()),
        Event::Frozen { .. }
        | Event::CartRefused(_)
        | Event::Reserved { .. }
        | Event::Refused { .. }
        | Event::Held(_)
        | Event::Done(_)
        | Event::Gone(_)
        | Event::Ending { .. }
        | Event::Ended
        | Event::PaymentStarted { .. }
        | Event::Authorized { .. }
        | Event::Declined { .. }
        | Event::ActionRequired { .. }
        | Event::Processing { .. }
        | Event::CallStarted { .. }
        | Event::CallSucceeded { .. }
        | Event::CallRefused { .. }
        | Event::QueryOnly { .. }
        | Event::Settled { .. }
        | Event::Troubled(_)
        | Event::Confirmed { .. }
        | Event::CancelRequested { .. }
        | Event::Cancelled(_)
        | Event::RefundStarted(_)
        | Event::Shipped(_)
        | Event::Delivered { .. }
        | Event::Lost { .. }
        | Event::ReturnRequested { .. }
        | Event::ReturnApproved { .. }
        | Event::ReturnRejected { .. }
        | Event::ReturnReceived { .. }
        | Event::PersonalErased => None,
    }
}

/// The facts of an event, for people and their tools.
pub(super) fn shown(event: &Event) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(Stored::<EventV1, _>::new(event))
}

/// Reads an event back; without personal data when that was erased.
pub(super) fn decode_event(version: u16, facts: &[u8], personal: Option<&[u8]>) -> Result<Event, WireError> {
    if version != EVENTS {
        return Err(WireError::Version { what: WHAT, version });
    }
    let mut event: Event = form::read::<EventV1>(WHAT, facts)?.back();
    if let Event::Placed(placed) = &mut event {
        placed.personal = read_people(WHAT, personal)?;
    } else if let Event::Amended(amended) = &mut event {
        amended.personal = read_people(WHAT, personal)?;
    }
    Ok(event)
}

/// Appends a state's facts and gives its personal data apart.
pub(super) fn encode_state(state: &Order, out: &mut Vec<u8>) -> Option<Vec<u8>> {
    form::write(state, out);
    people(state.personal.as_ref())
}

/// Reads a state back; without personal data when that was erased.
pub(super) fn decode_state(version: u16, facts: &[u8], personal: Option<&[u8]>) -> Result<Order, WireError> {
    whole::known(version, SNAPSHOT)?;
    let mut order: Order = whole::read(facts)?;
    order.personal = read_people("a stored order", personal)?;
    Ok(order)
}
