//! The laws of the simulated provider, and what each test token does.

use super::behaviour::Behaviour;
use super::engine::{Engine, Reply, ShopperAction};
use super::ledger::{Ledger, LedgerRecord};
use super::testing::{answer, authorize, code, engine, engine_with, follow_up, named, order, question};
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::Operation::{Capture, Refund, Void};
use doorbuster_domain::payment::reconciliation;
use doorbuster_domain::payment::{Operation, ProviderAnswer, ProviderCall, ProviderReport, Reference, Retry};
use doorbuster_domain::time::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: Timestamp = Timestamp(1_000_000);

#[test]
fn the_same_key_gives_the_first_answer_and_one_charge() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_ok", 100);
    let first = answer(engine.call(&call, NOW));
    assert_eq!(answer(engine.call(&call, NOW.plus_s(60))), first);
    assert_eq!(engine.ledger().next_number(), 2);
}

#[test]
fn the_same_key_with_other_parameters_is_a_conflict() {
    let mut engine = engine();
    answer(engine.call(&authorize(order(1), "tok_ok", 100), NOW));
    for other in [authorize(order(1), "tok_ok", 101), authorize(order(1), "tok_slow", 100)] {
        assert_eq!(answer(engine.call(&other, NOW)), ProviderAnswer::Conflict);
    }
}

#[test]
fn m6_a_record_says_its_amount_also_where_it_is_not_the_one_that_was_asked_for() {
    for (token, amount, currency) in [("tok_other_amount", 101, "GBP"), ("tok_other_currency", 100, "EUR")] {
        let mut engine = engine();
        let call = authorize(order(1), token, 100);
        let found = Money { amount, currency: Currency::parse(currency).unwrap() };
        let first = engine.call(&call, NOW).reply;
        let Reply::Answer(report) = &first else { panic!("not answered but {first:?}") };
        assert_eq!((report.reference, report.amount), (call.reference, Some(found)));
        assert_eq!(engine.call(&question(&call), NOW).reply, first);
        assert_eq!(engine.ledger().lines(0, 1, NOW)[0].1.amount, found);
        let mut void = follow_up(&call, Void, 1, &named(&report.answer), amount);
        void.amount = found;
        assert!(matches!(answer(engine.call(&void, NOW)), ProviderAnswer::Succeeded { .. }));
    }
    let mut engine = engine();
    let call = authorize(order(1), "tok_other_reference", 100);
    let Reply::Answer(report) = engine.call(&call, NOW).reply else { panic!("not answered") };
    assert_ne!(report.reference, call.reference);
}

#[test]
fn m7_a_stored_500_is_given_for_ever_and_m10_a_cancel_settles_it() {
    for (token, charged) in [("tok_error_charged", true), ("tok_error_not_charged", false)] {
        let mut engine = engine();
        let call = authorize(order(1), token, 100);
        for seconds in [0, 1, 3_600] {
            assert_eq!(engine.call(&call, NOW.plus_s(seconds)).reply, Reply::Broken);
        }
        let later = NOW.plus_s(7_200);
        let found = answer(engine.call(&question(&call), later));
        assert_eq!(matches!(found, ProviderAnswer::Authorized { .. }), charged, "{found:?}");
        let cancel = ProviderCall { cancel: true, ..call.clone() };
        let settled = answer(engine.call(&cancel, later));
        if charged {
            named(&settled);
        } else {
            assert_eq!(code(&settled), "cancelled");
        }
        assert_eq!(answer(engine.call(&cancel, later)), settled);
        assert_eq!(answer(engine.call(&question(&call), later)), settled, "and so it stays");
    }
}

