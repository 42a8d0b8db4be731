//! The view of an order's journal: who did what, when, at each step.
//!
//! Facts only: personal data is stored apart from them and is not shown here.

use crate::core::service::Journaled;
use crate::core::view::{At, MoneyView, event_id, line_id};
use crate::core::words::capture_word;
use doorbuster_domain::any;
use doorbuster_domain::claims::{ClaimId, ClaimStage};
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::{OrderId, PaymentId, RefundId, ReturnId, ShipmentId};
use doorbuster_domain::inventory::Allocation;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{
    AttentionReason, CallKey, EndReason, Event, LineUnits, Order, Placed, Rejection, Shortage, Source,
};
use doorbuster_domain::payment::Operation;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// One event of an order.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct EventView {
    number: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    at: At,
    by: ByView,
    /// The part of the saga it belongs to.
    step: &'static str,
    data: Value,
    /// Its position in the log: `evt_shard-seq-index`.
    id: String,
}

/// Who caused an event.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "By")]
pub(crate) struct ByView {
    kind: &'static str,
    id: Option<String>,
}

impl From<&By> for ByView {
    fn from(by: &By) -> Self {
        let (kind, id) = match by {
            By::System => ("system", None),
            By::Seller(id) => ("seller", Some(id.to_string())),
            By::Shopper(id) => ("shopper", Some(id.to_string())),
            By::Guest(id) => ("guest", Some(id.to_string())),
            By::Provider(id) => ("provider", Some(id.to_string())),
            By::Operator => ("operator", None),
        };
        Self { kind, id }
    }
}

/// A page of an order's journal that is being gathered.
#[derive(Debug)]
pub struct EventPage {
    describer: EventDescriber,
    events: Vec<EventView>,
    limit: usize,
    /// The last event that was read.
    read_upto: u64,
    /// The journal has ended, as far as it was durable.
    is_at_end: bool,
}

impl EventPage {
    /// The events of an order behind its event `after`, at most `limit` of them.
    #[must_use]
    pub fn of(order: &Order, after: u64, limit: usize) -> Self {
        let currency = order.terms().map(|terms| terms.currency).unwrap_or_default();
        let describer = EventDescriber { order: order.id, currency };
        Self { describer, events: Vec::new(), limit, read_upto: after, is_at_end: false }
    }

    /// The event from which the journal is to be read on; `None`: the page is full, or the journal has ended.
    #[must_use]
    pub fn next_from(&self) -> Option<u64> {
        (!self.is_at_end && self.events.len() <= self.limit).then(|| self.read_upto.saturating_add(1))
    }

    /// Adds what was read from [`Self::next_from`] on; nothing: the journal has ended.
    pub fn add(&mut self, journal: &[Journaled]) {
        let before = self.read_upto;
        for journaled in journal {
            let decided = &journaled.decided;
            for (index, event) in (0_u64..).zip(&decided.events) {
                let number = decided.number.saturating_add(index);
                let any::Event::Order(event) = event else { continue };
                // One more than the page has room for says that there is a next page.
                if number > self.read_upto && self.events.len() <= self.limit {
                    let (kind, step, data) = self.describer.describe(event);
                    self.events.push(EventView {
                        number,
                        kind,
                        at: At(decided.at),
                        by: (&decided.by).into(),
                        step,
                        data,
                        id: event_id(journaled.shard, journaled.seq, index),
                    });
                    self.read_upto = number;
                }
            }
        }
        self.is_at_end = self.read_upto == before;
    }

    /// The events of the page, in order.
    #[must_use]
    pub fn events(&self) -> &[EventView] {
        self.events.get(..self.limit).unwrap_or(&self.events)
    }

    /// The number behind which the next page begins; `None`: this was the last.
    #[must_use]
    pub fn more_after(&self) -> Option<u64> {
        let is_more = self.events.len() > self.limit;
        self.events().last().filter(|_| is_more).map(|last| last.number)
    }
}

/// Describes events of an order in its currency.
#[derive(Debug)]
struct EventDescriber {
    order: OrderId,
    currency: Currency,
}

