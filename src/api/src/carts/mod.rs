//! Carts: made, read with current prices, changed line by line.

mod bodies;
mod views;

pub use bodies::{CartBody, CartLineBody};
pub use views::{CartLineView, CartView, NoticeView};

use crate::core::ask::AskError;
use crate::core::caller::{Access, Caller};
use crate::core::headers::if_match;
use crate::core::priority_class::PriorityClass;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use crate::inventory;
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_actors::view::Stock;
use doorbuster_domain::any::{self, Refusal, State};
use doorbuster_domain::cart::{Cart, Command, Owner, Snapshot};
use doorbuster_domain::ids::{CartId, EntityId, Sku};
use doorbuster_domain::inventory::Refusal as StockRefusal;

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[
            Route {
                method: "POST",
                path: "/v1/carts",
                class: PriorityClass::Cart,
                access: Access::Shopper,
                key: true,
                body: Body::JsonOrNothing(schema_of::<CartBody>),
                handler: |request| Box::pin(make(request)),
                docs: Docs::new("MakeCart", "Shopper", "Make a cart")
                    .answers(&[(201, Some(schema_of::<CartView>))])
                    .minimal(),
            },
            Route {
                method: "GET",
                path: "/v1/carts/{id}",
                class: PriorityClass::Cart,
                access: Access::Shopper,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(get(request)),
                docs: Docs::new("GetCart", "Shopper", "One cart with current prices")
                    .answers(&[(200, Some(schema_of::<CartView>))]),
            },
            Route {
                method: "PUT",
                path: "/v1/carts/{id}/lines/{sku}",
                class: PriorityClass::Cart,
                access: Access::Shopper,
                key: false,
                body: Body::Json(schema_of::<CartLineBody>),
                handler: |request| Box::pin(put_line(request)),
                docs: Docs::new("PutCartLine", "Shopper", "Set the quantity of a line; it is never added")
                    .answers(&[(200, Some(schema_of::<CartView>))])
                    .minimal()
                    .codes(&[
                        Code::CartFrozen,
                        Code::AlreadyOrdered,
                        Code::WrongState,
                        Code::CurrencyMismatch,
                        Code::LimitExceeded,
                    ]),
            },
            Route {
                method: "DELETE",
                path: "/v1/carts/{id}/lines/{sku}",
                class: PriorityClass::Cart,
                access: Access::Shopper,
                key: false,
                body: Body::None,
                handler: |request| Box::pin(delete_line(request)),
                docs: Docs::new("DeleteCartLine", "Shopper", "Remove a line")
                    .answers(&[(200, Some(schema_of::<CartView>))])
                    .minimal()
                    .codes(&[Code::CartFrozen, Code::AlreadyOrdered, Code::WrongState]),
            },
        ]
    }
}

fn owner(caller: &Caller) -> Result<Owner, Problem> {
    match caller {
        Caller::Guest(guest) => Ok(Owner::Guest(format_compact!("{guest}"))),
        Caller::Seller(key) => Ok(Owner::Seller(key.account.clone())),
        Caller::Anyone | Caller::Holder(_) => Err(not_found()),
    }
}

/// The cart of an answer.
pub(crate) fn cart_of(accepted: &Accepted) -> Result<&Cart, Problem> {
    match accepted.state.as_deref() {
        Some(State::Cart(cart)) => Ok(cart),
        _ => Err(not_found()),
    }
}

/// The caller's own cart; another caller's is 404.
pub(crate) async fn own<S: Shop>(request: &Request<'_, S>, id: CartId) -> Result<Box<Accepted>, Problem> {
    Ok(ask(request, id, Command::Access).await?)
}

async fn ask<S: Shop>(request: &Request<'_, S>, id: CartId, command: Command) -> Result<Box<Accepted>, AskError> {
    request.ask(EntityId::Cart(id), any::Command::Cart(command)).send().await
}

/// A cart that was changed: whole, or as little of it as the caller prefers.
fn show_changed<S: Shop>(
    request: &Request<'_, S>,
    status: u16,
    id: CartId,
    accepted: &Accepted,
) -> Result<Reply, Problem> {
    let reply = show(request, status, id, accepted, request.prefers_minimal())?;
    Ok(reply.location(&format_compact!("/v1/carts/{id}")))
}

fn show<S: Shop>(
    request: &Request<'_, S>,
    status: u16,
    id: CartId,
    accepted: &Accepted,
    minimal: bool,
) -> Result<Reply, Problem> {
    let cart = cart_of(accepted)?;
    let shop = &request.context.shop;
    let stocks: Vec<Option<Stock>> = cart.lines().iter().map(|line| shop.cached_availability(&line.sku)).collect();
    let low_stock_at = request.shop_settings().low_stock_at;
    let view = CartView::new(id, cart, &stocks, &accepted.meta, low_stock_at, request.now).ok_or_else(not_found)?;
    let reply = if minimal { Reply::minimal(status, &view.minimal()) } else { Reply::json(status, &view) };
    Ok(reply.etag(cart.version()).live().of(accepted))
}

async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: CartBody = request.read()?;
    let key = request.body_key()?;
    let id = CartId::of_request(key.id);
    let shop = request.shop_settings();
    let command = Command::Create {
        terms: key.terms,
        owner: owner(&request.caller)?,
        currency: body.currency.map_or(shop.currency, |code| code.0),
        life_s: shop.cart_life_s,
    };
    let accepted = ask(&request, id, command).await?;
    show_changed(&request, 201, id, &accepted)
}

async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(CartId::parse)?;
    let accepted = own(&request, id).await?;
    show(&request, 200, id, &accepted, false)
}

async fn put_line<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(CartId::parse)?;
    let sku = request.second_id(Sku::parse)?;
    let body: CartLineBody = request.read()?;
    let expected_version = if_match(&request.headers)?;
    let known = own(&request, id).await?;
    let currency = cart_of(&known)?.opened().map(|opened| opened.currency).unwrap_or_default();
    let stock = match request.context.shop.availability(&sku).filter(|stock| stock.levels.is_some()) {
        Some(stock) => stock,
        None => inventory::read(&request, &sku).await?,
    };
    let offer = stock.levels.as_deref().and_then(|levels| levels.offer.as_ref());
    let quantity = body.quantity.0;
    let snapshot = Snapshot::of(offer, quantity, currency).map_err(|refusal| not_orderable(&sku, refusal))?;
    let accepted = ask(&request, id, Command::SetLine { sku, quantity, snapshot, expected_version }).await?;
    show_changed(&request, 200, id, &accepted)
}

/// Why a line of this SKU could not be ordered.
fn not_orderable(sku: &Sku, refusal: StockRefusal) -> Problem {
    match refusal {
        StockRefusal::NotOnSale => Problem::field("/sku", "not_on_sale", format!("{sku} is not on sale")),
        refusal => AskError::Refused(Refusal::Inventory(refusal)).into(),
    }
}

async fn delete_line<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = request.id(CartId::parse)?;
    let sku = request.second_id(Sku::parse)?;
    let command = Command::RemoveLine { sku, expected_version: if_match(&request.headers)? };
    own(&request, id).await?;
    let accepted = ask(&request, id, command).await?;
    show_changed(&request, 200, id, &accepted)
}
