//! Calls to the payment provider: sent only once the state that owes them is durable, bounded in number and time, and always answered,
//! at least with *unknown*.

use super::context::Context;
use super::router::Router;
use doorbuster_domain::effect::{EffectKey, Outcome};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::{ProviderCall, ProviderReport};
use doorbuster_domain::time::Timestamp;
use futures_util::future::BoxFuture;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// What the actors expect of a payment provider. The node passes one in at the start.
pub trait ProviderCalls: Debug + Send + Sync {
    /// The name of the provider in `/v1/providers/{provider}/webhooks`, in records and metrics.
    fn name(&self) -> &'static str;

    /// Sends a call, or asks for the outcome of its reference. Never fails: a call without an answer by `deadline` is
    /// [`ProviderReport::unknown`] (rule M1).
    fn send<'call>(&'call self, call: &'call ProviderCall, deadline: Timestamp) -> BoxFuture<'call, ProviderReport>;
}

/// Sends calls and passes their answers on.
#[derive(Debug, Clone)]
pub(crate) struct ProviderRunner {
    provider: Arc<dyn ProviderCalls>,
    context: Arc<Context>,
    router: Arc<Router>,
    permits: Arc<Semaphore>,
    /// Where calls run: the writer that sends them may have a thread of its own.
    runtime: Handle,
}

impl ProviderRunner {
    pub(crate) fn new(provider: Arc<dyn ProviderCalls>, context: Arc<Context>, router: Arc<Router>) -> Self {
        let permits = Arc::new(Semaphore::new(context.settings.provider_calls_max));
        Self { provider, context, router, permits, runtime: Handle::current() }
    }

    /// Sends one call; its answer goes to the entity that owes it.
    pub(crate) fn call(&self, entity: EntityId, key: EffectKey, call: ProviderCall) {
        let runner = self.clone();
        self.runtime.spawn(async move {
            let timeout_ms = runner.context.settings.provider_timeout_ms;
            let timeout = Duration::from_millis(timeout_ms);
            let deadline = runner.context.clock.now().plus_ms(timeout_ms);
            let unknown = ProviderReport::unknown(call.reference);
            let report = match runner.permits.acquire().await {
                Ok(_permit) => match tokio::time::timeout(timeout, runner.provider.send(&call, deadline)).await {
                    Ok(report) => report,
                    Err(_elapsed) => unknown,
                },
                Err(_closed) => unknown,
            };
            runner.context.stats.provider_answered(&report.answer);
            runner.router.send_answer(entity, key, Outcome::Provider(Box::new(report)));
        });
    }
}
