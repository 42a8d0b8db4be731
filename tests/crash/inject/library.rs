//! The library that meets the k-th write with a fault: compiled once, loaded into one process, and what it reports.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the k-th call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL before it.
    KillBefore,
    /// SIGKILL right after it.
    KillAfter,
    /// SIGKILL with half of it written.
    KillWithin,
    /// It fails with an input/output error, once: a second try would succeed, and be wrong.
    Eio,
    /// The disk is full from then on.
    Enospc,
    /// Half of it is written, and said so: lawful, and to be gone on with.
    Short,
    /// It is interrupted, once: lawful, and to be tried again.
    Eintr,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::KillBefore, Self::KillAfter, Self::KillWithin, Self::Eio, Self::Enospc, Self::Short, Self::Eintr];

    /// As the library calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::KillBefore => "kill_before",
            Self::KillAfter => "kill_after",
            Self::KillWithin => "kill_within",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::Short => "short",
            Self::Eintr => "eintr",
        }
    }

    /// Does the process end with it, whatever it does?
    pub const fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter | Self::KillWithin)
    }

    /// Is it nothing but what every program must be ready for?
    pub const fn is_lawful(self) -> bool {
        matches!(self, Self::Short | Self::Eintr)
    }
}

/// A fault at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// At the call of this number, from 1; 0: none, calls are only counted.
    pub at: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at call {}", self.kind.word(), self.at)
    }
}

/// One call that changes the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// `write`, `sync` or `name`.
    pub class: String,
    /// The system's.
    pub function: String,
    /// In the data folder.
    pub file: String,
}

impl fmt::Display for Made {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.function, self.file)
    }
}

/// What a process did while the library was in it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many calls changed the disk.
    pub calls: u64,
    /// Those before the one that met the fault, or all if none did.
    pub before: Vec<Made>,
    /// The one that met the fault.
    pub met: Option<Made>,
    /// Those after it.
    pub after: Vec<Made>,
}

/// Where a process writes its report: a folder that is not its data folder.
#[derive(Debug)]
pub struct Notes(tempfile::TempDir);

impl Notes {
    /// An empty report.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("doorbuster-faults-").tempdir().expect("a temporary folder");
        let notes = Self(folder);
        std::fs::write(notes.count(), [0; 8]).expect("written");
        notes
    }

    fn count(&self) -> PathBuf {
        self.0.path().join("count")
    }

    fn lines(&self) -> PathBuf {
        self.0.path().join("report")
    }

    /// The environment of a process that is to meet `fault` in `data`.
    /// With `only_first`, of writes to one file in a row only the first is counted.
    pub fn environment(&self, fault: Fault, data: &Path, only_first: bool) -> Vec<(String, String)> {
        let variable = |name: &str, value: &dyn fmt::Display| (name.to_owned(), value.to_string());
        vec![
            variable("LD_PRELOAD", &library().display()),
            variable("FAULT_FOLDER", &data.display()),
            variable("FAULT_RUNS", &u8::from(only_first)),
            variable("FAULT_KIND", &fault.kind.word()),
            variable("FAULT_AT", &fault.at),
            variable("FAULT_REPORT", &self.lines().display()),
            variable("FAULT_COUNT", &self.count().display()),
        ]
    }

    /// The report of a process that is gone.
    pub fn read(&self) -> Report {
        let count = std::fs::read(self.count()).expect("the count");
        let calls = u64::from_ne_bytes(count.try_into().expect("eight bytes"));
        let lines = std::fs::read_to_string(self.lines()).unwrap_or_default();
        let mut report = Report { calls, ..Report::default() };
        for line in lines.lines() {
            let (met, line) = line.strip_prefix("met ").map_or((false, line), |rest| (true, rest));
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let [_, class, function, file] = words[..] else { panic!("a line of the report: {line}") };
            let made = Made { class: class.to_owned(), function: function.to_owned(), file: file.to_owned() };
            if met {
                report.met = Some(made);
            } else if report.met.is_some() {
                report.after.push(made);
            } else {
                report.before.push(made);
            }
        }
        report
    }
}

/// The compiled library.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("crash/inject/preload.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join("libfaults.so");
        // Aside and renamed: another test process may be loading the one that is there.
        let aside = folder.join(format!("libfaults-{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&aside, &source])
            .output()
            .unwrap_or_else(|error| panic!("cc: {error}; these tests need a C compiler"));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        std::fs::rename(&aside, &path).expect("renamed");
        path
    })
}
