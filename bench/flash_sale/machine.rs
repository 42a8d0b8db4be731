//! Where and when a figure was measured, for its report.

use std::fs;

/// The run that a report is about.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// When it began, RFC 3339.
    pub(crate) at: String,
    /// This program's version.
    pub(crate) version: &'static str,
    /// Processor, cores, memory, system.
    pub(crate) machine: String,
    /// As it was called, without the key.
    pub(crate) command: String,
}

impl Origin {
    /// Of this run, which begins now.
    pub(crate) fn now() -> Self {
        Self {
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: env!("CARGO_PKG_VERSION"),
            machine: machine(),
            command: command(std::env::args()),
        }
    }

    /// Its rows of a table.
    pub(crate) fn rows(&self) -> [(&'static str, String); 4] {
        [
            ("Date", self.at.clone()),
            ("Version", self.version.to_owned()),
            ("Machine", self.machine.clone()),
            ("Command line", self.command.clone()),
        ]
    }
}

/// A key is a secret, and a report is shown around.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for (index, word) in words.enumerate() {
        let name = || word.rsplit('/').next().unwrap_or_default().to_owned();
        let is_secret = shown.last().is_some_and(|last| last == "--key");
        shown.push(match word.split_once('=') {
            _ if index == 0 => name(),
            _ if is_secret => "…".to_owned(),
            Some(("--key", _)) => "--key=…".to_owned(),
            _ if word.contains(char::is_whitespace) => format!("'{word}'"),
            _ => word,
        });
    }
    shown.join(" ")
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let processor = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let kib = after(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let memory = kib.map_or_else(String::new, |kib| format!(", {} GiB of memory", (kib + (1 << 19)) >> 20));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let system = format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim());
    format!("{processor}, {cores} cores{memory}, {}", system.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_its_key() {
        let shown = |words: &[&str]| command(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(shown(&["/a/b/flash-sale", "--rate", "5"]), "flash-sale --rate 5");
        assert_eq!(shown(&["flash-sale", "--key", "sk_1", "--units", "9"]), "flash-sale --key … --units 9");
        assert_eq!(shown(&["flash-sale", "--key=sk_1", "a b"]), "flash-sale --key=… 'a b'");
    }
}
