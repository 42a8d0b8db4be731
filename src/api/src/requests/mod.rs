//! What requests carry: one type per body, field by field as the contract has it. A field nobody knows is refused.

mod catalog;
mod orders;
mod reservations;
mod words;

pub use catalog::{AdjustmentBody, CountBody, ImageBody, PriceBody, ProductBody, ReceiptBody, SkuBody, WarehouseBody};
pub use orders::{
    AddressBody, BuyerBody, CancelBody, CaptureBody, CartBody, CartLineBody, EmptyBody, LineUnitsBody, OrderBody,
    OrderLineBody, OrderPatchBody, PaymentBody, ReceiveBody, ReceivedLineBody, RefundBody, RejectBody, ReturnBody,
    ReturnLineBody, ShipmentBody,
};
pub use reservations::{ExtendBody, ReservationBatchBody, ReservationBody, ReservationLineBody};
pub use words::{
    AdjustmentWord, AllocationWord, CancelWord, CaptureWord, ConditionWord, KindWord, MethodWord, StatusWord, StockWord,
};
