//! Where secret keys are kept: in a node's data folder, or in the store that the nodes of a cluster share.

use super::NodeError;
use super::shared_keys::{KEYS_KNOWN_AFTER, SharedKeys};
use crate::config::{Config, JournalKind};
use doorbuster_api::keys::{self, FirstKey, Keys, ListedKey, Made, Scope};
use doorbuster_api::secret;
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::cql::CqlJournal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the keys are. Copies are the same keys.
#[derive(Debug, Clone)]
pub(super) enum KeyStore {
    /// A file of the data folder.
    Folder(PathBuf, Keys),
    /// Rows of a cluster's store.
    Shared(SharedKeys),
}

impl KeyStore {
    /// The keys of a data folder. A damaged file is refused.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, NodeError> {
        Ok(Self::Folder(folder.to_owned(), Keys::of_folder(folder)?))
    }

    /// The keys that the settings point to, for a command beside running nodes.
    pub(super) async fn of_settings(config: &Config) -> Result<Self, NodeError> {
        match config.journal.kind {
            JournalKind::Cql => {
                let journal = CqlJournal::open(super::settings::cql(config, None)).await?;
                Ok(Self::Shared(SharedKeys::open(journal.shared()).await?))
            }
            JournalKind::Embedded if config.node.data_folder.exists() => Self::of_folder(&config.node.data_folder),
            JournalKind::Embedded => {
                Err(NodeError::Setting(format!("there is no data folder {}", config.node.data_folder.display())))
            }
            JournalKind::Memory => Err(NodeError::Setting(
                "journal.kind = \"memory\": the node's one key is shown at its start, and ends with it".to_owned(),
            )),
        }
    }

    pub(super) const fn keys(&self) -> &Keys {
        match self {
            Self::Folder(_, keys) => keys,
            Self::Shared(shared) => shared.keys(),
        }
    }

    /// Makes the key of a first start, if nobody is known to have a key. It is to be shown, and then to be marked as shown.
    pub(super) async fn first_key(
        &self,
        node: &str,
        seller: &str,
        now: Timestamp,
    ) -> Result<Option<FirstKey>, NodeError> {
        match self {
            Self::Folder(folder, _) => {
                if !keys::needs_first(folder, now)? {
                    return Ok(None);
                }
                let fresh = secret::fresh().map_err(NodeError::Secret)?;
                Ok(Some(keys::create_first(folder, node, seller, &fresh, now)?))
            }
            Self::Shared(shared) => shared.first_key(node, seller, now).await,
        }
    }

    /// Notes that somebody was shown the key of a first start: later starts make no other one.
    pub(super) async fn mark_shown(&self, id: &str, now: Timestamp) -> Result<(), NodeError> {
        match self {
            Self::Folder(folder, _) => Ok(keys::mark_shown(folder, id, now)?),
            Self::Shared(shared) => shared.mark_shown(id, now).await,
        }
    }

    /// Makes a key. When this returns, running nodes accept it.
    pub(super) async fn create(&self, account: &str, scopes: &[Scope], now: Timestamp) -> Result<Made, NodeError> {
        let made = match self {
            Self::Folder(folder, _) => {
                keys::create(folder, account, scopes, &secret::fresh().map_err(NodeError::Secret)?, now)?
            }
            Self::Shared(shared) => shared.create(account, scopes, now).await?,
        };
        tokio::time::sleep(self.known_after()).await;
        Ok(made)
    }

    /// The valid keys.
    pub(super) async fn list(&self) -> Result<Vec<ListedKey>, NodeError> {
        match self {
            Self::Folder(folder, _) => Ok(keys::list(folder)?),
            Self::Shared(shared) => shared.list().await,
        }
    }

    /// Revokes a key. When this returns, running nodes refuse it.
    pub(super) async fn revoke(&self, id: &str, now: Timestamp) -> Result<(), NodeError> {
        match self {
            Self::Folder(folder, _) => keys::revoke(folder, id, now)?,
            Self::Shared(shared) => shared.revoke(id, now).await?,
        }
        tokio::time::sleep(self.known_after()).await;
        Ok(())
    }

    /// After this time a request to a running node meets what was changed.
    fn known_after(&self) -> Duration {
        match self {
            Self::Folder(..) => Duration::from_millis(keys::RELOAD_CHECK_MS),
            Self::Shared(_) => KEYS_KNOWN_AFTER,
        }
    }
}