/// Type, step and data of an event.
type Described = (&'static str, &'static str, Value);

impl EventDescriber {
    fn money(&self, amount: i64) -> MoneyView {
        Money { amount, currency: self.currency }.into()
    }

    fn payment(&self, number: u16) -> String {
        PaymentId::of(self.order, number).to_string()
    }

    fn call(&self, call: CallKey) -> Value {
        json!({ "operation": call.operation.as_str(), "payment": self.payment(call.payment), "attempt": call.attempt })
    }

    fn placed(&self, placed: &Placed) -> Value {
        let lines = match &placed.head.source {
            Source::Cart(_) => Value::Null,
            Source::Lines(lines) => {
                lines.iter().map(|line| json!({ "sku": line.sku.as_str(), "quantity": line.units })).collect()
            }
        };
        let cart = match &placed.head.source {
            Source::Cart(cart) => Some(cart.to_string()),
            Source::Lines(_) => None,
        };
        json!({
            "lines": lines,
            "cart": cart,
            "currency": self.currency.as_str(),
            "country": placed.head.terms.destination.country.as_str(),
            "expires_at": At(placed.expires_at),
            "pays_at_once": placed.head.payment.is_some(),
        })
    }

    fn describe(&self, event: &Event) -> Described {
        match event {
            Event::Placed(placed) => ("order.placed", "placed", self.placed(placed)),
            Event::Frozen { lines } => ("cart.frozen", "placed", json!({ "lines": lines.len() })),
            Event::CartRefused(_) => ("cart.refused", "placed", Value::Null),
            Event::Reserved { line, reserved } => {
                let from = allocations(&reserved.allocations);
                let price = MoneyView::from(reserved.price.unit);
                let data = json!({ "line": line_id(*line), "reservation": reserved.reservation, "allocations": from, "unit_price": price });
                ("stock.reserved", "reserve", data)
            }
            Event::EditBegun(_) => ("edit.begun", "claim", Value::Null),
            Event::EditEnded { refused } => ("edit.ended", "claim", json!({ "refused": refused })),
            Event::Granted { claim, .. } => ("claim.granted", "claim", json!({ "claim": claim })),
            Event::Refused { line, why } => match ClaimStage::of(*line) {
                ClaimStage::Stock => ("stock.refused", "reserve", shortage(*line, why)),
                ClaimStage::Place | ClaimStage::Allowances | ClaimStage::Instrument => {
                    ("claim.refused", "claim", claim_refused(*line, why))
                }
            },
            Event::Held(priced) => {
                let data = json!({ "total": self.money(priced.total), "shipping": self.money(priced.shipping_total) });
                ("order.payment_required", "price", data)
            }
            Event::Done(step) => ("step.done", "saga", json!({ "step": format!("{step:?}") })),
            Event::Gone(step) => ("step.gone", "saga", json!({ "step": format!("{step:?}") })),
            Event::Ending { outcome, .. } => {
                ("order.ending", "compensate", json!({ "outcome": outcome_word(*outcome) }))
            }
            Event::Ended => ("order.ended", "compensate", Value::Null),
            Event::Confirmed { .. } => ("order.confirmed", "confirm", Value::Null),
            Event::Amended(amended) => match &amended.tracking {
                Some(tracking) => {
                    let shipment = ShipmentId::of(self.order, tracking.shipment).to_string();
                    ("shipment.tracking_corrected", "ship", json!({ "shipment": shipment }))
                }
                None => ("order.amended", "edit", Value::Null),
            },
            Event::PersonalErased => ("order.personal_erased", "erase", Value::Null),
            Event::Troubled(trouble) => ("order.trouble", "operator", self.trouble(trouble)),
            Event::CancelRequested { .. } => ("order.cancel_requested", "cancel", Value::Null),
            Event::Cancelled(cancelled) => {
                let lines: Value = cancelled
                    .lines
                    .iter()
                    .map(|line| json!({ "line": line_id(line.line), "from": allocations(&line.from) }))
                    .collect();
                ("order.cancelled", "cancel", json!({ "lines": lines, "amount": self.money(cancelled.amount) }))
            }
            _ => self.describe_money_and_goods(event),
        }
    }

