//! The settings that one source gives, or all of them together: a tree of groups and values, each with where it was read.

use super::error::{Fault, Origin};
use super::keys::Keys;
use doorbuster_settings::{Kind, Text};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use toml_edit::{ImDocument, Item};

/// A value or a group, and where it was read last.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) origin: Origin,
    pub(super) node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Group(BTreeMap<String, Tree>),
    Value(Value),
}

impl Tree {
    /// The settings of a file.
    pub(super) fn of_file(path: &str, text: &str) -> Result<Self, Fault> {
        let at = |offset: usize| {
            let before = text.as_bytes().iter().take(offset);
            Origin { source: path.to_owned(), line: Some(1 + before.filter(|byte| **byte == b'\n').count()) }
        };
        let document = ImDocument::parse(text).map_err(|error| {
            let offset = error.span().map_or(text.len(), |span| span.start);
            Fault::Syntax { origin: at(offset), why: error.message().trim().replace('\n', "; ") }
        })?;
        Ok(Self::of_item(document.as_item(), at(0), &at))
    }

    fn of_item(item: &Item, origin: Origin, at: &impl Fn(usize) -> Origin) -> Self {
        let Some(table) = item.as_table_like() else {
            return Self { origin, node: Node::Value(json_of(item)) };
        };
        let mut group = BTreeMap::new();
        for (name, inner) in table.iter() {
            let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| inner.span());
            let origin = span.map_or_else(|| origin.clone(), |span| at(span.start));
            group.insert(name.to_owned(), Self::of_item(inner, origin, at));
        }
        Self { origin, node: Node::Group(group) }
    }

    /// A variable or a flag: one key, one value. Texts are taken as they are; everything else, and whole groups such as `{GB={name="VAT"}}`, in
    /// TOML's inline form.
    pub(super) fn of_one(source: &str, key: &str, raw: &str, keys: &Keys) -> Self {
        let origin = Origin { source: source.to_owned(), line: None };
        let is_text = keys.find(key).is_some_and(|setting| setting.kind.is_text());
        let parsed = if is_text { None } else { raw.parse::<toml_edit::Value>().ok() };
        let value = match parsed {
            Some(value) => Self::of_item(&Item::Value(value), origin.clone(), &|_offset| origin.clone()),
            None => Self { origin: origin.clone(), node: Node::Value(Value::from(raw)) },
        };
        key.rsplit('.').fold(value, |inner, part| {
            let group = BTreeMap::from([(part.to_owned(), inner)]);
            Self { origin: origin.clone(), node: Node::Group(group) }
        })
    }

    /// The built-in defaults.
    pub(super) fn of_defaults(value: Value) -> Self {
        let origin = Origin { source: "built-in default".to_owned(), line: None };
        let node = match value {
            Value::Object(group) => {
                Node::Group(group.into_iter().map(|(name, inner)| (name, Self::of_defaults(inner))).collect())
            }
            value => Node::Value(value),
        };
        Self { origin, node }
    }

    /// Lays `upper` over this: its values win, its groups add to those that are here.
    pub(super) fn merge(&mut self, upper: Self) {
        match (&mut self.node, upper.node) {
            (Node::Group(own), Node::Group(theirs)) => {
                for (name, inner) in theirs {
                    match own.get_mut(&name) {
                        Some(known) => known.merge(inner),
                        None => drop(own.insert(name, inner)),
                    }
                }
            }
            (own, theirs) => *own = theirs,
        }
        self.origin = upper.origin;
    }

    /// What stands at `key`.
    pub(super) fn find(&self, key: &str) -> Option<&Self> {
        key.split('.').try_fold(self, |tree, part| match &tree.node {
            Node::Group(group) => group.get(part),
            Node::Value(_) => None,
        })
    }

    /// As serde reads it.
    pub(super) fn into_json(self) -> Value {
        match self.node {
            Node::Value(value) => value,
            Node::Group(group) => {
                Value::Object(group.into_iter().map(|(name, inner)| (name, inner.into_json())).collect())
            }
        }
    }

    /// Puts the address of a host in place of its name, in each setting that is an address. A name that has none stays, and is not allowed there.
    pub(super) fn resolve(&mut self, keys: &Keys) {
        for setting in keys.iter().filter(|setting| matches!(setting.kind, Kind::Text(rule) if rule.is_address())) {
            let Some(Self { node: Node::Value(Value::String(text)), .. }) = self.find_mut(&setting.key) else {
                continue;
            };
            if let Some(address) = address_of(text) {
                *text = address.to_string();
            }
        }
    }

    /// Takes out what is no setting, or not allowed there; gives the faults, by line.
    pub(super) fn sift(&mut self, keys: &Keys) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.sift_below("", keys, &mut faults);
        faults.sort_by_key(|(line, _)| *line);
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    fn sift_below(&mut self, key: &str, keys: &Keys, faults: &mut Vec<(Option<usize>, Fault)>) -> bool {
        let found = self.fault_at(key, keys);
        if let Some(fault) = found {
            faults.push((self.origin.line, fault));
            return false;
        }
        if let Node::Group(group) = &mut self.node {
            group.retain(|name, inner| {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                inner.sift_below(&key, keys, faults)
            });
        }
        true
    }

    /// The fault of this node itself, not of what is below it.
    fn fault_at(&self, key: &str, keys: &Keys) -> Option<Fault> {
        let origin = || self.origin.clone();
        let not_allowed = |value: String, allowed: &str| {
            Some(Fault::NotAllowed { origin: origin(), key: key.to_owned(), value, allowed: allowed.to_owned() })
        };
        if let Some((value, allowed)) = unlawful_name(key) {
            return not_allowed(value, allowed);
        }
        match (&self.node, keys.find(key)) {
            (Node::Value(value), Some(setting)) if setting.kind.allows(value) => None,
            (Node::Value(_), Some(setting)) if matches!(setting.kind, Kind::Secret) => {
                not_allowed("(not shown)".to_owned(), &setting.kind.allowed())
            }
            (Node::Value(value), Some(setting)) => not_allowed(value.to_string(), &setting.kind.allowed()),
            (Node::Group(_), Some(setting)) => not_allowed("a group".to_owned(), &setting.kind.allowed()),
            (Node::Group(_), None) if key.is_empty() || keys.is_group(key) => None,
            (Node::Value(value), None) if keys.is_group(key) => not_allowed(value.to_string(), "a group of settings"),
            (Node::Group(_) | Node::Value(_), None) => {
                let nearest = keys.nearest(key).map(str::to_owned);
                Some(Fault::UnknownKey { origin: origin(), key: key.to_owned(), nearest })
            }
        }
    }

    /// Takes out groups that lack a setting which has no default; gives the faults.
    pub(super) fn sift_incomplete(&mut self, keys: &Keys) -> Vec<Fault> {
        let mut faults = Vec::new();
        for setting in keys.iter().filter(|setting| setting.is_required) {
            let Some((groups, field)) = setting.key.split_once(".*.") else { continue };
            // A table of names, such as `price.*`, may be empty, but not missing.
            let field = field.strip_suffix(".*").unwrap_or(field);
            let Some(Self { node: Node::Group(named), .. }) = self.find_mut(groups) else { continue };
            named.retain(|name, group| {
                let is_there = group.find(field).is_some();
                if !is_there {
                    faults.push(Fault::Together {
                        origin: group.origin.clone(),
                        key: format!("{groups}.{name}"),
                        value: "incomplete".to_owned(),
                        rule: format!("it needs `{field}`"),
                    });
                }
                is_there
            });
        }
        faults
    }

    fn find_mut(&mut self, key: &str) -> Option<&mut Self> {
        key.split('.').try_fold(self, |tree, part| match &mut tree.node {
            Node::Group(group) => group.get_mut(part),
            Node::Value(_) => None,
        })
    }
}

