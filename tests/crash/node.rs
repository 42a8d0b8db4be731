//! A node of one's own: a data folder that outlives its processes, and where the present one listens.

use doorbuster_test_kit::client::{Answer, Call, Client, Lost};
use doorbuster_test_kit::process::{Ended, Process};
use doorbuster_test_kit::settings::Settings;
use doorbuster_test_kit::until::{PATIENCE, until};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tested-doorbuster");

/// Small files and short times, so that in seconds there are checkpoints, new segments and actors that left.
pub fn quick() -> Settings {
    Settings::default()
        .with("api.body_bytes_max", 16_384)
        .with("journal.batch_bytes_max", 65_536)
        .with("journal.segment_bytes", 262_144)
        .with("journal.checkpoint_interval_ms", 300)
        .with("entities.idle_ms", 200)
        .with("entities.effect_retry_min_ms", 20)
        .with("entities.effect_retry_max_ms", 500)
        .with("payments.timeout_ms", 400)
        .with("node.worker_threads", 2)
        .with("log.level", "warn")
}

/// Where the present process listens: what every client of the node shares.
#[derive(Debug, Clone)]
pub struct Door {
    client: Client,
    at: Arc<Mutex<Option<(SocketAddr, SocketAddr)>>>,
    key: Arc<Mutex<String>>,
}

impl Door {
    /// As the seller, on the public port.
    pub async fn send(&self, call: &Call) -> Result<Answer, Lost> {
        let at = *self.at.lock().unwrap();
        let key = self.key.lock().unwrap().clone();
        let (public, _) = at.ok_or_else(|| Lost("no process".to_owned()))?;
        self.client.send(public, &key, call).await
    }

    /// As the operator, on the other one.
    pub async fn operate(&self, call: &Call) -> Result<Answer, Lost> {
        let at = *self.at.lock().unwrap();
        let (_, operator) = at.ok_or_else(|| Lost("no process".to_owned()))?;
        self.client.send(operator, "", call).await
    }

    /// Sends until there is an answer that binds: through restarts, and while the node is full or starting.
    pub async fn insist(&self, call: &Call) -> Answer {
        until(&call.to_string(), PATIENCE, || async {
            match self.send(call).await {
                Ok(answer) if answer.is_to_be_repeated() => Err(answer.to_string()),
                Ok(answer) => Ok(answer),
                Err(lost) => Err(lost.to_string()),
            }
        })
        .await
    }
}

/// A data folder, and the process that serves it, if one does.
#[derive(Debug)]
pub struct Node {
    // Declared before the folder: the process must be gone when the folder is removed.
    process: Option<Process>,
    settings: Settings,
    door: Door,
    /// Standard error of all processes so far that are gone.
    heard: String,
    folder: TempDir,
}

impl Node {
    /// A node that was never started, in an empty folder.
    pub fn new(settings: Settings) -> Self {
        let folder = tempfile::Builder::new().prefix("doorbuster-crash-").tempdir().expect("a temporary folder");
        let door = Door { client: Client::default(), at: Arc::default(), key: Arc::default() };
        Self { process: None, settings, door, heard: String::new(), folder }
    }

    /// One that serves.
    pub async fn started(settings: Settings) -> Self {
        let mut node = Self::new(settings);
        node.start().await;
        node
    }

    /// Where to reach it, now and after restarts.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A node with a copy of this one's folder, whose processes are gone, and with its key.
    pub fn copy(&self, settings: Settings) -> Self {
        assert!(self.process.is_none(), "copied while nobody writes");
        let node = Self::new(settings);
        *node.door.key.lock().unwrap() = self.door.key.lock().unwrap().clone();
        // `cp` keeps the holes in files that are longer than what is in them.
        let copied = std::process::Command::new("cp").arg("-a").args([self.data(), node.data()]).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy {}", self.data().display());
        node
    }

    /// Another process on the same folder and settings, whatever becomes of it: not the node's own.
    pub fn second_process(&self, arguments: &[&str]) -> Process {
        self.process_in(arguments, Vec::new())
    }

    fn process_in(&self, arguments: &[&str], environment: Vec<(String, String)>) -> Process {
        let mut settings = self
            .settings
            .clone()
            .with("node.data_folder", self.data().display())
            .with("api.listen", "127.0.0.1:0")
            .with("api.operator_listen", "127.0.0.1:0");
        for (name, value) in environment {
            settings = settings.variable(&name, value);
        }
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Process::start("doorbuster", PROGRAM, self.folder.path(), &arguments, &settings)
    }

