//! A SKU's stock taken apart for the store, and put together again: a head and chunks (rule S4).

use super::evolve::agreed_by;
use super::memory::ids_of;
use super::{Inventory, Level, Move, MoveKey, Offer, Promise, Remembered, Reservation, ReservationStatus};
use crate::ids::{OrderId, RequestId, ReservationId};

/// What a chunk holds: all that is remembered of the orders and requests whose ids fall into it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// Live and ended.
    pub reservations: Vec<(OrderId, Reservation)>,
    /// Shipments and returns.
    pub moves: Vec<(OrderId, MoveKey, Move)>,
    /// Of the seller's.
    pub requests: Vec<(RequestId, Remembered)>,
    /// Held and ended.
    pub promises: Vec<(ReservationId, Promise)>,
}

impl Inventory {
    /// The content of a chunk (1 to [`super::CHUNKS`]): as many steps as it holds.
    #[must_use]
    pub fn chunk(&self, chunk: u16) -> Chunk {
        let (first, last) = ids_of(chunk);
        let (orders, requests) = (OrderId(first)..=OrderId(last), RequestId(first)..=RequestId(last));
        let lowest = MoveKey::Ship { shipment: 0 };
        Chunk {
            reservations: self
                .reservations
                .range(orders)
                .map(|(order, reservation)| (*order, reservation.clone()))
                .collect(),
            moves: self
                .moves
                .range((OrderId(first), lowest)..)
                .take_while(|((order, _), _)| order.0 <= last)
                .map(|((order, key), memory)| (*order, *key, memory.clone()))
                .collect(),
            requests: self.requests.range(requests).map(|(id, memory)| (*id, memory.as_ref().clone())).collect(),
            promises: self
                .promises
                .between(ReservationId(first), ReservationId(last))
                .map(|(id, promise)| (id, promise.clone()))
                .collect(),
        }
    }

    /// The state whose head and chunks these are. What can be derived (what is live, when it is asked) is derived.
    #[must_use]
    pub fn restore(version: u64, offer: Option<Offer>, levels: Vec<Level>, chunks: Vec<Chunk>) -> Self {
        let agreed = offer.as_ref().map(agreed_by).unwrap_or_default();
        let levels = levels.into_iter().collect();
        let mut stock = Self { version, offer, agreed, levels, ..Self::default() };
        for chunk in chunks {
            for (order, reservation) in chunk.reservations {
                if reservation.status == ReservationStatus::Held {
                    stock.asks.insert((reservation.ask_at, reservation.number));
                    stock.live.insert(reservation.number, order);
                }
                stock.reservations.insert(order, reservation);
            }
            stock.moves.extend(chunk.moves.into_iter().map(|(order, key, memory)| ((order, key), memory)));
            stock.requests.extend(chunk.requests.into_iter().map(|(id, memory)| (id, Box::new(memory))));
            for (id, promise) in chunk.promises {
                stock.promises.insert(id, promise);
            }
        }
        stock
    }
}
