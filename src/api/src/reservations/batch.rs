//! `POST /v1/reservations:batch`: several reservations in one request.
//!
//! All items of one SKU are one command and one record of the journal, so a batch costs its SKU one message. An item that cannot be read is answered
//! with its own problem.

use super::bodies::{ReservationBatchBody, ReservationBody};
use super::lines::{self, Wanted};
use super::views::ReservationView;
use super::{make_several, problem_of, reservation_of, reserve_at_stock, view_of};
use crate::core::json;
use crate::core::problem::Problem;
use crate::core::reply::Reply;
use crate::core::request::Request;
use crate::core::service::Shop;
use doorbuster_domain::any;
use doorbuster_domain::ids::{ReservationId, ReservationName, Sku};
use doorbuster_domain::inventory::{self, EXTERNAL_PER_DECISION_MAX, ExternalRequest};
use doorbuster_domain::reservation::Made;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;

/// Commands of one batch in flight at once. Too few: a batch over many SKUs takes many round trips. Too many: one request takes the room of many.
const ASKS_IN_FLIGHT_MAX: usize = 256;
/// Items of one batch whose errors are explained. Without a bound, a body of garbage costs the node far more to explain than its sender to write.
const EXPLAINED_ITEMS_MAX: usize = 50;
/// Errors that are explained of one item.
const ITEM_ERRORS_MAX: usize = 5;
/// After this many items other requests get a turn.
const ITEMS_PER_TURN: usize = 64;
/// About as many bytes as an answer takes.
const ANSWER_BYTES: usize = 512;

/// The answer to one item: its status and its body as JSON.
type ItemAnswer = (u16, Vec<u8>);

fn refused(problem: &Problem) -> ItemAnswer {
    (problem.code().status_number(), problem.to_json())
}

fn granted(view: &ReservationView<'_>) -> ItemAnswer {
    // A view can always be written as JSON.
    (201, serde_json::to_vec(view).unwrap_or_default())
}

/// One command: reservations of one SKU, with their indexes in the batch, or one reservation of several lines.
enum BatchCommand {
    Stock(Sku, Vec<usize>, Vec<ExternalRequest>),
    Several(usize, Box<Made>),
}

pub(super) async fn make_many<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let owner = request.principal()?;
    let items = items(&request.body, request.shop_settings().batch_items_max).await?;
    let lines = items.iter().map(|item| item.as_ref().map_or(1, |body| body.lines.len().max(1)));
    request.charge_lines(lines.fold(0, usize::saturating_add))?;
    let mut answers: Vec<Option<ItemAnswer>> = Vec::new();
    answers.resize_with(items.len(), || None);
    let mut commands = Vec::new();
    let mut by_sku: BTreeMap<Sku, (Vec<usize>, Vec<ExternalRequest>)> = BTreeMap::new();
    for (index, (item, answer)) in items.into_iter().zip(&mut answers).enumerate() {
        take_turn(index).await;
        match item.and_then(|body| lines::read(&request, &owner, body)) {
            Ok(Wanted::One(sku, wanted)) => {
                let (indexes, requests) = by_sku.entry(sku).or_default();
                indexes.push(index);
                requests.push(wanted);
            }
            Ok(Wanted::Several(made)) => commands.push(BatchCommand::Several(index, made)),
            Err(problem) => *answer = Some(refused(&problem)),
        }
    }
    for (sku, (indexes, requests)) in by_sku {
        let mut requests = requests.into_iter();
        for indexes in indexes.chunks(EXTERNAL_PER_DECISION_MAX) {
            let requests = requests.by_ref().take(indexes.len()).collect();
            commands.push(BatchCommand::Stock(sku.clone(), indexes.to_vec(), requests));
        }
    }
    // Sent in this order, so the earlier items of a SKU are decided first.
    let sent = futures_util::stream::iter(commands).map(|command| send(&request, command));
    let mut sent = std::pin::pin!(sent.buffer_unordered(ASKS_IN_FLIGHT_MAX));
    while let Some(answered) = sent.next().await {
        for (index, item) in answered {
            if let Some(answer) = answers.get_mut(index) {
                *answer = Some(item);
            }
        }
    }
    Ok(Reply::bytes(200, "application/json", written(&answers).into()))
}

