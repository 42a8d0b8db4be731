//! The schema: numbered files, a record of those applied, and the layout that is fixed with the store (rule O1).
//!
//! `doorbuster schema apply` creates a missing keyspace and applies missing files. A node that starts only compares: another schema, or a layout that
//! differs from its configuration, is refused before anything is read or written.

use super::options::{CqlOptions, TIMESTAMP_BASE};
use super::session::{CqlError, connect, levels};
use crate::wire::RECORD_FORMAT;
use scylla::client::session::Session;
use scylla::statement::Statement;
use scylla::value::{CqlValue, Row};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// The time limit of a schema change; all servers must agree on it, which takes longer than a statement.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60);
/// The key of the layout's row.
const LAYOUT_ROW: i32 = 1;
/// The file that makes its table.
const LAYOUT_FILE: i32 = 2;
/// The form of records in a store whose layout names none.
const UNNUMBERED_FORMAT: i32 = 1;

/// A schema file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its number; files are applied in this order.
    pub number: i32,
    /// Its name in `cql/`.
    pub name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($number:literal $name:literal),+ $(,)?) => {
        /// All files, in order.
        pub const FILES: &[File] = &[
            $( File { number: $number, name: $name, text: include_str!(concat!("../../../../cql/", $name)) } ),+
        ];
    };
}

files! {
    1 "001_schema.cql",
    2 "002_layout.cql",
    3 "003_shard_owner.cql",
    4 "004_shard_log.cql",
    5 "005_states.cql",
    6 "006_nodes.cql",
    7 "007_index.cql",
}

/// The result of `schema apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The name of the keyspace.
    pub keyspace: String,
    /// The files that were applied.
    pub files: Vec<&'static str>,
}

impl File {
    /// The checksum of its text.
    #[must_use]
    pub fn checksum(&self) -> String {
        use std::fmt::Write;
        Sha256::digest(self.text.as_bytes()).iter().fold(String::new(), |mut text, byte| {
            // Writing into a string cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        })
    }

    /// Its statements, without comments.
    fn statements(&self) -> Vec<String> {
        let lines = self.text.lines().map(|line| line.split_once("--").map_or(line, |(before, _)| before));
        let bare: String = lines.collect::<Vec<_>>().join("\n");
        bare.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
    }
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> CqlError {
    CqlError::Failed(format!("{what}: {error}"))
}

async fn say(session: &Session, options: &CqlOptions, text: &str) -> Result<Vec<(Vec<String>, Row)>, CqlError> {
    let (plain, serial, _) = levels(options.reach);
    let mut statement = Statement::new(text);
    statement.set_consistency(plain);
    statement.set_serial_consistency(Some(serial));
    statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
    let result = session.query_unpaged(statement, ()).await.map_err(|error| failed(text, &error))?;
    if !result.is_rows() {
        return Ok(Vec::new());
    }
    let result = result.into_rows_result().map_err(|error| failed(text, &error))?;
    let names: Vec<String> = result.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let rows = result.rows::<Row>().map_err(|error| failed(text, &error))?;
    rows.map(|row| row.map(|row| (names.clone(), row)).map_err(|error| failed(text, &error))).collect()
}

fn value<'row>((names, row): &'row (Vec<String>, Row), name: &str) -> Option<&'row CqlValue> {
    let at = names.iter().position(|column| column == name)?;
    row.columns.get(at)?.as_ref()
}

fn text_of(row: &(Vec<String>, Row), name: &str) -> String {
    match value(row, name) {
        Some(CqlValue::Text(text)) => text.clone(),
        Some(CqlValue::Int(number)) => number.to_string(),
        Some(CqlValue::BigInt(number)) => number.to_string(),
        _ => "nothing".to_owned(),
    }
}

/// Creates a missing keyspace, and applies missing files.
///
/// # Errors
/// [`CqlError::Schema`]: an applied file differs from that of this version. [`CqlError::Layout`]: the store was created with other settings. Else
/// the servers' errors.
pub async fn apply(options: &CqlOptions) -> Result<Applied, CqlError> {
    let session = connect(options).await?;
    let keyspace = &options.keyspace;
    let copies = options.replication_factor;
    let place = if options.datacenter.is_empty() { "replication_factor" } else { options.datacenter.as_str() };
    let place = place.replace('\'', "''");
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{place}': {copies}}}"
    );
    say(&session, options, &create).await?;
    session.use_keyspace(keyspace, false).await.map_err(|error| failed("use the keyspace", &error))?;
    let mut done = Vec::new();
    if let Some(first) = FILES.first() {
        // The file that creates the table of files says IF NOT EXISTS, as all do, so applying it twice has no further effect.
        for statement in first.statements() {
            say(&session, options, &statement).await?;
        }
    }
    let known = applied(&session, options).await?;
    check_format(&session, options, &known).await?;
    for file in FILES {
        match known.get(&file.number) {
            Some(checksum) if *checksum == file.checksum() => {}
            Some(_) => return Err(changed(options, file)),
            None => {
                for statement in file.statements() {
                    say(&session, options, &statement).await?;
                }
                let (number, name, checksum) = (file.number, file.name, file.checksum());
                let record = format!(
                    "INSERT INTO schema_files (number, name, checksum) VALUES ({number}, '{name}', '{checksum}')"
                );
                say(&session, options, &record).await?;
                done.push(file.name);
            }
        }
    }
    let (layout, events) = (options.layout, options.bucket_events);
    let insert = format!(
        "INSERT INTO layout (id, shards, hash_version, bucket_events, timestamp_base, record_format, serial) \
         VALUES ({LAYOUT_ROW}, {}, {}, {events}, {TIMESTAMP_BASE}, {RECORD_FORMAT}, '{}') IF NOT EXISTS",
        layout.shards,
        layout.hash_version,
        options.reach.word(),
    );
    say(&session, options, &insert).await?;
    check_layout(&session, options).await?;
    Ok(Applied { keyspace: keyspace.clone(), files: done })
}

