//! Redis that is emptied, killed and hung: what is in it comes back from the journal, and no caller waits for it longer than its bound.
//!
//! Tests that harm a server have one of their own, started by `tests/servers/redis`.

use crate::given::{Backend, order_on};
use crate::given::{InMemory, LAYOUT, Owner, append, sku_on};
use crate::projections::{event, sku, snapshot};
use doorbuster_domain::any::{Event, State};
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::{EntityId, Request, RequestFingerprint, RequestId, Sku, WarehouseId};
use doorbuster_domain::inventory;
use doorbuster_domain::order::{self, Amended, Buyer, Personal};
use doorbuster_domain::time::Timestamp;
use doorbuster_projections::availability_cache::{AvailabilityCache, AvailabilityCacheSettings};
use doorbuster_projections::cache::RedisCache;
use doorbuster_projections::cache_writer::CacheWriter;
use doorbuster_projections::memory::{MemoryCache, MemoryStreams};
use doorbuster_projections::publisher::Publisher;
use doorbuster_projections::rebuild_availability::of_shard;
use doorbuster_projections::reconcile::{Difference, fill, reconcile};
use doorbuster_projections::streams::RedisStreams;
use doorbuster_projections::{
    AnyStreams, AvailabilitySnapshot, Cache, Counts, Entry, EventId, ReadModelError, Streams,
};
use doorbuster_storage::memory::MemoryJournal;
use doorbuster_storage::redis::{Link, LinkSettings};
use doorbuster_storage::wire::{self, Decided};
use doorbuster_storage::{Journal, Record, Shard, StateFlush, StateRow};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How a call to the server of all tests is bounded: so generously that a busy machine does not fail a test.
pub(crate) const OURS: Duration = Duration::from_secs(10);
/// How a call to a server that hangs is bounded.
const SHORT: Duration = Duration::from_millis(100);
/// A test that waits longer for anything has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server of all tests. Where there is none it is said which claim was not tried.
pub(crate) fn test_redis(claim: &str) -> Option<String> {
    let address = std::env::var("DOORBUSTER_TEST_REDIS").ok().filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!("NOT TRIED, no DOORBUSTER_TEST_REDIS: {claim}");
    }
    address
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn link(address: &str, prefix: &str, timeout: Duration) -> Arc<Link> {
    let settings = LinkSettings {
        url: format!("redis://{address}"),
        prefix: prefix.to_owned(),
        timeout,
        failures_max: 3,
        rest_min: Duration::from_millis(50),
        rest_max: Duration::from_millis(200),
    };
    Arc::new(Link::new(settings).unwrap())
}

/// A server of a test's own; it ends with it.
struct Server {
    folder: TempDir,
    address: String,
}

impl Server {
    /// Only where tests with Redis are wanted at all.
    fn start(claim: &str) -> Option<Self> {
        test_redis(claim)?;
        let folder = tempfile::tempdir().unwrap();
        let address = Self::run(&folder, &[]);
        Some(Self { folder, address })
    }

    fn run(folder: &TempDir, more: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/redis");
        let mut start = Command::new("bash");
        start.args([script, "start", "--dir"]).arg(folder.path().join("redis"));
        start.args(["--owner", &std::process::id().to_string()]).args(more);
        let out = start.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.folder.path().join("redis/pid")).unwrap();
        assert!(Command::new("kill").args([&format!("-{name}"), pid.trim()]).status().unwrap().success());
    }

    /// Everything in it goes; it keeps nothing on disk.
    fn kill(&self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/redis");
        let mut stop = Command::new("bash");
        stop.args([script, "stop", "--dir"]).arg(self.folder.path().join("redis"));
        assert!(stop.status().unwrap().success());
    }

    fn return_empty(&self) {
        let port = self.address.rsplit_once(':').unwrap().1;
        assert_eq!(Self::run(&self.folder, &["--port", port]), self.address);
    }

    /// One command, over a connection of its own.
    async fn say(&self, command: &str) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        socket.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        let mut answer = [0; 1];
        socket.read_exact(&mut answer).await.unwrap();
        assert!(answer[0] == b'+' || answer[0] == b':', "{command}: an error");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// A shop of one shard's SKU and order, with a journal that counts.
