//! The kill in the middle, and the story of one order that was between "charge sent" and "confirmed" just then.

use super::record::Acknowledged;
use doorbuster_bench::api::{Caller, Target};
use doorbuster_bench::error::BenchError;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The most orders whose events are read, the newest before the kill first.
const LOOKED_AT_MAX: usize = 5_000;

/// When the node was killed and when it was there again, from the beginning of the sale.
#[derive(Debug, Clone)]
pub(crate) struct Kill {
    /// SIGKILL sent.
    pub(crate) at: Duration,
    /// Its addresses said again.
    pub(crate) back: Duration,
    /// The instant of the kill as the node's own clock writes it.
    pub(crate) killed_at: String,
    /// The instant it was back.
    pub(crate) back_at: String,
}

/// What the kill met.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// Orders asked for their events.
    pub(crate) looked_at: usize,
    /// Of them, with a charge sent before the kill and not answered before it.
    pub(crate) mid_payment: usize,
    /// Of those, how each ended.
    pub(crate) ends: std::collections::BTreeMap<String, usize>,
    /// The events of one of them, line by line.
    pub(crate) lines: Vec<String>,
    /// Orders for which the provider took money more than once.
    pub(crate) charged_twice: Vec<String>,
}

/// One event as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct JournaledEvent {
    kind: String,
    at: String,
}

fn events_of(answer: &Value) -> Vec<JournaledEvent> {
    let list = answer.as_array().or_else(|| answer.get("data").and_then(Value::as_array));
    let text = |event: &Value, name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    list.into_iter()
        .flatten()
        .map(|event| JournaledEvent { kind: text(event, "type"), at: text(event, "at") })
        .collect()
}

/// An event's type as bare letters: `order.payment_started` and `PaymentStarted` are the same word.
fn letters(kind: &str) -> String {
    kind.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase()
}

/// Is this the event by which a charge goes out?
fn is_charge_sent(kind: &str) -> bool {
    letters(kind).ends_with("paymentstarted")
}

/// Is this the event by which a charge is answered?
fn is_charge_answered(kind: &str) -> bool {
    ["authorized", "declined", "actionrequired"].iter().any(|word| letters(kind).ends_with(word))
}

/// Times of RFC 3339 in UTC with milliseconds compare as texts.
fn was_mid_payment(events: &[JournaledEvent], killed_at: &str) -> bool {
    let before =
        |pick: fn(&str) -> bool| events.iter().any(|event| pick(&event.kind) && event.at.as_str() <= killed_at);
    before(is_charge_sent) && !before(is_charge_answered)
}

/// Looks for the orders that were mid-payment and tells of one.
pub(crate) async fn examine(
    public: &Target,
    simulator: &Target,
    acknowledged: &[Acknowledged],
    kill: &Kill,
) -> Result<Story, BenchError> {
    let mut caller = Caller::new(public.clone());
    let charges = ledger(&mut Caller::new(simulator.clone())).await;
    let mut story = Story::default();
    let mut seen = BTreeSet::new();
    let mut near: Vec<&Acknowledged> =
        acknowledged.iter().filter(|near_order| seen.insert(near_order.order.clone())).collect();
    // A buyer whose answer the kill cut off got it after the restart: such orders are near the kill, too.
    near.sort_by_key(|near_order| kill.at.abs_diff(near_order.at));
    for near_order in near.into_iter().take(LOOKED_AT_MAX) {
        let answer = caller.get(&format!("/v1/orders/{}/events", near_order.order)).await?;
        if !answer.is_ok() {
            continue;
        }
        let events = events_of(&answer.json());
        story.looked_at += 1;
        if !was_mid_payment(&events, &kill.killed_at) {
            continue;
        }
        story.mid_payment += 1;
        let order = caller.read(&format!("/v1/orders/{}", near_order.order)).await?;
        let status = order.get("status").and_then(Value::as_str).unwrap_or("absent").to_owned();
        let good = status == "confirmed";
        *story.ends.entry(status).or_default() += 1;
        let taken = charges.as_ref().map(|charges| charges.iter().filter(|order| **order == *near_order.order).count());
        if taken.is_some_and(|taken| taken > 1) {
            story.charged_twice.push(near_order.order.to_string());
        }
        if story.lines.is_empty() || (good && !story.lines.iter().any(|line| line.contains("confirmed"))) {
            story.lines = narrate(&near_order.order, &events, kill, taken, &order);
        }
    }
    Ok(story)
}

