//! `POST /v1/orders`: the request that a sale consists of.
//!
//! ```text
//! body ─► its lines charged ─► terms, ranking of warehouses ─► sold out by the read model? ─► each SKU exists? ─► the order: Place, and wait
//!           (rule W1)                                          (rule R5: only if the order     (only those that      until its stock is held
//!                                                               does not exist yet)             were not seen yet)
//! ```

use super::access::{order_of, wait_for};
use super::bodies::{OrderBody, OrderLineBody, PaymentBody};
use super::claimed;
use super::show_placed;
use super::terms::{EXTERNAL_ID, address, buyer, destination, instruction, shipping};
use super::views::is_decided;
use crate::carts;
use crate::core::ask::{AskError, Asking};
use crate::core::fingerprint::Fingerprint;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::{ShortLine, of_ended};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::core::settings::Installation;
use crate::core::types::MoneyIn;
use crate::core::words::capture_word;
use crate::inventory::known;
use compact_str::{CompactString, format_compact};
use doorbuster_actors::ask::Accepted;
use doorbuster_actors::view::Stock;
use doorbuster_domain::any::{self, Refusal};
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{
    EntityId, InstallationId, OrderId, Request as RequestKey, RequestFingerprint, Sku, WarehouseId,
};
use doorbuster_domain::inventory;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{self, Command, Destination, OrderTerms, Personal, PlaceOrder, Source, Wanted};
use doorbuster_domain::ranking::rank_warehouses;
use doorbuster_domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Units of one SKU that the lines of an order may sum to: a line of the domain holds no more.
const UNITS_MAX: u64 = u32::MAX as u64;

pub(super) async fn place<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let installation = match request.shop_settings().installation {
        // Boxed: a fresh installation has none, and its future would be larger.
        Some(Installation { id, has_older_orders: true }) => Box::pin(unless_older(&request, id)).await?,
        installation => installation.map(|installation| installation.id),
    };
    let Prepared { id, asking, sold_out, unseen } = match begin(&request, installation)? {
        Begun::Ready(prepared) => *prepared,
        Begun::WithCart(body) => *Box::pin(with_cart(&request, body, installation)).await?,
    };
    if !unseen.is_empty() {
        // Boxed: an ordinary order has none, and its future would be larger.
        Box::pin(refuse_unknown(&request, unseen)).await?;
    }
    let accepted = match (asking.send().await, sold_out) {
        (Ok(accepted), _) => accepted,
        (Err(AskError::Refused(Refusal::Inventory(inventory::Refusal::SoldOut { .. }))), Some(line)) => {
            return Err(line.problem());
        }
        (Err(AskError::Timeout), _) => Box::pin(read_after_timeout(&request, id)).await?,
        (Err(error), _) => return Err(error.into()),
    };
    answer_of(&request, &accepted)
}

/// The installation for an order's id; `None`: the request made its order before there were such ids, and repeats it now.
async fn unless_older<S: Shop>(
    request: &Request<'_, S>,
    installation: InstallationId,
) -> Result<Option<InstallationId>, Problem> {
    let older = OrderId::of_request(request.key(RequestFingerprint(0))?.id);
    let deadline = request.context.shop.now().plus_ms(request.settings().command_timeout_ms);
    let read = request.ask(EntityId::Order(older), any::Command::Order(Command::Read)).until(Wait::Decided, deadline);
    match read.send().await {
        Ok(_) => Ok(None),
        Err(AskError::Refused(Refusal::Order(order::Refusal::Unknown))) => Ok(Some(installation)),
        Err(error) => Err(error.into()),
    }
}

/// An order that is ready to be asked for.
struct Prepared<'a, S> {
    id: OrderId,
    asking: Asking<'a, S>,
    /// The line for which it is refused, unless the order exists already.
    sold_out: Option<Box<SoldOutLine>>,
    /// Lines whose SKUs the read models have not seen, by their places in the body.
    unseen: Vec<(usize, Sku)>,
}

/// What a body leads to. Made in a function that does not wait, because what a future holds across a wait enlarges it.
enum Begun<'a, S> {
    Ready(Box<Prepared<'a, S>>),
    /// Its lines are in a cart, which must be asked.
    WithCart(Box<OrderBody>),
}

fn begin<'a, S: Shop>(
    request: &'a Request<'_, S>,
    installation: Option<InstallationId>,
) -> Result<Begun<'a, S>, Problem> {
    let body: OrderBody = request.read()?;
    if body.cart_id.is_some() && body.lines.is_none() {
        return Ok(Begun::WithCart(Box::new(body)));
    }
    let key = request.key(fingerprint(&body))?;
    let purchase = purchase_of_lines(request, &body)?;
    Ok(Begun::Ready(prepare(request, body, key, purchase, installation)?))
}