    fn describe_money_and_goods(&self, event: &Event) -> Described {
        match event {
            Event::PaymentStarted { number, amount, capture, .. } => {
                let data = json!({ "payment": self.payment(*number), "amount": self.money(*amount), "capture": capture_word(*capture) });
                ("payment.started", "authorize", data)
            }
            Event::Authorized { payment, provider_reference, lapses_at } => {
                let data = json!({ "payment": self.payment(*payment), "provider_reference": provider_reference.as_str(), "lapses_at": lapses_at.map(At) });
                ("payment.authorized", "authorize", data)
            }
            Event::Declined { payment, code, .. } => {
                ("payment.declined", "authorize", json!({ "payment": self.payment(*payment), "code": code.as_str() }))
            }
            Event::ActionRequired { payment, action, .. } => {
                let data = json!({ "payment": self.payment(*payment), "action": action.kind.as_str(), "expires_at": At(action.expires_at) });
                ("payment.requires_action", "authorize", data)
            }
            Event::Processing { payment, .. } => {
                ("payment.processing", "authorize", json!({ "payment": self.payment(*payment) }))
            }
            Event::CallStarted { call, amount, .. } => {
                let data = json!({ "call": self.call(*call), "amount": self.money(*amount) });
                ("payment.call_started", operation_step(call.operation), data)
            }
            Event::CallSucceeded { call, .. } => {
                ("payment.call_succeeded", operation_step(call.operation), json!({ "call": self.call(*call) }))
            }
            Event::CallRefused { call, code, .. } => {
                let data = json!({ "call": self.call(*call), "code": code.as_str() });
                ("payment.call_refused", operation_step(call.operation), data)
            }
            Event::QueryOnly { call, conflict } => {
                let data = json!({ "call": self.call(*call), "conflict": conflict });
                ("payment.query_only", operation_step(call.operation), data)
            }
            Event::GivenUp { call } => {
                ("payment.given_up", operation_step(call.operation), json!({ "call": self.call(*call) }))
            }
            Event::Reversed { call, code } => {
                let data = json!({ "call": self.call(*call), "code": code.as_str() });
                ("payment.reversed", operation_step(call.operation), data)
            }
            Event::AmountDiffers { call, found, .. } => {
                let data = json!({ "call": self.call(*call), "found": MoneyView::from(*found) });
                ("payment.amount_differs", operation_step(call.operation), data)
            }
            Event::Waived { payment, amount, .. } => {
                let data = json!({ "payment": self.payment(*payment), "amount": self.money(*amount) });
                ("payment.waived", "refund", data)
            }
            Event::Settled { call } => ("payment.settled", "operator", json!({ "call": self.call(*call) })),
            Event::RefundStarted(refund) => {
                let id = RefundId::of(self.order, refund.number).to_string();
                ("order.refunded", "refund", json!({ "refund": id, "amount": self.money(refund.amount) }))
            }
            Event::Shipped(shipment) => {
                let data = json!({ "shipment": ShipmentId::of(self.order, shipment.number).to_string(), "warehouse": shipment.warehouse.as_str(), "lines": line_units(&shipment.lines) });
                ("order.shipped", "ship", data)
            }
            Event::Delivered { shipment, .. } => {
                ("order.delivered", "ship", json!({ "shipment": ShipmentId::of(self.order, *shipment).to_string() }))
            }
            Event::ShipmentUndone { shipment, .. } => {
                ("shipment.undone", "ship", json!({ "shipment": ShipmentId::of(self.order, *shipment).to_string() }))
            }
            Event::ResendStarted { shipment, .. } => {
                ("shipment.resending", "ship", json!({ "shipment": ShipmentId::of(self.order, *shipment).to_string() }))
            }
            Event::Lost { shipment, .. } => {
                ("shipment.lost", "ship", json!({ "shipment": ShipmentId::of(self.order, *shipment).to_string() }))
            }
            Event::ReturnRequested { number, approved, .. } => {
                ("return.requested", "return", json!({ "return": self.return_id(*number), "approved": approved }))
            }
            Event::ReturnApproved { number, .. } => {
                ("return.approved", "return", json!({ "return": self.return_id(*number) }))
            }
            Event::ReturnRejected { number, .. } => {
                ("return.rejected", "return", json!({ "return": self.return_id(*number) }))
            }
            Event::ReturnReceived { number, amount, .. } => {
                let data = json!({ "return": self.return_id(*number), "amount": self.money(*amount) });
                ("return.received", "return", data)
            }
            // All others are described above.
            _ => ("order.changed", "saga", Value::Null),
        }
    }

