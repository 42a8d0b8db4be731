//! What the documents name exists: the files they link to, the programs and commands they show.

use crate::{files, read, root};
use doorbuster_node::config::Fault;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn documents() -> Vec<PathBuf> {
    files("", ".md")
}

/// The targets of `[text](target)` and `![text](target)` in a document, outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let without_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for piece in without_code.split("](").skip(1) {
            found.extend(piece.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    found
}

/// The lines outside fenced code.
fn prose(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut kept = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push(line);
        }
    }
    kept
}

/// The lines inside fenced code.
fn fenced(text: &str) -> Vec<&str> {
    let prose: BTreeSet<*const u8> = prose(text).into_iter().map(str::as_ptr).collect();
    text.lines().filter(|line| !prose.contains(&line.as_ptr()) && !line.trim_start().starts_with("```")).collect()
}

/// What a heading is called in a link: lower case, blanks as `-`, without most other signs.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn broken_links(document: &Path, text: &str) -> Vec<String> {
    let folder = root().join(document.parent().unwrap_or(Path::new("")));
    let mut broken = Vec::new();
    for link in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() { root().join(document) } else { folder.join(file) };
        let headings = std::fs::read_to_string(&target).unwrap_or_default();
        let has_heading = prose(&headings).iter().any(|line| line.starts_with('#') && anchor(line) == heading);
        if !target.exists() || (!heading.is_empty() && !has_heading) {
            broken.push(format!("{}: {link}", document.display()));
        }
    }
    broken
}

/// Every `--bin NAME`, `--test NAME` and `cargo SUBCOMMAND` of a command line that does not exist.
fn broken_commands(text: &str, manifest: &str) -> Vec<String> {
    let named = |kind: &str, name: &str| {
        manifest.split("[[").any(|entry| {
            entry.starts_with(kind) && entry.lines().any(|line| line.trim() == format!("name = \"{name}\""))
        })
    };
    let mut broken = Vec::new();
    let spans: Vec<&str> = prose(text).into_iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    for line in fenced(text).into_iter().chain(spans).filter(|line| line.contains("cargo ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let missing = match pair {
                ["--bin", name] => !named("bin", name),
                ["--test", name] => !named("test", name),
                _ => false,
            };
            if missing {
                broken.push(line.trim().to_owned());
            }
        }
    }
    broken
}

/// The words after `doorbuster` in commands: `doorbuster journal dump --shard 3` gives `["journal", "dump", "--shard", "3"]`.
fn own_commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let spans = prose(text).into_iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    for line in fenced(text).into_iter().chain(spans) {
        let line = line.trim().trim_start_matches("$ ").trim_start_matches("./target/release/");
        let line = line.split(" #").next().unwrap_or(line);
        if let Some(words) = line.strip_prefix("doorbuster ") {
            let words = words.split_whitespace().take_while(|word| !matches!(*word, "|" | ">" | "&&"));
            found.push(words.map(str::to_owned).collect());
        }
    }
    found
}

fn is_on_another_machine(fault: &Fault) -> bool {
    matches!(fault, Fault::Read { path, .. } if path.starts_with("/etc/"))
}

#[test]
fn every_link_leads_somewhere() {
    let broken: Vec<String> = documents().iter().flat_map(|path| broken_links(path, &read(path))).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_program_the_documents_run_exists() {
    let manifest: String = files("", "Cargo.toml").iter().map(read).collect();
    for path in documents() {
        let broken = broken_commands(&read(&path), &manifest);
        assert!(broken.is_empty(), "{}: {broken:#?}", path.display());
    }
}

#[test]
fn every_doorbuster_command_of_the_documents_is_understood() {
    let mut tried = 0;
    for path in documents() {
        for words in own_commands(&read(&path)) {
            // Placeholders stand in capitals or with an ellipsis; a command that has them is held by its first words alone.
            let capitals = |word: &str| {
                word.split('/').any(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase()))
            };
            let placeholder = words.iter().position(|word| word.contains(['[', '…', '<', '|']) || capitals(word));
            let plain: Vec<&str> = words.iter().map(String::as_str).take(placeholder.unwrap_or(words.len())).collect();
            let plain: Vec<&str> = if placeholder.is_some() {
                plain.into_iter().take_while(|word| !word.starts_with('-')).chain(["--help"]).collect()
            } else {
                plain
            };
            let read =
                doorbuster_node::cli::read(std::iter::once("doorbuster").chain(plain.iter().copied()), Vec::new());
            let helped = plain.contains(&"--help")
                && read.as_ref().is_err_and(|error| {
                    error.to_string().contains("Usage:") && !error.to_string().starts_with("error")
                });
            // A file of settings on another machine: the command itself was understood.
            let elsewhere = matches!(
                &read,
                Err(doorbuster_node::cli::Error::Settings(error)) if error.faults.iter().all(is_on_another_machine)
            );
            assert!(
                read.is_ok() || helped || elsewhere,
                "{}: doorbuster {}: {read:?}",
                path.display(),
                words.join(" ")
            );
            tried += 1;
        }
    }
    assert!(tried >= 3, "the documents show only {tried} commands");
}

#[test]
fn the_readme_says_the_two_commands_and_ci_runs_the_second() {
    let readme = read("README.md");
    let commands: BTreeSet<&str> =
        fenced(&readme).into_iter().map(|line| line.split(" #").next().unwrap_or(line).trim()).collect();
    for command in ["cargo run --release --bin flash-sale", "tests/run"] {
        assert!(commands.contains(command), "README.md does not show `{command}`");
    }
    assert!(
        read(".ci/run").lines().any(|line| line.trim().ends_with("DOORBUSTER_REQUIRE_SERVERS=1 bash tests/run")),
        ".ci/run does not run the tests with the servers they need"
    );
    let tests = read("tests/run");
    for command in ["cargo test --locked --workspace --no-run", "in_group cargo test --locked \"$@\""] {
        assert!(tests.lines().any(|line| line.trim().starts_with(command)), "tests/run does not run `{command}`");
    }
}

#[test]
fn the_scripts_are_scripts() {
    for script in
        [".ci/run", "tests/run", "tests/servers/cassandra", "tests/servers/common.bash", "tests/servers/redis"]
    {
        let checked = Command::new("bash").arg("-n").arg(root().join(script)).status().expect("bash is there");
        assert!(checked.success(), "{script}");
    }
}

#[test]
fn the_checkers_can_fail() {
    let manifest = "[[bin]]\nname = \"flash-sale\"\n\n[[test]]\nname = \"house\"\n";
    assert_eq!(
        broken_commands("```\ncargo run --bin flash-sail\n```\n`cargo test --test house`", manifest),
        ["cargo run --bin flash-sail"]
    );
    let text = "# Two Words\n[a](#two-words) [b](none.md) `[c](none.md)` [d](README.md#no-such-heading)\n";
    assert_eq!(
        broken_links(Path::new("README.md"), text),
        ["README.md: #two-words", "README.md: none.md", "README.md: README.md#no-such-heading"]
    );
    assert_eq!(anchor("## Two Words: here"), "two-words-here");
    assert_eq!(
        own_commands("```sh\n$ doorbuster audit --data ./data # proof\n```\n`doorbuster journal dump`").len(),
        2
    );
}
