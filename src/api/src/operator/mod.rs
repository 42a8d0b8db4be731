//! The operator port: the state of the node and the cluster, and the operations on them.
//!
//! By default it listens on loopback and asks for no token; anywhere else it requires one ([`Guard`]). None of its paths exist on the public port. Every
//! node of a cluster answers for the whole cluster, and takes the request to drain any node or to move any shard: the desired state is in a store
//! that all nodes share.

mod guard;
mod types;

pub use guard::Guard;
pub use types::{
    Cluster, Fault, HandOff, MoveBody, Node, NodeStanding, OperationError, Readiness, RegistryShown, Saga, SetAside,
    SettleBody, SettledAs, Shard, ShardHere,
};

use crate::core::json;
use crate::core::problem::{Code, Problem, Retry as RetryAdvice};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::http::catch_panic;
use crate::http::router::decode;
use bytes::Bytes;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::payment::{ProviderAnswer, Reference, Retry};
use doorbuster_domain::time::Timestamp;
use hyper::Method;
use hyper::header::{ALLOW, HeaderMap};
use serde::Serialize;
use serde_json::Value;
use std::convert::Infallible;
use warp::Filter;
use warp::reply::Response;

/// Greatest length of a request's body, in bytes.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// What the operator port needs of the node.
pub trait Operations: Clone + Send + Sync + 'static {
    /// The metrics, as OpenMetrics text.
    fn metrics(&self) -> impl Future<Output = String> + Send;
    /// Is the process able to work? `Err`: why not.
    fn health(&self) -> impl Future<Output = Result<(), String>> + Send;
    /// Is it ready to serve?
    fn readiness(&self) -> impl Future<Output = Readiness> + Send;
    /// The nodes of the cluster.
    fn cluster(&self) -> impl Future<Output = Result<Cluster, OperationError>> + Send;
    /// The shards of the cluster.
    fn shards(&self) -> impl Future<Output = Result<Vec<Shard>, OperationError>> + Send;
    /// Sets whether a node shall release its shards (`true`) or may own shards again.
    fn drain(&self, node: &str, drained: bool) -> impl Future<Output = Result<(), OperationError>> + Send;
    /// Sets the node that shall own a shard; `None`: the one that the placement assigns.
    fn move_shard(&self, shard: u16, to: Option<&str>) -> impl Future<Output = Result<(), OperationError>> + Send;
    /// Sagas in flight on this node, oldest first.
    fn sagas(&self, limit: usize) -> impl Future<Output = Result<Vec<Saga>, OperationError>> + Send;
    /// Quarantined entities of this node.
    fn set_aside(&self) -> impl Future<Output = Result<Vec<SetAside>, OperationError>> + Send;
    /// Retries a quarantined entity.
    fn retry(&self, entity: EntityId) -> impl Future<Output = Result<(), OperationError>> + Send;
    /// Checks the laws over the journal; the report says in `clean` whether they hold. Refused with [`OperationError::Busy`] while another audit runs.
    fn audit(&self) -> impl Future<Output = Result<Value, OperationError>> + Send;
    /// The audit that runs, with its progress, and the last one that ended.
    fn audits(&self) -> impl Future<Output = Result<Value, OperationError>> + Send;
    /// Injects a fault.
    fn fault(&self, fault: Fault) -> impl Future<Output = Result<(), OperationError>> + Send;
    /// Records how a provider call ended that can no longer be queried (rule M2).
    fn settle(
        &self,
        reference: Reference,
        answer: ProviderAnswer,
    ) -> impl Future<Output = Result<(), OperationError>> + Send;
    /// Erases the personal data of an entity.
    fn erase(&self, entity: EntityId) -> impl Future<Output = Result<(), OperationError>> + Send;
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Unknown => not_found(),
            OperationError::NoSuch(what) => Self::new(Code::NotFound).detail(what),
            OperationError::NotAllowed => Self::new(Code::MissingScope).detail("the settings do not allow it"),
            OperationError::Refused(why) => Self::new(Code::WrongState).detail(why),
            OperationError::Busy(why) => Self::new(Code::WrongState).detail(why).retry(RetryAdvice::Later),
            OperationError::Unavailable(why) => Self::new(Code::Overloaded).detail(why),
        }
    }
}

