//! Processes that are started, killed and started again, in a folder that is gone with its handle.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// A server that does not come up in this time is not measured.
pub const START_MAX: Duration = Duration::from_secs(60);

/// A folder that is gone when its handle is.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(parent: &Path, name: &str) -> Result<Self, String> {
        let path = parent.join(format!("peers-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("create {}: {error}", path.display()))?;
        // PostgreSQL runs as somebody else.
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&path, all).map_err(|error| format!("open {}: {error}", path.display()))?;
        Ok(Self(path))
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("could not remove {}", self.0.display());
    }
}

/// A port that is free now.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Starts a process that dies with its handle. Its output goes to a file in the folder.
pub fn spawn(command: &mut Command, log: &Path) -> Result<Child, String> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    let file = file.map_err(|error| format!("write {}: {error}", log.display()))?;
    let other = file.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(file).stderr(other).kill_on_drop(true);
    command.spawn().map_err(|error| format!("start {:?}: {error}", command.as_std().get_program()))
}

/// SIGKILL to a process and all its children; gives the instant before the first.
pub async fn kill_all(child: &mut Child) -> Result<Instant, String> {
    let parent = child.id().ok_or("it is gone already")?;
    let children = children_of(parent);
    let at = Instant::now();
    child.start_kill().map_err(|error| error.to_string())?;
    for child in children {
        // One that ended by itself meanwhile is dead as well.
        drop(Command::new("kill").args(["-9", &child.to_string()]).stderr(Stdio::null()).status().await);
    }
    child.wait().await.map_err(|error| error.to_string())?;
    Ok(at)
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            after_name.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok()) == Some(parent)
        })
        .collect()
}

/// Asks until the answer is yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < START_MAX {
        if ready().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err(format!("{what} did not come up in {START_MAX:?}"))
}