async fn with_cart<'a, S: Shop>(
    request: &'a Request<'_, S>,
    body: Box<OrderBody>,
    installation: Option<InstallationId>,
) -> Result<Box<Prepared<'a, S>>, Problem> {
    let key = request.key(fingerprint(&body))?;
    let purchase = purchase_of_cart(request, &body).await?;
    prepare(request, *body, key, purchase, installation)
}

fn prepare<'a, S: Shop>(
    request: &'a Request<'_, S>,
    body: OrderBody,
    key: RequestKey,
    purchase: Purchase,
    installation: Option<InstallationId>,
) -> Result<Box<Prepared<'a, S>>, Problem> {
    let Purchase { source, currency, wanted } = purchase;
    let stock = CachedStock::of(&request.context.shop, wanted);
    let sold_out = stock.sold_out().map(Box::new);
    let refusal = sold_out.as_ref().map(|line| {
        let (wanted, available, all_reserved) = (line.wanted, line.available, line.all_reserved);
        Box::new(Refusal::Inventory(inventory::Refusal::SoldOut { wanted, available, all_reserved }))
    });
    let unseen = stock.unseen(&request.context.shop, body.lines.as_deref().unwrap_or_default());
    let mut place = place_of(request, body, key, source, currency, stock.ranking(request))?;
    place.installation = installation;
    let id = place.id();
    let command = any::Command::Order(Command::Place(Box::new(place)));
    let (wait, deadline) = wait_for(request, Wait::Held);
    let asking = request.ask(EntityId::Order(id), command).until(wait, deadline).reject_if_absent(refusal);
    Ok(Box::new(Prepared { id, asking, sold_out, unseen }))
}

/// Refuses an order with a SKU that does not exist, before anything is placed: it binds no key.
async fn refuse_unknown<S: Shop>(request: &Request<'_, S>, unseen: Vec<(usize, Sku)>) -> Result<(), Problem> {
    let (lines, skus): (Vec<usize>, Vec<Sku>) = unseen.into_iter().unzip();
    let Some(place) = known::first_unknown(request, skus).await? else { return Ok(()) };
    let line = lines.get(place).copied().unwrap_or_default();
    Err(Problem::field(format!("/lines/{line}/sku"), "unknown", "unknown SKU"))
}

/// The order was not answered in time: reads it. If it exists it goes on, and the shopper may come back for it.
async fn read_after_timeout<S: Shop>(request: &Request<'_, S>, id: OrderId) -> Result<Box<Accepted>, Problem> {
    let deadline = request.context.shop.now().plus_ms(request.settings().command_timeout_ms);
    let command = any::Command::Order(Command::Read);
    let read = request.ask(EntityId::Order(id), command).until(Wait::Decided, deadline).send().await;
    read.map_err(|error| match error {
        AskError::Refused(Refusal::Order(order::Refusal::Unknown)) => {
            Problem::new(Code::Overloaded).detail("not decided in time; nothing was placed")
        }
        error => error.into(),
    })
}

fn answer_of<S: Shop>(request: &Request<'_, S>, accepted: &Accepted) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    if let Some(problem) = of_ended(order) {
        return Err(if accepted.repeated { problem.replayed() } else { problem });
    }
    let location = format_compact!("/v1/orders/{}", order.id);
    let reply = if is_decided(order.stage) {
        show_placed(request, 201, accepted)?
    } else {
        show_placed(request, 202, accepted)?.retry_after(request.settings().retry_after_s)
    };
    Ok(reply.location(&location).waited(request.prefer_wait))
}

/// What is bought.
struct Purchase {
    source: Source,
    currency: Currency,
    /// Units by SKU, as far as they are known before the order is placed.
    wanted: Vec<(Sku, u64)>,
}

async fn purchase_of_cart<S: Shop>(request: &Request<'_, S>, body: &OrderBody) -> Result<Purchase, Problem> {
    let Some(cart) = &body.cart_id else { return Err(cart_or_lines()) };
    let id = cart.0;
    let found = carts::own(request, id).await?;
    let cart = carts::cart_of(&found)?;
    request.charge_lines(cart.lines().len())?;
    let currency = cart.opened().map_or(request.shop_settings().currency, |opened| opened.currency);
    if body.currency.as_ref().is_some_and(|named| named.0 != currency) {
        return Err(currency_mismatch());
    }
    let wanted = cart.lines().iter().map(|line| (line.sku.clone(), u64::from(line.quantity))).collect();
    Ok(Purchase { source: Source::Cart(id), currency, wanted })
}