    fn return_id(&self, number: u16) -> String {
        ReturnId::of(self.order, number).to_string()
    }

    fn trouble(&self, trouble: &AttentionReason) -> Value {
        match trouble {
            AttentionReason::NotAnswered(call) => json!({ "trouble": "not_answered", "call": self.call(*call) }),
            AttentionReason::Conflict(call) => json!({ "trouble": "conflict", "call": self.call(*call) }),
            AttentionReason::Refused { call, code } => {
                json!({ "trouble": "refused", "call": self.call(*call), "code": code.as_str() })
            }
            AttentionReason::Reversed { call, code } => {
                json!({ "trouble": "reversed", "call": self.call(*call), "code": code.as_str() })
            }
            AttentionReason::AmountDiffers { call, found } => {
                json!({ "trouble": "amount_differs", "call": self.call(*call), "found": MoneyView::from(*found) })
            }
            AttentionReason::StepRefused(step) => json!({ "trouble": "step_refused", "step": format!("{step:?}") }),
        }
    }
}

fn allocations(parts: &[Allocation]) -> Value {
    parts.iter().map(|part| json!({ "warehouse": part.warehouse.as_str(), "quantity": part.units })).collect()
}

fn line_units(lines: &[LineUnits]) -> Value {
    lines.iter().map(|line| json!({ "line": line_id(line.line), "quantity": line.units })).collect()
}

/// A claim that is not of stock.
fn claim_refused(claim: ClaimId, why: &Shortage) -> Value {
    if let Shortage::LimitReached { limit, taken } = why {
        json!({ "claim": claim, "why": "limit_exceeded", "limit": limit, "used": taken })
    } else {
        json!({ "claim": claim, "why": "too_late" })
    }
}

fn shortage(number: u16, why: &Shortage) -> Value {
    let line = line_id(number);
    match why {
        Shortage::SoldOut { available, .. } => json!({ "line": line, "why": "sold_out", "available": available }),
        Shortage::PriceChanged { now, .. } => {
            json!({ "line": line, "why": "price_changed", "now": MoneyView::from(*now) })
        }
        Shortage::Unknown => json!({ "line": line, "why": "unknown" }),
        Shortage::NotOnSale => json!({ "line": line, "why": "not_on_sale" }),
        Shortage::NoPrice => json!({ "line": line, "why": "no_price" }),
        Shortage::TooLate => json!({ "line": line, "why": "too_late" }),
        Shortage::LimitReached { .. } => claim_refused(number, why),
        Shortage::LimitExceeded { limit } => json!({ "line": line, "why": "limit_exceeded", "limit": limit }),
    }
}

const fn operation_step(operation: Operation) -> &'static str {
    match operation {
        Operation::Authorize => "authorize",
        Operation::Capture => "capture",
        Operation::Void | Operation::Refund => "refund",
    }
}

const fn outcome_word(outcome: EndReason) -> &'static str {
    match outcome {
        EndReason::SoldOut => "sold_out",
        EndReason::Rejected(why) => match why {
            Rejection::PriceChanged => "price_changed",
            Rejection::TotalChanged { .. } => "total_changed",
            Rejection::NotForSale => "not_for_sale",
            Rejection::LimitExceeded => "limit_exceeded",
            Rejection::Cart(_) => "cart",
            Rejection::Overflow => "overflow",
            Rejection::Claim(kind) => kind.as_str(),
        },
        EndReason::Expired => "expired",
        EndReason::PaymentFailed => "payment_failed",
        EndReason::Cancelled(_) => "cancelled",
    }
}
