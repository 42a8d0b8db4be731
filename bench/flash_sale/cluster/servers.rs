//! The store and the cache that the nodes share: started for this run, or addresses of what runs already.
//!
//! What was started ends with its handle; should this process be killed, the script's own watch ends it.

use super::options::ClusterOptions;
use doorbuster_bench::error::BenchError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Downloading Cassandra once, and up to three attempts to start three nodes of it.
const START_LIMIT: Duration = Duration::from_secs(900);
/// A signal, a restart of Redis, a statement.
const SHORT_LIMIT: Duration = Duration::from_secs(60);

/// A script of `tests/servers`, with the folder that it uses.
#[derive(Debug)]
struct Script {
    path: PathBuf,
    folder: PathBuf,
}

impl Script {
    /// Beside the sources that this program was built from, or below the current folder.
    fn find(name: &str, folder: &Path) -> Result<Self, BenchError> {
        let below = |root: &Path| root.join("tests/servers").join(name);
        let candidates = [below(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))), below(Path::new("."))];
        let path = candidates.into_iter().find(|path| path.exists());
        let path = path.ok_or_else(|| {
            BenchError::Input(format!(
                "tests/servers/{name} is not there: give --cql and --redis addresses, or run this in the repository"
            ))
        })?;
        Ok(Self { path, folder: folder.join(name) })
    }

    /// Runs `start` and reads the addresses it prints.
    async fn start(&self, arguments: &[String]) -> Result<Vec<SocketAddr>, BenchError> {
        let what = format!("{} start", self.path.display());
        let mut command = Command::new("bash");
        command.arg(&self.path).arg("start").arg("--dir").arg(&self.folder);
        command.arg("--owner").arg(std::process::id().to_string()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|source| BenchError::io(&what, source))?;
        let ended = tokio::time::timeout(START_LIMIT, child.wait_with_output()).await;
        let ended =
            ended.map_err(|_elapsed| BenchError::Node(format!("{what}: not done in {} s", START_LIMIT.as_secs())))?;
        let ended = ended.map_err(|source| BenchError::io(&what, source))?;
        if !ended.status.success() {
            return Err(BenchError::Node(format!("{what}: {}", ended.status)));
        }
        addresses(&String::from_utf8_lossy(&ended.stdout))
            .map_err(|line| BenchError::Node(format!("{what} said `{line}`")))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let stop =
            std::process::Command::new("bash").arg(&self.path).arg("stop").arg("--dir").arg(&self.folder).status();
        if !stop.is_ok_and(|status| status.success()) {
            eprintln!("could not stop what runs in {}", self.folder.display());
        }
    }
}

/// One `host:port` a line; `Err`: the line that is none.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    text.split_whitespace().map(|line| line.parse().map_err(|_no_address| line.to_owned())).collect()
}

async fn resolve(text: &str) -> Result<SocketAddr, BenchError> {
    let found = tokio::net::lookup_host(text).await;
    let mut found = found.map_err(|source| BenchError::io(format!("look up {text}"), source))?;
    found.next().ok_or_else(|| BenchError::Input(format!("{text} has no address")))
}

/// The CQL servers, with the keyspace of this run.
#[derive(Debug)]
pub(crate) struct Cql {
    /// Where they are.
    pub(crate) addresses: Vec<SocketAddr>,
    /// They were started for this run.
    pub(crate) own: bool,
    _script: Option<Script>,
}

impl Cql {
    /// Starts them below `folder`, or takes the addresses.
    pub(crate) async fn get(options: &ClusterOptions, folder: &Path) -> Result<Self, BenchError> {
        if options.cql.is_empty() {
            let script = Script::find("cassandra", folder)?;
            println!("store      starting {} of Apache Cassandra", options.nodes_cql);
            let addresses = script.start(&["--nodes".to_owned(), options.nodes_cql.to_string()]).await?;
            return Ok(Self { addresses, own: true, _script: Some(script) });
        }
        let mut addresses = Vec::new();
        for text in &options.cql {
            addresses.push(resolve(text).await?);
        }
        Ok(Self { addresses, own: false, _script: None })
    }

    /// In how many copies the keyspace is kept: on as many servers as there are, at most three.
    pub(crate) fn replication(&self) -> usize {
        self.addresses.len().clamp(1, 3)
    }

    /// Removes a keyspace from servers that go on; those of this run go as a whole.
    pub(crate) async fn drop_keyspace(&self, keyspace: &str) -> Result<(), BenchError> {
        if self.own {
            return Ok(());
        }
        let nodes = self.addresses.iter().map(ToString::to_string);
        let work = async {
            let session = scylla::client::session_builder::SessionBuilder::new().known_nodes(nodes).build().await;
            let session = session.map_err(|error| error.to_string())?;
            let statement = format!("DROP KEYSPACE IF EXISTS {keyspace}");
            session.query_unpaged(statement, ()).await.map(drop).map_err(|error| error.to_string())
        };
        let done = tokio::time::timeout(SHORT_LIMIT, work).await;
        let done = done.unwrap_or_else(|_elapsed| Err(format!("not done in {} s", SHORT_LIMIT.as_secs())));
        done.map_err(|why| BenchError::Node(format!("drop keyspace {keyspace}: {why}")))
    }
}

