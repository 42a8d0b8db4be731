//! Whole requests through the API's one filter, to a shop in memory: whatever comes is answered as it is described, and the laws hold.
//!
//! ```text
//! POST /v1/orders                         a method and a target
//! authorization: Bearer sk_everything     headers; `Bearer guest` stands for a good guest's token
//!
//! {"lines":[…]}                           the body; then `---` on a line of its own, and the next request
//! ```

use super::shop::{Books, InMemory, START};
use base64::Engine;
use bytes::Bytes;
use doorbuster_api::core::route::Route;
use doorbuster_api::docs::openapi;
use doorbuster_api::http::router::{Found, Router};
use doorbuster_api::keys::{Keys, Scope};
use doorbuster_api::routes::routes;
use doorbuster_api::secret::Secret;
use doorbuster_api::{Api, ApiSettings};
use doorbuster_domain::ids::GuestId;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Uri};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

const KEY: &str = "sk_everything";
const REQUESTS_MAX: usize = 16;
const BODY_BYTES_MAX: usize = 16 << 10;

type Answered = Pin<Box<dyn Future<Output = (u16, Option<String>, Bytes)>>>;

/// The API, a shop behind it, and what the API says of itself.
struct World {
    runtime: tokio::runtime::Runtime,
    shop: InMemory,
    serve: Box<dyn Fn(Request<Full<Bytes>>) -> Answered>,
    router: Router<InMemory>,
    described: BTreeMap<(&'static str, &'static str), BTreeSet<u16>>,
    guest: HeaderValue,
    /// The shop with a product, a warehouse and stock.
    opened: Books,
}

/// The signature of a webhook, as Standard Webhooks has it.
pub(super) fn signature(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).expect("every length will do");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()))
}

const OPENING: &[&str] = &[
    "PUT /v1/warehouses/lon1\nauthorization: Bearer sk_everything\ncontent-type: application/json\n\n{\"name\":\"London\",\"country\":\"GB\"}",
    "PUT /v1/products/p\nauthorization: Bearer sk_everything\ncontent-type: application/json\n\n{\"title\":\"Nova\",\"skus\":[{\"sku\":\"A\",\"prices\":[{\"amount\":12999,\"currency\":\"GBP\"}]},{\"sku\":\"B\",\"max_per_order\":2,\"prices\":[{\"amount\":100,\"currency\":\"GBP\"},{\"amount\":150,\"currency\":\"EUR\"}]}]}",
    "POST /v1/inventory/A/receipts\nauthorization: Bearer sk_everything\ncontent-type: application/json\nidempotency-key: a\n\n{\"warehouse\":\"lon1\",\"units\":9}",
    "POST /v1/inventory/B/receipts\nauthorization: Bearer sk_everything\ncontent-type: application/json\nidempotency-key: b\n\n{\"warehouse\":\"lon1\",\"units\":3}",
];

