//! Where settings come from, laid over each other, each held against the table before it counts.

use super::Error;
use super::schema::{self, Kind};
use super::settings::{Config, JournalKind, PaymentProvider};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use std::path::{Path, PathBuf};

/// The file that is read when no other is named and it is there.
pub const FILE_NAME: &str = "cluster.toml";
/// What the names of all our environment variables begin with; `__` stands between section and key.
pub const ENVIRONMENT_PREFIX: &str = "DOORBUSTER__";

/// Where to look for settings beside the built-in defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// A file that must be there. `None`: [`FILE_NAME`] in the working folder if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; those without [`ENVIRONMENT_PREFIX`] are skipped.
    pub variables: Vec<(String, String)>,
    /// What the command line says: the flag, the key it sets, the value.
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

/// One source after reading: each setting it gives.
struct Layer {
    origin: String,
    settings: Dict,
}

impl Config {
    /// Reads, checks and merges all sources.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut layers = Vec::new();
        layers.extend(file_layer(sources.file.as_deref())?);
        for (name, value) in &sources.variables {
            if let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                layers.push(single_layer(name.clone(), &dotted(rest), value));
            }
        }
        for (flag, key, value) in &sources.flags {
            layers.push(single_layer((*flag).to_owned(), key, value));
        }
        let mut merged = Figment::from(Serialized::defaults(Self::default()));
        for layer in &layers {
            check_against_table(&layer.origin, "", &Value::from(layer.settings.clone()))?;
            merged = merged.merge(Serialized::defaults(layer.settings.clone()));
        }
        let config: Self = merged.extract().map_err(|error| unreadable(&error, &layers))?;
        config.check_together(&layers)?;
        Ok(config)
    }

    /// What must hold between settings that are each allowed by themselves.
    fn check_together(&self, layers: &[Layer]) -> Result<(), Error> {
        let (api, entities, journal, payments) = (&self.api, &self.entities, &self.journal, &self.payments);
        let longest_wait_ms = api.order_wait_ms.max(api.prefer_wait_max_s.saturating_mul(1000));
        let must = |holds: bool, key: &str, value: &dyn ToString, rule: String| {
            if holds {
                return Ok(());
            }
            Err(Error::Together { origin: origin_of(key, layers), key: key.to_owned(), value: value.to_string(), rule })
        };
        must(
            api.listen != api.operator_listen || api.listen.port() == 0,
            "api.operator_listen",
            &api.operator_listen,
            "shoppers and operators must not share an address (api.listen)".to_owned(),
        )?;
        must(
            api.request_timeout_ms > longest_wait_ms,
            "api.request_timeout_ms",
            &api.request_timeout_ms,
            format!(
                "a request may wait {longest_wait_ms} ms (api.order_wait_ms, api.prefer_wait_max_s) and must be answered after that"
            ),
        )?;
        must(
            self.admission.retry_after_max_s >= api.retry_after_s,
            "admission.retry_after_max_s",
            &self.admission.retry_after_max_s,
            format!("the least is {} s (api.retry_after_s)", api.retry_after_s),
        )?;
        must(
            entities.effect_retry_min_ms <= entities.effect_retry_max_ms,
            "entities.effect_retry_min_ms",
            &entities.effect_retry_min_ms,
            format!("entities.effect_retry_max_ms is {}", entities.effect_retry_max_ms),
        )?;
        must(
            entities.restart_delay_min_ms <= entities.restart_delay_max_ms,
            "entities.restart_delay_min_ms",
            &entities.restart_delay_min_ms,
            format!("entities.restart_delay_max_ms is {}", entities.restart_delay_max_ms),
        )?;
        must(
            api.command_timeout_ms < api.request_timeout_ms,
            "api.command_timeout_ms",
            &api.command_timeout_ms,
            format!(
                "the request that carries the command ends after {} ms (api.request_timeout_ms)",
                api.request_timeout_ms
            ),
        )?;
        must(
            journal.batch_bytes_max / 2 >= u64::try_from(api.body_bytes_max).unwrap_or(u64::MAX),
            "journal.batch_bytes_max",
            &journal.batch_bytes_max,
            format!(
                "what one request makes happen is one decision, never split, and needs up to twice api.body_bytes_max ({})",
                api.body_bytes_max
            ),
        )?;
        must(
            journal.segment_bytes >= journal.batch_bytes_max.saturating_mul(2),
            "journal.segment_bytes",
            &journal.segment_bytes,
            format!(
                "a segment must hold two of the largest batches (journal.batch_bytes_max is {})",
                journal.batch_bytes_max
            ),
        )?;
        must(
            self.reservations.hold_s <= self.reservations.hold_max_s,
            "reservations.hold_s",
            &self.reservations.hold_s,
            format!("reservations.hold_max_s is {}", self.reservations.hold_max_s),
        )?;
        must(
            self.redis.rest_min_ms <= self.redis.rest_max_ms,
            "redis.rest_min_ms",
            &self.redis.rest_min_ms,
            format!("redis.rest_max_ms is {}", self.redis.rest_max_ms),
        )?;
        must(
            self.redis.fresh_ms <= self.redis.stale_ms,
            "redis.fresh_ms",
            &self.redis.fresh_ms,
            format!("redis.stale_ms is {}: what is fresh is not stale", self.redis.stale_ms),
        )?;
        must(
            self.shipping.options.contains_key(&self.shipping.default_option),
            "shipping.default_option",
            &self.shipping.default_option,
            "shipping.options has no such option".to_owned(),
        )?;
        let inside = payments.provider == PaymentProvider::Simulated;
        let is_shared = journal.kind == JournalKind::Cql;
        must(
            !is_shared || !inside,
            "payments.provider",
            &"simulated",
            "the simulated provider's ledger lives in one process: nodes that share a journal (journal.kind = \"cql\") need \"http\"".to_owned(),
        )?;
        must(
            !is_shared || !self.cluster.cookie.0.is_empty(),
            "cluster.cookie",
            &"empty",
            "nodes that share a journal prove to each other that they belong together: `openssl rand -hex 32`"
                .to_owned(),
        )?;
        must(
            self.cql.batch_bytes_max / 2 >= u64::try_from(api.body_bytes_max).unwrap_or(u64::MAX),
            "cql.batch_bytes_max",
            &self.cql.batch_bytes_max,
            format!("one decision is one row and needs up to twice api.body_bytes_max ({})", api.body_bytes_max),
        )?;
        must(
            inside || payments.url.starts_with("http://"),
            "payments.url",
            &payments.url,
            "a provider outside the process is spoken to at http://host:port".to_owned(),
        )?;
        must(
            inside || payments.webhook_secret.0.len() >= WEBHOOK_SECRET_LENGTH_MIN,
            "payments.webhook_secret",
            &format!("{} characters long", payments.webhook_secret.0.len()),
            format!("a provider outside the process must sign with a secret of at least {WEBHOOK_SECRET_LENGTH_MIN}"),
        )?;
        self.check_cluster(must)
    }

    fn check_cluster(
        &self,
        must: impl Fn(bool, &str, &dyn ToString, String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let cluster = &self.cluster;
        let tls = [&cluster.tls_certificate, &cluster.tls_key, &cluster.tls_authority];
        must(
            tls.iter().all(|file| file.is_empty()) || tls.iter().all(|file| !file.is_empty()),
            "cluster.tls_certificate",
            &cluster.tls_certificate,
            "certificate, key and authority (cluster.tls_key, cluster.tls_authority) go together".to_owned(),
        )?;
        must(
            cluster.reconnect_min_ms <= cluster.reconnect_max_ms,
            "cluster.reconnect_min_ms",
            &cluster.reconnect_min_ms,
            format!("cluster.reconnect_max_ms is {}", cluster.reconnect_max_ms),
        )?;
        must(
            cluster.stale_ms >= cluster.beat_ms.saturating_mul(3),
            "cluster.stale_ms",
            &cluster.stale_ms,
            format!("nodes renew their rows every {} ms (cluster.beat_ms) and may miss one", cluster.beat_ms),
        )?;
        must(
            cluster.stale_missed_ms <= cluster.stale_ms,
            "cluster.stale_missed_ms",
            &cluster.stale_missed_ms,
            format!("without a heartbeat missed it is {} ms (cluster.stale_ms)", cluster.stale_ms),
        )?;
        must(
            cluster.handoff_timeout_ms > cluster.release_timeout_ms,
            "cluster.handoff_timeout_ms",
            &cluster.handoff_timeout_ms,
            format!(
                "its owner may take {} ms to give a shard away (cluster.release_timeout_ms)",
                cluster.release_timeout_ms
            ),
        )?;
        must(
            cluster.claim_retry_min_ms <= cluster.claim_retry_max_ms,
            "cluster.claim_retry_min_ms",
            &cluster.claim_retry_min_ms,
            format!("cluster.claim_retry_max_ms is {}", cluster.claim_retry_max_ms),
        )
    }
}