fn purchase_of_lines<S: Shop>(request: &Request<'_, S>, body: &OrderBody) -> Result<Purchase, Problem> {
    let (None, Some(lines)) = (&body.cart_id, &body.lines) else { return Err(cart_or_lines()) };
    let shop = request.shop_settings();
    if lines.is_empty() || lines.len() > shop.lines_max {
        return Err(Problem::field("/lines", "out_of_range", format!("must be from 1 to {}", shop.lines_max)));
    }
    request.charge_lines(lines.len())?;
    let expected = lines.iter().filter_map(|line| line.expected_unit_price.as_ref());
    let expected = expected.chain(&body.expected_total).map(|money| money.currency.0);
    let mut currency = body.currency.as_ref().map(|code| code.0);
    for other in expected {
        if *currency.get_or_insert(other) != other {
            return Err(currency_mismatch());
        }
    }
    let wanted = units_by_sku(lines)?;
    let lines = lines.iter().map(|line| Wanted {
        sku: line.sku.0.clone(),
        units: line.quantity.0,
        expected_unit_price: line.expected_unit_price.clone().map(Money::from),
    });
    Ok(Purchase { source: Source::Lines(lines.collect()), currency: currency.unwrap_or(shop.currency), wanted })
}

fn cart_or_lines() -> Problem {
    Problem::field("", "invalid_value", "must have either cart_id or lines")
}

fn currency_mismatch() -> Problem {
    Problem::new(Code::CurrencyMismatch).detail("an order has one currency")
}

fn units_by_sku(lines: &[OrderLineBody]) -> Result<Vec<(Sku, u64)>, Problem> {
    if let [line] = lines {
        return Ok(vec![(line.sku.0.clone(), u64::from(line.quantity.0))]);
    }
    let mut sums: BTreeMap<&Sku, u64> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let sum = sums.entry(&line.sku.0).or_default();
        *sum = sum.saturating_add(u64::from(line.quantity.0));
        if *sum > UNITS_MAX {
            let pointer = format!("/lines/{index}/quantity");
            return Err(Problem::field(pointer, "out_of_range", "the lines of this SKU sum to too many units"));
        }
    }
    Ok(sums.into_iter().map(|(sku, units)| (sku.clone(), units)).collect())
}

fn place_of<S: Shop>(
    request: &Request<'_, S>,
    body: OrderBody,
    key: RequestKey,
    source: Source,
    currency: Currency,
    ranking: Vec<WarehouseId>,
) -> Result<PlaceOrder, Problem> {
    let shop = request.shop_settings();
    if body.expected_total.as_ref().is_some_and(|total| total.currency.0 != currency) {
        return Err(currency_mismatch());
    }
    // What a shop sells is goods. Only its own side knows of an order without an address: sold over the counter, collected, address to follow.
    if body.ship_to.is_none() && !request.caller.is_platform(&shop.seller) {
        return Err(Problem::field("/ship_to", "missing_field", "is required: goods are delivered"));
    }
    let destination = body
        .ship_to
        .as_ref()
        .map_or_else(|| Destination { country: shop.home_country.clone(), postal_area: None }, destination);
    let option = match (&body.shipping_option, &body.ship_to) {
        (Some(option), _) => Some(&option.0),
        (None, Some(_)) => Some(&shop.default_shipping),
        (None, None) => None,
    };
    let shipping = option.map(|option| shipping(shop, option, &destination.country, currency)).transpose()?;
    let claims = claimed::of_body(shop, &request.context.secret, &body);
    let external_id = body.external_id.map(|id| (CompactString::const_new(EXTERNAL_ID), id.0));
    let metadata = external_id.into_iter().chain(body.metadata.unwrap_or_default().0).collect();
    let payment = body.payment.map(|payment| instruction(shop, &request.caller, payment, "/payment")).transpose()?;
    Ok(PlaceOrder {
        request: key,
        source,
        terms: OrderTerms {
            currency,
            seller: shop.seller.clone(),
            owner: request.principal()?,
            tax: shop.tax_of(&destination.country),
            destination,
            shipping,
            hold_s: shop.hold_s,
            payment: shop.payment.clone(),
            returns: shop.returns,
            ranking,
            expected_total: body.expected_total.map(Money::from),
            metadata,
            claims,
        },
        personal: Personal {
            salt: request.context.shop.random(),
            buyer: buyer(body.buyer),
            ship_to: body.ship_to.map(address),
            bill_to: body.bill_to.map(address),
            note: body.note.map(|note| note.0),
        },
        payment,
        installation: None,
    })
}