    /// What starts this node's program as a shell would, for what `Process` does not do.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(PROGRAM);
        for (inherited, _) in std::env::vars_os() {
            if inherited.to_string_lossy().starts_with("DOORBUSTER") {
                command.env_remove(inherited);
            }
        }
        command.args(["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0", "--data"]).arg(self.data());
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a subcommand to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.second_process(arguments).ended(PATIENCE).await
    }

    /// Starts a process and does not wait until it serves.
    pub fn begin(&mut self) {
        assert!(self.process.is_none(), "one process at a time");
        self.process = Some(self.second_process(&[]));
    }

    /// Starts a process with these variables besides its settings, and does not wait until it serves.
    pub fn begin_with(&mut self, environment: Vec<(String, String)>) {
        assert!(self.process.is_none(), "one process at a time");
        self.process = Some(self.process_in(&[], environment));
    }

    /// Waits until the process that was begun serves, or has ended before it does: `false`.
    pub async fn serves_or_ends(&mut self) -> bool {
        // The address comes last but for the key of a first start.
        let serves = self.hear_address("operator").await.is_some();
        if serves {
            let process = self.process.as_mut().expect("begun");
            if self.door.key.lock().unwrap().is_empty() && process.stdout().contains("it is shown this once") {
                process.said("key ", PATIENCE).await;
            }
            self.serve().await;
        }
        serves
    }

    /// Waits until the process that was begun serves.
    pub async fn serve(&mut self) {
        let Some(address) = self.hear_address("public").await else {
            let process = self.process.as_mut().expect("begun");
            let ended = process.ended(PATIENCE).await;
            panic!("the node does not start, it ended with {}:\n{}", ended.status, ended.all());
        };
        let operator = self.hear_address("operator").await.expect("the line after it");
        if self.door.key.lock().unwrap().is_empty() {
            let process = self.process.as_mut().expect("begun");
            let key = process.said("key ", PATIENCE).await.expect("the first start shows a key");
            *self.door.key.lock().unwrap() = key;
        }
        *self.door.at.lock().unwrap() = Some((address, operator));
    }

    /// `begin` and `serve`.
    pub async fn start(&mut self) {
        self.begin();
        self.serve().await;
    }

    async fn hear_address(&mut self, which: &str) -> Option<SocketAddr> {
        let process = self.process.as_mut().expect("begun");
        let url = process.said(&format!("{which} http://"), PATIENCE).await?;
        Some(url.trim_end_matches('/').parse().expect("an address"))
    }

    /// The public address of the process that serves.
    pub fn public(&self) -> SocketAddr {
        self.door.at.lock().unwrap().expect("serving").0
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("running");
        *self.door.at.lock().unwrap() = None;
        process.kill().await.expect("a process of our own");
        self.heard.push_str(&process.stderr());
    }

    /// A signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("running").signal(name);
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        self.process.as_ref().expect("running").terminate();
    }

    /// Waits until the process ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> Ended {
        let ended = self.process.as_mut().expect("running").ended(patience).await;
        *self.door.at.lock().unwrap() = None;
        self.process = None;
        self.heard.push_str(&ended.stderr);
        ended
    }

    /// SIGTERM, and the wait for a clean end.
    pub async fn stop(&mut self) -> Ended {
        self.terminate();
        let ended = self.ended(PATIENCE).await;
        assert!(ended.status.success(), "SIGTERM ended it with {}:\n{}", ended.status, ended.all());
        ended
    }

    /// What the present process said on standard output.
    pub fn stdout(&self) -> String {
        self.process.as_ref().map(Process::stdout).unwrap_or_default()
    }

    /// Everything on standard error, of all processes.
    pub fn stderr(&self) -> String {
        format!("{}{}", self.heard, self.process.as_ref().map(Process::stderr).unwrap_or_default())
    }

    /// No process of this node ever panicked.
    #[track_caller]
    pub fn assert_no_panic(&self) {
        let heard = self.stderr();
        let panicked: Vec<&str> = heard.lines().filter(|line| line.contains("panicked")).collect();
        assert!(panicked.is_empty(), "the node panicked: {panicked:#?}");
    }
}
