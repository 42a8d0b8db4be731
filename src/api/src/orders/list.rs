//! Lists of orders: `GET /v1/orders` for sellers, `GET /v1/me/orders` for who placed them.
//!
//! ```text
//! number, e-mail, principal, SKU ──► the narrowest question the index has ──► rows, newest first ──► the other parts of the query as filters
//! ```
//!
//! The index holds facts without personal data. To a caller who may see personal data each order of a page is shown as the order itself says.

use super::access::order_of;
use super::keeps_all;
use super::views::{OrderView, ShownTo, fulfilment_word};
use crate::core::page;
use crate::core::problem::{Code, Problem};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::core::types::Instant;
use crate::core::words::status_word;
use crate::docs::fields;
use crate::payments::views::payment_word;
use bytes::Bytes;
use compact_str::CompactString;
use doorbuster_actors::ask::Accepted;
use doorbuster_domain::any;
use doorbuster_domain::ids::{GuestId, OrderId, OrderNumber, Sku};
use doorbuster_domain::order::{Command, Order};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_projections::orders::{KeptOrder, OrderIndex, Question, Viewer, key_of};
use doorbuster_projections::reader::{Found, Range};
use doorbuster_storage::wire::Meta;
use futures_util::{StreamExt, stream};

/// Prefix of a decoded cursor.
const CURSOR: &str = "ord1:";
/// Orders of a page that are asked for their personal data at once.
const ASKED_AT_ONCE_MAX: usize = 16;

/// The query parameters of both lists.
pub(super) const QUERY: &[(&str, &str)] = &[
    ("number", "The order with this number"),
    ("email", "Orders of a buyer with this e-mail address; it needs the scope `personal`"),
    ("customer", "Orders that this guest placed: `gst_…`"),
    ("sku", "Orders with a line of this SKU"),
    ("status", "Orders with this status"),
    ("payment_status", "Orders with this payment status"),
    ("fulfilment_status", "Orders with this fulfilment status"),
    ("placed_after", "Orders placed at this moment or later, RFC 3339"),
    ("placed_before", "Orders placed before this moment, RFC 3339"),
    ("cursor", "The `next_cursor` of the page before"),
    ("limit", "The most orders of a page, 1 to 200 (50); a page may have fewer and a `next_cursor`"),
];

/// What a list is asked for.
#[derive(Debug, Default)]
struct Query {
    number: Option<OrderNumber>,
    email: Option<CompactString>,
    owner: Option<CompactString>,
    sku: Option<Sku>,
    status: Option<&'static str>,
    payment_status: Option<&'static str>,
    fulfilment_status: Option<&'static str>,
    placed_after: Option<Timestamp>,
    placed_before: Option<Timestamp>,
}

impl Query {
    fn of<S: Shop>(request: &Request<'_, S>) -> Result<Self, Problem> {
        let mut query = Self::default();
        if let Some(text) = request.query("number") {
            query.number = Some(text.parse().map_err(|_none| invalid("/number", "must be the number of an order"))?);
        }
        if let Some(text) = request.query("sku") {
            query.sku =
                Some(Sku::parse(text).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))?);
        }
        if let Some(text) = request.query("email") {
            if !request.who().sees_personal() {
                return Err(
                    Problem::new(Code::MissingScope).detail("this filter needs a key with the scope \"personal\"")
                );
            }
            query.email = Some(CompactString::new(text));
        }
        if let Some(text) = request.query("customer") {
            let guest =
                GuestId::parse(text).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))?;
            query.owner = Principal::Guest(guest).name();
        }
        query.status = word_of(request, "status")?;
        query.payment_status = word_of(request, "payment_status")?;
        query.fulfilment_status = word_of(request, "fulfilment_status")?;
        query.placed_after = moment(request, "placed_after")?;
        query.placed_before = moment(request, "placed_before")?;
        Ok(query)
    }

    /// The narrowest question of which the index has rows for this viewer; the rest of the query filters them.
    fn question(&self, index: &OrderIndex, viewer: Viewer<'_>) -> Bytes {
        let narrow = [
            self.number.map(Question::Number),
            self.email.as_deref().map(Question::Email),
            self.owner.as_deref().map(Question::Owner),
            self.sku.as_ref().map(Question::Sku),
        ];
        let found = narrow.into_iter().flatten().find_map(|question| index.partition(viewer, &question));
        found.unwrap_or_else(|| OrderIndex::all(viewer))
    }

    /// Does the order, as far as the viewer sees it, fit everything that is asked for?
    fn fits(&self, index: &OrderIndex, kept: &KeptOrder, who: &Principal, now: Timestamp) -> bool {
        let Some(order) = kept.order() else { return false };
        let Some(sight) = order.sight(who) else { return false };
        let is = |wanted: Option<&str>, word: &str| wanted.is_none_or(|wanted| wanted == word);
        let has = |sku: &Sku| order.numbered().any(|(number, line)| line.sku == *sku && sight.has(number));
        self.number.is_none_or(|number| OrderNumber::from(order.id) == number)
            && self.email.as_deref().is_none_or(|email| sight.group.is_none() && index.is_email(kept, email))
            && self.owner.as_ref().is_none_or(|owner| order.terms().is_some_and(|terms| terms.owner == *owner))
            && self.sku.as_ref().is_none_or(has)
            && is(self.status, status_word(order.status()))
            && is(self.payment_status, payment_word(order.payment_status(now)))
            && is(self.fulfilment_status, fulfilment_word(order.fulfilment_status()))
    }

    /// The rows between the cursor, or the latest moment asked for, and the earliest one.
    fn range(&self, partition: Bytes, cursor: Option<Bytes>) -> Range {
        let before = self.placed_before.map(|before| Bytes::copy_from_slice(&first_key_before(before)));
        let from = cursor.into_iter().chain(before).max().unwrap_or_default();
        let to = self.placed_after.map(|after| Bytes::copy_from_slice(&key_of(after, OrderId(u128::MAX))));
        Range { partition, from, to }
    }
}

