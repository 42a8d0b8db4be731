//! Claims about the settings: which source wins, what is refused and in which words.

use super::*;
use doorbuster_settings::Kind;
use serde_json::Value;
use std::path::PathBuf;

const SHIPPED: &str = include_str!("../../../../cluster.toml");

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn from_file(text: &str) -> Result<Config, Error> {
    let (_folder, path) = file(text);
    Config::load(&Sources { file: Some(path), ..Sources::default() })
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, Error> {
    let (_folder, path) = file("");
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&Sources { file: Some(path), variables, flags: Vec::new() })
}

/// The one fault that there is.
fn only<T: std::fmt::Debug>(loaded: Result<T, Error>) -> Fault {
    let mut faults = loaded.unwrap_err().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

fn leaves(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    let Some(group) = value.as_object() else {
        found.push((prefix.to_owned(), value.clone()));
        return;
    };
    for (name, inner) in group {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        leaves(&key, inner, found);
    }
}

fn default_leaves() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    leaves("", &serde_json::to_value(Config::default()).unwrap(), &mut found);
    found
}

#[test]
fn every_default_is_allowed_by_its_own_declaration() {
    let keys = Config::keys();
    for (key, value) in default_leaves() {
        let setting = keys.find(&key).unwrap_or_else(|| panic!("{key} is not declared"));
        assert!(setting.kind.allows(&value), "{key} = {value:?}; allowed: {}", setting.kind.allowed());
    }
}

#[test]
fn every_declaration_is_a_setting_that_serde_reads() {
    let leaves = default_leaves();
    for setting in Config::keys().iter() {
        assert!(leaves.iter().any(|(key, _)| is_at(&setting.key, key)), "{} is declared, but no field", setting.key);
    }
}

#[test]
fn every_word_that_is_allowed_is_one_the_types_know() {
    for setting in Config::keys().iter() {
        let Kind::OneOf(words) = setting.kind else { continue };
        for word in words {
            let (section, key) = setting.key.split_once('.').unwrap();
            let secret = "[payments]\nwebhook_secret = \"0123456789abcdef\"\n";
            let text = if section == "payments" {
                format!("{secret}{key} = \"{word}\"\n")
            } else if *word == "cql" {
                // Nodes that share a journal share a secret and a provider, too.
                let provider = "provider = \"http\"\nurl = \"http://127.0.0.1:1\"\n";
                format!(
                    "[{section}]\n{key} = \"{word}\"\n[cluster]\ncookie = \"{}\"\n{secret}{provider}",
                    "07".repeat(32)
                )
            } else {
                format!("[{section}]\n{key} = \"{word}\"\n")
            };
            assert!(from_file(&text).is_ok(), "{} = {word}: {:?}", setting.key, from_file(&text));
        }
    }
}

#[test]
fn the_shipped_file_says_exactly_the_built_in_defaults() {
    let shipped = tree::Tree::of_file("cluster.toml", SHIPPED).unwrap();
    let (mut found, mut defaults) = (Vec::new(), default_leaves());
    leaves("", &shipped.into_json(), &mut found);
    found.sort_by(|one, other| one.0.cmp(&other.0));
    defaults.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(found, defaults, "cluster.toml lists each setting once, with its default");
    assert_eq!(from_file(SHIPPED).unwrap(), Config::default());
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let (_folder, path) = file("[node]\nshards = 2\nname = \"from-file\"\ndata_folder = \"from-file\"\n");
    let config = Config::load(&Sources {
        file: Some(path),
        variables: vec![
            ("DOORBUSTER__NODE__NAME".to_owned(), "from-variable".to_owned()),
            ("DOORBUSTER__NODE__DATA_FOLDER".to_owned(), "from-variable".to_owned()),
            ("PATH".to_owned(), "/bin".to_owned()),
        ],
        flags: vec![("--data", "node.data_folder", "from-flag".to_owned())],
    })
    .unwrap();
    assert_eq!(config.node.worker_threads, Config::default().node.worker_threads);
    assert_eq!(config.node.shards, 2);
    assert_eq!(config.node.name, "from-variable");
    assert_eq!(config.node.data_folder, PathBuf::from("from-flag"));
}

