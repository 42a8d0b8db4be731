//! The nodes: processes of this executable, each with a data folder of its own, one keyspace for all.

use super::network::{Network, Processes};
use super::options::ClusterOptions;
use super::servers::{self, Cql, Redis};
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use doorbuster_bench::node::{
    Launch, Role, Said, Simulator, WantedKey, launch, paid_through, settings_for_load, spawn_command,
};
use doorbuster_test_kit::process::Process;
use doorbuster_test_kit::settings::Settings;
use futures_util::future::try_join_all;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A command that makes the schema or a key has done so by then.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// A node that got SIGTERM is gone by then: its own limit for draining is shorter.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// All nodes serve by then.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// One node.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its configured name.
    pub(crate) name: String,
    /// Where shoppers and sellers reach it, with the key of the run.
    pub(crate) public: Target,
    /// Where operators reach it.
    pub(crate) operator: Target,
    folder: PathBuf,
    log: PathBuf,
    settings: Settings,
    process: Option<Process>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// By index; the names are `node1`, `node2`, …
    pub(crate) members: Vec<Member>,
    /// The nodes that ended by themselves, and why; each was started again, as a supervisor would.
    pub(crate) ended_by_themselves: Vec<String>,
    processes: Processes,
}

/// What all nodes of a run share.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    /// What was asked for.
    pub(crate) options: &'a ClusterOptions,
    /// How many nodes.
    pub(crate) nodes: usize,
    /// Below it each node has its folder.
    pub(crate) folder: &'a Path,
    /// The store.
    pub(crate) cql: &'a Cql,
    /// The cache.
    pub(crate) redis: Option<&'a Redis>,
    /// The provider.
    pub(crate) simulator: &'a Simulator,
    /// The paths, where they can be cut.
    pub(crate) network: Option<&'a Network>,
    /// The keyspace of this run, and the prefix of its keys in Redis.
    pub(crate) keyspace: &'a str,
    /// The process of each node.
    pub(crate) processes: &'a Processes,
}

/// A list as `cluster.toml` writes it.
fn list(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(","))
}

/// What differs from the built-in settings for the node of this index.
fn settings(ground: &Ground<'_>, index: usize, cookie: &str) -> Settings {
    let paths = ground.network.and_then(|network| network.paths(index));
    let cql = paths.map_or(ground.cql.addresses.as_slice(), |paths| paths.cql.as_slice());
    let mut settings = settings_for_load()
        .with("log.level", &ground.options.log_level)
        .with("node.name", name(index))
        .with("node.data_folder", ground.folder.join(name(index)).join("data").display())
        .with("node.shards", ground.options.shards)
        .with("journal.kind", "cql")
        .with("cql.contact_points", list(cql))
        .with("cql.keyspace", ground.keyspace)
        .with("cql.replication_factor", ground.cql.replication())
        .with("cluster.cookie", cookie)
        .with("cluster.listen", paths.map_or_else(|| "127.0.0.1:0".to_owned(), |paths| paths.listen.to_string()));
    settings = paid_through(settings, ground.simulator.target.address);
    if let Some(paths) = paths {
        settings = settings.with("cluster.advertise", paths.advertise);
    }
    if let Some(redis) = ground.redis {
        let address = paths.and_then(|paths| paths.redis).unwrap_or(redis.address);
        settings = settings.with("redis.url", format!("redis://{address}/")).with("redis.prefix", ground.keyspace);
    }
    settings
}

fn name(index: usize) -> String {
    format!("node{}", index + 1)
}

/// A secret that only the nodes of this run share, in hexadecimal.
fn fresh_cookie() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

