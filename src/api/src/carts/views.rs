//! Views of carts.

use crate::core::view::{At, Iso4217, MinimalView, MoneyView, Shown};
use crate::inventory::views::state_of;
use compact_str::format_compact;
use doorbuster_actors::view::Stock;
use doorbuster_domain::cart::{Cart, CartLine, Status};
use doorbuster_domain::ids::{CartId, OrderId, Sku};
use doorbuster_domain::inventory::{Offer, StockState};
use doorbuster_domain::money::{AMOUNT_MAX, Money};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::Meta;
use schemars::JsonSchema;
use serde::Serialize;

/// A cart with current prices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cart")]
pub struct CartView<'a> {
    id: Shown<CartId>,
    currency: Iso4217,
    status: &'static str,
    lines: Vec<CartLineView<'a>>,
    subtotal: MoneyView,
    order: Option<Shown<OrderId>>,
    expires_at: At,
    notices: Vec<NoticeView<'a>>,
    version: u64,
    created_at: At,
    updated_at: At,
}

/// A line of a cart.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CartLine")]
pub struct CartLineView<'a> {
    sku: Shown<&'a Sku>,
    seller: &'a str,
    #[schemars(with = "String")]
    title: &'a str,
    quantity: u32,
    unit_price: MoneyView,
    price_when_added: MoneyView,
    subtotal: MoneyView,
    availability: LineStockView,
    added_at: At,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LineStock")]
struct LineStockView {
    state: &'static str,
    units_left: Option<u64>,
}

/// A change that the shopper should notice.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Notice")]
pub struct NoticeView<'a> {
    code: &'static str,
    sku: Shown<&'a Sku>,
    was: Option<MoneyView>,
    now: Option<MoneyView>,
}

fn offer_of(stock: Option<&Stock>) -> Option<&Offer> {
    stock?.levels.as_deref()?.offer.as_ref()
}

fn subtotal(price: Money, quantity: u32) -> Money {
    // A sum that overflows is refused when the cart is ordered; here it is only shown.
    price.times(quantity).unwrap_or(Money { amount: AMOUNT_MAX, currency: price.currency })
}

impl<'a> CartView<'a> {
    /// A cart; `stocks` has the stock of each line's SKU, as far as it is known. `None`: the cart does not exist.
    #[must_use]
    pub fn new(
        id: CartId,
        cart: &'a Cart,
        stocks: &'a [Option<Stock>],
        meta: &Meta,
        low_stock_at: u64,
        now: Timestamp,
    ) -> Option<Self> {
        let opened = cart.opened()?;
        let mut total = Money::zero(opened.currency);
        let mut lines = Vec::with_capacity(cart.lines().len());
        let mut notices = Vec::new();
        for (line, stock) in cart.lines().iter().zip(stocks) {
            let stock = stock.as_ref();
            let offer = offer_of(stock);
            let price =
                offer.and_then(|offer| offer.price_in(opened.currency)).map_or(line.unit_price, |price| price.unit);
            let sum = subtotal(price, line.quantity);
            total = total.plus(sum).unwrap_or(total);
            // A SKU that is not known is shown as one without stock.
            let state = stock.map_or(StockState::SoldOut, |stock| state_of(stock, low_stock_at));
            notice(line, price, state, &mut notices);
            lines.push(line_view(line, price, sum, stock, state));
        }
        let (status, order) = match cart.status() {
            Status::Open if cart.expires_at() <= now => ("expired", None),
            Status::Open => ("open", None),
            Status::Frozen { order, .. } => ("frozen", Some(order)),
            Status::Ordered { order } => ("ordered", Some(order)),
            Status::Expired => ("expired", None),
        };
        Some(Self {
            id: Shown(id),
            currency: Iso4217(opened.currency),
            status,
            lines,
            subtotal: total.into(),
            order: order.map(Shown),
            expires_at: At(cart.expires_at()),
            notices,
            version: cart.version(),
            created_at: At(meta.created_at),
            updated_at: At(meta.updated_at),
        })
    }
}

impl CartView<'_> {
    /// What is left of it under `Prefer: return=minimal`.
    pub(super) fn minimal(&self) -> MinimalView {
        let (status, version, expires_at) = (self.status, self.version, self.expires_at);
        MinimalView { id: format_compact!("{}", self.id.0), status, version, total: Some(self.subtotal), expires_at }
    }
}

fn line_view<'a>(
    line: &'a CartLine,
    price: Money,
    sum: Money,
    stock: Option<&'a Stock>,
    state: StockState,
) -> CartLineView<'a> {
    let title = offer_of(stock).map_or(&line.title, |offer| &offer.title);
    CartLineView {
        sku: Shown(&line.sku),
        seller: &line.seller,
        title,
        quantity: line.quantity,
        unit_price: price.into(),
        price_when_added: line.unit_price.into(),
        subtotal: sum.into(),
        availability: LineStockView {
            state: state.as_str(),
            units_left: stock.filter(|_| state == StockState::LowStock).map(|stock| stock.available),
        },
        added_at: At(line.added_at),
    }
}

fn notice<'a>(line: &'a CartLine, price: Money, state: StockState, notices: &mut Vec<NoticeView<'a>>) {
    let sku = Shown(&line.sku);
    if price != line.unit_price {
        let (was, now) = (Some(line.unit_price.into()), Some(price.into()));
        notices.push(NoticeView { code: "price_changed", sku, was, now });
    }
    let code = match state {
        StockState::InStock => return,
        StockState::LowStock => "low_stock",
        StockState::AllReserved | StockState::SoldOut | StockState::Ended => "sold_out",
    };
    notices.push(NoticeView { code, sku, was: None, now: None });
}
