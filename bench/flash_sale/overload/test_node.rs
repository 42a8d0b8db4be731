//! The node under test with its shop: on a core of its own, on a disk as slow as is wished, watched from outside by `/proc`.

use super::options::TestNodeOptions;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::catalogue::{self, Offered};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{Node, TemporaryFolder};
use doorbuster_bench::number::{float, ratio};
use doorbuster_test_kit::settings::Settings;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const SLOW_DISK: &str = include_str!("slow_disk.c");
const PRICE_PENCE: u64 = 12_999;
const SKUS_PER_PRODUCT: usize = 100;
/// The kernel counts a process's time in hundredths of a second.
const TICK_MS: u64 = 10;
const PAGE_BYTES: u64 = 4_096;

/// A node, its folder and what it sells; dropped in this order.
#[derive(Debug)]
pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) folder: TemporaryFolder,
    pub(crate) skus: Arc<Vec<String>>,
    /// Has the node a core of its own?
    pub(crate) pinned: bool,
}

impl TestNode {
    /// Starts the node and fills its shelves.
    pub(crate) async fn open(
        options: &TestNodeOptions,
        mut settings: Settings,
        skus: u32,
        units: u64,
    ) -> Result<Self, BenchError> {
        let folder = TemporaryFolder::new(options.data.as_deref())?;
        for setting in &options.settings {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| BenchError::Input(format!("--set: `{setting}` is not SECTION.KEY=VALUE")))?;
            settings = settings.with(key, value);
        }
        if options.disk_slow > 1 {
            let library = slow_disk(folder.path())?;
            settings =
                settings.variable("LD_PRELOAD", library.display()).variable("SLOW_DISK_TIMES", options.disk_slow);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pinned = !options.share_cores && cores > 1 && is_there("taskset");
        if pinned {
            settings = settings.with("node.worker_threads", 1);
        }
        let node = Node::start(folder.path(), settings).await?;
        let mut test_node = Self { node, folder, skus: Arc::default(), pinned };
        test_node.pin()?;
        test_node.skus = Arc::new(test_node.fill(skus, units).await?);
        Ok(test_node)
    }

    /// The node on the first core, everything of ours on the others. Once more after each restart.
    pub(crate) fn pin(&self) -> Result<(), BenchError> {
        let (Some(node), true) = (self.node.id(), self.pinned) else { return Ok(()) };
        let last = std::thread::available_parallelism().map_or(1, usize::from).max(2) - 1;
        for (cores, process) in [("0".to_owned(), node), (format!("1-{last}"), std::process::id())] {
            let ran = Command::new("taskset").args(["-a", "-c", "-p", &cores, &process.to_string()]).output();
            let ran = ran.map_err(|source| BenchError::io("run taskset", source))?;
            // Our own threads see one core less now, so later calls ask for what is already so; only the node's must hold.
            if !ran.status.success() && process == node {
                return Err(BenchError::Node(String::from_utf8_lossy(&ran.stderr).into_owned()));
            }
        }
        Ok(())
    }

    /// Where and on what.
    pub(crate) fn shown(&self, options: &TestNodeOptions) -> String {
        let cores = if self.pinned { "a core of its own" } else { "shares all cores with the load" };
        let disk =
            if options.disk_slow > 1 { format!(", syncs {} times slower", options.disk_slow) } else { String::new() };
        format!("{}, its own, durable; {cores}{disk}", self.node.public.address)
    }

    async fn fill(&self, skus: u32, units: u64) -> Result<Vec<String>, BenchError> {
        let mut caller = Caller::new(self.node.public.clone());
        catalogue::open_warehouse(&mut caller).await?;
        let skus: Vec<String> = (1..=skus).map(|number| format!("CROWD-{number}")).collect();
        for (index, chunk) in skus.chunks(SKUS_PER_PRODUCT).enumerate() {
            let offered: Vec<Offered> =
                chunk.iter().map(|sku| Offered { sku: sku.clone(), pence: PRICE_PENCE }).collect();
            catalogue::put_product(&mut caller, &format!("crowd-{index}"), "Nova Low, first run", &offered).await?;
        }
        for sku in &skus {
            catalogue::receive(&mut caller, sku, units).await?;
        }
        Ok(skus)
    }

