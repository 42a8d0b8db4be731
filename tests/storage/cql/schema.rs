//! The schema: applied once, looked at on every start, and refused with a clear word when it is another (rule O1).

use super::keyspace;
use doorbuster_storage::Layout;
use doorbuster_storage::cql::{CqlJournal, CqlOptions, Reach, schema};

type Change = fn(&mut CqlOptions);

async fn refused(options: &CqlOptions, change: impl FnOnce(&mut CqlOptions)) -> String {
    let mut options = options.clone();
    change(&mut options);
    CqlJournal::open(options).await.unwrap_err().to_string()
}

#[tokio::test]
async fn the_schema_is_applied_once_and_a_node_that_finds_another_does_not_start() {
    let Some(store) = keyspace("schema", 10) else { return };
    let error = refused(&store.options, |_| ()).await;
    assert!(error.contains("schema apply"), "{error}");
    store.make().await;
    assert_eq!(schema::apply(&store.options).await.unwrap().files, Vec::<&str>::new(), "nothing is applied twice");
    store.open().await;
    for (change, words) in [
        ("DELETE FROM KS.schema_files WHERE number = 5", "005_states.cql was not applied"),
        (
            "INSERT INTO KS.schema_files (number, name, checksum) VALUES (5, 'x', 'y')",
            "005_states.cql is not the file that was applied",
        ),
    ] {
        store.say(change).await;
        let error = refused(&store.options, |_| ()).await;
        assert!(error.contains(words) && error.contains("schema apply"), "{error}");
    }
    assert!(schema::apply(&store.options).await.unwrap_err().to_string().contains("005_states.cql"));
    store.say("DELETE FROM KS.schema_files WHERE number = 5").await;
    assert_eq!(schema::apply(&store.options).await.unwrap().files, ["005_states.cql"]);
    store.open().await;
    store.say("INSERT INTO KS.schema_files (number, name, checksum) VALUES (900, 'x', 'y')").await;
    let error = refused(&store.options, |_| ()).await;
    assert!(error.contains("900") && error.contains("later version"), "{error}");
}

/// Rule O1.
#[tokio::test]
async fn a_configuration_that_differs_from_what_is_stored_is_refused_and_both_are_named() {
    let Some(store) = keyspace("layout", 10) else { return };
    store.make().await;
    let changes: [(Change, [&str; 3]); 4] = [
        (|options| options.layout = Layout { shards: 8, hash_version: 1 }, ["shards", "4", "8"]),
        (|options| options.layout.hash_version = 2, ["hash_version", "1", "2"]),
        (|options| options.bucket_events = 11, ["bucket_events", "10", "11"]),
        (|options| options.reach = Reach::Local, ["serial", "serial", "local_serial"]),
    ];
    for (change, words) in changes {
        let error = refused(&store.options, change).await;
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        let mut other = store.options.clone();
        change(&mut other);
        assert!(schema::apply(&other).await.is_err(), "nor does apply change it");
    }
    store.say("UPDATE KS.layout SET timestamp_base = 5 WHERE id = 1 IF shards = 4").await;
    let error = refused(&store.options, |_| ()).await;
    assert!(error.contains("timestamp_base = 5"), "{error}");
}

#[tokio::test]
async fn a_store_of_another_form_of_records_is_refused_with_a_sentence() {
    let Some(store) = keyspace("record format", 10) else { return };
    store.make().await;
    for (change, form) in [("record_format = 1", 1), ("record_format = null", 1), ("record_format = 3", 3)] {
        store.say(&format!("UPDATE KS.layout SET {change} WHERE id = 1 IF shards = 4")).await;
        let error = refused(&store.options, |_| ()).await;
        assert!(error.contains(&format!("in form {form} of its records; this version reads form 2")), "{error}");
        assert_eq!(schema::apply(&store.options).await.unwrap_err().to_string(), error, "nor does apply change it");
    }
    store.say("UPDATE KS.layout SET record_format = 2 WHERE id = 1 IF shards = 4").await;
    store.open().await;
}

#[tokio::test]
async fn what_cannot_be_reached_or_named_is_refused_in_words() {
    let Some(store) = keyspace("unreachable servers", 10) else { return };
    for keyspace in ["", "1abc", "a-b", "a; DROP KEYSPACE b", &"a".repeat(49)] {
        let error = refused(&store.options, |options| options.keyspace = keyspace.to_owned()).await;
        assert!(error.contains("cannot be a keyspace"), "{keyspace}: {error}");
    }
    let error = refused(&store.options, |options| options.contact_points = vec!["127.0.0.1:1".to_owned()]).await;
    assert!(error.contains("127.0.0.1:1"), "{error}");
    let error = refused(&store.options, |options| options.tls_ca = Some("/nowhere.pem".into())).await;
    assert!(error.contains("/nowhere.pem") && error.contains("cql.tls_ca"), "{error}");
}
