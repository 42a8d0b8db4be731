//! Lists of what orders have several of: payments, shipments, returns. Each resource shows its own.

use super::list::{Seen, as_seen};
use crate::core::page;
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::docs::fields;
use bytes::Bytes;
use doorbuster_domain::order::{Order, Sight};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use doorbuster_projections::orders::{KeptOrder, OrderIndex, Part, Viewer};
use doorbuster_projections::reader::{Found, Range};
use serde::Serialize;

/// The query parameters of these lists.
pub(crate) const QUERY: &[(&str, &str)] = &[
    ("status", "Those with this status"),
    ("cursor", "The `next_cursor` of the page before"),
    ("limit", "The most of a page, 1 to 200 (50); a page may have fewer and a `next_cursor`"),
];

/// A kind of parts: its rows, the name of its schema, and the status of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Whose rows.
    pub(crate) part: Part,
    /// The schema whose field `status` names the words.
    pub(crate) schema: &'static str,
    /// The prefix of a decoded cursor.
    pub(crate) cursor: &'static str,
    /// The word of a part's status; `None`: the viewer sees no such part.
    pub(crate) status: fn(&Order, &Sight<'_>, u16, Timestamp) -> Option<&'static str>,
}

/// A page of parts.
pub(crate) struct Parts {
    kind: Kind,
    seen: Vec<Seen>,
    who: Principal,
    /// The key at which the next page begins.
    next: Option<Bytes>,
    as_of: Timestamp,
}

impl Parts {
    /// The answer with the view of each part that the caller sees: of the order, what of it is in sight, and the part's number.
    pub(crate) fn answer<'a, V: Serialize>(&'a self, view: impl Fn(&'a Order, &Sight<'a>, u16) -> Option<V>) -> Reply {
        let one = |seen: &'a Seen| {
            let order = seen.order()?;
            view(order, &order.sight(&self.who)?, Part::number(&seen.key)?)
        };
        let views: Vec<V> = self.seen.iter().filter_map(one).collect();
        page::answer(self.kind.cursor, views, self.next.as_deref(), self.as_of)
    }
}

/// The page that a request asks for, the newest parts first.
pub(crate) async fn parts<S: Shop>(request: &Request<'_, S>, kind: Kind) -> Result<Parts, Problem> {
    let orders = &page::lists(request)?.orders;
    let limit = usize::try_from(page::limit(request)?).unwrap_or(usize::MAX);
    let cursor = request.query("cursor").map(|text| page::read_key(kind.cursor, text)).transpose()?;
    let words = fields::words_of(&format!("{}.status", kind.schema));
    let status = request.query("status").map(|text| page::word_among(words, "status", text)).transpose()?;
    page::until_seen(request, orders).await?;
    let who = request.who();
    let viewer = match &who {
        Principal::Seller(account) => Viewer::Seller(&account.id),
        _ => Viewer::Platform,
    };
    let fits = |found: &Found<KeptOrder>| {
        let part = || {
            let order = found.kept.order()?;
            (kind.status)(order, &order.sight(&who)?, Part::number(&found.key)?, request.now)
        };
        part().is_some_and(|is| status.is_none_or(|wanted| wanted == is))
    };
    let from: Bytes = cursor.unwrap_or_default();
    let range = Range { partition: OrderIndex::parts(viewer, kind.part), from, to: None };
    let found = orders.page(&range, limit, fits).await.map_err(page::unavailable)?;
    let seen = as_seen(request, &who, found.found).await;
    Ok(Parts { kind, seen, who, next: found.next, as_of: found.as_of })
}
