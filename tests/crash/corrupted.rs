//! A byte flipped anywhere in the journal is noticed by name and place, and stops the node; a torn tail is cut and reported.

use crate::node::{Node, quick};
use crate::oracle::contradiction;
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::process::Ended;
use doorbuster_test_kit::settings::Settings;
use doorbuster_test_kit::until::PATIENCE;
use serde_json::Value;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a frame before its first record.
const HEAD_BYTES: usize = 36;
/// Where the fields of a frame and of its first record begin: magic, length, generation, position, predecessor's CRC, number of
/// records, own CRC; shard, events, epoch, seq, length of the body; and the body.
const FIELDS: [usize; 13] = [0, 4, 8, 16, 24, 28, 32, 36, 38, 42, 50, 58, 62];

/// The newest segment of a stopped node, as it was left.
struct Journal {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where its frames lie.
    frames: Vec<Range<usize>>,
}

impl Journal {
    fn of(node: &Node) -> Self {
        let folder = node.data().join("log");
        let names = std::fs::read_dir(&folder).expect("a log").map(|entry| entry.expect("an entry").path());
        let newest = names
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-")))
            .max();
        let path = newest.expect("a segment");
        let bytes = std::fs::read(&path).expect("readable");
        let frames = frames_of(&bytes);
        assert!(frames.len() > 12, "only {} frames: too few to damage", frames.len());
        Self { path, bytes, frames }
    }

    /// One flipped bit.
    fn flip(&self, at: usize) {
        let mut bytes = self.bytes.clone();
        bytes[at] ^= 0x04;
        std::fs::write(&self.path, bytes).expect("written");
    }

    /// Zeros from here on, as if the disk had got no further.
    fn cut(&self, at: usize) {
        let mut bytes = self.bytes.clone();
        bytes[at..].fill(0);
        std::fs::write(&self.path, bytes).expect("written");
    }

    fn restore(&self) {
        std::fs::write(&self.path, &self.bytes).expect("written");
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
    usize::try_from(u32::from_le_bytes(four)).expect("32 bits")
}

/// The frames of a segment: a header of whole 4096 bytes, then frame after frame, then zeros.
fn frames_of(segment: &[u8]) -> Vec<Range<usize>> {
    let mut at = number(segment, 8).next_multiple_of(4096);
    let mut frames = Vec::new();
    while segment[at..].starts_with(b"DBf1") {
        let end = at + HEAD_BYTES + number(segment, at + 4);
        frames.push(at..end);
        at = end;
    }
    frames
}

/// A few sales whose events all stand in one segment, none of them in a checkpoint; gives what was acknowledged.
async fn sell(node: &Node) -> Vec<Value> {
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 100), ("B", 100)]).await;
    let mut orders = Vec::new();
    for number in 0..6 {
        let call =
            Call::post("/v1/orders", format!("k{number}"), shop::paid(shop::order(&[("A", 1), ("B", 2)]), "tok_ok"));
        orders.push(shop::good(&door, &call.waiting(20)).await.body);
    }
    orders
}

fn settings() -> Settings {
    quick().with("journal.checkpoint_interval_ms", 3_600_000).with("payments.profile", "instant")
}

