//! Reads a projection's pages (rules V4, V6, V7).
//!
//! ```text
//! question ──► partition ──► rows in order ──► what is kept of each ──► filter ──► page
//!                              └── at most `EXAMINED_MAX` of them: a page may be short, and then says where to go on
//! ```

use super::progress::Progress;
use super::projection::{Place, Projection};
use bytes::Bytes;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::index::{Build, IndexStore, Kept, Row};
use doorbuster_storage::{Layout, ReadError, Seq, Shard};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The most rows that one page looks at. More: a rare match costs one request more time. Fewer: it costs more requests.
pub const EXAMINED_MAX: usize = 1_000;
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 200;

/// Reads one projection.
#[derive(Debug)]
pub struct Reader<P, I> {
    projection: P,
    index: I,
    layout: Layout,
    current: RwLock<(Build, Arc<Progress>)>,
}

/// Where a page begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The question's rows.
    pub partition: Bytes,
    /// The first key, included.
    pub from: Bytes,
    /// The last key, included; `None`: to the end.
    pub to: Option<Bytes>,
}

/// A row of a page.
#[derive(Debug)]
pub struct Found<K> {
    /// Its place among the question's rows.
    pub key: Bytes,
    /// The entity whose row it is.
    pub entity: EntityId,
    /// What is kept of it.
    pub kept: K,
}

/// A page.
#[derive(Debug)]
pub struct Page<K> {
    /// What was found, in order.
    pub found: Vec<Found<K>>,
    /// The first key that was not looked at; `None`: there is nothing more.
    pub next: Option<Bytes>,
    /// Everything up to this moment is in.
    pub as_of: Timestamp,
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not all shards were followed yet.
    #[error("the index is being built")]
    NotBuilt,
    /// The index cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl<P: Projection, I: IndexStore> Reader<P, I> {
    /// A reader of this build.
    pub const fn new(projection: P, index: I, layout: Layout, build: Build, progress: Arc<Progress>) -> Self {
        Self { projection, index, layout, current: RwLock::new((build, progress)) }
    }

    /// The projection.
    pub const fn projection(&self) -> &P {
        &self.projection
    }

    fn current(&self) -> (Build, Arc<Progress>) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads another build from now on.
    pub fn switch(&self, build: Build, progress: Arc<Progress>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (build, progress);
    }

    /// Everything up to this moment is in; `None`: not all shards were followed yet.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.current().1.as_of()
    }

    /// Waits until this event is in, and at most so long. Gives whether it is.
    pub async fn until(&self, shard: Shard, seq: Seq, at_most: Duration) -> bool {
        let (_, progress) = self.current();
        tokio::time::timeout(at_most, progress.until(shard, seq)).await.is_ok()
    }

    /// At most `limit` rows of a range of which `wanted` is true.
    ///
    /// # Errors
    /// [`PageError`].
    pub async fn page(
        &self,
        range: &Range,
        limit: usize,
        wanted: impl Fn(&Found<P::Kept>) -> bool,
    ) -> Result<Page<P::Kept>, PageError> {
        let (build, progress) = self.current();
        // Before the rows: what comes in meanwhile is newer than the page says it is.
        let as_of = progress.as_of().ok_or(PageError::NotBuilt)?;
        let mut page = Page { found: Vec::new(), next: None, as_of };
        let mut from = range.from.clone();
        let mut examined: usize = 0;
        loop {
            let at_once = ROWS_AT_ONCE.min(limit.saturating_add(1));
            let question = (range.partition.as_ref(), self.projection.breadth(&range.partition));
            let rows = self.index.page(build, question, &from, at_once).await?;
            let is_last = rows.len() < at_once;
            let rows: Vec<Row> = match &range.to {
                Some(to) => rows.into_iter().take_while(|row| row.key <= *to).collect(),
                None => rows,
            };
            let is_last = is_last || rows.len() < at_once;
            let mut kept = self.kept(build, &rows).await?;
            for row in rows {
                if page.found.len() >= limit || examined >= EXAMINED_MAX {
                    page.next = Some(row.key);
                    return Ok(page);
                }
                examined = examined.saturating_add(1);
                from = behind(&row.key);
                let Some((entity, kept)) = kept.remove(&row.key) else { continue };
                if self.index.is_shared() && !self.has_row(&entity, &kept, &range.partition, &row.key) {
                    continue;
                }
                let found = Found { key: row.key, entity, kept };
                if wanted(&found) {
                    page.found.push(found);
                }
            }
            if is_last {
                return Ok(page);
            }
        }
    }

    /// Is this a row of what is kept? On a store that several nodes write, one may be left over from a write that was cut short, or that came late.
    fn has_row(&self, entity: &EntityId, kept: &P::Kept, partition: &Bytes, key: &Bytes) -> bool {
        let place = Place { partition: partition.clone(), key: key.clone() };
        self.projection.rows(entity, kept).contains_key(&place)
    }

    /// What is kept of the rows' entities, by the rows' keys. A row whose entity has nothing kept is left out.
    async fn kept(&self, build: Build, rows: &[Row]) -> Result<BTreeMap<Bytes, (EntityId, P::Kept)>, ReadError> {
        let mut by_shard: BTreeMap<Shard, Vec<(Bytes, EntityId)>> = BTreeMap::new();
        for row in rows {
            let damaged = |error| ReadError::Corrupt(format!("a row of the index names no entity: {error}"));
            let (entity, _) = EntityId::read_key(&row.value).map_err(damaged)?;
            by_shard.entry(self.layout.shard_of(&entity)).or_default().push((row.key.clone(), entity));
        }
        let mut all = BTreeMap::new();
        for (shard, rows) in by_shard {
            let (keys, entities): (Vec<Bytes>, Vec<EntityId>) = rows.into_iter().unzip();
            let kept = self.index.kept(build, shard, &entities).await?;
            for (key, kept) in keys.into_iter().zip(kept) {
                let Some(Kept { entity, body, .. }) = kept else { continue };
                let unreadable = |error| ReadError::Corrupt(format!("{entity}: {error}"));
                let decoded = self.projection.decode(&entity, &body).map_err(unreadable)?;
                all.insert(key, (entity, decoded));
            }
        }
        Ok(all)
    }
}

/// The first key behind this one.
fn behind(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