/// Shorter ones can be guessed by trying.
const WEBHOOK_SECRET_LENGTH_MIN: usize = 16;

fn file_layer(named: Option<&Path>) -> Result<Option<Layer>, Error> {
    let path = named.unwrap_or(Path::new(FILE_NAME));
    let origin = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Read { path: origin, why: error.to_string() }),
    };
    let settings = Figment::from(Toml::string(&text)).extract::<Dict>();
    let settings = settings.map_err(|error| Error::Syntax { path: origin.clone(), why: error.kind.to_string() })?;
    Ok(Some(Layer { origin, settings }))
}

/// A variable or a flag: one key, one value. Texts are taken as they are; everything else, and whole groups such as
/// `{GB={name="VAT"}}`, in TOML's inline form.
fn single_layer(origin: String, key: &str, raw: &str) -> Layer {
    let value = if schema::find(key).is_some_and(|setting| setting.kind.is_text()) {
        Value::from(raw)
    } else {
        raw.parse().unwrap_or_else(|never: std::convert::Infallible| match never {})
    };
    let nested = key.rsplit('.').fold(value, |inner, part| Value::from(Dict::from([(part.to_owned(), inner)])));
    Layer { origin, settings: nested.into_dict().unwrap_or_default() }
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

/// Every leaf of `value` must be a setting and allowed there; every group must be one that has settings.
fn check_against_table(origin: &str, key: &str, value: &Value) -> Result<(), Error> {
    if let Some(setting) = schema::find(key) {
        if setting.kind.allows(value) {
            return Ok(());
        }
        let (key, allowed) = (key.to_owned(), setting.kind.allowed());
        return Err(Error::NotAllowed { origin: origin.to_owned(), key, value: shown(setting.kind, value), allowed });
    }
    if !key.is_empty() && !schema::SETTINGS.iter().any(|setting| setting.is_at_or_under(key)) {
        let nearest = schema::nearest(key).map(str::to_owned);
        return Err(Error::UnknownKey { origin: origin.to_owned(), key: key.to_owned(), nearest });
    }
    let Some(group) = value.as_dict() else {
        let (origin, key) = (origin.to_owned(), key.to_owned());
        return Err(Error::NotAllowed {
            origin,
            key,
            value: shown(Kind::Text, value),
            allowed: "a group of settings".to_owned(),
        });
    };
    for (name, inner) in group {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        check_name(origin, &key, name)?;
        check_against_table(origin, &key, inner)?;
    }
    Ok(())
}

/// Countries and currencies are chosen by whoever writes the file, but not freely.
fn check_name(origin: &str, key: &str, name: &str) -> Result<(), Error> {
    let capitals = |length: usize| name.len() == length && name.bytes().all(|byte| byte.is_ascii_uppercase());
    let (lawful, allowed) = match key.split('.').rev().nth(1) {
        Some("countries") => (capitals(2), "a two-letter country code in capitals as its name"),
        Some("price") => {
            (doorbuster_domain::money::Currency::parse(name).is_ok(), "a currency code of ISO 4217 as its name")
        }
        _ => return Ok(()),
    };
    if lawful {
        return Ok(());
    }
    let (origin, key, allowed) = (origin.to_owned(), key.to_owned(), allowed.to_owned());
    Err(Error::NotAllowed { origin, key, value: format!("named `{name}`"), allowed })
}

/// A value as it would stand in the file, unless it is a secret.
fn shown(kind: Kind, value: &Value) -> String {
    if kind == Kind::Secret {
        return "(not shown)".to_owned();
    }
    serde_json::to_string(value).unwrap_or_else(|_| format!("{value:?}"))
}

/// The last source that gives `key`.
fn origin_of(key: &str, layers: &[Layer]) -> String {
    let gives = |layer: &&Layer| Value::from(layer.settings.clone()).find_ref(key).is_some();
    layers.iter().rev().find(gives).map_or_else(|| "built-in default".to_owned(), |layer| layer.origin.clone())
}

/// What the table let through and the types did not: a group that lacks a setting it must have, such as a country's name.
fn unreadable(error: &figment::Error, layers: &[Layer]) -> Error {
    let key = error.path.join(".");
    Error::Together {
        origin: origin_of(&key, layers),
        key,
        value: "incomplete".to_owned(),
        rule: error.kind.to_string(),
    }
}
