//! `POST /v1/orders`: the request a sale is made of.
//!
//! ```text
//! body ─► terms, ranking of warehouses ─► sold out as last seen? ─► the order: Place, and wait until its stock is held
//!                                          (rule R5: only if the order's own shard knows no such order)
//! ```

use super::terms::{address, buyer, destination, instruction, shipping};
use super::{EXTERNAL_ID, order_of, show};
use crate::carts;
use crate::door::Request;
use crate::fingerprint::Fingerprint;
use crate::json;
use crate::problem::{Code, Problem};
use crate::refusals::{accepted, of_ended};
use crate::reply::Reply;
use crate::requests::{OrderBody, OrderLineBody, PaymentBody};
use crate::seam::Shop;
use crate::view::is_decided;
use compact_str::{CompactString, format_compact};
use doorbuster_actors::ask::{Accepted, Answer, Ask};
use doorbuster_actors::view::Stock;
use doorbuster_domain::any;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId, Sku, Terms as Mark, WarehouseId};
use doorbuster_domain::inventory;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::order::{CapturePolicy, Command, Destination, Personal, Place, Source, Terms, Wanted};
use std::collections::BTreeMap;

/// An order that sums to more units of one SKU than this is refused at the door: no line could ask for it.
const UNITS_MAX: u64 = u32::MAX as u64;

pub(crate) async fn place<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let preferred = request.prefer_wait();
    let Prepared { id, ask, sold_out } = match begin(&request)? {
        Begun::Ready(prepared) => *prepared,
        Begun::WithCart(body) => *Box::pin(with_cart(&request, body)).await?,
    };
    let answer = request.api.ask(ask).await;
    if let (Answer::Refused(any::Refusal::Inventory(inventory::Refusal::SoldOut { .. })), Some(line)) =
        (&answer, &sold_out)
    {
        return Err(line.problem());
    }
    let accepted = match answer {
        Answer::Late => Box::pin(after_the_deadline(&request, id)).await?,
        answer => accepted(answer)?,
    };
    answer_of(&request, &accepted, preferred)
}

/// An order that can be asked for.
struct Prepared {
    id: OrderId,
    ask: Ask,
    /// What it would be refused for at the door.
    sold_out: Option<Box<Short>>,
}

/// What a body makes. Apart from the waiting, because what a function holds while it waits moves with every request.
enum Begun {
    Ready(Box<Prepared>),
    /// Its lines are in a cart, which must be asked.
    WithCart(Box<OrderBody>),
}

fn begin<S: Shop>(request: &Request<'_, S>) -> Result<Begun, Problem> {
    let body: OrderBody = json::read(&request.body)?;
    if body.cart_id.is_some() && body.lines.is_none() {
        return Ok(Begun::WithCart(Box::new(body)));
    }
    let key = request.request_key(mark(&body))?;
    let from = of_lines(request, &body)?;
    Ok(Begun::Ready(prepare(request, body, key, from)?))
}

async fn with_cart<S: Shop>(request: &Request<'_, S>, body: Box<OrderBody>) -> Result<Box<Prepared>, Problem> {
    let key = request.request_key(mark(&body))?;
    let from = of_cart(request, &body).await?;
    prepare(request, *body, key, from)
}

fn prepare<S: Shop>(
    request: &Request<'_, S>,
    body: OrderBody,
    key: doorbuster_domain::ids::Request,
    (source, currency, wanted): Bought,
) -> Result<Box<Prepared>, Problem> {
    let id = OrderId::of_request(key.id);
    let seen = Seen::of(&request.api.shop, wanted);
    let sold_out = seen.sold_out().map(Box::new);
    let reject_if_absent = sold_out.as_ref().map(|line| {
        let (units, available, all_reserved) = (line.wanted, line.available, line.all_reserved);
        Box::new(any::Refusal::Inventory(inventory::Refusal::SoldOut { wanted: units, available, all_reserved }))
    });
    let ranking = seen.ranking(request);
    let place = place_of(request, body, key, source, currency, ranking)?;
    let command = any::Command::Order(Command::Place(Box::new(place)));
    let door = &request.api.settings.door;
    let (wait, deadline) = match request.prefer_wait() {
        None => (Wait::Held, request.now.plus_ms(door.order_wait_ms)),
        Some(0) => (Wait::Decided, request.now.plus_ms(door.command_timeout_ms)),
        Some(seconds) => (Wait::Settled, request.now.plus_s(seconds)),
    };
    let by = request.caller.by();
    let ask = Ask { entity: EntityId::Order(id), command, by, if_version: None, wait, deadline, reject_if_absent };
    Ok(Box::new(Prepared { id, ask, sold_out }))
}

