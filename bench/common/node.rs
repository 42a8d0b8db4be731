//! A node that the harness starts itself: from this very executable, on free ports, in a temporary folder, and gone afterwards.
//!
//! ```text
//! harness ──spawns──► harness __node  (the same code as the `doorbuster` binary)
//!    ▲                    │ public http://… · operator http://… · key sk_…
//!    └────────────────────┘ on its standard output
//! ```
//!
//! `cargo run --bin flash-sale` builds that one binary only, so a node beside it may be missing or old. A child is killed when its
//! handle is dropped (return, panic, ctrl-c); should the harness itself be killed, the child sees its standard input end and leaves.

use super::api::Target;
use super::error::BenchError;
use doorbuster_test_kit::process::Process;
use doorbuster_test_kit::settings::Settings;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::process::Command;

/// How long a child may take until it has written its addresses; recovering a long log is part of it.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long the key is waited for after the addresses. Of several nodes only the one that made it writes it.
const KEY_LIMIT: Duration = Duration::from_secs(1);

/// What this executable can be besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The node under test.
    Node,
    /// The payment provider as a process of its own.
    Simulator,
    /// A warp server that answers a fixed text: the ceiling.
    Bare,
}

impl Role {
    const ALL: [Self; 3] = [Self::Node, Self::Simulator, Self::Bare];

    /// The hidden subcommand.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Node => "__node",
            Self::Simulator => "__payment_simulator",
            Self::Bare => "__bare",
        }
    }

    /// The role that the command line asks for, and the arguments behind it.
    pub fn asked(arguments: impl IntoIterator<Item = OsString>) -> Option<(Self, Vec<OsString>)> {
        let mut arguments = arguments.into_iter().skip(1);
        let word = arguments.next()?;
        let role = Self::ALL.into_iter().find(|role| word == role.word())?;
        Some((role, arguments.collect()))
    }
}

/// The command that starts this executable in `role`, in `folder`.
pub fn spawn_command(role: Role, folder: &Path) -> Result<Command, BenchError> {
    let own = std::env::current_exe().map_err(|source| BenchError::io("find this executable", source))?;
    let mut command = Command::new(own);
    command.arg(role.word()).current_dir(folder).stdin(Stdio::piped());
    Ok(command)
}

/// Becomes the node or the payment simulator: what the hidden subcommands do.
pub fn become_program(role: Role, arguments: Vec<OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from(role.word())).chain(arguments);
    match role {
        Role::Simulator => doorbuster_simulator::command::run(words),
        Role::Node | Role::Bare => match doorbuster_node::cli::parse(words) {
            Ok(asked) => doorbuster_node::commands::run(asked),
            Err(code) => code,
        },
    }
}

/// Ends this process when its parent is gone: its standard input, to which nothing is written, then ends.
pub fn leave_with_parent() {
    std::thread::spawn(|| {
        use std::io::Read;
        let mut nothing = [0_u8; 64];
        while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
        std::process::exit(70);
    });
}

/// A folder that is gone when its handle is.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// A new folder in `parent`, or in the system's place for such.
    pub fn new(parent: Option<&Path>) -> Result<Self, BenchError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(format!("doorbuster-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path)
            .map_err(|source| BenchError::io(format!("create {}", path.display()), source))?;
        Ok(Self(path))
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // A child that was killed a moment ago may still be writing: what it adds behind our back is removed with the next try.
        for _ in 0..50 {
            if std::fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("could not remove {}", self.0.display());
    }
}

/// Room for a crowd from one address, and only warnings in the log: both would otherwise measure the limit, not the node.
#[must_use]
pub fn settings_for_load() -> Settings {
    Settings::default()
        .with("api.connections_max", 10_000)
        .with("api.connections_per_address_max", 10_000)
        .with("log.level", "warn")
}

/// No tax and no shipping: an order costs what its lines cost.
#[must_use]
pub fn without_tax_and_shipping(settings: Settings) -> Settings {
    settings.with("tax.charge", false).with("shipping.charge", false)
}

/// Payments by a process of their own, so that its ledger survives the node.
#[must_use]
pub fn paid_through(settings: Settings, simulator: SocketAddr) -> Settings {
    settings
        .with("payments.provider", "http")
        .with("payments.url", format!("http://{simulator}"))
        // "flash-sale harness secret" in base64: nothing calls back, but the setting must be there.
        .with("payments.webhook_secret", "whsec_Zmxhc2gtc2FsZSBoYXJuZXNzIHNlY3JldA==")
}

/// A node that runs, and how to start it again on the same folder and ports.
#[derive(Debug)]
pub struct Node {
    process: Process,
    settings: Settings,
    folder: PathBuf,
    /// Where shoppers and sellers go, with the key that was made on the first start.
    pub public: Target,
    /// Where operators go.
    pub operator: Target,
}

impl Node {
    /// Starts a node whose data is in `folder`, on free ports.
    pub async fn start(folder: &Path, settings: Settings) -> Result<Self, BenchError> {
        let settings = settings.with("node.data_folder", folder.join("data").display());
        let toml = "# Made by the harness; what differs from the defaults comes by environment variables.\n";
        let path = folder.join("cluster.toml");
        std::fs::write(&path, toml).map_err(|source| BenchError::io(format!("write {}", path.display()), source))?;
        let free = settings.clone().with("api.listen", "127.0.0.1:0").with("api.operator_listen", "127.0.0.1:0");
        let (process, said) = launch(&Launch::new(folder, &free, WantedKey::Must)).await?;
        let public = Target { address: said.public, key: said.key.unwrap_or_default() };
        let operator = Target { address: said.operator, key: String::new() };
        Ok(Self { process, settings, folder: folder.to_owned(), public, operator })
    }

    /// SIGKILL, and the wait until the process is gone.
    pub async fn kill(&mut self) -> Result<(), BenchError> {
        self.process.kill().await.map_err(|source| BenchError::io("kill the node", source))
    }

    /// SIGTERM, and the wait until the process is gone: it answers what it accepted and stores everything.
    pub async fn terminate(&mut self) -> Result<(), BenchError> {
        self.process.terminate();
        self.process.wait().await.map(drop).map_err(|source| BenchError::io("wait for the node", source))
    }

    /// The process's number, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Starts it again on the same folder, at the same addresses.
    pub async fn restart(&mut self) -> Result<(), BenchError> {
        let same = self
            .settings
            .clone()
            .with("api.listen", self.public.address)
            .with("api.operator_listen", self.operator.address);
        let (process, _said) = launch(&Launch::new(&self.folder, &same, WantedKey::No)).await?;
        self.process = process;
        Ok(())
    }

    /// Memory of the process that is in RAM, in bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        const PAGE_BYTES: u64 = 4096;
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id()?)).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
    }
}

