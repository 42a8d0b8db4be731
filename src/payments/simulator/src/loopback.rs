//! The simulated provider over real sockets and on paused time, against the client a node uses.

use super::behaviour::Behaviour;
use super::engine::ShopperAction;
use super::in_process::{InProcess, SimulatorOptions};
use super::provider::{LedgerStorage, SimulatedProvider};
use super::testing::{authorize, follow_up, named, order, question};
use super::webhook_sender::{DeliverWebhook, WebhookSender, WebhookTarget};
use super::{WebhookClient, server};
use bytes::Bytes;
use doorbuster_clock::{Clock, SharedClock, SystemClock, TestClock};
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderCall};
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::http::HttpProvider;
use doorbuster_payments::provider::Provider;
use doorbuster_payments::webhook::{SignedWebhook, WebhookHeaders, WebhookSecret};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const FAR: Timestamp = Timestamp(u64::MAX);

fn secret() -> WebhookSecret {
    WebhookSecret::of(&[9; 32]).unwrap()
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A simulator on a free port; its address, and what to abort to stop it.
async fn simulator(
    storage: LedgerStorage<'_>,
    behaviour: Behaviour,
    target: Option<WebhookTarget>,
) -> (String, tokio::task::JoinHandle<()>) {
    let sender = match target {
        Some(target) => WebhookSender::start(target, secret(), clock()),
        None => WebhookSender::disabled(clock()),
    };
    let (provider, _) = SimulatedProvider::open(behaviour, 1, "http://bank", storage, sender, clock()).unwrap();
    serve(provider).await
}

async fn serve(provider: SimulatedProvider) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        server::serve(listener, Arc::new(provider)).await.unwrap();
    });
    (address, served)
}

fn client(address: &str, timeout_ms: u64) -> HttpProvider {
    HttpProvider::new(address, secret(), timeout_ms, 16, clock()).unwrap()
}

async fn post(address: String, kind: &str, body: &'static str) -> (u16, Option<String>) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(address).header("content-type", kind).body(Full::from(body)).unwrap();
    let answer = client.request(request).await.unwrap();
    let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), location)
}

#[tokio::test]
async fn a_charge_goes_over_the_wire_and_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (address, served) = simulator(LedgerStorage::Synced(&path), Behaviour::INSTANT, None).await;
    let provider = client(&address, 5_000);
    let call = authorize(order(1), "tok_ok", 100);
    assert_eq!(provider.send(&question(&call), FAR).await.answer, ProviderAnswer::NotFound);
    let first = provider.send(&call, FAR).await.answer;
    let capture = follow_up(&call, Operation::Capture, 1, &named(&first), 60);
    let captured = provider.send(&capture, FAR).await.answer;
    assert!(matches!(captured, ProviderAnswer::Succeeded { .. }));
    served.abort();
    assert!(served.await.unwrap_err().is_cancelled());
    drop(provider);

    // The connections' tasks hold the provider, and with it the file's lock, until they notice that the client is gone.
    let mut reopened = Err("not tried");
    for _ in 0..500 {
        let sender = WebhookSender::disabled(clock());
        reopened = SimulatedProvider::open(Behaviour::INSTANT, 1, "", LedgerStorage::Synced(&path), sender, clock())
            .map_err(|_in_use| "still in use");
        if reopened.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (address, _served) = serve(reopened.unwrap().0).await;
    let provider = client(&address, 5_000);
    assert_eq!(provider.send(&call, FAR).await.answer, first);
    assert_eq!(provider.send(&question(&capture), FAR).await.answer, captured);
    let other = authorize(order(1), "tok_ok", 99);
    assert_eq!(provider.send(&other, FAR).await.answer, ProviderAnswer::Conflict);
    let page = provider.ledger(0, 10).await.unwrap();
    let amounts: Vec<i64> = page.lines.iter().map(|line| line.amount.amount).collect();
    assert_eq!(amounts, [100, 60]);
    assert_eq!(provider.ledger(1, 10).await.unwrap().lines.len(), 1);
    assert_eq!(provider.ledger(2, 10).await.unwrap().lines.len(), 0);
}