    /// Is the audit clean? Prints it.
    pub(super) async fn audit(&self) -> Result<bool, BenchError> {
        let audit = Caller::waiting(self.node.operator.clone(), std::time::Duration::from_secs(600))
            .read("/admin/audit")
            .await?;
        let clean = audit.get("clean").and_then(Value::as_bool) == Some(true);
        let orders = audit.get("orders").and_then(Value::as_u64).unwrap_or(0);
        println!("audit      {}", if clean { format!("clean, {orders} orders") } else { audit.to_string() });
        Ok(clean)
    }

    /// What the node uses now.
    pub(crate) fn usage(&self) -> Usage {
        self.node.id().map(Usage::of).unwrap_or_default()
    }
}

/// The operator's figures of a node, or nothing while it is down.
pub(super) async fn metrics(operator: &Target) -> String {
    let mut caller = Caller::waiting(operator.clone(), std::time::Duration::from_secs(2));
    let request =
        doorbuster_bench::api::Request { method: "GET", path: "/metrics", key: None, wait_s: None, body: b"" };
    caller.once(request).await.map(|(answer, _)| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default()
}

/// The value of the one series of this name.
pub(super) fn gauge(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Compiles the slow disk into `folder`.
fn slow_disk(folder: &Path) -> Result<PathBuf, BenchError> {
    let (source, library) = (folder.join("slow_disk.c"), folder.join("slow_disk.so"));
    std::fs::write(&source, SLOW_DISK).map_err(|error| BenchError::io("write slow_disk.c", error))?;
    let made =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").output();
    let made = made.map_err(|error| BenchError::io("--disk-slow needs a C compiler, cc", error))?;
    if made.status.success() {
        Ok(library)
    } else {
        Err(BenchError::Node(format!("cc: {}", String::from_utf8_lossy(&made.stderr))))
    }
}

/// What a process uses, as the kernel says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) files: u64,
    pub(crate) cpu_ms: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
        let number = |text: &str, place: usize| {
            text.split_whitespace().nth(place).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        };
        // The name in parentheses may hold spaces; the fields are counted behind it.
        let stat = read("stat");
        let stat = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Self {
            resident_bytes: number(&read("statm"), 1) * PAGE_BYTES,
            threads: number(stat, 17),
            files: std::fs::read_dir(format!("/proc/{process}/fd"))
                .map_or(0, |files| doorbuster_bench::number::count(files.count())),
            cpu_ms: (number(stat, 11) + number(stat, 12)) * TICK_MS,
        }
    }
}

/// Bytes in a folder by its first level: `log`, `states`, … , as they lie on the disk.
pub(super) fn sizes(folder: &Path) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        *sizes.entry(name).or_default() += size(&entry.path());
    }
    sizes
}

fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK_BYTES: u64 = 512;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * BLOCK_BYTES;
    }
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

/// As people read bytes.
pub(crate) fn shown_bytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    format!("{:.1} MB", ratio(float(bytes), float(MIB)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id());
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1 && usage.files >= 3, "{usage:?}");
    }

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\ndoorbuster_places 12\ndoorbuster_places_more 13\n";
        assert_eq!(gauge(text, "doorbuster_places"), Some(12.0));
        assert_eq!(gauge(text, "doorbuster_place"), None);
    }

    #[test]
    fn the_slow_disk_compiles_and_is_slow() {
        let folder = TemporaryFolder::new(None).unwrap();
        if !is_there("cc") {
            return;
        }
        let library = slow_disk(folder.path()).unwrap();
        let file = folder.path().join("x");
        let synced = |times: &str| {
            let begun = std::time::Instant::now();
            let ran = Command::new("dd")
                .args(["if=/dev/zero", "bs=4096", "count=50", "oflag=dsync", "conv=fsync"])
                .arg(format!("of={}", file.display()))
                .env("LD_PRELOAD", &library)
                .env("SLOW_DISK_TIMES", times)
                .output()
                .unwrap();
            assert!(ran.status.success(), "{ran:?}");
            begun.elapsed()
        };
        // Whatever the disk does, a process that syncs under it still ends, and its file is whole.
        synced("1");
        synced("3");
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 50 * 4_096);
    }
}
