//! `tests/run` fails when a test program fails, is lost or names none, and leaves nothing running: tried with a `cargo` and programs of straw.

#![allow(clippy::disallowed_methods, reason = "programs are started, and waited for")]

use crate::root;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A script that anyone may execute.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/usr/bin/env bash\n{text}")).expect("a folder of our own");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
}

/// What cargo says of a test program that it has compiled, and of the program beside it that is no test.
fn compiled(folder: &Path, name: &str) -> String {
    let artifact = |name: &str, test: bool| {
        serde_json::json!({
            "reason": "compiler-artifact", "manifest_path": folder.join("Cargo.toml"),
            "target": { "kind": ["test"], "name": name, "test": true },
            "profile": { "opt_level": "1", "test": test }, "executable": folder.join(name),
        })
    };
    // Cargo writes its fields in this order; `serde_json` sorts them.
    let line = |name: &str, test: bool| {
        let artifact = artifact(name, test);
        let field = |key: &str| format!("\"{key}\":{}", artifact[key]);
        let fields: Vec<String> =
            ["reason", "manifest_path", "target", "profile", "executable"].into_iter().map(field).collect();
        format!("{{{}}}\n", fields.join(","))
    };
    line(name, true) + &line("no-test", false)
}

/// `tests/run` over `programs`, each a name and what it does; `lost` is named by cargo and not there.
fn runner(programs: &[(&str, &str)], lost: &[&str]) -> (TempDir, Command) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder of our own");
    let mut messages = String::new();
    for (name, does) in programs {
        script(&folder.path().join(name), does);
        messages += &compiled(folder.path(), name);
    }
    for name in lost {
        messages += &compiled(folder.path(), name);
    }
    fs::write(folder.path().join("messages"), messages).expect("a folder of our own");
    let cargo = "case $* in *--no-run*) cat \"$(dirname \"$0\")/../messages\" ;; *) exit 7 ;; esac\n";
    script(&bin.join("cargo"), cargo);
    let mut run = Command::new("bash");
    run.arg(root().join("tests/run")).stdin(Stdio::null());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    run.env("PATH", path).env("CARGO_TARGET_DIR", folder.path().join("target"));
    // No server is started, and no program that is run asks for one.
    run.env("DOORBUSTER_TEST_CQL", "127.0.0.1:1").env("DOORBUSTER_TEST_REDIS", "127.0.0.1:1");
    (folder, run)
}

fn ran(programs: &[(&str, &str)], lost: &[&str]) -> Output {
    let (_folder, mut run) = runner(programs, lost);
    run.output().expect("bash is there")
}

#[test]
fn programs_that_pass_pass() {
    let out = ran(&[("simulation", "echo said by one"), ("other", "pwd")], &[]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("said by one") && said.contains("other"), "{out:?}");
}

#[test]
fn one_program_that_fails_fails_the_run_and_the_others_still_run() {
    let out = ran(&[("broken", "echo why; exit 3"), ("good", "sleep 0.1; echo went on")], &[]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(!out.status.success(), "{out:?}");
    assert!(said.contains("FAILED with status 3") && said.contains("why") && said.contains("went on"), "{out:?}");
}

#[test]
fn a_program_that_is_lost_or_none_at_all_fails_the_run() {
    assert!(!ran(&[("good", "true")], &["lost"]).status.success());
    assert!(!ran(&[], &[]).status.success());
}

#[test]
fn arguments_go_to_cargo_and_its_status_comes_back() {
    let (_folder, mut run) = runner(&[], &[]);
    assert_eq!(run.args(["--test", "house"]).output().expect("bash is there").status.code(), Some(7));
}

#[test]
fn a_run_that_is_ended_ends_what_its_programs_have_started() {
    let started = "sleep 600 & echo $! >\"$(dirname \"$0\")/child\"; mv \"$(dirname \"$0\")/child\" \"$(dirname \"$0\")/there\"; wait";
    let (folder, mut run) = runner(&[("long", started)], &[]);
    let mut run = run.stdout(Stdio::null()).spawn().expect("bash is there");
    let there = folder.path().join("there");
    let child = wait_for(|| fs::read_to_string(&there).ok());
    let signal =
        |name: &str, process: &str| Command::new("kill").args(["-s", name, process]).stderr(Stdio::null()).status();
    assert!(signal("TERM", &run.id().to_string()).expect("kill is there").success());
    assert_eq!(run.wait().expect("it was started").code(), Some(143));
    wait_for(|| (!signal("0", child.trim()).expect("kill is there").success()).then_some(()));
}

/// What `look` finds, once it does.
fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute");
}
