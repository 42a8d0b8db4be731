//! The journal of all shards as one feed that goes on from a place (rules V3, V8).
//!
//! ```text
//! place  shard 0: 812 │ shard 1: 97 │ …      the last event of each that was read
//!        └─ one shard after the other, as far as it is durable ─► events, and the place behind them
//! ```
//!
//! Events of one entity are in one shard, so they come in their order; between shards there is none. A place is all that is remembered, and the reader
//! keeps it: nothing is stored here. A page begins with the next shard's turn, so that a long history of one keeps no news of another back.

use doorbuster_domain::any::Event;
use doorbuster_domain::ids::EntityId;
use doorbuster_storage::wire::Decided;
use doorbuster_storage::{Journal, Layout, ReadError, Record, RecordError, Seq, Shard};
use std::collections::BTreeMap;
use thiserror::Error;

/// The most events that one page looks at. More: a page of rare events costs one request more time. Fewer: it costs more requests.
pub const EXAMINED_MAX: usize = 2_000;
/// Records that are read of a shard at its turn: the least, and the most.
const RECORDS: (usize, usize) = (16, 256);
/// Records of which one is expected to be chosen: an order leaves several that are its own affair.
const RECORDS_PER_CHOSEN: usize = 4;

/// Why a page could not be read; the place is still where to go on.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record cannot be decoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The journal misses events. They are not passed over.
    #[error("shard {shard}: event {next} is missing, {found} follows")]
    Gap {
        /// The shard.
        shard: Shard,
        /// The event that was to be read.
        next: Seq,
        /// The first that is there.
        found: Seq,
    },
}

/// A place in the journal: in each shard, the last event that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The shard whose turn is next.
    turn: u16,
    read: Vec<Seq>,
}

impl Place {
    /// Before the first event.
    #[must_use]
    pub fn start(layout: Layout) -> Self {
        Self { turn: 0, read: vec![0; usize::from(layout.shards)] }
    }

    /// Its bytes: the turn, then each position, seven bits a byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.turn.to_be_bytes().to_vec();
        for seq in &self.read {
            let mut rest = *seq;
            while rest > 0x7f {
                bytes.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
                rest >>= 7;
            }
            bytes.push(u8::try_from(rest).unwrap_or_default());
        }
        bytes
    }

    /// The place of these bytes; `None`: they are none of a journal with this layout.
    #[must_use]
    pub fn of_bytes(bytes: &[u8], layout: Layout) -> Option<Self> {
        let (turn, mut rest) = bytes.split_first_chunk::<2>()?;
        let turn = u16::from_be_bytes(*turn);
        let mut read = Vec::with_capacity(usize::from(layout.shards));
        while !rest.is_empty() {
            let mut seq: Seq = 0;
            let mut shift = 0;
            loop {
                let (byte, behind) = rest.split_first()?;
                rest = behind;
                let part = u64::from(byte & 0x7f);
                let shifted = part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
                seq |= shifted;
                if byte & 0x80 == 0 {
                    break;
                }
                shift = shift.checked_add(7).filter(|shift| *shift < Seq::BITS)?;
            }
            read.push(seq);
            if read.len() > usize::from(layout.shards) {
                return None;
            }
        }
        (read.len() == usize::from(layout.shards) && turn < layout.shards).then_some(Self { turn, read })
    }

    fn shards(&self) -> impl Iterator<Item = (Shard, Seq)> + '_ {
        (0..).map(Shard).zip(self.read.iter().copied())
    }

    fn of(&self, shard: Shard) -> Seq {
        self.read.get(usize::from(shard.0)).copied().unwrap_or_default()
    }

    fn reach(&mut self, shard: Shard, seq: Seq) {
        if let Some(read) = self.read.get_mut(usize::from(shard.0)) {
            *read = seq;
        }
    }

    fn is_before(&self, ends: &BTreeMap<Shard, Seq>) -> bool {
        self.shards().any(|(shard, read)| ends.get(&shard).is_some_and(|end| *end > read))
    }
}

