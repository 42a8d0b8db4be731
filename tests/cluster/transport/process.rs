//! How a test starts nodes, gives them orders, and reads what they answer and log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

/// The variable that makes a process of this binary a node.
pub const ROLE: &str = "DOORBUSTER_CLUSTER_TEST_NODE";
/// So long a test waits for what must come; far above what it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The cookie of all nodes.
pub const COOKIE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a node gets at its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    pub cookie: String,
    pub is_stranger: bool,
    pub in_flight_per_peer_max: usize,
    pub cut_misses_max: u32,
    pub tls: Option<PathBuf>,
}

impl Settings {
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cookie: COOKIE.to_owned(),
            is_stranger: false,
            in_flight_per_peer_max: 16_384,
            cut_misses_max: 1_000,
            tls: None,
        }
    }
}

/// One running node.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub address: String,
    process: doorbuster_test_kit::process::Process,
    input: tokio::sync::Mutex<(u64, ChildStdin)>,
}

/// What follows `> number ` on a line. The test runner writes its own words around the node's, some without an end of line.
fn answer_to(number: u64, line: &str) -> Option<Value> {
    let (_, answer) = line.split_once("> ")?;
    let (of, answer) = answer.split_once(' ')?;
    (of.parse() == Ok(number)).then(|| serde_json::from_str(answer).unwrap())
}

impl Process {
    pub async fn start(settings: Settings) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "transport::child::a_node_that_other_tests_start", "--nocapture"]);
        command.env(ROLE, serde_json::to_string(&settings).unwrap()).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut process = doorbuster_test_kit::process::Process::spawn(&settings.name, &mut command).unwrap();
        let input = tokio::sync::Mutex::new((0, process.take_stdin().unwrap()));
        let address = process.line(PATIENCE, |line| answer_to(0, line)).await;
        let address = address.unwrap_or_else(|| panic!("{}", process.stderr())).as_str().unwrap().to_owned();
        Self { name: settings.name, address, process, input }
    }

    /// Gives it an order and waits for the answer.
    pub async fn command(&self, order: &str) -> Value {
        let mut input = self.input.lock().await;
        input.0 += 1;
        let number = input.0;
        input.1.write_all(format!("{number} {order}\n").as_bytes()).await.unwrap();
        drop(input);
        let answer = self.process.line(PATIENCE, |line| answer_to(number, line)).await;
        answer.unwrap_or_else(|| panic!("{} did not answer to {order}; it says:\n{}", self.name, self.log()))
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Waits until it has logged these words.
    pub async fn says(&self, words: &str) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if self.log().contains(words) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} never said `{words}`; it said:\n{}", self.name, self.log());
    }

    /// Waits until its answer to an order is as it should be.
    pub async fn until(&self, order: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..PATIENCE.as_millis() / 20 {
            last = self.command(order).await;
            if is(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}: `{order}` stays {last}; it said:\n{}", self.name, self.log());
    }

    pub async fn until_connected(&self, to: &Self) {
        self.until("beats", |beats| beats[&to.name][0] == true).await;
    }

    /// Its resident memory in bytes, and its open files.
    pub fn usage(&self) -> (u64, usize) {
        const PAGE_BYTES: u64 = 4_096;
        let process = self.process.id().unwrap();
        let memory = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
        let pages: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
        (pages * PAGE_BYTES, std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
    }

    /// The lines of its log with a warning or an error.
    pub fn warnings(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains("ERROR "))
            .map(str::to_owned)
            .collect()
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Stops it: none of its threads runs any more.
    pub async fn stop(&self) {
        self.process.stop().await;
    }

    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// How it stands in the others' lists.
    pub fn member(&self) -> String {
        format!("{}@{}", self.name, self.address)
    }
}

/// Tells all who the members are, and waits until each is connected to each.
pub async fn introduce(nodes: &[&Process]) {
    let members: Vec<String> = nodes.iter().map(|node| node.member()).collect();
    for node in nodes {
        node.command(&format!("members {}", members.join(" "))).await;
    }
    for node in nodes {
        for other in nodes.iter().filter(|other| other.name != node.name) {
            node.until_connected(other).await;
        }
    }
}

/// Two nodes that know each other; the second owns shard 1 and the first knows it.
pub async fn pair(change: impl Fn(&mut Settings)) -> (Process, Process) {
    let (mut first, mut second) = (Settings::named("a.1"), Settings::named("b.1"));
    change(&mut first);
    change(&mut second);
    let (first, second) = (Process::start(first).await, Process::start(second).await);
    introduce(&[&first, &second]).await;
    second.command("own 1 1").await;
    first.until("owner 1", |owner| owner == "1 b.1").await;
    (first, second)
}
