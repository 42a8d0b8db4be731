//! What a node writes is for its own user alone.

use crate::node::{Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file and folder below, with its mode.
fn modes_of(folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    found.push((folder.to_owned(), fs::metadata(folder).unwrap().permissions().mode() & 0o777));
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modes_of(&path, found);
        } else {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.push((path, mode));
        }
    }
}

#[track_caller]
fn assert_private(node: &Node, files_min: usize) {
    let mut found = Vec::new();
    modes_of(&node.data(), &mut found);
    for (path, mode) in &found {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(*mode, expected, "{} has {mode:o}", path.display());
    }
    assert!(found.len() > files_min, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_of_a_used_data_folder_is_for_other_users() {
    let mut node = Node::started(quick()).await;
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 1_000)]).await;
    for number in 0..20 {
        let order = shop::paid(shop::order(&[("A", 1)]), "tok_ok");
        shop::good(&door, &Call::post("/v1/orders", format!("o{number}"), order).waiting(10)).await;
    }
    assert_private(&node, 10);
    node.kill().await;
    // As an earlier version made it, or a restore.
    let mut found = Vec::new();
    modes_of(&node.data(), &mut found);
    for (path, _) in &found {
        let wide = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(wide)).unwrap();
    }
    node.start().await;
    assert!(node.stderr().contains("took the permissions of other users"), "{}", node.stderr());
    assert_private(&node, 10);
    node.stop().await;
    assert_private(&node, 10);
    node.assert_no_panic();
}

fn files_with(folder: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if path.is_dir() {
            files_with(&path, text, found);
        } else if fs::read(&path).is_ok_and(has) {
            // A file that is gone by now holds nothing.
            found.push(path);
        }
    }
}

/// What a part of the data folder may hold of what a person wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing, at any time.
    Nothing,
    /// All of it, until the person is erased.
    UntilErased,
    /// What was journaled, until its segments retire.
    UntilRetired,
    /// What the payment provider was told: its own books, which outlive ours.
    OfTheProvider,
}

/// Every part of the data folder. One that is not named here may hold personal data that no erasure finds.
const PARTS: &[(&str, Holds)] = &[
    ("LAYOUT", Holds::Nothing),
    ("LOCK", Holds::Nothing),
    ("index", Holds::Nothing),
    ("installation", Holds::Nothing),
    ("keys.jsonl", Holds::Nothing),
    ("log", Holds::UntilRetired),
    ("node.secret", Holds::Nothing),
    ("operator.token", Holds::Nothing),
    ("simulated-provider.ledger", Holds::OfTheProvider),
    ("states", Holds::UntilErased),
];

/// The parts of a node's data folder that hold a text, against what each may hold.
fn wrong_places(node: &Node, text: &str, is_erased: bool) -> Vec<PathBuf> {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(node.data()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let part = PARTS.iter().find(|(known, _)| *known == name);
        let (_, holds) = part.unwrap_or_else(|| panic!("{name} is a part of the data folder that is not in PARTS"));
        match holds {
            Holds::UntilRetired | Holds::OfTheProvider => continue,
            Holds::UntilErased if !is_erased => continue,
            Holds::UntilErased | Holds::Nothing => {}
        }
        if path.is_dir() {
            files_with(&path, text, &mut wrong);
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
            wrong.push(path);
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_wrote_anywhere_in_an_order_is_erased_with_the_person() {
    let mut node = Node::started(quick()).await;
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 10)]).await;
    let mut order = shop::paid(shop::order(&[("A", 2)]), "tok_ok");
    order["metadata"] = json!({ "gift for": "PRIVATE2" });
    order["external_id"] = json!("PRIVATE3");
    order["payment"]["return_url"] = json!("https://shop.example/PRIVATE4");
    order["buyer"]["name"] = json!("PRIVATE5");
    let placed = shop::good(&door, &Call::post("/v1/orders", "o", order).waiting(10)).await;
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/orders/{id}");
    let shipment = json!({ "lines": [{ "line": "1", "quantity": 1 }], "tracking_number": "PRIVATE6",
        "tracking_url": "https://carrier.example/PRIVATE7" });
    shop::good(&door, &Call::post(format!("{path}/shipments"), "s", shipment)).await;
    let refund = json!({ "amount": { "amount": 100, "currency": "GBP" }, "reason": "PRIVATE8" });
    shop::good(&door, &Call::post(format!("{path}/refunds"), "r", refund)).await;
    let states = node.data().join("states");
    let mut texts: Vec<String> = (2..=8).map(|number| format!("PRIVATE{number}")).collect();
    texts.push("tok_ok".to_owned());
    let held = |text: &str| {
        let mut found = Vec::new();
        files_with(&states, text, &mut found);
        found
    };
    until("a checkpoint", PATIENCE, || async {
        let missing: Vec<&String> = texts.iter().filter(|text| held(text).is_empty()).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are in no table")) }
    })
    .await;
    for text in &texts {
        assert_eq!(wrong_places(&node, text, false), Vec::<PathBuf>::new(), "{text}");
    }
    let lists = ["/v1/orders", "/v1/payments", "/v1/shipments"];
    until("the order in the list", PATIENCE, || async {
        let listed = shop::read(&door, "/v1/orders").await.to_string();
        if listed.contains("PRIVATE5") { Ok(()) } else { Err(listed) }
    })
    .await;
    let erased = door.operate(&Call::post(format!("/admin/erase/order/{id}"), "", json!({}))).await.unwrap();
    assert!(erased.status < 300, "{erased}");
    until("the erasure on the disk", PATIENCE, || async {
        let left: Vec<Vec<PathBuf>> = texts.iter().map(|text| held(text)).filter(|files| !files.is_empty()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let seen = door.send(&Call::get(&path)).await.unwrap();
    assert!(texts.iter().all(|text| !seen.body.to_string().contains(text.as_str())), "{seen}");
    for path in lists {
        let listed = shop::read(&door, path).await.to_string();
        assert!(texts.iter().all(|text| !listed.contains(text.as_str())), "{path}: {listed}");
    }
    let events = shop::read(&door, "/v1/events?limit=200").await;
    assert!(texts.iter().all(|text| !events.to_string().contains(text.as_str())), "{events}");
    assert!(events.to_string().contains("order.personal_erased"), "whoever keeps a copy hears of it: {events}");
    node.kill().await;
    node.start().await;
    let again = door.send(&Call::get(&path)).await.unwrap();
    assert_eq!(again.body, seen.body, "replayed to the same order");
    node.stop().await;
    for text in &texts {
        assert_eq!(wrong_places(&node, text, true), Vec::<PathBuf>::new(), "{text}");
    }
    let audit = node.run(&["audit"]).await;
    assert!(audit.status.success(), "{}", audit.all());
    node.assert_no_panic();
}
