//! A request that passed the pipeline, and what its handler reads from it.

use super::ask::Asking;
use super::caller::Caller;
use super::fingerprint::of_body;
use super::followers::Followers;
use super::headers;
use super::json;
use super::keys::Keys;
use super::problem::{Code, Problem};
use super::secret::Secret;
use super::service::Shop;
use super::settings::{ApiSettings, RequestSettings, ShopSettings};
use super::work::{Meter, units_of_lines};
use crate::payments::UnmatchedWebhooks;
use bytes::Bytes;
use compact_str::CompactString;
use doorbuster_actors::ask::Ask;
use doorbuster_domain::any::Command;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, IdError, Request as RequestKey, RequestFingerprint, RequestId};
use doorbuster_domain::principal::Principal;
use doorbuster_domain::time::Timestamp;
use hyper::header::HeaderMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// What every request of one API shares.
pub struct Context<S> {
    /// The shop behind the API.
    pub shop: S,
    /// The settings of the API.
    pub settings: ApiSettings,
    /// The secret keys of sellers.
    pub keys: Keys,
    /// The secret that signs tokens.
    pub secret: Secret,
    /// The OpenAPI document, as JSON.
    pub openapi: Bytes,
    /// Webhooks about orders of this installation that are unknown here.
    pub unmatched: Arc<UnmatchedWebhooks>,
    /// Callers that wait for events.
    pub followers: Arc<Followers>,
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The segments of a path that stood for `{…}`, percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    segments: [CompactString; 2],
    count: usize,
}

impl Params {
    /// The first; empty if the route has none.
    #[must_use]
    pub fn first(&self) -> &str {
        let [first, _] = &self.segments;
        first
    }

    /// The second; empty if the route has none.
    #[must_use]
    pub fn second(&self) -> &str {
        let [_, second] = &self.segments;
        second
    }

    /// Adds a segment; no route has more than two.
    pub(crate) fn push(&mut self, segment: CompactString) {
        if let Some(slot) = self.segments.get_mut(self.count) {
            *slot = segment;
            self.count += 1;
        }
    }

    /// The template of a path with the segments in place of `{…}`: the same path for every way to encode it, and another one for other segments, which
    /// may contain `/`.
    #[must_use]
    pub fn fill(&self, template: &'static str) -> CompactString {
        if self.count == 0 {
            return CompactString::const_new(template);
        }
        let mut segments = self.segments.iter();
        let mut path = CompactString::default();
        for part in template.split('/').skip(1) {
            path.push('/');
            if !part.starts_with('{') {
                path.push_str(part);
                continue;
            }
            for letter in segments.next().map_or("", |text| text).chars() {
                match letter {
                    '/' => path.push_str("%2F"),
                    '%' => path.push_str("%25"),
                    other => path.push(other),
                }
            }
        }
        path
    }
}

/// A request that passed the pipeline.
pub struct Request<'a, S> {
    /// What all requests share.
    pub context: &'a Context<S>,
    /// The path of its route, with `{…}`.
    pub template: &'static str,
    /// The segments of its path that stood for `{…}`.
    pub params: Params,
    /// Who sent it.
    pub caller: Caller,
    /// What charges its caller for more work than an ordinary request is.
    pub meter: &'a (dyn Meter + 'a),
    /// Its headers.
    pub headers: HeaderMap,
    /// The pairs of its query, decoded.
    pub query: Vec<(String, String)>,
    /// Its whole body.
    pub body: Bytes,
    /// Seconds of `Prefer: wait`, at most as many as the setting allows; `None`: no preference.
    pub prefer_wait: Option<u64>,
    /// When it was admitted.
    pub now: Timestamp,
}

impl<S> fmt::Debug for Request<'_, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Request")
            .field("template", &self.template)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

