//! The rules V1 and V4 of the runner, on a projection of warehouses' names.

use crate::runner::{Owned, ProjectError, RECORDS_MAX, Runner};
use crate::{Counts, Place, Progress, Projection, Rows};
use bytes::Bytes;
use doorbuster_domain::any::Event;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::ids::WarehouseId;
use doorbuster_domain::time::Timestamp;
use doorbuster_domain::warehouse;
use doorbuster_storage::index::{Breadth, Build, Changes, Cursor, IndexStore, Kept, MemoryIndex, Row, RowChange};
use doorbuster_storage::memory::{Groups, MemoryJournal, MemoryStore};
use doorbuster_storage::wire::{self, Decided, WireError};
use doorbuster_storage::{AppendError, Batch, Journal, Layout, ReadError, Record, Seq, Shard};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

const LAYOUT: Layout = Layout { shards: 2, hash_version: 1 };
const BUILD: Build = Build { name: Names::NAME, version: 1, generation: 0 };

/// How often a warehouse was named, and its name: the name is the key of its row.
#[derive(Debug, Clone)]
struct Names;

impl Projection for Names {
    type Kept = (u8, String);

    const NAME: &'static str = "names";

    fn version(&self) -> u32 {
        1
    }

    fn follows(&self, entity: &EntityId) -> bool {
        matches!(entity, EntityId::Warehouse(_))
    }

    fn apply(&self, kept: &mut Self::Kept, decided: &Decided) {
        for event in &decided.events {
            let Event::Warehouse(warehouse::Event::Put { details, .. }) = event else { continue };
            assert_ne!(details.name, "broken", "as the test wants");
            kept.0 += 1;
            kept.1 = details.name.to_string();
        }
    }

    fn rows(&self, _entity: &EntityId, (named, name): &Self::Kept) -> Rows {
        let place = Place { partition: Bytes::from_static(b"all"), key: Bytes::copy_from_slice(name.as_bytes()) };
        if *named == 0 { Rows::new() } else { Rows::from([(place, Bytes::copy_from_slice(&[*named]))]) }
    }

    fn breadth(&self, _partition: &[u8]) -> Breadth {
        Breadth::Few
    }

    fn encode(&self, (named, name): &Self::Kept) -> Bytes {
        [&[*named], name.as_bytes()].concat().into()
    }

    fn decode(&self, _entity: &EntityId, body: &Bytes) -> Result<Self::Kept, WireError> {
        Ok((body[0], String::from_utf8(body[1..].to_vec()).expect("as it was written")))
    }
}

/// What the next write of the index does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Works,
    Fails,
    /// The changes are there, and the cursor is not.
    IsCutShort,
}

#[derive(Debug, Clone)]
struct Flaky {
    index: Arc<MemoryIndex>,
    next: Arc<Mutex<Next>>,
    /// Entries and rows of each write.
    written: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl Flaky {
    fn new() -> Self {
        Self { index: Arc::default(), next: Arc::new(Mutex::new(Next::Works)), written: Arc::default() }
    }

    fn next(&self, next: Next) {
        *self.next.lock().unwrap() = next;
    }
}

impl IndexStore for Flaky {
    async fn cursors(&self, build: Build) -> Result<BTreeMap<Shard, Cursor>, ReadError> {
        self.index.cursors(build).await
    }
    async fn kept(&self, build: Build, shard: Shard, entities: &[EntityId]) -> Result<Vec<Option<Kept>>, ReadError> {
        self.index.kept(build, shard, entities).await
    }
    async fn write(&self, build: Build, shard: Shard, changes: Changes, cursor: Cursor) -> Result<(), AppendError> {
        let next = std::mem::replace(&mut *self.next.lock().unwrap(), Next::Works);
        let failed = || AppendError::Failed("as the test wants".to_owned());
        match next {
            Next::Works => {
                self.written.lock().unwrap().push((changes.kept.len(), changes.rows.len()));
                self.index.write(build, shard, changes, cursor).await
            }
            Next::Fails => Err(failed()),
            Next::IsCutShort => {
                let before = self.index.cursors(build).await.unwrap().get(&shard).copied().unwrap_or_default();
                self.index.write(build, shard, changes, before).await.unwrap();
                Err(failed())
            }
        }
    }
    async fn touch(&self, build: Build, cursors: &[(Shard, Cursor)]) -> Result<(), AppendError> {
        self.index.touch(build, cursors).await
    }
    async fn page(
        &self,
        build: Build,
        question: (&[u8], Breadth),
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        self.index.page(build, question, from, limit).await
    }
    async fn generation(&self, name: &'static str, version: u32) -> Result<u32, ReadError> {
        self.index.generation(name, version).await
    }
    async fn take_over(&self, build: Build, instead_of: u32) -> Result<bool, AppendError> {
        self.index.take_over(build, instead_of).await
    }
    async fn remove(&self, build: Build) -> Result<(), AppendError> {
        self.index.remove(build).await
    }
}

/// A journal of warehouses, and an index that follows it.
struct Shop {
    journal: MemoryJournal,
    index: Flaky,
    runner: Runner<Names, MemoryJournal, Flaky>,
    progress: Arc<Progress>,
    counts: Arc<Counts>,
    owned: Owned,
    /// Of each shard: the next seq. Of each warehouse: its next number.
    next: BTreeMap<Shard, Seq>,
    numbers: BTreeMap<EntityId, u64>,
}

impl Shop {
    async fn open() -> Self {
        let store = MemoryStore::new(LAYOUT, Groups::One, 1);
        let (journal, index) = (store.open(), Flaky::new());
        let mut owned = Owned::new();
        for shard in [Shard(0), Shard(1)] {
            owned.insert(shard, journal.claim(shard, "n1").await.unwrap().epoch);
        }
        let (progress, counts) = (Arc::new(Progress::new(LAYOUT.shards)), Arc::default());
        let stores = (journal.clone(), index.clone());
        let runner = Runner::new(Names, BUILD, stores, Arc::clone(&progress), Arc::clone(&counts));
        let (next, numbers) = (BTreeMap::new(), BTreeMap::new());
        Self { journal, index, runner, progress, counts, owned, next, numbers }
    }