impl Fleet {
    /// Makes the schema, starts all nodes, makes the key, and waits until all serve.
    pub(crate) async fn start(ground: &Ground<'_>) -> Result<Self, BenchError> {
        let cookie = fresh_cookie();
        let mut members = Vec::new();
        for index in 0..ground.nodes {
            let folder = ground.folder.join(name(index));
            std::fs::create_dir_all(&folder)
                .map_err(|source| BenchError::io(format!("create {}", folder.display()), source))?;
            let toml = "# Made by the harness; what differs from the defaults comes by environment variables.\n";
            let path = folder.join("cluster.toml");
            std::fs::write(&path, toml)
                .map_err(|source| BenchError::io(format!("write {}", path.display()), source))?;
            let log = match &ground.options.logs {
                Some(logs) => {
                    std::fs::create_dir_all(logs)
                        .map_err(|source| BenchError::io(format!("create {}", logs.display()), source))?;
                    std::path::absolute(logs)
                        .map_err(|source| BenchError::io("find the folder of the logs", source))?
                        .join(format!("{}.log", name(index)))
                }
                None => folder.join("log"),
            };
            let nowhere = Target { address: SocketAddr::from(([127, 0, 0, 1], 0)), key: String::new() };
            members.push(Member {
                name: name(index),
                public: nowhere.clone(),
                operator: nowhere,
                folder,
                log,
                settings: settings(ground, index, &cookie),
                process: None,
            });
        }
        let first = members.first().ok_or_else(|| BenchError::Input("a cluster has a node at least".to_owned()))?;
        run_command(first, &["schema", "apply"]).await?;
        let starts = members
            .iter()
            .zip(ground.processes.iter())
            .map(|(member, process)| member.launch(WantedKey::Perhaps, process));
        let started = try_join_all(starts).await?;
        let said_key = started.iter().find_map(|(_, said)| said.key.clone());
        for (member, (process, said)) in members.iter_mut().zip(started) {
            member.process = Some(process);
            member.public.address = said.public;
            member.operator.address = said.operator;
        }
        let mut fleet = Self { members, ended_by_themselves: Vec::new(), processes: Arc::clone(ground.processes) };
        let key = match said_key {
            Some(key) => key,
            None => fleet.make_key().await?,
        };
        for member in &mut fleet.members {
            member.public.key.clone_from(&key);
        }
        fleet.wait_until_ready().await?;
        Ok(fleet)
    }

    /// One key for the whole cluster, where no start has made one.
    async fn make_key(&self) -> Result<String, BenchError> {
        let first =
            self.members.first().ok_or_else(|| BenchError::Input("a cluster has a node at least".to_owned()))?;
        let scopes = doorbuster_node::cli::all_scopes();
        let said = run_command(first, &["key", "create", "--account", "sel_main", "--scopes", &scopes]).await?;
        let key = said.split_whitespace().find(|word| word.starts_with("sk_"));
        key.map(str::to_owned).ok_or_else(|| BenchError::Node(format!("`key create` said no key:\n{said}")))
    }

