//! Exports: a whole list, as rows that are made while they are sent (rule V7).
//!
//! ```text
//! the list's own handler, page after page ──► the rows of its answer ──► NDJSON or CSV ──► the connection
//! ```
//!
//! So an export shows what the list shows, to whom the list shows it. Of a list of any length one page is in memory. Each page needs a permit of the list's
//! priority class: shoppers go first. A reader that leaves ends the reading.
//!
//! NDJSON ends with `{"end":true,"rows":n}`: without it, it was cut. CSV has no place for such a line; it is cut by an end without the last chunk.

use super::admission::{Account, Permit};
use super::meter::RequestMeter;
use super::pipeline::PipelineCounts;
use crate::core::caller::{Caller, identify, unauthenticated};
use crate::core::followers::Follower;
use crate::core::headers::Exported;
use crate::core::problem::{Code, Problem};
use crate::core::reply::Reply;
use crate::core::request::{Context, Params, Request};
use crate::core::route::{Docs, Route};
use crate::core::service::Shop;
use crate::core::work::units_of_answer;
use bytes::Bytes;
use doorbuster_domain::time::Timestamp;
use futures_util::stream;
use hyper::header::HeaderMap;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;

/// Rows of a page that an export reads.
const PAGE: &str = "200";
/// How long a page waits for a permit; then the export is cut.
const PERMIT_PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks for one.
const PERMIT_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How deep the columns of a CSV go into what a row consists of; what is deeper is one cell of JSON.
const DEPTH_MAX: usize = 4;

/// A list that is exported, and to whom.
pub(super) struct Export<S: 'static> {
    context: Arc<Context<S>>,
    counts: Arc<PipelineCounts>,
    route: &'static Route<S>,
    account: Account,
    address: Option<IpAddr>,
    params: Params,
    caller: Caller,
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl<S: Shop> Export<S> {
    /// The answer to a request for a list, as an export: the first page says whether there is one.
    pub(super) async fn begin(
        kind: Exported,
        route: &'static Route<S>,
        (context, counts): (Arc<Context<S>>, Arc<PipelineCounts>),
        (account, address): (Account, Option<IpAddr>),
        mut request: Request<'_, S>,
    ) -> Result<Reply, Problem> {
        if request.query("limit").is_some() {
            return Err(Problem::field("/limit", "invalid_value", "an export has no limit: it is the whole list"));
        }
        let full = || Problem::new(Code::Overloaded).detail("as many exports as may run do so already");
        let follower = counts.exports.join(request.settings().exports_max).ok_or_else(full)?;
        request.query.push(("limit".to_owned(), PAGE.to_owned()));
        let mut query = request.query.clone();
        query.retain(|(name, _)| name != "cursor");
        let (params, caller, headers) = (request.params.clone(), request.caller.clone(), request.headers.clone());
        let first = bytes_of((route.handler)(request).await?)?;
        let export = Self { context, counts, route, account, address, params, caller, headers, query };
        let rows = Rows::new(kind, &route.docs);
        let (sender, mut parts) = mpsc::channel(1);
        tokio::spawn(export.send(rows, first, sender, follower));
        Ok(Reply::stream(kind.media(), stream::poll_fn(move |context| parts.poll_recv(context))))
    }

    async fn send(self, rows: Rows, first: Bytes, sender: mpsc::Sender<Result<Bytes, Cut>>, mut follower: Follower) {
        tokio::select! {
            () = send(rows, first, sender.clone(), |cursor| self.page(cursor)) => {}
            // An end like every other would say that this is all.
            () = follower.stopped() => drop(sender.send(Err(Cut("the server stops"))).await),
        }
    }

    /// The page behind a cursor, as a request of its own.
    async fn page(&self, cursor: String) -> Result<Bytes, Problem> {
        let (permit, now) = tokio::time::timeout(PERMIT_PATIENCE, self.permit())
            .await
            .map_err(|_late| Problem::new(Code::Overloaded).detail("there is no room for the next page"))?;
        // An export may outlive the key that it began with.
        let Context { keys, secret, .. } = &*self.context;
        if identify(&self.headers, false, keys, secret, now)? != self.caller {
            return Err(unauthenticated());
        }
        let admission = &self.counts.admission;
        let (account, address) = (self.account, self.address);
        let meter = RequestMeter { admission, permit: &permit, account, address, now };
        let mut query = self.query.clone();
        query.push(("cursor".to_owned(), cursor));
        let request = Request {
            context: &self.context,
            template: self.route.path,
            params: self.params.clone(),
            caller: self.caller.clone(),
            meter: &meter,
            headers: self.headers.clone(),
            query,
            body: Bytes::new(),
            prefer_wait: None,
            now,
        };
        let page = bytes_of((self.route.handler)(request).await?)?;
        admission.charge_done(account, units_of_answer(page.len()), now);
        Ok(page)
    }

    async fn permit(&self) -> (Permit<'_>, Timestamp) {
        loop {
            let now = self.context.shop.now();
            if let Some(permit) = self.counts.admission.acquire(self.route.class, false, now) {
                return (permit, now);
            }
            tokio::time::sleep(PERMIT_LOOK_EVERY).await;
        }
    }
}

