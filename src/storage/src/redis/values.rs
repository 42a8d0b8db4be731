//! Values with versions: a newer value replaces an older one, and nothing else does.
//!
//! Each is a hash of `v`, its version, and `body`. One script compares and writes, so two writers cannot interfere. Versions are compared as digits,
//! first by length, because a script's numbers are floats, exact only up to 2^53.

use super::{Link, LinkError};
use bytes::Bytes;
use redis::Script;
use std::sync::{Arc, LazyLock};

/// The number of keys that one step of a scan looks at, approximately.
const SCAN_COUNT: usize = 1_000;

static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local function newer(a, b)
           if #a ~= #b then return #a > #b end
           return a > b
         end
         local applied = 0
         for i, key in ipairs(KEYS) do
           local version = ARGV[2 * i - 1]
           local known = redis.call('HGET', key, 'v')
           if not known or newer(version, known) then
             redis.call('HSET', key, 'v', version, 'body', ARGV[2 * i])
             applied = applied + 1
           end
         end
         return applied",
    )
});

static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local known = redis.call('HGET', KEYS[1], 'v') or ''
         if known ~= ARGV[1] then return 0 end
         redis.call('DEL', KEYS[1])
         if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'v', ARGV[2], 'body', ARGV[3]) end
         return 1",
    )
});

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The version; a greater one is newer.
    pub version: u64,
    /// The value's bytes.
    pub body: Bytes,
}

/// The values under one key prefix.
#[derive(Debug, Clone)]
pub struct VersionedValues {
    link: Arc<Link>,
    room: &'static str,
}

impl VersionedValues {
    /// The values under a prefix.
    #[must_use]
    pub const fn new(link: Arc<Link>, room: &'static str) -> Self {
        Self { link, room }
    }

    /// Stores each value that is newer than the stored one; returns how many were.
    ///
    /// # Errors
    /// [`LinkError`]; some values may be stored, and a repetition is harmless.
    pub async fn put(&self, values: &[(&str, Versioned)]) -> Result<u64, LinkError> {
        if values.is_empty() {
            return Ok(0);
        }
        let mut put = PUT.prepare_invoke();
        for (name, value) in values {
            put.key(self.link.key(self.room, name)).arg(value.version.to_string()).arg(&value.body[..]);
        }
        self.link.call(|mut connection| async move { put.invoke_async(&mut connection).await }).await
    }

    /// The values, in the order of the names.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn get(&self, names: &[&str]) -> Result<Vec<Option<Versioned>>, LinkError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for name in names {
            pipe.cmd("HMGET").arg(self.link.key(self.room, name)).arg("v").arg("body");
        }
        let found: Vec<(Option<String>, Option<Bytes>)> =
            self.link.call(|mut connection| async move { pipe.query_async(&mut connection).await }).await?;
        let value = |(version, body): (Option<String>, Option<Bytes>)| {
            Some(Versioned { version: version?.parse().ok()?, body: body? })
        };
        Ok(found.into_iter().map(value).collect())
    }

    /// Replaces the value of version `seen` (`None`: no value) by `with` (`None`: removes it). Returns `false` if another version is stored.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn replace(&self, name: &str, seen: Option<u64>, with: Option<&Versioned>) -> Result<bool, LinkError> {
        let digits = |version: Option<u64>| version.map_or_else(String::new, |version| version.to_string());
        let mut replace = REPLACE.prepare_invoke();
        replace.key(self.link.key(self.room, name)).arg(digits(seen));
        replace.arg(digits(with.map(|value| value.version))).arg(with.map_or(&[][..], |value| &value.body[..]));
        self.link.call(|mut connection| async move { replace.invoke_async(&mut connection).await }).await
    }

    /// The names of values, page by page. Begin with page 0 and continue with the returned number until it is 0. A name may occur twice.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn names(&self, page: u64) -> Result<(Vec<String>, u64), LinkError> {
        let begins = self.link.key(self.room, "");
        let mut scan = redis::cmd("SCAN");
        scan.arg(page).arg("MATCH").arg(format!("{}*", globbed(&begins))).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<String>) =
            self.link.call(|mut connection| async move { scan.query_async(&mut connection).await }).await?;
        let names = keys.iter().filter_map(|key| key.strip_prefix(&begins)).map(str::to_owned);
        Ok((names.collect(), next))
    }

    /// Whether a mark of this kind and name exists.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn marked(&self, kind: &str, name: &str) -> Result<bool, LinkError> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.link.key(kind, name));
        self.link.call(|mut connection| async move { exists.query_async(&mut connection).await }).await
    }

    /// Sets a mark, which disappears when Redis is emptied.
    ///
    /// # Errors
    /// [`LinkError`]: the call failed.
    pub async fn mark(&self, kind: &str, name: &str) -> Result<(), LinkError> {
        let mut set = redis::cmd("SET");
        set.arg(self.link.key(kind, name)).arg(1);
        self.link.call(|mut connection| async move { set.query_async(&mut connection).await }).await
    }
}

/// Escapes a text to a pattern that matches only itself.
fn globbed(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(super::globbed("a*b[1]:sku:"), "a\\*b\\[1\\]:sku:");
    }
}