/// The routes of the operator port: method and path.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/metrics"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/admin/cluster"),
    ("GET", "/admin/shards"),
    ("POST", "/admin/nodes/{id}/drain"),
    ("POST", "/admin/nodes/{id}/resume"),
    ("POST", "/admin/shards/{id}/move"),
    ("GET", "/admin/sagas"),
    ("GET", "/admin/entities/set-aside"),
    ("POST", "/admin/entities/{kind}/{id}/retry"),
    ("GET", "/admin/audit"),
    ("POST", "/admin/audit"),
    ("GET", "/admin/audit/progress"),
    ("POST", "/admin/faults"),
    ("POST", "/admin/orders/{id}/settle"),
    ("POST", "/admin/erase/{kind}/{id}"),
];

/// A body of bounded length; a request without `Content-Length` has none.
fn body() -> impl Filter<Extract = (Bytes,), Error = warp::Rejection> + Copy {
    let bounded = warp::body::content_length_limit(BODY_BYTES_MAX).and(warp::body::bytes());
    let absent = warp::header::optional::<u64>("content-length").and_then(|length: Option<u64>| async move {
        if length.is_none() { Ok(Bytes::new()) } else { Err(warp::reject::reject()) }
    });
    bounded.or(absent).unify()
}

/// The filter of the operator port; `guard` decides which requests reach `node`.
pub fn filter<O: Operations>(
    node: O,
    guard: Guard,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(body())
        .then(move |method: Method, path: warp::path::FullPath, headers: HeaderMap, body: Bytes| {
            let (node, allowed) = (node.clone(), guard.check(path.as_str(), &headers));
            let answered = async move {
                allowed?;
                answer(&node, &method, path.as_str(), &headers, &body).await
            };
            catch_panic(Box::pin(answered))
        })
        .recover(|_rejection: warp::Rejection| async {
            Ok::<_, Infallible>(Problem::new(Code::MalformedRequest).into_response())
        })
        .unify()
}

async fn answer<O: Operations>(
    node: &O,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Reply, Problem> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    match (method, segments.as_slice()) {
        ("GET", ["metrics"]) => {
            let text = node.metrics().await;
            Ok(Reply::bytes(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text.into()))
        }
        ("GET", ["healthz"]) => match node.health().await {
            Ok(()) => Ok(Reply::json(200, &serde_json::json!({ "status": "ok" }))),
            Err(why) => Ok(Reply::json(503, &serde_json::json!({ "status": "failed", "why": why }))),
        },
        ("GET", ["readyz"]) => {
            let readiness = node.readiness().await;
            Ok(Reply::json(if readiness.ready { 200 } else { 503 }, &readiness))
        }
        ("GET", ["admin", "cluster"]) => Ok(Reply::json(200, &node.cluster().await?)),
        ("GET", ["admin", "shards"]) => Ok(list(&node.shards().await?)),
        ("GET", ["admin", "sagas"]) => Ok(list(&node.sagas(1_000).await?)),
        ("GET", ["admin", "entities", "set-aside"]) => Ok(list(&node.set_aside().await?)),
        ("GET", ["admin", "audit", "progress"]) => Ok(Reply::json(200, &node.audits().await?)),
        // A link or an image of any page makes a browser send a GET: it must start no work.
        ("GET", ["admin", "audit"]) if guard::is_of_a_browser(headers) => Ok(Reply::json(200, &node.audits().await?)),
        ("GET" | "POST", ["admin", "audit"]) => Ok(Reply::json(200, &node.audit().await?)),
        ("POST", ["admin", "nodes", node_name, "drain"]) => {
            node.drain(&name(node_name)?, true).await?;
            Ok(done())
        }
        ("POST", ["admin", "nodes", node_name, "resume"]) => {
            node.drain(&name(node_name)?, false).await?;
            Ok(done())
        }
        ("POST", ["admin", "shards", number, "move"]) => {
            let number = shard(number)?;
            let MoveBody { to } = json::read(body)?;
            node.move_shard(number, to.as_deref()).await?;
            Ok(done())
        }
        ("POST", ["admin", "entities", kind, id, "retry"]) => {
            node.retry(entity(kind, id)?).await?;
            Ok(done())
        }
        ("POST", ["admin", "faults"]) => {
            node.fault(json::read(body)?).await?;
            Ok(done())
        }
        ("POST", ["admin", "orders", id, "settle"]) => {
            let (reference, answer) = settled(id, &json::read(body)?)?;
            node.settle(reference, answer).await?;
            Ok(done())
        }
        ("POST", ["admin", "erase", kind, id]) => {
            node.erase(entity(kind, id)?).await?;
            Ok(done())
        }
        (_, segments) => Err(no_route(segments)),
    }
}