/// The deadline came first: was it placed? If the order knows itself it goes on, and the shopper may come back for it.
async fn after_the_deadline<S: Shop>(request: &Request<'_, S>, id: OrderId) -> Result<Accepted, Problem> {
    let deadline = request.api.shop.now().plus_ms(request.api.settings.door.command_timeout_ms);
    let read = any::Command::Order(Command::Read);
    let found = request.ask_until(EntityId::Order(id), read, Wait::Decided, deadline, None).await;
    found.map_err(|problem| match problem.code() {
        Code::NotFound => Problem::new(Code::Overloaded).detail("not decided in time; nothing was placed"),
        _ => problem,
    })
}

fn answer_of<S: Shop>(request: &Request<'_, S>, accepted: &Accepted, preferred: Option<u64>) -> Result<Reply, Problem> {
    let order = order_of(accepted)?;
    if let Some(problem) = of_ended(order) {
        return Err(if accepted.repeated { problem.replayed() } else { problem });
    }
    let location = format_compact!("/v1/orders/{}", order.id);
    let reply = if is_decided(order.stage) {
        show(request, 201, accepted)?
    } else {
        show(request, 202, accepted)?.retry_after(request.api.settings.door.retry_after_s)
    };
    Ok(reply.location(&location).waited(preferred))
}

/// What is bought, in which currency, and how much of what as far as the door knows.
type Bought = (Source, Currency, Vec<(Sku, u64)>);

async fn of_cart<S: Shop>(request: &Request<'_, S>, body: &OrderBody) -> Result<Bought, Problem> {
    let Some(cart) = &body.cart_id else { return Err(Problem::field("", "invalid_value", "either cart_id or lines")) };
    let id = cart.0;
    let found = carts::own(request, id).await?;
    let cart = carts::cart_of(&found)?;
    let currency = cart.opened().map_or(request.api.settings.terms.currency, |opened| opened.currency);
    if body.currency.as_ref().is_some_and(|named| named.0 != currency) {
        return Err(mismatch());
    }
    let wanted = cart.lines().iter().map(|line| (line.sku.clone(), u64::from(line.quantity))).collect();
    Ok((Source::Cart(id), currency, wanted))
}

fn of_lines<S: Shop>(request: &Request<'_, S>, body: &OrderBody) -> Result<Bought, Problem> {
    let (None, Some(lines)) = (&body.cart_id, &body.lines) else {
        return Err(Problem::field("", "invalid_value", "either cart_id or lines"));
    };
    let shop = &request.api.settings.terms;
    if lines.is_empty() || lines.len() > shop.lines_max {
        return Err(Problem::field("/lines", "out_of_range", format!("must be from 1 to {}", shop.lines_max)));
    }
    let expected = lines.iter().filter_map(|line| line.expected_unit_price.as_ref());
    let expected = expected.chain(&body.expected_total).map(|money| money.currency.0);
    let mut currency = body.currency.as_ref().map(|code| code.0);
    for other in expected {
        if *currency.get_or_insert(other) != other {
            return Err(mismatch());
        }
    }
    let wanted = summed(lines)?;
    let lines = lines.iter().map(|line| Wanted {
        sku: line.sku.0.clone(),
        units: line.quantity.0,
        expected_unit_price: line.expected_unit_price.clone().map(Money::from),
    });
    Ok((Source::Lines(lines.collect()), currency.unwrap_or(shop.currency), wanted))
}

fn mismatch() -> Problem {
    Problem::new(Code::CurrencyMismatch).detail("one currency per order")
}