/// A payment simulator that runs, with a slow profile, and its ledger in `folder`.
#[derive(Debug)]
pub struct Simulator {
    _process: Process,
    /// Where it listens.
    pub target: Target,
}

impl Simulator {
    /// Starts it. It sends no webhooks: every answer that got lost must be asked for, which is the harder case.
    pub async fn start(folder: &Path, seed: u64, profile: &str) -> Result<Self, BenchError> {
        let mut command = spawn_command(Role::Simulator, folder)?;
        command.args(["--listen", "127.0.0.1:0", "--profile", profile]);
        command.arg("--seed").arg(seed.to_string()).arg("--ledger").arg(folder.join("ledger"));
        let process = Process::spawn("payment simulator", &mut command);
        let process = process.map_err(|source| BenchError::io("start the payment simulator", source))?;
        let address = process.line(START_LIMIT, |line| line.split_whitespace().find_map(address_of)).await;
        let address =
            address.ok_or_else(|| BenchError::Node("the payment simulator did not say where it listens".into()))?;
        Ok(Self { _process: process, target: Target { address, key: String::new() } })
    }
}

/// What a node says of itself when it has started.
#[derive(Debug)]
pub struct Said {
    /// Where shoppers and sellers go.
    pub public: SocketAddr,
    /// Where operators go.
    pub operator: SocketAddr,
    /// The key that this start made.
    pub key: Option<String>,
}

/// Is a key expected of this start?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedKey {
    /// It makes one: the first start on an empty folder.
    Must,
    /// One of several nodes that start together makes it.
    Perhaps,
    /// It was made before.
    No,
}

/// How a node is started.
#[derive(Debug)]
pub struct Launch<'a> {
    folder: &'a Path,
    settings: &'a Settings,
    key: WantedKey,
    /// Where its log goes; otherwise to our standard error.
    pub log: Option<&'a Path>,
    /// Holds the process's number from the moment there is one.
    pub process: Option<&'a AtomicU32>,
}

impl<'a> Launch<'a> {
    /// A start in `folder`.
    pub const fn new(folder: &'a Path, settings: &'a Settings, key: WantedKey) -> Self {
        Self { folder, settings, key, log: None, process: None }
    }
}

/// Starts a node, and waits until it has said its addresses.
pub async fn launch(how: &Launch<'_>) -> Result<(Process, Said), BenchError> {
    let mut command = spawn_command(Role::Node, how.folder)?;
    command.envs(how.settings.variables());
    if let Some(path) = how.log {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        command.stderr(file.map_err(|source| BenchError::io(format!("write {}", path.display()), source))?);
    }
    let process = Process::spawn("node", &mut command).map_err(|source| BenchError::io("start the node", source))?;
    if let Some(number) = how.process {
        number.store(process.id().unwrap_or(0), Ordering::Relaxed);
    }
    match said_by(&process, how.key).await {
        Some(said) => Ok((process, said)),
        None => Err(BenchError::Node(format!("the node did not start; it said:\n{}", process.stdout()))),
    }
}

/// Waits until everything needed was said; `None`: its output ended before, or it took too long.
async fn said_by(process: &Process, wanted: WantedKey) -> Option<Said> {
    let public = address_of(&process.said("public ", START_LIMIT).await?)?;
    let operator = address_of(&process.said("operator ", START_LIMIT).await?)?;
    let key = match wanted {
        WantedKey::Must => Some(process.said("key ", START_LIMIT).await?),
        WantedKey::Perhaps => process.said("key ", KEY_LIMIT).await,
        WantedKey::No => None,
    };
    let key = key.and_then(|said| said.split_whitespace().next().map(str::to_owned));
    Some(Said { public, operator, key })
}

fn address_of(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hidden_word_in_the_first_place_makes_another_program_of_it() {
        let asked =
            |words: &[&str]| Role::asked(words.iter().map(OsString::from)).map(|(role, rest)| (role, rest.len()));
        assert_eq!(asked(&["flash-sale", "__node", "x"]), Some((Role::Node, 1)));
        assert_eq!(asked(&["flash-sale", "replay", "__node"]), None);
        assert_eq!(asked(&["flash-sale"]), None);
    }

    #[test]
    fn a_temporary_folder_is_gone_with_its_handle() {
        let folder = TemporaryFolder::new(None).unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("x"), "y").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
