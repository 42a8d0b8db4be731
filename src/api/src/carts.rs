//! Carts: made, read with today's prices, set line by line.

use super::callers::Caller;
use super::conventions::if_match;
use super::door::Request;
use super::fingerprint::of_body;
use super::json;
use super::problem::{Code, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::requests::{CartBody, CartLineBody};
use super::seam::Shop;
use super::stock;
use super::view::CartView;
use compact_str::format_compact;
use doorbuster_actors::ask::Accepted;
use doorbuster_actors::view::Stock;
use doorbuster_domain::any::{self, State};
use doorbuster_domain::cart::{Cart, Command, Owner, Snapshot};
use doorbuster_domain::ids::{CartId, EntityId, Sku};

fn owner(caller: &Caller) -> Result<Owner, Problem> {
    match caller {
        Caller::Guest(guest) => Ok(Owner::Guest(format_compact!("{guest}"))),
        Caller::Seller(key) => Ok(Owner::Seller(key.account.clone())),
        Caller::Anyone | Caller::Holder(_) => Err(not_found()),
    }
}

pub(super) fn cart_of(accepted: &Accepted) -> Result<&Cart, Problem> {
    match accepted.state.as_deref() {
        Some(State::Cart(cart)) => Ok(cart),
        _ => Err(not_found()),
    }
}

/// The caller's own cart; somebody else's is not there.
pub(super) async fn own<S: Shop>(request: &Request<'_, S>, id: CartId) -> Result<Accepted, Problem> {
    let accepted = request.ask(EntityId::Cart(id), any::Command::Cart(Command::Access)).await?;
    let owner = owner(&request.caller)?;
    let own = cart_of(&accepted)?.opened().is_some_and(|opened| opened.owner == owner);
    if own { Ok(accepted) } else { Err(not_found()) }
}

fn cart_id<S>(request: &Request<'_, S>) -> Result<CartId, Problem> {
    CartId::parse(request.params.first()).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}

fn show<S: Shop>(request: &Request<'_, S>, status: u16, id: CartId, accepted: &Accepted) -> Result<Reply, Problem> {
    let cart = cart_of(accepted)?;
    let stocks: Vec<Option<Stock>> = cart.lines().iter().map(|line| request.api.shop.glimpse(&line.sku)).collect();
    let low_stock_at = request.api.settings.terms.low_stock_at;
    let view = CartView::new(id, cart, &stocks, &accepted.meta, low_stock_at, request.now).ok_or_else(not_found)?;
    Ok(Reply::json(status, &view).etag(cart.version()).of(accepted))
}

pub(super) async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let body: CartBody = json::read(&request.body)?;
    let key = request.request_key(of_body(&request.body)?)?;
    let id = CartId::of_request(key.id);
    let terms = &request.api.settings.terms;
    let command = Command::Create {
        terms: key.terms,
        owner: owner(&request.caller)?,
        currency: body.currency.map_or(terms.currency, |code| code.0),
        life_s: terms.cart_life_s,
    };
    let accepted = request.ask(EntityId::Cart(id), any::Command::Cart(command)).await?;
    Ok(show(&request, 201, id, &accepted)?.location(&format_compact!("/v1/carts/{id}")))
}

pub(super) async fn get<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = cart_id(&request)?;
    let accepted = own(&request, id).await?;
    show(&request, 200, id, &accepted)
}

pub(super) async fn put_line<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = cart_id(&request)?;
    let sku = line_sku(&request)?;
    let body: CartLineBody = json::read(&request.body)?;
    let expected_version = if_match(&request.headers)?;
    let known = own(&request, id).await?;
    let currency = cart_of(&known)?.opened().map(|opened| opened.currency).unwrap_or_default();
    let seen = request.api.shop.availability(&sku).filter(|stock| stock.levels.is_some());
    let stock = match seen {
        Some(stock) => stock,
        None => stock::read(&request, &sku).await?,
    };
    let offer = stock.levels.as_deref().and_then(|levels| levels.offer.as_ref()).filter(|offer| offer.on_sale);
    let offer = offer.ok_or_else(|| Problem::field("/sku", "not_on_sale", format!("{sku} is not on sale")))?;
    let price = offer.prices.iter().find(|price| price.unit.currency == currency).ok_or_else(|| {
        Problem::new(Code::CurrencyMismatch).detail(format!("{sku} has no price in {}", currency.as_str()))
    })?;
    if let Some(limit) = offer.max_per_order.filter(|limit| body.quantity.0 > *limit) {
        let detail = format!("at most {limit} in one order");
        let problem = Problem::new(Code::LimitExceeded).detail(detail).with("limit", limit);
        return Err(problem.with("wanted", body.quantity.0));
    }
    let snapshot = Snapshot { title: offer.title.clone(), seller: offer.seller.clone(), unit_price: price.unit };
    let command = Command::SetLine { sku, quantity: body.quantity.0, snapshot, expected_version };
    let accepted = request.ask(EntityId::Cart(id), any::Command::Cart(command)).await?;
    show(&request, 200, id, &accepted)
}

pub(super) async fn delete_line<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let id = cart_id(&request)?;
    let command = Command::RemoveLine { sku: line_sku(&request)?, expected_version: if_match(&request.headers)? };
    own(&request, id).await?;
    let accepted = request.ask(EntityId::Cart(id), any::Command::Cart(command)).await?;
    show(&request, 200, id, &accepted)
}

fn line_sku<S>(request: &Request<'_, S>) -> Result<Sku, Problem> {
    Sku::parse(request.params.second()).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))
}
