//! The table of mutants cannot rot: each guard it takes out still stands where it says, each test it names is there.

use crate::{files, read};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Fewer would not be a table.
const MUTANTS_MIN: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    rule: String,
    file: String,
    before: String,
    after: String,
    test: String,
    #[serde(rename = "crate")]
    own: Option<String>,
    binary: Option<String>,
}

fn mutants() -> Vec<Mutant> {
    toml_edit::de::from_str::<Table>(&read("tests/mutants/table.toml")).expect("the table can be read").mutant
}

#[test]
fn every_guard_that_a_mutant_takes_out_stands_there_once() {
    let gone: Vec<String> = mutants()
        .iter()
        .map(|mutant| (mutant, read(&mutant.file).matches(&mutant.before).count()))
        .filter(|(_, times)| *times != 1)
        .map(|(mutant, times)| format!("\"{}\": found {times} times in {}", mutant.name, mutant.file))
        .collect();
    assert!(gone.is_empty(), "tests/mutants/table.toml no longer applies: {gone:#?}");
}

#[test]
fn every_mutant_changes_something_and_has_a_name_of_its_own() {
    let mutants = mutants();
    assert!(mutants.len() >= MUTANTS_MIN);
    assert!(mutants.iter().all(|mutant| mutant.before != mutant.after));
    let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), mutants.len());
}

#[test]
fn every_letter_of_the_protocol_has_mutants_and_every_rule_is_one() {
    let text = read("docs/protocol.md") + &read("docs/ownership.md");
    let rules: BTreeSet<&str> = text.split(|letter: char| !letter.is_alphanumeric()).collect();
    let mut letters = BTreeSet::new();
    for mutant in mutants() {
        if mutant.rule != "domain" {
            assert!(rules.contains(mutant.rule.as_str()), "no rule {} in the documents", mutant.rule);
            letters.extend(mutant.rule.chars().next());
        }
    }
    assert_eq!(letters.iter().collect::<String>(), "ACELMOPRSVW");
}

#[test]
fn every_test_that_a_mutant_must_fail_is_there() {
    let sources = |folder: &str| files(folder, ".rs").iter().map(read).collect::<String>();
    for mutant in mutants() {
        let (_, test) = mutant.test.rsplit_once("::").expect("a path of modules");
        let folder = match (&mutant.own, &mutant.binary) {
            (Some(own), None) => format!("src/{own}"),
            (None, Some(binary)) => format!("tests/{binary}"),
            _ => panic!("{}: a crate or a test program, and one of them", mutant.name),
        };
        let found = sources(&folder);
        assert!(found.contains(&format!("fn {test}(")) || found.contains(&format!("fn {test}<")), "{test}");
    }
}
