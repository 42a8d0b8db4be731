//! Words in which the tests of the simulated provider are written.

use super::book::Book;
use super::engine::{Engine, Planned, Reply};
use super::odds::Odds;
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderCall, Reference};

pub(crate) fn engine() -> Engine {
    engine_with(Odds::INSTANT)
}

pub(crate) fn engine_with(odds: Odds) -> Engine {
    Engine::new(odds, 1, "http://bank", Book::default())
}

pub(crate) fn order(number: u128) -> OrderId {
    OrderId((number + 1) << 16)
}

pub(crate) fn authorize(order: OrderId, token: &str, amount: i64) -> ProviderCall {
    ProviderCall {
        reference: Reference { order, operation: Operation::Authorize, payment: 1, attempt: 1 },
        amount: Money { amount, currency: Currency::GBP },
        token: Some(token.into()),
        provider_reference: None,
        return_url: None,
        query_only: false,
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
        token: None,
        provider_reference: Some(named.into()),
        return_url: None,
        query_only: false,
    }
}

pub(crate) fn question(of: &ProviderCall) -> ProviderCall {
    ProviderCall { query_only: true, ..of.clone() }
}

pub(crate) fn answer(planned: Planned) -> ProviderAnswer {
    match planned.reply {
        Reply::Answer(answer) => answer,
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
