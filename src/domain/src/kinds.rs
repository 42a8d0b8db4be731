//! The kinds of entity, listed once. A new kind is one more line here and a variant of [`EntityId`](super::ids::EntityId); the compiler then
//! names every place that must care.

/// Calls a macro with the list: the name of the kind, its module in this crate and its state.
#[macro_export]
macro_rules! each_kind {
    ($make:ident) => {
        $make! {
            Inventory => inventory::Inventory,
            Cart => cart::Cart,
            Order => order::Order,
            Product => product::Product,
            Warehouse => warehouse::Warehouse,
            Reservation => reservation::Reservation,
            Counter => counter::Counter,
        }
    };
}
pub(crate) use each_kind;