fn list<T: Serialize>(data: &[T]) -> Reply {
    Reply::json(200, &serde_json::json!({ "data": data }))
}

fn done() -> Reply {
    Reply::json(200, &serde_json::json!({ "done": true }))
}

fn no_route(segments: &[&str]) -> Problem {
    let fits = |template: &str| {
        let parts: Vec<&str> = template.trim_start_matches('/').split('/').collect();
        parts.len() == segments.len()
            && parts.iter().zip(segments).all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    let methods: Vec<&str> = ROUTES.iter().filter(|(_, path)| fits(path)).map(|(method, _)| *method).collect();
    if methods.is_empty() {
        return not_found();
    }
    let allowed = methods.join(", ");
    Problem::new(Code::MethodNotAllowed).detail(format!("only {allowed}")).header(ALLOW, &allowed)
}

/// The name of a node in a path.
fn name(segment: &str) -> Result<String, Problem> {
    let name = decode(segment).filter(|name| !name.trim().is_empty());
    name.map(String::from).ok_or_else(|| Problem::new(Code::InvalidId).detail("the path needs the name of a node"))
}

fn shard(segment: &str) -> Result<u16, Problem> {
    segment.parse().map_err(|_no_number| Problem::new(Code::InvalidId).detail("the path needs the number of a shard"))
}

fn entity(kind: &str, id: &str) -> Result<EntityId, Problem> {
    let invalid = || Problem::new(Code::InvalidId).detail("the path needs kind/id of an entity");
    let id = decode(id).ok_or_else(invalid)?;
    EntityId::parse(&format!("{kind}/{id}")).map_err(|_no_entity| invalid())
}

fn settled(order: &str, body: &SettleBody) -> Result<(Reference, ProviderAnswer), Problem> {
    let order = OrderId::parse(order).map_err(|error| Problem::new(Code::InvalidId).detail(error.to_string()))?;
    let reference = Reference::parse(&body.reference).filter(|reference| reference.order == order);
    let reference =
        reference.ok_or_else(|| Problem::field("/reference", "invalid_value", "is not a reference of this order"))?;
    let provider_reference =
        || body.provider_reference.clone().unwrap_or_else(|| "settled by an operator".to_owned()).into();
    let answer = match body.outcome {
        SettledAs::Authorized => {
            let lapses_at = body.lapses_at.as_ref().map_or(Timestamp(u64::MAX), |at| at.0);
            ProviderAnswer::Authorized { provider_reference: provider_reference(), lapses_at }
        }
        SettledAs::Succeeded => ProviderAnswer::Succeeded { provider_reference: provider_reference() },
        SettledAs::Declined => {
            let code = body.code.clone().unwrap_or_else(|| "settled_by_operator".to_owned()).into();
            ProviderAnswer::Declined { code, retry: Retry::Never }
        }
    };
    Ok((reference, answer))
}