struct Shop {
    journal: MemoryJournal,
    owner: Owner,
    stock: EntityId,
    state: State,
    version: u64,
}

const SHARD: Shard = Shard(2);

impl Shop {
    async fn open() -> Self {
        let journal = InMemory::default().open().await;
        let owner = Owner::of(&journal, SHARD).await;
        let stock = sku_on(SHARD);
        Self { journal, owner, state: State::empty(&stock), stock, version: 0 }
    }

    fn sku(&self) -> Sku {
        match &self.stock {
            EntityId::Inventory(sku) => sku.clone(),
            other => panic!("{other}"),
        }
    }

    /// Receipts of one unit each.
    async fn receive(&mut self, times: u64) {
        for _ in 0..times {
            let id = RequestId::new("p", "/receipts", &self.version.to_string());
            let at = Timestamp(1_000 + self.version);
            let request = Request { id, terms: RequestFingerprint(1) };
            let events = vec![Event::Inventory(inventory::Event::Received {
                asked: inventory::SellerRequest { request, at, until: at.plus_s(inventory::REQUEST_MEMORY_S) },
                warehouse: WarehouseId::parse("w1").unwrap(),
                units: 1,
                reference: None,
            })];
            events.iter().for_each(|event| self.state.evolve(event));
            let decided = Decided { entity: self.stock.clone(), number: self.version + 1, at, by: By::System, events };
            self.version = decided.last_number();
            let count = u32::try_from(decided.events.len()).unwrap();
            let record = self.owner.record(&self.stock, decided.number, count, None);
            append(&self.journal, vec![Record { body: wire::encode(&decided), ..record }]).await.unwrap();
        }
    }

    fn truth(&self) -> AvailabilitySnapshot {
        match &self.state {
            State::Inventory(stock) => AvailabilitySnapshot::of(stock.read(), self.version),
            other => panic!("{other:?}"),
        }
    }

    /// Stores the state as it is, and moves the log into history.
    async fn checkpoint(&self) {
        let upto = self.owner.next - 1;
        let mut dirty = wire::Dirty::default();
        (0..=64).for_each(|chunk| dirty.mark(chunk));
        let meta = wire::Meta { version: self.version, created_at: Timestamp(1), updated_at: Timestamp(2) };
        let rows = wire::rows_of(&self.state, &meta, &dirty).into_iter();
        let states =
            rows.map(|(chunk, body)| StateRow { entity: self.stock.clone(), chunk, seq: upto, body }).collect();
        let flush = StateFlush { states, ..StateFlush::default() };
        self.journal.checkpoint(&self.owner.claim, flush, upto).await.unwrap();
    }

    fn publisher<S: Streams>(&self, streams: S, length_max: u64) -> (Publisher<MemoryJournal, S>, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        let look_every = Duration::ZERO;
        (Publisher::new(self.journal.clone(), streams, length_max, look_every, Arc::clone(&counts)), counts)
    }
}

async fn numbers(streams: &impl Streams) -> Vec<u64> {
    let group = prefix();
    streams.create_group(SHARD, &group, EventId::START).await.unwrap();
    let mut found = Vec::new();
    loop {
        let page = streams.read(SHARD, &group, "test", 500).await.unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page.iter().map(|entry: &Entry| entry.id.position()));
    }
}