#[track_caller]
fn assert_refused(what: &str, segment: &Path, ended: &Ended) {
    let said = &ended.stderr;
    assert!(!ended.status.success(), "{what}: nobody noticed:\n{}", ended.all());
    assert!(!ended.all().contains("panicked"), "{what}: {}", ended.all());
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    let generation = name.trim_start_matches("segment-").trim_start_matches('0');
    assert!(said.contains(&format!("segment {generation} at position ")), "{what}: it does not say where: {said}");
    assert!(said.contains("damaged"), "{what}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_any_field_of_any_frame_is_found_and_named() {
    let mut node = Node::started(settings()).await;
    sell(&node).await;
    node.kill().await;
    let journal = Journal::of(&node);
    let whole = node.run(&["audit"]).await;
    assert!(whole.status.success(), "undamaged: {}", whole.all());

    // The segment's own header: its fields, a shard, its end.
    for at in [0, 8, 16, 24, 32, 40, 48, 56, 60, 70, 4095] {
        journal.flip(at);
        assert_refused(&format!("header, byte {at}"), &journal.path, &node.run(&["audit"]).await);
    }
    // An unsealed log's last frame cannot be distinguished from a torn one: that is the next test's.
    let inner = &journal.frames[..journal.frames.len() - 1];
    for (number, frame) in inner.iter().enumerate() {
        let middle = (frame.start + frame.end) / 2;
        let places = FIELDS.iter().map(|field| frame.start + field).chain([middle, frame.end - 1]);
        // Every field of every third frame, a third of them in each frame: the log's own tests flip every byte there is.
        for at in places
            .enumerate()
            .filter(|(place, _)| (place + number) % 3 == 0)
            .map(|(_, at)| at)
            .filter(|at| *at < frame.end)
        {
            journal.flip(at);
            let refused = node.run(&["audit"]).await;
            assert_refused(&format!("frame {number} at {frame:?}, byte {at}"), &journal.path, &refused);
            assert!(refused.stderr.contains(&format!("byte {} of the segment", frame.start)), "{}", refused.stderr);
        }
    }
    // The node itself refuses with the same words, and so does a look into the journal.
    for frame in [&inner[0], &inner[inner.len() / 2], &inner[inner.len() - 1]] {
        journal.flip(frame.start + HEAD_BYTES + 30);
        for arguments in [&[][..], &["journal", "dump"]] {
            assert_refused(&format!("{arguments:?}, frame at {frame:?}"), &journal.path, &node.run(arguments).await);
        }
    }
    journal.restore();
    node.start().await;
    node.stop().await;
    node.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_torn_tail_of_an_unsealed_log_is_cut_and_reported_and_everything_before_it_serves() {
    let mut node = Node::started(settings()).await;
    let orders = sell(&node).await;
    node.kill().await;
    let mut journal = Journal::of(&node);
    for number in 0..4 {
        let last = journal.frames.last().expect("frames").clone();
        match number {
            0 => journal.cut(last.start + HEAD_BYTES / 2),
            1 => journal.cut((last.start + last.end) / 2),
            2 => journal.flip(last.start + 5),
            _ => journal.flip(last.end - 1),
        }
        let audit = node.run(&["audit"]).await;
        assert!(audit.status.success(), "a torn tail is no damage: {}", audit.all());
        assert!(audit.stderr.contains("torn tail"), "the audit says what it left out: {}", audit.all());
        node.start().await;
        assert!(node.stdout().contains("a torn tail was cut"), "{}", node.stdout());
        assert!(node.stdout().contains(&format!("at position {}", last.start)), "{}", node.stdout());
        // All but the very last frame is there; that one may have held the last order's capture.
        for order in &orders[..orders.len() - 1] {
            let now = shop::read(&node.door(), &format!("/v1/orders/{}", order["id"].as_str().expect("an id"))).await;
            assert_eq!(contradiction(order, &now), None);
        }
        let receipt = format!("after-the-cut-{number}");
        shop::receive(&node.door(), "A", 1, &receipt).await;
        node.kill().await;
        node.start().await;
        assert!(!node.stdout().contains("torn"), "cut once, it is whole: {}", node.stdout());
        node.kill().await;
        journal = Journal::of(&node);
    }
    let copies = std::fs::read_dir(node.data().join("log")).expect("a log");
    let torn = copies
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("torn")))
        .count();
    assert_eq!(torn, 4, "each torn tail is kept aside");
    node.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_log_has_no_torn_tail() {
    let mut node = Node::started(settings()).await;
    sell(&node).await;
    node.stop().await;
    let journal = Journal::of(&node);
    let last = journal.frames.last().expect("frames");
    for field in FIELDS {
        journal.flip(last.start + field);
        assert_refused(
            &format!("the last frame at {last:?}, byte {field}"),
            &journal.path,
            &node.run(&["audit"]).await,
        );
    }
    for at in [last.start, last.start + HEAD_BYTES, (last.start + last.end) / 2] {
        journal.cut(at);
        assert_refused(&format!("cut at {at}"), &journal.path, &node.run(&["audit"]).await);
    }
    assert_refused("the node", &journal.path, &node.run(&[]).await);
    journal.restore();

    let seal = node.data().join("log").join("seal");
    let sealed = std::fs::read(&seal).expect("the seal of a clean stop");
    for at in [0, 8, 16, 24, 28] {
        let mut bytes = sealed.clone();
        bytes[at] ^= 0x04;
        std::fs::write(&seal, bytes).expect("written");
        for arguments in [&["audit"][..], &[]] {
            let refused = node.second_process(arguments).ended(PATIENCE).await;
            assert!(!refused.status.success() && refused.stderr.contains("seal"), "byte {at}: {}", refused.all());
            assert!(!refused.all().contains("panicked"), "byte {at}: {}", refused.all());
        }
    }
    std::fs::write(&seal, sealed).expect("written");
    node.start().await;
    assert_eq!(shop::level(&node.door(), "A").await.on_hand, 94);
    node.stop().await;
    node.assert_no_panic();
}
