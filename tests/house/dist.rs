//! What is in `dist/` for those who run the product: its settings exist, its ports agree, its commands are understood.
//!
//! No container is built here; whatever a reader of these files alone can hold is held.

use crate::read;
use doorbuster_node::cli::EXIT_USAGE;
use doorbuster_node::config::{Config, Sources};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The variables of our settings in a file: `NAME: value` in YAML, `NAME=value` in a Dockerfile.
fn variables(text: &str, separator: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let line = line.trim().trim_start_matches("ENV ").trim_end_matches('\\').trim();
        let (name, value) = line.strip_prefix("DOORBUSTER__")?.split_once(separator)?;
        let value = value.trim().trim_matches(['"', '\'']);
        // `${NAME:?why}` must be given by whoever runs it, `${NAME:-default}` has a default.
        let value = match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(inner) => inner.split_once(":-").map_or("0123456789abcdef0123456789abcdef", |(_, usual)| usual),
            None => value,
        };
        Some((format!("DOORBUSTER__{name}"), value.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn loaded(variables: BTreeMap<String, String>) -> Config {
    let sources = Sources { file: None, variables: variables.into_iter().collect(), flags: Vec::new() };
    Config::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// The text of a service of the compose file, with its indentation.
fn service<'a>(compose: &'a str, name: &str) -> &'a str {
    let begin = compose.find(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("there is no service {name}"));
    let rest = &compose[begin + 1..];
    let is_next = |line: &str| !line.starts_with("    ") && !line.trim().is_empty() && !line.trim().starts_with('#');
    let mut end = 0;
    for (index, line) in rest.split_inclusive('\n').enumerate() {
        if index > 0 && is_next(line.trim_end()) {
            break;
        }
        end += line.len();
    }
    &rest[..end]
}

#[test]
fn the_image_has_settings_that_exist_and_opens_the_port_that_is_listened_on() {
    let text = read("dist/Dockerfile");
    let config = loaded(variables(&text, "="));
    assert!(text.contains(&format!("EXPOSE {}\n", config.api.listen.port())), "the public port");
    assert!(config.api.listen.ip().is_unspecified(), "a container's loopback is reached by nobody");
    assert!(config.api.operator_listen.ip().is_loopback(), "operators are not exposed unasked");
    assert!(text.contains(&format!("VOLUME {}\n", config.node.data_folder.display())), "the data is in the volume");
    let minimum = read("Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = ").map(str::to_owned));
    let minimum = minimum.expect("a rust-version");
    assert!(
        text.contains(&format!("FROM rust:{}-", minimum.trim_matches('"'))),
        "the oldest compiler that is supported"
    );
    for program in ["doorbuster", "payment-simulator"] {
        assert!(text.contains(&format!("--bin {program}")) && text.contains(&format!("ENTRYPOINT [\"{program}\"]")));
    }
}

#[test]
fn the_composed_cluster_has_settings_that_exist_and_services_that_agree() {
    let compose = read("dist/compose.yaml");
    let image = variables(&read("dist/Dockerfile"), "=");
    let (shared, _) = compose.split_once("\nservices:\n").expect("services");
    let shared = variables(shared, ":");
    let names: BTreeSet<&str> = ["scylla", "redis", "payments", "schema", "node1", "node2"].into();
    let mut published = BTreeSet::new();
    for name in ["node1", "node2"] {
        let text = service(&compose, name);
        let mut all = image.clone();
        all.extend(shared.clone());
        all.extend(variables(text, ":"));
        // The names of services are resolved by the network of the containers alone.
        let config = loaded(all);
        assert_eq!(config.node.name, name);
        assert_eq!(config.cluster.advertise, format!("{name}:{}", config.cluster.listen.port()));
        let port = text.lines().find_map(|line| line.trim().strip_prefix("ports: [\"")).expect("a port");
        let (outer, inner) = port.trim_end_matches("\"]").rsplit_once(':').expect("two ports");
        assert_eq!(inner, config.api.listen.port().to_string(), "{name}");
        assert!(outer.starts_with("127.0.0.1:") && published.insert(outer.to_owned()), "{outer}: on loopback, once");
        let hosts = config.cql.contact_points.iter().map(|point| point.split(':').next().unwrap_or_default());
        let others = [config.redis.url.0.as_str(), config.payments.url.as_str()];
        let others = others.iter().filter_map(|url| url.split_once("://")?.1.split(':').next());
        for host in hosts.chain(others) {
            assert!(names.contains(host) && compose.contains(&format!("\n  {host}:\n")), "there is no service {host}");
        }
        let port = config.payments.url.rsplit(':').next().expect("a port");
        assert!(service(&compose, "payments").contains(&format!("0.0.0.0:{port}")), "the provider listens there");
        assert!(read("dist/Dockerfile").contains(&format!("EXPOSE {port}\n")), "and its image says so");
    }
    assert!(service(&compose, "schema").contains("command: [schema, apply]"));
}

#[test]
fn the_unit_starts_what_the_program_understands_and_leaves_it_time_to_stop() {
    let unit = read("dist/doorbuster.service");
    let value = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("there is no {name}"))
    };
    let words: Vec<&str> = value("ExecStart").split(' ').collect();
    // The file is on another machine; everything else must be understood.
    let words = words.iter().map(|word| if word.starts_with("/etc/") { "cluster.toml" } else { word });
    let words: Vec<&str> = words.collect();
    let config = crate::root().join("cluster.toml");
    let words = words.iter().map(|word| if *word == "cluster.toml" { config.to_str().expect("UTF-8") } else { word });
    let asked = doorbuster_node::cli::read(words, Vec::new());
    assert!(asked.is_ok(), "{asked:?}");
    let stop_s: u64 = value("TimeoutStopSec").parse().expect("seconds");
    assert!(stop_s * 1_000 > Config::default().node.drain_timeout_ms, "systemd kills it before it has stopped");
    assert_eq!(value("RestartPreventExitStatus"), EXIT_USAGE.to_string());
    assert_eq!(value("StateDirectory"), "doorbuster");
    assert!(value("ExecStart").contains("--data /var/lib/doorbuster"));
}

/// Where there is systemd, it says whether it understands the unit. The program is not installed here, so another one stands for it.
#[test]
fn systemd_understands_the_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("doorbuster.service");
    let unit = read("dist/doorbuster.service").replace("/usr/local/bin/doorbuster", "/bin/true");
    std::fs::write(&path, unit).expect("written");
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        eprintln!("NOT TESTED, no systemd-analyze: whether systemd understands dist/doorbuster.service");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("doorbuster.service"), "{said}");
}
