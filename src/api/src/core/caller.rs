//! The caller of a request: a seller by a secret key, a guest by a signed token (header or cookie), the holder of an order's token.
//!
//! An invalid credential is 401, never an anonymous request: a forged cookie must not pass as one. A browser sends a cookie with requests that other
//! sites cause, so a request that writes with a cookie must come from this node's own pages.

use super::keys::{Key, Keys, Scope};
use super::problem::{Code, Problem};
use super::secret::Secret;
use compact_str::{CompactString, format_compact};
use doorbuster_domain::ids::{GuestId, OrderId};
use doorbuster_domain::principal::{Account, Principal};
use doorbuster_domain::time::Timestamp;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the cookie that holds a guest's token, for a browser on this machine: it may have come without TLS.
pub const LOCAL_GUEST_COOKIE: &str = "doorbuster_guest";
/// Its name for every other browser, which takes it with `Secure` only, for this host only and never from a neighbouring one (RFC 6265bis, `__Host-`).
pub const GUEST_COOKIE: &str = "__Host-doorbuster_guest";

/// The header with which the platform acts for a shopper.
pub const ON_BEHALF_OF: &str = "on-behalf-of";

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A request without a credential.
    Anyone,
    /// A seller's account, by one of its keys.
    Seller(Arc<Key>),
    /// A guest.
    Guest(GuestId),
    /// The holder of this order's token.
    Holder(OrderId),
}

impl Caller {
    /// Is it a seller's side, by a secret key?
    #[must_use]
    pub const fn is_seller(&self) -> bool {
        matches!(self, Self::Seller(_))
    }

    /// Is it the account that runs the shop?
    #[must_use]
    pub fn is_platform(&self, platform: &str) -> bool {
        matches!(self, Self::Seller(key) if key.account == platform)
    }

    /// The principal: the name under which this caller's requests and resources are kept. A seller's is the account, never the key, which rotates.
    #[must_use]
    pub fn principal(&self) -> Option<CompactString> {
        match self {
            Self::Anyone => None,
            Self::Seller(key) => Some(format_compact!("seller:{}", key.account)),
            Self::Guest(guest) => Some(format_compact!("guest:{guest}")),
            Self::Holder(order) => Some(format_compact!("order:{order}")),
        }
    }

    /// The caller as entities know it. `platform`: the account that runs the shop.
    #[must_use]
    pub fn who(&self, platform: &str) -> Principal {
        match self {
            Self::Anyone => Principal::Anyone,
            Self::Seller(key) => {
                let account = Account { id: key.account.clone(), scopes: key.scopes.iter().copied().collect() };
                if key.account == platform { Principal::Platform(account) } else { Principal::Seller(account) }
            }
            Self::Guest(guest) => Principal::Guest(*guest),
            Self::Holder(order) => Principal::Holder(*order),
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every caller.
    Anyone,
    /// A seller's key with this scope.
    Scope(Scope),
    /// A guest, or a seller's key with `orders`: they have carts and place orders.
    Shopper,
    /// The same, or the holder of an order's token: they read, pay, cancel and return an order.
    OrderParty,
    /// The payment provider, who signs the body.
    Provider,
}

/// Identifies the caller. `writes`: the request changes something.
///
/// # Errors
/// 401 for an invalid credential, 403 for a request that writes with a cookie and may come from another site.
pub fn identify(
    headers: &HeaderMap,
    writes: bool,
    keys: &Keys,
    secret: &Secret,
    now: Timestamp,
) -> Result<Caller, Problem> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or_else(unauthenticated)?;
        return of_token(token, keys, secret, now).ok_or_else(unauthenticated);
    }
    let Some(token) = guest_cookie(headers) else { return Ok(Caller::Anyone) };
    let guest = secret.guest_of(token, now).ok_or_else(unauthenticated)?;
    if writes && !is_same_origin(headers) {
        let detail = "a request that writes with a cookie must come from the same origin";
        return Err(Problem::new(Code::ForeignOrigin).detail(detail));
    }
    Ok(Caller::Guest(guest))
}