/// What an answer says. What has a length is there already.
fn bytes_of(reply: Reply) -> Result<Bytes, Problem> {
    reply.into_bytes().ok_or_else(|| Problem::new(Code::Internal).detail("the list has no answer"))
}

/// Why an export was cut.
#[derive(Debug, Error)]
#[error("the export was cut: {0}")]
struct Cut(&'static str);

/// A page of a list, as its answer has it.
#[derive(Debug, Deserialize)]
struct ListPage {
    data: Vec<Value>,
    next_cursor: Option<String>,
}

/// Rows in the form of the export.
#[derive(Debug)]
enum Rows {
    Lines,
    /// The path of each column.
    Csv(Vec<Vec<String>>),
}

impl Rows {
    fn new(kind: Exported, docs: &Docs) -> Self {
        match kind {
            Exported::Lines => Self::Lines,
            Exported::Csv => Self::Csv(columns(docs)),
        }
    }

    /// What comes before the first row.
    fn begin(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Self::Csv(columns) = self {
            write_row(columns.iter().map(|path| path.join(".")), &mut text);
        }
        text
    }

    /// What comes behind the last.
    fn end(&self, rows: usize) -> Vec<u8> {
        match self {
            Self::Lines => format!("{{\"end\":true,\"rows\":{rows}}}\n").into_bytes(),
            Self::Csv(_) => Vec::new(),
        }
    }

    fn add(&self, row: &Value, text: &mut Vec<u8>) {
        match self {
            Self::Lines => text.extend_from_slice(format!("{row}\n").as_bytes()),
            Self::Csv(columns) => write_row(columns.iter().map(|path| cell(at(row, path))), text),
        }
    }
}

fn at<'a>(row: &'a Value, path: &[String]) -> &'a Value {
    path.iter().try_fold(row, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

/// A value as the text of a cell. A text that a spreadsheet would take for a formula begins with an apostrophe.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes a row as RFC 4180 does.
fn write_row(cells: impl Iterator<Item = String>, text: &mut Vec<u8>) {
    for (number, cell) in cells.enumerate() {
        if number > 0 {
            text.push(b',');
        }
        if cell.contains([',', '"', '\r', '\n']) || cell.starts_with(' ') || cell.ends_with(' ') {
            text.push(b'"');
            text.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            text.push(b'"');
        } else {
            text.extend_from_slice(cell.as_bytes());
        }
    }
    text.extend_from_slice(b"\r\n");
}

/// The columns of a list: the fields of its rows, and those of what they consist of, as the description has them. A field that is a list is one column.
fn columns(docs: &Docs) -> Vec<Vec<String>> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let list = docs.answers.iter().find_map(|(_, schema)| *schema).map(|schema| schema(&mut generator).to_value());
    let schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    let list = list.unwrap_or_default();
    let items = resolved(&list, &schemas).pointer("/properties/data/items");
    let mut columns = Vec::new();
    if let Some(row) = items {
        add_columns(row, &schemas, &mut Vec::new(), &mut columns);
    }
    columns
}

fn add_columns(schema: &Value, schemas: &Map<String, Value>, path: &mut Vec<String>, columns: &mut Vec<Vec<String>>) {
    let fields = resolved(schema, schemas).get("properties").and_then(Value::as_object);
    match fields.filter(|_| path.len() < DEPTH_MAX) {
        Some(fields) => {
            for (name, field) in fields {
                path.push(name.clone());
                add_columns(field, schemas, path, columns);
                path.pop();
            }
        }
        None => columns.push(path.clone()),
    }
}

/// The schema that a reference names; of one that may be null, the other.
fn resolved<'a>(schema: &'a Value, schemas: &'a Map<String, Value>) -> &'a Value {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next()) {
        return schemas.get(name).unwrap_or(schema);
    }
    let either = schema.get("anyOf").or_else(|| schema.get("allOf")).and_then(Value::as_array);
    let one = either.and_then(|all| all.iter().find(|one| one.get("$ref").is_some()));
    one.map_or(schema, |one| resolved(one, schemas))
}

/// Adds the rows of an answer; gives their number and the cursor of the next page.
fn add_page(rows: &Rows, answer: &[u8], text: &mut Vec<u8>) -> Result<(usize, Option<String>), Cut> {
    let page: ListPage = serde_json::from_slice(answer).map_err(|error| {
        tracing::error!(%error, "an answer of a list cannot be exported");
        Cut("a page is no list")
    })?;
    page.data.iter().for_each(|row| rows.add(row, text));
    Ok((page.data.len(), page.next_cursor))
}

