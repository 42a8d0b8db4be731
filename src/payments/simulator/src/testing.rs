//! Calls and shorthands for the tests of the simulated provider.

use super::behaviour::Behaviour;
use super::engine::{CallPlan, Engine, Reply};
use super::ledger::Ledger;
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderCall, Reference};
use doorbuster_domain::time::Timestamp;

pub(crate) fn engine() -> Engine {
    engine_with(Behaviour::INSTANT)
}

pub(crate) fn engine_with(behaviour: Behaviour) -> Engine {
    Engine::new(behaviour, 1, "http://bank", Ledger::default())
}

pub(crate) fn order(number: u128) -> OrderId {
    OrderId((number + 1) << 16)
}

pub(crate) fn authorize(order: OrderId, token: &str, amount: i64) -> ProviderCall {
    ProviderCall {
        reference: Reference { order, operation: Operation::Authorize, payment: 1, attempt: 1 },
        amount: Money { amount, currency: Currency::GBP },
        method: Some("card".into()),
        token: Some(token.into()),
        provider_reference: None,
        return_url: None,
        query_only: false,
        cancel: false,
        send_before: Timestamp(u64::MAX),
    }
}

pub(crate) fn follow_up(
    of: &ProviderCall,
    operation: Operation,
    attempt: u16,
    named: &str,
    amount: i64,
) -> ProviderCall {
    ProviderCall {
        reference: Reference { operation, attempt, ..of.reference },
        amount: Money { amount, currency: Currency::GBP },
        method: None,
        token: None,
        provider_reference: Some(named.into()),
        return_url: None,
        query_only: false,
        cancel: false,
        send_before: Timestamp(u64::MAX),
    }
}

pub(crate) fn question(of: &ProviderCall) -> ProviderCall {
    ProviderCall { query_only: true, ..of.clone() }
}

pub(crate) fn answer(plan: CallPlan) -> ProviderAnswer {
    match plan.reply {
        Reply::Answer(report) => report.answer,
        other => panic!("no answer but {other:?}"),
    }
}

pub(crate) fn named(answer: &ProviderAnswer) -> String {
    match answer {
        ProviderAnswer::Authorized { provider_reference, .. } => provider_reference.to_string(),
        other => panic!("not authorized but {other:?}"),
    }
}

pub(crate) fn code(answer: &ProviderAnswer) -> &str {
    match answer {
        ProviderAnswer::Declined { code, .. } => code,
        other => panic!("not declined but {other:?}"),
    }
}