/// Redis, if there is one.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Where it is.
    pub(crate) address: SocketAddr,
    script: Option<Script>,
}

impl Redis {
    /// Starts it below `folder`, or takes the address; `None`: the run is without.
    pub(crate) async fn get(options: &ClusterOptions, folder: &Path) -> Result<Option<Self>, BenchError> {
        if options.no_redis {
            return Ok(None);
        }
        if let Some(text) = &options.redis {
            return Ok(Some(Self { address: resolve(text).await?, script: None }));
        }
        let script = Script::find("redis", folder)?;
        let address = script.start(&[]).await?.first().copied();
        let address = address.ok_or_else(|| BenchError::Node("Redis did not say where it listens".to_owned()))?;
        Ok(Some(Self { address, script: Some(script) }))
    }

    /// Was it started for this run? Only then anything is done to it.
    pub(crate) const fn is_own(&self) -> bool {
        self.script.is_some()
    }

    fn process(&self) -> Result<u32, BenchError> {
        let script =
            self.script.as_ref().ok_or_else(|| BenchError::Input("a Redis of others is left alone".to_owned()))?;
        let path = script.folder.join("pid");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| BenchError::io(format!("read {}", path.display()), source))?;
        text.trim().parse().map_err(|_no_number| BenchError::Node(format!("{} holds no process", path.display())))
    }

    /// Everything in it is gone.
    pub(crate) async fn flush(&self) -> Result<(), BenchError> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        self.process()?;
        let work = async {
            let mut stream = tokio::net::TcpStream::connect(self.address).await?;
            stream.write_all(b"FLUSHALL\r\n").await?;
            let mut answer = [0; 3];
            stream.read_exact(&mut answer).await.map(|_read| answer == *b"+OK")
        };
        match tokio::time::timeout(SHORT_LIMIT, work).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(source)) => Err(BenchError::io("flush Redis", source)),
            _ => Err(BenchError::Node("Redis did not flush".to_owned())),
        }
    }

    /// SIGKILL; it comes back empty, at the same address, with [`Redis::restart`].
    pub(crate) async fn kill(&self) -> Result<(), BenchError> {
        signal(self.process()?, "KILL").await
    }

    /// Starts it where it was.
    pub(crate) async fn restart(&self) -> Result<(), BenchError> {
        let Some(script) = &self.script else { return Ok(()) };
        script.start(&["--port".to_owned(), self.address.port().to_string()]).await.map(drop)
    }

    /// SIGSTOP for so long: it accepts and does not answer.
    pub(crate) fn hang(&self, for_s: u64) -> Result<(), BenchError> {
        pause(self.process()?, for_s)
    }
}

/// Sends a signal by name, and waits until it is sent.
pub(crate) async fn signal(process: u32, name: &str) -> Result<(), BenchError> {
    let what = format!("send SIG{name} to process {process}");
    let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "signal", name, &process.to_string()]).status();
    match tokio::time::timeout(SHORT_LIMIT, sent).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Err(source)) => Err(BenchError::io(what, source)),
        _ => Err(BenchError::Node(format!("{what}: not done"))),
    }
}

/// Stops a process for `seconds`. A shell does it: whatever becomes of this program, the process goes on, and sees then
/// that we are gone.
pub(crate) fn pause(process: u32, seconds: u64) -> Result<(), BenchError> {
    let script = "kill -s STOP \"$1\" && sleep \"$2\"; kill -s CONT \"$1\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "pause", &process.to_string(), &seconds.to_string()]);
    let mut shell = command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| BenchError::io(format!("stop process {process}"), source))?;
    // The exit status must be collected, though it is not needed.
    std::thread::spawn(move || drop(shell.wait()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_prints_one_address_a_line() {
        let two = addresses("127.0.0.1:9042\n127.0.0.2:9042\n").unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(addresses("starting\n"), Err("starting".to_owned()));
    }

    /// The letter by which the kernel says what a process is doing.
    fn state(process: u32) -> char {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        text.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    #[tokio::test]
    async fn a_paused_process_goes_on_by_itself() {
        if !Path::new("/proc/self/stat").exists() {
            return;
        }
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let process = child.id().unwrap();
        pause(process, 1).unwrap();
        let until = async |wanted: fn(char) -> bool| {
            while !wanted(state(process)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let both = async {
            until(|state| state == 'T').await;
            until(|state| state != 'T').await;
        };
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("it stops and goes on");
        signal(process, "KILL").await.unwrap();
        assert!(!child.wait().await.unwrap().success());
    }
}
