//! The one suite that every store of indexes passes: each test is a claim about all of them.

use crate::server::Keyspace;
use bytes::Bytes;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::index::{
    Breadth, Build, Changes, Cursor, EmbeddedIndex, Index, IndexOptions, IndexStore, Kept, MemoryIndex, RowChange,
};
use doorbuster_storage::{Layout, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

/// Something an index can be opened on, again and again.
trait Backend: Sized {
    /// `None`: it cannot be had here; standard error says which claim was not tried.
    fn new(claim: &str) -> Option<Self>;
    async fn open(&self) -> Index;
}

#[derive(Default)]
struct InMemory(Arc<MemoryIndex>);

impl Backend for InMemory {
    fn new(_claim: &str) -> Option<Self> {
        Some(Self::default())
    }
    async fn open(&self) -> Index {
        Index::Memory(Arc::clone(&self.0))
    }
}

struct OnDisk(TempDir);

impl Default for OnDisk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

const OPTIONS: IndexOptions = IndexOptions { cache_bytes: 1 << 20, memtable_bytes: 1 << 20 };

impl Backend for OnDisk {
    fn new(_claim: &str) -> Option<Self> {
        Some(Self::default())
    }
    async fn open(&self) -> Index {
        Index::Embedded(Arc::new(EmbeddedIndex::open(&self.0.path().join("index"), OPTIONS).unwrap()))
    }
}

struct OnCql(Keyspace);

impl Backend for OnCql {
    fn new(claim: &str) -> Option<Self> {
        Keyspace::is_there(claim).then(|| Self(Keyspace::new(Layout { shards: 2, hash_version: 1 })))
    }
    async fn open(&self) -> Index {
        Index::Cql(self.0.open().await.index())
    }
}

macro_rules! claims {
    ($($claim:ident),+ $(,)?) => {
        claims!(@on in_memory InMemory $($claim)+);
        claims!(@on embedded OnDisk $($claim)+);
        claims!(@on cql OnCql $($claim)+);
    };
    (@on $name:ident $backend:ident $($claim:ident)+) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $claim() {
                    if let Some(store) = super::Backend::new(concat!("an index: ", stringify!($claim))) {
                        super::$claim::<super::$backend>(store).await;
                    }
                }
            )+
        }
    };
}

claims![
    what_is_written_is_read_also_after_it_was_opened_again,
    rows_come_in_order_from_any_key_and_from_no_other_partition,
    a_row_is_overwritten_and_taken_away,
    builds_and_shards_share_nothing,
    a_build_takes_the_place_of_another_once,
    a_build_that_is_removed_is_gone_and_no_other,
    rows_of_many_times_come_in_order_whatever_parts_they_lie_in,
    a_shard_in_which_nothing_happened_is_touched,
];

const A: Shard = Shard(0);
const B: Shard = Shard(1);
const BUILD: Build = Build { name: "orders", version: 1, generation: 0 };

fn order(number: u128) -> EntityId {
    EntityId::Order(OrderId(number << 16))
}

fn kept(number: u128, seq: u64, body: &'static str) -> Kept {
    Kept { entity: order(number), seq, body: Bytes::from_static(body.as_bytes()) }
}

fn row(partition: &'static str, key: &'static str, seq: u64, value: Option<&'static str>) -> RowChange {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    RowChange { partition: bytes(partition), breadth: Breadth::Few, key: bytes(key), seq, value: value.map(bytes) }
}

async fn cursor(index: &impl IndexStore, build: Build, shard: Shard) -> Option<Cursor> {
    index.cursors(build).await.unwrap().get(&shard).copied()
}

fn at(seq: u64) -> Cursor {
    Cursor { seq, at: Timestamp(seq * 1_000) }
}

