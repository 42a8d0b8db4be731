//! Who goes first when there is no room for all: four lanes, and which of them a request is in.
//!
//! ```text
//! completion ── webhooks, payments and cancellations of placed orders: what ends a saga makes room
//! checkout ──── placing orders, and looking how they get on
//! cart ──────── carts, guests, and what sellers tend
//! browsing ──── reading the catalogue
//! ```
//!
//! What the sagas themselves still owe (commit, release, capture) passes no door at all: it was let in with its order.

use crate::routes::Op;

/// A lane; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What brings sagas to their end.
    Completion,
    /// What begins them.
    Checkout,
    /// What may become one.
    Cart,
    /// What only looks.
    Browsing,
}

impl Lane {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Completion, Self::Checkout, Self::Cart, Self::Browsing];

    /// Its word in figures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Checkout => "checkout",
            Self::Cart => "cart",
            Self::Browsing => "browsing",
        }
    }

    /// The lane of what a request does.
    #[must_use]
    pub const fn of(op: Op) -> Self {
        match op {
            Op::Webhook
            | Op::PayOrder
            | Op::CancelOrder
            | Op::CaptureOrder
            | Op::CommitReservation
            | Op::ReleaseReservation
            | Op::ExtendReservation => Self::Completion,
            Op::PlaceOrder
            | Op::PatchOrder
            | Op::GetOrder
            | Op::GetPayment
            | Op::MakeReservation
            | Op::MakeReservations
            | Op::GetReservation => Self::Checkout,
            Op::MakeGuest
            | Op::MakeCart
            | Op::GetCart
            | Op::PutCartLine
            | Op::DeleteCartLine
            | Op::PutProduct
            | Op::PutWarehouse
            | Op::GetWarehouse
            | Op::GetInventory
            | Op::Receive
            | Op::Adjust
            | Op::Count
            | Op::RefundOrder
            | Op::ShipOrder
            | Op::GetShipment
            | Op::DeliverShipment
            | Op::LoseShipment
            | Op::ReturnOrder
            | Op::GetReturn
            | Op::ApproveReturn
            | Op::RejectReturn
            | Op::ReceiveReturn
            | Op::ListReservations => Self::Cart,
            Op::OpenApi
            | Op::Docs
            | Op::DocsScript
            | Op::DocsStyle
            | Op::GetProduct
            | Op::GetAvailability
            | Op::OrderEvents => Self::Browsing,
        }
    }
}
