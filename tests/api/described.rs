//! OpenAPI says what the server does: every described route exists, every route is described, and nothing answers with a status
//! that its description leaves out.

use crate::client::Client;
use crate::server::Server;
use serde_json::Value;

fn documented(document: &Value, path: &str, method: &str) -> Vec<u16> {
    let responses = document["paths"][path][method]["responses"].as_object().expect("responses");
    responses.keys().map(|status| status.parse().expect("a number")).collect()
}

#[tokio::test]
async fn every_described_route_exists_and_answers_as_described() {
    let server = Server::start().await;
    let document = server.anyone().get("/openapi.json").await;
    assert_eq!(document.body["openapi"], "3.1.0");
    let order = "ord_00000000000000000000010000";
    let callers = [server.anyone(), server.seller(), server.guest().await];
    for (path, methods) in document.body["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let real = path.replace("/orders/{id}", &format!("/orders/{order}")).replace("{provider}", "simulated");
            let real = real.replace("/reservations/{id}", "/reservations/rsv_00000000000000000000010000~A");
            let real = real.replace("{id}", "x").replace("{sku}", "A");
            let allowed = documented(&document.body, path, method);
            for caller in &callers {
                for (key, body) in
                    [(Some("k"), Some("{}")), (None, None), (Some("k"), Some("{")), (Some("k"), Some(r#"{"role":1}"#))]
                {
                    let answer = caller.send(&method.to_uppercase(), &real, key, body).await;
                    assert_ne!(answer.status, 405, "{method} {path} is described and does not exist");
                    assert!(
                        allowed.contains(&answer.status),
                        "{method} {path}: {} is not described: {answer:?}",
                        answer.status
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_path_that_is_not_described_does_not_exist() {
    let server = Server::start().await;
    let seller: Client = server.seller();
    for path in ["/v1/drops", "/v1/quotes", "/v1/imports", "/v1/events", "/v1/orders/ord_x/merge"] {
        assert_eq!(seller.get(path).await.status, 404, "{path} is not built yet, so it is absent");
    }
}

#[tokio::test]
async fn the_page_to_try_it_brings_everything_it_needs() {
    let server = Server::start().await;
    let page = server.anyone().get("/docs").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "nothing is loaded from elsewhere");
    for asset in ["/docs/docs.js", "/docs/docs.css"] {
        assert!(page.text.contains(asset));
        assert_eq!(server.anyone().get(asset).await.status, 200);
    }
}
