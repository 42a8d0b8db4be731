//! A CQL server for the tests: its address is in `DOORBUSTER_TEST_CQL`, each test has a keyspace of its own, dropped at its end.

use doorbuster_storage::Layout;
use doorbuster_storage::cql::{CqlJournal, CqlOptions, schema};
use std::io::Write;
use std::time::Duration;
use uuid::Uuid;

const VARIABLE: &str = "DOORBUSTER_TEST_CQL";

/// The server's address, if there is one.
pub(crate) fn address() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|address| !address.is_empty())
}

/// A keyspace, made when it is first opened.
pub(crate) struct Keyspace {
    pub(crate) options: CqlOptions,
    made: tokio::sync::OnceCell<()>,
    session: tokio::sync::OnceCell<scylla::client::session::Session>,
}

impl Keyspace {
    /// Is there a server? If not, standard error says which claim was not tried (past the capture of the test's output).
    pub(crate) fn is_there(claim: &str) -> bool {
        let there = address().is_some();
        if !there {
            let words = format!("NOT TRIED on CQL, for {VARIABLE} names no server: {claim}\n");
            std::io::stderr().write_all(words.as_bytes()).unwrap();
        }
        there
    }

    pub(crate) fn new(layout: Layout) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut options = CqlOptions::new(&address().expect("asked before"), &name, layout);
        // A machine busy with other tests must not make outcomes unknown that the test does not mean to be.
        options.request_timeout = Duration::from_secs(20);
        options.settle_timeout = Duration::from_secs(60);
        Self { options, made: tokio::sync::OnceCell::new(), session: tokio::sync::OnceCell::new() }
    }

    pub(crate) fn with(layout: Layout, change: impl FnOnce(&mut CqlOptions)) -> Self {
        let mut keyspace = Self::new(layout);
        change(&mut keyspace.options);
        keyspace
    }

    pub(crate) async fn make(&self) {
        self.made
            .get_or_init(|| async {
                schema::apply(&self.options).await.unwrap();
            })
            .await;
    }

    /// Another node: a connection of its own, and nothing in memory.
    pub(crate) async fn open(&self) -> CqlJournal {
        self.open_with(|_| ()).await
    }

    pub(crate) async fn open_with(&self, change: impl FnOnce(&mut CqlOptions)) -> CqlJournal {
        self.make().await;
        let mut options = self.options.clone();
        change(&mut options);
        CqlJournal::open(options).await.unwrap()
    }

    /// A connection of the test's own.
    pub(crate) async fn session(&self) -> &scylla::client::session::Session {
        self.session
            .get_or_init(|| async {
                let builder = scylla::client::session_builder::SessionBuilder::new();
                builder.known_nodes(&self.options.contact_points).build().await.unwrap()
            })
            .await
    }

    /// Says a statement in the keyspace, as an operator would.
    pub(crate) async fn say(&self, statement: &str) -> Vec<scylla::value::Row> {
        let result =
            self.session().await.query_unpaged(statement.replace("KS", &self.options.keyspace), ()).await.unwrap();
        match result.into_rows_result() {
            Ok(rows) => rows.rows::<scylla::value::Row>().unwrap().collect::<Result<_, _>>().unwrap(),
            Err(_) => Vec::new(),
        }
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        if !self.made.initialized() {
            return;
        }
        let options = self.options.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let session = scylla::client::session_builder::SessionBuilder::new()
                    .known_nodes(&options.contact_points)
                    .build()
                    .await;
                if let Ok(session) = session {
                    let drop_it = format!("DROP KEYSPACE IF EXISTS {}", options.keyspace);
                    session.query_unpaged(drop_it, ()).await.ok();
                }
            });
        });
        dropping.join().ok();
    }
}
