//! The operator port, through its filter alone: no socket is needed, so the simulation can enter the same way.

use doorbuster_api::operator::{
    Cluster, Fault, Guard, OperationError, Operations, ROUTES, Readiness, Saga, SetAside, Shard, filter,
};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::{ProviderAnswer, Reference};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A node that records its operations.
#[derive(Clone, Default)]
struct Node {
    operations: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn tell(&self, what: String) -> Result<(), OperationError> {
        self.operations.lock().expect("not poisoned").push(what);
        Ok(())
    }
}

impl Operations for Node {
    async fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
    async fn health(&self) -> Result<(), String> {
        Ok(())
    }
    async fn readiness(&self) -> Readiness {
        Readiness { ready: false, status: "starting".to_owned(), shards: (1, 8) }
    }
    async fn cluster(&self) -> Result<Cluster, OperationError> {
        let (node, version) = ("n1".to_owned(), "0".to_owned());
        Ok(Cluster { node, version, view: None, registry: None, members: Vec::new() })
    }
    async fn shards(&self) -> Result<Vec<Shard>, OperationError> {
        Ok(Vec::new())
    }
    async fn drain(&self, node: &str, drained: bool) -> Result<(), OperationError> {
        match node {
            "n9" => Err(OperationError::NoSuch("there is no node \"n9\"; there are n1, n2".to_owned())),
            "alone" => Err(OperationError::Refused("this node has no cluster".to_owned())),
            _ => self.tell(format!("drain {node} {drained}")),
        }
    }
    async fn move_shard(&self, shard: u16, to: Option<&str>) -> Result<(), OperationError> {
        self.tell(format!("move {shard} {to:?}"))
    }
    async fn sagas(&self, _limit: usize) -> Result<Vec<Saga>, OperationError> {
        Ok(Vec::new())
    }
    async fn set_aside(&self) -> Result<Vec<SetAside>, OperationError> {
        Ok(Vec::new())
    }
    async fn retry(&self, entity: EntityId) -> Result<(), OperationError> {
        self.tell(format!("retry {entity}"))
    }
    async fn audit(&self) -> Result<Value, OperationError> {
        self.tell("audit".to_owned())?;
        Ok(json!({ "clean": true }))
    }
    async fn audits(&self) -> Result<Value, OperationError> {
        Ok(json!({ "running": null, "last": null }))
    }
    async fn fault(&self, _fault: Fault) -> Result<(), OperationError> {
        Err(OperationError::NotAllowed)
    }
    async fn settle(&self, reference: Reference, answer: ProviderAnswer) -> Result<(), OperationError> {
        self.tell(format!("settle {reference} {answer:?}"))
    }
    async fn erase(&self, entity: EntityId) -> Result<(), OperationError> {
        self.tell(format!("erase {entity}"))
    }
}

/// That of a port on loopback, which asks for no token.
fn guard() -> Guard {
    Guard::new(([127, 0, 0, 1], 8081).into(), &[], None)
}

