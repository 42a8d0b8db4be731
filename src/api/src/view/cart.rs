//! Carts and guests.

use super::stock::stock_word;
use super::{At, MoneyView, Shown};
use compact_str::CompactString;
use doorbuster_actors::view::Stock;
use doorbuster_domain::cart::{Cart, Line, Owner, Status};
use doorbuster_domain::ids::{CartId, GuestId, OrderId, Sku};
use doorbuster_domain::inventory::Offer;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::wire::Meta;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A cart with today's prices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cart")]
pub struct CartView<'a> {
    id: Shown<CartId>,
    customer: Option<&'a str>,
    #[schemars(with = "String")]
    currency: super::Iso4217,
    status: &'static str,
    lines: Vec<CartLineView<'a>>,
    coupons: [String; 0],
    subtotal: MoneyView,
    discount: MoneyView,
    order: Option<Shown<OrderId>>,
    expires_at: At,
    notices: Vec<NoticeView<'a>>,
    version: u64,
    created_at: At,
    updated_at: At,
    metadata: BTreeMap<String, String>,
    external_id: Option<String>,
}

/// A line of a cart.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CartLine")]
pub struct CartLineView<'a> {
    sku: Shown<&'a Sku>,
    seller: &'a str,
    title: CompactTitle,
    quantity: u32,
    unit_price: MoneyView,
    price_when_added: MoneyView,
    subtotal: MoneyView,
    availability: LineStockView,
    added_at: At,
}

/// A title as it is now, or as it was when the line was added.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct CompactTitle(CompactString);

impl JsonSchema for CompactTitle {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Title".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LineStock")]
struct LineStockView {
    state: &'static str,
    units_left: Option<u64>,
}

/// Something the shopper should notice.
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

fn price_now(stock: Option<&Stock>, currency: Currency) -> Option<Money> {
    let offer = offer_of(stock)?;
    offer.prices.iter().find(|price| price.unit.currency == currency).map(|price| price.unit)
}

fn subtotal(price: Money, quantity: u32) -> Money {
    // What overflows is refused when it is ordered; here it is only shown.
    price.times(quantity).unwrap_or(Money { amount: doorbuster_domain::money::AMOUNT_MAX, currency: price.currency })
}

impl<'a> CartView<'a> {
    /// A cart; `stocks` are of its lines' SKUs, in order, as last seen. `None`: it was never made.
    #[must_use]
    pub fn new(
        id: CartId,
        cart: &'a Cart,
        stocks: &[Option<Stock>],
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
            let price = price_now(stock, opened.currency).unwrap_or(line.unit_price);
            let sum = subtotal(price, line.quantity);
            total = total.plus(sum).unwrap_or(total);
            notice(line, price, stock, low_stock_at, &mut notices);
            lines.push(line_view(line, price, sum, stock, low_stock_at));
        }
        let (status, order) = match cart.status() {
            Status::Open if cart.expires_at() <= now => ("expired", None),
            Status::Open => ("open", None),
            Status::Frozen { order, .. } => ("frozen", Some(order)),
            Status::Ordered { order } => ("ordered", Some(order)),
            Status::Expired => ("expired", None),
        };
        let customer = match &opened.owner {
            Owner::Customer(customer) => Some(customer.as_str()),
            Owner::Guest(_) | Owner::Seller(_) => None,
        };
        Some(Self {
            id: Shown(id),
            customer,
            currency: super::Iso4217(opened.currency),
            status,
            lines,
            coupons: [],
            subtotal: total.into(),
            discount: Money::zero(opened.currency).into(),
            order: order.map(Shown),
            expires_at: At(cart.expires_at()),
            notices,
            version: cart.version(),
            created_at: At(meta.created_at),
            updated_at: At(meta.updated_at),
            metadata: BTreeMap::new(),
            external_id: None,
        })
    }
}

fn line_view<'a>(
    line: &'a Line,
    price: Money,
    sum: Money,
    stock: Option<&Stock>,
    low_stock_at: u64,
) -> CartLineView<'a> {
    let state = stock.map_or("sold_out", |stock| stock_word(stock, low_stock_at));
    let title = offer_of(stock).map_or(&line.title, |offer| &offer.title);
    CartLineView {
        sku: Shown(&line.sku),
        seller: &line.seller,
        title: CompactTitle(title.clone()),
        quantity: line.quantity,
        unit_price: price.into(),
        price_when_added: line.unit_price.into(),
        subtotal: sum.into(),
        availability: LineStockView {
            state,
            units_left: stock.filter(|_| state == "low_stock").map(|stock| stock.available),
        },
        added_at: At(line.added_at),
    }
}

fn notice<'a>(
    line: &'a Line,
    price: Money,
    stock: Option<&Stock>,
    low_stock_at: u64,
    notices: &mut Vec<NoticeView<'a>>,
) {
    let sku = Shown(&line.sku);
    if price != line.unit_price {
        let (was, now) = (Some(line.unit_price.into()), Some(price.into()));
        notices.push(NoticeView { code: "price_changed", sku, was, now });
    }
    let code = match stock.map(|stock| stock_word(stock, low_stock_at)) {
        Some("low_stock") => "low_stock",
        Some("in_stock") => return,
        Some(_) | None => "sold_out",
    };
    notices.push(NoticeView { code, sku, was: None, now: None });
}

/// A guest's token.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Guest")]
pub struct GuestView<'a> {
    /// The guest.
    pub id: Shown<GuestId>,
    /// For `Authorization: Bearer`.
    pub token: &'a str,
    /// Good until then.
    pub expires_at: At,
}
