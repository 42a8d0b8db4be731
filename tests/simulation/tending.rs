//! What is done to an order that exists: paid, acted upon, cancelled, shipped, sent back, refunded, forgotten. What comes next is chosen
//! from where its journal says it stands; by the time it arrives it may stand elsewhere.

use crate::client::Client;
use crate::words;
use doorbuster_domain::any::Command;
use doorbuster_domain::entity::Wait;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_domain::order::{
    self, Attempt, CallKey, CancelReason, Condition, LineUnits, Order, Patch, ReceivedLine, RefundWhat, ReturnLine,
    ReturnStatus, ShipmentStatus, Stage,
};
use doorbuster_simulator::ShopperAction;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// One thing done to an order.
pub(crate) async fn tend(client: &mut Client, id: OrderId) {
    let Some(order) = client.world.judge().order(id).cloned() else { return };
    if let Some(reference) = waits_for_the_shopper(&order)
        && client.rng.random_bool(0.7)
    {
        let act = if client.rng.random_bool(0.8) { ShopperAction::Ok } else { ShopperAction::Fail };
        client.world.note(|| format!("shopper: {reference} {act:?}"));
        client.world.payments.act(reference, act).await.expect("a ledger in memory is never lost");
        return;
    }
    let key = client.key();
    let request = words::request(&format!("/v1/orders/{id}"), &key);
    let Some(command) = next(&mut client.rng, &order, request) else { return };
    let wait = [Wait::Decided, Wait::Settled][client.rng.random_range(0..2)];
    let entity = EntityId::Order(id);
    if matches!(command, order::Command::Patch(_) | order::Command::Erase) {
        client.once(entity, Command::Order(command), Wait::Decided).await;
    } else {
        client.post(entity, request, Command::Order(command), wait).await;
    }
}

fn waits_for_the_shopper(order: &Order) -> Option<doorbuster_domain::payment::Reference> {
    let payment = order.payments.last()?;
    matches!(payment.attempt, Attempt::RequiresAction(_)).then(|| order.reference(CallKey::authorize(payment.number)))
}

fn next(rng: &mut ChaCha8Rng, order: &Order, request: doorbuster_domain::ids::Request) -> Option<order::Command> {
    if rng.random_ratio(1, 30) {
        return Some(order::Command::Erase);
    }
    if rng.random_ratio(1, 15) {
        let metadata = Some(vec![("k".into(), "v".into())]);
        return Some(order::Command::Patch(Box::new(Patch { metadata, ..Patch::default() })));
    }
    match order.stage {
        Stage::Nothing | Stage::Ended(_) | Stage::Ending(_) => None,
        Stage::Freezing | Stage::Reserving | Stage::Committing => {
            rng.random_bool(0.4).then(|| cancel(rng, order, request))
        }
        Stage::Held => Some(if rng.random_bool(0.75) {
            order::Command::Pay { request, instruction: words::instruction(rng) }
        } else {
            cancel(rng, order, request)
        }),
        Stage::Confirmed => after_the_sale(rng, order, request),
    }
}

fn cancel(rng: &mut ChaCha8Rng, order: &Order, request: doorbuster_domain::ids::Request) -> order::Command {
    let lines = if rng.random_bool(0.6) { Vec::new() } else { some_units(rng, order, |line| line.left()) };
    order::Command::Cancel { request, lines, reason: CancelReason::Customer }
}

fn after_the_sale(
    rng: &mut ChaCha8Rng,
    order: &Order,
    request: doorbuster_domain::ids::Request,
) -> Option<order::Command> {
    let under_way = order.shipments.iter().find(|shipment| shipment.status == ShipmentStatus::Shipped);
    let asked = order.returns.iter().find(|one| one.status == ReturnStatus::Requested);
    let coming = order.returns.iter().find(|one| matches!(one.status, ReturnStatus::Approved | ReturnStatus::Received));
    Some(match rng.random_range(0..12) {
        0..4 => {
            let lines = if rng.random_bool(0.5) { Vec::new() } else { some_units(rng, order, |line| line.left()) };
            order::Command::Ship {
                request,
                lines,
                warehouse: None,
                carrier: None,
                tracking_number: None,
                tracking_url: None,
            }
        }
        4 => cancel(rng, order, request),
        5 => {
            let shipment = under_way?.started.number;
            if rng.random_bool(0.8) {
                order::Command::Deliver { request, shipment }
            } else {
                order::Command::Lose { request, shipment }
            }
        }
        6 => {
            let units = some_units(rng, order, |line| line.returnable());
            let refund = order.refunds.first().filter(|_| rng.random_bool(0.5)).map(|refund| refund.number);
            let line = |one: &LineUnits| ReturnLine { line: one.line, units: one.units, reason: "no".into(), refund };
            let lines: Vec<ReturnLine> = units.iter().map(line).collect();
            order::Command::RequestReturn { request, lines }
        }
        7 => {
            let number = asked?.number;
            if rng.random_bool(0.8) {
                order::Command::ApproveReturn { request, number }
            } else {
                order::Command::RejectReturn { request, number, reason: "late".into() }
            }
        }
        8 | 9 => {
            let coming = coming?;
            let lines: Vec<ReceivedLine> = coming
                .lines
                .iter()
                .map(|one| ReceivedLine {
                    line: one.line,
                    units: rng.random_range(1..=one.units),
                    condition: Condition::AsNew,
                    restock: rng.random_bool(0.7),
                    money: None,
                })
                .collect();
            order::Command::ReceiveReturn { request, number: coming.number, lines }
        }
        10 => {
            let what = match rng.random_range(0..3) {
                0 => RefundWhat::Amount(words::gbp(rng.random_range(1..400))),
                1 => RefundWhat::Lines { lines: some_units(rng, order, |line| line.units), shipping: false },
                _ => RefundWhat::Everything,
            };
            order::Command::Refund { request, what, reason: "sorry".into(), seller: None }
        }
        _ => {
            let amount = rng.random_bool(0.5).then(|| words::gbp(rng.random_range(1..900)));
            order::Command::Capture { request, amount }
        }
    })
}

/// Some units of some lines, of those that have any left.
fn some_units(rng: &mut ChaCha8Rng, order: &Order, left: impl Fn(&order::OrderLine) -> u32) -> Vec<LineUnits> {
    let mut some = Vec::new();
    for (line, it) in order.numbered() {
        let most = left(it);
        if most > 0 && rng.random_bool(0.7) {
            some.push(LineUnits { line, units: rng.random_range(1..=most) });
        }
    }
    some
}
