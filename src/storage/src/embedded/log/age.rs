//! What ends by time, not by size: a shop with few orders never fills a segment, and what it erased must go all the same.
//!
//! ```text
//! first record of the segment ──segment_age_max_ms──► rotate ──states cover it──► kept ──keep_ms──► recycled
//!                                                                       a retired file nobody has used again ──► removed
//! a copy of a torn tail ──keep_ms──► removed
//! ```

use super::error::LogError;
use super::recover::is_torn_copy;
use super::writer::Log;
use crate::wire;
use doorbuster_domain::time::Timestamp;

impl Log {
    /// Begins the next segment when the first record of the current one is older than [`super::LogOptions::segment_age_max_ms`], or says no time.
    pub(super) fn rotate_by_age(&mut self, now: Timestamp) -> Result<(), LogError> {
        if !self.has_frames() {
            return Ok(());
        }
        let begun_at = match self.begun_at {
            Some(begun_at) => begun_at,
            None => self.first_record_at()?,
        };
        self.begun_at = Some(begun_at);
        if now.0 < begun_at.0.saturating_add(self.options.segment_age_max_ms) {
            return Ok(());
        }
        self.break_seal()?;
        self.rotate()
    }

    /// The time of the current segment's first record; 0 when it says none.
    fn first_record_at(&self) -> Result<Timestamp, LogError> {
        let Some(frame) = self.reader().frames_from(self.current.generation).next() else { return Ok(Timestamp(0)) };
        let at = frame?.records.first().and_then(|record| wire::head(&record.body).ok()).map(|head| head.at);
        Ok(at.unwrap_or_default())
    }

    /// Removes copies of torn tails that are older than `keep_ms`: a torn frame holds personal data like any other.
    pub(super) fn remove_torn_copies(&self, now: Timestamp, keep_ms: u64) -> Result<(), LogError> {
        let (disk, folder) = (self.shared.disk(), self.shared.folder());
        let names = disk.names(folder).map_err(|error| LogError::io("list", folder, &error))?;
        for name in names.iter().filter(|name| is_torn_copy(name)) {
            let path = folder.join(name);
            let written = disk.modified_ms(&path).map_err(|error| LogError::io("look at", &path, &error))?;
            if now.0 >= written.saturating_add(keep_ms) {
                disk.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
            }
        }
        Ok(())
    }
}
