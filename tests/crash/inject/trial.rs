//! One trial: a process meets one fault, ends or goes on as it must, and its successor has everything.

use super::errand::Memory;
use super::library::{Fault, Kind, Made, Notes, Report};
use crate::node::{Node, quick};
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::process::Ended;
use doorbuster_test_kit::settings::Settings;
use doorbuster_test_kit::until::{PATIENCE, until};
use std::time::Duration;

/// A process that neither answers nor ends within this time hangs.
const HANGS: Duration = Duration::from_secs(120);
/// The status of a process that could not go on, and of one that could not start.
const GAVE_UP: [i32; 2] = [70, 1];
/// How the system's words for the two errors read.
const EIO: &str = "Input/output error";
const ENOSPC: &str = "No space left on device";

/// What a process does besides starting and stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Nothing.
    Nothing,
    /// It sells.
    Sells,
    /// It erases the personal data of an order, and with it rewrites the files of the tables.
    Erases,
}

/// Where a trial begins and what is done in it.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// The folder it begins with, left by a process that is gone, and what that one acknowledged; `None`: an empty one.
    pub template: Option<(Node, Memory)>,
    /// What is done between start and stop.
    pub does: Does,
    /// How many processes, one after the other, meet the fault.
    pub lives: u32,
}

/// What became of one trial.
#[derive(Debug)]
pub struct Outcome {
    /// Of the first process that met the fault.
    pub report: Report,
    /// How it ended; `None`: it was killed by the fault, or never met it.
    pub ended: Option<Ended>,
    /// How many answers had been given before.
    pub acknowledged: usize,
}

/// Small files, so that a short sale changes segments; and nothing that works without a request.
pub fn settings() -> Settings {
    quick()
        .with("api.body_bytes_max", 8_192)
        .with("api.small_body_bytes_max", 8_192)
        .with("journal.batch_bytes_max", 16_384)
        .with("journal.segment_bytes", 73_728)
        .with("journal.checkpoint_interval_ms", 60)
        .with("journal.retention_days", 0)
        .with("node.shards", 2)
        .with("orders.hold_s", 3_600)
        .with("payments.profile", "instant")
}

impl Stage {
    /// An empty folder; a start and a clean stop.
    pub const fn first_start() -> Self {
        Self { name: "first start", template: None, does: Does::Nothing, lives: 1 }
    }

    /// A shop that was opened and stopped cleanly; a sale with checkpoints and new segments; a clean stop.
    pub async fn sale() -> Self {
        let mut node = Node::started(settings()).await;
        let memory = Memory::default();
        memory.open(&node.door()).await;
        node.stop().await;
        Self { name: "sale", template: Some((node, memory)), does: Does::Sells, lives: 1 }
    }

    /// A shop that has sold and was stopped cleanly; an order's personal data is erased; a clean stop.
    pub async fn erasure() -> Self {
        let mut node = Node::started(settings()).await;
        let memory = Memory::default();
        memory.open(&node.door()).await;
        memory.sell(&node.door(), "before").await;
        node.stop().await;
        Self { name: "erasure", template: Some((node, memory)), does: Does::Erases, lives: 1 }
    }

    /// What a kill in the middle of a sale left, none of it in a checkpoint, and a torn frame at the end; a start that dies, and another
    /// one that dies, a start and a clean stop.
    pub async fn recovery() -> Self {
        let mut node = Node::started(settings()).await;
        let memory = Memory::default();
        memory.open(&node.door()).await;
        node.stop().await;
        let mut node = node.copy(settings().with("journal.checkpoint_interval_ms", 3_600_000));
        node.start().await;
        memory.sell(&node.door(), "before").await;
        node.kill().await;
        tear(&node);
        Self { name: "recovery", template: Some((node, memory)), does: Does::Nothing, lives: 2 }
    }