async fn applied(session: &Session, options: &CqlOptions) -> Result<BTreeMap<i32, String>, CqlError> {
    let rows = say(session, options, "SELECT number, checksum FROM schema_files").await?;
    let number = |row: &(Vec<String>, Row)| value(row, "number").and_then(CqlValue::as_int);
    Ok(rows.iter().filter_map(|row| Some((number(row)?, text_of(row, "checksum")))).collect())
}

fn changed(options: &CqlOptions, file: &File) -> CqlError {
    CqlError::Schema {
        keyspace: options.keyspace.clone(),
        why: format!("{} is not the file that was applied", file.name),
    }
}

/// Selects the keyspace and compares it with this version and this configuration.
pub(super) async fn check(session: &Session, options: &CqlOptions) -> Result<(), CqlError> {
    let missing = |why: String| CqlError::Schema { keyspace: options.keyspace.clone(), why };
    let used = session.use_keyspace(&options.keyspace, false).await;
    used.map_err(|error| missing(format!("the keyspace cannot be used ({error})")))?;
    let known = applied(session, options).await.map_err(|error| missing(error.to_string()))?;
    check_format(session, options, &known).await?;
    for file in FILES {
        match known.get(&file.number) {
            None => return Err(missing(format!("{} was not applied", file.name))),
            Some(checksum) if *checksum != file.checksum() => return Err(changed(options, file)),
            Some(_) => {}
        }
    }
    let last = FILES.last().map_or(0, |file| file.number);
    if let Some(later) = known.keys().find(|number| **number > last) {
        return Err(missing(format!("file {later} was applied by a later version")));
    }
    check_layout(session, options).await
}

/// Looks whether records and states are of the form this version reads. Before the files are compared: the file of the layout grew with it.
async fn check_format(
    session: &Session,
    options: &CqlOptions,
    applied: &BTreeMap<i32, String>,
) -> Result<(), CqlError> {
    if !applied.contains_key(&LAYOUT_FILE) {
        return Ok(());
    }
    let rows = say(session, options, &format!("SELECT * FROM layout WHERE id = {LAYOUT_ROW}")).await?;
    // No row: `schema apply` was cut off before it wrote it, and writes it when it comes again.
    let Some(row) = rows.first() else { return Ok(()) };
    match value(row, "record_format").and_then(CqlValue::as_int).unwrap_or(UNNUMBERED_FORMAT) {
        stored if stored == i32::from(RECORD_FORMAT) => Ok(()),
        stored => Err(CqlError::Format { keyspace: options.keyspace.clone(), stored: stored.to_string() }),
    }
}

async fn check_layout(session: &Session, options: &CqlOptions) -> Result<(), CqlError> {
    let read = format!("SELECT * FROM layout WHERE id = {LAYOUT_ROW}");
    let rows = say(session, options, &read).await?;
    let row = rows.first().ok_or_else(|| CqlError::Schema {
        keyspace: options.keyspace.clone(),
        why: "the row of the layout is missing".to_owned(),
    })?;
    let configured = [
        ("shards", options.layout.shards.to_string()),
        ("hash_version", options.layout.hash_version.to_string()),
        ("bucket_events", options.bucket_events.to_string()),
        ("timestamp_base", TIMESTAMP_BASE.to_string()),
        ("serial", options.reach.word().to_owned()),
    ];
    for (setting, configured) in configured {
        let stored = text_of(row, setting);
        if stored != configured {
            return Err(CqlError::Layout { keyspace: options.keyspace.clone(), setting, stored, configured });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_numbered_as_its_name_says_and_none_is_missing() {
        for (place, file) in FILES.iter().enumerate() {
            assert_eq!(usize::try_from(file.number).unwrap(), place + 1);
            assert!(file.name.starts_with(&format!("{:03}_", file.number)), "{}", file.name);
        }
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../cql")).unwrap();
        assert_eq!(folder.count(), FILES.len());
    }

    #[test]
    fn every_statement_can_be_applied_twice() {
        for file in FILES {
            let statements = file.statements();
            assert!(!statements.is_empty(), "{}", file.name);
            for statement in statements {
                assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS"), "{}: {statement}", file.name);
                assert!(!statement.contains("default_time_to_live"), "nothing expires");
            }
        }
    }
}
