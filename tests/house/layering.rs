//! Which part of the program may know which other.
//!
//! ```text
//! main → node → { api, cluster } → actors → { domain, storage }      storage → domain      domain → nothing
//! ```
//!
//! Read from the sources: every path that begins with `crate::`, `doorbuster::` or enough `super::` names a part; every path or `use` that
//! begins with a driver's name needs that driver. Comments and texts do not count. A module that is compiled for tests only may roll dice
//! and ask the audit; whom it may name else is its part's rule.

use crate::sources::code_of;
use crate::{files, read, root};
use std::path::Path;

/// Part of the program → the parts it may name (beside itself).
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("storage", &["domain", "clock"]),
    ("config", &["domain"]),
    ("payments", &["domain", "clock"]),
    ("actors", &["domain", "storage", "payments", "clock"]),
    ("audit", &["domain", "storage", "payments"]),
    ("projections", &["domain", "storage", "clock"]),
    ("cluster", &["domain", "storage", "actors", "clock"]),
    ("api", &["domain", "actors", "clock"]),
    ("cli", &["domain", "storage", "config"]),
    (
        "node",
        &[
            "domain",
            "storage",
            "config",
            "payments",
            "actors",
            "audit",
            "projections",
            "cluster",
            "api",
            "clock",
            "cli",
        ],
    ),
    ("bin", &["domain", "storage", "config", "payments", "clock"]),
];

/// What the tests of every part may name beside: they ask the audit whether what they did kept the laws.
const TESTS_MAY_NAME: &str = "audit";

/// Whether a file goes into the program or is compiled for tests only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compiled {
    Always,
    ForTests,
}

/// What `api` may name of `storage`: positions and shards are words of every answer, but no store, no trait of one.
const API_MAY_NAME_OF_STORAGE: [&str; 4] = ["Seq", "Shard", "Epoch", "wire"];

/// A crate → the only places that may name it.
const DRIVERS: [(&str, &[&str]); 8] = [
    ("fjall", &["src/storage/embedded"]),
    ("scylla", &["src/storage/cql"]),
    ("redis", &["src/storage/redis"]),
    ("ractor", &["src/actors", "src/cluster", "src/node"]),
    ("ractor_cluster", &["src/cluster", "src/node"]),
    ("warp", &["src/api", "src/payments", "src/node"]),
    ("figment", &["src/config"]),
    ("clap", &["src/cli", "src/bin", "src/payments/simulator/command.rs"]),
];

/// Reading the time, and the only place that may.
const CLOCK_READINGS: [&str; 3] = ["SystemTime::now", "Instant::now", "Utc::now"];
const CLOCK_HOME: &str = "src/clock.rs";

/// What the pure part may not even mention.
const IMPURE: [&str; 12] = [
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "std::fs",
    "std::net",
    "std::io",
    "std::thread",
    "std::env",
    "rand::",
    "f64",
    "f32",
];

/// The part of the program that a file belongs to: `src/storage/journal.rs` to `storage`.
fn part_of(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap_or(path);
    let first =
        inside.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// How many `super::` lead from a file's own module to the root of the crate.
fn depth_of(path: &Path) -> usize {
    let parts = path.strip_prefix("src").unwrap_or(path).components().count();
    if path.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// The words after each place where `prefix` begins a path: `crate::domain::ids` gives `["domain", "ids"]`. Groups in braces are opened.
fn paths_after(code: &str, prefix: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
            continue;
        }
        open(&code[at + prefix.len()..], &[], &mut found);
    }
    found
}

