//! Ends the process before it takes the machine's last memory.
//!
//! An allocation that fails ends the process: Rust aborts. But on Linux it does not fail. The kernel promises more than there is, and then drops the pages
//! of the program itself, again and again: such a node neither answers nor dies, and nothing takes its place. So a thread looks at the resident memory, and
//! ends the process at a bound, as after a failed write (rule L8): its successor finds everything that was acknowledged.

use std::fs;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often the memory is looked at: what one node can take in this time must fit into the part that is left free.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The part of the machine's or the container's memory that is the bound where no setting says another, in per cent.
const PERCENT_MAX: u64 = 90;

/// Runs while it is held.
#[derive(Debug)]
pub(crate) struct MemoryGuard {
    _ends_with: Sender<()>,
}

impl MemoryGuard {
    /// Starts the thread. `bytes_max` 0: a part of what the container or the machine has.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(bytes_max: u64) -> io::Result<Self> {
        let (ends_with, ended) = channel();
        let bytes_max = if bytes_max == 0 { bytes_by_default() } else { bytes_max };
        std::thread::Builder::new().name("memory-guard".to_owned()).spawn(move || guard(bytes_max, &ended))?;
        Ok(Self { _ends_with: ends_with })
    }
}

fn guard(bytes_max: u64, ended: &Receiver<()>) {
    while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        // A system that does not say how much is resident has no guard.
        let Some(resident_bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_in) else {
            return;
        };
        if resident_bytes > bytes_max {
            tracing::error!(
                resident_bytes,
                bytes_max,
                "the node takes more memory than it may and ends; its successor finds what was acknowledged"
            );
            std::process::abort();
        }
    }
}

/// The resident bytes in the text of `/proc/self/status`.
fn resident_in(status: &str) -> Option<u64> {
    kilobytes_of(status, "VmRSS:")
}

fn kilobytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(number.saturating_mul(1_024))
}

/// The least of what the machine has and what the process's container may take, less the part that is left free.
fn bytes_by_default() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes_of(&text, "MemTotal:"));
    // Version 2 of the control groups, then version 1; "max" and the number of version 1 for it are no bound.
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = container.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let bytes = container.chain(machine).min().unwrap_or(u64::MAX);
    bytes / 100 * PERCENT_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_read_as_the_kernel_says_it() {
        assert_eq!(resident_in("VmHWM:\t  9000 kB\nVmRSS:\t    5120 kB\nThreads:\t1\n"), Some(5 << 20));
        for other in ["", "VmRSS:", "VmRSS:\t x kB", "VmRSS:\t1 MB"] {
            assert_eq!(resident_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_machine_bounds_its_node_by_itself() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(resident_in(&status).unwrap() < bytes_by_default());
        assert!(bytes_by_default() < u64::MAX / 100 * PERCENT_MAX);
    }
}