/// The items, each read on its own if they cannot be read all together.
async fn items(body: &[u8], most: usize) -> Result<Vec<Result<ReservationBody, Problem>>, Problem> {
    if let Ok(batch) = serde_json::from_slice::<ReservationBatchBody>(body) {
        bounded(batch.items.len(), most)?;
        return Ok(batch.items.into_iter().map(Ok).collect());
    }
    let tree = json::read_tree(body)?;
    let fields = tree.as_object().filter(|fields| fields.len() == 1);
    let Some(Value::Array(items)) = fields.and_then(|fields| fields.get("items")) else {
        // The body has another form: reading it as the type reports the error.
        return json::read::<ReservationBatchBody>(body).map(|batch| batch.items.into_iter().map(Ok).collect());
    };
    bounded(items.len(), most)?;
    let mut read = Vec::with_capacity(items.len());
    let mut explained = 0;
    for (index, item) in items.iter().enumerate() {
        take_turn(index).await;
        let errors_max = if explained < EXPLAINED_ITEMS_MAX { ITEM_ERRORS_MAX } else { 0 };
        let body = json::read_value::<ReservationBody>(item, errors_max);
        explained += usize::from(body.is_err());
        read.push(body);
    }
    Ok(read)
}

fn bounded(items: usize, most: usize) -> Result<(), Problem> {
    if (1..=most).contains(&items) {
        return Ok(());
    }
    Err(Problem::field("/items", "out_of_range", format!("must be from 1 to {most}")))
}

async fn take_turn(index: usize) {
    if index % ITEMS_PER_TURN == ITEMS_PER_TURN - 1 {
        tokio::task::yield_now().await;
    }
}

fn unreadable() -> Problem {
    Problem::field("", "invalid_value", "cannot be read")
}

async fn send<S: Shop>(request: &Request<'_, S>, command: BatchCommand) -> Vec<(usize, ItemAnswer)> {
    match command {
        BatchCommand::Stock(sku, indexes, requests) => ask_stock(request, sku, &indexes, requests).await,
        BatchCommand::Several(index, made) => {
            let answered = match Box::pin(make_several(request, *made)).await {
                Ok((name, accepted)) => {
                    let view = reservation_of(&accepted).and_then(|reservation| view_of(&name, reservation));
                    view.map_or_else(|problem| refused(&problem), |view| granted(&view))
                }
                Err(problem) => refused(&problem),
            };
            vec![(index, answered)]
        }
    }
}

async fn ask_stock<S: Shop>(
    request: &Request<'_, S>,
    sku: Sku,
    indexes: &[usize],
    requests: Vec<ExternalRequest>,
) -> Vec<(usize, ItemAnswer)> {
    let accepted = match reserve_at_stock(request, &sku, requests).await {
        Ok(accepted) => accepted,
        Err(error) => {
            let problem = refused(&error.into());
            return indexes.iter().map(|index| (*index, problem.clone())).collect();
        }
    };
    let any::Reply::Inventory(inventory::Reply::ReservedExternal(answers)) = accepted.reply else { return Vec::new() };
    let mut name = ReservationName { id: ReservationId(0), sku: Some(sku.clone()) };
    let answers = answers.into_iter().map(|answer| match answer {
        Ok(found) => {
            name.id = found.id;
            granted(&ReservationView::of_external(&name, &sku, &found.reservation))
        }
        Err(refusal) => refused(&problem_of(&sku, &refusal)),
    });
    indexes.iter().copied().zip(answers).collect()
}

/// The body of the answer. The bodies of the items are JSON already; only what is around them is written here.
fn written(answers: &[Option<ItemAnswer>]) -> Vec<u8> {
    let missing = refused(&unreadable());
    let mut out = Vec::with_capacity(answers.len().saturating_mul(ANSWER_BYTES));
    out.extend_from_slice(b"{\"results\":[");
    for (index, answer) in answers.iter().enumerate() {
        let (status, body) = answer.as_ref().unwrap_or(&missing);
        let comma = if index == 0 { "" } else { "," };
        // Writing to memory cannot fail.
        let _written = write!(out, "{comma}{{\"index\":{index},\"status\":{status},\"body\":");
        out.extend_from_slice(body);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}