    async fn wait_until_ready(&self) -> Result<(), BenchError> {
        let began = Instant::now();
        for member in &self.members {
            let mut caller = Caller::new(member.operator.clone());
            while !is_ready(&mut caller).await {
                if began.elapsed() > READY_LIMIT {
                    return Err(BenchError::Node(format!(
                        "{} does not serve after {} s{}",
                        member.name,
                        READY_LIMIT.as_secs(),
                        member.last_words()
                    )));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn parts(&mut self, index: usize) -> Result<(&mut Member, &AtomicU32), BenchError> {
        let missing = || BenchError::Input(format!("there is no node {}", index + 1));
        let process = self.processes.get(index).ok_or_else(missing)?;
        Ok((self.members.get_mut(index).ok_or_else(missing)?, process))
    }

    /// The process of a node.
    pub(crate) fn process(&self, index: usize) -> Option<u32> {
        self.processes.get(index).map(|process| process.load(Ordering::Relaxed)).filter(|process| *process != 0)
    }

    /// SIGKILL, and the wait until the process is gone.
    pub(crate) async fn kill(&mut self, index: usize) -> Result<(), BenchError> {
        let (member, number) = self.parts(index)?;
        if let Some(mut process) = member.process.take() {
            process.kill().await.map_err(|source| BenchError::io(format!("kill {}", member.name), source))?;
        }
        number.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// SIGTERM, and the wait until the process has ended by itself. `false`: it had to be killed, or said that it failed.
    pub(crate) async fn stop(&mut self, index: usize) -> Result<bool, BenchError> {
        let (member, number) = self.parts(index)?;
        let Some(mut process) = member.process.take() else { return Ok(true) };
        process.terminate();
        // Its standard input stays open meanwhile: a node whose input ends takes the harness for dead and leaves at once.
        let ended = tokio::time::timeout(STOP_LIMIT, process.wait()).await;
        if ended.is_err() {
            process.kill().await.map_err(|source| BenchError::io(format!("kill {}", member.name), source))?;
        }
        number.store(0, Ordering::Relaxed);
        Ok(matches!(ended, Ok(Ok(status)) if status.success()))
    }

    /// SIGSTOP for `seconds`.
    pub(crate) fn pause(&self, index: usize, seconds: u64) -> Result<(), BenchError> {
        let process =
            self.process(index).ok_or_else(|| BenchError::Node(format!("node {} does not run", index + 1)))?;
        servers::pause(process, seconds)
    }

    /// Starts a node again under its name, on its folder, at its addresses for shoppers and operators.
    pub(crate) async fn restart(&mut self, index: usize) -> Result<(), BenchError> {
        let (member, process) = self.parts(index)?;
        let (started, _said) = member.launch(WantedKey::No, process).await?;
        member.process = Some(started);
        Ok(())
    }

    /// Starts again every node that has ended by itself. Such an end is lawful (a node that finds itself replaced, or its store gone for
    /// good, says so and ends), and is reported.
    pub(crate) async fn tend(&mut self) -> Result<(), BenchError> {
        for index in 0..self.members.len() {
            let (member, number) = self.parts(index)?;
            let Some(status) = member.process.as_mut().and_then(Process::status) else { continue };
            number.store(0, Ordering::Relaxed);
            member.process = None;
            let told = format!("{} ended by itself: {}{}", member.name, shown(status), member.last_words());
            self.ended_by_themselves.push(told);
            self.restart(index).await?;
        }
        Ok(())
    }

    /// The operator ports of all nodes.
    pub(crate) fn operators(&self) -> Vec<Target> {
        self.members.iter().map(|member| member.operator.clone()).collect()
    }

    /// The nodes' figures, in their text form.
    pub(crate) async fn metrics(&self) -> Result<Vec<String>, BenchError> {
        let mut texts = Vec::new();
        for operator in self.operators() {
            let answer = Caller::new(operator).get("/metrics").await?;
            texts.push(String::from_utf8_lossy(&answer.body).into_owned());
        }
        Ok(texts)
    }

    /// The public ports of all nodes.
    pub(crate) fn publics(&self) -> Vec<Target> {
        self.members.iter().map(|member| member.public.clone()).collect()
    }
}

fn shown(status: ExitStatus) -> String {
    status.to_string()
}

/// Does the node say that it serves?
pub(crate) async fn is_ready(caller: &mut Caller) -> bool {
    use doorbuster_bench::api::Request;
    let asked = caller.once(Request { method: "GET", path: "/readyz", key: None, wait_s: None, body: b"" });
    matches!(tokio::time::timeout(Duration::from_secs(2), asked).await, Ok(Ok((answer, _))) if answer.is_ok())
}

impl Member {
    async fn launch(&self, wanted: WantedKey, process: &AtomicU32) -> Result<(Process, Said), BenchError> {
        let settings = self
            .settings
            .clone()
            .with("api.listen", self.public.address)
            .with("api.operator_listen", self.operator.address);
        let mut how = Launch::new(&self.folder, &settings, wanted);
        how.log = Some(&self.log);
        how.process = Some(process);
        launch(&how).await.map_err(|error| BenchError::Node(format!("{}: {error}{}", self.name, self.last_words())))
    }

    /// The end of its log, for a message that says why it does not run.
    fn last_words(&self) -> String {
        const LINES: usize = 8;
        let text =
            std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(LINES).collect();
        lines.iter().rev().map(|line| format!("\n    {line}")).collect()
    }
}

/// Runs a subcommand with a node's settings to its end, and returns what it said.
async fn run_command(member: &Member, words: &[&str]) -> Result<String, BenchError> {
    let what = format!("doorbuster {}", words.join(" "));
    let mut command = spawn_command(Role::Node, &member.folder)?;
    // Its standard input stays open until it has ended: at the end of it the process would leave.
    command.args(words).envs(member.settings.variables()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|source| BenchError::io(&what, source))?;
    let input = child.stdin.take();
    let ended = tokio::time::timeout(COMMAND_LIMIT, child.wait_with_output()).await;
    drop(input);
    let ended =
        ended.map_err(|_elapsed| BenchError::Node(format!("{what}: not done in {} s", COMMAND_LIMIT.as_secs())))?;
    let ended = ended.map_err(|source| BenchError::io(&what, source))?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        Ok(said)
    } else {
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        Err(BenchError::Node(format!("{what}: {}: {said}{error}", ended.status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_lawful_toml() {
        let addresses = ["127.0.0.1:9042".parse().unwrap(), "127.0.0.2:9042".parse().unwrap()];
        assert_eq!(list(&addresses), r#"["127.0.0.1:9042","127.0.0.2:9042"]"#);
    }

    #[test]
    fn each_run_has_a_cookie_of_its_own() {
        let cookie = fresh_cookie();
        assert!(cookie.len() == 64 && cookie.bytes().all(|byte| byte.is_ascii_hexdigit()) && cookie != fresh_cookie());
    }
}