#[tokio::test]
async fn the_publisher_follows_the_log_through_checkpoints_and_new_publishers() {
    let mut shop = Shop::open().await;
    let streams = Arc::new(MemoryStreams::new(10_000));
    let (mut publisher, counts) = shop.publisher(AnyStreams::Memory(Arc::clone(&streams)), 10_000);
    publisher.round(&[SHARD]).await.unwrap();
    shop.receive(700).await;
    publisher.round(&[SHARD]).await.unwrap();
    assert_eq!(numbers(&*streams).await, (1..=700).collect::<Vec<_>>());
    // What it has not seen yet is moved into history.
    shop.receive(5).await;
    shop.checkpoint().await;
    shop.receive(5).await;
    publisher.round(&[SHARD]).await.unwrap();
    // Another owner, who knows nothing but the stream.
    shop.receive(5).await;
    let (mut other, _) = shop.publisher(AnyStreams::Memory(Arc::clone(&streams)), 10_000);
    other.round(&[SHARD]).await.unwrap();
    publisher.round(&[SHARD]).await.unwrap();
    assert_eq!(numbers(&*streams).await, (1..=715).collect::<Vec<_>>());
    assert_eq!(counts.streams_refilled.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_emptied_stream_is_filled_again_with_as_much_as_it_keeps() {
    let mut shop = Shop::open().await;
    let streams = Arc::new(MemoryStreams::new(100));
    let (mut publisher, counts) = shop.publisher(AnyStreams::Memory(Arc::clone(&streams)), 100);
    shop.receive(300).await;
    shop.checkpoint().await;
    publisher.round(&[SHARD]).await.unwrap();
    streams.empty();
    publisher.round(&[SHARD]).await.unwrap();
    assert_eq!(numbers(&*streams).await, (201..=300).collect::<Vec<_>>());
    assert_eq!(counts.streams_refilled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stream_that_is_emptied_under_its_publisher_s_hands_misses_nothing() {
    let mut shop = Shop::open().await;
    let streams = Arc::new(MemoryStreams::new(1_000));
    let counts = Arc::new(Counts::default());
    let of = AnyStreams::Memory(Arc::clone(&streams));
    let mut publisher = Publisher::new(shop.journal.clone(), of, 1_000, PATIENCE, Arc::clone(&counts));
    shop.receive(10).await;
    publisher.round(&[SHARD]).await.unwrap();
    // It believes that the stream ends with event 10, and will not look for a while.
    streams.empty();
    shop.receive(1).await;
    assert!(publisher.round(&[SHARD]).await.is_err(), "event 11 alone would be a stream with a hole");
    assert_eq!(streams.length(SHARD).await.unwrap(), 0);
    publisher.round(&[SHARD]).await.unwrap();
    assert_eq!(numbers(&*streams).await, (1..=11).collect::<Vec<_>>());
    assert_eq!(counts.streams_refilled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_shard_that_is_not_owned_is_not_followed_and_one_that_fails_holds_up_no_other() {
    let mut shop = Shop::open().await;
    let streams = Arc::new(MemoryStreams::new(100));
    let (mut publisher, counts) = shop.publisher(AnyStreams::Memory(Arc::clone(&streams)), 100);
    shop.receive(3).await;
    publisher.round(&[Shard(0), Shard(1)]).await.unwrap();
    assert_eq!(streams.length(SHARD).await.unwrap(), 0);
    // Facts that no version of the product knows: their shard stands still, loudly.
    let mut other = Owner::of(&shop.journal, Shard(1)).await;
    let order = order_on(Shard(1), 0);
    let unknown = other.record(&order, 1, 1, None);
    append(&shop.journal, vec![unknown]).await.unwrap();
    assert!(publisher.round(&[Shard(1), SHARD]).await.is_err());
    assert_eq!(counts.publish_failed.load(Ordering::Relaxed), 1);
    assert_eq!(numbers(&*streams).await, [1, 2, 3]);
}

#[tokio::test]
async fn personal_data_is_never_published() {
    let mut shop = Shop::open().await;
    let streams = Arc::new(MemoryStreams::new(100));
    let (mut publisher, _) = shop.publisher(AnyStreams::Memory(Arc::clone(&streams)), 100);
    let buyer = Buyer { name: Some("Ada Buyer".into()), ..Buyer::default() };
    let personal = Personal { buyer, note: Some("ring twice".into()), ..Personal::default() };
    let amended = Amended {
        destination: None,
        shipping: None,
        metadata: None,
        priced: None,
        personal_hash: Some(personal.hash()),
        personal: Some(Arc::new(personal)),
        tracking: None,
        notes: None,
    };
    let (entity, events) = (order_on(SHARD, 0), vec![Event::Order(order::Event::Amended(Box::new(amended)))]);
    let decided = Decided { entity: entity.clone(), number: 1, at: Timestamp(1), by: By::System, events };
    let record = shop.owner.record(&entity, 1, 1, None);
    let record = Record { body: wire::encode(&decided), ..record };
    let written = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("Ada");
    assert!(written(&record.body), "the journal has it");
    append(&shop.journal, vec![record]).await.unwrap();
    publisher.round(&[SHARD]).await.unwrap();
    streams.create_group(SHARD, "all", EventId::START).await.unwrap();
    let published = streams.read(SHARD, "all", "one", 10).await.unwrap();
    assert_eq!(published.len(), 1);
    assert!(!written(&published[0].event) && !published[0].event.windows(4).any(|bytes| bytes == b"ring"));
}

#[tokio::test]
async fn drift_is_reported_as_it_is_and_repaired_only_when_asked() {
    let mut shop = Shop::open().await;
    let cache = MemoryCache::new(100);
    shop.receive(10).await;
    shop.checkpoint().await;
    shop.receive(5).await;
    let truth = shop.truth();
    assert_eq!((truth.version, truth.available), (15, 15));
    let all: Vec<Shard> = (0..LAYOUT.shards).map(Shard).collect();
    let name = shop.sku();
    let at = |version, available| AvailabilitySnapshot { version, available, ..truth.clone() };
    let cases = [
        (None, Difference::Missing),
        (Some(at(12, 12)), Difference::Behind),
        (Some(at(15, 14)), Difference::Wrong),
        (Some(at(99, 99)), Difference::Ahead),
    ];
    for (cached, difference) in cases {
        cache.empty();
        if let Some(cached) = &cached {
            cache.put(&[(name.clone(), cached.clone())]).await.unwrap();
        }
        let reported = reconcile(&shop.journal, &all, &cache, false).await.unwrap();
        assert_eq!((reported.in_order, reported.repaired), (false, 0), "{difference:?}");
        assert_eq!(reported.drift[0].difference, difference);
        assert_eq!(cache.get(std::slice::from_ref(&name)).await.unwrap()[0], cached, "only reported");
        let repaired = reconcile(&shop.journal, &all, &cache, true).await.unwrap();
        assert_eq!((repaired.differing(), repaired.repaired), (1, 1), "{difference:?}");
        assert_eq!(cache.get(std::slice::from_ref(&name)).await.unwrap(), [Some(truth.clone())]);
        assert!(reconcile(&shop.journal, &all, &cache, false).await.unwrap().in_order);
    }
    cache.put(&[(sku("NOT-OURS"), snapshot(1, 1))]).await.unwrap();
    let report = reconcile(&shop.journal, &all, &cache, true).await.unwrap();
    assert_eq!((report.drift[0].difference, report.repaired), (Difference::Foreign, 1));
    assert_eq!(cache.get(&[sku("NOT-OURS")]).await.unwrap(), [None]);
}

#[tokio::test]
async fn after_flushall_cache_and_streams_come_back_from_the_journal() {
    let Some(server) = Server::start("after FLUSHALL everything comes back from the journal") else { return };
    let mut shop = Shop::open().await;
    let link = link(&server.address, "t", OURS);
    let (cache, streams) = (RedisCache::new(Arc::clone(&link)), RedisStreams::new(link, 10_000));
    let (mut publisher, counts) = shop.publisher(streams.clone(), 10_000);
    shop.receive(300).await;
    shop.checkpoint().await;
    fill(|shard| of_shard(&shop.journal, shard), &[SHARD], &cache).await.unwrap();
    cache.set_filled("n1").await.unwrap();
    publisher.round(&[SHARD]).await.unwrap();
    server.say("FLUSHALL").await;
    assert!(!cache.is_filled("n1").await.unwrap(), "by this a node notices");
    shop.receive(10).await;
    publisher.round(&[SHARD]).await.unwrap();
    assert_eq!(counts.streams_refilled.load(Ordering::Relaxed), 1);
    assert_eq!(numbers(&streams).await, (1..=310).collect::<Vec<_>>());
    assert_eq!(fill(|shard| of_shard(&shop.journal, shard), &[SHARD], &cache).await.unwrap(), 1);
    assert_eq!(cache.get(&[shop.sku()]).await.unwrap(), [Some(shop.truth())]);
    assert!(reconcile(&shop.journal, &[SHARD], &cache, false).await.unwrap().in_order);
    // An invented version would refuse every newer one for a long time.
    server.say(&format!("HSET t:sku1:{} v 99999", shop.sku())).await;
    let report = reconcile(&shop.journal, &[SHARD], &cache, true).await.unwrap();
    assert_eq!((report.drift[0].difference, report.repaired), (Difference::Ahead, 1));
    assert_eq!(cache.get(&[shop.sku()]).await.unwrap(), [Some(shop.truth())]);
}

#[tokio::test]
async fn a_redis_that_was_killed_and_returns_empty_is_filled_with_what_waited() {
    let Some(server) = Server::start("a killed Redis is noticed, and filled when it returns") else { return };
    let link = link(&server.address, "t", OURS);
    let cache = RedisCache::new(Arc::clone(&link));
    let counts = Arc::new(Counts::default());
    let mut writer = CacheWriter::new(cache.clone(), 10, Arc::clone(&counts));
    writer.add(sku("A"), snapshot(1, 1));
    assert!(writer.send().await);
    server.kill();
    writer.add(sku("A"), snapshot(2, 2));
    for _ in 0..10 {
        assert!(!writer.send().await);
    }
    let open = |name: &str| link.figures().iter().find(|figure| figure.0 == name).unwrap().3;
    assert_eq!(open("redis_breaker_open"), 1);
    assert!(open("redis_not_tried") > 0, "after three failures it is left alone");
    writer.add(sku("A"), snapshot(3, 3));
    server.return_empty();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !writer.send().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(cache.get(&[sku("A")]).await.unwrap(), [Some(snapshot(3, 3))], "the newest, once");
    assert_eq!(open("redis_breaker_open"), 0);
}

#[tokio::test]
async fn a_hung_redis_is_waited_for_no_longer_than_its_bound_and_then_not_at_all() {
    let Some(server) = Server::start("a hung Redis never blocks beyond its bound") else { return };
    let link = link(&server.address, "t", SHORT);
    let cache = RedisCache::new(Arc::clone(&link));
    let streams = RedisStreams::new(Arc::clone(&link), 100);
    until("the first answer", || async { cache.put(&[(sku("A"), snapshot(1, 1))]).await.is_ok() }).await;
    server.signal("STOP");
    let begun = tokio::time::Instant::now();
    let mut resting = 0_u64;
    for version in 2..1_000 {
        let put = cache.put(&[(sku("A"), snapshot(version, 1))]).await;
        let published = streams.publish(SHARD, EventId::START, &[event(version, 0)]).await;
        for failed in [put.unwrap_err(), published.unwrap_err()] {
            resting += u64::from(failed == ReadModelError::CircuitOpen);
        }
    }
    // 1,996 calls of 100 ms each would have taken more than three minutes.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert!(resting > 1_900, "{resting} were not even tried");
    server.signal("CONT");
    until("it answers again", || async { cache.put(&[(sku("B"), snapshot(7, 7))]).await.is_ok() }).await;
    assert_eq!(cache.get(&[sku("B")]).await.unwrap(), [Some(snapshot(7, 7))]);
    // What it was sent while it hung it may have carried out since: that is harmless, only newer versions replace.
    let seen = cache.get(&[sku("A")]).await.unwrap()[0].clone().unwrap();
    assert!(seen.version >= 1 && seen.available == 1);
}

#[tokio::test]
async fn a_reader_never_waits_for_a_hung_redis() {
    let Some(server) = Server::start("a look never waits for a hung Redis") else { return };
    let cache = RedisCache::new(link(&server.address, "t", SHORT));
    until("the first answer", || async { cache.put(&[(sku("A"), snapshot(1, 1))]).await.is_ok() }).await;
    let counts = Arc::new(Counts::default());
    let settings = AvailabilityCacheSettings {
        fresh: Duration::from_millis(20),
        stale: Duration::from_millis(200),
        skus_max: 100,
        queue_max: 4,
    };
    let (availability, lookups) = AvailabilityCache::new(cache, settings, Arc::clone(&counts));
    tokio::spawn(lookups.run());
    until("it is seen", || async { availability.get(&sku("A")).is_some() }).await;
    server.signal("STOP");
    until("what was seen is too old", || async { availability.get(&sku("A")).is_none() }).await;
    // On this one thread nothing else runs meanwhile: had a look waited, it would never end.
    for number in 0..10_000 {
        assert!(availability.get(&sku(&format!("S{number}"))).is_none());
    }
    assert!(counts.look_up_dropped.load(Ordering::Relaxed) > 9_000, "the queue is bounded, and drops");
    server.signal("CONT");
    until("it is seen again", || async { availability.get(&sku("A")).is_some() }).await;
}
