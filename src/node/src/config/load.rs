//! Where settings come from, merged in order, and checked: each value by its declaration, then the rules between settings.

use super::error::{Error, Fault, Origin};
use super::keys::{Keys, distance};
use super::settings::Config;
use super::tree::Tree;
use doorbuster_settings::Rules;
use std::path::{Path, PathBuf};

/// The file that is read when no other is named and it is there.
pub const FILE_NAME: &str = "cluster.toml";
/// The names of our environment variables begin with it; `__` stands between section and key.
pub const ENVIRONMENT_PREFIX: &str = "DOORBUSTER__";
/// What a variable begins with whose author meant one of ours.
const PREFIX: &str = "DOORBUSTER_";
/// Another variable is suggested when at most this part of its letters is wrong, beside the underscores: one in so many.
const WRONG_LETTERS_IN: usize = 4;

/// Variables of the tests and of the harness (tests/README.md), which a node that they start inherits and does not read. Every other variable that
/// begins like ours sets something, or is an error.
pub const VARIABLES_OF_TESTS: &[&str] = &[
    "DOORBUSTER_CAMPAIGN",
    "DOORBUSTER_CLUSTER_TEST_NODE",
    "DOORBUSTER_FAULT",
    "DOORBUSTER_FAULTS",
    "DOORBUSTER_FAULTS_AT_ONCE",
    "DOORBUSTER_FAULTS_TELL",
    "DOORBUSTER_FIRST_SEED",
    "DOORBUSTER_FIRST_WORLD",
    "DOORBUSTER_KILLS",
    "DOORBUSTER_MODEL",
    "DOORBUSTER_OPERATIONS",
    "DOORBUSTER_PRINT_HASHES",
    "DOORBUSTER_RANDOM_STEPS",
    "DOORBUSTER_REQUIRE_SERVERS",
    "DOORBUSTER_SEED",
    "DOORBUSTER_SEEDS",
    "DOORBUSTER_STAGE",
    "DOORBUSTER_STRANGERS",
    "DOORBUSTER_TESTS_AT_ONCE",
    "DOORBUSTER_TEST_CQL",
    "DOORBUSTER_TEST_REDIS",
    "DOORBUSTER_WORLDS",
];

/// Where to look for settings beside the built-in defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// A file that must be there. `None`: [`FILE_NAME`] in the working folder if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; those that are not ours are skipped.
    pub variables: Vec<(String, String)>,
    /// The command line: the flag, the key that it sets, the value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// The process's environment. The one place that reads it; a variable that is not Unicode cannot be one of ours.
#[allow(clippy::disallowed_methods, reason = "this is the one home of the environment")]
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

impl Config {
    /// Reads, merges and checks all sources.
    ///
    /// # Errors
    /// The settings cannot be used; the error has every fault of every source.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let keys = Self::keys();
        let mut faults = Vec::new();
        let mut layers = Vec::new();
        match read_file(sources.file.as_deref()) {
            Ok(tree) => layers.extend(tree),
            Err(fault) => faults.push(fault),
        }
        for (name, value) in &sources.variables {
            if let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                layers.push(Tree::of_one(name, &dotted(rest), value, &keys));
            } else {
                faults.extend(misspelt(name, value, &keys));
            }
        }
        layers.extend(sources.flags.iter().map(|(flag, key, value)| Tree::of_one(flag, key, value, &keys)));
        let mut all = Tree::of_defaults(serde_json::to_value(Self::default()).unwrap_or_default());
        for mut layer in layers {
            layer.resolve(&keys);
            faults.extend(layer.sift(&keys));
            all.merge(layer);
        }
        faults.extend(all.sift_incomplete(&keys));
        // Settings whose values were taken out. A rule that their defaults break would be a second report of one fault.
        let faulty: Vec<String> = faults.iter().filter_map(Fault::key).map(str::to_owned).collect();
        let config = typed(&all)?;
        let mut rules = Rules::default();
        config.check(&mut rules);
        let is_new =
            |key: &str, rule: &str| !faulty.iter().any(|faulty| key == faulty || rule.contains(faulty.as_str()));
        faults.extend(rules.broken.into_iter().filter(|broken| is_new(broken.key, &broken.rule)).map(|broken| {
            let origin = all.find(broken.key).map_or_else(|| all.origin.clone(), |tree| tree.origin.clone());
            Fault::Together { origin, key: broken.key.to_owned(), value: broken.value, rule: broken.rule }
        }));
        if faults.is_empty() { Ok(config) } else { Err(Error { faults }) }
    }
}

/// As the program sees them. What was checked against its declaration fits its type, unless the declaration is wrong.
fn typed(all: &Tree) -> Result<Config, Error> {
    serde_json::from_value(all.clone().into_json()).map_err(|error| {
        let origin = Origin { source: "settings".to_owned(), line: None };
        Error { faults: vec![Fault::Syntax { origin, why: error.to_string() }] }
    })
}

fn read_file(named: Option<&Path>) -> Result<Option<Tree>, Fault> {
    let path = named.unwrap_or(Path::new(FILE_NAME));
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Tree::of_file(&name, &text).map(Some),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::Read { path: name, why: error.to_string() }),
    }
}

/// `TAX__COUNTRIES__GB__NAME` as `tax.countries.GB.name`: all but the codes of countries and currencies is written small.
fn dotted(name: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in name.split("__") {
        let is_code = parts.last().is_some_and(|group| group == "countries" || group == "price");
        parts.push(if is_code { part.to_ascii_uppercase() } else { part.to_ascii_lowercase() });
    }
    parts.join(".")
}

/// The variable of a setting.
fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// `DOORBUSTER_API_LISTEN`: it begins like ours and would set nothing. The nearest of our variables is suggested, if one is near.
fn misspelt(name: &str, value: &str, keys: &Keys) -> Option<Fault> {
    let rest = name.strip_prefix(PREFIX)?;
    if VARIABLES_OF_TESTS.contains(&name) || is_service_link(rest, value) {
        return None;
    }
    let flat = |text: &str| text.to_uppercase().replace(['.', '_'], "");
    let meant = flat(rest);
    let settings = keys.iter().filter(|setting| !setting.key.contains('*'));
    let settings = settings.map(|setting| (distance(&flat(&setting.key), &meant), variable_of(&setting.key)));
    let others = VARIABLES_OF_TESTS.iter().filter_map(|other| {
        let other_rest = other.strip_prefix(PREFIX)?;
        Some((distance(&flat(other_rest), &meant), (*other).to_owned()))
    });
    let nearest = settings.chain(others).min();
    let nearest =
        nearest.filter(|(wrong, _)| wrong.saturating_mul(WRONG_LETTERS_IN) <= meant.len().max(WRONG_LETTERS_IN));
    Some(Fault::UnknownVariable { variable: name.to_owned(), nearest: nearest.map(|(_, variable)| variable) })
}

/// Where there is a service of our name (`doorbuster`, `doorbuster-api`), Kubernetes puts its address into every container's environment:
/// `DOORBUSTER_API_SERVICE_HOST`, `DOORBUSTER_API_PORT=tcp://…`, `DOORBUSTER_API_PORT_8080_TCP_ADDR`.
fn is_service_link(rest: &str, value: &str) -> bool {
    let of_port = |text: &str| {
        let after = text.split_once("PORT_").map_or("", |(_, after)| after);
        after.starts_with(|first: char| first.is_ascii_digit()) && (after.contains("_TCP") || after.contains("_UDP"))
    };
    rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || of_port(rest)
        || (rest.ends_with("PORT") && value.contains("://"))
}
