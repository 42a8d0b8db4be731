//! What the product is built from is known and looked at: `supply/check` finds what it should, and `supply/sbom` writes a bill of materials that has its shape.

use crate::{read, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

fn python(script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("python3");
    command.arg(root().join(script)).args(arguments).output().expect("supply/ needs python3")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The check of a Cargo.lock with these crates, against a list with one advisory of `tokio`.
fn checked(crates: &[(&str, &str)], accepted: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (lock, list) = (folder.path().join("Cargo.lock"), folder.path().join("advisories.toml"));
    let package = |(name, version): &(&str, &str)| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry\"\n")
    };
    std::fs::write(&lock, crates.iter().map(package).collect::<String>()).expect("a folder of our own");
    let advisory = "[[advisory]]\nid = \"RUSTSEC-1\"\ncrate = \"tokio\"\nfixed = [\">=1.44.2\", \">=1.42.1,<1.43.0\"]\nunaffected = [\"<0.2.0\"]\n";
    std::fs::write(&list, format!("as_of = \"2026-01-31\"\naccepted = [{accepted}]\n{advisory}"))
        .expect("a folder of our own");
    let (lock, list) = (lock.display().to_string(), list.display().to_string());
    python("supply/check", &["--lock", &lock, "--advisories", &list, "--today", "2026-03-02"])
}

#[test]
fn no_crate_has_an_advisory_that_is_known_here_or_was_yanked() {
    let output = python("supply/check", &[]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" days old"), "it says how old the list is: {said}");
}

#[test]
fn the_check_finds_what_is_affected_and_nothing_else() {
    for (version, affected) in [
        ("1.44.1", true),
        ("1.43.0", true),
        ("1.42.0", true),
        ("1.9.0", true),
        ("1.44.2-rc.1", true),
        ("1.44.2", false),
        ("1.42.3", false),
        ("2.0.0", false),
        ("0.1.22", false),
    ] {
        let output = checked(&[("tokio", version)], "");
        let said = said(&output);
        assert_eq!(said.contains(&format!("FOUND tokio {version}: RUSTSEC-1")), affected, "{said}");
        assert!(affected || output.status.success(), "{said}");
        assert!(!affected || output.status.code() == Some(1), "{said}");
        assert!(said.contains("as of 2026-01-31: 30 days old"), "{said}");
    }
    let accepted = "{ id = \"RUSTSEC-1\", why = \"no such call\" }";
    assert!(checked(&[("tokio", "1.44.1")], accepted).status.success());
    let idle = checked(&[("tokio", "2.0.0")], accepted);
    assert!(!idle.status.success() && said(&idle).contains("not needed any more"), "{}", said(&idle));
}

#[test]
fn every_advisory_of_the_list_is_about_a_crate_that_is_used() {
    let lock = read("Cargo.lock");
    for line in read("supply/advisories.toml").lines().filter_map(|line| line.strip_prefix("crate = ")) {
        assert!(lock.contains(&format!("name = {line}\n")), "{line}");
    }
}

#[test]
fn the_bill_of_materials_is_cyclonedx_and_whole() {
    let output = python("supply/sbom", &[]);
    assert!(output.status.success(), "{}", said(&output));
    let bill: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"], &bill["version"]),
        (&"CycloneDX".into(), &"1.5".into(), &1.into())
    );
    assert!(bill["serialNumber"].as_str().is_some_and(|serial| serial.len() == "urn:uuid:".len() + 36));
    assert_eq!(bill["metadata"]["component"]["name"], "doorbuster");
    let components = bill["components"].as_array().expect("a list");
    let mut refs = BTreeSet::from([bill["metadata"]["component"]["bom-ref"].as_str().expect("a text")]);
    for one in components {
        let (name, version) = (one["name"].as_str().expect("a name"), one["version"].as_str().expect("a version"));
        assert_eq!(one["purl"], format!("pkg:cargo/{name}@{version}"));
        assert!(one["licenses"][0]["expression"].is_string(), "{name}");
        let is_hashed = one["hashes"][0]["content"].as_str().is_some_and(|hash| hash.len() == 64);
        assert_eq!(is_hashed, !name.starts_with("doorbuster-"), "{name}: what comes from the registry has a checksum");
        assert!(refs.insert(one["bom-ref"].as_str().expect("a text")), "{name} stands twice");
    }
    for row in bill["dependencies"].as_array().expect("a list") {
        let named = row["dependsOn"].as_array().expect("a list").iter().chain([&row["ref"]]);
        assert!(named.filter_map(Value::as_str).all(|one| refs.contains(one)), "{row}");
    }
    let has = |name: &str| components.iter().any(|one| one["name"] == name);
    assert!(has("tokio") && has("fjall") && has("doorbuster-domain"));
    assert!(!has("proptest") && !has("doorbuster-test-kit"), "what only tests use is no part of the program");
    assert_eq!(python("supply/sbom", &[]).stdout, output.stdout, "the same lock, the same bytes");
}
