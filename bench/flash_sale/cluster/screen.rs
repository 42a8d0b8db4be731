//! The live picture: one line for the crowd, one for each node; rewritten in place on a terminal, added now and then otherwise.

use super::view::{Board, Look};
use crate::load::Sale;
use crate::sale::live_line;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often lines are added where nothing can be rewritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where it is shown.
#[derive(Debug)]
pub(crate) struct Screen(Mutex<State>);

#[derive(Debug)]
struct State {
    terminal: bool,
    /// Lines of the picture that stands.
    standing: usize,
    shown: Option<Instant>,
    /// What happened and was not shown yet.
    said: Vec<String>,
}

impl Screen {
    /// On standard output.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self(Mutex::new(State { terminal, standing: 0, shown: None, said: Vec::new() }))
    }

    /// Something happened: shown above the picture, and kept there.
    pub(crate) fn say(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).said.push(line);
    }

    /// Shows the picture as it is now.
    pub(crate) fn show(&self, sale: &Sale, board: &Board) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.terminal || state.shown.is_none_or(|shown| shown.elapsed() >= PLAIN_EVERY);
        if !due && state.said.is_empty() {
            return;
        }
        let mut text = state.clear();
        for line in state.said.drain(..) {
            text.push_str(&format!("           {line}\n"));
        }
        if due {
            let mut lines = vec![live_line(sale)];
            lines.extend(
                board
                    .names()
                    .iter()
                    .zip(board.looks())
                    .enumerate()
                    .map(|(index, (name, look))| node_line(name, &look, sale.doors.is_open(index))),
            );
            for line in &lines {
                text.push_str(line);
                text.push('\n');
            }
            state.shown = Some(Instant::now());
            state.standing = lines.len();
        }
        print!("{text}");
        // A closed output ends nothing: the exit status still says what came out.
        drop(std::io::stdout().flush());
    }

    /// Takes the picture away; what was said stays.
    pub(crate) fn end(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = state.clear();
        for line in state.said.drain(..) {
            text.push_str(&format!("           {line}\n"));
        }
        print!("{text}");
        drop(std::io::stdout().flush());
    }
}

impl State {
    /// What takes the standing picture away on a terminal.
    fn clear(&mut self) -> String {
        let standing = std::mem::take(&mut self.standing);
        if self.terminal && standing > 0 { format!("\x1b[{standing}A\x1b[J") } else { String::new() }
    }
}

/// One node: how it sees itself, and how the others see it where that differs.
fn node_line(name: &str, look: &Look, open: bool) -> String {
    let door = if open { "takes buyers" } else { "takes nobody" };
    let Some(view) = &look.view else { return format!("  {name:<8} does not answer                     {door}") };
    let own = view.members.get(name);
    let state = own.map_or("unknown", |own| own.state.as_str());
    let incarnation = own.map_or(0, |own| own.incarnation);
    let owned = view.shards.values().filter(|shard| shard.owner.as_deref() == Some(name)).count();
    let serving = own.and_then(|own| own.serving).map_or_else(|| "?".to_owned(), |serving| serving.to_string());
    let others: Vec<String> = view
        .members
        .iter()
        .filter(|(other, seen)| *other != name && seen.state != "up")
        .map(|(other, seen)| format!("{other} {}", seen.state))
        .collect();
    let sees = if others.is_empty() { String::new() } else { format!("  sees {}", others.join(", ")) };
    format!("  {name:<8} {state:<9} start {incarnation:<3} owns {owned:>3}, serves {serving:>3}  {door}{sees}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::view::View;
    use serde_json::json;

    #[test]
    fn a_node_is_one_line_and_says_whom_it_misses() {
        let cluster = json!({ "members": [
            { "name": "node1", "incarnation": 3, "state": "up", "shards_owned": 2, "shards_serving": 1 },
            { "name": "node2", "incarnation": 1, "state": "suspect", "shards_owned": 0 }
        ] });
        let shards = json!({ "data": [{ "shard": 0, "owner": "node1.3", "serving": true }, { "shard": 1, "owner": "node1.3", "serving": false }] });
        let view = View::read(&cluster, &shards, Instant::now());
        let line = node_line("node1", &Look { view, ready: true }, true);
        assert_eq!(line, "  node1    up        start 3   owns   2, serves   1  takes buyers  sees node2 suspect");
        assert!(node_line("node2", &Look::default(), false).contains("does not answer"));
    }
}
