//! What is made from the command line itself: completions for shells, and manual pages.

use super::Line;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io;
use std::path::Path;

/// A script that completes the commands in a shell.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "doorbuster", &mut out);
    out
}

/// The manual page `doorbuster(1)`.
pub(super) fn manual_page() -> Vec<u8> {
    let mut out = Vec::new();
    Man::new(Line::command()).render(&mut out).expect("writing into memory does not fail");
    out
}

/// Writes `doorbuster.1`, and a page for each command, such as `doorbuster-key-create.1`.
pub(crate) fn write_manual(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Line::command(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        write_manual(folder.path()).unwrap();
        for page in ["doorbuster.1", "doorbuster-key-create.1", "doorbuster-admin-drain.1"] {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains(".SH NAME"), "{page}");
        }
    }
}
