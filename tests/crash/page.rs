//! The default install can finish a payment that needs the shopper: the address in `next_action` leads to a page of the node.

use crate::node::{Node, quick};
use crate::shop;
use doorbuster_test_kit::client::Call;
use doorbuster_test_kit::http::Connection;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::json;

/// The answer to one request of a browser: its status, its headers in small letters, its body.
async fn browsed(node: &Node, head: &str, body: &str) -> (u16, Vec<(String, String)>, String) {
    let address = node.public();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\nsec-fetch-site: same-origin\r\n",
        body.len()
    );
    let request = format!("{request}origin: http://{address}\r\n\r\n{body}");
    let mut connection = Connection::open(address).await.unwrap();
    let reply = connection.exchange(request.as_bytes()).await.unwrap();
    let headers = reply.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    (reply.status, headers, String::from_utf8(reply.body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shopper_follows_the_address_approves_and_has_the_order() {
    let node = Node::started(quick()).await;
    let door = node.door();
    shop::open(&door, "nova-low", &[("A", 10)]).await;
    for (outcome, back, expected) in [
        ("ok", "http://localhost:3000/thanks", "confirmed"),
        ("fail", "https://shop.example/thanks", "awaiting_payment"),
    ] {
        let mut order = shop::paid(shop::order(&[("A", 1)]), "tok_action");
        order["payment"]["return_url"] = json!(back);
        let order = shop::good(&door, &Call::post("/v1/orders", outcome, order).waiting(10)).await.body;
        let url = order["payments"][0]["next_action"]["url"].as_str().expect("an address").to_owned();
        let path = url.strip_prefix(&format!("http://{}", node.public())).unwrap_or_else(|| panic!("{url}"));

        let (status, headers, page) = browsed(&node, &format!("GET {path}"), "").await;
        assert!(status == 200 && page.contains("Approve") && page.contains("GBP"), "{status} {page}");
        let header = |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert!(header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
        assert_eq!(header("content-type"), Some("text/html; charset=utf-8"));

        let (status, headers, page) = browsed(&node, &format!("POST {path}"), &format!("outcome={outcome}")).await;
        let location = headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.as_str());
        if outcome == "ok" {
            assert_eq!((status, location), (303, Some(back)));
        } else {
            assert_eq!((status, location), (200, None), "another host is named, not gone to");
            assert!(page.contains("Back to shop.example"), "{page}");
        }
        let id = order["id"].as_str().unwrap().to_owned();
        until("the order to hear of it", PATIENCE, || async {
            let order = shop::read(&door, &format!("/v1/orders/{id}")).await;
            if order["status"] == expected { Ok(()) } else { Err(order["status"].to_string()) }
        })
        .await;
    }
    let mut order = shop::paid(shop::order(&[("A", 1)]), "tok_action");
    order["payment"]["return_url"] = json!("javascript:alert(1)");
    let refused = door.insist(&Call::post("/v1/orders", "bad", order)).await;
    assert_eq!((refused.status, refused.error_pointer()), (422, "/payment/return_url"));
}