async fn send(node: &Node, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let service = TowerToHyperService::new(warp::service(filter(node.clone(), guard())));
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header("content-length", body.len());
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a lawful request");
    let response = service.call(request).await.expect("a filter always answers");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

const ORDER: &str = "ord_00000000000000000000010000";

#[tokio::test]
async fn every_route_of_the_operator_port_exists() {
    let node = Node::default();
    for (method, path) in ROUTES {
        let real = path.replace("{kind}", "order").replace("{id}", ORDER);
        let (status, body) = send(&node, method, &real, &[], "").await;
        assert!(status != 404 && status != 405, "{method} {path}: {status} {body}");
        let (status, body) = send(&node, "DELETE", &real, &[], "").await;
        assert_eq!((status, body["code"].as_str()), (405, Some("method_not_allowed")), "{path}");
    }
    assert_eq!(send(&node, "GET", "/v1/orders", &[], "").await.0, 404, "the shop is not served here");
    assert_eq!(send(&node, "GET", "/readyz", &[], "").await.0, 503, "not ready is said by the status");
}

#[tokio::test]
async fn an_operator_erases_retries_and_settles_what_exists() {
    let node = Node::default();
    assert_eq!(send(&node, "POST", &format!("/admin/erase/order/{ORDER}"), &[], "").await.0, 200);
    assert_eq!(send(&node, "POST", "/admin/entities/inventory/A%20B/retry", &[], "").await.0, 200);
    let body = json!({ "reference": format!("{ORDER}.authorize.1.1"), "outcome": "declined" }).to_string();
    assert_eq!(send(&node, "POST", &format!("/admin/orders/{ORDER}/settle"), &[], &body).await.0, 200);
    let operations = node.operations.lock().expect("not poisoned").clone();
    assert_eq!(operations[..2], [format!("erase order/{ORDER}"), "retry inventory/A B".to_owned()]);
    assert!(operations[2].contains("Declined"), "{operations:?}");

    let foreign =
        json!({ "reference": "ord_00000000000000000000020000.authorize.1.1", "outcome": "declined" }).to_string();
    assert_eq!(send(&node, "POST", &format!("/admin/orders/{ORDER}/settle"), &[], &foreign).await.0, 422);
    assert_eq!(send(&node, "POST", "/admin/erase/dragon/x", &[], "").await.0, 400);
}

#[tokio::test]
async fn any_node_can_be_drained_and_any_shard_moved() {
    let node = Node::default();
    assert_eq!(send(&node, "POST", "/admin/nodes/node%202/drain", &[], "").await.0, 200);
    assert_eq!(send(&node, "POST", "/admin/nodes/n2/resume", &[], "").await.0, 200);
    assert_eq!(send(&node, "POST", "/admin/shards/7/move", &[], r#"{"to":"n2"}"#).await.0, 200);
    assert_eq!(send(&node, "POST", "/admin/shards/7/move", &[], r#"{"to":null}"#).await.0, 200);
    let operations = node.operations.lock().expect("not poisoned").clone();
    assert_eq!(operations, ["drain node 2 true", "drain n2 false", "move 7 Some(\"n2\")", "move 7 None"]);

    let (status, body) = send(&node, "POST", "/admin/nodes/n9/drain", &[], "").await;
    assert_eq!((status, body["code"].as_str()), (404, Some("not_found")));
    assert_eq!(body["detail"], "there is no node \"n9\"; there are n1, n2");
    assert_eq!(send(&node, "POST", "/admin/nodes/alone/drain", &[], "").await.0, 409);
    for (path, body, status) in [
        ("/admin/shards/seven/move", r#"{"to":"n2"}"#, 400),
        ("/admin/shards/70000/move", r#"{"to":"n2"}"#, 400),
        ("/admin/shards/7/move", r#"{"to":5}"#, 422),
        ("/admin/shards/7/move", r#"{"where":"n2"}"#, 422),
        ("/admin/shards/7/move", "", 400),
        ("/admin/nodes/%20/drain", "", 400),
    ] {
        assert_eq!(send(&node, "POST", path, &[], body).await.0, status, "{path} {body}");
    }
    assert_eq!(node.operations.lock().expect("not poisoned").len(), 4, "none of it was carried out");
}

#[tokio::test]
async fn faults_are_made_only_where_they_are_allowed_and_never_by_another_sites_page() {
    let node = Node::default();
    let fault = json!({ "fault": "slow_disk", "millis": 5 }).to_string();
    assert_eq!(send(&node, "POST", "/admin/faults", &[], &fault).await.0, 403);
    let from_elsewhere = [("sec-fetch-site", "cross-site")];
    let (status, body) = send(&node, "POST", &format!("/admin/erase/order/{ORDER}"), &from_elsewhere, "").await;
    assert_eq!((status, body["code"].as_str()), (403, Some("foreign_origin")));
    assert!(node.operations.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn no_page_of_another_site_reaches_the_node_with_any_method() {
    let node = Node::default();
    let erase = format!("/admin/erase/order/{ORDER}");
    let by_a_page: [&[(&str, &str)]; 5] = [
        // A name that its owner lets resolve to this port: page and port are of one origin.
        &[("host", "evil.example:8081"), ("origin", "http://evil.example:8081"), ("sec-fetch-site", "same-origin")],
        &[("host", "evil.example:8081")],
        &[("host", "localhost:8081"), ("origin", "https://evil.example")],
        &[("host", "localhost:8081"), ("origin", "null")],
        &[("host", "localhost:8081"), ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")],
    ];
    for headers in by_a_page {
        for (method, path) in
            [("POST", erase.as_str()), ("GET", "/admin/audit"), ("GET", "/metrics"), ("HEAD", "/admin/audit")]
        {
            let (status, body) = send(&node, method, path, headers, "").await;
            assert_eq!(status, 403, "{method} {path} {headers:?}");
            assert!(method == "HEAD" || body["code"] == "foreign_origin", "{body}");
        }
    }
    assert!(node.operations.lock().expect("not poisoned").is_empty());
    let own: &[(&str, &str)] =
        &[("host", "localhost:8081"), ("origin", "http://localhost:8081"), ("sec-fetch-site", "same-origin")];
    assert_eq!(send(&node, "POST", &erase, own, "").await.0, 200);
}

#[tokio::test]
async fn a_browser_that_reads_starts_no_audit_and_a_tool_does() {
    let node = Node::default();
    let count = || node.operations.lock().expect("not poisoned").len();
    // Browsers of before `Sec-Fetch-Site` send an image's request with these at least.
    for mark in [
        ("user-agent", "Mozilla/5.0 (X11)"),
        ("accept-language", "en"),
        ("referer", "http://evil.example/"),
        ("sec-fetch-mode", "no-cors"),
    ] {
        let (status, body) = send(&node, "GET", "/admin/audit", &[mark], "").await;
        assert_eq!((status, &body), (200, &json!({ "running": null, "last": null })), "{mark:?}");
    }
    assert_eq!(send(&node, "GET", "/admin/audit/progress", &[], "").await.0, 200);
    assert_eq!(count(), 0, "nothing was started");
    assert_eq!(send(&node, "GET", "/admin/audit", &[("user-agent", "curl/8")], "").await.1["clean"], true);
    assert_eq!(send(&node, "POST", "/admin/audit", &[], "").await.1["clean"], true);
    assert_eq!(count(), 2);
}
