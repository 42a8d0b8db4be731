//! `doorbuster admin …`: sends a request to the operator port of a running node and prints the answer.
//!
//! ```text
//! AdminCommand ──► one request (with --all: one to each member) ──► JSON ──► table, or with --json as it came
//! ```
//!
//! Exit status 0: the request was answered or carried out, and an audit is clean. 1: anything else; one line on standard error says why.

mod client;
mod tables;

use crate::cli::{Admin, AdminCommand, Settlement};
use client::{Client, ClientError, segment};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is printed, and whether the exit status is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// On standard output.
    pub(super) out: String,
    /// On standard error: nodes that could not be asked.
    pub(super) remarks: Vec<String>,
    /// Is the exit status 0?
    pub(super) well: bool,
}

/// Sends the request; an error is the one line for standard error.
pub(super) async fn carry_out(admin: &Admin) -> Result<Said, String> {
    let client = Client::new(admin.timeout_s, admin.token.clone());
    let asked = ask(&client, admin).await.map_err(|error| error.to_string())?;
    let Asked { answer, remarks } = asked;
    let refuted = admin.command == AdminCommand::Audit && answer.get("clean") != Some(&Value::Bool(true));
    let well = remarks.is_empty() && !refuted;
    let out = if admin.json {
        let pretty = serde_json::to_string_pretty(&answer).map_err(|error| error.to_string())?;
        pretty + "\n"
    } else {
        shown(&admin.command, &answer)
    };
    Ok(Said { out, remarks, well })
}

fn shown(command: &AdminCommand, answer: &Value) -> String {
    match command {
        AdminCommand::Cluster => tables::cluster(answer),
        AdminCommand::Shards { .. } => tables::shards(answer),
        AdminCommand::Sagas { .. } => tables::sagas(answer),
        AdminCommand::SetAside { .. } => tables::set_aside(answer),
        AdminCommand::Audit => tables::audit(answer),
        AdminCommand::Drain { node } => {
            format!("{node} is to give its shards away; `admin cluster` shows how far it is\n")
        }
        AdminCommand::Resume { node } => format!("{node} may take shards again\n"),
        AdminCommand::Move { shard, to: Some(node), .. } => {
            format!("shard {shard} is to be with {node}; `admin shards` shows when it is\n")
        }
        AdminCommand::Move { shard, to: None, .. } => format!("shard {shard} goes back to where the placement says\n"),
        AdminCommand::Retry { entity } => format!("{entity} gets another try\n"),
        AdminCommand::Settle(settled) => format!("{} is settled: {}\n", settled.reference, settled.outcome.as_str()),
    }
}

/// An answer, and the errors of nodes that could not give their part of it.
struct Asked {
    answer: Value,
    remarks: Vec<String>,
}

async fn ask(client: &Client, admin: &Admin) -> Result<Asked, ClientError> {
    let at = admin.operator.as_str();
    let post = |path: String, body: Option<Value>| async move { client.post(at, &path, body.as_ref()).await };
    let answer = match &admin.command {
        AdminCommand::Cluster => client.get(at, "/admin/cluster").await?,
        AdminCommand::Audit => post("/admin/audit".to_owned(), None).await?,
        AdminCommand::Shards { all } => return of_nodes(client, at, "/admin/shards", *all, merge_shards).await,
        AdminCommand::Sagas { all } => return of_nodes(client, at, "/admin/sagas", *all, chain).await,
        AdminCommand::SetAside { all } => return of_nodes(client, at, "/admin/entities/set-aside", *all, chain).await,
        AdminCommand::Drain { node } => post(format!("/admin/nodes/{}/drain", segment(node)), None).await?,
        AdminCommand::Resume { node } => post(format!("/admin/nodes/{}/resume", segment(node)), None).await?,
        AdminCommand::Move { shard, to, back: _ } => {
            post(format!("/admin/shards/{shard}/move"), Some(json!({ "to": to }))).await?
        }
        AdminCommand::Retry { entity } => {
            let text = entity.to_string();
            let (kind, id) = text.split_once('/').unwrap_or((text.as_str(), ""));
            post(format!("/admin/entities/{}/{}/retry", segment(kind), segment(id)), None).await?
        }
        AdminCommand::Settle(settled) => {
            let path = format!("/admin/orders/{}/settle", settled.reference.order);
            post(path, Some(settlement(settled))).await?
        }
    };
    Ok(Asked { answer, remarks: Vec::new() })
}

fn settlement(settled: &Settlement) -> Value {
    let reference = settled.reference.to_string();
    let given = [
        ("reference", Some(reference.as_str())),
        ("outcome", Some(settled.outcome.as_str())),
        ("provider_reference", settled.provider_reference.as_deref()),
        ("code", settled.code.as_deref()),
        ("lapses_at", settled.lapses_at.as_deref()),
    ];
    let given = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))));
    Value::Object(given.collect())
}

/// The answer of the node at `first`, or the joined answers of all members that it knows. A node that cannot be asked becomes a remark, and the
/// answers of the others are shown.
async fn of_nodes(
    client: &Client,
    first: &str,
    path: &str,
    all: bool,
    join: fn(Vec<Value>) -> Vec<Value>,
) -> Result<Asked, ClientError> {
    if !all {
        return Ok(Asked { answer: client.get(first, path).await?, remarks: Vec::new() });
    }
    let cluster = client.get(first, "/admin/cluster").await?;
    let members = cluster.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
    let asked = members.iter().filter(|member| member.get("state").and_then(Value::as_str) != Some("gone"));
    let addresses = asked.filter_map(|member| member.get("operator").and_then(Value::as_str));
    let answers = futures_util::future::join_all(addresses.map(|address| client.get(address, path))).await;
    let (mut parts, mut remarks) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(mut answer) => parts.push(answer.get_mut("data").map(Value::take).unwrap_or_default()),
            Err(error) => remarks.push(error.to_string()),
        }
    }
    Ok(Asked { answer: json!({ "data": join(parts) }), remarks })
}

/// One list after the other.
fn chain(parts: Vec<Value>) -> Vec<Value> {
    parts.into_iter().filter_map(|part| if let Value::Array(all) = part { Some(all) } else { None }).flatten().collect()
}

/// Each shard once: as the node that serves it shows it, with its figures, otherwise as any node does.
fn merge_shards(parts: Vec<Value>) -> Vec<Value> {
    let mut shards: BTreeMap<u64, Value> = BTreeMap::new();
    let has_figures = |shard: &Value| shard.get("seq").is_some_and(Value::is_u64);
    let epoch = |shard: &Value| shard.get("epoch").and_then(Value::as_u64).unwrap_or(0);
    for shard in chain(parts) {
        let Some(number) = shard.get("shard").and_then(Value::as_u64) else { continue };
        match shards.get(&number) {
            // While a shard changes hands two nodes may show figures: the later ownership is the one that counts.
            Some(known) if (has_figures(known), epoch(known)) >= (has_figures(&shard), epoch(&shard)) => {}
            _ => drop(shards.insert(number, shard)),
        }
    }
    shards.into_values().collect()
}

#[cfg(test)]
mod tests;