/// The key of the newest order that can have been placed before this moment: a row of the moment itself is not among those behind it.
fn first_key_before(moment: Timestamp) -> [u8; 24] {
    match moment.0.checked_sub(1) {
        Some(before) => key_of(Timestamp(before), OrderId(0)),
        // Behind every order.
        None => [u8::MAX; 24],
    }
}

fn invalid(pointer: &str, detail: &'static str) -> Problem {
    Problem::field(pointer.to_owned(), "invalid_value", detail)
}

/// The word of a query parameter, if it is one that the field of an order may have.
fn word_of<S>(request: &Request<'_, S>, name: &str) -> Result<Option<&'static str>, Problem> {
    let Some(text) = request.query(name) else { return Ok(None) };
    page::word_among(fields::words_of(&format!("Order.{name}")), name, text).map(Some)
}

fn moment<S>(request: &Request<'_, S>, name: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = request.query(name) else { return Ok(None) };
    let read = Instant::read(text)
        .ok_or_else(|| Problem::field(format!("/{name}"), "invalid_value", "must be a moment as RFC 3339 writes it"))?;
    Ok(Some(read))
}

/// `GET /v1/orders`: what the caller's account sees.
pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let query = Query::of(&request)?;
    let who = request.who();
    let lists = page::lists(&request)?;
    let partition = match &who {
        Principal::Seller(account) => query.question(lists.orders.projection(), Viewer::Seller(&account.id)),
        _ => query.question(lists.orders.projection(), Viewer::Platform),
    };
    answer(&request, &query, partition).await
}

/// `GET /v1/me/orders`: what the caller placed.
pub(super) async fn own<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let query = Query::of(&request)?;
    let partition = OrderIndex::own(&request.principal()?);
    answer(&request, &query, partition).await
}

async fn answer<S: Shop>(request: &Request<'_, S>, query: &Query, partition: Bytes) -> Result<Reply, Problem> {
    let orders = &page::lists(request)?.orders;
    let limit = usize::try_from(page::limit(request)?).unwrap_or(usize::MAX);
    let cursor = request.query("cursor").map(|text| page::read_key(CURSOR, text)).transpose()?;
    page::until_seen(request, orders).await?;
    let who = request.who();
    let fits = |found: &Found<KeptOrder>| query.fits(orders.projection(), &found.kept, &who, request.now);
    let found = orders.page(&query.range(partition, cursor), limit, fits).await.map_err(page::unavailable)?;
    let shown = as_seen(request, &who, found.found).await;
    let to: Vec<ShownTo<'_>> = shown.iter().map(|seen| ShownTo { who: &who, ships: seen.ships, token: None }).collect();
    let views = shown.iter().zip(&to);
    let views = views.filter_map(|(seen, to)| OrderView::new(seen.order()?, seen.meta(), to, request.now));
    Ok(page::answer(CURSOR, views.collect::<Vec<_>>(), found.next.as_deref(), found.as_of))
}

/// A row of a page.
pub(super) struct Seen {
    /// The row's key.
    pub(super) key: Bytes,
    /// Its order as the index has it, without personal data.
    kept: KeptOrder,
    /// As the order itself says, where that was asked.
    accepted: Option<Box<Accepted>>,
    /// Does a seller who sees only its own lines send them itself?
    ships: bool,
}

impl Seen {
    /// Its order.
    pub(super) fn order(&self) -> Option<&Order> {
        match &self.accepted {
            Some(accepted) => order_of(accepted).ok(),
            None => self.kept.order(),
        }
    }

    fn meta(&self) -> &Meta {
        self.accepted.as_ref().map_or(&self.kept.meta, |accepted| &accepted.meta)
    }
}

/// The rows of a page as their caller may see them, in their order.
pub(super) async fn as_seen<S: Shop>(
    request: &Request<'_, S>,
    who: &Principal,
    found: Vec<Found<KeptOrder>>,
) -> Vec<Seen> {
    let seen = stream::iter(found).map(|found| with_personal(request, who, found));
    seen.buffered(ASKED_AT_ONCE_MAX).collect().await
}

/// The order as its caller may see it. One that does not answer is shown without personal data.
async fn with_personal<S: Shop>(request: &Request<'_, S>, who: &Principal, found: Found<KeptOrder>) -> Seen {
    let Found { key, entity, kept } = found;
    if !who.sees_personal() {
        return Seen { key, kept, accepted: None, ships: false };
    }
    let read = any::Command::Order(Command::Read);
    let accepted = request.ask(entity, read).send().await.ok();
    let group = accepted.as_ref().and_then(|accepted| order_of(accepted).ok()?.sight(who)?.group);
    let ships = match group {
        Some(group) => Box::pin(keeps_all(request, &group)).await,
        None => false,
    };
    Seen { key, kept, accepted, ships }
}