/// Sends page after page, `first` before all others; `page` makes the one of a cursor. It ends when the reader is gone.
async fn send<F: Future<Output = Result<Bytes, Problem>>>(
    rows: Rows,
    first: Bytes,
    sender: mpsc::Sender<Result<Bytes, Cut>>,
    page: impl Fn(String) -> F,
) {
    let mut count: usize = 0;
    let mut text = rows.begin();
    let mut answer = first;
    loop {
        let added = add_page(&rows, &answer, &mut text);
        let (added, next) = match added {
            Ok(added) => added,
            Err(cut) => return drop(sender.send(Err(cut)).await),
        };
        count = count.saturating_add(added);
        if next.is_none() {
            text.extend(rows.end(count));
        }
        if !text.is_empty() && sender.send(Ok(std::mem::take(&mut text).into())).await.is_err() {
            return;
        }
        let Some(cursor) = next else { return };
        let made = tokio::select! {
            made = page(cursor) => made,
            () = sender.closed() => return,
        };
        answer = match made {
            Ok(answer) => answer,
            Err(problem) => {
                if problem.code() != Code::Draining {
                    tracing::warn!(code = problem.code().as_str(), "an export was cut");
                }
                return drop(sender.send(Err(Cut("a page could not be read"))).await);
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::tests::NoShop;
    use crate::routes::routes;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn page(rows: &[Value], next: Option<&str>) -> Bytes {
        json!({ "data": rows, "next_cursor": next, "as_of": "x" }).to_string().into()
    }

    async fn whole(rows: Rows) -> Vec<Result<String, String>> {
        let (sender, mut parts) = mpsc::channel(1);
        let next = |cursor: String| async move {
            match cursor.as_str() {
                "2" => Ok(page(&[], Some("3"))),
                "3" => Ok(page(&[json!({ "a": 3 })], None)),
                _ => Err(Problem::new(Code::Overloaded)),
            }
        };
        let sending = tokio::spawn(send(rows, page(&[json!({ "a": 1 }), json!({ "a": 2 })], Some("2")), sender, next));
        let mut text = Vec::new();
        while let Some(part) = parts.recv().await {
            let part = part.map(|part| String::from_utf8(part.into()).unwrap());
            text.push(part.map_err(|cut| cut.to_string()));
        }
        sending.await.unwrap();
        text
    }

    #[tokio::test]
    async fn v7_lines_end_with_their_number_and_csv_begins_with_its_columns() {
        let lines: Result<Vec<String>, String> = whole(Rows::Lines).await.into_iter().collect();
        assert_eq!(lines.unwrap().concat(), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"end\":true,\"rows\":3}\n");
        let csv: Result<Vec<String>, String> =
            whole(Rows::Csv(vec![vec!["a".into()], vec!["b".into(), "c".into()]])).await.into_iter().collect();
        assert_eq!(csv.unwrap().concat(), "a,b.c\r\n1,\r\n2,\r\n3,\r\n");
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_read_cuts_the_export() {
        let (sender, mut parts) = mpsc::channel(4);
        let failing = |_: String| async { Err(Problem::new(Code::Overloaded)) };
        send(Rows::Lines, page(&[json!(1)], Some("2")), sender, failing).await;
        assert_eq!(parts.recv().await.unwrap().unwrap(), "1\n");
        assert!(parts.recv().await.unwrap().is_err() && parts.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_leaves_ends_the_reading_of_a_list_without_end() {
        let (sender, mut parts) = mpsc::channel(1);
        let read = Arc::new(AtomicUsize::new(0));
        let pages = Arc::clone(&read);
        let sending = tokio::spawn(send(Rows::Lines, page(&[json!(1)], Some("1")), sender, move |_| {
            pages.fetch_add(1, Ordering::Relaxed);
            async { Ok(page(&[json!(1)], Some("1"))) }
        }));
        for _ in 0..5 {
            assert!(parts.recv().await.unwrap().is_ok());
        }
        drop(parts);
        sending.await.unwrap();
        assert!(read.load(Ordering::Relaxed) <= 8, "one is on its way, and one was made meanwhile");
    }

    #[test]
    fn a_cell_is_no_formula_and_keeps_its_text() {
        for (value, text) in [
            (json!("=1+1"), "'=1+1"),
            (json!("+44"), "'+44"),
            (json!("-1"), "'-1"),
            (json!("@SUM(A1)"), "'@SUM(A1)"),
            (json!("\tx"), "'\tx"),
            (json!("\rx"), "\"'\rx\""),
            (json!(-1), "-1"),
            (json!(null), ""),
            (json!("a \"b\", c"), "\"a \"\"b\"\", c\""),
            (json!("a\nb"), "\"a\nb\""),
            (json!(" a"), "\" a\""),
            (json!(["=1"]), "\"[\"\"=1\"\"]\""),
        ] {
            let mut written = Vec::new();
            write_row(std::iter::once(cell(&value)), &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), format!("{text}\r\n"), "{value}");
        }
    }

    #[test]
    fn every_list_has_columns_and_those_of_what_its_rows_consist_of() {
        let mut lists = 0;
        for route in routes::<NoShop>().filter(|route| route.docs.is_exported) {
            let columns: Vec<String> = columns(&route.docs).iter().map(|path| path.join(".")).collect();
            assert!(columns.len() >= 5, "{}: {columns:?}", route.path);
            lists += 1;
            if route.path == "/v1/orders" {
                for column in ["id", "buyer.email", "totals.total.amount", "totals.total.currency", "lines", "metadata"]
                {
                    assert!(columns.iter().any(|name| name == column), "{column}: {columns:?}");
                }
            }
        }
        assert_eq!(lists, 7);
    }
}