#[tokio::test]
async fn m1_no_answer_a_500_a_429_and_a_closed_port_are_all_unknown() {
    let (address, _served) = simulator(LedgerStorage::Volatile, Behaviour::INSTANT, None).await;
    let silent = authorize(order(1), "tok_timeout_charged", 100);
    let provider = client(&address, 200);
    assert_eq!(provider.send(&silent, FAR).await.answer, ProviderAnswer::Unknown);
    named(&provider.send(&silent, FAR).await.answer);

    for (behaviour, answer) in [
        (Behaviour { error_after_ppm: 1_000_000, ..Behaviour::INSTANT }, ProviderAnswer::Broken),
        (Behaviour { too_many_ppm: 1_000_000, ..Behaviour::INSTANT }, ProviderAnswer::Unknown),
    ] {
        let (address, _served) = simulator(LedgerStorage::Volatile, behaviour, None).await;
        let provider = client(&address, 5_000);
        let call = authorize(order(1), "tok_ok", 100);
        assert_eq!(provider.send(&call, FAR).await.answer, answer);
        let late = ProviderCall { send_before: SystemClock.now(), ..call };
        assert_eq!(provider.send(&late, FAR).await.answer, ProviderAnswer::Unknown, "M7: too old to be sent");
    }
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let provider = client(&format!("http://{unused}"), 5_000);
    assert_eq!(provider.send(&authorize(order(1), "tok_ok", 100), FAR).await.answer, ProviderAnswer::Unknown);
}

#[tokio::test]
async fn a_webhook_that_is_refused_is_posted_again() {
    let (sent, mut received) = mpsc::unbounded_channel::<SignedWebhook>();
    let shop = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", shop.local_addr().unwrap());
    tokio::spawn(async move {
        let refusals = Arc::new(Mutex::new(1_u32));
        loop {
            let (socket, _) = shop.accept().await.unwrap();
            let (sent, refusals) = (sent.clone(), Arc::clone(&refusals));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                TokioIo::new(socket),
                service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (sent, refusals) = (sent.clone(), Arc::clone(&refusals));
                    async move {
                        let headers = request.headers().clone();
                        let body = request.into_body().collect().await?.to_bytes();
                        let mut answer = Response::new(Full::<Bytes>::default());
                        let mut left = refusals.lock().unwrap();
                        if *left > 0 {
                            *left -= 1;
                            *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                        } else {
                            let read = WebhookHeaders::read(&headers).unwrap();
                            let (id, timestamp, signature) =
                                (read.id.into(), read.timestamp.into(), read.signature.into());
                            sent.send(SignedWebhook { id, timestamp, signature, body }).unwrap();
                        }
                        Ok::<_, hyper::Error>(answer)
                    }
                }),
            ));
        }
    });
    let target = WebhookTarget::Http(Arc::new(WebhookClient::to(url.parse().unwrap())));
    let (address, _served) = simulator(LedgerStorage::Volatile, Behaviour::INSTANT, Some(target)).await;
    let provider = client(&address, 5_000);
    let mut call = authorize(order(1), "tok_action", 100);
    call.return_url = Some("http://127.0.0.1/back".into());
    assert!(matches!(provider.send(&call, FAR).await.answer, ProviderAnswer::RequiresAction { .. }));

    let page = format!("{address}/actions/{}", call.reference);
    let done = post(page, "application/x-www-form-urlencoded", "outcome=ok").await;
    assert_eq!(done, (303, Some("http://127.0.0.1/back".to_owned())));
    let sent = received.recv().await.unwrap();
    let event = provider.verify_webhook(sent.headers(), &sent.body, SystemClock.now()).unwrap();
    assert_eq!(event.report.reference, call.reference);
    assert_eq!(provider.send(&question(&call), FAR).await.answer, event.report.answer);
    named(&event.report.answer);
}