async fn rows(index: &Index, build: Build, partition: &str, from: &str, limit: usize) -> Vec<(String, String)> {
    let page = index.page(build, (partition.as_bytes(), Breadth::Few), from.as_bytes(), limit).await.unwrap();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    page.iter().map(|row| (text(&row.key), text(&row.value))).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn what_is_written_is_read_also_after_it_was_opened_again<T: Backend>(store: T) {
    let index = store.open().await;
    assert_eq!(cursor(&index, BUILD, A).await, None);
    assert_eq!(index.kept(BUILD, A, &[order(1)]).await.unwrap(), [None]);
    let changes = Changes { kept: vec![kept(1, 3, "one"), kept(2, 4, "")], rows: vec![row("p", "k", 3, Some("v"))] };
    index.write(BUILD, A, changes, at(4)).await.unwrap();
    drop(index);
    let index = store.open().await;
    assert_eq!(cursor(&index, BUILD, A).await, Some(at(4)));
    let found = index.kept(BUILD, A, &[order(2), order(9), order(1)]).await.unwrap();
    assert_eq!(found, [Some(kept(2, 4, "")), None, Some(kept(1, 3, "one"))]);
    assert_eq!(rows(&index, BUILD, "p", "", 9).await, pairs(&[("k", "v")]));
}

async fn rows_come_in_order_from_any_key_and_from_no_other_partition<T: Backend>(store: T) {
    let index = store.open().await;
    let all = ["b", "a", "c", "ab"].map(|key| row("p", key, 1, Some(key)));
    // The name of one partition may be the beginning of another's.
    let others = [row("", "pz", 1, Some("x")), row("pa", "a", 1, Some("y")), row("o", "z", 1, Some("z"))];
    index.write(BUILD, A, Changes { kept: vec![], rows: [&all[..], &others[..]].concat() }, at(1)).await.unwrap();
    assert_eq!(rows(&index, BUILD, "p", "", 9).await, pairs(&[("a", "a"), ("ab", "ab"), ("b", "b"), ("c", "c")]));
    assert_eq!(rows(&index, BUILD, "p", "ab", 2).await, pairs(&[("ab", "ab"), ("b", "b")]));
    assert_eq!(rows(&index, BUILD, "p", "ab\0", 1).await, pairs(&[("b", "b")]));
    assert_eq!(rows(&index, BUILD, "p", "d", 9).await, pairs(&[]));
    assert_eq!(rows(&index, BUILD, "nowhere", "", 9).await, pairs(&[]));
    assert_eq!(rows(&index, BUILD, "", "", 9).await, pairs(&[("pz", "x")]));
}

async fn a_row_is_overwritten_and_taken_away<T: Backend>(store: T) {
    let index = store.open().await;
    for (seq, value, expected) in
        [(1, Some("1"), pairs(&[("k", "1")])), (2, Some("2"), pairs(&[("k", "2")])), (3, None, pairs(&[]))]
    {
        let changes = Changes { kept: vec![kept(1, seq, "s")], rows: vec![row("p", "k", seq, value)] };
        index.write(BUILD, A, changes, at(seq)).await.unwrap();
        assert_eq!(rows(&index, BUILD, "p", "", 9).await, expected);
    }
}

async fn builds_and_shards_share_nothing<T: Backend>(store: T) {
    let index = store.open().await;
    let later = Build { generation: 1, ..BUILD };
    let other = Build { version: 2, ..BUILD };
    let changes = Changes { kept: vec![kept(1, 1, "s")], rows: vec![row("p", "k", 1, Some("v"))] };
    index.write(BUILD, A, changes, at(1)).await.unwrap();
    for build in [later, other, Build { name: "order", ..BUILD }] {
        assert_eq!(cursor(&index, build, A).await, None);
        assert_eq!(index.kept(build, A, &[order(1)]).await.unwrap(), [None]);
        assert_eq!(rows(&index, build, "p", "", 9).await, pairs(&[]));
    }
    assert_eq!(cursor(&index, BUILD, B).await, None);
    assert_eq!(index.kept(BUILD, B, &[order(1)]).await.unwrap(), [None]);
}

async fn a_build_takes_the_place_of_another_once<T: Backend>(store: T) {
    let index = store.open().await;
    let build = |generation| Build { generation, ..BUILD };
    assert_eq!(index.generation("orders", 1).await.unwrap(), 0);
    assert!(index.take_over(build(1), 0).await.unwrap());
    assert!(!index.take_over(build(2), 0).await.unwrap(), "another has taken it");
    assert!(index.take_over(build(2), 1).await.unwrap());
    drop(index);
    let index = store.open().await;
    assert_eq!(index.generation("orders", 1).await.unwrap(), 2);
    assert_eq!(index.generation("orders", 2).await.unwrap(), 0, "each version has its own");
}

async fn a_build_that_is_removed_is_gone_and_no_other<T: Backend>(store: T) {
    let index = store.open().await;
    let later = Build { generation: 1, ..BUILD };
    for build in [BUILD, later] {
        let changes = Changes { kept: vec![kept(1, 1, "s")], rows: vec![row("p", "k", 1, Some("v"))] };
        index.write(build, A, changes, at(1)).await.unwrap();
    }
    index.remove(BUILD).await.unwrap();
    assert_eq!(cursor(&index, BUILD, A).await, None);
    assert_eq!(index.kept(BUILD, A, &[order(1)]).await.unwrap(), [None]);
    assert_eq!(rows(&index, BUILD, "p", "", 9).await, pairs(&[]));
    assert_eq!(cursor(&index, later, A).await, Some(at(1)));
    assert_eq!(rows(&index, later, "p", "", 9).await, pairs(&[("k", "v")]));
}

/// A key that begins with a time.
fn timed(at: u64, id: u8) -> Bytes {
    [&at.to_be_bytes()[..], &[id]].concat().into()
}

async fn rows_of_many_times_come_in_order_whatever_parts_they_lie_in<T: Backend>(store: T) {
    for breadth in [Breadth::Few, Breadth::Own, Breadth::Shop] {
        let partition = Bytes::from(format!("{breadth:?}"));
        // A few rows of one moment, many windows of one row, and the last moment there is.
        let mut keys: Vec<Bytes> = (0..40).map(|id| timed(1 << 41, id)).collect();
        keys.extend((1..90_u8).map(|window| timed(u64::from(window) << 29, window)));
        keys.push(timed(u64::MAX, 1));
        let value = |key: &Bytes| Some(key.clone());
        let row = |key: &Bytes| RowChange {
            partition: partition.clone(),
            breadth,
            key: key.clone(),
            seq: 1,
            value: value(key),
        };
        let rows = keys.iter().map(row).collect();
        let index = store.open().await;
        index.write(BUILD, A, Changes { kept: vec![], rows }, at(1)).await.unwrap();
        keys.sort();
        // Opened again, the directory of windows is not in memory.
        drop(index);
        let index = store.open().await;
        for (limit, from) in [(200, Bytes::new()), (7, Bytes::new()), (1, keys[88].clone()), (50, keys[3].clone())] {
            let mut found = Vec::new();
            let mut next = from.clone();
            loop {
                let page = index.page(BUILD, (&partition, breadth), &next, limit).await.unwrap();
                assert!(page.iter().all(|row| row.key == row.value));
                found.extend(page.iter().map(|row| row.key.clone()));
                if page.len() < limit {
                    break;
                }
                next = [page[page.len() - 1].key.as_ref(), &[0]].concat().into();
            }
            let expected: Vec<Bytes> = keys.iter().filter(|key| **key >= from).cloned().collect();
            assert_eq!(found, expected, "{breadth:?} {limit} {from:?}");
        }
    }
}

async fn a_shard_in_which_nothing_happened_is_touched<T: Backend>(store: T) {
    let index = store.open().await;
    index.write(BUILD, A, Changes::default(), at(4)).await.unwrap();
    let later = Cursor { seq: 4, at: Timestamp(9_000) };
    index.touch(BUILD, &[(A, later), (B, at(0))]).await.unwrap();
    assert_eq!(index.cursors(BUILD).await.unwrap(), BTreeMap::from([(A, later), (B, at(0))]));
}

/// Rule V4: what a former owner writes late is older, whatever its clock says.
#[tokio::test]
async fn on_cql_the_late_write_of_a_former_owner_covers_nothing_newer() {
    let Some(store) = OnCql::new("an index: a late write covers nothing newer") else { return };
    let (former, owner) = (store.open().await, store.open().await);
    let change = |seq, value| Changes { kept: vec![kept(1, seq, "s")], rows: vec![row("p", "k", seq, value)] };
    owner.write(BUILD, A, change(5, Some("new")), at(5)).await.unwrap();
    former.write(BUILD, A, change(3, Some("old")), at(3)).await.unwrap();
    former.write(BUILD, A, change(4, None), at(4)).await.unwrap();
    assert_eq!(rows(&owner, BUILD, "p", "", 9).await, pairs(&[("k", "new")]));
    assert_eq!(cursor(&owner, BUILD, A).await, Some(at(5)));
    assert_eq!(owner.kept(BUILD, A, &[order(1)]).await.unwrap(), [Some(kept(1, 5, "s"))]);
    owner.write(BUILD, A, change(7, None), at(7)).await.unwrap();
    former.write(BUILD, A, change(6, Some("old")), at(6)).await.unwrap();
    assert_eq!(rows(&owner, BUILD, "p", "", 9).await, pairs(&[]));
    owner.write(BUILD, A, change(8, Some("newer")), at(8)).await.unwrap();
    // Nor does it bring back a build that was removed.
    owner.remove(BUILD).await.unwrap();
    former.write(BUILD, A, change(9, Some("old")), at(9)).await.unwrap();
    assert_eq!(rows(&owner, BUILD, "p", "", 9).await, pairs(&[]));
    assert_eq!(cursor(&owner, BUILD, A).await, None);
}

/// The journal has all that an index held: damage costs a rebuild, and no start.
#[tokio::test]
async fn a_damaged_index_is_made_again_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let open = || EmbeddedIndex::open(&path, OPTIONS).unwrap();
    let index = open();
    let changes = Changes { kept: vec![kept(1, 1, "s")], rows: vec![row("p", "k", 1, Some("v"))] };
    index.write(BUILD, A, changes, at(1)).await.unwrap();
    drop(index);
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_file() {
            std::fs::write(entry, b"not a database").unwrap();
        }
    }
    let index = open();
    assert_eq!(cursor(&index, BUILD, A).await, None);
}

/// A name that no row can have is refused when it is written and finds nothing when it is read.
#[tokio::test]
async fn a_partition_with_too_long_a_name_is_refused() {
    let index = OnDisk::default().open().await;
    let partition = Bytes::from(vec![b'x'; 513]);
    let change = RowChange {
        partition: partition.clone(),
        breadth: Breadth::Few,
        key: Bytes::new(),
        seq: 1,
        value: Some(Bytes::new()),
    };
    let written = index.write(BUILD, A, Changes { kept: vec![], rows: vec![change] }, at(1)).await;
    assert!(written.is_err());
    assert_eq!(index.page(BUILD, (&partition, Breadth::Few), b"", 9).await.unwrap(), []);
}
