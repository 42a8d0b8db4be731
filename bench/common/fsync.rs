//! How long a small synced write takes in a folder: the yardstick beside every durable figure.

use super::error::BenchError;
use super::number::micros;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

/// Size of one probe write, in bytes: a small group of orders.
const PROBE_BYTES: usize = 4 << 10;
/// The file is written with zeros beforehand, as the journal's segments are, and then overwritten in place.
const PROBE_SLOTS: usize = 256;

/// The median of `rounds` overwrites of one block with `fdatasync`, in microseconds.
pub fn p50_micros(folder: &Path, rounds: usize) -> Result<u64, BenchError> {
    let path = folder.join("fsync-probe");
    let measured = probe(&path, rounds);
    // The probe leaves nothing behind, whether it succeeded or not; a file that is not there is no loss.
    drop(std::fs::remove_file(&path));
    measured.map_err(|source| BenchError::io(format!("probe fsync in {}", folder.display()), source))
}

fn probe(path: &Path, rounds: usize) -> std::io::Result<u64> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; PROBE_BYTES * PROBE_SLOTS])?;
    file.sync_all()?;
    let block = vec![0x5a; PROBE_BYTES];
    let mut taken = Vec::with_capacity(rounds);
    for round in 0..rounds {
        if round % PROBE_SLOTS == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        taken.push(micros(began.elapsed()));
    }
    taken.sort_unstable();
    Ok(taken.get(taken.len() / 2).copied().unwrap_or(0))
}
