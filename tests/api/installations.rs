//! Several installations at one payment provider (rule M6), and one that had orders before it had an id.

use crate::server::{Server, order_of, paid_order_of, signed};
use doorbuster_api::{ApiSettings, Installation, SocketLimits};
use doorbuster_clock::{Clock, SystemClock};
use doorbuster_domain::ids::{InstallationId, OrderId, RequestId};
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderReport, Reference, Retry};
use doorbuster_node::provider::AnyProvider;
use doorbuster_payments::{Provider, WebhookEvent};
use doorbuster_storage::memory::MemoryStore;
use std::sync::Arc;

async fn installed(installation: Option<Installation>, provider: &Arc<AnyProvider>, disk: MemoryStore) -> Server {
    let mut settings = ApiSettings::default();
    settings.shop.installation = installation;
    Server::of(SocketLimits::default(), settings, Arc::clone(provider), disk).await
}

fn installation(number: u128, has_older_orders: bool) -> Option<Installation> {
    Some(Installation { id: InstallationId(number << 16), has_older_orders })
}

/// The status of an order of so many units, placed with the same key in each installation.
async fn sold(server: &Server, units: u32) -> String {
    server.with_stock("A", 10).await;
    let body = paid_order_of("A", units, "tok_ok");
    let placed = server.seller().with("Prefer", "wait=5").post("/v1/orders", Some("the-same"), Some(&body)).await;
    assert!(placed.status == 201 || placed.status == 202, "{placed:?}");
    placed.body["status"].as_str().expect("a status").to_owned()
}

#[tokio::test]
async fn m6_two_installations_with_the_same_keys_charge_each_its_own_amount() {
    let provider = Server::provider();
    let one = installed(installation(1, false), &provider, Server::disk()).await;
    let other = installed(installation(2, false), &provider, Server::disk()).await;
    assert_eq!((sold(&one, 1).await, sold(&other, 2).await), ("confirmed".to_owned(), "confirmed".to_owned()));
    let ledger = provider.ledger(0, 100).await.expect("in memory").lines;
    let charged = |order: &doorbuster_domain::payment::LedgerLine| order.reference.operation == Operation::Authorize;
    let amounts: Vec<i64> = ledger.iter().filter(|line| charged(line)).map(|line| line.amount.amount).collect();
    assert_eq!(amounts, [13_498, 26_497]);
}

#[tokio::test]
async fn m6_without_ids_the_second_installations_order_is_never_confirmed_by_the_firsts_charge() {
    let provider = Server::provider();
    let one = installed(None, &provider, Server::disk()).await;
    let other = installed(None, &provider, Server::disk()).await;
    assert_eq!(sold(&one, 1).await, "confirmed");
    assert_ne!(sold(&other, 2).await, "confirmed");
    let ledger = provider.ledger(0, 100).await.expect("in memory").lines;
    assert!(ledger.iter().all(|line| line.reference.operation != Operation::Void), "it may be the other's: {ledger:?}");
}

#[tokio::test]
async fn an_order_from_before_there_were_installation_ids_is_found_again_by_its_key() {
    let (provider, disk) = (Server::provider(), Server::disk());
    let mut before = installed(None, &provider, disk.clone()).await;
    before.with_stock("A", 10).await;
    let body = order_of("A", 1);
    let first = before.seller().post("/v1/orders", Some("k"), Some(&body)).await;
    assert_eq!(first.status, 201, "{first:?}");
    before.stop().await;
    let after = installed(installation(1, true), &provider, disk).await;
    let again = after.seller().post("/v1/orders", Some("k"), Some(&body)).await;
    assert_eq!((again.status, &again.body["id"]), (201, &first.body["id"]));
    let new = after.seller().post("/v1/orders", Some("l"), Some(&body)).await;
    let id = OrderId::parse(new.body["id"].as_str().expect("an id")).expect("lawful");
    assert!(InstallationId(1 << 16).may_have_made(id));
    let path = format!("/v1/orders/{}", first.body["id"].as_str().expect("an id"));
    assert_eq!(after.seller().get(&path).await.status, 200);
}

#[tokio::test]
async fn m6_a_webhook_about_an_order_of_ours_that_is_unknown_here_is_asked_for_again_and_one_of_others_is_not() {
    let server = installed(installation(1, false), &Server::provider(), Server::disk()).await;
    let request = RequestId::new("seller:sel_main", "/v1/orders", "lost");
    for (order, status) in
        [(InstallationId(1 << 16).order_of(request), 503), (InstallationId(2 << 16).order_of(request), 200)]
    {
        let reference = Reference { order, operation: Operation::Authorize, payment: 1, attempt: 1 };
        let answer = ProviderAnswer::Declined { code: "x".into(), retry: Retry::Never };
        let report = ProviderReport { reference, amount: None, answer };
        let webhook = signed(&WebhookEvent { id: "evt_1".into(), report }, SystemClock.now());
        assert_eq!(crate::callers::hand_in(&server, &webhook, &webhook.signature).await, status);
    }
    assert_eq!(server.pipeline.unmatched.count(), 1);
}
