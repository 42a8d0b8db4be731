//! `POST /v1/reservations:batch`: many in one request.
//!
//! All wishes for one SKU travel as one question and are answered by one record of the journal, so a batch costs its SKU one wake and its
//! caller one answer. What cannot be read of one item is that item's own problem.

use super::wish::{self, Wanted};
use super::{answer_to, make_several, no_answer, problem_of, reservation_of, view_of};
use crate::door::Request;
use crate::json;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::requests::{ReservationBatchBody, ReservationBody};
use crate::seam::Shop;
use crate::view::ReservationView;
use doorbuster_actors::ask::Answer;
use doorbuster_domain::any;
use doorbuster_domain::ids::{EntityId, ReservationName, Sku};
use doorbuster_domain::inventory::{self, Keeper, PROMISES_PER_DECISION_MAX, PromiseWish};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;

/// Questions of one batch that are under way at once. Fewer: a batch over many SKUs takes many turns; more: one request takes the room of
/// many.
const ASKS_IN_FLIGHT_MAX: usize = 256;
/// Bytes that an answer takes, about.
const ANSWER_BYTES: usize = 512;

/// The answer to one item: its status and its body.
type Answered = (u16, Vec<u8>);

fn told(problem: &Problem) -> Answered {
    (problem.code().status_number(), problem.to_json())
}

fn shown(view: &ReservationView<'_>) -> Answered {
    // What our views are made of can always be written.
    (201, serde_json::to_vec(view).unwrap_or_default())
}

/// One question: wishes for one SKU, with their places in the batch; or one reservation of several lines.
enum Question {
    Stock(Sku, Vec<usize>, Vec<PromiseWish>),
    Several(usize, Box<wish::Several>),
}

pub(crate) async fn make_many<S: Shop>(request: Request<'_, S>) -> Result<Reply, Problem> {
    let owner = request.principal()?;
    let items = items(&request.body)?;
    let most = request.api.settings.terms.batch_items_max;
    if items.is_empty() || items.len() > most {
        return Err(Problem::field("/items", "out_of_range", format!("must be from 1 to {most}")));
    }
    let mut answers: Vec<Option<Answered>> = Vec::new();
    answers.resize_with(items.len(), || None);
    let mut questions = Vec::new();
    let mut by_sku: BTreeMap<Sku, (Vec<usize>, Vec<PromiseWish>)> = BTreeMap::new();
    for (index, (item, answer)) in items.into_iter().zip(&mut answers).enumerate() {
        match item.and_then(|body| wish::read(&request, &owner, body)) {
            Ok(Wanted::One(sku, wish)) => {
                let (places, wishes) = by_sku.entry(sku).or_default();
                places.push(index);
                wishes.push(wish);
            }
            Ok(Wanted::Several(several)) => questions.push(Question::Several(index, Box::new(several))),
            Err(problem) => *answer = Some(told(&problem)),
        }
    }
    for (sku, (places, wishes)) in by_sku {
        let mut wishes = wishes.into_iter();
        for places in places.chunks(PROMISES_PER_DECISION_MAX) {
            let wishes = wishes.by_ref().take(places.len()).collect();
            questions.push(Question::Stock(sku.clone(), places.to_vec(), wishes));
        }
    }
    // Begun in this order, so of one SKU the earlier items are asked first.
    let asked = futures_util::stream::iter(questions).map(|question| ask(&request, question));
    let mut asked = std::pin::pin!(asked.buffer_unordered(ASKS_IN_FLIGHT_MAX));
    while let Some(told) = asked.next().await {
        for (index, answered) in told {
            if let Some(answer) = answers.get_mut(index) {
                *answer = Some(answered);
            }
        }
    }
    Ok(Reply::bytes(200, "application/json", written(&answers).into()))
}

/// The items, each read on its own if they cannot be read all together.
fn items(body: &[u8]) -> Result<Vec<Result<ReservationBody, Problem>>, Problem> {
    if let Ok(batch) = serde_json::from_slice::<ReservationBatchBody>(body) {
        return Ok(batch.items.into_iter().map(Ok).collect());
    }
    let tree = json::read_tree(body)?;
    let fields = tree.as_object().filter(|fields| fields.len() == 1);
    let Some(Value::Array(items)) = fields.and_then(|fields| fields.get("items")) else {
        // Not of this form at all: the type says what is wrong.
        return json::read::<ReservationBatchBody>(body).map(|batch| batch.items.into_iter().map(Ok).collect());
    };
    let one = |item: &Value| serde_json::to_vec(item).map_err(|_no_json| no_item()).and_then(|item| json::read(&item));
    Ok(items.iter().map(one).collect())
}

fn no_item() -> Problem {
    Problem::field("", "invalid_value", "cannot be read")
}

async fn ask<S: Shop>(request: &Request<'_, S>, question: Question) -> Vec<(usize, Answered)> {
    match question {
        Question::Stock(sku, places, wishes) => ask_stock(request, sku, &places, wishes).await,
        Question::Several(place, several) => {
            let answered = match Box::pin(make_several(request, *several)).await {
                Ok((name, accepted)) => {
                    let view = reservation_of(&accepted).and_then(|reservation| view_of(&name, reservation));
                    view.map_or_else(|problem| told(&problem), |view| shown(&view))
                }
                Err(problem) => told(&problem),
            };
            vec![(place, answered)]
        }
    }
}

async fn ask_stock<S: Shop>(
    request: &Request<'_, S>,
    sku: Sku,
    places: &[usize],
    wishes: Vec<PromiseWish>,
) -> Vec<(usize, Answered)> {
    let ranking = wish::ranking(request, &sku);
    let command = inventory::Command::Promise { keeper: Keeper::Stock, ranking, wishes };
    let entity = EntityId::Inventory(sku.clone());
    let accepted = match answer_to(request, entity, any::Command::Inventory(command)).await {
        Answer::Accepted(accepted) => accepted,
        answer => {
            let problem = told(&no_answer(answer));
            return places.iter().map(|place| (*place, problem.clone())).collect();
        }
    };
    let any::Reply::Inventory(inventory::Reply::Promises(answers)) = accepted.reply else { return Vec::new() };
    let mut name = ReservationName { id: doorbuster_domain::ids::ReservationId(0), sku: Some(sku.clone()) };
    let answers = answers.into_iter().map(|answer| match answer {
        Ok(promised) => {
            name.id = promised.id;
            shown(&ReservationView::of_promise(&name, &sku, &promised.promise))
        }
        Err(refusal) => told(&problem_of(&sku, &refusal)),
    });
    places.iter().copied().zip(answers).collect()
}

/// The bodies are JSON already: only what is around them is written.
fn written(answers: &[Option<Answered>]) -> Vec<u8> {
    let missing = told(&no_item());
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