/// An event of the feed.
#[derive(Debug, Clone, Copy)]
pub struct Happened<'a> {
    /// The shard whose log has it.
    pub shard: Shard,
    /// The first event of its decision in that log.
    pub seq: Seq,
    /// Its place in the decision, from 0.
    pub index: u32,
    /// Its number among the entity's own events, from 1.
    pub number: u64,
    /// The decision.
    pub decided: &'a Decided,
    /// What happened.
    pub event: &'a Event,
}

/// A page of the feed.
#[derive(Debug)]
pub struct FeedPage<T> {
    /// What was chosen, of each entity in order.
    pub chosen: Vec<T>,
    /// Events that were looked at.
    pub examined: usize,
}

/// Reads a journal as a feed.
#[derive(Debug, Clone)]
pub struct Feed<J> {
    journal: J,
}

impl<J: Journal> Feed<J> {
    /// The feed of a journal, all of whose shards are this node's.
    pub const fn new(journal: J) -> Self {
        Self { journal }
    }

    /// The layout of its journal.
    pub fn layout(&self) -> Layout {
        self.journal.layout()
    }

    /// Is something durable that follows the place?
    pub fn has_more(&self, place: &Place) -> bool {
        place.is_before(&self.journal.ends())
    }

    /// Is the journal as long as the place says? A place of another journal, such as the one before a backup was put back, is none of this.
    pub fn reaches(&self, place: &Place) -> bool {
        let ends = self.journal.ends();
        place.shards().all(|(shard, read)| read <= ends.get(&shard).copied().unwrap_or_default())
    }