#[test]
fn an_unknown_key_is_an_error_that_names_file_line_and_what_was_meant() {
    let (_folder, path) = file("[api]\n\nconections_max = 5\n");
    let error = Config::load(&Sources { file: Some(path.clone()), ..Sources::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}:3: there is no setting `api.conections_max`; did you mean `api.connections_max`?", path.display())
    );
    for text in ["[moon]\nphase = 1\n", "phase = 1\n", "[tax.countries.GB]\nnames = \"VAT\"\n", "[api.limits]\nx = 1\n"]
    {
        assert!(matches!(only(from_file(text)), Fault::UnknownKey { .. }), "{text}: {:?}", from_file(text));
    }
}

#[test]
fn an_unknown_variable_is_an_error_that_names_it() {
    let text = only(from_variables(&[("DOORBUSTER__NODE__SHARD", "2")])).to_string();
    assert!(text.starts_with("DOORBUSTER__NODE__SHARD: ") && text.contains("did you mean `node.shards`?"), "{text}");
}

#[test]
fn every_unknown_variable_that_begins_like_ours_is_an_error_that_names_the_nearest() {
    let text = only(from_variables(&[("DOORBUSTER_API_LISTEN", "0.0.0.0:80")])).to_string();
    assert_eq!(text, "DOORBUSTER_API_LISTEN: there is no such variable; did you mean `DOORBUSTER__API__LISTEN`?");
    for misspelt in ["DOORBUSTER_NODE__SHARDS", "DOORBUSTER_API_OPERATOR_LISTN", "DOORBUSTER_payments_url"] {
        assert!(matches!(only(from_variables(&[(misspelt, "1")])), Fault::UnknownVariable { .. }), "{misspelt}");
    }
    let text = only(from_variables(&[("DOORBUSTER_API_BIND_TO_ADDRESS", "0.0.0.0:80")])).to_string();
    assert_eq!(text, "DOORBUSTER_API_BIND_TO_ADDRESS: there is no such variable", "none is near");
    for (unknown, nearest) in [
        ("DOORBUSTER_LISTEN_TO", None),
        ("DOORBUSTER_COLOUR", None),
        ("DOORBUSTER_", None),
        ("DOORBUSTER_LOG_LEVL", Some("DOORBUSTER__LOG__LEVEL")),
        ("DOORBUSTER_FAULTS_TEL", Some("DOORBUSTER_FAULTS_TELL")),
        ("DOORBUSTER_SEDS", Some("DOORBUSTER_SEEDS")),
    ] {
        let fault = only(from_variables(&[(unknown, "1")]));
        let expected = Fault::UnknownVariable { variable: unknown.into(), nearest: nearest.map(str::to_owned) };
        assert_eq!(fault, expected);
    }
    // What Kubernetes puts there for services named doorbuster, doorbuster-api and doorbuster-redis.
    for (link, value) in [
        ("DOORBUSTER_SERVICE_HOST", "10.0.0.1"),
        ("DOORBUSTER_PORT", "tcp://10.0.0.1:80"),
        ("DOORBUSTER_API_SERVICE_PORT_HTTP", "80"),
        ("DOORBUSTER_API_PORT", "tcp://10.0.0.1:80"),
        ("DOORBUSTER_REDIS_PORT_6379_TCP_ADDR", "10.0.0.1"),
    ] {
        assert!(from_variables(&[(link, value)]).is_ok(), "{link}");
    }
    // Those of the tests and of the harness.
    for other in VARIABLES_OF_TESTS.iter().copied().chain(["DOORBUSTER", "PATH"]) {
        assert!(from_variables(&[(other, "1")]).is_ok(), "{other}");
    }
}

