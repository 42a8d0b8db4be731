//! `cluster.toml` is where an operator reads what a setting does: none is missing, and none lacks its comment.

use crate::{read, root};
use doorbuster_node::config::{Config, VARIABLES_OF_TESTS, is_at};
use doorbuster_settings::Kind;

/// One line `key = value` of the file, with its full key and the comment that belongs to it.
struct Line {
    key: String,
    comment: String,
}

/// The settings of the file in order. Keys of a section without comments of their own share the comment above the section.
fn lines(text: &str) -> Vec<Line> {
    let (mut section, mut section_comment) = (String::new(), String::new());
    let (mut comment, mut found) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix('#') {
            comment.push_str(words);
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            section_comment = std::mem::take(&mut comment);
        } else if let Some((key, _)) = line.split_once('=') {
            let own = std::mem::take(&mut comment);
            let comment = if own.is_empty() { section_comment.clone() } else { own };
            found.push(Line { key: format!("{section}.{}", key.trim()), comment });
        } else if line.is_empty() {
            comment.clear();
        }
    }
    found
}

#[test]
fn every_setting_stands_in_the_file() {
    let lines = lines(&read("cluster.toml"));
    for setting in Config::keys().iter() {
        assert!(lines.iter().any(|line| is_at(&setting.key, &line.key)), "cluster.toml does not have {}", setting.key);
    }
}

#[test]
fn every_default_of_the_file_is_the_default_of_the_code() {
    let path = root().join("cluster.toml");
    let sources = doorbuster_node::config::Sources { file: Some(path), ..Default::default() };
    assert_eq!(Config::load(&sources).expect("the shipped file can be used"), Config::default());
}

#[test]
fn every_number_says_what_goes_wrong_when_it_is_too_small_and_too_large() {
    let keys = Config::keys();
    for line in lines(&read("cluster.toml")) {
        let number = keys.find(&line.key).is_some_and(|setting| matches!(setting.kind, Kind::Number(..)));
        let words = line.comment.to_lowercase();
        assert!(
            !number || (words.contains("too small") && words.contains("too large")),
            "{}: {}",
            line.key,
            line.comment
        );
    }
}

#[test]
fn every_other_setting_says_what_it_is_for() {
    for line in lines(&read("cluster.toml")) {
        // The names of a country's tax and of a shipping option say it themselves.
        let plain = line.key.ends_with(".name") || line.key.ends_with(".label");
        assert!(plain || !line.comment.trim().is_empty(), "{} has no comment", line.key);
    }
}

#[test]
fn a_setting_names_its_unit() {
    let units = ["_ms", "_s", "_days", "_bytes", "_max", "_ppm", "_at", "_percent"];
    let counts = [
        "node.shards",
        "node.worker_threads",
        "api.backlog",
        "admission.places_start",
        "admission.places_min",
        "entities.set_aside_after",
        "journal.segments_ahead",
        "cql.replication_factor",
        "cql.bucket_events",
        "cluster.gateways",
        "cluster.stale_reads",
    ];
    let open_ended = ["tax.countries.*.classes_ppm.*", "shipping.options.*.price.*", "payments.method_hold_s.*"];
    for setting in Config::keys().iter().filter(|setting| matches!(setting.kind, Kind::Number(..))) {
        let key = setting.key.as_str();
        let named = units.iter().any(|unit| key.ends_with(unit))
            || counts.contains(&key)
            || open_ended.contains(&key)
            || key.ends_with("_bytes_max")
            || ["shipping.options.*.days", "payments.seed"].contains(&key);
        assert!(named, "{key} has no unit");
    }
}

/// A node that a test starts inherits the test's own variables: they must not be errors to it, and all others must.
#[test]
fn every_variable_of_the_tests_is_known_and_no_other_is() {
    let mut named = std::collections::BTreeSet::new();
    for folder in ["src", "tests", "bench", "fuzz"] {
        for file in crate::files(folder, "rs") {
            let text = read(&file);
            let is_their_home = file.ends_with("config/load.rs") || file.ends_with("config/tests.rs");
            let quoted = text.split('"').skip(1).step_by(2).filter(|_| !is_their_home);
            let is_name = |text: &&str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            let ours = quoted.filter(|text| text.starts_with("DOORBUSTER_") && !text.starts_with("DOORBUSTER__"));
            named.extend(ours.filter(is_name).map(str::to_owned));
        }
    }
    let known: std::collections::BTreeSet<String> = VARIABLES_OF_TESTS.iter().map(|name| (*name).to_owned()).collect();
    // A test that misspells one on purpose.
    named.remove("DOORBUSTER_API_LISTEN");
    let runner = read("tests/run");
    named.extend(known.iter().filter(|name| runner.contains(name.as_str())).cloned());
    assert_eq!(named, known, "VARIABLES_OF_TESTS in src/node/src/config/load.rs");
}