    /// Reads on, and moves the place behind what was looked at: at most `limit` events that `choose` takes, of entities that `follows` names.
    ///
    /// # Errors
    /// [`FeedError`]; the place is behind what was looked at before, and what was chosen is lost: go on from the place before the call.
    pub async fn page<T>(
        &self,
        place: &mut Place,
        limit: usize,
        follows: impl Fn(&EntityId) -> bool,
        choose: impl Fn(&Happened<'_>) -> Option<T>,
    ) -> Result<FeedPage<T>, FeedError> {
        let ends = self.journal.ends();
        let mut page = FeedPage { chosen: Vec::new(), examined: 0 };
        let shards = self.layout().shards.max(1);
        let first = place.turn;
        for step in 0..shards {
            let shard = Shard(first.saturating_add(step) % shards);
            place.turn = shard.0.saturating_add(1) % shards;
            if ends.get(&shard).is_none_or(|end| *end <= place.of(shard)) {
                continue;
            }
            let wanted = limit.saturating_sub(page.chosen.len()).saturating_mul(RECORDS_PER_CHOSEN);
            let next = place.of(shard).saturating_add(1);
            // Nothing: a checkpoint moves it at this moment, and the next page has it.
            for record in self.journal.page(shard, next, wanted.clamp(RECORDS.0, RECORDS.1)).await? {
                if Self::take(&record, place, &mut page, limit, &follows, &choose)? {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Looks at the events of a record behind the place. Gives whether the page is full.
    fn take<T>(
        record: &Record,
        place: &mut Place,
        page: &mut FeedPage<T>,
        limit: usize,
        follows: impl Fn(&EntityId) -> bool,
        choose: impl Fn(&Happened<'_>) -> Option<T>,
    ) -> Result<bool, FeedError> {
        let (shard, seq) = (record.shard, record.seq);
        let next = place.of(shard).saturating_add(1);
        if seq > next {
            return Err(FeedError::Gap { shard, next, found: seq });
        }
        if !follows(&record.head()?.entity) {
            page.examined = page.examined.saturating_add(1);
            place.reach(shard, record.last_seq());
            return Ok(page.examined >= EXAMINED_MAX);
        }
        let decided = record.decode()?;
        for ((index, event), own) in (0..).zip(&decided.events).zip(0_u64..) {
            let at = seq.saturating_add(own);
            if at < next {
                continue;
            }
            let number = decided.number.saturating_add(own);
            page.examined = page.examined.saturating_add(1);
            place.reach(shard, at);
            page.chosen.extend(choose(&Happened { shard, seq, index, number, decided: &decided, event }));
            if page.chosen.len() >= limit || page.examined >= EXAMINED_MAX {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::entity::By;
    use doorbuster_domain::ids::Sku;
    use doorbuster_domain::inventory;
    use doorbuster_domain::time::Timestamp;
    use doorbuster_storage::memory::{Groups, MemoryJournal, MemoryStore};
    use doorbuster_storage::{Batch, Claim};
    use std::collections::BTreeSet;

    const LAYOUT: Layout = Layout { shards: 3, hash_version: 1 };

    fn sku(shard: Shard) -> EntityId {
        let names = (0..).map(|n| EntityId::Inventory(Sku::parse(&format!("S{n}")).unwrap()));
        names.into_iter().find(|entity| LAYOUT.shard_of(entity) == shard).unwrap()
    }

    fn event(warehouse: &str) -> Event {
        let warehouse = doorbuster_domain::ids::WarehouseId::parse(warehouse).unwrap();
        Event::Inventory(inventory::Event::WarehouseSet { warehouse, active: true, version: 1 })
    }

    /// Decisions with these numbers of events, of one SKU a shard.
    async fn with(journal: &MemoryJournal, claims: &mut [Claim], shard: u16, events: &[u32]) {
        let claim = &mut claims[usize::from(shard)];
        for count in events {
            let seq = claim.end + 1;
            let events = (0..*count).map(|n| event(&format!("w{}", seq + u64::from(n)))).collect();
            let decided = Decided { entity: sku(claim.shard), number: seq, at: Timestamp(seq), by: By::System, events };
            let body = doorbuster_storage::wire::encode(&decided);
            let record = Record { shard: claim.shard, epoch: claim.epoch, seq, events: *count, body };
            claim.end = record.last_seq();
            let batch = Batch { id: u128::from(seq) << 16 | u128::from(shard), records: vec![record] };
            journal.append(journal.group_of(claim.shard), &batch).await.unwrap();
        }
    }

    async fn journal() -> (MemoryJournal, Vec<Claim>) {
        let journal = MemoryStore::new(LAYOUT, Groups::One, 1).open();
        let mut claims = Vec::new();
        for shard in 0..LAYOUT.shards {
            claims.push(journal.claim(Shard(shard), "node").await.unwrap());
        }
        (journal, claims)
    }

    type Seen = (Shard, Seq);

    async fn page(feed: &Feed<MemoryJournal>, place: &mut Place, limit: usize) -> Vec<Seen> {
        let seen = |happened: &Happened<'_>| Some((happened.shard, happened.seq + u64::from(happened.index)));
        feed.page(place, limit, |_| true, seen).await.unwrap().chosen
    }

    #[tokio::test]
    async fn v3_pages_of_any_length_miss_nothing_and_repeat_nothing_while_events_come() {
        for limit in [1, 2, 3, 7, 100] {
            let (journal, mut claims) = journal().await;
            let feed = Feed::new(journal.clone());
            let mut place = Place::start(LAYOUT);
            let mut seen: Vec<Seen> = Vec::new();
            for round in 0..12_u16 {
                with(&journal, &mut claims, round % 3, &[1, 4, 2]).await;
                let more = page(&feed, &mut place, limit).await;
                assert!(more.len() <= limit);
                seen.extend(more);
                // Whoever reads keeps its bytes, and nothing else.
                place = Place::of_bytes(&place.to_bytes(), LAYOUT).unwrap();
            }
            while feed.has_more(&place) {
                seen.extend(page(&feed, &mut place, limit).await);
            }
            let all: BTreeSet<Seen> = (0..3).flat_map(|shard| (1..=28).map(move |seq| (Shard(shard), seq))).collect();
            assert_eq!((seen.len(), seen.iter().copied().collect::<BTreeSet<_>>()), (all.len(), all), "limit {limit}");
            for shard in 0..3 {
                let of: Vec<Seq> = seen.iter().filter(|(of, _)| of.0 == shard).map(|(_, seq)| *seq).collect();
                assert!(of.is_sorted(), "{of:?}");
            }
            assert_eq!(page(&feed, &mut place, limit).await, []);
        }
    }

    #[tokio::test]
    async fn v3_a_long_history_of_one_shard_keeps_no_news_of_another_back() {
        let (journal, mut claims) = journal().await;
        with(&journal, &mut claims, 0, &[1; 500]).await;
        with(&journal, &mut claims, 2, &[1]).await;
        let feed = Feed::new(journal);
        let mut place = Place::start(LAYOUT);
        assert_eq!(page(&feed, &mut place, 10).await.len(), 10);
        assert!(page(&feed, &mut place, 10).await.contains(&(Shard(2), 1)));
    }

    #[tokio::test]
    async fn v8_a_page_looks_at_a_bounded_number_of_events_and_says_where_to_go_on() {
        let (journal, mut claims) = journal().await;
        for shard in 0..3 {
            with(&journal, &mut claims, shard, &[20; 120]).await;
        }
        let feed = Feed::new(journal);
        let mut place = Place::start(LAYOUT);
        let (mut examined, mut pages) = (0, 0);
        while feed.has_more(&place) {
            let page = feed.page(&mut place, 50, |_| true, |_| None::<()>).await.unwrap();
            assert!(page.chosen.is_empty() && (1..=EXAMINED_MAX).contains(&page.examined), "{}", page.examined);
            (examined, pages) = (examined + page.examined, pages + 1);
        }
        assert_eq!((examined, pages), (7_200, 4));
    }

    #[test]
    fn a_place_reads_back_and_what_is_none_is_refused() {
        let place = Place { turn: 2, read: vec![0, 300, Seq::MAX] };
        let bytes = place.to_bytes();
        assert_eq!(Place::of_bytes(&bytes, LAYOUT), Some(place));
        for length in 0..bytes.len() {
            assert_eq!(Place::of_bytes(&bytes[..length], LAYOUT), None, "{length}");
        }
        assert_eq!(Place::of_bytes(&bytes, Layout { shards: 4, ..LAYOUT }), None);
        assert_eq!(Place::of_bytes(&bytes, Layout { shards: 2, ..LAYOUT }), None);
        assert_eq!(Place::of_bytes(&[0, 3, 0, 0, 0], LAYOUT), None, "no such shard");
        let too_large = [&[0, 0, 0, 0][..], &[0xff; 9], &[0x7f]].concat();
        assert_eq!(Place::of_bytes(&too_large, LAYOUT), None);
        assert_eq!(Place::of_bytes(&[0xff; 400], LAYOUT), None);
    }

    #[test]
    fn v3_a_journal_that_misses_an_event_is_not_read_past_it() {
        let mut place = Place { turn: 0, read: vec![3, 0, 0] };
        let mut page = FeedPage { chosen: Vec::<()>::new(), examined: 0 };
        let record = Record { shard: Shard(0), epoch: 1, seq: 5, events: 1, body: Vec::new().into() };
        let taken = Feed::<MemoryJournal>::take(&record, &mut place, &mut page, 9, |_| true, |_| None);
        assert!(matches!(taken, Err(FeedError::Gap { next: 4, found: 5, .. })), "{taken:?}");
    }

    #[tokio::test]
    async fn a_place_behind_the_end_of_the_journal_is_none_of_it() {
        let (journal, mut claims) = journal().await;
        with(&journal, &mut claims, 1, &[2]).await;
        let feed = Feed::new(journal);
        let at = |seq| Place { turn: 0, read: vec![0, seq, 0] };
        assert!(feed.reaches(&at(2)) && !feed.reaches(&at(3)));
        assert!(feed.has_more(&at(1)) && !feed.has_more(&at(2)));
    }
}
