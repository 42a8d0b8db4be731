//! What the product is built from may be given on: every crate's licence is one that `deny.toml` allows.
//!
//! The same list as `cargo deny check licenses` reads, held without a tool beside cargo, and without network once the crates are there (`cargo fetch`).

use crate::{read, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// Can an expression like `(MIT OR Apache-2.0) AND Unicode-3.0` be met with the `allowed` licences alone? `AND` binds closer than `OR`; the old
/// `MIT/Apache-2.0` is an `OR`.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'text> = std::iter::Peekable<std::str::SplitWhitespace<'text>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let name = words.next().unwrap_or_default();
    let exception = words.next_if_eq(&"WITH").and_then(|_| words.next());
    allowed.contains(&exception.map_or_else(|| name.to_owned(), |exception| format!("{name} WITH {exception}")))
}

/// The texts in quotes of the list `key` in `section` of `deny.toml`.
fn list(section: &str, key: &str) -> BTreeSet<String> {
    let text = read("deny.toml");
    let section =
        text.split(&format!("[{section}]\n")).nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    let list = section.split(&format!("{key} = [")).nth(1).unwrap_or_default().split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn packages() -> Vec<Value> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    output["packages"].as_array().cloned().unwrap_or_default()
}

#[test]
fn every_licence_is_one_we_may_give_on() {
    let allowed = list("licenses", "allow");
    assert!(allowed.contains("MIT") && allowed.contains("Apache-2.0"), "deny.toml was not understood: {allowed:?}");
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let mut wrong = Vec::new();
    for package in &packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !met(licence, &allowed) {
            wrong.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_comes_from_the_registry() {
    for package in packages() {
        let source = package["source"].as_str();
        let lawful = source
            .map_or(package["name"].as_str().is_some_and(|name| name.starts_with("doorbuster-")), |source| {
                source.ends_with("github.com/rust-lang/crates.io-index")
            });
        assert!(lawful, "{}: {source:?}", package["name"]);
    }
}

#[test]
fn nothing_on_the_list_of_the_banned_is_used() {
    let banned = list("bans", "deny");
    assert!(banned.contains("openssl-sys"), "deny.toml was not understood: {banned:?}");
    for package in packages() {
        let name = package["name"].as_str().unwrap_or_default();
        assert!(!banned.contains(name), "{name} is banned by deny.toml");
    }
}

#[test]
fn our_own_licence_is_the_one_we_say() {
    assert!(read("LICENSE").contains("Apache License") && read("LICENSE").contains("END OF TERMS AND CONDITIONS"));
    assert!(read("Cargo.toml").contains("license = \"Apache-2.0\""));
}

#[test]
fn an_expression_is_read_as_it_is_meant() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for (expression, lawful) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ("(GPL-3.0 OR MIT) AND MIT", true),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("none", false),
        ("(MIT", false),
        ("MIT MIT", false),
    ] {
        assert_eq!(met(expression, &allowed), lawful, "{expression}");
    }
}
