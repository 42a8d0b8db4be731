//! Testing one crate compiles its dependencies as testing all of them does: what the one has compiled, the other finds.
//!
//! Cargo unites the features of what is built together. So without [the crate that asks for all of them](../features/Cargo.toml) a
//! `cargo test -p doorbuster-api` would compile a second `tokio`, and then everything above it.

use crate::{files, read, root};
use std::collections::BTreeSet;
use std::process::Command;

/// The packages that the tests of `selected` are built from, with version and features, one a line.
fn built_for(selected: &[&str]) -> BTreeSet<String> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let tree = Command::new(cargo)
        .args(["tree", "--locked", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p} {f}"])
        .args(selected)
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8_lossy(&tree.stdout).replace(" (*)", "").replace(" (proc-macro)", "");
    text.lines().filter(|line| !line.starts_with("doorbuster-")).map(|line| line.trim_end().to_owned()).collect()
}

/// What is compiled for `alone` and not for all.
fn compiled_again<'built>(all: &'built BTreeSet<String>, alone: &'built BTreeSet<String>) -> Vec<&'built String> {
    alone.difference(all).collect()
}

/// The names of the workspace's packages.
fn members() -> Vec<String> {
    let manifests =
        files("src", "Cargo.toml").into_iter().chain(files("tests", "Cargo.toml")).chain(files("bench", "Cargo.toml"));
    manifests
        .filter(|manifest| !manifest.starts_with("bench/peers"))
        .filter_map(|manifest| read(manifest).split("name = \"").nth(1)?.split('"').next().map(str::to_owned))
        .collect()
}

#[test]
fn what_is_compiled_to_test_one_crate_is_what_is_compiled_to_test_all() {
    let all = built_for(&["--workspace"]);
    assert!(all.len() > 200, "only {} packages", all.len());
    let members = members();
    assert!(members.len() > 12, "the crates were not found: {members:?}");
    for member in &members {
        let alone = built_for(&["--package", member]);
        let again = compiled_again(&all, &alone);
        assert!(again.is_empty(), "{member}: features are missing in tests/features/Cargo.toml, compare\n{again:#?}");
    }
}

#[test]
fn a_missing_feature_is_seen() {
    let [all, alone] = ["tokio v1.0.0 net,process", "tokio v1.0.0 net"].map(|line| BTreeSet::from([line.to_owned()]));
    assert_eq!(compiled_again(&all, &alone), ["tokio v1.0.0 net"]);
    assert_eq!(compiled_again(&all, &all).len(), 0);
}
