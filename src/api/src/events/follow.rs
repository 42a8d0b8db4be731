//! `GET /v1/events`: a page, a page once something has happened (`Prefer: wait`), or a stream of pages (`text/event-stream`).
//!
//! ```text
//! cursor ──► the feed of the journal ──► what is told, of the types that are wanted ──► a page and its cursor
//! ```
//!
//! Nothing is kept of a reader: its cursor is all there is. A page is read from the journal itself, so it is as new as an answer to an order.

use super::public::{FeedEventView, is_told, public};
use crate::core::caller::identify;
use crate::core::followers::Follower;
use crate::core::headers::{self, EVENT_STREAM};
use crate::core::page;
use crate::core::problem::{Code, Problem};
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use crate::docs::fields;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use doorbuster_clock::monotonic;
use doorbuster_projections::feed::{EXAMINED_MAX, Feed, FeedError, Happened, Place};
use doorbuster_storage::{Layout, Store};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Prefix of a decoded cursor.
const CURSOR: &[u8] = b"evt1:";
/// How often a reader that waits looks whether something has happened. Longer: it hears later. Shorter: those who wait cost more.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a stream says that it is still there when nothing happens, so that proxies keep it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// The most names in `types`.
const TYPES_MAX: usize = 50;
/// The header with which a stream is taken up again.
const LAST_EVENT_ID: &str = "last-event-id";

/// The query parameters.
pub(super) const QUERY: &[(&str, &str)] = &[
    ("cursor", "The `next_cursor` of the page before; without it, from the first event on"),
    ("types", "Types of events, separated by commas; `order.*` are all of orders"),
    ("limit", "The most events of a page, 1 to 200 (50); a page may have fewer, or none, and a later cursor"),
];

/// A page of events.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Events")]
pub(super) struct EventsView {
    /// The events of this page; of each subject in their order.
    data: Vec<FeedEventView>,
    /// Where to go on, now or in a year.
    next_cursor: String,
}

/// The types that a reader wants.
#[derive(Debug, Clone)]
struct Wanted(Option<Vec<&'static str>>);

impl Wanted {
    fn of(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Self(None)) };
        let mut wanted = Vec::new();
        for (number, name) in text.split(',').enumerate() {
            let name = name.trim();
            let group = name.strip_suffix('*').filter(|group| group.ends_with('.'));
            let before = wanted.len();
            wanted.extend(fields::words_of("FeedEvent.type").iter().filter(|kind| match group {
                Some(group) => kind.starts_with(group),
                None => **kind == name,
            }));
            if wanted.len() == before || number >= TYPES_MAX {
                let detail = format!("must be types of events, like order.confirmed or order.*, at most {TYPES_MAX}");
                return Err(Problem::field("/types", "invalid_value", detail));
            }
        }
        Ok(Self(Some(wanted)))
    }

    fn has(&self, kind: &'static str) -> bool {
        self.0.as_ref().is_none_or(|wanted| wanted.contains(&kind))
    }
}

fn cursor_of(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode([CURSOR, &place.to_bytes()].concat())
}

fn place_of(text: &str, layout: Layout) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Place::of_bytes(bytes.strip_prefix(CURSOR)?, layout)
}

/// Reads on behind a place.
#[derive(Debug, Clone)]
struct Reader {
    feed: Feed<Store>,
    place: Place,
    wanted: Wanted,
    limit: usize,
}

/// What a reader found, and how much it looked at.
struct Read {
    events: Vec<FeedEventView>,
    examined: usize,
}