/// The address of `host:port`; of several the first of IPv4, as `localhost` is read by those who expect 127.0.0.1.
fn address_of(text: &str) -> Option<SocketAddr> {
    if text.parse::<SocketAddr>().is_ok() {
        return None;
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().ok()?.collect();
    found.iter().find(|address| address.is_ipv4()).or_else(|| found.first()).copied()
}

/// Countries and currencies are names that the operator chooses, but only among codes: what is wrong with the last part of `key`.
fn unlawful_name(key: &str) -> Option<(String, &'static str)> {
    let mut parts = key.rsplit('.');
    let (name, group) = (parts.next()?, parts.next()?);
    let (lawful, allowed) = match group {
        "countries" => ((Text::COUNTRY.holds)(name), "a two-letter country code in capitals as its name"),
        "price" => (doorbuster_domain::money::Currency::parse(name).is_ok(), "a currency code of ISO 4217 as its name"),
        _ => return None,
    };
    (!lawful).then(|| (format!("named `{name}`"), allowed))
}

/// A TOML value as JSON. What JSON does not have (a date, a float without a value) becomes a text or null, which no setting allows.
fn json_of(item: &Item) -> Value {
    if let Some(tables) = item.as_array_of_tables() {
        return Value::Array(tables.iter().map(|_table| Value::Object(Map::new())).collect());
    }
    item.as_value().map_or(Value::Null, json_of_value)
}

fn json_of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
        toml_edit::Value::Datetime(_) => Value::Null,
        toml_edit::Value::Array(values) => Value::Array(values.iter().map(json_of_value).collect()),
        toml_edit::Value::InlineTable(table) => {
            let pairs = table.iter().map(|(name, inner)| (name.to_owned(), json_of_value(inner)));
            Value::Object(pairs.collect())
        }
    }
}