impl World {
    fn new() -> Self {
        let shop = InMemory::default();
        let secret = Secret::new(&[7; 32]);
        let guest = secret.guest_token(GuestId(5), START.plus_s(7 * 86_400));
        let keys = Keys::in_memory(&[(KEY, "sel_main", &Scope::ALL), ("sk_stock", "sel_main", &[Scope::Inventory])]);
        let api = Api::new(shop.clone(), ApiSettings::default(), keys, secret);
        let service = TowerToHyperService::new(warp::service(api.filter()));
        let serve = move |request| -> Answered {
            let answering = service.call(request);
            Box::pin(async move {
                let response = answering.await.expect("it cannot fail");
                let status = response.status().as_u16();
                let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
                let body = response.into_body().collect().await.expect("it is in memory").to_bytes();
                (status, kind, body)
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let world = Self {
            runtime,
            shop,
            serve: Box::new(serve),
            router: Router::new(routes()),
            described: described(),
            guest: HeaderValue::from_str(&format!("Bearer {guest}")).expect("visible letters"),
            opened: Books::default(),
        };
        for request in OPENING {
            let status = world.one(request.as_bytes());
            assert!(matches!(status, Some(200 | 201)), "{status:?}: {request}");
        }
        Self { opened: world.shop.get(), ..world }
    }

    /// One request; its status, when it was one.
    fn one(&self, text: &[u8]) -> Option<u16> {
        let request = self.request(text)?;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        self.shop.next_request();
        let (status, kind, body) = self.runtime.block_on((self.serve)(request));
        let said = || format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        // A provider is asked to send again what is ours and unknown here (rule M6).
        let is_asked_for_again = status == 503 && path.ends_with("/webhooks");
        assert!(status < 500 || is_asked_for_again, "{}", said());
        let json = || serde_json::from_slice::<Value>(&body).unwrap_or_else(|error| panic!("{error}: {}", said()));
        if status >= 400 {
            assert_eq!(kind.as_deref(), Some("application/problem+json"), "{}", said());
            let problem = json();
            assert_eq!(problem["status"], status, "{}", said());
            assert!(problem["code"].is_string() && problem["errors"].is_array(), "{}", said());
        } else if kind.as_deref() == Some("application/json") {
            json();
        }
        match self.router.find(&method, &path) {
            Found::Route(route, _) => {
                let described = &self.described[&(route.method, route.path)];
                assert!(described.contains(&status), "not described: {}", said());
            }
            Found::Methods(_) => assert_eq!(status, 405, "{}", said()),
            Found::Undecodable => assert_eq!(status, 400, "{}", said()),
            Found::Nothing => assert!(matches!(status, 404 | 400), "{}", said()),
        }
        self.shop.check_laws();
        Some(status)
    }

    /// `None`: hyper would not have let it through.
    fn request(&self, text: &[u8]) -> Option<Request<Full<Bytes>>> {
        let (head, body) = match find(text, b"\n\n") {
            Some(at) => (&text[..at], &text[at + 2..]),
            None => (text, &[][..]),
        };
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next()?;
        let space = first.iter().position(|byte| *byte == b' ')?;
        let method = Method::from_bytes(&first[..space]).ok()?;
        let uri = Uri::try_from(&first[space + 1..]).ok().filter(|uri| uri.path().starts_with('/'))?;
        let body = Bytes::copy_from_slice(&body[..body.len().min(BODY_BYTES_MAX)]);
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
            let value = if name == AUTHORIZATION && value == "Bearer guest" { self.guest.clone() } else { value };
            headers.append(name, value);
        }
        // A length that is not the body's is hyper's affair.
        headers.remove(CONTENT_LENGTH);
        if !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Some(request)
    }
}

fn described() -> BTreeMap<(&'static str, &'static str), BTreeSet<u16>> {
    let document = openapi::describe(routes::<InMemory>());
    let of = |route: &Route<InMemory>| {
        if !route.docs.is_described {
            // A page for a browser: it answers with what its row says.
            let codes = route.all_codes().into_iter().map(|code| code.status_number());
            let answers = route.docs.answers.iter().map(|(status, _)| *status);
            return ((route.method, route.path), codes.chain(answers).collect());
        }
        let responses = &document["paths"][route.path][route.method.to_ascii_lowercase()]["responses"];
        let numbers = responses.as_object().expect("responses").keys().map(|status| status.parse().expect("a status"));
        ((route.method, route.path), numbers.collect())
    };
    routes().map(of).collect()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

thread_local! {
    static WORLD: World = World::new();
}

/// Requests, one after the other.
pub fn check(bytes: &[u8]) {
    WORLD.with(|world| {
        world.shop.set(world.opened.clone());
        let mut rest = bytes;
        for _ in 0..REQUESTS_MAX {
            let next = find(rest, b"\n---\n");
            world.one(&rest[..next.unwrap_or(rest.len())]);
            match next {
                Some(at) => rest = &rest[at + 5..],
                None => return,
            }
        }
    });
}
