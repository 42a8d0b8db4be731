//! A child process: what it says, how it is ended, and that it never outlives its test.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Lines that a child wrote, as far as they were read, and whether it closed the pipe.
#[derive(Debug, Default, Clone)]
struct Said {
    lines: Vec<String>,
    is_over: bool,
}

/// One running child.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    stdout: watch::Receiver<Said>,
    stderr: Arc<Mutex<String>>,
    stderr_over: watch::Receiver<Said>,
}

/// A child that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything on its standard output.
    pub stdout: String,
    /// Everything on its standard error.
    pub stderr: String,
}

impl Ended {
    /// Both outputs, for messages and searches.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Process {
    /// Starts `program` in `folder` with nothing of our own environment's settings but `variables`.
    pub fn start(
        name: &'static str,
        program: &str,
        folder: &Path,
        arguments: &[String],
        variables: &[(String, String)],
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).kill_on_drop(true);
        for (inherited, _) in std::env::vars_os() {
            if inherited.to_string_lossy().starts_with("DOORBUSTER") {
                command.env_remove(inherited);
            }
        }
        command.envs(variables.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {program}: {error}"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let stdout = listen(child.stdout.take().expect("piped"), None);
        let stderr_over = listen(child.stderr.take().expect("piped"), Some(Arc::clone(&stderr)));
        Self { name, child, stdout, stderr, stderr_over }
    }

    /// Waits for a line of standard output that begins with `word`, and gives the rest of it; `None`: it ended, or took too long.
    pub async fn said(&mut self, word: &str, patience: Duration) -> Option<String> {
        let find =
            |said: &Said| said.lines.iter().find_map(|line| line.strip_prefix(word).map(|rest| rest.trim().to_owned()));
        let heard = self.stdout.wait_for(|said| said.is_over || find(said).is_some());
        tokio::time::timeout(patience, heard).await.ok()?.ok().and_then(|said| find(&said))
    }

    /// What it said on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.borrow().lines.join("\n")
    }

    /// What it said on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// SIGKILL, and the wait until it is gone. All it wrote was read then.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap_or_else(|error| panic!("kill {}: {error}", self.name));
        self.hear_the_rest().await;
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let Some(id) = self.child.id() else { return };
        let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status();
        assert!(sent.is_ok_and(|status| status.success()), "send SIG{name} to {} ({id})", self.name);
    }

    /// Waits until it ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> Ended {
        let waited = tokio::time::timeout(patience, self.child.wait()).await;
        let Ok(status) = waited else {
            panic!("{} has not ended after {patience:?}; it said:\n{}\n{}", self.name, self.stdout(), self.stderr());
        };
        let status = status.unwrap_or_else(|error| panic!("wait for {}: {error}", self.name));
        self.hear_the_rest().await;
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Has it ended by itself?
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    async fn hear_the_rest(&mut self) {
        let over = |said: &Said| said.is_over;
        let both = async {
            self.stdout.wait_for(over).await.map(drop).ok();
            self.stderr_over.wait_for(over).await.map(drop).ok();
        };
        tokio::time::timeout(Duration::from_secs(5), both).await.ok();
    }
}

impl Drop for Process {
    /// A folder may be removed only once its process is gone, also when a test panics.
    fn drop(&mut self) {
        self.child.start_kill().ok();
        let until = Instant::now() + Duration::from_secs(5);
        while !self.is_over() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Reads a pipe to its end: lines for whoever waits, and all of it as text.
fn listen(pipe: impl AsyncRead + Send + Unpin + 'static, text: Option<Arc<Mutex<String>>>) -> watch::Receiver<Said> {
    let (tell, hear) = watch::channel(Said::default());
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match &text {
                Some(text) => {
                    let mut text = text.lock().unwrap();
                    text.push_str(&line);
                    text.push('\n');
                }
                None => tell.send_modify(|said| said.lines.push(line)),
            }
        }
        tell.send_modify(|said| said.is_over = true);
    });
    hear
}