#[test]
fn m10_what_was_cancelled_never_takes_effect_however_late_the_call_arrives() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_ok", 100);
    answer(engine.call(&ProviderCall { cancel: true, ..call.clone() }, NOW));
    assert_eq!(code(&answer(engine.call(&call, NOW.plus_s(30)))), "cancelled");
    let waits = authorize(order(2), "tok_action", 100);
    answer(engine.call(&waits, NOW));
    assert_eq!(code(&answer(engine.call(&ProviderCall { cancel: true, ..waits.clone() }, NOW))), "cancelled");
    let acted = engine.act(waits.reference, ShopperAction::Ok, NOW.plus_s(5));
    assert!(matches!(acted.answer, Some(ProviderAnswer::Declined { .. })), "the old tab pays no more: {acted:?}");
}

/// Its outcome is on its way in a webhook, which a cancel cannot call back.
#[test]
fn m10_what_is_being_processed_cannot_be_cancelled_and_settles_by_its_own_outcome() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_processing", 100);
    let webhooks = engine.call(&call, NOW).webhooks;
    let announced = webhooks.iter().map(|(_, event)| event.report.answer.clone()).next().expect("a webhook");
    let cancel = ProviderCall { cancel: true, ..call.clone() };
    assert_eq!(engine.call(&cancel, NOW).reply, Reply::TooMany);
    assert_eq!(answer(engine.call(&cancel, NOW.plus_s(60))), announced);
}

#[test]
fn m2_a_key_sent_again_after_its_life_charges_again_and_the_reconciliation_finds_it() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_ok", 100);
    answer(engine.call(&call, NOW));
    let later = NOW.plus_s(Behaviour::INSTANT.key_life_s);
    answer(engine.call(&question(&call), later));
    answer(engine.call(&call, later));
    let lines: Vec<_> = engine.ledger().lines(0, 10, later).into_iter().map(|(_, line)| line).collect();
    let due = BTreeMap::from([(order(1), call.amount)]);
    assert_eq!(
        reconciliation::reconcile(&lines, &due, |_| false, later),
        vec![(order(1), reconciliation::Discrepancy::Double)]
    );
}

#[test]
fn m1_a_slow_charge_is_not_found_and_lands_all_the_same() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_slow", 100);
    let plan = engine.call(&call, NOW);
    assert_eq!(plan.latency_ms, Behaviour::INSTANT.slow_ms);
    let before = NOW.plus_ms(plan.latency_ms - 1);
    assert_eq!(answer(engine.call(&question(&call), before)), ProviderAnswer::NotFound);
    assert_eq!(engine.call(&call, before).latency_ms, 1, "sent again, it waits for the same charge");
    let landed = NOW.plus_ms(plan.latency_ms);
    named(&answer(engine.call(&question(&call), landed)));
}

#[test]
fn a_charge_whose_answer_is_lost_is_in_the_ledger() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_timeout_charged", 100);
    assert_eq!(engine.call(&call, NOW).reply, Reply::Silence);
    assert_eq!(engine.ledger().next_number(), 2);
    let found = answer(engine.call(&question(&call), NOW));
    assert_eq!(answer(engine.call(&call, NOW)), found, "sent again it is the same charge");
    named(&found);
}

#[test]
fn a_call_lost_on_the_way_is_not_found_until_it_is_sent_again() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_timeout_not_charged", 100);
    assert_eq!(engine.call(&call, NOW).reply, Reply::Silence);
    assert_eq!(answer(engine.call(&question(&call), NOW)), ProviderAnswer::NotFound);
    assert_eq!(engine.ledger().next_number(), 1);
    named(&answer(engine.call(&call, NOW)));
}

#[test]
fn declines_say_what_may_be_done() {
    let mut engine = engine();
    for (number, (token, wanted)) in [
        ("tok_decline_soft", Retry::SameMethod),
        ("tok_decline_hard", Retry::OtherMethod),
        ("tok_okay", Retry::OtherMethod),
    ]
    .into_iter()
    .enumerate()
    {
        let call = authorize(order(u128::try_from(number).unwrap()), token, 100);
        let ProviderAnswer::Declined { retry, .. } = answer(engine.call(&call, NOW)) else { panic!("not declined") };
        assert_eq!(retry, wanted);
    }
}

