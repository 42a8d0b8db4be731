//! The table of routes: the rows of all resources. Requests are dispatched by it, and OpenAPI is written from it.

use crate::core::route::Route;
use crate::core::service::Shop;
use crate::{
    carts, docs, events, guests, inventory, orders, payments, products, reservations, returns, shipments, warehouses,
};

/// Every route of the public port.
pub fn routes<S: Shop>() -> impl Iterator<Item = &'static Route<S>> {
    let resources = [
        docs::routes::<S>(),
        products::routes(),
        warehouses::routes(),
        inventory::routes(),
        guests::routes(),
        carts::routes(),
        orders::routes(),
        payments::routes(),
        shipments::routes(),
        returns::routes(),
        reservations::routes(),
        events::routes(),
    ];
    resources.into_iter().flatten()
}
