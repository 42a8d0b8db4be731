//! What a table was measured on.

use crate::Options;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// What is compared, below the table.
pub const FOOTNOTE: &str = "Same machine, same run, same clients. All wait for the disk before they answer (`synchronous_commit = on`, `appendfsync always`, \
`fdatasync` per group). A *reservation* is a key and a unit: one statement or script of the peers over their own binary protocols; Doorbuster answers HTTP and JSON, keeps a deadline and gives the unit back. An \
*order* is asked for with the same HTTP request for all: a warp server of two threads before PostgreSQL (8 connections, one call of a function, one transaction: idempotency key, order, lines, payment row, then the stock) or Redis (one \
script, the same as hashes); these have no expiry, tax, delivery, warehouses, journal, quotas or audit, and only their database is killed, while Doorbuster is killed whole. Held, not paid. *Oversold*: units promised beyond what there was. \
*Reserved twice*: a buyer who asked for one has two. *Lost*: acknowledged, and not there after the restart. *Units astray*: they left the stock and belong to no buyer. Latency is from a buyer's first attempt to the answer, the outage included.";

/// The line above the table.
pub fn heading(options: &Options) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%MZ"]).output().map(|out| out.stdout).unwrap_or_default();
    let drop = &options.drop;
    format!(
        "time: {} · machine: {}, {cores} cores, shared with the clients · fsync p50: {} · commit: {} · {} clients, {} units, {} buyers, kill -9 {}",
        String::from_utf8_lossy(&date).trim(),
        model.unwrap_or("unknown"),
        fsync(&options.folder).map_or("unknown".to_owned(), |micros| format!("{micros} µs")),
        options.commit,
        drop.clients,
        drop.units,
        drop.buyers,
        if drop.kill { "when half is sold" } else { "left out" },
    )
}

/// The median of 200 synced overwrites of 4 KB, in µs.
fn fsync(folder: &Path) -> std::io::Result<u128> {
    let path = folder.join(format!("peers-fsync-{}", std::process::id()));
    let probe = || -> std::io::Result<u128> {
        let mut file = File::create(&path)?;
        file.write_all(&vec![0; 1 << 20])?;
        file.sync_all()?;
        let mut taken = Vec::new();
        for round in 0..200_u64 {
            file.seek(SeekFrom::Start(round % 256 * 4_096))?;
            let began = Instant::now();
            file.write_all(&[0x5a; 4_096])?;
            file.sync_data()?;
            taken.push(began.elapsed().as_micros());
        }
        taken.sort_unstable();
        Ok(taken[taken.len() / 2])
    };
    let measured = probe();
    drop(std::fs::remove_file(&path));
    measured
}