/// The fingerprint of an order's facts. Personal data is compared by the order under its first salt; of an address only the country is a fact.
fn fingerprint(body: &OrderBody) -> RequestFingerprint {
    let mut fingerprint = Fingerprint::default();
    match (&body.cart_id, &body.lines) {
        (Some(cart), _) => {
            fingerprint.number(1).text(&format_compact!("{}", cart.0));
        }
        (None, lines) => {
            let lines = lines.as_deref().unwrap_or_default();
            fingerprint.number(2).number(u64::try_from(lines.len()).unwrap_or(u64::MAX));
            for line in lines {
                fingerprint.text(line.sku.0.as_str()).number(u64::from(line.quantity.0));
                add_money(&mut fingerprint, line.expected_unit_price.as_ref());
            }
        }
    }
    fingerprint.option(body.currency.as_ref().map(|code| code.0.as_str()));
    fingerprint.option(body.ship_to.as_ref().map(|address| address.country.0.as_str()));
    fingerprint.option(body.shipping_option.as_ref().map(|option| option.0.as_str()));
    add_money(&mut fingerprint, body.expected_total.as_ref());
    add_payment(&mut fingerprint, body.payment.as_ref());
    fingerprint.option(body.external_id.as_ref().map(|id| id.0.as_str()));
    let metadata = body.metadata.as_ref().map(|metadata| metadata.0.as_slice()).unwrap_or_default();
    for (name, value) in metadata {
        fingerprint.text(name).text(value);
    }
    fingerprint.terms()
}

fn add_money(fingerprint: &mut Fingerprint, money: Option<&MoneyIn>) {
    fingerprint.option(money.map(|money| money.currency.0.as_str()));
    if let Some(money) = money {
        fingerprint.amount(money.amount.0);
    }
}

fn add_payment(fingerprint: &mut Fingerprint, payment: Option<&PaymentBody>) {
    fingerprint.option(payment.map(|payment| payment.method.0));
    if let Some(payment) = payment {
        fingerprint.option(payment.token.as_ref().map(|token| token.0.as_str()));
        fingerprint.option(payment.return_url.as_ref().map(|url| url.0.as_str()));
        fingerprint.option(payment.capture.map(|capture| capture_word(capture.0)));
    }
}

/// The stock of each line's SKU from the read model, which may be a moment old.
struct CachedStock {
    lines: Vec<(Sku, u64, Option<Stock>)>,
}

/// A line that has fewer units than wanted, by the read model.
struct SoldOutLine {
    sku: Sku,
    wanted: inventory::Units,
    available: u64,
    all_reserved: bool,
    next_release_at: Option<Timestamp>,
}

impl CachedStock {
    fn of<S: Shop>(shop: &S, wanted: Vec<(Sku, u64)>) -> Self {
        let with_stock = |(sku, units): (Sku, u64)| {
            let stock = shop.availability(&sku);
            (sku, units, stock)
        };
        Self { lines: wanted.into_iter().map(with_stock).collect() }
    }

    /// The first line that has fewer units than wanted.
    fn sold_out(&self) -> Option<SoldOutLine> {
        self.lines.iter().find_map(|(sku, units, stock)| {
            let stock = stock.as_ref()?;
            let levels = stock.levels.as_deref()?;
            // Only a SKU on sale can be sold out: for another one its entity gives the answer.
            levels.offer.as_ref().filter(|offer| offer.on_sale)?;
            (stock.available < *units).then(|| SoldOutLine {
                sku: sku.clone(),
                wanted: u32::try_from(*units).unwrap_or(u32::MAX),
                available: stock.available,
                all_reserved: stock.available == 0 && stock.reserved > 0,
                next_release_at: stock.next_release_at,
            })
        })
    }

    /// The lines whose SKUs no read model has seen, each SKU once. The lines of a cart were seen when they were put into it.
    fn unseen<S: Shop>(&self, shop: &S, lines: &[OrderLineBody]) -> Vec<(usize, Sku)> {
        let is_unseen = |(sku, _, stock): &&(Sku, u64, Option<Stock>)| {
            stock.as_ref().is_none_or(|stock| stock.levels.is_none()) && !known::is_seen(shop, sku)
        };
        let unseen: BTreeSet<&Sku> = self.lines.iter().filter(is_unseen).map(|(sku, ..)| sku).collect();
        if unseen.is_empty() {
            return Vec::new();
        }
        let mut left = unseen;
        let numbered = lines.iter().enumerate();
        numbered.filter(|(_, line)| left.remove(&line.sku.0)).map(|(place, line)| (place, line.sku.0.clone())).collect()
    }

    fn ranking<S: Shop>(&self, request: &Request<'_, S>) -> Vec<WarehouseId> {
        let lines = self.lines.iter().filter_map(|(_, units, stock)| {
            let levels = stock.as_ref()?.levels.as_deref()?;
            Some((*units, levels.levels.as_slice()))
        });
        rank_warehouses(lines, &request.shop_settings().warehouses, |id| request.context.shop.warehouse(id))
    }
}

impl SoldOutLine {
    fn problem(&self) -> Problem {
        let (sku, wanted, available) = (self.sku.as_str(), self.wanted, self.available);
        let (all_reserved, next_release_at) = (self.all_reserved, self.next_release_at);
        let line = ShortLine { sku, wanted, available, all_reserved, next_release_at };
        line.problem().with("order", None::<u16>)
    }
}
