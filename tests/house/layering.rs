//! Which crate may depend on which other, and what the domain and the clock's home hold that Cargo cannot prove.
//!
//! ```text
//! node → { api, cluster, payments, projections } → actors → { domain, storage }      storage → domain      domain → nothing
//! ```
//!
//! The manifests say what a crate depends on, and Cargo proves that it uses nothing else. This test holds that the manifests say what
//! ARCHITECTURE.md says.

use crate::sources::code_of;
use crate::{files, read};
use std::collections::BTreeSet;
use toml_edit::ImDocument;

/// A crate's folder and the crates of ours that it may depend on.
const MAY_DEPEND_ON: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("storage", &["domain", "clock"]),
    ("payments", &["domain", "clock"]),
    ("settings", &[]),
    ("payments/simulator", &["domain", "clock", "payments", "settings"]),
    ("actors", &["domain", "clock", "storage"]),
    ("audit", &["domain", "storage"]),
    ("projections", &["domain", "clock", "storage"]),
    ("cluster", &["domain", "clock", "storage", "actors"]),
    ("api", &["domain", "clock", "storage", "actors", "projections"]),
    (
        "node",
        &[
            "domain",
            "clock",
            "settings",
            "storage",
            "payments",
            "simulator",
            "actors",
            "audit",
            "projections",
            "cluster",
            "api",
        ],
    ),
    // The tests' own.
    ("../tests/kit", &[]),
];

/// A driver and the crates that may depend on it.
const DRIVERS: [(&str, &[&str]); 8] = [
    ("fjall", &["storage"]),
    ("scylla", &["storage"]),
    ("redis", &["storage"]),
    ("ractor", &["actors", "cluster"]),
    ("ractor_cluster", &["cluster"]),
    ("warp", &["api"]),
    ("clap", &["node", "payments/simulator"]),
    ("toml_edit", &["node"]),
];

/// What only the harness and the tests need.
const NOT_IN_THE_SERVER: [&str; 3] = ["csv", "hdrhistogram", "proptest"];

/// What the pure crate may not even mention.
const IMPURE: [&str; 9] =
    ["async fn", "async move", ".await", "std::fs", "std::net", "std::io", "std::thread", "std::env", "std::time"];
/// No float for money, nor for anything else.
const FLOATS: [&str; 2] = ["f64", "f32"];

fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = read(format!("src/{folder}/Cargo.toml"));
    let manifest = ImDocument::parse(text).expect("a manifest");
    let dependencies = manifest.get("dependencies").and_then(toml_edit::Item::as_table_like);
    dependencies.into_iter().flat_map(toml_edit::TableLike::iter).map(|(name, _)| name.to_owned()).collect()
}

fn forbidden(folder: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let allowed = MAY_DEPEND_ON.iter().find(|(own, _)| *own == folder).map_or(&[][..], |(_, others)| *others);
    let mut wrong = Vec::new();
    for dependency in dependencies {
        let ours = dependency.strip_prefix("doorbuster-");
        if ours.is_some_and(|other| !allowed.contains(&other)) {
            wrong.push(format!("{folder} depends on {dependency}"));
        }
        let driver = DRIVERS.iter().find(|(driver, _)| driver == dependency);
        if driver.is_some_and(|(_, homes)| !homes.contains(&folder)) || NOT_IN_THE_SERVER.contains(&dependency.as_str())
        {
            wrong.push(format!("{folder} depends on {dependency}"));
        }
    }
    wrong
}

fn impure(code: &str) -> Vec<&'static str> {
    IMPURE.iter().chain(&FLOATS).copied().filter(|word| mentions(code, word)).collect()
}

/// Is `word` in the code, not as part of a longer one?
fn mentions(code: &str, word: &str) -> bool {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).any(|(at, _)| {
        let starts = word.starts_with('.') || !code[..at].chars().next_back().is_some_and(part_of_word);
        let ends = !code[at + word.len()..].chars().next().is_some_and(part_of_word);
        starts && ends
    })
}

#[test]
fn crates_depend_only_on_what_lies_below_them() {
    let wrong: Vec<String> =
        MAY_DEPEND_ON.iter().flat_map(|(folder, _)| forbidden(folder, &dependencies(folder))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_of_the_product_stands_in_the_table() {
    let members = files("src", "Cargo.toml");
    assert!(members.len() > 10, "the crates were not found");
    for manifest in members {
        let folder = manifest.parent().expect("below src").strip_prefix("src").expect("below src").to_string_lossy();
        assert!(MAY_DEPEND_ON.iter().any(|(known, _)| *known == folder), "what may src/{folder} depend on?");
    }
}

#[test]
fn the_workspaces_apart_depend_on_crates_that_are_there() {
    for apart in ["fuzz", "bench/peers"] {
        let manifest = read(format!("{apart}/Cargo.toml"));
        for path in manifest.split("path = \"../").skip(1).filter_map(|rest| rest.split('"').next()) {
            let named = read(format!("{apart}/../{path}/Cargo.toml"));
            assert!(named.contains("[package]"), "{apart} depends on {path}, which is no package");
        }
    }
}

#[test]
fn the_checker_sees_what_points_the_wrong_way() {
    for (folder, dependency) in [
        ("domain", "doorbuster-storage"),
        ("storage", "doorbuster-actors"),
        ("actors", "doorbuster-api"),
        ("actors", "doorbuster-payments"),
        ("payments", "doorbuster-actors"),
        ("audit", "doorbuster-actors"),
        ("projections", "redis"),
        ("actors", "fjall"),
        ("api", "ractor"),
        ("node", "csv"),
    ] {
        assert!(!forbidden(folder, &BTreeSet::from([dependency.to_owned()])).is_empty(), "{folder}: {dependency}");
    }
    assert_eq!(forbidden("api", &BTreeSet::from(["warp".to_owned(), "doorbuster-actors".to_owned()])).len(), 0);
}

#[test]
fn the_domain_is_pure() {
    for path in files("src/domain/src", ".rs") {
        let named = path.to_string_lossy();
        // Compiled for tests only: they roll dice, or read the sources.
        if named.ends_with("tests.rs")
            || named.contains("/world/")
            || named.ends_with("/random.rs")
            || named.ends_with("/codec/tags.rs")
        {
            continue;
        }
        let text = read(&path);
        let code = code_of(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        let found = impure(&code);
        assert!(found.is_empty(), "{named}: {found:?}");
    }
    for text in ["async fn decide() {}", "let price: f64 = 1.0;", "use std::fs;", "reply.await"] {
        assert!(!impure(text).is_empty(), "{text}");
    }
    assert!(impure("let buf64 = 1; let awaited = 2;").is_empty());
}
