//! What one caller can make an order keep, and how its journal is read: in pages.

use crate::server::{Server, order_of};
use doorbuster_domain::order::EDITS_MAX;
use serde_json::{Value, json};

#[tokio::test]
async fn metadata_is_bounded_in_bytes_and_an_order_in_its_changes() {
    let server = Server::start().await;
    server.with_stock("A", 10).await;
    let guest = server.guest().await;
    let mut body = order_of("A", 1);
    // Fifty lawful pairs of four bytes a character.
    let wide: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("k{n}"), json!("\u{1f600}".repeat(500)))).collect();
    body["metadata"] = Value::Object(wide.clone());
    assert_eq!(guest.post("/v1/orders", Some("w"), Some(&body)).await.status, 422);
    body["metadata"] = json!({ "k": "v" });
    let placed = guest.post("/v1/orders", Some("o"), Some(&body)).await;
    let path = placed.header("location").expect("a place").to_owned();
    assert_eq!(guest.patch(&path, &json!({ "metadata": wide })).await.status, 422);
    for number in 0..EDITS_MAX {
        let changed = guest.patch(&path, &json!({ "metadata": { "n": number.to_string() } })).await;
        assert_eq!(changed.status, 200, "{number}: {changed:?}");
    }
    let refused = guest.patch(&path, &json!({ "metadata": { "n": "more" } })).await;
    assert_eq!((refused.status, refused.code()), (422, "limit_exceeded"), "{refused:?}");

    // All of the journal, page by page, and each page no longer than it may be.
    let (mut numbers, mut next) = (Vec::new(), Some(format!("{path}/events?limit=100")));
    while let Some(page) = next.take() {
        let events = guest.get(&page).await;
        assert_eq!(events.status, 200, "{events:?}");
        let page: Vec<u64> =
            events.body.as_array().expect("a list").iter().filter_map(|event| event["number"].as_u64()).collect();
        assert!(page.len() <= 100);
        numbers.extend(page);
        next = events
            .header("link")
            .map(|link| link.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned());
    }
    let last = numbers.last().copied().expect("events");
    assert!(last > u64::from(EDITS_MAX));
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
    assert_eq!(guest.get(&format!("{path}/events")).await.body.as_array().expect("a list").len(), 200);
    assert_eq!(guest.get(&format!("{path}/events?after={}", last - 1)).await.body[0]["number"], last);
    assert_eq!(guest.get(&format!("{path}/events?after={last}")).await.body, json!([]));
    for limit in ["0", "201", "x", "-1"] {
        assert_eq!(guest.get(&format!("{path}/events?limit={limit}")).await.status, 422, "{limit}");
    }
    assert_eq!(guest.get(&format!("{path}/events?after=x")).await.code(), "invalid_cursor");
}