impl Reader {
    fn of<S: Shop>(request: &Request<'_, S>) -> Result<Self, Problem> {
        if !request.caller.is_platform(&request.shop_settings().seller) {
            // Whose an order's lines are is not in each of its events.
            let detail = "the events of the whole shop are for keys of the account that runs it";
            return Err(Problem::new(Code::MissingScope).detail(detail));
        }
        let wanted = Wanted::of(request.query("types"))?;
        let limit = usize::try_from(page::limit(request)?).unwrap_or(usize::MAX);
        let feed = request.context.shop.feed();
        let feed = feed.ok_or_else(|| Problem::new(Code::Overloaded).detail("this shop tells no events"))?.clone();
        // A browser that takes a stream up again sends the address it began with, too.
        let last = request.headers.get(LAST_EVENT_ID).map(|last| last.to_str().unwrap_or_default());
        let place = match last.filter(|last| !last.is_empty()).or_else(|| request.query("cursor")) {
            None => Place::start(feed.layout()),
            Some(cursor) => {
                let place = place_of(cursor, feed.layout()).filter(|place| feed.reaches(place));
                place.ok_or_else(page::no_cursor)?
            }
        };
        Ok(Self { feed, place, wanted, limit })
    }

    /// A page, and the place behind it. After an error the place is as before.
    async fn page(&mut self) -> Result<Read, FeedError> {
        let mut place = self.place.clone();
        let choose = |happened: &Happened<'_>| public(happened).filter(|event| self.wanted.has(event.kind));
        let page = self.feed.page(&mut place, self.limit, is_told, choose).await?;
        self.place = place;
        Ok(Read { events: page.chosen, examined: page.examined })
    }

    /// Waits until something has happened, or the server stops.
    async fn until_more(&self, follower: &mut Follower) {
        while !follower.is_stopped() {
            // Something that cannot be read at this moment is tried again after a while, too.
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = follower.stopped() => return,
            }
            if self.feed.has_more(&self.place) {
                return;
            }
        }
    }

    /// Reads until there is something to tell, until the deadline at the latest, and at most as much as a page looks at.
    async fn until_told(
        &mut self,
        follower: &mut Follower,
        deadline: Instant,
    ) -> Result<Vec<FeedEventView>, FeedError> {
        let mut examined: usize = 0;
        loop {
            let read = self.page().await?;
            examined = examined.saturating_add(read.examined);
            if !read.events.is_empty() || examined >= EXAMINED_MAX || follower.is_stopped() {
                return Ok(read.events);
            }
            if read.examined > 0 && self.feed.has_more(&self.place) {
                continue;
            }
            if tokio::time::timeout_at(deadline, self.until_more(follower)).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}

fn unreadable(error: &FeedError) -> Problem {
    tracing::error!(%error, "read the events of the shop");
    Problem::new(Code::Overloaded).detail("the events cannot be read now")
}

pub(super) async fn list<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let mut reader = Reader::of(&request)?;
    let (followers, most) = (&request.context.followers, request.settings().event_followers_max);
    if headers::wants_stream(&request.headers) {
        let follower = followers.join(most);
        let full = || Problem::new(Code::Overloaded).detail("as many as may follow the events do so already");
        let Request { context, caller, headers, .. } = request;
        let (keys, secret, shop) = (context.keys.clone(), context.secret.clone(), context.shop.clone());
        // A stream may outlive the key that it began with.
        let is_permitted = move || identify(&headers, false, &keys, &secret, shop.now()).is_ok_and(|now| now == caller);
        return Ok(streamed(reader, follower.ok_or_else(full)?, is_permitted));
    }
    let wait = request.prefer_wait.filter(|seconds| *seconds > 0);
    // Without room to wait it is answered at once, and does not say that it waited.
    let follower = wait.and_then(|seconds| Some((seconds, followers.join(most)?)));
    let waited = follower.as_ref().map(|(seconds, _)| *seconds);
    let events = match follower {
        Some((seconds, mut follower)) => {
            reader.until_told(&mut follower, monotonic() + Duration::from_secs(seconds)).await
        }
        None => reader.page().await.map(|read| read.events),
    };
    let data = events.map_err(|error| unreadable(&error))?;
    let view = EventsView { data, next_cursor: cursor_of(&reader.place) };
    Ok(Reply::json(200, &view).waited(waited))
}

