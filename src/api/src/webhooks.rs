//! What payment providers tell us: verified, handed to the order it is about, acknowledged.
//!
//! A webhook that comes again, late or out of order changes nothing and is acknowledged too; only one that could not be taken in is
//! not, so that the provider sends it again.

use super::door::Request;
use super::problem::{Code, Problem};
use super::refusals::not_found;
use super::reply::Reply;
use super::seam::{Shop, WebhookError};
use doorbuster_domain::any;
use doorbuster_domain::entity::By;
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::order::Command;

pub(super) async fn take<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let provider = request.params.first();
    let told = request.api.shop.webhook(provider, &request.headers, &request.body).map_err(|error| match error {
        WebhookError::UnknownProvider => not_found(),
        WebhookError::Unauthentic => Problem::new(Code::Unauthenticated).detail("badly signed, or too old"),
        WebhookError::Malformed => Problem::new(Code::MalformedJson).detail("signed, but not a message we know"),
    })?;
    let order = EntityId::Order(told.reference.order);
    let command = any::Command::Order(Command::ProviderSays { reference: told.reference, answer: told.answer });
    let by = By::Provider(provider.into());
    match request.api.ask_as(by, order, command, request.now).await {
        Err(problem) if problem.code().status_number() >= 500 => Err(problem),
        // Refused: an order or a reference that is none of ours, which sending again would not change.
        Ok(_) | Err(_) => Ok(Reply::json(200, &serde_json::json!({ "received": true }))),
    }
}