    /// One trial.
    pub async fn trial(&self, fault: Fault) -> Outcome {
        let (mut node, memory) = match &self.template {
            Some((node, memory)) => (node.copy(settings()), memory.clone()),
            None => (Node::new(settings()), Memory::default()),
        };
        let mut first = None;
        for life in 0..self.lives {
            let notes = Notes::new();
            let data = node.data();
            // An erasure writes whole files, with thousands of writes that are all alike.
            node.begin_with(notes.environment(fault, &data, self.does == Does::Erases));
            let ended = self.live(&mut node, &memory, life).await;
            let report = notes.read();
            judge(fault, &report, &ended);
            let is_met = report.met.is_some();
            let ended = (is_met && !fault.kind.kills()).then_some(ended);
            first.get_or_insert((report, ended));
            if !is_met {
                break;
            }
        }
        let acknowledged = memory.acknowledged();
        node.start().await;
        memory.is_kept(&node).await;
        if self.template.is_none() {
            memory.open(&node.door()).await;
            memory.is_kept(&node).await;
        }
        node.stop().await;
        memory.is_erased(&node);
        let audit = node.run(&["audit"]).await;
        assert!(audit.status.success(), "{}", audit.all());
        node.assert_no_panic();
        let (report, ended) = first.expect("at least one life");
        Outcome { report, ended, acknowledged }
    }

    /// One process from its start to its end, whichever comes first: what it is to do, or the fault.
    async fn live(&self, node: &mut Node, memory: &Memory, life: u32) -> Ended {
        if !node.serves_or_ends().await {
            return node.ended(PATIENCE).await;
        }
        let door = node.door();
        let work = async {
            match self.does {
                Does::Nothing => {}
                Does::Sells => memory.sell(&door, &format!("sale-{life}")).await,
                Does::Erases => memory.erase_one(&door).await,
            }
            if self.does != Does::Nothing {
                let call = Call::get("/admin/shards");
                until("a checkpoint of everything", PATIENCE, || async {
                    let shards = door.operate(&call).await.map_err(|lost| lost.to_string())?;
                    let all = shards.body["data"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let stored = !all.is_empty() && all.iter().all(|shard| shard["lag"] == 0);
                    if stored { Ok(()) } else { Err(shards.to_string()) }
                })
                .await;
            }
        };
        tokio::select! {
            biased;
            ended = node.ended(HANGS) => return ended,
            () = work => {}
        }
        node.terminate();
        node.ended(PATIENCE).await
    }
}

/// Half a frame behind the last one, as a kill in the middle of a write leaves it.
fn tear(node: &Node) {
    let folder = node.data().join("log");
    let names = std::fs::read_dir(folder).expect("a log").map(|entry| entry.expect("an entry").path());
    let newest =
        names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-"))).max();
    let newest = newest.expect("a segment");
    let mut bytes = std::fs::read(&newest).expect("readable");
    let end = end_of(&bytes);
    let torn = b"DBf1\x00\x02\x00\x00torn";
    bytes[end..end + torn.len()].copy_from_slice(torn);
    std::fs::write(&newest, bytes).expect("written");
}

/// Where a segment's last frame ends, or its header if it has none. A frame may end in zeros, so what is not zero does not say it: half a frame that
/// began there would be damage to what was acknowledged.
fn end_of(segment: &[u8]) -> usize {
    const MAGIC: &[u8] = b"DBf1";
    const HEAD_BYTES: usize = 36;
    let written = segment.iter().rposition(|byte| *byte != 0).expect("a header at least") + 1;
    let Some(frame) = segment.windows(MAGIC.len()).rposition(|four| four == MAGIC) else { return written };
    let length = segment[frame + MAGIC.len()..].first_chunk().copied().map(u32::from_le_bytes).expect("a length");
    let end = frame + HEAD_BYTES + usize::try_from(length).expect("a length");
    assert!(written <= end, "nothing is behind the last frame");
    end
}

/// Did the process end as it must?
fn judge(fault: Fault, report: &Report, ended: &Ended) {
    let said = ended.all();
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "it panicked:\n{said}");
    let Some(met) = &report.met else {
        assert!(ended.status.success(), "without any fault it ended with {}:\n{said}", ended.status);
        return;
    };
    if fault.kind.kills() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(ended.status.signal(), Some(9), "{met}: it was killed, and ended with {}:\n{said}", ended.status);
        return;
    }
    if fault.kind.is_lawful() {
        assert!(ended.status.success(), "{met}: nothing was wrong, and it ended with {}:\n{said}", ended.status);
        return;
    }
    if ended.status.success() {
        let after: Vec<String> = report.after.iter().map(ToString::to_string).collect();
        assert!(
            may_go_on(met, report, &said),
            "{met} failed, and it served on as if nothing had happened:\n{said}\nthen {after:?}"
        );
        return;
    }
    let code = ended.status.code();
    assert!(
        code.is_some_and(|code| GAVE_UP.contains(&code)),
        "{met} failed, and it ended with {}:\n{said}",
        ended.status
    );
    let words = if fault.kind == Kind::Eio { EIO } else { ENOSPC };
    assert!(ended.stderr.contains(words), "{met} failed, and it does not say with what:\n{said}");
    // On a full disk something else may have failed as well, and have said so first.
    let file = met.file.split('/').next().expect("a first part").trim_end_matches(".new");
    let where_ = if met.file == "." || fault.kind == Kind::Enospc { "/data" } else { file };
    assert!(ended.stderr.contains(where_), "{met} failed, and it does not say where:\n{said}");
    // Rule L8: what failed is neither tried again nor built upon.
    let again = report.after.iter().find(|made| is_log(&made.file) && is_log(&met.file) && made.class != "name");
    assert_eq!(again, None, "{met} failed, and the log was written on");
}