fn narrate(id: &str, events: &[JournaledEvent], kill: &Kill, taken: Option<usize>, order: &Value) -> Vec<String> {
    let mut lines = vec![format!("the story of {id}")];
    let mut wrote_kill = false;
    for event in events {
        if !wrote_kill && event.at.as_str() > kill.killed_at.as_str() {
            wrote_kill = true;
            lines.push(format!("  {}  -- killed (SIGKILL), with the charge sent and no answer --", kill.killed_at));
            lines.push(format!(
                "  {}  -- restarted, recovered; the provider is asked about the same charge --",
                kill.back_at
            ));
        }
        lines.push(format!("  {}  {}", event.at, event.kind));
    }
    let payments = order.get("payments").and_then(Value::as_array).map_or(0, Vec::len);
    let status = order.get("status").and_then(Value::as_str).unwrap_or("absent");
    let ledger = taken.map_or_else(
        || "its ledger could not be read".to_owned(),
        |taken| format!("{taken} in the provider's own ledger"),
    );
    lines.push(format!("  now {status}; charges: {payments} here, {ledger}"));
    lines
}

/// The order of each charge the provider has promised or taken money for, once per charge; `None` when it does not say.
async fn ledger(simulator: &mut Caller) -> Option<Vec<String>> {
    let (mut after, mut charges) = (0, BTreeSet::new());
    loop {
        let answer = simulator.get(&format!("/v1/ledger?after={after}")).await.ok()?;
        if !answer.is_ok() {
            return None;
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let mut last = after;
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            last = line.get("number").and_then(Value::as_u64).unwrap_or(last).max(last);
            charges.extend(charge_of(&line));
        }
        if last == after {
            break;
        }
        after = last;
    }
    let order = |reference: &String| reference.split('.').next().map(str::to_owned);
    Some(charges.iter().filter_map(order).collect())
}

/// The reference of a ledger line that says money was promised (`order.authorize.payment.attempt`).
fn charge_of(line: &Value) -> Option<String> {
    let reference = line.get("reference")?.as_str()?;
    let promised = line.pointer("/answer/status")?.as_str()? == "authorized";
    (promised && reference.split('.').nth(1) == Some("authorize")).then(|| reference.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journaled(kind: &str, at: &str) -> JournaledEvent {
        JournaledEvent { kind: kind.into(), at: at.into() }
    }

    #[test]
    fn mid_payment_is_sent_before_the_kill_and_answered_after() {
        let kill = "2026-01-01T00:00:05.000Z";
        let sent = journaled("payment_started", "2026-01-01T00:00:04.900Z");
        let late = journaled("authorized", "2026-01-01T00:00:07.000Z");
        let early = journaled("authorized", "2026-01-01T00:00:04.950Z");
        assert!(was_mid_payment(&[sent.clone(), late.clone()], kill));
        assert!(!was_mid_payment(&[sent, early], kill));
        assert!(!was_mid_payment(&[journaled("payment_started", "2026-01-01T00:00:06.000Z"), late], kill));
    }

    #[test]
    fn only_promised_money_is_a_charge() {
        let line = |reference: &str, status: &str| {
            charge_of(&serde_json::json!({ "reference": reference, "answer": { "status": status } }))
        };
        assert_eq!(line("ord_1.authorize.1.1", "authorized").as_deref(), Some("ord_1.authorize.1.1"));
        assert_eq!((line("ord_1.authorize.1.1", "declined"), line("ord_1.capture.1.1", "succeeded")), (None, None));
    }

    #[test]
    fn the_story_puts_the_kill_between_the_events_it_fell_between() {
        let kill = Kill {
            at: Duration::from_secs(5),
            back: Duration::from_secs(6),
            killed_at: "2026-01-01T00:00:05.000Z".into(),
            back_at: "2026-01-01T00:00:06.000Z".into(),
        };
        let events = [
            journaled("payment_started", "2026-01-01T00:00:04.900Z"),
            journaled("confirmed", "2026-01-01T00:00:07.000Z"),
        ];
        let order = serde_json::json!({ "status": "confirmed", "payments": [{}] });
        let lines = narrate("ord_1", &events, &kill, Some(1), &order);
        assert!(lines[1].contains("payment_started") && lines[2].contains("SIGKILL") && lines[4].contains("confirmed"));
        assert!(lines[5].contains("charges: 1 here, 1 in the provider's own ledger"));
    }
}