#[test]
fn m3_the_shopper_acts_and_query_and_webhook_say_so() {
    for (act, authorized) in [(ShopperAction::Ok, true), (ShopperAction::Fail, false)] {
        let mut engine = engine();
        let call = authorize(order(1), "tok_action", 100);
        let asked = answer(engine.call(&call, NOW));
        assert!(matches!(&asked, ProviderAnswer::RequiresAction { action, .. }
            if action.url.as_deref() == Some(&format!("http://bank/actions/{}", call.reference))));
        let acted = engine.act(call.reference, act, NOW.plus_s(5));
        assert_eq!(acted.webhooks.len(), 1);
        let outcome = acted.answer.unwrap();
        assert_eq!(matches!(outcome, ProviderAnswer::Authorized { .. }), authorized);
        assert_eq!(acted.webhooks[0].1.report.answer, outcome);
        assert_eq!(answer(engine.call(&question(&call), NOW.plus_s(5))), outcome);
        let again = engine.act(call.reference, ShopperAction::Ok, NOW.plus_s(6));
        assert_eq!(
            (again.answer, again.line, again.webhooks),
            (Some(outcome), None, vec![]),
            "acting twice is acting once"
        );
    }
}

#[test]
fn m3_a_shopper_who_acts_too_late_is_declined() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_action", 100);
    answer(engine.call(&call, NOW));
    let late = NOW.plus_s(Behaviour::INSTANT.action_s);
    assert_eq!(code(&engine.act(call.reference, ShopperAction::Ok, late).answer.unwrap()), "action_expired");
    assert_eq!(code(&answer(engine.call(&question(&call), late))), "action_expired");
}

#[test]
fn m3_what_is_processed_is_told_later() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_processing", 100);
    let plan = engine.call(&call, NOW);
    let (at, event) = plan.webhooks.first().cloned().unwrap();
    assert!(matches!(answer(plan), ProviderAnswer::Processing { .. }));
    assert!(matches!(answer(engine.call(&question(&call), NOW)), ProviderAnswer::Processing { .. }));
    assert_eq!(answer(engine.call(&question(&call), at)), event.report.answer);
    named(&event.report.answer);
}

#[test]
fn partial_captures_go_up_to_what_is_authorized_and_refunds_up_to_what_is_captured() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_ok", 100);
    let name = named(&answer(engine.call(&call, NOW)));
    let mut then = |operation, attempt, amount| match answer(
        engine.call(&follow_up(&call, operation, attempt, &name, amount), NOW),
    ) {
        ProviderAnswer::Succeeded { .. } => "ok".to_owned(),
        other => code(&other).to_owned(),
    };
    assert_eq!(then(Refund, 1, 1), "amount_exceeds_captured");
    assert_eq!(then(Capture, 1, 60), "ok");
    assert_eq!(then(Capture, 2, 41), "amount_exceeds_authorized");
    assert_eq!(then(Capture, 3, 40), "ok");
    assert_eq!(then(Void, 1, 100), "already_captured", "nothing is left to let go of");
    assert_eq!(then(Refund, 2, 70), "ok");
    assert_eq!(then(Refund, 3, 31), "amount_exceeds_captured");
    assert_eq!(then(Refund, 4, 30), "ok");
}

