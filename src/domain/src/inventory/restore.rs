//! Splits a SKU's stock into a head and chunks for the store, and joins them again (rule S4).

use super::evolve::agreed_by;
use super::memory::ids_of;
use super::{Agreed, ExternalReservation, Inventory, Move, MoveKey, Remembered, Reservation};
use crate::codec::{self as minicbor, Decode, Encode, Interns};
use crate::ids::{OrderId, RequestId, ReservationId};
use std::borrow::Cow;

/// What a chunk holds: all that is remembered of the orders and requests whose ids fall into it. Borrowed while it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(context_bound = "Interns<Agreed>")]
pub struct Chunk<'a> {
    /// Live and ended reservations of orders.
    #[n(0)]
    reservations: Vec<(OrderId, Cow<'a, Reservation>)>,
    /// Shipments and returns that were carried out.
    #[n(1)]
    moves: Vec<(OrderId, MoveKey, Cow<'a, Move>)>,
    /// The seller's requests that were carried out.
    #[n(2)]
    requests: Vec<(RequestId, Cow<'a, Remembered>)>,
    /// Held and ended reservations of callers with a checkout of their own.
    #[n(3)]
    external: Vec<(ReservationId, Cow<'a, ExternalReservation>)>,
}

impl Inventory {
    /// The contents of a chunk (1 to [`super::CHUNKS`]), in time proportional to them.
    #[must_use]
    pub fn chunk(&self, chunk: u16) -> Chunk<'_> {
        let (first, last) = ids_of(chunk);
        let (orders, requests) = (OrderId(first)..=OrderId(last), RequestId(first)..=RequestId(last));
        let lowest = MoveKey::Ship { shipment: 0 };
        Chunk {
            reservations: self
                .reservations
                .range(orders)
                .map(|(order, reservation)| (order, Cow::Borrowed(reservation)))
                .collect(),
            moves: self
                .moves
                .range((OrderId(first), lowest)..)
                .take_while(|((order, _), _)| order.0 <= last)
                .map(|((order, key), memory)| (*order, *key, Cow::Borrowed(memory)))
                .collect(),
            requests: self.requests.range(requests).map(|(id, memory)| (*id, Cow::Borrowed(memory.as_ref()))).collect(),
            external: self
                .external
                .between(ReservationId(first), ReservationId(last))
                .map(|(id, reservation)| (id, Cow::Borrowed(reservation)))
                .collect(),
        }
    }

    /// The state whose head this is, with its chunks. What can be derived (what is live, when it is asked) is derived.
    #[must_use]
    pub fn restored(mut self, chunks: Vec<Chunk<'_>>) -> Self {
        self.agreed = self.offer.as_ref().map(agreed_by).unwrap_or_default();
        self.levels = self.levels.sorted();
        for chunk in chunks {
            for (order, reservation) in chunk.reservations {
                self.reservations.insert(order, reservation.into_owned());
            }
            for (order, key, memory) in chunk.moves {
                self.moves.insert((order, key), memory.into_owned());
            }
            for (id, memory) in chunk.requests {
                self.requests.insert(id, Box::new(memory.into_owned()));
            }
            for (id, reservation) in chunk.external {
                self.external.insert(id, reservation.into_owned());
            }
        }
        self
    }
}