impl<'a, S> Request<'a, S> {
    /// The shop's own settings.
    #[must_use]
    pub const fn shop_settings(&self) -> &'a ShopSettings {
        &self.context.settings.shop
    }

    /// The bounds on requests.
    #[must_use]
    pub const fn settings(&self) -> &'a RequestSettings {
        &self.context.settings.requests
    }

    /// The deadline of a command where no other is given.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.now.plus_ms(self.settings().command_timeout_ms)
    }

    /// The id in the first segment.
    ///
    /// # Errors
    /// 400 `invalid_id`.
    pub fn id<T>(&self, parse: fn(&str) -> Result<T, IdError>) -> Result<T, Problem> {
        parse(self.params.first()).map_err(invalid_id)
    }

    /// The id in the second segment.
    ///
    /// # Errors
    /// 400 `invalid_id`.
    pub fn second_id<T>(&self, parse: fn(&str) -> Result<T, IdError>) -> Result<T, Problem> {
        parse(self.params.second()).map_err(invalid_id)
    }

    /// Charges the caller for so many lines or items, before anything is asked for them.
    ///
    /// # Errors
    /// 429 and 503; nothing is bound.
    pub fn charge_lines(&self, lines: usize) -> Result<(), Problem> {
        match units_of_lines(lines) {
            0 => Ok(()),
            units => self.meter.charge(units),
        }
    }

    /// The body as a `T`.
    ///
    /// # Errors
    /// See [`json::read`].
    pub fn read<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Problem> {
        json::read(&self.body)
    }

    /// Does the caller want no more of a changed resource than its `MinimalView` (`Prefer: return=minimal`)?
    #[must_use]
    pub fn prefers_minimal(&self) -> bool {
        headers::prefers_minimal(&self.headers)
    }

    /// The value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The principal: the name under which the caller's requests and resources are kept.
    ///
    /// # Errors
    /// 401 without a caller.
    pub fn principal(&self) -> Result<CompactString, Problem> {
        self.caller.principal().ok_or_else(|| Problem::new(Code::Unauthenticated).detail("a key or a token is needed"))
    }

    /// The identity of this request and its repetitions (principal, path and `Idempotency-Key`), with the fingerprint of its body.
    ///
    /// # Errors
    /// 400 without a lawful key, 401 without a caller.
    pub fn key(&self, fingerprint: RequestFingerprint) -> Result<RequestKey, Problem> {
        let key = headers::idempotency_key(&self.headers)?;
        let path = self.params.fill(self.template);
        Ok(RequestKey { id: RequestId::new(&self.principal()?, &path, key), terms: fingerprint })
    }

    /// The same, with the fingerprint of the body as a whole.
    ///
    /// # Errors
    /// 400 without a lawful key or with a body that is no JSON, 401 without a caller.
    pub fn body_key(&self) -> Result<RequestKey, Problem> {
        self.key(of_body(&self.body)?)
    }
}

impl<S: Shop> Request<'_, S> {
    /// Begins to ask an entity on behalf of the caller.
    pub fn ask(&self, entity: EntityId, command: Command) -> Asking<'_, S> {
        self.ask_as(self.who(), entity, command)
    }

    /// The caller as entities know it.
    #[must_use]
    pub fn who(&self) -> Principal {
        self.caller.who(&self.shop_settings().seller)
    }

    /// Begins to ask an entity for the node itself: what it may show to everyone, and what the caller was permitted before.
    pub fn ask_inside(&self, entity: EntityId, command: Command) -> Asking<'_, S> {
        self.ask_as(Principal::System, entity, command)
    }

    /// Begins to ask an entity on behalf of `by`.
    pub fn ask_as(&self, by: Principal, entity: EntityId, command: Command) -> Asking<'_, S> {
        let (if_version, reject_if_absent) = (None, None);
        let (wait, deadline) = (Wait::Decided, self.deadline());
        let ask = Ask { entity, command, by, if_version, wait, deadline, reject_if_absent };
        Asking::new(&self.context.shop, ask)
    }
}

fn invalid_id(error: IdError) -> Problem {
    Problem::new(Code::InvalidId).detail(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_its_segments() {
        let mut params = Params::default();
        assert_eq!(params.fill("/v1/orders"), "/v1/orders");
        params.push("crt_1".into());
        params.push("A B".into());
        assert_eq!(params.fill("/v1/carts/{id}/lines/{sku}"), "/v1/carts/crt_1/lines/A B");
    }
}