/// Money by transfer has not come because it was promised.
#[test]
fn a_bank_transfer_waits_for_the_shopper() {
    let mut engine = engine();
    let call = ProviderCall { method: Some("bank_transfer".into()), token: None, ..authorize(order(1), "", 100) };
    match answer(engine.call(&call, NOW)) {
        ProviderAnswer::RequiresAction { action, .. } => assert_eq!(action.kind, "transfer_to"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_voided_or_has_lapsed_cannot_be_captured() {
    let mut engine = engine();
    let call = authorize(order(1), "tok_ok", 100);
    let name = named(&answer(engine.call(&call, NOW)));
    let lapsed = NOW.plus_s(Behaviour::INSTANT.lapse_s);
    assert_eq!(code(&answer(engine.call(&follow_up(&call, Capture, 1, &name, 1), lapsed))), "authorization_lapsed");
    answer(engine.call(&follow_up(&call, Void, 1, &name, 100), NOW));
    assert_eq!(code(&answer(engine.call(&follow_up(&call, Capture, 2, &name, 1), NOW))), "authorization_voided");
}

#[test]
fn another_orders_authorization_cannot_be_captured() {
    let mut engine = engine();
    let name = named(&answer(engine.call(&authorize(order(1), "tok_ok", 100), NOW)));
    let other = authorize(order(2), "tok_ok", 100);
    answer(engine.call(&other, NOW));
    assert_eq!(code(&answer(engine.call(&follow_up(&other, Capture, 1, &name, 1), NOW))), "no_such_authorization");
}

#[test]
fn in_an_outage_nothing_happens() {
    let mut engine = engine();
    engine.add_outage(NOW, NOW.plus_s(10));
    let call = authorize(order(1), "tok_ok", 100);
    assert_eq!(engine.call(&call, NOW.plus_s(9)).reply, Reply::Unavailable);
    assert_eq!(engine.ledger().next_number(), 1);
    named(&answer(engine.call(&call, NOW.plus_s(10))));
}

#[test]
fn a_realistic_day_has_everything_that_can_go_wrong_about_as_often_as_it_should() {
    let mut engine = engine_with(Behaviour::REALISTIC);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for number in 0..20_000 {
        let plan = engine.call(&authorize(order(number), "tok_random", 100), NOW);
        let word = match (&plan.reply, &plan.line) {
            (Reply::TooMany, _) => "too many",
            (Reply::Silence, None) => "timeout before",
            (Reply::Silence, Some(_)) => "timeout after",
            (Reply::Broken, Some(_)) => "error after",
            (Reply::Answer(report), _) if matches!(report.answer, ProviderAnswer::Declined { .. }) => "declined",
            (Reply::Answer(report), _) if matches!(report.answer, ProviderAnswer::Authorized { .. }) => "authorized",
            _ => "other",
        };
        *counts.entry(word).or_default() += 1;
        if plan.line.is_some() && plan.webhooks.is_empty() {
            *counts.entry("untold").or_default() += 1;
        }
        assert!(plan.webhooks.len() <= 3);
    }
    for (word, range) in [
        ("declined", 1_000..1_600),
        ("too many", 130..280),
        ("timeout before", 130..280),
        ("timeout after", 130..280),
        ("error after", 60..150),
        ("untold", 130..280),
    ] {
        assert!(range.contains(&counts[word]), "{word}: {}", counts[word]);
    }
}

/// One step of a made-up history: for a few orders, with a few amounts, so that keys and limits are met often.
#[derive(Debug, Clone)]
enum Step {
    Call(ProviderCall),
    ShopperAction(Reference, ShopperAction),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        2 => Just(Operation::Authorize),
        3 => Just(Capture),
        1 => Just(Void),
        2 => Just(Refund)
    ];
    let token = prop::sample::select(vec![
        "tok_ok",
        "tok_random",
        "tok_misspelt",
        "tok_decline_soft",
        "tok_action",
        "tok_slow",
        "tok_processing",
        "tok_timeout_charged",
        "tok_timeout_not_charged",
    ]);
    let call = (0_u128..4, operation, 1_u16..3, 1_u16..4, 0_i64..120, token, 1_u64..12, any::<bool>()).prop_map(
        |(number, operation, payment, attempt, amount, token, named, query_only)| {
            let mut call = authorize(order(number), token, amount);
            call.reference = Reference { operation, payment, attempt, ..call.reference };
            if operation != Operation::Authorize {
                call.token = None;
                call.provider_reference = Some(Ledger::provider_reference(named));
            }
            Step::Call(ProviderCall { query_only: query_only && amount > 100, ..call })
        },
    );
    let act = (0_u128..4, 1_u16..3, 1_u16..4, any::<bool>()).prop_map(|(number, payment, attempt, ok)| {
        let reference = Reference { order: order(number), operation: Operation::Authorize, payment, attempt };
        Step::ShopperAction(reference, if ok { ShopperAction::Ok } else { ShopperAction::Fail })
    });
    let wait = (0_u64..200_000).prop_map(Step::Wait);
    prop::collection::vec(prop_oneof![8 => call, 1 => act, 1 => wait], 1..120)
}

struct History {
    lines: Vec<LedgerRecord>,
    trace: Vec<String>,
    firsts: BTreeMap<Reference, ProviderReport>,
    clashes: Vec<String>,
    now: Timestamp,
}

fn run(engine: &mut Engine, steps: &[Step]) -> History {
    let mut history =
        History { lines: Vec::new(), trace: Vec::new(), firsts: BTreeMap::new(), clashes: Vec::new(), now: NOW };
    for step in steps {
        match step {
            Step::Wait(millis) => history.now = history.now.plus_ms(*millis),
            Step::ShopperAction(reference, act) => {
                let acted = engine.act(*reference, *act, history.now);
                history.trace.push(format!("{acted:?}"));
                history.lines.extend(acted.line);
            }
            Step::Call(call) => {
                let plan = engine.call(call, history.now);
                history.trace.push(format!("{plan:?}"));
                if let Reply::Answer(report) = &plan.reply
                    && !call.query_only
                    && report.answer != ProviderAnswer::Conflict
                {
                    let first = history.firsts.entry(call.reference).or_insert_with(|| report.clone());
                    if first != report {
                        history.clashes.push(format!("{}: {first:?}, then {report:?}", call.reference));
                    }
                }
                history.lines.extend(plan.line);
            }
        }
    }
    history
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop::sample::select(vec![Behaviour::INSTANT, Behaviour::FAST, Behaviour::REALISTIC])
}

proptest! {
    #[test]
    fn captured_is_at_most_authorized_and_refunded_at_most_captured(behaviour in behaviour(), steps in steps()) {
        let mut engine = engine_with(behaviour);
        run(&mut engine, &steps);
        let ledger = engine.ledger();
        for number in 1..ledger.next_number() {
            let entry = ledger.entry(number).unwrap();
            let used = ledger.used(entry);
            prop_assert!(used.refunded <= used.captured);
            prop_assert!(used.captured <= entry.amount.amount);
            prop_assert!(!(used.voided && used.captured >= entry.amount.amount), "nothing was left to let go of");
        }
    }

    #[test]
    fn one_key_has_one_answer(behaviour in behaviour(), steps in steps()) {
        let history = run(&mut engine_with(behaviour), &steps);
        prop_assert_eq!(history.clashes, Vec::<String>::new());
    }

    #[test]
    fn what_the_file_gives_again_is_the_book(behaviour in behaviour(), steps in steps()) {
        let mut engine = engine_with(behaviour);
        let history = run(&mut engine, &steps);
        let mut ledger = Ledger::default();
        for line in history.lines {
            let text = serde_json::to_vec(&line).unwrap();
            ledger.take(serde_json::from_slice(&text).unwrap()).unwrap();
        }
        prop_assert_eq!(&ledger, engine.ledger());
    }

    #[test]
    fn the_same_seed_tells_the_same_story(behaviour in behaviour(), steps in steps()) {
        let one = run(&mut engine_with(behaviour), &steps);
        let other = run(&mut engine_with(behaviour), &steps);
        prop_assert_eq!(one.trace, other.trace);
    }

    #[test]
    fn no_operation_is_lost_or_written_twice_within_its_keys_life(behaviour in behaviour(), steps in steps()) {
        let mut engine = engine_with(behaviour);
        let history = run(&mut engine, &steps);
        let lines = engine.ledger().lines(0, usize::MAX, history.now.plus_s(3_600));
        let mut seen = BTreeMap::new();
        for (number, line) in &lines {
            prop_assert_eq!(seen.insert(line.reference, number), None);
        }
        for reference in history.firsts.keys() {
            prop_assert!(seen.contains_key(reference));
        }
    }
}