/// A segment of the log that holds records, or is about to.
fn is_log(file: &str) -> bool {
    file.starts_with("log/segment-") || file == "log/seal" || file == "log/seal.new"
}

/// A failure that endangers nothing, because what failed is not used.
fn may_go_on(met: &Made, report: &Report, said: &str) -> bool {
    // The next segment, to which no record was written: the present one goes on to its end, and the log says what will come.
    let next_segment = met.file.starts_with("log/spare-") && said.contains("the next segment cannot be prepared");
    // The tables' list of tables is written anew, to be shorter: the old one stays in force.
    let list_of_tables = met.file.starts_with("states") && met.file.contains("/keyspaces/0");
    // A list of tables that is no longer in force stays beside the present one until the next is written; an erasure waits for that.
    let is_list = met.file.starts_with("states/keyspaces/")
        && met.file.rsplit('/').next().is_some_and(|name| name.starts_with('v'));
    let old_list = is_list && met.class == "name" && said.contains("Version history GC failed");
    // The tables are closed when everything in them was synced, and the log is sealed: there is nothing more to write.
    let is_journal = met.class == "sync" && met.file.ends_with(".jnl");
    let closed = is_journal && !report.after.iter().any(|made| made.file.starts_with("log"));
    // Tables that were just made are closed before they get their name: all that is in them was synced a moment ago.
    let last = report.before.iter().rev().find(|made| made.file == met.file);
    let made_aside = is_journal && met.file.starts_with("states.new/") && last.is_some_and(|made| made.class == "sync");
    // A table that was merged into others stays on the disk until the next start, which removes what belongs to nothing; of blocks of history
    // a file was begun, and none came.
    let is_merged =
        met.class == "name" && met.file.contains("/tables/") && said.contains("Failed to cleanup deleted table");
    let is_empty =
        met.class == "name" && met.file.contains("/blobs/") && said.contains("Could not delete empty blob file");
    // Nothing is acknowledged by the index of lists: what is lost there comes again from the journal.
    let index = met.file == "index" || met.file.starts_with("index/");
    index || next_segment || list_of_tables || old_list || closed || made_aside || is_merged || is_empty
}
