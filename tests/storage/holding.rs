//! Which files hold a text: what was erased must be in none.

use std::path::{Path, PathBuf};

/// Those in a folder and the folders in it.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    const PIECE: usize = 64 * 1024;
    let wanted = text.as_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        // Most of it is 64 MB of zeros in the tables' journal, and tests are not optimised: `contains` is, as it is the standard library's.
        let holds = (0..bytes.len()).step_by(PIECE).any(|from| {
            let piece = &bytes[from..bytes.len().min(from + PIECE + wanted.len())];
            piece.contains(&wanted[0]) && piece.windows(wanted.len()).any(|window| window == wanted)
        });
        if holds {
            found.push(path);
        }
    }
    found
}
