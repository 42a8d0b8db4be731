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
use super::mirror::{Id, Mirror, Stored, mirror_enum, mirror_struct};
use super::{WireError, form, whole};
use compact_str::CompactString;
use doorbuster_domain::order::{Amended, Event, Order, Personal, Placed};
use doorbuster_domain::time::Timestamp;
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

mirror_struct!(PlacedV1 = Placed { order: Id, head: Box<HeadV1>, expires_at: Timestamp; personal });
mirror_struct!(AmendedV1 = Amended {
    destination: Option<(DestinationV1, TaxTableV1)>,
    shipping: Option<ShippingV1>,
    metadata: Option<Vec<(CompactString, CompactString)>>,
    priced: Option<PricedV1>,
    personal_hash: Option<[u8; 32]>;
    personal
});

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
