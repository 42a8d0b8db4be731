//! The keys and the secret of a cluster, in the store that all nodes share.

use super::NodeError;
use doorbuster_api::keys::{self, FirstKey, Keys, Known, ListedKey, Made, Scope};
use doorbuster_api::secret::{self, Secret};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::ReadError;
use doorbuster_storage::cql::CqlShared;
use std::path::Path;
use std::time::Duration;

/// Every node reads the keys this often.
const KEYS_EVERY: Duration = Duration::from_secs(1);
/// After this time every node that can read the store has read a change of the keys: two turns of reading, the second one for a slow first one.
pub(super) const KEYS_KNOWN_AFTER: Duration = Duration::from_secs(2);
/// Kinds of rows that all nodes share.
const KEY: &str = "key";
const SECRET: &str = "secret";
/// The name of the one row of its kind.
const ONLY: &str = "only";
/// The row of the first key: of nodes that start at the same moment, only one writes it.
const FIRST: &str = "first";

/// The keys and the secret of a cluster. Copies are the same ones.
#[derive(Debug, Clone)]
pub(super) struct SharedKeys {
    shared: CqlShared,
    keys: Keys,
    secret: Secret,
}

impl SharedKeys {
    /// Reads the keys, and the secret; the first node of a cluster makes the secret.
    pub(super) async fn open(shared: CqlShared) -> Result<Self, NodeError> {
        let fresh = secret::fresh().map_err(NodeError::Secret)?;
        let stored = shared.put_if_absent(SECRET, ONLY, &fresh).await?;
        let bytes = <[u8; 32]>::try_from(stored.as_slice())
            .map_err(|_length| ReadError::Corrupt("the shared secret is not 32 bytes long".to_owned()))?;
        let keys = Keys::of_lines(&lines(&shared).await?)?;
        Ok(Self { shared, keys, secret: Secret::new(&bytes) })
    }

    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) const fn secret(&self) -> &Secret {
        &self.secret
    }

    async fn known(&self) -> Result<Known, NodeError> {
        Ok(Known::read(Path::new(KEY), &lines(&self.shared).await?)?)
    }

    /// Makes the key of a first start, if nobody is known to have a key; of nodes that start at the same moment only one shows it.
    pub(super) async fn first_key(
        &self,
        node: &str,
        seller: &str,
        now: Timestamp,
    ) -> Result<Option<FirstKey>, NodeError> {
        if !self.known().await?.needs_first(Some(node), now) {
            return Ok(None);
        }
        let fresh = secret::fresh().map_err(NodeError::Secret)?;
        let Made { token, key, line } = keys::made_first(node, seller, &fresh, now);
        let is_ours = self.shared.put_if_absent(KEY, FIRST, &line).await? == line;
        // The first key of an earlier start, which was never shown, or of another node, which is about to show it.
        if !is_ours {
            if !self.known().await?.needs_first(Some(node), now) {
                return Ok(None);
            }
            self.shared.put_if_absent(KEY, &key.id, &line).await?;
        }
        self.keys.replace(&lines(&self.shared).await?)?;
        Ok(Some(FirstKey { token, id: key.id }))
    }

    /// Marks a first key as shown.
    pub(super) async fn mark_shown(&self, id: &str, now: Timestamp) -> Result<(), NodeError> {
        self.shared.put_if_absent(KEY, &format!("shown/{id}"), &keys::shown_line(id, now)).await?;
        Ok(())
    }

    /// Makes a key.
    pub(super) async fn create(&self, account: &str, scopes: &[Scope], now: Timestamp) -> Result<Made, NodeError> {
        let fresh = secret::fresh().map_err(NodeError::Secret)?;
        let made = keys::made(account, scopes, &fresh, now);
        self.shared.put_if_absent(KEY, &made.key.id, &made.line).await?;
        Ok(made)
    }

    /// The valid keys.
    pub(super) async fn list(&self) -> Result<Vec<ListedKey>, NodeError> {
        Ok(self.known().await?.list())
    }

    /// Revokes a key.
    pub(super) async fn revoke(&self, id: &str, now: Timestamp) -> Result<(), NodeError> {
        if !self.list().await?.iter().any(|listed| listed.id == id) {
            return Err(keys::KeysError::Unknown(id.to_owned()).into());
        }
        self.shared.put_if_absent(KEY, &format!("revoked/{id}"), &keys::revoked_line(id, now)).await?;
        Ok(())
    }

    /// Reads the keys that others make and revoke, until the task is ended.
    pub(super) async fn follow(self) {
        let mut ticks = tokio::time::interval(KEYS_EVERY);
        loop {
            ticks.tick().await;
            match lines(&self.shared).await {
                Ok(lines) => {
                    if let Err(error) = self.keys.replace(&lines) {
                        tracing::error!(%error, "the shared keys cannot be read; the known ones stay valid");
                    }
                }
                Err(error) => tracing::debug!(%error, "the shared keys were not read; the known ones stay valid"),
            }
        }
    }
}

async fn lines(shared: &CqlShared) -> Result<String, ReadError> {
    let lines = shared.all(KEY).await?;
    let text: Result<Vec<String>, _> = lines.into_values().map(String::from_utf8).collect();
    let damaged = |_not_utf8| ReadError::Corrupt("a shared key is not UTF-8".to_owned());
    Ok(text.map_err(damaged)?.join("\n"))
}
