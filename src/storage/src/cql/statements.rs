//! Every statement, prepared once, with its consistency set explicitly.

use super::options::Reach;
use super::session::{CqlError, levels};
use futures_util::future::try_join_all;
use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

/// The consistency of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A plain read or write at a quorum.
    Plain,
    /// A read that takes part in the agreement: it sees decided transactions, and completes those in flight.
    Serial,
    /// A lightweight transaction.
    Transaction,
}

macro_rules! statements {
    ($( $(#[$doc:meta])* $name:ident: $kind:ident = $text:literal; )+) => {
        /// The prepared statements.
        #[derive(Debug)]
        pub(super) struct Statements {
            $( $(#[$doc])* pub(super) $name: PreparedStatement, )+
        }

        impl Statements {
            pub(super) async fn prepare(session: &Session, reach: Reach) -> Result<Self, CqlError> {
                let all = [ $( prepare(session, reach, Kind::$kind, $text), )+ ];
                let mut prepared = try_join_all(all).await?.into_iter();
                let mut next = || prepared.next().ok_or_else(|| CqlError::Failed("a statement too few".to_owned()));
                Ok(Self { $( $name: next()?, )+ })
            }
        }

        /// The statements' texts, for a test that reads them.
        #[cfg(test)]
        const TEXTS: &[(Kind, &str)] = &[ $( (Kind::$kind, $text), )+ ];
    };
}

/// Rows of a page: states and payloads may be large, and a page is in memory whole.
const PAGE_ROWS: i32 = 256;

async fn prepare(session: &Session, reach: Reach, kind: Kind, text: &str) -> Result<PreparedStatement, CqlError> {
    let prepared = session.prepare(text).await;
    let mut prepared = prepared.map_err(|error| CqlError::Failed(format!("{text}: {error}")))?;
    let (plain, serial, serial_read): (Consistency, _, Consistency) = levels(reach);
    prepared.set_consistency(if kind == Kind::Serial { serial_read } else { plain });
    prepared.set_serial_consistency(Some(serial));
    prepared.set_is_idempotent(false);
    prepared.set_page_size(PAGE_ROWS);
    Ok(prepared)
}

statements! {
    // The owner.
    owner: Serial = "SELECT epoch, node FROM shard_owner WHERE shard = ?";
    owners: Plain = "SELECT shard, epoch, node FROM shard_owner";
    first_owner: Transaction = "UPDATE shard_owner SET epoch = ?, node = ? WHERE shard = ? IF epoch = null";
    next_owner: Transaction = "UPDATE shard_owner SET epoch = ?, node = ? WHERE shard = ? IF epoch = ?";
    release: Transaction = "UPDATE shard_owner SET node = '' WHERE shard = ? IF epoch = ?";

    // The log.
    fence: Serial = "SELECT DISTINCT shard, bucket, fence FROM shard_log WHERE shard = ? AND bucket = ?";
    first_fence: Transaction = "UPDATE shard_log SET fence = ? WHERE shard = ? AND bucket = ? IF fence = null";
    raise_fence: Transaction = "UPDATE shard_log SET fence = ? WHERE shard = ? AND bucket = ? IF fence = ?";
    append: Transaction = "UPDATE shard_log SET epoch = ?, batch_id = ?, events = ?, payload = ? \
        WHERE shard = ? AND bucket = ? AND seq = ? IF batch_id = null AND fence = ?";
    first_row: Serial = "SELECT seq FROM shard_log WHERE shard = ? AND bucket = ? AND seq >= ? LIMIT 1";
    rows: Serial = "SELECT seq, events FROM shard_log WHERE shard = ? AND bucket = ? AND seq >= ?";
    row: Serial = "SELECT batch_id, epoch, payload FROM shard_log WHERE shard = ? AND bucket = ? AND seq = ?";
    payloads: Serial = "SELECT seq, epoch, events, payload FROM shard_log \
        WHERE shard = ? AND bucket = ? AND seq >= ? LIMIT ?";
    /// When the last row up to a seq was written, by the count of those who agreed on it.
    written_at: Plain = "SELECT seq, WRITETIME(epoch) FROM shard_log \
        WHERE shard = ? AND bucket = ? AND seq <= ? ORDER BY seq DESC LIMIT 1";
    delete_rows: Plain = "DELETE FROM shard_log USING TIMESTAMP ? WHERE shard = ? AND bucket = ? AND seq <= ?";

    // How far states are stored.
    progress: Plain = "SELECT flushed_upto, deleted_upto FROM shard_progress WHERE shard = ?";
    put_progress: Plain = "UPDATE shard_progress USING TIMESTAMP ? SET flushed_upto = ?, deleted_upto = ? \
        WHERE shard = ?";

    // States.
    state: Plain = "SELECT chunk, slot, seq, body, slots FROM states WHERE shard = ? AND entity = ?";
    head: Plain = "SELECT seq, slots FROM states WHERE shard = ? AND entity = ? AND chunk = 0 AND slot = 0";
    put_state: Plain = "INSERT INTO states (shard, entity, chunk, slot, seq, body, slots) \
        VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    entities: Plain = "SELECT entity FROM entities WHERE shard = ? AND slot = ? AND entity > ? LIMIT ?";
    put_entity: Plain = "INSERT INTO entities (shard, slot, entity) VALUES (?, ?, ?) USING TIMESTAMP ?";
    agenda: Plain = "SELECT chunk, body FROM agenda WHERE shard = ?";
    put_agenda: Plain = "INSERT INTO agenda (shard, chunk, body) VALUES (?, ?, ?) USING TIMESTAMP ?";

    // History.
    put_history: Plain = "INSERT INTO history (shard, bucket, seq, epoch, events, facts, personal) \
        VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    put_history_of_entity: Plain = "INSERT INTO history_of_entity (shard, entity, number, seq) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    erase_history: Plain = "UPDATE history USING TIMESTAMP ? SET personal = ? \
        WHERE shard = ? AND bucket = ? AND seq = ?";
    history: Plain = "SELECT seq, epoch, events, facts, personal FROM history \
        WHERE shard = ? AND bucket = ? AND seq >= ? LIMIT ?";
    history_before: Plain = "SELECT seq FROM history WHERE shard = ? AND bucket = ? AND seq <= ? \
        ORDER BY seq DESC LIMIT 1";
    history_rows: Plain = "SELECT seq, epoch, events, facts, personal FROM history \
        WHERE shard = ? AND bucket = ? AND seq IN ?";
    entity_before: Plain = "SELECT number FROM history_of_entity WHERE shard = ? AND entity = ? AND number <= ? \
        ORDER BY number DESC LIMIT 1";
    entity_from: Plain = "SELECT number, seq FROM history_of_entity \
        WHERE shard = ? AND entity = ? AND number >= ?";

    // The nodes' board.
    incarnation: Serial = "SELECT incarnation FROM node_names WHERE name = ?";
    incarnation_seen: Plain = "SELECT incarnation FROM node_names WHERE name = ?";
    first_incarnation: Transaction = "UPDATE node_names SET incarnation = ? WHERE name = ? IF incarnation = null";
    next_incarnation: Transaction = "UPDATE node_names SET incarnation = ? WHERE name = ? IF incarnation = ?";
    put_node: Plain = "INSERT INTO nodes \
        (board, name, incarnation, beat, state, cluster, public, operator, version) \
        VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_node: Plain = "DELETE FROM nodes USING TIMESTAMP ? WHERE board = 0 AND name = ? AND incarnation = ?";
    nodes: Plain = "SELECT name, incarnation, beat, state, cluster, public, operator, version \
        FROM nodes WHERE board = 0";
    desired_state: Plain = "SELECT kind, subject, value FROM wishes WHERE board = 0";
    desired: Serial = "SELECT value, revision FROM wishes WHERE board = 0 AND kind = ? AND subject = ?";
    first_desired: Transaction = "UPDATE wishes SET value = ?, revision = ? \
        WHERE board = 0 AND kind = ? AND subject = ? IF revision = null";
    next_desired: Transaction = "UPDATE wishes SET value = ?, revision = ? \
        WHERE board = 0 AND kind = ? AND subject = ? IF revision = ?";
    shared: Serial = "SELECT value FROM shared WHERE kind = ? AND name = ?";
    all_shared: Plain = "SELECT name, value FROM shared WHERE kind = ?";
    share: Transaction = "INSERT INTO shared (kind, name, value) VALUES (?, ?, ?) IF NOT EXISTS";

    // The indexes of lists.
    index_rows: Plain = "SELECT key, value FROM index_rows \
        WHERE build = ? AND partition = ? AND span = ? AND slot = ? AND key >= ? LIMIT ?";
    put_index_row: Plain = "INSERT INTO index_rows (build, partition, span, slot, key, value) \
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    delete_index_row: Plain = "DELETE FROM index_rows USING TIMESTAMP ? \
        WHERE build = ? AND partition = ? AND span = ? AND slot = ? AND key = ?";
    index_windows: Plain = "SELECT span, slot FROM index_windows \
        WHERE build = ? AND partition = ? AND span >= ? LIMIT ?";
    put_index_window: Plain = "INSERT INTO index_windows (build, partition, span, slot) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    index_entry: Plain = "SELECT seq, body FROM index_entries WHERE build = ? AND shard = ? AND entity = ?";
    put_index_entry: Plain = "INSERT INTO index_entries (build, shard, entity, seq, body) \
        VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    index_cursors: Plain = "SELECT shard, seq, at FROM index_cursors WHERE build = ?";
    put_index_cursor: Plain = "INSERT INTO index_cursors (build, shard, seq, at) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    index_build: Serial = "SELECT generation FROM index_builds WHERE name = ? AND version = ?";
    first_index_build: Transaction = "UPDATE index_builds SET generation = ? WHERE name = ? AND version = ? \
        IF generation = null";
    next_index_build: Transaction = "UPDATE index_builds SET generation = ? WHERE name = ? AND version = ? \
        IF generation = ?";
    /// The partitions of all builds: what a removal goes through.
    all_index_rows: Plain = "SELECT DISTINCT build, partition, span, slot FROM index_rows";
    remove_index_rows: Plain = "DELETE FROM index_rows USING TIMESTAMP ? \
        WHERE build = ? AND partition = ? AND span = ? AND slot = ?";
    all_index_windows: Plain = "SELECT DISTINCT build, partition FROM index_windows";
    remove_index_windows: Plain = "DELETE FROM index_windows USING TIMESTAMP ? WHERE build = ? AND partition = ?";
    all_index_entries: Plain = "SELECT DISTINCT build, shard, entity FROM index_entries";
    remove_index_entry: Plain = "DELETE FROM index_entries USING TIMESTAMP ? \
        WHERE build = ? AND shard = ? AND entity = ?";
    remove_index_cursors: Plain = "DELETE FROM index_cursors USING TIMESTAMP ? WHERE build = ?";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows rule S3.
    #[test]
    fn every_plain_write_says_its_own_time_and_no_transaction_does() {
        for (kind, text) in TEXTS {
            let reads = text.starts_with("SELECT");
            match kind {
                Kind::Plain => assert!(reads || text.contains("USING TIMESTAMP ?"), "{text}"),
                Kind::Serial => assert!(reads, "{text}"),
                Kind::Transaction => assert!(text.contains(" IF ") && !text.contains("TIMESTAMP"), "{text}"),
            }
        }
    }

    /// The states' tables see no transaction, the owner's and the log's no plain write but the deletion of what is stored.
    #[test]
    fn no_table_is_written_both_ways() {
        let ours = |text: &str, tables: &[&str]| tables.iter().any(|table| text.contains(&format!(" {table} ")));
        for (kind, text) in TEXTS {
            let plain_tables =
                ["shard_progress", "states", "entities", "agenda", "history", "history_of_entity", "nodes"];
            let index_tables = ["index_rows", "index_windows", "index_entries", "index_cursors"];
            assert!(*kind != Kind::Transaction || !ours(text, &index_tables), "{text}");
            assert!(*kind != Kind::Transaction || !ours(text, &plain_tables), "{text}");
            let agreed = ["shard_owner", "shard_log", "node_names", "wishes", "shared", "layout", "index_builds"];
            let lawful = text.starts_with("SELECT") || text.starts_with("DELETE FROM shard_log USING TIMESTAMP ?");
            assert!(*kind == Kind::Transaction || lawful || !ours(text, &agreed), "{text}");
        }
    }
}