#[tokio::test]
async fn bad_requests_are_told_so() {
    let (address, _served) = simulator(LedgerStorage::Volatile, Behaviour::INSTANT, None).await;
    let reference = authorize(order(1), "tok_ok", 1).reference;
    for (path, body, status) in [
        ("/v1/operations".to_owned(), "{", 422),
        ("/v1/operations".to_owned(), r#"{"reference":"x"}"#, 422),
        (format!("/v1/actions/{reference}/complete"), r#"{"outcome":"maybe"}"#, 422),
        (format!("/v1/actions/{reference}/complete"), r#"{"outcome":"ok"}"#, 404),
        ("/nowhere".to_owned(), "", 404),
    ] {
        let got = post(format!("{address}{path}"), "application/json", body).await;
        assert_eq!(got.0, status, "{path} {body}");
    }
}

fn in_process(
    behaviour: Behaviour,
    clock: SharedClock,
    ledger: Option<&Path>,
    deliver: Option<DeliverWebhook>,
) -> InProcess {
    let options = SimulatorOptions { behaviour, seed: 1, action_url: "", secret: secret(), timeout_ms: 10_000, ledger };
    InProcess::open(&options, clock, deliver).unwrap()
}

#[tokio::test(start_paused = true)]
async fn inside_a_node_latency_is_slept_and_a_late_answer_is_unknown() {
    let clock = TestClock::starting_at(Timestamp(1_000_000));
    let provider = in_process(Behaviour::INSTANT, clock.clone(), None, None);
    let call = authorize(order(1), "tok_slow", 100);
    let answer = provider.send(&call, clock.now().plus_ms(1_000)).await.answer;
    assert_eq!((answer, clock.now()), (ProviderAnswer::Unknown, Timestamp(1_001_000)));
    named(&provider.send(&call, FAR).await.answer);
    assert_eq!(clock.now(), Timestamp(1_005_000), "it lands when it would have");
    let lost = authorize(order(2), "tok_timeout_charged", 100);
    assert_eq!(provider.send(&lost, FAR).await.answer, ProviderAnswer::Unknown);
    assert_eq!(clock.now(), Timestamp(1_015_000), "the provider's own time limit");
}

#[tokio::test(start_paused = true)]
async fn inside_a_node_webhooks_come_signed_and_are_offered_again() {
    let clock = TestClock::starting_at(Timestamp(1_000_000));
    let (sent, mut received) = mpsc::unbounded_channel();
    let refused = Mutex::new(false);
    let deliver: DeliverWebhook = Arc::new(move |webhook| {
        let first = !std::mem::replace(&mut *refused.lock().unwrap(), true);
        !first && sent.send(webhook).is_ok()
    });
    let provider = in_process(Behaviour::INSTANT, clock.clone(), None, Some(deliver));
    let call = authorize(order(1), "tok_action", 100);
    assert!(matches!(provider.send(&call, FAR).await.answer, ProviderAnswer::RequiresAction { .. }));
    let done = provider.act(call.reference, ShopperAction::Fail).await.unwrap();
    let sent = received.recv().await.unwrap();
    let event = provider.verify_webhook(sent.headers(), &sent.body, clock.now()).unwrap();
    assert_eq!(Some(event.report.answer), done.answer);
}

#[tokio::test]
async fn inside_a_node_a_written_ledger_answers_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("simulated-provider.ledger");
    let call = authorize(order(1), "tok_timeout_charged", 100);
    let provider = in_process(Behaviour::INSTANT, clock(), Some(&path), None);
    let before = Timestamp(SystemClock.now().0 + 20);
    assert_eq!(provider.send(&call, before).await.answer, ProviderAnswer::Unknown);
    drop(provider);
    let provider = in_process(Behaviour::INSTANT, clock(), Some(&path), None);
    named(&provider.send(&question(&call), FAR).await.answer);
}
