//! Webhooks of payment providers: verified, passed to the order they are about, acknowledged.
//!
//! A webhook that arrives again, late or out of order changes nothing and is acknowledged too. Only one that could not be passed on is answered with
//! an error, so that the provider sends it again.

use crate::core::ask::AskError;
use crate::core::problem::{Code, Problem};
use crate::core::refusals::not_found;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::{Shop, WebhookError};
use doorbuster_domain::any;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::order::Command;

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
    let order = EntityId::Order(webhook.report.reference.order);
    let command = Command::ProviderSays { report: Box::new(webhook.report) };
    let by = By::Provider(provider.into());
    match request.ask_by(by, order, any::Command::Order(command)).send().await {
        // Refused: the order or the reference is unknown, which sending it again would not change.
        Ok(_) | Err(AskError::Refused(_) | AskError::Stale { .. }) => {
            Ok(Reply::json(200, &serde_json::json!({ "received": true })))
        }
        Err(error) => Err(error.into()),
    }
}
