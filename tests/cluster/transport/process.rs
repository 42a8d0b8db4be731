//! How a test starts nodes, tells them things, and reads what they answer and log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

/// The variable that makes a process of this binary a node.
pub const ROLE: &str = "DOORBUSTER_CLUSTER_TEST_NODE";
/// So long a test waits for what must come; far above what it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Everybody's cookie.
pub const COOKIE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a node is told at its start.
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

type Answers = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// One running node.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub address: String,
    child: Child,
    input: tokio::sync::Mutex<(u64, ChildStdin)>,
    answers: Answers,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub async fn start(settings: Settings) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transport::child::a_node_that_other_tests_start", "--nocapture"])
            .env(ROLE, serde_json::to_string(&settings).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let answers = Answers::default();
        let (ready, address) = oneshot::channel();
        answers.lock().unwrap().insert(0, ready);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let waiting = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                // The test runner writes its own words around the node's, some without an end of line.
                let Some((_, answer)) = line.split_once("> ") else { continue };
                let (number, answer) = answer.split_once(' ').unwrap();
                if let Some(asker) = waiting.lock().unwrap().remove(&number.parse().unwrap()) {
                    asker.send(serde_json::from_str(answer).unwrap()).ok();
                }
            }
        });
        let log = Arc::new(Mutex::new(String::new()));
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let input = tokio::sync::Mutex::new((0, child.stdin.take().unwrap()));
        let mut node = Self { name: settings.name, address: String::new(), child, input, answers, log };
        let address = tokio::time::timeout(PATIENCE, address).await.unwrap_or_else(|_| panic!("{}", node.log()));
        node.address = address.unwrap().as_str().unwrap().to_owned();
        node
    }

    /// Tells it something and waits for the answer.
    pub async fn tell(&self, order: &str) -> Value {
        let (answer, answered) = oneshot::channel();
        let mut input = self.input.lock().await;
        input.0 += 1;
        let number = input.0;
        self.answers.lock().unwrap().insert(number, answer);
        input.1.write_all(format!("{number} {order}\n").as_bytes()).await.unwrap();
        drop(input);
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            _ => panic!("{} did not answer to {order}; it says:\n{}", self.name, self.log()),
        }
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
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
            last = self.tell(order).await;
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

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Stops it: none of its threads runs any more. The signal alone only says that they are about to stop, and on a busy machine one of them may
    /// answer before. (Where there is no `/proc` the signal has to do.)
    pub async fn stop(&self) {
        self.signal("-STOP");
        let threads = format!("/proc/{}/task", self.child.id().expect("it runs"));
        let runs = |stat: &str| !stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'));
        let run = || {
            let stats = std::fs::read_dir(&threads).into_iter().flatten().flatten();
            stats.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok()).any(|stat| runs(&stat))
        };
        let stopped = async {
            while run() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), stopped).await.expect("it stops");
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
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
        node.tell(&format!("members {}", members.join(" "))).await;
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
    second.tell("own 1 1").await;
    first.until("owner 1", |owner| owner == "1 b.1").await;
    (first, second)
}