fn of_token(token: &str, keys: &Keys, secret: &Secret, now: Timestamp) -> Option<Caller> {
    match token.get(..3)? {
        "sk_" => keys.verify(token, now).map(Caller::Seller),
        "gt_" => secret.guest_of(token, now).map(Caller::Guest),
        "ot_" => secret.order_of(token).map(Caller::Holder),
        // Shoppers have no tokens of their own yet: a JWT is forged, with `alg: none` or any other.
        _ => None,
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The answer to a credential that is not valid, or not any more.
pub(crate) fn unauthenticated() -> Problem {
    Problem::new(Code::Unauthenticated).detail("the key or token is invalid, or it has expired")
}

/// Does the request come from this machine, and through no proxy? Otherwise cookies are for TLS only.
#[must_use]
pub fn is_local(headers: &HeaderMap) -> bool {
    const OF_PROXIES: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (is_loopback || name.eq_ignore_ascii_case("localhost"))
        && !OF_PROXIES.iter().any(|name| headers.contains_key(*name))
}

fn guest_cookie(headers: &HeaderMap) -> Option<&str> {
    let expected = if is_local(headers) { LOCAL_GUEST_COOKIE } else { GUEST_COOKIE };
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == expected)
        .map(|(_, token)| token)
}

/// Does the browser say that the request comes from this node's own pages? Without such a header the answer is no.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let (Some(host), Some(origin)) = (host, origin) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// Checks that a caller may use a route.
///
/// # Errors
/// 401 without a credential, 403 `missing_scope` without the scope.
pub fn allow(caller: &Caller, access: Access) -> Result<(), Problem> {
    let needed = match (access, caller) {
        (Access::Anyone | Access::Provider, _)
        | (Access::Shopper | Access::OrderParty, Caller::Guest(_))
        | (Access::OrderParty, Caller::Holder(_)) => return Ok(()),
        (_, Caller::Anyone) => {
            return Err(Problem::new(Code::Unauthenticated).detail("a key or a token is needed"));
        }
        (Access::Scope(scope), _) => scope,
        (Access::Shopper | Access::OrderParty, _) => Scope::Orders,
    };
    match caller {
        Caller::Seller(key) if key.scopes.contains(&needed) => Ok(()),
        _ => {
            let detail = format!("the scope {} is needed", needed.as_str());
            Err(Problem::new(Code::MissingScope).detail(detail).with("scope", needed.as_str()))
        }
    }
}

/// Checks that a caller may act for a shopper: the platform may, with a key that has `orders`.
///
/// # Errors
/// 403 `missing_scope`.
pub fn may_stand_in(caller: &Caller, platform: &str) -> Result<(), Problem> {
    match caller {
        Caller::Seller(key) if key.account == platform && key.scopes.contains(&Scope::Orders) => Ok(()),
        _ => {
            let detail = "On-Behalf-Of needs a key of the platform's account with the scope orders";
            Err(Problem::new(Code::MissingScope).detail(detail).with("scope", Scope::Orders.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn who(pairs: &[(&'static str, String)], writes: bool) -> Result<Caller, Code> {
        let keys = Keys::in_memory(&[("sk_good", "sel_main", &[Scope::Catalog])]);
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        identify(&headers, writes, &keys, &Secret::new(&[7; 32]), Timestamp(100)).map_err(|problem| problem.code())
    }

    #[test]
    fn an_invalid_credential_never_passes_as_an_anonymous_request() {
        let expired = Secret::new(&[7; 32]).guest_token(GuestId(1), Timestamp(99));
        let foreign = Secret::new(&[8; 32]).guest_token(GuestId(1), Timestamp(999));
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.".to_owned();
        for token in ["sk_bad".to_owned(), "x".to_owned(), String::new(), none, expired, foreign.clone()] {
            let identified = who(&[("authorization", format!("Bearer {token}"))], false);
            assert_eq!(identified, Err(Code::Unauthenticated), "{token}");
        }
        assert_eq!(who(&[("authorization", "Basic c2s6".to_owned())], false), Err(Code::Unauthenticated));
        assert_eq!(who(&[("cookie", format!("{GUEST_COOKIE}={foreign}"))], false), Err(Code::Unauthenticated));
        assert_eq!(who(&[], true), Ok(Caller::Anyone));
    }

    #[test]
    fn a_cookie_writes_only_from_the_same_origin() {
        let token = Secret::new(&[7; 32]).guest_token(GuestId(1), Timestamp(999));
        let cookie = ("cookie", format!("a=b; {GUEST_COOKIE}={token}"));
        let host = ("host", "shop.example".to_owned());
        let guest = Ok(Caller::Guest(GuestId(1)));
        assert_eq!(who(&[cookie.clone(), host.clone()], false), guest);
        assert_eq!(who(&[cookie.clone(), host.clone()], true), Err(Code::ForeignOrigin));
        let own = ("origin", "https://shop.example".to_owned());
        assert_eq!(who(&[cookie.clone(), host.clone(), own.clone()], true), guest);
        let foreign = ("origin", "https://evil.example".to_owned());
        assert_eq!(who(&[cookie.clone(), host.clone(), foreign], true), Err(Code::ForeignOrigin));
        let cross = ("sec-fetch-site", "cross-site".to_owned());
        assert_eq!(who(&[cookie, host, own, cross], true), Err(Code::ForeignOrigin));
    }

    #[test]
    fn a_cookie_without_tls_counts_on_this_machine_only() {
        let token = Secret::new(&[7; 32]).guest_token(GuestId(1), Timestamp(999));
        let with =
            |name: &str, host: &str| who(&[("cookie", format!("{name}={token}")), ("host", host.to_owned())], false);
        let guest = Ok(Caller::Guest(GuestId(1)));
        for here in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
            assert_eq!(with(LOCAL_GUEST_COOKIE, here), guest, "{here}");
            assert_eq!(with(GUEST_COOKIE, here), Ok(Caller::Anyone), "{here}");
        }
        for elsewhere in ["shop.example", "localhost.example", "127.0.0.1.example", "10.0.0.1:80", "", "[", "[::2]"] {
            assert_eq!(
                with(LOCAL_GUEST_COOKIE, elsewhere),
                Ok(Caller::Anyone),
                "a neighbour may have set it: {elsewhere}"
            );
            assert_eq!(with(GUEST_COOKIE, elsewhere), guest, "{elsewhere}");
        }
        let behind_a_proxy = [
            ("cookie", format!("{LOCAL_GUEST_COOKIE}={token}")),
            ("host", "127.0.0.1:8080".to_owned()),
            ("x-forwarded-for", "192.0.2.1".to_owned()),
        ];
        assert_eq!(who(&behind_a_proxy, false), Ok(Caller::Anyone), "its host is the proxy's word");
    }

    #[test]
    fn a_scope_that_a_key_lacks_is_named() {
        let caller = who(&[("authorization", "bearer sk_good".to_owned())], false).unwrap();
        assert!(allow(&caller, Access::Scope(Scope::Catalog)).is_ok());
        assert_eq!(allow(&caller, Access::Shopper).unwrap_err().code(), Code::MissingScope);
        assert_eq!(allow(&Caller::Anyone, Access::Shopper).unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(
            allow(&Caller::Guest(GuestId(1)), Access::Scope(Scope::Catalog)).unwrap_err().code(),
            Code::MissingScope
        );
    }
}
