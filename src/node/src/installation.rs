//! What makes the orders of this installation its own at a payment provider that several installations use (rule M6).
//!
//! An installation is one data folder, or one keyspace. Its id is random, made once, and a part of the ids of all orders that it places, and so
//! of their references at the provider. A folder or keyspace from before there were such ids gets one at its next start.

use super::NodeError;
use doorbuster_api::{Installation, secret};
use doorbuster_domain::ids::InstallationId;
use doorbuster_storage::ReadError;
use doorbuster_storage::cql::CqlJournal;
use doorbuster_storage::registry::Registry;
use std::io;
use std::path::Path;

/// The file in the data folder, and the kind of the row that the nodes of a cluster share.
const NAME: &str = "installation";
/// The name of the one row of its kind.
const ONLY: &str = "only";

/// 16 bytes of the id, one byte that says whether there were orders before it, and 15 random ones.
type Stored = [u8; 32];

fn fresh(has_older_orders: bool) -> io::Result<Stored> {
    let mut stored = secret::fresh()?;
    if let Some(byte) = stored.get_mut(16) {
        *byte = u8::from(has_older_orders);
    }
    Ok(stored)
}

fn read(stored: &Stored) -> Installation {
    let id = stored.iter().take(16).fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
    Installation { id: InstallationId(id), has_older_orders: stored.get(16) == Some(&1) }
}

/// The installation of a data folder; without one it lives as long as the process. `has_orders`: has the folder a log already?
pub(super) fn of_folder(folder: Option<&Path>, has_orders: bool) -> Result<Installation, NodeError> {
    let fresh = fresh(has_orders && folder.is_some()).map_err(NodeError::Installation)?;
    let Some(folder) = folder else { return Ok(read(&fresh)) };
    secret::kept_in_folder(folder, NAME, fresh).map(|stored| read(&stored)).map_err(NodeError::Installation)
}

/// The installation of a keyspace. The first node that comes makes it, by a lightweight transaction; all nodes have the same.
pub(super) async fn of_keyspace(journal: &CqlJournal) -> Result<Installation, NodeError> {
    let shared = journal.shared();
    let stored = match shared.get(NAME, ONLY).await? {
        Some(stored) => stored,
        None => {
            // Whoever claims a shard has made the row before. So if there are owners and no row, they are of nodes without such ids.
            let has_orders = !journal.registry().owners().await?.is_empty();
            shared.put_if_absent(NAME, ONLY, &fresh(has_orders).map_err(NodeError::Installation)?).await?
        }
    };
    let damaged = |_length| ReadError::Corrupt("the installation's row is not 32 bytes long".to_owned());
    Ok(read(&Stored::try_from(stored.as_slice()).map_err(damaged)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m6_a_folder_keeps_its_id_and_no_two_have_the_same() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = of_folder(Some(one.path()), false).unwrap();
        assert!(!made.has_older_orders);
        assert_eq!(of_folder(Some(one.path()), true).unwrap(), made, "what it says of its beginning stays true");
        let upgraded = of_folder(Some(other.path()), true).unwrap();
        assert!(upgraded.has_older_orders);
        assert_ne!(upgraded.id, made.id);
        assert_ne!(of_folder(None, false).unwrap().id, of_folder(None, false).unwrap().id);
    }

    #[test]
    fn a_damaged_file_is_refused_and_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "damaged").unwrap();
        assert!(matches!(of_folder(Some(folder.path()), true), Err(NodeError::Installation(_))));
    }
}