/// An answer that goes on until the reader leaves, its key is revoked or the server stops.
fn streamed(reader: Reader, follower: Follower, is_permitted: impl Fn() -> bool + Send + 'static) -> Reply {
    // One page is on its way, and one is made meanwhile.
    let (sender, mut pages) = mpsc::channel(1);
    tokio::spawn(stream_to(reader, follower, sender, is_permitted));
    let pages = stream::poll_fn(move |context| pages.poll_recv(context).map(|page| page.map(Ok::<_, Infallible>)));
    Reply::stream(EVENT_STREAM, pages)
}

async fn stream_to(
    mut reader: Reader,
    mut follower: Follower,
    sender: mpsc::Sender<Bytes>,
    is_permitted: impl Fn() -> bool,
) {
    let mut said_at = monotonic();
    while !follower.is_stopped() && is_permitted() {
        let read = match reader.page().await {
            Ok(read) => read,
            Err(error) => {
                // The reader takes it up again behind what it has.
                tracing::error!(%error, "read the events of the shop");
                return;
            }
        };
        let text = if read.examined > 0 {
            page_text(&read.events, &reader.place)
        } else if monotonic().duration_since(said_at) >= SIGN_OF_LIFE {
            ":\n\n".into()
        } else {
            Bytes::new()
        };
        if !text.is_empty() {
            said_at = monotonic();
            let is_taken = tokio::select! {
                sent = sender.send(text) => sent.is_ok(),
                () = follower.stopped() => false,
            };
            if !is_taken {
                return;
            }
        }
        if read.examined > 0 && reader.feed.has_more(&reader.place) {
            continue;
        }
        tokio::select! {
            _late = tokio::time::timeout(SIGN_OF_LIFE, reader.until_more(&mut follower)) => {}
            () = sender.closed() => return,
        }
    }
}

/// The events of a page, and at its end the cursor as the id of the last: a reader that is cut off before gets the page again.
fn page_text(events: &[FeedEventView], place: &Place) -> Bytes {
    let mut text = Vec::new();
    for (left, event) in (0..events.len()).rev().zip(events) {
        let data = serde_json::to_vec(event).expect("views are texts, whole numbers, lists and maps keyed by text");
        text.extend_from_slice(b"event: ");
        text.extend_from_slice(event.kind.as_bytes());
        text.extend_from_slice(b"\ndata: ");
        text.extend_from_slice(&data);
        text.extend_from_slice(if left > 0 { b"\n\n" } else { b"\n" });
    }
    text.extend_from_slice(b"id: ");
    text.extend_from_slice(cursor_of(place).as_bytes());
    text.extend_from_slice(b"\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::followers::Followers;
    use doorbuster_storage::memory::{Groups, MemoryStore};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_once_its_key_is_revoked() {
        let layout = Layout { shards: 2, hash_version: 1 };
        let store = Store::Memory(MemoryStore::new(layout, Groups::One, 1).open());
        let (feed, place) = (Feed::new(store), Place::start(layout));
        let reader = Reader { feed, place, wanted: Wanted(None), limit: 9 };
        let follower = Arc::new(Followers::default()).join(1).unwrap();
        let (sender, mut pages) = mpsc::channel(1);
        let looks = AtomicUsize::new(0);
        // It is asked at every sign of life.
        let streaming = stream_to(reader, follower, sender, || looks.fetch_add(1, Ordering::Relaxed) < 2);
        let reading = async {
            let mut signs = 0;
            while pages.recv().await.is_some() {
                signs += 1;
            }
            signs
        };
        let both = tokio::time::timeout(10 * SIGN_OF_LIFE, async { tokio::join!(streaming, reading) });
        let ((), signs) = both.await.unwrap();
        assert!(signs <= 1 && looks.into_inner() == 3, "{signs}");
    }
}