fn summed(lines: &[OrderLineBody]) -> Result<Vec<(Sku, u64)>, Problem> {
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
    key: doorbuster_domain::ids::Request,
    source: Source,
    currency: Currency,
    ranking: Vec<WarehouseId>,
) -> Result<Place, Problem> {
    let shop = &request.api.settings.terms;
    if body.expected_total.as_ref().is_some_and(|total| total.currency.0 != currency) {
        return Err(mismatch());
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
    let external_id = body.external_id.map(|id| (CompactString::const_new(EXTERNAL_ID), id.0));
    let metadata = external_id.into_iter().chain(body.metadata.unwrap_or_default().0).collect();
    let payment = body.payment.map(|payment| instruction(shop, payment, "/payment")).transpose()?;
    Ok(Place {
        request: key,
        source,
        terms: Terms {
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
        },
        personal: Personal {
            salt: request.api.shop.random(),
            buyer: buyer(body.buyer),
            ship_to: body.ship_to.map(address),
            bill_to: body.bill_to.map(address),
            note: body.note.map(|note| note.0),
        },
        payment,
    })
}

/// The fingerprint of an order's facts. What is personal is compared by the order under the first salt; of an address only the country is a fact.
fn mark(body: &OrderBody) -> Mark {
    let mut mark = Fingerprint::default();
    match (&body.cart_id, &body.lines) {
        (Some(cart), _) => {
            mark.number(1).text(&format_compact!("{}", cart.0));
        }
        (None, lines) => {
            let lines = lines.as_deref().unwrap_or_default();
            mark.number(2).number(u64::try_from(lines.len()).unwrap_or(u64::MAX));
            for line in lines {
                mark.text(line.sku.0.as_str()).number(u64::from(line.quantity.0));
                money(&mut mark, line.expected_unit_price.as_ref());
            }
        }
    }
    mark.option(body.currency.as_ref().map(|code| code.0.as_str()));
    mark.option(body.ship_to.as_ref().map(|address| address.country.0.as_str()));
    mark.option(body.shipping_option.as_ref().map(|option| option.0.as_str()));
    money(&mut mark, body.expected_total.as_ref());
    payment(&mut mark, body.payment.as_ref());
    mark.option(body.external_id.as_ref().map(|id| id.0.as_str()));
    let metadata = body.metadata.as_ref().map(|metadata| metadata.0.as_slice()).unwrap_or_default();
    for (name, value) in metadata {
        mark.text(name).text(value);
    }
    mark.terms()
}

fn money(mark: &mut Fingerprint, money: Option<&crate::edge::MoneyIn>) {
    mark.option(money.map(|money| money.currency.0.as_str()));
    if let Some(money) = money {
        mark.amount(money.amount.0);
    }
}

fn payment(mark: &mut Fingerprint, payment: Option<&PaymentBody>) {
    mark.option(payment.map(|payment| payment.method.0));
    if let Some(payment) = payment {
        mark.option(payment.token.as_ref().map(|token| token.0.as_str()));
        mark.option(payment.return_url.as_ref().map(|url| url.0.as_str()));
        mark.option(payment.capture.map(|capture| match capture.0 {
            CapturePolicy::OnConfirmation => "on_confirmation",
            CapturePolicy::OnShipment => "on_shipment",
            CapturePolicy::Manual => "manual",
        }));
    }
}

/// What the door sees of the stock: perhaps a moment old.
struct Seen {
    lines: Vec<(Sku, u64, Option<Stock>)>,
}

struct Short {
    sku: Sku,
    wanted: inventory::Units,
    available: u64,
    all_reserved: bool,
    next_release_at: Option<doorbuster_domain::time::Timestamp>,
}

impl Seen {
    fn of<S: Shop>(shop: &S, wanted: Vec<(Sku, u64)>) -> Self {
        let seen = |(sku, units): (Sku, u64)| {
            let stock = shop.availability(&sku);
            (sku, units, stock)
        };
        Self { lines: wanted.into_iter().map(seen).collect() }
    }

    /// The first line that cannot be had, as last seen.
    fn sold_out(&self) -> Option<Short> {
        self.lines.iter().find_map(|(sku, units, stock)| {
            let stock = stock.as_ref()?;
            let levels = stock.levels.as_deref()?;
            // Only what sells now can be sold out: a SKU that is not on sale gets another answer, from the stock itself.
            levels.offer.as_ref().filter(|offer| offer.on_sale)?;
            (stock.available < *units).then(|| Short {
                sku: sku.clone(),
                wanted: u32::try_from(*units).unwrap_or(u32::MAX),
                available: stock.available,
                all_reserved: stock.available == 0 && stock.reserved > 0,
                next_release_at: levels.next_release_at,
            })
        })
    }

    /// Warehouses by preference: those that have the most lines whole, then by what the seller said of them. Only active ones.
    fn ranking<S: Shop>(&self, request: &Request<'_, S>) -> Vec<WarehouseId> {
        let mut whole: BTreeMap<&WarehouseId, usize> = BTreeMap::new();
        for (_, units, stock) in &self.lines {
            let levels = stock.iter().filter_map(|stock| stock.levels.as_deref());
            for level in levels.flat_map(|levels| &levels.levels) {
                *whole.entry(&level.warehouse).or_default() += usize::from(level.available() >= *units);
            }
        }
        let preferred = &request.api.settings.terms.warehouses;
        if let (1, true) = (whole.len(), preferred.is_empty()) {
            return whole.into_keys().cloned().collect();
        }
        let place = |id: &WarehouseId| {
            let said = request.api.shop.warehouse(id);
            let inactive = said.as_ref().is_some_and(|details| !details.active);
            let priority = said.map_or(0, |details| details.priority);
            (inactive, preferred.iter().position(|other| other == id).unwrap_or(usize::MAX), priority)
        };
        let mut ranked: Vec<_> =
            whole.into_iter().map(|(id, lines)| (place(id).0, std::cmp::Reverse(lines), place(id), id)).collect();
        ranked.sort();
        ranked.into_iter().map(|(.., id)| id.clone()).collect()
    }
}

impl Short {
    fn problem(&self) -> Problem {
        let state = match (self.all_reserved, self.available) {
            (true, _) => "all_reserved",
            (false, 0) => "sold_out",
            (false, _) => "low_stock",
        };
        let line = serde_json::json!({
            "sku": self.sku.as_str(),
            "wanted": self.wanted,
            "available": self.available,
            "state": state,
            "next_release_at": self.next_release_at.map(crate::view::At),
        });
        let detail = format!("{} wanted, {} available.", self.wanted, self.available);
        Problem::new(Code::SoldOut).detail(detail).with("lines", [line]).with("order", None::<u16>)
    }
}
