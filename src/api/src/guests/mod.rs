//! Guests: a signed token; nothing is stored.

use crate::core::caller::{Access, GUEST_COOKIE, LOCAL_GUEST_COOKIE, is_local};
use crate::core::priority_class::PriorityClass;
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::route::{Body, Docs, Route, schema_of};
use crate::core::service::Shop;
use crate::core::view::{At, Shown};
use compact_str::format_compact;
use doorbuster_domain::ids::GuestId;
use schemars::JsonSchema;
use serde::Serialize;

/// The rows of this resource.
pub(crate) const fn routes<S: Shop>() -> &'static [Route<S>] {
    const {
        &[Route {
            method: "POST",
            path: "/v1/guests",
            class: PriorityClass::Cart,
            access: Access::Anyone,
            key: false,
            body: Body::None,
            handler: |request| Box::pin(make(request)),
            docs: Docs::new("MakeGuest", "Shopper", "A signed token for a guest, as cookie and in the body")
                .answers(&[(201, Some(schema_of::<GuestView>))]),
        }]
    }
}

/// A guest with its token.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Guest")]
pub struct GuestView<'a> {
    /// The guest's id.
    pub id: Shown<GuestId>,
    /// The token for `Authorization: Bearer`.
    pub token: &'a str,
    /// When the token expires.
    pub expires_at: At,
}

async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    request.meter.charge_new_guest()?;
    let guest = GuestId(u128::from_be_bytes(request.context.shop.random()));
    let life_s = request.settings().guest_life_s;
    let expires_at = request.now.plus_s(life_s);
    let token = request.context.secret.guest_token(guest, expires_at);
    // Scripts cannot read the cookie, and browsers do not send it with writing requests of other sites.
    let (name, secure) = if is_local(&request.headers) { (LOCAL_GUEST_COOKIE, "") } else { (GUEST_COOKIE, "; Secure") };
    let cookie = format_compact!("{name}={token}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Lax{secure}");
    let view = GuestView { id: Shown(guest), token: &token, expires_at: At(expires_at) };
    Ok(Reply::json(201, &view).cookie(&cookie).cache("no-store"))
}