/// Reads one path, or a group of them, that begins at the start of `code`.
fn open<'code>(code: &'code str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'code str {
    let mut path = prefix.to_vec();
    let mut rest = code.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = open(group, &path, found).trim_start();
                match group.strip_prefix(',') {
                    Some(next) if !next.trim_start().starts_with('}') => group = next,
                    Some(next) => return next.trim_start().trim_start_matches('}'),
                    None => return group.strip_prefix('}').unwrap_or(group),
                }
            }
        }
        let word: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        rest = &rest[word.len()..];
        if !word.is_empty() {
            path.push(word);
        }
        match rest.strip_prefix("::") {
            Some(next) => rest = next.trim_start(),
            None => {
                found.push(path);
                let renamed = rest
                    .trim_start()
                    .strip_prefix("as ")
                    .map(|name| name.trim_start_matches(|c: char| c != ',' && c != '}' && c != ';'));
                return renamed.unwrap_or(rest);
            }
        }
    }
}

/// Is the module, or one that it is in, declared under `#[cfg(test)]`?
fn compiled(path: &Path) -> Compiled {
    let is_gated = |module: &Path| {
        let (Some(folder), Some(name)) = (module.parent(), module.file_stem().and_then(|name| name.to_str())) else {
            return false;
        };
        let parents = [folder.join("mod.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
        parents.iter().filter(|parent| root().join(parent).is_file()).any(|parent| {
            let text = read(parent);
            ["", "pub(crate) ", "pub(super) "]
                .iter()
                .any(|reach| text.contains(&format!("#[cfg(test)]\n{reach}mod {name};")))
        })
    };
    if path.ancestors().any(is_gated) { Compiled::ForTests } else { Compiled::Always }
}

/// Everything in `text`, the content of the file at `path`, that points the wrong way.
fn violations(path: &str, text: &str, compiled: Compiled) -> Vec<String> {
    let code = code_of(text);
    let place = Path::new(path);
    let part = part_of(place);
    let mut wrong = Vec::new();
    let allowed = MAY_NAME.iter().find(|(own, _)| *own == part).map(|(_, others)| *others);
    let is_root = matches!(part.as_str(), "main" | "lib");
    if allowed.is_none() && !is_root {
        wrong.push(format!("{path}: nobody has said what `{part}` may depend on"));
    }
    let up = "super::".repeat(depth_of(place));
    for prefix in ["crate::", "doorbuster::", up.as_str()] {
        if prefix.is_empty() {
            continue;
        }
        for named in paths_after(&code, prefix) {
            let Some(other) = named.first() else { continue };
            let known = MAY_NAME.iter().any(|(part, _)| part == other);
            let lawful = is_root || *other == part || allowed.is_some_and(|others| others.contains(&other.as_str()));
            let word_of_answers = part == "api"
                && other == "storage"
                && named.get(1).is_some_and(|word| API_MAY_NAME_OF_STORAGE.contains(&word.as_str()));
            let asks_the_audit = other == TESTS_MAY_NAME && compiled == Compiled::ForTests;
            if known && !lawful && !word_of_answers && !asks_the_audit {
                wrong.push(format!("{path}: `{part}` names `{}`", named.join("::")));
            }
        }
    }
    for (driver, homes) in DRIVERS {
        let at_home = homes.iter().any(|home| path.starts_with(home));
        if !at_home && !paths_after(&code, &format!("{driver}::")).is_empty() {
            wrong.push(format!("{path}: names the driver `{driver}`; only {} may", homes.join(", ")));
        }
    }
    if path != CLOCK_HOME {
        for reading in CLOCK_READINGS.iter().filter(|reading| code.contains(*reading)) {
            wrong.push(format!("{path}: reads the time by `{reading}`; only {CLOCK_HOME} may"));
        }
    }
    if part == "domain" && compiled == Compiled::Always {
        for word in IMPURE.iter().filter(|word| mentions(&code, word)) {
            wrong.push(format!("{path}: the domain is pure, but this says `{word}`"));
        }
    }
    wrong
}

/// Is `word` in the code, not as part of a longer one?
fn mentions(code: &str, word: &str) -> bool {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).any(|(at, _)| {
        let starts = word.starts_with('.') || !code[..at].chars().next_back().is_some_and(part_of_word);
        let ends = word.ends_with(':') || !code[at + word.len()..].chars().next().is_some_and(part_of_word);
        starts && ends
    })
}

#[test]
fn dependencies_point_one_way() {
    let sources = files("src", ".rs");
    assert!(sources.len() > 20, "the sources were not found");
    let wrong: Vec<String> =
        sources.iter().flat_map(|path| violations(&path.to_string_lossy(), &read(path), compiled(path))).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_checker_sees_what_points_the_wrong_way() {
    for (path, text) in [
        ("src/domain/cart.rs", "use crate::storage::Shard;"),
        ("src/domain/cart.rs", "use super::super::storage::Shard;"),
        ("src/domain/order/state.rs", "fn at() -> super::super::super::clock::Clock {}"),
        ("src/domain/mod.rs", "use super::actors::ask::Ask;"),
        ("src/domain/cart.rs", "use crate::{domain::ids::Sku, storage::{Seq, Shard}};"),
        ("src/domain/cart.rs", "async fn decide() {}"),
        ("src/domain/money.rs", "let price: f64 = 1.0;"),
        ("src/storage/journal.rs", "use crate::actors::ask::Ask;"),
        ("src/actors/shard.rs", "use crate::api::problem;"),
        ("src/actors/shard.rs", "let database = fjall::Database::builder(path);"),
        ("src/storage/memory/mod.rs", "use fjall::Keyspace;"),
        ("src/api/orders.rs", "use crate::storage::embedded::Store;"),
        ("src/api/orders.rs", "use crate::storage::Journal;"),
        ("src/api/orders.rs", "use ractor::ActorRef;"),
        ("src/payments/http.rs", "use crate::actors::router::Router;"),
        ("src/bin/tool.rs", "use doorbuster::api::seam::Seam;"),
        ("src/actors/shard.rs", "use crate::audit::audit_store;"),
        ("src/audit.rs", "use crate::actors::router::Router;"),
        ("src/actors/shard.rs", "let now = std::time::Instant::now();"),
        ("src/surprise.rs", "fn nothing() {}"),
    ] {
        assert!(!violations(path, text, Compiled::Always).is_empty(), "{path}: {text}");
    }
}

#[test]
fn the_checker_lets_pass_what_is_lawful() {
    for (path, text) in [
        ("src/domain/cart.rs", "use super::ids::Sku; use crate::domain::money::{Money, Currency as Unit};"),
        (
            "src/domain/cart.rs",
            "//! Beside [`crate::storage`].\n/* Instant::now */ const WORDS: &str = \"crate::storage\";",
        ),
        ("src/domain/cart.rs", "let buf64 = 1;"),
        ("src/storage/journal.rs", "use crate::domain::ids::EntityId;"),
        ("src/storage/embedded/states.rs", "use fjall::{Keyspace, Database};"),
        ("src/api/orders.rs", "use crate::storage::{Seq, Shard};"),
        ("src/actors/shard.rs", "use crate::payments::Provider; use ractor::Actor;"),
        ("src/clock.rs", "SystemTime::now()"),
        ("src/main.rs", "use doorbuster::node; use doorbuster::cli;"),
    ] {
        assert_eq!(violations(path, text, Compiled::Always), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn tests_alone_may_roll_dice_and_ask_the_audit() {
    for (path, text) in [
        ("src/domain/order/world/mod.rs", "use rand::Rng;"),
        ("src/domain/inventory/random.rs", "use rand::Rng;"),
        ("src/actors/tests.rs", "use crate::audit::audit_store;"),
    ] {
        let compiled = compiled(Path::new(path));
        assert_eq!(violations(path, text, compiled), Vec::<String>::new(), "{path}: {text}");
    }
    for path in ["src/domain/order/saga.rs", "src/domain/mod.rs", "src/actors/shard.rs", "src/clock.rs"] {
        assert!(compiled(Path::new(path)) == Compiled::Always, "{path}");
    }
    assert!(
        !violations("src/domain/order/world/mod.rs", "use crate::actors::ask::Ask;", Compiled::ForTests).is_empty()
    );
}