#[test]
fn an_address_may_name_its_host() {
    let config = from_variables(&[
        ("DOORBUSTER__API__LISTEN", "localhost:8080"),
        ("DOORBUSTER__CLUSTER__LISTEN", "localhost:7100"),
    ]);
    let config = config.unwrap();
    assert_eq!(config.api.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(config.cluster.listen.ip().is_loopback());
    let text = only(from_variables(&[("DOORBUSTER__API__LISTEN", "no-such-host.invalid:80")])).to_string();
    assert!(text.contains("`api.listen` is \"no-such-host.invalid:80\"; allowed: an IP address or the name"), "{text}");
}

#[test]
fn every_fault_is_reported_at_once_each_with_its_place() {
    let text = "[node]\nshards = 0\nnme = \"a\"\n\n[journal]\nkind = \"paper\"\n\n[redis]\nfresh_ms = 3_000\n\n[tax.countries.FR]\nname = \"TVA\"\n";
    let (_folder, path) = file(text);
    let error = Config::load(&Sources {
        file: Some(path.clone()),
        variables: vec![("DOORBUSTER__API__BACKLOG".to_owned(), "many".to_owned())],
        flags: vec![("--listen", "api.listen", "nowhere".to_owned())],
    });
    let path = path.display();
    let expected = [
        format!("{path}:2: `node.shards` is 0; allowed: a whole number from 1 to 4096"),
        format!("{path}:3: there is no setting `node.nme`; did you mean `node.name`?"),
        format!("{path}:6: `journal.kind` is \"paper\"; allowed: embedded, memory, cql"),
        "DOORBUSTER__API__BACKLOG: `api.backlog` is \"many\"; allowed: a whole number from 1 to 65535".to_owned(),
        "--listen: `api.listen` is \"nowhere\"; allowed: an IP address or the name of a host, and a port, like 127.0.0.1:8080 or localhost:8080".to_owned(),
        format!("`tax.countries.FR` ({path}:11) is incomplete, but it needs `rate_ppm`"),
        format!("`redis.fresh_ms` ({path}:9) is 3000, but redis.stale_ms is 2000: what is fresh is not stale"),
    ];
    let text = error.unwrap_err().to_string();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_value_that_is_not_allowed_is_not_reported_a_second_time_through_a_rule() {
    let fault = only(from_file("[cluster]\nreconnect_max_ms = 0\nreconnect_min_ms = 3_600_000\n"));
    assert!(matches!(fault, Fault::NotAllowed { .. }), "{fault}");
}

#[test]
fn a_number_out_of_range_is_an_error_that_names_source_key_value_and_range() {
    let error = from_variables(&[("DOORBUSTER__NODE__SHARDS", "0")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "DOORBUSTER__NODE__SHARDS: `node.shards` is 0; allowed: a whole number from 1 to 4096"
    );
}

#[test]
fn the_ends_of_every_range_are_allowed_by_the_declaration_and_fit_the_types() {
    for setting in Config::keys().iter() {
        let Kind::Number(low, high) = setting.kind else { continue };
        let key = setting.key.replacen("countries.*", "countries.GB", 1).replacen("options.*", "options.std", 1);
        let key = key.replace("price.*", "price.GBP").replace("classes_ppm.*", "classes_ppm.reduced");
        let key = key.replace("method_hold_s.*", "method_hold_s.bank_transfer");
        let name = format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase().replace('.', "__"));
        for number in [low, high] {
            // A lawful end may still contradict another setting; then that is what the error says.
            if let Err(error) = from_variables(&[(&name, &number.to_string())]) {
                assert!(
                    error.faults.iter().all(|fault| matches!(fault, Fault::Together { .. })),
                    "{key} = {number}: {error}"
                );
            }
        }
        let beyond = from_variables(&[(&name, &(high + 1).to_string())]);
        assert!(matches!(only(beyond), Fault::NotAllowed { .. }), "{key} = {high} + 1");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_in_the_same_words() {
    for text in [
        "[node]\nshards = \"8\"\n",
        "[node]\nshards = 8.0\n",
        "[node]\nshards = -1\n",
        "[node]\nname = 7\n",
        "[node]\nname = \" \"\n",
        "[api]\nlisten = \"localhost\"\n",
        "[journal]\nkind = \"paper\"\n",
        "[faults]\nallowed = 1\n",
        "[tax.countries.GB]\nrate_ppm = 1000001\n",
        "[tax.countries.gb]\nname = \"VAT\"\n",
        "[shipping.options.std.price]\nGPB = 499\n",
        "[shipping.options.std]\ncountries = [\"England\"]\n",
        "node = 3\n",
    ] {
        assert!(matches!(only(from_file(text)), Fault::NotAllowed { .. }), "{text}: {:?}", from_file(text));
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (variable, value, key) in [
        ("DOORBUSTER__API__OPERATOR_LISTEN", "127.0.0.1:8080", "api.operator_listen"),
        ("DOORBUSTER__API__REQUEST_TIMEOUT_MS", "30000", "api.request_timeout_ms"),
        ("DOORBUSTER__ENTITIES__EFFECT_RETRY_MAX_MS", "10", "entities.effect_retry_min_ms"),
        ("DOORBUSTER__ENTITIES__RESTART_DELAY_MAX_MS", "10", "entities.restart_delay_min_ms"),
        ("DOORBUSTER__CLUSTER__TLS_KEY", "node.key", "cluster.tls_certificate"),
        ("DOORBUSTER__CLUSTER__RECONNECT_MAX_MS", "10", "cluster.reconnect_min_ms"),
        ("DOORBUSTER__CLUSTER__BEAT_MS", "2000", "cluster.stale_ms"),
        ("DOORBUSTER__CLUSTER__STALE_MISSED_MS", "5000", "cluster.stale_missed_ms"),
        ("DOORBUSTER__CLUSTER__RELEASE_TIMEOUT_MS", "15000", "cluster.handoff_timeout_ms"),
        ("DOORBUSTER__CLUSTER__CLAIM_RETRY_MAX_MS", "100", "cluster.claim_retry_min_ms"),
        ("DOORBUSTER__API__COMMAND_TIMEOUT_MS", "35000", "api.command_timeout_ms"),
        ("DOORBUSTER__JOURNAL__BATCH_BYTES_MAX", "1048576", "journal.batch_bytes_max"),
        ("DOORBUSTER__JOURNAL__SEGMENT_BYTES", "4194304", "journal.segment_bytes"),
        ("DOORBUSTER__SHIPPING__DEFAULT_OPTION", "drone", "shipping.default_option"),
        ("DOORBUSTER__PAYMENTS__PROVIDER", "http", "payments.webhook_secret"),
    ] {
        let faults = from_variables(&[(variable, value)]).unwrap_err().faults;
        let named = |fault: &Fault| matches!(fault, Fault::Together { key: named, .. } if named == key);
        assert!(faults.iter().all(named), "{variable}={value}: {faults:?}");
    }
}

#[test]
fn a_secret_is_not_shown_in_an_error() {
    let error = from_variables(&[
        ("DOORBUSTER__PAYMENTS__PROVIDER", "http"),
        ("DOORBUSTER__PAYMENTS__WEBHOOK_SECRET", "hunter2"),
    ]);
    assert!(!error.unwrap_err().to_string().contains("hunter2"));
    let error = from_file("[payments]\nwebhook_secret = [\"hunter2\"]\n").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let config = from_file("[payments]\nwebhook_secret = \"hunter2\"\n").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn an_incomplete_group_is_refused() {
    let error = from_file("[tax.countries.FR]\nname = \"TVA\"\n").unwrap_err();
    assert!(error.to_string().contains("rate_ppm"), "{error}");
}

#[test]
fn a_replay_without_tax_and_shipping_can_be_said_by_variables_alone() {
    let config =
        from_variables(&[("DOORBUSTER__TAX__CHARGE", "false"), ("DOORBUSTER__SHIPPING__CHARGE", "false")]).unwrap();
    assert!(!config.tax.charge && !config.shipping.charge);
}

#[test]
fn a_variable_can_name_a_country_a_currency_and_a_whole_group() {
    let config = from_variables(&[
        ("DOORBUSTER__TAX__COUNTRIES__FR", "{name=\"TVA\",rate_ppm=200000,classes_ppm={books=55000}}"),
        ("DOORBUSTER__SHIPPING__OPTIONS__STD__PRICE__GBP", "0"),
        ("DOORBUSTER__SHIPPING__OPTIONS__STD__COUNTRIES", "[\"GB\",\"FR\"]"),
        ("DOORBUSTER__NODE__NAME", "7"),
    ])
    .unwrap();
    let france = config.tax.countries.get("FR").unwrap();
    assert_eq!((france.name.as_str(), france.rate_ppm, france.classes_ppm["books"]), ("TVA", 200_000, 55_000));
    assert!(config.tax.countries.contains_key("GB"), "a layer adds to a group, it does not replace it");
    let standard = config.shipping.options.get("std").unwrap();
    assert_eq!((standard.price["GBP"], standard.price["EUR"]), (0, 599));
    assert_eq!(standard.countries, ["GB", "FR"]);
    assert_eq!(config.node.name, "7");
}

#[test]
fn a_named_file_must_be_there_and_be_toml() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Sources { file: Some(folder.path().join("none.toml")), ..Sources::default() };
    assert!(matches!(only(Config::load(&missing)), Fault::Read { .. }));
    let fault = only(from_file("[api]\n[node\n"));
    assert!(matches!(&fault, Fault::Syntax { origin, .. } if origin.line == Some(2)), "{fault}");
}