    /// Another process that follows the same journal with the same index.
    fn other(&self) -> Runner<Names, MemoryJournal, Flaky> {
        let (progress, counts) = (Arc::new(Progress::new(LAYOUT.shards)), Arc::default());
        Runner::new(Names, BUILD, (self.journal.clone(), self.index.clone()), progress, counts)
    }

    /// A process that has forgotten all but what is stored.
    fn restart(&mut self) {
        (self.progress, self.counts) = (Arc::new(Progress::new(LAYOUT.shards)), Arc::default());
        let stores = (self.journal.clone(), self.index.clone());
        self.runner = Runner::new(Names, BUILD, stores, Arc::clone(&self.progress), Arc::clone(&self.counts));
    }

    /// A warehouse of this id gets a name.
    async fn name(&mut self, id: &str, name: &str) {
        let entity = EntityId::Warehouse(WarehouseId::parse(id).unwrap());
        let shard = LAYOUT.shard_of(&entity);
        let (seq, number) = (self.next.entry(shard).or_insert(1), self.numbers.entry(entity.clone()).or_insert(1));
        let details = warehouse::Details { name: name.into(), ..warehouse::Details::default() };
        let events = vec![Event::Warehouse(warehouse::Event::Put { details, owner: None })];
        let decided = Decided { entity, number: *number, at: Timestamp(*seq), by: By::System, events };
        let epoch = self.owned[&shard];
        let record = Record { shard, epoch, seq: *seq, events: 1, body: wire::encode(&decided) };
        *seq += 1;
        *number += 1;
        let batch = Batch { id: 1, records: vec![record] };
        self.journal.append(self.journal.group_of(shard), &batch).await.unwrap();
    }

    async fn round(&mut self) -> Result<bool, ProjectError> {
        self.runner.round(&self.owned, Timestamp(1_000)).await
    }

