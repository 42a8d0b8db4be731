//! A child process: what it says, how it is ended, and that it never outlives its test.

use crate::settings::Settings;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// Lines that a child wrote, as far as they were read, and whether it closed the pipe.
#[derive(Debug, Default, Clone)]
struct Said {
    lines: Vec<String>,
    is_over: bool,
}

/// One running child. It is killed when its handle is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
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
    /// Starts what `command` says, as `name` in messages. Standard output is read; standard error too, if the command pipes it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> io::Result<Self> {
        command.kill_on_drop(true).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().map_or_else(over, |pipe| listen(pipe, None));
        let stderr_over = child.stderr.take().map_or_else(over, |pipe| listen(pipe, Some(Arc::clone(&stderr))));
        Ok(Self { name: name.to_owned(), child, stdout, stderr, stderr_over })
    }

    /// Starts `program` in `folder`, with its standard error read, and with no setting of a node in its environment but `settings`.
    pub fn start(name: &str, program: &str, folder: &Path, arguments: &[String], settings: &Settings) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::piped());
        for (inherited, _) in std::env::vars_os() {
            if inherited.to_string_lossy().starts_with("DOORBUSTER") {
                command.env_remove(inherited);
            }
        }
        command.envs(settings.variables());
        Self::spawn(name, &mut command).unwrap_or_else(|error| panic!("start {program}: {error}"))
    }

    /// The process's number, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its standard input, if the command pipes it. Unless it is taken, it stays open until the process has ended.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for a line of standard output in which `find` finds something; `None`: it ended, or took longer than `patience`.
    pub async fn line<T>(&self, patience: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let found = |said: &Said| said.lines.iter().find_map(|line| find(line));
        let mut stdout = self.stdout.clone();
        let heard = stdout.wait_for(|said| said.is_over || found(said).is_some());
        tokio::time::timeout(patience, heard).await.ok()?.ok().and_then(|said| found(&said))
    }

    /// Waits for a line of standard output that begins with `word`, and gives the rest of it; `None`: it ended, or took longer.
    pub async fn said(&self, word: &str, patience: Duration) -> Option<String> {
        self.line(patience, |line| line.strip_prefix(word).map(|rest| rest.trim().to_owned())).await
    }

    /// What it said on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.borrow().lines.join("\n")
    }

    /// What it said on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// SIGKILL, and the wait until it is gone. All it wrote has been read then.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await?;
        self.hear_the_rest().await;
        Ok(())
    }

    /// Waits until it has ended, with its standard input open until then: a program that leaves when its input ends is not made to leave.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let input = self.child.stdin.take();
        let status = self.child.wait().await;
        drop(input);
        status
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let Some(id) = self.child.id() else { return };
        let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status();
        assert!(sent.is_ok_and(|status| status.success()), "send SIG{name} to {} ({id})", self.name);
    }

    /// SIGSTOP, and the wait until none of its threads runs any more. The signal alone only says that they are about to stop, and on a busy
    /// machine one of them may answer before. (Where there is no `/proc` the signal has to do.)
    pub async fn stop(&self) {
        self.signal("STOP");
        let Some(id) = self.child.id() else { return };
        let threads = format!("/proc/{id}/task");
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

    /// Waits until it ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> Ended {
        let waited = tokio::time::timeout(patience, self.wait()).await;
        let Ok(status) = waited else {
            panic!("{} has not ended after {patience:?}; it said:\n{}\n{}", self.name, self.stdout(), self.stderr());
        };
        let status = status.unwrap_or_else(|error| panic!("wait for {}: {error}", self.name));
        self.hear_the_rest().await;
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Has it ended by itself, and how?
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
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
        while self.status().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What there is to hear where nothing is piped.
fn over() -> watch::Receiver<Said> {
    watch::channel(Said { lines: Vec::new(), is_over: true }).1
}

/// Reads a pipe to its end: lines for those who wait for one, or all of it as text.
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
