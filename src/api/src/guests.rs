//! Guests: a signed token, nothing stored.

use super::callers::GUEST_COOKIE;
use super::door::Request;
use super::problem::Problem;
use super::reply::Reply;
use super::seam::Shop;
use super::view::{At, GuestView, Shown};
use compact_str::format_compact;
use doorbuster_domain::ids::GuestId;

pub(super) async fn make<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let guest = GuestId(u128::from_be_bytes(request.api.shop.random()));
    let life_s = request.api.settings.door.guest_life_s;
    let expires_at = request.now.plus_s(life_s);
    let token = request.api.secret.guest_token(guest, expires_at);
    // Scripts cannot read it, and other sites' requests do not carry it along when they write.
    let cookie = format_compact!("{GUEST_COOKIE}={token}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Lax");
    let view = GuestView { id: Shown(guest), token: &token, expires_at: At(expires_at) };
    Ok(Reply::json(201, &view).cookie(&cookie).cache("no-store"))
}