    /// Names, each with how often it was given.
    async fn names(&self) -> Vec<(String, u8)> {
        let rows = self.index.page(BUILD, (b"all", Breadth::Few), b"", 99).await.unwrap();
        let name = |row: &Row| (String::from_utf8(row.key.to_vec()).unwrap(), row.value[0]);
        rows.iter().map(name).collect()
    }
}

fn names(all: &[(&str, u8)]) -> Vec<(String, u8)> {
    all.iter().map(|(name, times)| ((*name).to_owned(), *times)).collect()
}

#[tokio::test]
async fn a_row_follows_its_entity_and_leaves_nothing_where_it_stood() {
    let mut shop = Shop::open().await;
    for name in ["London", "Leeds"] {
        shop.name("w1", name).await;
        assert!(!shop.round().await.unwrap());
    }
    assert_eq!(shop.names().await, names(&[("Leeds", 2)]));
}

#[tokio::test]
async fn what_happens_to_one_entity_in_a_page_is_written_once() {
    let mut shop = Shop::open().await;
    for number in 0..5 {
        shop.name("w1", &format!("n{number}")).await;
    }
    shop.round().await.unwrap();
    assert_eq!(*shop.index.written.lock().unwrap(), [(1, 1)]);
    assert_eq!(shop.names().await, names(&[("n4", 5)]));
}

#[tokio::test]
async fn a_round_takes_a_page_of_each_shard_and_says_that_more_is_waiting() {
    let mut shop = Shop::open().await;
    for number in 0..=RECORDS_MAX {
        shop.name(&format!("w{number}"), "x").await;
        shop.name("w", &format!("n{}", number % 100)).await;
    }
    let mut rounds = 1;
    while shop.round().await.unwrap() {
        rounds += 1;
    }
    assert_eq!(rounds, 2, "one of the shards has more than a page");
    assert_eq!(shop.progress.as_of(), Some(Timestamp(1_000)));
}

#[tokio::test]
async fn events_that_come_again_after_a_crash_change_nothing_more() {
    let mut shop = Shop::open().await;
    shop.name("w1", "London").await;
    shop.round().await.unwrap();
    shop.name("w1", "Leeds").await;
    shop.index.next(Next::IsCutShort);
    assert!(shop.round().await.is_err());
    shop.restart();
    shop.round().await.unwrap();
    assert_eq!(shop.names().await, names(&[("Leeds", 2)]));
}

#[tokio::test]
async fn a_new_process_goes_on_from_the_cursor() {
    let mut shop = Shop::open().await;
    shop.name("w1", "London").await;
    shop.round().await.unwrap();
    shop.restart();
    shop.name("w1", "Leeds").await;
    shop.round().await.unwrap();
    assert_eq!(shop.counts.projected.load(Ordering::Relaxed), 1);
    assert_eq!(shop.names().await, names(&[("Leeds", 2)]));
}

#[tokio::test]
async fn a_failed_write_is_made_again_and_keeps_no_other_shard_waiting() {
    let mut shop = Shop::open().await;
    for number in 0..8 {
        shop.name(&format!("w{number}"), &format!("n{number}")).await;
    }
    shop.index.next(Next::Fails);
    assert!(shop.round().await.is_err());
    let meanwhile = shop.names().await.len();
    assert!((1..8).contains(&meanwhile), "{meanwhile}: those of the other shard");
    shop.round().await.unwrap();
    assert_eq!(shop.names().await.len(), 8);
}

/// While another node had the shard it changed rows that are not as this one remembers them.
#[tokio::test]
async fn a_shard_that_comes_back_is_followed_as_the_index_is_by_then() {
    let mut shop = Shop::open().await;
    let shard = LAYOUT.shard_of(&EntityId::Warehouse(WarehouseId::parse("w1").unwrap()));
    shop.name("w1", "London").await;
    shop.round().await.unwrap();
    let mut other = shop.other();
    let epoch = shop.journal.claim(shard, "n2").await.unwrap().epoch;
    shop.owned.insert(shard, epoch);
    shop.name("w1", "Leeds").await;
    other.round(&shop.owned, Timestamp(1_000)).await.unwrap();
    let epoch = shop.journal.claim(shard, "n1").await.unwrap().epoch;
    shop.owned.insert(shard, epoch);
    shop.name("w1", "York").await;
    shop.round().await.unwrap();
    assert_eq!(shop.names().await, names(&[("York", 3)]));
}

#[tokio::test]
async fn an_index_of_another_journal_is_built_again() {
    let mut shop = Shop::open().await;
    shop.name("w1", "London").await;
    let shard = LAYOUT.shard_of(&EntityId::Warehouse(WarehouseId::parse("w1").unwrap()));
    let place = RowChange {
        partition: Bytes::from_static(b"all"),
        breadth: Breadth::Few,
        key: Bytes::from_static(b"Paris"),
        seq: 9,
        value: Some(Bytes::from_static(&[1])),
    };
    let ahead = Changes { kept: vec![], rows: vec![place] };
    shop.index.write(BUILD, shard, ahead, Cursor { seq: 9, at: Timestamp(9) }).await.unwrap();
    while shop.round().await.unwrap() {}
    assert_eq!(shop.names().await, names(&[("London", 1)]));
}

#[tokio::test]
async fn an_event_that_cannot_be_projected_keeps_no_other_entity_from_being_shown() {
    let mut shop = Shop::open().await;
    shop.name("w1", "London").await;
    shop.round().await.unwrap();
    for (id, name) in [("w1", "broken"), ("w2", "Leeds"), ("w3", "York")] {
        shop.name(id, name).await;
    }
    shop.round().await.unwrap();
    assert_eq!(shop.names().await, names(&[("Leeds", 1), ("London", 1), ("York", 1)]));
}

#[tokio::test]
async fn a_list_is_as_new_as_the_last_event_that_is_in() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.progress.as_of(), None);
    shop.round().await.unwrap();
    assert_eq!(shop.progress.as_of(), Some(Timestamp(1_000)), "there is nothing to be in");
    shop.name("w1", "London").await;
    shop.index.next(Next::Fails);
    let later = shop.runner.round(&shop.owned.clone(), Timestamp(2_000)).await;
    assert!(later.is_err());
    assert_eq!(shop.progress.as_of(), Some(Timestamp(1_000)), "the shard whose event is not in holds it back");
}
