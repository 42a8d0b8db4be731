//! Webhooks of payment providers: verified, passed to the order they are about, acknowledged.
//!
//! A webhook that arrives again, late or out of order changes nothing and is acknowledged too, and so is one about an order of somebody else.
//! Only one that could not be passed on, or whose order must be one of ours and is unknown here, is answered with an error, so that the provider
//! sends it again (rule M6).

use crate::core::ask::AskError;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::{Shop, WebhookError};
use doorbuster_domain::any::{self, Refusal};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::order::{self, Command};
use doorbuster_domain::payment::Reference;
use doorbuster_domain::principal::Principal;

pub(super) async fn receive<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let provider = request.params.first();
    let verified = request.context.shop.webhook(provider, &request.headers, &request.body);
    let webhook = verified.map_err(|error| match error {
        WebhookError::UnknownProvider => not_found(),
        WebhookError::Unauthentic => {
            Problem::new(Code::Unauthenticated).detail("the signature is invalid, or the webhook is too old")
        }
        WebhookError::Malformed => Problem::new(Code::MalformedJson).detail("the body is not a known message"),
    })?;
    let reference = webhook.report.reference;
    let order = EntityId::Order(reference.order);
    let command = Command::ProviderSays { report: Box::new(webhook.report) };
    let by = Principal::Provider(provider.into());
    let asked = request.ask_as(by, order, any::Command::Order(command)).send().await;
    let unmatched = &request.context.unmatched;
    match asked {
        // Not ours: sending it again would change nothing.
        Err(AskError::Refused(Refusal::Order(order::Refusal::Unknown))) if !is_ours(&request, reference) => {}
        // Ours, and the order or its payment is unknown here (rule M6).
        Err(AskError::Refused(Refusal::Order(order::Refusal::Unknown | order::Refusal::UnknownPart))) => {
            if unmatched.unknown(reference, request.now) {
                tracing::error!(%reference, "the provider reports money of this installation, and for an hour no order is known for it");
            }
            return Err(Problem::new(Code::Overloaded).detail("no such order is known here yet"));
        }
        Ok(_) | Err(AskError::Refused(_) | AskError::Stale { .. }) => unmatched.known(reference),
        Err(error) => return Err(error.into()),
    }
    Ok(Reply::json(200, &serde_json::json!({ "received": true })))
}

/// Whether the order of a reference that no order is known for must be one of this installation.
fn is_ours<S: Shop>(request: &Request<'_, S>, reference: Reference) -> bool {
    let installation = request.shop_settings().installation;
    installation.is_some_and(|installation| installation.id.may_have_made(reference.order))
}
